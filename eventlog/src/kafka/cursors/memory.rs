//! What this process knows of each place, and what it makes of what it finds there.
//!
//! Kafka has no compare-and-set on offsets: so what is stored is read back before each commit, and judged here. A
//! person who has set an offset wins over us, and so does a dispatcher that took the place over after us. Knows
//! nothing of requests.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, TopicName, TopicPartition};

use super::mark::{self, Epoch, Incarnation, Mark};
use crate::Place;

/// An offset as Kafka has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The watermark.
    pub(super) offset: Offset,
    /// What was committed with it.
    pub(super) metadata: String,
}

impl Stored {
    fn mark_of(&self, topic: Incarnation) -> Origin<'_> {
        match mark::read(&self.metadata) {
            Some((text, mark)) if mark.incarnation == topic => Origin::Ours(text, mark.epoch),
            Some(_) => Origin::Deleted,
            None => {
                let mut hasher = DefaultHasher::new();
                (self.offset, &self.metadata).hash(&mut hasher);
                Origin::Person(Setting(hasher.finish()))
            }
        }
    }
}

/// Who has stored an offset.
enum Origin<'a> {
    /// A dispatcher: its cursor and epoch.
    Ours(&'a str, Epoch),
    /// A dispatcher, in a topic of this name that was deleted.
    Deleted,
    Person(Setting),
}

/// What a person has set: a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting(u64);

/// What was made of an offset that is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Commit, with this mark.
    Write(Mark),
    /// Nothing is stored any more, though something was: commit, with this mark.
    Restore(Mark),
    /// A person has set it.
    Moved,
    /// Another dispatcher has committed after it took the place over.
    TakenOver,
    /// The topic is not the one that the cursor is of.
    Recreated,
}

/// The places that were loaded or committed.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<GroupName, HashMap<TopicPartition, Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Whose offsets these are, and whose commits.
    mark: Mark,
    /// What was loaded, if a person had set it and nothing was committed since.
    adopted: Option<Setting>,
    /// Whether there was anything.
    is_stored: bool,
    /// Whether our user was told that a person has set the offset, so that it loads the place again to go on there.
    is_told: bool,
    /// Since when, in seconds, another dispatcher's epoch has kept us from committing.
    fenced: Option<u64>,
}

/// How long, in seconds, a place may be kept from us by another dispatcher that took it over. Whose session is over
/// has lost its partitions within this time; who still has them is the owner, and loads the place again.
const FENCED_PATIENCE: u64 = 12;

impl Known {
    fn new(topic: Incarnation, last: Option<Epoch>, seconds: u64) -> Self {
        let mark = Mark { incarnation: topic, epoch: Epoch::after(last, seconds) };
        Self { mark, adopted: None, is_stored: last.is_some(), is_told: false, fenced: None }
    }
}

impl Memory {
    /// Takes note of what was loaded; returns the cursor in it.
    ///
    /// The place is ours from now on, should we commit. Many only look: so what a person has set is not taken for
    /// known before our user was told, or it would be overwritten by who has not seen it.
    pub(super) fn loaded(
        &mut self,
        place: &Place,
        topic: Incarnation,
        stored: Option<&Stored>,
        seconds: u64,
    ) -> Option<Cursor> {
        let earlier = self.known(place).copied().filter(|known| known.mark.incarnation == topic);
        let mut known = Known::new(topic, None, seconds);
        let cursor = match stored.map(|stored| (stored.offset, stored.mark_of(topic))) {
            None => None,
            Some((offset, Origin::Ours(text, epoch))) => {
                known = Known::new(topic, Some(epoch), seconds);
                Some(mark::cursor(offset, text))
            }
            Some((offset, Origin::Person(setting))) => {
                known.is_stored = true;
                known.adopted = Some(setting);
                if let Some(earlier) = earlier.filter(|earlier| !earlier.is_told) {
                    known.adopted = earlier.adopted;
                }
                Some(Cursor::at(offset))
            }
            Some((offset, Origin::Deleted)) => {
                let Place { group, at: TopicPartition { topic, partition } } = place;
                tracing::info!(
                    %group, %topic, %partition, %offset,
                    "a committed offset is of a topic that was deleted, and is ignored"
                );
                None
            }
        };
        if let Some(earlier) = earlier {
            known.mark.epoch = known.mark.epoch.max(earlier.mark.epoch);
        }
        self.note(place, known);
        cursor
    }

