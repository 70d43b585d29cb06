//! Who is in a group: added, given a role, removed, gone. Each change is a record.

use axum::extract::State;
use kith_wire::{
    client::{ChangeMembers, Request},
    log::MemberChange,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, Params, Who, part, user},
        model::{Role, Written},
        problem::Problem,
    },
    write::{Did, UNNUMBERED, channel, write},
};

/// A member to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewMember {
    /// The user's id.
    #[schema(pattern = "^u[0-9a-fA-F]{16}$", example = "u00f3a1b2c3d4e5f6")]
    user: String,
}

/// Add a member
#[utoipa::path(
    post, path = "/v1/channels/{channel}/members", tag = "members", operation_id = "addMember",
    params(("channel" = String, Path, description = "The group's id")),
    request_body = NewMember,
    responses((status = 201, description = "Added", body = Written)),
)]
pub(in super::super) async fn add(State(api): State<Api>, who: Who, key: Option<Key>, params: Params, body: Body<NewMember>) -> Result<Did, Problem> {
    let change = MemberChange::Add(user(&body.value.user)?);
    change_members(&api, who, key, &params, change).await
}

/// A member's role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewRole {
    /// Which.
    role: Role,
}

/// Give a member a role
#[utoipa::path(
    put, path = "/v1/channels/{channel}/members/{user}", tag = "members", operation_id = "setRole",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The member's id")),
    request_body = NewRole,
    responses((status = 201, description = "Changed", body = Written)),
)]
pub(in super::super) async fn set_role(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewRole>,
) -> Result<Did, Problem> {
    let member = user(&part::<String>(&params, "user")?)?;
    change_members(&api, who, key, &params, MemberChange::SetRole(member, body.value.role.into())).await
}

/// Remove a member, or leave
///
/// To remove oneself is to leave.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/members/{user}", tag = "members", operation_id = "removeMember",
    params(("channel" = String, Path, description = "The group's id"), ("user" = String, Path, description = "The member's id, or me")),
    responses((status = 201, description = "Removed", body = Written)),
)]
pub(in super::super) async fn remove(State(api): State<Api>, who: Who, key: Option<Key>, params: Params) -> Result<Did, Problem> {
    let change = match part::<String>(&params, "user")?.as_str() {
        "me" => MemberChange::Leave,
        text => MemberChange::Remove(user(text)?),
    };
    change_members(&api, who, key, &params, change).await
}

async fn change_members(api: &Api, who: Who, key: Option<Key>, params: &Params, change: MemberChange) -> Result<Did, Problem> {
    let channel = channel(api, &who, params).await?;
    let request = Request::ChangeMembers(ChangeMembers { channel, client_seq: UNNUMBERED, settled: UNNUMBERED, change });
    write(api, &who, key, channel, request).await
}
