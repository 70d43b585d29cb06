//! The first placement: where the replicas of each group go, who should lead it, which buckets it gets. Pure and deterministic.
//!
//! In: nodes with region, zone, host and capacity. Out: the rows of the groups, the meta group first, and of the bucket runs.
//! Rules, strongest first: distinct zones, distinct hosts, equal load by capacity, few groups shared by any pair of nodes (so that the
//! load of a dead node spreads). Leaders are then balanced over the replicas, and the buckets of a region are cut into equal runs.
//! Not here: moving anything later (the node's controller).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kith_wire::{
    id::{GroupId, NodeId, OwnerEpoch, RegionId},
    log::{GroupRow, NodeRow, NodeState, RunRow},
};

/// Replicas of a group, where there are as many nodes.
pub const REPLICAS: usize = 3;
/// Buckets of a region.
const BUCKETS: u64 = 1 << 16;

/// What is to be logged in the meta group, in this order, after the nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The meta group, then the data groups by id, from 1.
    pub groups: Vec<GroupRow>,
    /// By region and first bucket; each region that has nodes is covered.
    pub runs: Vec<RunRow>,
}

/// Data groups of a region when nobody says how many: one per node, four for a single one, which spread as it grows.
pub const fn groups_default(nodes: usize) -> u32 {
    match nodes {
        0 | 1 => 4,
        _ if nodes < 1_000 => nodes as u32,
        _ => 1_000,
    }
}

/// Places the meta group over all nodes and `groups_per_region` data groups (at least one) in each region that has nodes. Nodes that are
/// being emptied or have left get nothing. Without nodes the plan is empty.
pub fn first_placement(nodes: &[NodeRow], groups_per_region: u32) -> Plan {
    let nodes: BTreeMap<NodeId, &NodeRow> =
        nodes.iter().filter(|node| matches!(node.state, NodeState::Joining | NodeState::Up)).map(|node| (node.node, node)).collect();
    let regions: BTreeSet<RegionId> = nodes.values().map(|node| node.region).collect();
    let mut plan = Plan::default();
    if nodes.is_empty() {
        return plan;
    }
    let replicas = Board::new(nodes.values().copied()).place();
    plan.groups.push(GroupRow { group: GroupId::META, region: RegionId::FIRST, preference: replicas.clone(), replicas, conf_epoch: 1 });
    for region in regions {
        let mut board = Board::new(nodes.values().copied().filter(|node| node.region == region));
        let count = groups_per_region.clamp(1, BUCKETS as u32);
        let placed: Vec<_> = (0..count).map(|_| board.place()).collect();
        for (at, (replicas, preference)) in placed.iter().zip(board.preferences(&placed)).enumerate() {
            let group = GroupId::new(plan.groups.len() as u32);
            plan.groups.push(GroupRow { group, region, replicas: replicas.clone(), preference, conf_epoch: 1 });
            let cut = |at: u64| at * BUCKETS / u64::from(count);
            let (first, last) = (cut(at as u64) as u16, (cut(at as u64 + 1) - 1) as u16);
            plan.runs.push(RunRow { region, first, last, group, epoch: OwnerEpoch::FIRST });
        }
    }
    plan
}

/// The nodes of a region and what was given to them so far.
struct Board<'n> {
    nodes: BTreeMap<NodeId, Place<'n>>,
    /// Groups that two nodes share, lower id first.
    shared: BTreeMap<(NodeId, NodeId), u64>,
}

struct Place<'n> {
    node: &'n NodeRow,
    replicas: u64,
    leads: u64,
}

impl Place<'_> {
    /// So many of a thing, by capacity: comparable between nodes.
    fn weighed(&self, count: u64) -> u64 {
        count * 1_000_000 / u64::from(self.node.capacity.max(1))
    }
}

impl<'n> Board<'n> {
    fn new(nodes: impl Iterator<Item = &'n NodeRow>) -> Self {
        let nodes = nodes.map(|node| (node.node, Place { node, replicas: 0, leads: 0 })).collect();
        Self { nodes, shared: BTreeMap::new() }
    }

