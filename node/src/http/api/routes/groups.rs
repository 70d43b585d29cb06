//! Running a group: its description, its rules, who may write, who owns it, links to join by and those who ask to.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use kith_wire::{
    act::{Act, Invite, JoinLink},
    client::{Answer, Request},
    code::Code,
    id::{Timestamp, digest},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, Params, Who, part, user},
        form,
        model::{Group, Link, Rules, Written},
        number,
        once::once,
        problem::Problem,
        unexpected,
    },
    write::{Did, Done, act, act_in, channel},
};
use crate::clock::draw_bytes;

/// Look at what stands beside a conversation
///
/// Description, rules, pins and mutes; links for those who may make them; requests to join for admins.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/group", tag = "groups", operation_id = "getGroup",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name")),
    responses((status = 200, description = "All of it", body = Group)),
)]
pub(in super::super) async fn get(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Group>, Problem> {
    let channel = channel(&api, &who, &params).await?;
    match api.ask(&who.caller, Request::GetGroup { channel }).await? {
        Answer::Group(view) => Ok(Json(view.into())),
        _ => Err(unexpected()),
    }
}

/// What a group is called; what is not there stays, and something is there.
#[derive(Deserialize, ToSchema)]
#[schema(min_properties = 1)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Description {
    /// Its title.
    #[serde(default, deserialize_with = "form::present")]
    #[schema(max_length = 200, nullable = false, example = "chess")]
    title: Option<String>,
    /// A description.
    #[serde(default, deserialize_with = "form::present")]
    #[schema(max_length = 1_000, nullable = false, example = "slow games")]
    about: Option<String>,
}

/// Change title or description
#[utoipa::path(
    put, path = "/v1/channels/{channel}/description", tag = "groups", operation_id = "describe",
    params(("channel" = String, Path, description = "The group's id")),
    request_body = Description,
    responses((status = 201, description = "Changed", body = Written), (status = 200, description = "It was so before", body = Done)),
)]
pub(in super::super) async fn describe(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Description>,
) -> Result<Did, Problem> {
    let Description { title, about } = body.value;
    act(&api, &who, key, &params, Act::Describe { title, about }).await
}

/// Replace the rules
#[utoipa::path(
    put, path = "/v1/channels/{channel}/rules", tag = "groups", operation_id = "setRules",
    params(("channel" = String, Path, description = "The group's id")),
    request_body = Rules,
    responses((status = 201, description = "Changed", body = Written), (status = 200, description = "They were so before", body = Done)),
)]
pub(in super::super) async fn rules(State(api): State<Api>, who: Who, key: Option<Key>, params: Params, body: Body<Rules>) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::SetRules(body.value.into())).await
}

/// Whom to make the owner.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewOwner {
    /// The member's id.
    #[schema(pattern = "^u[0-9a-fA-F]{16}$", example = "u00f3a1b2c3d4e5f6")]
    user: String,
}

/// Hand a group over
///
/// Makes another member the owner, and the one who asks an admin.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/owner", tag = "groups", operation_id = "handOver",
    params(("channel" = String, Path, description = "The group's id")),
    request_body = NewOwner,
    responses((status = 201, description = "Handed over", body = Written), (status = 200, description = "It was so before", body = Done)),
)]
pub(in super::super) async fn hand_over(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewOwner>,
) -> Result<Did, Problem> {
    act(&api, &who, key, &params, Act::HandOver { to: user(&body.value.user)? }).await
}

/// How long a member may not write.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewMute {
    /// In milliseconds since 1970.
    #[serde(deserialize_with = "number::from_one")]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991u64)]
    until_ms: u64,
}

/// Keep a member from writing
#[utoipa::path(
    put, path = "/v1/channels/{channel}/members/{user}/mute", tag = "groups", operation_id = "muteMember",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The member's id")),
    request_body = NewMute,
    responses((status = 201, description = "Muted", body = Written), (status = 200, description = "It was so before", body = Done)),
)]
pub(in super::super) async fn mute(State(api): State<Api>, who: Who, key: Option<Key>, params: Params, body: Body<NewMute>) -> Result<Did, Problem> {
    let member = user(&part::<String>(&params, "user")?)?;
    act(&api, &who, key, &params, Act::Mute { user: member, until: Timestamp::new(body.value.until_ms) }).await
}

/// Let a member write again
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/members/{user}/mute", tag = "groups", operation_id = "unmuteMember",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The member's id")),
    responses((status = 201, description = "Unmuted", body = Written), (status = 200, description = "It was so before", body = Done)),
)]
pub(in super::super) async fn unmute(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let member = user(&part::<String>(&params, "user")?)?;
    act(&api, &who, key, &params, Act::Mute { user: member, until: Timestamp::new(0) }).await
}

