//! Which group holds a bucket, who leads it, which replica is near.

use kith_wire::{
    client::Refusal,
    code::Code,
    id::{Bucket, GroupId, MapEpoch, NodeId, RegionId, Term},
};

use super::{Router, refuse, refuse_for};

/// Where a bucket is, as the map says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Its group.
    pub group: GroupId,
    /// Replicas of the group, sorted.
    pub replicas: Vec<NodeId>,
    /// The map's version.
    pub epoch: MapEpoch,
}

impl Router {
    /// The place of a bucket.
    ///
    /// # Errors
    /// `NoLeader` with a delay: the map names no group for it yet.
    pub fn locate(&self, bucket: Bucket) -> Result<Route, Refusal> {
        let map = self.maps.current();
        let Some(group) = map.group_of(bucket) else {
            // What lies in a region that nobody has is nowhere; to wait would be in vain.
            let is_nowhere = !map.runs.is_empty() && map.runs.values().all(|run| run.region != bucket.region);
            return Err(if is_nowhere { refuse(Code::NotFound) } else { refuse_for(Code::NoLeader, MAP_WAIT_MS) });
        };
        let replicas = map.groups.get(&group).map(|row| row.replicas.clone()).unwrap_or_default();
        Ok(Route { group, replicas, epoch: map.epoch })
    }

    /// The place of a group.
    ///
    /// # Errors
    /// `NoLeader` with a delay: the map does not name it yet.
    pub(super) fn locate_group(&self, group: GroupId) -> Result<Route, Refusal> {
        let map = self.maps.current();
        let row = map.groups.get(&group).ok_or_else(|| refuse_for(Code::NoLeader, MAP_WAIT_MS))?;
        Ok(Route { group, replicas: row.replicas.clone(), epoch: map.epoch })
    }

    /// The regions that hold users, this node's own first if it is one of them.
    pub fn home_regions(&self) -> Vec<RegionId> {
        let map = self.maps.current();
        let mut regions: Vec<RegionId> = map.runs.keys().map(|(region, _)| *region).collect();
        regions.dedup();
        let own = map.nodes.get(&self.node).map(|row| row.region);
        regions.sort_by_key(|region| (Some(*region) != own, *region));
        if regions.is_empty() { vec![RegionId::FIRST] } else { regions }
    }

    /// Who leads a group, as far as is known here: the highest term of this node's own replica and of the beats heard.
    pub fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        let own = self.groups.get(group).and_then(|handle| {
            let lead = *handle.leader().borrow();
            lead.leader.map(|leader| (leader, lead.term))
        });
        [own, self.peers.leads(group)].into_iter().flatten().max_by_key(|(_, term)| *term)
    }

    /// Whether this node serves the group as its leader.
    pub fn serves(&self, group: GroupId) -> bool {
        self.groups.get(group).is_some_and(|handle| handle.leader().borrow().serving)
    }

    /// A replica to ask when nobody is known to lead: the next one that is alive, and not the one that was asked last.
    pub(super) fn any_replica(&self, route: &Route, asked: Option<NodeId>) -> Option<NodeId> {
        let after = |node: &NodeId| asked.is_some_and(|asked| *node > asked);
        let alive = || route.replicas.iter().copied().filter(|node| self.peers.reachable(*node));
        alive().find(after).or_else(|| alive().find(|node| asked != Some(*node)))
    }
}

/// Until the first map is there.
const MAP_WAIT_MS: u32 = 500;
