//! The rows of a group on a simulated disk: in memory until a flush puts all groups on the platter at once.
//!
//! In: commits of apply, snapshots. Out: views, snapshots. Invariants: as of kith-storage; what is committed out of order, or before the
//! log has it on the platter, is a violation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kith_machine::{
    testing::MemoryView,
    view::{Row, RowKey, Scan, StateView, ViewError, WriteSet},
};
use kith_raft::{
    SnapshotReadError,
    disk::{Exporting, Installing, LogDisk, Moment, Reader, Rows},
};
use kith_storage::{CommitError, InstallError, NotServing, chunk};
use kith_wire::{id::GroupId, log::Applied, peer::SnapshotEnd};

use super::{Life, log::Logs, platter::OnPlatter};
use crate::invariant::Step;

/// A group's rows.
pub(super) struct SimRows {
    pub(super) group: GroupId,
    pub(super) life: Arc<Life>,
    held: Mutex<Held>,
}

#[derive(Clone, Default)]
pub(super) struct Held {
    pub(super) rows: Arc<MemoryView>,
    pub(super) applied: Applied,
}

impl SimRows {
    pub(super) fn load(group: GroupId, life: &Arc<Life>) -> Self {
        let on = life.platter().groups.get(&group).map(|on| Held { rows: Arc::clone(&on.rows), applied: on.applied.clone() });
        Self { group, life: Arc::clone(life), held: Mutex::new(on.unwrap_or_default()) }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateView for SimRows {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        self.held().rows.get(key)
    }
    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        self.held().rows.scan(scan, reverse, limit)
    }
}

impl Rows for SimRows {
    fn id(&self) -> GroupId {
        self.group
    }

    fn applied(&self) -> Applied {
        self.held().applied.clone()
    }

    fn refusal(&self) -> Option<NotServing> {
        None
    }

    fn commit(&self, writes: WriteSet, applied: Applied) -> Result<(), CommitError> {
        if self.life.is_dead() {
            return Err(CommitError::NotServing { group: self.group, reason: NotServing::Destroyed });
        }
        let Some(id) = applied.last else { return Ok(()) };
        let (node, group, watch) = (self.life.node, self.group, &self.life.watch);
        if self.life.bounds(group).flushed.is_none_or(|flushed| flushed < id.index) {
            watch.violate(format!("node {node} applies entry {} of group {group} before its own log has it on the disk", id.index));
        }
        let mut held = self.held();
        let before = Arc::clone(&held.rows);
        let mut rows = MemoryView::clone(&before);
        rows.commit(writes.clone());
        *held = Held { rows: Arc::new(rows), applied };
        let after = Arc::clone(&held.rows);
        drop(held);
        watch.step(&Step::Applied { node, group, id, writes: &writes, before: &before, after: &after });
        Ok(())
    }

    fn reader(self: Arc<Self>) -> Result<Reader, ViewError> {
        Ok(Reader::new(AtMoment(self.held().clone())))
    }

    fn export(&self) -> Result<Box<dyn Exporting>, SnapshotReadError> {
        let Held { rows, applied } = self.held().clone();
        let kept =
            rows.rows.iter().filter(|(key, _)| self.life.mutant != Some(crate::Mutant::DedupNotInSnapshot) || !matches!(key, RowKey::Dedup(..)));
        let chunks = chunk::of_rows(self.group, kept.map(|(key, row)| (key, &**row)));
        Ok(Box::new(Export { applied, chunks: chunks.into_iter(), tally: chunk::Tally::default() }))
    }

    fn install(self: Arc<Self>, applied: Applied) -> Result<Box<dyn Installing>, InstallError> {
        Ok(Box::new(Install { rows: self, applied, staged: MemoryView::default(), tally: chunk::Tally::default() }))
    }

    fn blocks(&self) -> bool {
        false
    }
}

struct AtMoment(Held);

impl StateView for AtMoment {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        self.0.rows.get(key)
    }
    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        self.0.rows.scan(scan, reverse, limit)
    }
}

impl Moment for AtMoment {
    fn applied(&self) -> &Applied {
        &self.0.applied
    }
}

struct Export {
    applied: Applied,
    chunks: std::vec::IntoIter<Bytes>,
    tally: chunk::Tally,
}

impl Exporting for Export {
    fn applied(&self) -> &Applied {
        &self.applied
    }
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotReadError> {
        let chunk = self.chunks.next();
        chunk.iter().for_each(|chunk| self.tally.add(chunk));
        Ok(chunk)
    }
    fn end(&self) -> SnapshotEnd {
        self.tally.end()
    }
}

struct Install {
    rows: Arc<SimRows>,
    applied: Applied,
    staged: MemoryView,
    tally: chunk::Tally,
}

impl Installing for Install {
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), InstallError> {
        let group = self.rows.group;
        let rows = chunk::rows_of(group, chunk).map_err(|source| InstallError::Chunk { group, source })?;
        self.staged.rows.extend(rows.into_iter().map(|(key, row)| (key, Arc::new(row))));
        self.tally.add(chunk);
        Ok(())
    }

    fn check(&self, end: SnapshotEnd) -> Result<(), InstallError> {
        let found = self.tally.end();
        if found == end { Ok(()) } else { Err(InstallError::Incomplete { group: self.rows.group, expected: end, found }) }
    }

    fn finish(self: Box<Self>, end: SnapshotEnd) -> Result<(), InstallError> {
        self.check(end)?;
        let Self { rows, applied, staged, .. } = *self;
        let (group, life) = (rows.group, &rows.life);
        if life.is_dead() {
            return Err(InstallError::Destroyed(group));
        }
        let Some(last) = applied.last else { return Ok(()) };
        let held = Held { rows: Arc::new(staged), applied };
        *rows.held() = held.clone();
        {
            let mut platter = life.platter();
            let on = platter.groups.entry(group).or_default();
            *on = OnPlatter { rows: Arc::clone(&held.rows), applied: held.applied, ..std::mem::take(on) };
        }
        Logs::installed(life, group, last);
        life.watch.step(&Step::Installed { node: life.node, group, id: last, rows: &held.rows });
        Ok(())
    }
}
