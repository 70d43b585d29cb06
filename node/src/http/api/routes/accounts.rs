//! Accounts: signing up, logging in, going on; devices, passwords, names.
//!
//! What is secret comes in a body and goes out in one, and is kept nowhere: secrets of an answer under a key follow from the key (`auth::keyed`), and
//! of a password only a slow hash tells one body from another. A key of somebody without a token is noted with what they have proven to be
//! (`service::people`); what ends the asker's own token is told again to who shows that token.

use axum::{
    Json,
    extract::State,
    http::{Extensions, StatusCode},
    response::Response,
};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{DeviceId, UserId},
    limit,
    peer::Caller,
    people::{DeviceView, LoggedIn, PeopleAnswer, PeopleRequest},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        Api, PeerAddress, Trace,
        extract::{Body, Digest, Key, Leaver, NoKey, Params, Who, part},
        once::{imprint, once, once_for_leaver, once_with_secret},
        problem::Problem,
        unexpected,
    },
    channels::done,
    write::Done,
};
use crate::clock::draw_bytes;

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Credentials {
    /// The name.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "ann")]
    name: String,
    /// The password.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    password: String,
    /// What the device is called in the list of devices.
    #[serde(default)]
    #[schema(max_length = 64, example = "script")]
    device: String,
}

/// A name and a password to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewCredentials {
    /// The name: at most 64 bytes, without blanks, and none of # / , @
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "ann")]
    name: String,
    /// The password.
    #[schema(min_length = 8, max_length = 1024, format = Password, example = "correct horse")]
    password: String,
    /// What the device is called in the list of devices.
    #[serde(default)]
    #[schema(max_length = 64, example = "script")]
    device: String,
}

/// Tokens of a device that is in.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct LogIn {
    /// The user.
    user: String,
    /// Their name, as it is stored.
    name: String,
    /// The device: end it with this.
    device: String,
    /// Show it with every request: `Authorization: Bearer …`
    access: String,
    /// It is of no use from then on, in milliseconds since 1970.
    access_until_ms: u64,
    /// For the next access token, once.
    refresh: String,
    /// A new account's recovery code: it resets the password, and is shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<String>,
}

impl From<LoggedIn> for LogIn {
    fn from(held: LoggedIn) -> Self {
        Self {
            user: held.user.to_string(),
            name: held.name,
            device: device_text(held.device),
            access: held.access.reveal().to_owned(),
            access_until_ms: held.access_until.get(),
            refresh: held.refresh.reveal().to_owned(),
            recovery: held.recovery.map(|code| code.reveal().to_owned()),
        }
    }
}

/// Sign up
///
/// Makes an account and a device that is in. With the same key it is the same user and device again. Needs no token.
#[utoipa::path(
    post, path = "/v1/sign-up", tag = "accounts", operation_id = "signUp", security(()), request_body = NewCredentials,
    responses((status = 201, description = "Made, and in", body = LogIn)),
)]
pub(in super::super) async fn sign_up(
    State(api): State<Api>,
    extensions: Extensions,
    key: Option<Key>,
    body: Body<NewCredentials>,
) -> Result<(StatusCode, Json<LogIn>), Problem> {
    let NewCredentials { name, password, device: title } = body.value;
    let asked = PeopleRequest::SignUp { name, password: password.into(), key: draw_bytes(), nonce: draw_bytes(), title };
    Ok((StatusCode::CREATED, Json(at_door(&api, &extensions, key, asked).await?)))
}

/// Log in
///
/// Lets a new device in; with the same key, the same one. Needs no token.
#[utoipa::path(
    post, path = "/v1/log-in", tag = "accounts", operation_id = "logIn", security(()), request_body = Credentials,
    responses((status = 200, description = "In", body = LogIn)),
)]
pub(in super::super) async fn log_in(
    State(api): State<Api>,
    extensions: Extensions,
    key: Option<Key>,
    body: Body<Credentials>,
) -> Result<Json<LogIn>, Problem> {
    let Credentials { name, password, device: title } = body.value;
    let asked = PeopleRequest::LogIn { name, password: password.into(), nonce: draw_bytes(), title };
    at_door(&api, &extensions, key, asked).await.map(Json)
}