    /// Judges what is read back before a commit.
    ///
    /// Who commits to a place without having loaded it wants to overwrite what is there.
    pub(super) fn judge(
        &mut self,
        place: &Place,
        topic: Incarnation,
        stored: Option<&Stored>,
        seconds: u64,
    ) -> Verdict {
        let origin = stored.map(|stored| stored.mark_of(topic));
        let Some(known) = self.known_mut(place) else {
            let last = match &origin {
                Some(Origin::Ours(_, epoch)) => Some(*epoch),
                _ => None,
            };
            let mut known = Known::new(topic, last, seconds);
            if let Some(Origin::Person(setting)) = origin {
                known.adopted = Some(setting);
            }
            self.note(place, known);
            return Verdict::Write(known.mark);
        };
        if known.mark.incarnation != topic {
            return Verdict::Recreated;
        }
        match origin {
            None if known.is_stored => Verdict::Restore(known.mark),
            Some(Origin::Ours(_, epoch)) if epoch > known.mark.epoch => {
                let since = *known.fenced.get_or_insert(seconds);
                match seconds.saturating_sub(since) < FENCED_PATIENCE {
                    true => Verdict::TakenOver,
                    false => Verdict::Moved,
                }
            }
            Some(Origin::Person(setting)) if known.adopted != Some(setting) => {
                known.is_told = true;
                Verdict::Moved
            }
            None | Some(_) => Verdict::Write(known.mark),
        }
    }

    /// Takes note that a commit is durable.
    pub(super) fn committed(&mut self, place: &Place) {
        if let Some(known) = self.known_mut(place) {
            known.adopted = None;
            known.is_stored = true;
            known.fenced = None;
        }
    }

    /// Whether a person has set or deleted the offset of a place since it was loaded or committed; our user is told,
    /// then.
    pub(super) fn is_moved(&mut self, place: &Place, stored: Option<&Stored>) -> bool {
        let Some(known) = self.known_mut(place) else { return false };
        let Some(stored) = stored else { return known.is_stored };
        let Origin::Person(setting) = stored.mark_of(known.mark.incarnation) else { return false };
        let is_moved = known.adopted != Some(setting);
        known.is_told |= is_moved;
        is_moved
    }

    /// Whether the place was loaded or committed.
    pub(super) fn knows(&self, place: &Place) -> bool {
        self.known(place).is_some()
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget_group(&mut self, group: &GroupName) {
        self.0.remove(group);
    }

    /// Forgets a topic that was deleted.
    pub(super) fn forget_topic(&mut self, topic: &TopicName) {
        self.0.retain(|_, places| {
            places.retain(|at, _| at.topic != *topic);
            !places.is_empty()
        });
    }

    fn known(&self, place: &Place) -> Option<&Known> {
        self.0.get(&place.group)?.get(&place.at)
    }

    fn known_mut(&mut self, place: &Place) -> Option<&mut Known> {
        self.0.get_mut(&place.group)?.get_mut(&place.at)
    }

    fn note(&mut self, place: &Place, known: Known) {
        self.0.entry(place.group.clone()).or_default().insert(place.at.clone(), known);
    }
}

#[cfg(test)]
mod tests {
    use trigon_core::name::{BrokerId, Installation, PartitionId, TriggerId};
    use uuid::Uuid;

    use super::*;

    fn place() -> Place {
        let group = Installation::default().group(&BrokerId::new("ns", "b"), &TriggerId::new("ns", "t"));
        let at = TopicPartition { topic: TopicName::external("topic"), partition: PartitionId(0) };
        Place { group, at }
    }

