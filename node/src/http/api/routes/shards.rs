//! Which shard holds which buckets, and their moves, for operators.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{GroupId, NodeId},
    layout::{LayoutAnswer, LayoutGroup, LayoutRequest},
    moving::{BucketRun, LeavingRow},
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

/// Shards, by id.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Shards {
    /// Version of the map.
    version: u64,
    /// At most 400.
    shards: Vec<Shard>,
}

/// A shard: a Raft group, and the buckets that it holds.
#[derive(Serialize, ToSchema)]
struct Shard {
    /// Which.
    shard: u32,
    /// Region by number.
    region: u8,
    /// Who leads it, when known.
    leader: Option<u64>,
    /// How many buckets it holds.
    buckets: u32,
    /// Which, by first one; at most 64 runs.
    runs: Vec<Buckets>,
    /// Of one replica.
    bytes: u64,
    /// What is on its way out.
    moving: Option<Moving>,
}

/// Buckets that follow one another.
#[derive(Serialize, ToSchema)]
struct Buckets {
    /// First bucket.
    first: u16,
    /// Last bucket, inclusive.
    last: u16,
}

/// Buckets on their way from one shard to another.
#[derive(Serialize, ToSchema)]
struct Moving {
    /// Which.
    buckets: Buckets,
    /// To which shard.
    to: u32,
    /// How far: `copying`, `handed over`, `sweeping`, `cancelled`.
    #[schema(example = "copying")]
    phase: &'static str,
}

/// Show the shards
///
/// Who holds which buckets, and what is on the way. Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/shards", tag = "operators", operation_id = "shards",
    responses((status = 200, description = "Shards, and what is on the way", body = Shards)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who) -> Result<Json<Shards>, Problem> {
    match ask(&api, &who, LayoutRequest::Show).await? {
        LayoutAnswer::Shown(view) => {
            let shards = view.groups.into_iter().filter(|group| group.group != GroupId::META).map(Shard::from);
            Ok(Json(Shards { version: view.version.get(), shards: shards.collect() }))
        }
        _ => Err(unexpected()),
    }
}

/// What to move, and where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct MoveBuckets {
    /// To this shard; without it to the one of the region that has the fewest buckets.
    #[serde(default)]
    #[schema(minimum = 1)]
    to: Option<u32>,
    /// The first of the buckets that go; without it and `last`, half of the shard's.
    #[serde(default)]
    first: Option<u16>,
    /// The last of them.
    #[serde(default)]
    last: Option<u16>,
}

/// A move.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct BucketMove {
    /// From which shard.
    from: u32,
    /// To which.
    to: u32,
    /// Which buckets.
    buckets: Buckets,
}

/// Move buckets of a shard to another one
///
/// They are served while they are copied; for a moment in the end their writes wait. `GET /v1/shards` tells when it is over. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/shards/{shard}/move", tag = "operators", operation_id = "moveBuckets", request_body = MoveBuckets,
    params(("shard" = u32, Path, description = "The shard that gives buckets away", minimum = 1)),
    responses((status = 200, description = "It has begun", body = BucketMove)),
)]
pub(in super::super) async fn begin(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<MoveBuckets>,
) -> Result<Response, Problem> {
    let from = shard(&params)?;
    let work = async {
        let run = match (body.value.first, body.value.last) {
            (None, None) => None,
            (Some(first), Some(last)) => Some(BucketRun { region: region(&api, &who, from).await?, first, last }),
            _ => return Err(Problem::new(Code::Invalid, "`first` and `last` come together, or not at all".to_owned())),
        };
        moved(&api, &who, LayoutRequest::MoveBuckets { from, run, to: body.value.to.map(GroupId::new) }).await
    };
    once(&api, who.caller.user, key, body.digest, work).await
}

/// Nothing to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct CancelMove {}

/// Give up the move out of a shard
///
/// As long as its buckets have not been handed over; they stay where they are. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/shards/{shard}/cancel", tag = "operators", operation_id = "cancelMove", request_body = CancelMove,
    params(("shard" = u32, Path, description = "The shard that was to give buckets away", minimum = 1)),
    responses((status = 200, description = "What was given up", body = BucketMove)),
)]
pub(in super::super) async fn cancel(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<CancelMove>,
) -> Result<Response, Problem> {
    let from = shard(&params)?;
    let work = async { moved(&api, &who, LayoutRequest::CancelMove { from }).await };
    once(&api, who.caller.user, key, body.digest, work).await
}

async fn moved(api: &Api, who: &Who, asked: LayoutRequest) -> Result<(StatusCode, BucketMove), Problem> {
    match ask(api, who, asked).await? {
        LayoutAnswer::Moving { from, run, to } => Ok((StatusCode::OK, BucketMove { from: from.get(), to: to.get(), buckets: run.into() })),
        _ => Err(unexpected()),
    }
}

async fn region(api: &Api, who: &Who, from: GroupId) -> Result<kith_wire::id::RegionId, Problem> {
    let LayoutAnswer::Shown(view) = ask(api, who, LayoutRequest::Show).await? else { return Err(unexpected()) };
    let found = view.groups.iter().find(|group| group.group == from).map(|group| group.region);
    found.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no shard {from}")))
}

async fn ask(api: &Api, who: &Who, asked: LayoutRequest) -> Result<LayoutAnswer, Problem> {
    match api.ask(&who.caller, Request::Layout(asked)).await? {
        Answer::Layout(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

fn shard(params: &Params) -> Result<GroupId, Problem> {
    let number = numbered(params, "shard")?;
    u32::try_from(number).map(GroupId::new).map_err(|_| Problem::new(Code::NotFound, format!("there is no shard {number}")))
}

impl From<BucketRun> for Buckets {
    fn from(run: BucketRun) -> Self {
        Self { first: run.first, last: run.last }
    }
}

impl From<LayoutGroup> for Shard {
    fn from(group: LayoutGroup) -> Self {
        let moving = |row: LeavingRow| Moving { buckets: row.run.into(), to: row.to.get(), phase: row.phase.name() };
        Self {
            shard: group.group.get(),
            region: group.region.get(),
            leader: group.leader.map(NodeId::get),
            buckets: group.buckets,
            runs: group.runs.into_iter().map(Buckets::from).collect(),
            bytes: group.bytes,
            moving: group.leaving.map(moving),
        }
    }
}
