use std::collections::HashMap;

use kafka_protocol::error::ResponseError;

use super::*;

fn source(partition: u32) -> Source {
    Source { topic: Uuid::from_u128(1), partition: PartitionId(partition) }
}

/// A batch of which only the offsets and the size are true.
fn batch(base: u64, count: u32, padding: usize) -> Bytes {
    let mut bytes = vec![0; 61 + padding];
    let length = u32::try_from(bytes.len() - 12).expect("it is small");
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes.into()
}

fn answer(from: u64, end: u64, records: Bytes) -> Answer {
    Answer { from: Offset(from), start: Offset(0), end: Offset(end), records, aborted: Vec::new() }
}

/// Polls, and answers for some partitions.
fn poll(tail: &mut Tail, answers: Vec<(u32, Result<Answer, ResponseError>)>) -> Vec<(u32, u64)> {
    let Some((wanted, _)) = tail.poll() else { return Vec::new() };
    tail.answered(
        &wanted,
        answers.into_iter().map(|(partition, answer)| (source(partition), answer)).collect(),
    );
    wanted.iter().map(|wanted| (wanted.source.partition.0, wanted.from.0)).collect()
}

fn join(tail: &mut Tail, partition: u32, at: u64) -> Arc<Seat> {
    tail.join(source(partition), LeaderEpoch(3), Offset(at), Offset(at)).expect("the tail is not above it")
}

fn offsets(seat: &Seat) -> Option<(u64, u64)> {
    match seat.next() {
        Next::Answer(answer) => Some((answer.from.0, records::end(&answer.records)?.0)),
        Next::Waiting | Next::Joining | Next::Closed => None,
    }
}

#[test]
fn polling_goes_on_behind_what_came_whether_it_was_taken_or_not() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 5);
    assert_eq!(poll(&mut tail, vec![(0, Ok(answer(5, 7, batch(5, 2, 0))))]), [(0, 5)]);
    assert_eq!(poll(&mut tail, vec![(0, Ok(answer(7, 8, batch(7, 1, 0))))]), [(0, 7)]);
    assert_eq!(poll(&mut tail, vec![(0, Ok(answer(8, 8, Bytes::new())))]), [(0, 8)]);
    assert_eq!([offsets(&seat), offsets(&seat), offsets(&seat)], [Some((5, 7)), Some((7, 8)), None]);
    assert_eq!(seat.next(), Next::Waiting);
}

#[test]
fn a_scan_that_comes_during_a_poll_is_told_when_the_next_one_begins() {
    let mut tail = Tail::default();
    let _first = join(&mut tail, 0, 0);
    let (wanted, _) = tail.poll().expect("there is a seat");
    let late = join(&mut tail, 1, 0);
    // This partition is asked for already.
    let along = join(&mut tail, 0, 0);
    assert_eq!((late.next(), along.next()), (Next::Joining, Next::Waiting));
    tail.answered(&wanted, HashMap::new());
    tail.poll();
    assert_eq!(late.next(), Next::Waiting);
}

#[test]
fn scans_of_one_partition_share_a_poll_and_each_gets_everything() {
    let mut tail = Tail::default();
    let (one, two) = (join(&mut tail, 0, 3), join(&mut tail, 0, 3));
    assert_eq!(poll(&mut tail, vec![(0, Ok(answer(3, 4, batch(3, 1, 0))))]), [(0, 3)]);
    assert_eq!([offsets(&one), offsets(&two)], [Some((3, 4)); 2]);
}

#[test]
fn a_scan_behind_the_tail_gets_no_seat() {
    let mut tail = Tail::default();
    let _seat = join(&mut tail, 0, 5);
    assert!(tail.join(source(0), LeaderEpoch(3), Offset(4), Offset(4)).is_none());
}

#[test]
fn a_scan_ahead_of_the_end_is_polled_for_from_the_end() {
    let mut tail = Tail::default();
    let _seat =
        tail.join(source(0), LeaderEpoch(3), Offset(100), Offset(7)).expect("the tail is not above it");
    assert_eq!(poll(&mut tail, Vec::new()), [(0, 7)]);
}

#[test]
fn a_seat_that_is_full_is_lost_and_keeps_what_is_in_it() {
    let mut tail = Tail::default();
    let slow = join(&mut tail, 0, 0);
    let quick = join(&mut tail, 0, 0);
    let count = u64::try_from(SEAT_BYTES / 100_061).expect("it is small") + 1;
    for n in 0..count {
        poll(&mut tail, vec![(0, Ok(answer(n, n + 1, batch(n, 1, 100_000))))]);
        assert_eq!(offsets(&quick), Some((n, n + 1)));
    }
    for n in 0..count - 1 {
        assert_eq!(offsets(&slow), Some((n, n + 1)));
    }
    assert_eq!((slow.next(), quick.next()), (Next::Closed, Next::Waiting));
}

