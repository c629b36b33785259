//! What comes after a failed attempt: another one, the dead letter sink, or the parked topic.
//!
//! An event always has a next step; there is none that drops it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trigon_core::cursor::{Progress, Stage};
use trigon_core::delivery::{Backoff, BackoffPolicy, DeliveryPolicy, Failure, Retry};

/// What to do with an event after a failed attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Try the same again after a wait.
    Wait(Duration),
    /// Go on to this stage at once.
    Advance(Stage),
}

/// The parked topic is the last resort: an append to it is tried until it succeeds.
const PARK_BACKOFF: Backoff =
    Backoff { policy: BackoffPolicy::Exponential, delay: Duration::from_millis(100) };

/// The longest wait between two attempts to park.
const PARK_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Decides after an attempt that failed; `progress` counts it already.
pub(super) fn after_failure(
    policy: &DeliveryPolicy,
    progress: Progress,
    failure: &Failure,
    jitter: f64,
) -> Step {
    match progress.stage {
        Stage::Park => Step::Wait(PARK_BACKOFF.wait(progress.attempts).min(PARK_BACKOFF_MAX)),
        // DLS-02: the dead letter sink is tried as often as the subscriber.
        Stage::Subscriber | Stage::DeadLetter
            if failure.retry == Retry::Useful && progress.attempts <= policy.retry =>
        {
            Step::Wait(policy.wait(progress.attempts, failure, jitter))
        }
        Stage::Subscriber => Step::Advance(after_subscriber(policy)),
        Stage::DeadLetter => Step::Advance(Stage::Park),
    }
}

/// Where an event really is to go next, should the policy have been edited since its last attempt.
pub(super) fn current_stage(policy: &DeliveryPolicy, progress: Progress) -> Stage {
    match progress.stage {
        Stage::Subscriber if progress.attempts > policy.retry => after_subscriber(policy),
        Stage::DeadLetter if policy.dead_letter_sink.is_none() || progress.attempts > policy.retry => {
            Stage::Park
        }
        stage => stage,
    }
}

fn after_subscriber(policy: &DeliveryPolicy) -> Stage {
    match policy.dead_letter_sink {
        Some(_) => Stage::DeadLetter,
        None => Stage::Park,
    }
}

/// The failure that the next stage gets: the subscriber's, in words with how often it was tried, and with the
/// dead letter sink's added.
pub(super) fn given_up(progress: Progress, before: Option<&Failure>, last: &Failure) -> Arc<Failure> {
    let times = match progress.attempts {
        1 => "1 attempt".to_owned(),
        attempts => format!("{attempts} attempts"),
    };
    let (reason, first) = match (progress.stage, before) {
        (Stage::Subscriber, _) | (_, None) => (format!("{} ({times})", last.reason), last),
        (Stage::DeadLetter | Stage::Park, Some(first)) => {
            (format!("{}; then the dead letter sink: {} ({times})", first.reason, last.reason), first)
        }
    };
    Arc::new(Failure { reason, ..first.clone() })
}

/// What is still known of a failure after a restart.
pub(super) fn remembered(progress: Progress) -> Arc<Failure> {
    let status = (progress.status != 0).then_some(progress.status);
    let reason = match status {
        Some(status) => format!("answered {status} before a restart"),
        None => "failed without an answer before a restart".to_owned(),
    };
    Arc::new(Failure {
        reason,
        status,
        body: Bytes::new(),
        extensions: Vec::new(),
        retry: Retry::Useless,
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use trigon_core::delivery::{DEFAULT_TIMEOUT, Destination, Format, RetryAfter};

    use super::*;

    fn policy(retry: u32, sink: Option<&str>) -> DeliveryPolicy {
        DeliveryPolicy {
            retry,
            backoff: Some(Backoff { policy: BackoffPolicy::Linear, delay: Duration::from_secs(1) }),
            timeout: DEFAULT_TIMEOUT,
            retry_after: RetryAfter::Ignore,
            format: Format::Binary,
            dead_letter_sink: sink.map(|uri| Destination { text: uri.to_owned(), uri: uri.parse().ok() }),
        }
    }

    fn failure(retry: Retry) -> Failure {
        Failure { retry, reason: "answered 500".into(), ..Failure::clone(&remembered(Progress::default())) }
    }

    fn progress(stage: Stage, attempts: u32) -> Progress {
        Progress { stage, attempts, status: 0 }
    }

    /// DLV-15, DLV-16: 1 + retry attempts in all.
    #[test]
    fn an_event_is_tried_once_and_then_retry_times() {
        let (policy, failure) = (policy(2, None), failure(Retry::Useful));
        let after = |attempts| after_failure(&policy, progress(Stage::Subscriber, attempts), &failure, 0.0);
        assert_eq!(after(1), Step::Wait(Duration::from_secs(1)));
        assert_eq!(after(2), Step::Wait(Duration::from_secs(2)));
        assert_eq!(after(3), Step::Advance(Stage::Park));
    }

    /// DLS-01, DLS-02, DLV-12
    #[test]
    fn the_dead_letter_sink_comes_next_with_retries_of_its_own_and_then_the_parked_topic() {
        let policy = policy(1, Some("http://sink/"));
        let useless = failure(Retry::Useless);
        let useful = failure(Retry::Useful);
        let after =
            |stage, attempts, failure| after_failure(&policy, progress(stage, attempts), failure, 0.0);
        assert_eq!(after(Stage::Subscriber, 1, &useless), Step::Advance(Stage::DeadLetter));
        assert_eq!(after(Stage::DeadLetter, 1, &useful), Step::Wait(Duration::from_secs(1)));
        assert_eq!(after(Stage::DeadLetter, 2, &useful), Step::Advance(Stage::Park));
        assert_eq!(after(Stage::DeadLetter, 1, &useless), Step::Advance(Stage::Park));
    }

    #[test]
    fn a_parked_event_says_who_refused_it_and_how_often() {
        let subscriber = given_up(progress(Stage::Subscriber, 4), None, &failure(Retry::Useful));
        assert_eq!(subscriber.reason, "answered 500 (4 attempts)");
        let gone = Failure { status: Some(410), reason: "answered 410".into(), ..failure(Retry::Useless) };
        let both = given_up(progress(Stage::DeadLetter, 1), Some(&subscriber), &gone);
        assert_eq!(
            both.reason,
            "answered 500 (4 attempts); then the dead letter sink: answered 410 (1 attempt)"
        );
        assert_eq!(both.status, subscriber.status);
    }

    #[test]
    fn parking_is_tried_for_ever_with_a_bounded_wait() {
        for attempts in [1, 2, 10, u32::MAX] {
            let step = after_failure(
                &policy(0, None),
                progress(Stage::Park, attempts),
                &failure(Retry::Useless),
                0.0,
            );
            let Step::Wait(wait) = step else { panic!("{step:?}") };
            assert!(wait <= PARK_BACKOFF_MAX);
        }
    }

    #[test]
    fn an_edited_policy_holds_for_events_that_wait() {
        assert_eq!(current_stage(&policy(5, None), progress(Stage::Subscriber, 3)), Stage::Subscriber);
        assert_eq!(current_stage(&policy(1, None), progress(Stage::Subscriber, 3)), Stage::Park);
        assert_eq!(
            current_stage(&policy(1, Some("http://s/")), progress(Stage::Subscriber, 2)),
            Stage::DeadLetter
        );
        assert_eq!(current_stage(&policy(5, None), progress(Stage::DeadLetter, 1)), Stage::Park);
    }
}
