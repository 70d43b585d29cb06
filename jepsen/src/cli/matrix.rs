//! `kith-jepsen matrix`: the runs of a selection, one after the other, each a process of its own; goes on where it stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use kith_jepsen::matrix::{Run, Selection, runs};
use kith_jepsen::name::Ready;
use serde_json::{Value, json};

use super::run::binary;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which runs.
    selection: Selection,
    /// Folder of the matrix: a folder for each run, which is not made again where it has an answer.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The binary under test; `kith` beside this program if not given.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// All chance comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only runs whose name begins so.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Sums over the runs.
#[derive(Default)]
struct Sums {
    counts: [u64; 3],
    acked: u64,
    unknown: u64,
    invoked: u64,
    bit: u64,
    installed: u64,
    recoveries: Vec<u64>,
    recovery_max: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let binary = binary(args.binary.as_deref())?;
    fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let mut sums = Sums::default();
    let mut missing = Vec::new();
    for mut one in runs(args.selection, args.seed) {
        if args.only.as_ref().is_some_and(|only| !one.name.starts_with(only.as_str())) {
            continue;
        }
        let asked: Vec<_> = one.request.slots.iter().flatten().copied().collect();
        one.request.slots.retain(|slot| slot.iter().all(|nemesis| nemesis.ready() == Ready::Now));
        missing.extend(asked.iter().filter(|nemesis| nemesis.ready() != Ready::Now).map(|nemesis| format!("{}: {nemesis}", one.name)));
        if one.request.slots.is_empty() {
            continue;
        }
        let folder = args.out.join(&one.name);
        let summary = match answered(&folder) {
            Some(summary) => summary,
            None => execute(&one, &folder, &binary)?,
        };
        let valid = summary.get("answer").cloned().unwrap_or(Value::Null);
        println!("{:24} {}", one.name, if valid.is_boolean() { valid.to_string() } else { "unknown".to_owned() });
        sums.add(&summary);
    }
    sums.tell();
    let path = args.out.join("matrix.json");
    fs::write(&path, serde_json::to_vec_pretty(&sums.figures(&missing))?).with_context(|| format!("writing {}", path.display()))?;
    if !missing.is_empty() {
        println!("not made, since it is not there yet: {}", missing.join(", "));
    }
    let [_, broken, unknown] = sums.counts;
    Ok(ExitCode::from(match (broken, unknown) {
        (0, 0) => 0,
        (0, _) => 2,
        _ => 1,
    }))
}

/// What a run said that is over; one that showed nothing is made again.
fn answered(folder: &Path) -> Option<Value> {
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).ok()?).ok()?;
    summary.get("answer")?.is_boolean().then_some(summary)
}

fn execute(one: &Run, folder: &Path, binary: &Path) -> anyhow::Result<Value> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let request = &one.request;
    let workloads: Vec<&str> = request.workloads.iter().map(|one| one.name()).collect();
    let slots: Vec<String> = request.slots.iter().map(|slot| slot.iter().map(|one| one.name()).collect::<Vec<_>>().join("+")).collect();
    eprintln!("== {}: {} under {}, {} s", one.name, workloads.join(","), slots.join(","), request.seconds);
    let mut command = Command::new(std::env::current_exe().context("finding this program's own file")?);
    command
        .args(["run", "--workload", &workloads.join(","), "--nemesis", &slots.join(",")])
        .args(["--nodes", &request.nodes.to_string(), "--seconds", &request.seconds.to_string(), "--seed", &request.seed.to_string()])
        .arg("--out")
        .arg(folder)
        .arg("--binary")
        .arg(binary)
        .stdin(Stdio::null());
    if request.is_shifting {
        command.arg("--shifting");
    }
    command.status().context("starting a run")?;
    let bytes = fs::read(folder.join("run.json")).context("a run left no summary")?;
    serde_json::from_slice(&bytes).context("reading a run's summary")
}

impl Sums {
    fn add(&mut self, summary: &Value) {
        let at = match summary.get("answer").and_then(Value::as_bool) {
            Some(true) => 0,
            Some(false) => 1,
            None => 2,
        };
        self.counts[at] += 1;
        let Some(figures) = summary.pointer("/verdict/figures") else { return };
        let figure = |key: &str| figures.pointer(key).and_then(Value::as_u64).unwrap_or_default();
        self.acked += figure("/acked");
        self.unknown += figure("/unknown");
        self.invoked += figure("/invoked");
        self.bit += figure("/faults_bit");
        self.installed += figure("/faults_installed");
        if figure("/recovery_ms/count") > 0 {
            self.recoveries.push(figure("/recovery_ms/p50"));
            self.recovery_max = self.recovery_max.max(figure("/recovery_ms/max"));
        }
    }

    /// The same for programs.
    fn figures(&self, missing: &[String]) -> Value {
        let [held, broken, unknown] = self.counts;
        json!({
            "runs": { "true": held, "false": broken, "unknown": unknown },
            "operations": { "invoked": self.invoked, "acked": self.acked, "fate_unknown": self.unknown },
            "faults": { "installed": self.installed, "bit": self.bit },
            "recovery_ms": { "p50": self.recovery_p50(), "max": self.recovery_max },
            "missing": missing,
        })
    }

    /// The middle one of the runs' medians.
    fn recovery_p50(&self) -> u64 {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn tell(&self) {
        let [held, broken, unknown] = self.counts;
        println!("{} runs: {held} true, {broken} false, {unknown} unknown", held + broken + unknown);
        println!(
            "{} operations acked of {}, fate unknown {} in 1,000; {} of {} faults bit; recovery p50 {} ms, max {} ms",
            self.acked,
            self.invoked,
            self.unknown * 1_000 / self.invoked.max(1),
            self.bit,
            self.installed,
            self.recovery_p50(),
            self.recovery_max
        );
    }
}
