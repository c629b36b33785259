//! The bytes of records, of a segment's head and of cursor changes within a frame. Little endian throughout.
//!
//! Decoding trusts nothing: bytes that do not add up are `None`, although the checksum was right.

use bytes::Bytes;
use bytestring::ByteString;
use trigon_core::cursor::{Cursor, Progress, Stage, Unfinished};
use trigon_core::name::Offset;
use trigon_core::record::{Record, Timestamp};

/// What a record takes in a frame beside its own bytes.
const RECORD_OVERHEAD: usize = 36;

/// What a header takes in a frame beside its own bytes.
const HEADER_OVERHEAD: usize = 8;

/// What a record takes in a frame.
pub(crate) fn encoded_size(record: &Record) -> usize {
    RECORD_OVERHEAD + HEADER_OVERHEAD * record.headers.len() + record.size()
}

/// Where a segment begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// When it was created.
    pub(crate) created: Timestamp,
    /// How long the segment before it is. What follows there was never acknowledged.
    pub(crate) previous_len: u64,
    /// The highest timestamp in all segments before.
    pub(crate) latest_before: Timestamp,
    /// The next offset of each partition.
    pub(crate) base: Vec<u64>,
}

impl Head {
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.extend(self.created.0.to_le_bytes());
        buffer.extend(self.previous_len.to_le_bytes());
        buffer.extend(self.latest_before.0.to_le_bytes());
        put_len(buffer, self.base.len());
        for base in &self.base {
            buffer.extend(base.to_le_bytes());
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut bytes = Bites(payload);
        let created = Timestamp(bytes.i64()?);
        let previous_len = bytes.u64()?;
        let latest_before = Timestamp(bytes.i64()?);
        let partitions = bytes.length()?;
        let base = (0..partitions).map(|_| bytes.u64()).collect::<Option<_>>()?;
        Some(Self { created, previous_len, latest_before, base })
    }
}

/// Appends a record.
pub(crate) fn encode_record(buffer: &mut Vec<u8>, partition: u32, offset: u64, record: &Record) {
    let start = buffer.len();
    buffer.extend([0; 4]);
    buffer.extend(partition.to_le_bytes());
    buffer.extend(offset.to_le_bytes());
    buffer.extend(record.timestamp.0.to_le_bytes());
    put_optional_len(buffer, record.key.as_ref());
    put_optional_len(buffer, record.value.as_ref());
    put_len(buffer, record.headers.len());
    for (name, value) in &record.headers {
        put_len(buffer, name.len());
        put_len(buffer, value.len());
    }
    for (name, value) in &record.headers {
        buffer.extend(name.as_bytes());
        buffer.extend(value);
    }
    buffer.extend(record.key.as_deref().unwrap_or_default());
    buffer.extend(record.value.as_deref().unwrap_or_default());
    let size = u32::try_from(buffer.len() - start - 4).expect("a record is bounded far below 4 GiB");
    buffer[start..start + 4].copy_from_slice(&size.to_le_bytes());
}

/// A record whose place has been read, and whose content has not.
pub(crate) struct Stored<'a> {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp: Timestamp,
    content: &'a [u8],
}

/// The records of a frame's payload; ends early where the bytes do not add up.
pub(crate) fn stored(payload: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    let mut bytes = Bites(payload);
    std::iter::from_fn(move || {
        let size = bytes.length()?;
        let mut record = Bites(bytes.take(size)?);
        let partition = record.u32()?;
        let offset = record.u64()?;
        let timestamp = Timestamp(record.i64()?);
        Some(Stored { partition, offset, timestamp, content: record.0 })
    })
}

