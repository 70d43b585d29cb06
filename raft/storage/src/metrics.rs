//! Counters of a store, and their export: all names of this crate, with help text. Nothing here is reset.
//!
//! In: counts and durations. Out: [`LogMetrics`] and [`StateMetrics`], and the series `kith_storage_*` of a registry, read from the store when
//! they are asked for. The one place of this crate that reads a clock, for durations only.
//! Bounds: fixed buckets; the last one of each histogram counts everything beyond.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use crate::Storage;

/// Upper bounds of the buckets of jobs per sync.
pub(crate) const JOBS_BUCKETS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
/// Upper bounds of the buckets of sync times, in microseconds.
pub(crate) const MICROS_BUCKETS: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000];

/// Measures from when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "durations for metrics; nothing hangs on them")]
        let now = Instant::now();
        Self(now)
    }
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

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

    pub(crate) fn record_micros(&self, value: Duration) {
        self.record(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
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
    /// Time of a job in the queue, in microseconds.
    pub queue_wait_micros: Histogram,
}

pub(crate) struct LogCounters {
    pub(crate) queue_waits: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) jobs_per_sync: Distribution<11>,
    pub(crate) sync_micros: Distribution<12>,
    pub(crate) queue_wait_micros: Distribution<12>,
}

impl LogCounters {
    pub(crate) fn new() -> Self {
        Self {
            queue_waits: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            jobs_per_sync: Distribution::new(&JOBS_BUCKETS),
            sync_micros: Distribution::new(&MICROS_BUCKETS),
            queue_wait_micros: Distribution::new(&MICROS_BUCKETS),
        }
    }

    pub(crate) fn synced(&self, jobs: usize, bytes: usize, took: Duration) {
        self.jobs_per_sync.record(jobs as u64);
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.sync_micros.record_micros(took);
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

impl Storage {
    /// Registers all series, as `kith_storage_*`. The registry does not keep the store open.
    pub fn register_metrics(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Exported(Arc::downgrade(self))));
    }
}

struct Exported(Weak<Storage>);

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exported(store)")
    }
}

impl Collector for Exported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(storage) = self.0.upgrade() else { return Ok(()) };
        let (log, state) = (storage.log().metrics(), storage.state().metrics());
        let gauges = [
            ("kith_storage_log_queue_jobs", "Jobs that wait for the log writer.", log.queue_jobs),
            ("kith_storage_log_queue_bytes", "Bytes that wait for the log writer.", log.queue_bytes),
            ("kith_storage_overlay_bytes", "Applied rows that are not yet in the state database.", state.overlay_bytes),
        ];
        for (name, help, value) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&value)?;
        }
        let counters = [
            ("kith_storage_log_queue_full", "Times an appender had to wait for room in the log queue.", log.queue_waits),
            ("kith_storage_log_written_bytes", "Bytes written to the log.", log.written_bytes),
            ("kith_storage_overlay_full", "Times a commit had to wait for room in the overlay.", state.commit_waits),
            ("kith_storage_state_batches", "Batches written to the state database.", state.batches),
            ("kith_storage_state_rows", "Rows written to the state database.", state.rows),
            ("kith_storage_state_written_bytes", "Bytes written to the state database.", state.written_bytes),
            ("kith_storage_row_cache_hits", "Rows read from memory.", state.cache_hits),
            ("kith_storage_row_cache_misses", "Rows that could be cached and were read from the database.", state.cache_misses),
        ];
        for (name, help, value) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        let histograms = [
            ("kith_storage_sync_jobs", "Jobs carried by one synced batch of the log.", &log.jobs_per_sync, 1.0),
            ("kith_storage_sync_seconds", "One synced write of the log.", &log.sync_micros, 1e-6),
            ("kith_storage_log_queue_wait_seconds", "How long a job waited for the log writer.", &log.queue_wait_micros, 1e-6),
        ];
        for (name, help, histogram, unit) in histograms {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            let bounds = histogram.buckets.iter().map(|(bound, count)| (*bound as f64 * unit, *count));
            let buckets: Vec<(f64, u64)> = bounds.chain([(f64::MAX, histogram.beyond)]).collect();
            metric.encode_histogram::<NoLabelSet>(histogram.sum as f64 * unit, histogram.count, &buckets, None)?;
        }
        Ok(())
    }
}
