//! The conversation list, one conversation, and positions in it.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    id::{UserRev, hash},
    limit,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        cursor::IndexCursor,
        extract::{Body, Key, Params, Query, Who, user},
        model::{Channel, Channels, Position, Room, UserIdText},
        once::once,
        problem::Problem,
        sync, unexpected,
    },
    messages::page_limit,
    write::{Done, channel},
};
use crate::clock;

/// Which conversations.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ListParams {
    /// Where a page before this one ended: its `next`.
    #[param(pattern = "^(s[0-9a-f]{1,16}|p[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})$")]
    cursor: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// List the own conversations
///
/// The last changed first, each with its head, what is unread, and the start of the last text.
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", operation_id = "listChannels", params(ListParams),
    responses((status = 200, description = "A page", body = Channels)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who, Query(asked): Query<ListParams>) -> Result<Json<Channels>, Problem> {
    let cursor = asked.cursor.as_deref().map_or(Ok(IndexCursor::At(UserRev::ZERO)), str::parse)?;
    let round = sync::page(&api, &who.caller, cursor, page_limit(asked.limit, limit::PAGE_ROWS_MAX)?).await?;
    let next = round.more().then(|| round.next.to_string());
    let channels = round.rows.iter().map(|row| Channel::of(row, who.caller.user)).collect();
    Ok(Json(Channels { channels, next }))
}

/// Look at a conversation
///
/// Its title, its members, and how far each of them has got and read.
#[utoipa::path(
    get, path = "/v1/channels/{channel}", tag = "channels", operation_id = "getChannel",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    responses((status = 200, description = "The conversation", body = Room)),
)]
pub(in super::super) async fn get(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Room>, Problem> {
    let channel = channel(&api, &who, &params).await?;
    match api.ask(&who.caller, Request::GetChannel { channel }).await? {
        Answer::Channel(view) => Ok(Json(view.into())),
        _ => Err(unexpected()),
    }
}

/// A group to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewGroup {
    /// At most 200 characters.
    #[schema(max_length = 200, example = "chess")]
    title: String,
    /// Ids of members besides the one who makes it; at most 99.
    #[serde(default)]
    #[schema(value_type = Vec<UserIdText>, max_items = 99)]
    members: Vec<String>,
}

/// A group that was made.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct NewChannel {
    /// Its id.
    channel: String,
    /// Seq of the record that says so.
    seq: u64,
}

/// Make a group
#[utoipa::path(
    post, path = "/v1/channels", tag = "channels", operation_id = "createGroup", request_body = NewGroup,
    responses((status = 201, description = "Made", body = NewChannel)),
)]
pub(in super::super) async fn create(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<NewGroup>) -> Result<Response, Problem> {
    let NewGroup { title, members } = body.value;
    let members = members.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    // The same key is the same group, even where the node that made it is gone before it could say so.
    let op = key.map_or_else(clock::draw, |Key(key)| hash(&[b"kith/http/op/1", key.as_bytes()]));
    once(&api, who.caller.user, key, body.digest, async {
        match api.ask(&who.caller, Request::CreateGroup { op, title, members }).await? {
            Answer::Created { channel, seq } => Ok((StatusCode::CREATED, NewChannel { channel: channel.to_string(), seq: seq.get() })),
            _ => Err(unexpected()),
        }
    })
    .await
}

/// Move the own read position
///
/// Forwards only: an earlier one changes nothing. The other members see it.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/read", tag = "channels", operation_id = "markRead",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    request_body = Position,
    responses((status = 200, description = "Moved", body = Done)),
)]
pub(in super::super) async fn read(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Position>,
) -> Result<Response, Problem> {
    let channel = channel(&api, &who, &params).await?;
    let read = body.value.into();
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::MarkRead { channel, read })).await
}

/// Move the own delivered position
///
/// Forwards only. The other members see it.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/delivered", tag = "channels", operation_id = "markDelivered",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    request_body = Position,
    responses((status = 200, description = "Noted", body = Done)),
)]
pub(in super::super) async fn delivered(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Position>,
) -> Result<Response, Problem> {
    let channel = channel(&api, &who, &params).await?;
    let delivered = body.value.into();
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::Delivered { channel, delivered })).await
}

/// Asks for what has no answer of its own.
pub(super) async fn done(api: &Api, who: &Who, request: Request) -> Result<(StatusCode, Done), Problem> {
    api.ask(&who.caller, request).await.map(|_| (StatusCode::OK, Done {}))
}
