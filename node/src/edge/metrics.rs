//! Every metric of admission.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Of the client face of a node.
#[derive(Debug, Default)]
pub struct EdgeMetrics {
    /// Handshakes in flight.
    pub handshakes: Gauge,
    /// Connections of clients.
    pub connections: Gauge,
    /// Of them, WebSockets.
    pub web_sockets: Gauge,
    /// Of them, sessions of WebTransport.
    pub web_transports: Gauge,
    /// Attempts that were not let in at once, by reason.
    pub rejects: Family<EdgeRejectLabel, Counter>,
    /// Nodes that came to join, by what came of it.
    pub joins: Family<JoinLabel, Counter>,
}

/// What came of a node that wanted to join.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum JoinOutcome {
    /// It is in.
    Joined,
    /// Its token or its place was refused.
    Refused,
    /// Nobody answered at its address.
    Unreached,
}

/// Label of [`EdgeMetrics::joins`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct JoinLabel {
    /// What came of it.
    pub outcome: JoinOutcome,
}

/// Why an attempt was not let in at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum EdgeReject {
    /// It had to prove its address first.
    Retry,
    /// Its address comes too often.
    Address,
    /// All places are taken.
    Full,
    /// All places are taken, and many others were told so lately.
    Crowd,
    /// A page of a site that the settings do not name asked for a session.
    Origin,
    /// What came over HTTP/3 was no request for a session.
    Request,
}

/// Label of [`EdgeMetrics::rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct EdgeRejectLabel {
    /// Why.
    pub reason: EdgeReject,
}

impl EdgeMetrics {
    /// Counts an attempt.
    pub fn reject(&self, reason: EdgeReject) {
        self.rejects.get_or_create(&EdgeRejectLabel { reason }).inc();
    }
    /// Counts a node that came to join.
    pub(crate) fn join(&self, outcome: JoinOutcome) {
        self.joins.get_or_create(&JoinLabel { outcome }).inc();
    }
    /// Puts all into a registry, as `kith_edge_*`.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [EdgeReject::Retry, EdgeReject::Address, EdgeReject::Full, EdgeReject::Crowd, EdgeReject::Origin, EdgeReject::Request] {
            drop(self.rejects.get_or_create(&EdgeRejectLabel { reason }));
        }
        for outcome in [JoinOutcome::Joined, JoinOutcome::Refused, JoinOutcome::Unreached] {
            drop(self.joins.get_or_create(&JoinLabel { outcome }));
        }
        let registry = registry.sub_registry_with_prefix("kith_edge");
        registry.register("handshakes", "Handshakes in flight", self.handshakes.clone());
        registry.register("connections", "Connections of clients", self.connections.clone());
        registry.register("web_sockets", "Connections of clients that are WebSockets", self.web_sockets.clone());
        registry.register("web_transports", "Connections of clients that are sessions of WebTransport", self.web_transports.clone());
        registry.register("rejects", "Attempts to connect that were not let in at once, by reason", self.rejects.clone());
        registry.register("joins", "Nodes that came to join by a token, by what came of it", self.joins.clone());
    }
}
