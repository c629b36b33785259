//! Single courses of events that the random ones reach too seldom, or cannot tell from others.

use trigon_core::binding::record::Audience;

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
    let mut world =
        world(vec![Plan { edits: Edits::PauseAndRetry, ..plan(Order::Unordered) }], Limits::default());
    world.apply(Op::Edit(0));
    world.accept(1, 0);
    let lane = world.partition.status().remove(0);
    assert_eq!((lane.position, lane.queued), (Offset(0), 0), "it is not read for while it is paused");
    world.apply(Op::Edit(0));
    world.read_all();
    world.withdrawn.clear();
    world.give(Input::Drain);
    assert_eq!(world.withdrawn, [LaneId(0)]);
    assert!(!world.drained, "what has begun is waited for");
}

/// What is finished is committed soon, so that a crash repeats little.
#[test]
fn what_is_finished_is_committed_within_the_interval() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(2, 0);
    world.finish(1, Fate::Done);
    world.advance(world.limits.commit_interval);
    let [(_, _, cursor)] = &world.commits[..] else { panic!("{:?}", world.commits) };
    let unfinished = vec![Unfinished { offset: Offset(0), progress: Progress::default() }];
    assert_eq!(*cursor, Cursor { watermark: Offset(0), position: Offset(2), unfinished });
    world.commit(0, true);
    world.finish(0, Fate::Done);
    world.advance(world.limits.commit_interval);
    assert_eq!(world.commits[0].2, Cursor::at(Offset(2)));
    world.commit(0, false);
    world.advance(world.limits.commit_interval);
    assert_eq!(world.commits[0].2, Cursor::at(Offset(2)), "one that failed is tried again");
}

/// Events that do not match are not read again for ever.
#[test]
fn a_lane_that_nothing_matches_is_committed_from_time_to_time() {
    let mut world = world(vec![Plan { filter: Some("a"), ..plan(Order::Unordered) }], Limits::default());
    world.accept(3, 1);
    world.advance(world.limits.commit_interval);
    assert!(world.commits.is_empty());
    world.advance(world.limits.idle_commit_interval);
    assert_eq!(world.commits[0].2, Cursor::at(Offset(3)));
}

/// Kafka forgets offsets that are not committed for seven days, and a Trigger must not begin anew.
#[test]
fn a_lane_to_which_nothing_happens_is_committed_again_before_the_log_forgets_it() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(1, 0);
    world.finish(0, Fate::Done);
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    world.advance(world.limits.idle_commit_interval);
    assert!(world.commits.is_empty(), "{:?}", world.commits);
    world.advance(world.limits.refresh_interval);
    world.advance(world.limits.idle_commit_interval);
    assert_eq!(world.commits[0].2, Cursor::at(Offset(1)));
}

/// Attempts are counted on after a restart (peer's #3746), and what the subscriber said is not forgotten.
#[test]
fn a_restart_goes_on_with_the_attempts() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(1, 0);
    world.finish(0, Fate::Fail);
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    world.crash();
    world.load(0);
    world.read_all();
    assert_eq!(world.in_flight[0].number, 2);
    world.finish(0, Fate::Refuse);
    assert_eq!((world.in_flight[0].stage, world.in_flight[0].number), (Stage::Park, 1));
    world.finish(0, Fate::Fail);
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    world.crash();
    world.load(0);
    world.read_all();
    let parking = &world.in_flight[0];
    assert_eq!((parking.stage, parking.number), (Stage::Park, 2));
    assert_eq!(parking.failure.as_ref().and_then(|failure| failure.status), Some(500));
}

/// A lane may hold half of its share before it asks for more; when the share grows, it asks at once.
#[test]
fn a_lane_is_asked_again_when_the_others_leave_it_more_room() {
    let size = record(0, Offset(0)).size() + lane::EVENT_COST;
    let limits = Limits { budget: 3 * size, lane_floor: 0, ..Limits::default() };
    let mut world = world(vec![plan(Order::Unordered); 2], limits);
    world.accept(2, 0);
    let of = |world: &World, lane: u64| -> Vec<usize> {
        let all = world.in_flight.iter().enumerate();
        all.filter(|(_, attempt)| attempt.id.lane == LaneId(lane)).map(|(n, _)| n).collect()
    };
    assert_eq!((of(&world, 0).len(), of(&world, 1).len()), (1, 1), "each has room for one");
    let first = of(&world, 0)[0];
    world.finish(first, Fate::Fail);
    world.limits.budget *= 10;
    world.give(Input::Budget(world.limits.budget));
    world.read_all();
    assert_eq!((of(&world, 0).len(), of(&world, 1).len()), (1, 2), "the failed event waits for its retry");
    world.give(Input::Budget(size));
    world.accept(2, 0);
    while let Some(n) = of(&world, 1).first() {
        world.finish(*n, Fate::Done);
        world.read_all();
    }
    assert!(world.partition.status()[0].phase == LanePhase::Behind);
    assert_eq!(world.partition.status()[1].watermark, world.log_end);
}

