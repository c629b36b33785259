//! Where Triggers stand in a partition, and where one starts that never stood there.
//!
//! Several dispatchers share the partitions of a topic, so a Trigger without a place here may be a new one, or an old
//! one in a partition that was added later. [`beginning`] tells them apart.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, Offset, PartitionId, TopicPartition};
use trigon_core::routing::{StartFrom, Trigger};
use trigon_eventlog::{Commit, CommitError, Extent, LogError, Place, SharedLog};

use crate::attempt::LaneId;

/// How long a Trigger waits that the owner of the first partition has yet to start, until it looks again.
pub(super) const STARTED_INTERVAL: Duration = Duration::from_millis(200);

/// Partitions in which an offset is looked up by time at once.
const LOOK_UPS: usize = 16;

/// A Trigger whose place is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) lane: LaneId,
    pub(super) trigger: Arc<Trigger>,
    pub(super) kind: Kind,
}

/// Why a place is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The Trigger is to go on there, or to be placed.
    First,
    /// Somebody may have set it.
    Again,
}

/// Where a Trigger stands.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) lane: LaneId,
    pub(super) trigger: Arc<Trigger>,
    pub(super) kind: Kind,
    pub(super) cursor: Cursor,
    /// Where it stood, if that was beyond the end of the log.
    pub(super) beyond: Option<Offset>,
}

/// What became of loads.
#[derive(Debug, Default)]
pub(super) struct LoadEnd {
    pub(super) loaded: Vec<Loaded>,
    /// To be tried again, because the log has failed.
    pub(super) again: Vec<Wanted>,
    /// To be tried again, because somebody else has to start them first.
    pub(super) waiting: Vec<Wanted>,
    /// Asked for again, and gone.
    pub(super) vanished: Vec<Wanted>,
    /// Whether Triggers were started in all partitions.
    pub(super) has_started: bool,
    pub(super) error: Option<LogError>,
    pub(super) extent: Option<Extent>,
}

/// Where a Trigger begins in a partition in which it has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// It is new, and it is ours to say where it starts, in all partitions at once.
    Start,
    /// With the oldest event that this partition has.
    Oldest,
    /// It is new, and somebody else says where it starts.
    Wait,
}

/// Where else a Trigger has places that has none in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Elsewhere {
    /// In other partitions of the topic.
    Here,
    /// In a topic of this name that was deleted while its Broker lived.
    Before,
    /// Nowhere.
    Nowhere,
}

/// A group with a place elsewhere in the topic is an old one, and this a new partition: all of it is for the group.
/// One that stood in a topic that was deleted goes on with the new one, or what was accepted before the load would be
/// lost to it. A group without any place is started by the owner of the first partition alone: if each owner started
/// it in partitions of its own, one that comes late would take the others' places for a sign that it is an old one.
fn beginning(partition: PartitionId, elsewhere: Elsewhere) -> Beginning {
    match (elsewhere, partition) {
        (Elsewhere::Here | Elsewhere::Before, _) => Beginning::Oldest,
        (Elsewhere::Nowhere, PartitionId(0)) => Beginning::Start,
        (Elsewhere::Nowhere, _) => Beginning::Wait,
    }
}

/// Finds out where Triggers stand. Where one starts that never stood here is committed before it is told, so that
/// an event that is accepted later is never before its start.
pub(super) async fn load(
    log: &SharedLog,
    at: &TopicPartition,
    wanted: Vec<Wanted>,
    stood: &HashSet<GroupName>,
) -> LoadEnd {
    let mut end = LoadEnd::default();
    let places: Vec<Place> = wanted.iter().map(|wanted| wanted.place(at)).collect();
    let found = log.load(&places).await;
    // After the cursors: one that has been committed meanwhile would seem to be beyond the end.
    let extent = match log.extent(at).await {
        Ok(extent) => extent,
        Err(error) => {
            end.fail(wanted, error);
            return end;
        }
    };
    end.extent = Some(extent);
    let mut absent = Vec::new();
    for (wanted, found) in wanted.into_iter().zip(found) {
        match found {
            Ok(Some(cursor)) => end.loaded.push(within(wanted, cursor, extent)),
            Ok(None) if wanted.kind == Kind::Again => end.vanished.push(wanted),
            Ok(None) => absent.push(wanted),
            Err(error) => end.fail(vec![wanted], error),
        }
    }
    if !absent.is_empty() {
        begin(log, at, extent, absent, stood, &mut end).await;
    }
    end
}

