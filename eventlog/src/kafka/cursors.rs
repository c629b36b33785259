//! Triggers' cursors as the offsets of consumer groups that have no members.
//!
//! Any of Kafka's tools shows them, and can set them: what a person sets is noticed and taken up. A dispatcher that
//! has lost a place does not get to write there. One commit of a group is under way at any time. Without membership,
//! a Trigger costs neither threads nor connections.
//!
//! Deliberately not here: when to commit, and what to do about an offset that the topic does not have any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, TopicName};

use self::answer::unreached;
use self::committer::{Ticket, Wish};
use self::coordinators::Coordinators;
use self::mark::Incarnation;
use self::memory::{Memory, Stored};
use super::wire::{Cluster, Line, NodeId, Setback, TopicView};
use crate::{Commit, CommitError, LogError, Place};

mod answer;
mod committer;
mod coordinators;
mod mark;
mod memory;
mod queue;
mod requests;
#[cfg(test)]
mod tests;

/// Connections to each broker on which cursors are committed; a group's commits are all on the same.
///
/// Kafka holds each commit for 5 ms. Measured with 1 000 groups at once, each read back first, on a busy machine of
/// two cores: 8 connections commit 670 to 890 groups a second, 16 commit 950 to 2 100, 32 commit 1 600 to 2 500.
pub(crate) const CURSOR_LINES: u8 = 16;

/// Connections to each broker on which cursors are loaded, beyond those.
const LOAD_LINES: u8 = 4;

/// Groups whose offsets are asked for with one request, at most.
const FETCH_GROUPS: usize = 100;

/// Places that are asked for with one request, at most: so its answer has 8 MB at most.
const FETCH_PLACES: usize = 2_000;

/// Calls of [`Cursors::commit`] that wait to be taken in; more wait before.
const COMMIT_CALLS: usize = 1_024;

/// The wait before a coordinator is looked up again.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// The cursors of all groups.
#[derive(Debug)]
pub(crate) struct Cursors {
    shared: Arc<Shared>,
    commits: mpsc::Sender<Vec<Wish>>,
    /// Ends with the cursors.
    _committer: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    coordinators: Coordinators,
    memory: Mutex<Memory>,
}

/// What the cluster says of some topics.
type Topics = HashMap<TopicName, Result<Arc<TopicView>, Setback>>;

impl Cursors {
    /// Cursors in a cluster; to be called in a runtime.
    pub(in crate::kafka) fn new(cluster: Cluster) -> Self {
        let coordinators = Coordinators::new(cluster.clone());
        let shared = Arc::new(Shared { cluster, coordinators, memory: Mutex::default() });
        let (commits, calls) = mpsc::channel(COMMIT_CALLS);
        let mut committer = JoinSet::new();
        committer.spawn(committer::run(Arc::clone(&shared), calls));
        Self { shared, commits, _committer: committer }
    }

    /// Reads the cursors in these places, one result each; `None` where the group never committed, and where it did
    /// in a topic that was deleted.
    ///
    /// Who loads a place and commits there is its owner from then on.
    pub(crate) async fn load(&self, places: &[Place]) -> Vec<Result<Option<Cursor>, LogError>> {
        let topics = self.shared.topics(places.iter().map(|place| &place.at.topic)).await;
        let is_there = |place: &&Place| matches!(topics.get(&place.at.topic), Some(Ok(_)));
        let mut stored = self.stored(&places.iter().filter(is_there).collect::<Vec<_>>()).await.into_iter();
        let (mut memory, seconds) = (self.shared.memory(), seconds());
        let cursor = |place: &Place| match topics.get(&place.at.topic) {
            Some(Ok(view)) => {
                let stored = stored.next().expect("there is one result for each place")?;
                Ok(memory.loaded(place, Incarnation::of(view.id), stored.as_ref(), seconds))
            }
            // Not `None`, though there are no cursors in a topic that is not there: a broker that has just started may
            // not know it yet, and who takes a Trigger for new starts it at the end.
            Some(Err(setback)) => Err(setback.clone().into()),
            None => Err(LogError::UnknownTopic(place.at.topic.clone())),
        };
        places.iter().map(cursor).collect()
    }

    /// Writes cursors; resolves when they are durable. One result per commit.
    ///
    /// The commits of one group in one call are one request, but for those that have errors of their own. Cancelling
    /// does not undo them.
    pub(crate) async fn commit(&self, commits: Vec<Commit>) -> Vec<Result<(), CommitError>> {
        let by = Instant::now() + self.shared.cluster.deadline();
        let (wishes, answers): (Vec<_>, Vec<_>) = commits
            .into_iter()
            .map(|Commit { group, at, cursor }| {
                let (answer, answered) = oneshot::channel();
                (Wish { place: Place { group, at }, cursor, ticket: Ticket { answer, by } }, answered)
            })
            .unzip();
        // When nobody takes them, the answers say so.
        self.commits.send(wishes).await.unwrap_or_default();
        let answers = join_all(answers).await.into_iter();
        answers.map(|answer| answer.unwrap_or(Err(CommitError::Log(LogError::Closed)))).collect()
    }

