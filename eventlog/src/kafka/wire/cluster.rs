//! The brokers of a cluster, who leads which partition, and the connections to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName as WireName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::watch;
use tokio::time::timeout;
use trigon_core::name::{PartitionId, TopicName};
use uuid::Uuid;

use super::connection::Connection;
use super::error::WireError;
use super::patience::Setback;
use super::work::{Done, Owner, Waiter, Work};
use crate::LogError;
use crate::kafka::KafkaConfig;
use crate::kafka::security::Security;

/// How long what the cluster said of a topic is taken for true without an error that says otherwise.
const METADATA_AGE: Duration = Duration::from_secs(5);

/// The wait after the first failed attempt to connect to a broker; meanwhile its error is the answer. Each further
/// wait is twice as long.
const FIRST_RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two attempts to connect to a broker.
const LONGEST_RECONNECT_WAIT: Duration = Duration::from_secs(2);

/// A broker's number in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::kafka) struct NodeId(pub(in crate::kafka) i32);

/// Which of a partition's leaders one is; it grows with each. A broker that is asked in the name of another refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::kafka) struct LeaderEpoch(pub(in crate::kafka) i32);

impl LeaderEpoch {
    /// A broker does not check this one.
    pub(in crate::kafka) const UNKNOWN: Self = Self(-1);
}

/// Which of the connections to a broker: Kafka serves one request per connection at a time, so that what takes long
/// has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kafka) enum Line {
    /// Topics, groups, offsets of partitions.
    Admin,
    /// Commits and loads of cursors.
    Cursors(u8),
    /// Records to be stored.
    Appends,
    /// Reads that wait for new records.
    Tail,
    /// Reads of records that are there.
    CatchUp(u8),
}

/// What the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct TopicView {
    /// Names this topic among all of that name that there ever were.
    pub(in crate::kafka) id: Uuid,
    /// Who leads each partition; `None` where nobody does at the moment.
    pub(in crate::kafka) leaders: Vec<Option<NodeId>>,
    /// Since which epoch, by partition.
    pub(in crate::kafka) epochs: Vec<LeaderEpoch>,
}

impl TopicView {
    /// Who leads a partition.
    pub(in crate::kafka) fn leader(
        &self,
        topic: &TopicName,
        partition: PartitionId,
    ) -> Result<NodeId, LogError> {
        match self.leaders.get(usize::try_from(partition.0).unwrap_or(usize::MAX)) {
            Some(Some(leader)) => Ok(*leader),
            Some(None) => {
                Err(LogError::Failed(format!("partition {partition} of topic {topic} has no leader now")))
            }
            None => Err(LogError::UnknownPartition(trigon_core::name::TopicPartition {
                topic: topic.clone(),
                partition,
            })),
        }
    }

    /// The epoch of a partition's leader.
    pub(in crate::kafka) fn epoch(&self, partition: PartitionId) -> LeaderEpoch {
        let place = usize::try_from(partition.0).unwrap_or(usize::MAX);
        self.epochs.get(place).copied().unwrap_or(LeaderEpoch::UNKNOWN)
    }
}

/// A Kafka cluster. Cloning shares the connections.
///
/// Connections are opened and topics looked up by tasks of its own: who waits for one of them and is not polled any
/// more keeps nobody else from it.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Cluster {
    inner: Arc<Inner>,
    work: Work,
    /// `None` in the work itself.
    _owner: Option<Owner>,
}

#[derive(Debug)]
struct Inner {
    bootstrap: Vec<String>,
    security: watch::Receiver<Arc<Security>>,
    deadline: Duration,
    nodes: Mutex<HashMap<NodeId, String>>,
    slots: Mutex<Slots>,
    /// By address: what is wrong there concerns all lines.
    failures: Mutex<HashMap<String, Failure>>,
    topics: Mutex<HashMap<TopicName, (Instant, Arc<TopicView>)>>,
    lookups: Mutex<Lookups>,
}

