//! How cost grows with nodes, groups, sessions and history: flat lines are the goal.
//!
//! In: how far to go. Out: points, a plot for each line; a run that lost something gives no point. One run a point: what matters is the slope. Not here: the rows of the table (`run`).

use serde::Serialize;

use super::{
    BenchError, chat, idle, page,
    plot::{Axis, Series, lines},
    report::short,
    run::{Means, chat_options},
};

/// Sizes of the lines.
const NODES: [usize; 3] = [1, 3, 5];
const GROUPS: [u32; 3] = [3, 16, 256];
const SESSIONS: [usize; 3] = [1_000, 5_000, 20_000];
const MESSAGES: [u64; 3] = [10_000, 1_000_000, 10_000_000];

/// A line: one figure against one size.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its file's name.
    pub name: &'static str,
    /// What grows.
    pub against: &'static str,
    /// What is told.
    pub figure: &'static str,
    /// Size and figure.
    pub points: Vec<(f64, f64)>,
    /// Why a point is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// Measures all lines; `told` hears of each point.
pub async fn run(means: &Means, told: impl Fn(&str)) -> Vec<Line> {
    let mut all = Vec::new();
    for (kind, load) in [("send", chat_options(64, 1, 1)), ("group", chat_options(16, 100, 1))] {
        let cost = |measured: &chat::Measured| match kind {
            "send" => measured.outcome.server_cpu_s_per_100k_acked,
            _ => measured.outcome.server_cpu_s_per_100k_delivered,
        };
        let (by_nodes, by_groups) = if kind == "send" { ("send-nodes", "send-groups") } else { ("group-nodes", "group-groups") };
        let figure = if kind == "send" { "CPU-s per 100k acked" } else { "CPU-s per 100k delivered" };
        let mut line = Line::new(by_nodes, "nodes, with as many Raft groups", figure);
        for nodes in NODES {
            let options = chat::Options { nodes, groups: nodes as u32, ..load.clone() };
            line.add(nodes as f64, Box::pin(chat::run(&options)).await.and_then(chat::Measured::whole).as_ref().map(cost), &told);
        }
        all.push(line);
        let mut line = Line::new(by_groups, "Raft groups over 3 nodes", figure);
        for groups in GROUPS {
            let options = chat::Options { groups, ..load.clone() };
            line.add(f64::from(groups), Box::pin(chat::run(&options)).await.and_then(chat::Measured::whole).as_ref().map(cost), &told);
        }
        all.push(line);
    }
    let mut line = Line::new("sessions", "idle sessions of one node", "KiB each");
    for clients in SESSIONS {
        let outcome = idle::run(&idle::Options { nodes: 1, clients, seconds: 10 }).await;
        line.add(clients as f64, outcome.as_ref().map(|outcome| outcome.kib_per_client), &told);
    }
    all.push(line);
    let mut line = Line::new("history", "messages stored", "cold page p50 ms");
    for messages in MESSAGES {
        let outcome = Box::pin(page::run(messages, &means.stores)).await;
        line.add(messages as f64, outcome.as_ref().map(|outcome| outcome.page_ms.p50), &told);
    }
    all.push(line);
    all
}

impl Line {
    fn new(name: &'static str, against: &'static str, figure: &'static str) -> Self {
        Self { name, against, figure, points: Vec::new(), failed: Vec::new() }
    }

    fn add(&mut self, size: f64, figure: Result<f64, &BenchError>, told: &impl Fn(&str)) {
        match figure {
            Ok(figure) => {
                told(&format!("{} at {}: {} {}", self.name, short(size), short(figure), self.figure));
                self.points.push((size, figure));
            }
            Err(error) => {
                told(&format!("{} at {} failed: {}", self.name, short(size), told_whole(error)));
                self.failed.push(format!("{}: {}", short(size), told_whole(error)));
            }
        }
    }

    /// From the first to the last point, by which factor the figure grew; `None` with fewer than two.
    pub fn growth(&self) -> Option<f64> {
        let ((_, first), (_, last)) = (self.points.first()?, self.points.last()?);
        (self.points.len() > 1 && *first > 0.0).then(|| last / first)
    }

    /// Its plot.
    pub fn plot(&self) -> String {
        let axis = Axis::logarithmic(self.against, self.points.iter().map(|(size, _)| *size));
        let series = [Series { name: self.figure.to_owned(), points: self.points.clone() }];
        lines(&format!("{} against {}", self.figure, self.against), &axis, &Axis::linear(self.figure), &series)
    }
}

/// All lines as Markdown.
pub fn markdown(date: &str, all: &[Line]) -> String {
    let mut out = format!(
        "# How cost grows, {date}\n\nOne run a point. Flat is the goal.\n\n| against | figure | points | first to last |\n|---|---|---|---|\n"
    );
    for line in all {
        let points: Vec<String> = line.points.iter().map(|(size, figure)| format!("{}: {}", short(*size), short(*figure))).collect();
        let growth = line.growth().map_or_else(String::new, |growth| format!("x {}", short(growth)));
        let failed = if line.failed.is_empty() { String::new() } else { format!("; failed at {}", line.failed.join("; ")) };
        out.push_str(&format!("| {} | {} | {}{failed} | {growth} |\n", line.against, line.figure, points.join("; ")));
    }
    all.iter().for_each(|line| out.push_str(&format!("\n![{}](grow-{}.svg)\n", line.name, line.name)));
    out
}

/// An error with its causes.
pub fn told_whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_by_how_much_they_grew_and_what_failed() {
        let mut line = Line::new("send-nodes", "nodes", "CPU-s");
        line.add(1.0, Ok(4.0), &|_| {});
        assert_eq!(line.growth(), None);
        line.add(3.0, Ok(10.0), &|_| {});
        line.add(5.0, Err(&BenchError::Invalid("no room".to_owned())), &|_| {});
        assert_eq!(line.growth(), Some(2.5));
        let text = markdown("2026-01-02", std::slice::from_ref(&line));
        assert!(text.contains("| nodes | CPU-s | 1: 4; 3: 10; failed at 5: no room | x 2.50 |") && text.contains("(grow-send-nodes.svg)"), "{text}");
        assert!(line.plot().contains("CPU-s against nodes"));
    }
}
