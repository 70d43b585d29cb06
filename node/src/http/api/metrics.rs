//! Every metric of the API.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Of the API of a node.
#[derive(Debug)]
pub struct ApiMetrics {
    /// Requests, by route and what became of them.
    pub requests: Family<RouteLabel, Counter>,
    /// From a request's head to its answer's; listeners apart.
    pub wait: Histogram,
    /// Connections.
    pub connections: Gauge,
    /// Long polls and event streams.
    pub listeners: Gauge,
    /// Connections that were not served, by reason.
    pub rejects: Family<HttpRejectLabel, Counter>,
}

/// Label of [`ApiMetrics::requests`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct RouteLabel {
    /// The route's pattern, never a path; `none` where there is no such route.
    pub route: String,
    /// What became of it.
    pub class: Class,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum Class {
    /// Below 400.
    Done,
    /// Below 500.
    Refused,
    /// From 500 on.
    Failed,
}

impl Class {
    /// Of a status.
    pub const fn of(status: u16) -> Self {
        match status {
            ..400 => Self::Done,
            400..500 => Self::Refused,
            500.. => Self::Failed,
        }
    }
}

/// Why a connection was not served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum HttpReject {
    /// Its TLS handshake failed, or took too long.
    Handshake,
    /// Its head was malformed, or did not come in time.
    Head,
}

/// Label of [`ApiMetrics::rejects`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct HttpRejectLabel {
    /// Why.
    pub reason: HttpReject,
}

impl Default for ApiMetrics {
    fn default() -> Self {
        let seconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
        Self {
            requests: Family::default(),
            wait: Histogram::new(seconds),
            connections: Gauge::default(),
            listeners: Gauge::default(),
            rejects: Family::default(),
        }
    }
}

impl ApiMetrics {
    /// Counts a connection that was not served.
    pub fn reject(&self, reason: HttpReject) {
        self.rejects.get_or_create(&HttpRejectLabel { reason }).inc();
    }
    /// Puts all into a registry, as `kith_http_*`.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [HttpReject::Handshake, HttpReject::Head] {
            drop(self.rejects.get_or_create(&HttpRejectLabel { reason }));
        }
        drop(self.requests.get_or_create(&RouteLabel { route: "none".to_owned(), class: Class::Refused }));
        let registry = registry.sub_registry_with_prefix("kith_http");
        registry.register("requests", "Requests to the API, by route and what became of them", self.requests.clone());
        registry.register("wait_seconds", "From a request's head to its answer's; long polls and event streams apart", self.wait.clone());
        registry.register("connections", "Connections to the API", self.connections.clone());
        registry.register("listeners", "Long polls and event streams", self.listeners.clone());
        registry.register("rejects", "Connections to the API that were not served, by reason", self.rejects.clone());
    }
}

/// Counts a listener for as long as it is held.
pub(super) struct Listens(Gauge);

impl ApiMetrics {
    /// Somebody listens.
    pub(super) fn listens(&self) -> Listens {
        self.listeners.inc();
        Listens(self.listeners.clone())
    }
}

impl Drop for Listens {
    fn drop(&mut self) {
        self.0.dec();
    }
}
