//! Carries one attempt out and says how it ended.
//!
//! A request is limited in time, connecting and the answer's body included. Redirects are not followed and
//! nothing is sent twice (DLV-10, X-25). A reply is durable before its event counts as delivered (RPL-01).

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use trigon_core::binding::http as binding;
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::cursor::Stage;
use trigon_core::dead_letter;
use trigon_core::delivery::{
    DEFAULT_RETRY_AFTER_MAX, Destination, Failure, Format, MAX_ERROR_DATA, Retry, RetryAfter, Verdict,
    verdict,
};
use trigon_core::event::Event;
use trigon_core::name::PartitionId;
use trigon_core::routing::Broker;
use trigon_core::ttl;
use trigon_eventlog::SharedLog;
use trigon_runtime::body::{BodyError, read_all, read_prefix};
use trigon_runtime::http_client::HttpClient;

use crate::attempt::{Attempt, Outcome};
use crate::clock::Clock;
use crate::metrics::{AttemptEnd, Metrics, ReplyEnd};
use crate::outlet::Feedback;
use crate::parked;

/// The rest of an answer is read to keep its connection only if it is no longer than this many bytes.
const DRAIN_MAX: usize = 16 << 10;

/// The rest of an answer is waited for no longer than this: its status has said everything.
const DRAIN_WAIT: Duration = Duration::from_secs(1);

/// What attempts are carried out with.
pub(crate) struct Sender {
    pub(crate) client: HttpClient,
    pub(crate) log: SharedLog,
    pub(crate) clock: Clock,
    /// The largest reply in bytes.
    pub(crate) reply_limit: usize,
    pub(crate) metrics: Metrics,
}

/// How an attempt ended, and what that says about its origin.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    pub(crate) feedback: Feedback,
    pub(crate) end: AttemptEnd,
}

impl Sender {
    /// Not cancel safe: a cancelled attempt may have been delivered.
    pub(crate) async fn carry(&self, attempt: &Attempt, broker: &Broker, partition: PartitionId) -> Sent {
        match attempt.stage {
            Stage::Subscriber => self.deliver(attempt, broker).await,
            Stage::DeadLetter => self.dead_letter(attempt).await,
            Stage::Park => self.park(attempt, broker, partition).await,
        }
    }

    async fn deliver(&self, attempt: &Attempt, broker: &Broker) -> Sent {
        const PREFER: HeaderName = HeaderName::from_static("prefer");
        let trigger = &attempt.trigger;
        let Some(uri) = &trigger.subscriber.uri else { return unsendable(&trigger.subscriber) };
        let (event, hops) = ttl::strip(attempt.envelope.event.clone());
        let mut request = request(uri, &event, trigger.delivery.format, attempt);
        request.headers_mut().insert(PREFER, HeaderValue::from_static("reply"));
        let deadline = Instant::now() + trigger.delivery.timeout;
        let answer = match self.exchange(request, deadline, trigger.delivery.timeout).await {
            Ok(answer) => answer,
            Err(sent) => return sent,
        };
        let status = answer.status().as_u16();
        match verdict(status) {
            Verdict::Failed(retry) => self.refused(answer, retry, attempt, deadline).await,
            Verdict::DeliveredWithoutReply => {
                discard(answer.into_body(), deadline).await;
                Sent::taken()
            }
            Verdict::Delivered => {
                let (head, body) = answer.into_parts();
                let body = match timeout_at(deadline, read_all(body, self.reply_limit)).await {
                    Ok(Ok(body)) => body,
                    Ok(Err(BodyError::TooLarge { limit })) => {
                        let reason = format!("answered {status} with a body of more than {limit} bytes");
                        return self.bad_reply(status, reason, Bytes::new());
                    }
                    Ok(Err(BodyError::Broken(error))) => return Sent::broken(&error),
                    Err(_) => return Sent::timed_out(trigger.delivery.timeout),
                };
                match binding::decode_reply(&head.headers, body.clone()) {
                    Ok(None) => Sent::taken(),
                    Ok(Some(reply)) => self.reply(reply, &head.headers, hops, broker).await,
                    // RPL-05, RPL-06, RPL-07, RPL-12, X-05
                    Err(error) => {
                        let reason = format!("answered {status} with a body that is not a reply: {error}");
                        self.bad_reply(status, reason, body)
                    }
                }
            }
        }
    }

