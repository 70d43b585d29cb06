//! Two small shapes: a set of positions as ranges, and a maximum that knows what it was a moment ago.

use std::collections::BTreeMap;

use crate::history::Nanos;

/// Positions, as disjoint ranges that do not touch.
#[derive(Default, Debug, Clone)]
pub(crate) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds `from..=to`; nothing if it is empty.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if to < from {
            return;
        }
        let (mut from, mut to) = (from, to);
        if let Some((&start, &end)) = self.0.range(..=from).next_back() {
            if end >= to {
                return;
            }
            if end.saturating_add(1) >= from {
                from = start;
            }
        }
        while let Some((&start, &end)) = self.0.range(from..=to.saturating_add(1)).next_back() {
            to = to.max(end);
            self.0.remove(&start);
        }
        self.0.insert(from, to);
    }

    pub(crate) fn contains(&self, one: u64) -> bool {
        self.0.range(..=one).next_back().is_some_and(|(_, end)| *end >= one)
    }

    /// Whether all of `from..=to` is in it.
    pub(crate) fn covers(&self, from: u64, to: u64) -> bool {
        self.0.range(..=from).next_back().is_some_and(|(_, end)| *end >= to)
    }
}

/// A maximum over time: what was known strictly before a moment.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct TimedMax {
    settled: u64,
    newest: u64,
    at: Nanos,
}

impl TimedMax {
    pub(crate) fn raise(&mut self, at: Nanos, to: u64) {
        if at > self.at {
            self.settled = self.settled.max(self.newest);
            self.at = at;
        }
        self.newest = self.newest.max(to);
    }

    /// The maximum of what was raised before `at`, which is not before the last raise.
    pub(crate) fn before(&self, at: Nanos) -> u64 {
        if at > self.at { self.settled.max(self.newest) } else { self.settled }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_set_is_a_set(ranges in proptest::collection::vec((1u64..60, 0u64..12), 0..30)) {
            let mut set = RangeSet::default();
            let mut plain = std::collections::BTreeSet::new();
            for (from, more) in ranges {
                set.add(from, from + more);
                plain.extend(from..=from + more);
            }
            for one in 0..80 {
                prop_assert_eq!(set.contains(one), plain.contains(&one), "{}", one);
                prop_assert_eq!(set.covers(one, one + 5), (one..=one + 5).all(|n| plain.contains(&n)), "{}", one);
            }
            let ends: Vec<_> = set.0.iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0), "ranges do not touch");
        }
    }

    #[test]
    fn a_maximum_does_not_count_its_own_moment() {
        let mut max = TimedMax::default();
        max.raise(5, 7);
        assert_eq!((max.before(5), max.before(6)), (0, 7));
        max.raise(8, 3);
        max.raise(8, 9);
        assert_eq!((max.before(8), max.before(9)), (7, 9));
    }
}
