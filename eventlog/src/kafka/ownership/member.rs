//! The member of the group: one consumer of librdkafka's at a time, on the thread that polls it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;
use trigon_core::name::{PartitionId, TopicName, TopicPartition};

use super::holdings::Holdings;
use super::{Desk, LOCKED};
use crate::kafka::KafkaConfig;
use crate::kafka::native;
use crate::kafka::properties;
use crate::kafka::security::Security;

/// How long the thread sleeps in librdkafka: no longer, because the dispatcher has no means to wake it.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same while the dispatcher drains.
const PATIENCE_DRAINING: Duration = Duration::from_millis(10);

/// How long to wait after a client that could not be started or go on.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

/// What the group decided.
enum Decision {
    Assigned(TopicPartitionList),
    Revoked(TopicPartitionList),
    Lost(TopicPartitionList),
}

/// What librdkafka calls back, on the thread that polls.
struct Context {
    security: watch::Receiver<Arc<Security>>,
    /// Decisions that are not answered yet; librdkafka makes one at a time.
    decisions: Mutex<Vec<Decision>>,
    /// The consumer is being dropped: nobody answers decisions any more.
    is_closing: AtomicBool,
}

/// Why a consumer is no longer served.
enum End {
    /// The dispatcher has gone.
    Closed,
    /// Connections are to be secured differently.
    Rotated,
    /// It cannot go on.
    Fatal(KafkaError),
}

struct Member {
    consumer: BaseConsumer<Context>,
    security: Arc<Security>,
    subscribed: BTreeSet<TopicName>,
    /// To be given back as soon as the dispatcher has let go of it.
    revoked: Option<TopicPartitionList>,
    /// What was last complained of, so that it is logged once.
    complaint: Option<RDKafkaErrorCode>,
}

/// Is a member of the group until the dispatcher goes.
pub(super) fn run(config: &KafkaConfig, desk: &Desk) {
    loop {
        let end = match Member::start(config) {
            Ok(mut member) => {
                let end = member.serve(config, desk);
                if matches!(end, End::Fatal(_)) {
                    // Before anybody else has them.
                    desk.update(Holdings::lost_all);
                }
                drop(member);
                end
            }
            Err(error) => End::Fatal(error),
        };
        match end {
            End::Closed => {
                tracing::info!("left the group of the dispatchers");
                return;
            }
            End::Rotated => {
                tracing::info!("the security of connections to Kafka has changed: joining the group again")
            }
            End::Fatal(error) => {
                // Also where the configuration is refused: a certificate may be half written.
                tracing::warn!(%error, "the member of the group cannot go on: joining again");
                thread::sleep(RESTART_INTERVAL);
            }
        }
        if desk.with(|state| state.is_closed) {
            return;
        }
    }
}

impl Member {
    fn start(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let security = config.security.borrow().clone();
        let context = Context {
            security: config.security.clone(),
            decisions: Mutex::default(),
            is_closing: AtomicBool::new(false),
        };
        let consumer = properties::client_config(config, &security).create_with_context(context)?;
        Ok(Self { consumer, security, subscribed: BTreeSet::new(), revoked: None, complaint: None })
    }

    fn serve(&mut self, config: &KafkaConfig, desk: &Desk) -> End {
        let mut is_rotating = false;
        loop {
            let (is_closed, wanted) = desk.with(|state| {
                let is_new = state.wanted != self.subscribed;
                (state.is_closed, is_new.then(|| state.wanted.clone()))
            });
            if is_closed {
                return End::Closed;
            }
            is_rotating |= native::needs_new_client(&self.security, &config.security.borrow());
            let done = if is_rotating {
                self.subscribe(BTreeSet::new())
            } else {
                wanted.map_or(Ok(()), |wanted| self.subscribe(wanted))
            };
            if let Err(error) = done {
                return End::Fatal(error);
            }
            if let Err(error) = self.poll(config) {
                return End::Fatal(error);
            }
            if let Err(error) = self.answer(desk) {
                return End::Fatal(error);
            }
            // Until then two of our own clients could hold the same partition.
            if is_rotating && self.revoked.is_none() && desk.with(|state| state.holdings.are_empty()) {
                return End::Rotated;
            }
        }
    }

