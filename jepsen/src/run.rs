//! One run: a plan, a lab, loads, faults in their time, final reads, the verdict.
//!
//! In: a request, the binary under test. Out: a folder with everything that was seen, and an [`Answer`].
//! Invariants: the lab is removed however the run ends; an error of the harness makes the answer unknown, never true. Bounds: those of the plan.
//! Not here: what happens when (`plan`), how a fault is made (`nemesis`), what is right (`checker`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::checker::{Answer, Checker, Expect, Verdict, check};
use crate::history::{Evidence, FaultOutcome, Reader, read_faults};
use crate::lab::{self, Lab, Setup, Standing};
use crate::name::Nemesis;
use crate::nemesis::{self, Active};
use crate::plan::{Fault, Plan};
use crate::record::Recorder;
use crate::workload::{self, Bench, Loads, Phase};

/// The build with fail points.
const FAULT_BINARY: &str = "kith-fault";
/// How long the cluster may take to start.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long loads may take to end: devices catch up in that time.
const END_WITHIN: Duration = Duration::from_secs(120);
/// How long final reads go on while replicas differ.
const FINAL_READS_WITHIN: Duration = Duration::from_secs(60);

/// What `run.json` says.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The command that repeats it.
    pub command: String,
    /// Version of this harness.
    pub version: String,
    /// The binary under test.
    pub binary: PathBuf,
    /// Time 0 of the history, in milliseconds since 1970; 0 where nothing was begun.
    pub started_unix_ms: u64,
    /// The answer: the verdict's, unless the harness failed or a node ended by itself.
    pub answer: Answer,
    /// Why the run shows nothing, where the harness failed or this machine lacks something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Nodes that ended, or did not come back in the end, although no fault explains it.
    pub ended: Vec<String>,
    /// The verdict on the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What the running part leaves behind.
#[derive(Debug, Default)]
struct Seen {
    started_unix_ms: u64,
    ended: Vec<String>,
    /// A node did not come back in the end.
    is_broken: bool,
}

/// Makes a run. Everything it saw is in `folder` afterwards.
///
/// # Errors
/// The folder cannot be written.
pub fn run(plan: &Plan, folder: &Path, binary: &Path) -> anyhow::Result<Summary> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let folder = folder.canonicalize().with_context(|| format!("finding {}", folder.display()))?;
    fs::write(folder.join("plan.json"), serde_json::to_vec_pretty(plan)?).context("writing the plan")?;
    let request = &plan.request;
    let workloads: Vec<&str> = request.workloads.iter().map(|one| one.name()).collect();
    let slots: Vec<String> = request.slots.iter().map(|slot| slot.iter().map(|one| one.name()).collect::<Vec<_>>().join("+")).collect();
    let mut summary = Summary {
        command: format!(
            "kith-jepsen run --workload {} --nemesis {} --nodes {} --seconds {} --seed {}",
            workloads.join(","),
            slots.join(","),
            request.nodes,
            request.seconds,
            request.seed
        ),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        binary: binary.to_owned(),
        started_unix_ms: 0,
        answer: Answer::Unknown,
        failed: None,
        ended: Vec::new(),
        verdict: None,
    };
    let recorder = Arc::new(Recorder::create(&folder).context("making the files of the run")?);
    let mut seen = Seen::default();
    let done = match lab::lacks() {
        Some(reason) => Err(anyhow::Error::msg(reason)),
        None => under_test(plan, binary).and_then(|binary| in_lab(plan, &folder, &binary, &recorder, &mut seen)),
    };
    let done = done.and_then(|()| recorder.finish().context("writing what was seen"));
    summary.started_unix_ms = seen.started_unix_ms;
    summary.ended = std::mem::take(&mut seen.ended);
    match done {
        Ok(()) => {
            let verdict = judge(&folder, plan);
            // What ended a node also cuts a run short: that its verdict is unknown takes nothing from it, unless this harness went wrong.
            let is_told_apart = !summary.ended.is_empty() && verdict.harness_errors.count == 0;
            summary.answer = if is_told_apart || seen.is_broken { Answer::False } else { verdict.valid };
            summary.verdict = Some(verdict);
        }
        Err(error) => {
            // What there is may help to see why.
            recorder.finish().ok();
            summary.failed = Some(format!("{error:#}"));
            // A node that does not come back is no failure of the harness.
            if !summary.ended.is_empty() {
                summary.answer = Answer::False;
            }
        }
    }
    fs::write(folder.join("run.json"), serde_json::to_vec_pretty(&summary)?).context("writing the summary")?;
    // The page is for people: a run without one is still a run.
    if let Err(error) = crate::report::write(&folder) {
        eprintln!("warning: no page: {error:#}");
    }
    Ok(summary)
}

