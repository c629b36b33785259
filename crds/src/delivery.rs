//! `spec.delivery`, read into a policy.

use std::time::Duration;

use trigon_core::delivery::{
    Backoff, BackoffPolicy, DEFAULT_RETRY_AFTER_MAX, DEFAULT_TIMEOUT, DeliveryPolicy, Format, RetryAfter,
};

use crate::api::DeliverySpec;
use crate::destination::{self, Resolve};
use crate::duration;
use crate::path::Path;
use crate::problem::Findings;

/// Reads a delivery; what is wrong is noted and counts as absent. No delivery and an empty one are the same:
/// neither sets an option.
pub(crate) fn compile(
    spec: Option<&DeliverySpec>,
    path: &Path,
    resolve: Resolve<'_>,
    findings: &mut Findings,
) -> Option<DeliveryPolicy> {
    let spec = spec.filter(|spec| **spec != DeliverySpec::default())?;
    let retry = match spec.retry.unwrap_or(0) {
        negative @ ..0 => {
            findings.refuse(&path.name("retry"), format!("{negative} is negative; write 0 or more"));
            0
        }
        retry => retry.unsigned_abs(),
    };
    let policy = one_of(
        spec.backoff_policy.as_deref(),
        [("linear", BackoffPolicy::Linear), ("exponential", BackoffPolicy::Exponential)],
        &path.name("backoffPolicy"),
        findings,
    );
    let delay = read_duration(spec.backoff_delay.as_deref(), &path.name("backoffDelay"), findings);
    let timeout = read_duration(spec.timeout.as_deref(), &path.name("timeout"), findings);
    if timeout == Some(Duration::ZERO) {
        // VAL-13
        findings.refuse(&path.name("timeout"), "leaves no time for a request; write more than zero");
    }
    let retry_after = read_duration(spec.retry_after_max.as_deref(), &path.name("retryAfterMax"), findings);
    let format = one_of(
        spec.format.as_deref(),
        [("binary", Format::Binary), ("json", Format::Json)],
        &path.name("format"),
        findings,
    );
    let sink = spec.dead_letter_sink.as_ref();
    Some(DeliveryPolicy {
        retry,
        // DLV-20
        backoff: policy.zip(delay).map(|(policy, delay)| Backoff { policy, delay }),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        retry_after: match retry_after {
            None => RetryAfter::UpTo(DEFAULT_RETRY_AFTER_MAX),
            Some(Duration::ZERO) => RetryAfter::Ignore,
            Some(most) => RetryAfter::UpTo(most),
        },
        format: format.unwrap_or_default(),
        dead_letter_sink: sink
            .and_then(|sink| destination::compile(sink, &path.name("deadLetterSink"), resolve, findings)),
    })
}

/// The delivery of a Trigger: its own as a whole or else its Broker's, except that a missing dead letter sink is
/// its Broker's (DLV-25, X-02). Without either there is one attempt (DLV-26).
pub(crate) fn effective(own: Option<DeliveryPolicy>, of_broker: Option<&DeliveryPolicy>) -> DeliveryPolicy {
    let Some(mut policy) = own else { return of_broker.cloned().unwrap_or_else(one_attempt) };
    if policy.dead_letter_sink.is_none() {
        policy.dead_letter_sink = of_broker.and_then(|broker| broker.dead_letter_sink.clone());
    }
    policy
}

fn one_attempt() -> DeliveryPolicy {
    DeliveryPolicy {
        retry: 0,
        backoff: None,
        timeout: DEFAULT_TIMEOUT,
        retry_after: RetryAfter::UpTo(DEFAULT_RETRY_AFTER_MAX),
        format: Format::Binary,
        dead_letter_sink: None,
    }
}

fn one_of<T: Copy>(
    text: Option<&str>,
    [a, b]: [(&str, T); 2],
    path: &Path,
    findings: &mut Findings,
) -> Option<T> {
    let text = text?;
    if let Some((_, value)) = [a, b].into_iter().find(|(name, _)| *name == text) {
        return Some(value);
    }
    findings.refuse(path, format!("{text:?} is not known; write {} or {}", a.0, b.0));
    None
}

