//! One group's rows: what is applied, at once, and where it stands.
//!
//! In: write sets in the order of the log, one applier per group. Out: a view of the latest rows, and readers that see one moment.
//! Invariants: `commit` shows rows and applied id together, and never waits for the disk; a reader's layers and snapshot are taken under the
//! lock under which the state writer drops layers, so that no row is missed or seen twice; a group being installed serves nothing.
//! Bound: `Options::overlay_bytes_max` over all groups; beyond it `commit` waits for the state writer.
//! Not here: the writer (`state`), installing (`snapshot`).

use std::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicU64, Ordering},
};

use kith_machine::mutant::{Mutant, Quirk};
use kith_machine::view::{Row, RowKey, Scan, StateView, ViewError, WriteSet};
use kith_wire::{id::GroupId, log::Applied};
use thiserror::Error;

use crate::{
    cache::{self, CacheKey},
    merge::{self, Pinned, Source},
    overlay::{self, Layer, Overlay, Small, SmallRows},
    row::{Weighed, view_error},
    state::Shared,
    sync::lock,
};

/// Why a group's rows cannot be read now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NotServing {
    /// A snapshot is being installed.
    #[error("a snapshot is being installed")]
    Installing,
    /// Its rows are damaged, or an install was cut short and could not be completed: a snapshot must be asked for.
    #[error("rows are damaged or incomplete; a snapshot is needed")]
    NeedsSnapshot,
    /// The group was removed.
    #[error("the group was removed")]
    Destroyed,
    /// It began anew after damage, and is not a voter of its group yet.
    #[error("the replica is being rebuilt from its peers")]
    Rebuilding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Refusing(NotServing),
}

/// What the group's lock guards.
pub(crate) struct Held {
    pub(crate) overlay: Overlay,
    pub(crate) applied: Arc<Applied>,
    pub(crate) phase: Phase,
    /// Raised by each commit.
    version: u64,
    /// Another one after each install, and for a group that comes back: rows cached before are not its own.
    life: u64,
    small: [Option<SmallRows>; Small::COUNT],
    /// The last snapshot of the database taken for a reader, while its `drops` are these.
    pinned: Option<(u64, Weak<Pinned>)>,
}

/// The rows of a group. As a [`StateView`] it shows the latest; use [`GroupState::reader`] for several reads of one moment.
pub struct GroupState {
    group: GroupId,
    pub(crate) shared: Arc<Shared>,
    held: Mutex<Held>,
    /// How often layers were dropped into the database. Raised before the cache changes: who reads the cache checks it after.
    drops: AtomicU64,
}

impl GroupState {
    pub(crate) fn new(group: GroupId, shared: Arc<Shared>, applied: Applied, phase: Phase) -> Self {
        let life = shared.lives.fetch_add(1, Ordering::Relaxed);
        let held = Held { overlay: Overlay::default(), applied: Arc::new(applied), phase, version: 0, life, small: Default::default(), pinned: None };
        Self { group, shared, held: Mutex::new(held), drops: AtomicU64::new(0) }
    }

    /// Which group.
    pub fn id(&self) -> GroupId {
        self.group
    }

    /// What is applied, with the membership in force.
    pub fn applied(&self) -> Applied {
        Applied::clone(&lock(&self.held).applied)
    }

    /// Why the group serves nothing now, if so.
    pub fn refusal(&self) -> Option<NotServing> {
        match lock(&self.held).phase {
            Phase::Serving => None,
            Phase::Refusing(reason) => Some(reason),
        }
    }

    /// Shows the rows and the applied id of the next entries. Only the group's applier calls this, in the order of the log, and only for
    /// entries that are flushed in the local log. Waits while too many rows are not in the database yet; never for the disk otherwise.
    ///
    /// # Errors
    /// The store has failed, or the group was removed or is being installed.
    pub fn commit(&self, writes: WriteSet, applied: Applied) -> Result<(), CommitError> {
        self.shared.wait_for_room()?;
        let mut held = lock(&self.held);
        if let Phase::Refusing(reason) = held.phase {
            return Err(CommitError::NotServing { group: self.group, reason });
        }
        for small in writes.rows.keys().filter_map(Small::of_key) {
            held.small[small as usize] = None;
        }
        let before = held.overlay.bytes();
        held.overlay.push(writes);
        held.applied = Arc::new(applied);
        held.version += 1;
        let after = held.overlay.bytes();
        drop(held);
        self.shared.committed(before, after);
        Ok(())
    }