/// Shut somebody out of a group
///
/// Member or not: neither a link nor a member brings them in.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/bans/{user}", tag = "groups", operation_id = "ban",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The user's id")),
    responses((status = 201, description = "Shut out", body = Written), (status = 200, description = "They were before", body = Done)),
)]
pub(in super::super) async fn ban(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let user = user(&part::<String>(&params, "user")?)?;
    act(&api, &who, key, &params, Act::Ban { user, on: true }).await
}

/// Let somebody in again who was shut out of a group
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/bans/{user}", tag = "groups", operation_id = "unban",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The user's id")),
    responses((status = 201, description = "Let in", body = Written), (status = 200, description = "They were not shut out", body = Done)),
)]
pub(in super::super) async fn unban(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let user = user(&part::<String>(&params, "user")?)?;
    act(&api, &who, key, &params, Act::Ban { user, on: false }).await
}

/// A link to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewLink {
    /// It ends then, in milliseconds since 1970; 0 or absent: never.
    #[serde(default, deserialize_with = "number::any")]
    #[schema(maximum = 9_007_199_254_740_991u64)]
    until_ms: u64,
    /// So many may join by it; 0 or absent: any number.
    #[serde(default)]
    uses: u32,
}

/// Make a link to join by
///
/// Whoever holds it may show it: keep it as you would keep a key.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/links", tag = "groups", operation_id = "makeLink",
    params(("channel" = String, Path, description = "The group's id")),
    request_body = NewLink,
    responses((status = 201, description = "Made", body = Link)),
)]
pub(in super::super) async fn make_link(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewLink>,
) -> Result<(StatusCode, Json<Link>), Problem> {
    let channel = channel(&api, &who, &params).await?;
    let NewLink { until_ms, uses } = body.value;
    // The same key is the same link, over any node; who knows the key alone cannot tell which.
    let secret = key.map_or_else(draw_bytes, |Key(key)| {
        let drawn = digest(&[b"kith/http/link/1", &api.secret, &who.caller.user.get().to_be_bytes(), channel.as_bytes(), key.as_bytes()]);
        let mut secret = [0; 16];
        secret.copy_from_slice(&drawn[..16]);
        secret
    });
    act_in(&api, &who, key, channel, Act::Invite(Invite { secret, until: Timestamp::new(until_ms), uses })).await?;
    let link = JoinLink { channel, secret }.to_string();
    let by = who.caller.user.to_string();
    Ok((
        StatusCode::CREATED,
        Json(Link { link, until_ms: Some(until_ms).filter(|ms| *ms > 0), uses: Some(uses).filter(|uses| *uses > 0), by, used: 0 }),
    ))
}

/// End a link
///
/// An own one; an admin any.
#[utoipa::path(
    delete, path = "/v1/links/{link}", tag = "groups", operation_id = "endLink",
    params(("link" = String, Path, description = "The link", pattern = "^kith-join:02[0-9a-f]{32}:[0-9a-f]{32}$")),
    responses((status = 200, description = "Ended", body = Done)),
)]
pub(in super::super) async fn end_link(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let JoinLink { channel, secret } = link(&part::<String>(&params, "link")?)?;
    act_in(&api, &who, key, channel, Act::Revoke { secret }).await
}

/// A link to join by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ShownLink {
    /// The link.
    #[schema(pattern = "^kith-join:02[0-9a-f]{32}:[0-9a-f]{32}$")]
    link: String,
}

/// What came of a link.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Joined {
    /// The group.
    channel: String,
    /// Whether the asker is a member now, or was before; else an admin has to let them in.
    member: bool,
    /// Seq of the record by which they became one.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Join a group by a link
///
/// Or ask to be let in, where the group wants that.
#[utoipa::path(
    post, path = "/v1/join", tag = "groups", operation_id = "join", request_body = ShownLink,
    responses((status = 200, description = "Joined, or asked", body = Joined)),
)]
pub(in super::super) async fn join(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<ShownLink>) -> Result<Response, Problem> {
    let JoinLink { channel, secret } = link(&body.value.link)?;
    once(&api, who.caller.user, key, body.digest, async {
        let (member, seq) = match api.ask(&who.caller, Request::Join { channel, secret }).await? {
            Answer::Joined { seq } => (true, Some(seq.get())),
            Answer::Pending => (false, None),
            _ => return Err(unexpected()),
        };
        Ok((StatusCode::OK, Joined { channel: channel.to_string(), member, seq }))
    })
    .await
}

/// Refuse somebody who asked to join
///
/// To let them in, add them as a member.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/requests/{user}", tag = "groups", operation_id = "refuseRequest",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "Who asked")),
    responses((status = 200, description = "Refused", body = Done)),
)]
pub(in super::super) async fn refuse(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Response, Problem> {
    let asker = user(&part::<String>(&params, "user")?)?;
    act(&api, &who, key, &params, Act::Reject { user: asker }).await.map(IntoResponse::into_response)
}

pub(in super::super) fn link(text: &str) -> Result<JoinLink, Problem> {
    text.parse().map_err(|_| Problem::new(Code::Invalid, "a link has the form kith-join:<channel>:<secret>"))
}
