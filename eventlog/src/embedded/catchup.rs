//! Reading from the files: what is no longer in the tail. All of it blocks.
//!
//! A segment holds all partitions, so that reading one passes over the others.

use std::io;
use std::sync::Arc;

use trigon_core::name::{Offset, PartitionId};
use trigon_core::record::{Record, Timestamp};

use super::codec;
use super::frame::{RECORDS, Step};
use super::segment::Segment;
use super::tail;
use super::topic::Topic;

/// After so many bytes one read returns what it has, even nothing, so that it occupies no thread for long.
const PASS_BYTES: u64 = 8 * 1024 * 1024;

/// Where in the files a sequential reader is.
pub(crate) struct Place {
    segment: Arc<Segment>,
    at: u64,
    /// The offset that is looked for from there on.
    offset: u64,
}

/// What was read.
pub(crate) struct CaughtUp {
    pub(crate) records: Vec<(Offset, Record)>,
    /// Everything below was read or does not exist.
    pub(crate) next: u64,
    /// Where to go on; `None` at the end of the files.
    pub(crate) place: Option<Place>,
}

/// Reads records of a partition from `offset` on, about `max_bytes` of them.
///
/// `end` is the partition's end, as known before the call. No records together with a place mean that there
/// is more to pass over.
pub(crate) fn read(
    topic: &Topic,
    partition: PartitionId,
    offset: u64,
    end: u64,
    place: Option<Place>,
    max_bytes: usize,
) -> io::Result<CaughtUp> {
    let mut records = Vec::new();
    let mut next = offset;
    let mut room = max_bytes;
    let mut passed = 0;
    let mut place = match place.filter(|place| place.offset == offset) {
        Some(place) => Some(place),
        None => first_place(topic, partition, offset)?,
    };
    while let Some(Place { segment, at, .. }) = place {
        let mut frames = segment.frames(at)?;
        let after = loop {
            if room == 0 || passed >= PASS_BYTES {
                let place = Some(Place { at: frames.position(), segment, offset: next });
                return Ok(CaughtUp { records, next, place });
            }
            match frames.step()? {
                Step::Frame { at, kind: RECORDS, payload } => {
                    passed += payload.len() as u64;
                    for stored in codec::stored(payload) {
                        if stored.partition != partition.0 || stored.offset < next {
                            continue;
                        }
                        if room == 0 {
                            let place = Some(Place { at, segment, offset: next });
                            return Ok(CaughtUp { records, next, place });
                        }
                        next = stored.offset + 1;
                        if let Some(record) = stored.decode() {
                            room = room.saturating_sub(tail::cost(&record));
                            records.push((Offset(stored.offset), record));
                        }
                    }
                }
                Step::Frame { .. } => {}
                Step::Damaged { from, to } => topic.report_damage(&segment, from, to),
                Step::End { at } => {
                    // In this order: once there is a segment after it, this one does not grow any more.
                    let after = topic.segment_after(segment.binding().sequence);
                    let limit = frames.limit();
                    if segment.len() == limit {
                        if at < limit {
                            topic.report_damage(&segment, at, limit);
                        }
                        break after;
                    }
                    frames = segment.frames(at)?;
                }
            }
        };
        place = after.map(|segment| Place { segment, at: 0, offset: next });
    }
    Ok(CaughtUp { records, next: next.max(end), place: None })
}

/// The first offset whose record was accepted at `time` or later, or `end`.
pub(crate) fn offset_at(topic: &Topic, partition: PartitionId, time: Timestamp, end: u64) -> io::Result<u64> {
    let segments = topic.segments_from(partition, 0);
    let latest_after = segments.iter().skip(1).map(|segment| segment.head.latest_before);
    for (segment, latest) in segments.iter().zip(latest_after.chain([Timestamp(i64::MAX)])) {
        // Whatever the segments up to this one hold is older.
        if latest < time {
            continue;
        }
        for (from, to) in segment.stretches_since(time)? {
            let mut frames = segment.frames(from)?;
            while frames.position() < to {
                match frames.step()? {
                    Step::Frame { kind: RECORDS, payload, .. } => {
                        let found = codec::stored(payload)
                            .find(|stored| stored.partition == partition.0 && stored.timestamp >= time);
                        if let Some(found) = found {
                            return Ok(found.offset);
                        }
                    }
                    Step::Frame { .. } => {}
                    Step::Damaged { from, to } => topic.report_damage(segment, from, to),
                    Step::End { .. } => break,
                }
            }
        }
    }
    Ok(end)
}

fn first_place(topic: &Topic, partition: PartitionId, offset: u64) -> io::Result<Option<Place>> {
    let Some(segment) = topic.segments_from(partition, offset).into_iter().next() else { return Ok(None) };
    let at = segment.find(partition.0 as usize, offset)?;
    Ok(Some(Place { segment, at, offset }))
}