#[test]
fn one_answer_fits_however_large_it_is() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 0);
    poll(&mut tail, vec![(0, Ok(answer(0, 1, batch(0, 1, 2 * SEAT_BYTES))))]);
    assert_eq!(offsets(&seat), Some((0, 1)));
}

#[test]
fn trouble_with_a_partition_closes_its_seats_only() {
    let mut tail = Tail::default();
    let (bad, good) = (join(&mut tail, 0, 0), join(&mut tail, 1, 0));
    poll(&mut tail, vec![(0, Err(ResponseError::NotLeaderOrFollower)), (1, Ok(answer(0, 0, Bytes::new())))]);
    assert_eq!((bad.next(), good.next()), (Next::Closed, Next::Waiting));
    assert_eq!(poll(&mut tail, Vec::new()), [(1, 0)]);
}

#[test]
fn a_scan_for_whose_records_there_was_no_room_looks_for_itself() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 0);
    poll(&mut tail, vec![(0, Ok(answer(0, 1, Bytes::new())))]);
    assert_eq!(seat.next(), Next::Closed);
}

#[test]
fn bytes_that_are_no_batch_close_the_seat() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 0);
    poll(&mut tail, vec![(0, Ok(answer(0, 0, Bytes::from_static(b"what is this"))))]);
    assert_eq!(seat.next(), Next::Closed);
}

#[test]
fn a_throttled_partition_is_asked_for_again() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 3);
    poll(&mut tail, Vec::new());
    assert_eq!(seat.next(), Next::Waiting);
    assert_eq!(poll(&mut tail, vec![(0, Ok(answer(3, 4, batch(3, 1, 0))))]), [(0, 3)]);
    assert_eq!(offsets(&seat), Some((3, 4)));
}

#[test]
fn polls_are_short_when_somebody_has_joined() {
    let mut tail = Tail::default();
    let _one = join(&mut tail, 0, 0);
    let waits = |tail: &mut Tail| [(); 8].map(|()| tail.poll().map_or(0, |(_, wait)| wait.as_millis()));
    assert_eq!(waits(&mut tail), [10, 20, 40, 80, 160, 320, 500, 500]);
    let _two = join(&mut tail, 1, 0);
    assert_eq!(waits(&mut tail)[..2], [10, 20]);
}

#[test]
fn who_left_is_not_polled_for() {
    let mut tail = Tail::default();
    let (one, two) = (join(&mut tail, 0, 0), join(&mut tail, 1, 0));
    drop(one);
    assert_eq!(poll(&mut tail, Vec::new()), [(1, 0)]);
    drop(two);
    assert_eq!(poll(&mut tail, Vec::new()), []);
}

#[test]
fn each_partition_is_first_in_turn() {
    let mut tail = Tail::default();
    let _seats = [0, 1, 2].map(|partition| join(&mut tail, partition, 0));
    let firsts: Vec<_> = (0..6).map(|_| poll(&mut tail, Vec::new())[0].0).collect();
    assert_eq!(firsts, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_small_part_of_an_answer_does_not_keep_the_rest() {
    let mut tail = Tail::default();
    let (small, large) = (join(&mut tail, 0, 0), join(&mut tail, 1, 0));
    let frame = Bytes::from([&batch(0, 1, 0)[..], &batch(0, 1, 1000)[..]].concat());
    let (first, second) = (frame.slice(..61), frame.slice(61..));
    poll(&mut tail, vec![(0, Ok(answer(0, 1, first))), (1, Ok(answer(0, 1, second)))]);
    let within = |seat: &Seat| match seat.next() {
        Next::Answer(answer) => frame.as_ptr_range().contains(&answer.records.as_ptr()),
        Next::Waiting | Next::Joining | Next::Closed => false,
    };
    assert_eq!([within(&small), within(&large)], [false, true]);
}

#[test]
fn nobody_is_left_in_a_seat_when_polling_ends() {
    let mut tail = Tail::default();
    let seat = join(&mut tail, 0, 0);
    drop(tail);
    assert_eq!(seat.next(), Next::Closed);
}

#[test]
fn a_partition_is_polled_in_the_newest_epoch_that_a_scan_knows() {
    let mut tail = Tail::default();
    let epochs = [4, 5, 3].map(LeaderEpoch);
    let seats = epochs.map(|epoch| tail.join(source(0), epoch, Offset(0), Offset(0)));
    let (wanted, _) = tail.poll().expect("there are seats");
    assert_eq!(wanted[0].epoch, LeaderEpoch(5));
    assert!(seats.iter().all(Option::is_some));
}
