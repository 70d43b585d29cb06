//! The machine's own invariants of the rows that an entry touched; of every few entries, since they read whole channels.

use std::collections::BTreeSet;

use kith_machine::{invariant, view::RowKey};
use kith_wire::id::{ChannelId, UserId};

use super::{Invariant, Step, World};

/// One entry in so many is looked at.
const EVERY: u64 = 16;

#[derive(Default)]
pub(super) struct RowsHold {
    seen: u64,
}

impl Invariant for RowsHold {
    fn name(&self) -> &'static str {
        "rows hold together"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Applied { writes, after, .. } = step else { return Ok(()) };
        self.seen += 1;
        if !self.seen.is_multiple_of(EVERY) {
            return Ok(());
        }
        let channels: BTreeSet<ChannelId> =
            writes.rows.keys().filter_map(|key| if let RowKey::Channel(id) = key { Some(*id) } else { None }).collect();
        let users: BTreeSet<UserId> = writes.rows.keys().filter_map(|key| if let RowKey::User(id) = key { Some(*id) } else { None }).collect();
        let checked = channels.iter().map(|id| invariant::channel(*after, *id)).chain(users.iter().map(|id| invariant::user(*after, *id)));
        for found in checked {
            if let Some(violation) = found.map_err(|error| error.to_string())?.first() {
                return Err(violation.to_string());
            }
        }
        Ok(())
    }
}