fn read_duration(text: Option<&str>, path: &Path, findings: &mut Findings) -> Option<Duration> {
    match duration::parse(text?) {
        Ok(duration) => Some(duration),
        Err(error) => {
            findings.refuse(path, error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Destination;
    use crate::destination::uris_only;

    fn compiled(spec: &DeliverySpec) -> Result<DeliveryPolicy, Vec<String>> {
        let mut findings = Findings::default();
        let policy = compile(Some(spec), &Path::of(&["d"]), &uris_only, &mut findings);
        let messages: Vec<_> = findings.into_iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
        if messages.is_empty() { Ok(policy.unwrap_or_else(one_attempt)) } else { Err(messages) }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn all_options_are_read() {
        let policy = compiled(&DeliverySpec {
            dead_letter_sink: Some(Destination {
                uri: text("http://127.0.0.1:1/"),
                ..Destination::default()
            }),
            retry: Some(5),
            timeout: text("PT3S"),
            backoff_policy: text("exponential"),
            backoff_delay: text("PT0.05S"),
            retry_after_max: text("PT1M"),
            format: text("json"),
        })
        .unwrap();
        assert_eq!(policy.retry, 5);
        assert_eq!(policy.timeout, Duration::from_secs(3));
        let delay = Duration::from_millis(50);
        assert_eq!(policy.backoff, Some(Backoff { policy: BackoffPolicy::Exponential, delay }));
        assert_eq!(policy.retry_after, RetryAfter::UpTo(Duration::from_secs(60)));
        assert_eq!(policy.format, Format::Json);
        assert_eq!(policy.dead_letter_sink.unwrap().text, "http://127.0.0.1:1/");
    }

    /// DLV-20
    #[test]
    fn backoff_needs_both_policy_and_delay() {
        let policy = DeliverySpec { backoff_policy: text("linear"), ..DeliverySpec::default() };
        assert_eq!(compiled(&policy).unwrap().backoff, None);
        let delay = DeliverySpec { backoff_delay: text("PT1S"), ..DeliverySpec::default() };
        assert_eq!(compiled(&delay).unwrap().backoff, None);
    }

    /// DLV-15, DLV-22, DLV-26
    #[test]
    fn absent_options_have_their_defaults() {
        let policy = compiled(&DeliverySpec { retry: Some(0), ..DeliverySpec::default() }).unwrap();
        assert_eq!(policy, one_attempt());
        assert_eq!(policy.timeout, Duration::from_secs(600));
    }

    /// VAL-14, DLV-23, X-21
    #[test]
    fn a_retry_after_max_of_zero_ignores_the_header() {
        let spec = DeliverySpec { retry_after_max: text("PT0S"), ..DeliverySpec::default() };
        assert_eq!(compiled(&spec).unwrap().retry_after, RetryAfter::Ignore);
    }

    /// VAL-10, VAL-11, VAL-12, VAL-13, VAL-14, VAL-15
    #[test]
    fn everything_wrong_is_reported_together() {
        let problems = compiled(&DeliverySpec {
            dead_letter_sink: Some(Destination::default()),
            retry: Some(-1),
            timeout: text("PT0S"),
            backoff_policy: text("Linear"),
            backoff_delay: text("-PT1S"),
            retry_after_max: text("30s"),
            format: text("JSON"),
        })
        .unwrap_err();
        let fields: Vec<_> = problems.iter().map(|p| p.split(':').next().unwrap_or_default()).collect();
        assert_eq!(
            fields,
            [
                "d.retry",
                "d.backoffPolicy",
                "d.backoffDelay",
                "d.timeout",
                "d.retryAfterMax",
                "d.format",
                "d.deadLetterSink"
            ]
        );
        assert_eq!(problems[4], "d.retryAfterMax: \"30s\" is not an ISO-8601 duration; write \"PT30S\"");
    }
}
