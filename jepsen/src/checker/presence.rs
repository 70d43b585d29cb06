//! Who is here, as contacts at every node are shown it. While faults last nothing is promised but that strangers learn nothing.
//!
//! After heal and the settling time all nodes name the same users, and those are who is here; and who stays is not shown gone in between. What is said
//! of users who never came or left is not judged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Property;
use super::book::{Book, DeviceIx, Fact, UserIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::{Nanos, Outcome};

pub(super) struct Presence {
    /// From when on nobody who stays may be shown gone.
    settled_at: Option<Nanos>,
    within: Nanos,
    /// The final answers.
    answers: Vec<(u64, BTreeSet<UserIx>)>,
    /// Who came or left last, and when.
    people: BTreeMap<UserIx, (bool, Nanos)>,
    /// Who is shown as here.
    shown: BTreeSet<(DeviceIx, UserIx)>,
}

impl Presence {
    pub(super) fn new(healed_at: Option<Nanos>, within: Duration) -> Self {
        let within = within.as_nanos() as u64;
        Self { settled_at: healed_at.map(|at| at + within), within, answers: Vec::new(), people: BTreeMap::new(), shown: BTreeSet::new() }
    }
    fn shown(&mut self, book: &Book, fact: &Fact<'_>, who: UserIx, is_here: bool, findings: &mut Findings) {
        if is_here {
            self.shown.insert((fact.device, who));
            return;
        }
        let was_shown = self.shown.remove(&(fact.device, who));
        let is_settled = self.settled_at.is_none_or(|at| fact.at >= at);
        // Who has come lately may be shown gone by what was said before.
        if was_shown && is_settled && self.people.get(&who).is_some_and(|(is_here, since)| *is_here && fact.at >= since + self.within) {
            findings
                .report(Anomaly::PresenceFlap, || format!("line {}: {} is shown gone, and has been here all the time", fact.line, book.user(who)));
        }
    }
}

impl Property for Presence {
    fn observe(&mut self, book: &Book, fact: &Fact<'_>, findings: &mut Findings) {
        match &fact.what {
            What::Came { is_here } => {
                if let Some(user) = fact.user {
                    self.people.insert(user, (*is_here, fact.at));
                }
            }
            What::Shown { who, is_here } => self.shown(book, fact, *who, *is_here, findings),
            What::Presence { users, is_contact: false, .. } if fact.outcome == Outcome::Ok => {
                if let Some(user) = users.first() {
                    findings.report(Anomaly::PresenceLeak, || format!("line {}: a stranger learned that {} is here", fact.line, book.user(*user)));
                }
            }
            What::Presence { users, is_final: true, .. } if fact.outcome == Outcome::Ok => {
                self.answers.push((fact.line, users.iter().copied().collect()));
            }
            _ => {}
        }
    }

    fn finish(&mut self, book: &Book, findings: &mut Findings) {
        let Some((first, expected)) = self.answers.first() else { return };
        for (line, users) in self.answers.iter().filter(|(_, users)| users != expected) {
            findings.report(Anomaly::PresenceDivergence, || format!("line {line} names {} users, line {first} {}", users.len(), expected.len()));
        }
        for (line, users) in &self.answers {
            for (who, (is_here, _)) in &self.people {
                if users.contains(who) != *is_here {
                    let says = if *is_here { "is here and is not named" } else { "has left and is named" };
                    findings.report(Anomaly::PresenceWrong, || format!("line {line}: {} {says}, after heal", book.user(*who)));
                }
            }
        }
    }
}
