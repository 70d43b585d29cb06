//! Election safety: a group has at most one leader in a term.

use std::collections::BTreeMap;

use kith_wire::id::{GroupId, NodeId, Term};

use super::{Invariant, Step, World};

#[derive(Default)]
pub(super) struct OneLeader(BTreeMap<(GroupId, Term), NodeId>);

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one leader a term"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Leads { node, group, term } = step else { return Ok(()) };
        let leader = self.0.entry((*group, *term)).or_insert(*node);
        if leader == node { Ok(()) } else { Err(format!("nodes {leader} and {node} both lead group {group} in term {term}")) }
    }
}
