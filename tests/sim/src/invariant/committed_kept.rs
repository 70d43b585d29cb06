//! Committed is kept: what was applied anywhere is on most disks, whatever crashes; so whoever is elected has it.

use std::collections::BTreeMap;

use kith_wire::{id::GroupId, log::LogId};

use super::{Invariant, Step, World};

#[derive(Default)]
pub(super) struct CommittedKept(BTreeMap<GroupId, LogId>);

impl Invariant for CommittedKept {
    fn name(&self) -> &'static str {
        "committed is kept"
    }
    fn check(&mut self, step: &Step<'_>, world: &World) -> Result<(), String> {
        match step {
            Step::Applied { group, id, .. } => {
                if self.0.get(group).is_some_and(|known| known.index >= id.index) {
                    return Ok(());
                }
                self.0.insert(*group, *id);
                kept(world, *group, *id)
            }
            // The last one stands for all before it: logs match.
            Step::Crashed { .. } => self.0.iter().try_for_each(|(group, id)| kept(world, *group, *id)),
            _ => Ok(()),
        }
    }
}

fn kept(world: &World, group: GroupId, id: LogId) -> Result<(), String> {
    let holders = world.platters().filter(|(_, platter)| platter.groups.get(&group).is_some_and(|on| on.holds(id))).count();
    if holders >= world.majority() {
        Ok(())
    } else {
        Err(format!("entry {} of term {} of group {group} was applied, and is on {holders} disks", id.index, id.term))
    }
}
