use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn lane(number: u64) -> LaneKey {
    LaneKey { run: 1, lane: LaneId(number) }
}

fn origin(text: &str) -> Origin {
    Origin::of(&text.parse().unwrap()).unwrap()
}

fn all_that_may_begin(outlets: &mut Outlets<u32>, now: Instant) -> Vec<(Leave, u32)> {
    std::iter::from_fn(|| outlets.next(now)).collect()
}

fn items(begun: &[(Leave, u32)]) -> Vec<u32> {
    begun.iter().map(|(_, item)| *item).collect()
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    assert_eq!(origin("http://a/x"), origin("http://A:80/y?z"));
    assert_eq!(origin("https://a:443"), origin("https://user:secret@a/"));
    assert_ne!(origin("http://a"), origin("https://a"));
    assert_ne!(origin("http://a"), origin("http://a:8080"));
    assert_eq!(Origin::of(&"bad://uri".parse().unwrap()), None);
    assert_eq!(origin("http://user:secret@a:81/").to_string(), "http://a:81");
}

#[test]
fn lanes_take_turns_whatever_their_backlog() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for item in 0..10 {
        outlets.offer(now, &to, lane(1), None, item);
    }
    outlets.offer(now, &to, lane(2), None, 100);
    outlets.offer(now, &to, lane(2), None, 101);
    let begun = all_that_may_begin(&mut outlets, now);
    assert_eq!(items(&begun), [0, 100, 1, 101, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// DLV-28
#[test]
fn a_lane_that_hears_nothing_does_not_stop_another_lane_of_its_origin() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for item in 0..500 {
        outlets.offer(now, &to, lane(1), None, item);
    }
    let silent = all_that_may_begin(&mut outlets, now);
    assert_eq!(silent.len(), LIMIT_START);
    for item in 1_000..1_500 {
        outlets.offer(now, &to, lane(2), None, item);
        let (leave, begun) = outlets.next(now).unwrap();
        assert_eq!(begun, item);
        outlets.finished(now, &leave, Feedback::Took);
    }
    assert!(outlets.next(now).is_none());
}

/// DLV-17, DLV-28
#[test]
fn the_trouble_of_one_lane_does_not_shrink_the_limit_of_another() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for item in 0..500 {
        outlets.offer(now, &to, lane(1), None, item);
    }
    for _ in 0..20 {
        let (leave, _) = outlets.next(now).unwrap();
        outlets.finished(now, &leave, Feedback::Congested { gate: None });
    }
    assert_eq!(outlets.status(now)[0].state, OutletState::Closed);
    for item in 1_000..1_100 {
        outlets.offer(now, &to, lane(2), None, item);
    }
    let status = &outlets.status(now)[0];
    assert_eq!((status.state, status.lanes, status.limit), (OutletState::Open, 2, 1 + LIMIT_START));
    let begun = items(&all_that_may_begin(&mut outlets, now));
    assert_eq!(begun.iter().filter(|item| **item >= 1_000).count(), LIMIT_START);
    assert_eq!(begun.len(), LIMIT_START + 1);
}

/// What a lane has taught is its own, also when nobody waits for the end of its attempts any more.
#[test]
fn an_attempt_of_a_withdrawn_lane_ends_in_the_limit_of_that_lane() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for number in [1, 2] {
        outlets.offer(now, &to, lane(number), None, 1);
    }
    let begun = all_that_may_begin(&mut outlets, now);
    outlets.withdraw(now, &[lane(1)]);
    outlets.finished(now, &begun[0].0, Feedback::Congested { gate: None });
    assert_eq!(outlets.status(now)[0].limit, LIMIT_START / 2 + LIMIT_START);
    outlets.offer(now, &to, lane(1), None, 2);
    assert_eq!(outlets.status(now)[0].limit, LIMIT_START / 2 + LIMIT_START);
}