/// Low lanes that are hungry again and again do not keep a higher one from its turn.
#[test]
fn a_lane_that_waits_for_a_scan_gets_its_turn() {
    let limits = Limits { lane_events: 2, scans: 2, ..Limits::default() };
    let mut world = world(vec![plan(Order::Unordered); 4], limits);
    let finish = |world: &mut World, lane: u64| {
        while let Some(n) = world.in_flight.iter().position(|attempt| attempt.id.lane == LaneId(lane)) {
            world.finish(n, Fate::Done);
        }
    };
    let position = |world: &World, lane: usize| world.partition.status()[lane].position;
    let read_lowest = |world: &mut World| {
        let lowest = (0..world.reads.len()).min_by_key(|n| world.reads[*n].1);
        world.read(lowest.expect("something is always read"), 1);
    };
    world.apply(Op::Append(400, 0));
    // Lane 3 goes to the end, and lane 2 half of the way.
    while position(&world, 3) < world.log_end {
        read_lowest(&mut world);
        finish(&mut world, 3);
        if position(&world, 2) < Offset(200) {
            finish(&mut world, 2);
        }
    }
    let stood = position(&world, 2);
    finish(&mut world, 0);
    finish(&mut world, 1);
    finish(&mut world, 2);
    for low in [0, 1].into_iter().cycle().take(20) {
        let reading = |world: &World, lane: usize| world.partition.status()[lane].phase == LanePhase::Reading;
        while reading(&world, low) || reading(&world, 2) {
            read_lowest(&mut world);
        }
        finish(&mut world, low as u64);
    }
    assert!(position(&world, 0) < stood && position(&world, 1) < stood, "they are still lower");
    assert!(position(&world, 2) > stood, "{:#?}", world.partition.status());
}

/// A lane that sat down for every single event would read the log once per event.
#[test]
fn a_full_lane_asks_for_a_seat_when_it_is_half_empty() {
    let mut world = world(vec![plan(Order::Unordered)], Limits { lane_events: 4, ..Limits::default() });
    world.accept(10, 0);
    assert_eq!(world.offsets_in_flight(), [0, 1, 2, 3]);
    world.finish(0, Fate::Done);
    assert!(world.reads.is_empty(), "three of four are held");
    world.finish(0, Fate::Done);
    assert_eq!(world.reads.iter().map(|(_, from)| *from).collect::<Vec<_>>(), [Offset(4)]);
}

/// The same as when the budget grows, when another lane has become empty.
#[test]
fn a_lane_is_asked_again_when_another_has_nothing_left() {
    let size = record(0, Offset(0)).size() + lane::EVENT_COST;
    let limits = Limits { budget: 2 * size, lane_floor: 0, ..Limits::default() };
    let mut world =
        world(vec![plan(Order::Unordered), Plan { filter: Some("a"), ..plan(Order::Unordered) }], limits);
    world.accept(1, 0);
    world.accept(1, 1);
    let of_zero = world.in_flight.iter().position(|attempt| attempt.id.lane == LaneId(0)).unwrap();
    world.finish(of_zero, Fate::Fail);
    assert_eq!(world.partition.status()[0].phase, LanePhase::Behind, "its share is one event");
    world.finish(0, Fate::Done);
    world.advance(world.limits.commit_interval);
    world.read_all();
    assert_eq!(world.offsets_in_flight(), [1], "the event before waits for its retry, and not this one");
}

