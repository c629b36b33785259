use tokio::sync::oneshot;
use trigon_core::record::Record;
use uuid::Uuid;

use super::*;
use crate::kafka::producer::append::{Answer, Append, Failure};
use crate::kafka::producer::gate::{Gate, Load};
use crate::kafka::records::Records;
use crate::kafka::wire::LeaderEpoch;

const NODE: NodeId = NodeId(1);
const FIRST: ProducerId = ProducerId { id: 1, epoch: 0 };
const SECOND: ProducerId = ProducerId { id: 2, epoch: 0 };

/// A queue and the clock that it sees.
struct World {
    queue: TopicQueue,
    gate: Arc<Gate>,
    now: Instant,
}

/// What is sent: the partition, the values, and the numbers.
type Seen = (u32, Vec<String>, ProducerId, i32);

impl World {
    fn new(leaders: &[Option<NodeId>]) -> Self {
        let mut queue = TopicQueue::new(TopicName::external("orders"), 1_000);
        queue.seen(view(leaders));
        let gate = Arc::new(Gate::new(Load { records: 1_000, bytes: 1_000_000 }));
        Self { queue, gate, now: Instant::now() }
    }

    fn push(&mut self, key: Option<&'static str>, value: &str) -> oneshot::Receiver<Answer> {
        let (append, answered) = Append::new(1, self.gate.admit(Load { records: 1, bytes: 1 }).unwrap());
        let record = Record {
            key: key.map(Bytes::from),
            value: Some(Bytes::from(value.to_owned())),
            ..Record::default()
        };
        let deadline = self.now + Duration::from_secs(10);
        self.queue.push(Queued { record, ticket: append.ticket(0), deadline });
        answered
    }

    fn send_as(&mut self, producer: ProducerId) -> Vec<Seen> {
        let sending = Sending { node: NODE, producer, compression: Compression::None };
        let sent = self.queue.send(sending, self.now, &mut usize::MAX.clone());
        sent.into_iter().map(|outgoing| seen(&outgoing)).collect()
    }

    fn send(&mut self) -> Vec<Seen> {
        self.send_as(FIRST)
    }

    fn answer(&mut self, partition: u32, verdict: Verdict) {
        self.queue.answered(PartitionId(partition), verdict, self.now);
    }

