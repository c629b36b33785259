//! The service: from a request to a durable event, or to a refusal.
//!
//! The order of checks is method, path, Broker, bounds, body, event, TTL, append (IN-14). Everything that has
//! to happen once the append has begun (the count, giving back the bounds) happens even when the
//! producer leaves.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body::Body;
use tokio::time::timeout;
use tower::Service;
use trigon_core::binding::http::{Incoming, decode, passed_through};
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::name::BrokerId;
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::Broker;
use trigon_core::ttl;
use trigon_eventlog::{AppendError, SharedLog};
use trigon_runtime::body::{BodyError, read_all};
use trigon_runtime::metrics::Metrics;
use trigon_runtime::shutdown::Drain;
use trigon_runtime::tasks::Spawner;

use crate::answer::{self, Answer, InBatch, PROBE_HASH, Refusal};
use crate::bounds::{Bound, Share};
use crate::encoding::{Coding, InflateError, coding_of, inflate};
use crate::metrics::IngressMetrics;
use crate::path::broker_of;
use crate::served::{Served, Waiting};
use crate::settings::{IngressSettings, WebhookConsent};

/// Takes events for the Brokers that are served. Cloning shares everything.
#[derive(Clone)]
pub struct Ingress {
    shared: Arc<Shared>,
}

/// What the ingress works with.
pub struct Parties {
    /// Which Brokers there are.
    pub served: Arc<ArcSwap<Served>>,
    /// Where their events go.
    pub log: SharedLog,
    /// Makes it refuse.
    pub drain: Drain,
    /// Finishes appends whose producers have left.
    pub spawner: Spawner,
}

struct Shared {
    parties: Parties,
    settings: IngressSettings,
    requests: Bound,
    bytes: Bound,
    metrics: IngressMetrics,
}

impl Ingress {
    /// Sets the ingress up and registers its metrics; once per process.
    pub fn new(parties: Parties, settings: IngressSettings, metrics: &Metrics) -> Self {
        let requests = Bound::new(settings.max_requests_in_flight);
        let bytes = Bound::new(settings.max_bytes_in_flight);
        let metrics = IngressMetrics::new(metrics, &requests, &bytes);
        Self { shared: Arc::new(Shared { parties, settings, requests, bytes, metrics }) }
    }

    /// Forgets the metrics of a Broker that no longer exists.
    pub fn forget(&self, broker: &BrokerId) {
        self.shared.metrics.forget(broker);
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display + Send,
    {
        let (parts, body) = request.into_parts();
        if let Some(answer) = self.shared.probed(&parts) {
            return answer;
        }
        if parts.method == Method::OPTIONS && self.shared.settings.webhook_consent == WebhookConsent::Everyone
        {
            return answer::consent();
        }
        let mut broker = None;
        match self.shared.take(&parts, body, &mut broker).await {
            Ok(()) => answer::accepted(),
            Err(refusal) => {
                tracing::debug!(reason = refusal.reason(), %refusal, path = parts.uri.path(), "refused");
                self.shared.metrics.refused(broker.as_deref(), &refusal);
                Answer::from(&refusal)
            }
        }
    }
}

impl<B> Service<Request<B>> for Ingress
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: fmt::Display + Send,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(this.answer(request).await) })
    }
}

