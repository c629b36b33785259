//! What the ingress answers: the one place where a reason becomes a status, headers and a text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use trigon_core::binding::http::DecodeError;
use trigon_core::name::BrokerId;
use trigon_core::ttl::TtlExhausted;
use trigon_eventlog::AppendError;

use crate::encoding::{CODINGS, UnknownCoding};
use crate::path::PathError;
use crate::settings::WebhookConsent;

/// An answer of the ingress.
pub type Answer = Response<Full<Bytes>>;

/// Why nothing was stored, as far as is known.
#[derive(Debug)]
pub enum Refusal {
    /// Neither POST nor OPTIONS.
    Method(WebhookConsent),
    /// The path names no Broker.
    Path(PathError),
    /// There is no such Broker.
    UnknownBroker(BrokerId),
    /// The Broker takes no events yet, for this reason.
    Waiting(BrokerId, Arc<str>),
    /// The process is stopping.
    Draining,
    /// As many requests are in flight as may be.
    TooManyRequests,
    /// As many bytes of bodies are in flight as may be.
    TooManyBytes,
    /// The body is larger than this many bytes.
    BodyTooLarge(usize),
    /// The body inflates to more than this many bytes.
    InflatedTooLarge(usize),
    /// The body did not arrive in time.
    BodyTimeout(Duration),
    /// The body broke off.
    BodyBroken(String),
    /// The body is encoded in a way that is not taken.
    Coding(UnknownCoding),
    /// The body is not encoded as its header says.
    Corrupt(String),
    /// The body is not an event, or none that is valid.
    Event(DecodeError),
    /// The batch holds more events than may be.
    BatchTooLong {
        /// How many there are.
        events: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The headers that travel with each event of the batch are more than this many bytes in all.
    BatchHeadersTooLarge(usize),
    /// The event went around too often.
    Ttl(TtlExhausted, Option<InBatch>),
    /// The log did not take it.
    Append(AppendError),
}

/// Which event of a batch is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InBatch {
    /// Its place, from 0.
    pub index: usize,
    /// Its `id`.
    pub id: String,
}

/// When to try again after being shed: the next moment may do.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// When to try again after the log failed or filled up: somebody has to do something first.
const RETRY_LATER: Duration = Duration::from_secs(10);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const POST: HeaderValue = HeaderValue::from_static("POST");
const POST_AND_OPTIONS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// 202 without a body (IN-05).
pub fn accepted() -> Answer {
    with_status(StatusCode::ACCEPTED, Bytes::new())
}

