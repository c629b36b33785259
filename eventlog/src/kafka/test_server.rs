//! The Kafka that tests of this crate run against.

/// Its address.
pub(super) fn address() -> String {
    trigon_test_servers::shared::kafka().expect("tests have a Kafka")
}
