//! A group's rows in memory, and a generator of commands that make interesting histories. For tests of this and other packages.
//!
//! In: raw bytes, from proptest or [`random_steps`]. Out: [`Batch`]es that a leader might propose, hostile ones among them.
//! Everything follows from the bytes: a failing case is repeated by its bytes or its seed.

use std::{collections::BTreeMap, sync::Arc};

use kith_wire::{
    id::{GroupId, LogIndex, Term},
    log::{Batch, LogId},
};

use crate::{
    Applied, ApplyError, Meta, apply_batch,
    view::{Row, RowKey, Scan, StateView, ViewError, WriteSet},
};

pub use script::{STEP_BYTES, Script, Step, random_steps};

mod script;

/// The rows of a group in memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MemoryView {
    /// By key.
    pub rows: BTreeMap<RowKey, Arc<Row>>,
}

impl MemoryView {
    /// Writes rows.
    pub fn commit(&mut self, writes: WriteSet) {
        for (key, row) in writes.rows {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }

    /// Applies a batch as the entry at `index` of `group`, and writes its rows.
    ///
    /// # Errors
    /// As [`apply_batch`]; nothing is written then.
    pub fn apply(&mut self, group: GroupId, index: u64, batch: Batch) -> Result<Applied, ApplyError> {
        let id = LogId { term: Term::new(1), index: LogIndex::new(index) };
        let applied = apply_batch(self, batch, Meta { group, id })?;
        self.commit(applied.writes.clone());
        Ok(applied)
    }
}

impl StateView for MemoryView {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        let Some((first, last)) = scan.bounds() else { return Ok(Vec::new()) };
        let mut rows: Vec<_> =
            self.rows.range(first..=last).filter(|(key, _)| scan.holds(key)).map(|(key, row)| (key.clone(), row.clone())).collect();
        rows.sort_by(|(a, _), (b, _)| if reverse { scan.compare(b, a) } else { scan.compare(a, b) });
        rows.truncate(limit);
        Ok(rows)
    }
}
