//! Replicas that have applied the same entry are in the same state: by the digest that each entry chains over what it wrote.

use std::collections::BTreeMap;

use kith_wire::id::{GroupId, LogIndex, Term};

use super::{Invariant, Step, World, digest};

#[derive(Default)]
pub(super) struct SameState(BTreeMap<(GroupId, LogIndex), (Term, [u8; 32])>);

impl Invariant for SameState {
    fn name(&self) -> &'static str {
        "same state at the same entry"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let (node, group, id, rows) = match step {
            Step::Applied { node, group, id, after, .. } => (node, group, id, after),
            Step::Installed { node, group, id, rows } => (node, group, id, rows),
            _ => return Ok(()),
        };
        let found = (id.term, digest(rows));
        let known = *self.0.entry((*group, id.index)).or_insert(found);
        if known == found {
            return Ok(());
        }
        let what = if known.0 == found.0 { "state" } else { "entry" };
        Err(format!("node {node} has another {what} than others at entry {} of group {group}", id.index))
    }
}