fn judge(folder: &Path, plan: &Plan) -> Verdict {
    let expect = Expect::of(plan);
    let broken = |error| {
        let mut checker = Checker::new(&expect, &[]);
        checker.broken(&error);
        checker.finish()
    };
    match read_faults(&folder.join("nemesis.jsonl")) {
        Ok(faults) => match Reader::open(&folder.join("history.jsonl")) {
            Ok(reader) => check(reader, &faults, &expect),
            Err(error) => broken(error),
        },
        Err(error) => broken(error),
    }
}

/// The binary that nodes are started from: one with fail points where the plan needs them, or nodes of an older release, from the folder of the one that was named.
fn under_test(plan: &Plan, binary: &Path) -> anyhow::Result<PathBuf> {
    let is_fault = binary.file_name().is_some_and(|name| name == FAULT_BINARY);
    // The older release is a binary of its own, or this one, told to be it.
    let plays_older = std::env::var_os(lab::PREVIOUS).is_none();
    let needs_faults = |one: &Nemesis| *one == Nemesis::Failpoint || (*one == Nemesis::Upgrade && plays_older);
    if is_fault || !plan.required().iter().any(needs_faults) {
        return Ok(binary.to_owned());
    }
    let other = binary.with_file_name(FAULT_BINARY);
    let why = || {
        format!("no {FAULT_BINARY} beside the binary under test: `cargo build -p kith --features failpoint,mutants --bin {FAULT_BINARY}` makes it")
    };
    anyhow::ensure!(other.is_file(), why());
    Ok(other)
}

