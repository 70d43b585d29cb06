//! Too little memory: a limit that comes closer until the kernel kills, and again after each start.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;

use crate::lab::{Lab, Limit};
use crate::seed::Chance;

/// Between two looks at a node that is short of memory.
const STEP: Duration = Duration::from_millis(250);

/// A node under a memory limit.
#[derive(Debug)]
pub(super) struct Squeeze {
    limit: Arc<Limit>,
    task: JoinHandle<()>,
    resident: u64,
}

impl Squeeze {
    /// Leaves a running node a tenth of what it has now, more or less, for what comes.
    pub(super) fn begin(lab: &Arc<Lab>, at: usize, seed: u64) -> anyhow::Result<Self> {
        let node = &lab.nodes[at];
        let process = node.pid().context("the node does not run")?;
        let resident = resident(process).context("reading a node's memory")?;
        let limit = Limit::memory(lab.folder(), &node.name())?;
        let mut chance = Chance::new(seed);
        let put = limit.add(process).and_then(|()| limit.bound_memory(resident * chance.within(5, 20) / 100));
        if let Err(error) = put {
            limit.remove();
            return Err(error);
        }
        let limit = Arc::new(limit);
        let task = tokio::spawn(squeeze(Arc::clone(lab), at, Arc::clone(&limit), resident, chance));
        Ok(Self { limit, task, resident })
    }

    /// Takes the limit away; gives how often the kernel killed, and a line about it.
    pub(super) async fn end(self) -> (u64, String) {
        self.task.abort();
        // Aborted or done: either is an end.
        let _ = self.task.await;
        let killed = self.limit.killed();
        let note = format!("kills for want of memory; {} MiB resident before", self.resident >> 20);
        if let Some(limit) = Arc::into_inner(self.limit) {
            limit.remove();
        }
        (killed, note)
    }
}

/// A supervisor that starts the node again with too little memory: what it had, or less, and then less and less.
async fn squeeze(lab: Arc<Lab>, at: usize, limit: Arc<Limit>, resident: u64, mut chance: Chance) {
    let node = &lab.nodes[at];
    let mut slack = resident / 20;
    loop {
        tokio::time::sleep(STEP).await;
        if node.pid().is_some() {
            slack /= 2;
            // First what it holds without its files' pages, which the kernel would give up before it kills. Less than what cannot be freed is refused.
            let tight = limit.bound_memory(limit.memory_held() + slack);
            tight.or_else(|_| limit.bound_memory(limit.memory_used() + slack)).ok();
            continue;
        }
        slack = resident / 5;
        let put = limit.bound_memory(resident * chance.within(60, 100) / 100).and_then(|()| node.start());
        if let Some(process) = put.ok().and_then(|()| node.pid()) {
            limit.add(process).ok();
        }
    }
}

/// Bytes of a process that are in memory.
fn resident(process: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())?;
    Some(kib << 10)
}
