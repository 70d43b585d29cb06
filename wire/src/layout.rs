//! Where groups stand and where they should: what operators ask and are told, and what nodes tell the meta group's leader for it.
//!
//! In: the fields of a [`crate::client::Request::Layout`] and of the messages between nodes. Out: those of answers. Invariants: a plan is of one
//! version of the map, and is carried out at that version only; a line of a plan has a reason. Bounds: `limit::LAYOUT_LINES_MAX` lines of an
//! answer. Not here: what is planned (kith-machine's `meta::layout`), who carries it out (the node's `cluster`).

use crate::{
    id::{GroupId, MapEpoch, NodeId, RegionId, Term},
    log::NodeState,
    moving::{BucketRun, LeavingRow},
    upgrade::{ClusterVersion, UpgradeView},
};

/// What operators ask about nodes and groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LayoutRequest {
    /// Nodes, groups, and what was moved lately.
    Show,
    /// What should be moved now; nothing is.
    Plan,
    /// Does what the plan of this version of the map says; refused when the map has changed since.
    Apply { version: MapEpoch },
    /// A node more. Again with the same id: its address and labels, as long as it has not left.
    AddNode { node: NodeId, address: String, http: String, region: RegionId, zone: String, host: String, capacity: u32 },
    /// Empties a node for good: its replicas are moved, then it has left. `dry_run`: only says what would be moved, or what is in the way.
    Decommission { node: NodeId, dry_run: bool },
    /// A node that is being emptied is to stay.
    Recommission { node: NodeId },
    /// A node gives up sessions and leaderships, and takes no new ones; or takes them again. Its replicas stay. Until it is started anew.
    Drain { node: NodeId, on: bool },
    /// Moves buckets of a group to another of its region, while they are served. Without `run`: half of what it has; without `to`: to the one that
    /// has the fewest.
    MoveBuckets { from: GroupId, run: Option<BucketRun>, to: Option<GroupId> },
    /// Gives the move out of a group up, as long as its buckets have not been handed over.
    CancelMove { from: GroupId },
    /// How far an upgrade is, and what is in its way.
    Upgrade,
    /// Raises the version of the cluster to this one; again is no change. Older builds do not start any more then.
    Finalize { to: ClusterVersion },
}

/// What operators are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LayoutAnswer {
    /// To `Show`.
    Shown(LayoutView),
    /// To `Plan`, and to `Apply`: what is carried out now.
    Planned(LayoutPlan),
    /// To `Decommission`: it can be done, and unless it was a dry run it has begun.
    Emptying(Emptying),
    /// To `Decommission`: it cannot, for these reasons; nothing was changed.
    Blocked(Vec<String>),
    /// It is done; the map has this version now.
    Done { version: MapEpoch },
    /// To `Drain`: what the node still has.
    Draining { sessions: u64, leads: u64 },
    /// To `MoveBuckets`: it has begun. To `CancelMove`: what was given up, with its target.
    Moving { from: GroupId, run: BucketRun, to: GroupId },
    /// To `Upgrade`; to `Finalize`: after it.
    Upgrading(UpgradeView),
}

/// Nodes and groups.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutView {
    /// Version of the map.
    pub version: MapEpoch,
    /// Whether leaders and replicas are moved to balance.
    pub balance: bool,
    /// By id.
    pub nodes: Vec<LayoutNode>,
    /// By id; at most `limit::LAYOUT_LINES_MAX`.
    pub groups: Vec<LayoutGroup>,
    /// Groups beyond those.
    pub groups_more: u64,
    /// What the cluster moved by itself, newest first.
    pub moved: Vec<LayoutMove>,
    /// What it should do and does not, and why.
    pub notes: Vec<String>,
}

