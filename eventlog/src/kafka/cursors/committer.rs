//! Carries commits out: finds the group's coordinator, reads back, judges, commits, answers.
//!
//! One task holds the queue; lookups and the rounds of lines are tasks of its own. Decides nothing: the
//! [`Queue`] says whose turn it is and the [`Memory`](super::memory::Memory) what may be written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use trigon_core::cursor::Cursor;
use trigon_core::name::{GroupName, TopicPartition};

use super::answer::unreached;
use super::mark::{self, Incarnation, Mark};
use super::memory::Verdict;
use super::queue::{Batch, Queue, Waiting};
use super::requests::{self, Write};
use super::{CURSOR_LINES, RETRY_WAIT, Shared, Topics, seconds};
use crate::kafka::wire::{Line, NodeId, Setback};
use crate::{CommitError, LogError, Place};

/// A commit that a caller waits for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) place: Place,
    pub(super) cursor: Cursor,
    pub(super) ticket: Ticket,
}

/// Who waits for a commit.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Takes the result.
    pub(super) answer: oneshot::Sender<Result<(), CommitError>>,
    /// Until when it is worth trying again.
    pub(super) by: Instant,
}

type LineOf = (NodeId, u8);

/// What is carried out in a task.
enum End {
    Found(HashMap<GroupName, Result<NodeId, Setback>>),
    Round(LineOf, Vec<(GroupName, Vec<Tried>)>),
}

/// A commit that was tried.
struct Tried {
    at: TopicPartition,
    waiting: Waiting<Ticket>,
    end: Result<(), Failure>,
}

enum Failure {
    Again(LogError),
    Final(CommitError),
}

impl From<Setback> for Failure {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Passing(error) => Self::Again(error),
            Setback::Lasting(error) => Self::Final(error.into()),
        }
    }
}

/// Commits what is wished until nobody can wish any more.
pub(super) async fn run(shared: Arc<Shared>, mut calls: mpsc::Receiver<Vec<Wish>>) {
    let mut committer = Committer { shared, queue: Queue::new(), tasks: JoinSet::new() };
    loop {
        tokio::select! {
            call = calls.recv() => {
                let Some(wishes) = call else { return };
                committer.take(wishes);
                // What has come already shares a lookup and a round.
                while let Ok(wishes) = calls.try_recv() {
                    committer.take(wishes);
                }
            }
            Some(end) = committer.tasks.join_next() => match end {
                Ok(End::Found(found)) => committer.found(found),
                Ok(End::Round(line, groups)) => committer.tried(line, groups),
                Err(error) => {
                    tracing::error!(%error, "no cursors are committed any more");
                    return;
                }
            },
        }
        committer.go_on();
    }
}

struct Committer {
    shared: Arc<Shared>,
    queue: Queue<LineOf, Ticket>,
    tasks: JoinSet<End>,
}

impl Committer {
    fn take(&mut self, wishes: Vec<Wish>) {
        for Wish { place, cursor, ticket } in wishes {
            self.queue.push(place.group, place.at, cursor, ticket);
        }
    }

    /// Finds lines for the groups that have none.
    fn go_on(&mut self) {
        let mut unknown = Vec::new();
        for group in self.queue.lost() {
            match self.shared.coordinators.known(&group) {
                Some(node) => self.line_up(group, node),
                None => unknown.push(group),
            }
        }
        self.find(unknown, Duration::ZERO);
    }

