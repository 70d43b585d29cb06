//! Raft groups that nobody writes to: what their heartbeats and timers cost.
//!
//! In: how many, for how long. Out: [`Outcome`].

use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::{BenchError, stage::Stage};
use crate::clock::Stopwatch;

/// Nodes, each with a replica of every group.
const NODES: usize = 3;
/// For the first elections and flushes.
const SETTLE: Duration = Duration::from_secs(8);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Groups that hold data.
    pub groups: u32,
    /// Processor time of one node, in cores.
    pub node_cpu_cores: f64,
    /// Resident memory of one node, in MiB.
    pub node_mib: f64,
}

/// Measures.
///
/// # Errors
/// The cluster cannot be run.
pub async fn run(groups: u32, seconds: u64) -> Result<Outcome, BenchError> {
    let stage = Stage::set(NODES, groups, None).await?;
    sleep(SETTLE).await;
    let (cpu, begun) = (stage.cpu_seconds(), Stopwatch::start());
    sleep(Duration::from_secs(seconds)).await;
    let node_cpu_cores = (stage.cpu_seconds() - cpu) / begun.elapsed().as_secs_f64() / NODES as f64;
    let node_mib = stage.resident_bytes() as f64 / f64::from(1 << 20) / NODES as f64;
    stage.strike().await;
    Ok(Outcome { groups, node_cpu_cores, node_mib })
}
