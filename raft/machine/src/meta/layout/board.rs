//! The planner's table: nodes, zones, regions and groups by number, what each node holds, and how many groups any two share.
//!
//! In: a layout. Out: where one more replica of a group fits best. Invariant: what nodes hold, the order of nodes in their zones, and the shared
//! groups always agree with what the groups say. Loads are compared by capacity, in units of 1/2^20.

use std::collections::{BTreeMap, BTreeSet};

use kith_wire::{
    id::{GroupId, NodeId, RegionId, Timestamp},
    log::NodeState,
};

use super::{
    GAIN_PART, Health, Layout, Node,
    policy::{Role, Slot},
    report::{Held, Reason},
};

/// What a replica weighs besides its bytes; one of the mean size weighs the same again.
const WEIGHT: u64 = 1 << 10;
/// The largest replica, in such units: a single group is not to hide all others.
const WEIGHT_MAX: u64 = WEIGHT << 8;
/// Nodes of one zone that are compared for one replica.
const COMPARED_MAX: usize = 64;
/// Zones of a region that are compared for one replica, the least loaded first.
const ZONES_MAX: usize = 256;
/// Silent nodes of a zone from which on repair may be held: one alone is repaired.
const HELD_FROM: usize = 2;

/// Replicas of the same group in the same zone, and on the same host: what there should be none of.
pub(super) type Crowd = (usize, usize);

/// The crowd that nothing has.
pub(super) const ANY: Crowd = (usize::MAX, usize::MAX);

pub(super) struct Seat {
    pub(super) id: NodeId,
    pub(super) region: usize,
    pub(super) zone: usize,
    host: usize,
    pub(super) capacity: u64,
    /// May be given replicas.
    is_open: bool,
    /// May lead.
    pub(super) serves: bool,
    /// Why its replicas must go.
    pub(super) goes: Option<Reason>,
    pub(super) weight: u64,
    free: Option<u64>,
}

pub(super) struct Zone {
    pub(super) region: usize,
    pub(super) label: String,
    /// Those that may be given replicas, by load.
    open: BTreeSet<(u64, usize)>,
    silent: Vec<usize>,
    nodes: usize,
    /// Of the open nodes, in all.
    weight: u64,
    capacity: u64,
}

pub(super) struct Region {
    pub(super) id: RegionId,
    /// Zones with open nodes, by the load of the least loaded.
    zones: BTreeSet<(u64, usize)>,
    /// Load of a node when all is even.
    pub(super) mean: u64,
}

pub(super) struct Placed {
    pub(super) id: GroupId,
    voters: Vec<usize>,
    learners: Vec<usize>,
    pub(super) weight: u64,
    pub(super) bytes: u64,
}

impl Placed {
    pub(super) fn held(&self, role: Role) -> &[usize] {
        match role {
            Role::Voter => &self.voters,
            Role::Learner => &self.learners,
        }
    }
    fn all(&self) -> impl Iterator<Item = usize> {
        self.voters.iter().chain(&self.learners).copied()
    }
}

pub(super) struct Board {
    pub(super) nodes: Vec<Seat>,
    pub(super) zones: Vec<Zone>,
    pub(super) regions: Vec<Region>,
    pub(super) groups: Vec<Placed>,
    /// Groups on each node.
    pub(super) on: Vec<BTreeSet<usize>>,
    /// Groups that two nodes share, by `a * nodes + b`.
    shared: Vec<u32>,
    index: BTreeMap<NodeId, usize>,
}

/// A place for one more replica.
pub(super) struct Choice {
    pub(super) node: Option<usize>,
    /// Some were passed over for want of room.
    pub(super) lacks_room: bool,
}

/// What a place must be like.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) slot: Slot,
    /// As if the group were not here.
    pub(super) without: Option<usize>,
    /// Less crowded than this.
    pub(super) below: Crowd,
    /// In this zone only.
    pub(super) zone: Option<usize>,
}

/// A load by capacity, comparable between nodes.
pub(super) fn ratio(load: u64, capacity: u64) -> u64 {
    u64::try_from((u128::from(load) << 20) / u128::from(capacity.max(1))).unwrap_or(u64::MAX)
}

