//! Where groups stand and where they should, for operators. Adding a node needs a certificate: that is the command line's.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{MapEpoch, NodeId},
    layout::{Emptying, LayoutAnswer, LayoutGroup, LayoutMove, LayoutNode, LayoutPlan, LayoutRequest, LayoutView},
    log::NodeState,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    Api,
    extract::{Body, Key, Params, Who, numbered},
    once::once,
    problem::Problem,
    unexpected,
};

/// Nodes and groups, as the map has them and as they are.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Layout {
    /// Version of the map.
    version: u64,
    /// Whether leaders and replicas are moved to balance.
    balance: bool,
    /// By id.
    nodes: Vec<PlacedNode>,
    /// By id; at most 400.
    groups: Vec<PlacedGroup>,
    /// Groups beyond those.
    groups_more: u64,
    /// What the cluster moved by itself, newest first.
    moved: Vec<Move>,
    /// What it should do and does not, and why.
    notes: Vec<String>,
}

/// A node, as the map has it and as it is heard.
#[derive(Serialize, ToSchema)]
struct PlacedNode {
    /// Which.
    node: u64,
    /// `host:port`.
    address: String,
    /// Region by number.
    region: u8,
    /// Zone label.
    zone: String,
    /// Host label.
    host: String,
    /// Weight.
    capacity: u32,
    /// Where it stands in its life: `joining`, `up`, `draining`, `left`.
    #[schema(example = "up")]
    state: &'static str,
    /// Whether it is heard: `alive`, `suspect`, `down`.
    #[schema(example = "alive")]
    health: &'static str,
    /// It gives up sessions and leaderships.
    drains: bool,
    /// Room on its disk in bytes, when it told.
    free_bytes: Option<u64>,
    /// Sessions it holds, when it told.
    sessions: Option<u64>,
    /// Replicas that the map gives it.
    replicas: u64,
    /// Groups that it leads.
    leads: u64,
}

/// A group, as the map has it and as its leader says.
#[derive(Serialize, ToSchema)]
struct PlacedGroup {
    /// Which.
    group: u32,
    /// Where its replicas should be.
    replicas: Vec<u64>,
    /// Who should lead it, best first.
    preference: Vec<u64>,
    /// Who leads it, when known.
    leader: Option<u64>,
    /// Who votes, of both sets while they change.
    voters: Vec<u64>,
    /// Members that do not vote.
    learners: Vec<u64>,
    /// Of one replica.
    bytes: u64,
}

/// What should be moved.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Plan {
    /// Of the map that it is a plan of; after it was applied, of the new one.
    version: u64,
    /// At most 400.
    moves: Vec<Move>,
    /// Moves beyond those.
    moves_more: u64,
    /// What is copied in all.
    bytes: u64,
    /// What should be done and cannot be, or not yet, and why.
    notes: Vec<String>,
}

/// One line of a plan.
#[derive(Serialize, ToSchema)]
struct Move {
    /// Of which group.
    group: u32,
    /// What.
    #[schema(example = "move the replica on node 1 to node 4")]
    what: String,
    /// Why.
    #[schema(example = "node 1 is being emptied")]
    why: String,
    /// What is copied.
    bytes: u64,
}

/// Show where groups stand
///
/// Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/layout", tag = "operators", operation_id = "layout",
    responses((status = 200, description = "Nodes, groups, and what was moved lately", body = Layout)),
)]
pub(in super::super) async fn show(State(api): State<Api>, who: Who) -> Result<Json<Layout>, Problem> {
    match ask(&api, &who, LayoutRequest::Show).await? {
        LayoutAnswer::Shown(view) => Ok(Json(Layout::from(view))),
        _ => Err(unexpected()),
    }
}

/// Plan what should be moved
///
/// Nothing is. Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/layout/plan", tag = "operators", operation_id = "layoutPlan",
    responses((status = 200, description = "A line with a reason for each move", body = Plan)),
)]
pub(in super::super) async fn plan(State(api): State<Api>, who: Who) -> Result<Json<Plan>, Problem> {
    match ask(&api, &who, LayoutRequest::Plan).await? {
        LayoutAnswer::Planned(plan) => Ok(Json(Plan::from(plan))),
        _ => Err(unexpected()),
    }
}

/// Which plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Apply {
    /// The version that the plan showed.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    version: u64,
}

/// Carry a plan out
///
/// Refused when the map has changed since the plan was made. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/layout/apply", tag = "operators", operation_id = "applyLayout", request_body = Apply,
    responses((status = 200, description = "What has begun", body = Plan)),
)]
pub(in super::super) async fn apply(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<Apply>) -> Result<Response, Problem> {
    let asked = LayoutRequest::Apply { version: MapEpoch::new(body.value.version) };
    let work = async {
        match ask(&api, &who, asked).await? {
            LayoutAnswer::Planned(plan) => Ok((StatusCode::OK, Plan::from(plan))),
            _ => Err(unexpected()),
        }
    };
    once(&api, who.caller.user, key, body.digest, work).await
}

/// How to empty a node.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Decommission {
    /// Only say what would be moved, or what is in the way.
    #[serde(default)]
    dry_run: bool,
}

/// What emptying a node takes, or what is in the way.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Emptied {
    /// Replicas that go.
    replicas: u64,
    /// What is copied.
    bytes: u64,
    /// How long the copies take, in seconds.
    eta_s: u64,
    /// What is in the way: then nothing was changed.
    blocked: Vec<String>,
}