/// DLV-17
#[test]
fn a_dead_origin_gets_one_probe_at_a_time_and_recovers() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for item in 0..500 {
        outlets.offer(now, &to, lane(1), None, item);
    }
    let mut tried = 0;
    while outlets.status(now)[0].state != OutletState::Closed {
        for (leave, _) in all_that_may_begin(&mut outlets, now) {
            tried += 1;
            outlets.finished(now, &leave, Feedback::Congested { gate: None });
        }
    }
    assert!(tried <= 2 * LIMIT_START, "{tried} attempts before the outlet closed");
    let probe = all_that_may_begin(&mut outlets, now);
    assert_eq!(probe.len(), 1);
    assert_eq!(outlets.finished(now, &probe[0].0, Feedback::Took), None);
    assert_eq!(all_that_may_begin(&mut outlets, now).len(), 2);
    assert_eq!(outlets.status(now)[0].state, OutletState::Open);
}

#[test]
fn an_answer_that_refuses_an_event_does_not_slow_the_origin() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    for item in 0..100 {
        outlets.offer(now, &to, lane(1), None, item);
        let (leave, _) = outlets.next(now).unwrap();
        outlets.finished(now, &leave, Feedback::Refused);
    }
    assert_eq!(outlets.status(now)[0].limit, LIMIT_START);
}

/// DLV-23, DLV-24
#[test]
fn retry_after_holds_every_lane_of_the_origin_and_no_other_origin() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    outlets.offer(now, &to, lane(1), None, 1);
    let (leave, _) = outlets.next(now).unwrap();
    outlets.finished(now, &leave, Feedback::Congested { gate: Some(10 * SECOND) });
    outlets.offer(now, &to, lane(2), None, 2);
    outlets.offer(now, &origin("http://b"), lane(3), None, 3);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now)), [3]);
    let status = &outlets.status(now)[0];
    assert_eq!((status.state, status.gated_ms), (OutletState::Gated, Some(10_000)));
    assert_eq!(outlets.next_timeout(), Some(now + 10 * SECOND));
    assert!(outlets.next(now + 9 * SECOND).is_none());
    assert_eq!(items(&all_that_may_begin(&mut outlets, now + 10 * SECOND)), [2]);
}

#[test]
fn a_trigger_ahead_of_its_rate_waits_and_others_pass_it() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1000);
    let slow = Some((TriggerId::new("ns", "slow"), 1.0));
    for item in 0..3 {
        outlets.offer(now, &to, lane(1), slow.clone(), item);
        outlets.offer(now, &to, lane(2), None, 10 + item);
    }
    assert_eq!(items(&all_that_may_begin(&mut outlets, now)), [0, 10, 11, 12]);
    assert_eq!(outlets.next_timeout(), Some(now + SECOND));
    assert_eq!(items(&all_that_may_begin(&mut outlets, now + SECOND)), [1]);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now + 2 * SECOND)), [2]);
}

#[test]
fn a_rate_holds_over_all_lanes_and_origins_of_its_trigger() {
    let now = Instant::now();
    let mut outlets = Outlets::new(1000);
    let slow = Some((TriggerId::new("ns", "slow"), 1.0));
    outlets.offer(now, &origin("http://a"), lane(1), slow.clone(), 1);
    outlets.offer(now, &origin("http://b"), lane(2), slow, 2);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now)), [1]);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now + SECOND)), [2]);
}

#[test]
fn slow_origins_leave_room_for_one_more() {
    let now = Instant::now();
    let mut outlets = Outlets::new(1024);
    let mut held = Vec::new();
    for number in 0..50 {
        let to = origin(&format!("http://slow{number}"));
        for item in 0..200 {
            outlets.offer(now, &to, lane(number), None, item);
        }
        held.extend(all_that_may_begin(&mut outlets, now));
    }
    assert!(outlets.in_flight() < 1024, "the slow origins have taken everything");
    outlets.offer(now, &origin("http://late"), lane(1000), None, 9_999);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now)), [9_999]);
}

/// DLV-28
#[test]
fn many_lanes_that_hear_nothing_leave_room_for_one_more_at_their_origin() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1024);
    for number in 0..500 {
        for item in 0..200 {
            outlets.offer(now, &to, lane(number), None, item);
        }
    }
    assert!(all_that_may_begin(&mut outlets, now).len() < 1024, "the silent lanes have taken everything");
    outlets.offer(now, &to, lane(1000), None, 9_999);
    assert_eq!(items(&all_that_may_begin(&mut outlets, now)), [9_999]);
}

