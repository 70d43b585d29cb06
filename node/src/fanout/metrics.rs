//! Every metric of fan-out, on all three sides. No user, channel or session ids in labels.

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

/// Of all that a node does for fan-out.
#[derive(Debug)]
pub struct FanoutMetrics {
    /// Channels whose refs are not yet committed by every home, as far as tracked in memory.
    pub dirty: Gauge,
    /// Refs sent to home leaders and not yet acked.
    pub refs_in_flight: Gauge,
    /// Refs at home leaders that wait for their commit.
    pub refs_pending: Gauge,
    /// Seconds that refs waited at home leaders for their round.
    pub refs_pending_wait: Histogram,
    /// Seconds that messages waited in inboxes.
    pub inbox_wait: Histogram,
    /// Seconds from refs sent to refs acked.
    pub refs_wait: Histogram,
    /// Messages waiting for the leaders of this node's groups.
    pub inbox_depth: Gauge,
    /// What was dropped, by reason.
    pub rejects: Family<FanoutRejectLabel, Counter>,
    /// Ref frames sent.
    pub ref_frames: Counter,
    /// Push frames sent.
    pub push_frames: Counter,
    /// Live records put into sessions' outboxes.
    pub deliveries: Counter,
    /// Rounds of ref commits.
    pub rounds: Counter,
    /// Users of one round.
    pub users_per_round: Histogram,
    /// Sessions in the registries of this node's groups.
    pub registered: Gauge,
    /// Users whose presence sessions of this node look at.
    pub watched: Gauge,
    /// Subscriptions begun, renewed or ended, told to homes.
    pub watches: Counter,
    /// Changes of presence pushed to edges: once for each edge that looks.
    pub presence_pushed: Counter,
    /// Presence events put into sessions' outboxes.
    pub presence_events: Counter,
    /// Views in them.
    pub presence_views: Counter,
}

/// What was dropped. None of it is lost: refs are sent again, live records are pulled.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum FanoutReject {
    /// Live records: too many bytes wait for one node.
    LiveFull,
    /// Refs: too many wait for their commit.
    RefsFull,
    /// A frame: the inbox of a group's leader is full.
    InboxFull,
    /// A frame for a group that this node does not lead.
    NotLeader,
    /// A push of an older leader.
    Stale,
    /// A frame: the link to its node is down or full.
    LinkFull,
    /// Refs that were not acked in time and are sent again.
    Resent,
}

impl FanoutReject {
    const ALL: [Self; 7] = [Self::LiveFull, Self::RefsFull, Self::InboxFull, Self::NotLeader, Self::Stale, Self::LinkFull, Self::Resent];
}

/// Label of [`FanoutMetrics::rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct FanoutRejectLabel {
    /// Why.
    pub reason: FanoutReject,
}

impl Default for FanoutMetrics {
    fn default() -> Self {
        Self {
            dirty: Gauge::default(),
            refs_in_flight: Gauge::default(),
            refs_pending: Gauge::default(),
            refs_pending_wait: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            inbox_wait: Histogram::new(exponential_buckets(0.000_05, 4.0, 10)),
            refs_wait: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            inbox_depth: Gauge::default(),
            rejects: Family::default(),
            ref_frames: Counter::default(),
            push_frames: Counter::default(),
            deliveries: Counter::default(),
            rounds: Counter::default(),
            users_per_round: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            registered: Gauge::default(),
            watched: Gauge::default(),
            watches: Counter::default(),
            presence_pushed: Counter::default(),
            presence_events: Counter::default(),
            presence_views: Counter::default(),
        }
    }
}

impl FanoutMetrics {
    /// Counts something dropped.
    pub fn reject(&self, reason: FanoutReject) {
        self.rejects.get_or_create(&FanoutRejectLabel { reason }).inc();
    }
    /// Puts all into a registry, as `kith_fanout_*`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_fanout");
        registry.register("dirty", "Channels with refs not yet committed by every home", self.dirty.clone());
        registry.register("refs_in_flight", "Channel refs sent to home leaders and not acked", self.refs_in_flight.clone());
        registry.register("refs_pending", "Refs at home leaders that wait for their commit", self.refs_pending.clone());
        registry.register("refs_pending_wait_seconds", "How long refs waited at a home leader for their round", self.refs_pending_wait.clone());
        registry.register("inbox_wait_seconds", "How long frames waited for the leaders of this node's groups", self.inbox_wait.clone());
        registry.register("refs_seconds", "From refs sent to refs acked", self.refs_wait.clone());
        registry.register("inbox_depth", "Frames waiting for the leaders of this node's groups", self.inbox_depth.clone());
        for reason in FanoutReject::ALL {
            drop(self.rejects.get_or_create(&FanoutRejectLabel { reason }));
        }
        registry.register("rejects", "What was dropped, to be sent again or pulled, by reason", self.rejects.clone());
        registry.register("ref_frames", "Ref frames sent", self.ref_frames.clone());
        registry.register("push_frames", "Push frames sent", self.push_frames.clone());
        registry.register("deliveries", "Live records put into outboxes", self.deliveries.clone());
        registry.register("rounds", "Rounds of ref commits", self.rounds.clone());
        registry.register("users_per_round", "Users of one round of ref commits", self.users_per_round.clone());
        registry.register("registered", "Sessions in the registries of this node's groups", self.registered.clone());
        registry.register("watched", "Users whose presence sessions of this node look at", self.watched.clone());
        registry.register("watches", "Subscriptions begun, renewed or ended, told to homes", self.watches.clone());
        registry.register("presence_pushed", "Changes of presence pushed to edges, once for each edge that looks", self.presence_pushed.clone());
        registry.register("presence_events", "Presence events put into outboxes", self.presence_events.clone());
        registry.register("presence_views", "Views in presence events put into outboxes", self.presence_views.clone());
    }
}
