//! Faults: made, undone, and each with the proof that it bit.
//!
//! In: a planned fault. Out: the same fault in place, then healed, with evidence. Invariants: what cannot be made here is an error, which is written as
//! skipped, never as installed; undoing leaves every node running, connected and with a disk that can be written. Not here: when (`plan`, `run`).

mod corrupt;
mod failpoint;
mod packet;
mod partition;
mod rebind;
mod replace;
mod resource;
mod slow;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;

use crate::history::Evidence;
use crate::lab::{Before, Counters, Lab, Limit};
use crate::name::Nemesis;
use crate::plan::{Fault, Target};

/// How long a restarted node may take until it serves.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a node with damaged files may take to serve or to refuse.
const MEND_WITHIN: Duration = Duration::from_secs(8);

/// A slow disk.
const SLOW_BYTES_PER_SECOND: u64 = 1_000_000;

/// In evidence: a node that ended although the fault does not explain it.
pub(crate) const ENDED: &str = "ended";

/// A fault in place.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) nemesis: Nemesis,
    /// Whom, as the fault's lines say.
    pub(crate) target: String,
    /// Nodes that may end because of it.
    pub(crate) hit: Vec<usize>,
    /// What is known already.
    pub(crate) evidence: Evidence,
    undo: Undo,
}

impl Active {
    /// A node is replaced, or an upgrade made final, by a command to the cluster: what else is broken is healed before.
    pub(crate) fn needs_a_majority_to_heal(&self) -> bool {
        match &self.undo {
            Undo::Replace(..) => true,
            Undo::Upgrade(turn, _) => turn.is_final(),
            _ => false,
        }
    }
}

#[derive(Debug)]
enum Undo {
    Restart,
    Continue,
    Connect { before: u64, swizzle: Option<JoinHandle<()>> },
    Power(Vec<(usize, Before)>),
    Rolling(JoinHandle<anyhow::Result<u64>>),
    Upgrade(upgrade::Turn, JoinHandle<anyhow::Result<u64>>),
    Drain,
    Replace(usize, replace::Broken),
    Remount,
    Trace(slow::Trace),
    Clock,
    Packets(Counters),
    TakeUdp(u64),
    Rebinding(rebind::Rebinding),
    Orders(failpoint::Orders),
    Torn,
    Hurry(u64),
    Cpu(Vec<Limit>),
    Memory(Vec<resource::Squeeze>),
    Mend,
}

fn bit(count: u64, note: &str) -> Evidence {
    Evidence { bit: Some(count), note: note.to_owned(), ..Evidence::default() }
}

