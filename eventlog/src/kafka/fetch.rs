//! Reads partitions by Fetch requests of our own: a scan is a position, and costs neither a thread nor a connection.
//!
//! A scan behind the end [looks](look): it asks for what is there, one answer ahead of its reader. A scan at the end
//! takes a seat in the [tail](tail) of the partition's leader: one request per broker waits there for the next records
//! of all partitions that are read, and goes on whether the readers have asked or not, because Kafka serves one
//! request of a connection at a time and nothing can be added to one that waits.
//!
//! Deliberately not here: what records mean, and who reads which partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use trigon_core::name::{Offset, TopicPartition};

use self::look::{Leader, Target};
use self::scan::KafkaScan;
use self::tail::{Seat, Source, Tail};
use super::wire::{Cluster, NodeId};
use crate::{LogError, Scan};

mod answer;
mod look;
mod poll;
mod scan;
mod tail;
#[cfg(test)]
mod tests;

/// How much of a partition a look asks for, in bytes. A scan holds two answers at most: the one that is read and the
/// next one. A batch that is larger comes as a whole.
pub(super) const LOOK_BYTES: usize = 1 << 20;

/// How much of one partition a poll of the tail asks for, in bytes. A batch that is larger comes as a whole.
pub(super) const POLL_PARTITION_BYTES: usize = 512 << 10;

/// How much a poll of the tail asks for, in bytes; one poll per broker is under way.
pub(super) const POLL_BYTES: usize = 8 << 20;

/// What may wait in a scan's seat at the tail, in bytes, if it is more than one answer. A scan that lets more wait
/// loses its seat and looks for itself.
pub(super) const SEAT_BYTES: usize = 1 << 20;

/// How long Kafka keeps a poll of the tail that has nothing to answer with.
const POLL_WAIT: Duration = Duration::from_millis(500);

/// From one poll of the tail to the next it takes so long at least: a busy broker is asked 500 times a second, and a
/// record waits a millisecond on average.
const POLL_PACE: Duration = Duration::from_millis(2);

/// How many connections to a broker looks share, by partition.
const LOOK_LINES: u32 = 4;

/// How long a scan looks for a partition's leader before it says that it cannot be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens scans. Cloning shares the tails.
#[derive(Clone)]
pub(super) struct Fetcher(Arc<Shared>);

struct Shared {
    cluster: Cluster,
    tails: Tails,
    /// One poll per broker with seats. Dropping the last scan ends them.
    polls: Mutex<JoinSet<()>>,
}

/// The seats at the brokers. Polls share it without keeping each other alive.
type Tails = Arc<Mutex<HashMap<NodeId, Tail>>>;

impl Fetcher {
    /// Reads from a cluster.
    pub(super) fn new(cluster: Cluster) -> Self {
        Self(Arc::new(Shared { cluster, tails: Tails::default(), polls: Mutex::default() }))
    }

    /// Opens a sequential reader of the topic that has that name now: one of the same name that is created later is
    /// unknown to it.
    ///
    /// # Errors
    /// When the topic or the partition does not exist, or the cluster cannot be reached.
    pub(super) async fn scan(&self, at: &TopicPartition, from: Offset) -> Result<Box<dyn Scan>, LogError> {
        let cluster = &self.0.cluster;
        let mut view = cluster.topic(&at.topic).await?;
        let unknown = Some(LogError::UnknownPartition(at.clone()));
        if view.leader(&at.topic, at.partition).err() == unknown {
            // It may be younger than what is known.
            cluster.forget(&at.topic);
            view = cluster.topic(&at.topic).await?;
            if view.leader(&at.topic, at.partition).err() == unknown {
                return Err(LogError::UnknownPartition(at.clone()));
            }
        }
        let target = Target { cluster: cluster.clone(), at: at.clone(), topic: view.id };
        Ok(Box::new(KafkaScan::new(self.clone(), target, from)))
    }

    /// Takes a seat for a scan at `at`, where records end at `end`; `None` when the tail is already above `at`.
    fn join(&self, leader: Leader, source: Source, at: Offset, end: Offset) -> Option<Arc<Seat>> {
        let Leader { node, epoch } = leader;
        let mut tails = lock(&self.0.tails);
        let begins = !tails.contains_key(&node);
        let seat = tails.entry(node).or_default().join(source, epoch, at, end);
        if begins {
            let mut polls = lock(&self.0.polls);
            while polls.try_join_next().is_some() {}
            polls.spawn(poll::run(self.0.cluster.clone(), Arc::clone(&self.0.tails), node));
        }
        seat
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