    fn find(&mut self, groups: Vec<GroupName>, wait: Duration) {
        if groups.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            sleep(wait).await;
            End::Found(shared.coordinators.find(&groups).await)
        });
    }

    fn line_up(&mut self, group: GroupName, node: NodeId) {
        let line = (node, line_of(&group));
        self.queue.line_up(group, line);
        self.start(line);
    }

    fn start(&mut self, line: LineOf) {
        if let Some(groups) = self.queue.start(line) {
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move { End::Round(line, round(&shared, line, groups).await) });
        }
    }

    fn found(&mut self, found: HashMap<GroupName, Result<NodeId, Setback>>) {
        let mut again = Vec::new();
        for (group, result) in found {
            match result {
                Ok(node) => self.line_up(group, node),
                Err(setback) => {
                    let failure = Failure::from(setback);
                    let batch = self.queue.take(&group);
                    self.failed(group, batch, &failure, &mut again);
                }
            }
        }
        self.find(again, RETRY_WAIT);
    }

    /// Answers who waits for what did not happen, or lets it be tried again.
    fn failed(
        &mut self,
        group: GroupName,
        batch: Batch<Ticket>,
        failure: &Failure,
        again: &mut Vec<GroupName>,
    ) {
        let mut kept = Batch::new();
        for (at, waiting) in batch {
            match failure {
                Failure::Final(error) => answer(waiting.tickets, &Err(error.clone())),
                Failure::Again(error) => {
                    if let Some(waiting) = unexpired(waiting, error) {
                        kept.insert(at, waiting);
                    }
                }
            }
        }
        if kept.is_empty() {
            self.queue.settle(group);
        } else {
            self.queue.put_back(&group, kept);
            again.push(group);
        }
    }

    fn tried(&mut self, line: LineOf, groups: Vec<(GroupName, Vec<Tried>)>) {
        self.queue.end(line);
        let mut again = Vec::new();
        for (group, tried) in groups {
            let mut kept = Batch::new();
            let mut has_moved = false;
            for Tried { at, waiting, end } in tried {
                match end {
                    Ok(()) => answer(waiting.tickets, &Ok(())),
                    Err(Failure::Final(error)) => answer(waiting.tickets, &Err(error)),
                    Err(Failure::Again(error)) => {
                        has_moved = true;
                        if let Some(waiting) = unexpired(waiting, &error) {
                            kept.insert(at, waiting);
                        }
                    }
                }
            }
            if has_moved {
                self.shared.coordinators.forget(&group);
            }
            if kept.is_empty() {
                self.queue.settle(group);
            } else {
                self.queue.put_back(&group, kept);
                again.push(group);
            }
        }
        self.find(again, RETRY_WAIT);
        self.start(line);
    }
}

fn answer(tickets: Vec<Ticket>, result: &Result<(), CommitError>) {
    for ticket in tickets {
        // Whoever asked may have left.
        ticket.answer.send(result.clone()).unwrap_or_default();
    }
}

/// What is still worth trying; who has waited too long gets the error.
fn unexpired(waiting: Waiting<Ticket>, error: &LogError) -> Option<Waiting<Ticket>> {
    let now = Instant::now();
    let (expired, tickets): (Vec<_>, Vec<_>) =
        waiting.tickets.into_iter().partition(|ticket| ticket.by <= now);
    answer(expired, &Err(error.clone().into()));
    (!tickets.is_empty()).then_some(Waiting { cursor: waiting.cursor, tickets })
}

/// The same line for the same group, in any process.
fn line_of(group: &GroupName) -> u8 {
    // FNV-1a, 64 bits.
    let hash = group.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u8::try_from(hash % u64::from(CURSOR_LINES)).unwrap_or(0)
}

async fn round(
    shared: &Shared,
    line: LineOf,
    groups: Vec<(GroupName, Batch<Ticket>)>,
) -> Vec<(GroupName, Vec<Tried>)> {
    let entries: Vec<_> = groups
        .iter()
        .flat_map(|(group, batch)| {
            batch
                .iter()
                .map(|(at, waiting)| (Place { group: group.clone(), at: at.clone() }, &waiting.cursor))
        })
        .collect();
    let mut ends = write(shared, line, &entries).await.into_iter();
    groups
        .into_iter()
        .map(|(group, batch)| {
            let ends = ends.by_ref().take(batch.len());
            let tried = batch.into_iter().zip(ends).map(|((at, waiting), end)| Tried { at, waiting, end });
            (group, tried.collect())
        })
        .collect()
}

