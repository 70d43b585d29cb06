//! The applied rows of all groups: memory first, then one database written by one thread.
//!
//! In: commits of the groups. Out: rows, durable positions, snapshots. Every 100 ms the state writer puts all that was committed, of all groups,
//! with their applied rows, into ONE sorted batch without WAL; the raft log is its WAL.
//! Invariants: rows and applied row of a commit are in the same batch, and the database flushes all families at once: after any crash a group's
//! state equals an exact applied prefix of its log. A failed write ends the store. Purge never passes [`StateDb::durable_applied`].
//! Not here: rows of one group (`group`), snapshots (`snapshot`).

use std::{
    collections::BTreeMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_machine::mutant::Quirk;
use kith_wire::{
    id::GroupId,
    log::{Applied, LogId},
};
use rocksdb::{BottommostLevelCompaction, CompactOptions, FlushOptions, ReadOptions, ReadTier, WriteBatch};
use thiserror::Error;

use crate::{
    cache::{self, RowCache},
    codec::{self, EnvelopeError},
    db::{Databases, unlogged},
    fatal::{Fatal, FatalError, Panicked},
    group::{GroupState, NotServing, Phase},
    key::{self, Family},
    local::Local,
    log::LogDb,
    loss,
    metrics::{StateCounters, StateMetrics},
    options::Options,
    overlay::Layer,
    quarantine::Damage,
    row,
    step::{self, Steps},
    sync::{lock, read, wait, wait_for, write},
};

/// The applied row of a group cannot be read.
#[derive(Debug, Error)]
pub enum AppliedError {
    /// RocksDB refuses.
    #[error("cannot read the applied row")]
    Database(#[from] rocksdb::Error),
    /// The value is damaged.
    #[error("applied row is damaged")]
    Envelope(#[from] EnvelopeError),
    /// The value is whole, but not an applied row.
    #[error("applied row cannot be decoded")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where the state writer and those who wait for it meet.
#[derive(Default)]
struct Turn {
    /// Of all groups. A commit is counted after it shows, so this is below zero for a moment when the writer was faster.
    overlay_bytes: i64,
    /// Batches begun and ended; a batch takes everything that was committed before it began.
    begun: u64,
    ended: u64,
    /// Someone waits for this batch.
    wanted: u64,
    is_idle: bool,
    is_closing: bool,
    is_closed: bool,
}

/// What groups, writer and readers share.
pub(crate) struct Shared {
    pub(crate) databases: Arc<Databases>,
    pub(crate) local: Arc<Local>,
    pub(crate) log: Arc<LogDb>,
    /// Numbers the lives of groups: no two share cached rows.
    pub(crate) lives: AtomicU64,
    /// Numbers staging files.
    pub(crate) snapshots: AtomicU64,
    #[cfg(test)]
    pub(crate) stop_at: Mutex<Option<crate::install::Step>>,
    pub(crate) cache: RowCache,
    pub(crate) counters: StateCounters,
    pub(crate) fatal: Arc<Fatal>,
    pub(crate) damage: Arc<Damage>,
    pub(crate) groups: RwLock<BTreeMap<GroupId, Arc<GroupState>>>,
    durable: Mutex<BTreeMap<GroupId, LogId>>,
    turn: Mutex<Turn>,
    work: Condvar,
    progress: Condvar,
    overlay_bytes_max: i64,
    interval: Duration,
    pub(crate) quirk: Quirk,
    pub(crate) steps: Steps,
}

impl Shared {
    /// Blocks while too much waits for the state writer.
    pub(crate) fn wait_for_room(&self) -> Result<(), FatalError> {
        let mut turn = lock(&self.turn);
        if turn.overlay_bytes >= self.overlay_bytes_max {
            self.counters.commit_waits.fetch_add(1, Relaxed);
        }
        while turn.overlay_bytes >= self.overlay_bytes_max && !turn.is_closed {
            self.fatal.check()?;
            turn.wanted = turn.wanted.max(turn.begun + 1);
            self.work.notify_one();
            turn = wait(&self.progress, turn);
        }
        drop(turn);
        self.fatal.check()
    }

    /// Counts what a commit added.
    pub(crate) fn committed(&self, before: usize, after: usize) {
        let mut turn = lock(&self.turn);
        turn.overlay_bytes += after as i64 - before as i64;
        if std::mem::take(&mut turn.is_idle) {
            self.work.notify_one();
        }
    }

    /// Counts what left the overlays.
    pub(crate) fn freed(&self, bytes: usize) {
        let mut turn = lock(&self.turn);
        turn.overlay_bytes -= bytes as i64;
        drop(turn);
        self.progress.notify_all();
    }

    /// Waits until everything committed before the call is in the database (not: on the disk).
    ///
    /// # Errors
    /// The store has failed.
    pub(crate) fn drain(&self) -> Result<(), FatalError> {
        let mut turn = lock(&self.turn);
        let target = turn.begun + 1;
        turn.wanted = turn.wanted.max(target);
        self.work.notify_one();
        while turn.ended < target && !turn.is_closed {
            self.fatal.check()?;
            turn = wait(&self.progress, turn);
        }
        drop(turn);
        self.fatal.check()
    }

    /// Flushes the memtables of the state database, all families at once.
    ///
    /// # Errors
    /// It failed: the store is out of service.
    pub(crate) fn flush_database(&self) -> Result<(), FatalError> {
        self.fatal.check()?;
        let databases = &self.databases;
        let mut families: Vec<_> = Family::ALL.into_iter().map(|family| databases.state_cf(family)).collect();
        families.push(databases.applied_cf());
        let families: Vec<_> = families.iter().collect();
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.steps.pass(step::state::BEFORE_FLUSH);
        databases.state.flush_cfs_opt(&families, &options).map_err(|cause| self.failed("flush the state database", cause))?;
        self.steps.pass(step::state::AFTER_FLUSH);
        Ok(())
    }

    /// Writes a batch without WAL.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), FatalError> {
        const OPERATION: &str = "write the state database";
        self.fatal.check()?;
        self.fatal.injected().map_err(|cause| self.fatal.raise(OPERATION, cause))?;
        self.databases.state.write_opt(batch, &unlogged()).map_err(|cause| self.failed(OPERATION, cause))
    }

    /// Damage that a write meets, in a compaction or flush, is there for the next start to see.
    fn failed(&self, operation: &'static str, cause: rocksdb::Error) -> FatalError {
        if loss::is_damage(&cause) {
            loss::mark(&self.databases.dir, "state");
        }
        self.fatal.raise(operation, cause)
    }

    /// Reads what is on the disk, beyond any crash.
    pub(crate) fn note_durable(&self, group: GroupId) -> Result<(), AppliedError> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        let value = self.databases.state.get_cf_opt(self.databases.applied_cf(), group.get().to_be_bytes(), &options)?;
        let last = value.as_deref().map(parse_applied).transpose()?.and_then(|applied| applied.last);
        let mut durable = lock(&self.durable);
        match last {
            Some(last) => durable.insert(group, last),
            None => durable.remove(&group),
        };
        Ok(())
    }

    pub(crate) fn forget_durable(&self, group: GroupId) {
        lock(&self.durable).remove(&group);
    }
}

/// Encodes an applied row.
pub(crate) fn seal_applied(applied: &Applied) -> Vec<u8> {
    codec::seal(&applied.encode())
}

pub(crate) fn parse_applied(value: &[u8]) -> Result<Applied, AppliedError> {
    Applied::decode(codec::open(value)?).map_err(|error| AppliedError::Body(error.into()))
}

/// All groups' rows.
pub struct StateDb {
    pub(crate) shared: Arc<Shared>,
}

impl StateDb {
    pub(crate) fn open(
        databases: Arc<Databases>,
        local: Arc<Local>,
        log: Arc<LogDb>,
        fatal: Arc<Fatal>,
        damage: Arc<Damage>,
        options: &Options,
    ) -> Result<Self, AppliedError> {
        let shared = Arc::new(Shared {
            cache: cache::new(options.row_cache_bytes),
            counters: StateCounters::default(),
            fatal,
            damage,
            groups: RwLock::default(),
            durable: Mutex::default(),
            turn: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            overlay_bytes_max: i64::try_from(options.overlay_bytes_max).unwrap_or(i64::MAX),
            interval: options.state_write_interval,
            quirk: options.quirk,
            steps: options.steps.clone(),
            databases,
            local,
            log,
            lives: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            #[cfg(test)]
            stop_at: Mutex::default(),
        });
        for (group, applied) in scan_applied(&shared.databases)? {
            let (applied, phase) = match applied {
                Ok(applied) => (applied, Phase::Serving),
                Err(error) => {
                    tracing::error!(%group, %error, "applied row is damaged; the group needs a snapshot from its peers");
                    (Applied::default(), Phase::Refusing(NotServing::NeedsSnapshot))
                }
            };
            lock(&shared.durable).extend(applied.last.map(|last| (group, last)));
            let state = GroupState::new(group, Arc::clone(&shared), applied, phase);
            write(&shared.groups).insert(group, Arc::new(state));
        }
        Ok(Self { shared })
    }

    /// A group's rows; empty if it has none. Ask [`GroupState::refusal`] before it is used: a damaged group serves nothing.
    pub fn group(&self, group: GroupId) -> Arc<GroupState> {
        if let Some(state) = read(&self.shared.groups).get(&group) {
            return Arc::clone(state);
        }
        let mut groups = write(&self.shared.groups);
        let state =
            groups.entry(group).or_insert_with(|| Arc::new(GroupState::new(group, Arc::clone(&self.shared), Applied::default(), Phase::Serving)));
        Arc::clone(state)
    }

    /// Every group that has rows or was asked for, rising.
    pub fn groups(&self) -> Vec<GroupId> {
        read(&self.shared.groups).keys().copied().collect()
    }

    /// Brings everything committed so far onto the disk. Blocks for as long as that takes.
    ///
    /// # Errors
    /// It failed: the store is out of service.
    pub fn flush(&self) -> Result<(), FatalError> {
        self.shared.drain()?;
        self.shared.flush_database()?;
        for group in self.groups() {
            self.shared.note_durable(group).map_err(|cause| self.shared.fatal.raise("read back a durable position", cause))?;
        }
        Ok(())
    }

    /// Rewrites all rows into as few files as there need be: what the disk holds then is what it would hold in the long run. Blocks for as long
    /// as that takes; for measurements.
    ///
    /// # Errors
    /// As [`StateDb::flush`].
    pub fn compact(&self) -> Result<(), FatalError> {
        self.flush()?;
        let databases = &self.shared.databases;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in Family::ALL {
            databases.state.compact_range_cf_opt(databases.state_cf(family), None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    /// Up to here a group's state survives any crash: the log may be purged up to it, not beyond. Rises with [`StateDb::flush`].
    pub fn durable_applied(&self, group: GroupId) -> Option<LogId> {
        lock(&self.shared.durable).get(&group).copied()
    }

    /// The overlay, the writer and the row cache, as they stand.
    pub fn metrics(&self) -> StateMetrics {
        let counters = &self.shared.counters;
        StateMetrics {
            overlay_bytes: u64::try_from(lock(&self.shared.turn).overlay_bytes).unwrap_or(0),
            commit_waits: counters.commit_waits.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            rows: counters.rows.load(Relaxed),
            written_bytes: counters.written_bytes.load(Relaxed),
            cache_hits: counters.cache_hits.load(Relaxed),
            cache_misses: counters.cache_misses.load(Relaxed),
        }
    }

    /// Makes the writer write what is left and end.
    pub(crate) fn close(&self) {
        lock(&self.shared.turn).is_closing = true;
        self.shared.work.notify_all();
    }
}

impl Drop for StateDb {
    /// Groups hold what they share, and that holds the groups: let go of them, so that the databases close with the last reader.
    fn drop(&mut self) {
        write(&self.shared.groups).clear();
    }
}

/// The applied row of every group in the database.
pub(crate) fn scan_applied(databases: &Databases) -> Result<BTreeMap<GroupId, Result<Applied, AppliedError>>, AppliedError> {
    let mut found = BTreeMap::new();
    let mut rows = databases.state.raw_iterator_cf(databases.applied_cf());
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        if let Some((group, [])) = key.split_first_chunk::<4>() {
            found.insert(GroupId::new(u32::from_be_bytes(*group)), parse_applied(value));
        }
        rows.next();
    }
    rows.status()?;
    Ok(found)
}

/// What the writer took from a group.
struct Taken {
    group: Arc<GroupState>,
    layers: Vec<Arc<Layer>>,
    applied: Arc<Applied>,
}

/// The state writer's thread, until it is closed.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    buffer: Buffer,
}

/// Encoded rows of one batch, kept from batch to batch for its memory.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    key: Vec<u8>,
    rows: Vec<(Family, Range<usize>, Option<Range<usize>>)>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: Buffer::default() }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.write_until_closed())).is_err() {
            shared.fatal.raise("keep writing the state", Panicked("state writer"));
        }
        // Closed or failed: whoever waits finds out.
        lock(&shared.turn).is_closed = true;
        shared.progress.notify_all();
    }

    fn write_until_closed(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let is_last = self.wait_for_work();
            if self.write_all().is_err() {
                return;
            }
            let mut turn = lock(&shared.turn);
            turn.ended = turn.begun;
            drop(turn);
            shared.progress.notify_all();
            if is_last {
                return;
            }
        }
    }

    /// Waits until there is something to write, and then for the pause between two batches. `true`: this is the last batch.
    fn wait_for_work(&self) -> bool {
        let shared = &self.shared;
        let mut turn = lock(&shared.turn);
        while turn.overlay_bytes <= 0 && turn.wanted <= turn.begun && !turn.is_closing {
            turn.is_idle = true;
            turn = wait(&shared.work, turn);
        }
        turn.is_idle = false;
        if turn.wanted <= turn.begun && !turn.is_closing && turn.overlay_bytes < shared.overlay_bytes_max / 2 {
            turn = wait_for(&shared.work, turn, shared.interval);
        }
        turn.begun += 1;
        turn.is_closing
    }

    fn write_all(&mut self) -> Result<(), FatalError> {
        let groups: Vec<_> = read(&self.shared.groups).values().map(Arc::clone).collect();
        let mut taken = Vec::new();
        for group in groups {
            let mut held = group.held();
            if held.phase == Phase::Serving && !held.overlay.layers().is_empty() {
                let (layers, applied) = (held.overlay.take(), Arc::clone(&held.applied));
                drop(held);
                taken.push(Taken { group, layers, applied });
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let (batch, rows) = self.encode(&taken);
        let bytes = batch.size_in_bytes();
        self.shared.steps.pass(step::state::BEFORE_BATCH);
        self.shared.write(batch)?;
        self.shared.steps.pass(step::state::AFTER_BATCH);
        let counters = &self.shared.counters;
        counters.batches.fetch_add(1, Relaxed);
        counters.rows.fetch_add(rows as u64, Relaxed);
        counters.written_bytes.fetch_add(bytes as u64, Relaxed);
        let freed = taken.iter().map(|taken| taken.group.drop_written(&taken.layers)).sum();
        self.shared.freed(freed);
        Ok(())
    }

    /// One batch in key order: neighbouring rows are inserted side by side.
    fn encode(&mut self, taken: &[Taken]) -> (WriteBatch, usize) {
        let Buffer { bytes, key, rows } = &mut self.buffer;
        bytes.clear();
        rows.clear();
        let mut near = key::Near::default();
        for Taken { group, layers, .. } in taken {
            for (at, layer) in layers.iter().enumerate() {
                let newer = &layers[at + 1..];
                for (row_key, weighed) in layer.rows.iter().filter(|(key, _)| !newer.iter().any(|layer| layer.rows.contains_key(key))) {
                    let family = key::encode_after(&mut near, group.id(), row_key, key);
                    let start = bytes.len();
                    bytes.extend_from_slice(key);
                    let key_end = bytes.len();
                    let value = weighed.row.as_ref().map(|row| {
                        row::encode(row, bytes);
                        key_end..bytes.len()
                    });
                    rows.push((family, start..key_end, value));
                }
            }
        }
        rows.sort_unstable_by(|a, b| (a.0, &bytes[a.1.clone()]).cmp(&(b.0, &bytes[b.1.clone()])));
        let databases = &self.shared.databases;
        let mut batch = WriteBatch::with_capacity_bytes(bytes.len() + 32 * rows.len());
        for (family, key, value) in rows.iter() {
            let (cf, key) = (databases.state_cf(*family), &bytes[key.clone()]);
            match value {
                Some(value) => batch.put_cf(cf, key, &bytes[value.clone()]),
                None => batch.delete_cf(cf, key),
            }
        }
        for Taken { group, applied, .. } in taken {
            batch.put_cf(databases.applied_cf(), group.id().get().to_be_bytes(), seal_applied(applied));
        }
        (batch, rows.len())
    }
}

#[cfg(test)]
mod tests;
