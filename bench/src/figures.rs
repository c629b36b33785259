//! What one run has measured: figures with names and units, and latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// How much it is.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
}

/// All figures of a run, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(pub(crate) Vec<Figure>);

impl Figures {
    /// Adds a figure.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push(Figure { name: name.into(), value, unit });
    }

    /// Adds p50, p99 and p99.9.
    pub(crate) fn add_latencies(&mut self, name: &str, latencies: &Latencies) {
        for (quantile, label) in [(0.50, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
            self.add(format!("{name} {label}"), latencies.at(quantile), "ms");
        }
    }
}

/// Latencies with three significant digits, from 1 µs to an hour.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("1 < the maximum, and 3 digits are few"))
    }
}

impl Latencies {
    /// Takes one in.
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Takes all of another one in.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Milliseconds at a quantile.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.0.value_at_quantile(quantile)).as_secs_f64() * 1_000.0
    }
}

/// A count as a figure; figures are read by people, and 2⁵³ is more than any run has.
#[expect(clippy::cast_precision_loss, reason = "2⁵³ is more than any run counts")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut latencies = Latencies::default();
        for n in 1..=1_000 {
            latencies.record(Duration::from_millis(n));
        }
        let mut figures = Figures::default();
        figures.add_latencies("x", &latencies);
        let names: Vec<_> = figures.0.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["x p50", "x p99", "x p99.9"]);
        assert!((figures.0[0].value - 500.0).abs() < 1.0, "{figures:?}");
    }
}
