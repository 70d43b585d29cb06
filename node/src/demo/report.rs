//! What a replay tells at its end: one JSON object, or a table for a person.
//!
//! In: the verdict, latencies, kills, memory over time. Out: text. The names and the order of the JSON fields are a promise to scripts.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};
use kith_wire::id::NodeId;
use serde::Serialize;

use super::verdict::Verdict;

/// The result of a replay. "groups" are Raft groups.
#[derive(Clone, PartialEq, Default, Serialize, Debug)]
pub struct Report {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Raft groups that hold conversations.
    pub groups: usize,
    /// Group chats that were made.
    pub channels: usize,
    /// Lines without text.
    pub skipped: u64,
    /// Messages handed to the SDK.
    pub messages_sent: u64,
    /// Messages that got an ack.
    pub acked: u64,
    /// Texts of others that receivers were shown.
    pub delivered: u64,
    /// Acked texts that someone was never shown, or that a history lacks.
    pub missing: u64,
    /// Texts shown or recorded more often than sent.
    pub duplicate: u64,
    /// Holes in what was shown or recorded.
    pub gaps: u64,
    /// Contradictions to the order of sending.
    pub order_violations: u64,
    /// Messages without an ack.
    pub unacked: u64,
    /// Nodes that were killed.
    pub kills: u64,
    /// The longest time from a kill to the first ack of a message sent after it, over the groups that the node led. 0 without kills.
    pub resume_ms_max: u64,
    /// From send to ack.
    pub ack_ms_p50: f64,
    /// From send to ack.
    pub ack_ms_p99: f64,
    /// From send to a receiver.
    pub deliver_ms_p50: f64,
    /// From send to a receiver.
    pub deliver_ms_p99: f64,
    /// Whether every replica told the same history of every channel.
    pub replicas_equal: bool,
    /// From the first account made until everyone was shown everything.
    pub seconds: f64,
}

impl Report {
    /// Takes over the counts of a verdict.
    #[must_use]
    pub fn with_verdict(self, verdict: &Verdict) -> Self {
        Self {
            messages_sent: verdict.messages_sent,
            acked: verdict.acked,
            delivered: verdict.delivered,
            missing: verdict.missing,
            duplicate: verdict.duplicate,
            gaps: verdict.gaps,
            order_violations: verdict.order_violations,
            unacked: verdict.unacked,
            replicas_equal: verdict.unequal_channels == 0,
            ..self
        }
    }

    /// The table for a person, with the memory of each node over time.
    pub fn table(&self, memory: &[MemoryOfNode]) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let mut row = |name: &str, value: String, meaning: &str| {
            table.add_row([Cell::new(name), Cell::new(value).set_alignment(CellAlignment::Right), Cell::new(meaning)]);
        };
        row("nodes / raft groups", format!("{} / {}", self.nodes, self.groups), "");
        row("channels", count(self.channels as u64), &format!("{} lines without text skipped", self.skipped));
        row("messages sent", count(self.messages_sent), "");
        row("acked", count(self.acked), "on the disks of a quorum");
        row("delivered", count(self.delivered), "shown to other members");
        row("missing", count(self.missing), verdict(self.missing));
        row("duplicate", count(self.duplicate), verdict(self.duplicate));
        row("gaps", count(self.gaps), verdict(self.gaps));
        row("order violations", count(self.order_violations), verdict(self.order_violations));
        row("unacked", count(self.unacked), verdict(self.unacked));
        row("replicas equal", (if self.replicas_equal { "yes" } else { "NO" }).to_owned(), verdict(u64::from(!self.replicas_equal)));
        let resumed = match (self.kills, self.resume_ms_max) {
            (0, _) => String::new(),
            (_, 0) => "nobody sent to the groups that they led".to_owned(),
            (_, ms) => format!("sends resumed within {ms} ms"),
        };
        row("kills", count(self.kills), &resumed);
        row("ack p50 / p99", format!("{:.1} / {:.1} ms", self.ack_ms_p50, self.ack_ms_p99), "from send to ack");
        row("deliver p50 / p99", format!("{:.1} / {:.1} ms", self.deliver_ms_p50, self.deliver_ms_p99), "from send to a receiver");
        row("time", format!("{:.1} s", self.seconds), &format!("{:.0} messages/s", self.messages_sent as f64 / self.seconds.max(0.001)));
        format!("{table}\n{}", memory_table(memory))
    }
}

