//! `kith-jepsen plan`: what a run would do, as `plan.json`; or the runs of a matrix.

use std::process::ExitCode;

use anyhow::Context;
use kith_jepsen::matrix::{Selection, runs};
use kith_jepsen::name::{Nemesis, Workload};
use kith_jepsen::plan::{Plan, Request};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Loads, together.
    #[arg(long, value_delimiter = ',', default_value = "append")]
    workload: Vec<Workload>,
    /// Faults in turn; those joined by `+` overlap.
    #[arg(long, default_value = "none")]
    nemesis: String,
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Length.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// All chance comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The runs of a matrix instead.
    #[arg(long, conflicts_with_all = ["workload", "nemesis", "nodes", "seconds"])]
    matrix: Option<Selection>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(selection) = args.matrix {
        println!("{}", serde_json::to_string_pretty(&runs(selection, args.seed))?);
        return Ok(ExitCode::SUCCESS);
    }
    let slots = Nemesis::slots(&args.nemesis).context("reading --nemesis")?;
    let request = Request { seed: args.seed, workloads: args.workload.clone(), slots, nodes: args.nodes, seconds: args.seconds, is_shifting: false };
    let plan = Plan::of(request).context("planning the run")?;
    println!("{}", serde_json::to_string_pretty(&plan)?);
    Ok(ExitCode::SUCCESS)
}
