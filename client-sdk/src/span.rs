//! Which parts of a history are known whole.
//!
//! In: parts that were learnt, ends of what was dropped. Out: the parts, rising and apart. Invariant: two that touch are one. Bound: `SPANS_MAX`;
//! one more drops the oldest. Not here: the records (`store`).

use kith_wire::id::Seq;

/// A part of a history, both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// First seq.
    pub first: Seq,
    /// Last seq; not below `first`.
    pub last: Seq,
}

impl Span {
    /// From `first` to `last`; `None` if there is nothing between them.
    pub fn new(first: Seq, last: Seq) -> Option<Self> {
        (first <= last && first > Seq::ZERO).then_some(Self { first, last })
    }
    /// Whether this seq is in it.
    pub fn contains(&self, seq: Seq) -> bool {
        self.first <= seq && seq <= self.last
    }
}

/// Parts known of one channel, besides the one that grows.
pub(crate) const SPANS_MAX: usize = 64;

/// Parts of one history: rising, apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spans(Vec<Span>);

impl Spans {
    pub(crate) fn from_sorted(spans: Vec<Span>) -> Self {
        Self(spans)
    }
    pub(crate) fn as_slice(&self) -> &[Span] {
        &self.0
    }
    /// Takes a part in. Returns the oldest one if there are too many now: its records go with it.
    pub(crate) fn add(&mut self, span: Span) -> Option<Span> {
        let touches = |other: &Span| other.first <= span.last.next() && span.first <= other.last.next();
        let mut whole = span;
        for other in self.0.iter().filter(|other| touches(other)) {
            whole = Span { first: whole.first.min(other.first), last: whole.last.max(other.last) };
        }
        self.0.retain(|other| !touches(other));
        let at = self.0.partition_point(|other| other.first < whole.first);
        self.0.insert(at, whole);
        (self.0.len() > SPANS_MAX).then(|| self.0.remove(0))
    }
    /// Nothing below this seq is held any more.
    pub(crate) fn trim_below(&mut self, first: Seq) {
        self.0.retain_mut(|span| {
            span.first = span.first.max(first);
            span.first <= span.last
        });
    }
    /// With the part that grows.
    pub(crate) fn with(mut self, growing: Option<Span>) -> Vec<Span> {
        if let Some(span) = growing {
            // One more than the bound is not kept, only told.
            let oldest = self.add(span);
            self.0.splice(0..0, oldest);
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span { first: Seq::new(first), last: Seq::new(last) }
    }

    #[test]
    fn parts_that_touch_become_one() {
        let mut spans = Spans::default();
        for (first, last) in [(20, 30), (1, 5), (40, 50), (6, 10), (29, 41)] {
            assert_eq!(spans.add(span(first, last)), None);
        }
        assert_eq!(spans.as_slice(), [span(1, 10), span(20, 50)]);
        spans.trim_below(Seq::new(8));
        assert_eq!(spans.as_slice(), [span(8, 10), span(20, 50)]);
        spans.trim_below(Seq::new(11));
        assert_eq!(spans.clone().with(Some(span(51, 60))), [span(20, 60)]);
        assert_eq!(spans.with(None), [span(20, 50)]);
    }

    #[test]
    fn one_more_than_the_bound_drops_the_oldest() {
        let mut spans = Spans::default();
        for at in 0..SPANS_MAX as u64 {
            assert_eq!(spans.add(span(10 * at + 1, 10 * at + 2)), None);
        }
        assert_eq!(spans.add(span(9_999, 9_999)), Some(span(1, 2)));
        assert_eq!(spans.as_slice().len(), SPANS_MAX);
    }
}
