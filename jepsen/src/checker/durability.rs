//! Acked means kept: every acked send is in the final log, and no later read passes over it. What a reader saw stays, too.

use std::collections::BTreeSet;

use super::Property;
use super::book::{Book, Fact, MessageIx, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::RangeSet;
use super::shape::holes;
use crate::history::{Nanos, Outcome};

/// Positions of one hole that are looked up; a larger hole is a gap anyway.
const HOLE_MAX: u64 = 4_096;

pub(super) struct Durability {
    /// Final reads are needed.
    required: bool,
    /// By channel: what final reads cover, and when the last of them began.
    covered: Map<u32, (RangeSet, Nanos)>,
    /// By message.
    sights: Vec<Sight>,
    skipped: BTreeSet<u32>,
}

#[derive(Clone, Copy, Default)]
struct Sight {
    early: bool,
    last: bool,
}

impl Durability {
    pub(super) fn new(required: bool) -> Self {
        Self { required, covered: Map::default(), sights: Vec::new(), skipped: BTreeSet::new() }
    }

    fn sight(&mut self, message: MessageIx, book: &Book) -> &mut Sight {
        let at = message.0 as usize;
        if self.sights.len() <= at {
            self.sights.resize(book.messages.len(), Sight::default());
        }
        &mut self.sights[at]
    }
}

impl Property for Durability {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, _: &mut Findings) {
        match &fact.what {
            What::Received { message, .. } => self.sight(*message, book).early = true,
            What::Read { channel, from, is_final, items, withheld, .. } if fact.outcome == Outcome::Ok => {
                for item in *items {
                    let sight = self.sight(item.message, book);
                    sight.early |= !is_final;
                    sight.last |= is_final;
                }
                for (low, high) in holes(fact) {
                    for seq in low..=high.min(low.saturating_add(HOLE_MAX)) {
                        let Some(message) = book.slot(*channel, seq) else { continue };
                        if book.message(message).acked_at.is_some_and(|at| at.nanos() < fact.invoked_at) {
                            self.skipped.insert(message.0);
                        }
                    }
                }
                if *is_final {
                    let (covered, at) = self.covered.entry(channel.0).or_default();
                    *at = (*at).max(fact.invoked_at);
                    let end = if fact.what.reach().is_some() { u64::MAX } else { fact.what.last() };
                    let mut begin = from.unwrap_or(1).max(1);
                    for range in *withheld {
                        covered.add(begin, range.from.saturating_sub(1).min(end));
                        begin = begin.max(range.to.saturating_add(1));
                    }
                    covered.add(begin, end);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let mut uncovered = 0u64;
        let mut example = None;
        for (message, known) in book.all() {
            let (Some(channel), Some(place)) = (known.channel, known.place) else { continue };
            let sight = self.sights.get(message.0 as usize).copied().unwrap_or_default();
            let covered = self.covered.get(&channel.0);
            let is_covered = covered.is_some_and(|(ranges, _)| ranges.contains(place.get()));
            let is_missing = is_covered && !sight.last;
            match known.acked_at {
                Some(acked_at) => {
                    let is_late = covered.is_some_and(|(_, at)| acked_at.nanos() >= *at);
                    if self.skipped.contains(&message.0) || (is_missing && !is_late) {
                        findings.report(Anomaly::LostWrite, || book.tell(message));
                    } else if !is_covered || (is_late && !sight.last) {
                        uncovered += 1;
                        example.get_or_insert_with(|| book.tell(message));
                    }
                }
                None if is_missing && sight.early => findings.report(Anomaly::Vanished, || book.tell(message)),
                None => {}
            }
        }
        if let (true, Some(example)) = (self.required, example) {
            findings.unknown(format!("{uncovered} acked messages are covered by no final read, e.g. {example}"));
        }
    }
}
