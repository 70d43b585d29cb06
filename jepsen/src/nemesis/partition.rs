//! Partitions: who does not hear whom, or no datagram of whom, by sets of addresses in each node's namespace, with counters.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::lab::Lab;
use crate::name::Nemesis;
use crate::plan::Fault;

/// Packets dropped so far, over all nodes.
pub(super) fn dropped(lab: &Lab) -> anyhow::Result<u64> {
    lab.nodes.iter().map(|node| node.place.dropped()).sum()
}

/// Everybody hears everybody.
pub(super) fn heal(lab: &Lab) -> anyhow::Result<()> {
    lab.nodes.iter().try_for_each(|node| node.place.unblock())
}

/// No node takes a datagram of a client; gives how many were refused before.
pub(super) fn refuse_udp(lab: &Lab) -> anyhow::Result<u64> {
    let before = datagrams_refused(lab)?;
    let done = lab.nodes.iter().try_for_each(|node| node.place.refuse_udp(lab.clients.address));
    if done.is_err() {
        take_udp(lab)?;
    }
    done.map(|()| before)
}

/// Every node takes them again.
pub(super) fn take_udp(lab: &Lab) -> anyhow::Result<()> {
    lab.nodes.iter().try_for_each(|node| node.place.take_udp())
}

/// Over all nodes.
pub(super) fn datagrams_refused(lab: &Lab) -> anyhow::Result<u64> {
    lab.nodes.iter().map(|node| node.place.datagrams_refused()).sum()
}

/// Makes a partition around the targets; a swizzle goes on by itself, in the task that comes back.
pub(super) fn install(lab: &Arc<Lab>, fault: &Fault, targets: &[usize]) -> anyhow::Result<Option<JoinHandle<()>>> {
    let all: Vec<usize> = (0..lab.nodes.len()).collect();
    let others = |than: &[usize]| -> Vec<usize> { all.iter().copied().filter(|at| !than.contains(at)).collect() };
    let side = |side: &Vec<u8>| -> Vec<usize> { side.iter().map(|at| usize::from(*at)).collect() };
    match fault.nemesis {
        Nemesis::PartitionHalves => {
            if let [one, two] = fault.shape.sides.as_slice() {
                deafen(lab, &side(one), &side(two))?;
                deafen(lab, &side(two), &side(one))?;
            }
        }
        Nemesis::PartitionRing => {
            // Each side is (the one before, itself, the one after).
            for near in fault.shape.sides.iter().map(side) {
                deafen(lab, &near[1..2], &others(&near))?;
            }
        }
        Nemesis::PartitionOneWay if fault.shape.hears => deafen(lab, &others(targets), targets)?,
        Nemesis::PartitionOneWay => deafen(lab, targets, &others(targets))?,
        Nemesis::Swizzle => {
            let orders: Vec<Vec<usize>> = fault.shape.sides.iter().map(side).collect();
            let steps = orders.iter().map(Vec::len).sum::<usize>().max(1) as u64;
            let pace = Duration::from_millis(fault.heal_at_ms.saturating_sub(fault.install_at_ms) / (steps + 1));
            return Ok(Some(tokio::spawn(swizzle(Arc::clone(lab), orders, pace))));
        }
        _ => {
            isolate(lab, targets)?;
            // In half of the cases its clients lose it too; in the others it can still answer them, which it must do truthfully.
            if fault.shape.seed.is_multiple_of(2) {
                for at in targets {
                    lab.nodes[*at].place.block(&[lab.clients.address])?;
                }
            }
        }
    }
    Ok(None)
}

fn isolate(lab: &Lab, targets: &[usize]) -> anyhow::Result<()> {
    let others: Vec<usize> = (0..lab.nodes.len()).filter(|at| !targets.contains(at)).collect();
    deafen(lab, targets, &others)?;
    deafen(lab, &others, targets)
}

/// The first ones stop hearing the second ones.
fn deafen(lab: &Lab, who: &[usize], to: &[usize]) -> anyhow::Result<()> {
    let addresses: Vec<Ipv4Addr> = to.iter().map(|at| lab.nodes[*at].place.address).collect();
    who.iter().try_for_each(|at| lab.nodes[*at].place.block(&addresses))
}

/// Nodes fall silent one by one, and come back in another order.
async fn swizzle(lab: Arc<Lab>, orders: Vec<Vec<usize>>, pace: Duration) {
    let [stop, back] = orders.as_slice() else { return };
    let step = |silent: &[usize]| {
        let done = heal(&lab).and_then(|()| silent.iter().try_for_each(|at| isolate(&lab, &[*at])));
        if let Err(error) = done {
            eprintln!("warning: swizzle: {error:#}");
        }
    };
    for count in 1..=stop.len() {
        step(&stop[..count]);
        tokio::time::sleep(pace).await;
    }
    for count in 1..=back.len() {
        let silent: Vec<usize> = stop.iter().copied().filter(|at| !back[..count].contains(at)).collect();
        step(&silent);
        tokio::time::sleep(pace).await;
    }
}
