//! Metrics of the node's own modules: all names, with help text. One set per node, handed in.

use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// What a node shows of itself; set once a second.
#[derive(Clone, Debug, Default)]
pub struct NodeMetrics {
    /// Version of the map.
    pub map_epoch: Gauge,
    /// Where the cluster is.
    pub cluster_version: Gauge,
    /// The newest cluster version that this build knows.
    pub build_version: Gauge,
    /// Resident memory.
    pub rss_bytes: Gauge,
    /// Memory that is allocated and not freed, without RocksDB's.
    pub live_bytes: Gauge,
    /// 1 while it should get clients.
    pub ready: Gauge,
    /// 1 while it works at all.
    pub live: Gauge,
    /// Since its start.
    pub uptime_seconds: Gauge,
    /// When the certificate that it shows ends, in seconds since 1970.
    pub certificate_end_seconds: Gauge,
    /// Authorities that it trusts.
    pub authorities: Gauge,
}

impl NodeMetrics {
    /// Registers all series, as `kith_node_*`.
    pub fn register(&self, registry: &mut Registry) {
        let node = registry.sub_registry_with_prefix("kith_node");
        node.register("map_epoch", "Version of the cluster map", self.map_epoch.clone());
        node.register("cluster_version", "Version that the cluster is at, which says what its nodes may do", self.cluster_version.clone());
        node.register("build_version", "Newest version of the cluster that this node's build knows", self.build_version.clone());
        node.register("rss_bytes", "Resident memory", self.rss_bytes.clone());
        node.register("live_bytes", "Memory allocated and not freed, without RocksDB's", self.live_bytes.clone());
        node.register("ready", "1 while every check of /readyz passes, else 0", self.ready.clone());
        node.register("live", "1 while every check of /livez passes, else 0", self.live.clone());
        node.register("uptime_seconds", "Since the start of the node", self.uptime_seconds.clone());
        node.register("certificate_end_seconds", "When the node's certificate ends, since 1970; 0: not known", self.certificate_end_seconds.clone());
        node.register(
            "authorities",
            "Authorities of the cluster that the node trusts: one, but while another takes its place",
            self.authorities.clone(),
        );
    }
}
