//! A run as a page: `index.html` with plots beside it, which opens from disk.
//!
//! In: the folder of a run. Out: `index.html`, `rate.svg`, `latency.svg`. Bounds: one bar a second of the run; at most [`LOG_LINES_MAX`] lines of logs a fault.
//! Not here: the verdict (`checker`), which is read from `run.json`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::history::{FaultEvent, FaultOutcome, Op, Outcome, Reader, Token, read_faults};

/// Lines of one node's log that are shown around a fault.
const LOG_LINES_MAX: usize = 25;
/// Size of a plot.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 46.0;

/// One second of the run.
#[derive(Clone, Default)]
struct Second {
    ok: u64,
    failed: u64,
    unknown: u64,
    /// Of acked sends, in ms.
    latencies: Vec<f64>,
}

/// Writes the page of a run.
///
/// # Errors
/// The run's files cannot be read, or the page cannot be written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).context("reading the summary")?).context("reading the summary")?;
    let faults = read_faults(&folder.join("nemesis.jsonl")).unwrap_or_default();
    let seconds = seconds(folder).context("reading the history")?;
    let rate = rate(&seconds, &faults);
    let latency = latency(&seconds, &faults);
    fs::write(folder.join("rate.svg"), &rate).context("writing a plot")?;
    fs::write(folder.join("latency.svg"), &latency).context("writing a plot")?;
    fs::write(folder.join("index.html"), page(folder, &summary, &faults, &rate, &latency)).context("writing the page")
}

fn seconds(folder: &Path) -> anyhow::Result<Vec<Second>> {
    let mut reader = Reader::open(&folder.join("history.jsonl"))?;
    let mut open: HashMap<(u64, Option<u64>), u64> = HashMap::new();
    let mut seconds: Vec<Second> = Vec::new();
    // A torn line ends the plots where it stands; the verdict says so.
    while let Ok(Some((_, event))) = reader.next() {
        if matches!(event.op, Op::Received { .. } | Op::Read { is_final: true, .. }) {
            continue;
        }
        let token = match event.token {
            Some(Token::Number(number)) => Some(number),
            _ => None,
        };
        if event.outcome == Outcome::Invoke {
            open.insert((event.process, token), event.time);
            continue;
        }
        let at = (event.time / 1_000_000_000) as usize;
        if seconds.len() <= at {
            seconds.resize(at + 1, Second::default());
        }
        let second = &mut seconds[at];
        let begun = open.remove(&(event.process, token));
        match event.outcome {
            Outcome::Ok => {
                second.ok += 1;
                if let (Some(begun), Op::Send { .. }) = (begun, &event.op) {
                    second.latencies.push((event.time - begun) as f64 / 1e6);
                }
            }
            Outcome::Fail { .. } => second.failed += 1,
            Outcome::Info | Outcome::Invoke => second.unknown += 1,
        }
    }
    for second in &mut seconds {
        second.latencies.sort_by(f64::total_cmp);
    }
    Ok(seconds)
}

/// From where to where each fault was in place, in seconds, with its name.
fn spans(faults: &[FaultEvent]) -> Vec<(f64, f64, String)> {
    let installed = faults.iter().enumerate().filter(|(_, fault)| fault.outcome == FaultOutcome::Installed);
    installed
        .map(|(n, fault)| {
            let is_end =
                |other: &&FaultEvent| other.outcome == FaultOutcome::Healed && other.nemesis == fault.nemesis && other.target == fault.target;
            let end = faults[n..].iter().find(is_end).map_or(fault.time, |end| end.time);
            (fault.time as f64 / 1e9, end as f64 / 1e9, format!("{} at {}", fault.nemesis, fault.target))
        })
        .collect()
}

struct Plot {
    svg: String,
    seconds: f64,
    top: f64,
}

