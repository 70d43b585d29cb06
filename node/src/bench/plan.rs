//! A deployment by arithmetic: from what each thing was measured to cost to nodes, groups and regions.
//!
//! In: daily users, what a node has, accepted figures. Out: [`Plan`], each step with its formula and where its figures are from. Invariants: a
//! measured figure names its benchmark and day; an assumption is a constant here, with its reason. The whole (T1) is checked against the sum of
//! its parts, which other benchmarks measured. Bounds: none. Not here: measuring.

use serde::Serialize;

use super::{guard::Accepted, report::short};

/// Sends of a daily user at the busiest second of the day: 116,000/s of 50 million.
const PEAK_PER_USER: f64 = 116_000.0 / 50e6;
/// Sends of a daily user over the day: 23,000/s of 50 million.
const MEAN_PER_USER: f64 = 23_000.0 / 50e6;
/// Daily users who are connected at the busiest time: 10 of 50 million.
const ONLINE: f64 = 0.2;
/// For each send, as in T1: index updates, deliveries, reconnects, heartbeats.
const INDEX: f64 = 3384.0 / 517.0;
const DELIVERIES: f64 = 1460.0 / 517.0;
const RECONNECTS: f64 = 194.0 / 517.0;
const BEATS: f64 = 1488.0 / 517.0;
/// Copies of everything.
const REPLICAS: f64 = 3.0;
/// Of a node's processors, memory and network at the busiest time: what is left carries the loss of a zone of three.
const USED: f64 = 0.5;
/// Of a node's disk: compaction and a replica that moves here need the rest.
const DISK_USED: f64 = 0.6;
/// Of a group's rate: the rest is for hot groups.
const GROUP_USED: f64 = 0.5;
/// Nodes of a region: each holds a link to each other one.
const REGION_NODES_MAX: f64 = 200.0;
/// On the wire besides a text: frame, ids, QUIC, UDP and IP of a small packet, and its share of the acknowledgement.
const PACKET_BYTES: f64 = 150.0;
const KIB: f64 = 1024.0;
const GIB: f64 = KIB * KIB * KIB;
const YEAR_S: f64 = 365.0 * 86_400.0;

/// What a node has.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct NodeSize {
    /// Processors.
    pub cores: f64,
    /// GiB of memory.
    pub memory_gib: f64,
    /// TiB of disk.
    pub disk_tib: f64,
    /// Gbit/s each way.
    pub gbit: f64,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Question {
    /// People who use it on a day.
    pub daily_users: f64,
    /// What a node has.
    pub node: NodeSize,
    /// Years of history that the disks hold.
    pub years: f64,
}

/// A line of the arithmetic.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    /// What it gives.
    pub what: &'static str,
    /// From what.
    pub formula: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The benchmarks it rests on, with their day; empty for plain arithmetic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<String>,
}

/// The answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Plan {
    /// What was asked.
    pub question: Question,
    /// The arithmetic.
    pub steps: Vec<Step>,
    /// Nodes for each resource, most first.
    pub nodes_by_resource: Vec<(&'static str, f64)>,
    /// Nodes in all.
    pub nodes: f64,
    /// Groups in all.
    pub groups: f64,
    /// Regions at least.
    pub regions: f64,
    /// The resource that binds first.
    pub binds: &'static str,
    /// Processors of the machine that the figures were measured on: what a group takes, and what a processor does, is as there.
    pub measured_on: usize,
    /// Processor time of T1 over the sum of its parts: near 1 when the parts explain the whole. `None` when a part was not measured.
    pub whole_over_parts: Option<f64>,
}

/// A figure was not accepted yet.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("there is no accepted figure of {row} at {path}: run `make bench`, then accept its figures")]
pub struct Unmeasured {
    row: &'static str,
    path: &'static str,
}

/// Measured figures, with where they are from.
struct Book<'a> {
    accepted: &'a Accepted,
    steps: Vec<Step>,
}

impl Book<'_> {
    fn figure(&self, row: &'static str, path: &'static str) -> Result<(f64, String), Unmeasured> {
        let value = self.accepted.figure(row, path).filter(|value| *value > 0.0).ok_or(Unmeasured { row, path })?;
        Ok((value, format!("{} of {}", name_of(row), self.accepted.date)))
    }
    fn step(&mut self, what: &'static str, formula: String, value: f64, unit: &'static str, measured: &[&str]) -> f64 {
        let measured = measured.iter().map(|name| (*name).to_owned()).collect();
        self.steps.push(Step { what, formula, value, unit, measured });
        value
    }
}

