//! Ownership against a real Kafka, and against librdkafka's mock cluster where Kafka has to fail on command.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::time::{Instant, sleep, timeout};
use trigon_core::name::{Installation, PartitionId};

use super::*;
use crate::kafka::test_server;
use crate::kafka::test_topics::{DEADLINE, Topics, config, fresh};

/// Who owns what, by the word of all dispatchers of a test.
type Board = Arc<Mutex<BTreeMap<TopicPartition, &'static str>>>;

/// A dispatcher that drains in no time.
struct Dispatcher {
    name: &'static str,
    ownership: KafkaOwnership,
    owned: BTreeSet<TopicPartition>,
    board: Board,
}

impl Dispatcher {
    fn start(name: &'static str, config: &KafkaConfig, topics: &[&TopicName], board: &Board) -> Self {
        let topics = topics.iter().map(|topic| (*topic).clone()).collect();
        let ownership = KafkaOwnership::start(config, topics).expect("a thread can be started");
        Self { name, ownership, owned: BTreeSet::new(), board: board.clone() }
    }

    async fn changed(&mut self) -> OwnershipChange {
        let change = timeout(DEADLINE, self.ownership.changed()).await;
        change
            .unwrap_or_else(|_| panic!("{} waits, with {:?}", self.name, self.owned))
            .expect("ownership goes on")
    }

    /// Takes part in the next change.
    async fn step(&mut self) {
        match self.changed().await {
            OwnershipChange::Assigned(new) => {
                for at in new {
                    let other = self.board.lock().expect(LOCKED).insert(at.clone(), self.name);
                    assert_eq!(other, None, "{at:?} was given to {}, too", self.name);
                    assert!(self.owned.insert(at));
                }
            }
            OwnershipChange::Revoked(revoked) => {
                for at in revoked {
                    self.forget(&at);
                    self.ownership.release(at);
                }
            }
            OwnershipChange::Lost(lost) => lost.iter().for_each(|at| self.forget(at)),
        }
    }

    fn forget(&mut self, at: &TopicPartition) {
        assert!(self.owned.remove(at), "{at:?} was not {}'s", self.name);
        self.board.lock().expect(LOCKED).remove(at);
    }

    async fn until(&mut self, partitions: usize) {
        while self.owned.len() != partitions {
            self.step().await;
        }
    }

    /// Leaves without a word to anybody.
    fn stop(self) -> Departure {
        let departure = self.ownership.departure();
        self.board.lock().expect(LOCKED).retain(|_, owner| *owner != self.name);
        departure
    }
}

/// A group of its own.
fn group(bootstrap: &str) -> KafkaConfig {
    let installation: Installation = fresh("group").parse().expect("it is a name");
    KafkaConfig { installation, ..config(bootstrap) }
}

/// As long as a session can be: no longer than a member may go without a poll.
const SESSION: Duration = Duration::from_secs(30);

/// The same where a member that goes without a word is missed late.
fn patient_group(bootstrap: &str) -> KafkaConfig {
    KafkaConfig { session_timeout: SESSION, ..group(bootstrap) }
}

async fn together(one: &mut Dispatcher, two: &mut Dispatcher, partitions: usize) {
    while one.owned.len() != partitions || two.owned.len() != partitions {
        tokio::select! {
            () = one.step() => {}
            () = two.step() => {}
        }
    }
}

/// And nothing is owned by two at any time.
#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_share_and_the_one_that_stays_has_all_after_a_clean_stop_and_not_only_after_a_session()
 {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(6).await;
    let (config, board) = (patient_group(&test_server::address()), Board::default());
    let mut first = Dispatcher::start("first", &config, &[&topic], &board);
    first.until(6).await;
    let mut second = Dispatcher::start("second", &config, &[&topic], &board);
    together(&mut first, &mut second, 3).await;
    let departure = first.stop();
    timeout(SESSION / 2, second.until(6)).await.expect("nobody waits for the end of its session");
    timeout(DEADLINE, departure.wait()).await.expect("the first one leaves");
    let departure = second.stop();
    timeout(DEADLINE, departure.wait()).await.expect("the second one leaves");
}

/// Or two would dispatch it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_to_another_dispatcher_only_when_it_is_released() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(2).await;
    let (config, board) = (group(&test_server::address()), Board::default());
    let mut first = Dispatcher::start("first", &config, &[&topic], &board);
    first.until(2).await;
    let mut second = Dispatcher::start("second", &config, &[&topic], &board);
    let OwnershipChange::Revoked(revoked) = first.changed().await else { panic!("one has to go") };
    let early = timeout(Duration::from_secs(3), second.ownership.changed()).await;
    assert!(early.is_err(), "it was given away before it was released: {early:?}");
    for at in revoked {
        first.forget(&at);
        first.ownership.release(at);
    }
    together(&mut first, &mut second, 1).await;
}