    fn after(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

fn view(leaders: &[Option<NodeId>]) -> Arc<TopicView> {
    let epochs = vec![LeaderEpoch(0); leaders.len()];
    Arc::new(TopicView { id: Uuid::nil(), leaders: leaders.to_vec(), epochs })
}

fn seen(outgoing: &Outgoing) -> Seen {
    let bytes = &outgoing.bytes;
    let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let epoch = i16::from_be_bytes(bytes[51..53].try_into().unwrap());
    let sequence = i32::from_be_bytes(bytes[53..57].try_into().unwrap());
    let mut records = Records::new(bytes.clone(), Offset(0), Vec::new());
    let values = records.read(usize::MAX).unwrap().into_iter();
    let values = values.map(|(_, record)| String::from_utf8_lossy(&record.value.unwrap()).into_owned());
    (outgoing.partition.0, values.collect(), ProducerId { id: number(43), epoch }, sequence)
}

fn again(fate: Fate) -> Verdict {
    Verdict::Again(fate, "it passes".into())
}

fn stored(at: u64) -> Verdict {
    Verdict::Stored(Offset(at))
}

fn outcome(mut answered: oneshot::Receiver<Answer>) -> Answer {
    answered.try_recv().expect("it is told")
}

fn failure(answered: oneshot::Receiver<Answer>) -> (Cause, usize) {
    let Failure { cause, doubtful, .. } = outcome(answered).expect_err("it has failed");
    (cause, doubtful)
}

#[test]
fn what_comes_while_a_batch_is_on_its_way_goes_with_the_next() {
    let mut world = World::new(&[Some(NODE)]);
    let first = world.push(None, "a");
    assert_eq!(world.send(), [(0, vec!["a".to_owned()], FIRST, 0)]);
    let second = world.push(None, "b");
    world.push(Some("key"), "c");
    assert_eq!(world.send(), [], "one is on its way");
    world.answer(0, stored(7));
    assert_eq!(outcome(first).unwrap(), [Position { partition: PartitionId(0), offset: Offset(7) }]);
    assert_eq!(world.send(), [(0, vec!["c".to_owned()], FIRST, 1)], "what belongs here goes first");
    world.answer(0, stored(8));
    assert_eq!(world.send(), [(0, vec!["b".to_owned()], FIRST, 2)]);
    world.answer(0, stored(9));
    assert_eq!(outcome(second).unwrap()[0].offset, Offset(9));
    assert!(!world.queue.is_waiting());
}

#[test]
fn records_without_a_key_go_where_there_is_room() {
    let mut world = World::new(&[Some(NODE), None, Some(NodeId(2)), Some(NODE)]);
    world.push(None, "a");
    assert_eq!(world.send().len(), 1);
    world.push(None, "b");
    let mut ready = BTreeSet::new();
    world.queue.ready(world.now, &mut ready);
    assert_eq!(ready, BTreeSet::from([NODE, NodeId(2)]));
    assert_eq!(world.send()[0].0, 3, "partition 0 is busy, 1 has no leader, 2 has another");
}

#[test]
fn a_batch_is_sent_again_as_it_was_and_later_each_time() {
    let mut world = World::new(&[Some(NODE)]);
    world.push(Some("k"), "a");
    let sent = world.send();
    world.push(Some("k"), "b");
    for wait in [20, 40, 80, 160, 320, 500, 500] {
        world.answer(0, again(Fate::NotStored));
        assert!(world.queue.is_outdated(), "the leader may be another");
        world.after(wait - 1);
        assert_eq!(world.send(), [], "it is too soon");
        assert_eq!(world.queue.next_change(world.now), Some(world.now + Duration::from_millis(1)));
        world.after(1);
        assert_eq!(world.send(), sent);
    }
    world.answer(0, stored(0));
    assert_eq!(world.send(), [(0, vec!["b".to_owned()], FIRST, 1)]);
}

/// Kafka would take it for a repetition, and acknowledge what it does not store.
#[test]
fn a_number_is_never_given_to_another_batch() {
    let give_up: [fn(&mut World); 4] = [
        |world| {
            world.answer(0, again(Fate::NotStored));
            world.after(10_000);
            world.queue.expire(world.now, None);
        },
        |world| {
            world.answer(0, again(Fate::Unknown));
            world.queue.unknown();
            world.queue.seen(view(&[Some(NODE)]));
        },
        |world| world.answer(0, Verdict::Failed(Cause::Refused("no".into()), Fate::NotStored)),
        |world| world.answer(0, Verdict::Split(Cause::TooLarge)),
    ];
    for give_up in give_up {
        let mut world = World::new(&[Some(NODE)]);
        let given_up = world.push(None, "a");
        world.send();
        give_up(&mut world);
        outcome(given_up).expect_err("it is given up");
        world.push(None, "b");
        let next_epoch = ProducerId { epoch: 1, ..FIRST };
        assert_eq!(world.send(), [(0, vec!["b".to_owned()], next_epoch, 0)], "without a wait");
        assert!(!world.queue.wants_numbers(FIRST, world.now));
    }
}

#[test]
fn after_the_last_epoch_another_id_is_needed() {
    let mut world = World::new(&[Some(NODE)]);
    let last = ProducerId { epoch: i16::MAX, ..FIRST };
    world.push(None, "a");
    world.send_as(last);
    world.answer(0, Verdict::Failed(Cause::TooLarge, Fate::NotStored));
    world.push(None, "b");
    assert_eq!(world.send_as(last), []);
    assert!(world.queue.wants_numbers(last, world.now));
    assert_eq!(world.send_as(SECOND), [(0, vec!["b".to_owned()], SECOND, 0)]);
}

#[test]
fn after_the_largest_sequence_comes_zero() {
    let batch = |world: &mut World, value: &str| {
        world.push(Some("k"), value);
        let (.., sequence) = world.send().pop().expect("it is sent");
        world.answer(0, stored(0));
        sequence
    };
    let mut world = World::new(&[Some(NODE)]);
    assert_eq!(batch(&mut world, "a"), 0);
    world.queue.partitions[0].skip_to(i32::MAX);
    assert_eq!(batch(&mut world, "b"), i32::MAX);
    assert_eq!(batch(&mut world, "c"), 0);
}

/// It would be stored twice, and could be called not stored.
#[test]
fn what_may_be_stored_is_not_sent_in_parts() {
    let mut world = World::new(&[Some(NODE)]);
    let appends = [world.push(Some("k"), "a"), world.push(Some("k"), "b")];
    world.send();
    world.answer(0, again(Fate::Unknown));
    world.after(20);
    world.send();
    world.answer(0, Verdict::Split(Cause::TooLarge));
    for append in appends {
        assert_eq!(failure(append), (Cause::TooLarge, 1));
    }
    assert!(!world.queue.is_waiting());
}

#[test]
fn every_partition_begins_a_request_in_turn() {
    let mut world = World::new(&[Some(NODE); 3]);
    let mut begun = Vec::new();
    for _ in 0..3 {
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            world.push(Some(key), "x");
        }
        let sending = Sending { node: NODE, producer: FIRST, compression: Compression::None };
        let sent = world.queue.send(sending, world.now, &mut 1);
        assert_eq!(sent.len(), 1, "there is room for one batch");
        begun.push(sent[0].partition.0);
        world.answer(sent[0].partition.0, stored(0));
    }
    begun.sort_unstable();
    assert_eq!(begun, [0, 1, 2]);
}

#[test]
fn a_record_without_a_key_waits_for_the_first_leader() {
    let mut world = World::new(&[None, None]);
    world.push(None, "a");
    assert!(world.queue.is_outdated(), "or nobody would ask who leads now");
    world.queue.seen(view(&[None, Some(NODE)]));
    assert!(!world.queue.is_outdated());
    assert_eq!(world.send(), [(1, vec!["a".to_owned()], FIRST, 0)]);
}

#[test]
fn what_waited_for_a_partition_that_is_gone_finds_another() {
    let mut world = World::new(&[None, None, None]);
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.push(Some(key), key);
    }
    world.queue.seen(view(&[Some(NODE)]));
    let (_, values, ..) = world.send().pop().expect("it is sent");
    assert_eq!(values.len(), 8);
    assert!(!world.queue.is_waiting());
}