impl Plot {
    fn new(title: &str, seconds: usize, top: f64, faults: &[FaultEvent]) -> Self {
        let mut plot = Self { svg: String::new(), seconds: seconds.max(1) as f64, top: if top > 0.0 { top } else { 1.0 } };
        let (width, height) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
        plot.put(&format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' font-size='11'>\
             <text x='{MARGIN}' y='18' font-size='14'>{title}</text>"
        ));
        for (from, to, name) in spans(faults) {
            let (x, wide) = (plot.x(from), (plot.x(to) - plot.x(from)).max(1.5));
            plot.put(&format!(
                "<rect x='{x:.1}' y='{MARGIN}' width='{wide:.1}' height='{HEIGHT}' fill='#e4572e' opacity='0.18'><title>{}</title></rect>\
                 <text x='{:.1}' y='{:.1}' transform='rotate(-90 {:.1} {:.1})' fill='#a03015' font-size='9'>{}</text>",
                escape(&name),
                x + 8.0,
                MARGIN + HEIGHT - 4.0,
                x + 8.0,
                MARGIN + HEIGHT - 4.0,
                escape(&name)
            ));
        }
        for step in 0..=4 {
            let (value, y) = (plot.top * f64::from(step) / 4.0, plot.y(plot.top * f64::from(step) / 4.0));
            plot.put(&format!(
                "<line x1='{MARGIN}' x2='{}' y1='{y:.1}' y2='{y:.1}' stroke='#ddd'/><text x='{}' y='{:.1}' text-anchor='end'>{value:.0}</text>",
                MARGIN + WIDTH,
                MARGIN - 4.0,
                y + 4.0
            ));
        }
        let every = (plot.seconds / 10.0).ceil().max(1.0);
        let mut at = 0.0;
        while at <= plot.seconds {
            plot.put(&format!("<text x='{:.1}' y='{}' text-anchor='middle'>{at:.0} s</text>", plot.x(at), MARGIN + HEIGHT + 16.0));
            at += every;
        }
        plot
    }

    fn x(&self, second: f64) -> f64 {
        MARGIN + WIDTH * (second / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        MARGIN + HEIGHT * (1.0 - (value / self.top).clamp(0.0, 1.0))
    }

    fn put(&mut self, text: &str) {
        self.svg.push_str(text);
    }

    fn line(&mut self, name: &str, color: &str, nth: usize, values: impl Iterator<Item = (usize, f64)>) {
        let points: Vec<String> = values.map(|(at, value)| format!("{:.1},{:.1}", self.x(at as f64 + 0.5), self.y(value))).collect();
        let x = MARGIN + 300.0 + 130.0 * nth as f64;
        self.put(&format!(
            "<polyline fill='none' stroke='{color}' stroke-width='1.6' points='{}'/><text x='{x}' y='18' fill='{color}'>{name}</text>",
            points.join(" ")
        ));
    }

    fn end(mut self) -> String {
        self.put("</svg>");
        self.svg
    }
}

fn rate(seconds: &[Second], faults: &[FaultEvent]) -> String {
    let top = seconds.iter().map(|second| second.ok.max(second.failed).max(second.unknown)).max().unwrap_or(1) as f64;
    let mut plot = Plot::new("operations a second, faults shaded", seconds.len(), top, faults);
    plot.line("ok", "#2a7f3f", 0, seconds.iter().map(|second| second.ok as f64).enumerate());
    plot.line("fail", "#3f5fbf", 1, seconds.iter().map(|second| second.failed as f64).enumerate());
    plot.line("unknown", "#b08000", 2, seconds.iter().map(|second| second.unknown as f64).enumerate());
    plot.end()
}

fn latency(seconds: &[Second], faults: &[FaultEvent]) -> String {
    let quantile = |second: &Second, of: f64| -> Option<f64> {
        let last = second.latencies.len().checked_sub(1)?;
        second.latencies.get((last as f64 * of) as usize).copied()
    };
    let top = seconds.iter().filter_map(|second| quantile(second, 0.99)).fold(1.0, f64::max);
    let mut plot = Plot::new("latency of acked sends, ms", seconds.len(), top, faults);
    for (nth, (name, color, of)) in [("p50", "#2a7f3f", 0.5), ("p99", "#b02020", 0.99)].into_iter().enumerate() {
        plot.line(name, color, nth, seconds.iter().enumerate().filter_map(|(at, second)| Some((at, quantile(second, of)?))));
    }
    plot.end()
}