/// A token of the app's own backend.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct OutsideToken {
    /// A JWT of one of the issuers that the cluster's settings name.
    #[schema(min_length = 1, max_length = 4096, format = Password)]
    token: String,
    /// What the device is called in the list of devices.
    #[serde(default)]
    #[schema(max_length = 64, example = "script")]
    device: String,
}

/// Log in with the app's own token
///
/// Lets a new device in as who an issuer of the cluster's settings says it is; with the same key, the same one. The account is made on first use.
/// Needs no token but that.
#[utoipa::path(
    post, path = "/v1/log-in-with", tag = "accounts", operation_id = "logInWith", security(()), request_body = OutsideToken,
    responses((status = 200, description = "In", body = LogIn)),
)]
pub(in super::super) async fn log_in_with(
    State(api): State<Api>,
    extensions: Extensions,
    key: Option<Key>,
    body: Body<OutsideToken>,
) -> Result<Json<LogIn>, Problem> {
    let OutsideToken { token, device: title } = body.value;
    let asked = PeopleRequest::LogInWith { token: token.into(), nonce: draw_bytes(), title };
    at_door(&api, &extensions, key, asked).await.map(Json)
}

/// What a device goes on with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RefreshToken {
    /// The `refresh` of the answer before.
    #[schema(min_length = 1, max_length = 200, format = Password)]
    refresh: String,
}

/// Go on
///
/// A new access token, and the next refresh token. With the same key a retry gives the same. Needs no token but that.
#[utoipa::path(
    post, path = "/v1/refresh", tag = "accounts", operation_id = "refresh", security(()), request_body = RefreshToken,
    responses((status = 200, description = "In, as before", body = LogIn)),
)]
pub(in super::super) async fn refresh(
    State(api): State<Api>,
    extensions: Extensions,
    key: Option<Key>,
    body: Body<RefreshToken>,
) -> Result<Json<LogIn>, Problem> {
    let nonce = key.map_or_else(draw_bytes, |Key(key)| *key.as_bytes());
    at_door(&api, &extensions, key, PeopleRequest::Refresh { token: body.value.refresh.into(), nonce }).await.map(Json)
}

/// Another password, for who has lost the old one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Reset {
    /// The name.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "ann")]
    name: String,
    /// The recovery code, or a one-time code of an operator or of the app.
    #[schema(min_length = 1, max_length = 200, format = Password)]
    code: String,
    /// The new password.
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    password: String,
}

/// A code that is shown once.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct RecoveryCode {
    /// It resets the password.
    code: String,
}

/// Reset a password
///
/// By a recovery code, or by a one-time code of an operator or of the app. The answer is the new recovery code. Needs no token.
#[utoipa::path(
    post, path = "/v1/reset-password", tag = "accounts", operation_id = "resetPassword", security(()), request_body = Reset,
    responses((status = 200, description = "Reset", body = RecoveryCode)),
)]
pub(in super::super) async fn reset_password(
    State(api): State<Api>,
    extensions: Extensions,
    key: Option<Key>,
    body: Body<Reset>,
) -> Result<Json<RecoveryCode>, Problem> {
    let Reset { name, code, password } = body.value;
    let asked = PeopleRequest::ResetPassword { name, code: code.into(), password: password.into() };
    knock(&api, &extensions, &asked)?;
    match ask(&api, &nobody(&extensions, key), asked).await? {
        Some(PeopleAnswer::Code { code, .. }) => Ok(Json(RecoveryCode { code: code.reveal().to_owned() })),
        _ => Err(unexpected()),
    }
}

/// Whose password is lost.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Lost {
    /// The name.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "ann")]
    name: String,
}

/// Ask for a code that resets a password
///
/// The app's backend is told a one-time code, good for half an hour, and hands it to the user: by mail, say. The answer is the same whether anybody
/// has the name, and so is that to who asks again within a minute: it takes no key. Needs no token.
#[utoipa::path(
    post, path = "/v1/ask-reset", tag = "accounts", operation_id = "askReset", security(()), request_body = Lost,
    responses((status = 200, description = "Heard", body = Done)),
)]
pub(in super::super) async fn ask_reset(State(api): State<Api>, extensions: Extensions, _: NoKey, body: Body<Lost>) -> Result<Json<Done>, Problem> {
    let asked = PeopleRequest::AskReset { name: body.value.name };
    knock(&api, &extensions, &asked)?;
    ask(&api, &nobody(&extensions, None), asked).await.map(|_| Json(Done {}))
}

