//! The report of many runs: a table with floor, goal and measured, the bottleneck of each row, and what was tried for it.
//!
//! In: the runs of each row. Out: Markdown, JSON, plots ([`super::plot`]). Invariants: a figure is the median of its runs, and of what may
//! never be (missing, duplicate, gaps) the worst; a row without a run
//! says why; a row short of a goal says what limits it and what was tried. Bounds: none. Not here: measuring (`run`), the guard (`guard`).

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    guard::Accepted,
    machine::Machine,
    plot::{Axis, Series, lines},
    row::{Metric, Row, Worth},
    run::{Curve, Run},
    strain::OTHERS_MAX,
};

/// The log of what was tried: its tables have a line for each, which begins with the rows it is about.
const TRIED: &str = include_str!("../../../tests/bench/README.md");

/// A row and its runs.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which.
    pub row: &'static Row,
    /// Its runs; fewer than asked for when one failed.
    pub runs: Vec<Run>,
    /// Why a run failed.
    pub failed: Option<String>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The day, in UTC.
    pub date: String,
    /// Processors of the machine.
    pub processors: usize,
    /// The machine, as the runs saw it: medians.
    pub machine: Option<Machine>,
    /// The largest share of all processors that others used during a run: above a fifth, wall time says little.
    pub others_share_max: f64,
    /// One for each row of the table of targets.
    pub rows: Vec<RowReport>,
    /// Direct sends against senders.
    pub concurrency: Vec<Point>,
    /// Why a point of these is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrency_failed: Vec<String>,
}

/// A row.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// Its number.
    pub row: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it measures.
    pub what: &'static str,
    /// Runs that were made.
    pub runs: usize,
    /// Why there are none, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// What limited the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<String>,
    /// What was tried for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
    /// Latency distributions of the last run.
    #[serde(skip)]
    curves: Vec<(&'static str, Curve)>,
}

/// A figure over all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub what: &'static str,
    /// Its place in a run's figures.
    pub path: &'static str,
    /// The median; of what may never be the worst.
    pub measured: f64,
    /// Of these.
    pub runs: Vec<f64>,
    /// What must be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// What should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
    /// What the median is worth.
    pub worth: Worth,
}

/// Direct sends with so many senders.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Senders, one send in flight each.
    pub senders: usize,
    /// Acked a second.
    pub acked_per_s: f64,
    /// From send to ack, half are faster.
    pub ack_ms_p50: f64,
    /// One in a hundred is slower.
    pub ack_ms_p99: f64,
    /// Of all nodes.
    pub cpu_s_per_100k: f64,
}

impl Report {
    /// Puts the runs together. `unix_ms`: now. The points may have failed.
    pub fn new(unix_ms: u64, measured: &[Measured], concurrency: Vec<Result<Point, String>>) -> Self {
        let runs = || measured.iter().flat_map(|row| &row.runs);
        let machines: Vec<&Machine> = runs().map(|run| &run.machine).collect();
        let of = |figure: fn(&Machine) -> f64| median(machines.iter().map(|machine| figure(machine)).collect());
        let machine = (!machines.is_empty()).then(|| Machine {
            fdatasync_per_s: of(|machine| machine.fdatasync_per_s).unwrap_or_default(),
            fdatasync_ms_p50: of(|machine| machine.fdatasync_ms_p50).unwrap_or_default(),
            udp_round_trip_us_p50: of(|machine| machine.udp_round_trip_us_p50).unwrap_or_default(),
        });
        Self {
            date: date_of(unix_ms),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            machine,
            others_share_max: runs().filter_map(|run| run.figures.pointer("/strain/others_share")?.as_f64()).fold(0.0, f64::max),
            rows: measured.iter().map(RowReport::new).collect(),
            concurrency: concurrency.iter().filter_map(|point| point.as_ref().ok().copied()).collect(),
            concurrency_failed: concurrency.into_iter().filter_map(Result::err).collect(),
        }
    }

    /// Whether a row that can be measured is below its floor, or was not measured, or a point of the curve was not.
    pub fn is_short(&self) -> bool {
        !self.concurrency_failed.is_empty() || self.rows.iter().any(|row| row.lacks.is_some() || row.is_below_floor())
    }

    /// In the form that a later run can be held to.
    pub fn accepted(&self) -> Accepted {
        let figures = |row: &RowReport| row.figures.iter().map(|figure| (figure.path.to_owned(), figure.measured)).collect();
        let rows = self.rows.iter().filter(|row| row.runs > 0).map(|row| (row.name.to_owned(), figures(row))).collect();
        Accepted { date: self.date.clone(), processors: self.processors, rows }
    }

