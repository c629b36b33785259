//! The event log of a process: in a folder of its own, or in a Kafka cluster that others share.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use trigon_core::name::Installation;
use trigon_eventlog::kafka::{KafkaConfig, KafkaLog};
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, SharedLog};
use trigon_runtime::shutdown::Drain;
use trigon_runtime::tasks::TaskGroup;

use crate::failure::{Chain, Failure};
use crate::kafka::{Cluster, LOOK_INTERVAL};

/// Which log a process uses.
#[derive(Clone, Debug)]
pub(crate) enum StoreSettings {
    /// One in a folder.
    Embedded(EmbeddedConfig),
    /// One in a Kafka cluster.
    Kafka {
        /// Where it is.
        cluster: Cluster,
        /// Whose topics and groups are ours.
        installation: Installation,
        /// The largest record that must fit.
        max_record_bytes: usize,
    },
}

/// Where a log is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In this folder.
    Folder(PathBuf),
    /// In the Kafka cluster of these brokers.
    Kafka(Vec<String>),
}

/// A log that is open.
pub(crate) struct Store {
    log: SharedLog,
    close: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl StoreSettings {
    /// Where the log is.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        match self {
            Self::Embedded(config) => Whereabouts::Folder(config.dir.clone()),
            Self::Kafka { cluster, .. } => Whereabouts::Kafka(cluster.bootstrap.clone()),
        }
    }

    /// Opens the log; what follows changes of its credentials runs in `tasks` until the drain.
    ///
    /// # Errors
    /// When the folder cannot be used, or the cluster is described in a way that cannot work. That a cluster cannot
    /// be reached now is not an error.
    pub(crate) async fn open(self, tasks: &mut TaskGroup, drain: &Drain) -> Result<Store, Failure> {
        match self {
            Self::Embedded(config) => open_embedded(config).await,
            Self::Kafka { cluster, installation, max_record_bytes } => {
                let (config, changes) = cluster.config(&installation, max_record_bytes);
                let store = open_kafka(config)?;
                let followed = cluster.credentials.follow(LOOK_INTERVAL, changes, drain.clone());
                tasks.spawn("kafka credentials", async move {
                    followed.await;
                    Ok::<_, std::convert::Infallible>(())
                });
                Ok(store)
            }
        }
    }
}

impl Store {
    /// A log, and what closes it.
    pub(crate) fn new(log: SharedLog, close: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { log, close: Box::pin(close) }
    }

    /// The log.
    pub(crate) fn log(&self) -> &SharedLog {
        &self.log
    }

    /// Makes durable what was begun, and lets the log go.
    pub(crate) async fn close(self) {
        self.close.await;
    }
}

async fn open_embedded(config: EmbeddedConfig) -> Result<Store, Failure> {
    let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(config)).await;
    let opened = opened.map_err(|error| Failure::of("opening the log failed", &error))?;
    let log = opened
        .map(Arc::new)
        .map_err(|error| Failure::Failed(format!("{}; --data sets another folder", Chain(&error))))?;
    let closing = Arc::clone(&log);
    Ok(Store::new(log, async move { closing.close().await }))
}

/// The one place that opens the log in Kafka.
fn open_kafka(config: KafkaConfig) -> Result<Store, Failure> {
    let log =
        KafkaLog::open(config).map_err(|error| Failure::Usage(format!("--kafka: {}", Chain(&error))))?;
    let log = Arc::new(log);
    let closing = Arc::clone(&log);
    Ok(Store::new(log, async move { closing.close().await }))
}