#[test]
fn a_lane_that_holds_too_much_goes_on_when_another_has_ended() {
    let now = Instant::now();
    let mut outlets = Outlets::new(64);
    for item in 0..64 {
        outlets.offer(now, &origin("http://a"), lane(1), None, item);
        outlets.offer(now, &origin("http://b"), lane(2), None, 100 + item);
    }
    let begun = all_that_may_begin(&mut outlets, now);
    let (of_a, of_b): (Vec<_>, Vec<_>) = begun.into_iter().partition(|(_, item)| *item < 100);
    assert!(of_a.len() < LIMIT_START && of_b.len() < LIMIT_START);
    outlets.withdraw(now, &[lane(2)]);
    for (leave, _) in &of_b {
        outlets.finished(now, leave, Feedback::Took);
    }
    let more = all_that_may_begin(&mut outlets, now).len();
    assert!(more > 0);
    assert_eq!(of_a.len() + more, 64 / (SHARE + 1), "a part of what it leaves free");
}

#[test]
fn what_has_not_begun_is_withdrawn_and_nothing_else() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(1);
    let slow = Some((TriggerId::new("ns", "slow"), 1.0));
    for item in 0..3 {
        outlets.offer(now, &to, lane(1), slow.clone(), item);
        outlets.offer(now, &to, lane(2), None, 10 + item);
    }
    let (leave, begun) = outlets.next(now).unwrap();
    assert_eq!(begun, 0);
    assert_eq!(outlets.withdraw(now, &[lane(1)]), [1, 2]);
    assert_eq!(outlets.withdraw(now, &[lane(1)]), [0; 0]);
    outlets.finished(now, &leave, Feedback::Took);
    let (_, begun) = outlets.next(now).unwrap();
    assert_eq!(begun, 10);
    assert_eq!(outlets.status(now)[0].queued, 2);
    outlets.offer(now, &origin("http://b"), lane(3), None, 20);
    outlets.offer(now, &to, lane(1), None, 3);
    assert_eq!(
        outlets.withdraw(now, &[lane(2), lane(3), lane(1)]),
        [11, 12, 20, 3],
        "of every lane and outlet"
    );
    assert!(outlets.status(now).iter().all(|outlet| outlet.queued == 0));
}

#[test]
fn outlets_without_use_vanish() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(10);
    outlets.offer(now, &to, lane(1), None, 1);
    let (leave, _) = outlets.next(now).unwrap();
    outlets.finished(now, &leave, Feedback::Took);
    assert!(outlets.next(now + LINGER / 2).is_none());
    assert_eq!(outlets.status(now).len(), 1);
    let due = outlets.next_timeout().unwrap();
    assert!(outlets.next(due).is_none());
    assert!(outlets.status(now).is_empty());
    assert!(outlets.next_timeout().is_none());
}

