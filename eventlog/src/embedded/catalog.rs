//! Which topics there are: creating, opening and deleting their folders.
//!
//! A folder is a topic once it has its `topic.json`, and none any more once it was renamed into the folder of
//! the deleted ones, so that a crash in between leaves one or the other.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::watch;
use trigon_core::name::{MAX_LOG_NAME, TopicName};
use trigon_core::record::Timestamp;
use trigon_core::routing::TopicSettings;

use super::clock;
use super::disk::{Disk, is_no_space};
use super::recovery::open_topic;
use super::segment::LOCKED;
use super::topic::{SettingsFile, Shape, State, Topic};
use super::writer::Writer;
use crate::{Difference, LogError};

/// A topic may have so many partitions.
const MAX_PARTITIONS: u32 = 1024;

const TOPICS: &str = "topics";
const DELETED: &str = "deleted";

/// The topics of the log.
pub(crate) struct Catalog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    topics: RwLock<HashMap<TopicName, Arc<Topic>>>,
    version: watch::Sender<u64>,
    /// Held while a topic is created, changed or deleted.
    changing: Mutex<()>,
    closed: AtomicBool,
}

impl Catalog {
    /// Opens all topics in the folder, and completes what a crash interrupted.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> io::Result<Self> {
        for folder in [TOPICS, DELETED] {
            disk.create_dir(&dir.join(folder))?;
        }
        disk.sync_dir(&dir)?;
        for above in dir.ancestors().skip(1) {
            // It may be a folder that this process may not read; then somebody else has made it.
            disk.sync_dir(above).ok();
        }
        for name in disk.list(&dir.join(DELETED))? {
            disk.remove_dir(&dir.join(DELETED).join(name))?;
        }
        let mut topics = HashMap::new();
        for folder in disk.list(&dir.join(TOPICS))? {
            let name = TopicName::external(folder.clone());
            let path = dir.join(TOPICS).join(&folder);
            match open_topic(&disk, &path, name.clone())? {
                Some(topic) => drop(topics.insert(name, Arc::new(topic))),
                None => {
                    tracing::warn!(topic = %name, "removed a topic whose creation was cut off");
                    disk.remove_dir(&path)?;
                }
            }
        }
        let version = watch::Sender::new(0);
        let (topics, changing, closed) = (RwLock::new(topics), Mutex::default(), AtomicBool::new(false));
        Ok(Self { disk, dir, topics, version, changing, closed })
    }

    pub(crate) fn find(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.read().expect(LOCKED).get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.topics.read().expect(LOCKED).values().cloned().collect()
    }

    /// Changes when a topic is created or deleted, or the log is closed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Creates a topic, or changes the retention of one that is there. Blocks.
    pub(crate) fn create(
        &self,
        name: &TopicName,
        settings: &TopicSettings,
    ) -> Result<Vec<Difference>, LogError> {
        let _changing = self.changing.lock().expect(LOCKED);
        if self.is_closed() {
            return Err(LogError::Closed);
        }
        let done = match self.find(name) {
            Some(topic) => change_retention(&topic, settings),
            None if settings.external.is_some() => return Err(LogError::UnknownTopic(name.clone())),
            None => self.create_new(name, settings).map(|()| Vec::new()),
        };
        done.map_err(|error| failed(name, "create", &error))
    }

    /// Deletes a topic; returns it if it was there. Blocks.
    pub(crate) fn delete(&self, name: &TopicName) -> Result<Option<Arc<Topic>>, LogError> {
        let _changing = self.changing.lock().expect(LOCKED);
        if self.is_closed() {
            return Err(LogError::Closed);
        }
        let Some(topic) = self.find(name) else {
            // An earlier deletion may have failed after the folder had moved: then a crash would bring it back.
            self.sync_folders().map_err(|error| failed(name, "delete", &error))?;
            return Ok(None);
        };
        let grave = self.dir.join(DELETED).join(topic.id.to_string());
        // Nothing is written while the folder moves.
        let mut writer = topic.writer.lock().expect(LOCKED);
        self.disk.rename(&topic.dir, &grave).map_err(|error| failed(name, "delete", &error))?;
        // From here on there is no way back.
        writer.end();
        drop(writer);
        self.topics.write().expect(LOCKED).remove(name);
        topic.end(State::Deleted);
        self.version.send_modify(|version| *version += 1);
        self.sync_folders().map_err(|error| failed(name, "delete", &error))?;
        if let Err(error) = self.disk.remove_dir(&grave) {
            tracing::warn!(topic = %name, %error, "could not remove a deleted topic's files; the next start will");
        }
        Ok(Some(topic))
    }

    /// Ends all writing and reading.
    pub(crate) fn close(&self) {
        let _changing = self.changing.lock().expect(LOCKED);
        self.closed.store(true, Ordering::Release);
        for topic in self.all() {
            topic.end(State::Closed);
        }
        self.version.send_modify(|version| *version += 1);
    }

    fn sync_folders(&self) -> io::Result<()> {
        [DELETED, TOPICS].map(|folder| self.disk.sync_dir(&self.dir.join(folder))).into_iter().collect()
    }

    fn create_new(&self, name: &TopicName, settings: &TopicSettings) -> io::Result<()> {
        check(name, settings)?;
        let dir = self.dir.join(TOPICS).join(name.as_str());
        let file = SettingsFile::new(clock::unique(), settings);
        self.disk.create_dir(&dir)?;
        file.write(&*self.disk, &dir)?;
        self.disk.sync_dir(&self.dir.join(TOPICS))?;
        let shape = Shape { segments: Default::default(), settings: file.settings() };
        let writer = Writer::new(vec![0; settings.partitions as usize], 1, Timestamp(i64::MIN));
        let topic = Topic::new(name.clone(), file.id, dir, self.disk.clone(), shape, writer);
        self.topics.write().expect(LOCKED).insert(name.clone(), Arc::new(topic));
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }
}

