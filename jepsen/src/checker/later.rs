//! A text that is to be sent later is there once after its time, whatever leader died meanwhile; one that was taken back in time never is.

use std::collections::BTreeMap;

use super::Property;
use super::book::{Book, Fact, Later, ThingIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Promises(BTreeMap<ThingIx, Promise>);

#[derive(Default)]
struct Promise {
    is_given: bool,
    is_refused: bool,
    /// Somebody tried to take it back: it may or may not be there.
    is_doubtful: bool,
    is_taken_back: bool,
    /// Line of the last count, and the count.
    found: Option<(u64, u64)>,
}

impl Property for Promises {
    fn observe(&mut self, _: &Book, fact: &Fact<'_>, _: &mut Findings) {
        let What::Later { thing, step } = fact.what else { return };
        let promise = self.0.entry(thing).or_default();
        match (step, fact.outcome) {
            (Later::Set, Outcome::Ok) => promise.is_given = true,
            (Later::Set, Outcome::Fail { is_final: true }) => promise.is_refused = true,
            (Later::Cancel, Outcome::Invoke) => promise.is_doubtful = true,
            (Later::Cancel, Outcome::Ok) => promise.is_taken_back = true,
            (Later::Count(Some(count)), Outcome::Ok) => promise.found = Some((fact.line, count)),
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        for (thing, promise) in &self.0 {
            let Some((line, count)) = promise.found else {
                if promise.is_given {
                    findings.unknown(format!("{} was never looked for after its time", book.things.text(thing.0)));
                }
                continue;
            };
            let anomaly = match count {
                0 if promise.is_given && !promise.is_doubtful => Anomaly::LaterLost,
                2.. => Anomaly::LaterTwice,
                1 if promise.is_taken_back => Anomaly::LaterAnyway,
                1 if promise.is_refused => Anomaly::AbortedRead,
                _ => continue,
            };
            findings.report(anomaly, || format!("line {line}: {} is there {count} times", book.things.text(thing.0)));
        }
    }
}