#[test]
fn the_limit_of_a_lane_that_sends_nothing_vanishes_and_its_outlet_stays_for_others() {
    let (mut now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(10);
    outlets.offer(now, &to, lane(1), None, 1);
    let (leave, _) = outlets.next(now).unwrap();
    outlets.finished(now, &leave, Feedback::Congested { gate: None });
    for _ in 0..4 {
        assert_eq!(outlets.status(now)[0].limit % LIMIT_START, LIMIT_START / 2);
        now += LINGER / 4;
        outlets.offer(now, &to, lane(2), None, 2);
        let (leave, _) = outlets.next(now).unwrap();
        outlets.finished(now, &leave, Feedback::Took);
    }
    assert_eq!((outlets.status(now)[0].lanes, outlets.status(now)[0].limit), (1, LIMIT_START));
    outlets.offer(now, &to, lane(1), None, 3);
    assert_eq!(outlets.status(now)[0].limit, 2 * LIMIT_START);
}

#[test]
fn a_gate_outlives_the_lanes_that_met_it() {
    let (now, to) = (Instant::now(), origin("http://a"));
    let mut outlets = Outlets::new(10);
    outlets.offer(now, &to, lane(1), None, 1);
    let (leave, _) = outlets.next(now).unwrap();
    outlets.finished(now, &leave, Feedback::Congested { gate: Some(3 * LINGER) });
    assert!(outlets.next(now + 2 * LINGER).is_none());
    let status = &outlets.status(now + 2 * LINGER)[0];
    assert_eq!((status.state, status.lanes), (OutletState::Gated, 0));
    outlets.offer(now + 2 * LINGER, &to, lane(2), None, 2);
    assert!(outlets.next(now + 2 * LINGER).is_none());
    assert_eq!(items(&all_that_may_begin(&mut outlets, now + 3 * LINGER)), [2]);
}

proptest::proptest! {
    /// Whatever happens: the bounds hold, and everything offered begins or is withdrawn exactly once.
    #[test]
    fn every_attempt_leaves_its_outlet_once_and_the_bounds_hold(
        steps in proptest::collection::vec((0..7_u8, 0..4_u64, 0..3_u8), 1..400)
    ) {
        let (start, most) = (Instant::now(), 12);
        let (mut now, mut outlets, mut held) = (start, Outlets::new(most), Vec::new());
        let (mut offered, mut left) = (0, Vec::new());
        for (step, number, place) in steps {
            match step {
                0..=2 => {
                    let rate = (number == 3).then(|| (TriggerId::new("ns", "t"), 5.0));
                    outlets.offer(now, &origin(&format!("http://h{place}")), lane(number), rate, offered);
                    offered += 1;
                }
                3 => {
                    let begun = all_that_may_begin(&mut outlets, now);
                    left.extend(items(&begun));
                    held.extend(begun);
                    let least = outlets.crowded.first().map_or(most, |(in_flight, ..)| *in_flight);
                    assert!(held.len() == most || least >= outlets.share());
                }
                4 => left.extend(outlets.withdraw(now, &[lane(number)])),
                5 => now += Duration::from_millis(u64::from(place) * 700),
                _ => if let Some((leave, _)) = held.pop() {
                    let feedback = match place {
                        0 => Feedback::Took,
                        1 => Feedback::Congested { gate: None },
                        _ => Feedback::Congested { gate: Some(SECOND) },
                    };
                    outlets.finished(now, &leave, feedback);
                }
            }
            assert!(outlets.in_flight() <= most);
            assert_eq!(outlets.in_flight(), held.len());
            check(&outlets);
        }
        for _ in 0..10_000 {
            for (leave, _) in held.drain(..) {
                outlets.finished(now, &leave, Feedback::Took);
            }
            held = all_that_may_begin(&mut outlets, now);
            left.extend(items(&held));
            if held.is_empty() {
                let Some(at) = outlets.next_timeout() else { break };
                now = at;
            }
        }
        left.sort_unstable();
        assert_eq!(left, (0..offered).collect::<Vec<_>>());
        assert!(outlets.status(now).is_empty());
        assert!(outlets.lanes.is_empty() && outlets.crowded.is_empty() && outlets.wakes.is_empty());
    }
}

/// Every lane stands where its outlet and the process look for it, and nowhere else.
fn check(outlets: &Outlets<u32>) {
    let (mut crowded, mut in_flight) = (BTreeSet::new(), 0);
    for (id, outlet) in &outlets.outlets {
        let mut in_turn = BTreeSet::new();
        for (lane, pipe) in &outlet.pipes {
            in_flight += pipe.in_flight;
            assert!(outlets.lanes[lane].contains(id));
            assert!(pipe.standing == Standing::Aside || !pipe.queue.is_empty(), "{pipe:?}");
            assert!(!pipe.is_idle() || pipe.leaving.is_some(), "nobody would remove {pipe:?}");
            match pipe.standing {
                Standing::InTurn => assert!(in_turn.insert(*lane)),
                Standing::Crowded => assert!(crowded.insert((pipe.in_flight, *id, *lane))),
                Standing::Aside => {
                    assert!(
                        pipe.queue.is_empty() || pipe.in_flight >= pipe.window.limit(),
                        "stuck: {pipe:?}"
                    );
                }
                Standing::Throttled(until) => {
                    assert!(outlets.wakes.iter().any(|Reverse(wake)| *wake == (until, *id, *lane)));
                }
            }
        }
        assert_eq!(outlet.turns.len(), in_turn.len());
        assert_eq!(outlet.turns.iter().copied().collect::<BTreeSet<_>>(), in_turn);
        let is_due = outlet.gate.is_none() && !in_turn.is_empty();
        assert!(!is_due || outlets.ready.contains(id), "nobody would look at {outlet:?}");
    }
    assert_eq!((outlets.in_flight, &outlets.crowded), (in_flight, &crowded));
    assert_eq!(outlets.ready.iter().collect::<BTreeSet<_>>().len(), outlets.ready.len());
}
