//! `kith-jepsen mutants`: each mutant against the cell that must catch it, each run a process of its own; goes on where it stopped.
//!
//! The nodes take the mutant's name from the environment that their run is started with, and the runs are those of any other binary: a catch here is a catch there.
//! The control `none` is the same binary without a mutant: it must not be caught, or a catch means nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use kith_jepsen::checker::Anomaly;
use kith_jepsen::name::{Mutant, Ready};
use kith_jepsen::plan::Request;
use kith_jepsen::proof::{Proof, control};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::run::binary;

/// Names the mutant that a node is to be.
const MUTANT: &str = "KITH_MUTANT";
/// What a node that ended, or never came back, is called among what was found.
const ENDED: &str = "node_ended";
/// The run without one.
const CONTROL: &str = "none";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these; `none` is the control.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// All chance comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds that a mutant is tried with until it is caught.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    tries: u64,
    /// Folder of the proofs: a folder for each run, which is not made again where it has an answer.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The binary with mutants; `kith-fault` beside this program if not given.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// What came of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    /// The verdict is false, for a reason that the cell is there for. Of the control: true.
    Proven,
    /// The verdict is false for other reasons alone.
    Otherwise,
    /// The verdict is true. Of the control: false.
    Missed,
    /// The run shows nothing.
    Unknown,
}

/// A row of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    mutant: String,
    cell: String,
    seed: u64,
    end: End,
    /// What was found that the cell is there for.
    caught_by: Vec<String>,
    /// All that was found.
    found: Vec<String>,
    /// How long the run took, set-up included.
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    for name in &args.only {
        if name != CONTROL {
            name.parse::<Mutant>()?;
        }
    }
    let binary = match &args.binary {
        Some(path) => binary(Some(path))?,
        None => {
            let beside = std::env::current_exe().context("finding this program's own file")?.with_file_name("kith-fault");
            beside.canonicalize().with_context(|| {
                format!("no binary at {}: build it with `cargo build -p kith --features failpoint,mutants --bin kith-fault`", beside.display())
            })?
        }
    };
    fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut rows = Vec::new();
    if is_wanted(CONTROL) {
        rows.push(proven(None, &control(), args, &binary)?);
    }
    for mutant in Mutant::ALL.iter().filter(|mutant| is_wanted(mutant.name())) {
        match mutant.ready() {
            Ready::Now => rows.push(proven(Some(*mutant), &Proof::of(*mutant), args, &binary)?),
            Ready::Later(what) => println!("{:24} not made: {what}", mutant.name()),
        }
    }
    let path = args.out.join("mutants.json");
    fs::write(&path, serde_json::to_vec_pretty(&rows)?).with_context(|| format!("writing {}", path.display()))?;
    let of = |end: End| rows.iter().filter(|row| row.end == end).count();
    println!("\n{:24} {:52} {:>7}  caught by", "mutant", "cell", "seconds");
    rows.iter().for_each(tell);
    let (missed, unknown) = (of(End::Missed) + of(End::Otherwise), of(End::Unknown));
    println!("{} of {} proven, {missed} not, {unknown} unknown; all of it: {}", of(End::Proven), rows.len(), args.out.display());
    Ok(ExitCode::from(match (missed, unknown) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    }))
}

fn tell(row: &Row) {
    let what = match row.end {
        End::Proven if row.mutant == CONTROL => "not caught, as it must be".to_owned(),
        End::Proven => row.caught_by.join(", "),
        End::Otherwise => format!("NOT by what it should be, but by {}", row.found.join(", ")),
        End::Missed if row.mutant == CONTROL => format!("CAUGHT: {}", row.found.join(", ")),
        End::Missed => "SURVIVED".to_owned(),
        End::Unknown => "unknown: the run shows nothing".to_owned(),
    };
    println!("{:24} {:52} {:>7}  {what}", row.mutant, row.cell, row.seconds);
}

/// Runs until it is proven or the tries are over.
fn proven(mutant: Option<Mutant>, proof: &Proof, args: &Args, binary: &Path) -> anyhow::Result<Row> {
    // What must not be caught must not be at any time.
    let tries = if mutant.is_some() { args.tries } else { 1 };
    let mut last = None;
    for seed in args.seed..args.seed + tries {
        let name = mutant.map_or(CONTROL, Mutant::name);
        let folder = args.out.join(format!("{name}-{seed}"));
        let row = match answered(&folder) {
            Some(row) => row,
            None => attempt(mutant, proof, seed, &folder, binary)?,
        };
        tell(&row);
        let is_proven = row.end == End::Proven;
        last = Some(row);
        if is_proven {
            break;
        }
    }
    last.context("no try was made")
}