/// Finds a place for Triggers that have none here.
async fn begin(
    log: &SharedLog,
    at: &TopicPartition,
    extent: Extent,
    absent: Vec<Wanted>,
    stood: &HashSet<GroupName>,
    end: &mut LoadEnd,
) {
    let all = match log.describe_topic(&at.topic).await {
        Ok(Some(description)) => description.partitions_of(&at.topic),
        Ok(None) => return end.fail(absent, LogError::UnknownTopic(at.topic.clone())),
        Err(error) => return end.fail(absent, error),
    };
    let (before, absent): (Vec<_>, Vec<_>) =
        absent.into_iter().partition(|wanted| stood.contains(&wanted.trigger.group));
    let others: Vec<&TopicPartition> = all.iter().filter(|other| *other != at).collect();
    let places: Vec<Place> =
        absent.iter().flat_map(|wanted| others.iter().map(|other| wanted.place(other))).collect();
    let mut found = if places.is_empty() { Vec::new() } else { log.load(&places).await }.into_iter();
    let mut starting = Vec::new();
    let mut commits = Vec::new();
    let mut begun = Vec::new();
    let with_places = before.into_iter().map(|wanted| (wanted, Ok(Elsewhere::Before)));
    let rest = absent.into_iter().map(|wanted| {
        let elsewhere = elsewhere(found.by_ref().take(others.len()));
        (wanted, elsewhere)
    });
    let mut oldest = Vec::new();
    for (wanted, elsewhere) in with_places.chain(rest) {
        match elsewhere.map(|elsewhere| beginning(at.partition, elsewhere)) {
            Ok(Beginning::Oldest) => oldest.push(wanted),
            Ok(Beginning::Start) => starting.push(wanted),
            Ok(Beginning::Wait) => end.waiting.push(wanted),
            Err(error) => end.fail(vec![wanted], error),
        }
    }
    // The Trigger may have been started after it was looked up here and before it was looked up elsewhere: then it has
    // a place here now, for it is started in all partitions at once.
    let places: Vec<Place> = oldest.iter().map(|wanted| wanted.place(at)).collect();
    let found = if places.is_empty() { Vec::new() } else { log.load(&places).await };
    for (wanted, found) in oldest.into_iter().zip(found) {
        match found {
            Ok(None) => {
                let cursor = Cursor::at(extent.start);
                commits.push(wanted.commit(at, cursor.clone()));
                begun.push((wanted, cursor, 1));
            }
            // Its place may be beyond the extent, which is older.
            Ok(Some(_)) => end.again.push(wanted),
            Err(error) => end.fail(vec![wanted], error),
        }
    }
    if !starting.is_empty() {
        let extents: Result<Vec<Extent>, _> = log.extents(&all).await.into_iter().collect();
        match extents.map_err(elsewhere_is_not_here) {
            Ok(extents) => {
                for wanted in starting {
                    match starts(log, &all, &extents, wanted.trigger.start_from).await {
                        Ok(cursors) => {
                            // The first partition is this one: nobody else starts Triggers.
                            let here = cursors.first().cloned().unwrap_or_else(|| Cursor::at(extent.end));
                            let of_all = all.iter().zip(cursors);
                            commits.extend(of_all.map(|(at, cursor)| wanted.commit(at, cursor)));
                            begun.push((wanted, here, all.len()));
                            end.has_started = true;
                        }
                        Err(error) => end.fail(vec![wanted], elsewhere_is_not_here(error)),
                    }
                }
            }
            Err(error) => end.fail(starting, error),
        }
    }
    if commits.is_empty() {
        return;
    }
    let mut results = log.commit(commits).await.into_iter();
    for (wanted, cursor, count) in begun {
        let results: Vec<_> = results.by_ref().take(count).collect();
        match results.into_iter().collect::<Result<Vec<()>, _>>() {
            Ok(_) => {
                let Wanted { lane, trigger, kind } = wanted;
                end.loaded.push(Loaded { lane, trigger, kind, cursor, beyond: None });
            }
            // Somebody else was faster.
            Err(CommitError::Moved(_)) => end.again.push(wanted),
            Err(CommitError::Log(error)) => end.fail(vec![wanted], elsewhere_is_not_here(error)),
        }
    }
}

/// One place is enough to know, and an error is not the knowledge that there is none.
fn elsewhere(
    mut found: impl Iterator<Item = Result<Option<Cursor>, LogError>>,
) -> Result<Elsewhere, LogError> {
    let all: Vec<_> = found.by_ref().collect();
    if all.iter().any(|found| matches!(found, Ok(Some(_)))) {
        return Ok(Elsewhere::Here);
    }
    let none: Result<Vec<_>, LogError> = all.into_iter().collect();
    none.map(|_| Elsewhere::Nowhere).map_err(elsewhere_is_not_here)
}

