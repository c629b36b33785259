//! What a topic's folder holds after a crash, or after an orderly end.
//!
//! Only the last segment is read. A frame that was cut off at its end was never acknowledged, and is removed.
//! Damage elsewhere is told and skipped: it is never a reason not to start.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trigon_core::name::TopicName;
use trigon_core::record::Timestamp;

use super::codec::{self, Head};
use super::disk::{Disk, DiskFile, read_full};
use super::frame::{Binding, FrameReader, HEAD, RECORDS, Step};
use super::segment::{self, Segment, Survey, sequence_of};
use super::topic::{SETTINGS_FILE, SettingsFile, Shape, Topic};
use super::writer::Writer;

/// Opens the topic in a folder; `None` when its creation was cut off.
pub(crate) fn open_topic(disk: &Arc<dyn Disk>, dir: &Path, name: TopicName) -> io::Result<Option<Topic>> {
    let Some(settings) = read_settings(&**disk, dir)? else { return Ok(None) };
    let mut sequences: Vec<u64> = disk.list(dir)?.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let folder = Folder { disk, dir, name: &name, settings: &settings };
    let mut damage = Vec::new();
    let mut segments = VecDeque::new();
    let mut writer = None;
    while let Some(sequence) = sequences.pop() {
        let file = disk.open(&folder.path(sequence))?;
        let before = sequences.last().copied();
        match segments.front() {
            None => {
                let Some(head) = folder.last_head(&file, sequence, before)? else {
                    folder.remove_empty(&file, sequence)?;
                    continue;
                };
                let survey = folder.cut_torn_tail(&file, sequence, &head)?;
                let latest = survey.latest.max(head.latest_before);
                let segment = folder.segment(sequence, head, survey.end);
                segment.set_index(survey.index);
                damage.extend(survey.damaged.iter().map(|(from, to)| (segment.clone(), *from, *to)));
                let mut resumed = Writer::new(survey.next, sequence + 1, latest);
                resumed.resume(segment.clone(), file);
                writer = Some(resumed);
                segments.push_front(segment);
            }
            Some(after) => {
                let size = file.size()?;
                let len = match after.binding().sequence == sequence + 1 {
                    true => after.head.previous_len,
                    false => size,
                };
                let head = match folder.read_head(&file, sequence)? {
                    Some(head) => head,
                    None => folder.rebuild_head(&file, sequence, Some(&after.head.base))?.0,
                };
                let segment = folder.segment(sequence, head, len.min(size));
                if size < len {
                    damage.push((segment.clone(), size, len));
                }
                segments.push_front(segment);
            }
        }
    }
    let writer =
        writer.unwrap_or_else(|| Writer::new(vec![0; settings.partitions as usize], 1, Timestamp(i64::MIN)));
    let shape = Shape { segments, settings: settings.settings() };
    let topic = Topic::new(name.clone(), settings.id, dir.to_owned(), disk.clone(), shape, writer);
    for (segment, from, to) in damage {
        topic.report_damage(&segment, from, to);
    }
    Ok(Some(topic))
}

fn read_settings(disk: &dyn Disk, dir: &Path) -> io::Result<Option<SettingsFile>> {
    if !disk.list(dir)?.iter().any(|name| name == SETTINGS_FILE) {
        return Ok(None);
    }
    let file = disk.open(&dir.join(SETTINGS_FILE))?;
    let mut text = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX)];
    let read = read_full(&*file, &mut text, 0)?;
    Ok(Some(serde_json::from_slice(&text[..read])?))
}

/// A topic's folder while it is looked through.
struct Folder<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    name: &'a TopicName,
    settings: &'a SettingsFile,
}

