//! A Trigger's progress in one partition, and its compact text form.
//!
//! Everything below the watermark is finished. Between the watermark and the position everything is finished
//! too, but for the listed events. The unfinished ones are listed rather than the finished ranges, because a
//! lane's window bounds them, and their attempts have to be kept anyway.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::name::Offset;

/// Kafka accepts this many bytes of metadata with a committed offset, per partition; 4 097 are refused.
pub const MAX_METADATA: usize = 4_000;

/// Where a Trigger stands in one partition.
///
/// Invariants: `watermark <= position`, and `unfinished` is ascending within `watermark..position`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Everything below is finished: the committed offset that Kafka's tools show.
    pub watermark: Offset,
    /// Everything from here on has not been looked at.
    pub position: Offset,
    /// The events between the two that are not finished, ascending.
    pub unfinished: Vec<Unfinished>,
}

/// An event that was read and is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its offset.
    pub offset: Offset,
    /// How far its delivery had come.
    pub progress: Progress,
}

/// How far the delivery of one event has come; it survives restarts (peer's #3746).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where the event is being sent.
    pub stage: Stage,
    /// Attempts finished in this stage.
    pub attempts: u32,
    /// The HTTP status of the subscriber's last answer; 0 for none.
    pub status: u16,
}

/// Where an unfinished event is being sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// To the subscriber.
    #[default]
    Subscriber,
    /// To the dead letter sink.
    DeadLetter,
    /// To the parked topic.
    Park,
}

impl Cursor {
    /// A cursor of which nothing is unfinished.
    pub fn at(offset: Offset) -> Self {
        Self { watermark: offset, position: offset, unfinished: Vec::new() }
    }

    /// The part of it that looks no further than `limit`: what lies from there on is read again after a restart.
    #[must_use]
    pub fn up_to(mut self, limit: Offset) -> Self {
        if self.position > limit {
            self.position = limit;
            self.watermark = self.watermark.min(limit);
            self.unfinished.retain(|unfinished| unfinished.offset < limit);
        }
        self
    }

    /// Writes everything but the watermark as text of at most `limit` bytes.
    ///
    /// When it would be longer, the position is lowered and the events above it are left out: they are read
    /// again after a restart, so that costs duplicates and never an event.
    pub fn to_metadata(&self, limit: usize) -> String {
        let budget = limit.saturating_sub(VERSION.len()) / 4 * 3;
        let mut list = Vec::new();
        let mut position = self.position;
        let mut previous = self.watermark.0;
        for unfinished in &self.unfinished {
            let mut item = Vec::with_capacity(8);
            put(&mut item, unfinished.offset.0 - previous);
            let Progress { stage, attempts, status } = unfinished.progress;
            put(&mut item, u64::from(attempts) << 3 | (stage as u64) << 1 | u64::from(status != 0));
            if status != 0 {
                put(&mut item, u64::from(status));
            }
            // 10 bytes are the longest varint: the position, which is written before the list.
            if 10 + list.len() + item.len() > budget {
                position = unfinished.offset;
                break;
            }
            previous = unfinished.offset.0;
            list.extend(item);
        }
        let mut bytes = Vec::with_capacity(10 + list.len());
        put(&mut bytes, position.0 - self.watermark.0);
        bytes.extend(list);
        format!("{VERSION}{}", STANDARD_NO_PAD.encode(bytes))
    }

    /// Reads back what [`to_metadata`](Self::to_metadata) wrote beside `watermark`.
    ///
    /// Empty metadata is a cursor with nothing unfinished: a person has reset the offset with Kafka's tools.
    ///
    /// # Errors
    /// When the text was not written by this version of Trigon, or is damaged.
    pub fn from_metadata(watermark: Offset, metadata: &str) -> Result<Self, MetadataError> {
        if metadata.is_empty() {
            return Ok(Self::at(watermark));
        }
        let encoded = metadata.strip_prefix(VERSION).ok_or(MetadataError)?;
        let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| MetadataError)?;
        let mut rest = &bytes[..];
        let position = watermark.0.checked_add(take(&mut rest)?).ok_or(MetadataError)?;
        let mut unfinished = Vec::new();
        let mut previous = watermark.0;
        while !rest.is_empty() {
            let delta = take(&mut rest)?;
            let offset = previous.checked_add(delta).ok_or(MetadataError)?;
            if offset >= position || (delta == 0 && !unfinished.is_empty()) {
                return Err(MetadataError);
            }
            previous = offset;
            let packed = take(&mut rest)?;
            let stage = match packed >> 1 & 0b11 {
                0 => Stage::Subscriber,
                1 => Stage::DeadLetter,
                2 => Stage::Park,
                _ => return Err(MetadataError),
            };
            let attempts = u32::try_from(packed >> 3).map_err(|_| MetadataError)?;
            let status = match packed & 1 {
                0 => 0,
                _ => u16::try_from(take(&mut rest)?).map_err(|_| MetadataError)?,
            };
            let progress = Progress { stage, attempts, status };
            unfinished.push(Unfinished { offset: Offset(offset), progress });
        }
        Ok(Self { watermark, position: Offset(position), unfinished })
    }
}

