//! `kith check DIR`: looks a stopped node's data through.

use std::path::PathBuf;

use kith_raft::storage::check::{Report, check};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};

/// Look a stopped node's data directory through for damage
///
/// Every checksum, the density of every log, what is applied against what is logged, and the invariants of every group. Changes nothing.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The node's data directory, or the node's folder
    dir: PathBuf,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let inside = args.dir.join("data");
    let dir = if inside.is_dir() { inside } else { args.dir };
    let hint = "stop the node first; give its data directory (DIR/node-<id>/data)";
    let checked = tokio::task::spawn_blocking(move || check(&dir)).await;
    let report =
        checked.map_err(|error| Failure::local("checking", &error, "please report it"))?.map_err(|error| Failure::local("checking", &error, hint))?;
    if args.json {
        println!("{}", as_json(&report));
    } else {
        println!("{}", as_text(&report));
    }
    Ok(if report.is_sound() { Exit::Done } else { Exit::Bad })
}

fn as_json(report: &Report) -> Value {
    let groups: Vec<Value> = report
        .groups
        .iter()
        .map(|group| {
            json!({
                "group": group.group.get(), "entries": group.entries, "rows": group.rows, "is_installing": group.is_installing,
                "applied": group.applied.last.map(|id| id.index.get()), "last": group.log.last.map(|id| id.index.get()),
            })
        })
        .collect();
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    json!({ "sound": report.is_sound(), "groups": groups, "problems": problems, "problems_dropped": report.problems_dropped })
}

fn as_text(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .groups
        .iter()
        .map(|group| {
            let applied = group.applied.last.map_or_else(|| "nothing".to_owned(), |id| id.index.to_string());
            let note = if group.is_installing { ", an install was cut short: the next start completes it" } else { "" };
            format!("group {}: {} log entries, {} rows, applied up to {applied}{note}", group.group, group.entries, group.rows)
        })
        .collect();
    lines.extend(report.problems.iter().map(|problem| format!("DAMAGE: {problem}")));
    if report.problems_dropped > 0 {
        lines.push(format!("... and {} more", report.problems_dropped));
    }
    lines.push(
        (if report.is_sound() {
            "sound"
        } else {
            "DAMAGED: start the node, and what is damaged is rebuilt from its peers; do not empty the disk, or it must be replaced"
        })
        .to_owned(),
    );
    lines.join("\n")
}
