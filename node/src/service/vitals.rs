//! How busy the nodes are, for those who run the cluster: a few of each node's metrics, gathered by the one that is asked.
//!
//! In: the registry of a node. Out: lines of OpenMetrics, of the families in [`SHOWN`] alone; of all nodes that answer, parsed. Invariant: what a node
//! tells has no name, id or address of anybody: metrics have none. Bounds: [`SAMPLES_MAX`] of a node, [`ASK_MAX`] for it. Not here: the metrics
//! themselves; what is plotted of them (the console).

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use kith_wire::{
    id::NodeId,
    peer::{Ask, Told},
};
use prometheus_client::registry::Registry;

use crate::router::Router;

/// What a node has counted.
#[derive(Clone, PartialEq, Debug)]
pub struct Vitals {
    /// Which node.
    pub node: NodeId,
    /// In the order of its registry; `None`: it did not answer.
    pub samples: Option<Vec<Sample>>,
}

/// One number.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// As in `/metrics`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It.
    pub value: f64,
}

/// This node's own.
pub(crate) fn own(registry: &Registry) -> String {
    let mut text = String::new();
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        tracing::error!(cause = %error, "service.vitals: the metrics cannot be written");
        return String::new();
    }
    let lines: Vec<&str> = text.lines().filter(|line| is_shown(line)).take(SAMPLES_MAX).collect();
    lines.join("\n")
}

/// Every node of the map is asked.
pub(crate) async fn all(router: &Router, registry: &Registry) -> Vec<Vitals> {
    let map = router.maps().current();
    let asked = map.nodes.keys().copied().map(|node| async move {
        let text = if node == router.node() {
            Some(own(registry))
        } else {
            match router.peers().ask(node, Ask::Vitals, ASK_MAX).await {
                Ok(Told::Vitals { text }) => Some(text),
                _ => None,
            }
        };
        Vitals { node, samples: text.map(|text| text.lines().take(SAMPLES_MAX).filter_map(parse_sample).collect()) }
    });
    join_all(asked).await
}

fn is_shown(line: &str) -> bool {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    SHOWN.iter().any(|family| line[..end].strip_prefix(family).is_some_and(|rest| ENDS.contains(&rest)))
}

/// `name{label="value",…} number`.
pub(crate) fn parse_sample(line: &str) -> Option<Sample> {
    let (head, value) = line.rsplit_once(' ')?;
    let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    let (name, labels) = match head.split_once('{') {
        None => (head, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Values of ours are words: no comma and no quote is in them.
fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(one).collect()
}

/// Families that are shown: what a console plots.
const SHOWN: [&str; 15] = [
    "kith_raft_propose_seconds",
    "kith_raft_apply_seconds",
    "kith_raft_applied_entries",
    "kith_raft_queue_items",
    "kith_storage_sync_seconds",
    "kith_session_request_seconds",
    "kith_session_open",
    "kith_outbox_wait_seconds",
    "kith_outbox_depth",
    "kith_fanout_deliveries",
    "kith_disk_free_bytes",
    "kith_disk_size_bytes",
    "kith_disk_level",
    "kith_node_rss_bytes",
    "kith_node_uptime_seconds",
];
/// How a sample's name goes on after its family's.
const ENDS: [&str; 5] = ["", "_total", "_bucket", "_sum", "_count"];
/// Of a node.
const SAMPLES_MAX: usize = 400;
/// For a node to tell.
const ASK_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

    use super::*;

    #[test]
    fn what_is_shown_is_told_and_read_and_nothing_else() {
        let mut registry = Registry::default();
        let (open, deliveries, other) = (Gauge::<i64>::default(), Counter::<u64>::default(), Counter::<u64>::default());
        let wait = Histogram::new([0.5, 1.0]);
        registry.register("kith_session_open", "x", open.clone());
        registry.register("kith_session_open_or_not", "x", other.clone());
        registry.register("kith_fanout_deliveries", "x", deliveries.clone());
        registry.register("kith_session_request_seconds", "x", wait.clone());
        open.set(3);
        deliveries.inc_by(7);
        other.inc();
        wait.observe(0.7);
        let told: Vec<Sample> = own(&registry).lines().map(|line| parse_sample(line).unwrap()).collect();
        let value = |name: &str, le: Option<&str>| {
            let is_it = |one: &&Sample| one.name == name && one.labels.get("le").map(String::as_str) == le;
            told.iter().find(is_it).map(|one| one.value)
        };
        assert_eq!(value("kith_session_open", None), Some(3.0));
        assert_eq!(value("kith_fanout_deliveries_total", None), Some(7.0));
        assert_eq!(value("kith_session_request_seconds_bucket", Some("0.5")), Some(0.0));
        assert_eq!(value("kith_session_request_seconds_bucket", Some("1.0")), Some(1.0));
        assert_eq!(value("kith_session_request_seconds_count", None), Some(1.0));
        assert!(told.iter().all(|one| !one.name.contains("or_not")));
    }

    #[test]
    fn what_another_node_tells_may_be_anything() {
        for wrong in ["", "x", "x y", "x{ 1", "x{a} 1", "x{a=b} 1", "x{a=\"b} 1", "x NaN", "# HELP x"] {
            assert_eq!(parse_sample(wrong), None, "{wrong}");
        }
        let read = parse_sample("x{a=\"b\",c=\"+Inf\"} 1.5").unwrap();
        assert_eq!((read.name.as_str(), read.labels["c"].as_str(), read.value), ("x", "+Inf", 1.5));
    }
}
