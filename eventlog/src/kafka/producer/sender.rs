//! Sends what is queued: one task, and one request at a time to each broker.
//!
//! Kafka serves one request per connection at a time, so that a second one would only wait there. Whatever comes
//! while one is under way goes together with the next.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use trigon_core::name::TopicName;

use super::append::Cause;
use super::condition::Condition;
use super::numbers::{Numbers, new_numbers};
use super::queue::{Queued, Sending, TopicQueue};
use super::request::{Answers, Sent, produce};
use super::verdict::Verdict;
use crate::LogError;
use crate::kafka::records::{Compression, ProducerId};
use crate::kafka::wire::{Cluster, NodeId, Setback, TopicView};

/// A lock is held to push or to swap: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the intake";

/// How large a request becomes, in bytes of its batches; one batch may be larger.
const REQUEST_BYTES: usize = 4 << 20;

/// How old a view of a topic becomes before the cluster is asked again: new partitions are found within it.
const VIEW_AGE: Duration = Duration::from_secs(5);

/// How soon the cluster is asked again for what an answer has shown to be outdated.
const LOOK_UP_PACE: Duration = Duration::from_millis(50);

/// What comes in.
#[derive(Debug, Default)]
pub(super) struct Intake {
    new: Mutex<Vec<(TopicName, Vec<Queued>)>>,
    arrived: Notify,
    is_closed: AtomicBool,
}

impl Intake {
    /// Hands records over; false when the intake is closed.
    pub(super) fn put(&self, topic: &TopicName, records: Vec<Queued>) -> bool {
        let mut new = self.new.lock().expect(LOCKED);
        if self.is_closed.load(Ordering::Relaxed) {
            return false;
        }
        new.push((topic.clone(), records));
        drop(new);
        self.arrived.notify_one();
        true
    }

    /// Takes nothing more. The sender ends when all that was taken is answered.
    pub(super) fn close(&self) {
        let new = self.new.lock().expect(LOCKED);
        self.is_closed.store(true, Ordering::Relaxed);
        drop(new);
        self.arrived.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// How to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) batch_bytes: usize,
    pub(super) compression: Compression,
}

/// The task.
pub(super) struct Sender {
    cluster: Cluster,
    settings: Settings,
    intake: Arc<Intake>,
    condition: Arc<Condition>,
    topics: Vec<Topic>,
    places: HashMap<TopicName, usize>,
    /// Topics in which something waits.
    active: BTreeSet<usize>,
    /// Brokers that have a request of ours.
    busy: BTreeSet<NodeId>,
    requests: Pending<(NodeId, Answers)>,
    /// Who is served first: another each time.
    turn: usize,
    lookups: Pending<(usize, Seen)>,
    numbers: Numbers,
    numbering: Pending<Result<ProducerId, Setback>>,
}

/// Questions to Kafka that are under way.
type Pending<T> = FuturesUnordered<BoxFuture<'static, T>>;

/// What the cluster says of a topic.
type Seen = Result<Arc<TopicView>, Setback>;

struct Topic {
    queue: TopicQueue,
    /// Whether it is told already that records are given up.
    is_told: bool,
    is_looked_up: bool,
    /// When the cluster may be asked again.
    look_from: Instant,
    /// When it has to be.
    look_by: Instant,
}

impl Sender {
    pub(super) fn new(
        cluster: Cluster,
        settings: Settings,
        intake: Arc<Intake>,
        condition: Arc<Condition>,
    ) -> Self {
        Self {
            cluster,
            settings,
            intake,
            condition,
            topics: Vec::new(),
            places: HashMap::new(),
            active: BTreeSet::new(),
            busy: BTreeSet::new(),
            requests: FuturesUnordered::new(),
            turn: 0,
            lookups: FuturesUnordered::new(),
            numbers: Numbers::default(),
            numbering: FuturesUnordered::new(),
        }
    }

