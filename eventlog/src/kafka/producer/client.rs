//! One client of librdkafka's: sends records, and hears what became of them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::watch;
use trigon_core::name::{Offset, PartitionId, Position, TopicName};
use trigon_core::record::Record;

use super::batch::{Fate, Ticket};
use super::condition::Condition;
use crate::kafka::KafkaConfig;
use crate::kafka::native;
use crate::kafka::properties::{self, Clients};
use crate::kafka::security::Security;

/// A running client.
pub(super) struct Client {
    native: Option<ThreadedProducer<Context>>,
    /// What it was made with.
    pub(super) security: Arc<Security>,
    /// The largest batch that it makes.
    pub(super) batch_bytes: usize,
    pub(super) condition: Arc<Condition>,
}

/// What librdkafka calls back.
struct Context {
    condition: Arc<Condition>,
    security: watch::Receiver<Arc<Security>>,
}

/// It is there until the client is dropped.
const RUNNING: &str = "the client runs until it is dropped";

/// A client that asks for the settings of topics.
pub(super) fn admin(config: &KafkaConfig) -> Result<AdminClient<impl ClientContext + use<>>, KafkaError> {
    let security = config.security.borrow().clone();
    let context =
        Context { condition: Arc::new(Condition::new(&config.bootstrap)), security: config.security.clone() };
    properties::client_config(Clients::Producer, config, &security).create_with_context(context)
}

impl Client {
    /// Starts a client; it connects by itself.
    pub(super) fn start(
        config: &KafkaConfig,
        condition: Condition,
        batch_bytes: usize,
    ) -> Result<Self, KafkaError> {
        let security = config.security.borrow().clone();
        let condition = Arc::new(condition);
        let context = Context { condition: condition.clone(), security: config.security.clone() };
        let mut settings = properties::client_config(Clients::Producer, config, &security);
        settings.set("batch.size", batch_bytes.to_string());
        let native = Some(settings.create_with_context(context)?);
        Ok(Self { native, security, batch_bytes, condition })
    }

    /// Queues a record; the report goes to its ticket.
    pub(super) fn send(
        &self,
        topic: &TopicName,
        record: &Record,
        ticket: Ticket,
    ) -> Result<(), RDKafkaErrorCode> {
        let mut native = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic.as_str(), Box::new(ticket))
            .timestamp(record.timestamp.0);
        native.key = record.key.as_deref();
        native.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let add = |headers: OwnedHeaders, (name, value): &(_, bytes::Bytes)| {
                let name: &bytestring::ByteString = name;
                headers.insert(Header { key: name, value: Some(&value[..]) })
            };
            native.headers = Some(record.headers.iter().fold(headers, add));
        }
        self.native().send(native).map_err(|(error, _)| code(&error))
    }

    /// What has ended the client for good, if anything.
    pub(super) fn fatal_error(&self) -> Option<String> {
        self.native().client().fatal_error().map(|(code, reason)| match code {
            RDKafkaErrorCode::ClusterAuthorizationFailed => {
                format!("{reason}: not authorised for the operation Write on any topic")
            }
            _ => reason,
        })
    }

    /// Asks the cluster anything, to find out whether it answers. Blocks.
    pub(super) fn probe(&self, patience: Duration) -> Result<(), KafkaError> {
        self.native().client().fetch_metadata(None, patience).map(drop)
    }

    /// Waits until everything is answered. Blocks.
    pub(super) fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        self.native().flush(patience)
    }

    fn native(&self) -> &ThreadedProducer<Context> {
        self.native.as_ref().expect(RUNNING)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let native = self.native.take();
        // librdkafka joins its threads, for up to a second: never on a thread of the async runtime. It needs no owner:
        // nothing waits for it, and it ends by itself.
        let stopping =
            thread::Builder::new().name("kafka-producer-stop".to_owned()).spawn(move || drop(native));
        if let Err(error) = stopping {
            tracing::warn!(%error, "a client of Kafka was stopped in place: no thread could be started");
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        native::log(level, "producer", facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.condition.error(code(&error), reason);
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        Ok(native::oauth_token(&self.security.borrow(), SystemTime::now())?)
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(message) => {
                self.condition.stored();
                match position(message) {
                    Some(at) => ticket.stored(at),
                    // Acknowledged, but nobody knows where.
                    None => ticket.failed(RDKafkaErrorCode::BadMessage, Fate::Unknown),
                }
            }
            Err((error, message)) => {
                let code = code(error);
                if code == RDKafkaErrorCode::MessageTimedOut {
                    self.condition.doubt();
                }
                ticket.failed(code, fate(message));
            }
        }
    }
}

fn position(message: &BorrowedMessage<'_>) -> Option<Position> {
    let partition = PartitionId(u32::try_from(message.partition()).ok()?);
    Some(Position { partition, offset: Offset(u64::try_from(message.offset()).ok()?) })
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)
}

/// Whether a record that was not acknowledged may be stored.
#[expect(unsafe_code, reason = "librdkafka knows it and rdkafka does not tell")]
fn fate(message: &BorrowedMessage<'_>) -> Fate {
    use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
    // SAFETY: the message came with a delivery report and lives as long as this borrow; its status is only read.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    match status {
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Fate::NotStored,
        rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED
        | rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Fate::Unknown,
    }
}