    fn topic(n: u128) -> Incarnation {
        Incarnation::of(Uuid::from_u128(n << 80))
    }

    fn by_person(offset: u64) -> Stored {
        Stored { offset: Offset(offset), metadata: String::new() }
    }

    fn by(mark: Mark, offset: u64) -> Stored {
        let cursor = Cursor::at(Offset(offset));
        Stored { offset: cursor.watermark, metadata: mark::write(&cursor, mark) }
    }

    /// Judges, and commits if that is the verdict.
    fn commit(memory: &mut Memory, stored: Option<&Stored>, offset: u64) -> Result<Stored, Verdict> {
        match memory.judge(&place(), topic(1), stored, 1) {
            Verdict::Write(mark) | Verdict::Restore(mark) => {
                memory.committed(&place());
                Ok(by(mark, offset))
            }
            verdict => Err(verdict),
        }
    }

    #[test]
    fn the_place_of_one_dispatcher_is_its_own() {
        let mut memory = Memory::default();
        assert_eq!(memory.loaded(&place(), topic(1), None, 1), None);
        let first = commit(&mut memory, None, 3).unwrap();
        let second = commit(&mut memory, Some(&first), 5).unwrap();
        assert!(!memory.is_moved(&place(), Some(&second)));
        let loaded = memory.loaded(&place(), topic(1), Some(&second), 1);
        assert_eq!(loaded, Some(Cursor::at(Offset(5))));
        assert!(commit(&mut memory, Some(&second), 6).is_ok());
    }