/// Resident memory of a node's process over time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryOfNode {
    /// Which.
    pub node: NodeId,
    /// (since the start, bytes), in order of time. A moment when it was down has no sample.
    pub samples: Vec<(Duration, u64)>,
}

fn memory_table(memory: &[MemoryOfNode]) -> Table {
    const COLUMNS: u32 = 8;
    let end = memory.iter().filter_map(|node| node.samples.last()).map(|sample| sample.0).max().unwrap_or_default();
    let moments: Vec<Duration> = (1..=COLUMNS).map(|column| end * column / COLUMNS).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut head = vec!["memory (MiB)".to_owned()];
    let digits = usize::from(end < Duration::from_secs(20));
    head.extend(moments.iter().map(|at| format!("{:.digits$} s", at.as_secs_f64())));
    head.push("peak".to_owned());
    table.set_header(head);
    for node in memory {
        let mut row = vec![Cell::new(format!("node {}", node.node))];
        let sizes = moments.iter().map(|&at| node.samples.iter().rfind(|sample| sample.0 <= at).map(|sample| sample.1));
        let peak = node.samples.iter().map(|sample| sample.1).max();
        row.extend(sizes.chain([peak]).map(|bytes| {
            let text = bytes.map_or_else(String::new, |bytes| (bytes >> 20).to_string());
            Cell::new(text).set_alignment(CellAlignment::Right)
        }));
        table.add_row(row);
    }
    table
}

fn verdict(count: u64) -> &'static str {
    if count == 0 { "as promised" } else { "BROKEN PROMISE" }
}

/// A number with thousands separated.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            nodes: 3,
            groups: 3,
            channels: 7,
            skipped: 1,
            messages_sent: 0,
            acked: 0,
            delivered: 0,
            missing: 0,
            duplicate: 0,
            gaps: 0,
            order_violations: 0,
            unacked: 0,
            kills: 1,
            resume_ms_max: 900,
            ack_ms_p50: 1.5,
            ack_ms_p99: 2.0,
            deliver_ms_p50: 3.0,
            deliver_ms_p99: 4.0,
            replicas_equal: false,
            seconds: 12.5,
        }
    }

    #[test]
    fn json_has_the_promised_names_in_their_order() {
        let verdict = Verdict {
            messages_sent: 5,
            acked: 4,
            unacked: 1,
            delivered: 9,
            missing: 2,
            duplicate: 3,
            gaps: 6,
            order_violations: 8,
            unequal_channels: 0,
        };
        let json = serde_json::to_string(&report().with_verdict(&verdict)).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"nodes":3,"groups":3,"channels":7,"skipped":1,"messages_sent":5,"acked":4,"delivered":9,"missing":2,"duplicate":3,"gaps":6,"#,
                r#""order_violations":8,"unacked":1,"kills":1,"resume_ms_max":900,"ack_ms_p50":1.5,"ack_ms_p99":2.0,"deliver_ms_p50":3.0,"#,
                r#""deliver_ms_p99":4.0,"replicas_equal":true,"seconds":12.5}"#
            )
        );
        assert!(!report().with_verdict(&Verdict { unequal_channels: 1, ..verdict }).replicas_equal);
    }

    #[test]
    fn table_names_what_was_broken_and_shows_memory_over_time() {
        let memory =
            [MemoryOfNode { node: NodeId::new(1), samples: vec![(Duration::from_secs(1), 100 << 20), (Duration::from_secs(80), 140 << 20)] }];
        let table = report().with_verdict(&Verdict { missing: 1_234_567, ..Verdict::default() }).table(&memory);
        assert!(table.contains("1,234,567"), "{table}");
        assert!(table.contains("BROKEN PROMISE"), "{table}");
        assert!(table.contains("node 1") && table.contains("80 s") && table.contains("140"), "{table}");
    }
}