/// Lanes hold no more than their share of the budget, and get back what they have finished.
#[test]
fn lanes_share_the_budget() {
    let size = record(0, Offset(0)).size() + lane::EVENT_COST;
    let limits = Limits { budget: 8 * size, lane_floor: 0, ..Limits::default() };
    let mut world = world(vec![plan(Order::Unordered); 2], limits);
    world.accept(100, 0);
    let held: usize = world.partition.status().iter().map(|lane| lane.bytes).sum();
    assert!((6 * size..=8 * size).contains(&held), "{held}");
    while world.partition.status()[1].watermark < world.log_end {
        let n = world.in_flight.iter().position(|attempt| attempt.id.lane == LaneId(1)).unwrap();
        world.finish(n, Fate::Done);
        world.read_all();
    }
    assert_eq!(world.partition.status()[1].bytes, 0);
    // The other one has it all for itself now.
    for _ in 0..100 {
        world.finish(0, Fate::Done);
        world.read_all();
        let bytes = world.partition.status()[0].bytes;
        assert!(bytes <= 8 * size, "{bytes}");
        if bytes > 4 * size {
            return;
        }
    }
    panic!("never more than its old share: {:#?}", world.partition.status());
}

/// What retention takes away is counted for each lane that it was taken from, and told.
#[test]
fn what_retention_takes_away_is_told() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(2, 0);
    world.finish(0, Fate::Done);
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    world.apply(Op::Append(4, 0));
    world.apply(Op::Retain(4));
    world.crash();
    world.load(0);
    world.read_all();
    assert_eq!(world.partition.status()[0].counts.overtaken, 3);
    assert_eq!(world.lost_to_retention.len(), 3);
    assert_eq!(world.offsets_in_flight(), [4, 5]);
}

/// What has started goes first in its chain, whatever came before it.
#[test]
fn an_edit_of_the_order_starts_nothing_beside_what_has_started() {
    let mut world = world(
        vec![Plan { concurrency: 1, edits: Edits::Order, ..plan(Order::Unordered) }],
        Limits::default(),
    );
    world.accept(3, 0);
    world.finish(0, Fate::Fail);
    world.advance(Duration::from_secs(60));
    assert_eq!(world.offsets_in_flight(), [1], "0 is ready, and there is no room for it");
    world.change(0, |trigger| (trigger.order, trigger.concurrency) = (Order::Partition, 10));
    assert_eq!(world.offsets_in_flight(), [1]);
    world.finish(0, Fate::Done);
    assert_eq!(world.offsets_in_flight(), [0]);
}

#[test]
fn an_event_for_one_trigger_goes_to_no_other() {
    let mut world = world(vec![plan(Order::Unordered); 6], Limits::default());
    let event = Envelope::decode(&record(0, Offset(0))).unwrap().event;
    let only = Audience::Only(TriggerId::new("default", "t4"));
    world.log.insert(Offset(0), Envelope { audience: only, ..Envelope::of(event) }.encode(Timestamp(0)));
    world.log_end = Offset(1);
    world.read_all();
    let got: Vec<_> = world.in_flight.iter().map(|attempt| &attempt.trigger.id.name[..]).collect();
    assert_eq!(got, ["t4"]);
}

/// A clean end leaves nothing to be read again, not even what matched nothing.
#[test]
fn a_drain_commits_every_lane_that_has_moved() {
    let plans = vec![Plan { filter: Some("a"), ..plan(Order::Unordered) }];
    let mut world = world(plans, Limits::default());
    world.accept(3, 1);
    world.give(Input::Drain);
    assert_eq!(world.commits[0].2, Cursor::at(Offset(3)));
    world.commit(0, false);
    assert!(!world.drained, "its progress is not durable yet");
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    assert!(world.drained);
}

/// KAF-11: progress stops short of each record that is not parked yet, also where an earlier one does not concern the
/// lane.
#[test]
fn nothing_beyond_a_record_that_is_not_parked_is_committed() {
    let mut world = World::new(vec![plan(Order::Unordered); 2], Limits::default(), MAX_METADATA);
    let far = Cursor::at(Offset(4));
    world.durable.insert(TriggerId::new("default", "t1"), (far.watermark, far.to_metadata(MAX_METADATA)));
    world.set.insert(TriggerId::new("default", "t1"));
    for op in [Op::Append(1, 0), Op::Junk, Op::Append(2, 0), Op::Append(1, 0), Op::Junk, Op::Append(1, 0)] {
        world.apply(op);
    }
    // The one that is behind reads first, and 1 is to be parked as far as anybody knows.
    world.load(0);
    world.read(0, 3);
    world.load(0);
    world.read_all();
    assert_eq!(world.parks, [Offset(1), Offset(5)]);
    while !world.in_flight.is_empty() {
        world.finish(0, Fate::Done);
    }
    world.advance(world.limits.commit_interval);
    let committed = |world: &World| -> BTreeMap<String, Offset> {
        let all = world.commits.iter();
        all.map(|(_, trigger, cursor)| (trigger.id.name.to_string(), cursor.position)).collect()
    };
    let expected = [("t0".to_owned(), Offset(1)), ("t1".to_owned(), Offset(5))];
    assert_eq!(committed(&world), expected.into());
    while !world.commits.is_empty() {
        world.commit(0, true);
    }
    world.give(Input::Drain);
    assert!(world.commits.is_empty(), "a drain waits for the parking");
    world.park(1);
    world.park(0);
    let expected = [("t0".to_owned(), Offset(7)), ("t1".to_owned(), Offset(7))];
    assert_eq!(committed(&world), expected.into());
}

