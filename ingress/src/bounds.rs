//! What is in flight, and how much of it there may be.
//!
//! A bound is its gauge: taking a share is one atomic addition, and what the metric shows is what decides.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::gauge::Gauge;

/// An amount of which at most `limit` is taken at a time. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Bound {
    taken: Gauge,
    limit: i64,
}

/// A share of a bound, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    taken: Gauge,
    amount: i64,
}

impl Bound {
    /// A bound of which nothing is taken; the gauge is for the metrics.
    pub fn new(limit: usize) -> Self {
        Self { taken: Gauge::default(), limit: signed(limit) }
    }

    /// Shows how much is taken.
    pub fn gauge(&self) -> Gauge {
        self.taken.clone()
    }

    /// Takes a share; `None` when there is not enough left.
    pub fn try_take(&self, amount: usize) -> Option<Share> {
        let amount = signed(amount);
        let before = self.taken.inner().fetch_add(amount, Ordering::AcqRel);
        // The share exists either way, so that what was added is taken back when it does not fit.
        let share = Share { taken: self.taken.clone(), amount };
        (before.saturating_add(amount) <= self.limit).then_some(share)
    }
}

impl Share {
    /// Gives back what is above `amount`.
    pub fn shrink_to(&mut self, amount: usize) {
        let excess = self.amount - signed(amount).min(self.amount);
        self.taken.inner().fetch_sub(excess, Ordering::AcqRel);
        self.amount -= excess;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.inner().fetch_sub(self.amount, Ordering::AcqRel);
    }
}

fn signed(amount: usize) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_the_limit() {
        let bound = Bound::new(10);
        let first = bound.try_take(7).unwrap();
        assert!(bound.try_take(4).is_none());
        assert_eq!(bound.gauge().get(), 7);
        let second = bound.try_take(3).unwrap();
        assert!(bound.try_take(1).is_none());
        drop((first, second));
        assert_eq!(bound.gauge().get(), 0);
    }

    #[test]
    fn a_share_gives_back_what_it_does_not_need() {
        let bound = Bound::new(10);
        let mut share = bound.try_take(10).unwrap();
        share.shrink_to(4);
        share.shrink_to(9);
        assert_eq!(bound.gauge().get(), 4);
        drop(share);
        assert_eq!(bound.gauge().get(), 0);
    }
}
