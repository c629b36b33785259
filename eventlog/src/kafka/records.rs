//! Records out of the bytes of Kafka's answers, and into those of requests: record batches of format 2.
//!
//! The checksum is verified before anything of a batch is believed. Records share the bytes of their batch. What is
//! not for readers is left out: control records, and records of transactions that were aborted.
//!
//! Deliberately not here: which offsets are wanted from where. Nothing in here panics, whatever the bytes.

use std::collections::HashSet;
use std::io::Read;

use bytes::Bytes;
use bytestring::ByteString;
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use trigon_core::name::Offset;
use trigon_core::record::{Record, Timestamp};

pub(super) use self::encode::{Compression, Numbering, ProducerId, encode};

mod encode;

/// The largest batch once it is decompressed, in bytes. Kafka bounds only the compressed size.
pub(super) const MAX_BATCH: usize = 64 << 20;

/// What a batch has before its records.
const HEADER: usize = 61;

/// The offset and the length, which the length does not count.
const PREFIX: usize = 12;

/// Where the part that the checksum covers begins.
const CHECKED: usize = 21;

/// A record takes at least a length, attributes, two deltas, two lengths and a count of headers.
const MIN_RECORD: usize = 7;

/// For so many headers of a record there is room at once, whatever count it claims.
const TRUSTED_HEADERS: usize = 64;

/// Why bytes are not records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Corrupt {
    /// Written before Kafka 0.11.
    #[error("its message format is {0}, and only format 2 is read (Kafka 0.11 and later)")]
    OldFormat(i8),
    /// The bytes are not those that the producer sent.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is not what Kafka's documentation says.
    #[error("{0}")]
    Malformed(&'static str),
    /// It could not be decompressed.
    #[error("it could not be decompressed: {0}")]
    Compression(String),
}

/// Reads the records of an answer, as many at a time as are wanted.
#[derive(Debug)]
pub(super) struct Records {
    /// Batches that were not begun.
    rest: Bytes,
    batch: Option<Batch>,
    aborted: Aborted,
    next: Offset,
}

/// Where the batches of an answer end: what a reader wants next when it has read all of them.
///
/// Looks at lengths only; `None` when there is no whole batch.
pub(super) fn end(batches: &[u8]) -> Option<Offset> {
    let mut rest = batches;
    let mut end = None;
    while let Some((header, after)) = Header::split(rest).ok().flatten() {
        end = Some(header.end());
        rest = after;
    }
    end
}

impl Records {
    /// The records of an answer, from an offset on.
    pub(super) fn new(batches: Bytes, from: Offset, mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        let aborted = Aborted { coming: aborted, open: HashSet::new() };
        Self { rest: batches, batch: None, aborted, next: from }
    }