    #[test]
    fn what_a_person_sets_is_not_overwritten_until_it_is_loaded() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), None, 1);
        commit(&mut memory, None, 9).unwrap();
        let set = by_person(3);
        assert_eq!(commit(&mut memory, Some(&set), 10), Err(Verdict::Moved));
        assert_eq!(commit(&mut memory, Some(&set), 11), Err(Verdict::Moved));
        let loaded = memory.loaded(&place(), topic(1), Some(&set), 1);
        assert_eq!(loaded, Some(Cursor::at(Offset(3))));
        assert!(!memory.is_moved(&place(), Some(&set)));
        commit(&mut memory, Some(&set), 4).unwrap();
        assert_eq!(commit(&mut memory, Some(&set), 5), Err(Verdict::Moved), "set to the same once more");
    }

    /// A clock that is ahead must not keep the owner from committing for ever.
    #[test]
    fn who_is_kept_from_committing_for_long_and_still_owns_the_place_loads_it_again() {
        let (mut ours, mut theirs) = (Memory::default(), Memory::default());
        ours.loaded(&place(), topic(1), None, 1);
        theirs.loaded(&place(), topic(1), None, 1_000);
        let stored = commit(&mut theirs, None, 3).unwrap();
        let mut judge = |seconds| ours.judge(&place(), topic(1), Some(&stored), seconds);
        assert_eq!(judge(5), Verdict::TakenOver);
        assert_eq!(judge(5 + FENCED_PATIENCE - 1), Verdict::TakenOver);
        assert_eq!(judge(5 + FENCED_PATIENCE), Verdict::Moved);
        assert_eq!(ours.loaded(&place(), topic(1), Some(&stored), 20), Some(Cursor::at(Offset(3))));
        assert!(commit(&mut ours, Some(&stored), 4).is_ok());
    }

    #[test]
    fn what_is_moved_is_told_without_a_commit() {
        let mut memory = Memory::default();
        assert!(!memory.is_moved(&place(), Some(&by_person(3))), "nobody asked for that place yet");
        memory.loaded(&place(), topic(1), Some(&by_person(3)), 1);
        assert!(!memory.is_moved(&place(), Some(&by_person(3))));
        assert!(memory.is_moved(&place(), Some(&by_person(4))));
        assert!(memory.is_moved(&place(), None), "deleted");
        assert_eq!(memory.loaded(&place(), topic(1), None, 1), None);
        assert!(!memory.is_moved(&place(), None), "that is known");
        assert!(memory.is_moved(&place(), Some(&by_person(4))), "set once more");
        memory.loaded(&place(), topic(1), Some(&by_person(4)), 1);
        assert!(!memory.is_moved(&place(), Some(&by_person(4))));
    }

    #[test]
    fn a_look_does_not_hide_what_a_person_has_set() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), None, 1);
        commit(&mut memory, None, 9).unwrap();
        let set = by_person(3);
        assert_eq!(memory.loaded(&place(), topic(1), Some(&set), 1), Some(Cursor::at(Offset(3))));
        assert_eq!(commit(&mut memory, Some(&set), 10), Err(Verdict::Moved));
    }

    #[test]
    fn a_zombie_does_not_commit() {
        let (mut zombie, mut owner) = (Memory::default(), Memory::default());
        zombie.loaded(&place(), topic(1), None, 100);
        let first = commit(&mut zombie, None, 1).unwrap();
        // The new owner's clock is behind.
        owner.loaded(&place(), topic(1), Some(&first), 50);
        let second = commit(&mut zombie, Some(&first), 2).unwrap();
        let third = commit(&mut owner, Some(&second), 2).unwrap();
        assert_eq!(commit(&mut zombie, Some(&third), 9), Err(Verdict::TakenOver));
        assert!(commit(&mut owner, Some(&third), 3).is_ok());
    }

    #[test]
    fn an_owner_that_never_committed_is_fenced_by_the_clock() {
        let (mut zombie, mut owner) = (Memory::default(), Memory::default());
        zombie.loaded(&place(), topic(1), None, 100);
        owner.loaded(&place(), topic(1), None, 106);
        let first = commit(&mut owner, None, 1).unwrap();
        assert_eq!(commit(&mut zombie, Some(&first), 2), Err(Verdict::TakenOver));
    }

    #[test]
    fn a_lost_answer_is_not_taken_for_a_persons() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), Some(&by_person(3)), 1);
        let Verdict::Write(mark) = memory.judge(&place(), topic(1), Some(&by_person(3)), 1) else {
            panic!("it is written")
        };
        assert!(commit(&mut memory, Some(&by(mark, 4)), 5).is_ok());
    }

    #[test]
    fn an_offset_that_is_gone_is_restored() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), None, 1);
        assert!(matches!(memory.judge(&place(), topic(1), None, 1), Verdict::Write(_)));
        memory.committed(&place());
        assert!(matches!(memory.judge(&place(), topic(1), None, 1), Verdict::Restore(_)));
    }

    #[test]
    fn offsets_of_a_deleted_topic_mean_nothing_in_the_new_one() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), None, 1);
        let old = commit(&mut memory, None, 7).unwrap();
        assert_eq!(memory.judge(&place(), topic(2), Some(&old), 1), Verdict::Recreated);
        assert_eq!(memory.loaded(&place(), topic(2), Some(&old), 1), None);
        assert!(matches!(memory.judge(&place(), topic(2), Some(&old), 1), Verdict::Write(_)));
    }

    #[test]
    fn who_commits_without_a_load_overwrites() {
        let mut first = Memory::default();
        let stored = commit(&mut first, Some(&by_person(3)), 7).unwrap();
        let mut second = Memory::default();
        let stored = commit(&mut second, Some(&stored), 8).unwrap();
        assert_eq!(commit(&mut first, Some(&stored), 9), Err(Verdict::TakenOver));
    }

    #[test]
    fn what_was_deleted_is_forgotten() {
        let mut memory = Memory::default();
        memory.loaded(&place(), topic(1), None, 1);
        memory.forget_topic(&TopicName::external("other"));
        assert!(memory.knows(&place()));
        memory.forget_topic(&place().at.topic);
        assert!(!memory.knows(&place()));
        memory.loaded(&place(), topic(1), None, 1);
        memory.forget_group(&place().group);
        assert!(!memory.knows(&place()));
    }
}