/// 200 with the consent to any sender at any rate (IN-09, WH-07, WH-09).
pub fn consent() -> Answer {
    const ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
    const RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");
    let mut answer = with_status(StatusCode::OK, Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(ALLOW, POST_AND_OPTIONS);
    headers.insert(ORIGIN, ANY);
    headers.insert(RATE, ANY);
    answer
}

/// The answer to a probe; a hash comes back as it was sent (IN-22).
pub fn probe(status: StatusCode, hash: Option<HeaderValue>) -> Answer {
    let mut answer = with_status(status, Bytes::new());
    if let Some(hash) = hash {
        answer.headers_mut().insert(PROBE_HASH, hash);
    }
    answer
}

/// The header by which a prober recognises the answer to its own request.
pub const PROBE_HASH: HeaderName = HeaderName::from_static("k-network-hash");

impl Refusal {
    /// Every value of [`reason`](Self::reason).
    pub const REASONS: [&'static str; 20] = [
        "method",
        "path",
        "unknown_broker",
        "waiting_broker",
        "draining",
        "too_many_requests",
        "too_many_bytes",
        "body_too_large",
        "body_timeout",
        "body_broken",
        "encoding",
        "format",
        "invalid_event",
        "batch_too_long",
        "ttl",
        "event_too_large",
        "log_busy",
        "log_full",
        "log_unavailable",
        "log_failed",
    ];

    /// The value of the metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Method(_) => "method",
            Self::Path(_) => "path",
            Self::UnknownBroker(_) => "unknown_broker",
            Self::Waiting(..) => "waiting_broker",
            Self::Draining => "draining",
            Self::TooManyRequests => "too_many_requests",
            Self::TooManyBytes => "too_many_bytes",
            Self::BodyTooLarge(_) | Self::InflatedTooLarge(_) => "body_too_large",
            Self::BodyTimeout(_) => "body_timeout",
            Self::BodyBroken(_) => "body_broken",
            Self::Coding(_) | Self::Corrupt(_) => "encoding",
            Self::Event(DecodeError::UnsupportedFormat { .. }) => "format",
            Self::Event(
                DecodeError::NotAnEvent
                | DecodeError::Invalid(_)
                | DecodeError::Malformed(_)
                | DecodeError::InBatch(_),
            ) => "invalid_event",
            Self::BatchTooLong { .. } | Self::BatchHeadersTooLarge(_) => "batch_too_long",
            Self::Ttl(..) => "ttl",
            Self::Append(AppendError::TooLarge { .. }) => "event_too_large",
            Self::Append(AppendError::Busy) => "log_busy",
            Self::Append(AppendError::NoSpace) => "log_full",
            Self::Append(AppendError::Unavailable(_)) => "log_unavailable",
            Self::Append(AppendError::UnknownTopic(_) | AppendError::Failed(_)) => "log_failed",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            // A sender retries 404, on purpose: the Broker may be about to be there (IN-12).
            Self::Path(PathError::Root) | Self::UnknownBroker(_) => StatusCode::NOT_FOUND,
            Self::TooManyRequests | Self::TooManyBytes => StatusCode::TOO_MANY_REQUESTS,
            Self::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge(_)
            | Self::InflatedTooLarge(_)
            | Self::BatchTooLong { .. }
            | Self::BatchHeadersTooLarge(_)
            | Self::Append(AppendError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Coding(_) | Self::Event(DecodeError::UnsupportedFormat { .. }) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Path(PathError::Malformed)
            | Self::BodyBroken(_)
            | Self::Corrupt(_)
            | Self::Event(
                DecodeError::NotAnEvent
                | DecodeError::Invalid(_)
                | DecodeError::Malformed(_)
                | DecodeError::InBatch(_),
            )
            | Self::Ttl(..) => StatusCode::BAD_REQUEST,
            // Never 4xx: that would tell the sender to throw the event away (IN-13).
            Self::Draining
            | Self::Waiting(..)
            | Self::Append(
                AppendError::UnknownTopic(_)
                | AppendError::Busy
                | AppendError::NoSpace
                | AppendError::Unavailable(_)
                | AppendError::Failed(_),
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The header that tells the sender what to do next.
    fn advice(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Method(WebhookConsent::Everyone) => Some((ALLOW, POST_AND_OPTIONS)),
            Self::Method(WebhookConsent::Nobody) => Some((ALLOW, POST)),
            Self::Coding(_) => Some((ACCEPT_ENCODING, HeaderValue::from_static(CODINGS))),
            Self::Draining
            | Self::Waiting(..)
            | Self::TooManyRequests
            | Self::TooManyBytes
            | Self::Append(AppendError::UnknownTopic(_) | AppendError::Busy) => {
                Some((RETRY_AFTER, RETRY_SOON.as_secs().into()))
            }
            Self::Append(AppendError::NoSpace | AppendError::Unavailable(_) | AppendError::Failed(_)) => {
                Some((RETRY_AFTER, RETRY_LATER.as_secs().into()))
            }
            Self::Path(_)
            | Self::UnknownBroker(_)
            | Self::BodyTooLarge(_)
            | Self::InflatedTooLarge(_)
            | Self::BodyTimeout(_)
            | Self::BodyBroken(_)
            | Self::Corrupt(_)
            | Self::Event(_)
            | Self::BatchTooLong { .. }
            | Self::BatchHeadersTooLarge(_)
            | Self::Ttl(..)
            | Self::Append(AppendError::TooLarge { .. }) => None,
        }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        let mut answer = with_status(refusal.status(), format!("{refusal}\n").into());
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, TEXT);
        headers.extend(refusal.advice());
        answer
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(_) => f.write_str("send events with POST"),
            Self::Path(PathError::Root) => f.write_str("send events to /NAMESPACE/BROKER"),
            Self::Path(PathError::Malformed) => f.write_str("the path is not of the form /NAMESPACE/BROKER"),
            Self::UnknownBroker(broker) => {
                write!(f, "broker {broker} does not exist; the admin address lists those that do")
            }
            Self::Waiting(broker, reason) => {
                write!(f, "broker {broker} takes no events yet: {reason}; send the event again")
            }
            Self::Draining => f.write_str("this process is stopping, send the event again"),
            Self::TooManyRequests => f.write_str("too many requests are in flight, send the event again"),
            Self::TooManyBytes => f.write_str("too many bytes are in flight, send the event again"),
            Self::BodyTooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::InflatedTooLarge(limit) => write!(f, "the body inflates to more than {limit} bytes"),
            Self::BodyTimeout(limit) => write!(f, "the body did not arrive within {limit:?}"),
            Self::BodyBroken(error) => write!(f, "the body could not be read: {error}"),
            Self::Coding(UnknownCoding(coding)) => {
                write!(f, "content-encoding {coding:?} is not taken, use one of: {CODINGS}")
            }
            Self::Corrupt(error) => write!(f, "the body is not encoded as content-encoding says: {error}"),
            Self::Event(error) => error.fmt(f),
            Self::BatchTooLong { events, limit } => {
                write!(f, "the batch has {events} events, more than {limit}; no event of it was taken")
            }
            Self::BatchHeadersTooLarge(limit) => write!(
                f,
                "the request's headers that travel with each event of the batch come to more than {limit} bytes in \
                 all, send fewer events at once; no event of it was taken"
            ),
            Self::Ttl(error, None) => error.fmt(f),
            Self::Ttl(error, Some(InBatch { index, id })) => {
                write!(f, "event {index} (id {id:?}): {error}; no event of the batch was taken")
            }
            Self::Append(error @ AppendError::Failed(_)) => {
                write!(f, "{error}; it may have been stored all the same, send it again")
            }
            Self::Append(
                error @ (AppendError::UnknownTopic(_)
                | AppendError::TooLarge { .. }
                | AppendError::Busy
                | AppendError::Unavailable(_)
                | AppendError::NoSpace),
            ) => error.fmt(f),
        }
    }
}

fn with_status(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}
