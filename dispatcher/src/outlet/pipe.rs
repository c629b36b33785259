//! A lane's part of an outlet: what it has queued there, and how much of it may be in flight at once.
//!
//! Every lane has a window of its own, as every connection has one in TCP: a path that hangs or fails uses up what
//! its own Trigger may send, and nothing of what the others may that reach the same origin.

use std::collections::VecDeque;
use std::time::Instant;

use trigon_core::name::TriggerId;

use super::window::Window;

#[derive(Debug)]
pub(super) struct Pipe<T> {
    pub(super) queue: VecDeque<Waiting<T>>,
    pub(super) window: Window,
    pub(super) in_flight: usize,
    pub(super) standing: Standing,
    /// When anything was last queued, finished or withdrawn here.
    pub(super) used: Instant,
    /// When the wake is set for that looks whether the pipe is still of use.
    pub(super) leaving: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) item: T,
    pub(super) rate: Option<(TriggerId, f64)>,
}

/// What a pipe waits for before it may begin something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Something to be queued, or to be finished.
    Aside,
    /// Its turn at the outlet.
    InTurn,
    /// Its Trigger is ahead of its rate, until then.
    Throttled(Instant),
    /// It holds too large a part of what is free in the process.
    Crowded,
}

impl<T> Pipe<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            queue: VecDeque::new(),
            window: Window::new(),
            in_flight: 0,
            standing: Standing::Aside,
            used: now,
            leaving: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty()
    }
}