impl Stored<'_> {
    /// Copies the record out of the frame, in one piece: a record that somebody keeps for long must not keep
    /// the chunk that it was read in.
    pub(crate) fn decode(&self) -> Option<Record> {
        let mut bytes = Bites(self.content);
        let key = bytes.u32()?;
        let value = bytes.u32()?;
        let headers = bytes.length()?;
        let mut lengths = Bites(bytes.take(headers.checked_mul(HEADER_OVERHEAD)?)?);
        let mut content = Bytes::copy_from_slice(bytes.0);
        let mut cut = |length: usize| (length <= content.len()).then(|| content.split_to(length));
        let headers = (0..headers)
            .map(|_| {
                let name = cut(lengths.length()?)?;
                Some((ByteString::try_from(name).ok()?, cut(lengths.length()?)?))
            })
            .collect::<Option<_>>()?;
        let mut optional = |length: u32| match length.checked_sub(1) {
            None => Some(None),
            Some(length) => cut(usize::try_from(length).ok()?).map(Some),
        };
        Some(Record { key: optional(key)?, headers, value: optional(value)?, timestamp: self.timestamp })
    }
}

/// A change in the cursor journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A group's cursor in a partition of a topic of this identity.
    Set { group: String, topic: String, owner: u64, partition: u32, cursor: Cursor },
    /// A group is no more.
    DeleteGroup { group: String },
}

impl Change {
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Set { group, topic, owner, partition, cursor } => {
                buffer.push(0);
                put_text(buffer, group);
                put_text(buffer, topic);
                buffer.extend(owner.to_le_bytes());
                buffer.extend(partition.to_le_bytes());
                buffer.extend(cursor.watermark.0.to_le_bytes());
                buffer.extend(cursor.position.0.to_le_bytes());
                put_len(buffer, cursor.unfinished.len());
                for unfinished in &cursor.unfinished {
                    let Progress { stage, attempts, status } = unfinished.progress;
                    buffer.extend(unfinished.offset.0.to_le_bytes());
                    buffer.push(match stage {
                        Stage::Subscriber => 0,
                        Stage::DeadLetter => 1,
                        Stage::Park => 2,
                    });
                    buffer.extend(attempts.to_le_bytes());
                    buffer.extend(status.to_le_bytes());
                }
            }
            Self::DeleteGroup { group } => {
                buffer.push(1);
                put_text(buffer, group);
            }
        }
    }
}

/// The changes of a frame's payload; ends early where the bytes do not add up.
pub(crate) fn changes(payload: &[u8]) -> impl Iterator<Item = Change> + '_ {
    let mut bytes = Bites(payload);
    std::iter::from_fn(move || match bytes.u8()? {
        0 => {
            let group = bytes.text()?;
            let topic = bytes.text()?;
            let owner = bytes.u64()?;
            let partition = bytes.u32()?;
            let watermark = Offset(bytes.u64()?);
            let position = Offset(bytes.u64()?);
            let unfinished = bytes.length()?;
            let unfinished = (0..unfinished).map(|_| bytes.unfinished()).collect::<Option<_>>()?;
            let cursor = Cursor { watermark, position, unfinished };
            Some(Change::Set { group, topic, owner, partition, cursor })
        }
        1 => Some(Change::DeleteGroup { group: bytes.text()? }),
        _ => None,
    })
}

fn put_len(buffer: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("what is stored is bounded far below 4 GiB");
    buffer.extend(len.to_le_bytes());
}

/// 0 is none; otherwise the length plus one.
fn put_optional_len(buffer: &mut Vec<u8>, bytes: Option<&Bytes>) {
    put_len(buffer, bytes.map_or(0, |bytes| bytes.len() + 1));
}

fn put_text(buffer: &mut Vec<u8>, text: &str) {
    put_len(buffer, text.len());
    buffer.extend(text.as_bytes());
}

/// Bytes from which values are taken one by one.
struct Bites<'a>(&'a [u8]);

impl<'a> Bites<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn text(&mut self) -> Option<String> {
        let len = self.length()?;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn unfinished(&mut self) -> Option<Unfinished> {
        let offset = Offset(self.u64()?);
        let stage = match self.u8()? {
            0 => Stage::Subscriber,
            1 => Stage::DeadLetter,
            2 => Stage::Park,
            _ => return None,
        };
        let attempts = self.u32()?;
        let status = self.u16()?;
        Some(Unfinished { offset, progress: Progress { stage, attempts, status } })
    }
}
