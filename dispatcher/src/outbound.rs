//! Attempts on their way: outlets say which may begin, short tasks carry them out.
//!
//! A task goes on with the next attempt that its end gives leave to, so there is at most one task per attempt and
//! under load far fewer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant as TokioInstant, sleep_until};
use trigon_core::cursor::Stage;
use trigon_core::delivery::Destination;
use trigon_core::name::PartitionId;
use trigon_core::routing::Broker;
use trigon_runtime::tasks::Spawner;

use crate::attempt::{Attempt, AttemptId, LaneId, Outcome};
use crate::outlet::{Feedback, LaneKey, Leave, Notice, Origin, OutletStatus, Outlets};
use crate::send::{Sender, unsendable};

/// An attempt with what it takes to carry it out and to report it.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) attempt: Attempt,
    pub(crate) broker: Arc<Broker>,
    pub(crate) partition: PartitionId,
    pub(crate) report: mpsc::Sender<Report>,
}

/// How an attempt ended.
pub(crate) type Report = (AttemptId, Outcome);

/// All attempts of the process that are queued or being sent.
pub(crate) struct Outbound {
    outlets: Mutex<Outlets<Errand>>,
    sender: Sender,
    spawner: Spawner,
    /// Tells [`run`](Self::run) that something is due earlier than it thinks.
    sooner: Notify,
}

impl Outbound {
    /// At most `most` attempts are being sent at once.
    pub(crate) fn new(most: usize, sender: Sender, spawner: Spawner) -> Arc<Self> {
        let outlets = Mutex::new(Outlets::new(most));
        Arc::new(Self { outlets, sender, spawner, sooner: Notify::new() })
    }

    /// Queues attempts of a run and begins those that may. Returns how those ended that cannot be sent at all.
    pub(crate) fn offer(self: &Arc<Self>, run: u64, errands: impl Iterator<Item = Errand>) -> Vec<Report> {
        let mut ended = Vec::new();
        let now = now();
        let mut outlets = self.outlets();
        let due = outlets.next_timeout();
        for errand in errands {
            let attempt = &errand.attempt;
            let Some(origin) = origin(&errand) else {
                let sent = unsendable(destination(attempt).unwrap_or(&attempt.trigger.subscriber));
                self.sender.metrics.attempt(attempt.stage, sent.end, std::time::Duration::ZERO);
                ended.push((attempt.id, sent.outcome));
                continue;
            };
            let rate = match attempt.stage {
                Stage::Subscriber => attempt.trigger.rate.map(|rate| (attempt.trigger.id.clone(), rate)),
                Stage::DeadLetter | Stage::Park => None,
            };
            let lane = LaneKey { run, lane: attempt.id.lane };
            outlets.offer(now, &origin, lane, rate, errand);
        }
        while let Some((leave, errand)) = outlets.next(now) {
            self.spawn(leave, errand);
        }
        self.tell_if_sooner(due, &outlets);
        ended
    }

    /// Takes back the attempts of lanes of a run that have not begun.
    pub(crate) fn withdraw(&self, run: u64, lanes: impl IntoIterator<Item = LaneId>) -> Vec<AttemptId> {
        let lanes: Vec<LaneKey> = lanes.into_iter().map(|lane| LaneKey { run, lane }).collect();
        if lanes.is_empty() {
            return Vec::new();
        }
        let errands = {
            let mut outlets = self.outlets();
            let due = outlets.next_timeout();
            let errands = outlets.withdraw(now(), &lanes);
            self.tell_if_sooner(due, &outlets);
            errands
        };
        errands.into_iter().map(|errand| errand.attempt.id).collect()
    }

    /// How every outlet stands.
    pub(crate) fn status(&self) -> Vec<OutletStatus> {
        self.outlets().status(now())
    }

    /// Attempts that are being sent.
    pub(crate) fn in_flight(&self) -> usize {
        self.outlets().in_flight()
    }

