//! The cluster as an operator sees it.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use kith_raft::storage::Condition;
use kith_wire::{
    client::{Answer, ClusterStatus, GroupStatus, NodeStatus, ReplicaCondition, ReplicaStatus},
    id::{LogIndex, NodeId, Term},
    log::Membership,
    peer::{Ask, PeerReplica, PeerStatus, Told},
};

use crate::{router::Router, telemetry::rss_bytes};

/// Every node is asked; those that are silent are shown as the map has them.
pub async fn cluster(router: &Router, sessions: u64) -> Answer {
    let map = router.maps().current();
    let asked = map.nodes.keys().map(|node| ask(router, *node, sessions));
    let answers: BTreeMap<NodeId, PeerStatus> =
        map.nodes.keys().copied().zip(join_all(asked).await).filter_map(|(node, status)| Some((node, status?))).collect();
    let nodes = map.nodes.values().map(|row| {
        let status = answers.get(&row.node);
        NodeStatus {
            node: row.node,
            address: row.address.clone(),
            zone: row.zone.clone(),
            alive: router.peers().alive(row.node),
            sessions: status.map(|status| status.sessions),
            rss_bytes: status.map(|status| status.rss_bytes),
        }
    });
    let groups = map.groups.keys().map(|group| {
        let replicas: Vec<_> = answers
            .iter()
            .filter_map(|(node, status)| status.replicas.iter().find(|replica| replica.group == *group).map(|replica| (*node, replica)))
            .collect();
        // Who says so in the highest term.
        let lead = replicas.iter().filter(|(_, replica)| replica.leader.is_some()).max_by_key(|(_, replica)| replica.term);
        GroupStatus {
            group: group.get(),
            leader: lead.and_then(|(_, replica)| replica.leader),
            term: lead.map_or(0, |(_, replica)| replica.term.get()),
            replicas: replicas
                .iter()
                .map(|(node, replica)| ReplicaStatus {
                    node: *node,
                    last: replica.last.get(),
                    applied: replica.applied.get(),
                    digest: replica.digest,
                    condition: replica.condition,
                })
                .collect(),
        }
    });
    Answer::Status(ClusterStatus { cluster: map.cluster, map_epoch: map.epoch.get(), nodes: nodes.collect(), groups: groups.collect() })
}

async fn ask(router: &Router, node: NodeId, sessions: u64) -> Option<PeerStatus> {
    if node == router.node() {
        return Some(own(router, sessions));
    }
    match router.peers().ask(node, Ask::NodeStatus, ASK_MAX).await {
        Ok(Told::NodeStatus(status)) => Some(status),
        _ => None,
    }
}

/// This node's own state.
pub fn own(router: &Router, sessions: u64) -> PeerStatus {
    let replica = |handle: kith_raft::GroupHandle| match handle.status() {
        Ok(status) => {
            let mut first = [0; 8];
            first.copy_from_slice(&status.digest[..8]);
            Some(PeerReplica {
                group: status.group,
                leader: status.leader,
                term: status.term,
                last: status.last.unwrap_or_default(),
                applied: status.applied.map_or_else(LogIndex::default, |id| id.index),
                digest: u64::from_be_bytes(first),
                // A replica that is no voter yet is on its way, be it after damage or to a new node.
                condition: match status.failed {
                    true => ReplicaCondition::Failed,
                    false if handle.is_rebuilding() || !is_voter(&status.membership, router.node()) => ReplicaCondition::Rebuilding,
                    false => ReplicaCondition::Sound,
                },
            })
        }
        Err(error) => {
            tracing::error!(group = %handle.id(), cause = %error, "service.status: a row cannot be read");
            Some(PeerReplica {
                group: handle.id(),
                leader: None,
                term: Term::default(),
                last: LogIndex::default(),
                applied: LogIndex::default(),
                digest: 0,
                condition: if handle.is_rebuilding() { ReplicaCondition::Rebuilding } else { ReplicaCondition::Failed },
            })
        }
    };
    let mut replicas: Vec<PeerReplica> = router.groups().all().into_iter().filter_map(replica).collect();
    let map = router.maps().current();
    let closed = map.groups.values().filter(|row| row.replicas.contains(&router.node()) && router.groups().get(row.group).is_none());
    replicas.extend(closed.filter(|row| router.groups().condition(row.group) == Condition::Quarantined).map(|row| PeerReplica {
        group: row.group,
        leader: None,
        term: Term::default(),
        last: LogIndex::default(),
        applied: LogIndex::default(),
        digest: 0,
        condition: ReplicaCondition::Quarantined,
    }));
    PeerStatus { sessions, rss_bytes: rss_bytes().unwrap_or_default(), replicas }
}

/// In every set in force; where no leader has said anything yet there are none.
fn is_voter(membership: &Membership, node: NodeId) -> bool {
    !membership.voters.is_empty() && membership.voters.iter().all(|set| set.contains(&node))
}

/// For a node to tell its state.
const ASK_MAX: Duration = Duration::from_secs(2);
