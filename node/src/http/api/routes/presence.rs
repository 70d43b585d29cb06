//! Who is here: asked for once, and what others see of oneself.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::UserId,
    limit,
    presence::PresenceRequest,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        extract::{Body, Key, Query, Who, user},
        model::Presence,
        once::once,
        problem::Problem,
        unexpected,
    },
    write::Done,
};

/// Whom to look at.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct PresenceParams {
    /// Ids of users, separated by commas; at most 200.
    #[param(example = "u00f3a1b2c3d4e5f6", pattern = "^u[0-9a-fA-F]{16}(,u[0-9a-fA-F]{16}){0,199}$")]
    users: String,
}

/// How users are.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct PresenceList {
    /// One of each that was asked about, in that order.
    users: Vec<Presence>,
}

/// Who is here?
///
/// Contacts alone are seen. Of all others, of those who hide and of ids that are nobody's the answer is the same: `offline`. To be told of
/// changes, listen to `/v1/events?watch=…`.
#[utoipa::path(
    get, path = "/v1/presence", tag = "people", operation_id = "presence", params(PresenceParams),
    responses((status = 200, description = "How they are now", body = PresenceList)),
)]
pub(in super::super) async fn get(State(api): State<Api>, who: Who, Query(asked): Query<PresenceParams>) -> Result<Json<PresenceList>, Problem> {
    let users = user_ids(&asked.users)?;
    match api.ask(&who.caller, Request::Presence(PresenceRequest::Get { users })).await? {
        Answer::Presence(views) => Ok(Json(PresenceList { users: views.iter().map(Presence::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// Whether to hide.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Hide {
    /// Whether all others see you offline, and not when you were last here.
    private: bool,
}

/// Hide, or be seen again
///
/// On all devices, until it is changed.
#[utoipa::path(
    put, path = "/v1/me/presence", tag = "people", operation_id = "setPresence", request_body = Hide,
    responses((status = 200, description = "It is so", body = Done)),
)]
pub(in super::super) async fn hide(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<Hide>) -> Result<Response, Problem> {
    let asked = Request::Presence(PresenceRequest::SetPrivate { private: body.value.private });
    once(&api, who.caller.user, key, body.digest, async { api.ask(&who.caller, asked).await.map(|_| (StatusCode::OK, Done {})) }).await
}

/// Users by their ids, separated by commas.
pub(super) fn user_ids(text: &str) -> Result<Vec<UserId>, Problem> {
    let users = text.split(',').take(limit::WATCHES_MAX + 1).map(user).collect::<Result<Vec<_>, _>>()?;
    if users.len() > limit::WATCHES_MAX {
        return Err(Problem::new(Code::TooLarge, "of at most 200 users at once"));
    }
    Ok(users)
}