/// Commits what may be committed; one result each.
async fn write(
    shared: &Shared,
    (node, line): LineOf,
    entries: &[(Place, &Cursor)],
) -> Vec<Result<(), Failure>> {
    let topics = shared.topics(entries.iter().map(|(place, _)| &place.at.topic)).await;
    let mut ends: Vec<Result<(), Failure>> =
        entries.iter().map(|(place, _)| exists(place, &topics).map_err(Failure::from)).collect();
    let checked: Vec<usize> = (0..entries.len()).filter(|&n| ends[n].is_ok()).collect();
    if checked.is_empty() {
        return ends;
    }
    let deadline = shared.cluster.deadline();
    let connection = match shared.cluster.connection(node, Line::Cursors(line)).await {
        Ok(connection) => connection,
        Err(error) => {
            for n in checked {
                ends[n] = Err(unreached(&entries[n].0.group, &error).into());
            }
            return ends;
        }
    };
    let places: Vec<_> = checked.iter().map(|&n| &entries[n].0).collect();
    let stored = requests::fetch(&connection, node, &places, deadline).await;
    let mut writes: BTreeMap<&GroupName, Vec<(usize, Write)>> = BTreeMap::new();
    {
        let (mut memory, seconds) = (shared.memory(), seconds());
        for (n, stored) in checked.into_iter().zip(stored) {
            let (place, cursor) = &entries[n];
            // A place whose topic exists has a view of it.
            let Some(Ok(view)) = topics.get(&place.at.topic) else { continue };
            let verdict = match &stored {
                Ok(stored) => memory.judge(place, Incarnation::of(view.id), stored.as_ref(), seconds),
                Err(setback) => {
                    ends[n] = Err(setback.clone().into());
                    continue;
                }
            };
            match permitted(place, verdict) {
                Ok(mark) => {
                    let metadata = mark::write(cursor, mark);
                    let write = Write { at: place.at.clone(), offset: cursor.watermark, metadata };
                    writes.entry(&place.group).or_default().push((n, write));
                }
                Err(refused) => ends[n] = Err(Failure::Final(refused)),
            }
        }
    }
    let committed = join_all(writes.into_iter().map(async |(group, writes)| {
        let (numbers, writes): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let results = requests::commit(&connection, node, group, &writes, deadline).await;
        numbers.into_iter().zip(results).collect::<Vec<_>>()
    }))
    .await;
    let mut memory = shared.memory();
    for (n, result) in committed.into_iter().flatten() {
        let place = &entries[n].0;
        match &result {
            Ok(()) => memory.committed(place),
            Err(Setback::Lasting(LogError::UnknownTopic(topic))) => shared.cluster.forget(topic),
            Err(_) => {}
        }
        ends[n] = result.map_err(Failure::from);
    }
    drop(memory);
    ends
}

/// Kafka takes offsets of partitions that a topic does not have.
fn exists(place: &Place, topics: &Topics) -> Result<(), Setback> {
    let at = &place.at;
    let view = match topics.get(&at.topic) {
        Some(Ok(view)) => view,
        Some(Err(setback)) => return Err(setback.clone()),
        None => return Err(Setback::Lasting(LogError::UnknownTopic(at.topic.clone()))),
    };
    let partition = usize::try_from(at.partition.0).unwrap_or(usize::MAX);
    match partition < view.leaders.len() {
        true => Ok(()),
        false => Err(Setback::Lasting(LogError::UnknownPartition(at.clone()))),
    }
}

/// The mark to commit with.
fn permitted(place: &Place, verdict: Verdict) -> Result<Mark, CommitError> {
    let Place { group, at: TopicPartition { topic, partition } } = place;
    match verdict {
        Verdict::Write(mark) => Ok(mark),
        Verdict::Restore(mark) => {
            tracing::info!(%group, %topic, %partition, "a committed offset was gone and is restored");
            Ok(mark)
        }
        Verdict::Moved => Err(CommitError::Moved(place.clone())),
        Verdict::TakenOver => Err(CommitError::Log(LogError::Failed(format!(
            "could not commit to group {group} in partition {partition} of {topic}: \
             another dispatcher has taken over"
        )))),
        // Its topic is gone; the one that has its name now is another.
        Verdict::Recreated => Err(CommitError::Log(LogError::UnknownTopic(topic.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use trigon_core::name::{BrokerId, Installation, TriggerId};

    use super::*;

    #[test]
    fn groups_spread_over_the_lines_and_each_stays_on_its_own() {
        let mut counts = vec![0; usize::from(CURSOR_LINES)];
        for n in 0..1_600 {
            let trigger = TriggerId::new("ns", format!("trigger-{n}"));
            let group = Installation::default().group(&BrokerId::new("ns", "b"), &trigger);
            counts[usize::from(line_of(&group))] += 1;
            assert_eq!(line_of(&group), line_of(&group.clone()));
        }
        assert!(counts.iter().all(|count| (50..=150).contains(count)), "{counts:?}");
    }
}
