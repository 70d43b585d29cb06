//! A replica applies every entry, in order: from where its disk stood when it started, or from a snapshot on.

use std::collections::BTreeMap;

use kith_wire::id::{GroupId, NodeId};

use super::{Invariant, Step, World};

#[derive(Default)]
pub(super) struct InOrder(BTreeMap<(NodeId, GroupId), u64>);

impl Invariant for InOrder {
    fn name(&self) -> &'static str {
        "applied in order"
    }
    fn check(&mut self, step: &Step<'_>, world: &World) -> Result<(), String> {
        match step {
            Step::Applied { node, group, id, .. } => {
                let last = self.0.insert((*node, *group), id.index.get());
                // Indexes begin at 0 with the first membership.
                let expected = last.map_or(0, |last| last + 1);
                if last.is_some() && id.index.get() != expected {
                    return Err(format!("node {node} applies entry {} of group {group}, not {expected}", id.index));
                }
            }
            Step::Installed { node, group, id, .. } => {
                let last = self.0.insert((*node, *group), id.index.get());
                if last.is_some_and(|last| last > id.index.get()) {
                    return Err(format!("node {node} goes back to a snapshot of group {group} at {}", id.index));
                }
            }
            Step::Crashed { node } => {
                self.0.retain(|(of, _), _| of != node);
                for (_, platter) in world.platters().filter(|(of, _)| of == node) {
                    let applied = platter.groups.iter().filter_map(|(group, on)| Some((*group, on.applied.last?.index.get())));
                    self.0.extend(applied.map(|(group, index)| ((*node, group), index)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
