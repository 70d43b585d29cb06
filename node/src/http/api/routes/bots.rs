//! Bots: users that a program is, by a token that lasts until it is ended.

use axum::{Json, extract::State, http::StatusCode};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{UserId, digest},
    people::{PeopleAnswer, PeopleRequest},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Key, Params, Who, part, user},
        model::User,
        problem::Problem,
        unexpected,
    },
    write::Done,
};
use crate::clock::draw_bytes;

/// A bot to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewBot {
    /// Its name, as a user's.
    #[schema(min_length = 1, max_length = 64, example = "helper")]
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
/// A user of its own, which the one who makes it looks after; at most 20. By an operator's token of nobody it is the cluster's. With the same key
/// and name it is the same bot again, and another token in the place of the one before.
#[utoipa::path(
    post, path = "/v1/bots", tag = "bots", operation_id = "makeBot", request_body = NewBot,
    responses((status = 201, description = "Made", body = Bot)),
)]
pub(in super::super) async fn make(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    body: Body<NewBot>,
) -> Result<(StatusCode, Json<Bot>), Problem> {
    let name = body.value.name;
    let drawn = key.map_or_else(draw_bytes, |Key(key)| *key.as_bytes());
    let secret = digest(&[b"kith/http/bot/1", &api.secret, &drawn, name.as_bytes()]);
    bot(&api, &who, PeopleRequest::MakeBot { name, key: secret }).await.map(|bot| (StatusCode::CREATED, Json(bot)))
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
    match people(&api, &who, PeopleRequest::Bots).await? {
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
pub(in super::super) async fn token(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Bot>, Problem> {
    bot(&api, &who, PeopleRequest::BotToken { bot: named(&params)? }).await.map(Json)
}

/// End a bot's token
///
/// It is refused within ten seconds, and its streams end. For its owner and for operators.
#[utoipa::path(
    delete, path = "/v1/bots/{bot}/token", tag = "bots", operation_id = "endBotToken",
    params(("bot" = String, Path, description = "The bot's user id")),
    responses((status = 200, description = "Ended", body = Done)),
)]
pub(in super::super) async fn end_token(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Done>, Problem> {
    people(&api, &who, PeopleRequest::EndBotToken { bot: named(&params)? }).await.map(|_| Json(Done {}))
}

/// Delete a bot
///
/// For ever. For its owner and for operators.
#[utoipa::path(
    delete, path = "/v1/bots/{bot}", tag = "bots", operation_id = "deleteBot",
    params(("bot" = String, Path, description = "The bot's user id")),
    responses((status = 200, description = "Gone", body = Done)),
)]
pub(in super::super) async fn delete(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Done>, Problem> {
    people(&api, &who, PeopleRequest::DeleteBot { bot: named(&params)? }).await.map(|_| Json(Done {}))
}

async fn bot(api: &Api, who: &Who, asked: PeopleRequest) -> Result<Bot, Problem> {
    match people(api, who, asked).await? {
        PeopleAnswer::Bot { user, name, token } => Ok(Bot::new(user, name, &token)),
        _ => Err(unexpected()),
    }
}

async fn people(api: &Api, who: &Who, asked: PeopleRequest) -> Result<PeopleAnswer, Problem> {
    match api.ask(&who.caller, Request::People(asked)).await? {
        Answer::People(answer) => Ok(answer),
        _ => Err(Code::Internal.into()),
    }
}

fn named(params: &Params) -> Result<UserId, Problem> {
    user(&part::<String>(params, "bot")?)
}
