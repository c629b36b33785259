//! Outlets as a state machine without I/O: which attempt may begin next.
//!
//! There is one outlet per origin, and in it one pipe for every lane of every partition that sends there. Lanes take
//! turns, so that a big backlog does not starve a small one; each has a limit of its own, so that a path that hangs
//! or fails does not hold up another path of its origin. Outlets take turns at what the process may have in flight,
//! and no lane may take more than what it leaves to the others. Only a `Retry-After` holds for a whole origin.
//! Nothing here sends, sleeps or reads a clock, and no step looks at all lanes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};
use trigon_core::name::{TopicName, TriggerId};

use crate::attempt::LaneId;

mod bucket;
mod notice;
mod pipe;
mod window;

pub use bucket::BURST;
use bucket::Bucket;
use notice::Health;
pub use notice::{NOTICE_INTERVAL, Notice};
use pipe::{Pipe, Standing, Waiting};
use window::Round;
pub use window::{LIMIT_MAX, LIMIT_START};

/// How long the limit of a lane at an origin is remembered that sends nothing there, and with the last one the
/// outlet.
pub const LINGER: Duration = Duration::from_secs(60);

/// A lane that has something in flight at an origin begins more there only while it holds less than this part of
/// what is free in the whole process. So each slow lane takes a smaller share than the one before, and leaves room
/// for others.
pub const SHARE: usize = 8;

/// Where attempts go, as far as they share a fate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A scheme, a host and a port; the default port is left out.
    Http(Scheme, Authority),
    /// A topic of the event log.
    Log(TopicName),
}

/// A lane as the whole process knows it: numbers of lanes are unique within a partition only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The run of a partition; never used twice.
    pub run: u64,
    /// The lane of that run.
    pub lane: LaneId,
}

/// All outlets of a process; `T` is what waits in them.
#[derive(Debug)]
pub struct Outlets<T> {
    most: usize,
    in_flight: usize,
    outlets: HashMap<OutletId, Outlet<T>>,
    by_origin: HashMap<Origin, OutletId>,
    last_id: u64,
    /// Outlets with a lane in turn, in turn themselves.
    ready: VecDeque<OutletId>,
    /// Pipes that hold too large a part of what is free, the one that holds least first.
    crowded: BTreeSet<(usize, OutletId, LaneKey)>,
    /// When to look at a pipe and its outlet again.
    wakes: BinaryHeap<Reverse<(Instant, OutletId, LaneKey)>>,
    buckets: HashMap<TriggerId, Bucket>,
    /// In which outlets a lane has a pipe.
    lanes: HashMap<LaneKey, Vec<OutletId>>,
}

/// Names an outlet; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct OutletId(u64);

#[derive(Debug)]
struct Outlet<T> {
    origin: Origin,
    health: Health,
    gate: Option<Instant>,
    pipes: HashMap<LaneKey, Pipe<T>>,
    /// Lanes that may be able to begin something, in turn.
    turns: VecDeque<LaneKey>,
    listing: Listing,
}

/// Whether the outlet stands in the list of those that may begin something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Listed,
    Unlisted,
}

/// Leave to begin one attempt; to be given back with [`Outlets::finished`].
#[derive(Debug)]
pub struct Leave {
    outlet: OutletId,
    lane: LaneKey,
    round: Round,
}

/// What an attempt has taught about its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// The origin took the event.
    Took,
    /// The origin answered, but did not take the event.
    Refused,
    /// The origin did not answer, or asked for less: transport errors, timeouts, 429 and 503.
    Congested {
        /// How long it wants to be left alone.
        gate: Option<Duration>,
    },
}

/// How an outlet stands, for status and metrics.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OutletStatus {
    /// The origin.
    pub origin: String,
    /// Whether it lets attempts through.
    pub state: OutletState,
    /// Lanes that send there, or did a moment ago.
    pub lanes: usize,
    /// Attempts at once at most, for now: the limits of these lanes together.
    pub limit: usize,
    /// Attempts that are being sent.
    pub in_flight: usize,
    /// Attempts that wait for their turn.
    pub queued: usize,
    /// Signs of trouble since each lane's last answer.
    pub failures: u32,
    /// For how much longer the origin wants to be left alone, in milliseconds.
    pub gated_ms: Option<u64>,
}

