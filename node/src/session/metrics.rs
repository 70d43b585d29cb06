//! Every metric of sessions and their outboxes. No user, channel or session ids in labels.

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

/// Of all sessions of a node.
#[derive(Debug)]
pub struct SessionMetrics {
    /// Sessions that were welcomed and have not ended.
    pub open: Gauge,
    /// Sessions ever welcomed.
    pub opened: Counter,
    /// Sessions that ended, by reason.
    pub ended: Family<EndLabel, Counter>,
    /// Requests that wait for an answer or behind another of their channel.
    pub depth: Gauge,
    /// Requests refused before they were tried, by reason.
    pub rejects: Family<SessionRejectLabel, Counter>,
    /// Seconds from a request's frame to its answer.
    pub wait: Histogram,
    /// Frames of one write to a chat stream.
    pub frames_per_write: Histogram,
    /// Pages given on bulk streams.
    pub pages: Counter,
}

/// Of all outboxes of a node.
#[derive(Debug)]
pub struct OutboxMetrics {
    /// Frames queued.
    pub depth: Gauge,
    /// Seconds in the queue.
    pub wait: Histogram,
    /// Frames dropped for want of room, by kind.
    pub rejects: Family<OutboxRejectLabel, Counter>,
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum End {
    /// The client went.
    Left,
    /// It was silent for too long.
    Silent,
    /// It broke the protocol.
    Protocol,
    /// Hello was refused.
    Refused,
    /// A newer connection took over.
    Replaced,
    /// This node shuts down.
    Draining,
}

/// Why a request was refused before it was tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum SessionReject {
    /// Too many of the session wait.
    Busy,
    /// Of a kind that this version does not know.
    Unsupported,
}

/// What an outbox dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum OutboxReject {
    /// A live record or receipt.
    Live,
    /// The rows of an index move; its number is kept.
    Move,
}

/// Label of [`SessionMetrics::ended`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EndLabel {
    /// Why.
    pub reason: End,
}
/// Label of [`SessionMetrics::rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct SessionRejectLabel {
    /// Why.
    pub reason: SessionReject,
}
/// Label of [`OutboxMetrics::rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct OutboxRejectLabel {
    /// What.
    pub reason: OutboxReject,
}

impl Default for SessionMetrics {
    fn default() -> Self {
        Self {
            open: Gauge::default(),
            opened: Counter::default(),
            ended: Family::default(),
            depth: Gauge::default(),
            rejects: Family::default(),
            wait: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            frames_per_write: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            pages: Counter::default(),
        }
    }
}
impl SessionMetrics {
    /// Counts the end of a session.
    pub fn end(&self, reason: End) {
        self.ended.get_or_create(&EndLabel { reason }).inc();
    }
    /// Counts a request that was not tried.
    pub fn reject(&self, reason: SessionReject) {
        self.rejects.get_or_create(&SessionRejectLabel { reason }).inc();
    }
    /// Puts all into a registry, as `kith_session_*`.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [End::Left, End::Silent, End::Protocol, End::Refused, End::Replaced, End::Draining] {
            drop(self.ended.get_or_create(&EndLabel { reason }));
        }
        for reason in [SessionReject::Busy, SessionReject::Unsupported] {
            drop(self.rejects.get_or_create(&SessionRejectLabel { reason }));
        }
        let registry = registry.sub_registry_with_prefix("kith_session");
        registry.register("open", "Sessions that are open", self.open.clone());
        registry.register("opened", "Sessions ever opened", self.opened.clone());
        registry.register("ended", "Sessions that ended, by reason", self.ended.clone());
        registry.register("requests_depth", "Requests of sessions that wait for an answer", self.depth.clone());
        registry.register("requests_rejects", "Requests refused before they were tried, by reason", self.rejects.clone());
        registry.register("request_seconds", "From a request's frame to its answer", self.wait.clone());
        registry.register("frames_per_write", "Frames of one write to a chat stream", self.frames_per_write.clone());
        registry.register("pages", "Pages given on bulk streams", self.pages.clone());
    }
}

impl Default for OutboxMetrics {
    fn default() -> Self {
        Self { depth: Gauge::default(), wait: Histogram::new(exponential_buckets(0.000_1, 4.0, 10)), rejects: Family::default() }
    }
}
impl OutboxMetrics {
    /// Counts a frame that was dropped.
    pub fn reject(&self, reason: OutboxReject) {
        self.rejects.get_or_create(&OutboxRejectLabel { reason }).inc();
    }
    /// Puts all into a registry, as `kith_outbox_*`.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [OutboxReject::Live, OutboxReject::Move] {
            drop(self.rejects.get_or_create(&OutboxRejectLabel { reason }));
        }
        let registry = registry.sub_registry_with_prefix("kith_outbox");
        registry.register("depth", "Frames queued for clients", self.depth.clone());
        registry.register("wait_seconds", "Time of the oldest frame of a write in its outbox", self.wait.clone());
        registry.register("rejects", "Frames dropped for want of room, by kind", self.rejects.clone());
    }
}