    /// Puts a reply into the Broker's topic.
    async fn reply(&self, reply: Event, headers: &HeaderMap, hops: Option<u32>, broker: &Broker) -> Sent {
        let reply = match ttl::admit_reply(reply, hops) {
            Ok(reply) => reply,
            // the loop ends here, and nothing is wrong with the event before it.
            Err(exhausted) => {
                self.metrics.reply(ReplyEnd::Exhausted);
                tracing::debug!(broker = %broker.id, %exhausted, "reply dropped");
                return Sent::taken();
            }
        };
        let envelope = Envelope {
            event: reply,
            passed_through: binding::passed_through(headers),
            audience: Audience::Matching,
        };
        let record = envelope.encode(self.clock.now());
        match self.log.append(&broker.topic, vec![record]).await {
            Ok(_) => {
                self.metrics.reply(ReplyEnd::Accepted);
                Sent::taken()
            }
            // RPL-08: the subscriber gets the event again, and replies again.
            Err(error) => {
                self.metrics.reply(ReplyEnd::NotStored);
                Sent {
                    outcome: failed(format!("the reply could not be stored: {error}"), Retry::Useful),
                    feedback: Feedback::Refused,
                    end: AttemptEnd::Log,
                }
            }
        }
    }

    fn bad_reply(&self, status: u16, reason: String, mut body: Bytes) -> Sent {
        self.metrics.reply(ReplyEnd::Malformed);
        body.truncate(MAX_ERROR_DATA);
        let failure = Failure {
            reason,
            status: Some(status),
            body: Bytes::copy_from_slice(&body),
            extensions: Vec::new(),
            retry: Retry::Useful,
            retry_after: None,
        };
        Sent {
            outcome: Outcome::Failed(failure.into()),
            feedback: Feedback::Refused,
            end: AttemptEnd::BadReply,
        }
    }

    /// DLV-06, RPL-13: no reply is asked for, and none is looked at.
    async fn dead_letter(&self, attempt: &Attempt) -> Sent {
        let trigger = &attempt.trigger;
        let Some(sink) = &trigger.delivery.dead_letter_sink else {
            return Sent {
                outcome: failed("the Trigger has no dead letter sink".into(), Retry::Useless),
                feedback: Feedback::Refused,
                end: AttemptEnd::Unsendable,
            };
        };
        let Some(uri) = &sink.uri else { return unsendable(sink) };
        let (event, _) = ttl::strip(with_error(attempt));
        let request = request(uri, &event, Format::Binary, attempt);
        let deadline = Instant::now() + trigger.delivery.timeout;
        let answer = match self.exchange(request, deadline, trigger.delivery.timeout).await {
            Ok(answer) => answer,
            Err(sent) => return sent,
        };
        match verdict(answer.status().as_u16()) {
            Verdict::Failed(retry) => self.refused(answer, retry, attempt, deadline).await,
            Verdict::Delivered | Verdict::DeliveredWithoutReply => {
                discard(answer.into_body(), deadline).await;
                Sent::taken()
            }
        }
    }

    async fn park(&self, attempt: &Attempt, broker: &Broker, partition: PartitionId) -> Sent {
        let record = parked::record(attempt, &with_error(attempt), partition, self.clock.now());
        match self.log.append(&broker.parked_topic, vec![record]).await {
            Ok(_) => Sent::taken(),
            Err(error) => Sent {
                outcome: failed(format!("could not be parked: {error}"), Retry::Useful),
                feedback: Feedback::Congested { gate: None },
                end: AttemptEnd::Log,
            },
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Response<Incoming>, Sent> {
        match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Sent::broken(&error)),
            Err(_) => Err(Sent::timed_out(timeout)),
        }
    }

    async fn refused(
        &self,
        answer: Response<Incoming>,
        retry: Retry,
        attempt: &Attempt,
        deadline: Instant,
    ) -> Sent {
        let (head, mut body) = answer.into_parts();
        let status = head.status.as_u16();
        let beginning = match timeout_at(deadline, read_prefix(&mut body, MAX_ERROR_DATA)).await {
            Ok(Ok(prefix)) => {
                if !prefix.complete {
                    discard(body, deadline).await;
                }
                // A copy, because the bytes may be a small part of a large buffer that would stay with them.
                Bytes::copy_from_slice(&prefix.bytes)
            }
            // The status has been read, and counts.
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let retry_after = retry_after(&head.headers, &self.clock);
        let feedback = match (status, attempt.trigger.delivery.retry_after) {
            (429 | 503, RetryAfter::UpTo(most)) => {
                let most = most.min(DEFAULT_RETRY_AFTER_MAX);
                Feedback::Congested { gate: retry_after.map(|asked| asked.min(most)) }
            }
            (429 | 503, RetryAfter::Ignore) => Feedback::Congested { gate: None },
            _ => Feedback::Refused,
        };
        let failure = Failure {
            reason: format!("answered {status}"),
            status: Some(status),
            body: beginning,
            extensions: error_extensions(&head.headers),
            retry,
            retry_after,
        };
        let end = AttemptEnd::of_status(status);
        Sent { outcome: Outcome::Failed(failure.into()), feedback, end }
    }
}

impl Sent {
    fn taken() -> Self {
        Self { outcome: Outcome::Done, feedback: Feedback::Took, end: AttemptEnd::Taken }
    }

