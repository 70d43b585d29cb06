//! Where replicas and leaders should be, from now on: the planner that grows, repairs, empties and balances a cluster. Pure and deterministic.
//!
//! In: a [`Layout`] (nodes with labels, capacity, state and silence; groups with replicas, leader preference, size and load; a policy for
//! each region), the time, limits. Out: a [`Plan`]: moves with a reason and the bytes of each, what each changed group should be, what is held and what
//! is in the way. Invariants: the same layout gives the same plan; after a plan was applied the next one is empty, or goes on with what
//! limits and rest held back; a move never lowers the number of zones and hosts that a group stands on. Rules, strongest first: replicas
//! leave nodes that are gone or being emptied, each region has the replicas that its policy says, one replica per zone, per host, load by
//! capacity, few groups shared by any pair of nodes. Leaders follow the policy's regions and zones, then load by capacity.
//! Bounds: a dense table of pairs of nodes, 12 bytes each. Not here: the first placement (`plan`), carrying a move out (the node's controller).

mod board;
mod drain;
mod leader;
mod policy;
mod replica;
mod report;

use std::collections::BTreeMap;

pub use drain::{Blocker, Drain, drain};
use kith_wire::{
    id::{GroupId, NodeId, RegionId, Timestamp},
    log::{ClusterMap, NodeState},
};
pub use policy::{Mode, Policies, Policy};
pub use report::{Change, Held, Move, Plan, Reason, Stuck, Target};

/// How long a node is silent before what it held is made elsewhere.
pub const DOWN_AFTER_MS: u64 = 10 * 60 * 1_000;
/// How long a group whose leader was moved, to balance, stays where it is.
pub const REST_MS: u64 = 10 * 60 * 1_000;
/// Leaders that are moved at once, to balance.
pub const LEADERS_AT_ONCE: usize = 4;
/// What a move must gain, of the mean load, to be worth it: 1/20 is 5 %.
pub(crate) const GAIN_PART: u64 = 20;

/// A cluster as the planner sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// All nodes that the map names.
    pub nodes: BTreeMap<NodeId, Node>,
    /// All groups, the meta group among them.
    pub groups: BTreeMap<GroupId, Group>,
    /// What regions ask for.
    pub policies: Policies,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// Where it stands.
    pub region: RegionId,
    /// Its zone in the region; empty: a zone of its own.
    pub zone: String,
    /// Its host in the zone; empty: a host of its own.
    pub host: String,
    /// Weight; 0 counts as 1.
    pub capacity: u32,
    /// Where it stands in its life.
    pub state: NodeState,
    /// Since when nobody hears it; `None`: it is heard.
    pub silent_since: Option<Timestamp>,
    /// Room on its disk; `None`: not told, taken for enough.
    pub free_bytes: Option<u64>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// Home of the buckets that it may hold.
    pub region: RegionId,
    /// Where its voters are.
    pub voters: Vec<NodeId>,
    /// Where its asynchronous copies are.
    pub learners: Vec<NodeId>,
    /// Who should lead it, best first; some of its voters.
    pub preference: Vec<NodeId>,
    /// Bytes of one replica.
    pub bytes: u64,
    /// Work that its leader does, in any unit that is the same for all groups; 0 counts as 1.
    pub load: u64,
    /// When its leader was moved last, to balance.
    pub moved: Option<Timestamp>,
}

/// Whether a node is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Health {
    /// Heard.
    Alive,
    /// Silent, for less than [`DOWN_AFTER_MS`].
    Suspect,
    /// Silent for longer.
    Down,
}

/// How much is planned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Leaders that may be moved now, to balance.
    pub leaders: usize,
    /// Whether replicas are moved to balance; what must move is planned in any case.
    pub balance: bool,
}

impl Limits {
    /// All that there is to do, for an operator to see.
    pub const WHOLE: Self = Self { leaders: usize::MAX, balance: true };
    /// What may be begun now.
    pub const STEP: Self = Self { leaders: LEADERS_AT_ONCE, balance: true };
    /// Only what must be: repair, growth, emptying.
    pub const NEEDED: Self = Self { leaders: 0, balance: false };
}

impl Node {
    /// Whether it is there, at `now`.
    pub fn health(&self, now: Timestamp) -> Health {
        match self.silent_since {
            None => Health::Alive,
            Some(since) if now.get().saturating_sub(since.get()) < DOWN_AFTER_MS => Health::Suspect,
            Some(_) => Health::Down,
        }
    }
}

impl Layout {
    /// What the map says; sizes, loads and silence are the caller's to add.
    pub fn of(map: &ClusterMap) -> Self {
        let nodes = map.nodes.values().map(|row| {
            let node = Node {
                region: row.region,
                zone: row.zone.clone(),
                host: row.host.clone(),
                capacity: row.capacity,
                state: row.state,
                ..Node::default()
            };
            (row.node, node)
        });
        let groups = map.groups.values().map(|row| {
            let group = Group { region: row.region, voters: row.replicas.clone(), preference: row.preference.clone(), ..Group::default() };
            (row.group, group)
        });
        Self { nodes: nodes.collect(), groups: groups.collect(), policies: Policies::default() }
    }

    /// What should be done now.
    pub fn plan(&self, now: Timestamp, limits: Limits) -> Plan {
        let mut board = board::Board::new(self, now);
        let mut plan = Plan { held: board.held(), ..Plan::default() };
        replica::place(&mut board, self, limits, &mut plan);
        let preferences = leader::lead(&board, self, now, limits, &mut plan);
        plan.finish(&board, self, preferences);
        plan
    }

    /// Makes the plan true, as if all of it had been carried out at `now`.
    pub fn apply(&mut self, plan: &Plan, now: Timestamp) {
        for (id, target) in &plan.targets {
            let Some(group) = self.groups.get_mut(id) else { continue };
            (group.voters, group.learners) = (target.voters.clone(), target.learners.clone());
            group.preference.clone_from(&target.preference);
        }
        for one in plan.moves.iter().filter(|one| one.reason.rests()) {
            if let Some(group) = self.groups.get_mut(&one.group) {
                group.moved = Some(now);
            }
        }
    }

    /// Who leads a group when all is well: the first of its preference that is there and serves.
    pub fn leader(&self, group: GroupId, now: Timestamp) -> Option<NodeId> {
        let group = self.groups.get(&group)?;
        let serves = |id: &NodeId| self.nodes.get(id).is_some_and(|node| node.state != NodeState::Left && node.health(now) == Health::Alive);
        group.preference.iter().copied().find(serves)
    }
}
