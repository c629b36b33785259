//! HTTP in, log out: takes CloudEvents for Brokers and answers when they are durable.
//!
//! [`Ingress`] is the service. Connections, TLS and signals belong to `trigon-runtime`, what an event is to
//! `trigon-core`. Nothing here knows Triggers.

pub mod answer;
pub mod bounds;
pub mod encoding;
pub mod ingress;
pub mod metrics;
pub mod path;
pub mod served;
pub mod settings;

pub use ingress::Ingress;
pub use served::{Served, Waiting};
pub use settings::IngressSettings;
