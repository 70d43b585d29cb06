//! How far an upgrade is, and finalizing it, for operators.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    layout::{LayoutAnswer, LayoutRequest},
    upgrade::{ClusterVersion, UpgradeNode, UpgradeView},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    Api,
    extract::{Body, Key, Who},
    once::once,
    problem::Problem,
    unexpected,
};

/// Where the cluster stands between two releases.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Upgrade {
    /// The version that the cluster is at: what its nodes may do together.
    version: u32,
    /// The one that it can go to, if some node's build knows it.
    next: Option<u32>,
    /// What is in the way, in words; with none the next version can be finalized.
    blockers: Vec<String>,
    /// The cluster finalizes by itself.
    by_itself: bool,
    /// In so many seconds, if nothing comes in the way.
    in_s: Option<u64>,
    /// By id.
    nodes: Vec<Built>,
}

/// A node's build.
#[derive(Serialize, ToSchema)]
struct Built {
    /// Which node.
    node: u64,
    /// Its build, as people call it; empty when the node was not heard lately.
    #[schema(example = "0.1.0")]
    build: String,
    /// The newest cluster version that the build knows, when it told.
    knows: Option<u32>,
    /// The cluster version that it has noted on its disk, when it is heard: older builds do not start there.
    noted: Option<u32>,
    /// Whether it is heard: `alive`, `suspect`.
    #[schema(example = "alive")]
    health: &'static str,
}

/// Show how far an upgrade is
///
/// Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/upgrade", tag = "operators", operation_id = "upgrade",
    responses((status = 200, description = "The cluster's version, the nodes' builds, what is in the way", body = Upgrade)),
)]
pub(in super::super) async fn show(State(api): State<Api>, who: Who) -> Result<Json<Upgrade>, Problem> {
    Ok(Json(ask(&api, &who, LayoutRequest::Upgrade).await?))
}

/// Which version.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Finalize {
    /// The next one.
    #[schema(minimum = 1)]
    version: u32,
}

/// Go to the next version
///
/// What it brings is used from then on, and older builds do not start any more. Again is no change. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/upgrade/finalize", tag = "operators", operation_id = "finalizeUpgrade", request_body = Finalize,
    responses((status = 200, description = "The cluster is at it", body = Upgrade)),
)]
pub(in super::super) async fn finalize(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<Finalize>) -> Result<Response, Problem> {
    let asked = LayoutRequest::Finalize { to: ClusterVersion::new(body.value.version) };
    let work = async { Ok((StatusCode::OK, ask(&api, &who, asked).await?)) };
    once(&api, who.caller.user, key, body.digest, work).await
}

async fn ask(api: &Api, who: &Who, asked: LayoutRequest) -> Result<Upgrade, Problem> {
    match api.ask(&who.caller, Request::Layout(asked)).await? {
        Answer::Layout(LayoutAnswer::Upgrading(view)) => Ok(Upgrade::from(view)),
        Answer::Layout(_) => Err(unexpected()),
        _ => Err(Problem::from(Code::Internal)),
    }
}

impl From<UpgradeView> for Upgrade {
    fn from(view: UpgradeView) -> Self {
        let built = |node: UpgradeNode| Built {
            node: node.node.get(),
            build: node.build,
            knows: (node.version > ClusterVersion::default()).then(|| node.version.get()),
            noted: node.noted.map(ClusterVersion::get),
            health: node.health.name(),
        };
        Self {
            version: view.version.get(),
            next: view.next.map(ClusterVersion::get),
            blockers: view.blockers,
            by_itself: view.by_itself,
            in_s: view.in_s,
            nodes: view.nodes.into_iter().map(built).collect(),
        }
    }
}