/// Many who want to know of topics ask once.
#[derive(Debug, Default)]
struct Lookups {
    /// What the next request asks for.
    wanted: Wanted,
    /// Whether a task asks for what is wanted until nothing is.
    is_asking: bool,
}

/// Topics, and who waits for what the cluster says of them.
type Wanted = HashMap<TopicName, Done<Result<Arc<TopicView>, Setback>>>;

/// By address and line.
type Slots = HashMap<(String, Line), Slot>;

#[derive(Debug, Default)]
struct Slot {
    opened: Option<Opened>,
    /// The attempt that is under way.
    opening: Option<Waiter<Result<Arc<Connection>, WireError>>>,
}

#[derive(Debug)]
struct Opened {
    connection: Arc<Connection>,
    /// With what it was secured.
    security: Arc<Security>,
    since: Instant,
}

impl Opened {
    /// Whether another should take its place, which the broker may still refuse.
    fn is_outdated(&self, security: &Arc<Security>) -> bool {
        // Half of a session's life is left for the requests that are on their way.
        let is_old = |lifetime: Duration| self.since.elapsed() >= lifetime / 2;
        self.security != *security || self.connection.lifetime().is_some_and(is_old)
    }
}

/// The last attempt to connect to an address.
#[derive(Clone, Debug)]
struct Failure {
    error: WireError,
    /// What was tried with: another may succeed at once.
    security: Arc<Security>,
    until: Instant,
    wait: Duration,
}

impl Cluster {
    /// A cluster that is first asked when somebody wants something.
    pub(in crate::kafka) fn new(config: &KafkaConfig) -> Self {
        let owner = Owner::default();
        let inner = Inner {
            bootstrap: config.bootstrap.clone(),
            security: config.security.clone(),
            deadline: config.request_deadline,
            nodes: Mutex::default(),
            slots: Mutex::default(),
            failures: Mutex::default(),
            topics: Mutex::default(),
            lookups: Mutex::default(),
        };
        Self { inner: Arc::new(inner), work: owner.work(), _owner: Some(owner) }
    }

    /// The same for work, which is not to keep itself alive.
    fn lent(&self) -> Self {
        Self { _owner: None, ..self.clone() }
    }

    /// How long a request may take.
    pub(in crate::kafka) fn deadline(&self) -> Duration {
        self.inner.deadline
    }

    /// A connection to a broker; opened if there is none.
    pub(in crate::kafka) async fn connection(
        &self,
        node: NodeId,
        line: Line,
    ) -> Result<Arc<Connection>, WireError> {
        let known = lock(&self.inner.nodes).get(&node).cloned();
        match known {
            Some(address) => self.connection_to(&address, line).await.map_err(|error| match error {
                WireError::Unreachable { reason, .. } if !self.inner.bootstrap.contains(&address) => {
                    WireError::Advertised { node: node.0, address, reason }
                }
                error => error,
            }),
            None => Err(WireError::Unreachable {
                address: format!("broker {}", node.0),
                reason: "the cluster has not told its address".to_owned(),
            }),
        }
    }

    /// Sends a request to a broker.
    pub(in crate::kafka) async fn ask<R: Request>(
        &self,
        node: NodeId,
        line: Line,
        request: &R,
    ) -> Result<R::Response, WireError> {
        self.connection(node, line).await?.call(request, self.inner.deadline).await
    }

    /// Sends a request to whichever broker answers. All of them together take no longer than one request may: each
    /// has its share of what is left.
    pub(in crate::kafka) async fn ask_any<R: Request>(&self, request: &R) -> Result<R::Response, WireError> {
        let began = Instant::now();
        let mut last = None;
        let addresses = self.addresses();
        for (address, others) in addresses.iter().zip((0..addresses.len()).rev()) {
            let left = self.inner.deadline.saturating_sub(began.elapsed());
            match self.ask_within(share(left, others), address, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| WireError::Unreachable {
            address: "no broker".to_owned(),
            reason: "no address is known".to_owned(),
        }))
    }

