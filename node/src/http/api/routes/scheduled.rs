//! Texts that are to be sent later: asked for, listed, taken back.

use axum::{Json, extract::State, http::StatusCode};
use kith_wire::{
    act::{Act, Draft},
    client::{Answer, Request},
    code::Code,
    id::{Seq, Timestamp},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, Params, Who, part, user},
        model::{Scheduled, UserIdText, scheduled_text},
        number,
        problem::Problem,
        unexpected,
    },
    write::{Did, Done, act, channel},
};

/// A text to be sent later.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewScheduled {
    /// When, in milliseconds since 1970: at most a year from now.
    #[serde(deserialize_with = "number::from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    due_ms: u64,
    /// 1 to 100,000 Unicode scalar values; white space is text.
    #[schema(min_length = 1, max_length = 100_000, example = "good morning")]
    text: String,
    /// Seq of the record that this answers.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    reply_to: Option<u64>,
    /// Ids of users that this mentions.
    #[serde(default)]
    #[schema(value_type = Vec<UserIdText>, max_items = 100)]
    mentions: Vec<String>,
    /// Seq of the text that its thread began with.
    #[serde(default, deserialize_with = "number::maybe_from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    thread: Option<u64>,
    /// It ends so many milliseconds after it was written.
    #[serde(default)]
    #[schema(minimum = 1_000, maximum = 31_622_400_000u64)]
    ttl_ms: Option<u64>,
}

/// A text that will be sent.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct ScheduledId {
    /// Takes it back.
    id: String,
}

/// Have a text sent later
///
/// Once, at that time, whatever node dies until then.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/scheduled", tag = "messages", operation_id = "schedule",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    request_body = NewScheduled,
    responses((status = 201, description = "It will be", body = ScheduledId)),
)]
pub(in super::super) async fn schedule(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewScheduled>,
) -> Result<(StatusCode, Json<ScheduledId>), Problem> {
    let NewScheduled { due_ms, text, reply_to, mentions, thread, ttl_ms } = body.value;
    let mentions = mentions.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    let draft = Draft { text, reply_to: reply_to.map(Seq::new), mentions, thread: thread.map(Seq::new), ttl_ms };
    match act(&api, &who, key, &params, Act::Schedule { due: Timestamp::new(due_ms), draft }).await? {
        Did::Kept(id) => Ok((StatusCode::CREATED, Json(ScheduledId { id: scheduled_text(id) }))),
        Did::Record(_) => Err(unexpected()),
    }
}

/// Texts to be sent later.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct AllScheduled {
    /// By when they are due; at most 20.
    scheduled: Vec<Scheduled>,
}

/// List the own texts to be sent later
///
/// And those that were refused when they were due, until they are taken back.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/scheduled", tag = "messages", operation_id = "listScheduled",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    responses((status = 200, description = "All", body = AllScheduled)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who, params: Params) -> Result<Json<AllScheduled>, Problem> {
    let channel = channel(&api, &who, &params).await?;
    match api.ask(&who.caller, Request::GetScheduled { channel }).await? {
        Answer::Scheduled(held) => Ok(Json(AllScheduled { scheduled: held.into_iter().map(Scheduled::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// Take back a text that was to be sent later
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/scheduled/{id}", tag = "messages", operation_id = "unschedule",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("id" = String, Path, description = "Its id", pattern = "^[0-9a-f]{16}$"),
    ),
    responses((status = 200, description = "Taken back", body = Done)),
)]
pub(in super::super) async fn unschedule(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let text = part::<String>(&params, "id")?;
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_hex.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    let id = id.ok_or_else(|| Problem::new(Code::Invalid, "the id of a scheduled text is 16 hexadecimal digits"))?;
    act(&api, &who, key, &params, Act::Unschedule { id }).await
}
