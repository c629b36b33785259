//! Drives one owned partition: carries out what its machine decides, and tells the machine what happened.
//!
//! One task per partition. It owns the reads, cursor loads and commits of the partition; attempts are carried by
//! [`Outbound`]. It decides nothing: all of that is in [`Partition`](crate::partition::Partition).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant as TokioInstant, sleep, timeout};
use trigon_core::name::{GroupName, Offset, TopicPartition};
use trigon_core::routing::{Broker, RoutingTable, Trigger};
use trigon_eventlog::{Batch, Commit, CommitError, LogError, Scan, SharedLog};

use self::load::{Kind, LoadEnd, STARTED_INTERVAL, Wanted, load};
use self::parking::{ParkEnd, Parking};
pub(crate) use self::seat::Seat;
use self::trouble::Trouble;
pub use self::watchdog::STALL_AFTER;
use self::watchdog::{Awaited, CHECK_INTERVAL, Turns, Watchdog};
use crate::attempt::{Attempt, LaneId};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::outbound::{Errand, Outbound, Report, now};
use crate::partition::{Action, CommitResult, Input, ScanId};
use crate::status::GapCause;
use crate::wait::{end_of, until};

mod load;
mod parking;
mod seat;
mod trouble;
mod truncation;
mod watchdog;

/// Bytes that one read asks for.
pub const READ_BYTES: usize = 512 << 10;

/// Reports of ended attempts that wait for a partition; more hold back the tasks that have them.
pub const REPORTS: usize = 1024;

/// Cursors that are loaded in one go.
pub const LOADS: usize = 256;

/// A routing table with its number; later tables have higher ones.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    pub(crate) generation: u64,
    pub(crate) table: Arc<RoutingTable>,
}

/// What the owner of a partition wants of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Bytes of events that it may hold.
    pub(crate) budget: usize,
    pub(crate) end: End,
}

/// Whether, and how, a partition is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on.
    Open,
    /// It drains, and is abandoned if that takes longer.
    Drain(Instant),
    /// It ends at once and commits nothing.
    Abandon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything that was begun is finished and committed.
    Drained,
    /// Attempts or commits were still under way.
    Abandoned,
    /// The topic is gone.
    Gone,
}

/// The task of one partition.
pub(crate) struct Driver {
    /// Names this run of the partition in the outlets; never used twice.
    pub(crate) run: u64,
    pub(crate) seat: Arc<Seat>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) log: SharedLog,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) routes: watch::Receiver<Routes>,
    pub(crate) wish: watch::Receiver<Wish>,
    /// Groups whose places somebody has set.
    pub(crate) moves: mpsc::Receiver<Vec<GroupName>>,
    /// The routing table that the machine has and whose actions have not all been taken.
    pub(crate) taken: Option<u64>,
    /// Groups that stood in a topic of this name that is gone.
    pub(crate) stood: Arc<HashSet<GroupName>>,
    /// Told whenever [`Seat::serves`] may have changed.
    pub(crate) progress: Arc<Notify>,
    /// Told whenever a driver of this process has started Triggers in all partitions of a topic.
    pub(crate) started: Arc<Notify>,
}

/// What is under way, and what waits to get under way.
struct Work {
    scans: HashMap<ScanId, OpenScan>,
    reads: FuturesUnordered<Abortable<BoxFuture<'static, ReadEnd>>>,
    commits: Vec<(LaneId, Commit)>,
    committing: Option<BoxFuture<'static, CommitEnds>>,
    commit_trouble: Trouble,
    loads: VecDeque<Wanted>,
    loading: Option<BoxFuture<'static, LoadEnd>>,
    load_trouble: Trouble,
    parking: Parking,
    under_park: Option<BoxFuture<'static, ParkEnd>>,
    /// The last loads are to be tried again when somebody has started the Triggers.
    is_waiting: bool,
    watchdog: Watchdog,
    check_at: Instant,
    turns: Turns,
    starts: Vec<Attempt>,
    /// Lanes that have started something: what they have queued is withdrawn if the run is abandoned.
    lanes: HashSet<LaneId>,
}

type CommitEnds = Vec<(LaneId, Result<(), CommitError>)>;

struct OpenScan {
    /// Where it is being read, if it is.
    from: Option<Offset>,
    reader: Option<(Box<dyn Scan>, Offset)>,
    abort: AbortHandle,
    trouble: Trouble,
}

struct ReadEnd {
    scan: ScanId,
    from: Offset,
    reader: Option<Box<dyn Scan>>,
    result: Result<Batch, LogError>,
}

