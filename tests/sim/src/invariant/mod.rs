//! What must hold after each step: one invariant a file.
//!
//! In: a [`Step`] and the [`World`]. Out: what is wrong with it. Invariants keep what they need of earlier steps. Not here: what clients
//! saw (`people`), liveness (`run`).

mod committed_kept;
mod in_order;
mod log_matching;
mod one_leader;
mod one_record;
mod refs_kept;
mod rows_hold;
mod same_state;
mod seq_dense;

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use kith_machine::{
    testing::MemoryView,
    view::{Row, RowKey, WriteSet},
};
use kith_wire::{
    id::{GroupId, NodeId, Term},
    log::LogId,
};

use crate::disk::{Change, Platter, SharedPlatter};

/// Something that happened.
pub(crate) enum Step<'a> {
    /// A change of a log reached the platter.
    Synced { node: NodeId, group: GroupId, change: &'a Change },
    /// An entry was applied.
    Applied { node: NodeId, group: GroupId, id: LogId, writes: &'a WriteSet, before: &'a MemoryView, after: &'a MemoryView },
    /// A snapshot took the place of a group's rows.
    Installed { node: NodeId, group: GroupId, id: LogId, rows: &'a MemoryView },
    /// A node serves as leader.
    Leads { node: NodeId, group: GroupId, term: Term },
    /// A node has started and opened its groups.
    Started { node: NodeId },
    /// A node lost its power.
    Crashed { node: NodeId },
}

/// What invariants may look at besides the step.
pub(crate) struct World {
    /// All disks.
    pub(crate) platters: BTreeMap<NodeId, SharedPlatter>,
}

impl World {
    /// Each node's disk.
    pub(crate) fn platters(&self) -> impl Iterator<Item = (NodeId, MutexGuard<'_, Platter>)> {
        self.platters.iter().map(|(node, platter)| (*node, platter.lock().unwrap_or_else(PoisonError::into_inner)))
    }
    /// As few nodes as are most of them.
    pub(crate) fn majority(&self) -> usize {
        self.platters.len() / 2 + 1
    }
}

/// Something that must hold.
pub(crate) trait Invariant: Send {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Looks at a step.
    ///
    /// # Errors
    /// It does not hold: what was found.
    fn check(&mut self, step: &Step<'_>, world: &World) -> Result<(), String>;
}

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_leader::OneLeader::default()),
        Box::new(log_matching::LogMatching::default()),
        Box::new(committed_kept::CommittedKept::default()),
        Box::new(in_order::InOrder::default()),
        Box::new(same_state::SameState::default()),
        Box::new(seq_dense::SeqDense),
        Box::new(one_record::OneRecord::default()),
        Box::new(refs_kept::RefsKept::default()),
        Box::new(rows_hold::RowsHold::default()),
    ]
}

impl Step<'_> {
    /// How it stands in the trace.
    pub(crate) fn line(&self) -> (&'static str, Vec<u64>) {
        let of = |node: &NodeId, group: &GroupId| [node.get(), u64::from(group.get())];
        match self {
            Self::Synced { node, group, change } => {
                let (what, index) = match change {
                    Change::Append(entries) => (1, entries.last().map_or(0, |entry| entry.id.index.get())),
                    Change::Vote(vote) => (2, vote.term.get()),
                    Change::Committed(id) => (3, id.index.get()),
                    Change::TruncateFrom(index) => (4, *index),
                    Change::Purge(id) => (5, id.index.get()),
                };
                ("synced", [&of(node, group)[..], &[what, index]].concat())
            }
            Self::Applied { node, group, id, after, .. } => {
                ("applied", [&of(node, group)[..], &[id.index.get(), id.term.get(), brief(after)]].concat())
            }
            Self::Installed { node, group, id, rows } => {
                ("installed", [&of(node, group)[..], &[id.index.get(), id.term.get(), brief(rows)]].concat())
            }
            Self::Leads { node, group, term } => ("leads", [&of(node, group)[..], &[term.get()]].concat()),
            Self::Started { node } => ("started", vec![node.get()]),
            Self::Crashed { node } => ("crashed", vec![node.get()]),
        }
    }
}

/// The digest of everything applied.
pub(crate) fn digest(rows: &MemoryView) -> [u8; 32] {
    match rows.rows.get(&RowKey::GroupState).map(|row| &**row) {
        Some(Row::GroupState(state)) => state.digest,
        _ => [0; 32],
    }
}

fn brief(rows: &MemoryView) -> u64 {
    digest(rows).first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}
