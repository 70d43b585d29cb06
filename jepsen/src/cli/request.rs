//! What a run is asked to be, on the command line.

use anyhow::Context;
use kith_jepsen::name::{Nemesis, Workload};
use kith_jepsen::plan::{Plan, Request};

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Asked {
    /// Loads, together.
    #[arg(long, value_delimiter = ',', default_value = "append")]
    workload: Vec<Workload>,
    /// Faults in turn; those joined by `+` overlap.
    #[arg(long, default_value = "none")]
    nemesis: String,
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Length of the load.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// All chance of the plan and of the loads comes from it.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The slots in random order, a quarter of them quiet: for long runs.
    #[arg(long)]
    shifting: bool,
}

impl Asked {
    /// When what happens.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let slots = Nemesis::slots(&self.nemesis).context("reading --nemesis")?;
        let request = Request {
            seed: self.seed,
            workloads: self.workload.clone(),
            slots,
            nodes: self.nodes,
            seconds: self.seconds,
            is_shifting: self.shifting,
        };
        Plan::of(request).context("planning the run")
    }
}
