//! Removes what a topic keeps no longer: whole segments, the oldest first, on a thread of its own.
//!
//! Neither appends nor readers wait for it. The segment that is written to is never removed; it is completed
//! when it is old, so that its records can go too.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use trigon_core::record::Timestamp;

use super::catalog::Catalog;
use super::clock;
use super::segment::{LOCKED, Segment};
use super::topic::{Shape, Topic};
use super::writer::RollAt;

/// The thread that passes over all topics from time to time.
pub(crate) struct Retention {
    stop: Mutex<Option<SyncSender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Retention {
    pub(crate) fn start(catalog: Arc<Catalog>, interval: Duration, roll_at: RollAt) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                for topic in catalog.all() {
                    retain(&topic, clock::now(), roll_at);
                }
            }
        };
        let thread = thread::Builder::new().name("log-retention".into()).spawn(run)?;
        Ok(Self { stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) })
    }

    /// Returns when the thread has ended.
    pub(crate) fn close(&self) {
        self.stop.lock().expect(LOCKED).take();
        let thread = self.thread.lock().expect(LOCKED).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log's retention panicked");
        }
    }
}

/// One pass over one topic.
pub(crate) fn retain(topic: &Topic, now: Timestamp, roll_at: RollAt) {
    let roll_at = roll_at.within(&topic.shape.lock().expect(LOCKED).settings);
    if let Err(error) = topic.writer.lock().expect(LOCKED).roll_if_old(topic, now, roll_at) {
        tracing::warn!(topic = %topic.name, %error, "could not start a new segment; the next pass tries again");
    }
    loop {
        // One at a time, so that a crash leaves no gap: the oldest is gone for good before the next one goes.
        let Some(segment) = topic.shape.lock().expect(LOCKED).take_expired(now) else { return };
        let removed = segment.remove().and_then(|()| topic.disk.sync_dir(&topic.dir));
        let (file, bytes) = (segment.path().display(), segment.len());
        match removed {
            Ok(()) => tracing::info!(topic = %topic.name, %file, bytes, "removed a segment by retention"),
            Err(error) => {
                tracing::warn!(topic = %topic.name, %file, %error, "could not remove a segment; the next start will");
            }
        }
    }
}

impl Shape {
    /// Takes the oldest segment out if it is to go.
    fn take_expired(&mut self, now: Timestamp) -> Option<Arc<Segment>> {
        let after = self.segments.get(1)?;
        let by_age = self.settings.retention_age.is_some_and(|age| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            // All that the oldest holds was there when the next one was created.
            after.head.created.0.saturating_add(age) <= now.0
        });
        let by_size = self
            .settings
            .retention_bytes
            .is_some_and(|bytes| self.segments.iter().map(|segment| segment.len()).sum::<u64>() > bytes);
        if by_age || by_size { self.segments.pop_front() } else { None }
    }
}
