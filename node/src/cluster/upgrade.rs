//! Where the cluster stands between two releases: what its nodes' builds know, what keeps it from the next version, and raising that by itself after a while.
//!
//! In: the map, what nodes say in hellos and beats, whether they answer. Out: a view for operators; a proposal of the next version. Invariants: it is
//! proposed only when every node that has not left is heard with a build that knows it, so that whoever goes back to the older binary still can for as long
//! as a setting says; the rows decide, also against two who propose at once. Soft state: a new leader of the meta group counts the time anew.
//! Not here: the rows' rule (kith-machine's `meta::version`), what a version brings (asked where that is begun, `service::moves`).

use std::time::Duration;

use kith_machine::{meta::version, reply::Reply};
use kith_raft::{GroupHandle, ProposeError};
use kith_wire::{
    id::NodeId,
    layout::NodeHealth,
    log::{ClusterMap, Command, NodeState},
    upgrade::{ClusterVersion, UpgradeNode, UpgradeView},
};
use serde::{Deserialize, Serialize};

use super::survey::Survey;

/// `[upgrade]` of `cluster.toml`: the same for the whole cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeSettings {
    /// Whether the cluster goes to the next version by itself, when every node's build knows it. Else an operator says so.
    pub finalize: bool,
    /// After all nodes have been heard with the new build for so many seconds: until then the older one can be put back.
    pub after_s: u64,
}

impl Default for UpgradeSettings {
    fn default() -> Self {
        Self { finalize: true, after_s: 24 * 3_600 }
    }
}

impl UpgradeSettings {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
    const fn after(&self) -> Duration {
        Duration::from_secs(self.after_s)
    }
}

/// How far an upgrade is, as the meta group's leader sees it.
pub(crate) fn view(map: &ClusterMap, survey: &Survey) -> UpgradeView {
    let nodes: Vec<UpgradeNode> = map.nodes.values().filter(|row| row.state != NodeState::Left).map(|row| seen(row.node, map, survey)).collect();
    let version = map.version.or_first();
    let next = version::ahead(map).map(|_| version.next());
    let blockers = next.map_or_else(Vec::new, |next| blockers(&nodes, next));
    let settings = survey.upgrade();
    let ripe = survey.note_ripe(next.is_some() && blockers.is_empty());
    let in_s = ripe.filter(|_| settings.finalize).map(|ripe| settings.after().saturating_sub(ripe).as_secs());
    UpgradeView { version, next, blockers, by_itself: settings.finalize, in_s, nodes }
}

fn seen(node: NodeId, map: &ClusterMap, survey: &Survey) -> UpgradeNode {
    let peers = &survey.own().peers;
    let row = map.nodes.get(&node).cloned().unwrap_or_default();
    let release = peers.release();
    let build = if node == peers.node() { Some(release.own().clone()) } else { release.of(node) };
    UpgradeNode {
        node,
        state: row.state,
        health: if peers.alive(node) { NodeHealth::Alive } else { NodeHealth::Suspect },
        version: row.version,
        build: build.map(|build| build.name).unwrap_or_default(),
        noted: peers.noted(node),
    }
}

/// What is in the way of the next version, one line for each node that is.
fn blockers(nodes: &[UpgradeNode], next: ClusterVersion) -> Vec<String> {
    let line = |node: &UpgradeNode| {
        let id = node.node;
        if node.version == ClusterVersion::default() {
            Some(format!("node {id} has not said what its build knows: start it"))
        } else if node.version < next {
            let named = if node.build.is_empty() { String::new() } else { format!(" ({})", node.build) };
            Some(format!("node {id} has a build{named} that knows cluster versions up to {}: start it with the new one", node.version))
        } else if node.health != NodeHealth::Alive {
            Some(format!("node {id} is not heard, and could come back with an older build: start it, or replace it (kith node replace)"))
        } else {
            None
        }
    };
    nodes.iter().filter_map(line).collect()
}

/// Goes to the next version, if that is due. Every few seconds, while this node leads the meta group.
pub(super) async fn step(meta: &GroupHandle, survey: &Survey, map: &ClusterMap) {
    let view = view(map, survey);
    let (Some(to), Some(0)) = (view.next, view.in_s) else { return };
    match raise(meta, to).await {
        Ok(Reply::Done) => tracing::info!(version = %to, "cluster.upgrade: every node knows the version; the cluster is at it now"),
        Ok(other) => tracing::debug!(version = %to, ?other, "cluster.upgrade: not raised"),
        Err(error) => tracing::debug!(version = %to, cause = %error, "cluster.upgrade: not raised; it is tried again"),
    }
}

/// Proposes a version.
pub(crate) async fn raise(meta: &GroupHandle, to: ClusterVersion) -> Result<Reply, ProposeError> {
    meta.propose(kith_machine::item(Command::RaiseCluster { to })).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_named_node_by_node() {
        let node =
            |id, version, health| UpgradeNode { node: NodeId::new(id), version: ClusterVersion::new(version), health, ..UpgradeNode::default() };
        let all = [
            node(1, 3, NodeHealth::Alive),
            node(2, 2, NodeHealth::Alive),
            node(3, 3, NodeHealth::Suspect),
            node(4, 0, NodeHealth::Alive),
            UpgradeNode { build: "0.2.0".into(), ..node(5, 2, NodeHealth::Suspect) },
        ];
        let found = blockers(&all, ClusterVersion::new(3));
        let parts =
            ["node 2 has a build that knows cluster versions up to 2", "node 3 is not heard", "node 4 has not said", "node 5 has a build (0.2.0)"];
        assert_eq!(found.len(), parts.len(), "{found:?}");
        assert!(found.iter().zip(parts).all(|(line, part)| line.contains(part)), "{found:?}");
        assert!(blockers(&all[..1], ClusterVersion::new(3)).is_empty());
    }
}