impl Board {
    pub(super) fn new(layout: &Layout, now: Timestamp) -> Self {
        let mut board = Self {
            nodes: Vec::with_capacity(layout.nodes.len()),
            zones: Vec::new(),
            regions: Vec::new(),
            groups: Vec::with_capacity(layout.groups.len()),
            on: Vec::new(),
            shared: Vec::new(),
            index: BTreeMap::new(),
        };
        board.seat(layout, now);
        board.weigh(layout);
        board.fill(layout);
        board
    }

    fn seat(&mut self, layout: &Layout, now: Timestamp) {
        let absent = Node { state: NodeState::Left, ..Node::default() };
        let named = layout.groups.values().flat_map(|group| group.voters.iter().chain(&group.learners));
        let all: BTreeSet<NodeId> = layout.nodes.keys().chain(named).copied().collect();
        let (mut regions, mut zones, mut hosts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for id in all {
            let node = layout.nodes.get(&id).unwrap_or(&absent);
            let region = *regions.entry(node.region).or_insert_with(|| {
                self.regions.push(Region { id: node.region, zones: BTreeSet::new(), mean: 0 });
                self.regions.len() - 1
            });
            let zone_key = (region, node.zone.as_str(), node.zone.is_empty().then_some(id));
            let zone = *zones.entry(zone_key).or_insert_with(|| {
                self.zones.push(Zone {
                    region,
                    label: node.zone.clone(),
                    open: BTreeSet::new(),
                    silent: Vec::new(),
                    nodes: 0,
                    weight: 0,
                    capacity: 0,
                });
                self.zones.len() - 1
            });
            let next = hosts.len();
            let host = *hosts.entry((zone, node.host.as_str(), node.host.is_empty().then_some(id))).or_insert(next);
            let health = node.health(now);
            let at = self.nodes.len();
            if node.state != NodeState::Left {
                self.zones[zone].nodes += 1;
                if health != Health::Alive {
                    self.zones[zone].silent.push(at);
                }
            }
            let goes = match node.state {
                NodeState::Left => Some(Reason::Left { node: id }),
                NodeState::Draining => Some(Reason::Draining { node: id }),
                NodeState::Joining | NodeState::Up => (health == Health::Down).then_some(Reason::Down { node: id }),
            };
            let is_up = node.state == NodeState::Up && health == Health::Alive;
            self.nodes.push(Seat {
                id,
                region,
                zone,
                host,
                capacity: u64::from(node.capacity.max(1)),
                is_open: is_up,
                serves: is_up,
                goes,
                weight: 0,
                free: node.free_bytes,
            });
            self.index.insert(id, at);
            if is_up {
                self.zones[zone].open.insert((0, at));
                self.zones[zone].capacity += u64::from(node.capacity.max(1));
            }
        }
        for zone in 0..self.zones.len() {
            // So many at once are seldom dead: their replicas stay, unless an operator says otherwise.
            if self.is_held(zone) {
                for node in self.zones[zone].silent.clone() {
                    self.nodes[node].goes.take_if(|reason| matches!(reason, Reason::Down { .. }));
                }
            }
            if !self.zones[zone].open.is_empty() {
                let region = self.zones[zone].region;
                self.regions[region].zones.insert((0, zone));
            }
        }
    }

    fn is_held(&self, zone: usize) -> bool {
        let zone = &self.zones[zone];
        zone.silent.len() >= HELD_FROM && zone.silent.len() * 3 > zone.nodes
    }

    pub(super) fn held(&self) -> Vec<Held> {
        let held = (0..self.zones.len()).filter(|zone| self.is_held(*zone)).map(|zone| &self.zones[zone]);
        held.map(|zone| Held {
            region: self.regions[zone.region].id,
            zone: zone.label.clone(),
            silent: zone.silent.iter().map(|node| self.nodes[*node].id).collect(),
            nodes: zone.nodes,
        })
        .collect()
    }

    /// Weights of the groups, and what each region's nodes should hold.
    fn weigh(&mut self, layout: &Layout) {
        let bytes: u128 = layout.groups.values().map(|group| u128::from(group.bytes)).sum();
        let mean = (bytes / layout.groups.len().max(1) as u128).max(1);
        let mut wanted = vec![0_u128; self.regions.len()];
        let by_id: BTreeMap<RegionId, usize> = self.regions.iter().enumerate().map(|(at, region)| (region.id, at)).collect();
        for (id, group) in &layout.groups {
            let own = u128::from(WEIGHT) * u128::from(group.bytes) / mean;
            let weight = (WEIGHT + u64::try_from(own).unwrap_or(WEIGHT_MAX)).min(WEIGHT_MAX);
            for slot in layout.policies.slots(*id, group.region) {
                if let Some(region) = slot.region.and_then(|region| by_id.get(&region)) {
                    wanted[*region] += u128::from(weight) * slot.count as u128;
                }
            }
            self.groups.push(Placed { id: *id, voters: Vec::new(), learners: Vec::new(), weight, bytes: group.bytes });
        }
        let mut capacity = vec![0_u64; self.regions.len()];
        for node in self.nodes.iter().filter(|node| node.is_open) {
            capacity[node.region] += node.capacity;
        }
        for ((region, wanted), capacity) in self.regions.iter_mut().zip(wanted).zip(capacity) {
            region.mean = if capacity == 0 { 0 } else { ratio(u64::try_from(wanted).unwrap_or(u64::MAX), capacity) };
        }
    }

    fn fill(&mut self, layout: &Layout) {
        self.on = vec![BTreeSet::new(); self.nodes.len()];
        self.shared = vec![0; self.nodes.len() * self.nodes.len()];
        for (at, group) in layout.groups.values().enumerate() {
            for (nodes, role) in [(&group.voters, Role::Voter), (&group.learners, Role::Learner)] {
                for node in nodes {
                    let node = self.index[node];
                    if !self.on[node].contains(&at) {
                        self.add(at, node, role);
                    }
                }
            }
        }
        // What stands there already takes no more room.
        for (id, node) in &layout.nodes {
            let at = self.index[id];
            self.nodes[at].free = node.free_bytes;
        }
    }

    pub(super) fn number(&self, id: NodeId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    pub(super) fn ratio(&self, node: usize) -> u64 {
        ratio(self.nodes[node].weight, self.nodes[node].capacity)
    }

    pub(super) fn add(&mut self, group: usize, node: usize, role: Role) {
        for other in self.groups[group].all().collect::<Vec<_>>() {
            self.share(node, other, 1);
        }
        match role {
            Role::Voter => self.groups[group].voters.push(node),
            Role::Learner => self.groups[group].learners.push(node),
        }
        self.on[node].insert(group);
        let (weight, bytes) = (self.groups[group].weight, self.groups[group].bytes);
        self.nodes[node].free = self.nodes[node].free.map(|free| free.saturating_sub(bytes));
        self.load(node, self.nodes[node].weight + weight);
    }

    pub(super) fn remove(&mut self, group: usize, node: usize) {
        self.groups[group].voters.retain(|held| *held != node);
        self.groups[group].learners.retain(|held| *held != node);
        for other in self.groups[group].all().collect::<Vec<_>>() {
            self.share(node, other, -1);
        }
        self.on[node].remove(&group);
        let weight = self.groups[group].weight;
        self.load(node, self.nodes[node].weight - weight);
    }

    fn share(&mut self, a: usize, b: usize, by: i32) {
        let count = self.nodes.len();
        for at in [a * count + b, b * count + a] {
            self.shared[at] = self.shared[at].saturating_add_signed(by);
        }
    }

    /// Sets what a node holds, and its place in the order of its zone.
    fn load(&mut self, node: usize, weight: u64) {
        let (old, before) = (self.ratio(node), self.nodes[node].weight);
        self.nodes[node].weight = weight;
        if !self.nodes[node].is_open {
            return;
        }
        let new = self.ratio(node);
        let zone = self.nodes[node].zone;
        self.zones[zone].weight = self.zones[zone].weight + weight - before;
        let first = self.zones[zone].open.first().copied();
        self.zones[zone].open.remove(&(old, node));
        self.zones[zone].open.insert((new, node));
        let now = self.zones[zone].open.first().copied();
        if let (Some((before, _)), Some((after, _))) = (first, now)
            && before != after
        {
            let zones = &mut self.regions[self.zones[zone].region].zones;
            zones.remove(&(before, zone));
            zones.insert((after, zone));
        }
    }

    /// Load of a node of the zone when all is even there.
    pub(super) fn zone_mean(&self, zone: usize) -> u64 {
        ratio(self.zones[zone].weight, self.zones[zone].capacity)
    }

    /// How many other replicas of the group stand in the node's zone, and on its host.
    pub(super) fn crowd(&self, group: usize, node: usize) -> Crowd {
        let seat = &self.nodes[node];
        let others = || self.groups[group].all().filter(|other| *other != node).map(|other| &self.nodes[other]);
        (others().filter(|other| other.zone == seat.zone).count(), others().filter(|other| other.host == seat.host).count())
    }

    fn zones_of(&self, wish: &Wish) -> Vec<(u64, usize)> {
        if let Some(zone) = wish.zone {
            return self.zones[zone].open.first().map(|(ratio, _)| (*ratio, zone)).into_iter().collect();
        }
        let regions = self.regions.iter().filter(|region| wish.slot.region.is_none_or(|wanted| wanted == region.id));
        let mut zones: Vec<(u64, usize)> = regions.flat_map(|region| region.zones.iter().copied().take(ZONES_MAX)).collect();
        if wish.slot.region.is_none() {
            zones.sort_unstable();
        }
        zones
    }

    /// The best place for one more replica: in a zone and on a host of its own, among the least loaded the one that shares the fewest groups
    /// with the replicas that are there.
    pub(super) fn choose(&self, group: usize, wish: &Wish) -> Choice {
        let others: Vec<usize> = self.groups[group].all().filter(|node| Some(*node) != wish.without).collect();
        let mut best = wish.below;
        // Of the best crowd: the lowest load, and those near it.
        let mut floor = u64::MAX;
        let mut found: Vec<(u64, usize)> = Vec::new();
        let mut lacks_room = false;
        for (lowest, zone) in self.zones_of(wish) {
            let near = self.regions[self.zones[zone].region].mean / GAIN_PART;
            let there = others.iter().filter(|node| self.nodes[**node].zone == zone).count();
            let is_over = |floor: u64, ratio: u64| ratio > floor.saturating_add(near);
            if there > best.0 || (found.is_empty() && there == best.0 && best.1 == 0) || (best == (there, 0) && is_over(floor, lowest)) {
                continue;
            }
            let mut compared = 0;
            for (ratio, node) in self.zones[zone].open.iter().copied() {
                if others.contains(&node) || Some(node) == wish.without {
                    continue;
                }
                if self.nodes[node].free.is_some_and(|free| free < self.groups[group].bytes) {
                    lacks_room = true;
                    continue;
                }
                let clash = others.iter().filter(|other| self.nodes[**other].host == self.nodes[node].host).count();
                let crowd = (there, clash);
                if crowd < best {
                    (best, floor) = (crowd, ratio);
                    found.clear();
                } else if crowd > best || found.is_empty() {
                    continue;
                }
                if is_over(floor, ratio) {
                    break;
                }
                floor = floor.min(ratio);
                found.push((ratio, node));
                compared += 1;
                if compared == COMPARED_MAX {
                    break;
                }
            }
            found.retain(|(ratio, _)| !is_over(floor, *ratio));
        }
        let count = self.nodes.len();
        let shares = |node: usize| others.iter().map(|other| u64::from(self.shared[node * count + other])).sum::<u64>();
        let node = found.into_iter().min_by_key(|(ratio, node)| (shares(*node), *ratio, *node)).map(|(_, node)| node);
        Choice { node, lacks_room: lacks_room && node.is_none() }
    }
}
