//! The two databases of a node: how they are opened, who else may, and what identifies them.
//!
//! In: a directory. Out: `DIR/log` (RocksDB with WAL, synced by the log writer) and `DIR/state` (RocksDB that never writes its WAL, atomic flush).
//! Invariants: one process per directory (`DIR/LOCK`); nothing is ever written to the state database with WAL, nor to the log without;
//! the boot epoch is on the disk before anyone sees it.
//! Not here: what is in the column families (`log`, `key`).

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use kith_machine::mutant::{Mutant, Quirk};
use kith_wire::{
    id::{BootEpoch, StoreId},
    upgrade::{ClusterVersion, Unfit},
};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Options as DbOptions,
    ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use thiserror::Error;

use crate::{
    codec::{self, EnvelopeError},
    key::Family,
    loss::{self, Damaged},
    mark,
    options::Options,
    quarantine::{LOST, is_stage},
    witness::{self, Witness},
};

/// Column family of the log database: entries by group and index.
pub(crate) const CF_LOG: &str = "log";
/// Column family of the log database: vote, purge point and commit hint by group.
pub(crate) const CF_META: &str = "meta";
/// Column family of the log database: values of the node itself, by name.
pub(crate) const CF_LOCAL: &str = "local";
/// Column family of the state database: the applied row, by group.
pub(crate) const CF_APPLIED: &str = "applied";

/// Share of the files of long texts, the oldest, whose texts move on when a compaction meets them, and the garbage in them that calls for one.
const BLOB_GC_OLDEST: f64 = 0.05;
const BLOB_GC_GARBAGE: f64 = 0.5;
const IDENTITY: &[u8] = b"identity";
const OFFSET: &[u8] = b"position-offset";
/// Positions after a loss begin so far beyond those before it that nobody has seen a higher one.
const OFFSET_STEP: u64 = 1 << 40;

/// What a data directory is, and how often it was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Drawn when the directory was made.
    pub store: StoreId,
    /// Raised and synced at each open: from 1.
    pub boot: BootEpoch,
}