/// Makes a fault.
///
/// # Errors
/// It cannot be made here; then nothing is in place.
pub(crate) async fn install(lab: &Arc<Lab>, fault: &Fault) -> anyhow::Result<Active> {
    let mut hit: Vec<usize> = match &fault.target {
        Target::Leader => vec![match lab.leader().await {
            Some(leader) => leader,
            None => (fault.shape.seed % lab.nodes.len() as u64) as usize,
        }],
        Target::Nodes(nodes) => nodes.iter().map(|at| usize::from(*at)).collect(),
        Target::All => (0..lab.nodes.len()).collect(),
        Target::Clients => Vec::new(),
    };
    let target = if fault.target == Target::Clients {
        "clients".to_owned()
    } else if hit.len() == lab.nodes.len() {
        "all".to_owned()
    } else {
        hit.iter().map(|at| lab.nodes[*at].name()).collect::<Vec<_>>().join(",")
    };
    let nodes = || hit.iter().map(|at| &lab.nodes[*at]);
    let mut evidence = Evidence::default();
    let undo = match fault.nemesis {
        Nemesis::KillOne | Nemesis::KillLeader | Nemesis::KillMinority | Nemesis::KillAll => {
            // All signals first: nobody is to notice that another is gone.
            for node in nodes() {
                node.signal(Signal::SIGKILL).ok();
            }
            let mut killed = 0;
            for node in nodes() {
                killed += u64::from(node.kill()?);
            }
            evidence = bit(killed, "processes ended by SIGKILL");
            Undo::Restart
        }
        Nemesis::Pause => {
            nodes().try_for_each(|node| node.signal(Signal::SIGSTOP))?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            evidence = bit(nodes().filter(|node| node.is_stopped()).count() as u64, "processes in state T");
            Undo::Continue
        }
        Nemesis::PartitionLeader | Nemesis::PartitionHalves | Nemesis::PartitionRing | Nemesis::PartitionOneWay | Nemesis::Swizzle => {
            let before = partition::dropped(lab)?;
            match partition::install(lab, fault, &hit) {
                Ok(swizzle) => Undo::Connect { before, swizzle },
                Err(error) => {
                    partition::heal(lab)?;
                    return Err(error);
                }
            }
        }
        Nemesis::PowerCutOne | Nemesis::PowerCutMinority | Nemesis::PowerCutAll => {
            // The processes first: for an fsync that is under way when a file system is cut off, the kernel may answer that all is well, which no
            // machine without power would hear. What they wrote and did not sync is still in the kernel's memory, and that is what is lost.
            for node in nodes() {
                node.signal(Signal::SIGKILL).ok();
            }
            for node in nodes() {
                node.kill()?;
            }
            let cut: Vec<_> = hit.iter().map(|at| (*at, lab.nodes[*at].disk.cut())).collect();
            let cut: anyhow::Result<Vec<_>> = cut.into_iter().map(|(at, before)| Ok((at, before?))).collect();
            Undo::Power(cut.context("cutting the power")?)
        }
        Nemesis::Rolling => Undo::Rolling(tokio::spawn(rolling(Arc::clone(lab)))),
        Nemesis::Upgrade => {
            let turn = upgrade::Turn::of(fault.shape.times);
            Undo::Upgrade(turn, tokio::spawn(upgrade::walk(Arc::clone(lab), turn)))
        }
        Nemesis::DiskFull => {
            let mut taken = 0;
            for node in nodes() {
                taken += node.disk.fill()?;
            }
            evidence = bit(taken, "bytes taken, none left");
            Undo::Drain
        }
        Nemesis::ReadOnly => {
            let mut count = 0;
            for node in nodes() {
                // For the same reason as with a power cut, no fsync may be under way: one in fifteen was lost although the kernel had answered it.
                node.hold().await?;
                let made = node.disk.make_read_only();
                node.signal(Signal::SIGCONT).ok();
                made?;
                count += u64::from(!node.disk.is_writable());
            }
            evidence = bit(count, "disks that refuse writes");
            Undo::Remount
        }
        Nemesis::FsyncSlow | Nemesis::FsyncEio => {
            let pid = nodes().next().and_then(|node| node.pid()).context("the node does not run")?;
            Undo::Trace(slow::Trace::attach(pid, fault)?)
        }
        Nemesis::Clock => {
            nodes().try_for_each(|node| node.shift_clock(fault.shape.shift_ms))?;
            evidence = bit(hit.len() as u64, "wall clocks that were shifted");
            Undo::Clock
        }
        Nemesis::DiskEmpty | Nemesis::DiskOld | Nemesis::Member => {
            let first = *hit.first().context("a disk without a node")?;
            Undo::Replace(first, replace::install(&lab.nodes[first], fault.nemesis)?)
        }
        Nemesis::Packet => Undo::Packets(packet::install(lab, fault, &hit)?),
        Nemesis::Rebind => Undo::Rebinding(rebind::install(lab, fault)?),
        Nemesis::NoUdp => Undo::TakeUdp(partition::refuse_udp(lab)?),
        Nemesis::Failpoint => {
            let first = *hit.first().context("a fail point without a node")?;
            let (orders, may_end) = failpoint::install(lab, fault, first)?;
            hit = may_end;
            Undo::Orders(orders)
        }
        Nemesis::Torn => {
            let (mut kept, mut lost) = (0, 0);
            for node in nodes() {
                let (disk, percent, seed) = (node.disk.clone(), fault.shape.percent, fault.shape.seed);
                let torn = tokio::task::spawn_blocking(move || disk.tear(percent, seed)).await.context("tearing broke off")?;
                node.kill()?;
                let (kept_here, lost_here) = torn?;
                kept += kept_here;
                lost += lost_here;
            }
            evidence = bit(lost, &format!("sectors lost that were not flushed, {kept} survived"));
            Undo::Torn
        }
        Nemesis::DiskSlow => {
            let mut before = 0;
            for node in nodes() {
                before += node.disk.slow(SLOW_BYTES_PER_SECOND, fault.shape.delay_ms)?;
            }
            Undo::Hurry(before)
        }
        Nemesis::Cpu => {
            let mut limits = Vec::new();
            for node in nodes() {
                let process = node.pid().context("the node does not run")?;
                let limit = Limit::cpu(lab.folder(), &node.name(), fault.shape.percent)?;
                limit.add(process)?;
                limits.push(limit);
            }
            Undo::Cpu(limits)
        }
        Nemesis::Memory => Undo::Memory(hit.iter().map(|at| resource::Squeeze::begin(lab, *at, fault.shape.seed)).collect::<anyhow::Result<_>>()?),
        Nemesis::Corrupt => {
            // A minority: nobody else may still be without what an earlier fault took.
            for (at, node) in lab.nodes.iter().enumerate().filter(|(at, _)| !hit.contains(at)) {
                node.ready(MEND_WITHIN).await.with_context(|| format!("node {} has to be whole first", at + 1))?;
            }
            let (mut bytes, mut notes) = (0, Vec::new());
            for node in nodes() {
                node.kill()?;
                let damage = corrupt::damage(&node.disk.mount_point.join("data"), fault.shape.seed)?;
                bytes += damage.bytes;
                let how = match &damage.harm {
                    corrupt::Harm::Flip(_) => "turned bits in",
                    corrupt::Harm::Truncate(_) => "cut off",
                };
                notes.push(format!("{how} {} bytes of {} ({})", damage.bytes, damage.path, damage.kind));
            }
            evidence = bit(bytes, &notes.join("; "));
            Undo::Mend
        }
        Nemesis::None => bail!("nothing is no fault"),
    };
    Ok(Active { nemesis: fault.nemesis, target, hit, evidence, undo })
}

