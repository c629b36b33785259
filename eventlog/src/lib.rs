//! The event log: topics of partitioned records, and the cursors of the Triggers that read them.
//!
//! Everything above speaks to [`EventLog`]; `embedded` keeps the log in a folder, fsynced before an append is
//! acknowledged. A backend is one module that passes the suite in [`contract`].
//!
//! Deliberately not here: what the records mean. Filters, retries and replies belong to the dispatcher.

pub mod contract;
pub mod embedded;
pub mod kafka;
pub mod log;
pub mod places;

pub use embedded::{EmbeddedConfig, EmbeddedLog, OpenError};
pub use log::*;
pub use places::{Unplaced, places};
