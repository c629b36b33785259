//! Appends: an idempotent producer, on connections of our own.
//!
//! An append is let in by the [gate](gate), queued by [topic and partition](queue), [sent](sender) together with what
//! else goes to the same broker, and answered when Kafka has said what became of each of its records. Deliberately not
//! here: whether a topic should exist, and any retry after the append deadline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use trigon_core::name::{Position, TopicName};
use trigon_core::record::Record;

use self::append::{Append, Cause, Failure};
use self::condition::Condition;
use self::gate::{Gate, Load};
use self::limit::Limits;
use self::queue::Queued;
use self::sender::{Intake, Sender, Settings};
use super::KafkaConfig;
use super::properties;
use super::wire::Cluster;
use crate::{AppendError, Health};

mod append;
mod condition;
mod gate;
mod limit;
mod numbers;
mod partitioner;
mod queue;
mod request;
mod sender;
#[cfg(test)]
mod tests;
mod verdict;

/// A lock is held to take the tasks: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the tasks";

/// How often the cluster is asked whether it is there, unless it has stored something meanwhile.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer to that may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a topic's limit is waited for, to name it in an answer that is due.
const LIMIT_PATIENCE: Duration = Duration::from_secs(3);

/// The sender tells what becomes of a record by its deadline, or soon after it; then it has no excuse.
const GRACE: Duration = Duration::from_secs(5);

/// Appends records to any topic.
pub(crate) struct Producer {
    append_deadline: Duration,
    max_record_bytes: usize,
    gate: Arc<Gate>,
    limits: Limits,
    condition: Arc<Condition>,
    intake: Arc<Intake>,
    /// The sender, until the producer is closed.
    sender: Mutex<JoinSet<()>>,
    _prober: JoinSet<()>,
}

impl Producer {
    /// Starts to connect. Has to be called on the async runtime.
    pub(crate) fn start(config: &KafkaConfig, cluster: &Cluster) -> Self {
        let limit = Load { records: config.max_queued_records, bytes: config.max_queued_bytes };
        let (condition, intake) = (Arc::<Condition>::default(), Arc::<Intake>::default());
        let settings = Settings {
            batch_bytes: properties::batch_bytes(config),
            compression: properties::compression(config),
        };
        let mut sender = JoinSet::new();
        let sending = Sender::new(cluster.clone(), settings, Arc::clone(&intake), Arc::clone(&condition));
        sender.spawn(sending.run());
        let mut prober = JoinSet::new();
        prober.spawn(probe(cluster.clone(), Arc::clone(&condition)));
        Self {
            append_deadline: config.append_deadline,
            max_record_bytes: config.max_record_bytes,
            gate: Arc::new(Gate::new(limit)),
            limits: Limits::new(cluster, config),
            condition,
            intake,
            sender: Mutex::new(sender),
            _prober: prober,
        }
    }

    /// Stores the records and resolves when all in-sync replicas have them; the positions are in the order of the
    /// records. Cancelling does not undo the append.
    ///
    /// # Errors
    /// See [`AppendError`]. Where it is not [`AppendError::Failed`], nothing was stored.
    pub(crate) async fn append(
        &self,
        topic: &TopicName,
        records: Vec<Record>,
    ) -> Result<Vec<Position>, AppendError> {
        let limit = self.max_record_bytes;
        let mut load = Load { records: records.len(), bytes: 0 };
        let mut largest = 0;
        for record in &records {
            let size = record.size();
            if size > limit {
                return Err(AppendError::TooLarge { size, limit });
            }
            largest = largest.max(size);
            load.bytes += size;
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let charge = self.gate.admit(load).ok_or(AppendError::Busy)?;
        let (append, answered) = Append::new(records.len(), charge);
        let deadline = Instant::now() + self.append_deadline;
        let queued = records.into_iter().enumerate();
        let queued = queued.map(|(at, record)| Queued { record, ticket: append.ticket(at), deadline });
        if !self.intake.put(topic, queued.collect()) {
            return Err(AppendError::Unavailable(CLOSED.to_owned()));
        }
        drop(append);
        match timeout(self.append_deadline + GRACE, answered).await {
            Ok(Ok(Ok(positions))) => Ok(positions),
            Ok(Ok(Err(failure))) => Err(self.refusal(topic, failure, largest).await),
            Ok(Err(_)) | Err(_) => {
                Err(AppendError::Failed(format!("there was no report on an append to topic {topic}")))
            }
        }
    }

    /// What a failed append is to whoever asked for it.
    async fn refusal(&self, topic: &TopicName, failure: Failure, largest: usize) -> AppendError {
        let Failure { cause, stored, doubtful, total } = failure;
        if stored + doubtful > 0 {
            return AppendError::Failed(format!(
                "of {total} records {stored} were stored and {doubtful} may have been: topic {topic}: {cause}"
            ));
        }
        match cause {
            Cause::UnknownTopic => AppendError::UnknownTopic(topic.clone()),
            Cause::TooLarge => match timeout(LIMIT_PATIENCE, self.limits.of(topic)).await.unwrap_or(None) {
                Some(limit) => AppendError::TooLarge { size: largest, limit },
                None => AppendError::Unavailable(format!(
                    "topic {topic} does not take a record of {largest} bytes, and its max.message.bytes cannot be read"
                )),
            },
            Cause::Late(_) | Cause::Refused(_) => AppendError::Unavailable(format!("topic {topic}: {cause}")),
        }
    }

    /// Whether appends are taken now, as far as is known.
    pub(crate) fn health(&self) -> Health {
        if self.intake.is_closed() { Health::Refusing(CLOSED.to_owned()) } else { self.condition.health() }
    }

    /// Takes no more appends, and waits until those that were taken are answered, by their deadlines.
    pub(crate) async fn close(&self) {
        self.intake.close();
        let sender = std::mem::take(&mut *self.sender.lock().expect(LOCKED));
        if timeout(self.append_deadline + GRACE, sender.join_all()).await.is_err() {
            tracing::warn!("the producer was stopped before all of its records were answered");
        }
    }
}

/// Why nothing is taken any more.
const CLOSED: &str = "the log is closed";

/// Finds out whether the cluster is there while nothing is stored.
async fn probe(cluster: Cluster, condition: Arc<Condition>) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if condition.is_proved() {
            continue;
        }
        let asked = match timeout(PROBE_PATIENCE, cluster.reach()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string().into()),
            Err(_) => Err(format!("no broker has answered within {PROBE_PATIENCE:?}").into()),
        };
        condition.asked(asked);
    }
}
