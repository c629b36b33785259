//! Event log in, HTTP out: every event is read once, matched once, and delivered to each Trigger that wants it.
//!
//! [`partition`] and [`outlet`] decide, without I/O; everything else carries their decisions out. The dispatcher
//! knows neither Kubernetes nor YAML: it is given a routing table and an event log.

pub mod attempt;
pub mod clock;
pub mod dispatcher;
mod drive;
mod metrics;
mod outbound;
pub mod outlet;
pub mod parked;
pub mod partition;
mod send;
pub mod status;
mod wait;

pub use clock::Clock;
pub use dispatcher::{Config, Dispatcher, Drained};
pub use drive::{LOADS, READ_BYTES, REPORTS, STALL_AFTER};
