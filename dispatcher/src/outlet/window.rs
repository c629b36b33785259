//! How many requests a lane sends to an origin at once: congestion control and circuit breaker in one.
//!
//! The limit halves when the lane is in trouble there and grows by one for each full window that was served. It never
//! falls below one, so that a dead origin still gets one probe at a time and its events still come nearer to
//! their dead letter sink (DLV-17).

/// Requests at once of a lane to an origin of which it knows nothing.
pub const LIMIT_START: usize = 32;

/// Requests at once of one lane to one origin at most.
pub const LIMIT_MAX: usize = 512;

/// The limit of one lane at one origin.
#[derive(Clone, Debug)]
pub(super) struct Window {
    limit: usize,
    served: usize,
    round: Round,
    failures: u32,
}

/// The time between two decreases. Requests that were sent in an earlier one say nothing new when they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(u64);

impl Window {
    pub(super) fn new() -> Self {
        Self { limit: LIMIT_START, served: 0, round: Round(0), failures: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn round(&self) -> Round {
        self.round
    }

    /// Signs of trouble since the last answer.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether only one probe at a time is sent, because nothing was heard from the origin.
    pub(super) fn is_closed(&self) -> bool {
        self.limit == 1 && self.failures > 0
    }

    /// The origin has answered; `in_flight` counts the request itself.
    pub(super) fn served(&mut self, in_flight: usize) {
        self.failures = 0;
        // A limit that was not reached has not been tested, and does not grow.
        if in_flight < self.limit {
            return;
        }
        self.served += 1;
        if self.served >= self.limit {
            self.served = 0;
            self.limit = (self.limit + 1).min(LIMIT_MAX);
        }
    }

    /// A request of `round` has met trouble.
    pub(super) fn congested(&mut self, round: Round) {
        self.failures = self.failures.saturating_add(1);
        if round == self.round {
            self.limit = (self.limit / 2).max(1);
            self.served = 0;
            self.round = Round(self.round.0 + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DLV-17
    #[test]
    fn halves_once_per_round_and_never_falls_below_one() {
        let mut window = Window::new();
        let round = window.round();
        for _ in 0..LIMIT_START {
            window.congested(round);
        }
        assert_eq!(window.limit(), LIMIT_START / 2);
        assert!(!window.is_closed());
        for _ in 0..20 {
            window.congested(window.round());
        }
        assert_eq!(window.limit(), 1);
        assert!(window.is_closed());
    }

    #[test]
    fn grows_by_one_per_full_window_up_to_the_maximum() {
        let mut window = Window::new();
        for _ in 0..LIMIT_START {
            assert_eq!(window.limit(), LIMIT_START);
            window.served(window.limit());
        }
        assert_eq!(window.limit(), LIMIT_START + 1);
        for _ in 0..LIMIT_MAX * LIMIT_MAX {
            window.served(window.limit());
        }
        assert_eq!(window.limit(), LIMIT_MAX);
    }

    #[test]
    fn a_limit_that_is_not_reached_does_not_grow() {
        let mut window = Window::new();
        for _ in 0..10_000 {
            window.served(LIMIT_START - 1);
        }
        assert_eq!(window.limit(), LIMIT_START);
    }

    #[test]
    fn one_answer_reopens_a_closed_window() {
        let mut window = Window::new();
        while !window.is_closed() {
            window.congested(window.round());
        }
        window.served(1);
        assert!(!window.is_closed());
        assert_eq!(window.limit(), 2);
    }
}
