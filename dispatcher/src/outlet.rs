//! Outlets as a state machine without I/O: which attempt may begin next.
//!
//! There is one outlet per origin, shared by every lane of every partition that sends there. Lanes take turns, so
//! that a big backlog does not starve a small one; outlets take turns at what the process may have in flight, and
//! none may take more than what it leaves to the others. Nothing here sends, sleeps or reads a clock.

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
mod window;

pub use bucket::BURST;
use bucket::Bucket;
use notice::Health;
pub use notice::{NOTICE_INTERVAL, Notice};
pub use window::{LIMIT_MAX, LIMIT_START};
use window::{Round, Window};

/// How long an outlet is remembered that nobody sends through.
pub const LINGER: Duration = Duration::from_secs(60);

/// An outlet that has something in flight begins more only while it holds less than this part of what is free in
/// the whole process. So each slow origin takes a smaller share than the one before, and leaves room for others.
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
    /// Outlets that may be able to begin something, in turn.
    ready: VecDeque<OutletId>,
    wakes: BinaryHeap<Reverse<(Instant, OutletId)>>,
    buckets: HashMap<TriggerId, Bucket>,
    /// In which outlets a lane has something waiting.
    lanes: HashMap<LaneKey, Vec<OutletId>>,
}

/// Names an outlet; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct OutletId(u64);

#[derive(Debug)]
struct Outlet<T> {
    origin: Origin,
    window: Window,
    health: Health,
    in_flight: usize,
    queued: usize,
    gate: Option<Instant>,
    lanes: HashMap<LaneKey, VecDeque<Waiting<T>>>,
    turns: VecDeque<LaneKey>,
    /// Lanes whose Trigger is ahead of its rate, until then.
    throttled: BTreeSet<(Instant, LaneKey)>,
    used: Instant,
    standing: Standing,
    leaving: Leaving,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    rate: Option<(TriggerId, f64)>,
}

/// Whether the outlet stands in the list of those that may begin something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Listed,
    Unlisted,
}

/// Whether a wake is set that looks whether the outlet is still of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Watched,
    Unwatched,
}

/// Leave to begin one attempt; to be given back with [`Outlets::finished`].
#[derive(Debug)]
pub struct Leave {
    outlet: OutletId,
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
    /// Attempts at once at most, for now.
    pub limit: usize,
    /// Attempts that are being sent.
    pub in_flight: usize,
    /// Attempts that wait for their turn.
    pub queued: usize,
    /// Signs of trouble since the last answer.
    pub failures: u32,
    /// For how much longer the origin wants to be left alone, in milliseconds.
    pub gated_ms: Option<u64>,
}

