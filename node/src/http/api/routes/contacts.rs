//! Contacts and blocks, profiles, and the search for users.

use std::collections::BTreeMap;

use axum::{Json, extract::State, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::UserId,
    limit,
    log::ProfileField,
    people::{ContactState, ContactView, PeopleAnswer, PeopleRequest, ProfileView},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, Params, Query, Who, part, user},
        form,
        once::once,
        problem::Problem,
        unexpected,
    },
    channels::done,
    write::Done,
};

/// What is seen of a user.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Profile {
    /// Their id.
    #[schema(example = "u00f3a1b2c3d4e5f6")]
    user: String,
    /// Their name: what tells them apart.
    #[schema(example = "ann")]
    name: String,
    /// What is shown in its place; empty: the name is.
    display: String,
    /// A few words.
    about: String,
    /// Where the picture is.
    avatar: String,
    /// Of the app.
    fields: BTreeMap<String, String>,
}

impl From<ProfileView> for Profile {
    fn from(view: ProfileView) -> Self {
        let ProfileView { user, name, display, about, avatar, fields } = view;
        let fields = fields.into_iter().map(|field| (field.key, field.value)).collect();
        Self { user: user.to_string(), name, display, about, avatar, fields }
    }
}

/// Look at a user
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "people", operation_id = "profile",
    params(("user" = String, Path, description = "The user's id, or me")),
    responses((status = 200, description = "What is seen of them", body = Profile)),
)]
pub(in super::super) async fn profile(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Profile>, Problem> {
    let user = match part::<String>(&params, "user")?.as_str() {
        "me" => who.caller.user,
        text => user(text)?,
    };
    match people(&api, &who, PeopleRequest::GetProfiles { users: vec![user] }).await? {
        PeopleAnswer::Profiles(profiles) => profiles.into_iter().next().map(|view| Json(view.into())).ok_or_else(|| Code::NoSuchUser.into()),
        _ => Err(unexpected()),
    }
}

/// What others are to see; what is not there stays, an empty text takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewProfile {
    /// What is shown in the place of the name.
    #[serde(default)]
    #[schema(max_length = 64, format = "shown-line", example = "Ann")]
    display: Option<String>,
    /// A few words.
    #[serde(default)]
    #[schema(max_length = 500, format = "shown-text")]
    about: Option<String>,
    /// Where the picture is: an https URL.
    #[serde(default)]
    #[schema(max_length = 1024, pattern = "^(https://.*)?$", format = "picture-url", example = "https://example.org/ann.png")]
    avatar: Option<String>,
    /// Whether search finds this user.
    #[serde(default)]
    searchable: Option<bool>,
    /// Of the app: at most 16, keys of at most 32 bytes, values of at most 256 characters.
    #[serde(default)]
    #[schema(schema_with = form::fields)]
    fields: BTreeMap<String, String>,
}

/// Change the own profile
#[utoipa::path(
    put, path = "/v1/me/profile", tag = "people", operation_id = "setProfile", request_body = NewProfile,
    responses((status = 200, description = "Changed", body = Done)),
)]
pub(in super::super) async fn set_profile(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<NewProfile>) -> Result<Response, Problem> {
    let NewProfile { display, about, avatar, searchable, fields } = body.value;
    let fields = fields.into_iter().map(|(key, value)| ProfileField { key, value }).collect();
    let asked = PeopleRequest::SetProfile { display, about, avatar, searchable, fields };
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::People(asked))).await
}

/// Whom to look for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct SearchParams {
    /// The beginning of a name, or of any word of what is shown in its place; of latin letters at least two.
    #[param(min_length = 1, max_length = 64, format = "name-prefix", example = "an")]
    prefix: String,
}

/// Users that were found.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Found {
    /// Whoever is called just so first; at most 20.
    users: Vec<Profile>,
}