    /// All rows as they are now, with what is applied.
    ///
    /// # Errors
    /// The group serves nothing now.
    pub fn reader(self: &Arc<Self>) -> Result<Reader, ViewError> {
        let mut held = self.serving(&"reader")?;
        let drops = self.drops.load(Ordering::Acquire);
        let reusable = held.pinned.as_ref().filter(|(at, _)| *at == drops).and_then(|(_, pinned)| pinned.upgrade());
        let pinned = match reusable {
            Some(pinned) => pinned,
            None => {
                let pinned = Arc::new(merge::pin(&self.shared.databases));
                held.pinned = Some((drops, Arc::downgrade(&pinned)));
                pinned
            }
        };
        Ok(Reader {
            group: Arc::clone(self),
            layers: held.overlay.layers().to_vec(),
            applied: Arc::clone(&held.applied),
            pinned,
            drops,
            version: held.version,
            life: held.life,
            small: held.small.clone(),
        })
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    fn serving(&self, what: &impl std::fmt::Debug) -> Result<MutexGuard<'_, Held>, ViewError> {
        let held = lock(&self.held);
        match held.phase {
            Phase::Serving => Ok(held),
            Phase::Refusing(reason) => Err(view_error(what, reason)),
        }
    }

    /// Drops the layers that the state writer has written, and shows their hot rows to the cache. Gives back their bytes.
    pub(crate) fn drop_written(&self, written: &[Arc<Layer>]) -> usize {
        let mut held = lock(&self.held);
        if held.phase != Phase::Serving {
            return 0;
        }
        self.drops.fetch_add(1, Ordering::AcqRel);
        for (key, weighed) in written.iter().flat_map(|layer| &layer.rows).filter(|(key, _)| cache::is_hot(key)) {
            self.shared.cache.insert(CacheKey { group: self.group, life: held.life, key: key.clone() }, weighed.clone());
        }
        held.pinned = None;
        held.overlay.drop_taken()
    }

    /// Begins another life: no row of before is seen any more. Gives back the overlay's bytes.
    pub(crate) fn reset(&self, phase: Phase, applied: Applied) -> usize {
        let mut held = lock(&self.held);
        self.drops.fetch_add(1, Ordering::AcqRel);
        held.phase = phase;
        held.applied = Arc::new(applied);
        held.version += 1;
        held.life = self.shared.lives.fetch_add(1, Ordering::Relaxed);
        held.small = Default::default();
        held.pinned = None;
        held.overlay.clear()
    }

    /// Keeps a row read from the database, if that is still what the database holds.
    fn keep(&self, key: CacheKey, row: Option<Arc<Row>>, drops: u64) {
        let held = lock(&self.held);
        if self.drops.load(Ordering::Acquire) == drops && held.life == key.life && overlay::find(held.overlay.layers(), &key.key).is_none() {
            self.shared.cache.insert(key, Weighed::new(row));
        }
    }

    /// Keeps the rows of a small scan, if nothing was committed since.
    fn keep_small(&self, small: Small, rows: &SmallRows, version: u64) {
        let mut held = lock(&self.held);
        if held.version == version {
            held.small[small as usize] = Some(Arc::clone(rows));
        }
    }

    /// A row that the database cannot give is damage.
    pub(crate) fn reported<T>(&self, result: Result<T, ViewError>) -> Result<T, ViewError> {
        result.inspect_err(|error| self.shared.damage.report(self.group, error))
    }

