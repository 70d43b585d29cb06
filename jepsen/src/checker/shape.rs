//! A read in itself: rising, dense, from where it was asked for.

use super::Property;
use super::book::{Book, Fact, What};
use super::finding::{Anomaly, Findings};
use crate::history::{Outcome, Withheld};

pub(super) struct Shape;

impl Property for Shape {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let What::Read { channel, from, is_final, items, .. } = &fact.what else { return };
        if fact.outcome != Outcome::Ok {
            return;
        }
        let (line, name) = (fact.line, book.channel(*channel));
        if let Some(low) = items.iter().find(|item| item.seq < from.unwrap_or(1).max(1)) {
            findings.report(Anomaly::BadFrom, || format!("line {line}: seq {} of {name}, asked for from {}", low.seq, from.unwrap_or(1)));
        }
        if let Some(pair) = items.windows(2).find(|pair| pair[1].seq <= pair[0].seq) {
            findings.report(Anomaly::UnsortedRead, || format!("line {line}: seq {} of {name} after {}", pair[1].seq, pair[0].seq));
        }
        for (low, high) in holes(fact) {
            findings
                .report(Anomaly::Gap, || format!("line {line}: {name} lacks {low} to {high}{}", if *is_final { ", in a final read" } else { "" }));
        }
    }

    fn finish(&mut self, _: &Book, _: &mut Findings) {}
}

/// The ranges that a read lacks between where it begins and the last position that it names, without what is withheld.
pub(super) fn holes(fact: &Fact<'_>) -> Vec<(u64, u64)> {
    let What::Read { from, is_final, items, withheld, .. } = &fact.what else { return Vec::new() };
    // A tail begins anywhere; a final read begins at the base.
    let begin = match (from, is_final) {
        (Some(from), _) => Some((*from).max(1)),
        (None, true) => Some(1),
        (None, false) => None,
    };
    let mut holes = Vec::new();
    let mut next = begin;
    let mut ranges = withheld.iter().copied().peekable();
    let mut pass = |next: &mut Option<u64>, Withheld { from, to }: Withheld| {
        if let Some(expected) = *next
            && from > expected
        {
            holes.push((expected, from - 1));
        }
        *next = Some(next.unwrap_or(0).max(to.saturating_add(1)));
    };
    for item in *items {
        while let Some(range) = ranges.next_if(|range| range.from <= item.seq) {
            pass(&mut next, range);
        }
        pass(&mut next, Withheld { from: item.seq, to: item.seq });
    }
    for range in ranges {
        pass(&mut next, range);
    }
    holes
}