fn answered(folder: &Path) -> Option<Row> {
    let row: Row = serde_json::from_slice(&fs::read(folder.join("proof.json")).ok()?).ok()?;
    (row.end != End::Unknown).then_some(row)
}

fn attempt(mutant: Option<Mutant>, proof: &Proof, seed: u64, folder: &Path, binary: &Path) -> anyhow::Result<Row> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let request = proof.request(seed);
    let (workloads, slots) = words(&request);
    let name = mutant.map_or(CONTROL, Mutant::name);
    let begun = Instant::now();
    eprintln!("== {name}: {workloads} under {slots}, {} s, seed {seed}", request.seconds);
    let mut command = Command::new(std::env::current_exe().context("finding this program's own file")?);
    command
        .args(["run", "--workload", &workloads, "--nemesis", &slots])
        .args(["--nodes", &request.nodes.to_string(), "--seconds", &request.seconds.to_string(), "--seed", &seed.to_string()])
        .arg("--out")
        .arg(folder)
        .arg("--binary")
        .arg(binary)
        .env_remove(MUTANT)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(mutant) = mutant {
        command.env(MUTANT, mutant.name());
    }
    command.status().context("starting a run")?;
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).context("a run left no summary")?).context("reading a summary")?;
    let row = judge(name, proof, &summary, begun.elapsed().as_secs(), seed);
    fs::write(folder.join("proof.json"), serde_json::to_vec_pretty(&row)?).context("writing what came of a run")?;
    Ok(row)
}

fn judge(name: &str, proof: &Proof, summary: &Value, seconds: u64, seed: u64) -> Row {
    let mut found: Vec<String> =
        summary.pointer("/verdict/anomalies").and_then(Value::as_object).map(|found| found.keys().cloned().collect()).unwrap_or_default();
    let mut caught_by: Vec<String> = found.iter().filter(|found| proof.caught_by.iter().any(|one| one.name() == *found)).cloned().collect();
    if summary.get("ended").and_then(Value::as_array).is_some_and(|ended| !ended.is_empty()) {
        found.push(ENDED.to_owned());
        // Consensus itself stops where a log is not what it was confirmed to be; where only a device can be behind, a node that ends proves nothing.
        if proof.caught_by.contains(&Anomaly::SeqConflict) {
            caught_by.push(ENDED.to_owned());
        }
    }
    let end = match (summary.get("answer").and_then(Value::as_bool), name == CONTROL) {
        (None, _) => End::Unknown,
        (Some(true), true) => End::Proven,
        (Some(false), true) | (Some(true), false) => End::Missed,
        (Some(false), false) if caught_by.is_empty() => End::Otherwise,
        (Some(false), false) => End::Proven,
    };
    let (workloads, slots) = words(&proof.request(seed));
    Row { mutant: name.to_owned(), cell: format!("{workloads} / {slots} / {} s", proof.seconds), seed, end, caught_by, found, seconds }
}

/// Workloads and slots as they are typed.
fn words(request: &Request) -> (String, String) {
    let workloads: Vec<&str> = request.workloads.iter().map(|one| one.name()).collect();
    let slots: Vec<String> = request.slots.iter().map(|slot| slot.iter().map(|one| one.name()).collect::<Vec<_>>().join("+")).collect();
    (workloads.join(","), slots.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_that_ended_proves_only_what_breaks_a_log() {
        let ended = json!({ "answer": false, "ended": ["n1 ended by itself: exit status: 101"], "verdict": { "anomalies": {} } });
        let end = |mutant: Mutant| judge(mutant.name(), &Proof::of(mutant), &ended, 1, 1).end;
        for mutant in [Mutant::AckBeforeFsync, Mutant::ApplyOutOfOrder, Mutant::ChecksumSkipped, Mutant::EmptyDiskVotes] {
            assert_eq!(end(mutant), End::Proven, "{mutant}");
        }
        for mutant in [Mutant::RefAckedEarly, Mutant::OutboxDroppedEarly, Mutant::IndexRowKeepsRev, Mutant::PushLostSilently, Mutant::RemovedMaySend]
        {
            assert_eq!(end(mutant), End::Otherwise, "{mutant}");
        }
        assert_eq!(judge(CONTROL, &control(), &ended, 1, 1).end, End::Missed);
    }
}
