//! The embedded log passes the contract that every backend passes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use trigon_eventlog::contract::Fixture;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, SharedLog, contract_tests};

/// A log in a folder of its own.
struct InFolder {
    dir: TempDir,
    tail_bytes: usize,
    open: Mutex<Option<Arc<EmbeddedLog>>>,
}

impl InFolder {
    fn new(tail_bytes: usize) -> Self {
        Self { dir: TempDir::new().expect("a folder can be made"), tail_bytes, open: Mutex::default() }
    }
}

#[async_trait]
impl Fixture for InFolder {
    async fn open(&self) -> SharedLog {
        let config = EmbeddedConfig {
            tail_bytes: self.tail_bytes,
            max_record_bytes: self.max_record_bytes(),
            ..EmbeddedConfig::new(self.dir.path())
        };
        let log = Arc::new(EmbeddedLog::open(config).expect("the log opens"));
        self.open.lock().expect("no case panicked").replace(log.clone());
        log
    }

    async fn close(&self, log: SharedLog) {
        drop(log);
        let log = self.open.lock().expect("no case panicked").take().expect("it is open");
        log.close().await;
    }

    fn max_record_bytes(&self) -> usize {
        100_000
    }
}

mod from_memory {
    use super::*;
    contract_tests!(InFolder::new(32 * 1024 * 1024));
}

/// Without a tail in memory every read goes through the files.
mod from_files {
    use super::*;
    contract_tests!(InFolder::new(0));
}
