//! Whether the log refuses appends for want of space, told once when it begins and once when it ends.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Health;

/// The state, shared by the committer and whoever asks.
pub(crate) struct Refusal {
    dir: PathBuf,
    refusing: AtomicBool,
}

impl Refusal {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, refusing: AtomicBool::new(false) }
    }

    pub(crate) fn health(&self) -> Health {
        if self.refusing.load(Ordering::Relaxed) {
            Health::Refusing(format!("no space is left for the log in {}", self.dir.display()))
        } else {
            Health::Writable
        }
    }

    pub(crate) fn no_space(&self) {
        if !self.refusing.swap(true, Ordering::Relaxed) {
            tracing::error!(dir = %self.dir.display(), "no space is left for the log: appends are refused");
        }
    }

    pub(crate) fn lift(&self) {
        if self.refusing.swap(false, Ordering::Relaxed) {
            tracing::info!(dir = %self.dir.display(), "there is space for the log again: appends are taken");
        }
    }
}
