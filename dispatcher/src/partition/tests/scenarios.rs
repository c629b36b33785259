//! Single courses of events that the random ones reach too seldom, or cannot tell from others.

use super::*;

fn plan(order: Order) -> Plan {
    Plan { order, filter: None, retry: 2, sink: false, concurrency: 10, edits: Edits::None }
}

/// A machine with these Triggers, their cursors at the beginning.
fn world(plans: Vec<Plan>, limits: Limits) -> World {
    let mut world = World::new(plans, limits, MAX_METADATA);
    while !world.loads.is_empty() {
        world.load(0);
    }
    world
}

impl World {
    /// Appends events of this kind and lets every scan read them.
    fn accept(&mut self, count: usize, kind: usize) {
        for _ in 0..count {
            self.apply(Op::Append(1, kind));
        }
        self.read_all();
    }

    fn read_all(&mut self) {
        while let Some(n) = self.reads.iter().position(|(_, from)| *from < self.log_end) {
            self.read(n, 16);
        }
    }

    fn change(&mut self, n: usize, edit: impl FnOnce(&mut Trigger)) {
        let mut trigger = Arc::into_inner(self.trigger(n)).expect("it was just made");
        edit(&mut trigger);
        self.table.insert(n, Arc::new(trigger));
        self.publish();
    }

    fn offsets_in_flight(&self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self.in_flight.iter().map(|attempt| attempt.id.offset.0).collect();
        offsets.sort_unstable();
        offsets
    }
}

#[test]
fn what_waits_for_the_old_subscriber_is_taken_back_by_an_edit() {
    let mut world = world(vec![plan(Order::Unordered); 2], Limits::default());
    world.accept(3, 0);
    assert!(world.withdrawn.is_empty());
    let elsewhere = Destination { text: "http://new/".into(), uri: "http://new/".parse().ok() };
    world.change(0, |trigger| trigger.subscriber = elsewhere.clone());
    assert_eq!(world.withdrawn, [LaneId(0)], "and of no other lane");
    for _ in 0..3 {
        let n = world.in_flight.iter().position(|attempt| attempt.id.lane == LaneId(0)).unwrap();
        world.finish(n, Fate::Withdraw);
    }
    let mut again = world.in_flight.iter().filter(|attempt| attempt.id.lane == LaneId(0));
    assert!(again.all(|attempt| attempt.trigger.subscriber == elsewhere && attempt.number == 1));
}

/// DLV-29
#[test]
fn events_that_an_edit_has_put_in_order_go_again_one_after_the_other() {
    let mut world = world(vec![Plan { edits: Edits::Order, ..plan(Order::Unordered) }], Limits::default());
    world.accept(3, 0);
    assert_eq!(world.offsets_in_flight(), [0, 1, 2]);
    world.change(0, |trigger| trigger.order = Order::Partition);
    // 2 is taken back, 1 fails, and 0 takes its time.
    world.finish(2, Fate::Withdraw);
    world.finish(1, Fate::Fail);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.offsets_in_flight(), [0]);
    world.finish(0, Fate::Done);
    assert_eq!(world.offsets_in_flight(), [1]);
    world.finish(0, Fate::Done);
    assert_eq!(world.offsets_in_flight(), [2]);
}

#[test]
fn a_lane_that_may_not_send_takes_back_what_has_not_begun() {
    for edit in [Edits::PauseAndRetry, Edits::Remove] {
        let mut world = world(vec![Plan { edits: edit, ..plan(Order::Unordered) }], Limits::default());
        world.accept(1, 0);
        world.apply(Op::Edit(0));
        assert!(world.withdrawn.contains(&LaneId(0)), "{edit:?}");
    }
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(1, 0);
    world.give(Input::Drain);
    assert_eq!(world.withdrawn, [LaneId(0)]);
}
