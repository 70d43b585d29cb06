//! Clients that nodes see from elsewhere all of a sudden, as behind a router that forgot them or after a change of network; their old packets come again; and for a while a node is out
//! of their reach, or another answers in its place, so that sessions go on elsewhere with what they have.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::packet::evidence;
use crate::history::Evidence;
use crate::lab::{Counters, Lab, Moves, Rule};
use crate::plan::Fault;
use crate::seed::Chance;

/// Client packets that come again, of a hundred.
const REPLAYED: u64 = 20;
/// Longest time until they do.
const REPLAY_WITHIN: Duration = Duration::from_secs(5);

/// What happens to clients, in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Other ports at the address where they are.
    Ports,
    /// Another address.
    Address,
    /// One node hears nothing of them, nor they of it.
    Cut(usize),
    /// What is for one node comes to another.
    Swing(usize, usize),
}

/// A rebinding at work.
#[derive(Debug)]
pub(super) struct Rebinding {
    packets: Counters,
    moves: Moves,
    task: JoinHandle<()>,
}

pub(super) fn install(lab: &Arc<Lab>, fault: &Fault) -> anyhow::Result<Rebinding> {
    let switch = lab.switch()?;
    let (packets, moves) = (switch.counters()?, switch.moves());
    let steps = steps(fault, lab.nodes.len());
    let pace = Duration::from_millis(fault.heal_at_ms.saturating_sub(fault.install_at_ms) / (steps.len() as u64 + 1));
    let task = tokio::spawn(walk(Arc::clone(lab), steps, pace, fault.shape.seed));
    Ok(Rebinding { packets, moves, task })
}

/// Ends it. Clients stay where they were seen last.
pub(super) async fn heal(lab: &Lab, rebinding: Rebinding) -> anyhow::Result<Evidence> {
    rebinding.task.abort();
    // Aborted or done: either is an end.
    let _ = rebinding.task.await;
    let switch = lab.switch()?;
    switch.clear();
    switch.swing(None);
    let (packets, moves) = (switch.counters()?.since(&rebinding.packets), switch.moves().since(&rebinding.moves));
    // Without replays the other half of the fault did not happen.
    let bit = if packets.replayed > 0 { moves.followed } else { 0 };
    let note = format!("flows that nodes answered at their new place; {} datagrams replayed", packets.replayed);
    Ok(evidence(bit, &note, &[("moves", serde_json::to_value(moves)?), ("packets", serde_json::to_value(packets)?)]))
}

/// What happens, in order: first they move, for that must be seen to work.
fn steps(fault: &Fault, nodes: usize) -> Vec<Step> {
    let mut chance = Chance::new(fault.shape.seed);
    let move_first = if chance.percent(50) { Step::Ports } else { Step::Address };
    let mut steps = vec![move_first];
    for turn in 1..fault.shape.times.max(2) {
        let (one, other) = (chance.within(0, nodes as u64 - 1) as usize, chance.within(1, nodes as u64 - 1) as usize);
        steps.push(match (turn + fault.shape.seed) % 4 {
            0 => Step::Ports,
            1 => Step::Cut(one),
            2 => Step::Address,
            _ => Step::Swing(one, (one + other) % nodes),
        });
    }
    steps
}

async fn walk(lab: Arc<Lab>, steps: Vec<Step>, pace: Duration, seed: u64) {
    let Ok(switch) = lab.switch() else { return };
    let clients = switch.clients();
    let nodes = 0..lab.nodes.len();
    let replays = || {
        let rule = Rule { replayed: REPLAYED, replay_within: REPLAY_WITHIN, ..Rule::default() };
        switch.rule(&nodes.clone().map(|node| (clients, node)).collect::<Vec<_>>(), rule, seed);
    };
    replays();
    let mut at = lab.clients.address;
    for (turn, step) in steps.into_iter().enumerate() {
        match step {
            Step::Ports => switch.rebind(at),
            Step::Address => {
                let next = lab.elsewhere(seed.wrapping_add(turn as u64));
                at = if next == at { lab.elsewhere(seed.wrapping_add(turn as u64 + 1)) } else { next };
                switch.rebind(at);
            }
            Step::Cut(node) => switch.rule(&[(clients, node), (node, clients)], Rule { lost: 100, ..Rule::default() }, seed),
            Step::Swing(from, to) => switch.swing(Some((lab.nodes[from].place.address, lab.nodes[to].place.address))),
        }
        tokio::time::sleep(pace).await;
        switch.swing(None);
        switch.clear();
        replays();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Nemesis;
    use crate::plan::{Shape, Target};

    #[test]
    fn clients_move_first_and_every_kind_has_its_turn() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let shape = Shape { seed, times: 5, ..Shape::default() };
            let fault = Fault { nemesis: Nemesis::Rebind, target: Target::Clients, shape, install_at_ms: 0, heal_at_ms: 5_000 };
            let steps = steps(&fault, 3);
            assert!(matches!(steps[0], Step::Ports | Step::Address) && steps.len() == 5);
            assert_eq!(steps, super::steps(&fault, 3));
            for step in steps {
                if let Step::Swing(from, to) = step {
                    assert!(from != to && from < 3 && to < 3);
                }
                kinds.insert(format!("{step:?}").split('(').next().map(str::to_owned));
            }
        }
        assert_eq!(kinds.len(), 4);
    }
}
