//! The cursors of all groups: a map in memory, and a journal that rebuilds it.
//!
//! Commits are grouped like appends: one thread, one sync for all that is queued. When the journal has grown
//! to a multiple of what it holds, it is written anew beside itself and renamed. A full disk refuses commits
//! and nothing else; the next commit tries again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, TopicName};

use super::codec::{self, Change};
use super::disk::{Disk, DiskFile, is_no_space, write_all};
use super::frame::{self, Binding, CURSORS, FrameReader, Step};
use super::segment::LOCKED;
use crate::LogError;

/// Commits that may wait; further callers wait for a place.
const MAX_QUEUED_COMMITS: usize = 1024;

/// Changes that one frame takes, about, so that no frame grows beyond all bounds.
const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// A journal smaller than this is not worth writing anew.
const MIN_COMPACTION: u64 = 4 * 1024 * 1024;

/// The journal is written anew when it is this many times as large as it was after the last time.
const COMPACTION_FACTOR: u64 = 4;

/// Space is reserved in steps of this many bytes: commits go on for a while when the disk is full.
const ALLOCATION_STEP: u64 = 1024 * 1024;

const JOURNAL_FILE: &str = "cursors.journal";

/// What the journal's checksums are bound to; topics have the time of their creation instead.
const JOURNAL: Binding = Binding { owner: 0, sequence: 0 };

/// The cursors, and the thread that writes them.
pub(crate) struct Cursors {
    map: Arc<Mutex<CursorMap>>,
    queue: RwLock<Option<SyncSender<Commits>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

type Key = (String, u32);

/// By group, topic and partition; with each cursor the identity of the topic that it is about.
#[derive(Default)]
struct CursorMap {
    groups: HashMap<String, HashMap<Key, (u64, Cursor)>>,
}

/// Changes that wait to be written, all or none.
struct Commits {
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<(), LogError>>,
}

impl Cursors {
    /// Reads the journal in the folder and starts the thread.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Self> {
        let (journal, map) = Journal::open(disk, dir)?;
        let map = Arc::new(Mutex::new(map));
        let (queue, commits) = sync_channel(MAX_QUEUED_COMMITS);
        let committer = CursorCommitter { commits, journal, map: map.clone() };
        let thread = thread::Builder::new().name("cursor-committer".into()).spawn(move || committer.run())?;
        Ok(Self { map, queue: RwLock::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// A group's cursor in a partition of the topic with this identity.
    pub(crate) fn find(
        &self,
        group: &GroupName,
        topic: &TopicName,
        id: u64,
        partition: u32,
    ) -> Option<Cursor> {
        let map = self.map.lock().expect(LOCKED);
        let cursors = map.groups.get(group.as_str())?;
        let (owner, cursor) = cursors.get(&(topic.as_str().to_owned(), partition))?;
        (*owner == id).then(|| cursor.clone())
    }

    /// Writes changes; resolves when they are durable. Blocks while the queue is full.
    pub(crate) fn write(
        &self,
        changes: Vec<Change>,
    ) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        let queue = self.queue.read().expect(LOCKED).clone().ok_or(LogError::Closed)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Commits { changes, answer }).map_err(|_| LogError::Closed)?;
        Ok(answered)
    }

    /// Forgets the cursors in a topic. In the journal they stay until it is written anew; the topic's identity
    /// keeps them from coming back.
    pub(crate) fn forget_topic(&self, id: u64) {
        let mut map = self.map.lock().expect(LOCKED);
        for cursors in map.groups.values_mut() {
            cursors.retain(|_, (owner, _)| *owner != id);
        }
        map.groups.retain(|_, cursors| !cursors.is_empty());
    }

    /// Forgets the cursors in topics that are not among these.
    pub(crate) fn keep_topics(&self, ids: &[u64]) {
        let mut map = self.map.lock().expect(LOCKED);
        for cursors in map.groups.values_mut() {
            cursors.retain(|_, (owner, _)| ids.contains(owner));
        }
        map.groups.retain(|_, cursors| !cursors.is_empty());
    }

    /// Writes what waits, and returns when the thread has ended.
    pub(crate) fn close(&self) {
        self.queue.write().expect(LOCKED).take();
        let thread = self.thread.lock().expect(LOCKED).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log's cursor committer panicked");
        }
    }
}

impl CursorMap {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Set { group, topic, owner, partition, cursor } => {
                self.groups.entry(group).or_default().insert((topic, partition), (owner, cursor));
            }
            Change::DeleteGroup { group } => {
                self.groups.remove(&group);
            }
        }
    }

    fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        self.groups.iter().flat_map(|(group, cursors)| {
            cursors.iter().map(|((topic, partition), (owner, cursor))| Change::Set {
                group: group.clone(),
                topic: topic.clone(),
                owner: *owner,
                partition: *partition,
                cursor: cursor.clone(),
            })
        })
    }
}

/// What the thread works with.
struct CursorCommitter {
    commits: Receiver<Commits>,
    journal: Journal,
    map: Arc<Mutex<CursorMap>>,
}

impl CursorCommitter {
    fn run(mut self) {
        while let Ok(first) = self.commits.recv() {
            let mut group = vec![first];
            let mut changes = group[0].changes.len();
            // A change is about 100 bytes, so that this many make a frame.
            while changes < MAX_FRAME_BYTES / 128 {
                let Ok(next) = self.commits.try_recv() else { break };
                changes += next.changes.len();
                group.push(next);
            }
            let written = self.write(&group);
            for Commits { changes, answer } in group {
                if written.is_ok() {
                    let mut map = self.map.lock().expect(LOCKED);
                    changes.into_iter().for_each(|change| map.apply(change));
                }
                // Whoever does not wait for the answer does not need it.
                answer.send(written.clone()).ok();
            }
            if self.journal.is_overgrown() {
                self.journal.compact(&self.map);
            }
        }
    }

