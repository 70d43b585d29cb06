//! `kith-jepsen plan`: what a run would do, as `plan.json`; or the runs of a matrix.

use std::process::ExitCode;

use kith_jepsen::matrix::{Selection, runs};

use super::request::Asked;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// The runs of a matrix instead.
    #[arg(long, conflicts_with_all = ["workload", "nemesis", "nodes", "seconds", "shifting"])]
    matrix: Option<Selection>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(selection) = args.matrix {
        println!("{}", serde_json::to_string_pretty(&runs(selection, args.asked.seed))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", serde_json::to_string_pretty(&args.asked.plan()?)?);
    Ok(ExitCode::SUCCESS)
}