/// Search for users
///
/// Who does not want to be found is not.
#[utoipa::path(
    get, path = "/v1/search/users", tag = "people", operation_id = "searchUsers", params(SearchParams),
    responses((status = 200, description = "Those that were found", body = Found)),
)]
pub(in super::super) async fn search(State(api): State<Api>, who: Who, Query(asked): Query<SearchParams>) -> Result<Json<Found>, Problem> {
    if asked.prefix.is_empty() || asked.prefix.chars().count() > limit::NAME_BYTES_MAX {
        return Err(Problem::new(Code::Invalid, "type the beginning of a name"));
    }
    match people(&api, &who, PeopleRequest::Search { prefix: asked.prefix }).await? {
        PeopleAnswer::Profiles(profiles) => Ok(Json(Found { users: profiles.into_iter().map(Profile::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// What stands between the user and another.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Contact {
    /// Who.
    user: String,
    /// Their name; empty if it is not known now.
    name: String,
    /// What is shown in its place.
    display: String,
    /// How it stands.
    state: Standing,
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
}

/// How two users stand.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ContactState)]
enum Standing {
    /// Contacts: both have asked.
    Mutual,
    /// This user has asked.
    Asked,
    /// The other has asked.
    Asking,
    /// This user has blocked the other.
    Blocked,
}

impl From<ContactView> for Contact {
    fn from(view: ContactView) -> Self {
        let state = match view.state {
            ContactState::Mutual => Standing::Mutual,
            ContactState::Asked => Standing::Asked,
            ContactState::Asking => Standing::Asking,
            ContactState::Blocked => Standing::Blocked,
        };
        Self { user: view.user.to_string(), name: view.name, display: view.display, state, since_ms: view.since.get() }
    }
}

/// From where.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ContactsParams {
    /// Where a page before this one ended: its `next`.
    #[param(pattern = "^u[0-9a-f]{16}$")]
    cursor: Option<String>,
}

/// A page of contacts.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Contacts {
    /// By user id; at most 100.
    contacts: Vec<Contact>,
    /// What follows, for `cursor`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List contacts
///
/// And who has asked to be one, or was asked, and who is blocked.
#[utoipa::path(
    get, path = "/v1/contacts", tag = "people", operation_id = "contacts", params(ContactsParams),
    responses((status = 200, description = "A page", body = Contacts)),
)]
pub(in super::super) async fn contacts(State(api): State<Api>, who: Who, Query(asked): Query<ContactsParams>) -> Result<Json<Contacts>, Problem> {
    let after = match asked.cursor.as_deref() {
        None => UserId::new(0),
        Some(text) => text.parse().map_err(|_| Problem::new(Code::Invalid, "the cursor is none that this was given: begin without one"))?,
    };
    match people(&api, &who, PeopleRequest::Contacts { after }).await? {
        PeopleAnswer::Contacts { contacts, more } => {
            let next = contacts.last().filter(|_| more).map(|last| last.user.to_string());
            Ok(Json(Contacts { contacts: contacts.into_iter().map(Contact::from).collect(), next }))
        }
        _ => Err(unexpected()),
    }
}

/// Ask somebody to be a contact, or accept
#[utoipa::path(
    put, path = "/v1/contacts/{user}", tag = "people", operation_id = "askContact",
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 200, description = "Asked", body = Done)),
)]
pub(in super::super) async fn ask(api: State<Api>, who: Who, key: Option<Key>, digest: Digest, params: Params) -> Result<Response, Problem> {
    between(api, who, key, digest, params, |peer| PeopleRequest::AskContact { peer, asked: true }).await
}

/// Have somebody no longer as a contact, take a request back, or decline one
#[utoipa::path(
    delete, path = "/v1/contacts/{user}", tag = "people", operation_id = "dropContact",
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 200, description = "No contact", body = Done)),
)]
pub(in super::super) async fn drop(api: State<Api>, who: Who, key: Option<Key>, digest: Digest, params: Params) -> Result<Response, Problem> {
    between(api, who, key, digest, params, |peer| PeopleRequest::AskContact { peer, asked: false }).await
}

/// Block somebody
///
/// They cannot tell.
#[utoipa::path(
    put, path = "/v1/blocks/{user}", tag = "people", operation_id = "block",
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 200, description = "Blocked", body = Done)),
)]
pub(in super::super) async fn block(api: State<Api>, who: Who, key: Option<Key>, digest: Digest, params: Params) -> Result<Response, Problem> {
    between(api, who, key, digest, params, |peer| PeopleRequest::Block { peer, blocked: true }).await
}

/// Unblock somebody
#[utoipa::path(
    delete, path = "/v1/blocks/{user}", tag = "people", operation_id = "unblock",
    params(("user" = String, Path, description = "The user's id")),
    responses((status = 200, description = "Not blocked", body = Done)),
)]
pub(in super::super) async fn unblock(api: State<Api>, who: Who, key: Option<Key>, digest: Digest, params: Params) -> Result<Response, Problem> {
    between(api, who, key, digest, params, |peer| PeopleRequest::Block { peer, blocked: false }).await
}

async fn between(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
    asked: impl FnOnce(UserId) -> PeopleRequest,
) -> Result<Response, Problem> {
    let asked = asked(user(&part::<String>(&params, "user")?)?);
    once(&api, who.caller.user, key, digest, done(&api, &who, Request::People(asked))).await
}

async fn people(api: &Api, who: &Who, asked: PeopleRequest) -> Result<PeopleAnswer, Problem> {
    match api.ask(&who.caller, Request::People(asked)).await? {
        Answer::People(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}