/// A device of the user.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Device {
    /// Its id.
    device: String,
    /// What it is called.
    title: String,
    /// When it was first seen, in milliseconds since 1970.
    created_ms: u64,
    /// When it last signed in.
    seen_ms: u64,
    /// Whether it is the one that asks.
    current: bool,
}

impl From<DeviceView> for Device {
    fn from(view: DeviceView) -> Self {
        Self { device: device_text(view.device), title: view.title, created_ms: view.created.get(), seen_ms: view.seen.get(), current: view.current }
    }
}

/// Devices.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Devices {
    /// The last seen first; at most 32.
    devices: Vec<Device>,
}

/// List the own devices
#[utoipa::path(get, path = "/v1/devices", tag = "accounts", operation_id = "devices", responses((status = 200, description = "All", body = Devices)))]
pub(in super::super) async fn devices(State(api): State<Api>, who: Who) -> Result<Json<Devices>, Problem> {
    match ask(&api, &who.caller, PeopleRequest::Devices).await? {
        Some(PeopleAnswer::Devices(devices)) => Ok(Json(Devices { devices: devices.into_iter().map(Device::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// End a device
///
/// Its session and its tokens end within a second. `me` is the one that asks, `others` all but it.
#[utoipa::path(
    delete, path = "/v1/devices/{device}", tag = "accounts", operation_id = "endDevice",
    params(("device" = String, Path, description = "Its id, me, or others", pattern = "^([0-9a-f]{16}|me|others)$")),
    responses((status = 200, description = "Ended", body = Done)),
)]
pub(in super::super) async fn end_device(
    State(api): State<Api>,
    leaver: Leaver,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = match part::<String>(&params, "device")?.as_str() {
        "me" => PeopleRequest::LogOut,
        "others" => PeopleRequest::EndOthers,
        text => PeopleRequest::EndDevice { device: parse_device(text)? },
    };
    let who = &leaver.who;
    once_for_leaver(&api, &leaver, key, digest, done(&api, who, Request::People(asked))).await
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewPassword {
    /// The one that is in force.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    old: String,
    /// The next one.
    #[schema(min_length = 8, max_length = 1024, format = Password)]
    new: String,
}

/// Change the password
///
/// Ends all other devices.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "accounts", operation_id = "changePassword", request_body = NewPassword,
    responses((status = 200, description = "Changed", body = Done)),
)]
pub(in super::super) async fn change_password(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(asked): Digest,
    body: Body<NewPassword>,
) -> Result<Response, Problem> {
    let NewPassword { old, new } = body.value;
    let digest = imprint(&api, &who, key, asked, &[&old, &new]).await?;
    let asked = Request::People(PeopleRequest::ChangePassword { old: old.into(), new: new.into() });
    once(&api, who.caller.user, key, digest, done(&api, &who, asked)).await
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewName {
    /// The next one.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "anna")]
    name: String,
}

/// Change the name
///
/// The old one is held back for 30 days.
#[utoipa::path(
    put, path = "/v1/me/name", tag = "accounts", operation_id = "rename", request_body = NewName,
    responses((status = 200, description = "Changed", body = Done)),
)]
pub(in super::super) async fn rename(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<NewName>) -> Result<Response, Problem> {
    let asked = Request::People(PeopleRequest::Rename { name: body.value.name });
    once(&api, who.caller.user, key, body.digest, done(&api, &who, asked)).await
}

/// Make a new recovery code
///
/// In the place of the old one.
#[utoipa::path(
    post, path = "/v1/me/recovery-code", tag = "accounts", operation_id = "newRecoveryCode", request_body = Confirmation,
    responses((status = 200, description = "Shown this once", body = RecoveryCode)),
)]
pub(in super::super) async fn recovery_code(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(asked): Digest,
    body: Body<Confirmation>,
) -> Result<Response, Problem> {
    let password = body.value.password;
    let digest = imprint(&api, &who, key, asked, &[&password]).await?;
    let asked = PeopleRequest::NewRecoveryCode { password: password.into() };
    let work = async {
        match ask(&api, &who.under(key), asked).await? {
            Some(PeopleAnswer::Code { code, .. }) => Ok((StatusCode::OK, RecoveryCode { code: code.reveal().to_owned() })),
            _ => Err(unexpected()),
        }
    };
    let code = |Key(key)| api.gate.code_under(who.caller.user, key).text;
    once_with_secret(&api, &who, key, digest, work, ("code", |_: &Value, key| Some(code(key)))).await
}

