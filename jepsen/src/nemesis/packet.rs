//! Packets lost, late, out of order, twice, or with another content, on the links of some nodes or of all, clients' included.

use anyhow::Context;
use serde_json::Value;

use crate::history::Evidence;
use crate::lab::{Counters, Lab, Rule};
use crate::plan::Fault;
use std::time::Duration;

/// Sets the rules; gives the counters as they were.
pub(super) fn install(lab: &Lab, fault: &Fault, targets: &[usize]) -> anyhow::Result<Counters> {
    let packet = fault.shape.packet.as_ref().context("a plan that does not say what happens to packets")?;
    let rule = Rule {
        lost: packet.lost,
        duplicated: packet.duplicated,
        corrupted: packet.corrupted,
        delay: Duration::from_millis(packet.delay_ms),
        jitter: Duration::from_millis(packet.jitter_ms),
        ..Rule::default()
    };
    let switch = lab.switch()?;
    let before = switch.counters()?;
    switch.rule(&ways(lab.nodes.len(), switch.clients(), targets, fault.shape.seed), rule, fault.shape.seed);
    Ok(before)
}

/// Ends them; gives what they did.
pub(super) fn heal(lab: &Lab, before: &Counters) -> anyhow::Result<Evidence> {
    let switch = lab.switch()?;
    switch.clear();
    let done = switch.counters()?.since(before);
    Ok(evidence(done.touched(), "frames lost, held, overtaken, copied or changed", &[("packets", serde_json::to_value(done)?)]))
}

pub(super) fn evidence(bit: u64, note: &str, more: &[(&str, Value)]) -> Evidence {
    Evidence { bit: Some(bit), note: note.to_owned(), more: more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect() }
}

/// The ways that are hit: all, or what the targets send, what they get, or both.
fn ways(nodes: usize, clients: usize, targets: &[usize], seed: u64) -> Vec<(usize, usize)> {
    let all = (0..=clients).flat_map(|from| (0..=clients).map(move |to| (from, to))).filter(|(from, to)| from != to);
    let (sends, gets) = if targets.len() == nodes { (true, true) } else { (seed % 3 != 1, seed % 3 != 2) };
    all.filter(|(from, to)| sends && targets.contains(from) || gets && targets.contains(to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_is_hit_in_one_direction_or_in_both() {
        assert_eq!(ways(2, 2, &[0], 0), [(0, 1), (0, 2), (1, 0), (2, 0)]);
        assert_eq!(ways(2, 2, &[0], 1), [(1, 0), (2, 0)], "what it gets");
        assert_eq!(ways(2, 2, &[0], 2), [(0, 1), (0, 2)], "what it sends");
        assert_eq!(ways(3, 3, &[0, 1, 2], 1).len(), 12, "every way of four places");
    }
}
