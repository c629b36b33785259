//! Event log in, HTTP out: every event is read once, matched once, and delivered to each Trigger that wants it.
//!
//! [`partition`] decides, without I/O; everything else carries its decisions out. The dispatcher knows neither
//! Kubernetes nor YAML: it is given a routing table and an event log.

pub mod attempt;
pub mod partition;
