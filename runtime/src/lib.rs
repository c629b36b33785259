//! Process plumbing: stopping, owned tasks, listeners, the admin port, metrics, logs and the HTTP client.
//!
//! Nothing in this crate knows what an event is, and nothing in it reads arguments or the environment.

pub mod admin;
pub mod body;
pub mod http_client;
pub mod metrics;
pub mod readiness;
pub mod server;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
