//! One segment file: its head, how far it is durable, and a sparse index that says where to start reading.
//!
//! A segment that is not the last needs no scan at start: the head of the one after it says how long it is.
//! Its index is built when somebody first looks for an offset in it. The file is open only while somebody
//! reads or writes it. Writing is the business of the topic's writer.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use trigon_core::record::Timestamp;

use super::codec::{self, Head};
use super::disk::{Disk, DiskFile, write_all};
use super::frame::{self, Binding, FrameReader, HEAD, RECORDS, Step};

/// The index has an entry about every so many bytes: 13 KiB of memory for a segment of 64 MiB with four
/// partitions.
pub(crate) const INDEX_STRIDE: u64 = 256 * 1024;

/// With many partitions the entries are larger, and therefore farther apart: one byte of index for so many
/// bytes of segment, at most.
const INDEX_SHARE: u64 = 1024;

/// The extension of a segment's file.
const EXTENSION: &str = "seg";

/// A segment that can be read.
pub(crate) struct Segment {
    pub(crate) head: Head,
    binding: Binding,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// How much of it is durable, and thereby readable.
    len: AtomicU64,
    file: Mutex<Weak<dyn DiskFile>>,
    index: Mutex<Option<Arc<Index>>>,
    /// Where damage was found, so that each is told once.
    damaged: Mutex<BTreeSet<u64>>,
}

/// Where to start reading, in steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    marks: Vec<Mark>,
}

/// A place in a segment.
#[derive(Clone, Debug)]
struct Mark {
    /// A frame begins here.
    at: u64,
    /// The next offset of each partition, at that place.
    next: Box<[u64]>,
    /// The highest timestamp from here up to the next mark.
    latest: Timestamp,
}

/// What a scan of a whole segment found.
pub(crate) struct Survey {
    pub(crate) index: Index,
    /// Where the last frame ends.
    pub(crate) end: u64,
    /// The next offset of each partition.
    pub(crate) next: Vec<u64>,
    /// The highest timestamp of its records.
    pub(crate) latest: Timestamp,
    /// Whether there is something after the last frame that is not zero.
    pub(crate) torn: bool,
    /// Stretches that could not be read, with readable frames after them.
    pub(crate) damaged: Vec<(u64, u64)>,
}

/// The name of a segment's file within its topic's folder.
pub(crate) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}.{EXTENSION}")
}

/// The number in the name of a segment's file; `None` when it is the name of something else.
pub(crate) fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok()
}

