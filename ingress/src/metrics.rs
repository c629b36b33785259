//! The metrics of the ingress.
//!
//! Labels are bounded by the configuration: a request for a Broker that does not exist has an empty `broker`.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;
use trigon_core::name::BrokerId;
use trigon_core::routing::Broker;
use trigon_runtime::metrics::Metrics;

use crate::answer::Refusal;
use crate::bounds::Bound;

/// Every event that is accepted or refused is counted here. Cloning shares the metrics.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    accepted: Family<AcceptedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    body_bytes: Counter,
    pub(crate) batch_events: Histogram,
    pub(crate) append_seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AcceptedLabels {
    broker: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    broker: Arc<str>,
    reason: &'static str,
}

impl IngressMetrics {
    /// Registers the metrics and the gauges of the bounds; once per process.
    pub fn new(metrics: &Metrics, requests: &Bound, bytes: &Bound) -> Self {
        let this = Self {
            accepted: Family::default(),
            refused: Family::default(),
            body_bytes: Counter::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            append_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
        };
        metrics.register(|registry| {
            let registry = registry.sub_registry_with_prefix("ingress");
            registry.register(
                "accepted_events",
                "Events that were stored and answered 202",
                this.accepted.clone(),
            );
            registry.register(
                "refused_requests",
                "Requests of which nothing was stored, by reason",
                this.refused.clone(),
            );
            registry.register_with_unit(
                "body",
                "Bodies of accepted requests, inflated",
                Unit::Bytes,
                this.body_bytes.clone(),
            );
            registry.register("batch_events", "Events per batch", this.batch_events.clone());
            registry.register_with_unit(
                "append",
                "How long the log took to make a request's events durable",
                Unit::Seconds,
                this.append_seconds.clone(),
            );
            registry.register("in_flight_requests", "Requests in flight now", requests.gauge());
            registry.register_with_unit(
                "in_flight",
                "Bytes of bodies in flight now",
                Unit::Bytes,
                bytes.gauge(),
            );
        });
        this
    }

    /// Forgets a Broker that no longer exists.
    pub fn forget(&self, broker: &BrokerId) {
        let broker: Arc<str> = broker.to_string().into();
        for reason in Refusal::REASONS {
            self.refused.remove(&RefusedLabels { broker: broker.clone(), reason });
        }
        self.accepted.remove(&AcceptedLabels { broker });
    }

    pub(crate) fn accepted(&self, broker: &Broker, events: usize, body_bytes: usize) {
        let labels = AcceptedLabels { broker: Arc::clone(&broker.label) };
        self.accepted.get_or_create(&labels).inc_by(unsigned(events));
        self.body_bytes.inc_by(unsigned(body_bytes));
    }

    pub(crate) fn refused(&self, broker: Option<&Broker>, refusal: &Refusal) {
        let broker = broker.map_or_else(|| Arc::from(""), |broker| Arc::clone(&broker.label));
        let labels = RefusedLabels { broker, reason: refusal.reason() };
        self.refused.get_or_create(&labels).inc();
    }
}

fn unsigned(amount: usize) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