    /// Chooses the nodes of one group, sorted.
    fn place(&mut self) -> Vec<NodeId> {
        let mut chosen: Vec<NodeId> = Vec::new();
        while chosen.len() < REPLICAS {
            let best = self.nodes.values().filter(|place| !chosen.contains(&place.node.node)).min_by_key(|place| {
                let id = place.node.node;
                let taken = || chosen.iter().filter_map(|id| self.nodes.get(id)).map(|place| place.node);
                let same_zone = taken().filter(|other| zone(other) == zone(place.node)).count();
                let same_host = taken().filter(|other| host(other) == host(place.node)).count();
                let shared: u64 = chosen.iter().map(|other| self.shared.get(&pair(*other, id)).copied().unwrap_or(0)).sum();
                (same_zone, same_host, place.weighed(place.replicas + 1), shared, id)
            });
            let Some(best) = best.map(|place| place.node.node) else { break };
            for other in &chosen {
                *self.shared.entry(pair(*other, best)).or_default() += 1;
            }
            chosen.push(best);
        }
        for id in &chosen {
            if let Some(place) = self.nodes.get_mut(id) {
                place.replicas += 1;
            }
        }
        chosen.sort();
        chosen
    }

    /// Who should lead each of the groups, best first: leaders are balanced by capacity, then those who would take over.
    fn preferences(&mut self, groups: &[Vec<NodeId>]) -> Vec<Vec<NodeId>> {
        let mut leaders: Vec<Option<NodeId>> = Vec::with_capacity(groups.len());
        for replicas in groups {
            let leader = replicas.iter().copied().min_by_key(|id| (self.leads_weighed(*id, 1), *id));
            self.lead(leader, 1);
            leaders.push(leader);
        }
        while let Some(path) = self.better(groups, &leaders) {
            for (group, to) in path {
                if let Some(leader) = leaders.get_mut(group) {
                    self.lead(*leader, -1);
                    *leader = Some(to);
                    self.lead(*leader, 1);
                }
            }
        }
        let mut seconds: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut out = Vec::with_capacity(groups.len());
        for (replicas, leader) in groups.iter().zip(leaders) {
            let mut order = replicas.clone();
            order.sort_by_key(|id| (Some(*id) != leader, seconds.get(id).copied().unwrap_or(0), *id));
            if let Some(second) = order.get(1) {
                *seconds.entry(*second).or_default() += 1;
            }
            out.push(order);
        }
        out
    }

    fn leads_weighed(&self, id: NodeId, more: u64) -> u64 {
        self.nodes.get(&id).map_or(u64::MAX, |place| place.weighed(place.leads + more))
    }

    fn lead(&mut self, leader: Option<NodeId>, by: i64) {
        if let Some(place) = leader.and_then(|id| self.nodes.get_mut(&id)) {
            place.leads = place.leads.saturating_add_signed(by);
        }
    }

    /// A chain of hand-overs (group, to whom) that takes one leader from a node to one with less to lead; `None` when all is balanced.
    /// Each one lowers the load of the higher side below what it was, so this ends.
    fn better(&self, groups: &[Vec<NodeId>], leaders: &[Option<NodeId>]) -> Option<Vec<(usize, NodeId)>> {
        let mut from: Vec<NodeId> = self.nodes.keys().copied().collect();
        from.sort_by_key(|id| (std::cmp::Reverse(self.leads_weighed(*id, 0)), *id));
        for start in from {
            // Breadth first over "u leads a group that v could lead".
            let mut came: BTreeMap<NodeId, (usize, NodeId)> = BTreeMap::new();
            let mut open = VecDeque::from([start]);
            while let Some(at) = open.pop_front() {
                if at != start && self.leads_weighed(at, 1) < self.leads_weighed(start, 0) {
                    let mut path = Vec::new();
                    let mut at = at;
                    while let Some((group, before)) = came.get(&at) {
                        path.push((*group, at));
                        at = *before;
                    }
                    return Some(path);
                }
                for (group, _) in leaders.iter().enumerate().filter(|(_, leader)| **leader == Some(at)) {
                    for next in groups.get(group).into_iter().flatten() {
                        if *next != start && !came.contains_key(next) {
                            came.insert(*next, (group, at));
                            open.push_back(*next);
                        }
                    }
                }
            }
        }
        None
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    if a <= b { (a, b) } else { (b, a) }
}

/// A node without a zone label is a zone of its own.
fn zone(node: &NodeRow) -> (RegionId, &str, Option<NodeId>) {
    (node.region, &node.zone, node.zone.is_empty().then_some(node.node))
}

/// A node without a host label is a host of its own.
fn host(node: &NodeRow) -> (RegionId, &str, &str, Option<NodeId>) {
    (node.region, &node.zone, &node.host, node.host.is_empty().then_some(node.node))
}