    async fn ask_within<R: Request>(
        &self,
        share: Duration,
        address: &str,
        request: &R,
    ) -> Result<R::Response, WireError> {
        let began = Instant::now();
        let Ok(connection) = timeout(share, self.connection_to(address, Line::Admin)).await else {
            let reason = format!("no answer within {share:?}");
            return Err(WireError::Unreachable { address: address.to_owned(), reason });
        };
        let answer = connection?.call(request, share.saturating_sub(began.elapsed())).await;
        answer.map_err(|error| match error {
            WireError::Deadline { address, request, .. } => {
                WireError::Deadline { address, request, deadline: share }
            }
            error => error,
        })
    }

    /// A connection to the broker that the cluster names as its controller. In KRaft mode that is any of them, and
    /// it passes on what it is asked.
    pub(in crate::kafka) async fn controller(&self) -> Result<Arc<Connection>, WireError> {
        let controller = self.reach().await?;
        self.connection(controller, Line::Admin).await
    }

    /// Asks for nothing but an answer, from any broker; it names the controller.
    pub(in crate::kafka) async fn reach(&self) -> Result<NodeId, WireError> {
        let request =
            MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request).await?;
        self.note_nodes(&answer);
        Ok(NodeId(answer.controller_id.0))
    }

    /// What the cluster says of a topic, at most [`METADATA_AGE`] ago.
    pub(in crate::kafka) async fn topic(&self, topic: &TopicName) -> Result<Arc<TopicView>, LogError> {
        Ok(self.view(topic).await?)
    }

    /// The same, and whether an error may pass.
    pub(in crate::kafka) async fn view(&self, topic: &TopicName) -> Result<Arc<TopicView>, Setback> {
        if let Some(view) = self.fresh(topic) {
            return Ok(view);
        }
        let looked_up = {
            let mut lookups = lock(&self.inner.lookups);
            let waiter = lookups.wanted.entry(topic.clone()).or_insert_with(Done::new).waiter();
            if !std::mem::replace(&mut lookups.is_asking, true) {
                let asking = Asking(Some(self.lent()));
                self.work.begin(asking.run());
            }
            waiter
        };
        looked_up.outcome().await.unwrap_or_else(|| {
            let reason = format!("could not look up topic {topic}: the attempt was given up");
            Err(Setback::Passing(LogError::Failed(reason)))
        })
    }

    /// Asks for topics, and tells each who waits for one of them.
    async fn ask_for(&self, wanted: Wanted) {
        let names: Vec<_> = wanted.keys().cloned().collect();
        let found = self.look_up_all(&names).await;
        for (name, done) in wanted {
            let seen = match &found {
                Ok(found) => outcome(&name, found.get(name.as_str())).map(|found| Arc::new(view(found))),
                Err(setback) => {
                    done.tell(Err(setback.clone()));
                    continue;
                }
            };
            match &seen {
                Ok(view) => {
                    lock(&self.inner.topics).insert(name, (Instant::now(), Arc::clone(view)));
                }
                Err(_) => self.forget(&name),
            }
            done.tell(seen);
        }
    }

    /// Asks the cluster what it says of a topic now.
    pub(in crate::kafka) async fn look_up(
        &self,
        topic: &TopicName,
    ) -> Result<MetadataResponseTopic, Setback> {
        let found = self.look_up_all(std::slice::from_ref(topic)).await?;
        outcome(topic, found.get(topic.as_str())).cloned()
    }

    /// What the cluster says of topics, by their names.
    async fn look_up_all(
        &self,
        topics: &[TopicName],
    ) -> Result<HashMap<String, MetadataResponseTopic>, Setback> {
        let topic = |topic: &TopicName| {
            let name = WireName(StrBytes::from_string(topic.as_str().to_owned()));
            MetadataRequestTopic::default().with_name(Some(name))
        };
        let request = MetadataRequest::default()
            .with_topics(Some(topics.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request).await?;
        self.note_nodes(&answer);
        let named = |found: MetadataResponseTopic| Some((found.name.as_ref()?.as_str().to_owned(), found));
        Ok(answer.topics.into_iter().filter_map(named).collect())
    }

    /// Forgets what the cluster said of a topic: an error has shown that it is not so any more.
    pub(in crate::kafka) fn forget(&self, topic: &TopicName) {
        lock(&self.inner.topics).remove(topic);
    }

    /// Takes the addresses of brokers from an answer.
    pub(in crate::kafka) fn note_node(&self, node: NodeId, host: &str, port: i32) {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        lock(&self.inner.nodes).insert(node, address);
    }

    fn note_nodes(&self, answer: &MetadataResponse) {
        for broker in &answer.brokers {
            self.note_node(NodeId(broker.node_id.0), &broker.host, broker.port);
        }
    }

    fn fresh(&self, topic: &TopicName) -> Option<Arc<TopicView>> {
        let topics = lock(&self.inner.topics);
        let (asked, view) = topics.get(topic)?;
        (asked.elapsed() < METADATA_AGE).then(|| Arc::clone(view))
    }

    /// All that are known, those that the user named first, and last those that could not be reached, or not yet: an
    /// address that swallows what is sent there costs a share of the deadline.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.inner.bootstrap.clone();
        for address in lock(&self.inner.nodes).values() {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let is_opening = |slots: &Slots, address: &str| {
            let slot = slots.get(&(address.to_owned(), Line::Admin));
            slot.is_some_and(|slot| slot.opened.is_none() && slot.opening.is_some())
        };
        let slots = lock(&self.inner.slots);
        let failures = lock(&self.inner.failures);
        addresses.sort_by_cached_key(|address| failures.contains_key(address) || is_opening(&slots, address));
        addresses
    }

    /// The connection of a line. One that is outdated is replaced; where that fails, it serves on.
    async fn connection_to(&self, address: &str, line: Line) -> Result<Arc<Connection>, WireError> {
        let place = (address.to_owned(), line);
        let opening = {
            let mut slots = lock(&self.inner.slots);
            let slot = slots.entry(place.clone()).or_default();
            let security = Arc::clone(&self.inner.security.borrow());
            slot.opened.take_if(|opened| !opened.connection.is_open());
            if let Some(opened) = &slot.opened
                && !opened.is_outdated(&security)
            {
                return Ok(Arc::clone(&opened.connection));
            }
            match slot.opening.as_ref().and_then(Waiter::join) {
                Some(opening) => opening,
                None => {
                    let done = Done::new();
                    slot.opening = Some(done.waiter());
                    let (cluster, waiter) = (self.lent(), done.waiter());
                    self.work.begin(async move { cluster.fill(place, security, done).await });
                    waiter
                }
            }
        };
        opening.outcome().await.unwrap_or_else(|| {
            let reason = "the attempt was given up".to_owned();
            Err(WireError::Unreachable { address: address.to_owned(), reason })
        })
    }

    /// Opens a connection for a slot, and tells who waits for it.
    async fn fill(
        &self,
        place: (String, Line),
        security: Arc<Security>,
        done: Done<Result<Arc<Connection>, WireError>>,
    ) {
        let opened = self.open(&place.0, &security).await;
        let mut slots = lock(&self.inner.slots);
        let slot = slots.entry(place).or_default();
        slot.opening = None;
        let former = slot.opened.as_ref().map(|opened| Arc::clone(&opened.connection));
        done.tell(match (opened, former) {
            (Ok(connection), _) => {
                // The requests of the former are answered: it ends with the last that waits on it.
                let since = Instant::now();
                slot.opened = Some(Opened { connection: Arc::clone(&connection), security, since });
                Ok(connection)
            }
            (Err(error), Some(former)) => {
                let address = former.address();
                tracing::debug!(address, %error, "a connection to Kafka could not be renewed and is used on");
                Ok(former)
            }
            (Err(error), None) => Err(error),
        });
    }

    /// Opens a connection, unless an attempt has failed just now.
    async fn open(&self, address: &str, security: &Arc<Security>) -> Result<Arc<Connection>, WireError> {
        let failure = lock(&self.inner.failures).get(address).cloned();
        let failure = failure.filter(|failure| failure.security == *security);
        if let Some(failure) = failure.as_ref().filter(|failure| Instant::now() < failure.until) {
            return Err(failure.error.clone());
        }
        let opened = Connection::open(address, security, self.inner.deadline).await;
        let mut failures = lock(&self.inner.failures);
        match opened {
            Ok(connection) => {
                failures.remove(address);
                Ok(Arc::new(connection))
            }
            Err(error) => {
                let wait = failure.map_or(FIRST_RECONNECT_WAIT, |failure| failure.wait * 2);
                let wait = wait.min(LONGEST_RECONNECT_WAIT);
                let (security, until) = (Arc::clone(security), Instant::now() + wait);
                let failure = Failure { error: error.clone(), security, until, wait };
                failures.insert(address.to_owned(), failure);
                Err(error)
            }
        }
    }
}

