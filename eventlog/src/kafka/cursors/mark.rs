//! The metadata of a committed offset: the cursor's text, and after it a mark that tells whose commit it is.
//!
//! The mark names the topic's incarnation, because offsets of a deleted topic mean nothing in one of the same name,
//! and the epoch of the dispatcher that committed, because one that has lost the place may still try to. An offset
//! without a mark was set by a person.

use trigon_core::cursor::{Cursor, MAX_METADATA};
use trigon_core::name::Offset;
use uuid::Uuid;

/// Names one topic among all of its name that there ever were: the first 48 bits of the topic's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incarnation(u64);

impl Incarnation {
    /// Of the topic with this id.
    pub(super) fn of(id: Uuid) -> Self {
        let [a, b, c, d, e, f, ..] = *id.as_bytes();
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// Orders the dispatchers that owned a place, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// What the mark has room for.
    const MAX: u64 = (1 << 48) - 1;

    /// The epoch of who takes over `seconds` after the Unix epoch from the one that committed last.
    ///
    /// The time makes it higher than that of an earlier owner who has not committed yet.
    pub(super) fn after(last: Option<Self>, seconds: u64) -> Self {
        let next = last.map_or(0, |last| last.0 + 1);
        Self(next.max(seconds).min(Self::MAX))
    }
}

/// Whose commit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The topic at the time of the commit.
    pub(super) incarnation: Incarnation,
    /// The dispatcher that committed.
    pub(super) epoch: Epoch,
}

/// `.`, which is in no base64, and two times 48 bits.
const LENGTH: usize = 25;

/// The metadata of a commit, of at most [`MAX_METADATA`] bytes: `t1.<cursor>.<mark>`.
pub(super) fn write(cursor: &Cursor, mark: Mark) -> String {
    let text = cursor.to_metadata(MAX_METADATA - LENGTH);
    format!("{text}.{:012x}{:012x}", mark.incarnation.0, mark.epoch.0)
}

/// The mark, and the cursor's text before it; `None` for what a person has written.
pub(super) fn read(metadata: &str) -> Option<(&str, Mark)> {
    let (text, mark) = metadata.split_at_checked(metadata.len().checked_sub(LENGTH)?)?;
    let digits = mark.strip_prefix('.')?;
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (incarnation, epoch) = digits.split_at_checked(12)?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let mark = Mark { incarnation: Incarnation(number(incarnation)?), epoch: Epoch(number(epoch)?) };
    text.contains('.').then_some((text, mark))
}

/// The cursor of a marked commit.
///
/// One that this version cannot read stands at its watermark: what was finished above it is done again.
pub(super) fn cursor(offset: Offset, text: &str) -> Cursor {
    Cursor::from_metadata(offset, text).unwrap_or_else(|error| {
        tracing::warn!(%offset, %error, "a cursor is taken up at its watermark");
        Cursor::at(offset)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trigon_core::cursor::{Progress, Stage, Unfinished};

    use super::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        let steps = proptest::collection::vec((1..5_000_u64, 0..1_000_u32), 0..1_500);
        (0..1_u64 << 40, steps).prop_map(|(watermark, steps)| {
            let mut at = watermark;
            let mut unfinished = Vec::new();
            for (step, attempts) in steps {
                let progress = Progress { stage: Stage::Subscriber, attempts, status: 503 };
                unfinished.push(Unfinished { offset: Offset(at), progress });
                at += step;
            }
            Cursor { watermark: Offset(watermark), position: Offset(at), unfinished }
        })
    }

    proptest! {
        #[test]
        fn a_mark_is_read_back_beside_any_cursor_and_kafka_takes_both(
            cursor in cursors(), id in any::<u128>(), epoch in 0..=Epoch::MAX,
        ) {
            let mark = Mark { incarnation: Incarnation::of(Uuid::from_u128(id)), epoch: Epoch(epoch) };
            let metadata = write(&cursor, mark);
            prop_assert!(metadata.len() <= MAX_METADATA);
            let (text, read) = read(&metadata).unwrap();
            prop_assert_eq!(read, mark);
            let text = Cursor::from_metadata(cursor.watermark, text).unwrap();
            prop_assert!(text.position <= cursor.position);
            prop_assert_eq!(&text.unfinished[..], &cursor.unfinished[..text.unfinished.len()]);
        }

        #[test]
        fn what_a_person_writes_has_no_mark(text in "[ -~ä☃]{0,60}") {
            prop_assert_eq!(read(&text), None);
        }

        #[test]
        fn a_cursor_without_a_mark_is_not_ours(cursor in cursors()) {
            let text = cursor.to_metadata(MAX_METADATA);
            prop_assert_eq!(read(&text), None);
        }
    }

    #[test]
    fn an_epoch_is_after_the_last_and_not_before_the_clock() {
        assert_eq!(Epoch::after(None, 100), Epoch(100));
        assert_eq!(Epoch::after(Some(Epoch(50)), 100), Epoch(100));
        assert_eq!(Epoch::after(Some(Epoch(100)), 100), Epoch(101));
        assert_eq!(Epoch::after(Some(Epoch(Epoch::MAX)), 100), Epoch(Epoch::MAX));
    }

    #[test]
    fn topics_of_the_same_name_differ_by_their_ids() {
        let of = |id| Incarnation::of(Uuid::from_u128(id));
        assert_eq!(of(7 << 80), of(7 << 80 | 1));
        assert_ne!(of(7 << 80), of(8 << 80));
    }

    #[test]
    fn a_cursor_of_another_version_is_taken_up_at_its_watermark() {
        assert_eq!(cursor(Offset(7), "t9.AAAA"), Cursor::at(Offset(7)));
    }
}
