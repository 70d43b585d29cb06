//! Metrics of the node's own modules: all names, with help text. One set per node, handed in.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// What a node shows of itself; set once a second.
#[derive(Clone, Debug, Default)]
pub struct NodeMetrics {
    /// Version of the map.
    pub map_epoch: Gauge,
    /// Links to other nodes that are up.
    pub links_up: Gauge,
    /// Frames that wait for peers.
    pub queue_frames: Gauge,
    /// Bytes that wait for peers.
    pub queue_bytes: Gauge,
    /// Frames refused because a queue to a peer was full, on links that are up.
    pub queue_rejects: Gauge,
    /// Asks of peers refused because one of them had too many.
    pub ask_rejects: Gauge,
    /// Resident memory.
    pub rss_bytes: Gauge,
}

impl NodeMetrics {
    /// Registers all series, as `kith_node_*` and `kith_peer_*`.
    pub fn register(&self, registry: &mut Registry) {
        let node = registry.sub_registry_with_prefix("kith_node");
        node.register("map_epoch", "Version of the cluster map", self.map_epoch.clone());
        node.register("rss_bytes", "Resident memory", self.rss_bytes.clone());
        let peer = registry.sub_registry_with_prefix("kith_peer");
        peer.register("links_up", "Links to other nodes that are up", self.links_up.clone());
        peer.register("queue_frames", "Frames that wait for peers", self.queue_frames.clone());
        peer.register("queue_bytes", "Bytes that wait for peers", self.queue_bytes.clone());
        peer.register("queue_rejects", "Frames refused because a queue to a peer was full", self.queue_rejects.clone());
        peer.register("ask_rejects", "Asks of peers refused because one of them had too many", self.ask_rejects.clone());
    }
}