#[test]
fn what_may_be_stored_is_said_to_be_in_doubt() {
    for (fate, doubtful) in [(Fate::NotStored, 0), (Fate::Unknown, 1)] {
        let mut world = World::new(&[Some(NODE)]);
        let late = world.push(None, "a");
        let never_sent = world.push(Some("k"), "b");
        world.queue.seen(view(&[None]));
        world.queue.seen(view(&[Some(NODE)]));
        assert_eq!(world.send()[0].1, ["b"]);
        world.answer(0, again(fate));
        world.after(20);
        // A later attempt that has certainly failed says nothing of an earlier one.
        assert_eq!(world.send()[0].1, ["b"]);
        world.answer(0, again(Fate::NotStored));
        world.after(10_000);
        assert!(world.queue.expire(world.now, Some(&"the cluster is away".into())));
        let cause = Cause::Late(Some("the cluster is away".into()));
        assert_eq!(failure(never_sent), (cause.clone(), doubtful));
        assert_eq!(failure(late), (cause, 0));
        assert!(!world.queue.is_waiting());
    }
}

#[test]
fn a_batch_that_is_refused_is_sent_in_parts_and_only_what_is_wrong_fails() {
    let mut world = World::new(&[Some(NODE)]);
    let appends: Vec<_> = ["a", "b", "wrong", "d"].map(|value| world.push(Some("k"), value)).into();
    let mut base = 0;
    while world.queue.is_waiting() {
        let (_, values, ..) = world.send().pop().expect("something is sent");
        if values.iter().any(|value| value == "wrong") {
            world.answer(0, Verdict::Split(Cause::Refused("it is wrong".into())));
        } else {
            world.answer(0, stored(base));
            base += values.len() as u64;
        }
    }
    let outcomes: Vec<_> =
        appends.into_iter().map(|append| outcome(append).map(|at| at[0].offset.0)).collect();
    assert_eq!(outcomes[0], Ok(0));
    assert_eq!(outcomes[1], Ok(1));
    assert_eq!(outcomes[2].as_ref().unwrap_err().cause, Cause::Refused("it is wrong".into()));
    assert_eq!(outcomes[3], Ok(2));
}

