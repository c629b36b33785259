//! Which partitions this process dispatches, as the group of all dispatchers has shared them out.
//!
//! One consumer of librdkafka's is a member of the group and reads nothing: everything that it is assigned is paused.
//! It runs on a thread of its own, because librdkafka wants to be polled; [`Holdings`] decides what is said when.
//! Deliberately not here: records and offsets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use trigon_core::name::{TopicName, TopicPartition};

use self::holdings::Holdings;
use super::KafkaConfig;
use crate::{LogError, Ownership, OwnershipChange};

mod holdings;
mod member;
#[cfg(test)]
mod tests;

/// A lock is held to look at or to change the desk: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the desk";

/// Membership in the group of the dispatchers. Dropping it leaves the group.
pub(crate) struct KafkaOwnership {
    desk: Arc<Desk>,
    left: watch::Receiver<()>,
}

/// Tells when a dropped [`KafkaOwnership`] has left its group: a process that ends before that is missed only after
/// the session timeout.
#[derive(Clone)]
pub(crate) struct Departure(watch::Receiver<()>);

/// Where the dispatcher and the member of the group leave word for each other.
struct Desk {
    state: Mutex<State>,
    /// There may be something new for the dispatcher.
    changed: Notify,
}

struct State {
    holdings: Holdings,
    wanted: BTreeSet<TopicName>,
    /// The dispatcher has gone.
    is_closed: bool,
}

impl KafkaOwnership {
    /// Joins the group as soon as it can be reached.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(config: &KafkaConfig, topics: BTreeSet<TopicName>) -> Result<Self, LogError> {
        let state = State { holdings: Holdings::default(), wanted: topics, is_closed: false };
        let desk = Arc::new(Desk { state: Mutex::new(state), changed: Notify::new() });
        let (leaving, left) = watch::channel(());
        let (config, members) = (config.clone(), desk.clone());
        thread::Builder::new()
            .name("kafka-ownership".to_owned())
            .spawn(move || {
                member::run(&config, &members);
                drop(leaving);
            })
            .map_err(|error| LogError::Failed(format!("could not start a thread: {error}")))?;
        Ok(Self { desk, left })
    }

    /// To wait for the departure after this is dropped.
    pub(crate) fn departure(&self) -> Departure {
        Departure(self.left.clone())
    }
}

impl Departure {
    /// Resolves when the group is left.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

#[async_trait]
impl Ownership for KafkaOwnership {
    async fn changed(&mut self) -> Result<OwnershipChange, LogError> {
        loop {
            // A notification that comes before the wait is kept, and this is the only one that waits.
            let changed = self.desk.changed.notified();
            // It goes on until this is dropped, unless it panics. Then nobody keeps what is ours.
            let is_over = self.left.has_changed().is_err();
            let change = self.desk.with(|state| {
                if is_over {
                    state.holdings.lost_all();
                }
                state.holdings.next_change()
            });
            if let Some(change) = change {
                return Ok(change);
            }
            if is_over {
                return Err(LogError::Closed);
            }
            tokio::select! {
                () = changed => {}
                _ = self.left.changed() => {}
            }
        }
    }

    fn set_topics(&mut self, topics: BTreeSet<TopicName>) {
        self.desk.with(|state| state.wanted = topics);
    }

    fn release(&mut self, at: TopicPartition) {
        self.desk.with(|state| state.holdings.released(&at));
    }
}

impl Drop for KafkaOwnership {
    fn drop(&mut self) {
        self.desk.with(|state| state.is_closed = true);
    }
}

impl Desk {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().expect(LOCKED))
    }

    /// Changes the holdings, and tells the dispatcher.
    fn update<T>(&self, change: impl FnOnce(&mut Holdings) -> T) -> T {
        let result = self.with(|state| change(&mut state.holdings));
        self.changed.notify_one();
        result
    }

    /// Whether all that was revoked is released, or nobody is there any more to release it.
    fn may_return(&self, now: Instant) -> bool {
        let (overdue, may_return) = self.with(|state| {
            let overdue = state.holdings.give_up_overdue(now);
            (overdue, state.is_closed || state.holdings.are_drained())
        });
        if overdue > 0 {
            tracing::warn!(
                partitions = overdue,
                "revoked partitions were not drained in time: they go to others"
            );
            self.changed.notify_one();
        }
        may_return
    }
}
