//! Tokens by which nodes join, for operators: making one, which is shown once, which there are, and ending one.

use axum::{Json, extract::State, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{NodeId, RegionId},
    trust::{JoinView, TokenId, TrustAnswer, TrustRequest},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, NoKey, Params, Who, part},
        once::once,
        problem::Problem,
        unexpected,
    },
    admins::{MadeToken, made},
    channels::done,
    write::Done,
};

/// Tokens by which nodes join.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct JoinTokens {
    /// The newest first; those that are over are shown for a week.
    tokens: Vec<ListedToken>,
}

/// A token; not what it says.
#[derive(Serialize, ToSchema)]
struct ListedToken {
    /// Which.
    #[schema(example = "00c0ffee00c0ffee")]
    id: String,
    /// What it is now: `good`, `used`, `revoked`, `expired`.
    #[schema(example = "good")]
    state: &'static str,
    /// Who made it; absent: a token of nobody.
    by: Option<String>,
    /// When it was made, in milliseconds since 1970.
    made_ms: u64,
    /// Its end, in milliseconds since 1970.
    until_ms: u64,
    /// Where the node is to stand; absent: it says so itself.
    region: Option<u8>,
    /// As above; empty: it says so itself.
    zone: String,
    /// As above.
    host: String,
    /// Whose place the node takes.
    replaces: Option<u64>,
    /// The node that joined by it.
    node: Option<u64>,
}

/// A new token by which a node joins.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewJoin {
    /// For how long, in seconds: a week at most.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_s: u32,
    /// Where the node is to stand; absent: it says so itself.
    region: Option<u8>,
    /// As above.
    #[serde(default)]
    #[schema(max_length = 64)]
    zone: String,
    /// As above.
    #[serde(default)]
    #[schema(max_length = 64)]
    host: String,
    /// The node takes the place of this one, which is gone.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    replaces: Option<u64>,
}

/// Make a token by which a node joins
///
/// It lets one node in, once, and is shown once: a retry makes another. Needs the role admin.
#[utoipa::path(
    post, path = "/v1/join-tokens", tag = "operators", operation_id = "makeJoinToken", request_body = NewJoin,
    responses((status = 201, description = "Made", body = MadeToken)),
)]
pub(in super::super) async fn make(State(api): State<Api>, who: Who, _: NoKey, body: Body<NewJoin>) -> Result<Response, Problem> {
    let NewJoin { expires_s, region, zone, host, replaces } = body.value;
    if zone.chars().count().max(host.chars().count()) > LABEL_CHARS_MAX {
        return Err(Problem::new(Code::Invalid, format!("zone and host have at most {LABEL_CHARS_MAX} characters")));
    }
    let (region, replaces) = (region.map(RegionId::new), replaces.map(NodeId::new));
    let asked = TrustRequest::MakeJoin { ttl_s: expires_s, region, zone, host, replaces };
    made(api.ask(&who.caller, Request::Trust(asked)).await?)
}

/// List tokens by which nodes join
///
/// Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/join-tokens", tag = "operators", operation_id = "joinTokens",
    responses((status = 200, description = "All", body = JoinTokens)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who) -> Result<Json<JoinTokens>, Problem> {
    let now = api.clock.now();
    let listed = |join: JoinView| ListedToken {
        id: join.id.to_string(),
        state: join.state(now),
        by: (join.by.get() != 0).then(|| join.by.to_string()),
        made_ms: join.made.get(),
        until_ms: join.until.get(),
        region: join.region.map(RegionId::get),
        zone: join.zone,
        host: join.host,
        replaces: join.replaces.map(NodeId::get),
        node: join.node.map(NodeId::get),
    };
    match api.ask(&who.caller, Request::Trust(TrustRequest::Joins)).await? {
        Answer::Trust(TrustAnswer::Joins(joins)) => Ok(Json(JoinTokens { tokens: joins.into_iter().map(listed).collect() })),
        _ => Err(unexpected()),
    }
}

/// End a token by which a node joins
///
/// Nobody joins by it any more; one that was used is refused. Needs an operator's token.
#[utoipa::path(
    delete, path = "/v1/join-tokens/{token}", tag = "operators", operation_id = "revokeJoinToken",
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
    let asked = Request::Trust(TrustRequest::RevokeJoin { id: part::<TokenId>(&params, "token")? });
    once(&api, who.caller.user, key, digest, done(&api, &who, asked)).await
}

/// Of a label, in Unicode scalar values: as many bytes as they may be, the map has room for.
const LABEL_CHARS_MAX: usize = 64;