    /// Begins what becomes due by time: after a `Retry-After`, or by a Trigger's rate. Runs for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let due = self.outlets().next_timeout();
            match due {
                None => self.sooner.notified().await,
                Some(due) => tokio::select! {
                    () = self.sooner.notified() => {}
                    () = sleep_until(TokioInstant::from_std(due)) => {
                        let now = now();
                        let mut outlets = self.outlets();
                        while let Some((leave, errand)) = outlets.next(now) {
                            self.spawn(leave, errand);
                        }
                    }
                },
            }
        }
    }

    fn spawn(self: &Arc<Self>, leave: Leave, errand: Errand) {
        self.spawner.spawn(Arc::clone(self).work(leave, errand));
    }

    async fn work(self: Arc<Self>, mut leave: Leave, mut errand: Errand) {
        loop {
            let begun = now();
            let Errand { attempt, broker, partition, report } = &errand;
            let sent = self.sender.carry(attempt, broker, *partition).await;
            let ended = now();
            let took = ended.saturating_duration_since(begun);
            self.sender.metrics.attempt(attempt.stage, sent.end, took);
            if (attempt.stage, &sent.outcome) == (Stage::Subscriber, &Outcome::Done) {
                self.sender.metrics.delivered(attempt.accepted, self.sender.clock.now());
            }
            let next = self.finish(ended, &leave, sent.feedback, &errand, &sent.outcome);
            // The run may be over; then nobody wants to know.
            drop(report.send((attempt.id, sent.outcome)).await);
            match next {
                Some(next) => (leave, errand) = next,
                None => return,
            }
        }
    }

    /// Gives the leave back, and begins what that makes room for; one of it is for the caller.
    fn finish(
        self: &Arc<Self>,
        now: Instant,
        leave: &Leave,
        feedback: Feedback,
        errand: &Errand,
        outcome: &Outcome,
    ) -> Option<(Leave, Errand)> {
        let (next, notice) = {
            let mut outlets = self.outlets();
            let due = outlets.next_timeout();
            let notice = outlets.finished(now, leave, feedback);
            let next = outlets.next(now);
            if next.is_some() {
                while let Some((leave, errand)) = outlets.next(now) {
                    self.spawn(leave, errand);
                }
            }
            self.tell_if_sooner(due, &outlets);
            (next, notice)
        };
        if let Some(notice) = notice {
            tell(notice, errand, outcome);
        }
        next
    }

    fn tell_if_sooner(&self, before: Option<Instant>, outlets: &Outlets<Errand>) {
        let after = outlets.next_timeout();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sooner.notify_one();
        }
    }

    fn outlets(&self) -> MutexGuard<'_, Outlets<Errand>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that the machines are told; it stands still when a test has paused it.
pub(crate) fn now() -> Instant {
    TokioInstant::now().into_std()
}

fn destination(attempt: &Attempt) -> Option<&Destination> {
    match attempt.stage {
        Stage::Subscriber => Some(&attempt.trigger.subscriber),
        Stage::DeadLetter => attempt.trigger.delivery.dead_letter_sink.as_ref(),
        Stage::Park => None,
    }
}

fn origin(errand: &Errand) -> Option<Origin> {
    match errand.attempt.stage {
        Stage::Subscriber | Stage::DeadLetter => {
            destination(&errand.attempt)?.uri.as_ref().and_then(Origin::of)
        }
        Stage::Park => Some(Origin::Log(errand.broker.parked_topic.clone())),
    }
}

fn tell(notice: Notice, errand: &Errand, outcome: &Outcome) {
    let Some(origin) = origin(errand) else { return };
    let trigger = &errand.attempt.trigger.id;
    let reason = match outcome {
        Outcome::Failed(failure) => failure.reason.as_str(),
        Outcome::Done | Outcome::Withdrawn => "",
    };
    match notice {
        Notice::Failing { failures } => {
            tracing::warn!(%origin, %trigger, failures, reason, "attempts fail");
        }
        Notice::Recovered { failures } => {
            tracing::info!(%origin, %trigger, failures, "attempts succeed again");
        }
    }
}
