//! Counters of a store, read by whoever exports them. Nothing here is reset.
//!
//! Bounds: fixed buckets; the last one of each histogram counts everything beyond.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets of jobs per sync.
pub(crate) const JOBS_BUCKETS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// Upper bounds of the buckets of sync times, in microseconds.
pub(crate) const SYNC_MICROS_BUCKETS: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// A histogram as it stands: how many values fell into each bucket, and beyond the last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    /// Upper bound (inclusive) and how many values fell between it and the one before.
    pub buckets: Vec<(u64, u64)>,
    /// Values beyond the last bound.
    pub beyond: u64,
    /// Sum of all values.
    pub sum: u64,
    /// How many values.
    pub count: u64,
}

pub(crate) struct Distribution<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Distribution<N> {
    pub(crate) fn new(bounds: &'static [u64; N]) -> Self {
        Self { bounds, counts: std::array::from_fn(|_| AtomicU64::new(0)), beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub(crate) fn record(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts.get(at).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        let buckets: Vec<_> = self.bounds.iter().zip(&self.counts).map(|(bound, count)| (*bound, count.load(Relaxed))).collect();
        let beyond = self.beyond.load(Relaxed);
        Histogram { count: beyond + buckets.iter().map(|(_, count)| count).sum::<u64>(), buckets, beyond, sum: self.sum.load(Relaxed) }
    }
}

/// The log writer, as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogMetrics {
    /// Jobs that wait.
    pub queue_jobs: u64,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Times an appender had to wait for room.
    pub queue_waits: u64,
    /// Bytes written, before RocksDB's own framing.
    pub written_bytes: u64,
    /// Jobs carried by one synced batch.
    pub jobs_per_sync: Histogram,
    /// Time of one synced write, in microseconds.
    pub sync_micros: Histogram,
}

pub(crate) struct LogCounters {
    pub(crate) queue_waits: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) jobs_per_sync: Distribution<11>,
    pub(crate) sync_micros: Distribution<12>,
}

impl LogCounters {
    pub(crate) fn new() -> Self {
        Self {
            queue_waits: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            jobs_per_sync: Distribution::new(&JOBS_BUCKETS),
            sync_micros: Distribution::new(&SYNC_MICROS_BUCKETS),
        }
    }

    pub(crate) fn synced(&self, jobs: usize, bytes: usize, took: Duration) {
        self.jobs_per_sync.record(jobs as u64);
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.sync_micros.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

/// The state side, as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateMetrics {
    /// Applied rows that are not yet in the database, in bytes.
    pub overlay_bytes: u64,
    /// Times a commit had to wait for room.
    pub commit_waits: u64,
    /// Batches of the state writer.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes in them.
    pub written_bytes: u64,
    /// Reads answered by the decoded rows in memory.
    pub cache_hits: u64,
    /// Reads of cacheable rows that went to the database.
    pub cache_misses: u64,
}

#[derive(Default)]
pub(crate) struct StateCounters {
    pub(crate) commit_waits: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
}