/// A node, as the map has it and as it is heard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutNode {
    /// Its id.
    pub node: NodeId,
    /// Where it is dialled.
    pub address: String,
    /// Where it stands.
    pub region: RegionId,
    /// In the region.
    pub zone: String,
    /// In the zone.
    pub host: String,
    /// Weight.
    pub capacity: u32,
    /// Where it stands in its life.
    pub state: NodeState,
    /// Whether it is heard.
    pub health: NodeHealth,
    /// For how long it has not been heard, in milliseconds.
    pub silent_ms: u64,
    /// It gives up sessions and leaderships.
    pub drains: bool,
    /// Room on its disk; `None`: not told.
    pub free_bytes: Option<u64>,
    /// Sessions that it holds; `None`: not told.
    pub sessions: Option<u64>,
    /// Replicas that the map gives it.
    pub replicas: u64,
    /// Groups that it leads.
    pub leads: u64,
}

/// A group, as the map has it and as its leader says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutGroup {
    /// Its id.
    pub group: GroupId,
    /// Whose buckets it may hold.
    pub region: RegionId,
    /// Where its replicas should be.
    pub replicas: Vec<NodeId>,
    /// Who should lead it, best first.
    pub preference: Vec<NodeId>,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// Who votes, as the leader says; of both sets while they change.
    pub voters: Vec<NodeId>,
    /// Who does not vote yet, or is an asynchronous copy.
    pub learners: Vec<NodeId>,
    /// Of one replica.
    pub bytes: u64,
    /// How many buckets the map gives it.
    pub buckets: u32,
    /// Which, by first one; at most `limit::SHOWN_RUNS_MAX` runs.
    pub runs: Vec<BucketRun>,
    /// The move out of it, as its leader says.
    pub leaving: Option<LeavingRow>,
}

/// What should be moved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutPlan {
    /// Version of the map: of the one that it was made from, or, once it is applied, of the new one.
    pub version: MapEpoch,
    /// In the order in which they were decided; at most `limit::LAYOUT_LINES_MAX`.
    pub moves: Vec<LayoutMove>,
    /// Moves beyond those.
    pub moves_more: u64,
    /// What is copied in all.
    pub bytes: u64,
    /// What should be done and cannot be, or not yet, and why.
    pub notes: Vec<String>,
}

/// One line of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LayoutMove {
    /// Of which group.
    pub group: GroupId,
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What is copied.
    pub bytes: u64,
}

/// What emptying a node takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Emptying {
    /// Version of the map.
    pub version: MapEpoch,
    /// Replicas that go.
    pub replicas: u64,
    /// What is copied.
    pub bytes: u64,
    /// How long the copies take, in seconds.
    pub eta_s: u64,
}

/// Whether a node is heard. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodeHealth {
    /// 1: heard.
    #[default]
    Alive,
    /// 2: silent for a while.
    Suspect,
    /// 3: silent for so long that what it held is made elsewhere.
    Down,
}

impl NodeHealth {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}

// ---------------------------------------------------------------- between nodes

/// What a node knows that the planner needs: soft state, asked for every few seconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeLoad {
    /// Room on its disk; `None`: not known.
    pub free_bytes: Option<u64>,
    /// Sessions that it holds.
    pub sessions: u64,
    /// It gives up sessions and leaderships.
    pub drains: bool,
    /// The nodes that it does not hear, and for how long, in milliseconds.
    pub silent: Vec<(NodeId, u64)>,
    /// The groups that it leads.
    pub led: Vec<LedGroup>,
}

/// A group, as its leader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LedGroup {
    /// Its id.
    pub group: GroupId,
    /// The leader's term.
    pub term: Term,
    /// Of the leader's replica.
    pub bytes: u64,
    /// Entries of its log, ever: how fast they grow is its load.
    pub entries: u64,
    /// Of all sets in force.
    pub voters: Vec<NodeId>,
    /// Members that do not vote.
    pub learners: Vec<NodeId>,
    /// No change of members is under way.
    pub settled: bool,
    /// The move of buckets out of it.
    pub leaving: Option<LeavingRow>,
}