/// That another partition is gone does not mean that this one is.
fn elsewhere_is_not_here(error: LogError) -> LogError {
    match error {
        LogError::UnknownPartition(_) => LogError::Failed(error.to_string()),
        error => error,
    }
}

/// Where a new Trigger starts in each partition.
async fn starts(
    log: &SharedLog,
    all: &[TopicPartition],
    extents: &[Extent],
    from: StartFrom,
) -> Result<Vec<Cursor>, LogError> {
    match from {
        StartFrom::Latest => Ok(extents.iter().map(|extent| Cursor::at(extent.end)).collect()),
        StartFrom::Earliest => Ok(extents.iter().map(|extent| Cursor::at(extent.start)).collect()),
        StartFrom::Time(time) => {
            let mut look_ups: Vec<BoxFuture<'_, _>> = Vec::new();
            for at in all {
                look_ups.push(async move { log.offset_at(at, time).await.map(Cursor::at) }.boxed());
            }
            stream::iter(look_ups).buffered(LOOK_UPS).try_collect().await
        }
    }
}

/// A cursor beyond the end means that the log has lost its last records, or that somebody has set it there. It goes
/// on at the end: waiting for the old offset to come round would skip new events for long. What was accepted between
/// the loss and this load is skipped, which is why it is told; starting at the beginning would repeat days.
fn within(wanted: Wanted, cursor: Cursor, extent: Extent) -> Loaded {
    let Wanted { lane, trigger, kind } = wanted;
    if cursor.position <= extent.end {
        return Loaded { lane, trigger, kind, cursor, beyond: None };
    }
    let beyond = Some(cursor.position);
    let unfinished: Vec<_> = cursor.unfinished.into_iter().filter(|u| u.offset < extent.end).collect();
    let watermark = unfinished.first().map_or(extent.end, |first| first.offset);
    let cursor = Cursor { watermark, position: extent.end, unfinished };
    Loaded { lane, trigger, kind, cursor, beyond }
}

impl Wanted {
    fn place(&self, at: &TopicPartition) -> Place {
        Place { group: self.trigger.group.clone(), at: at.clone() }
    }

    fn commit(&self, at: &TopicPartition, cursor: Cursor) -> Commit {
        Commit { group: self.trigger.group.clone(), at: at.clone(), cursor }
    }
}

impl LoadEnd {
    fn fail(&mut self, wanted: Vec<Wanted>, error: LogError) {
        self.again.extend(wanted);
        self.error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_first_partition_alone_starts_a_new_trigger() {
        assert_eq!(beginning(PartitionId(0), Elsewhere::Nowhere), Beginning::Start);
        assert_eq!(beginning(PartitionId(1), Elsewhere::Nowhere), Beginning::Wait);
        assert_eq!(beginning(PartitionId(9), Elsewhere::Nowhere), Beginning::Wait);
    }

    #[test]
    fn a_trigger_with_places_elsewhere_reads_a_new_partition_from_its_beginning() {
        for partition in [PartitionId(0), PartitionId(7)] {
            assert_eq!(beginning(partition, Elsewhere::Here), Beginning::Oldest);
            assert_eq!(beginning(partition, Elsewhere::Before), Beginning::Oldest);
        }
    }

    #[test]
    fn a_partition_that_could_not_be_asked_does_not_count_as_one_without_a_place() {
        let (none, failed) = (Ok(None), Err(LogError::Failed("told to fail".into())));
        let place = Ok(Some(Cursor::at(Offset(3))));
        assert_eq!(elsewhere([none.clone(), none.clone()].into_iter()), Ok(Elsewhere::Nowhere));
        assert!(elsewhere([none.clone(), failed.clone()].into_iter()).is_err());
        assert_eq!(elsewhere([failed, none, place].into_iter()), Ok(Elsewhere::Here));
        let gone = LogError::UnknownPartition(TopicPartition {
            topic: trigon_core::name::Installation::default()
                .topic(&trigon_core::name::BrokerId::new("ns", "broker")),
            partition: PartitionId(4),
        });
        let told = elsewhere([Err(gone)].into_iter());
        assert!(matches!(told, Err(LogError::Failed(_))), "or this partition would be given up: {told:?}");
    }
}