/// Asks for what is wanted until nothing is.
struct Asking(Option<Cluster>);

impl Asking {
    async fn run(mut self) {
        while let Some((cluster, wanted)) = self.next() {
            cluster.ask_for(wanted).await;
        }
    }

    fn next(&mut self) -> Option<(Cluster, Wanted)> {
        let cluster = self.0.clone()?;
        let mut lookups = lock(&cluster.inner.lookups);
        let wanted = std::mem::take(&mut lookups.wanted);
        if wanted.is_empty() {
            // Under the same lock, or somebody could want something between.
            lookups.is_asking = false;
            self.0 = None;
            return None;
        }
        drop(lookups);
        Some((cluster, wanted))
    }
}

impl Drop for Asking {
    /// However it ends, nobody is left to wait for what nobody asks for.
    fn drop(&mut self) {
        if let Some(cluster) = &self.0 {
            *lock(&cluster.inner.lookups) = Lookups::default();
        }
    }
}

/// What one of several may take of the time that is left, in whole milliseconds.
fn share(left: Duration, others: usize) -> Duration {
    let share = left / u32::try_from(others + 1).unwrap_or(u32::MAX);
    Duration::from_millis(u64::try_from(share.as_millis()).unwrap_or(u64::MAX).saturating_add(1))
}

