//! Log matching: two logs with an entry of one index and term have the same entry there, and the same one before it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use kith_wire::{
    id::GroupId,
    log::{Entry, LogId, Payload},
};

use super::{Invariant, Step, World};
use crate::disk::Change;

#[derive(Default)]
pub(super) struct LogMatching(BTreeMap<(GroupId, LogId), (u64, Option<LogId>)>);

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Synced { node, group, change: Change::Append(entries) } = step else { return Ok(()) };
        let mut before: Option<LogId> = None;
        for entry in entries {
            let found = (content(entry), before.replace(entry.id));
            let known = self.0.entry((*group, entry.id)).or_insert(found);
            // The first of an append is not seen with the one before it.
            known.1 = known.1.or(found.1);
            if known.0 != found.0 || (found.1.is_some() && known.1 != found.1) {
                return Err(format!("node {node} has another entry {} of term {} in group {group}", entry.id.index, entry.id.term));
            }
        }
        Ok(())
    }
}

fn content(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    match &entry.payload {
        Payload::Blank => 0_u8.hash(&mut hasher),
        Payload::Batch(bytes) => bytes.hash(&mut hasher),
        Payload::Membership(membership) => format!("{membership:?}").hash(&mut hasher),
    }
    hasher.finish()
}
