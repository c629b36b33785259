//! A Secret as Kubernetes mounts it: a folder with a file for each key, changed while it is used.

use std::fs;

use tempfile::TempDir;

/// A folder of files, removed when it is dropped.
#[derive(Debug)]
pub struct Secret {
    folder: TempDir,
}

impl Secret {
    /// One with these keys.
    ///
    /// # Panics
    /// When the machine has no folder for temporary files.
    pub fn new(keys: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let secret = Self { folder };
        for (key, value) in keys {
            secret.set(key, value);
        }
        secret
    }

    /// Where it is.
    pub fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Sets a key, in one step.
    ///
    /// # Panics
    /// When the folder is not writable.
    pub fn set(&self, key: &str, value: &str) {
        let whole = self.folder.path().join(".next");
        fs::write(&whole, value).expect("a temporary folder is writable");
        fs::rename(&whole, self.folder.path().join(key)).expect("both are in one folder");
    }
}