impl Segment {
    /// Creates the file with its head, durably.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        binding: Binding,
        head: Head,
    ) -> io::Result<(Arc<Self>, Arc<dyn DiskFile>)> {
        let path = dir.join(file_name(binding.sequence));
        let mut buffer = Vec::new();
        frame::begin(&mut buffer, HEAD);
        head.encode(&mut buffer);
        frame::finish(&mut buffer, binding);
        let written = disk.create(&path).and_then(|file| {
            write_all(&*file, &buffer, 0)?;
            file.sync()?;
            disk.sync_dir(dir)?;
            Ok(file)
        });
        let file = match written {
            Ok(file) => file,
            Err(error) => {
                // Whatever this leaves behind has no records, so that the next start removes it.
                disk.remove(&path).ok();
                return Err(error);
            }
        };
        let segment = Self::new(disk, path, binding, head, buffer.len() as u64);
        *segment.file.lock().expect(LOCKED) = Arc::downgrade(&file);
        *segment.index.lock().expect(LOCKED) = Some(Arc::default());
        Ok((Arc::new(segment), file))
    }

    /// Takes a file that is there. `len` is how much of it counts.
    pub(crate) fn new(disk: &Arc<dyn Disk>, path: PathBuf, binding: Binding, head: Head, len: u64) -> Self {
        Self {
            head,
            binding,
            path,
            disk: disk.clone(),
            len: AtomicU64::new(len),
            file: Mutex::new(Weak::<std::fs::File>::new()),
            index: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    pub(crate) fn binding(&self) -> Binding {
        self.binding
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How much of it is durable, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Says that it is durable up to here.
    pub(crate) fn set_len(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    /// The file, opened if nobody has it open.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        let mut shared = self.file.lock().expect(LOCKED);
        if let Some(file) = shared.upgrade() {
            return Ok(file);
        }
        let file = self.disk.open(&self.path)?;
        *shared = Arc::downgrade(&file);
        Ok(file)
    }

    /// Reads frames from `at` on, as far as they are durable.
    pub(crate) fn frames(&self, at: u64) -> io::Result<FrameReader> {
        Ok(FrameReader::new(self.file()?, self.binding, at, self.len()))
    }

    /// Where to start reading for an offset: at its frame or before it.
    pub(crate) fn find(&self, partition: usize, offset: u64) -> io::Result<u64> {
        let index = self.index()?;
        let after = index.marks.partition_point(|mark| mark.next[partition] <= offset);
        Ok(after.checked_sub(1).map_or(0, |before| index.marks[before].at))
    }

    /// The stretches that may hold records accepted at `time` or later.
    pub(crate) fn stretches_since(&self, time: Timestamp) -> io::Result<Vec<(u64, u64)>> {
        let index = self.index()?;
        let ends = index.marks.iter().skip(1).map(|mark| mark.at).chain([self.len()]);
        let stretches = index.marks.iter().zip(ends).filter(|(mark, _)| mark.latest >= time);
        Ok(stretches.map(|(mark, end)| (mark.at, end)).collect())
    }

    /// Notes that a frame was appended at `at`: `next` is what was next before it, `latest` its highest
    /// timestamp.
    pub(crate) fn note(&self, at: u64, next: &[u64], latest: Timestamp) {
        if let Some(index) = &mut *self.index.lock().expect(LOCKED) {
            Arc::make_mut(index).note(at, next, latest);
        }
    }

    /// Uses an index that a survey has built.
    pub(crate) fn set_index(&self, index: Index) {
        *self.index.lock().expect(LOCKED) = Some(Arc::new(index));
    }

    /// Whether this damage is news.
    pub(crate) fn is_new_damage(&self, at: u64) -> bool {
        self.damaged.lock().expect(LOCKED).insert(at)
    }

    /// Removes the file. Whoever reads it may go on to do so.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.disk.remove(&self.path)
    }

    fn index(&self) -> io::Result<Arc<Index>> {
        if let Some(index) = &*self.index.lock().expect(LOCKED) {
            return Ok(index.clone());
        }
        // Not under the lock: it reads the whole file. Two that build it at once build the same.
        let index = Arc::new(survey(self.frames(0)?, &self.head)?.index);
        *self.index.lock().expect(LOCKED) = Some(index.clone());
        Ok(index)
    }
}

impl Index {
    fn note(&mut self, at: u64, next: &[u64], latest: Timestamp) {
        let stride = INDEX_STRIDE.max(next.len() as u64 * 8 * INDEX_SHARE);
        match self.marks.last_mut() {
            Some(mark) if at < mark.at + stride => mark.latest = mark.latest.max(latest),
            _ => self.marks.push(Mark { at, next: next.into(), latest }),
        }
    }
}

/// Reads a segment from its beginning.
pub(crate) fn survey(mut frames: FrameReader, head: &Head) -> io::Result<Survey> {
    let mut survey = Survey {
        index: Index::default(),
        end: 0,
        next: head.base.clone(),
        latest: Timestamp(i64::MIN),
        torn: false,
        damaged: Vec::new(),
    };
    loop {
        match frames.step()? {
            Step::Frame { at, kind, payload } => {
                if kind == RECORDS {
                    let before = survey.next.clone();
                    let mut latest = Timestamp(i64::MIN);
                    for record in codec::stored(payload) {
                        latest = latest.max(record.timestamp);
                        if let Some(next) = survey.next.get_mut(record.partition as usize) {
                            *next = (*next).max(record.offset + 1);
                        }
                    }
                    survey.index.note(at, &before, latest);
                    survey.latest = survey.latest.max(latest);
                }
            }
            Step::Damaged { from, to } => survey.damaged.push((from, to)),
            Step::End { at } => {
                survey.end = at;
                survey.torn = !frames.rest_is_zero()?;
                return Ok(survey);
            }
        }
    }
}

/// What a poisoned lock would mean.
pub(crate) const LOCKED: &str = "nobody panics while holding this lock";