    /// Asks for these topics and no others.
    fn subscribe(&mut self, wanted: BTreeSet<TopicName>) -> Result<(), KafkaError> {
        if wanted == self.subscribed {
            return Ok(());
        }
        if wanted.is_empty() {
            self.consumer.unsubscribe();
        } else {
            let names: Vec<_> = wanted.iter().map(TopicName::as_str).collect();
            self.consumer.subscribe(&names)?;
        }
        self.subscribed = wanted;
        Ok(())
    }

    /// Lets librdkafka work.
    fn poll(&mut self, config: &KafkaConfig) -> Result<(), KafkaError> {
        let patience = if self.revoked.is_some() { PATIENCE_DRAINING } else { PATIENCE };
        // librdkafka looks only once a second whether a heartbeat is due, and otherwise when it is asked something.
        // The answer is of no use, but without the question a rebalance would be heard of up to a second late.
        drop(self.consumer.group_metadata());
        let code = match self.consumer.poll(patience) {
            // A record that was under way before its partition was paused; the readers read it, too.
            None | Some(Ok(_)) => return Ok(()),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            Some(Err(error)) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
        };
        let complaint = self.complaint.replace(code);
        // Topics may be asked for before they exist.
        if complaint == Some(code) || code == RDKafkaErrorCode::UnknownTopicOrPartition {
            return Ok(());
        }
        let group = config.installation.dispatchers();
        match code {
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                tracing::warn!(%group, "not authorised for the operation Read on the group of the dispatchers");
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                tracing::warn!(%group, "not authorised for the operations Describe and Read on a Broker's topic");
            }
            code => tracing::warn!(%group, error = %code, "the group of the dispatchers has trouble"),
        }
        Ok(())
    }

    /// Does what the group decided, as far as the dispatcher lets it.
    fn answer(&mut self, desk: &Desk) -> Result<(), KafkaError> {
        let mut decisions = self.consumer.context().take().into_iter();
        while let Some(decision) = decisions.next() {
            if let Err(error) = self.carry_out(&decision, desk) {
                // Whoever leaves has to answer them: librdkafka waits for it for ever.
                self.consumer.context().put_back(std::iter::once(decision).chain(decisions));
                return Err(error);
            }
        }
        let Some(list) = &self.revoked else { return Ok(()) };
        if self.consumer.assignment_lost() {
            // The session ended while the dispatcher drained.
            desk.update(|holdings| holdings.lost(&partitions(list)));
        }
        if desk.may_return(Instant::now()) {
            self.consumer.incremental_unassign(list)?;
            self.revoked = None;
        }
        Ok(())
    }

    /// Does what the group decided, or begins to.
    fn carry_out(&mut self, decision: &Decision, desk: &Desk) -> Result<(), KafkaError> {
        match decision {
            Decision::Assigned(list) => {
                let mut list = list.clone();
                list.set_all_offsets(Offset::End)?;
                self.consumer.incremental_assign(&list)?;
                if list.count() > 0 {
                    tracing::info!(partitions = list.count(), "partitions were given to this dispatcher");
                    self.consumer.pause(&list)?;
                    self.complaint = None;
                }
                desk.update(|holdings| holdings.assigned(partitions(&list)));
            }
            Decision::Revoked(list) => {
                tracing::info!(
                    partitions = list.count(),
                    "partitions go to other dispatchers once they are drained"
                );
                desk.update(|holdings| holdings.revoked(&partitions(list), Instant::now()));
                self.revoked = Some(list.clone());
            }
            Decision::Lost(list) => {
                tracing::warn!(
                    partitions = list.count(),
                    "partitions have gone to other dispatchers: this one was away for longer than its session"
                );
                desk.update(|holdings| holdings.lost(&partitions(list)));
                self.revoked = None;
                self.consumer.incremental_unassign(list)?;
            }
        }
        Ok(())
    }
}