/// What a round of the loop has to go on with.
enum Woken {
    Reports,
    Read(ReadEnd),
    Committed(CommitEnds),
    Loaded(LoadEnd),
    Parked(ParkEnd),
    Moved(Vec<GroupName>),
    Routes,
    Wish,
    Time,
}

impl Driver {
    /// Runs until the partition is drained, abandoned, or gone.
    pub(crate) async fn run(mut self) -> Ended {
        let mut work = Work::new();
        let ended = self.run_inner(&mut work).await;
        // Nobody is left to take the reports.
        drop(self.outbound.withdraw(self.run, work.lanes.drain()));
        ended
    }

    async fn run_inner(&mut self, work: &mut Work) -> Ended {
        let (reporter, mut reports) = mpsc::channel::<Report>(REPORTS);
        let mut ended = Vec::with_capacity(REPORTS);
        self.take_routes();
        self.take_wish();
        loop {
            if self.act(work, &reporter) {
                return Ended::Drained;
            }
            // Not before the loads that the table asks for have been counted.
            if let Some(generation) = self.taken.take() {
                self.seat.generation.store(generation, Ordering::Release);
                self.progress.notify_one();
            }
            self.get_under_way(work);
            let due = self.seat.machine().next_timeout();
            let give_up = match self.wish.borrow().end {
                End::Open => None,
                End::Drain(by) => Some(by),
                End::Abandon => return Ended::Abandoned,
            };
            let wake = due.into_iter().chain(give_up).chain([work.check_at]).min();
            let woken = tokio::select! {
                biased;
                changed = self.wish.changed() => match changed {
                    Ok(()) => Woken::Wish,
                    Err(_) => return Ended::Abandoned,
                },
                Ok(()) = self.routes.changed() => Woken::Routes,
                done = end_of(&mut work.committing) => Woken::Committed(done),
                done = end_of(&mut work.loading) => Woken::Loaded(done),
                done = end_of(&mut work.under_park) => Woken::Parked(done),
                Some(groups) = self.moves.recv() => Woken::Moved(groups),
                () = until(wake.map(TokioInstant::from_std)) => Woken::Time,
                _ = reports.recv_many(&mut ended, REPORTS) => Woken::Reports,
                Some(read) = work.reads.next(), if !work.reads.is_empty() => match read {
                    Ok(end) => Woken::Read(end),
                    // Closed while it was read.
                    Err(futures::future::Aborted) => continue,
                },
            };
            let gone = match woken {
                Woken::Wish => {
                    self.take_wish();
                    false
                }
                Woken::Routes => {
                    self.take_routes();
                    false
                }
                Woken::Reports => {
                    self.report(ended.drain(..));
                    false
                }
                Woken::Committed(done) => {
                    work.committing = None;
                    work.turns.committed(done.iter().map(|(_, result)| result));
                    self.committed(work, done)
                }
                Woken::Loaded(done) => {
                    work.loading = None;
                    // Those that wait to be started are looked up again and again.
                    if done.waiting.is_empty() && done.error.is_none() {
                        work.turns.loads += 1;
                    }
                    self.loaded(work, done)
                }
                Woken::Parked(done) => {
                    work.under_park = None;
                    for offset in work.parking.ended(done, &self.seat.at) {
                        work.turns.parks += 1;
                        self.seat.machine().handle(now(), Input::Parked { offset });
                    }
                    false
                }
                Woken::Moved(groups) => {
                    let mut machine = self.seat.machine();
                    for group in groups {
                        if let Some(lane) = machine.lane_of(&group) {
                            machine.handle(now(), Input::Moved { lane });
                        }
                    }
                    false
                }
                Woken::Read(end) => self.read(work, end),
                Woken::Time => {
                    let now = now();
                    if give_up.is_some_and(|by| by <= now) {
                        return Ended::Abandoned;
                    }
                    self.seat.machine().handle_timeout(now);
                    if work.check_at <= now {
                        work.check_at = now + CHECK_INTERVAL;
                        self.look_for_stalls(work, now);
                        self.look_for_truncation(now);
                    }
                    false
                }
            };
            if gone {
                return Ended::Gone;
            }
        }
    }

    fn take_routes(&mut self) {
        let Routes { generation, table } = self.routes.borrow_and_update().clone();
        if let Some(broker) = table.brokers.get(&self.seat.broker) {
            if !Arc::ptr_eq(broker, &self.broker) || self.seat.generation.load(Ordering::Acquire) == 0 {
                self.broker = Arc::clone(broker);
                self.seat.machine().handle(now(), Input::Routes(Arc::clone(broker)));
            }
            self.taken = Some(generation);
        }
    }

