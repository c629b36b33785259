//! Notices that the log has lost the records at the end of a partition: another server leads it that never had them.
//!
//! It decides only: the owner of the drivers looks where the log ends, and the driver is told.

use trigon_core::name::Offset;

/// What the last looks at the end of the log have shown.
#[derive(Debug, Default)]
pub(super) struct Truncation {
    is_suspected: bool,
    found: Option<Offset>,
}

impl Truncation {
    /// Takes where the log ended, and how far a lane had come before that was asked. Only a second look in a row that
    /// shows an end below counts: one may come from a server that lags.
    pub(super) fn look(&mut self, end: Offset, furthest: Offset) {
        let is_below = end < furthest;
        if is_below && self.is_suspected {
            self.found = Some(end);
        }
        self.is_suspected = is_below && !self.is_suspected;
    }

    /// The end of a log that has been truncated; told once.
    pub(super) fn take(&mut self) -> Option<Offset> {
        self.found.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_below_what_was_read_counts_when_it_is_seen_twice_in_a_row() {
        let mut truncation = Truncation::default();
        truncation.look(Offset(5), Offset(9));
        assert_eq!(truncation.take(), None);
        truncation.look(Offset(9), Offset(9));
        truncation.look(Offset(5), Offset(9));
        assert_eq!(truncation.take(), None, "the look between was a good one");
        truncation.look(Offset(6), Offset(9));
        assert_eq!((truncation.take(), truncation.take()), (Some(Offset(6)), None));
        truncation.look(Offset(6), Offset(9));
        assert_eq!(truncation.take(), None, "the lanes are looking where they stand");
    }
}
