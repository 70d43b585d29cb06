//! Puts a new node in the place of one that is gone for good: rows of the map, which the groups' leaders then follow.
//!
//! In: an operator's request. Out: a node's row, the groups' rows with the new node where the dead one was, and the dead one as left, logged in
//! the meta group together. Each leader then brings in the new replica: learner, snapshot, caught up, joint change. Invariant: every step
//! may be done again; a node that has left is refused by all, whatever its disk holds.
//! Not here: the new node's certificate and folder (`cluster::bootstrap`), the members themselves (`cluster::controller`).

use kith_raft::GroupHandle;
use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    id::{BootEpoch, GroupId, NodeId},
    log::{ClusterMap, GroupRow, NodeRow, NodeState},
    peer::Caller,
};

use super::layout;
use crate::{
    clock::Instant,
    router::{Router, refuse},
};

/// At the node that was asked: looks whether the dead one is dead, and hands over to the meta group's leader.
///
/// # Errors
/// The dead node is heard, or unknown; or the leader refuses.
pub async fn ask(router: &Router, caller: &Caller, request: Request, deadline: Instant) -> Result<Answer, Refusal> {
    if let Request::ReplaceNode { dead, force, .. } = request {
        let map = router.maps().current();
        let is_there = map.nodes.get(&dead).is_some_and(|row| row.state != NodeState::Left);
        if is_there && router.peers().alive(dead) && !force {
            return Err(refuse(Code::NotAllowed).with_text(format!("node {dead} is alive: stop it first, or use --force")));
        }
    }
    router.forward_to(caller, GroupId::META, request, deadline).await
}

/// At the meta group's leader.
///
/// # Errors
/// The request contradicts the map.
pub(super) async fn run(meta: &GroupHandle, request: Request) -> Result<Answer, Refusal> {
    layout::change(meta, |map| {
        let (nodes, groups) = rows(map, &request)?;
        Ok((nodes, groups, ()))
    })
    .await?;
    Ok(Answer::Done)
}

pub(super) fn rows(map: &ClusterMap, request: &Request) -> Result<(Vec<NodeRow>, Vec<GroupRow>), Refusal> {
    let Request::ReplaceNode { dead, node, address, http, zone, host, .. } = request.clone() else { return Err(refuse(Code::Unsupported)) };
    let invalid = |text: String| Err(refuse(Code::Invalid).with_text(text));
    let Some(old) = map.nodes.get(&dead) else { return Err(refuse(Code::NotFound).with_text(format!("there is no node {dead}"))) };
    if node == dead || node.get() == 0 {
        return invalid("the new node needs an id of its own".into());
    }
    if map.nodes.get(&node).is_some_and(|row| row.state == NodeState::Left) {
        return invalid(format!("node {node} has left: its id cannot be used again"));
    }
    let known = map.nodes.get(&node);
    let row = NodeRow {
        node,
        store: known.and_then(|row| row.store),
        boot: known.map_or_else(BootEpoch::default, |row| row.boot),
        address,
        http,
        region: old.region,
        zone: if zone.is_empty() { old.zone.clone() } else { zone },
        host,
        capacity: old.capacity,
        state: NodeState::Up,
        version: known.map_or_else(Default::default, |row| row.version),
    };
    let swap = |nodes: &[NodeId]| {
        let mut swapped: Vec<NodeId> = nodes.iter().map(|one| if *one == dead { node } else { *one }).collect();
        let mut seen = std::collections::BTreeSet::new();
        swapped.retain(|one| seen.insert(*one));
        swapped
    };
    let groups = map.groups.values().filter(|group| group.replicas.contains(&dead)).map(|group| {
        let (replicas, preference) = (swap(&group.replicas), swap(&group.preference));
        GroupRow { replicas, preference, conf_epoch: group.conf_epoch + 1, ..group.clone() }
    });
    let nodes = vec![row, NodeRow { state: NodeState::Left, ..old.clone() }];
    Ok((nodes, groups.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(dead: u64, node: u64) -> Request {
        let (dead, node) = (NodeId::new(dead), NodeId::new(node));
        let text = String::new;
        Request::ReplaceNode { dead, node, address: "h:1".into(), http: text(), zone: text(), host: text(), force: false }
    }

    fn map() -> ClusterMap {
        let mut map = ClusterMap::default();
        for id in 1..=3 {
            let node = NodeId::new(id);
            map.nodes.insert(node, NodeRow { node, zone: format!("z{id}"), ..NodeRow::default() });
        }
        let replicas: Vec<NodeId> = [1, 2, 3].map(NodeId::new).to_vec();
        let group = GroupRow { group: GroupId::new(1), preference: replicas.clone(), replicas, conf_epoch: 1, ..GroupRow::default() };
        map.groups.insert(group.group, group);
        map
    }

    #[test]
    fn the_new_node_stands_where_the_dead_one_stood() {
        let (nodes, groups) = rows(&map(), &request(2, 4)).unwrap();
        let ([new, old], [group]) = (nodes.as_slice(), groups.as_slice()) else { panic!("{nodes:?} {groups:?}") };
        assert_eq!((new.node, new.zone.as_str(), new.state), (NodeId::new(4), "z2", NodeState::Up));
        assert_eq!((group.replicas.clone(), group.conf_epoch), ([1, 4, 3].map(NodeId::new).to_vec(), 2));
        assert_eq!((old.node, old.state), (NodeId::new(2), NodeState::Left));
    }

    #[test]
    fn ids_are_never_used_again() {
        assert!(rows(&map(), &request(9, 4)).is_err());
        assert!(rows(&map(), &request(2, 2)).is_err());
        let mut left = map();
        left.nodes.get_mut(&NodeId::new(3)).unwrap().state = NodeState::Left;
        assert!(rows(&left, &request(2, 3)).is_err());
    }
}
