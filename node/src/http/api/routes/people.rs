//! Who one is, and who others are.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Request},
    code::Code,
    id::digest,
    limit,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        extract::{Body, Key, Query, Who, user},
        model::User,
        once::once,
        problem::Problem,
        unexpected,
    },
    admins::Role,
};
use crate::clock;

/// Whose token this is.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Me {
    /// The user's id.
    user: String,
    /// Their name.
    name: String,
    /// Whether it is an operator's.
    operator: bool,
    /// What it is good for in running the cluster; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// When the token ends, in seconds since 1970.
    expires_s: u64,
}

/// Who am I?
#[utoipa::path(get, path = "/v1/me", tag = "people", operation_id = "me", responses((status = 200, description = "Whose token this is", body = Me)))]
pub(in super::super) async fn me(who: Who) -> Json<Me> {
    let (claims, role) = (who.claims, who.caller.admin.map(Role::from));
    let operator = who.caller.may(AdminRole::Operator);
    Json(Me { user: claims.user.to_string(), name: claims.name, operator, role, expires_s: claims.expires_s })
}

/// Which users.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct UsersParams {
    /// The user of exactly this name.
    #[param(min_length = 1, max_length = 64, format = "user-name", example = "bob")]
    name: Option<String>,
    /// Users of these ids, separated by commas; at most 200.
    #[param(pattern = "^u[0-9a-fA-F]{16}(,u[0-9a-fA-F]{16}){0,199}$", example = "u00f3a1b2c3d4e5f6")]
    ids: Option<String>,
}

/// Users.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Users {
    /// Those that exist.
    users: Vec<User>,
}

/// Look users up
///
/// By name or by id: give one of the two.
#[utoipa::path(
    get, path = "/v1/users", tag = "people", operation_id = "users", params(UsersParams),
    responses((status = 200, description = "Those that exist", body = Users)),
)]
pub(in super::super) async fn users(State(api): State<Api>, who: Who, Query(asked): Query<UsersParams>) -> Result<Json<Users>, Problem> {
    let request = match (asked.name, asked.ids) {
        (Some(name), None) => Request::FindUser { name },
        (None, Some(ids)) => {
            let users = ids.split(',').take(limit::USERS_PER_REQUEST + 1).map(user).collect::<Result<_, _>>()?;
            Request::GetUsers { users }
        }
        _ => return Err(Problem::new(Code::Invalid, "give one of name and ids")),
    };
    match api.ask(&who.caller, request).await? {
        Answer::Users(users) => Ok(Json(Users { users: users.into_iter().map(User::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// An account to make or find.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewAccount {
    /// Its name.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "ann")]
    name: String,
}

/// An account.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Account {
    /// Its user.
    user: String,
    /// Its name, as it is stored.
    name: String,
    /// Whether it was made by this call.
    created: bool,
}

/// Make an account, or find it
///
/// Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "operators", operation_id = "ensureAccount", request_body = NewAccount,
    responses((status = 200, description = "It is there", body = Account)),
)]
pub(in super::super) async fn ensure_account(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    body: Body<NewAccount>,
) -> Result<Response, Problem> {
    // The secret of a new account: nobody else can guess it, and the retry of a call draws another, which finds what the first one made.
    let secret = digest(&[b"kith/http/account/1", &clock::draw().to_be_bytes(), &clock::draw().to_be_bytes(), &clock::draw().to_be_bytes()]);
    let name = body.value.name;
    once(&api, who.caller.user, key, body.digest, async {
        match api.ask(&who.caller, Request::EnsureAccount { name, key: secret }).await? {
            Answer::Account { user, name, created } => Ok((StatusCode::OK, Account { user: user.to_string(), name, created })),
            _ => Err(unexpected()),
        }
    })
    .await
}
