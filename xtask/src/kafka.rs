//! The Kafka servers that a test run shares.

use std::env;
use std::thread;

use trigon_test_servers::shared::{CLUSTER, KAFKA};
use trigon_test_servers::{Kafka, Options};

/// Variables for the tests: names and values.
pub(crate) type Variables = Vec<(&'static str, String)>;

/// How many brokers the shared cluster has.
const BROKERS: usize = 3;

/// Runs something while there is a broker: the one that is named already, or else one of its own.
///
/// # Errors
/// When there is none, or what was run fails.
pub(crate) fn with_broker(run: impl FnOnce(Variables) -> Result<(), String>) -> Result<(), String> {
    with(KAFKA, "kafka", 1, run)
}

/// The same with a cluster of three.
///
/// # Errors
/// When there is none, or what was run fails.
pub(crate) fn with_cluster(run: impl FnOnce(Variables) -> Result<(), String>) -> Result<(), String> {
    with(CLUSTER, "kafka-cluster", BROKERS, run)
}

fn with(
    variable: &'static str,
    name: &str,
    brokers: usize,
    run: impl FnOnce(Variables) -> Result<(), String>,
) -> Result<(), String> {
    if env::var_os(variable).is_some_and(|address| !address.is_empty()) {
        return run(Vec::new());
    }
    let kafka = Kafka::kept(name, brokers, Options::default())?;
    println!("== Kafka: {} with logs in {}", kafka.bootstrap(), kafka.folder().display());
    run(vec![(variable, kafka.bootstrap())])
}

/// Starts so many brokers and says how to use them; they end with this process.
///
/// # Errors
/// When they do not start.
pub(crate) fn foreground(brokers: usize) -> Result<(), String> {
    let variable = if brokers > 1 { CLUSTER } else { KAFKA };
    let kafka = Kafka::kept(&format!("kafka-foreground-{brokers}"), brokers, Options::default())?;
    println!("export {variable}={}", kafka.bootstrap());
    println!("# logs in {}; Ctrl-C stops it", kafka.folder().display());
    loop {
        thread::park();
    }
}
