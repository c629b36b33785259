//! Where Triggers stand in a partition, and where one starts that never stood there.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, TopicPartition};
use trigon_core::routing::{StartFrom, Trigger};
use trigon_eventlog::{Commit, CommitError, Extent, LogError, Place, SharedLog};

use crate::attempt::LaneId;

/// What became of loads.
pub(super) struct LoadEnd {
    pub(super) loaded: Vec<(LaneId, Cursor)>,
    /// To be tried again.
    pub(super) again: Vec<(LaneId, Arc<Trigger>)>,
    pub(super) error: Option<LogError>,
    pub(super) extent: Option<Extent>,
}

/// Finds out where Triggers stand. Where one starts that never stood here is committed before it is told, so that
/// an event that is accepted later is never before its start.
///
/// A group that `stood` in a topic of this name stood in one that was deleted: it starts at the beginning of the new
/// one, or what was accepted before the load would be lost to it.
pub(super) async fn load(
    log: &SharedLog,
    at: &TopicPartition,
    wanted: Vec<(LaneId, Arc<Trigger>)>,
    stood: &HashSet<GroupName>,
) -> LoadEnd {
    let extent = match log.extent(at).await {
        Ok(extent) => extent,
        Err(error) => {
            return LoadEnd { loaded: Vec::new(), again: wanted, error: Some(error), extent: None };
        }
    };
    let mut end = LoadEnd { loaded: Vec::new(), again: Vec::new(), error: None, extent: Some(extent) };
    let results = join_all(wanted.into_iter().map(|(lane, trigger)| async move {
        let place = Place { group: trigger.group.clone(), at: at.clone() };
        let loaded = log.load(&[place]).await.pop().expect("there is one result for each place");
        let result = match loaded {
            Ok(found) => match found {
                Some(cursor) => Ok((cursor, IsNew::No)),
                None => {
                    let from = match stood.contains(&trigger.group) {
                        true => StartFrom::Earliest,
                        false => trigger.start_from,
                    };
                    first(log, at, extent, from).await.map(|cursor| (cursor, IsNew::Yes))
                }
            },
            Err(error) => Err(error),
        };
        (lane, trigger, result)
    }))
    .await;
    let mut new = Vec::new();
    for (lane, trigger, result) in results {
        match result {
            Ok((cursor, IsNew::No)) => end.loaded.push((lane, within(cursor, extent, at, &trigger))),
            Ok((cursor, IsNew::Yes)) => new.push((lane, trigger, cursor)),
            Err(error) => {
                end.error = Some(error);
                end.again.push((lane, trigger));
            }
        }
    }
    let commits = new
        .iter()
        .map(|(_, trigger, cursor)| Commit {
            group: trigger.group.clone(),
            at: at.clone(),
            cursor: cursor.clone(),
        })
        .collect::<Vec<_>>();
    if commits.is_empty() {
        return end;
    }
    for ((lane, trigger, cursor), result) in new.into_iter().zip(log.commit(commits).await) {
        match result {
            Ok(()) => end.loaded.push((lane, cursor)),
            Err(CommitError::Moved(_)) => end.again.push((lane, trigger)),
            Err(CommitError::Log(error)) => {
                end.error = Some(error);
                end.again.push((lane, trigger));
            }
        }
    }
    end
}

/// Whether a cursor has yet to be committed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IsNew {
    Yes,
    No,
}

async fn first(
    log: &SharedLog,
    at: &TopicPartition,
    extent: Extent,
    from: StartFrom,
) -> Result<Cursor, LogError> {
    Ok(Cursor::at(match from {
        StartFrom::Latest => extent.end,
        StartFrom::Earliest => extent.start,
        StartFrom::Time(time) => log.offset_at(at, time).await?,
    }))
}

/// A cursor beyond the end means that the log has lost its last records, or that somebody has set it there. It goes
/// on at the end: waiting for the old offset to come round would skip new events for long. What was accepted between
/// the loss and this load is skipped, which is why it is a warning; starting at the beginning would repeat days.
fn within(cursor: Cursor, extent: Extent, at: &TopicPartition, trigger: &Trigger) -> Cursor {
    if cursor.position <= extent.end {
        return cursor;
    }
    tracing::warn!(
        trigger = %trigger.id, topic = %at.topic, partition = %at.partition,
        position = %cursor.position, end = %extent.end,
        "the trigger stood beyond the end of the log: it goes on at the end"
    );
    let unfinished: Vec<_> = cursor.unfinished.into_iter().filter(|u| u.offset < extent.end).collect();
    let watermark = unfinished.first().map_or(extent.end, |first| first.offset);
    Cursor { watermark, position: extent.end, unfinished }
}