/// The store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Its cluster has been upgraded beyond this build, or not far enough for it. Nothing was changed.
    #[error(transparent)]
    Version(#[from] Unfit),
    /// Another process works on it (or this one does already).
    #[error("data directory {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The directory cannot be made, read or written.
    #[error("cannot use data directory {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// RocksDB refuses.
    #[error("cannot open the {database} database")]
    Database { database: &'static str, source: rocksdb::Error },
    /// The two records of the identity name different stores.
    #[error("the files in the data directory belong to two different stores")]
    Mixed,
    /// The directory's own identity is damaged.
    #[error("identity of the data directory is damaged")]
    Identity(#[source] EnvelopeError),
    /// The identity has a length that no version wrote.
    #[error("identity of the data directory has {0} bytes")]
    IdentityLength(usize),
    /// What the log says of a group is damaged.
    #[error("log is damaged")]
    Log(#[from] crate::log::ReadError),
    /// A value of the node itself is damaged.
    #[error("the node's own values are damaged")]
    Local(#[from] crate::local::LocalError),
    /// What the state says of its groups cannot be read.
    #[error("state is damaged")]
    State(#[from] crate::state::AppliedError),
    /// An interrupted install or removal could not be completed.
    #[error("cannot complete what an earlier run left unfinished")]
    Unfinished(#[source] crate::install::InstallError),
    /// A thread could not be started.
    #[error("cannot start a storage thread")]
    Thread(#[source] io::Error),
}

/// Both databases, open, with the lock that keeps others out.
pub(crate) struct Databases {
    pub(crate) log: DB,
    pub(crate) state: DB,
    pub(crate) dir: PathBuf,
    pub(crate) quirk: Quirk,
    witness: Option<Witness>,
    /// Added to the sequence number of the log database: positions never go back, also when that database is a new one.
    offset: AtomicU64,
    position: AtomicU64,
    _lock: File,
}

/// What was found when the databases were opened.
pub(crate) struct Opened {
    pub(crate) databases: Databases,
    /// The version of the cluster that the directory is marked with.
    pub(crate) mark: ClusterVersion,
    /// What the file beside the log says was synced.
    synced: Option<u64>,
    /// The log database is a new one.
    lost_log: Option<String>,
    pub(crate) log_damage: Damaged,
    pub(crate) state_damage: Damaged,
}

impl Databases {
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
        let unusable = |source| OpenError::Directory { path: dir.to_owned(), source };
        let build = options.quirk.build();
        // Before anything of it is touched.
        mark::check(dir, build)?;
        fs::create_dir_all(dir).map_err(unusable)?;
        let lock = lock(dir)?;
        let mark = match mark::check(dir, build)? {
            Some(mark) => mark,
            // The oldest that this build serves: the build before it may open the directory until a map says that the cluster is beyond.
            None => {
                mark::write(dir, build.oldest()).map_err(unusable)?;
                build.oldest()
            }
        };
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(options.write_buffers_bytes, false, cache.clone());
        let (witness, synced) = Witness::open(dir).map_err(unusable)?;
        let families = vec![(CF_LOG, true), (CF_META, true), (CF_LOCAL, false)];
        let mut log = loss::open(dir, "log", &families, options, |path| {
            DB::open_cf_descriptors(&log_options(&buffers, options.log_memtable_bytes, options.quirk), path, log_families(options, &cache))
        })?;
        let mut families: loss::Families = Family::ALL.into_iter().map(|family| (family.name(), true)).collect();
        families.push((CF_APPLIED, true));
        let state = loss::open(dir, "state", &families, options, |path| {
            DB::open_cf_descriptors(&state_options(&buffers), path, state_families(options, &cache))
        })?;
        // Without the node's own values nobody can say what the rest is worth.
        let lost_log = log.lost.take().or_else(|| log.damaged.remove(&loss::EVERY_GROUP));
        let databases = Self {
            log: log.db,
            state: state.db,
            dir: dir.to_owned(),
            quirk: options.quirk,
            witness: Some(witness),
            offset: AtomicU64::new(0),
            position: AtomicU64::new(0),
            _lock: lock,
        };
        Ok(Opened { databases, mark, synced, lost_log, log_damage: log.damaged, state_damage: state.damaged })
    }

    /// How much the log has synced, ever: rises with each synced batch, over restarts and losses.
    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// The log was synced.
    pub(crate) fn note_synced(&self) {
        let position = self.offset.load(Ordering::Acquire) + self.log.latest_sequence_number();
        self.position.store(position, Ordering::Release);
        let is_careless = self.quirk.is(Mutant::WalSyncOff) || self.quirk.is(Mutant::AckBeforeFsync);
        if let Some(witness) = self.witness.as_ref().filter(|_| !is_careless) {
            witness.note(position);
        }
    }

    /// Opens both for reading only, as the offline check does. What is in the log's WAL is seen, nothing is changed: column families that the build which wrote
    /// them did not have are not made, and are empty.
    pub(crate) fn open_read_only(dir: &Path, options: &Options) -> Result<Self, OpenError> {
        mark::check(dir, options.quirk.build())?;
        let lock = lock(dir)?;
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(options.write_buffers_bytes, false, cache.clone());
        let log = DB::open_cf_descriptors_read_only(
            &log_options(&buffers, options.log_memtable_bytes, options.quirk),
            dir.join("log"),
            log_families(options, &cache),
            false,
        )
        .map_err(|source| OpenError::Database { database: "log", source })?;
        let refused = |source| OpenError::Database { database: "state", source };
        let there = DB::list_cf(&state_options(&buffers), dir.join("state")).map_err(refused)?;
        let families = state_families(options, &cache).into_iter().filter(|family| there.iter().any(|name| name == family.name()));
        let state = DB::open_cf_descriptors_read_only(&state_options(&buffers), dir.join("state"), families, false).map_err(refused)?;
        Ok(Self {
            log,
            state,
            dir: dir.to_owned(),
            quirk: options.quirk,
            witness: None,
            offset: AtomicU64::new(0),
            position: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Options of every read of rows and entries.
    pub(crate) fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(!self.quirk.is(Mutant::ChecksumSkipped));
        options
    }

    pub(crate) fn log_cf(&self, name: &'static str) -> &ColumnFamily {
        self.log.cf_handle(name).expect("every column family of `log_families` was opened")
    }

    pub(crate) fn state_cf(&self, family: Family) -> &ColumnFamily {
        let none = || self.state.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).filter(|_| self.witness.is_none());
        // For reading only, one that is missing is empty: as the default one is, into which nothing is ever written.
        self.state.cf_handle(family.name()).or_else(none).expect("every column family of `state_families` was opened")
    }

    pub(crate) fn applied_cf(&self) -> &ColumnFamily {
        self.state.cf_handle(CF_APPLIED).expect("every column family of `state_families` was opened")
    }

    /// The identity as stored, without raising the boot epoch.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, OpenError> {
        let value = self.log.get_cf(self.log_cf(CF_LOCAL), IDENTITY).map_err(|source| OpenError::Database { database: "log", source })?;
        value.map(|value| parse_identity(codec::open(&value).map_err(OpenError::Identity)?)).transpose()
    }
}

impl Opened {
    /// Reads the identity, raises the boot epoch, and syncs it. A new directory draws its store id. A log that was lost, or that ends before
    /// what it has synced, is noted in the same write: from then on no group is relied on.
    pub(crate) fn boot(&mut self) -> Result<Identity, OpenError> {
        let refused = |source| OpenError::Database { database: "log", source };
        let Databases { log, dir, offset, .. } = &self.databases;
        let unusable = |source| OpenError::Directory { path: dir.clone(), source };
        let cf = self.databases.log_cf(CF_LOCAL);
        let mut lost = self.lost_log.take();
        // What is damaged was lost, as far as the node's own values go.
        let local = |name: &[u8]| log.get_cf(cf, name).map(|value| value.and_then(|value| codec::open(&value).map(<[u8]>::to_vec).ok()));
        let stored = local(IDENTITY).map_err(refused)?.map(|body| parse_identity(&body)).transpose()?;
        let (store, boot) = match (stored, witness::read_identity(dir)) {
            (Some(stored), Some(beside)) if stored.store != beside.store => return Err(OpenError::Mixed),
            (Some(stored), Some(beside)) => (stored.store, stored.boot.max(beside.boot)),
            (Some(stored), None) => (stored.store, stored.boot),
            (None, Some(beside)) => {
                lost.get_or_insert_with(|| "the log database is empty".to_owned());
                (beside.store, beside.boot)
            }
            (None, None) => (draw_store(dir)?, BootEpoch::default()),
        };
        let identity = Identity { store, boot: BootEpoch::new(boot.get() + 1) };
        let kept = local(OFFSET).map_err(refused)?.and_then(|body| body.first_chunk::<8>().map(|raw| u64::from_be_bytes(*raw))).unwrap_or(0);
        let here = kept + log.latest_sequence_number();
        if let Some(synced) = self.synced.filter(|synced| *synced > here && lost.is_none()) {
            lost = Some(format!("the log ends at {here}, but was synced up to {synced}"));
        }
        let mut batch = WriteBatch::new();
        batch.put_cf(cf, IDENTITY, codec::seal(&render_identity(identity)));
        if let Some(cause) = &lost {
            tracing::error!(cause, "storage: the raft log was lost or cut; every replica here is rebuilt from its peers");
            let beyond = here.max(self.synced.unwrap_or(0)) + OFFSET_STEP;
            offset.store(beyond, Ordering::Release);
            batch.put_cf(cf, OFFSET, codec::seal(&beyond.to_be_bytes()));
            batch.put_cf(cf, LOST, codec::seal(cause.as_bytes()));
            let mut rows = log.raw_iterator_cf(cf);
            rows.seek_to_first();
            while let Some(name) = rows.key() {
                // Stages of an earlier loss are void, and what is damaged here can only stand in the way.
                if is_stage(name) || (name != IDENTITY && rows.value().is_some_and(|value| codec::open(value).is_err())) {
                    batch.delete_cf(cf, name);
                }
                rows.next();
            }
            rows.status().map_err(refused)?;
        } else {
            offset.store(kept, Ordering::Release);
        }
        log.write_opt(batch, &synced()).map_err(refused)?;
        witness::write_identity(dir, identity).map_err(unusable)?;
        self.databases.note_synced();
        Ok(identity)
    }
}

/// Options of a synced write to the log.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// Options of every write to the state: no WAL, since the raft log is its WAL.
pub(crate) fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Directory { path: dir.to_owned(), source };
    let file = File::options().create(true).truncate(false).read(true).write(true).open(dir.join("LOCK")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

pub(crate) fn render_identity(identity: Identity) -> Vec<u8> {
    let mut body = identity.store.as_bytes().to_vec();
    body.extend_from_slice(&identity.boot.get().to_be_bytes());
    body
}

pub(crate) fn parse_identity(body: &[u8]) -> Result<Identity, OpenError> {
    let (Some((store, rest)), 24) = (body.split_first_chunk::<16>(), body.len()) else { return Err(OpenError::IdentityLength(body.len())) };
    let boot = rest.first_chunk::<8>().map(|raw| u64::from_be_bytes(*raw)).ok_or(OpenError::IdentityLength(body.len()))?;
    Ok(Identity { store: StoreId::new(*store), boot: BootEpoch::new(boot) })
}

/// 16 bytes from the system: read once in the life of a directory, so not worth a dependency.
fn draw_store(dir: &Path) -> Result<StoreId, OpenError> {
    let mut raw = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut raw))
        .map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
    Ok(StoreId::new(raw))
}

fn common(buffers: &WriteBufferManager) -> DbOptions {
    let mut options = DbOptions::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_write_buffer_manager(buffers);
    options.set_max_background_jobs(2);
    options.set_max_open_files(1_024);
    // RocksDB's own text log: two small files, not one per start for ever.
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

fn log_options(buffers: &WriteBufferManager, log_memtable_bytes: usize, quirk: Quirk) -> DbOptions {
    let mut options = common(buffers);
    let reads_on = quirk.is(Mutant::ChecksumSkipped);
    options.set_wal_recovery_mode(if reads_on { DBRecoveryMode::SkipAnyCorruptedRecord } else { DBRecoveryMode::PointInTime });
    options.set_paranoid_checks(!reads_on);
    options.set_recycle_log_file_num(4);
    options.set_manual_wal_flush(false);
    options.set_enable_pipelined_write(false);
    // The rows beside the entries (votes, what is committed) are few, and must not hold back the files of the entries: a file is used again only when nothing
    // in it is wanted any more, and a node that starts reads all that are left.
    options.set_max_total_wal_size(2 * log_memtable_bytes as u64);
    options
}

fn state_options(buffers: &WriteBufferManager) -> DbOptions {
    let mut options = common(buffers);
    options.set_atomic_flush(true);
    options
}

fn log_families(options: &Options, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let mut entries = family_options(cache, options.log_memtable_bytes);
    entries.set_compression_type(DBCompressionType::None);
    let small = || family_options(cache, 4 << 20);
    vec![
        ColumnFamilyDescriptor::new(CF_LOG, entries),
        ColumnFamilyDescriptor::new(CF_META, small()),
        ColumnFamilyDescriptor::new(CF_LOCAL, small()),
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, small()),
    ]
}

fn state_families(options: &Options, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let rows = || {
        let mut family = family_options(cache, options.state_memtable_bytes);
        family.set_compression_type(DBCompressionType::Lz4);
        family.set_bottommost_compression_type(DBCompressionType::Zstd);
        family
    };
    let mut messages = rows();
    // A chat line of 200 bytes gains nothing from a blob file; the long ones need not move with every compaction.
    messages.set_enable_blob_files(true);
    messages.set_min_blob_size(1_024);
    messages.set_blob_compression_type(DBCompressionType::Zstd);
    // Texts are deleted seldom. By default a compaction writes anew every text that it meets in the oldest quarter of the files.
    messages.set_enable_blob_gc(true);
    messages.set_blob_gc_age_cutoff(BLOB_GC_OLDEST);
    messages.set_blob_gc_force_threshold(BLOB_GC_GARBAGE);
    let mut families = vec![
        ColumnFamilyDescriptor::new(Family::Message.name(), messages),
        ColumnFamilyDescriptor::new(CF_APPLIED, rows()),
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, rows()),
    ];
    families
        .extend(Family::ALL.into_iter().filter(|family| *family != Family::Message).map(|family| ColumnFamilyDescriptor::new(family.name(), rows())));
    families
}

fn family_options(cache: &Cache, memtable_bytes: usize) -> DbOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(16 << 10);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    // In pieces of a few KiB: whole, those of one file are a MiB and more, and where not all fit into the cache each read of a row reads and checks one.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = DbOptions::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(memtable_bytes);
    options.set_max_write_buffer_number(3);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}