fn change_retention(topic: &Topic, settings: &TopicSettings) -> io::Result<Vec<Difference>> {
    let old = topic.shape.lock().expect(LOCKED).settings.clone();
    let TopicSettings { retention_age, retention_bytes, .. } = *settings;
    let new = TopicSettings {
        partitions: old.partitions,
        retention_age,
        retention_bytes,
        ..TopicSettings::default()
    };
    if new != old {
        SettingsFile::new(topic.id, &new).write(&*topic.disk, &topic.dir)?;
        topic.shape.lock().expect(LOCKED).settings = new;
    }
    Ok(match old.partitions == settings.partitions {
        true => Vec::new(),
        false => vec![Difference {
            setting: "partitions".to_owned(),
            wanted: settings.partitions.to_string(),
            actual: old.partitions.to_string(),
        }],
    })
}

/// Kafka's rules for names, which are safe as names of folders too.
fn check(name: &TopicName, settings: &TopicSettings) -> io::Result<()> {
    let text = name.as_str();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty()
        || text.len() > MAX_LOG_NAME
        || matches!(text, "." | "..")
        || !text.bytes().all(is_legal)
    {
        return Err(io::Error::other(format!(
            "the name {text:?} must be 1 to {MAX_LOG_NAME} of the characters a-z, A-Z, 0-9, '.', '_' and '-'"
        )));
    }
    if !(1..=MAX_PARTITIONS).contains(&settings.partitions) {
        let partitions = settings.partitions;
        return Err(io::Error::other(format!("{partitions} partitions are not 1 to {MAX_PARTITIONS}")));
    }
    Ok(())
}

fn failed(name: &TopicName, what: &str, error: &io::Error) -> LogError {
    if is_no_space(error) {
        LogError::NoSpace
    } else {
        LogError::Failed(format!("could not {what} the topic {name}: {error}"))
    }
}
