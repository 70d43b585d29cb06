//! Admin tokens over HTTP, and how busy the nodes are.

use axum::{
    Json,
    extract::State,
    http::{Extensions, StatusCode, header},
    response::{IntoResponse, Response},
};
use kith_wire::{
    admin::{AdminRole, AdminView},
    client::{Answer, Request},
    code::Code,
    secret::Secret,
    trust::{TokenId, TrustAnswer, TrustRequest},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api, PeerAddress,
        extract::{Body, Digest, Key, NoKey, Params, Who, part},
        once::once,
        problem::Problem,
        unexpected,
    },
    accounts::nobody,
    channels::done,
    write::Done,
};
use crate::{http::Outcome, service::vitals::Vitals};

/// What somebody may do to the cluster; each may do what those before it may.
// In the document it has a name of its own: there is the role of a member too.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = AdminRole)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Role {
    /// Sees how the cluster is, and changes nothing.
    Viewer,
    /// Runs it: layout, drains, reports, bans, webhooks.
    Operator,
    /// All of it: who else may, which nodes join.
    Admin,
}

impl From<AdminRole> for Role {
    fn from(role: AdminRole) -> Self {
        match role {
            AdminRole::Viewer => Self::Viewer,
            AdminRole::Operator => Self::Operator,
            AdminRole::Admin => Self::Admin,
        }
    }
}

impl From<Role> for AdminRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

/// A new admin token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewAdmin {
    /// What it is for.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "grafana")]
    name: String,
    /// What it is good for.
    role: Role,
    /// For how long, in seconds: a year and a day at most.
    #[schema(minimum = 1, maximum = 31_622_400)]
    expires_s: u32,
}

/// What the cluster's first token is turned into.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Claim {
    /// The first token: it is used up.
    #[schema(max_length = 200, example = "kith-first-…")]
    token: String,
    /// What the new one is for.
    #[schema(min_length = 1, max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "ann")]
    name: String,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct MadeToken {
    /// Which.
    #[schema(example = "00c0ffee00c0ffee")]
    id: String,
    /// It; shown with this answer alone.
    token: String,
    /// Its end, in milliseconds since 1970.
    until_ms: u64,
}

/// Admin tokens.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct AdminTokens {
    /// The newest first; those that are over are shown for a week.
    tokens: Vec<ListedAdmin>,
}

/// An admin token; not what it says.
#[derive(Serialize, ToSchema)]
struct ListedAdmin {
    /// Which.
    #[schema(example = "00c0ffee00c0ffee")]
    id: String,
    /// What it is for.
    name: String,
    /// What it is good for.
    role: Role,
    /// What it is now: `good`, `expired`, `revoked`; the cluster's first is `first`, then `used`.
    #[schema(example = "good")]
    state: &'static str,
    /// Who made it; absent: a token of nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The admin token by which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_token: Option<String>,
    /// When it was made, in milliseconds since 1970.
    made_ms: u64,
    /// Its end, in milliseconds since 1970.
    until_ms: u64,
}

/// Make an admin token
///
/// It is shown once: a retry makes another. Needs the role admin.
#[utoipa::path(
    post, path = "/v1/admin-tokens", tag = "operators", operation_id = "makeAdminToken", request_body = NewAdmin,
    responses((status = 201, description = "Made", body = MadeToken)),
)]
pub(in super::super) async fn make(State(api): State<Api>, who: Who, _: NoKey, body: Body<NewAdmin>) -> Result<Response, Problem> {
    let NewAdmin { name, role, expires_s } = body.value;
    let asked = TrustRequest::MakeAdmin { name, role: role.into(), ttl_s: expires_s };
    made(api.ask(&who.caller, Request::Trust(asked)).await?)
}

/// Turn the cluster's first token into an admin token
///
/// The first one was shown to whoever started the cluster, and is used up by this. Shows no other token.
#[utoipa::path(
    post, path = "/v1/admin-tokens/claim", tag = "operators", operation_id = "claimAdminToken", security(()), request_body = Claim,
    responses((status = 201, description = "Made", body = MadeToken)),
)]
pub(in super::super) async fn claim(State(api): State<Api>, extensions: Extensions, _: NoKey, body: Body<Claim>) -> Result<Response, Problem> {
    if let Some(PeerAddress(address)) = extensions.get::<PeerAddress>() {
        api.door.knock(*address)?;
        api.door.guess(*address, FIRST)?;
    }
    let Claim { token, name } = body.value;
    let asked = TrustRequest::ClaimFirst { token: Secret::new(token), name };
    made(api.ask(&nobody(&extensions, None), Request::Trust(asked)).await?)
}

