//! Metrics of the node's own modules: all names, with help text. One set per node, handed in.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// What a node shows of itself; set once a second.
#[derive(Clone, Debug, Default)]
pub struct NodeMetrics {
    /// Version of the map.
    pub map_epoch: Gauge,
    /// Resident memory.
    pub rss_bytes: Gauge,
    /// Memory that is allocated and not freed, without RocksDB's.
    pub live_bytes: Gauge,
}

impl NodeMetrics {
    /// Registers all series, as `kith_node_*`.
    pub fn register(&self, registry: &mut Registry) {
        let node = registry.sub_registry_with_prefix("kith_node");
        node.register("map_epoch", "Version of the cluster map", self.map_epoch.clone());
        node.register("rss_bytes", "Resident memory", self.rss_bytes.clone());
        node.register("live_bytes", "Memory allocated and not freed, without RocksDB's", self.live_bytes.clone());
    }
}