/// Undoes it; gives what it did over its whole life.
///
/// # Errors
/// Something could not be undone, which ends the run.
pub(crate) async fn heal(lab: &Arc<Lab>, active: Active) -> anyhow::Result<Evidence> {
    let Active { hit, evidence, undo, .. } = active;
    let nodes = || hit.iter().map(|at| &lab.nodes[*at]);
    let evidence = match undo {
        Undo::Restart => evidence,
        Undo::Continue => {
            // A node that was killed meanwhile needs no waking.
            nodes().for_each(|node| drop(node.signal(Signal::SIGCONT)));
            evidence
        }
        Undo::Connect { before, swizzle } => {
            if let Some(swizzle) = swizzle {
                swizzle.abort();
                // Aborted or done: either is an end.
                let _ = swizzle.await;
            }
            partition::heal(lab)?;
            bit(partition::dropped(lab)?.saturating_sub(before), "packets dropped")
        }
        Undo::Power(cut) => {
            let mut lost = 0;
            for (at, before) in cut {
                lost += lab.nodes[at].disk.restored(&before)?;
            }
            bit(lost, "bytes lost that were not synced")
        }
        Undo::Rolling(task) => bit(task.await.context("a rolling restart broke off")??, "nodes stopped by themselves and started again"),
        Undo::Upgrade(turn, task) => upgrade::heal(lab, turn, task.await.context("an upgrade broke off")??).await?,
        Undo::Drain => {
            nodes().for_each(|node| node.disk.drain());
            let ended = nodes().filter(|node| node.pid().is_none()).count();
            Evidence { note: format!("{}; {ended} nodes stopped", evidence.note), ..evidence }
        }
        Undo::Remount => {
            let ended = nodes().filter(|node| node.pid().is_none()).count();
            for node in nodes() {
                node.kill()?;
                node.disk.unmount()?;
                node.disk.repair();
                node.disk.mount()?;
            }
            Evidence { note: format!("{}; {ended} nodes stopped by themselves", evidence.note), ..evidence }
        }
        Undo::Trace(trace) => bit(trace.detach().await?, "calls of fsync and fdatasync that were delayed or refused"),
        Undo::Clock => {
            nodes().try_for_each(|node| node.shift_clock(0))?;
            evidence
        }
        Undo::Replace(at, broken) => replace::heal(lab, at, broken).await?,
        Undo::Packets(before) => packet::heal(lab, &before)?,
        Undo::TakeUdp(before) => {
            partition::take_udp(lab)?;
            bit(partition::datagrams_refused(lab)?.saturating_sub(before), "datagrams of clients refused")
        }
        Undo::Rebinding(rebinding) => rebind::heal(lab, rebinding).await?,
        Undo::Orders(orders) => failpoint::heal(lab, orders).await?,
        Undo::Torn => {
            nodes().try_for_each(|node| node.disk.untear())?;
            evidence
        }
        Undo::Hurry(before) => {
            let mut slowed = 0;
            for node in nodes() {
                slowed += node.disk.slow(0, 0)?;
            }
            bit(slowed.saturating_sub(before), "requests to the disk that were slowed")
        }
        Undo::Cpu(limits) => {
            let throttled = limits.iter().map(Limit::throttled).sum();
            limits.into_iter().for_each(Limit::remove);
            bit(throttled, "periods of 0.1 s in which the share was used up")
        }
        Undo::Memory(squeezes) => {
            let (mut killed, mut notes) = (0, Vec::new());
            for squeeze in squeezes {
                let (count, note) = squeeze.end().await;
                killed += count;
                notes.push(note);
            }
            bit(killed, &notes.join("; "))
        }
        Undo::Mend => {
            let mut said = Vec::new();
            for node in nodes() {
                node.start()?;
                // What it does about the damage is part of what was seen; whether that is right is not judged here.
                said.push(match node.ready(MEND_WITHIN).await {
                    Ok(()) => format!("{} serves", node.name()),
                    Err(error) => format!("{error:#}"),
                });
            }
            Evidence { note: format!("{}; {}", evidence.note, said.join("; ")), ..evidence }
        }
    };
    nodes().try_for_each(|node| node.start())?;
    Ok(evidence)
}

async fn rolling(lab: Arc<Lab>) -> anyhow::Result<u64> {
    let mut graceful = 0;
    for node in &lab.nodes {
        graceful += u64::from(node.stop().await?);
        node.start()?;
        node.ready(READY_WITHIN).await?;
    }
    Ok(graceful)
}
