//! A name is one account's: of all who asked for it at once, over whichever nodes, one has it, and still has it in the end.

use std::collections::BTreeMap;

use super::Property;
use super::book::{Book, Fact, ThingIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Names(BTreeMap<ThingIx, Name>);

#[derive(Default)]
struct Name {
    /// Line and owner, by the first answer that named one.
    owner: Option<(u64, u64)>,
    /// It was given to somebody, by an answer of its own.
    is_given: bool,
    asked: u64,
    refused: u64,
    /// Line of an answer, in the end, that it is nobody's.
    nobodys: Option<u64>,
}

impl Property for Names {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        let What::Named { thing, owner, takes } = fact.what else { return };
        let name = self.0.entry(thing).or_default();
        match fact.outcome {
            Outcome::Invoke => name.asked += u64::from(takes),
            Outcome::Fail { .. } => name.refused += u64::from(takes),
            Outcome::Info => {}
            Outcome::Ok => {
                name.is_given |= takes;
                let Some(owner) = owner else {
                    name.nobodys.get_or_insert(fact.line);
                    return;
                };
                let (line, first) = *name.owner.get_or_insert((fact.line, owner));
                if first != owner {
                    findings.report(Anomaly::NameShared, || {
                        format!("line {}: {} is another's than in line {line}", fact.line, book.things.text(thing.0))
                    });
                }
            }
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (thing, name) in &self.0 {
            let Some(line) = name.nobodys else { continue };
            if name.is_given || name.asked > 0 && name.refused == name.asked {
                findings.report(Anomaly::NameLost, || {
                    let was = if name.is_given { "which was given to somebody" } else { "which was refused to all who asked" };
                    format!("line {line}: {}, {was}, is nobody's", book.things.text(thing.0))
                });
            }
        }
    }
}
