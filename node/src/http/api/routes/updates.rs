//! What has changed: asked for again and again, or listened to.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use kith_wire::{code::Code, id::UserRev, limit};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        Api,
        cursor::IndexCursor,
        events,
        extract::{Query, Who},
        model::{Channel, Sync},
        problem::Problem,
        sync,
    },
    messages::page_limit,
    presence::user_ids,
};

/// From where, and how long to wait.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SyncParams {
    /// The `cursor` of the answer before; without one everything has changed.
    #[param(pattern = "^(s[0-9a-f]{1,16}|p[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})$")]
    cursor: Option<String>,
    /// When nothing has changed: wait for so many seconds until something does.
    #[param(maximum = 60)]
    wait_s: Option<u64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// What has changed since?
///
/// Conversations that have changed since the cursor, the last changed first; then ask for their messages above the seq that you have. With
/// `wait_s` the answer waits until there is one (a long poll). Any node takes any cursor.
#[utoipa::path(
    get, path = "/v1/sync", tag = "updates", operation_id = "sync", params(SyncParams),
    responses((status = 200, description = "What has changed", body = Sync)),
)]
pub(in super::super) async fn sync(State(api): State<Api>, who: Who, Query(asked): Query<SyncParams>) -> Result<Json<Sync>, Problem> {
    let cursor = asked.cursor.as_deref().map_or(Ok(IndexCursor::At(UserRev::ZERO)), str::parse)?;
    let most = match asked.wait_s.unwrap_or(0) {
        seconds if seconds <= WAIT_MAX_S => Duration::from_secs(seconds),
        _ => return Err(Problem::new(Code::Invalid, format!("wait_s ends at {WAIT_MAX_S}"))),
    };
    let limit = page_limit(asked.limit, limit::PAGE_ROWS_MAX)?;
    let round = sync::wait(&api, &who, cursor, limit, most).await?;
    let channels = round.rows.iter().map(|row| Channel::of(row, who.caller.user)).collect();
    Ok(Json(Sync { channels, cursor: round.next.to_string(), more: round.more() }))
}

/// From where.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct EventsParams {
    /// The `cursor` of an answer, or the id of the last event that was dealt with; the header `Last-Event-ID` wins over it. Without one the stream
    /// begins with everything.
    #[param(pattern = "^(s[0-9a-f]{1,16}|p[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})$")]
    cursor: Option<String>,
    /// Ids of users, separated by commas; at most 200: how they are comes as `presence`, at once and with each change.
    #[param(example = "u00f3a1b2c3d4e5f6", pattern = "^u[0-9a-fA-F]{16}(,u[0-9a-fA-F]{16}){0,199}$")]
    watch: Option<String>,
}

/// Listen
///
/// Server-sent events. First what has changed since the cursor, then what happens: `message` (a record, as it is written), `channel` (a conversation
/// that has changed), `receipt`, `typing` (ends by itself after six seconds), `presence` (of those in `watch`), and `cursor` (all up to here was told; its id is where to go on). A message may be missing, never its
/// channel's change: read the messages above the seq that you have. The stream ends with `end`, at the latest when the token does.
#[utoipa::path(
    get, path = "/v1/events", tag = "updates", operation_id = "events",
    params(EventsParams, ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event that was dealt with", pattern = "^(s[0-9a-f]{1,16}|p[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{1,16})$")),
    responses((status = 200, description = "Events", content_type = "text/event-stream", body = String)),
)]
pub(in super::super) async fn events(
    State(api): State<Api>,
    who: Who,
    headers: HeaderMap,
    Query(asked): Query<EventsParams>,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let cursor = last.or(asked.cursor.as_deref()).map_or(Ok(IndexCursor::At(UserRev::ZERO)), str::parse)?;
    let watch = asked.watch.as_deref().map_or(Ok(Vec::new()), user_ids)?;
    Ok(events::stream(api, who, cursor, watch).await?.into_response())
}

/// A longer wait is cut by what stands between.
const WAIT_MAX_S: u64 = 60;
