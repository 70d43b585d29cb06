//! Bots: users that a program is, by a token that lasts until it is ended.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{UserId, digest},
    peer::Caller,
    people::{PeopleAnswer, PeopleRequest},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, Params, Who, part, user},
        model::User,
        once::{once, once_with_secret},
        problem::Problem,
        unexpected,
    },
    channels::done,
    write::Done,
};
use crate::clock::draw_bytes;

/// A bot to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewBot {
    /// Its name, as a user's.
    #[schema(min_length = 1, max_length = 64, format = "user-name", example = "helper")]
    name: String,
}

/// A bot, and the token by which it is one.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Bot {
    /// Its user.
    user: String,
    /// Its name, as it is stored.
    name: String,
    /// Show it with every request: `Authorization: Bearer …`. It lasts until it is ended, and is shown this once.
    token: String,
}

impl Bot {
    fn new(user: UserId, name: String, token: &Secret) -> Self {
        Self { user: user.to_string(), name, token: token.reveal().to_owned() }
    }
}

/// Make a bot
///
/// A user of its own, which the one who makes it looks after; at most 20. By an operator's token of nobody it is the cluster's.
#[utoipa::path(
    post, path = "/v1/bots", tag = "bots", operation_id = "makeBot", request_body = NewBot,
    responses((status = 201, description = "Made", body = Bot)),
)]
pub(in super::super) async fn make(State(api): State<Api>, who: Who, key: Option<Key>, body: Body<NewBot>) -> Result<Response, Problem> {
    let name = body.value.name;
    let drawn = key.map_or_else(draw_bytes, |Key(key)| *key.as_bytes());
    let secret = digest(&[b"kith/http/bot/1", &api.secret, &drawn, name.as_bytes()]);
    shown(&api, &who, key, body.digest, (StatusCode::CREATED, PeopleRequest::MakeBot { name, key: secret })).await
}

/// Bots of a user.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Bots {
    /// In the order in which they were made; an empty name: gone, or not known now.
    bots: Vec<User>,
}

/// List the own bots
#[utoipa::path(get, path = "/v1/bots", tag = "bots", operation_id = "bots", responses((status = 200, description = "All", body = Bots)))]
pub(in super::super) async fn list(State(api): State<Api>, who: Who) -> Result<Json<Bots>, Problem> {
    match people(&api, &who.caller, PeopleRequest::Bots).await? {
        PeopleAnswer::Bots(bots) => Ok(Json(Bots { bots: bots.into_iter().map(User::from).collect() })),
        _ => Err(unexpected()),
    }
}

/// Give a bot another token
///
/// The one before is refused within ten seconds, and its streams end. For its owner and for operators.
#[utoipa::path(
    post, path = "/v1/bots/{bot}/token", tag = "bots", operation_id = "botToken",
    params(("bot" = String, Path, description = "The bot's user id")),
    responses((status = 200, description = "Its token", body = Bot)),
)]
pub(in super::super) async fn token(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = PeopleRequest::BotToken { bot: named(&params)? };
    shown(&api, &who, key, digest, (StatusCode::OK, asked)).await
}

/// End a bot's token
///
/// It is refused within ten seconds, and its streams end. For its owner and for operators.
#[utoipa::path(
    delete, path = "/v1/bots/{bot}/token", tag = "bots", operation_id = "endBotToken",
    params(("bot" = String, Path, description = "The bot's user id")),
    responses((status = 200, description = "Ended", body = Done)),
)]
pub(in super::super) async fn end_token(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = Request::People(PeopleRequest::EndBotToken { bot: named(&params)? });
    once(&api, who.caller.user, key, digest, done(&api, &who, asked)).await
}

/// Delete a bot
///
/// For ever. For its owner and for operators.
#[utoipa::path(
    delete, path = "/v1/bots/{bot}", tag = "bots", operation_id = "deleteBot",
    params(("bot" = String, Path, description = "The bot's user id")),
    responses((status = 200, description = "Gone", body = Done)),
)]
pub(in super::super) async fn delete(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = Request::People(PeopleRequest::DeleteBot { bot: named(&params)? });
    once(&api, who.caller.user, key, digest, done(&api, &who, asked)).await
}

/// A bot and its token. Of a call under a key the token follows from the key, and is kept nowhere.
async fn shown(api: &Api, who: &Who, key: Option<Key>, digest: u64, (status, asked): (StatusCode, PeopleRequest)) -> Result<Response, Problem> {
    let work = async {
        match people(api, &who.under(key), asked).await? {
            PeopleAnswer::Bot { user, name, token } => Ok((status, Bot::new(user, name, &token))),
            _ => Err(unexpected()),
        }
    };
    let token = |answer: &Value, Key(key): Key| {
        let bot = user(answer["user"].as_str()?).ok()?;
        Some(api.gate.bot_token_under(who.caller.user, key, bot).1.text)
    };
    once_with_secret(api, who, key, digest, work, ("token", token)).await
}

async fn people(api: &Api, caller: &Caller, asked: PeopleRequest) -> Result<PeopleAnswer, Problem> {
    match api.ask(caller, Request::People(asked)).await? {
        Answer::People(answer) => Ok(answer),
        _ => Err(Code::Internal.into()),
    }
}

fn named(params: &Params) -> Result<UserId, Problem> {
    user(&part::<String>(params, "bot")?)
}