/// Leaves the group at once, also when the thread panics: the consumer's own drop waits for ever for the answer to a
/// decision.
impl Drop for Member {
    fn drop(&mut self) {
        let context = self.consumer.context();
        // From here on a decision is carried out where it is heard of.
        context.is_closing.store(true, Ordering::Relaxed);
        if let Some(list) = &self.revoked {
            acknowledge(&self.consumer, false, list);
        }
        for decision in context.take() {
            match decision {
                Decision::Assigned(list) => acknowledge(&self.consumer, true, &list),
                Decision::Revoked(list) | Decision::Lost(list) => acknowledge(&self.consumer, false, &list),
            }
        }
        // Taken only after a fatal error: then librdkafka wants no other answer.
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "nothing else was assigned in a group that is being left");
        }
    }
}

/// Answers a decision of a group that is being left, whatever is wrong with it.
fn acknowledge(consumer: &BaseConsumer<Context>, is_assigned: bool, list: &TopicPartitionList) {
    let answer = |list: &TopicPartitionList| match is_assigned {
        true => consumer.incremental_assign(list),
        false => consumer.incremental_unassign(list),
    };
    // What is refused as it is can still be answered with nothing.
    let answered = answer(list).or_else(|_| answer(&TopicPartitionList::new()));
    if let Err(error) = answered.or_else(|_| consumer.unassign()) {
        tracing::debug!(%error, "a decision of a group that is being left could not be carried out");
    }
}

impl Context {
    fn take(&self) -> Vec<Decision> {
        std::mem::take(&mut *self.decisions.lock().expect(LOCKED))
    }

    /// Only the thread that polls adds any, so these are the first.
    fn put_back(&self, decisions: impl Iterator<Item = Decision>) {
        self.decisions.lock().expect(LOCKED).splice(0..0, decisions);
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        native::log(level, "ownership", facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", client = "ownership", %error, "{reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        Ok(native::oauth_token(&self.security.borrow(), SystemTime::now())?)
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assigned = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.is_closing.load(Ordering::Relaxed) {
            acknowledge(consumer, is_assigned, list);
            return;
        }
        let decision = match (is_assigned, consumer.assignment_lost()) {
            (true, _) => Decision::Assigned(list.clone()),
            (false, false) => Decision::Revoked(list.clone()),
            (false, true) => Decision::Lost(list.clone()),
        };
        self.decisions.lock().expect(LOCKED).push(decision);
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let known = elements.iter().filter_map(|element| {
        let partition = PartitionId(u32::try_from(element.partition()).ok()?);
        Some(TopicPartition { topic: TopicName::external(element.topic()), partition })
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use tokio::sync::Notify;

    use super::super::State;
    use super::*;
    use crate::kafka::test_topics::{DEADLINE, config};

    /// Neither that one nor the one that came after it is forgotten, and leaving does not wait for ever.
    #[test]
    fn a_decision_that_cannot_be_carried_out_is_still_answered() {
        let cluster: MockCluster<'_, DefaultProducerContext> =
            MockCluster::new(1).expect("a mock cluster starts");
        cluster.create_topic("orders", 1, 1).expect("a topic can be made");
        let config = config(&cluster.bootstrap_servers());
        let mut member = Member::start(&config).expect("librdkafka takes the configuration");
        member.subscribe(BTreeSet::from([TopicName::external("orders")])).expect("it can be asked for");
        let begin = Instant::now();
        while member.consumer.context().decisions.lock().expect(LOCKED).is_empty() {
            assert!(begin.elapsed() < DEADLINE, "nothing is assigned");
            member.poll(&config).expect("the cluster works");
        }
        let mut stranger = TopicPartitionList::new();
        stranger.add_partition("nobody's", 7);
        member.consumer.context().put_back(std::iter::once(Decision::Lost(stranger)));
        let state = State { holdings: Holdings::default(), wanted: BTreeSet::new(), is_closed: false };
        let desk = Desk { state: Mutex::new(state), changed: Notify::new() };
        member.answer(&desk).expect_err("it was never assigned");
        assert_eq!(member.consumer.context().decisions.lock().expect(LOCKED).len(), 2);
        let (leaving, left) = mpsc::sync_channel::<()>(1);
        let thread = thread::spawn(move || {
            drop(member);
            drop(leaving);
        });
        assert_eq!(
            left.recv_timeout(DEADLINE),
            Err(mpsc::RecvTimeoutError::Disconnected),
            "it does not leave"
        );
        thread.join().expect("it does not panic");
    }
}
