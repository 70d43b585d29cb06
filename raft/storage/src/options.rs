//! Sizes and times of a store, with the defaults that a small machine wants.

use std::time::Duration;

use kith_machine::mutant::Quirk;

use crate::step::Steps;

/// How a store is opened. The defaults suit a machine of two cores and a few GiB; nothing here changes what is on the disk.
#[derive(Clone, Debug)]
pub struct Options {
    /// Block cache shared by both databases, in bytes. Memtables are counted against it, so it is the bound of both together.
    pub block_cache_bytes: usize,
    /// Memtables of both databases together, in bytes. Beyond it RocksDB flushes.
    pub write_buffers_bytes: usize,
    /// One memtable of the log, in bytes: large, so that purged entries die before they reach a file.
    pub log_memtable_bytes: usize,
    /// One memtable of a column family of the state, in bytes.
    pub state_memtable_bytes: usize,
    /// Decoded rows kept (channels, rosters, dedup, positions, users), in bytes. The least used make room.
    pub row_cache_bytes: u64,
    /// Entries queued for the log writer, in bytes. Beyond it `append` blocks: the disk has stalled.
    pub log_queue_bytes_max: usize,
    /// Entries of one synced batch, in bytes; one job always fits. The rest goes into the next one.
    pub log_batch_bytes_max: usize,
    /// Jobs of one synced batch. The rest goes into the next one.
    pub log_batch_jobs_max: usize,
    /// Least time between the starts of two syncs while each carries more than one job; none when idle.
    pub log_sync_gap: Duration,
    /// Flushed entries of one group that stay in memory for followers, in bytes. The oldest are read from disk.
    pub log_tail_bytes: usize,
    /// Applied rows that are not yet in the state database, in bytes, over all groups. Beyond it `commit` blocks.
    pub overlay_bytes_max: usize,
    /// A database of at most so many bytes is read through when it is opened, so that damage is found before it is relied on.
    pub inspect_bytes_max: u64,
    /// Pause between two batches of the state writer. What is written over and over (a busy channel's head, positions, numbers; the index of a user
    /// in many) is written once a batch: with 10 ms instead of 100 the whole node took 40 % more CPU, with 100 instead of 500 an index update 20 %.
    pub state_write_interval: Duration,
    /// What is wrong with this node; an empty value without the feature.
    pub quirk: Quirk,
    /// Whom it tells of its steps; an empty value without the feature.
    pub steps: Steps,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 << 20,
            write_buffers_bytes: 160 << 20,
            log_memtable_bytes: 64 << 20,
            state_memtable_bytes: 32 << 20,
            row_cache_bytes: 64 << 20,
            log_queue_bytes_max: 64 << 20,
            log_batch_bytes_max: 4 << 20,
            log_batch_jobs_max: 1_024,
            log_sync_gap: Duration::from_millis(1),
            log_tail_bytes: 8 << 20,
            overlay_bytes_max: 64 << 20,
            inspect_bytes_max: 1 << 30,
            state_write_interval: Duration::from_millis(500),
            quirk: Quirk::default(),
            steps: Steps::default(),
        }
    }
}
