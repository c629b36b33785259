//! The brokers of a cluster, who leads which partition, and the connections to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName as WireName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::sync::{Mutex as AsyncMutex, watch};
use trigon_core::name::{PartitionId, TopicName};
use uuid::Uuid;

use super::connection::Connection;
use super::error::WireError;
use super::patience::Setback;
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

/// Which of the connections to a broker: Kafka serves one request per connection at a time, so that what takes long
/// has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kafka) enum Line {
    /// Topics, groups, offsets of partitions.
    Admin,
    /// Commits and loads of cursors.
    Cursors(u8),
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
}

/// A Kafka cluster. Cloning shares the connections.
#[derive(Clone, Debug)]
pub(in crate::kafka) struct Cluster(Arc<Inner>);

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
    /// The topics that somebody waits to ask for.
    wanted: Mutex<BTreeSet<TopicName>>,
    /// Held while the cluster is asked for its topics, so that many who want to know ask once.
    asking: AsyncMutex<()>,
}

/// By address and line. Who waits for a slot wants the connection that its holder opens.
type Slots = HashMap<(String, Line), Arc<AsyncMutex<Slot>>>;

#[derive(Debug, Default)]
struct Slot {
    opened: Option<Opened>,
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
        Self(Arc::new(Inner {
            bootstrap: config.bootstrap.clone(),
            security: config.security.clone(),
            deadline: config.request_deadline,
            nodes: Mutex::default(),
            slots: Mutex::default(),
            failures: Mutex::default(),
            topics: Mutex::default(),
            wanted: Mutex::default(),
            asking: AsyncMutex::default(),
        }))
    }

    /// How long a request may take.
    pub(in crate::kafka) fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// A connection to a broker; opened if there is none.
    pub(in crate::kafka) async fn connection(
        &self,
        node: NodeId,
        line: Line,
    ) -> Result<Arc<Connection>, WireError> {
        let known = lock(&self.0.nodes).get(&node).cloned();
        match known {
            Some(address) => self.connection_to(&address, line).await.map_err(|error| match error {
                WireError::Unreachable { reason, .. } if !self.0.bootstrap.contains(&address) => {
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
        self.connection(node, line).await?.call(request, self.0.deadline).await
    }

    /// Sends a request to whichever broker answers.
    pub(in crate::kafka) async fn ask_any<R: Request>(&self, request: &R) -> Result<R::Response, WireError> {
        let mut last = None;
        for address in self.addresses() {
            let asked = async {
                let connection = self.connection_to(&address, Line::Admin).await?;
                connection.call(request, self.0.deadline).await
            };
            match asked.await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| WireError::Unreachable {
            address: "no broker".to_owned(),
            reason: "no address is known".to_owned(),
        }))
    }

    /// A connection to the broker that the cluster names as its controller. In KRaft mode that is any of them, and
    /// it passes on what it is asked.
    pub(in crate::kafka) async fn controller(&self) -> Result<Arc<Connection>, WireError> {
        let request =
            MetadataRequest::default().with_topics(Some(Vec::new())).with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request).await?;
        self.note_nodes(&answer);
        self.connection(NodeId(answer.controller_id.0), Line::Admin).await
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
        lock(&self.0.wanted).insert(topic.clone());
        let _asking = self.0.asking.lock().await;
        // Whoever asked meanwhile, asked for this one too.
        if let Some(view) = self.fresh(topic) {
            return Ok(view);
        }
        let mut wanted = std::mem::take(&mut *lock(&self.0.wanted));
        wanted.insert(topic.clone());
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut found = self.look_up_all(&wanted).await?;
        let mut asked = Err(Setback::Lasting(LogError::UnknownTopic(topic.clone())));
        for name in &wanted {
            let seen = outcome(name, found.remove(name.as_str())).map(|found| Arc::new(view(&found)));
            match &seen {
                Ok(view) => {
                    lock(&self.0.topics).insert(name.clone(), (Instant::now(), Arc::clone(view)));
                }
                Err(_) => self.forget(name),
            }
            if name == topic {
                asked = seen;
            }
        }
        asked
    }

    /// Asks the cluster what it says of a topic now.
    pub(in crate::kafka) async fn look_up(
        &self,
        topic: &TopicName,
    ) -> Result<MetadataResponseTopic, Setback> {
        let mut found = self.look_up_all(std::slice::from_ref(topic)).await?;
        outcome(topic, found.remove(topic.as_str()))
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
        lock(&self.0.topics).remove(topic);
    }

    /// Takes the addresses of brokers from an answer.
    pub(in crate::kafka) fn note_node(&self, node: NodeId, host: &str, port: i32) {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        lock(&self.0.nodes).insert(node, address);
    }

    fn note_nodes(&self, answer: &MetadataResponse) {
        for broker in &answer.brokers {
            self.note_node(NodeId(broker.node_id.0), &broker.host, broker.port);
        }
    }

    fn fresh(&self, topic: &TopicName) -> Option<Arc<TopicView>> {
        let topics = lock(&self.0.topics);
        let (asked, view) = topics.get(topic)?;
        (asked.elapsed() < METADATA_AGE).then(|| Arc::clone(view))
    }

    /// All that are known, those that the user named first, and last those that could not be reached: an address that
    /// swallows what is sent there costs a deadline.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.0.bootstrap.clone();
        for address in lock(&self.0.nodes).values() {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let failures = lock(&self.0.failures);
        addresses.sort_by_key(|address| failures.contains_key(address));
        addresses
    }

    /// The connection of a line. One that is outdated is replaced; where that fails, it serves on.
    async fn connection_to(&self, address: &str, line: Line) -> Result<Arc<Connection>, WireError> {
        let slot = Arc::clone(lock(&self.0.slots).entry((address.to_owned(), line)).or_default());
        let mut slot = slot.lock().await;
        let security = Arc::clone(&self.0.security.borrow());
        slot.opened.take_if(|opened| !opened.connection.is_open());
        let former = slot.opened.as_ref().map(|opened| Arc::clone(&opened.connection));
        if let (Some(opened), Some(former)) = (&slot.opened, &former)
            && !opened.is_outdated(&security)
        {
            return Ok(Arc::clone(former));
        }
        match (self.open(address, &security).await, former) {
            (Ok(connection), _) => {
                // The requests of the former are answered: it ends with the last that waits on it.
                let since = Instant::now();
                slot.opened = Some(Opened { connection: Arc::clone(&connection), security, since });
                Ok(connection)
            }
            (Err(error), Some(former)) => {
                tracing::debug!(address, %error, "a connection to Kafka could not be renewed and is used on");
                Ok(former)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Opens a connection, unless an attempt has failed just now.
    async fn open(&self, address: &str, security: &Arc<Security>) -> Result<Arc<Connection>, WireError> {
        let failure = lock(&self.0.failures).get(address).cloned();
        let failure = failure.filter(|failure| failure.security == *security);
        if let Some(failure) = failure.as_ref().filter(|failure| Instant::now() < failure.until) {
            return Err(failure.error.clone());
        }
        let opened = Connection::open(address, security, self.0.deadline).await;
        let mut failures = lock(&self.0.failures);
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

fn outcome(
    topic: &TopicName,
    found: Option<MetadataResponseTopic>,
) -> Result<MetadataResponseTopic, Setback> {
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
    for partition in &found.partitions {
        let place = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
        if let Some(leader) = leaders.get_mut(place) {
            *leader = (partition.leader_id.0 >= 0).then_some(NodeId(partition.leader_id.0));
        }
    }
    TopicView { id: found.topic_id, leaders }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
