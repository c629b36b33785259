//! The commits that wait: one is under way per group, and what comes meanwhile is merged into the next.
//!
//! Kafka serves the requests of one connection one after the other, so the groups of a line take turns, a round of
//! them at a time. The queue is bounded by the places that are committed: of each, only the newest cursor waits.
//! Sends nothing itself.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, TopicPartition};

/// Commits of different groups in one round of a line.
///
/// What a person sets between the reading back and the commit is overwritten: with 5 ms for each commit, that is
/// within 45 ms.
pub(super) const ROUND: usize = 8;

/// What one group commits at once, and who waits for it.
pub(super) type Batch<T> = BTreeMap<TopicPartition, Waiting<T>>;

/// A cursor that waits to be committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting<T> {
    /// The newest.
    pub(super) cursor: Cursor,
    /// Who wants to know what becomes of it.
    pub(super) tickets: Vec<T>,
}

/// The commits of all groups; `L` names a line and `T` who waits.
#[derive(Debug)]
pub(super) struct Queue<L, T> {
    /// What waits of each group; one that is under way has an entry also when nothing waits.
    groups: HashMap<GroupName, Batch<T>>,
    /// Groups that have no line yet.
    lost: Vec<GroupName>,
    lines: HashMap<L, Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    is_busy: bool,
    groups: VecDeque<GroupName>,
}