/// Plans.
///
/// # Errors
/// A figure that it needs was not accepted yet.
pub fn plan(question: Question, accepted: &Accepted) -> Result<Plan, Unmeasured> {
    let mut book = Book { accepted, steps: Vec::new() };
    let Question { daily_users: users, node, years } = question;
    let (cpu, cpu_from) = book.figure("mixed", "/mixed/server_cpu_s_per_100k_sent")?;
    let (kib, kib_from) = book.figure("idle", "/kib_per_client")?;
    let (bytes, bytes_from) = book.figure("disk", "/bytes_per_message")?;
    let (text, text_from) = book.figure("disk", "/text_bytes")?;
    let (acked, acked_from) = book.figure("send", "/chat/acked_per_s")?;

    let peak = book.step("sends at the busiest time", format!("{} users x {PEAK_PER_USER:.5}/s", short(users)), users * PEAK_PER_USER, "/s", &[]);
    let mean = book.step("sends on average", format!("{} users x {MEAN_PER_USER:.5}/s", short(users)), users * MEAN_PER_USER, "/s", &[]);
    let online = book.step("sessions at the busiest time", format!("{} users x {ONLINE}", short(users)), users * ONLINE, "", &[]);

    let formula = format!("{}/s x {} CPU-s / 100,000, all replicas, index updates, deliveries, syncs and beats included", short(peak), short(cpu));
    let cores = book.step("processors in use", formula, peak * cpu / 100_000.0, "cores", &[&cpu_from]);
    let formula = format!("{} / ({} x {USED})", short(cores), short(node.cores));
    let by_cpu = book.step("nodes for that", formula, cores / (node.cores * USED), "nodes", &[]);

    let memory = book.step("memory of sessions", format!("{} x {} KiB", short(online), short(kib)), online * kib * KIB / GIB, "GiB", &[&kib_from]);
    let formula = format!("{} GiB / ({} x {USED})", short(memory), short(node.memory_gib));
    let by_memory = book.step("nodes for that", formula, memory / (node.memory_gib * USED), "nodes", &[]);

    let stored = mean * YEAR_S * years * bytes * REPLICAS / (GIB * KIB);
    let formula = format!("{}/s x {} s x {} B x {REPLICAS} copies", short(mean), short(YEAR_S * years), short(bytes));
    let stored = book.step("history on disk", formula, stored, "TiB", &[&bytes_from]);
    let formula = format!("{} TiB / ({} x {DISK_USED})", short(stored), short(node.disk_tib));
    let by_disk = book.step("nodes for that", formula, stored / (node.disk_tib * DISK_USED), "nodes", &[]);

    // Out of a node for each send: to the leader, to two followers, an ack, the deliveries; a ref to each member's home, and its two copies.
    let small = INDEX * REPLICAS + RECONNECTS * 12.0 + BEATS;
    let per_send = (1.0 + (REPLICAS - 1.0) + DELIVERIES) * (text + PACKET_BYTES) + small * PACKET_BYTES;
    let formula = format!(
        "{}/s x ({:.1} copies of {} + {PACKET_BYTES} B, {small:.1} small frames of {PACKET_BYTES} B), nothing coalesced",
        short(peak),
        REPLICAS + DELIVERIES,
        short(text)
    );
    let network = book.step("network out of all nodes", formula, peak * per_send * 8.0 / 1e9, "Gbit/s", &[&text_from]);
    let formula = format!("{} Gbit/s / ({} x {USED})", short(network), short(node.gbit));
    let by_network = book.step("nodes for that", formula, network / (node.gbit * USED), "nodes", &[]);

    let mut by = vec![("processor", by_cpu), ("memory", by_memory), ("disk", by_disk), ("network", by_network)];
    by.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (binds, most) = by[0];
    let nodes = book.step("nodes", format!("the most of these: {binds}; at least one for each replica"), most.ceil().max(REPLICAS), "nodes", &[]);
    let formula = format!("{}/s over 3 groups on {} processors in all, the load beside them, x {GROUP_USED}", short(acked), accepted.processors);
    let group = book.step("sends that a group takes", formula, acked / 3.0 * GROUP_USED, "/s", &[&acked_from]);
    let formula = format!("{}/s / {}/s, and at least one led by each node", short(peak), short(group));
    let groups = book.step("groups", formula, (peak / group).ceil().max(nodes), "groups", &[]);
    let formula = format!("{} / {REGION_NODES_MAX} nodes that hold links to each other", short(nodes));
    let regions = book.step("regions", formula, (nodes / REGION_NODES_MAX).ceil(), "regions at least", &[]);
    let whole_over_parts = parts(&mut book, cpu).ok();
    let Book { steps, .. } = book;
    Ok(Plan { question, steps, nodes_by_resource: by, nodes, groups, regions, binds, measured_on: accepted.processors, whole_over_parts })
}

