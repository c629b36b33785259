//! Ports that stay ours: free ones outside the range that the system gives to clients, so that a server finds its
//! port again after a restart.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;

/// Below the ephemeral ports of Linux (from 32768) and macOS (from 49152).
const RANGE: Range<u16> = 18_000..30_000;

/// So many are tried before giving up.
const TRIES: usize = 1_000;

/// A port on loopback that no other process of these tests takes while this is held.
#[derive(Debug)]
pub(crate) struct Port {
    /// Its number.
    pub(crate) number: u16,
    // Locked while it is open.
    _lock: File,
}

impl Port {
    /// Any that is free.
    ///
    /// # Errors
    /// When none is found.
    pub(crate) fn free() -> Result<Self, String> {
        let folder = std::env::temp_dir().join("trigon-test-ports");
        fs::create_dir_all(&folder)
            .map_err(|error| format!("could not create {}: {error}", folder.display()))?;
        for _ in 0..TRIES {
            let number = fastrand::u16(RANGE);
            let Ok(lock) = File::create(folder.join(number.to_string())) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(format!("no port among {RANGE:?} is free"))
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
