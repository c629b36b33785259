//! The Kafka that tests of this crate run against.

/// Its address.
pub(super) fn address() -> String {
    let address = std::env::var("TRIGON_TEST_KAFKA");
    address.expect("TRIGON_TEST_KAFKA names a Kafka broker as HOST:PORT; `cargo xtask test` starts one")
}