    fn write(&mut self, group: &[Commits]) -> Result<(), LogError> {
        let changes = || group.iter().flat_map(|commits| &commits.changes);
        let written = self.journal.append(changes()).or_else(|error| {
            // A journal written anew is smaller, and is not the file that failed.
            if self.journal.compact(&self.map) { self.journal.append(changes()) } else { Err(error) }
        });
        written.map_err(|error| {
            if is_no_space(&error) {
                LogError::NoSpace
            } else {
                tracing::error!(%error, "could not write cursors");
                LogError::Failed(format!("could not write cursors: {error}"))
            }
        })
    }
}

/// The file.
struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn DiskFile>,
    /// How much of it is durable.
    len: u64,
    allocated: u64,
    /// How long it was when it was last written anew.
    compacted_len: u64,
    /// Whether it may be appended to: not after a failed sync.
    is_sound: bool,
    buffer: Vec<u8>,
}

impl Journal {
    fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<(Self, CursorMap)> {
        let path = dir.join(JOURNAL_FILE);
        let file = match disk.list(dir)?.iter().any(|name| name == JOURNAL_FILE) {
            true => disk.open(&path)?,
            false => {
                let file = disk.create(&path)?;
                disk.sync_dir(dir)?;
                file
            }
        };
        let mut map = CursorMap::default();
        let size = file.size()?;
        let mut frames = FrameReader::new(file.clone(), JOURNAL, 0, size);
        let len = loop {
            match frames.step()? {
                Step::Frame { kind: CURSORS, payload, .. } => {
                    codec::changes(payload).for_each(|change| map.apply(change));
                }
                Step::Frame { .. } => {}
                Step::Damaged { from, to } => tracing::error!(
                    file = %path.display(), at = from, bytes = to - from,
                    "the journal of cursors is damaged: events may be delivered again"
                ),
                Step::End { at } => {
                    if !frames.rest_is_zero()? {
                        tracing::warn!(
                            file = %path.display(), at, bytes = size - at,
                            "cut off a torn tail; no cursor in it was acknowledged"
                        );
                    }
                    break at;
                }
            }
        };
        if size > len {
            file.set_size(len)?;
            file.sync()?;
        }
        let buffer = Vec::new();
        let dir = dir.to_owned();
        let journal = Self { disk, dir, file, len, allocated: len, compacted_len: 0, is_sound: true, buffer };
        Ok((journal, map))
    }

    fn append<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> io::Result<()> {
        if !self.is_sound {
            return Err(io::Error::other("the journal of cursors could not be synced"));
        }
        frame::begin(&mut self.buffer, CURSORS);
        changes.for_each(|change| change.encode(&mut self.buffer));
        frame::finish(&mut self.buffer, JOURNAL);
        let end = self.len + self.buffer.len() as u64;
        let written = self.reserve(end).and_then(|()| write_all(&*self.file, &self.buffer, self.len));
        let synced = written.and_then(|()| {
            let synced = self.file.sync();
            self.is_sound = synced.is_ok();
            synced
        });
        match synced {
            Ok(()) => self.len = end,
            Err(_) => match self.file.set_size(self.len) {
                Ok(()) => self.allocated = self.len,
                // What is left there must not be followed by a shorter frame.
                Err(_) => self.is_sound = false,
            },
        }
        synced
    }

    fn reserve(&mut self, to: u64) -> io::Result<()> {
        if to <= self.allocated {
            return Ok(());
        }
        let ample = to.next_multiple_of(ALLOCATION_STEP);
        let reserved = match self.file.allocate(self.allocated, ample) {
            Ok(()) => ample,
            Err(error) if is_no_space(&error) => {
                self.file.allocate(self.allocated, to)?;
                to
            }
            Err(error) => return Err(error),
        };
        self.allocated = reserved;
        Ok(())
    }

    fn is_overgrown(&self) -> bool {
        self.len > MIN_COMPACTION.max(COMPACTION_FACTOR * self.compacted_len)
    }

    /// Writes the journal anew; when that fails, the old one stays. Returns whether it worked.
    fn compact(&mut self, map: &Mutex<CursorMap>) -> bool {
        let changes: Vec<Change> = map.lock().expect(LOCKED).changes().collect();
        let new = self.dir.join(format!("{JOURNAL_FILE}.new"));
        match self.write_anew(&new, &changes) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "could not write the journal of cursors anew; the old one stays");
                // The next try creates it again.
                self.disk.remove(&new).ok();
                // Not again until it has grown by as much again.
                self.compacted_len = self.len;
                false
            }
        }
    }

    fn write_anew(&mut self, new: &Path, changes: &[Change]) -> io::Result<()> {
        let file = self.disk.create(new)?;
        let mut len = 0;
        let mut changes = changes.iter().peekable();
        while changes.peek().is_some() {
            frame::begin(&mut self.buffer, CURSORS);
            while self.buffer.len() < MAX_FRAME_BYTES {
                let Some(change) = changes.next() else { break };
                change.encode(&mut self.buffer);
            }
            frame::finish(&mut self.buffer, JOURNAL);
            write_all(&*file, &self.buffer, len)?;
            len += self.buffer.len() as u64;
        }
        file.sync()?;
        self.disk.rename(new, &self.dir.join(JOURNAL_FILE))?;
        (self.file, self.len, self.allocated) = (file, len, len);
        self.compacted_len = len;
        // Unless the new name is durable, a crash brings the old file back: then the next append has to write
        // it anew again.
        let named = self.disk.sync_dir(&self.dir);
        self.is_sound = named.is_ok();
        named
    }
}