/// Processor time of what a send of T1 is made of, each part by its own benchmark; gives the whole over the sum.
fn parts(book: &mut Book<'_>, whole: f64) -> Result<f64, Unmeasured> {
    let (pairs, pairs_from) = book.figure("pairs", "/chat/server_cpu_s_per_100k_acked")?;
    let (index, index_from) = book.figure("index", "/per_cpu_s")?;
    let (edge, edge_from) = book.figure("edge", "/frames_per_cpu_s")?;
    let (resumed, resumed_from) = book.figure("handshake", "/resumed/per_cpu_s")?;
    let (sync, sync_from) = book.figure("sync", "/nothing_new/per_cpu_s")?;
    let (beat, beat_from) = book.figure("heartbeat", "/per_cpu_s")?;
    let each = [INDEX * REPLICAS / index, (DELIVERIES - 1.0) / edge, RECONNECTS / resumed, RECONNECTS * 2.0 / sync, BEATS / beat];
    let sum = pairs + each.iter().sum::<f64>() * 100_000.0;
    let formula = format!(
        "send and first delivery {} + {:.1} index updates / {} + {:.1} deliveries / {} + {RECONNECTS:.2} handshakes / {} + {:.2} pulls / {} + {BEATS:.1} beats / {}, x 100,000",
        short(pairs),
        INDEX * REPLICAS,
        short(index),
        DELIVERIES - 1.0,
        short(edge),
        short(resumed),
        RECONNECTS * 2.0,
        short(sync),
        short(beat)
    );
    let from = [pairs_from, index_from, edge_from, resumed_from, sync_from, beat_from];
    book.step("check: sum of T1's parts", formula, sum, "CPU-s per 100k sends", &from.each_ref().map(String::as_str));
    let formula = format!("{} / {}", short(whole), short(sum));
    Ok(book.step("check: T1 over the sum of its parts", formula, whole / sum, "", &[]))
}

fn name_of(row: &str) -> String {
    super::row::by_name(row).map_or_else(|| row.to_owned(), |row| format!("{} {}", row.row, row.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NODE: NodeSize = NodeSize { cores: 16.0, memory_gib: 64.0, disk_tib: 8.0, gbit: 10.0 };

    fn accepted(figures: &[(&str, &str, f64)]) -> Accepted {
        let mut rows: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for (row, path, figure) in figures {
            rows.entry((*row).to_owned()).or_default().insert((*path).to_owned(), *figure);
        }
        Accepted { date: "2026-01-02".to_owned(), processors: 2, rows }
    }

    fn all() -> Vec<(&'static str, &'static str, f64)> {
        vec![
            ("mixed", "/mixed/server_cpu_s_per_100k_sent", 60.0),
            ("idle", "/kib_per_client", 40.0),
            ("disk", "/bytes_per_message", 80.0),
            ("disk", "/text_bytes", 70.0),
            ("send", "/chat/acked_per_s", 9_000.0),
            ("pairs", "/chat/server_cpu_s_per_100k_acked", 10.0),
            ("index", "/per_cpu_s", 100_000.0),
            ("edge", "/frames_per_cpu_s", 20_000.0),
            ("handshake", "/resumed/per_cpu_s", 2_000.0),
            ("sync", "/nothing_new/per_cpu_s", 5_000.0),
            ("heartbeat", "/per_cpu_s", 50_000.0),
        ]
    }

    #[test]
    fn large_deployment_is_what_the_arithmetic_says() {
        let question = Question { daily_users: 50e6, node: NODE, years: 1.0 };
        let plan = plan(question, &accepted(&all())).unwrap();
        // 116,000/s x 60 / 100,000 = 69.6 cores, of 8 used a node; 10 M x 40 KiB = 381 GiB, of 32; 23,000/s x a year x 80 B x 3 = 158 TiB, of 4.8.
        let by: BTreeMap<_, _> = plan.nodes_by_resource.iter().copied().collect();
        assert!((by["processor"] - 8.7).abs() < 0.01 && (by["memory"] - 11.92).abs() < 0.01 && (by["disk"] - 32.98).abs() < 0.1, "{by:?}");
        assert_eq!((plan.nodes, plan.binds, plan.groups, plan.regions), (33.0, "disk", 78.0, 1.0));
        // 10 + 19.6 + 9.1 + 18.8 + 15 + 5.8
        assert!(plan.whole_over_parts.is_some_and(|ratio| (ratio - 60.0 / 78.3).abs() < 0.01), "{:?}", plan.steps);
    }

    #[test]
    fn every_measured_step_names_its_benchmark_and_day() {
        let question = Question { daily_users: 1_000.0, node: NODE, years: 1.0 };
        let plan = plan(question, &accepted(&all())).unwrap();
        assert_eq!((plan.nodes, plan.regions), (3.0, 1.0));
        let named: Vec<&String> = plan.steps.iter().flat_map(|step| &step.measured).collect();
        assert!(named.len() >= 10 && named.iter().all(|name| name.starts_with('T') && name.ends_with(" of 2026-01-02")), "{named:?}");
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let without: Vec<_> = all().into_iter().filter(|(row, ..)| *row != "idle").collect();
        let question = Question { daily_users: 1.0, node: NODE, years: 1.0 };
        let error = plan(question, &accepted(&without)).unwrap_err();
        assert!(error.to_string().contains("idle at /kib_per_client"), "{error}");
        let without: Vec<_> = all().into_iter().filter(|(row, ..)| *row != "sync").collect();
        assert_eq!(plan(question, &accepted(&without)).unwrap().whole_over_parts, None);
    }
}
