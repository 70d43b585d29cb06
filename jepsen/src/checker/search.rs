//! After heal a text is found over every node by the words that it has, by who may read it, and by no others.
//!
//! What words it has is what final reads of it say. A text of which they say nothing is not judged.

use std::collections::{BTreeMap, BTreeSet};

use super::Property;
use super::book::{Book, DeviceIx, Fact, ThingIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::Outcome;
use crate::record::GONE;

#[derive(Default)]
pub(super) struct Searches {
    /// How each text reads in the end.
    reads: BTreeMap<ThingIx, u64>,
    /// Line, text, and by whose words it was found.
    found: Vec<(u64, ThingIx, u64)>,
    seen: BTreeSet<(DeviceIx, ThingIx, u64)>,
}

impl Property for Searches {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match fact.what {
            What::Edited { thing, version: Some(version), sets: false, is_final: true, .. } if fact.outcome == Outcome::Ok => {
                self.reads.insert(thing, version);
            }
            What::Searched { thing, version: Some(version), is_member, .. } if fact.outcome == Outcome::Ok => {
                let text = || book.things.text(thing.0);
                if !is_member {
                    if version != GONE {
                        findings.report(Anomaly::SearchLeak, || format!("line {}: {} was found by somebody who may not read it", fact.line, text()));
                    }
                    return;
                }
                if self.seen.insert((fact.device, thing, version)) {
                    self.found.push((fact.line, thing, version));
                } else {
                    findings.report(Anomaly::SearchTwice, || format!("line {}: {} again, by the words of version {version}", fact.line, text()));
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (line, thing, version) in &self.found {
            let Some(reads) = self.reads.get(thing).filter(|reads| *reads != version) else { continue };
            let text = book.things.text(thing.0);
            let how = if *reads == GONE { "was taken away".to_owned() } else { format!("reads as of version {reads}") };
            match *version {
                GONE => findings.report(Anomaly::SearchLost, || format!("line {line}: {text} {how} and is not found")),
                found => findings.report(Anomaly::SearchStale, || format!("line {line}: {text} {how} and is found by the words of version {found}")),
            }
        }
    }
}
