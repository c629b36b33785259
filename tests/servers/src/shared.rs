//! The servers that a whole test run shares. Whoever runs the tests starts them and says where they are.

use std::env;

/// Names the one broker that tests share, as `HOST:PORT`. It must allow everything and create no topic by itself.
pub const KAFKA: &str = "TRIGON_TEST_KAFKA";

/// Names the cluster of three brokers that tests share, as `HOST:PORT[,HOST:PORT…]`.
pub const CLUSTER: &str = "TRIGON_TEST_KAFKA_CLUSTER";

/// The address of the shared broker.
///
/// # Errors
/// When there is none.
pub fn kafka() -> Result<String, String> {
    address(KAFKA, "cargo xtask kafka")
}

/// The addresses of the shared cluster, separated by commas.
///
/// # Errors
/// When there is none.
pub fn cluster() -> Result<String, String> {
    address(CLUSTER, "cargo xtask kafka --brokers 3")
}

fn address(variable: &str, command: &str) -> Result<String, String> {
    env::var(variable).ok().filter(|address| !address.is_empty()).ok_or_else(|| {
        format!(
            "this test needs a Kafka server: `cargo xtask test` starts one (it needs Java 17 or later and Maven), \
             or start one with `{command}`, or set {variable} to the HOST:PORT of one that the tests may use"
        )
    })
}