    /// The table, and what is to be said of each row short of its goal.
    pub fn markdown(&self) -> String {
        let mut out = format!("# What Kith costs, {}\n\n", self.date);
        if let Some(machine) = &self.machine {
            let _ = writeln!(
                out,
                "{} processors with the load beside the nodes; fdatasync {:.0}/s, p50 {:.2} ms; loopback round trip p50 {:.0} us (medians over the runs). \
                 Each figure is the median of its runs, which stand behind it. Processor seconds are those of all nodes.\n",
                self.processors, machine.fdatasync_per_s, machine.fdatasync_ms_p50, machine.udp_round_trip_us_p50
            );
        }
        if self.others_share_max > OTHERS_MAX {
            let _ = writeln!(
                out,
                "**This machine was not left alone**: others used up to {:.0} % of its processors. Rates and latencies say little; processor seconds do.\n",
                self.others_share_max * 100.0
            );
        }
        out.push_str("| row | what | figure | floor | goal | measured | | runs | bottleneck |\n|---|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            row.table(&mut out);
        }
        let behind: Vec<&RowReport> = self.rows.iter().filter(|row| row.is_short_goal()).collect();
        if !behind.is_empty() {
            out.push_str("\n## Short of the goal\n");
        }
        for row in behind {
            let _ = writeln!(out, "\n**{} {}**: {}.", row.row, row.name, row.bottleneck.as_deref().unwrap_or("not known"));
            if row.tried.is_empty() {
                out.push_str("- nothing was tried yet\n");
            }
            row.tried.iter().for_each(|tried| {
                let _ = writeln!(out, "- tried: {tried}");
            });
        }
        if !self.concurrency.is_empty() {
            out.push_str("\n## Direct sends against senders\n\n![throughput](throughput.svg)\n\n");
            out.push_str("| senders | acked/s | ack p50 ms | ack p99 ms | CPU-s per 100k |\n|---|---|---|---|---|\n");
            for point in &self.concurrency {
                let figures = [point.acked_per_s, point.ack_ms_p50, point.ack_ms_p99, point.cpu_s_per_100k].map(short);
                let _ = writeln!(out, "| {} | {} |", point.senders, figures.join(" | "));
            }
        }
        self.concurrency_failed.iter().for_each(|failed| {
            let _ = writeln!(out, "\n**Direct sends {failed}**");
        });
        let plotted: Vec<&str> = self.rows.iter().filter(|row| !row.curves.is_empty()).map(|row| row.name).collect();
        if !plotted.is_empty() {
            out.push_str("\n## Latency distributions\n\n");
            plotted.iter().for_each(|name| {
                let _ = writeln!(out, "![{name}](latency-{name}.svg)");
            });
        }
        out
    }

    /// Plots, with the names of their files.
    pub fn plots(&self) -> Vec<(String, String)> {
        let mut plots: Vec<(String, String)> = Vec::new();
        for row in self.rows.iter().filter(|row| !row.curves.is_empty()) {
            plots.push((format!("latency-{}.svg", row.name), distribution(row)));
        }
        if !self.concurrency.is_empty() {
            let senders = Axis::logarithmic("senders, one send in flight each", self.concurrency.iter().map(|point| point.senders as f64));
            let series = |name: &str, figure: fn(&Point) -> f64| Series {
                name: name.to_owned(),
                points: self.concurrency.iter().map(|point| (point.senders as f64, figure(point))).collect(),
            };
            let acked = [series("acked/s", |point| point.acked_per_s)];
            plots.push((
                "throughput.svg".to_owned(),
                lines("direct sends, three replicas: acked a second", &senders, &Axis::linear("acked/s"), &acked),
            ));
            let cost = [series("CPU-s", |point| point.cpu_s_per_100k)];
            let axis = Axis::linear("CPU-s");
            plots.push(("cost.svg".to_owned(), lines("direct sends: processor seconds of all nodes for 100,000", &senders, &axis, &cost)));
        }
        plots
    }
}

