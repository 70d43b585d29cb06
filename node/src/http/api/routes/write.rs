//! Numbered writes to one channel, as callers under a key make them: what was written, or that it was done without a record.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kith_wire::{
    act::{Act, ActWrite},
    client::{Answer, Request},
    id::{ChannelId, ClientSeq},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    Api,
    extract::{Key, Params, Place, Who, part},
    model::Written,
    once::key_or_own,
    problem::Problem,
    unexpected,
};

/// What became of a write.
pub(in super::super) enum Did {
    /// It is a record.
    Record(Written),
    /// It was done without one, or changed nothing.
    Kept(u64),
}

impl IntoResponse for Did {
    fn into_response(self) -> Response {
        match self {
            Self::Record(written) => (StatusCode::CREATED, Json(written)).into_response(),
            Self::Kept(_) => Json(Done {}).into_response(),
        }
    }
}

/// Nothing to tell.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Done {}

/// Does a write to one channel, under its key.
pub(super) async fn write(api: &Api, who: &Who, key: Option<Key>, channel: ChannelId, request: Request) -> Result<Did, Problem> {
    let mut caller = who.caller.clone();
    caller.key = Some(key_or_own(api, key));
    match api.ask(&caller, request).await? {
        Answer::Sent { seq, cnt, ts, .. } => Ok(Did::Record(Written { channel: channel.to_string(), seq: seq.get(), cnt, at_ms: ts.get() })),
        Answer::Kept { id } => Ok(Did::Kept(id)),
        _ => Err(unexpected()),
    }
}

/// Does an act in a channel. What nobody may do anywhere is refused here, before it is carried on.
pub(super) async fn act_in(api: &Api, who: &Who, key: Option<Key>, channel: ChannelId, act: Act) -> Result<Did, Problem> {
    match act.refused() {
        Some(code) => Err(code.into()),
        None => {
            let act = ActWrite { channel, client_seq: UNNUMBERED, settled: UNNUMBERED, act };
            write(api, who, key, channel, Request::Act(act)).await
        }
    }
}

/// Does an act in the channel that the path names.
pub(super) async fn act(api: &Api, who: &Who, key: Option<Key>, params: &Params, act: Act) -> Result<Did, Problem> {
    let channel = channel(api, who, params).await?;
    act_in(api, who, key, channel, act).await
}

/// The channel that the path names.
pub(super) async fn channel(api: &Api, who: &Who, params: &Params) -> Result<ChannelId, Problem> {
    api.channel(who, part::<Place>(params, "channel")?).await
}

/// Callers under a key number nothing; the number that stands here says nothing.
pub(super) const UNNUMBERED: ClientSeq = ClientSeq::new(1);
