//! What the system tests stand on: deployments of the real binary, subscribers that record, producers that keep
//! account.
//!
//! Knows Trigon by its command line, its HTTP and its YAML only; no crate of it is linked in. A wait has a
//! deadline and says what it waited for. What cannot be had fails the test with a sentence; nothing is skipped.

pub mod account;
pub mod admin;
pub mod binary;
pub mod command;
pub mod deployment;
pub mod event;
pub mod flood;
pub mod kafka;
pub mod process;
pub mod producer;
pub mod proxy;
pub mod routes;
pub mod secret;
pub mod seed;
pub mod service;
pub mod standalone;
pub mod storm;
pub mod subscriber;
pub mod wait;

pub use deployment::Deployment;
pub use event::Event;
pub use kafka::{Split, StandaloneOnKafka};
pub use producer::Producer;
pub use routes::{Object, broker, trigger};
pub use standalone::Standalone;
pub use subscriber::{Reply, Subscriber};