impl RowReport {
    fn new(measured: &Measured) -> Self {
        let Measured { row, runs, failed } = measured;
        let figure = |metric: &'static Metric| {
            let values: Vec<f64> = runs.iter().filter_map(|run| metric.read(&run.figures)).collect();
            let measured = if metric.is_promise() { values.iter().copied().max_by(f64::total_cmp)? } else { median(values.clone())? };
            let Metric { what, path, floor, goal, .. } = *metric;
            Some(Figure { what, path, measured, runs: values, floor, goal, worth: metric.worth(measured) })
        };
        Self {
            row: row.row,
            name: row.name,
            what: row.what,
            runs: runs.len(),
            lacks: failed.clone(),
            figures: row.metrics.iter().filter_map(figure).collect(),
            bottleneck: runs.last().map(|run| run.bottleneck.clone()),
            tried: tried(TRIED, row.row),
            curves: runs.last().map(|run| run.curves.clone()).unwrap_or_default(),
        }
    }

    fn is_below_floor(&self) -> bool {
        self.figures.iter().any(|figure| figure.worth == Worth::BelowFloor)
    }
    fn is_short_goal(&self) -> bool {
        self.figures.iter().any(|figure| matches!(figure.worth, Worth::BelowFloor | Worth::Floor))
    }

    fn table(&self, out: &mut String) {
        let bottleneck = match (&self.lacks, &self.bottleneck) {
            (Some(lacks), _) => lacks.as_str(),
            (None, Some(bottleneck)) if self.is_short_goal() => bottleneck.split(';').next().unwrap_or(bottleneck),
            _ => "",
        };
        if self.figures.is_empty() {
            let _ = writeln!(out, "| {} | {}: {} | | | | | | | {bottleneck} |", self.row, self.name, self.what);
        }
        for (nth, figure) in self.figures.iter().enumerate() {
            let (row, what, bottleneck) =
                if nth == 0 { (self.row, format!("{}: {}", self.name, self.what), bottleneck) } else { ("", String::new(), "") };
            let bound = |bound: Option<f64>| bound.map(short).unwrap_or_default();
            let worth = match figure.worth {
                Worth::BelowFloor => "**below floor**",
                Worth::Floor => "floor",
                Worth::Goal => "goal",
                Worth::Told => "",
            };
            let runs: Vec<String> = figure.runs.iter().map(|run| short(*run)).collect();
            let (floor, goal, measured) = (bound(figure.floor), bound(figure.goal), short(figure.measured));
            let _ =
                writeln!(out, "| {row} | {what} | {} | {floor} | {goal} | {measured} | {worth} | {} | {bottleneck} |", figure.what, runs.join(", "));
        }
    }
}

/// Latencies against the share that is slower: one half, one in ten, one in a hundred.
fn distribution(row: &RowReport) -> String {
    let slower = |share: f64| 1.0 / (1.0 - share).max(1e-5);
    let marks = [("p50", 2.0), ("p90", 10.0), ("p99", 100.0), ("p99.9", 1_000.0), ("p99.99", 10_000.0)];
    let series: Vec<Series> = row
        .curves
        .iter()
        .map(|(name, curve)| {
            let within = curve.iter().filter(|(share, _)| (1.0..=20_000.0).contains(&slower(*share)));
            Series { name: (*name).to_owned(), points: within.map(|(share, ms)| (slower(*share), *ms)).collect() }
        })
        .collect();
    lines(&format!("{} {}: latency", row.row, row.name), &Axis::marked("share that is faster", &marks), &Axis::linear("ms"), &series)
}

/// What a log says was tried for a row: the lines of its tables whose first column names it.
fn tried(log: &str, row: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut columns = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
        let is_about = columns.next()?.split(',').any(|named| named.trim() == row);
        is_about.then(|| columns.filter(|column| !column.is_empty()).collect::<Vec<_>>().join(": "))
    };
    log.lines().filter_map(line).collect()
}