    /// Which of these places a person has set since they were loaded or committed here.
    pub(crate) async fn moved(&self, places: &[Place]) -> Vec<Place> {
        let known: Vec<_> = {
            let memory = self.shared.memory();
            places.iter().filter(|place| memory.knows(place)).collect()
        };
        let stored = self.stored(&known).await;
        let mut memory = self.shared.memory();
        let mut moved = Vec::new();
        for (place, stored) in known.into_iter().zip(stored) {
            match stored {
                Ok(stored) if memory.is_moved(place, stored.as_ref()) => moved.push(place.clone()),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "could not see whether an offset was set"),
            }
        }
        moved
    }

    /// Deletes a group's cursors. A group that is not there is not an error.
    ///
    /// # Errors
    /// When the group's coordinator refuses, or cannot be reached.
    pub(crate) async fn delete_group(&self, group: &GroupName) -> Result<(), LogError> {
        let by = Instant::now() + self.shared.cluster.deadline();
        while let Err(setback) = self.shared.delete(group).await {
            if matches!(setback, Setback::Lasting(_)) || Instant::now() >= by {
                return Err(setback.into());
            }
            self.shared.coordinators.forget(group);
            sleep(RETRY_WAIT).await;
        }
        self.shared.memory().forget_group(group);
        self.shared.coordinators.forget(group);
        Ok(())
    }

    /// Forgets the cursors in a topic that was deleted; Kafka deletes them itself.
    pub(crate) fn forget_topic(&self, topic: &TopicName) {
        self.shared.memory().forget_topic(topic);
    }

    /// Reads what is stored in places, one result each; waits for coordinators within the deadline of a request.
    async fn stored(&self, places: &[&Place]) -> Vec<Result<Option<Stored>, LogError>> {
        let by = Instant::now() + self.shared.cluster.deadline();
        let untold = |place: &&Place| {
            Err(LogError::Failed(format!("nobody told the offset of group {}", place.group)))
        };
        let mut results: Vec<_> = places.iter().map(untold).collect();
        let mut open: Vec<usize> = (0..places.len()).collect();
        loop {
            let mut again = Vec::new();
            for (n, result) in self.shared.fetch(places, open).await {
                if let Err(Setback::Passing(_)) = &result {
                    self.shared.coordinators.forget(&places[n].group);
                    again.push(n);
                }
                results[n] = result.map_err(LogError::from);
            }
            if again.is_empty() || Instant::now() >= by {
                return results;
            }
            open = again;
            sleep(RETRY_WAIT).await;
        }
    }
}

impl Shared {
    async fn topics(&self, topics: impl Iterator<Item = &TopicName>) -> Topics {
        let mut views = Topics::new();
        for topic in topics {
            if !views.contains_key(topic) {
                views.insert(topic.clone(), self.cluster.view(topic).await);
            }
        }
        views
    }

    /// Reads what is stored in the places with these numbers.
    async fn fetch(
        &self,
        places: &[&Place],
        mut numbers: Vec<usize>,
    ) -> Vec<(usize, Result<Option<Stored>, Setback>)> {
        numbers.sort_by_key(|&n| &places[n].group);
        let of_groups = || numbers.chunk_by(|&one, &next| places[one].group == places[next].group);
        let coordinators =
            self.coordinators.find(of_groups().map(|of_group| &places[of_group[0]].group)).await;
        let mut results = Vec::with_capacity(numbers.len());
        let mut of_nodes: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for of_group in of_groups() {
            match coordinators.get(&places[of_group[0]].group) {
                Some(Ok(node)) => of_nodes.entry(*node).or_default().extend(of_group),
                Some(Err(setback)) => results.extend(of_group.iter().map(|&n| (n, Err(setback.clone())))),
                None => {}
            }
        }
        let requests = of_nodes.iter().flat_map(|(node, numbers)| {
            let lines = (CURSOR_LINES..CURSOR_LINES + LOAD_LINES).cycle();
            portions(places, numbers).into_iter().zip(lines).map(|(portion, line)| (*node, portion, line))
        });
        let fetched = requests.map(async |(node, numbers, line)| {
            let places: Vec<_> = numbers.iter().map(|&n| places[n]).collect();
            let fetched = match self.cluster.connection(node, Line::Cursors(line)).await {
                Ok(connection) => requests::fetch(&connection, node, &places, self.cluster.deadline()).await,
                Err(error) => places.iter().map(|place| Err(unreached(&place.group, &error))).collect(),
            };
            numbers.iter().copied().zip(fetched).collect::<Vec<_>>()
        });
        results.extend(join_all(fetched).await.into_iter().flatten());
        results
    }

    async fn delete(&self, group: &GroupName) -> Result<(), Setback> {
        let found = self.coordinators.find([group]).await.remove(group);
        let node = found.expect("there is one result for each group")?;
        let connection = self.cluster.connection(node, Line::Admin).await;
        let connection = connection.map_err(|error| unreached(group, &error))?;
        requests::delete(&connection, node, group, self.cluster.deadline()).await
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since the Unix epoch.
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Cuts the numbers of places, sorted by group, into the portions of requests.
fn portions<'a>(places: &[&Place], numbers: &'a [usize]) -> Vec<&'a [usize]> {
    let mut portions = Vec::new();
    let (mut start, mut groups) = (0, 0);
    for (place, n) in numbers.iter().enumerate() {
        let is_new = place == start || places[numbers[place - 1]].group != places[*n].group;
        if place - start == FETCH_PLACES || (is_new && groups == FETCH_GROUPS) {
            portions.push(&numbers[start..place]);
            (start, groups) = (place, 1);
        } else {
            groups += usize::from(is_new);
        }
    }
    portions.push(&numbers[start..]);
    portions
}