pub(super) fn made(answer: Answer) -> Result<Response, Problem> {
    let Answer::Trust(TrustAnswer::Made { token, id, until }) = answer else { return Err(unexpected()) };
    let body = MadeToken { id: id.to_string(), token: token.reveal().to_owned(), until_ms: until.get() };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// List admin tokens
///
/// Needs the role viewer.
#[utoipa::path(
    get, path = "/v1/admin-tokens", tag = "operators", operation_id = "adminTokens",
    responses((status = 200, description = "All", body = AdminTokens)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who) -> Result<Json<AdminTokens>, Problem> {
    let now = api.clock.now();
    let listed = |view: AdminView| ListedAdmin {
        id: view.id.to_string(),
        state: view.state(now),
        name: view.name,
        role: view.role.into(),
        by: (view.by.get() != 0).then(|| view.by.to_string()),
        by_token: view.by_token.map(|token| token.to_string()),
        made_ms: view.made.get(),
        until_ms: view.until.get(),
    };
    match api.ask(&who.caller, Request::Trust(TrustRequest::Admins)).await? {
        Answer::Trust(TrustAnswer::Admins(admins)) => Ok(Json(AdminTokens { tokens: admins.into_iter().map(listed).collect() })),
        _ => Err(unexpected()),
    }
}

/// End an admin token
///
/// Every node refuses it within seconds. Needs the role admin.
#[utoipa::path(
    delete, path = "/v1/admin-tokens/{token}", tag = "operators", operation_id = "revokeAdminToken",
    params(("token" = String, Path, description = "The token's id", pattern = "^[0-9a-f]{16}$")),
    responses((status = 200, description = "Ended", body = Done)),
)]
pub(in super::super) async fn revoke(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = Request::Trust(TrustRequest::RevokeAdmin { id: part::<TokenId>(&params, "token")? });
    once(&api, who.caller.user, key, digest, done(&api, &who, asked)).await
}

/// How busy the nodes are.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct AllVitals {
    /// The node that was asked.
    asked: u64,
    /// Whether it is ready to serve; one that is cut off from the others is not.
    ready: bool,
    /// Why it is not.
    unready: Vec<String>,
    /// Every node of the map.
    nodes: Vec<NodeVitals>,
}

/// What a node has counted.
#[derive(Serialize, ToSchema)]
struct NodeVitals {
    /// Which.
    node: u64,
    /// Some of its metrics; absent: it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<Vec<Sample>>,
}

/// One number.
#[derive(Serialize, ToSchema)]
#[schema(as = MetricSample)]
struct Sample {
    /// As in `/metrics`.
    #[schema(example = "kith_session_open")]
    name: String,
    /// The upper bound of a histogram's bucket, as it is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    le: Option<String>,
    /// It.
    value: f64,
}

/// How busy are the nodes?
///
/// Some of the metrics of every node that answers, in one answer: what a console plots. Needs the role viewer.
#[utoipa::path(
    get, path = "/v1/vitals", tag = "operators", operation_id = "vitals",
    responses((status = 200, description = "Some metrics of each node", body = AllVitals)),
)]
pub(in super::super) async fn vitals(State(api): State<Api>, who: Who) -> Result<Json<AllVitals>, Problem> {
    if !who.caller.may(AdminRole::Viewer) {
        return Err(Code::NotAdmin.into());
    }
    let asked = api.service.router().node().get();
    let failed = api.health.ready().into_iter().filter(|check| check.outcome != Outcome::Pass);
    let unready: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    let told = api.service.vitals().await;
    let node = |vitals: Vitals| NodeVitals {
        node: vitals.node.get(),
        samples: vitals.samples.map(|samples| {
            let sample = |mut one: crate::service::vitals::Sample| Sample { le: one.labels.remove("le"), name: one.name, value: one.value };
            samples.into_iter().map(sample).collect()
        }),
    };
    Ok(Json(AllVitals { asked, ready: unready.is_empty(), unready, nodes: told.into_iter().map(node).collect() }))
}

/// What guesses at the first token are counted under: there is one, and no name.
const FIRST: &str = "first";