/// KAF-11: a Trigger that starts at the end, and a scan that is ahead, hide nothing from one that is behind.
#[test]
fn a_record_that_only_a_trigger_behind_comes_to_is_parked() {
    let mut world = World::new(vec![plan(Order::Unordered); 2], Limits::default(), MAX_METADATA);
    let far = Cursor::at(Offset(3));
    world.durable.insert(TriggerId::new("default", "t1"), (far.watermark, far.to_metadata(MAX_METADATA)));
    world.set.insert(TriggerId::new("default", "t1"));
    for op in [Op::Append(1, 0), Op::Junk, Op::Append(2, 0), Op::Junk, Op::Append(1, 0)] {
        world.apply(op);
    }
    // The one at the end is loaded first, and its scan is read to the end first.
    world.load(1);
    world.read(0, 16);
    assert_eq!(world.parks, [Offset(4)]);
    world.load(0);
    world.read_all();
    assert_eq!(world.parks, [Offset(4), Offset(1)]);
}

/// What a lane left unfinished is read again after a restart; what it has passed on the way was parked before.
#[test]
fn a_record_is_not_parked_again_for_the_sake_of_an_unfinished_event_below_it() {
    let mut world = World::new(vec![plan(Order::Unordered)], Limits::default(), MAX_METADATA);
    let unfinished = vec![Unfinished { offset: Offset(0), progress: Progress::default() }];
    let cursor = Cursor { watermark: Offset(0), position: Offset(2), unfinished };
    let durable = (cursor.watermark, cursor.to_metadata(MAX_METADATA));
    world.durable.insert(TriggerId::new("default", "t0"), durable);
    for op in [Op::Append(1, 0), Op::Junk, Op::Append(1, 0), Op::Junk] {
        world.apply(op);
    }
    world.load(0);
    world.read_all();
    assert_eq!((world.offsets_in_flight(), &world.parks[..]), (vec![0, 2], &[Offset(3)][..]));
}

/// A person sets the place while something is in flight: what comes of that is not progress at the new place.
#[test]
fn a_lane_whose_place_was_set_forgets_what_it_held() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(6, 0);
    world.finish(5, Fate::Done);
    world.advance(world.limits.commit_interval);
    world.reset(0, Some(4));
    world.commit(0, true);
    assert!(
        world.reloads.len() == 1 && world.commits.is_empty(),
        "it looks where it stands before it commits"
    );
    world.reload(0);
    assert_eq!(world.withdrawn, [LaneId(0)]);
    world.read_all();
    let fresh: Vec<_> = world.in_flight.iter().filter(|attempt| attempt.id.lane != LaneId(0)).collect();
    assert_eq!(fresh.iter().map(|attempt| attempt.id.offset.0).collect::<Vec<_>>(), [4, 5]);
    for _ in 0..5 {
        world.finish(0, Fate::Done);
    }
    let lane = world.partition.status().remove(0);
    assert_eq!((lane.watermark, lane.in_flight), (Offset(4), 2), "late outcomes are nobody's");
    assert_eq!((lane.counts.moved, lane.counts.delivered), (1, 1));
}

