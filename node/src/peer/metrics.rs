//! Every metric of the links to other nodes.

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

use super::queue::Class;

/// Of all links of a node.
#[derive(Debug)]
pub struct PeerMetrics {
    /// Links to other nodes that are up.
    pub links_up: Gauge,
    /// Attempts to open a link that failed, by reason.
    pub dial_failures: Family<DialLabel, Counter>,
    /// Frames that wait for peers, by class.
    pub queue_frames: Family<ClassLabel, Gauge>,
    /// Bytes that wait for peers, by class.
    pub queue_bytes: Family<ClassLabel, Gauge>,
    /// Seconds that a frame waited, by class.
    pub queue_wait: Family<ClassLabel, Histogram>,
    /// Frames that a queue did not take, by class and reason.
    pub queue_rejects: Family<QueueLabel, Counter>,
    /// Asks of peers that are being answered, by class.
    pub asks: Family<ClassLabel, Gauge>,
    /// Asks of peers refused because one of them had too many, by class.
    pub ask_rejects: Family<ClassLabel, Counter>,
}

/// Why a queue did not take a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum QueueReject {
    /// It is full.
    Full,
    /// Its link is gone.
    Closed,
}

/// Why a link was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum DialFailure {
    /// Nobody answered, or too late.
    Unreachable,
    /// TLS: one of the two is not of the other's cluster.
    Untrusted,
    /// The hello: one of the two is not the one the other knows.
    Refused,
}

/// A class of frames.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct ClassLabel {
    /// Which.
    pub class: Class,
}
/// Label of [`PeerMetrics::queue_rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct QueueLabel {
    /// Whose bound it was.
    pub class: Class,
    /// Why.
    pub reason: QueueReject,
}
/// Label of [`PeerMetrics::dial_failures`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct DialLabel {
    /// Why.
    pub reason: DialFailure,
}

impl Default for PeerMetrics {
    fn default() -> Self {
        let metrics = Self {
            links_up: Gauge::default(),
            dial_failures: Family::default(),
            queue_frames: Family::default(),
            queue_bytes: Family::default(),
            queue_wait: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_05, 4.0, 10))),
            queue_rejects: Family::default(),
            asks: Family::default(),
            ask_rejects: Family::default(),
        };
        for class in Class::ALL {
            let label = ClassLabel { class };
            drop(metrics.queue_frames.get_or_create(&label));
            drop(metrics.queue_bytes.get_or_create(&label));
            drop(metrics.queue_wait.get_or_create(&label));
            drop(metrics.asks.get_or_create(&label));
            drop(metrics.ask_rejects.get_or_create(&label));
            for reason in [QueueReject::Full, QueueReject::Closed] {
                drop(metrics.queue_rejects.get_or_create(&QueueLabel { class, reason }));
            }
        }
        for reason in [DialFailure::Unreachable, DialFailure::Untrusted, DialFailure::Refused] {
            drop(metrics.dial_failures.get_or_create(&DialLabel { reason }));
        }
        metrics
    }
}

impl PeerMetrics {
    /// Counts an attempt that failed.
    pub fn dial_failed(&self, reason: DialFailure) {
        self.dial_failures.get_or_create(&DialLabel { reason }).inc();
    }
    /// Attempts that failed for this reason.
    pub fn dials_failed(&self, reason: DialFailure) -> u64 {
        self.dial_failures.get_or_create(&DialLabel { reason }).get()
    }
    /// Puts all into a registry, as `kith_peer_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_peer");
        registry.register("links_up", "Links to other nodes that are up", self.links_up.clone());
        registry.register("dial_failures", "Attempts to open a link that failed, by reason", self.dial_failures.clone());
        registry.register("queue_frames", "Frames that wait for peers, by class", self.queue_frames.clone());
        registry.register("queue_bytes", "Bytes that wait for peers, by class", self.queue_bytes.clone());
        registry.register("queue_wait_seconds", "How long the oldest frame of a write waited for its peer, by class", self.queue_wait.clone());
        registry.register("queue_rejects", "Frames that a queue to a peer did not take, by class and reason", self.queue_rejects.clone());
        registry.register("asks", "Asks of peers that are being answered, by class", self.asks.clone());
        registry.register("ask_rejects", "Asks of peers refused because one of them had too many, by class", self.ask_rejects.clone());
    }
}