const VERSION: &str = "t1.";

/// Metadata that Trigon did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor's metadata was not written by this version of trigon")]
pub struct MetadataError;

/// LEB128, the least significant seven bits first.
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

fn take(bytes: &mut &[u8]) -> Result<u64, MetadataError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(MetadataError)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(MetadataError)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> impl Strategy<Value = Cursor> {
        let progress = (0..3_u8, 0..1_000_u32, prop_oneof![Just(0_u16), 100..600_u16]);
        (0..u64::MAX / 4, proptest::collection::vec((1..5_000_u64, progress), 0..600), 0..9_000_u64).prop_map(
            |(watermark, steps, ahead)| {
                let mut at = watermark;
                let mut unfinished = Vec::new();
                for (step, (stage, attempts, status)) in steps {
                    let stage = [Stage::Subscriber, Stage::DeadLetter, Stage::Park][usize::from(stage)];
                    let progress = Progress { stage, attempts, status };
                    unfinished.push(Unfinished { offset: Offset(at), progress });
                    at += step;
                }
                Cursor { watermark: Offset(watermark), position: Offset(at + ahead), unfinished }
            },
        )
    }

    proptest! {
        #[test]
        fn is_read_back_as_it_was_written_when_it_fits(cursor in cursors()) {
            let metadata = cursor.to_metadata(1 << 20);
            prop_assert_eq!(Cursor::from_metadata(cursor.watermark, &metadata), Ok(cursor));
        }

        #[test]
        fn what_does_not_fit_is_looked_at_again_and_never_skipped(
            cursor in cursors(), limit in 20..MAX_METADATA,
        ) {
            let metadata = cursor.to_metadata(limit);
            prop_assert!(metadata.len() <= limit);
            let read = Cursor::from_metadata(cursor.watermark, &metadata).unwrap();
            prop_assert!(read.position <= cursor.position);
            let kept = read.unfinished.len();
            prop_assert_eq!(&read.unfinished[..], &cursor.unfinished[..kept]);
            if let Some(left_out) = cursor.unfinished.get(kept) {
                prop_assert!(read.position <= left_out.offset);
            }
        }

        #[test]
        fn what_is_cut_off_is_looked_at_again_and_the_rest_stays(cursor in cursors(), ahead in 0..20_000_u64) {
            let limit = Offset(cursor.watermark.0.saturating_sub(100) + ahead);
            let cut = cursor.clone().up_to(limit);
            prop_assert_eq!(cut.position, cursor.position.min(limit));
            prop_assert_eq!(cut.watermark, cursor.watermark.min(limit));
            let below: Vec<_> = cursor.unfinished.iter().filter(|u| u.offset < cut.position).copied().collect();
            prop_assert_eq!(cut.unfinished, below);
        }

        #[test]
        fn damaged_metadata_is_an_error_and_no_panic(text in "(t1\\.)?[A-Za-z0-9+/]{0,40}") {
            if let Ok(cursor) = Cursor::from_metadata(Offset(7), &text) {
                prop_assert!(cursor.watermark <= cursor.position);
                prop_assert!(cursor.unfinished.windows(2).all(|pair| pair[0].offset < pair[1].offset));
            }
        }
    }

    #[test]
    fn a_reset_offset_has_nothing_unfinished() {
        assert_eq!(Cursor::from_metadata(Offset(5), ""), Ok(Cursor::at(Offset(5))));
    }
}