#[test]
fn numbers_that_kafka_has_forgotten_are_replaced_unless_the_batch_may_be_stored() {
    let mut world = World::new(&[Some(NODE)]);
    let certain = world.push(None, "a");
    world.send();
    world.answer(0, Verdict::Renumber("forgotten".into()));
    world.after(20);
    assert_eq!(world.send_as(SECOND), [(0, vec!["a".to_owned()], SECOND, 0)]);
    world.answer(0, stored(0));
    assert!(outcome(certain).is_ok());

    let doubtful = world.push(None, "b");
    world.send_as(SECOND);
    world.answer(0, again(Fate::Unknown));
    world.after(20);
    world.send_as(SECOND);
    world.answer(0, Verdict::Renumber("forgotten".into()));
    assert_eq!(failure(doubtful), (Cause::Refused("forgotten".into()), 1));
}

#[test]
fn a_topic_that_is_not_known_keeps_what_comes_until_it_is_seen() {
    let gate = Arc::new(Gate::new(Load { records: 10, bytes: 10 }));
    let queue = TopicQueue::new(TopicName::external("orders"), 1_000);
    let mut world = World { queue, gate, now: Instant::now() };
    world.push(Some("21"), "a");
    world.push(None, "b");
    assert!(world.queue.is_outdated());
    assert_eq!(world.send(), []);
    world.queue.seen(view(&[None, None, Some(NODE)]));
    assert_eq!(of_key(b"21", 3), PartitionId(0));
    assert_eq!(world.send(), [(2, vec!["b".to_owned()], FIRST, 0)]);
    assert!(world.queue.is_outdated(), "partition 0 has no leader");
    world.queue.seen(view(&[Some(NODE), None, Some(NODE)]));
    assert_eq!(world.send(), [(0, vec!["a".to_owned()], FIRST, 0)]);
}

/// One broker that has not heard of a topic yet does not know what another has stored there.
#[test]
fn what_may_be_stored_stays_in_doubt_though_the_topic_is_said_to_be_gone() {
    let mut world = World::new(&[Some(NODE)]);
    let sent = world.push(None, "a");
    world.send();
    let waiting = world.push(None, "b");
    world.answer(0, again(Fate::Unknown));
    world.queue.unknown();
    assert_eq!(failure(sent), (Cause::UnknownTopic, 1));
    assert_eq!(failure(waiting), (Cause::UnknownTopic, 0));
    assert!(!world.queue.is_waiting());
}

#[test]
fn batches_have_a_bound_and_a_record_above_it_goes_alone() {
    let mut world = World::new(&[Some(NODE)]);
    for size in [600, 300, 300, 2_000, 10] {
        world.push(Some("k"), &"x".repeat(size));
    }
    let mut sizes = Vec::new();
    while world.queue.is_waiting() {
        let (_, values, ..) = world.send().pop().expect("something is sent");
        sizes.push(values.iter().map(String::len).collect::<Vec<_>>());
        world.answer(0, stored(0));
    }
    assert_eq!(sizes, [vec![600, 300], vec![300], vec![2_000], vec![10]]);
}
