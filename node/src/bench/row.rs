//! The rows of the table of targets: what is measured, what Kith must reach, and what it should.
//!
//! Out: data for `kith bench list`, the table and the guard; what a figure is worth. Invariant: a metric's `path` is where [`super::run`] puts the
//! figure. Not here: how it is measured.

use serde::Serialize;
use serde_json::Value;

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// As much as can be.
    More,
    /// As little as can be.
    Less,
}

/// What a figure is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// Not even the floor.
    BelowFloor,
    /// The floor, not the goal.
    Floor,
    /// The goal.
    Goal,
    /// There is neither.
    Told,
}

/// A figure of a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Metric {
    /// Where it is in the row's figures: a JSON pointer.
    pub path: &'static str,
    /// What it is, with its unit.
    pub what: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What must be reached.
    pub floor: Option<f64>,
    /// What should be.
    pub goal: Option<f64>,
    /// Processor time for each operation, or its inverse: says the same on a busy machine, so that a change can be held to it.
    pub is_cost: bool,
}

/// A row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// Its number in the table.
    pub row: &'static str,
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// Its figures.
    pub metrics: &'static [Metric],
}

impl Metric {
    /// Whether it counts what may never be.
    pub fn is_promise(&self) -> bool {
        self.goal == Some(0.0)
    }
    /// The figure, from a row's figures.
    pub fn read(&self, figures: &Value) -> Option<f64> {
        figures.pointer(self.path)?.as_f64()
    }
    /// What a figure is worth.
    pub fn worth(&self, figure: f64) -> Worth {
        let reaches = |bound: f64| match self.better {
            Better::More => figure >= bound,
            Better::Less => figure <= bound,
        };
        match (self.floor, self.goal) {
            (Some(floor), _) if !reaches(floor) => Worth::BelowFloor,
            (_, Some(goal)) if reaches(goal) => Worth::Goal,
            (Some(_), _) => Worth::Floor,
            (None, Some(_)) => Worth::Floor,
            (None, None) => Worth::Told,
        }
    }
    /// By which factor a figure is worse than one that was accepted; below 1 it is better.
    pub fn worse_by(&self, figure: f64, accepted: f64) -> f64 {
        let (worse, than) = match self.better {
            Better::More => (accepted, figure),
            Better::Less => (figure, accepted),
        };
        if than > 0.0 { worse / than } else { 1.0 }
    }
}

impl Row {
    /// What a run broke: counts of what may never be, and those that it does not tell.
    pub fn broken(&self, figures: &Value) -> Vec<String> {
        let promises = self.metrics.iter().filter(|metric| metric.is_promise());
        let broken = |metric: &Metric| match metric.read(figures) {
            Some(0.0) => None,
            Some(count) => Some(format!("{count} {}", metric.what)),
            None => Some(format!("{} not told", metric.what)),
        };
        promises.filter_map(broken).collect()
    }
}

