//! A set of offsets, kept as ranges: parked events are mostly sent again in long runs.

use std::collections::BTreeMap;
use std::fmt;

use trigon_core::name::Offset;

/// Offsets, in ranges that neither touch nor overlap; by their start, with their end, which is not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn contains(&self, Offset(offset): Offset) -> bool {
        self.0.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end)
    }

    /// Adds an offset; `false` when it was there already.
    pub(super) fn insert(&mut self, offset: Offset) -> bool {
        if self.contains(offset) {
            return false;
        }
        let Offset(offset) = offset;
        let end = self.0.remove(&(offset + 1)).unwrap_or(offset + 1);
        match self.0.range_mut(..offset).next_back() {
            Some((_, before)) if *before == offset => *before = end,
            _ => {
                self.0.insert(offset, end);
            }
        }
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Offset> {
        self.0.iter().flat_map(|(start, end)| (*start..*end).map(Offset))
    }

    /// Reads what [`Display`](fmt::Display) writes; ranges with more than `most` offsets in all are refused.
    pub(super) fn parse(text: &str, most: u64) -> Option<Self> {
        let mut ranges = Self::default();
        let mut left = most;
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            left = left.checked_sub(last.checked_sub(first)?.checked_add(1)?)?;
            for offset in first..=last {
                ranges.insert(Offset(offset));
            }
        }
        Some(ranges)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (start, end)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            match end - 1 {
                last if last == *start => write!(f, "{separator}{start}")?,
                last => write!(f, "{separator}{start}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_a_set_holds_and_is_read_as_it_is_written(
            offsets in proptest::collection::vec(0..60_u64, 0..80),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for offset in offsets {
                prop_assert_eq!(ranges.insert(Offset(offset)), set.insert(offset));
            }
            for offset in 0..62 {
                prop_assert_eq!(ranges.contains(Offset(offset)), set.contains(&offset));
            }
            prop_assert!(ranges.iter().map(|offset| offset.0).eq(set.iter().copied()));
            prop_assert_eq!(Ranges::parse(&ranges.to_string(), 80), Some(ranges));
        }
    }

    #[test]
    fn text_that_is_none_is_refused() {
        for text in ["x", "3-", "5-4", "0-18446744073709551615", "1-100"] {
            assert_eq!(Ranges::parse(text, 64), None, "{text}");
        }
    }
}
