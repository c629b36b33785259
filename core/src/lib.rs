//! Trigon's decisions, without I/O: events and their bindings, filters, delivery policy, cursors and
//! the routing table.
//!
//! Nothing in this crate reads a clock, the environment or a socket, and nothing in it is async: time and
//! randomness are passed in.

pub mod binding;
pub mod cesql;
pub mod cursor;
pub mod dead_letter;
pub mod delivery;
pub mod event;
pub mod filter;
pub mod lab;
pub mod name;
pub mod record;
pub mod routing;
pub mod suggest;
pub mod ttl;
