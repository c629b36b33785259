//! The registry of metrics that all crates share, and its text.
//!
//! Names start with `trigon_` and end with their unit. Which metrics there are is in the `metrics.rs` of each
//! crate.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The registry. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

/// The media type of [`Metrics::encode`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    /// An empty registry with the prefix `trigon`.
    pub fn new() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("trigon"))) }
    }

    /// Lets a crate register its metrics; names come without the prefix.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes all metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a collector fails to write its own.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn names_have_the_prefix_and_their_unit() {
        let metrics = Metrics::new();
        let counter: Counter = Counter::default();
        metrics.register(|registry| {
            registry.register_with_unit("body", "Bytes of bodies", Unit::Bytes, counter.clone());
        });
        counter.inc_by(7);
        let text = metrics.encode().unwrap();
        assert!(text.contains("\ntrigon_body_bytes_total 7\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
