//! `fanned` passes a seq only after the index of every member, and of every member that left, was told of it, and that is committed.

use std::collections::BTreeMap;

use kith_machine::{
    testing::MemoryView,
    view::{Row, RowKey},
};
use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::RosterRow,
};

use super::{Invariant, Step, World};

#[derive(Default)]
pub(super) struct RefsKept {
    /// What homes have committed: head and newest membership record.
    told: BTreeMap<(UserId, ChannelId), (Seq, Seq)>,
    fanned: BTreeMap<ChannelId, Seq>,
}

impl Invariant for RefsKept {
    fn name(&self) -> &'static str {
        "no ref is lost"
    }
    fn check(&mut self, step: &Step<'_>, _: &World) -> Result<(), String> {
        let Step::Applied { writes, before, .. } = step else { return Ok(()) };
        for (key, row) in &writes.rows {
            match (key, row.as_deref()) {
                (RowKey::Index(user, channel), Some(Row::Index(row))) => {
                    let told = self.told.entry((*user, *channel)).or_default();
                    *told = (told.0.max(row.news.head.seq), told.1.max(row.news.member_seq));
                }
                (RowKey::Channel(channel), Some(Row::Channel(row))) => {
                    let fanned = self.fanned.entry(*channel).or_default();
                    if row.fanned > *fanned {
                        *fanned = row.fanned;
                        self.all_told(before, *channel, row.fanned)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl RefsKept {
    fn all_told(&self, rows: &MemoryView, channel: ChannelId, fanned: Seq) -> Result<(), String> {
        let Some(roster) = roster(rows, channel) else { return Ok(()) };
        for member in &roster.members {
            let (head, _) = self.told.get(&(member.user, channel)).copied().unwrap_or_default();
            // Who came after this record is owed nothing by it.
            let is_owed = member.stays.last().is_some_and(|stay| stay.join.seq <= fanned);
            if is_owed && head < fanned {
                return Err(format!("{channel} says that all homes know of {fanned}; the index of {} stands at {head}", member.user));
            }
        }
        for gone in roster.departing.iter().filter(|gone| gone.member_seq <= fanned) {
            let (_, told) = self.told.get(&(gone.user, channel)).copied().unwrap_or_default();
            if told < gone.member_seq {
                return Err(format!(
                    "{channel} says that all homes know of {fanned}; {} was never told of their removal at {}",
                    gone.user, gone.member_seq
                ));
            }
        }
        Ok(())
    }
}

fn roster(rows: &MemoryView, channel: ChannelId) -> Option<&RosterRow> {
    match rows.rows.get(&RowKey::Roster(channel)).map(|row| &**row) {
        Some(Row::Roster(roster)) => Some(roster),
        _ => None,
    }
}
