//! Appends, through librdkafka's idempotent producer.
//!
//! One client at a time serves all topics. It is replaced, without anybody noticing, when an error is fatal to it and
//! when the security of connections changes; the old one ends what it has begun. Deliberately not here: whether a topic
//! should exist, and any retry after the append deadline.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use trigon_core::name::{Position, TopicName};
use trigon_core::record::Record;

use self::batch::{Answer, Batch};
use self::client::Client;
use self::condition::Condition;
use self::gate::{Charge, Gate, Load};
use self::limit::{Limits, SMALLEST_BATCH_BYTES};
use self::refusal::Refusal;
use super::{KafkaConfig, native};
use crate::{AppendError, Health};

mod batch;
mod client;
mod condition;
mod gate;
mod limit;
mod refusal;
#[cfg(test)]
mod tests;

/// A lock is held to look at or to swap a pointer: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the current client";

/// How often a client in trouble is asked whether it works, and how long an answer may take.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a client lives at least before a fatal error replaces it.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

/// librdkafka looks for records past their deadline once a second; then it has no excuse.
const GRACE: Duration = Duration::from_secs(5);

/// Appends records to any topic.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    /// Looks after the current client.
    keeper: Mutex<JoinSet<()>>,
}

struct Shared {
    config: KafkaConfig,
    gate: Arc<Gate>,
    limits: Limits,
    /// `None` once closed.
    current: RwLock<Option<Arc<Client>>>,
    /// Clients that were replaced end what they have begun. Locked only while `current` is, or when it is `None`.
    retired: Mutex<JoinSet<()>>,
}

/// The client cannot be made of this configuration.
#[derive(Debug, thiserror::Error)]
#[error("could not start a producer: {0}")]
pub struct StartError(String);

impl Producer {
    /// Starts to connect. Has to be called on the async runtime.
    ///
    /// # Errors
    /// When librdkafka does not take the configuration; not when no broker can be reached.
    pub(crate) fn start(config: &KafkaConfig) -> Result<Self, StartError> {
        let limit = Load { records: config.max_queued_records, bytes: config.max_queued_bytes };
        let limits = Limits::new(config);
        let client = Client::start(config, Condition::new(&config.bootstrap), limits.batch_bytes())
            .map_err(|error| StartError(error.to_string()))?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            gate: Arc::new(Gate::new(limit)),
            limits,
            current: RwLock::new(Some(Arc::new(client))),
            retired: Mutex::default(),
        });
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(shared.clone()));
        Ok(Self { shared, keeper: Mutex::new(keeper) })
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
        let limit = self.shared.config.max_record_bytes;
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
        let charge = self.shared.gate.admit(load).ok_or(AppendError::Busy)?;
        let client = self.shared.current().ok_or_else(closed)?;
        let (condition, batch_bytes) = (client.condition.clone(), client.batch_bytes);
        let answered = send(&client, topic, &records, charge);
        drop((client, records));
        let deadline = self.shared.config.append_deadline + GRACE;
        match timeout(deadline, answered).await {
            Ok(Ok(Ok(positions))) => Ok(positions),
            Ok(Ok(Err(failure))) => {
                let is_for_size = failure.code == RDKafkaErrorCode::MessageSizeTooLarge;
                let refused = Refusal { failure, topic, complaint: condition.complaint() }.error();
                // Also where a part was stored: or the next append is stored in part, too, and so on for ever.
                let too_large = match is_for_size {
                    true => Some(self.too_large(topic, largest, batch_bytes).await),
                    false => None,
                };
                let failed = || AppendError::Failed(format!("an append to topic {topic} failed"));
                Err(refused.or(too_large).unwrap_or_else(failed))
            }
            Ok(Err(_)) | Err(_) => {
                Err(AppendError::Failed(format!("there was no report on an append to topic {topic}")))
            }
        }
    }

    /// What it means that Kafka refused something for its size, if nothing was stored. Makes batches smaller where
    /// that helps.
    async fn too_large(&self, topic: &TopicName, largest: usize, batch_bytes: usize) -> AppendError {
        let shared = &self.shared;
        let Some(limit) = shared.limits.of(topic, &shared.config).await else {
            return AppendError::Unavailable(format!(
                "topic {topic} does not take a record of {largest} bytes, or not together with others, and its \
                 max.message.bytes cannot be read"
            ));
        };
        if largest >= limit || batch_bytes <= limit {
            return AppendError::TooLarge { size: largest, limit };
        }
        if !shared.limits.shrink(limit) {
            return AppendError::Unavailable(format!(
                "topic {topic} takes {limit} bytes at once, and batches do not become smaller than \
                 {SMALLEST_BATCH_BYTES}: its max.message.bytes has to be raised to that at least"
            ));
        }
        if let Some(client) = shared.current() {
            client.condition.changed.notify_one();
        }
        AppendError::Unavailable(format!("topic {topic} takes {limit} bytes at once: batches become smaller"))
    }

    /// Whether appends are taken now, as far as the client knows.
    pub(crate) fn health(&self) -> Health {
        match self.shared.current() {
            Some(client) => client.condition.health(),
            None => Health::Refusing(CLOSED.to_owned()),
        }
    }

    /// Takes no more appends, and waits until those that were taken are answered, for the append deadline at most.
    pub(crate) async fn close(&self) {
        let mut keeper = std::mem::take(&mut *self.keeper.lock().expect(LOCKED));
        keeper.shutdown().await;
        let client = self.shared.current.write().expect(LOCKED).take();
        let retired = std::mem::take(&mut *self.shared.retired.lock().expect(LOCKED));
        let patience = self.shared.config.append_deadline;
        let last = async {
            if let Some(client) = client {
                retire(client, patience).await;
            }
        };
        let others = timeout(patience, retired.join_all());
        if let ((), Err(_)) = tokio::join!(last, others) {
            tracing::warn!("a replaced producer was stopped before all of its records were answered");
        }
    }
}