/// Within the deadline: then the group does not wait any longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_released_is_lost() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(1).await;
    let (config, board) = (group(&test_server::address()), Board::default());
    let mut dispatcher = Dispatcher::start("first", &config, &[&topic], &board);
    dispatcher.until(1).await;
    dispatcher.ownership.set_topics(BTreeSet::new());
    let all = vec![TopicPartition { topic, partition: PartitionId(0) }];
    assert_eq!(dispatcher.changed().await, OwnershipChange::Revoked(all.clone()));
    assert_eq!(dispatcher.changed().await, OwnershipChange::Lost(all));
}

/// A topic may be asked for before it exists, and grow later.
#[tokio::test(flavor = "multi_thread")]
async fn new_topics_and_new_partitions_are_picked_up() {
    let topics = Topics::of(&test_server::address());
    let (first, second) = (topics.fresh(1).await, TopicName::external(fresh("later")));
    let (config, board) = (group(&test_server::address()), Board::default());
    let mut dispatcher = Dispatcher::start("first", &config, &[&first, &second], &board);
    dispatcher.until(1).await;
    topics.create(&second, 2, &[]).await;
    dispatcher.until(3).await;
    topics.grow(&second, 4).await;
    dispatcher.until(5).await;
    topics.delete(&second).await;
    dispatcher.until(1).await;
}

/// As long as partitions move, the dispatcher is free to go.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_never_waits_for_what_is_not_released() {
    let topics = Topics::of(&test_server::address());
    let topic = topics.fresh(2).await;
    let (config, board) = (group(&test_server::address()), Board::default());
    let mut first = Dispatcher::start("first", &config, &[&topic], &board);
    first.until(2).await;
    let mut second = Dispatcher::start("second", &config, &[&topic], &board);
    let change = first.changed().await;
    assert!(matches!(change, OwnershipChange::Revoked(_)), "{change:?}");
    let begin = Instant::now();
    let departure = first.stop();
    second.until(2).await;
    timeout(DEADLINE, departure.wait()).await.expect("it leaves");
    assert!(begin.elapsed() < Duration::from_secs(8), "it took {:?}", begin.elapsed());
}

/// A process that was stopped for longer than its session, or cut off, is told before it does any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_past_its_session_has_lost_all() {
    let cluster: MockCluster<'_, DefaultProducerContext> =
        MockCluster::new(1).expect("a mock cluster starts");
    let topic = TopicName::external("orders");
    cluster.create_topic(topic.as_str(), 2, 1).expect("a topic can be made");
    let (config, board) = (group(&cluster.bootstrap_servers()), Board::default());
    let mut dispatcher = Dispatcher::start("first", &config, &[&topic], &board);
    dispatcher.until(2).await;
    cluster.broker_down(1).expect("it can fall");
    let change = dispatcher.changed().await;
    assert_eq!(change, OwnershipChange::Lost(dispatcher.owned.iter().cloned().collect()));
    dispatcher.owned.clone().iter().for_each(|at| dispatcher.forget(at));
    cluster.broker_up(1).expect("it can rise");
    dispatcher.until(2).await;
}

/// Silence would have the dispatcher go on with what others have, too.
#[tokio::test]
async fn a_member_whose_thread_has_ended_has_lost_all_and_is_closed() {
    let at = TopicPartition { topic: TopicName::external("orders"), partition: PartitionId(0) };
    let mut holdings = Holdings::default();
    holdings.assigned(vec![at.clone()]);
    let state = State { holdings, wanted: BTreeSet::new(), is_closed: false };
    let desk = Arc::new(Desk { state: Mutex::new(state), changed: Notify::new() });
    let (leaving, left) = watch::channel(());
    let mut ownership = KafkaOwnership { desk, left };
    assert_eq!(ownership.changed().await, Ok(OwnershipChange::Assigned(vec![at.clone()])));
    let (change, ()) = tokio::join!(ownership.changed(), async move { drop(leaving) });
    assert_eq!(change, Ok(OwnershipChange::Lost(vec![at])));
    assert_eq!(ownership.changed().await, Err(LogError::Closed));
}

/// Nobody waits for a Kafka that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_group_that_was_never_reached_is_quick() {
    // Nobody listens on the discard port.
    let ownership =
        KafkaOwnership::start(&group("127.0.0.1:9"), BTreeSet::from([TopicName::external("orders")]));
    let ownership = ownership.expect("a thread can be started");
    sleep(Duration::from_millis(200)).await;
    let departure = ownership.departure();
    drop(ownership);
    timeout(Duration::from_secs(10), departure.wait()).await.expect("it leaves");
}