fn outcome<'a>(
    topic: &TopicName,
    found: Option<&'a MetadataResponseTopic>,
) -> Result<&'a MetadataResponseTopic, Setback> {
    let unknown = || Setback::Lasting(LogError::UnknownTopic(topic.clone()));
    let found = found.ok_or_else(unknown)?;
    match ResponseError::try_from_code(found.error_code) {
        None | Some(ResponseError::LeaderNotAvailable) => Ok(found),
        Some(ResponseError::UnknownTopicOrPartition | ResponseError::UnknownTopicId) => Err(unknown()),
        Some(ResponseError::TopicAuthorizationFailed) => {
            let reason = format!("Describe on topic {topic} is not allowed for us");
            Err(Setback::Lasting(LogError::Failed(reason)))
        }
        Some(error) => Err(Setback::answered(error, format!("could not look up topic {topic}"))),
    }
}

fn view(found: &MetadataResponseTopic) -> TopicView {
    let mut leaders = vec![None; found.partitions.len()];
    let mut epochs = vec![LeaderEpoch::UNKNOWN; found.partitions.len()];
    for partition in &found.partitions {
        let place = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
        if let (Some(leader), Some(epoch)) = (leaders.get_mut(place), epochs.get_mut(place)) {
            *epoch = LeaderEpoch(partition.leader_epoch);
            *leader = (partition.leader_id.0 >= 0).then_some(NodeId(partition.leader_id.0));
        }
    }
    TopicView { id: found.topic_id, leaders, epochs }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