    /// Where reading goes on: everything below was read or does not exist.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// The bytes that were not read yet.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.batch.is_none()
    }

    /// Reads about `max_bytes` of records, at least one if there is one.
    ///
    /// What was read before an error is returned first, and the error by the next call.
    pub(super) fn read(&mut self, max_bytes: usize) -> Result<Vec<(Offset, Record)>, Corrupt> {
        let mut records = Vec::new();
        let mut room = max_bytes.max(1);
        while room > 0 {
            match self.one() {
                Ok(Some((offset, record))) => {
                    room = room.saturating_sub(record.size());
                    records.push((offset, record));
                }
                Ok(None) => break,
                Err(_) if !records.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(records)
    }

    /// The next record at the position or above it.
    fn one(&mut self) -> Result<Option<(Offset, Record)>, Corrupt> {
        loop {
            let Some(batch) = &mut self.batch else {
                if !self.open()? {
                    return Ok(None);
                }
                continue;
            };
            if batch.left == 0 {
                self.next = self.next.max(batch.header.end());
                self.batch = None;
                continue;
            }
            let (offset, record) = batch.one(self.next)?;
            if let Some(record) = record {
                self.next = offset.next();
                return Ok(Some((offset, record)));
            }
        }
    }

    /// Opens the next batch that has records for us; false at the end.
    fn open(&mut self) -> Result<bool, Corrupt> {
        while let Some((header, _)) = Header::split(&self.rest)? {
            let whole = self.rest.slice(..header.size);
            // A batch that cannot be read stays where it is: the next call says the same of it.
            if header.end() > self.next {
                if crc32c::crc32c(&whole[CHECKED..]) != header.checksum {
                    return Err(Corrupt::Checksum);
                }
                if !self.aborted.hides(&header, &whole) {
                    self.batch = Some(Batch::open(header, whole)?);
                    self.rest = self.rest.slice(header.size..);
                    return Ok(true);
                }
                self.next = header.end();
            } else {
                self.aborted.hides(&header, &whole);
            }
            self.rest = self.rest.slice(header.size..);
        }
        Ok(false)
    }
}

/// Which producers' records are those of an aborted transaction, as the offsets go up.
#[derive(Debug)]
struct Aborted {
    /// Those that begin above, the lowest last.
    coming: Vec<AbortedTransaction>,
    open: HashSet<i64>,
}

impl Aborted {
    /// Whether the records of a batch are not for readers.
    fn hides(&mut self, header: &Header, batch: &[u8]) -> bool {
        let last = i64::try_from(header.last.0).unwrap_or(i64::MAX);
        while self.coming.last().is_some_and(|transaction| transaction.first_offset <= last) {
            self.open.extend(self.coming.pop().map(|transaction| transaction.producer_id.0));
        }
        if header.is_control() {
            if is_abort(batch) {
                self.open.remove(&header.producer);
            }
            return true;
        }
        header.is_transactional() && self.open.contains(&header.producer)
    }
}

/// Whether a control batch ends a transaction by aborting it. It has one record whose key says so.
fn is_abort(batch: &[u8]) -> bool {
    let mut input = Input { bytes: batch, at: HEADER };
    let mut kind = || {
        input.length()?;
        input.take(1)?;
        input.varint()?;
        input.varint()?;
        let key = input.optional()?;
        key.and_then(|(start, _)| batch.get(start + 2..start + 4)).ok_or(CUT_SHORT)
    };
    kind() == Ok(&[0, 0])
}

/// What is said of a batch before its records.
#[derive(Clone, Copy, Debug)]
struct Header {
    base: Offset,
    last: Offset,
    size: usize,
    checksum: u32,
    attributes: i16,
    base_time: i64,
    max_time: i64,
    producer: i64,
    count: usize,
}

impl Header {
    /// The first of some batches and the rest; `None` when it is not all there.
    fn split(batches: &[u8]) -> Result<Option<(Self, &[u8])>, Corrupt> {
        let Some(length) = bytes_at(batches, 8).map(i32::from_be_bytes) else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| Corrupt::Malformed("its length is negative"))?;
        if let Some([magic]) = bytes_at(batches, 16)
            && magic != 2
        {
            return Err(Corrupt::OldFormat(i8::from_be_bytes([magic])));
        }
        if length < HEADER - PREFIX {
            return Err(Corrupt::Malformed("it is shorter than a batch can be"));
        }
        let size = PREFIX.saturating_add(length);
        if batches.len() < size {
            return Ok(None);
        }
        Ok(Some((Self::decode(batches, size)?, &batches[size..])))
    }

    fn decode(batch: &[u8], size: usize) -> Result<Self, Corrupt> {
        let long = |at| bytes_at(batch, at).map(i64::from_be_bytes).ok_or(CUT_SHORT);
        let int = |at| bytes_at(batch, at).map(i32::from_be_bytes).ok_or(CUT_SHORT);
        let offset = |at: i64| u64::try_from(at).map_err(|_| Corrupt::Malformed("its offset is negative"));
        let base = long(0)?;
        let last = base.checked_add(i64::from(int(23)?.max(0)));
        let last =
            last.filter(|last| *last < i64::MAX).ok_or(Corrupt::Malformed("its last offset is too large"))?;
        Ok(Self {
            base: Offset(offset(base)?),
            last: Offset(offset(last)?),
            size,
            checksum: bytes_at(batch, 17).map(u32::from_be_bytes).ok_or(CUT_SHORT)?,
            attributes: bytes_at(batch, 21).map(i16::from_be_bytes).ok_or(CUT_SHORT)?,
            base_time: long(27)?,
            max_time: long(35)?,
            producer: long(43)?,
            count: usize::try_from(int(57)?)
                .map_err(|_| Corrupt::Malformed("its count of records is negative"))?,
        })
    }

    fn end(&self) -> Offset {
        self.last.next()
    }

    fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}

/// A batch that is being read.
#[derive(Debug)]
struct Batch {
    header: Header,
    /// Its records, decompressed.
    body: Bytes,
    at: usize,
    left: usize,
}

impl Batch {
    fn open(header: Header, whole: Bytes) -> Result<Self, Corrupt> {
        let body = whole.slice(HEADER..);
        let body = match header.attributes & 0x07 {
            0 => body,
            1 => decompressed(flate2::read::MultiGzDecoder::new(&body[..]))?,
            2 => unsnapped(&body)?,
            3 => decompressed(
                lz4::Decoder::new(&body[..]).map_err(|error| Corrupt::Compression(error.to_string()))?,
            )?,
            4 => decompressed(
                zstd::stream::read::Decoder::with_buffer(&body[..])
                    .map_err(|error| Corrupt::Compression(error.to_string()))?,
            )?,
            _ => return Err(Corrupt::Malformed("its compression is not known")),
        };
        if header.count > body.len() / MIN_RECORD {
            return Err(Corrupt::Malformed("it is too short for its count of records"));
        }
        Ok(Self { header, body, at: 0, left: header.count })
    }