/// Whether an outlet lets attempts through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OutletState {
    /// It does, up to its limit.
    Open,
    /// It does not, until the time has passed that the origin asked for with `Retry-After`.
    Gated,
    /// One probe at a time: nothing was heard from the origin.
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
        let id = self.outlet_of(now, origin);
        let outlet = self.outlets.get_mut(&id).expect("the outlet was just found or made");
        outlet.queued += 1;
        outlet.used = now;
        let queue = outlet.lanes.entry(lane).or_insert_with(|| {
            self.lanes.entry(lane).or_default().push(id);
            outlet.turns.push_back(lane);
            VecDeque::new()
        });
        queue.push_back(Waiting { item, rate });
        self.list(id);
    }

    /// Takes back everything of these lanes that has not begun.
    pub fn withdraw(&mut self, lanes: &[LaneKey]) -> Vec<T> {
        let mut by_outlet: BTreeMap<OutletId, BTreeSet<LaneKey>> = BTreeMap::new();
        for lane in lanes {
            for id in self.lanes.remove(lane).unwrap_or_default() {
                by_outlet.entry(id).or_default().insert(*lane);
            }
        }
        let mut items = Vec::new();
        for (id, gone) in by_outlet {
            let Some(outlet) = self.outlets.get_mut(&id) else { continue };
            // Once per outlet and not once per lane: ten thousand lanes may be taken back together.
            outlet.turns.retain(|turn| !gone.contains(turn));
            outlet.throttled.retain(|(_, throttled)| !gone.contains(throttled));
            for lane in gone {
                let queue = outlet.lanes.remove(&lane).unwrap_or_default();
                outlet.queued -= queue.len();
                items.extend(queue.into_iter().map(|waiting| waiting.item));
            }
            self.watch(id);
        }
        items
    }

    /// The next attempt that may begin now.
    pub fn next(&mut self, now: Instant) -> Option<(Leave, T)> {
        self.wake(now);
        let free = self.most - self.in_flight;
        if free == 0 {
            return None;
        }
        for _ in 0..self.ready.len() {
            let id = self.ready.pop_front()?;
            let Some(outlet) = self.outlets.get_mut(&id) else { continue };
            outlet.standing = Standing::Unlisted;
            if outlet.in_flight >= outlet.window.limit() || outlet.gate.is_some() {
                continue;
            }
            if outlet.in_flight > 0 && outlet.in_flight >= free / SHARE {
                self.list(id);
                continue;
            }
            let Some((lane, waiting)) = Self::take_turn(outlet, now, &mut self.buckets, &mut self.wakes, id)
            else {
                continue;
            };
            outlet.in_flight += 1;
            self.in_flight += 1;
            let leave = Leave { outlet: id, round: outlet.window.round() };
            if !outlet.lanes.contains_key(&lane) {
                self.forget(lane, id);
            }
            self.list(id);
            return Some((leave, waiting.item));
        }
        None
    }

    /// Takes in how an attempt ended that [`next`](Self::next) gave leave to; says whether that is news.
    pub fn finished(&mut self, now: Instant, leave: &Leave, feedback: Feedback) -> Option<Notice> {
        let id = leave.outlet;
        self.in_flight -= 1;
        let outlet = self.outlets.get_mut(&id).expect("an outlet with something in flight stays");
        match feedback {
            Feedback::Took | Feedback::Refused => outlet.window.served(outlet.in_flight),
            Feedback::Congested { gate } => {
                outlet.window.congested(leave.round);
                if let Some(until) = gate.and_then(|gate| now.checked_add(gate)).filter(|until| *until > now)
                {
                    outlet.gate = outlet.gate.max(Some(until));
                    self.wakes.push(Reverse((until, id)));
                }
            }
        }
        outlet.in_flight -= 1;
        outlet.used = now;
        let notice = outlet.health.observe(now, feedback == Feedback::Took);
        self.list(id);
        self.watch(id);
        notice
    }

    /// When [`next`](Self::next) may have something that it has not now.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
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

    fn outlet_of(&mut self, now: Instant, origin: &Origin) -> OutletId {
        if let Some(id) = self.by_origin.get(origin) {
            return *id;
        }
        self.last_id += 1;
        let id = OutletId(self.last_id);
        self.by_origin.insert(origin.clone(), id);
        self.outlets.insert(id, Outlet::new(origin.clone(), now));
        id
    }

    fn take_turn(
        outlet: &mut Outlet<T>,
        now: Instant,
        buckets: &mut HashMap<TriggerId, Bucket>,
        wakes: &mut BinaryHeap<Reverse<(Instant, OutletId)>>,
        id: OutletId,
    ) -> Option<(LaneKey, Waiting<T>)> {
        while let Some(lane) = outlet.turns.pop_front() {
            let queue = outlet.lanes.get_mut(&lane).expect("a lane with a turn has a queue");
            let first = queue.front().expect("a queue without attempts is removed");
            if let Some((trigger, rate)) = &first.rate {
                // Looked up before it is made: an entry would clone the name for every request.
                let leave = match buckets.get_mut(trigger) {
                    Some(bucket) => bucket.take(now, *rate),
                    None => {
                        let mut bucket = Bucket::new(now);
                        let leave = bucket.take(now, *rate);
                        buckets.insert(trigger.clone(), bucket);
                        leave
                    }
                };
                if let Err(until) = leave {
                    outlet.throttled.insert((until, lane));
                    wakes.push(Reverse((until, id)));
                    continue;
                }
            }
            let waiting = queue.pop_front().expect("it has just been seen");
            if queue.is_empty() {
                outlet.lanes.remove(&lane);
            } else {
                outlet.turns.push_back(lane);
            }
            outlet.queued -= 1;
            return Some((lane, waiting));
        }
        None
    }

    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            let Some(outlet) = self.outlets.get_mut(&id) else { continue };
            if outlet.gate.is_some_and(|gate| gate <= now) {
                outlet.gate = None;
            }
            while let Some(&(until, lane)) = outlet.throttled.first()
                && until <= now
            {
                outlet.throttled.pop_first();
                outlet.turns.push_back(lane);
            }
            self.list(id);
            self.leave(id, now);
        }
    }

    fn list(&mut self, id: OutletId) {
        if let Some(outlet) = self.outlets.get_mut(&id)
            && outlet.standing == Standing::Unlisted
            && !outlet.turns.is_empty()
        {
            outlet.standing = Standing::Listed;
            self.ready.push_back(id);
        }
    }

    /// Sets a wake that removes the outlet if nobody has used it until then.
    fn watch(&mut self, id: OutletId) {
        if let Some(outlet) = self.outlets.get_mut(&id)
            && outlet.is_idle()
            && outlet.leaving == Leaving::Unwatched
        {
            outlet.leaving = Leaving::Watched;
            self.wakes.push(Reverse((outlet.used + LINGER, id)));
        }
    }

    fn leave(&mut self, id: OutletId, now: Instant) {
        let Some(outlet) = self.outlets.get_mut(&id) else { return };
        let due = outlet.used + LINGER;
        if !outlet.is_idle() || outlet.leaving == Leaving::Unwatched {
            outlet.leaving = Leaving::Unwatched;
        } else if due <= now && outlet.gate.is_none() {
            self.by_origin.remove(&outlet.origin);
            self.outlets.remove(&id);
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        } else {
            self.wakes.push(Reverse((due.max(outlet.gate.unwrap_or(due)), id)));
        }
    }

    fn forget(&mut self, lane: LaneKey, id: OutletId) {
        if let Some(outlets) = self.lanes.get_mut(&lane) {
            outlets.retain(|outlet| *outlet != id);
            if outlets.is_empty() {
                self.lanes.remove(&lane);
            }
        }
    }
}

impl<T> Outlet<T> {
    fn new(origin: Origin, now: Instant) -> Self {
        Self {
            origin,
            window: Window::new(),
            health: Health::default(),
            in_flight: 0,
            queued: 0,
            gate: None,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            throttled: BTreeSet::new(),
            used: now,
            standing: Standing::Unlisted,
            leaving: Leaving::Unwatched,
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queued == 0
    }

    fn status(&self, now: Instant) -> OutletStatus {
        let gated = self.gate.map(|gate| gate.saturating_duration_since(now)).filter(|left| !left.is_zero());
        OutletStatus {
            origin: self.origin.to_string(),
            state: match gated {
                Some(_) => OutletState::Gated,
                None if self.window.is_closed() => OutletState::Closed,
                None => OutletState::Open,
            },
            limit: self.window.limit(),
            in_flight: self.in_flight,
            queued: self.queued,
            failures: self.window.failures(),
            gated_ms: gated.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests;
