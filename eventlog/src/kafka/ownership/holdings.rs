//! Which partitions the group gave us, and what the dispatcher knows of it.
//!
//! Two have a say in a partition, the group and the dispatcher, and neither waits for the other: the group assigns and
//! revokes when it likes, the dispatcher hears of it when it asks. This keeps the two apart: a partition goes back to
//! the group when the dispatcher has let go of it, and not before.

use std::collections::BTreeMap;
use std::time::Instant;

use trigon_core::name::TopicPartition;

use crate::{OwnershipChange, REVOKE_DEADLINE};

/// All partitions that are ours, or that the dispatcher believes to be.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    partitions: BTreeMap<TopicPartition, Holding>,
    /// By when what was revoked must be released.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// Ours; the dispatcher does not know yet.
    New,
    /// Ours, and the dispatcher knows.
    Owned,
    /// To be given back; the dispatcher believes that it is ours.
    Leaving,
    /// To be given back; the dispatcher drains it.
    Draining,
    /// Somebody else's; the dispatcher believes that it is ours.
    Lost,
    /// It was somebody else's in between, and the dispatcher knows neither.
    LostAndNew,
}

impl Holdings {
    /// The group gave us these.
    pub(super) fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        for at in partitions {
            let holding = self.partitions.entry(at).or_insert(Holding::New);
            *holding = match *holding {
                Holding::New => Holding::New,
                Holding::Owned => Holding::Owned,
                Holding::Leaving | Holding::Draining | Holding::Lost | Holding::LostAndNew => {
                    Holding::LostAndNew
                }
            };
        }
    }

    /// The group wants these back.
    pub(super) fn revoked(&mut self, partitions: &[TopicPartition], now: Instant) {
        for at in partitions {
            match self.partitions.get_mut(at) {
                // The dispatcher never heard of it.
                Some(Holding::New) => drop(self.partitions.remove(at)),
                Some(holding @ Holding::Owned) => *holding = Holding::Leaving,
                Some(holding @ Holding::LostAndNew) => *holding = Holding::Lost,
                Some(Holding::Leaving | Holding::Draining | Holding::Lost) | None => {}
            }
        }
        self.deadline = Some(now + REVOKE_DEADLINE);
    }

    /// These are somebody else's already.
    pub(super) fn lost(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            match self.partitions.get_mut(at) {
                Some(Holding::New) => drop(self.partitions.remove(at)),
                Some(holding) => *holding = Holding::Lost,
                None => {}
            }
        }
    }

    /// All are somebody else's already.
    pub(super) fn lost_all(&mut self) {
        let all: Vec<_> = self.partitions.keys().cloned().collect();
        self.lost(&all);
    }

    /// The dispatcher has let go of one that it was told to drain.
    pub(super) fn released(&mut self, at: &TopicPartition) {
        if self.partitions.get(at) == Some(&Holding::Draining) {
            self.partitions.remove(at);
        }
    }

    /// Whether the dispatcher has let go of all that was revoked.
    pub(super) fn are_drained(&self) -> bool {
        !self.partitions.values().any(|holding| matches!(holding, Holding::Leaving | Holding::Draining))
    }

    /// Whether neither the group nor the dispatcher thinks that anything is ours.
    pub(super) fn are_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Gives up what was not released by its deadline; says how many those are.
    pub(super) fn give_up_overdue(&mut self, now: Instant) -> usize {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return 0;
        }
        self.deadline = None;
        let mut overdue = 0;
        for holding in self.partitions.values_mut() {
            if matches!(holding, Holding::Leaving | Holding::Draining) {
                *holding = Holding::Lost;
                overdue += 1;
            }
        }
        overdue
    }

    /// What the dispatcher is to be told next, if anything.
    pub(super) fn next_change(&mut self) -> Option<OwnershipChange> {
        let lost = self.all(|holding| matches!(holding, Holding::Lost | Holding::LostAndNew));
        if !lost.is_empty() {
            self.partitions.retain(|_, holding| *holding != Holding::Lost);
            self.turn(Holding::LostAndNew, Holding::New);
            return Some(OwnershipChange::Lost(lost));
        }
        let leaving = self.all(|holding| holding == Holding::Leaving);
        if !leaving.is_empty() {
            self.turn(Holding::Leaving, Holding::Draining);
            return Some(OwnershipChange::Revoked(leaving));
        }
        let new = self.all(|holding| holding == Holding::New);
        if new.is_empty() {
            return None;
        }
        self.turn(Holding::New, Holding::Owned);
        Some(OwnershipChange::Assigned(new))
    }

    fn all(&self, are: impl Fn(Holding) -> bool) -> Vec<TopicPartition> {
        self.partitions.iter().filter(|(_, holding)| are(**holding)).map(|(at, _)| at.clone()).collect()
    }

    fn turn(&mut self, from: Holding, to: Holding) {
        for holding in self.partitions.values_mut().filter(|holding| **holding == from) {
            *holding = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trigon_core::name::{PartitionId, TopicName};

    use super::*;

    fn at(partition: u32) -> TopicPartition {
        TopicPartition { topic: TopicName::external("orders"), partition: PartitionId(partition) }
    }

    /// Holdings of which the dispatcher has been told everything.
    fn told(partitions: &[u32]) -> Holdings {
        let mut holdings = Holdings::default();
        holdings.assigned(partitions.iter().copied().map(at).collect());
        let all = partitions.iter().copied().map(at).collect();
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Assigned(all)));
        assert_eq!(holdings.next_change(), None);
        holdings
    }

    #[test]
    fn a_revoked_partition_goes_back_when_it_is_released() {
        let mut holdings = told(&[0, 1]);
        holdings.revoked(&[at(0)], Instant::now());
        assert!(!holdings.are_drained(), "nobody was told yet");
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Revoked(vec![at(0)])));
        assert!(!holdings.are_drained(), "it is draining");
        holdings.released(&at(1));
        assert!(!holdings.are_drained(), "that was another one");
        holdings.released(&at(0));
        assert!(holdings.are_drained());
        assert_eq!(holdings.next_change(), None);
    }

    #[test]
    fn a_partition_that_nobody_heard_of_goes_back_at_once() {
        let mut holdings = Holdings::default();
        holdings.assigned(vec![at(0)]);
        holdings.revoked(&[at(0)], Instant::now());
        assert!(holdings.are_drained());
        assert_eq!(holdings.next_change(), None);
    }

    #[test]
    fn what_is_not_released_in_time_is_lost() {
        let mut holdings = told(&[0]);
        let now = Instant::now();
        holdings.revoked(&[at(0)], now);
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Revoked(vec![at(0)])));
        assert_eq!(holdings.give_up_overdue(now), 0);
        assert_eq!(holdings.give_up_overdue(now + REVOKE_DEADLINE), 1);
        assert!(holdings.are_drained());
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Lost(vec![at(0)])));
        assert!(holdings.are_empty());
    }

    #[test]
    fn what_was_lost_and_comes_back_is_told_as_both() {
        let mut holdings = told(&[0]);
        holdings.lost_all();
        holdings.assigned(vec![at(0)]);
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Lost(vec![at(0)])));
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Assigned(vec![at(0)])));
    }

    #[test]
    fn a_late_release_does_not_give_away_what_is_ours_again() {
        let mut holdings = told(&[0]);
        holdings.lost(&[at(0)]);
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Lost(vec![at(0)])));
        holdings.assigned(vec![at(0)]);
        assert_eq!(holdings.next_change(), Some(OwnershipChange::Assigned(vec![at(0)])));
        holdings.released(&at(0));
        assert!(!holdings.are_empty());
    }

    /// What can happen, in any order.
    #[derive(Clone, Debug)]
    enum Happens {
        Assigned(u32),
        Revoked(u32),
        Lost(u32),
        Late,
        Asks,
        Releases(u32),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            (0..3_u32).prop_map(Happens::Assigned),
            (0..3_u32).prop_map(Happens::Revoked),
            (0..3_u32).prop_map(Happens::Lost),
            Just(Happens::Late),
            Just(Happens::Asks),
            Just(Happens::Asks),
            (0..3_u32).prop_map(Happens::Releases),
        ]
    }

    proptest! {
        /// What the dispatcher is told makes sense to somebody who knows nothing else: nothing is assigned that it
        /// has, or drains; nothing is revoked that it does not have.
        #[test]
        fn the_dispatcher_is_told_a_consistent_story(story in proptest::collection::vec(happens(), 1..60)) {
            let start = Instant::now();
            let mut holdings = Holdings::default();
            let (mut owned, mut draining) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for event in story {
                match event {
                    Happens::Assigned(n) => holdings.assigned(vec![at(n)]),
                    Happens::Revoked(n) => holdings.revoked(&[at(n)], start),
                    Happens::Lost(n) => holdings.lost(&[at(n)]),
                    Happens::Late => drop(holdings.give_up_overdue(start + REVOKE_DEADLINE)),
                    Happens::Releases(n) => {
                        if draining.remove(&at(n)) {
                            holdings.released(&at(n));
                        }
                    }
                    Happens::Asks => match holdings.next_change() {
                        Some(OwnershipChange::Assigned(new)) => for at in new {
                            prop_assert!(!draining.contains(&at), "{at:?} is still being drained");
                            prop_assert!(owned.insert(at), "assigned twice");
                        },
                        Some(OwnershipChange::Revoked(revoked)) => for at in revoked {
                            prop_assert!(owned.remove(&at), "revoked what was not owned");
                            draining.insert(at);
                        },
                        Some(OwnershipChange::Lost(lost)) => for at in lost {
                            // It may just have been released: then there is nothing to forget.
                            owned.remove(&at);
                            draining.remove(&at);
                        },
                        None => prop_assert_eq!(holdings.are_drained(), draining.is_empty()),
                    },
                }
            }
        }
    }
}
