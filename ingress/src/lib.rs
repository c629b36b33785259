//! HTTP in, log out: takes CloudEvents for Brokers and answers when they are durable.
//!
//! [`Ingress`] is the service; [`tap::Tap`] shows what it accepts to whoever watches. Connections, TLS and
//! signals belong to `trigon-runtime`, what an event is to `trigon-core`. Nothing here knows Triggers.

pub mod answer;
pub mod bounds;
pub mod encoding;
pub mod ingress;
pub mod metrics;
pub mod path;
pub mod settings;
pub mod tap;

pub use ingress::Ingress;
pub use settings::IngressSettings;