impl Shared {
    fn current(&self) -> Option<Arc<Client>> {
        self.current.read().expect(LOCKED).clone()
    }

    /// Puts a new client in the current one's place, which ends what it has begun. Has to be called on the async
    /// runtime.
    fn replace(&self) -> Result<(), KafkaError> {
        let Some(old) = self.current() else { return Ok(()) };
        let new = Client::start(&self.config, old.condition.inherit(), self.limits.batch_bytes())?;
        drop(old);
        let mut current = self.current.write().expect(LOCKED);
        // After a close there is nothing to replace.
        if let Some(current) = current.as_mut() {
            let old = std::mem::replace(current, Arc::new(new));
            let mut retired = self.retired.lock().expect(LOCKED);
            while retired.try_join_next().is_some() {}
            retired.spawn(retire(old, self.config.append_deadline + GRACE));
        }
        Ok(())
    }
}

/// Why nothing is taken any more.
const CLOSED: &str = "the log is closed";

fn closed() -> AppendError {
    AppendError::Unavailable(CLOSED.to_owned())
}

/// Queues the records, up to the first that is refused.
fn send(
    client: &Client,
    topic: &TopicName,
    records: &[Record],
    charge: Charge,
) -> tokio::sync::oneshot::Receiver<Answer> {
    let (batch, answered) = Batch::new(records.len(), charge);
    for (index, record) in records.iter().enumerate() {
        if let Err(code) = client.send(topic, record, batch.ticket(index)) {
            batch.unsent(records.len() - index, code);
            break;
        }
    }
    answered
}

/// Replaces the client when it has to be, and finds out whether it works when that is in doubt.
async fn keep(shared: Arc<Shared>) {
    let mut security = shared.config.security.clone();
    // Whoever rotates may be gone; then nothing changes any more.
    let mut rotates = true;
    let mut replaced = Instant::now();
    let mut probed = Instant::now();
    while let Some(client) = shared.current() {
        let condition = client.condition.clone();
        if let Some(reason) = client.fatal_error() {
            condition.fatal(reason);
        }
        let is_fatal = condition.is_fatal();
        let is_stale = native::needs_new_client(&client.security, &security.borrow_and_update())
            || client.batch_bytes != shared.limits.batch_bytes();
        drop(client);
        tokio::select! {
            changed = security.changed(), if rotates && !is_stale => rotates = changed.is_ok(),
            () = condition.changed.notified(), if !is_fatal && !is_stale => {}
            () = std::future::ready(()), if is_stale => {
                tracing::info!("connections to Kafka are to be made differently: a new producer takes over");
                replaced = replace(&shared).await;
            }
            () = sleep_until(replaced + REPLACE_INTERVAL), if is_fatal => {
                let reason = condition.complaint().unwrap_or_default();
                tracing::warn!(reason, "the producer cannot go on: a new one takes over");
                replaced = replace(&shared).await;
            }
            () = sleep_until(probed + PROBE_INTERVAL), if condition.needs_proof() => {
                probe(&shared).await;
                probed = Instant::now();
            }
        }
    }
}

async fn replace(shared: &Arc<Shared>) -> Instant {
    let replacing = shared.clone();
    match spawn_blocking(move || replacing.replace()).await {
        Ok(Ok(())) => {}
        // The old one goes on with what it has: its certificates may still be valid.
        Ok(Err(error)) => {
            tracing::error!(%error, "a new producer could not be started");
            sleep(REPLACE_INTERVAL).await;
        }
        Err(error) => tracing::error!(%error, "a new producer could not be started"),
    }
    Instant::now()
}

/// Lets a client end what it has begun.
async fn retire(client: Arc<Client>, patience: Duration) {
    let flushed = spawn_blocking(move || client.flush(patience)).await;
    if let Ok(Err(error)) = flushed {
        tracing::warn!(%error, "a producer was stopped before all of its records were answered");
    }
}

async fn probe(shared: &Arc<Shared>) {
    let Some(client) = shared.current() else { return };
    let asked = spawn_blocking(move || match client.probe(PROBE_PATIENCE) {
        Ok(()) => client.condition.proved(),
        Err(error) => {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            client.condition.disproved(&code.to_string());
        }
    });
    if let Err(error) = asked.await {
        tracing::error!(%error, "a producer could not be asked whether it works");
    }
}
