//! Stopping: the first signal drains, the second aborts.
//!
//! [`Shutdown`] is held by `main` and says when; everything else holds a [`Drain`] and listens. A drain goes
//! through a quiet period first, in which listeners still serve while load balancers take note, and ends with
//! a deadline. Nothing here stops anything by itself: whoever holds a `Drain` does.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How a drain proceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// How long listeners go on serving after the signal (IN-23). Default none; in a cluster, the time that
    /// load balancers need to notice.
    pub quiet_period: Duration,
    /// How long a drain may take, from the signal on. Default 25 s, below the 30 s that Kubernetes grants.
    pub deadline: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { quiet_period: Duration::ZERO, deadline: Duration::from_secs(25) }
    }
}

/// Says when the process drains and when it aborts.
#[derive(Debug)]
pub struct Shutdown {
    settings: DrainSettings,
    state: Arc<State>,
}

/// Tells whether the process drains. Cloning shares the state.
#[derive(Clone, Debug)]
pub struct Drain {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    // Set once. Beside the channel, because the ingress asks for every request and this is one atomic load.
    started: OnceLock<Started>,
    phase: watch::Sender<Phase>,
}

/// Signals this close together are one: a supervisor and a shell may both pass on the same Ctrl-C.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Started {
    begun: Instant,
    closing: Instant,
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Draining,
    Aborted,
}

impl Shutdown {
    /// Starts in the running state.
    pub fn new(settings: DrainSettings) -> Self {
        let phase = watch::Sender::new(Phase::Running);
        Self { settings, state: Arc::new(State { started: OnceLock::new(), phase }) }
    }

    /// A handle for those who have to stop.
    pub fn watch(&self) -> Drain {
        Drain { state: Arc::clone(&self.state) }
    }

    /// Starts the drain; a drain that goes on already keeps its deadline.
    pub fn drain(&self) {
        let now = Instant::now();
        self.state.started.get_or_init(|| Started {
            begun: now,
            closing: now + self.settings.quiet_period.min(self.settings.deadline),
            deadline: now + self.settings.deadline,
        });
        self.advance(Phase::Draining);
    }

    /// Ends the drain's patience now.
    pub fn abort(&self) {
        self.drain();
        self.advance(Phase::Aborted);
    }

    /// Drains on the first SIGINT or SIGTERM and aborts on a later one; never returns but by error.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub async fn follow_signals(&self) -> io::Result<Infallible> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            self.signalled(name);
        }
    }

    fn signalled(&self, name: &str) {
        match self.state.started.get() {
            None => {
                tracing::info!(signal = name, deadline = ?self.settings.deadline, "draining");
                self.drain();
            }
            Some(started) if Instant::now() < started.begun + SAME_SIGNAL => {}
            Some(_) => {
                tracing::warn!(signal = name, "aborting the drain");
                self.abort();
            }
        }
    }

    fn advance(&self, to: Phase) {
        self.state.phase.send_if_modified(|phase| {
            let later = to > *phase;
            if later {
                *phase = to;
            }
            later
        });
    }
}

impl Drain {
    /// A drain that never starts, for those who run without a `Shutdown`.
    pub fn never() -> Self {
        Shutdown::new(DrainSettings::default()).watch()
    }

    /// Whether the drain has started. Costs one atomic load.
    pub fn is_draining(&self) -> bool {
        self.state.started.get().is_some()
    }

    /// Waits until the drain starts. Cancel safe.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Whether the quiet period is over too: listeners refuse what still comes.
    pub fn is_closing(&self) -> bool {
        self.state.started.get().is_some_and(|started| started.closing <= Instant::now())
    }

    /// Waits until the quiet period is over. Cancel safe.
    pub async fn closing(&self) {
        let started = self.started().await;
        tokio::select! {
            () = sleep_until(started.closing) => {}
            () = self.reached(Phase::Aborted) => {}
        }
    }

    /// When the drain must be done; `None` while it has not started.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.started.get().map(|started| started.deadline)
    }

    /// Waits until the drain's deadline has passed or somebody lost patience. Cancel safe.
    pub async fn expired(&self) {
        let started = self.started().await;
        tokio::select! {
            () = sleep_until(started.deadline) => {}
            () = self.reached(Phase::Aborted) => {}
        }
    }

    async fn started(&self) -> Started {
        self.reached(Phase::Draining).await;
        *self.state.started.get().expect("drain() sets the times before the phase")
    }

    async fn reached(&self, least: Phase) {
        let mut phase = self.state.phase.subscribe();
        // The sender lives in the state that this handle holds, so the channel cannot close.
        let reached = phase.wait_for(|phase| *phase >= least).await.is_ok();
        debug_assert!(reached, "the channel closed below its own handle");
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn settings(quiet: u64, deadline: u64) -> DrainSettings {
        DrainSettings { quiet_period: Duration::from_secs(quiet), deadline: Duration::from_secs(deadline) }
    }

    /// IN-23
    #[tokio::test(start_paused = true)]
    async fn a_drain_is_quiet_first_and_expires_at_its_deadline() {
        let shutdown = Shutdown::new(settings(5, 20));
        let drain = shutdown.watch();
        assert!(!drain.is_draining());
        assert!(drain.draining().now_or_never().is_none());

        let signalled = Instant::now();
        shutdown.drain();
        drain.draining().await;
        assert!(drain.is_draining());
        assert!(!drain.is_closing());

        drain.closing().await;
        assert!(drain.is_closing());
        assert!(Instant::now() >= signalled + Duration::from_secs(5));
        assert!(drain.expired().now_or_never().is_none());

        drain.expired().await;
        assert!(Instant::now() >= signalled + Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_drains_and_the_second_aborts() {
        let shutdown = Shutdown::new(settings(5, 20));
        let drain = shutdown.watch();
        shutdown.signalled("SIGTERM");
        assert!(drain.is_draining());
        assert!(drain.expired().now_or_never().is_none());

        tokio::time::advance(SAME_SIGNAL).await;
        shutdown.signalled("SIGINT");
        assert!(drain.expired().now_or_never().is_some());
        assert!(drain.closing().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_that_comes_twice_at_once_is_one() {
        let shutdown = Shutdown::new(settings(0, 20));
        shutdown.signalled("SIGTERM");
        shutdown.signalled("SIGTERM");
        assert!(shutdown.watch().expired().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_drain_keeps_the_deadline_of_the_first() {
        let shutdown = Shutdown::new(settings(0, 20));
        shutdown.drain();
        let deadline = shutdown.watch().deadline();
        tokio::time::advance(Duration::from_secs(3)).await;
        shutdown.drain();
        assert_eq!(shutdown.watch().deadline(), deadline);
    }
}
