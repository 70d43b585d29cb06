//! The cluster: where to go, what its errors mean, how it is.

use std::net::{IpAddr, Ipv4Addr};

use axum::{
    Json,
    extract::State,
    http::{Extensions, header},
    response::{IntoResponse, Response},
};
use kith_wire::{
    client::{Answer, ClusterStatus, ReplicaCondition, Request},
    code::Code,
    id::{NodeId, RegionId},
    limit,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api, PeerAddress,
    extract::{Params, Query, Who, part},
    model::Node,
    problem::{Problem, RetryClass, status as status_of},
    unexpected,
};

/// Who looks for a node.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NearestParams {
    /// What the asker measured: a node, a colon, and milliseconds there and back; for each of at most 64 nodes, with commas between.
    #[param(max_length = 2_048, pattern = "^[0-9]{1,15}:[0-9]{1,9}(,[0-9]{1,15}:[0-9]{1,9}){0,63}$", example = "1:24,2:130")]
    measured: Option<String>,
    /// Where the asker is thought to be, as long as it has measured nothing; unless said, where the answering node is.
    #[param(minimum = 0, maximum = 255)]
    region: Option<u8>,
}

/// Nodes that clients can go to.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Nodes {
    /// Best first, at most 8.
    nodes: Vec<Node>,
}

/// Where is a session held best?
///
/// The nearest by what was measured, in steps of 20 ms; of those the ones with most room. Nodes that are full, are being emptied or are not heard are not among
/// them. Needs no token.
#[utoipa::path(
    get, path = "/v1/nodes", tag = "cluster", operation_id = "discover", security(()), params(NearestParams),
    responses((status = 200, description = "Nodes, best first", body = Nodes)),
)]
pub(in super::super) async fn nodes(
    State(api): State<Api>,
    extensions: Extensions,
    Query(asked): Query<NearestParams>,
) -> Result<Json<Nodes>, Problem> {
    let from = extensions.get::<PeerAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |PeerAddress(from)| *from);
    let measured = asked.measured.as_deref().map(parse_measured).transpose()?.unwrap_or_default();
    let edges = api.service.nearest().stranger(from, measured, asked.region.map(RegionId::new));
    Ok(Json(Nodes { nodes: edges.into_iter().map(Node::from).collect() }))
}

/// Nodes and milliseconds.
pub(in super::super) fn parse_measured(text: &str) -> Result<Vec<(NodeId, u32)>, Problem> {
    let malformed =
        || Problem::new(Code::Invalid, "measured is a node, a colon and milliseconds, for each of at most 64 nodes, with commas between: 1:24,2:130");
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let one = |pair: &str| {
        let (node, ms) = pair.split_once(':').filter(|(node, ms)| digits(node, 15) && digits(ms, 9))?;
        Some((NodeId::new(node.parse().ok()?), ms.parse().ok()?))
    };
    let pairs: Option<Vec<_>> = text.split(',').map(one).collect();
    pairs.filter(|pairs| pairs.len() <= limit::MEASURED_MAX).ok_or_else(malformed)
}

/// As [`parse_measured`] reads it.
pub(in super::super) fn measured_text(measured: &[(NodeId, u32)]) -> String {
    measured.iter().map(|(node, ms)| format!("{node}:{ms}")).collect::<Vec<_>>().join(",")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_pairs_and_nothing_else() {
        assert_eq!(parse_measured("1:24,2:130").unwrap(), [(NodeId::new(1), 24), (NodeId::new(2), 130)]);
        let most = vec!["1:2"; limit::MEASURED_MAX].join(",");
        assert!(parse_measured(&most).is_ok());
        for wrong in ["", "1", "1:", ":1", "1:+2", "1:2,", "1:2 ", "1:1000000000", &format!("{most},1:2")] {
            assert_eq!(parse_measured(wrong).unwrap_err().code, Code::Invalid, "{wrong}");
        }
    }
}