/// The row of a name.
pub fn by_name(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// A figure with a floor and a goal.
const fn bounded(path: &'static str, what: &'static str, better: Better, floor: f64, goal: f64) -> Metric {
    Metric { path, what, better, floor: Some(floor), goal: Some(goal), is_cost: false }
}
/// A figure with a goal only.
const fn aimed(path: &'static str, what: &'static str, better: Better, goal: f64) -> Metric {
    Metric { path, what, better, floor: None, goal: Some(goal), is_cost: false }
}
/// A figure that is only told.
const fn told(path: &'static str, what: &'static str, better: Better) -> Metric {
    Metric { path, what, better, floor: None, goal: None, is_cost: false }
}
const fn cost(metric: Metric) -> Metric {
    Metric { is_cost: true, ..metric }
}
/// Nothing may be lost.
const NOTHING_MISSING: Metric = bounded("/chat/missing", "missing", Better::Less, 0.0, 0.0);

use Better::{Less, More};

/// All rows. T2b and T2c are the figures of the best of other systems, and twice as good: those that deliver after their quorum commit, without TLS.
pub const ROWS: &[Row] = &[
    Row {
        row: "T1",
        name: "mixed",
        what: "sends to 5.5 people, index updates, deliveries, reconnects with sync, heartbeats at once",
        metrics: &[
            bounded("/mixed/sent_per_s", "sends/s", More, 520.0, 2_000.0),
            aimed("/mixed/ack_ms/p99", "ack p99 ms", Less, 25.0),
            aimed("/mixed/deliver_ms/p99", "delivery p99 ms", Less, 40.0),
            cost(told("/mixed/server_cpu_s_per_100k_sent", "CPU-s per 100k sends", Less)),
            told("/recent_hit_share", "tail cache hit rate", More),
            told("/mixed/recent_ms/p50", "recent page p50 ms", Less),
            bounded("/mixed/missing", "missing", Less, 0.0, 0.0),
        ],
    },
    Row {
        row: "T2",
        name: "send",
        what: "direct sends, three replicas, acked after quorum fsync, 512 in flight; then at half that load",
        metrics: &[
            bounded("/chat/acked_per_s", "acked/s", More, 4_000.0, 15_000.0),
            aimed("/half/ack_ms/p99", "ack p99 ms at half load", Less, 15.0),
            cost(aimed("/chat/server_cpu_s_per_100k_acked", "CPU-s per 100k", Less, 9.0)),
            NOTHING_MISSING,
            bounded("/half/missing", "missing at half load", Less, 0.0, 0.0),
        ],
    },
    Row {
        row: "T2a",
        name: "lone",
        what: "direct sends, one in flight: send to ack beyond the path's wake-ups, which the same load with its data in memory takes, in fdatasync times",
        metrics: &[
            bounded("/disk_in_fdatasyncs", "(ack p50 - path p50) / fdatasync p50", Less, 3.0, 1.5),
            told("/path_ms_p50", "path p50 ms", Less),
            bounded("/chat/acked_per_s", "acked/s", More, 590.0, 1_180.0),
            told("/chat/ack_ms/p50", "ack p50 ms", Less),
            cost(told("/chat/server_cpu_s_per_100k_acked", "CPU-s per 100k", Less)),
            NOTHING_MISSING,
        ],
    },
    Row {
        row: "T2b",
        name: "pairs",
        what: "direct sends, 64 senders: others' best, and twice as good",
        metrics: &[
            bounded("/chat/acked_per_s", "acked/s", More, 6_000.0, 12_000.0),
            bounded("/chat/ack_ms/p50", "ack p50 ms", Less, 10.0, 5.0),
            bounded("/chat/ack_ms/p99", "ack p99 ms", Less, 21.0, 10.5),
            bounded("/chat/deliver_ms/p99", "delivery p99 ms", Less, 28.0, 14.0),
            cost(bounded("/chat/server_cpu_s_per_100k_acked", "CPU-s per 100k", Less, 22.0, 9.0)),
            NOTHING_MISSING,
        ],
    },
    Row {
        row: "T2c",
        name: "large",
        what: "direct sends of 100 KB, 16 senders: others' best, and twice as good",
        metrics: &[
            bounded("/chat/acked_per_s", "acked/s", More, 880.0, 1_760.0),
            cost(told("/chat/server_cpu_s_per_100k_acked", "CPU-s per 100k", Less)),
            NOTHING_MISSING,
        ],
    },
    Row {
        row: "T3",
        name: "group",
        what: "one group of 100, all online, 16 senders",
        metrics: &[
            bounded("/chat/deliveries_per_s", "deliveries/s", More, 50_000.0, 300_000.0),
            cost(bounded("/chat/server_cpu_s_per_100k_delivered", "CPU-s per 100k", Less, 0.6, 0.3)),
            told("/chat/deliver_ms/p99", "delivery p99 ms", Less),
            NOTHING_MISSING,
        ],
    },
    Row {
        row: "T3a",
        name: "groups",
        what: "16 groups of 100, 1,600 receivers: nothing coalesces",
        metrics: &[
            bounded("/chat/deliveries_per_s", "deliveries/s", More, 20_000.0, 70_000.0),
            cost(bounded("/chat/server_cpu_s_per_100k_delivered", "CPU-s per 100k", Less, 1.7, 1.5)),
            told("/chat/deliver_ms/p99", "delivery p99 ms", Less),
            NOTHING_MISSING,
        ],
    },
    Row {
        row: "T4",
        name: "edge",
        what: "one node: small frames to distinct sessions, one message in flight to each, the sends that cause them included",
        metrics: &[cost(bounded("/frames_per_cpu_s", "frames/s/core", More, 15_000.0, 40_000.0)), NOTHING_MISSING],
    },
    Row {
        row: "T5",
        name: "idle",
        what: "server memory of an idle session, of 5,000",
        metrics: &[
            bounded("/kib_per_client", "KiB", Less, 40.0, 32.0),
            told("/connects_per_s", "connects/s, load beside", More),
            told("/idle_cpu_cores", "cores while idle", Less),
        ],
    },
    Row {
        row: "T6",
        name: "handshake",
        what: "whole handshakes up to Welcome: full; resumed",
        metrics: &[
            cost(bounded("/full/per_cpu_s", "full/s/core", More, 1_000.0, 2_000.0)),
            cost(bounded("/resumed/per_cpu_s", "resumed/s/core", More, 2_000.0, 4_000.0)),
        ],
    },
    Row {
        row: "T7",
        name: "sync",
        what: "syncs on an open session: nothing new, which is one pull of the index; 10 channels of 20 messages, eleven pulls",
        metrics: &[
            cost(bounded("/nothing_new/per_cpu_s", "nothing new/s/core", More, 3_000.0, 10_000.0)),
            cost(bounded("/ten_channels/per_cpu_s", "10 x 20/s/core", More, 800.0, 2_000.0)),
        ],
    },
    Row {
        row: "T8",
        name: "index",
        what: "user-index updates, proposed, logged, applied and written by one replica",
        metrics: &[cost(bounded("/per_cpu_s", "updates/s/core", More, 100_000.0, 250_000.0))],
    },
    Row {
        row: "T9",
        name: "heartbeat",
        what: "heartbeats at the edge, each a packet of its own",
        metrics: &[cost(bounded("/per_cpu_s", "beats/s/core", More, 30_000.0, 80_000.0))],
    },
    Row {
        row: "T10",
        name: "failover",
        what: "leaders killed under load: sends resume; nothing lost, twice or skipped",
        metrics: &[
            bounded("/resume_ms/p99", "resume p99 ms", Less, 5_000.0, 3_000.0),
            bounded("/missing", "missing", Less, 0.0, 0.0),
            bounded("/duplicate", "duplicate", Less, 0.0, 0.0),
            bounded("/gaps", "gaps", Less, 0.0, 0.0),
        ],
    },
    Row {
        row: "T11",
        name: "move",
        what: "1 GB bucket moved under 500 msg/s: longest freeze",
        metrics: &[
            bounded("/freeze_ms", "freeze ms", Less, 1_000.0, 300.0),
            told("/move_s", "move s", Less),
            bounded("/missing", "missing", Less, 0.0, 0.0),
            bounded("/duplicate", "duplicate", Less, 0.0, 0.0),
        ],
    },
    Row {
        row: "T12",
        name: "reconnect",
        what: "a node with 5,000 of 15,000 sessions dies: 99 % back after notice",
        metrics: &[
            bounded("/back_s", "99 % back s", Less, 10.0, 3.0),
            told("/wasted_percent", "wasted %", Less),
            told("/handshakes_per_s", "handshakes/s", More),
            told("/fullest_over_mean", "fullest/mean", Less),
        ],
    },
    Row {
        row: "T13",
        name: "disk",
        what: "bytes on disk for each message of real chat, one replica, compacted",
        metrics: &[bounded("/bytes_per_message", "bytes", Less, 90.0, 60.0), told("/text_bytes", "of which text, as written", Less)],
    },
    Row {
        row: "T14",
        name: "map",
        what: "map of 1,000 nodes and 100,000 groups: decode; lookup",
        metrics: &[bounded("/decode_ms", "decode ms", Less, 100.0, 20.0), bounded("/lookup_ns", "lookup ns", Less, 200.0, 20.0)],
    },
    Row {
        row: "T15",
        name: "quiet",
        what: "100 idle groups, three replicas each: one node",
        metrics: &[cost(bounded("/node_cpu_cores", "cores", Less, 0.05, 0.01)), told("/node_mib", "MiB", Less)],
    },
    Row {
        row: "T16",
        name: "page",
        what: "history page of 50 messages of a million, cold cache",
        metrics: &[
            bounded("/page_ms/p50", "p50 ms", Less, 5.0, 1.0),
            told("/page_ms/p99", "p99 ms", Less),
            told("/kib_read_per_page", "KiB read a page", Less),
        ],
    },
    Row {
        row: "T17",
        name: "start",
        what: "start of a single node to the first accepted message: empty disk; again",
        metrics: &[bounded("/first_ms", "first ms", Less, 1_000.0, 200.0), bounded("/again_ms", "again ms", Less, 1_000.0, 200.0)],
    },
    Row {
        row: "T18",
        name: "presence",
        what: "20,000 sessions that look at 50 contacts each: views shown, without sockets; against a message for each watcher",
        metrics: &[
            cost(told("/delivered/per_cpu_s", "views/s/core", More)),
            told("/naive/per_cpu_s", "naive views/s/core", More),
            told("/messages_per_change", "messages a change", Less),
            told("/renewals_per_cpu_s", "renewals/s/core", More),
        ],
    },
    Row {
        row: "T19",
        name: "sdk",
        what: "a device: an hour in which nothing happens, a text of 100 bytes, 1,000 of them after a break, a start with 10,000 conversations in its store",
        metrics: &[
            bounded("/idle/wakeups_per_h", "wake-ups/h idle", Less, 1_200.0, 500.0),
            bounded("/idle/kib_per_h", "KiB/h idle", Less, 64.0, 32.0),
            bounded("/texts/bytes_per_sent", "bytes a text sent", Less, 800.0, 500.0),
            bounded("/texts/bytes_per_received", "bytes a text received", Less, 500.0, 300.0),
            cost(bounded("/break/cpu_ms_per_1000", "CPU-ms for 1,000 received", Less, 50.0, 10.0)),
            bounded("/start/ms", "start ms", Less, 200.0, 50.0),
            bounded("/break/missing", "missing", Less, 0.0, 0.0),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn figure_is_worth_what_its_bounds_say() {
        let more = bounded("/x", "x", More, 10.0, 20.0);
        let worth = [9.0, 10.0, 19.0, 20.0].map(|figure| more.worth(figure));
        assert_eq!(worth, [Worth::BelowFloor, Worth::Floor, Worth::Floor, Worth::Goal]);
        let less = bounded("/x", "x", Less, 20.0, 10.0);
        assert_eq!([21.0, 20.0, 10.0].map(|figure| less.worth(figure)), [Worth::BelowFloor, Worth::Floor, Worth::Goal]);
        assert_eq!(told("/x", "x", Less).worth(1.0), Worth::Told);
        assert!((more.worse_by(10.0, 20.0) - 2.0).abs() < 1e-9 && (less.worse_by(10.0, 20.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_may_never_be_is_named_and_so_is_what_is_not_told() {
        let row = by_name("failover").unwrap();
        let figures = |missing: u64, gaps: u64| serde_json::json!({ "missing": missing, "duplicate": 0, "gaps": gaps });
        assert!(row.broken(&figures(0, 0)).is_empty());
        assert_eq!(row.broken(&figures(2, 1)), ["2 missing", "1 gaps"]);
        assert_eq!(row.broken(&serde_json::json!({ "missing": 0 })), ["duplicate not told", "gaps not told"]);
        assert!(by_name("idle").unwrap().broken(&serde_json::json!({})).is_empty(), "it promises nothing of the kind");
    }

    #[test]
    fn rows_are_told_apart_and_no_goal_is_easier_than_its_floor() {
        assert_eq!(ROWS.iter().map(|row| row.name).collect::<HashSet<_>>().len(), ROWS.len());
        assert_eq!(ROWS.iter().map(|row| row.row).collect::<HashSet<_>>().len(), ROWS.len());
        for metric in ROWS.iter().flat_map(|row| row.metrics) {
            if let (Some(floor), Some(goal)) = (metric.floor, metric.goal) {
                assert_ne!(metric.worth(goal), Worth::BelowFloor, "{} {floor} {goal}", metric.what);
            }
        }
    }
}