/// Empty a node for good
///
/// Its replicas are copied to others, then it has left. Where one would have no place nothing is changed, and the answer says what is in the way. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/layout/nodes/{node}/decommission", tag = "operators", operation_id = "decommissionNode", request_body = Decommission,
    params(("node" = u64, Path, description = "The node's id", minimum = 1, maximum = 9_007_199_254_740_991u64)),
    responses((status = 200, description = "It has begun, or what is in the way", body = Emptied)),
)]
pub(in super::super) async fn decommission(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Decommission>,
) -> Result<Response, Problem> {
    let asked = LayoutRequest::Decommission { node: node(&params)?, dry_run: body.value.dry_run };
    let work = async {
        match ask(&api, &who, asked).await? {
            LayoutAnswer::Emptying(Emptying { replicas, bytes, eta_s, .. }) => {
                Ok((StatusCode::OK, Emptied { replicas, bytes, eta_s, blocked: Vec::new() }))
            }
            LayoutAnswer::Blocked(blocked) => Ok((StatusCode::OK, Emptied { replicas: 0, bytes: 0, eta_s: 0, blocked })),
            _ => Err(unexpected()),
        }
    };
    once(&api, who.caller.user, key, body.digest, work).await
}

/// Version of the map after a change.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Changed {
    /// It.
    version: u64,
}

/// Nothing to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Recommission {}

/// Keep a node that is being emptied
///
/// Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/layout/nodes/{node}/recommission", tag = "operators", operation_id = "recommissionNode", request_body = Recommission,
    params(("node" = u64, Path, description = "The node's id", minimum = 1, maximum = 9_007_199_254_740_991u64)),
    responses((status = 200, description = "It stays", body = Changed)),
)]
pub(in super::super) async fn recommission(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Recommission>,
) -> Result<Response, Problem> {
    let asked = LayoutRequest::Recommission { node: node(&params)? };
    let work = async {
        match ask(&api, &who, asked).await? {
            LayoutAnswer::Done { version } => Ok((StatusCode::OK, Changed { version: version.get() })),
            _ => Err(unexpected()),
        }
    };
    once(&api, who.caller.user, key, body.digest, work).await
}

/// Whether to drain.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Drain {
    /// Whether the node gives up sessions and leaderships, or takes them again.
    on: bool,
}

/// What a node that drains still has.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Drained {
    /// Sessions.
    sessions: u64,
    /// Groups that it leads.
    leads: u64,
}

/// Have a node give up sessions and leaderships, or take them again
///
/// Its replicas stay. It ends when the node is started anew. Ask again to see how far it is. Needs an operator's token.
#[utoipa::path(
    put, path = "/v1/layout/nodes/{node}/drain", tag = "operators", operation_id = "drainNode", request_body = Drain,
    params(("node" = u64, Path, description = "The node's id", minimum = 1, maximum = 9_007_199_254_740_991u64)),
    responses((status = 200, description = "What it still has", body = Drained)),
)]
pub(in super::super) async fn drain(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Drain>,
) -> Result<Response, Problem> {
    let asked = LayoutRequest::Drain { node: node(&params)?, on: body.value.on };
    let work = async {
        match ask(&api, &who, asked).await? {
            LayoutAnswer::Draining { sessions, leads } => Ok((StatusCode::OK, Drained { sessions, leads })),
            _ => Err(unexpected()),
        }
    };
    once(&api, who.caller.user, key, body.digest, work).await
}

async fn ask(api: &Api, who: &Who, asked: LayoutRequest) -> Result<LayoutAnswer, Problem> {
    match api.ask(&who.caller, Request::Layout(asked)).await? {
        Answer::Layout(answer) => Ok(answer),
        _ => Err(Problem::from(Code::Internal)),
    }
}

fn node(params: &Params) -> Result<NodeId, Problem> {
    numbered(params, "node").map(NodeId::new)
}

fn numbers(nodes: Vec<NodeId>) -> Vec<u64> {
    nodes.into_iter().map(NodeId::get).collect()
}

impl From<LayoutView> for Layout {
    fn from(view: LayoutView) -> Self {
        let node = |node: LayoutNode| PlacedNode {
            node: node.node.get(),
            address: node.address,
            region: node.region.get(),
            zone: node.zone,
            host: node.host,
            capacity: node.capacity,
            state: match node.state {
                NodeState::Joining => "joining",
                NodeState::Up => "up",
                NodeState::Draining => "draining",
                NodeState::Left => "left",
            },
            health: node.health.name(),
            drains: node.drains,
            free_bytes: node.free_bytes,
            sessions: node.sessions,
            replicas: node.replicas,
            leads: node.leads,
        };
        let group = |group: LayoutGroup| PlacedGroup {
            group: group.group.get(),
            replicas: numbers(group.replicas),
            preference: numbers(group.preference),
            leader: group.leader.map(NodeId::get),
            voters: numbers(group.voters),
            learners: numbers(group.learners),
            bytes: group.bytes,
        };
        Self {
            version: view.version.get(),
            balance: view.balance,
            nodes: view.nodes.into_iter().map(node).collect(),
            groups: view.groups.into_iter().map(group).collect(),
            groups_more: view.groups_more,
            moved: view.moved.into_iter().map(Move::from).collect(),
            notes: view.notes,
        }
    }
}

impl From<LayoutPlan> for Plan {
    fn from(plan: LayoutPlan) -> Self {
        let LayoutPlan { version, moves, moves_more, bytes, notes } = plan;
        Self { version: version.get(), moves: moves.into_iter().map(Move::from).collect(), moves_more, bytes, notes }
    }
}

impl From<LayoutMove> for Move {
    fn from(line: LayoutMove) -> Self {
        let LayoutMove { group, what, why, bytes } = line;
        Self { group: group.get(), what, why, bytes }
    }
}