fn in_lab(plan: &Plan, folder: &Path, binary: &Path, recorder: &Arc<Recorder>, seen: &mut Seen) -> anyhow::Result<()> {
    lab::clean();
    let standing = Standing::new(Lab::make(folder, plan.request.nodes, binary, Setup::of(plan)).context("making the lab")?);
    standing.lab().enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting threads")?;
    let done = runtime.block_on(drive(plan, standing.lab(), recorder, seen));
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

async fn drive(plan: &Plan, lab: &Arc<Lab>, recorder: &Arc<Recorder>, seen: &mut Seen) -> anyhow::Result<()> {
    lab.nodes.iter().try_for_each(|node| node.start())?;
    for node in &lab.nodes {
        node.ready(START_WITHIN).await.context("starting the cluster")?;
    }
    let bench = Arc::new(Bench::new(Arc::clone(lab), Arc::clone(recorder), plan.request.seed, plan.request.workloads.len())?);
    let (phase, phase_seen) = watch::channel(Phase::Preparing);
    let mut loads = Loads { tasks: JoinSet::new(), phase: phase_seen };
    let prepared = workload::start(&bench, &plan.request.workloads, &mut loads).await.context("preparing the loads")?;
    seen.started_unix_ms = recorder.begin();
    phase.send_replace(Phase::Faults);
    faults(plan, lab, recorder, seen, &mut loads).await?;
    phase.send_replace(Phase::Healed);
    let rest = plan.final_reads_at_ms.saturating_sub(plan.heal_at_ms);
    tokio::time::sleep(Duration::from_millis(rest)).await;
    note_ended(lab, &[], seen);
    phase.send_replace(Phase::Stopped);
    // Where nodes ended by themselves the verdict is no longer in doubt, and what is still asked may never be answered.
    let is_whole = seen.ended.is_empty();
    let ended = tokio::time::timeout(if is_whole { END_WITHIN } else { END_WITHIN / 4 }, async {
        while let Some(done) = loads.tasks.join_next().await {
            done.context("a load broke off")?.context("a load failed")?;
        }
        anyhow::Ok(())
    });
    match ended.await {
        Ok(ended) => ended?,
        Err(late) => {
            // Why they did not may only have happened meanwhile.
            note_ended(lab, &[], seen);
            if seen.ended.is_empty() {
                return Err(late).context("the loads did not end");
            }
            loads.tasks.shutdown().await;
        }
    }
    for node in &lab.nodes {
        // Nothing is in its way any more: that it does not serve is its own doing, and the others are read all the same.
        if let Err(error) = node.ready(START_WITHIN).await {
            seen.is_broken = true;
            seen.ended.push(format!("{error:#} of the last heal"));
        }
    }
    if let Some(away) = prepared.away {
        away.run(&bench).await.context("restarting a node from a snapshot")?;
    }
    workload::final_reads(&bench, &prepared.audits, FINAL_READS_WITHIN).await.context("reading in the end")?;
    note_ended(lab, &[], seen);
    for node in &lab.nodes {
        node.stop().await?;
    }
    Ok(())
}

/// Makes and heals each fault in its time, and all at the end. The first finding of its own ends them: nothing that comes after it can be told apart.
async fn faults(plan: &Plan, lab: &Arc<Lab>, recorder: &Arc<Recorder>, seen: &mut Seen, loads: &mut Loads) -> anyhow::Result<()> {
    let start = Instant::now();
    // What a long heal took is added to all times after it: faults that were overdue would be made and healed at once.
    let mut late = Duration::ZERO;
    let mut waiting: Vec<&Fault> = plan.faults.iter().rev().collect();
    let mut active: Vec<(u64, Active)> = Vec::new();
    while seen.ended.is_empty() {
        let heal_next = active.iter().map(|(heal_at, _)| *heal_at).min();
        let install_next = waiting.last().map(|fault| fault.install_at_ms);
        let next = heal_next.into_iter().chain(install_next).min().unwrap_or(plan.heal_at_ms).min(plan.heal_at_ms);
        let due_after = Duration::from_millis(next);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(start + late + due_after) => break,
                Some(done) = loads.tasks.join_next() => done.context("a load broke off")?.context("a load failed")?,
            }
        }
        note_ended(lab, &active, seen);
        if next >= plan.heal_at_ms || !seen.ended.is_empty() {
            break;
        }
        if heal_next == Some(next) {
            let due = active.iter().enumerate().filter(|(_, (heal_at, _))| *heal_at == next);
            if let Some((which, _)) = due.min_by_key(|(_, (_, one))| one.needs_a_majority_to_heal()) {
                heal(lab, recorder, active.remove(which).1, seen).await?;
                late = late.max(start.elapsed().saturating_sub(due_after));
            }
        } else if let Some(fault) = waiting.pop() {
            match nemesis::install(lab, fault).await {
                Ok(one) => {
                    eprintln!("{:7.1} s  {} at {}", start.elapsed().as_secs_f64(), one.nemesis, one.target);
                    recorder.fault(one.nemesis, &one.target, FaultOutcome::Installed, one.evidence.clone());
                    active.push((fault.heal_at_ms, one));
                }
                Err(error) => {
                    eprintln!("{:7.1} s  {} skipped: {error:#}", start.elapsed().as_secs_f64(), fault.nemesis);
                    let evidence = Evidence { note: format!("{error:#}"), ..Evidence::default() };
                    recorder.fault(fault.nemesis, "", FaultOutcome::Skipped, evidence);
                }
            }
        }
    }
    active.sort_by_key(|(_, one)| one.needs_a_majority_to_heal());
    for (_, one) in active {
        heal(lab, recorder, one, seen).await?;
    }
    lab.nodes.iter().try_for_each(|node| node.start())
}

async fn heal(lab: &Arc<Lab>, recorder: &Recorder, one: Active, seen: &mut Seen) -> anyhow::Result<()> {
    let (which, target) = (one.nemesis, one.target.clone());
    let evidence = nemesis::heal(lab, one).await.with_context(|| format!("healing {which}"))?;
    seen.ended.extend(evidence.more.get(nemesis::ENDED).and_then(|ended| ended.as_str()).map(str::to_owned));
    recorder.fault(which, &target, FaultOutcome::Healed, evidence);
    Ok(())
}

/// Notes nodes that ended although no fault in place explains it, and starts them again.
fn note_ended(lab: &Lab, active: &[(u64, Active)], seen: &mut Seen) {
    for (at, node) in lab.nodes.iter().enumerate() {
        // A rolling restart stops nodes in its own time, and starts them again.
        if active.iter().any(|(_, one)| one.hit.contains(&at)) {
            continue;
        }
        if let Some(status) = node.ended() {
            seen.ended.push(format!("{} ended by itself: {status}", node.name()));
            if let Err(error) = node.start() {
                eprintln!("warning: {error:#}");
            }
        }
    }
}