/// A code that an operator gives to somebody who cannot log in.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct ResetCode {
    /// It resets the password, once.
    code: String,
    /// It is of no use from then on, in milliseconds since 1970.
    until_ms: u64,
}

/// Make a code that resets somebody's password
///
/// Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/accounts/{name}/reset-code", tag = "operators", operation_id = "resetCode",
    params(("name" = String, Path, description = "Whose password", min_length = 1, max_length = 64)),
    responses((status = 200, description = "Shown this once", body = ResetCode)),
)]
pub(in super::super) async fn reset_code(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let name = part(&params, "name")?;
    let work = async {
        match ask(&api, &who.under(key), PeopleRequest::ResetLink { name }).await? {
            Some(PeopleAnswer::Code { code, until: Some(until) }) => {
                Ok((StatusCode::OK, ResetCode { code: code.reveal().to_owned(), until_ms: until.get() }))
            }
            _ => Err(unexpected()),
        }
    };
    let code = |Key(key)| api.gate.code_under(who.caller.user, key).text;
    once_with_secret(&api, &who, key, digest, work, ("code", |_: &Value, key| Some(code(key)))).await
}

/// The password, once more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Confirmation {
    /// The password.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    password: String,
}

/// Delete the own account
///
/// For ever.
#[utoipa::path(
    post, path = "/v1/me/delete", tag = "accounts", operation_id = "deleteAccount", request_body = Confirmation,
    responses((status = 200, description = "Gone", body = Done)),
)]
pub(in super::super) async fn delete(
    State(api): State<Api>,
    leaver: Leaver,
    key: Option<Key>,
    Digest(asked): Digest,
    body: Body<Confirmation>,
) -> Result<Response, Problem> {
    let (who, password) = (&leaver.who, body.value.password);
    let digest = imprint(&api, who, key, asked, &[&password]).await?;
    let asked = Request::People(PeopleRequest::DeleteAccount { password: password.into() });
    once_for_leaver(&api, &leaver, key, digest, done(&api, who, asked)).await
}

/// What a stranger asks for: counted by where they come from.
async fn at_door(api: &Api, extensions: &Extensions, key: Option<Key>, asked: PeopleRequest) -> Result<LogIn, Problem> {
    knock(api, extensions, &asked)?;
    match ask(api, &nobody(extensions, key), asked).await? {
        Some(PeopleAnswer::LoggedIn(held)) => Ok(held.into()),
        _ => Err(unexpected()),
    }
}

/// As the streams' door does it: by address, and by address and name where a secret is tried.
fn knock(api: &Api, extensions: &Extensions, asked: &PeopleRequest) -> Result<(), Problem> {
    let Some(PeerAddress(address)) = extensions.get::<PeerAddress>() else { return Ok(()) };
    api.door.knock(*address)?;
    asked.guesses().map_or(Ok(()), |name| Ok(api.door.guess(*address, name)?))
}

async fn ask(api: &Api, caller: &Caller, asked: PeopleRequest) -> Result<Option<PeopleAnswer>, Problem> {
    match api.ask(caller, Request::People(asked)).await? {
        Answer::People(answer) => Ok(Some(answer)),
        Answer::Done => Ok(None),
        _ => Err(unexpected()),
    }
}

pub(super) fn nobody(extensions: &Extensions, key: Option<Key>) -> Caller {
    let trace = extensions.get::<Trace>().map_or(0, |trace| trace.0);
    Caller { user: UserId::new(0), device: DeviceId::new(0), admin: None, trace, key: key.map(|Key(key)| key), token: None }
}

pub(in super::super) fn device_text(device: DeviceId) -> String {
    format!("{:016x}", device.get())
}

pub(in super::super) fn parse_device(text: &str) -> Result<DeviceId, Problem> {
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.map(DeviceId::new).ok_or_else(|| Problem::new(Code::Invalid, "a device id is 16 hexadecimal digits"))
}

const _: () = assert!(limit::NAME_BYTES_MAX == 64, "the document says so");
