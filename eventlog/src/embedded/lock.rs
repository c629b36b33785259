//! The lock of the log's folder: two processes never write one log.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpenError;

const LOCK_FILE: &str = "lock";

/// Held as long as the log is open; the kernel gives it back when the process ends, however it ends.
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks the folder, which must be there.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let open = |source| OpenError::Io { dir: dir.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK_FILE))
            .map_err(open)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(open)?;
                return Err(OpenError::Locked { dir: dir.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(open(error.into())),
        }
        // The number is for a person to read. A disk that is full does not keep the log from opening.
        if let Err(error) =
            file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        {
            tracing::warn!(dir = %dir.display(), %error, "could not write the process id into the lock");
        }
        Ok(Self { _file: file })
    }
}