    fn take_wish(&mut self) {
        let wish = *self.wish.borrow_and_update();
        let mut machine = self.seat.machine();
        machine.handle(now(), Input::Budget(wish.budget));
        if wish.end != End::Open {
            machine.handle(now(), Input::Drain);
        }
    }

    fn report(&self, reports: impl Iterator<Item = Report>) {
        let now = now();
        let mut machine = self.seat.machine();
        for (attempt, outcome) in reports {
            machine.handle(now, Input::Finished { attempt, outcome, jitter: fastrand::f64() });
        }
    }

    /// Takes all actions; `true` when the last one was that everything is drained.
    fn act(&mut self, work: &mut Work, reporter: &mpsc::Sender<Report>) -> bool {
        loop {
            let mut drained = false;
            let mut withdrawn = Vec::new();
            {
                let mut machine = self.seat.machine();
                while let Some(action) = machine.next_action() {
                    match action {
                        Action::Start(attempt) => {
                            work.lanes.insert(attempt.id.lane);
                            work.starts.push(attempt);
                        }
                        Action::Withdraw { lane } => withdrawn.push(lane),
                        Action::Load { lane, trigger } => {
                            self.seat.loading.fetch_add(1, Ordering::AcqRel);
                            work.loads.push_back(Wanted { lane, trigger, kind: Kind::First });
                        }
                        Action::Reload { lane, trigger } => {
                            work.loads.push_back(Wanted { lane, trigger, kind: Kind::Again });
                        }
                        Action::Read { scan, from } => work.read(&self.log, &self.seat.at, scan, from),
                        Action::Close { scan } => {
                            if let Some(open) = work.scans.remove(&scan) {
                                open.abort.abort();
                            }
                        }
                        Action::Commit { lane, trigger, cursor } => {
                            let at = self.seat.at.clone();
                            work.commits.push((lane, Commit { group: trigger.group.clone(), at, cursor }));
                        }
                        Action::Undecodable { offset, record, reason } => {
                            self.metrics.undecodable.inc();
                            let (at, time) = (&self.seat.at, self.clock.now());
                            let parked = crate::parked::undecodable(at, offset, &record, &reason, time);
                            work.parking.push(now(), at, offset, parked, &reason);
                        }
                        Action::Moved { trigger, from, to } => self.moved(&trigger, from, to),
                        Action::Overtaken { trigger, from, to } => self.overtaken(&trigger, from, to),
                        Action::Drained => drained = true,
                    }
                }
            }
            // What was started before it was withdrawn has to be queued before it can be taken back.
            let mut ended = self.start(work, reporter);
            let taken_back = self.outbound.withdraw(self.run, withdrawn);
            ended.extend(taken_back.into_iter().map(|id| (id, crate::attempt::Outcome::Withdrawn)));
            if ended.is_empty() {
                return drained;
            }
            self.report(ended.into_iter());
        }
    }

    fn start(&self, work: &mut Work, reporter: &mpsc::Sender<Report>) -> Vec<Report> {
        if work.starts.is_empty() {
            return Vec::new();
        }
        let errands = work.starts.drain(..).map(|attempt| Errand {
            attempt,
            broker: Arc::clone(&self.broker),
            partition: self.seat.at.partition,
            report: reporter.clone(),
        });
        self.outbound.offer(self.run, errands)
    }

    /// Says what the log does not answer, and opens readers anew that hang.
    fn look_for_stalls(&self, work: &mut Work, now: Instant) {
        let end = self.seat.extent().end;
        let mut awaited = Vec::new();
        let under_way = [
            (Awaited::Commit, work.turns.commits, work.committing.is_some()),
            (Awaited::Load, work.turns.loads, work.loading.is_some()),
            (Awaited::Park, work.turns.parks, work.under_park.is_some()),
        ];
        awaited.extend(under_way.iter().filter(|(_, _, is_it)| *is_it).map(|(what, turn, _)| (*what, *turn)));
        // One that has failed is tried again later, and says so itself.
        for (scan, open) in work.scans.iter().filter(|(_, open)| open.trouble.wait().is_zero()) {
            awaited.extend(open.from.filter(|from| *from < end).map(|from| (Awaited::Read(*scan, from), 0)));
        }
        let stalls = work.watchdog.observe(now, &awaited);
        let told: Vec<String> = stalls.all.iter().map(ToString::to_string).collect();
        self.seat.note_stall((!told.is_empty()).then(|| told.join(", ")));
        for what in stalls.due {
            let TopicPartition { topic, partition } = &self.seat.at;
            tracing::warn!(%topic, %partition, waits_for = %what, "the partition makes no progress");
            if let Awaited::Read(scan, from) = what
                && let Some(open) = work.scans.get_mut(&scan)
            {
                open.abort.abort();
                open.reader = None;
                work.read(&self.log, &self.seat.at, scan, from);
            }
        }
    }

