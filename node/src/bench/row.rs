//! The rows of the table of targets: what is measured, what Kith must reach, and what it should.
//!
//! Out: data for `kith bench list` and the table. Not here: how it is measured.

use serde::Serialize;

/// Whether a row can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// Now.
    Now,
    /// Not yet, and why.
    Later(&'static str),
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
    /// What must be reached.
    pub floor: &'static str,
    /// What should be.
    pub goal: &'static str,
    /// Whether it can be measured.
    pub ready: Ready,
}

const UNMADE: Ready = Ready::Later("its load is not there yet");

/// All rows.
pub const ROWS: &[Row] = &[
    row(
        "T1",
        "mixed",
        "sends, index updates, deliveries, reconnects, heartbeats at once",
        "520 msg/s",
        "2,000 msg/s, ack p99 25 ms, delivery p99 40 ms",
        UNMADE,
    ),
    row("T2", "send", "direct sends, 512 in flight", "4,000/s", "15,000/s", Ready::Now),
    row("T2a", "lone", "direct sends, one in flight: send to ack", "3 x fdatasync p50", "1.5 x", Ready::Now),
    row("T3", "group", "one group of 100, all online, 16 senders", "50,000 deliveries/s", "300,000 deliveries/s, 0.3 CPU-s per 100k", Ready::Now),
    row("T3a", "groups", "16 groups of 100, 1,600 receivers", "20,000 deliveries/s", "70,000 deliveries/s, 1.5 CPU-s per 100k", Ready::Now),
    row("T4", "edge", "small frames to distinct sessions", "15,000/s/core", "40,000/s/core", UNMADE),
    row("T5", "idle", "memory of an idle session", "40 KiB", "32 KiB", Ready::Now),
    row("T6", "handshake", "handshakes, full and resumed", "1,000; 2,000 /s/core", "2,000; 4,000 /s/core", UNMADE),
    row("T7", "sync", "syncs: nothing new; 10 channels of 20 messages", "3,000; 800 /s/core", "10,000; 2,000 /s/core", UNMADE),
    row("T8", "index", "user-index updates applied", "100,000/s/core", "250,000/s/core", UNMADE),
    row("T9", "heartbeat", "heartbeats at the edge", "30,000/s/core", "80,000/s/core", Ready::Now),
    row("T10", "failover", "leader killed under load: sends resume, p99", "5 s", "3 s", Ready::Now),
    row("T11", "move", "1 GB bucket moved under load: longest freeze", "1 s", "300 ms", Ready::Later("comes with bucket moves")),
    row("T12", "reconnect", "a node with 5,000 of 15,000 sessions dies: 99 % back", "10 s", "3 s", Ready::Later("comes with nearest routing")),
    row("T13", "disk", "bytes on disk for each message", "90", "60", UNMADE),
    row("T14", "map", "map of 1,000 nodes, 100,000 groups: decode; lookup", "100 ms; 200 ns", "20 ms; 20 ns", UNMADE),
    row("T15", "quiet", "100 idle groups: processor time of a node", "5 % of a core", "1 %", Ready::Now),
    row("T16", "page", "history page of 50 messages, cold: p50", "5 ms", "1 ms", UNMADE),
    row("T17", "start", "start of a single node to the first accepted message", "1 s", "200 ms", Ready::Now),
];

const fn row(row: &'static str, name: &'static str, what: &'static str, floor: &'static str, goal: &'static str, ready: Ready) -> Row {
    Row { row, name, what, floor, goal, ready }
}
