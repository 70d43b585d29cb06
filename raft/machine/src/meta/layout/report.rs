//! What a plan says: the moves with their reasons, what the changed groups become, what is held, and what could not be done.

use std::{collections::BTreeMap, fmt};

use kith_wire::id::{GroupId, NodeId, RegionId};

use super::{Group, Layout, board::Board, policy::Role};

/// What should be done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Replicas first, then leaders; in the order in which they were decided.
    pub moves: Vec<Move>,
    /// What each group that changes becomes.
    pub targets: BTreeMap<GroupId, Target>,
    /// Zones in which nothing is repaired for now.
    pub held: Vec<Held>,
    /// What should be done and cannot be.
    pub stuck: Vec<Stuck>,
}

/// One line of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Of which group.
    pub group: GroupId,
    /// What.
    pub change: Change,
    /// Why.
    pub reason: Reason,
    /// Bytes that are copied.
    pub bytes: u64,
}

/// What is done to a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A replica more.
    Add { to: NodeId },
    /// A replica elsewhere.
    Swap { from: NodeId, to: NodeId },
    /// A replica less.
    Remove { from: NodeId },
    /// Another should lead; `from` is who does now, or would.
    Lead { from: Option<NodeId>, to: NodeId },
    /// Another should lead when the first cannot.
    Second { to: NodeId },
}

/// Why something is moved. Shares are percent of the mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The node has left.
    Left { node: NodeId },
    /// The node has been silent for too long.
    Down { node: NodeId },
    /// The node is being emptied.
    Draining { node: NodeId },
    /// There are fewer replicas than the policy asks for.
    Missing { has: usize, wants: usize },
    /// There are more.
    Surplus { has: usize, wants: usize },
    /// The policy has no replicas in that region.
    Region { region: RegionId },
    /// Replicas shared a zone.
    Zone { node: NodeId },
    /// Replicas shared a host.
    Host { node: NodeId },
    /// One node holds more than another, by capacity.
    Balance { from_percent: u64, to_percent: u64 },
    /// The first of the preference cannot lead.
    NoLeader,
    /// The policy wants leaders elsewhere.
    Preference,
    /// One node leads more than another, by capacity.
    LeaderBalance { from_percent: u64, to_percent: u64 },
    /// Were this leader lost, too much would fall to one node.
    Takeover { node: NodeId },
}

/// A zone in which nothing is repaired: so many at once are seldom dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Region of the zone.
    pub region: RegionId,
    /// The zone.
    pub zone: String,
    /// Its nodes that are silent.
    pub silent: Vec<NodeId>,
    /// All of its nodes.
    pub nodes: usize,
}

/// A replica that should be elsewhere, and for which there is no place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// Of which group.
    pub group: GroupId,
    /// On which node it stays.
    pub node: NodeId,
    /// Why it should go.
    pub reason: Reason,
    /// There would be a place, but for the room on its disk.
    pub lacks_room: bool,
}

/// What a group becomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Sorted.
    pub voters: Vec<NodeId>,
    /// Sorted.
    pub learners: Vec<NodeId>,
    /// All voters, best first.
    pub preference: Vec<NodeId>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Bytes that are copied in all.
    pub fn bytes(&self) -> u64 {
        self.moves.iter().map(|one| one.bytes).sum()
    }

    /// Fills in what the groups become.
    pub(super) fn finish(&mut self, board: &Board, layout: &Layout, mut preferences: BTreeMap<GroupId, Vec<NodeId>>) {
        for (at, (id, group)) in layout.groups.iter().enumerate() {
            let sorted = |role| {
                let mut nodes: Vec<NodeId> = board.groups[at].held(role).iter().map(|node| board.nodes[*node].id).collect();
                nodes.sort();
                nodes
            };
            let (voters, learners) = (sorted(Role::Voter), sorted(Role::Learner));
            let preference = preferences.remove(id).unwrap_or_else(|| group.preference.clone());
            let same = |now: &[NodeId], then: &[NodeId]| now.len() == then.len() && now.iter().all(|node| then.contains(node));
            let Group { voters: old_voters, learners: old_learners, preference: old_preference, .. } = group;
            if !same(old_voters, &voters) || !same(old_learners, &learners) || *old_preference != preference {
                self.targets.insert(*id, Target { voters, learners, preference });
            }
        }
    }
}

impl Reason {
    /// Whether the group then stays where it is for a while.
    pub(super) const fn rests(&self) -> bool {
        matches!(self, Self::LeaderBalance { .. } | Self::Preference | Self::Takeover { .. })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let silent: Vec<String> = self.silent.iter().map(ToString::to_string).collect();
        write!(
            f,
            "zone {} of region {}: {} of its {} nodes are silent at once ({}): nothing of it is repaired before they are heard, or said to be gone",
            self.zone,
            self.region,
            silent.len(),
            self.nodes,
            silent.join(", ")
        )
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.lacks_room { "no other node has room for it" } else { "no other node could take it" };
        write!(f, "group {}: {}, and {why}", self.group, self.reason)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { to } => write!(f, "add a replica on node {to}"),
            Self::Swap { from, to } => write!(f, "move the replica on node {from} to node {to}"),
            Self::Remove { from } => write!(f, "drop the replica on node {from}"),
            Self::Lead { from: Some(from), to } => write!(f, "lead on node {to} instead of node {from}"),
            Self::Lead { from: None, to } => write!(f, "lead on node {to}"),
            Self::Second { to } => write!(f, "have node {to} take over"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left { node } => write!(f, "node {node} has left"),
            Self::Down { node } => write!(f, "node {node} has been silent for too long"),
            Self::Draining { node } => write!(f, "node {node} is being emptied"),
            Self::Missing { has, wants } => write!(f, "it has {has} of {wants} replicas"),
            Self::Surplus { has, wants } => write!(f, "it has {has} replicas, {wants} are enough"),
            Self::Region { region } => write!(f, "its policy has no replica in region {region}"),
            Self::Zone { node } => write!(f, "node {node} shares a zone with another replica"),
            Self::Host { node } => write!(f, "node {node} shares a host with another replica"),
            Self::Balance { from_percent, to_percent } => write!(f, "holds {from_percent} % of the mean, the other {to_percent} %"),
            Self::NoLeader => f.write_str("the one that should lead cannot"),
            Self::Preference => f.write_str("its policy wants the leader there"),
            Self::LeaderBalance { from_percent, to_percent } => write!(f, "leads {from_percent} % of the mean, the other {to_percent} %"),
            Self::Takeover { node } => write!(f, "were node {node} lost, too much would fall to one node"),
        }
    }
}