fn page(folder: &Path, summary: &Value, faults: &[FaultEvent], rate: &str, latency: &str) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let answer = summary.get("answer").map(text).unwrap_or_default();
    let mut out = String::from(
        "<!doctype html><meta charset='utf-8'><title>kith-jepsen</title><style>body{font:14px/1.45 sans-serif;max-width:1080px;margin:2em auto;padding:0 1em}\
         pre{background:#f6f6f6;padding:.6em;overflow-x:auto;font-size:12px}table{border-collapse:collapse}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;\
         text-align:left}.true{color:#2a7f3f}.false{color:#b02020}.unknown{color:#b08000}</style>",
    );
    let command = summary.get("command").map(text).unwrap_or_default();
    let _ = write!(out, "<h1>Verdict: <span class='{0}'>{0}</span></h1><pre>{1}</pre>", escape(&answer), escape(&command));
    let list = |out: &mut String, key: &str| {
        for reason in summary.pointer(key).and_then(Value::as_array).into_iter().flatten() {
            let _ = write!(out, "<p>{}</p>", escape(&text(reason)));
        }
    };
    if let Some(failed) = summary.get("failed") {
        let _ = write!(out, "<p>The run shows nothing: {}</p>", escape(&text(failed)));
    }
    list(&mut out, "/verdict/reasons");
    list(&mut out, "/ended");
    for (name, found) in summary.pointer("/verdict/anomalies").and_then(Value::as_object).into_iter().flatten() {
        let _ = write!(out, "<h2 class='false'>{} ({})</h2><pre>", escape(name), found.get("count").unwrap_or(&Value::Null));
        for example in found.get("examples").and_then(Value::as_array).into_iter().flatten() {
            let _ = writeln!(out, "{}", escape(&text(example)));
        }
        out.push_str("</pre>");
    }
    let _ = write!(out, "{rate}{latency}<h2>Faults</h2><table><tr><th>s</th><th>fault</th><th>at</th><th>outcome</th><th>bit</th><th></th></tr>");
    for fault in faults {
        let bit = fault.evidence.bit.map(|bit| bit.to_string()).unwrap_or_default();
        let outcome = format!("{:?}", fault.outcome).to_lowercase();
        let (time, note) = (fault.time as f64 / 1e9, escape(&fault.evidence.note));
        let _ = write!(
            out,
            "<tr><td>{time:.1}</td><td>{}</td><td>{}</td><td>{outcome}</td><td>{bit}</td><td>{note}</td></tr>",
            fault.nemesis,
            escape(&fault.target)
        );
    }
    out.push_str("</table><h2>Figures</h2><table>");
    for (name, value) in summary.pointer("/verdict/figures").and_then(Value::as_object).into_iter().flatten() {
        let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&value.to_string()));
    }
    out.push_str("</table><h2>The nodes' logs around each fault</h2>");
    logs(folder, summary.get("started_unix_ms").and_then(Value::as_u64).unwrap_or_default(), faults, &mut out);
    out
}

fn logs(folder: &Path, started_unix_ms: u64, faults: &[FaultEvent], out: &mut String) {
    let mut nodes: Vec<(String, Vec<(u64, String)>)> = Vec::new();
    for entry in fs::read_dir(folder.join("logs")).into_iter().flatten().flatten() {
        let text = fs::read(entry.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| Some((unix_ms_of(line)?, plain(line)))).collect();
        nodes.push((entry.file_name().to_string_lossy().into_owned(), lines));
    }
    nodes.sort();
    for fault in faults {
        let at = started_unix_ms + fault.time / 1_000_000;
        let _ = write!(
            out,
            "<details><summary>{:.1} s: {} at {}, {}</summary><pre>",
            fault.time as f64 / 1e9,
            fault.nemesis,
            escape(&fault.target),
            format!("{:?}", fault.outcome).to_lowercase()
        );
        for (node, lines) in &nodes {
            let near = lines.iter().filter(|(time, _)| (at.saturating_sub(500)..at + 4_000).contains(time)).take(LOG_LINES_MAX);
            for (_, line) in near {
                let _ = writeln!(out, "{} {}", escape(node), escape(line));
            }
        }
        out.push_str("</pre></details>");
    }
}

/// When a line of a log was written: its first word is a time as RFC 3339 has it, in UTC.
fn unix_ms_of(line: &str) -> Option<u64> {
    let line = plain(line);
    let (date, time) = line.split_whitespace().next()?.trim_end_matches('Z').split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    // Days since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days * 86_400_000 + ((hours * 3_600.0 + minutes * 60.0 + seconds) * 1_000.0) as i64).ok()
}

/// Without a terminal's colors.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut is_code = false;
    for letter in line.chars() {
        match (is_code, letter) {
            (false, '\u{1b}') => is_code = true,
            (true, 'm') => is_code = false,
            (true, _) => {}
            (false, letter) => out.push(letter),
        }
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_logs_are_read() {
        assert_eq!(unix_ms_of("2000-03-01T00:00:01.5Z  INFO x"), Some(951_868_801_500));
        assert_eq!(unix_ms_of("\u{1b}[2m1970-01-01T00:00:00Z\u{1b}[0m INFO"), Some(0));
        assert_eq!(unix_ms_of("thread 'main' panicked"), None);
    }
}
