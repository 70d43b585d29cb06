//! What search counts.

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

/// Why a search was refused here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub(crate) enum SearchReject {
    /// As many wait as may.
    Busy,
    /// The user has asked too often.
    Rate,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    reason: SearchReject,
}

/// Of all searches and the index of this node.
#[derive(Debug)]
pub(crate) struct SearchMetrics {
    pub(super) documents: Gauge,
    pub(super) segments: Gauge,
    pub(super) pending: Gauge,
    pub(super) behind: Gauge,
    pub(super) disk_bytes: Gauge,
    pub(super) indexed: Counter,
    pub(super) walks: Counter,
    pub(super) commit: Histogram,
    pub(super) look: Histogram,
    pub(crate) query: Histogram,
    rejects: Family<Reason, Counter>,
}

impl Default for SearchMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 4.0, 9));
        let rejects = Family::default();
        for reason in [SearchReject::Busy, SearchReject::Rate] {
            drop(rejects.get_or_create(&Reason { reason }));
        }
        Self {
            documents: Gauge::default(),
            segments: Gauge::default(),
            pending: Gauge::default(),
            behind: Gauge::default(),
            disk_bytes: Gauge::default(),
            indexed: Counter::default(),
            walks: Counter::default(),
            commit: seconds(),
            look: seconds(),
            query: seconds(),
            rejects,
        }
    }
}

impl SearchMetrics {
    pub(crate) fn reject(&self, reason: SearchReject) {
        self.rejects.get_or_create(&Reason { reason }).inc();
    }

    /// Shows them under `kith_search_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_search");
        registry.register("documents", "Texts in the index of this node", self.documents.clone());
        registry.register("segments", "Parts of the index that each search looks through", self.segments.clone());
        registry.register("pending", "Changes that are found, but wait to be written into the index", self.pending.clone());
        registry.register(
            "behind",
            "Groups of this node whose index is being made or brought up to date: others are asked about them",
            self.behind.clone(),
        );
        registry.register("disk_bytes", "Bytes of the index on disk", self.disk_bytes.clone());
        registry.register("indexed", "Changes written into the index", self.indexed.clone());
        registry.register("walks", "Groups whose rows were read anew, because the index or the log had lost something", self.walks.clone());
        registry.register("commit_seconds", "Seconds to write what waits into the index", self.commit.clone());
        registry.register("look_seconds", "Seconds to look through the index of this node and to read what it proposes", self.look.clone());
        registry.register("query_seconds", "Seconds to answer a search, all nodes together", self.query.clone());
        registry.register("rejects", "Searches refused, by reason", self.rejects.clone());
    }
}