/// The middle one; of two, the mean. `None` of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// `YYYY-MM-DD` in UTC (Hinnant, "chrono-compatible low-level date algorithms").
pub fn date_of(unix_ms: u64) -> String {
    let shifted = unix_ms / 86_400_000 + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let of_era_year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let month_shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = of_era_year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A figure in as few digits as say something.
pub fn short(figure: f64) -> String {
    let magnitude = figure.abs();
    if figure.fract() == 0.0 && magnitude < 10_000.0 {
        return format!("{figure:.0}");
    }
    match magnitude {
        1_000.0.. => thousands(figure),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

/// A whole number with commas.
fn thousands(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if figure < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::row::{ROWS, by_name};

    fn run(acked: f64) -> Run {
        Run {
            figures: json!({ "chat": { "acked_per_s": acked, "missing": 0 }, "half": { "ack_ms": { "p99": 12.5 } }, "strain": { "others_share": 0.1 } }),
            machine: Machine { fdatasync_per_s: 300.0, fdatasync_ms_p50: 3.0, udp_round_trip_us_p50: 5.0 },
            bottleneck: "processor: nodes 1.2 of 2; syncs 3/s".to_owned(),
            curves: vec![("ack", vec![(0.0, 1.0), (0.5, 2.0), (0.99, 9.0), (1.0, 11.0)])],
        }
    }

    fn measured(name: &str, runs: Vec<Run>) -> Measured {
        Measured { row: by_name(name).unwrap(), runs, failed: None }
    }

    #[test]
    fn figure_is_the_median_of_its_runs_and_says_what_it_is_worth() {
        let report = Report::new(0, &[measured("send", vec![run(5_000.0), run(3_000.0), run(4_500.0)])], Vec::new());
        let figure = &report.rows[0].figures[0];
        assert!(!report.markdown().contains("not left alone"));
        assert_eq!((figure.measured, figure.worth, figure.runs.len()), (4_500.0, Worth::Floor, 3));
        assert!(!report.is_short());
        let text = report.markdown();
        assert!(text.contains("| acked/s | 4000 | 15,000 | 4500 | floor | 5000, 3000, 4500 | processor: nodes 1.2 of 2 |"), "{text}");
        assert!(text.contains("## Short of the goal") && text.contains("**T2 send**"), "{text}");
        assert!(Report::new(0, &[measured("send", vec![run(3_999.0)])], Vec::new()).is_short());
    }

    #[test]
    fn what_was_lost_once_is_not_hidden_by_runs_that_lost_nothing() {
        let lost = Run { figures: json!({ "chat": { "acked_per_s": 9_000.0, "missing": 2 }, "half": { "missing": 0 } }), ..run(9_000.0) };
        let report = Report::new(0, &[measured("send", vec![run(9_000.0), lost, run(9_000.0)])], Vec::new());
        let missing = report.rows[0].figures.iter().find(|figure| figure.path == "/chat/missing").unwrap();
        assert_eq!((missing.measured, missing.worth), (2.0, Worth::BelowFloor));
        assert!(report.is_short());
        let failed = Report::new(0, &[], vec![Err("with 64 senders: 2 acknowledged texts are missing".to_owned())]);
        assert!(failed.is_short() && failed.markdown().contains("with 64 senders: 2 acknowledged texts are missing"), "{}", failed.markdown());
    }

    #[test]
    fn row_without_a_run_says_why() {
        let failed = Measured { failed: Some("a node ended".to_owned()), ..measured("send", Vec::new()) };
        let report = Report::new(0, &[failed], Vec::new());
        assert!(report.is_short() && report.markdown().contains("a node ended"));
    }

    #[test]
    fn every_row_has_a_line_and_every_plot_that_is_named_is_there() {
        let all: Vec<Measured> = ROWS.iter().map(|row| Measured { row, runs: vec![run(1.0)], failed: None }).collect();
        let point = |senders| Point { senders, acked_per_s: 900.0, ack_ms_p50: 1.0, ack_ms_p99: 2.0, cpu_s_per_100k: 9.0 };
        let report = Report::new(0, &all, vec![Ok(point(1)), Ok(point(64))]);
        let text = report.markdown();
        let files: Vec<String> = report.plots().into_iter().map(|(name, _)| name).collect();
        for row in ROWS {
            assert!(text.contains(&format!("| {} | {}: ", row.row, row.name)), "{}", row.name);
            assert!(files.contains(&format!("latency-{}.svg", row.name)));
        }
        for named in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(files.iter().any(|file| file == named), "{named}");
        }
    }

    #[test]
    fn what_was_tried_is_found_by_row() {
        let log =
            "| rows | what | before, after | kept |\n|---|---|---|---|\n| T2, T2b | one write for many | 9 to 8 | yes |\n| T3 | x | 1 to 1 | no |\n";
        assert_eq!(tried(log, "T2b"), ["one write for many: 9 to 8: yes"]);
        assert!(tried(log, "T2a").is_empty());
    }

    #[test]
    fn numbers_and_days_read_well() {
        assert_eq!(
            ["0", "0.250", "2.35", "42.5", "1234", "12,345", "1,234,568"],
            [0.0, 0.25, 2.34567, 42.51, 1_234.0, 12_345.0, 1_234_567.8].map(short).each_ref().map(String::as_str)
        );
        assert_eq!([0, 951_782_400_000, 1_700_000_000_000].map(date_of), ["1970-01-01", "2000-02-29", "2023-11-14"]);
        assert_eq!([median(vec![3.0, 1.0]), median(vec![5.0, 1.0, 2.0]), median(Vec::new())], [Some(2.0), Some(2.0), None]);
    }
}