    fn broken(error: &(dyn Error + 'static)) -> Self {
        Self {
            outcome: failed(innermost(error), Retry::Useful),
            feedback: Feedback::Congested { gate: None },
            end: AttemptEnd::Transport,
        }
    }

    fn timed_out(after: Duration) -> Self {
        Self {
            outcome: failed(format!("timed out after {after:?}"), Retry::Useful),
            feedback: Feedback::Congested { gate: None },
            end: AttemptEnd::Timeout,
        }
    }
}

/// What is sent to a destination that HTTP cannot reach: a transport error at every attempt (DLS-11, RES-15).
pub(crate) fn unsendable(destination: &Destination) -> Sent {
    Sent {
        outcome: failed(format!("{} is not an http or https address", destination.text), Retry::Useful),
        feedback: Feedback::Refused,
        end: AttemptEnd::Unsendable,
    }
}

fn failed(reason: String, retry: Retry) -> Outcome {
    let failure = Failure {
        reason,
        status: None,
        body: Bytes::new(),
        extensions: Vec::new(),
        retry,
        retry_after: None,
    };
    Outcome::Failed(failure.into())
}

fn with_error(attempt: &Attempt) -> Event {
    let event = &attempt.envelope.event;
    match &attempt.failure {
        Some(failure) => dead_letter::with_error(event, &attempt.trigger.subscriber, failure),
        None => event.clone(),
    }
}

fn request(uri: &Uri, event: &Event, format: Format, attempt: &Attempt) -> Request<Full<Bytes>> {
    const KN_NAMESPACE: HeaderName = HeaderName::from_static("kn-namespace");
    let (mut headers, body) = binding::encode(event, format);
    for (name, value) in &attempt.envelope.passed_through {
        if let Some((name, value)) = header(name, value) {
            headers.append(name, value);
        }
    }
    if let Ok(namespace) = HeaderValue::from_str(&attempt.trigger.id.namespace) {
        headers.insert(KN_NAMESPACE, namespace);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    request
}

fn header(name: &ByteString, value: &Bytes) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some((name, HeaderValue::from_maybe_shared(value.clone()).ok()?))
}

/// Reads the rest of an answer if it is short, so that its connection can be used again.
async fn discard(mut body: Incoming, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + DRAIN_WAIT);
    let mut room = DRAIN_MAX;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let Some(left) = room.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        room = left;
    }
}

fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(clock.now().0).unwrap_or(0));
    Some(at.saturating_sub(now))
}

/// DLS-08
fn error_extensions(headers: &HeaderMap) -> Vec<(String, String)> {
    let extension = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str().strip_prefix("kne-")?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(extension).collect()
}

/// The cause that says most: "Connection refused (os error 111)" rather than "client error".
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use trigon_core::record::Timestamp;

    use super::*;

    fn asked(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        // Sun, 06 Nov 1994 08:49:37 GMT
        retry_after(&headers, &Clock::new(|| Timestamp(784_111_777_000)))
    }

    /// DLV-23, TST-64
    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:07 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Sunday, 06-Nov-94 08:49:38 GMT"), Some(Duration::from_secs(1)));
        for invalid in ["", "-1", "1.5", "soon", "99999999999999999999999", "Sun, 06 Nov"] {
            assert_eq!(asked(invalid), None, "{invalid:?}");
        }
    }

    /// DLS-08
    #[test]
    fn kne_headers_become_extensions_by_the_rest_of_their_name() {
        let mut headers = HeaderMap::new();
        headers.insert("KNE-Reason", HeaderValue::from_static("full"));
        headers.insert("x-other", HeaderValue::from_static("no"));
        headers.insert("kne-bytes", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(error_extensions(&headers), [("reason".to_owned(), "full".to_owned())]);
    }
}