/// Whether an outlet lets attempts through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutletState {
    /// It does, up to the limit of each lane.
    Open,
    /// It does not, until the time has passed that the origin asked for with `Retry-After`.
    Gated,
    /// One probe of each lane at a time: none has heard from the origin.
    Closed,
}

impl Origin {
    /// The origin of a URI; `None` when it has no host, or a scheme that is not HTTP.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = uri.authority()?;
        let plain = authority.port_u16() != Some(default_port) && !authority.as_str().contains('@');
        if plain {
            return Some(Self::Http(scheme.clone(), authority.clone()));
        }
        let text = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        Some(Self::Http(scheme.clone(), Authority::try_from(text).ok()?))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(scheme, authority) => write!(f, "{scheme}://{authority}"),
            Self::Log(topic) => write!(f, "log:{topic}"),
        }
    }
}

impl<T> Outlets<T> {
    /// No outlets yet; all together have at most `most` attempts in flight.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            in_flight: 0,
            outlets: HashMap::new(),
            by_origin: HashMap::new(),
            last_id: 0,
            ready: VecDeque::new(),
            crowded: BTreeSet::new(),
            wakes: BinaryHeap::new(),
            buckets: HashMap::new(),
            lanes: HashMap::new(),
        }
    }

    /// Queues an attempt of a lane. With a rate, it also waits until its Trigger is not ahead of it.
    pub fn offer(
        &mut self,
        now: Instant,
        origin: &Origin,
        lane: LaneKey,
        rate: Option<(TriggerId, f64)>,
        item: T,
    ) {
        let id = self.outlet_of(origin);
        let outlet = self.outlets.get_mut(&id).expect("the outlet was just found or made");
        let pipe = outlet.pipes.entry(lane).or_insert_with(|| {
            self.lanes.entry(lane).or_default().push(id);
            Pipe::new(now)
        });
        pipe.used = now;
        pipe.queue.push_back(Waiting { item, rate });
        self.line_up(id, lane);
    }

    /// Takes back everything of these lanes that has not begun.
    pub fn withdraw(&mut self, now: Instant, lanes: &[LaneKey]) -> Vec<T> {
        let mut items = Vec::new();
        let mut out_of_turn: BTreeMap<OutletId, BTreeSet<LaneKey>> = BTreeMap::new();
        for lane in lanes {
            for id in self.lanes.get(lane).cloned().unwrap_or_default() {
                let outlet = self.outlets.get_mut(&id).expect("an outlet with a pipe stays");
                let pipe = outlet.pipes.get_mut(lane).expect("the lane has a pipe there");
                items.extend(pipe.queue.drain(..).map(|waiting| waiting.item));
                pipe.used = now;
                match std::mem::replace(&mut pipe.standing, Standing::Aside) {
                    Standing::Aside | Standing::Throttled(_) => {}
                    Standing::InTurn => {
                        out_of_turn.entry(id).or_default().insert(*lane);
                    }
                    Standing::Crowded => {
                        self.crowded.remove(&(pipe.in_flight, id, *lane));
                    }
                }
                self.watch(id, *lane);
            }
        }
        // Once per outlet and not once per lane: ten thousand lanes may be taken back together.
        for (id, gone) in out_of_turn {
            if let Some(outlet) = self.outlets.get_mut(&id) {
                outlet.turns.retain(|turn| !gone.contains(turn));
            }
        }
        items
    }

    /// The next attempt that may begin now.
    pub fn next(&mut self, now: Instant) -> Option<(Leave, T)> {
        self.wake(now);
        if self.in_flight == self.most {
            return None;
        }
        loop {
            if let Some(id) = self.ready.pop_front() {
                let begun = self.take_turn(id, now);
                self.list(id);
                if begun.is_some() {
                    return begun;
                }
            } else {
                // Only now, and one at a time: what is free may be enough for the first and not for the second.
                let &(in_flight, id, lane) = self.crowded.first()?;
                if in_flight >= self.share() {
                    return None;
                }
                self.crowded.pop_first();
                self.line_up_again(id, lane);
            }
        }
    }

    /// Takes in how an attempt ended that [`next`](Self::next) gave leave to; says whether that is news.
    pub fn finished(&mut self, now: Instant, leave: &Leave, feedback: Feedback) -> Option<Notice> {
        let &Leave { outlet: id, lane, round } = leave;
        self.in_flight -= 1;
        let outlet = self.outlets.get_mut(&id).expect("an outlet with a pipe stays");
        let pipe = outlet.pipes.get_mut(&lane).expect("a pipe with something in flight stays");
        match feedback {
            Feedback::Took | Feedback::Refused => pipe.window.served(pipe.in_flight),
            Feedback::Congested { gate } => {
                pipe.window.congested(round);
                let until = gate.and_then(|gate| now.checked_add(gate)).filter(|until| *until > now);
                if until > outlet.gate {
                    outlet.gate = until;
                    self.wakes.extend(until.map(|until| Reverse((until, id, lane))));
                }
            }
        }
        if pipe.standing == Standing::Crowded {
            self.crowded.remove(&(pipe.in_flight, id, lane));
            pipe.standing = Standing::Aside;
        }
        pipe.in_flight -= 1;
        pipe.used = now;
        let notice = outlet.health.observe(now, feedback == Feedback::Took);
        self.line_up(id, lane);
        self.watch(id, lane);
        notice
    }

    /// When [`next`](Self::next) may have something that it has not now.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, ..))| *at)
    }

    /// Attempts that have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How every outlet stands, by origin.
    pub fn status(&self, now: Instant) -> Vec<OutletStatus> {
        let mut all: Vec<_> = self.outlets.values().map(|outlet| outlet.status(now)).collect();
        all.sort_unstable_by(|a, b| a.origin.cmp(&b.origin));
        all
    }

    fn outlet_of(&mut self, origin: &Origin) -> OutletId {
        if let Some(id) = self.by_origin.get(origin) {
            return *id;
        }
        self.last_id += 1;
        let id = OutletId(self.last_id);
        self.by_origin.insert(origin.clone(), id);
        self.outlets.insert(id, Outlet::new(origin.clone()));
        id
    }

    fn pipe(&mut self, id: OutletId, lane: LaneKey) -> Option<&mut Pipe<T>> {
        self.outlets.get_mut(&id)?.pipes.get_mut(&lane)
    }

    /// What a lane may have in flight, for now, before it begins more.
    fn share(&self) -> usize {
        (self.most - self.in_flight) / SHARE
    }

    /// Begins an attempt of the first lane in turn that may; those before it leave the turns until they may.
    fn take_turn(&mut self, id: OutletId, now: Instant) -> Option<(Leave, T)> {
        let share = self.share();
        let outlet = self.outlets.get_mut(&id)?;
        outlet.listing = Listing::Unlisted;
        while outlet.gate.is_none()
            && let Some(lane) = outlet.turns.pop_front()
        {
            let pipe = outlet.pipes.get_mut(&lane).expect("a lane in turn has a pipe");
            pipe.standing = Standing::Aside;
            if pipe.in_flight >= pipe.window.limit() {
                continue;
            }
            if pipe.in_flight > 0 && pipe.in_flight >= share {
                pipe.standing = Standing::Crowded;
                self.crowded.insert((pipe.in_flight, id, lane));
                continue;
            }
            let first = pipe.queue.front().expect("a lane in turn has something queued");
            if let Some((trigger, rate)) = &first.rate {
                // Looked up before it is made: an entry would clone the name for every request.
                let leave = match self.buckets.get_mut(trigger) {
                    Some(bucket) => bucket.take(now, *rate),
                    None => {
                        let mut bucket = Bucket::new(now);
                        let leave = bucket.take(now, *rate);
                        self.buckets.insert(trigger.clone(), bucket);
                        leave
                    }
                };
                if let Err(until) = leave {
                    pipe.standing = Standing::Throttled(until);
                    self.wakes.push(Reverse((until, id, lane)));
                    continue;
                }
            }
            let waiting = pipe.queue.pop_front().expect("it has just been seen");
            pipe.in_flight += 1;
            self.in_flight += 1;
            let leave = Leave { outlet: id, lane, round: pipe.window.round() };
            self.line_up(id, lane);
            return Some((leave, waiting.item));
        }
        None
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&Reverse((at, id, lane))) = self.wakes.peek()
            && at <= now
        {
            self.wakes.pop();
            let Some(outlet) = self.outlets.get_mut(&id) else { continue };
            outlet.gate = outlet.gate.filter(|gate| *gate > now);
            if outlet.pipes.get(&lane).is_some_and(|pipe| pipe.standing == Standing::Throttled(at)) {
                self.line_up_again(id, lane);
            }
            self.list(id);
            self.leave(id, lane, at, now);
        }
    }

    /// Gives a lane that was throttled or crowded a turn at its outlet.
    fn line_up_again(&mut self, id: OutletId, lane: LaneKey) {
        if let Some(pipe) = self.pipe(id, lane) {
            pipe.standing = Standing::Aside;
            self.line_up(id, lane);
        }
    }

    /// Gives a lane a turn at its outlet if it has something queued and waits for nothing else.
    fn line_up(&mut self, id: OutletId, lane: LaneKey) {
        if let Some(outlet) = self.outlets.get_mut(&id)
            && let Some(pipe) = outlet.pipes.get_mut(&lane)
            && pipe.standing == Standing::Aside
            && !pipe.queue.is_empty()
        {
            pipe.standing = Standing::InTurn;
            outlet.turns.push_back(lane);
            self.list(id);
        }
    }

    fn list(&mut self, id: OutletId) {
        if let Some(outlet) = self.outlets.get_mut(&id)
            && outlet.listing == Listing::Unlisted
            && outlet.gate.is_none()
            && !outlet.turns.is_empty()
        {
            outlet.listing = Listing::Listed;
            self.ready.push_back(id);
        }
    }

    /// Sets a wake that removes the pipe if nobody has used it until then.
    fn watch(&mut self, id: OutletId, lane: LaneKey) {
        if let Some(pipe) = self.pipe(id, lane)
            && pipe.is_idle()
            && pipe.leaving.is_none()
        {
            let due = pipe.used + LINGER;
            pipe.leaving = Some(due);
            self.wakes.push(Reverse((due, id, lane)));
        }
    }

    /// Removes the pipe, and with the last one the outlet, if a wake that was set for `at` finds them out of use.
    fn leave(&mut self, id: OutletId, lane: LaneKey, at: Instant, now: Instant) {
        let Some(outlet) = self.outlets.get_mut(&id) else { return };
        if let Some(pipe) = outlet.pipes.get_mut(&lane).filter(|pipe| pipe.leaving == Some(at)) {
            pipe.leaving = None;
            if !pipe.is_idle() || pipe.used + LINGER > now {
                return self.watch(id, lane);
            }
            outlet.pipes.remove(&lane);
            if let Some(outlets) = self.lanes.get_mut(&lane) {
                outlets.retain(|outlet| *outlet != id);
                if outlets.is_empty() {
                    self.lanes.remove(&lane);
                }
            }
        }
        if outlet.pipes.is_empty() && outlet.gate.is_none() {
            self.by_origin.remove(&outlet.origin);
            self.outlets.remove(&id);
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
    }
}

impl<T> Outlet<T> {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            health: Health::default(),
            gate: None,
            pipes: HashMap::new(),
            turns: VecDeque::new(),
            listing: Listing::Unlisted,
        }
    }

    fn status(&self, now: Instant) -> OutletStatus {
        let gated = self.gate.map(|gate| gate.saturating_duration_since(now)).filter(|left| !left.is_zero());
        let sum = |of: fn(&Pipe<T>) -> usize| self.pipes.values().map(of).sum();
        OutletStatus {
            origin: self.origin.to_string(),
            state: match gated {
                Some(_) => OutletState::Gated,
                None if self.pipes.values().all(|pipe| pipe.window.is_closed()) => OutletState::Closed,
                None => OutletState::Open,
            },
            lanes: self.pipes.len(),
            limit: sum(|pipe| pipe.window.limit()),
            in_flight: sum(|pipe| pipe.in_flight),
            queued: sum(|pipe| pipe.queue.len()),
            failures: self.pipes.values().fold(0, |sum, pipe| sum.saturating_add(pipe.window.failures())),
            gated_ms: gated.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests;