    fn get_stored(&self, source: Source<'_>, key: &RowKey, drops: u64, life: u64) -> Result<Option<Arc<Row>>, ViewError> {
        if !cache::is_hot(key) {
            return self.reported(source.get(self.group, key));
        }
        let cache_key = CacheKey { group: self.group, life, key: key.clone() };
        if let Some(row) = self.shared.cache.get(&cache_key) {
            // Later rows than a reader's moment may be in the cache by now; for the latest view they are as good.
            if matches!(source, Source::Latest(_)) || self.drops.load(Ordering::Acquire) == drops {
                self.shared.counters.cache_hits.fetch_add(1, Ordering::Relaxed);
                return Ok(row.row);
            }
        }
        self.shared.counters.cache_misses.fetch_add(1, Ordering::Relaxed);
        if self.quirk().is(Mutant::DedupInMemory) && matches!(key, RowKey::Dedup(..)) {
            return Ok(None);
        }
        let row = self.reported(source.get(self.group, key))?;
        self.keep(cache_key, row.clone(), drops);
        Ok(row)
    }
}

/// A commit was refused.
#[derive(Clone, Debug, Error)]
pub enum CommitError {
    /// The store is out of service.
    #[error("the store has failed")]
    Store(#[from] crate::fatal::FatalError),
    /// The group was removed or is being installed.
    #[error("group {group} takes no rows: {reason}")]
    NotServing { group: GroupId, reason: NotServing },
}

impl StateView for GroupState {
    fn quirk(&self) -> Quirk {
        self.shared.quirk
    }

    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        let held = self.serving(key)?;
        if let Some(row) = overlay::find(held.overlay.layers(), key) {
            return Ok(row.clone());
        }
        let (drops, life) = (self.drops.load(Ordering::Acquire), held.life);
        drop(held);
        self.get_stored(Source::Latest(&self.shared.databases), key, drops, life)
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        let held = self.serving(scan)?;
        let small = Small::of_scan(scan);
        if let Some(rows) = small.and_then(|small| held.small[small as usize].as_ref()) {
            return Ok(cut(rows, reverse, limit));
        }
        let (layers, version) = (held.overlay.layers().to_vec(), held.version);
        drop(held);
        let source = Source::Latest(&self.shared.databases);
        let Some(small) = small else { return self.reported(merge::scan(source, self.group, &layers, scan, reverse, limit)) };
        let rows: SmallRows = self.reported(merge::scan(source, self.group, &layers, scan, false, usize::MAX))?.into();
        self.keep_small(small, &rows, version);
        Ok(cut(&rows, reverse, limit))
    }
}

/// All rows of a group at one moment. It holds back the database's clean-up: keep it for a request, not for a session.
pub struct Reader {
    group: Arc<GroupState>,
    layers: Vec<Arc<Layer>>,
    applied: Arc<Applied>,
    pinned: Arc<Pinned>,
    drops: u64,
    version: u64,
    life: u64,
    small: [Option<SmallRows>; Small::COUNT],
}

impl Reader {
    /// What was applied at that moment.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }
}

impl StateView for Reader {
    fn quirk(&self) -> Quirk {
        self.group.quirk()
    }

    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        if let Some(row) = overlay::find(&self.layers, key) {
            return Ok(row.clone());
        }
        self.group.get_stored(Source::Pinned(&self.pinned), key, self.drops, self.life)
    }

    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        let small = Small::of_scan(scan);
        if let Some(rows) = small.and_then(|small| self.small[small as usize].as_ref()) {
            return Ok(cut(rows, reverse, limit));
        }
        let source = Source::Pinned(&self.pinned);
        let group = &self.group;
        let Some(small) = small else { return group.reported(merge::scan(source, group.group, &self.layers, scan, reverse, limit)) };
        let rows: SmallRows = group.reported(merge::scan(source, group.group, &self.layers, scan, false, usize::MAX))?.into();
        self.group.keep_small(small, &rows, self.version);
        Ok(cut(&rows, reverse, limit))
    }
}

fn cut(rows: &SmallRows, reverse: bool, limit: usize) -> Vec<(RowKey, Arc<Row>)> {
    if reverse { rows.iter().rev().take(limit).cloned().collect() } else { rows.iter().take(limit).cloned().collect() }
}
