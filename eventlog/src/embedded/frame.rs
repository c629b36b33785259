//! The frame: what is written in one go, and is there as a whole or not at all.
//!
//! ```text
//! length of the payload: u32 | checksum: u32 | payload, of which the first four bytes are its kind
//! ```
//!
//! The checksum covers the identity of the file too, so that bytes of another file, or bytes that a producer
//! sent, never pass for a frame. A length of zero, or the end of the file, ends the frames.

use std::io;
use std::sync::Arc;

use super::disk::{DiskFile, read_full};

/// How much is read from a file at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// The length and the checksum before each payload.
pub(crate) const HEADER: usize = 8;

/// What a payload is.
pub(crate) type Kind = [u8; 4];

/// The first frame of a segment.
pub(crate) const HEAD: Kind = *b"HEAD";
/// Records.
pub(crate) const RECORDS: Kind = *b"RECS";
/// Changes of cursors.
pub(crate) const CURSORS: Kind = *b"CURS";

/// The identity of a file, which its checksums cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The topic's identity, chosen when it was created.
    pub(crate) owner: u64,
    /// The file's number.
    pub(crate) sequence: u64,
}

impl Binding {
    fn checksum(self, length: [u8; 4], payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.owner.to_le_bytes());
        hasher.update(&self.sequence.to_le_bytes());
        hasher.update(&length);
        hasher.update(payload);
        hasher.finalize()
    }
}

/// Empties the buffer and starts a frame in it; the rest of the payload is to be appended.
pub(crate) fn begin(buffer: &mut Vec<u8>, kind: Kind) {
    buffer.clear();
    buffer.extend([0; HEADER]);
    buffer.extend(kind);
}

/// Completes the frame that [`begin`] started.
pub(crate) fn finish(buffer: &mut [u8], binding: Binding) {
    let (header, payload) = buffer.split_at_mut(HEADER);
    let length = u32::try_from(payload.len()).expect("a frame is bounded far below 4 GiB").to_le_bytes();
    let checksum = binding.checksum(length, payload).to_le_bytes();
    header[..4].copy_from_slice(&length);
    header[4..].copy_from_slice(&checksum);
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A whole frame.
    Frame {
        /// Where it begins in the file.
        at: u64,
        /// What it is.
        kind: Kind,
        /// What it holds, without the kind.
        payload: &'a [u8],
    },
    /// Bytes that are no frame, before one that is.
    Damaged {
        /// Where they begin.
        from: u64,
        /// Where the next frame begins.
        to: u64,
    },
    /// No frame follows. Short of the limit there are unreadable bytes, or zeros.
    End {
        /// Where the last frame ended.
        at: u64,
    },
}

/// Reads the frames of a file one after the other.
pub(crate) struct FrameReader {
    file: Arc<dyn DiskFile>,
    binding: Binding,
    at: u64,
    limit: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl FrameReader {
    /// Reads from `at` up to `limit`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, binding: Binding, at: u64, limit: u64) -> Self {
        Self { file, binding, at, limit, buffer: Vec::new(), buffer_at: 0 }
    }

    /// Where the next frame begins.
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// How far it reads at most.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Reads on.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let at = self.at;
        if let Some(length) = self.frame_at(at)? {
            self.at = at + (HEADER + length) as u64;
            let start = usize::try_from(at - self.buffer_at).expect("the frame is in the buffer") + HEADER;
            let (kind, payload) = self.buffer[start..start + length].split_at(4);
            let kind = kind.try_into().expect("it was split after four bytes");
            return Ok(Step::Frame { at, kind, payload });
        }
        match self.search(at + 1)? {
            Some(to) => {
                self.at = to;
                Ok(Step::Damaged { from: at, to })
            }
            None => Ok(Step::End { at }),
        }
    }

    /// Whether everything from the position to the limit is zero: reserved, and never written.
    pub(crate) fn rest_is_zero(&mut self) -> io::Result<bool> {
        let mut at = self.at;
        while at < self.limit {
            let bytes = self.load(at, CHUNK)?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The length of the payload of the frame at `at`, which is then wholly in the buffer.
    fn frame_at(&mut self, at: u64) -> io::Result<Option<usize>> {
        let room = self.limit.saturating_sub(at);
        let header = self.load(at, HEADER)?;
        let Some((length, rest)) = header.split_first_chunk::<4>() else { return Ok(None) };
        let Some((checksum, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let (length_bytes, checksum) = (*length, u32::from_le_bytes(*checksum));
        let length = u32::from_le_bytes(length_bytes);
        if length < 4 || u64::from(length) + HEADER as u64 > room {
            return Ok(None);
        }
        let length = usize::try_from(length).expect("usize has 32 bits or more");
        let binding = self.binding;
        let frame = self.load(at, HEADER + length)?;
        let whole = frame.get(HEADER..HEADER + length);
        Ok(whole.filter(|payload| binding.checksum(length_bytes, payload) == checksum).map(|_| length))
    }

    /// The bytes from `at` on: `want` of them, or more, or as many as there are.
    fn load(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let room = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(room);
        let held = at
            .checked_sub(self.buffer_at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.checked_add(want).is_some_and(|end| end <= self.buffer.len()));
        let skip = match held {
            Some(skip) => skip,
            None => {
                self.buffer.resize(want.max(CHUNK.min(room)), 0);
                let read = read_full(&*self.file, &mut self.buffer, at)?;
                self.buffer.truncate(read);
                self.buffer_at = at;
                0
            }
        };
        Ok(&self.buffer[skip..])
    }

    /// Finds the next whole frame at `from` or above.
    fn search(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        loop {
            let bytes = self.load(at, CHUNK)?;
            let Some(last) = bytes.len().checked_sub(HEADER + 4) else { return Ok(None) };
            let candidate = (0..=last).find(|start| {
                let kind = &bytes[start + HEADER..start + HEADER + 4];
                kind == RECORDS || kind == CURSORS || kind == HEAD
            });
            match candidate {
                None => at += last as u64 + 1,
                Some(start) => {
                    at += start as u64;
                    if self.frame_at(at)?.is_some() {
                        return Ok(Some(at));
                    }
                    at += 1;
                }
            }
        }
    }
}