impl Folder<'_> {
    fn path(&self, sequence: u64) -> PathBuf {
        self.dir.join(segment::file_name(sequence))
    }

    fn binding(&self, sequence: u64) -> Binding {
        Binding { owner: self.settings.id, sequence }
    }

    fn segment(&self, sequence: u64, head: Head, len: u64) -> Arc<Segment> {
        Arc::new(Segment::new(self.disk, self.path(sequence), self.binding(sequence), head, len))
    }

    fn frames(&self, file: &Arc<dyn DiskFile>, sequence: u64) -> io::Result<FrameReader> {
        Ok(FrameReader::new(file.clone(), self.binding(sequence), 0, file.size()?))
    }

    /// The head, if it can be read.
    fn read_head(&self, file: &Arc<dyn DiskFile>, sequence: u64) -> io::Result<Option<Head>> {
        match self.frames(file, sequence)?.step()? {
            Step::Frame { at: 0, kind: HEAD, payload } => {
                let partitions = self.settings.partitions as usize;
                Ok(Head::decode(payload).filter(|head| head.base.len() == partitions))
            }
            _ => Ok(None),
        }
    }

    /// The head of the last segment; `None` when the segment was never completely created.
    fn last_head(
        &self,
        file: &Arc<dyn DiskFile>,
        sequence: u64,
        before: Option<u64>,
    ) -> io::Result<Option<Head>> {
        if let Some(head) = self.read_head(file, sequence)? {
            return Ok(Some(head));
        }
        let previous = match before {
            Some(before) => {
                let file = self.disk.open(&self.path(before))?;
                let head = match self.read_head(&file, before)? {
                    Some(head) => head,
                    None => self.rebuild_head(&file, before, None)?.0,
                };
                Some(segment::survey(self.frames(&file, before)?, &head)?.next)
            }
            None => None,
        };
        let (head, records) = self.rebuild_head(file, sequence, previous.as_deref())?;
        Ok((records > 0).then_some(head))
    }

    /// Concludes from a segment's records what its damaged head said. A partition without records there is
    /// where `otherwise` says. Also counts the frames of records.
    fn rebuild_head(
        &self,
        file: &Arc<dyn DiskFile>,
        sequence: u64,
        otherwise: Option<&[u64]>,
    ) -> io::Result<(Head, usize)> {
        let mut first: Vec<Option<u64>> = vec![None; self.settings.partitions as usize];
        let mut frames = self.frames(file, sequence)?;
        let mut count = 0;
        let mut created = None;
        loop {
            match frames.step()? {
                Step::Frame { kind, payload, .. } => {
                    count += usize::from(kind == RECORDS);
                    for record in codec::stored(payload).filter(|_| kind == RECORDS) {
                        created.get_or_insert(record.timestamp);
                        if let Some(first) = first.get_mut(record.partition as usize) {
                            first.get_or_insert(record.offset);
                        }
                    }
                }
                Step::Damaged { .. } => {}
                Step::End { .. } => break,
            }
        }
        if count > 0 {
            let file = self.path(sequence);
            tracing::error!(topic = %self.name, file = %file.display(), "the head of a segment is damaged");
        }
        let otherwise = |partition: usize| otherwise.map_or(0, |otherwise| otherwise[partition]);
        let base = first.iter().enumerate().map(|(at, first)| first.unwrap_or_else(|| otherwise(at)));
        let head = Head {
            created: created.unwrap_or(Timestamp(i64::MAX)),
            previous_len: u64::MAX,
            latest_before: Timestamp(i64::MAX),
            base: base.collect(),
        };
        Ok((head, count))
    }

    fn remove_empty(&self, file: &Arc<dyn DiskFile>, sequence: u64) -> io::Result<()> {
        let (path, bytes) = (self.path(sequence), file.size()?);
        tracing::warn!(
            topic = %self.name, file = %path.display(), bytes,
            "removed a segment whose creation was cut off; nothing in it was acknowledged"
        );
        self.disk.remove(&path)?;
        self.disk.sync_dir(self.dir)
    }

    /// Reads the last segment, and cuts off what a crash left after its last whole frame.
    fn cut_torn_tail(&self, file: &Arc<dyn DiskFile>, sequence: u64, head: &Head) -> io::Result<Survey> {
        let survey = segment::survey(self.frames(file, sequence)?, head)?;
        let size = file.size()?;
        if survey.torn {
            let path = self.path(sequence);
            tracing::warn!(
                topic = %self.name, file = %path.display(), at = survey.end, bytes = size - survey.end,
                "cut off a torn tail; nothing in it was acknowledged"
            );
        }
        if size > survey.end {
            file.set_size(survey.end)?;
            file.sync()?;
        }
        Ok(survey)
    }
}
