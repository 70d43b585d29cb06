//! `kith-jepsen run`, `replay`, `clean`: one run, the same run again, and what a crash left.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use kith_jepsen::checker::Answer;
use kith_jepsen::lab;
use kith_jepsen::plan::Plan;
use kith_jepsen::run::{Summary, run as make};

use super::request::Asked;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    to: To,
}

/// Where a run goes and what it tests.
#[derive(clap::Args)]
pub(crate) struct To {
    /// Folder of the run; new or without a run.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The binary under test; `kith` beside this program if not given.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// Folder of the run to repeat: its plan is taken.
    dir: PathBuf,
    #[command(flatten)]
    to: To,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    execute(&args.asked.plan()?, &args.to)
}

pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let path = args.dir.join("plan.json");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    execute(&serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?, &args.to)
}

pub(crate) fn clean() -> ExitCode {
    let count = lab::clean();
    println!("removed what {count} runs had left");
    ExitCode::SUCCESS
}

fn execute(plan: &Plan, to: &To) -> anyhow::Result<ExitCode> {
    if to.out.join("history.jsonl").exists() {
        bail!("{} holds a run already", to.out.display());
    }
    let summary = make(plan, &to.out, &binary(to.binary.as_deref())?)?;
    tell(&summary, &to.out);
    Ok(ExitCode::from(match summary.answer {
        Answer::True => 0,
        Answer::False => 1,
        Answer::Unknown => 2,
    }))
}

/// The binary under test.
pub(crate) fn binary(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => std::env::current_exe().context("finding this program's own file")?.with_file_name("kith"),
    };
    path.canonicalize().with_context(|| format!("no binary at {}: build it with `cargo build -p kith`, or name it with --binary", path.display()))
}

fn tell(summary: &Summary, out: &Path) {
    if let Some(verdict) = &summary.verdict {
        println!("{verdict}");
    }
    for ended in &summary.ended {
        println!("{ended}");
    }
    match &summary.failed {
        Some(reason) => println!("answer: {}\n  {reason}", summary.answer),
        None if !summary.ended.is_empty() => {
            println!("answer: {} (a node ended or did not come back, although no fault explains it)", summary.answer)
        }
        None => {}
    }
    println!("all of it: {}\nagain: {}", out.display(), summary.command);
}
