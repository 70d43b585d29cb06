//! What is done about one record: reading it, editing, deleting, reacting, pinning, forwarding, who has seen it; and that somebody types.

use axum::{Json, extract::State};
use kith_wire::{
    act::Act,
    client::{Answer, HistoryQuery, Page, Pull, Request},
    code::Code,
    id::Seq,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, NoKey, Params, Place, Who, part, seq, user},
        model::{Message, Reaction, UserIdText, Written, messages, texts},
        number,
        problem::Problem,
        unexpected,
    },
    write::{Did, Done, act, channel},
};

/// Read one record
#[utoipa::path(
    get, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "getMessage",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "Its place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 200, description = "The record", body = Message)),
)]
pub(in super::super) async fn get(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Message>, Problem> {
    let (channel, seq) = (channel(&api, &who, &params).await?, seq(&params)?);
    let query = HistoryQuery {
        channel,
        first: seq,
        last: seq,
        newest_first: false,
        limit: 1,
        min_seq: Seq::ZERO,
        replica: None,
        linearizable: true,
        place: None,
    };
    match api.pull(&who.caller, Pull::History(query)).await? {
        Page::History(page) => messages(&page).pop().map(Json).ok_or_else(|| Code::NotFound.into()),
        _ => Err(unexpected()),
    }
}

/// What a text is to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewText {
    /// 1 to 100,000 Unicode scalar values.
    #[schema(min_length = 1, max_length = 100_000, example = "hello again")]
    text: String,
    /// Ids of users that it mentions: all, not only new ones.
    #[serde(default)]
    #[schema(value_type = Vec<UserIdText>, max_items = 100)]
    mentions: Vec<String>,
}

/// Edit an own text
///
/// A record that says so; what it said before is nowhere any more.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "editMessage",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The text's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    request_body = NewText,
    responses((status = 201, description = "Edited", body = Written)),
)]
pub(in super::super) async fn edit(State(api): State<Api>, who: Who, key: Option<Key>, params: Params, body: Body<NewText>) -> Result<Did, Problem> {
    let NewText { text, mentions } = body.value;
    let mentions = mentions.iter().map(|text| user(text)).collect::<Result<_, _>>()?;
    act(&api, &who, key, &params, Act::Edit { target: seq(&params)?, text, mentions }).await
}

/// Delete a text for everyone
///
/// An own one; in a group an admin any. Its place stays.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", operation_id = "deleteMessage",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The text's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 201, description = "Deleted", body = Written)),
)]
pub(in super::super) async fn delete(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::Delete { target: seq(&params)? }).await
}

/// Reactions to a record.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Reactions {
    /// Sorted by emoji.
    reactions: Vec<Reaction>,
}

/// Who reacted to a record?
#[utoipa::path(
    get, path = "/v1/channels/{channel}/messages/{seq}/reactions", tag = "messages", operation_id = "reactions",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The record's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 200, description = "Who, and how", body = Reactions)),
)]
pub(in super::super) async fn reactions(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Reactions>, Problem> {
    let (channel, seq) = (channel(&api, &who, &params).await?, seq(&params)?);
    match api.ask(&who.caller, Request::GetReactions { channel, seq }).await? {
        Answer::Reactions(reactions) => Ok(Json(Reactions { reactions: reactions.into_iter().map(Reaction::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// React to a record
///
/// A record that says so, unless this user has given it the same emoji before.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/messages/{seq}/reactions/{emoji}", tag = "messages", operation_id = "react",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The record's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
        ("emoji" = String, Path, description = "At most 64 bytes, without blanks, percent-encoded", min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028-\\u202f\\u205f\\u2066-\\u2069\\u3000]+$", example = "👍"),
    ),
    responses((status = 201, description = "Given", body = Written), (status = 200, description = "It was there before", body = Done)),
)]
pub(in super::super) async fn react(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::React { target: seq(&params)?, emoji: part(&params, "emoji")?, on: true }).await
}

/// Take a reaction back
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/messages/{seq}/reactions/{emoji}", tag = "messages", operation_id = "unreact",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The record's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
        ("emoji" = String, Path, description = "At most 64 bytes, without blanks, percent-encoded", min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028-\\u202f\\u205f\\u2066-\\u2069\\u3000]+$", example = "👍"),
    ),
    responses((status = 201, description = "Taken back", body = Written), (status = 200, description = "It was not there", body = Done)),
)]
pub(in super::super) async fn unreact(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::React { target: seq(&params)?, emoji: part(&params, "emoji")?, on: false }).await
}

/// Pin a text
#[utoipa::path(
    put, path = "/v1/channels/{channel}/pins/{seq}", tag = "messages", operation_id = "pin",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The text's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 201, description = "Pinned", body = Written), (status = 200, description = "It was before", body = Done)),
)]
pub(in super::super) async fn pin(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::Pin { target: seq(&params)?, on: true }).await
}

/// Unpin a text
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/pins/{seq}", tag = "messages", operation_id = "unpin",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The text's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 201, description = "Unpinned", body = Written), (status = 200, description = "It was not pinned", body = Done)),
)]
pub(in super::super) async fn unpin(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::Pin { target: seq(&params)?, on: false }).await
}

/// A text to forward.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Forward {
    /// Where it stands: the channel's id, or @ and a user's name.
    #[schema(pattern = "^(0[12][0-9a-fA-F]{32}|@.{1,64})$", example = "@ann")]
    from: String,
    /// Its place there.
    #[serde(deserialize_with = "number::from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    seq: u64,
}

/// Forward a text
///
/// A copy that names its origin, of a text that the asker may read where it stands.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/forwards", tag = "messages", operation_id = "forward",
    params(("channel" = String, Path, description = "Where to: the channel's id, or @ and a user's name", example = "@bob")),
    request_body = Forward,
    responses((status = 201, description = "Written", body = Written)),
)]
pub(in super::super) async fn forward(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Forward>,
) -> Result<Did, Problem> {
    let Forward { from, seq } = body.value;
    let from = api.channel(&who, from.parse::<Place>()?).await?;
    act(&api, &who, key, &params, Act::Forward { from, seq: Seq::new(seq) }).await
}

/// How far a record has come.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Seen {
    /// Members besides its sender who have read it.
    read: Vec<String>,
    /// Those to whom it was delivered: also those who have read it.
    delivered: Vec<String>,
}

/// Who has seen a record?
#[utoipa::path(
    get, path = "/v1/channels/{channel}/messages/{seq}/seen", tag = "messages", operation_id = "seen",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The record's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    responses((status = 200, description = "Who", body = Seen)),
)]
pub(in super::super) async fn seen(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Seen>, Problem> {
    let (channel, seq) = (channel(&api, &who, &params).await?, seq(&params)?);
    match api.ask(&who.caller, Request::GetSeen { channel, seq }).await? {
        Answer::Seen { read, delivered } => Ok(Json(Seen { read: texts(&read), delivered: texts(&delivered) })),
        _ => Err(unexpected()),
    }
}

/// Tell that one types
///
/// Who listens hears `typing`. It ends by itself after six seconds: say it again every three while it is so. It is in no log, and takes no key.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/typing", tag = "messages", operation_id = "typing",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob")),
    responses((status = 200, description = "Told", body = Done)),
)]
pub(in super::super) async fn typing(State(api): State<Api>, who: Who, _: NoKey, params: Params) -> Result<Json<Done>, Problem> {
    let channel = channel(&api, &who, &params).await?;
    api.ask(&who.caller, Request::Typing { channel }).await.map(|_| Json(Done {}))
}
