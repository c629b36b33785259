//! Looks at a partition: what is there now, from the broker that leads it now.
//!
//! A leader that has moved, and a broker that is away for a moment, are looked for again; what is told are errors
//! that outlast [`PATIENCE`].

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{sleep, timeout};
use trigon_core::name::{Offset, TopicPartition};
use uuid::Uuid;

use super::answer::{self, Answer, Limits, READ_COMMITTED, Wanted};
use super::tail::Source;
use super::{LOOK_BYTES, LOOK_LINES, PATIENCE};
use crate::LogError;
use crate::kafka::topics::{END, START};
use crate::kafka::wire::{Cluster, LeaderEpoch, Line, NodeId, Patience, Setback, WireError};

/// The shortest wait when Kafka wants to be left alone.
const THROTTLED_WAIT: Duration = Duration::from_millis(20);

/// A phase of a look that lasts longer is told to whoever debugs.
const SLOW: Duration = Duration::from_secs(1);

/// The first version of Fetch that names topics by their identifiers: Kafka 3.1.
const BY_TOPIC_ID: i16 = 13;

/// The partition that a scan reads.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) cluster: Cluster,
    pub(super) at: TopicPartition,
    pub(super) topic: Uuid,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leader {
    pub(super) node: NodeId,
    pub(super) epoch: LeaderEpoch,
}

/// What a look has found.
#[derive(Debug)]
pub(super) struct Look {
    /// Who leads the partition.
    pub(super) leader: Leader,
    /// What is there. It begins above the offset that was asked for where retention has removed that.
    pub(super) answer: Answer,
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    /// It stays so.
    Lasting(LogError),
    /// It may be otherwise in a moment.
    Passing(String),
    /// Kafka wants to be left alone for so long.
    Throttled(Duration),
}

impl From<WireError> for Trouble {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Unsupported { .. } => Self::Lasting(error.into()),
            _ => Self::Passing(error.to_string()),
        }
    }
}

impl Target {
    /// What the tail calls it.
    pub(super) fn source(&self) -> Source {
        Source { topic: self.topic, partition: self.at.partition }
    }