    /// Its next record; its offset only, when that is below what is wanted.
    fn one(&mut self, from: Offset) -> Result<(Offset, Option<Record>), Corrupt> {
        let mut input = Input { bytes: &self.body, at: self.at };
        let length = input.length()?;
        let end = input.at + length;
        input.take(1)?;
        let time = input.varint()?;
        let delta = u64::try_from(input.varint()?)
            .map_err(|_| Corrupt::Malformed("a record's offset is negative"))?;
        let offset = Offset(self.header.base.0.saturating_add(delta));
        if offset > self.header.last {
            return Err(Corrupt::Malformed("a record's offset is above the last one's"));
        }
        let record = if offset < from { None } else { Some(self.record(input, end, time)?) };
        self.at = end;
        self.left -= 1;
        Ok((offset, record))
    }

    fn record<'a>(&'a self, mut input: Input<'a>, end: usize, time: i64) -> Result<Record, Corrupt> {
        // Bytes of its own: one that waits for a retry must not keep alive the whole answer that it came in.
        let own = Bytes::copy_from_slice(self.body.get(self.at..end).ok_or(CUT_SHORT)?);
        let share = |(start, end): (usize, usize)| own.slice(start - self.at..end - self.at);
        input.bytes = &self.body[..end];
        let key = input.optional()?.map(share);
        let value = input.optional()?.map(share);
        let count = input.length()?;
        let mut headers = Vec::with_capacity(count.min(TRUSTED_HEADERS));
        for _ in 0..count {
            let name = input.optional()?.ok_or(Corrupt::Malformed("a header has no name"))?;
            let value = input.optional()?.map(share).unwrap_or_default();
            headers.push((text(share(name)), value));
        }
        if input.at != end {
            return Err(Corrupt::Malformed("a record's length is wrong"));
        }
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_time
        } else {
            self.header.base_time.saturating_add(time)
        };
        Ok(Record { key, headers, value, timestamp: Timestamp(timestamp) })
    }
}

const CUT_SHORT: Corrupt = Corrupt::Malformed("a record is cut short");

/// Bytes that are read from the front.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    /// The next bytes, as a range.
    fn take(&mut self, count: usize) -> Result<(usize, usize), Corrupt> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or(CUT_SHORT)?;
        let start = std::mem::replace(&mut self.at, end);
        Ok((start, end))
    }

    /// A number in zigzag, seven bits to a byte.
    fn varint(&mut self) -> Result<i64, Corrupt> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(CUT_SHORT)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Corrupt::Malformed("a number is too long"))
    }

    /// A length or a count, which cannot be larger than what follows.
    fn length(&mut self) -> Result<usize, Corrupt> {
        let length =
            usize::try_from(self.varint()?).map_err(|_| Corrupt::Malformed("a length is negative"))?;
        if length > self.bytes.len() - self.at { Err(CUT_SHORT) } else { Ok(length) }
    }

    /// Bytes after their length, as a range; `None` where the length is negative.
    fn optional(&mut self) -> Result<Option<(usize, usize)>, Corrupt> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Kafka does not check that names are UTF-8.
fn text(name: Bytes) -> ByteString {
    match ByteString::try_from(name.clone()) {
        Ok(name) => name,
        Err(_) => String::from_utf8_lossy(&name).into_owned().into(),
    }
}

fn decompressed(from: impl Read) -> Result<Bytes, Corrupt> {
    let mut body = Vec::new();
    let limit = u64::try_from(MAX_BATCH).unwrap_or(u64::MAX);
    from.take(limit + 1).read_to_end(&mut body).map_err(|error| Corrupt::Compression(error.to_string()))?;
    within_limit(body.len())?;
    Ok(body.into())
}

fn within_limit(size: usize) -> Result<(), Corrupt> {
    if size > MAX_BATCH {
        return Err(Corrupt::Compression(format!("it is larger than {MAX_BATCH} bytes")));
    }
    Ok(())
}

/// Kafka's Java client frames snappy in blocks, as the library `snappy-java` does; others send one raw block.
fn unsnapped(body: &[u8]) -> Result<Bytes, Corrupt> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    // The magic, a version, and the oldest version that can read it.
    const FRAME: usize = 16;
    let Some(mut blocks) = body.starts_with(MAGIC).then(|| body.get(FRAME..)).flatten() else {
        let mut plain = Vec::new();
        unsnap(body, &mut plain)?;
        return Ok(plain.into());
    };
    let mut plain = Vec::new();
    while !blocks.is_empty() {
        let cut_short = || Corrupt::Compression("a snappy block is cut short".to_owned());
        let length = bytes_at(blocks, 0).map(u32::from_be_bytes).ok_or_else(cut_short)?;
        let end =
            usize::try_from(length).ok().and_then(|length| length.checked_add(4)).ok_or_else(cut_short)?;
        unsnap(blocks.get(4..end).ok_or_else(cut_short)?, &mut plain)?;
        blocks = &blocks[end..];
    }
    Ok(plain.into())
}

fn unsnap(block: &[u8], plain: &mut Vec<u8>) -> Result<(), Corrupt> {
    let failed = |error: snap::Error| Corrupt::Compression(error.to_string());
    let length = snap::raw::decompress_len(block).map_err(failed)?;
    let start = plain.len();
    within_limit(start.saturating_add(length))?;
    plain.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut plain[start..]).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