    /// Sends until the intake is closed and everything is answered.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_in(now);
            self.expire(now);
            self.look_up(now);
            self.renumber(now);
            self.send(now);
            if self.is_done() {
                return;
            }
            let next = self.next_change(now);
            let intake = Arc::clone(&self.intake);
            tokio::select! {
                () = intake.arrived.notified() => {}
                Some((node, answers)) = self.requests.next(), if !self.requests.is_empty() => {
                    self.answered(node, answers);
                }
                Some((place, seen)) = self.lookups.next(), if !self.lookups.is_empty() => {
                    self.seen(place, seen);
                }
                Some(numbered) = self.numbering.next(), if !self.numbering.is_empty() => {
                    self.numbered(numbered);
                }
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
            }
        }
    }

    fn take_in(&mut self, now: Instant) {
        let new = std::mem::take(&mut *self.intake.new.lock().expect(LOCKED));
        for (name, records) in new {
            let place = match self.places.get(&name) {
                Some(place) => *place,
                None => {
                    let queue = TopicQueue::new(name.clone(), self.settings.batch_bytes);
                    self.topics.push(Topic {
                        queue,
                        is_told: false,
                        is_looked_up: false,
                        look_from: now,
                        look_by: now,
                    });
                    self.places.insert(name, self.topics.len() - 1);
                    self.topics.len() - 1
                }
            };
            self.active.insert(place);
            for queued in records {
                self.topics[place].queue.push(queued);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let complaint = self.condition.complaint();
        let topics = &mut self.topics;
        self.active.retain(|place| {
            let Topic { queue, is_told, .. } = &mut topics[*place];
            if queue.expire(now, complaint.as_ref()) && !std::mem::replace(is_told, true) {
                tracing::warn!(
                    topic = %queue.name(),
                    reason = complaint.as_deref().unwrap_or("it is not known why"),
                    "records are not stored within the append deadline, until some are again"
                );
            }
            queue.is_waiting()
        });
    }

    /// Asks what the cluster says of topics that are not known, or not any more.
    fn look_up(&mut self, now: Instant) {
        for place in &self.active {
            let topic = &mut self.topics[*place];
            let is_outdated = topic.queue.is_outdated();
            let is_due = if is_outdated { now >= topic.look_from } else { now >= topic.look_by };
            if topic.is_looked_up || !is_due {
                continue;
            }
            topic.is_looked_up = true;
            topic.look_from = now + LOOK_UP_PACE;
            let (cluster, name, place) = (self.cluster.clone(), topic.queue.name().clone(), *place);
            if is_outdated {
                cluster.forget(&name);
            }
            self.lookups.push(Box::pin(async move { (place, cluster.view(&name).await) }));
        }
    }

    fn seen(&mut self, place: usize, seen: Seen) {
        let topic = &mut self.topics[place];
        topic.is_looked_up = false;
        let reason = match seen {
            Ok(view) => {
                topic.look_by = Instant::now() + VIEW_AGE;
                return topic.queue.seen(view);
            }
            Err(Setback::Lasting(LogError::UnknownTopic(_))) => return topic.queue.unknown(),
            Err(Setback::Lasting(error)) => {
                let reason: Arc<str> = error.to_string().into();
                topic.queue.fail(&Cause::Refused(Arc::clone(&reason)));
                reason
            }
            Err(Setback::Passing(error)) => error.to_string().into(),
        };
        topic.look_by = Instant::now() + LOOK_UP_PACE;
        self.condition.met(reason);
    }

    /// Asks for new numbers where there are none, or those that there are cannot be used any more.
    fn renumber(&mut self, now: Instant) {
        let wants =
            |producer| self.active.iter().any(|at| self.topics[*at].queue.wants_numbers(producer, now));
        if self.numbers.must_ask(now, wants) {
            self.numbering.push(Box::pin(new_numbers(self.cluster.clone())));
        }
    }

    fn numbered(&mut self, numbered: Result<ProducerId, Setback>) {
        let now = Instant::now();
        match numbered {
            Ok(producer) => {
                self.numbers.are(producer, now);
                self.condition.numbered(Ok(()));
            }
            Err(Setback::Passing(error)) => {
                self.numbers.failed(now);
                self.condition.met(error.to_string().into());
            }
            Err(Setback::Lasting(error)) => {
                self.numbers.failed(now);
                let reason: Arc<str> = error.to_string().into();
                self.condition.numbered(Err(Arc::clone(&reason)));
                for place in &self.active {
                    self.topics[*place].queue.fail(&Cause::Refused(Arc::clone(&reason)));
                }
            }
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(producer) = self.numbers.current() else { return };
        let mut ready = BTreeSet::new();
        for place in &self.active {
            self.topics[*place].queue.ready(now, &mut ready);
        }
        let nodes: Vec<_> = ready.difference(&self.busy).copied().collect();
        let places: Vec<_> = self.active.iter().copied().collect();
        for node in rotated(&nodes, self.turn) {
            let sending = Sending { node, producer, compression: self.settings.compression };
            let mut room = REQUEST_BYTES;
            let mut sent = Vec::new();
            for place in rotated(&places, self.turn) {
                let queue = &mut self.topics[place].queue;
                let batches = queue.send(sending, now, &mut room);
                if let Some(view) = queue.view().filter(|_| !batches.is_empty()) {
                    sent.push(Sent { place, topic: queue.name().clone(), id: view.id, batches });
                }
            }
            if !sent.is_empty() {
                self.turn = self.turn.wrapping_add(1);
                self.busy.insert(node);
                let request = produce(self.cluster.clone(), node, sent);
                self.requests.push(Box::pin(async move { (node, request.await) }));
            }
        }
    }

    fn answered(&mut self, node: NodeId, answers: Answers) {
        if answers.throttled.is_zero() {
            self.busy.remove(&node);
        } else {
            // Kafka reads nothing from us before.
            let pause = sleep(answers.throttled);
            self.requests.push(Box::pin(async move {
                pause.await;
                (node, Answers::default())
            }));
        }
        let now = Instant::now();
        for (place, partition, verdict) in answers.verdicts {
            match &verdict {
                Verdict::Stored(_) => {
                    self.condition.stored();
                    self.topics[place].is_told = false;
                }
                Verdict::Again(_, reason) | Verdict::Renumber(reason) => {
                    let topic = self.topics[place].queue.name();
                    tracing::debug!(%topic, %partition, %reason, "a batch is sent again");
                    self.condition.met(Arc::clone(reason));
                }
                Verdict::Split(_) | Verdict::Failed(..) => {}
            }
            let queue = &mut self.topics[place].queue;
            queue.answered(partition, verdict, now);
            if queue.is_waiting() {
                self.active.insert(place);
            }
        }
    }

    fn next_change(&self, now: Instant) -> Option<Instant> {
        let of_topic = |place: &usize| {
            let topic = &self.topics[*place];
            let look = if topic.queue.is_outdated() { topic.look_from } else { topic.look_by };
            let look = (!topic.is_looked_up).then_some(look);
            look.into_iter().chain(topic.queue.next_change(now)).min()
        };
        let topics = self.active.iter().filter_map(of_topic);
        topics.chain(self.numbers.ask_from(now)).min()
    }

    fn is_done(&self) -> bool {
        self.intake.is_closed()
            && self.active.is_empty()
            && self.requests.is_empty()
            && self.intake.new.lock().expect(LOCKED).is_empty()
    }
}

/// All of them, another one first each turn.
fn rotated<T: Copy>(all: &[T], turn: usize) -> impl Iterator<Item = T> {
    let (before, from) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    from.iter().chain(before).copied()
}
