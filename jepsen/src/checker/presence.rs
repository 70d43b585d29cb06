//! After heal and the settling time, all nodes name the same users as online. Before, nothing is promised.

use std::collections::BTreeMap;

use super::Property;
use super::book::{Book, Fact, NodeIx, UserIx, What};
use super::finding::{Anomaly, Findings};
use crate::history::Outcome;

#[derive(Default)]
pub(super) struct Presence {
    /// The last final answer of each node.
    nodes: BTreeMap<Option<NodeIx>, (u64, Vec<UserIx>)>,
}

impl Property for Presence {
    fn observe(&mut self, _: &Book, fact: &Fact<'_>, _: &mut Findings) {
        if let What::Presence { users, is_final: true } = &fact.what
            && fact.outcome == Outcome::Ok
        {
            let mut users = users.clone();
            users.sort_unstable();
            users.dedup();
            self.nodes.insert(fact.node, (fact.line, users));
        }
    }

    fn finish(&mut self, _: &Book, findings: &mut Findings) {
        let Some((first, expected)) = self.nodes.values().next() else { return };
        for (line, users) in self.nodes.values().filter(|(_, users)| users != expected) {
            findings.report(Anomaly::PresenceDivergence, || format!("line {line} names {} users, line {first} {}", users.len(), expected.len()));
        }
    }
}
