//! Conformance of the data plane: what the specification and the upstream suites ask, on the real binary.
//!
//! A case is generic over its deployment; the last lines of each file run its cases on every one that there is.

/// Runs cases on every deployment.
macro_rules! on_every_deployment {
    ($($case:ident),* $(,)?) => {
        on_every_deployment!(@ standalone trigon_tests::Standalone: $($case),*);
        on_every_deployment!(@ standalone_on_kafka trigon_tests::StandaloneOnKafka: $($case),*);
        on_every_deployment!(@ split_on_kafka trigon_tests::Split: $($case),*);
    };
    (@ $name:ident $deployment:path: $($case:ident),*) => {
        mod $name {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case::<$deployment>().await;
                }
            )*
        }
    };
}

mod attributes;
mod dead_letters;
mod delivery;
mod explain;
mod expressions;
mod fidelity;
mod filters;
mod ingress;
mod order;
mod replies;
mod routing;
