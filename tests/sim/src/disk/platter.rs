//! What a disk holds, come what may: the synced part of the logs, and the state as it was last flushed.
//!
//! In: changes of the log, whole or torn; flushes and installs. Out: what a node finds when it starts. Invariant: as of kith-storage's two
//! databases: the log is a prefix of what was written, the state of all groups is of one moment.

use std::{collections::BTreeMap, sync::Arc};

use kith_machine::testing::MemoryView;
use kith_wire::{
    id::{GroupId, LogIndex},
    log::{Applied, Entry, LogId, Vote},
};

/// One node's disk.
#[derive(Debug, Default)]
pub(crate) struct Platter {
    /// How often it was started.
    pub(crate) boots: u64,
    /// By group.
    pub(crate) groups: BTreeMap<GroupId, OnPlatter>,
}

/// What a disk holds of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnPlatter {
    /// The last vote.
    pub(crate) vote: Option<Vote>,
    /// Up to here entries are gone.
    pub(crate) purged: Option<LogId>,
    /// The last commit hint.
    pub(crate) committed: Option<LogId>,
    /// The log.
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// The rows as last flushed.
    pub(crate) rows: Arc<MemoryView>,
    /// What is applied in them.
    pub(crate) applied: Applied,
}

/// A change of a group's log.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Entries that follow.
    Append(Vec<Entry>),
    /// A vote.
    Vote(Vote),
    /// A commit hint.
    Committed(LogId),
    /// No entry from this index on.
    TruncateFrom(u64),
    /// No entry up to this one.
    Purge(LogId),
}

impl OnPlatter {
    /// The last entry, or the purge point.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.values().next_back().map(|entry| entry.id).or(self.purged)
    }
    /// Index of the last entry applied in the rows.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.last.map_or(0, |id| id.index.get())
    }
    /// Whether an entry survives any crash here: in the log, or in the state.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let in_state = self.applied.last.is_some_and(|last| last.index >= id.index);
        in_state || self.entries.get(&id.index.get()).is_some_and(|entry| entry.id == id)
    }
    /// Makes a change.
    pub(crate) fn change(&mut self, change: &Change) {
        let purged = self.purged.map_or(0, |id| id.index.get());
        match change {
            // Below the purge point nothing comes back.
            Change::Append(entries) => {
                self.entries.extend(
                    entries
                        .iter()
                        .filter(|entry| self.purged.is_none() || entry.id.index.get() > purged)
                        .map(|entry| (entry.id.index.get(), entry.clone())),
                );
            }
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Committed(id) => self.committed = Some(*id),
            Change::TruncateFrom(index) => drop(self.entries.split_off(index)),
            Change::Purge(upto) if upto.index > LogIndex::new(purged) || self.purged.is_none() => {
                self.entries = self.entries.split_off(&(upto.index.get() + 1));
                self.purged = Some(*upto);
            }
            Change::Purge(_) => {}
        }
    }
}