/// A server that lagged leads the partition now: what comes in the place of what is lost is read, and parked if need be.
#[test]
fn a_lane_beyond_the_end_of_a_truncated_log_looks_where_it_stands() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(6, 0);
    while !world.in_flight.is_empty() {
        world.finish(0, Fate::Done);
    }
    world.give(Input::Truncated { end: Offset(6) });
    assert!(world.reloads.is_empty(), "nothing that was read is lost");
    world.log.split_off(&Offset(3));
    world.log_end = Offset(3);
    world.give(Input::Truncated { end: Offset(3) });
    assert_eq!((world.reloads.len(), world.partition.furthest()), (1, Offset(6)));
    let (lane, _) = world.reloads.remove(0);
    world.give(Input::Reloaded { lane, cursor: Some(Cursor::at(Offset(3))) });
    assert_eq!(world.partition.furthest(), Offset(3));
    world.apply(Op::Junk);
    world.log.insert(Offset(4), record(0, Offset(4)));
    world.log_end = Offset(5);
    world.read_all();
    assert_eq!(world.parks, [Offset(3)]);
    let fresh: Vec<_> = world.partition.status().iter().map(|lane| (lane.position, lane.in_flight)).collect();
    assert_eq!(fresh, [(Offset(5), 1)]);
}

/// A commit restored a place that was seen to be deleted: nobody has set it, and nothing goes out again.
#[test]
fn a_lane_that_finds_its_own_commit_goes_on() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(6, 0);
    for _ in 0..4 {
        world.finish(0, Fate::Done);
    }
    world.advance(Limits::default().commit_interval);
    world.commit(0, true);
    world.give(Input::Moved { lane: LaneId(0) });
    world.finish(0, Fate::Done);
    world.reload(0);
    world.read_all();
    world.finish(0, Fate::Done);
    assert!(world.in_flight.is_empty(), "{:?}", world.in_flight);
    let lane = world.partition.status().remove(0);
    assert_eq!((lane.watermark, lane.counts.moved, lane.counts.delivered), (Offset(6), 0, 6));
    world.advance(Limits::default().commit_interval);
    assert_eq!(world.commits.len(), 1, "its progress is committed again");
}

/// A person deletes the place: the lane goes on, and writes it again.
#[test]
fn a_place_that_was_deleted_is_written_again() {
    let mut world = world(vec![plan(Order::Unordered)], Limits::default());
    world.accept(2, 0);
    world.finish(0, Fate::Done);
    world.advance(world.limits.commit_interval);
    world.commit(0, true);
    world.reset(0, None);
    world.tell(0);
    world.reload(0);
    world.advance(world.limits.commit_interval);
    assert_eq!(world.commits[0].2.watermark, Offset(1));
    assert_eq!((world.withdrawn.len(), world.offsets_in_flight()), (0, vec![1]));
}

#[test]
fn an_event_can_be_asked_for_on_every_step_of_its_way() {
    let mut world = world(
        vec![Plan { retry: 1, sink: true, concurrency: 1, ..plan(Order::Partition) }],
        Limits::default(),
    );
    let id = TriggerId::new("default", "t0");
    let first = Offset(0);
    assert_eq!(world.whereabouts(&id, first), Some(Whereabouts::Unread));
    assert_eq!(world.whereabouts(&TriggerId::new("default", "other"), first), None);
    world.accept(2, 0);
    let held = |turn| Some(Whereabouts::Held { turn, progress: Progress::default(), reason: None });
    assert_eq!(world.whereabouts(&id, first), held(Turn::InFlight));
    assert_eq!(world.whereabouts(&id, Offset(1)), held(Turn::Blocked));
    world.finish(0, Fate::Fail);
    let Some(Whereabouts::Held { turn: Turn::Waiting(wait), progress, .. }) = world.whereabouts(&id, first)
    else {
        panic!("{:?}", world.whereabouts(&id, first));
    };
    assert_eq!((progress.stage, progress.attempts), (Stage::Subscriber, 1));
    assert!(wait > Duration::ZERO);
    world.advance(wait);
    world.finish(0, Fate::Fail);
    let at = world.whereabouts(&id, first);
    let Some(Whereabouts::Held { turn: Turn::InFlight, progress, reason: Some(reason) }) = at else {
        panic!("{at:?}");
    };
    assert_eq!((progress.stage, progress.attempts), (Stage::DeadLetter, 0));
    assert!(reason.contains("2 attempts"), "{reason}");
    world.finish(0, Fate::Done);
    let finish = Finish { stage: Stage::DeadLetter, attempt: 1 };
    assert_eq!(world.whereabouts(&id, first), Some(Whereabouts::Finished(finish)));
    assert_eq!(world.whereabouts(&id, Offset(2)), Some(Whereabouts::Unread));
}
