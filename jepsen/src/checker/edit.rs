//! The version of a text is a maximum: its editor writes rising versions, one at a time, and taking it away is the last.
//!
//! A linearizable or final read must have what was acked or read before it began; replicas that were read in the end agree.

use std::collections::{BTreeMap, BTreeSet};

use super::Property;
use super::book::{Book, Fact, ThingIx, What};
use super::finding::{Anomaly, Findings};
use super::intern::Map;
use super::range::TimedMax;
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Edit {
    texts: Map<u32, Marks>,
    begun: Map<u64, (u64, u64)>,
    /// What was ever asked for, and what was refused for good.
    possible: BTreeSet<(ThingIx, u64)>,
    refused: BTreeSet<(ThingIx, u64)>,
    /// By a text and its version: the first line that found it.
    seen: BTreeMap<(ThingIx, u64), u64>,
    /// What stands in the end, by the first final read.
    last: BTreeMap<ThingIx, (u64, u64)>,
}

#[derive(Default)]
struct Marks {
    set: TimedMax,
    got: TimedMax,
}

impl Edit {
    fn found(&mut self, book: &Book, fact: &Fact<'_>, thing: ThingIx, version: u64, is_final: bool, findings: &mut Findings) {
        self.seen.entry((thing, version)).or_insert(fact.line);
        if is_final {
            let (first, last) = *self.last.entry(thing).or_insert((fact.line, version));
            if last != version {
                findings.report(Anomaly::FinalDivergence, || {
                    format!("line {}: version {version} of {}, and {last} in line {first}", fact.line, book.things.text(thing.0))
                });
            }
        }
        self.texts.entry(thing.0).or_default().got.raise(fact.at, version);
    }
}

impl Property for Edit {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let What::Edited { thing, version, sets, is_linearizable, is_final } = fact.what else { return };
        match (sets, fact.outcome, version) {
            (true, Outcome::Invoke, Some(version)) => drop(self.possible.insert((thing, version))),
            (true, Outcome::Ok, Some(version)) => self.texts.entry(thing.0).or_default().set.raise(fact.at, version),
            (true, Outcome::Fail { is_final: true }, Some(version)) => drop(self.refused.insert((thing, version))),
            (false, Outcome::Invoke, _) => {
                let marks = self.texts.entry(thing.0).or_default();
                self.begun.insert(fact.op, (marks.set.before(fact.at), marks.got.before(fact.at)));
            }
            (false, outcome, version) => {
                let begun = self.begun.remove(&fact.op);
                let (Outcome::Ok, Some((set, got)), Some(version)) = (outcome, begun, version) else { return };
                let tell = |what: &str| format!("line {}: version {version} of {}, {what}", fact.line, book.things.text(thing.0));
                let is_bound = is_linearizable || is_final;
                if is_bound && version < got {
                    findings.report(Anomaly::EditBackwards, || tell(&format!("after {got} was read")));
                } else if is_bound && version < set {
                    findings.report(Anomaly::EditLost, || tell(&format!("after {set} was acked")));
                }
                self.found(book, fact, thing, version, is_final, findings);
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for ((thing, version), line) in &self.seen {
            let tell = |what: &str| format!("line {line}: version {version} of {}, {what}", book.things.text(thing.0));
            if *version > 0 && !self.possible.contains(&(*thing, *version)) {
                findings.report(Anomaly::EditPhantom, || tell("which nobody wrote"));
            } else if self.refused.contains(&(*thing, *version)) {
                findings.report(Anomaly::AbortedRead, || tell("which was refused for good"));
            }
        }
    }
}