impl Shared {
    async fn take<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        found: &mut Option<Arc<Broker>>,
    ) -> Result<(), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display + Send,
    {
        if parts.method != Method::POST {
            return Err(Refusal::Method(self.settings.webhook_consent));
        }
        let (namespace, name) = broker_of(parts.uri.path()).map_err(Refusal::Path)?;
        let broker = self.broker(namespace, name)?;
        let broker = match broker {
            Known::Served(broker) => found.insert(broker).clone(),
            Known::Waiting(Waiting { broker, reason }) => {
                let id = broker.id.clone();
                *found = Some(broker);
                return Err(Refusal::Waiting(id, reason));
            }
        };
        if self.parties.drain.is_closing() {
            return Err(Refusal::Draining);
        }
        let request = self.requests.try_take(1).ok_or(Refusal::TooManyRequests)?;
        let (body, bytes) = self.read(&parts.headers, body).await?;
        let taken = Taken { body_bytes: body.len(), _request: request, _bytes: bytes };
        let events = decode(&parts.headers, body).map_err(Refusal::Event)?;
        let envelopes = self.admit(events, &parts.headers)?;
        if envelopes.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(self);
        let append = async move { shared.append(&broker, envelopes, taken).await };
        self.parties.spawner.to_the_end(append).await.map_err(Refusal::Append)
    }

    async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<(Bytes, Share), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display + Send,
    {
        let limit = self.settings.max_body_bytes;
        let coding = coding_of(headers).map_err(Refusal::Coding)?;
        let announced = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if announced.is_some_and(|size| size > limit) {
            return Err(Refusal::BodyTooLarge(limit));
        }
        let reserved = match (coding, announced) {
            (Coding::Identity, Some(size)) => size,
            (Coding::Identity, None) | (Coding::Gzip | Coding::Deflate, _) => limit,
        };
        let mut share = self.bytes.try_take(reserved).ok_or(Refusal::TooManyBytes)?;
        let body = within(self.settings.body_timeout, read_all(body, limit)).await?;
        let body = inflate(coding, body, limit).map_err(|error| match error {
            InflateError::TooLarge => Refusal::InflatedTooLarge(limit),
            InflateError::Corrupt(error) => Refusal::Corrupt(error.to_string()),
        })?;
        share.shrink_to(body.len());
        Ok((body, share))
    }

    fn admit(&self, incoming: Incoming, headers: &HeaderMap) -> Result<Vec<Envelope>, Refusal> {
        let passed_through = passed_through(headers);
        match incoming {
            Incoming::One(event) => {
                let event = ttl::admit(event).map_err(|error| Refusal::Ttl(error, None))?;
                Ok(vec![Envelope { event, passed_through, audience: Audience::Matching }])
            }
            Incoming::Batch(events) => {
                let limit = self.settings.max_batch_events;
                if events.len() > limit {
                    return Err(Refusal::BatchTooLong { events: events.len(), limit });
                }
                // Each event stores them anew: a small request could fill the log.
                let limit = self.settings.max_body_bytes;
                let of_each: usize =
                    passed_through.iter().map(|(name, value)| name.len() + value.len()).sum();
                if of_each.saturating_mul(events.len()) > limit {
                    return Err(Refusal::BatchHeadersTooLarge(limit));
                }
                self.metrics.batch_events.observe(f64::from(u32::try_from(events.len()).unwrap_or(u32::MAX)));
                let admitted = events.into_iter().enumerate().map(|(index, event)| {
                    let id = event.id().to_owned();
                    match ttl::admit(event) {
                        Ok(event) => {
                            let passed_through = passed_through.clone();
                            Ok(Envelope { event, passed_through, audience: Audience::Matching })
                        }
                        Err(error) => Err(Refusal::Ttl(error, Some(InBatch { index, id }))),
                    }
                });
                admitted.collect()
            }
        }
    }

    async fn append(
        &self,
        broker: &Broker,
        envelopes: Vec<Envelope>,
        taken: Taken,
    ) -> Result<(), AppendError> {
        let accepted = now();
        let records: Vec<Record> = envelopes.iter().map(|envelope| envelope.encode(accepted)).collect();
        let begun = Instant::now();
        self.parties.log.append(&broker.topic, records).await?;
        self.metrics.append_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.accepted(broker, envelopes.len(), taken.body_bytes);
        Ok(())
    }

    /// The answer to a request that only wants to know whether somebody is here (IN-22).
    fn probed(&self, parts: &Parts) -> Option<Answer> {
        const NETWORK_PROBE: HeaderName = HeaderName::from_static("k-network-probe");
        let is_kubelet =
            parts.headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"kube-probe/"));
        let is_network = parts.headers.get(NETWORK_PROBE).is_some_and(|value| value == "probe");
        if !is_kubelet && !is_network {
            return None;
        }
        if self.parties.drain.is_draining() {
            return Some(answer::probe(StatusCode::SERVICE_UNAVAILABLE, None));
        }
        if is_kubelet {
            return Some(answer::probe(StatusCode::OK, None));
        }
        let Some(hash) = parts.headers.get(PROBE_HASH) else {
            return Some(answer::probe(StatusCode::BAD_REQUEST, None));
        };
        // Who probes a Broker's path asks whether this process routes for it already.
        let status = match broker_of(parts.uri.path()).map(|(namespace, name)| self.broker(namespace, name)) {
            Err(_) | Ok(Ok(Known::Served(_))) => StatusCode::OK,
            Ok(Ok(Known::Waiting(_))) => StatusCode::SERVICE_UNAVAILABLE,
            Ok(Err(_)) => StatusCode::NOT_FOUND,
        };
        Some(answer::probe(status, Some(hash.clone())))
    }

    fn broker(&self, namespace: &str, name: &str) -> Result<Known, Refusal> {
        let served = self.parties.served.load();
        if let Some(broker) = served.table.broker(namespace, name) {
            return Ok(Known::Served(Arc::clone(broker)));
        }
        let id = BrokerId::new(namespace, name);
        let waiting = served.waiting.get(&id).cloned().map(Known::Waiting);
        waiting.ok_or(Refusal::UnknownBroker(id))
    }
}

/// A Broker that somebody has named.
enum Known {
    Served(Arc<Broker>),
    Waiting(Waiting),
}

/// What a request holds until its events are durable.
struct Taken {
    body_bytes: usize,
    _request: Share,
    _bytes: Share,
}

/// Reads a body; the clock starts only when it is not there at once, as most are.
async fn within<E: fmt::Display>(
    limit: Duration,
    read: impl Future<Output = Result<Bytes, BodyError<E>>>,
) -> Result<Bytes, Refusal> {
    let mut read = pin!(read);
    let read = match poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(limit, read).await.map_err(|_| Refusal::BodyTimeout(limit))?,
    };
    read.map_err(|error| match error {
        BodyError::TooLarge { limit } => Refusal::BodyTooLarge(limit),
        BodyError::Broken(error) => Refusal::BodyBroken(error.to_string()),
    })
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
