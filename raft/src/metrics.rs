//! Metrics of kith-raft: all names, with help text. One set per node, handed in; no labels but closed ones.
//!
//! In: counts and durations from the other modules. Out: a prometheus registry's series `kith_raft_*`. Also the one place of this crate
//! that reads a clock, for durations only.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// A gauge of the largest value seen since the start.
#[derive(Clone, Debug, Default)]
pub struct HighWater(Gauge<u64, AtomicU64>);
impl HighWater {
    pub(crate) fn observe_max(&self, value: usize) {
        self.0.inner().fetch_max(value as u64, std::sync::atomic::Ordering::Relaxed);
    }
    /// The largest value seen.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

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

/// What a node's groups count.
#[derive(Debug)]
pub struct RaftMetrics {
    /// Items per proposed entry.
    pub batch_items: Histogram,
    /// Bytes per proposed entry.
    pub batch_bytes: Histogram,
    /// Seconds from proposing an entry until it was applied here.
    pub propose_seconds: Histogram,
    /// Items that wait at proposers now.
    pub queue_items: Gauge,
    /// Seconds an item waited at its proposer.
    pub queue_wait_seconds: Histogram,
    /// Items that no proposer's queue took, by reason.
    pub queue_rejects: Family<QueueRejectLabel, Counter>,
    /// Items whose fate was not known when their proposer gave up on them.
    pub unknown: Counter,
    /// Seconds of applying one entry, without waiting for the disk.
    pub apply_seconds: Histogram,
    /// Entries applied.
    pub applied_entries: Counter,
    /// Append sessions that are open now, as a leader.
    pub sessions_open: Gauge,
    /// Append sessions that failed.
    pub sessions_failed: Counter,
    /// Of these, for want of an answer in time.
    pub sessions_overdue: Counter,
    /// Appends sent.
    pub appends: Counter,
    /// Log entries sent.
    pub append_entries: Counter,
    /// Frames of heartbeats sent.
    pub heartbeat_frames: Counter,
    /// Heartbeats sent.
    pub heartbeats: Counter,
    /// Recent history served from memory.
    pub recent_hits: Counter,
    /// Recent history that had to be read.
    pub recent_misses: Counter,
    /// Most bytes that one group's recent history has taken.
    pub recent_bytes: HighWater,
    /// Snapshots sent to a follower.
    pub snapshots_sent: Counter,
    /// Snapshots installed.
    pub snapshots_installed: Counter,
    /// Groups of which this node leads one.
    pub led_groups: Gauge,
    /// Groups that stopped with an error.
    pub failed_groups: Gauge,
    /// Damaged replicas that began anew.
    pub rebuilds_begun: Counter,
    /// Those that are voters again.
    pub rebuilds_done: Counter,
}

impl Default for RaftMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
        Self {
            batch_items: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            batch_bytes: Histogram::new(exponential_buckets(128.0, 4.0, 8)),
            propose_seconds: seconds(),
            queue_items: Gauge::default(),
            queue_wait_seconds: seconds(),
            queue_rejects: Family::default(),
            unknown: Counter::default(),
            apply_seconds: seconds(),
            applied_entries: Counter::default(),
            sessions_open: Gauge::default(),
            sessions_failed: Counter::default(),
            sessions_overdue: Counter::default(),
            appends: Counter::default(),
            append_entries: Counter::default(),
            heartbeat_frames: Counter::default(),
            heartbeats: Counter::default(),
            recent_hits: Counter::default(),
            recent_misses: Counter::default(),
            recent_bytes: HighWater::default(),
            snapshots_sent: Counter::default(),
            snapshots_installed: Counter::default(),
            led_groups: Gauge::default(),
            failed_groups: Gauge::default(),
            rebuilds_begun: Counter::default(),
            rebuilds_done: Counter::default(),
        }
    }
}

/// Why a proposer's queue did not take an item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum QueueReject {
    /// It holds as many as it may.
    Items,
    /// It holds as many bytes as it may.
    Bytes,
    /// This node does not lead the group.
    NotLeader,
    /// The group is closed.
    Stopped,
}

/// Label of [`RaftMetrics::queue_rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct QueueRejectLabel {
    /// Why.
    pub reason: QueueReject,
}

impl RaftMetrics {
    pub(crate) fn reject(&self, reason: QueueReject) {
        self.queue_rejects.get_or_create(&QueueRejectLabel { reason }).inc();
    }
    /// Items that were not taken for this reason.
    pub fn rejected(&self, reason: QueueReject) -> u64 {
        self.queue_rejects.get_or_create(&QueueRejectLabel { reason }).get()
    }
    /// Registers all series, as `kith_raft_*`.
    pub fn register(&self, registry: &mut Registry) {
        let r = registry.sub_registry_with_prefix("kith_raft");
        r.register("batch_items", "Items per proposed entry", self.batch_items.clone());
        r.register("batch_bytes", "Bytes per proposed entry", self.batch_bytes.clone());
        r.register("propose_seconds", "From proposing an entry until it was applied here", self.propose_seconds.clone());
        r.register("queue_items", "Items that wait at proposers", self.queue_items.clone());
        r.register("queue_wait_seconds", "How long an item waited at its proposer", self.queue_wait_seconds.clone());
        for reason in [QueueReject::Items, QueueReject::Bytes, QueueReject::NotLeader, QueueReject::Stopped] {
            drop(self.queue_rejects.get_or_create(&QueueRejectLabel { reason }));
        }
        r.register("queue_rejects", "Items that no proposer's queue took, by reason", self.queue_rejects.clone());
        r.register("unknown", "Items whose fate was not known when their proposer gave up on them", self.unknown.clone());
        r.register("apply_seconds", "Applying one entry, without waiting for the disk", self.apply_seconds.clone());
        r.register("applied_entries", "Entries applied", self.applied_entries.clone());
        r.register("sessions_open", "Append sessions open as a leader", self.sessions_open.clone());
        r.register("sessions_failed", "Append sessions that failed", self.sessions_failed.clone());
        r.register("sessions_overdue", "Append sessions given up for want of an answer", self.sessions_overdue.clone());
        r.register("appends", "Appends sent", self.appends.clone());
        r.register("append_entries", "Log entries sent", self.append_entries.clone());
        r.register("heartbeat_frames", "Frames of heartbeats sent", self.heartbeat_frames.clone());
        r.register("heartbeats", "Heartbeats sent", self.heartbeats.clone());
        r.register("recent_hits", "Recent history served from memory", self.recent_hits.clone());
        r.register("recent_misses", "Recent history that had to be read", self.recent_misses.clone());
        r.register("recent_max_bytes", "Most bytes that one group's recent history has taken", self.recent_bytes.0.clone());
        r.register("snapshots_sent", "Snapshots sent to a follower", self.snapshots_sent.clone());
        r.register("snapshots_installed", "Snapshots installed", self.snapshots_installed.clone());
        r.register("led_groups", "Groups that this node leads", self.led_groups.clone());
        r.register("rebuilds_begun", "Damaged replicas that were taken out of their group and began anew", self.rebuilds_begun.clone());
        r.register("rebuilds_done", "Replicas that began anew and are voters again", self.rebuilds_done.clone());
        r.register("failed_groups", "Groups that stopped with an error", self.failed_groups.clone());
    }
}