    /// Looks what there is at an offset and above. Where there is nothing yet the answer has no records.
    pub(super) async fn look(&self, from: Offset) -> Result<Look, LogError> {
        let mut patience = Patience::new(PATIENCE);
        loop {
            let reason = match self.attempt(from).await {
                Ok(look) => return Ok(look),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Throttled(time)) => {
                    sleep(time.max(THROTTLED_WAIT)).await;
                    patience.renew(PATIENCE);
                    continue;
                }
                Err(Trouble::Passing(reason)) => reason,
            };
            self.cluster.forget(&self.at.topic);
            let TopicPartition { topic, partition } = &self.at;
            let error = LogError::Failed(format!(
                "could not read partition {partition} of topic {topic} at offset {from}: {reason}"
            ));
            patience.after(Setback::Passing(error)).await?;
        }
    }

    async fn attempt(&self, from: Offset) -> Result<Look, Trouble> {
        let leader = self.watched("lookup of the leader", None, self.leader()).await?;
        match self.fetch(leader, from).await? {
            Ok(answer) => Ok(Look { leader, answer }),
            Err(ResponseError::OffsetOutOfRange) => self.aside(leader, from).await,
            Err(error) => Err(self.trouble(leader.node, error)),
        }
    }

    async fn leader(&self) -> Result<Leader, Trouble> {
        let passing = |error: LogError| match error {
            LogError::Failed(reason) => Trouble::Passing(reason),
            lasting => Trouble::Lasting(lasting),
        };
        let view = self.cluster.topic(&self.at.topic).await.map_err(passing)?;
        if view.id != self.topic {
            // Another one of that name.
            return Err(Trouble::Lasting(LogError::UnknownTopic(self.at.topic.clone())));
        }
        let node = view.leader(&self.at.topic, self.at.partition).map_err(passing)?;
        Ok(Leader { node, epoch: view.epoch(self.at.partition) })
    }

    async fn fetch(&self, leader: Leader, from: Offset) -> Result<Result<Answer, ResponseError>, Trouble> {
        let connecting = self.cluster.connection(leader.node, self.line());
        let connection = self.watched("connection", Some(leader.node), connecting).await?;
        if connection.version::<FetchRequest>()? < BY_TOPIC_ID {
            let address = connection.address();
            return Err(Trouble::Lasting(LogError::Failed(format!(
                "{address} is too old: reading takes Kafka 3.1 or later"
            ))));
        }
        let wanted = [Wanted { source: self.source(), epoch: leader.epoch, from }];
        let limits = Limits { wait_ms: 0, bytes: LOOK_BYTES, partition_bytes: LOOK_BYTES };
        let request = answer::request(&wanted, limits);
        let fetching = connection.call(&request, self.cluster.deadline());
        let response = self.watched("fetch", Some(leader.node), fetching).await?;
        let throttled = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
        let answers = answer::answers(&wanted, response).map_err(|error| self.trouble(leader.node, error))?;
        answers.into_values().next().ok_or(Trouble::Throttled(throttled))
    }

    /// Kafka has said that there is no such offset: goes on at the start when that is above, and waits at the end
    /// when that is below.
    async fn aside(&self, leader: Leader, from: Offset) -> Result<Look, Trouble> {
        let start = self.offset(leader, START).await?;
        let end = self.offset(leader, END).await?;
        if from > end {
            let answer = Answer { from, start, end, records: Default::default(), aborted: Vec::new() };
            return Ok(Look { leader, answer });
        }
        if from >= start {
            return Err(self.trouble(leader.node, ResponseError::OffsetOutOfRange));
        }
        match self.fetch(leader, start).await? {
            Ok(answer) => Ok(Look { leader, answer }),
            Err(error) => Err(self.trouble(leader.node, error)),
        }
    }

    async fn offset(&self, leader: Leader, time: i64) -> Result<Offset, Trouble> {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(answer::number(self.at.partition))
            .with_current_leader_epoch(leader.epoch.0)
            .with_timestamp(time);
        let topic = ListOffsetsTopic::default()
            .with_name(WireName(StrBytes::from_string(self.at.topic.as_str().to_owned())))
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(READ_COMMITTED)
            .with_topics(vec![topic]);
        let asking = self.cluster.ask(leader.node, self.line(), &request);
        let response = self.watched("offsets", Some(leader.node), asking).await?;
        let found = response.topics.first().and_then(|topic| topic.partitions.first());
        let Some(found) = found else {
            let reason = format!("broker {} did not tell the partition's offsets", leader.node.0);
            return Err(Trouble::Passing(reason));
        };
        match ResponseError::try_from_code(found.error_code) {
            None => Ok(answer::offset(found.offset)),
            Some(error) => Err(self.trouble(leader.node, error)),
        }
    }

    /// Does a part of a look, and says so when it takes long.
    async fn watched<T>(&self, phase: &str, node: Option<NodeId>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(SLOW, &mut work).await {
            return done;
        }
        let TopicPartition { topic, partition } = &self.at;
        let node = node.map(|node| node.0);
        tracing::debug!(%topic, %partition, node, phase, "a look at a partition takes long");
        work.await
    }

    fn trouble(&self, node: NodeId, error: ResponseError) -> Trouble {
        let TopicPartition { topic, partition } = &self.at;
        match error {
            ResponseError::TopicAuthorizationFailed => Trouble::Lasting(LogError::Failed(format!(
                "could not read partition {partition} of topic {topic} from broker {}: {error}",
                node.0
            ))),
            // That a topic is gone says the cluster, which is asked next.
            _ => Trouble::Passing(format!("broker {} says: {error}", node.0)),
        }
    }

    fn line(&self) -> Line {
        Line::CatchUp(u8::try_from(self.at.partition.0 % LOOK_LINES).unwrap_or(0))
    }
}