impl<L: Copy + Eq + Hash, T> Queue<L, T> {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self { groups: HashMap::new(), lost: Vec::new(), lines: HashMap::new() }
    }

    /// Takes a commit in.
    pub(super) fn push(&mut self, group: GroupName, at: TopicPartition, cursor: Cursor, ticket: T) {
        if !self.groups.contains_key(&group) {
            self.lost.push(group.clone());
        }
        match self.groups.entry(group).or_default().entry(at) {
            Entry::Vacant(place) => {
                place.insert(Waiting { cursor, tickets: vec![ticket] });
            }
            Entry::Occupied(mut place) => {
                let waiting = place.get_mut();
                waiting.cursor = cursor;
                waiting.tickets.push(ticket);
            }
        }
    }

    /// The groups whose line is to be found; each is returned once.
    pub(super) fn lost(&mut self) -> Vec<GroupName> {
        std::mem::take(&mut self.lost)
    }

    /// Lets a group take its turns on a line.
    pub(super) fn line_up(&mut self, group: GroupName, line: L) {
        self.lines.entry(line).or_default().groups.push_back(group);
    }

    /// The next round of a line, if none is under way and somebody waits.
    pub(super) fn start(&mut self, line: L) -> Option<Vec<(GroupName, Batch<T>)>> {
        let turns = self.lines.get_mut(&line)?;
        if turns.is_busy || turns.groups.is_empty() {
            return None;
        }
        turns.is_busy = true;
        let some = turns.groups.len().min(ROUND);
        let next = turns.groups.drain(..some);
        let groups = &mut self.groups;
        let batch = |name: GroupName| {
            let batch = groups.get_mut(&name).map(std::mem::take).unwrap_or_default();
            (name, batch)
        };
        Some(next.map(batch).collect())
    }

    /// Ends the round of a line.
    pub(super) fn end(&mut self, line: L) {
        if let Some(turns) = self.lines.get_mut(&line) {
            turns.is_busy = false;
            if turns.groups.is_empty() {
                self.lines.remove(&line);
            }
        }
    }

    /// Puts back what is to be tried again; what came meanwhile is newer.
    pub(super) fn put_back(&mut self, group: &GroupName, batch: Batch<T>) {
        let Some(group) = self.groups.get_mut(group) else { return };
        for (at, earlier) in batch {
            match group.entry(at) {
                Entry::Vacant(place) => {
                    place.insert(earlier);
                }
                Entry::Occupied(mut place) => place.get_mut().tickets.extend(earlier.tickets),
            }
        }
    }

    /// Takes all that waits of a group that has no line.
    pub(super) fn take(&mut self, group: &GroupName) -> Batch<T> {
        self.groups.get_mut(group).map(std::mem::take).unwrap_or_default()
    }

    /// Says that nothing of a group is under way any more: what waits is next.
    pub(super) fn settle(&mut self, group: GroupName) {
        match self.groups.get(&group) {
            Some(waiting) if !waiting.is_empty() => self.lost.push(group),
            _ => {
                self.groups.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use trigon_core::name::{BrokerId, Installation, Offset, PartitionId, TopicName, TriggerId};

    use super::*;

    fn group(n: usize) -> GroupName {
        Installation::default().group(&BrokerId::new("ns", "b"), &TriggerId::new("ns", format!("t{n}")))
    }

    fn at(partition: u32) -> TopicPartition {
        TopicPartition { topic: TopicName::external("topic"), partition: PartitionId(partition) }
    }

    fn push(queue: &mut Queue<u8, u32>, n: usize, partition: u32, ticket: u32) {
        queue.push(group(n), at(partition), Cursor::at(Offset(u64::from(ticket))), ticket);
    }

    /// Of a partition: the offset that is committed, and the tickets.
    type Committed = (u32, u64, Vec<u32>);

    fn round(queue: &mut Queue<u8, u32>, line: u8) -> Vec<(GroupName, Vec<Committed>)> {
        let waiting = |(at, waiting): (TopicPartition, Waiting<u32>)| {
            (at.partition.0, waiting.cursor.watermark.0, waiting.tickets)
        };
        let batch = |(group, batch): (_, Batch<u32>)| (group, batch.into_iter().map(waiting).collect());
        queue.start(line).into_iter().flatten().map(batch).collect()
    }

    #[test]
    fn what_comes_while_a_group_commits_is_merged_and_the_newest_cursor_wins() {
        let mut queue = Queue::new();
        push(&mut queue, 0, 0, 1);
        assert_eq!(queue.lost(), [group(0)]);
        queue.line_up(group(0), 7);
        assert_eq!(round(&mut queue, 7), [(group(0), vec![(0, 1, vec![1])])]);
        push(&mut queue, 0, 0, 2);
        push(&mut queue, 0, 1, 3);
        push(&mut queue, 0, 0, 4);
        assert!(queue.lost().is_empty(), "one is under way");
        assert!(queue.start(7).is_none());
        queue.end(7);
        queue.settle(group(0));
        assert_eq!(queue.lost(), [group(0)]);
        queue.line_up(group(0), 7);
        assert_eq!(round(&mut queue, 7), [(group(0), vec![(0, 4, vec![2, 4]), (1, 3, vec![3])])]);
    }

    #[test]
    fn what_is_tried_again_does_not_replace_what_came_meanwhile() {
        let mut queue = Queue::new();
        push(&mut queue, 0, 0, 1);
        push(&mut queue, 0, 1, 2);
        queue.lost();
        queue.line_up(group(0), 7);
        let (name, batch) = queue.start(7).unwrap().remove(0);
        push(&mut queue, 0, 0, 3);
        queue.end(7);
        queue.put_back(&name, batch);
        assert!(queue.lost().is_empty(), "its line is being looked for");
        queue.line_up(group(0), 8);
        assert_eq!(round(&mut queue, 8), [(group(0), vec![(0, 3, vec![3, 1]), (1, 2, vec![2])])]);
    }

    #[test]
    fn a_round_is_bounded_and_the_others_have_their_turn_next() {
        let mut queue = Queue::new();
        for n in 0..ROUND + 1 {
            push(&mut queue, n, 0, 1);
        }
        for group in queue.lost() {
            queue.line_up(group, 7);
        }
        assert_eq!(queue.start(7).unwrap().len(), ROUND);
        assert!(queue.start(7).is_none(), "one round at a time");
        queue.end(7);
        assert_eq!(round(&mut queue, 7), [(group(ROUND), vec![(0, 1, vec![1])])]);
    }

    #[test]
    fn a_group_that_cannot_be_placed_gives_back_what_waits() {
        let mut queue: Queue<u8, u32> = Queue::new();
        push(&mut queue, 0, 0, 1);
        assert_eq!(queue.lost(), [group(0)]);
        assert_eq!(queue.take(&group(0)).len(), 1);
        queue.settle(group(0));
        assert!(queue.groups.is_empty() && queue.lost().is_empty());
    }

    proptest! {
        /// Whatever the order of pushes, rounds and failures.
        #[test]
        fn every_ticket_comes_back_once_and_no_group_is_under_way_twice(
            ops in proptest::collection::vec((0..4_u8, 0..5_usize, 0..3_u32), 1..200),
        ) {
            let mut queue = Queue::new();
            let mut pushed = 0;
            let mut back = Vec::new();
            let mut rounds: HashMap<u8, Vec<(GroupName, Batch<u32>)>> = HashMap::new();
            let drain = std::iter::repeat_n([(1, 0, 0), (1, 1, 0), (2, 0, 0), (2, 1, 0)], 20).flatten();
            for (op, n, partition) in ops.into_iter().chain(drain) {
                let line = u8::try_from(n % 2).unwrap();
                match op {
                    0 => {
                        push(&mut queue, n, partition, pushed);
                        pushed += 1;
                    }
                    1 => {
                        for group in queue.lost() {
                            let line = group.as_str().as_bytes().last().unwrap() % 2;
                            queue.line_up(group, line);
                        }
                        if let Some(round) = queue.start(line) {
                            prop_assert!(rounds.insert(line, round).is_none());
                        }
                    }
                    fate => {
                        for (group, batch) in rounds.remove(&line).unwrap_or_default() {
                            if fate == 3 {
                                queue.put_back(&group, batch);
                            } else {
                                back.extend(batch.into_values().flat_map(|waiting| waiting.tickets));
                            }
                            queue.settle(group);
                        }
                        queue.end(line);
                    }
                }
                let mut under_way = HashSet::new();
                for (group, _) in rounds.values().flatten() {
                    prop_assert!(under_way.insert(group.clone()), "{group}");
                }
            }
            back.sort_unstable();
            prop_assert_eq!(back, (0..pushed).collect::<Vec<_>>());
            prop_assert!(queue.groups.is_empty());
        }
    }
}