    fn look_for_truncation(&self, now: Instant) {
        let Some(end) = self.seat.take_truncation() else { return };
        let TopicPartition { topic, partition } = &self.seat.at;
        tracing::warn!(%topic, %partition, %end, "the log has lost its last records");
        self.seat.machine().handle(now, Input::Truncated { end });
    }

    fn moved(&self, trigger: &Trigger, from: Offset, to: Offset) {
        self.metrics.moved.inc();
        let TopicPartition { topic, partition } = &self.seat.at;
        tracing::info!(
            trigger = %trigger.id, %topic, %partition, %from, %to,
            "somebody has set the trigger's offset: it goes on there"
        );
    }

    fn overtaken(&self, trigger: &Trigger, from: Offset, to: Offset) {
        self.metrics.overtaken.inc_by(to.0.saturating_sub(from.0));
        self.seat.note_gap(&trigger.id, GapCause::Retention, from, to, self.clock.now());
        let TopicPartition { topic, partition } = &self.seat.at;
        tracing::warn!(
            trigger = %trigger.id, %topic, %partition, %from, %to,
            "retention removed events before the trigger got to them"
        );
    }

    /// Starts the next commit and the next load if none is under way.
    fn get_under_way(&self, work: &mut Work) {
        if work.committing.is_none() && !work.commits.is_empty() {
            let (lanes, commits): (Vec<_>, Vec<_>) = std::mem::take(&mut work.commits).into_iter().unzip();
            let (log, wait) = (Arc::clone(&self.log), work.commit_trouble.wait());
            let commit = async move {
                pause(wait).await;
                lanes.into_iter().zip(log.commit(commits).await).collect()
            };
            work.committing = Some(commit.boxed());
        }
        if work.under_park.is_none() {
            work.under_park = work.parking.next(&self.log, &self.seat.parked_topic);
        }
        if work.loading.is_none() {
            self.forget_loads(work);
        }
        if work.loading.is_none() && !work.loads.is_empty() {
            let some = work.loads.len().min(LOADS);
            let wanted: Vec<_> = work.loads.drain(..some).collect();
            let (log, at, wait) = (Arc::clone(&self.log), self.seat.at.clone(), work.load_trouble.wait());
            let stood = Arc::clone(&self.stood);
            let started = std::mem::take(&mut work.is_waiting).then(|| Arc::clone(&self.started));
            let load = async move {
                pause(wait).await;
                if let Some(started) = started {
                    // Whether it was told or not, it looks again.
                    drop(timeout(STARTED_INTERVAL, started.notified()).await);
                }
                load(&log, &at, wanted, &stood).await
            };
            work.loading = Some(load.boxed());
        }
    }

    fn committed(&self, work: &mut Work, done: CommitEnds) -> bool {
        let error = done.iter().find_map(|(_, result)| match result {
            Err(CommitError::Log(error)) => Some(error.clone()),
            Err(CommitError::Moved(_)) | Ok(()) => None,
        });
        let now = now();
        let mut machine = self.seat.machine();
        for (lane, result) in done {
            let result = match result {
                Ok(()) => CommitResult::Durable,
                Err(CommitError::Moved(_)) => CommitResult::Moved,
                Err(CommitError::Log(_)) => {
                    self.metrics.commit_failures.inc();
                    CommitResult::Failed
                }
            };
            machine.handle(now, Input::Committed { lane, result });
        }
        drop(machine);
        work.commit_trouble.note(error.as_ref(), &self.seat.at, "commit cursors")
    }

    fn loaded(&self, work: &mut Work, done: LoadEnd) -> bool {
        let now = now();
        if let Some(extent) = done.extent {
            self.seat.note_extent(extent);
        }
        let mut machine = self.seat.machine();
        let first = done.loaded.iter().filter(|loaded| loaded.kind == Kind::First).count();
        self.seat.loading.fetch_sub(first, Ordering::AcqRel);
        for loaded in done.loaded {
            if let Some(position) = loaded.beyond {
                self.beyond(&loaded.trigger, position, loaded.cursor.position);
            }
            let (lane, cursor) = (loaded.lane, loaded.cursor);
            let input = match loaded.kind {
                Kind::First => Input::Loaded { lane, cursor },
                Kind::Again => Input::Reloaded { lane, cursor: Some(cursor) },
            };
            machine.handle(now, input);
        }
        for Wanted { lane, trigger, .. } in done.vanished {
            let TopicPartition { topic, partition } = &self.seat.at;
            tracing::info!(
                trigger = %trigger.id, %topic, %partition,
                "somebody has deleted the trigger's offset: it goes on where it is"
            );
            machine.handle(now, Input::Reloaded { lane, cursor: None });
        }
        drop(machine);
        if done.has_started {
            self.started.notify_waiters();
        }
        work.is_waiting = !done.waiting.is_empty();
        work.loads.extend(done.again);
        work.loads.extend(done.waiting);
        self.progress.notify_one();
        work.load_trouble.note(done.error.as_ref(), &self.seat.at, "load cursors")
    }

