//! The cluster: where to go, what its errors mean, how it is.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use kith_wire::{
    client::{Answer, ClusterStatus, ReplicaCondition, Request},
    code::Code,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    Api,
    extract::{Params, Who, part},
    model::Node,
    problem::{Problem, RetryClass, status as status_of},
    unexpected,
};
use crate::service::status;

/// Nodes that clients can go to.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Nodes {
    /// Best first, at most 8.
    nodes: Vec<Node>,
}

/// Where can a session be held?
///
/// Needs no token.
#[utoipa::path(
    get, path = "/v1/nodes", tag = "cluster", operation_id = "discover", security(()),
    responses((status = 200, description = "Nodes, best first", body = Nodes)),
)]
pub(in super::super) async fn nodes(State(api): State<Api>) -> Result<Json<Nodes>, Problem> {
    match status::edges(api.service.router()) {
        Answer::Edges(edges) => Ok(Json(Nodes { nodes: edges.into_iter().map(Node::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// What an error means.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Meaning {
    /// Its stable number.
    code: u16,
    /// Its name.
    name: &'static str,
    /// What happened.
    title: &'static str,
    /// What to do.
    retry: RetryClass,
    /// The HTTP status that it usually comes with.
    status: u16,
}

/// What does an error mean?
///
/// Needs no token.
#[utoipa::path(
    get, path = "/v1/problems/{code}", tag = "cluster", operation_id = "problem", security(()),
    params(("code" = u16, Path, description = "Kith's stable number", maximum = 65_535, example = 3001)),
    responses((status = 200, description = "Its meaning", body = Meaning)),
)]
pub(in super::super) async fn problem(params: Params) -> Result<Json<Meaning>, Problem> {
    match Code::from_number(part(&params, "code")?) {
        Code::Unknown(_) => Err(Problem::new(Code::NotFound, "there is no such error")),
        code => Ok(Json(Meaning {
            code: code.number(),
            name: code.name(),
            title: code.text(),
            retry: RetryClass::of(code),
            status: status_of(code).as_u16(),
        })),
    }
}

/// This document
///
/// OpenAPI 3.1. Needs no token.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "cluster", operation_id = "openapi", security(()),
    responses((status = 200, description = "The document", body = Object)),
)]
pub(in super::super) async fn openapi(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.document.clone()).into_response()
}

/// The cluster, as an operator sees it.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Cluster {
    /// Its id.
    cluster: String,
    /// Version of the map that the answering node has.
    map_epoch: u64,
    /// Every node of the map.
    nodes: Vec<NodeState>,
    /// Every group of the map, with each replica that answered.
    groups: Vec<GroupState>,
}

/// A node, as an operator sees it.
#[derive(Serialize, ToSchema)]
struct NodeState {
    /// Which.
    node: u64,
    /// `host:port`.
    address: String,
    /// Zone label.
    zone: String,
    /// Whether the answering node hears it.
    alive: bool,
    /// Sessions it holds, when it answered.
    sessions: Option<u64>,
    /// Resident memory in bytes, when it answered.
    rss_bytes: Option<u64>,
}

/// A group, as an operator sees it.
#[derive(Serialize, ToSchema)]
struct GroupState {
    /// Which.
    group: u32,
    /// Who leads, when known.
    leader: Option<u64>,
    /// Term of that leader.
    term: u64,
    /// Every replica that answered.
    replicas: Vec<ReplicaState>,
}

/// A replica, as an operator sees it.
#[derive(Serialize, ToSchema)]
struct ReplicaState {
    /// Where.
    node: u64,
    /// Last index applied.
    applied: u64,
    /// Last index in its log.
    last: u64,
    /// First bytes of the digest at `applied`: equal on all at an equal index.
    digest: String,
    /// Whether it can be relied on.
    condition: Condition,
}

/// Whether a replica takes part.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Condition {
    /// It does.
    Sound,
    /// Its data is damaged.
    Quarantined,
    /// It is being rebuilt from its peers.
    Rebuilding,
    /// It has stopped with an error.
    Failed,
}

/// How is the cluster?
///
/// Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/status", tag = "operators", operation_id = "status",
    responses((status = 200, description = "Nodes, groups and replicas", body = Cluster)),
)]
pub(in super::super) async fn status(State(api): State<Api>, who: Who) -> Result<Json<Cluster>, Problem> {
    match api.ask(&who.caller, Request::Status).await? {
        Answer::Status(status) => Ok(Json(Cluster::from(status))),
        _ => Err(unexpected()),
    }
}

impl From<ClusterStatus> for Cluster {
    fn from(status: ClusterStatus) -> Self {
        let nodes = status.nodes.into_iter().map(|node| NodeState {
            node: node.node.get(),
            address: node.address,
            zone: node.zone,
            alive: node.alive,
            sessions: node.sessions,
            rss_bytes: node.rss_bytes,
        });
        let replica = |replica: kith_wire::client::ReplicaStatus| ReplicaState {
            node: replica.node.get(),
            applied: replica.applied,
            last: replica.last,
            digest: format!("{:016x}", replica.digest),
            condition: match replica.condition {
                ReplicaCondition::Sound => Condition::Sound,
                ReplicaCondition::Quarantined => Condition::Quarantined,
                ReplicaCondition::Rebuilding => Condition::Rebuilding,
                ReplicaCondition::Failed => Condition::Failed,
            },
        };
        let groups = status.groups.into_iter().map(|group| GroupState {
            group: group.group,
            leader: group.leader.map(|node| node.get()),
            term: group.term,
            replicas: group.replicas.into_iter().map(replica).collect(),
        });
        Self { cluster: status.cluster.to_string(), map_epoch: status.map_epoch, nodes: nodes.collect(), groups: groups.collect() }
    }
}