    /// Forgets the loads of lanes that are gone: a Trigger that waits to be started and is deleted meanwhile would be
    /// waited for without an end.
    fn forget_loads(&self, work: &mut Work) {
        if work.loads.is_empty() {
            return;
        }
        let count = |work: &Work| work.loads.iter().filter(|wanted| wanted.kind == Kind::First).count();
        let before = count(work);
        let machine = self.seat.machine();
        work.loads.retain(|wanted| machine.is_loading(wanted.lane));
        drop(machine);
        let forgotten = before - count(work);
        if forgotten > 0 {
            self.seat.loading.fetch_sub(forgotten, Ordering::AcqRel);
            self.progress.notify_one();
        }
    }

    fn beyond(&self, trigger: &Trigger, position: Offset, end: Offset) {
        self.metrics.beyond.inc();
        self.seat.note_gap(&trigger.id, GapCause::BeyondEnd, end, position, self.clock.now());
        let TopicPartition { topic, partition } = &self.seat.at;
        tracing::warn!(
            trigger = %trigger.id, %topic, %partition, %position, %end,
            "the trigger stood beyond the end of the log: it goes on at the end"
        );
    }

    fn read(&self, work: &mut Work, end: ReadEnd) -> bool {
        let ReadEnd { scan, from, reader, result } = end;
        let Some(open) = work.scans.get_mut(&scan) else { return false };
        match result {
            Ok(batch) => {
                open.from = None;
                open.reader = reader.map(|reader| (reader, batch.next));
                open.trouble.note(None, &self.seat.at, "read");
                self.seat.machine().handle(now(), Input::Read { scan, batch });
                false
            }
            Err(error) => {
                self.metrics.read_failures.inc();
                let gone = open.trouble.note(Some(&error), &self.seat.at, "read");
                // A reader that has failed is not trusted to go on.
                open.reader = None;
                work.read(&self.log, &self.seat.at, scan, from);
                gone
            }
        }
    }
}

impl Work {
    fn new() -> Self {
        Self {
            scans: HashMap::new(),
            reads: FuturesUnordered::new(),
            commits: Vec::new(),
            committing: None,
            commit_trouble: Trouble::default(),
            loads: VecDeque::new(),
            loading: None,
            load_trouble: Trouble::default(),
            parking: Parking::default(),
            under_park: None,
            is_waiting: false,
            watchdog: Watchdog::default(),
            check_at: now() + CHECK_INTERVAL,
            turns: Turns::default(),
            starts: Vec::new(),
            lanes: HashSet::new(),
        }
    }

    fn read(&mut self, log: &SharedLog, at: &TopicPartition, scan: ScanId, from: Offset) {
        let (abort, registration) = AbortHandle::new_pair();
        let open = self.scans.entry(scan).or_insert_with(|| OpenScan {
            from: None,
            reader: None,
            abort: abort.clone(),
            trouble: Trouble::default(),
        });
        open.abort = abort;
        open.from = Some(from);
        let (log, at, reader, wait) = (Arc::clone(log), at.clone(), open.reader.take(), open.trouble.wait());
        let read = async move {
            pause(wait).await;
            read_once(&*log, &at, scan, reader, from).await
        };
        self.reads.push(Abortable::new(read.boxed(), registration));
    }
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        sleep(wait).await;
    }
}

async fn read_once(
    log: &dyn trigon_eventlog::EventLog,
    at: &TopicPartition,
    scan: ScanId,
    reader: Option<(Box<dyn Scan>, Offset)>,
    from: Offset,
) -> ReadEnd {
    let opened = match reader {
        Some((mut reader, position)) => {
            if position != from {
                reader.seek(from);
            }
            Ok(reader)
        }
        None => log.scan(at, from).await,
    };
    match opened {
        Ok(mut reader) => {
            let result = reader.read(READ_BYTES).await;
            ReadEnd { scan, from, reader: Some(reader), result }
        }
        Err(error) => ReadEnd { scan, from, reader: None, result: Err(error) },
    }
}
