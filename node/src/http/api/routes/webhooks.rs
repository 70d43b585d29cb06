//! Webhooks: what happens in a channel is posted to a URL. Those of one channel are its owner's, those of all channels an operator's.

use axum::{Json, extract::State, http::StatusCode, response::Response};
use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    hook::{HookAnswer, HookEvents, HookKey, HookRequest, HookScope, HookView},
    id::{HookId, digest, hash},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, Params, Who, part, user},
        number,
        once::{once, once_then},
        problem::Problem,
        unexpected,
    },
    write::{Done, channel},
};
use crate::{clock::draw_bytes, hook::sign};

/// What is posted.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookEvent)]
enum Kind {
    /// A text was sent.
    Created,
    /// A text was edited.
    Edited,
    /// A text was deleted, or its author erased.
    Deleted,
    /// Somebody was added, removed, left, joined, or got another role.
    Members,
}

impl Kind {
    const ALL: [(Self, HookEvents); 4] = [
        (Self::Created, HookEvents::CREATED),
        (Self::Edited, HookEvents::EDITED),
        (Self::Deleted, HookEvents::DELETED),
        (Self::Members, HookEvents::MEMBERS),
    ];
    fn bits(kinds: &[Self]) -> HookEvents {
        let bits = Self::ALL.iter().filter(|(kind, _)| kinds.contains(kind)).fold(0, |bits, (_, bit)| bits | bit.0);
        HookEvents(bits)
    }
    fn of(events: HookEvents) -> Vec<Self> {
        Self::ALL.iter().filter(|(_, bit)| events.holds(*bit)).map(|(kind, _)| *kind).collect()
    }
}

/// A webhook to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewWebhook {
    /// Where posts go.
    #[schema(min_length = 1, max_length = 1_024, format = "webhook-url", example = "https://example.org/kith")]
    url: String,
    /// What is posted; everything if it is absent.
    #[serde(default = "everything")]
    #[schema(min_items = 1, max_items = 4)]
    events: Vec<Kind>,
    /// The key of the signatures (Standard Webhooks); drawn if it is absent.
    #[serde(default)]
    #[schema(pattern = "^whsec_(([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{2,3})?|([A-Za-z0-9+/]{4}){21}([A-Za-z0-9+/]{2})?)={0,2}$", max_length = 100, format = Password)]
    secret: Option<String>,
}

/// A webhook of the cluster to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewClusterWebhook {
    /// Of the channels that this user is in: a bot's; of all if it is absent.
    #[serde(default)]
    #[schema(pattern = "^u[0-9a-fA-F]{16}$", example = "u00f3a1b2c3d4e5f6")]
    user: Option<String>,
    /// Where posts go.
    #[schema(min_length = 1, max_length = 1_024, format = "webhook-url", example = "https://example.org/kith")]
    url: String,
    /// What is posted; everything if it is absent.
    #[serde(default = "everything")]
    #[schema(min_items = 1, max_items = 4)]
    events: Vec<Kind>,
    /// The key of the signatures (Standard Webhooks); drawn if it is absent.
    #[serde(default)]
    #[schema(pattern = "^whsec_(([A-Za-z0-9+/]{4}){8,20}([A-Za-z0-9+/]{2,3})?|([A-Za-z0-9+/]{4}){21}([A-Za-z0-9+/]{2})?)={0,2}$", max_length = 100, format = Password)]
    secret: Option<String>,
}

fn everything() -> Vec<Kind> {
    Kind::ALL.iter().map(|(kind, _)| *kind).collect()
}

/// A webhook that was registered.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Registered {
    /// Names it.
    #[schema(example = "9f86d081884c7d65")]
    webhook: String,
    /// The key of the signatures, where it was drawn; it is shown with this answer alone, and with its retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Webhooks.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Webhooks {
    /// Without their keys.
    webhooks: Vec<Webhook>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
struct Webhook {
    /// Names it.
    webhook: String,
    /// Where posts go.
    url: String,
    /// What is posted.
    events: Vec<Kind>,
    /// Who registered it; absent: an operator's token of nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When, in milliseconds since 1970.
    made_ms: u64,
    /// Since when nothing gets through, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_ms: Option<u64>,
    /// Since when it is told nothing any more, as it failed for days.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_ms: Option<u64>,
}

impl From<HookView> for Webhook {
    fn from(view: HookView) -> Self {
        let time = |ms: u64| Some(ms).filter(|ms| *ms > 0).map(|ms| ms.min(number::MAX));
        Self {
            webhook: webhook_text(view.id),
            url: view.url,
            events: Kind::of(view.events),
            by: (view.by.get() > 0).then(|| view.by.to_string()),
            made_ms: view.made.get(),
            failing_ms: time(view.failing.get()),
            disabled_ms: time(view.disabled.get()),
        }
    }
}

/// What came of a try.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Tried {
    /// The HTTP status that the other side gave.
    status: u32,
}

/// Register a webhook of a channel
///
/// What happens in it is posted to the URL, in the channel's order, at least once, signed. For its owner, and for operators; at most 4.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/webhooks", tag = "webhooks", operation_id = "addWebhook",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name")),
    request_body = NewWebhook,
    responses((status = 201, description = "Registered", body = Registered)),
)]
pub(in super::super) async fn add(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewWebhook>,
) -> Result<Response, Problem> {
    let scope = HookScope::Channel(channel(&api, &who, &params).await?);
    let NewWebhook { url, events, secret } = body.value;
    register(&api, &who, key, body.digest, scope, (url, events, secret)).await
}

/// List the webhooks of a channel
#[utoipa::path(
    get, path = "/v1/channels/{channel}/webhooks", tag = "webhooks", operation_id = "webhooks",
    params(("channel" = String, Path, description = "The channel's id, or @ and a user's name")),
    responses((status = 200, description = "All", body = Webhooks)),
)]
pub(in super::super) async fn list(State(api): State<Api>, who: Who, params: Params) -> Result<Json<Webhooks>, Problem> {
    let scope = HookScope::Channel(channel(&api, &who, &params).await?);
    listed(&api, &who, scope).await
}

/// Remove a webhook of a channel
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/webhooks/{webhook}", tag = "webhooks", operation_id = "removeWebhook",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name"),
        ("webhook" = String, Path, description = "Its id", pattern = "^[0-9a-f]{16}$"),
    ),
    responses((status = 200, description = "Removed", body = Done)),
)]
pub(in super::super) async fn remove(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let scope = HookScope::Channel(channel(&api, &who, &params).await?);
    removed(&api, &who, key, digest, scope, &params).await
}

/// Try a webhook of a channel
///
/// Posts an event of no meaning now, once.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/webhooks/{webhook}/test", tag = "webhooks", operation_id = "testWebhook",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name"),
        ("webhook" = String, Path, description = "Its id", pattern = "^[0-9a-f]{16}$"),
    ),
    responses((status = 200, description = "It was answered", body = Tried)),
)]
pub(in super::super) async fn test(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let scope = HookScope::Channel(channel(&api, &who, &params).await?);
    tried(&api, &who, key, digest, scope, &params).await
}

/// Register a webhook of the cluster
///
/// Of all channels, or of those that a user is in. Needs an operator's token; at most 16.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "operators", operation_id = "addClusterWebhook", request_body = NewClusterWebhook,
    responses((status = 201, description = "Registered", body = Registered)),
)]
pub(in super::super) async fn add_of_cluster(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    body: Body<NewClusterWebhook>,
) -> Result<Response, Problem> {
    let NewClusterWebhook { user: of, url, events, secret } = body.value;
    let scope = of.map_or(Ok(HookScope::All), |text| user(&text).map(HookScope::User))?;
    register(&api, &who, key, body.digest, scope, (url, events, secret)).await
}

/// List the webhooks of the cluster
///
/// Of all channels and of bots. Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "operators", operation_id = "clusterWebhooks",
    responses((status = 200, description = "All", body = Webhooks)),
)]
pub(in super::super) async fn list_of_cluster(State(api): State<Api>, who: Who) -> Result<Json<Webhooks>, Problem> {
    listed(&api, &who, HookScope::All).await
}

/// Remove a webhook of the cluster
///
/// Needs an operator's token.
#[utoipa::path(
    delete, path = "/v1/webhooks/{webhook}", tag = "operators", operation_id = "removeClusterWebhook",
    params(("webhook" = String, Path, description = "Its id", pattern = "^[0-9a-f]{16}$")),
    responses((status = 200, description = "Removed", body = Done)),
)]
pub(in super::super) async fn remove_of_cluster(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    removed(&api, &who, key, digest, HookScope::All, &params).await
}

/// Try a webhook of the cluster
///
/// Posts an event of no meaning now, once. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/webhooks/{webhook}/test", tag = "operators", operation_id = "testClusterWebhook",
    params(("webhook" = String, Path, description = "Its id", pattern = "^[0-9a-f]{16}$")),
    responses((status = 200, description = "It was answered", body = Tried)),
)]
pub(in super::super) async fn test_of_cluster(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    tried(&api, &who, key, digest, HookScope::All, &params).await
}

type Wanted = (String, Vec<Kind>, Option<String>);

/// A key that was drawn follows from the caller's: a retry shows the same, and it is kept nowhere but with the webhook.
async fn register(api: &Api, who: &Who, key: Option<Key>, asked: u64, scope: HookScope, (url, events, secret): Wanted) -> Result<Response, Problem> {
    let drawn = key.map_or_else(draw_bytes, |Key(key)| *key.as_bytes());
    let drawn = digest(&[b"kith/http/webhook/1", &api.secret, &who.caller.user.get().to_be_bytes(), &asked.to_be_bytes(), &drawn]);
    let (secret, shown) = match secret {
        Some(text) => {
            let read = sign::read_key(&text).ok_or_else(|| Problem::new(Code::Invalid, "a key has the form whsec_ and base64, of 24 to 64 bytes"))?;
            (Bytes::from(read), None)
        }
        None => (Bytes::copy_from_slice(&drawn), Some(sign::key_text(&drawn))),
    };
    let asking =
        HookRequest::Add { scope, url, secret: HookKey::new(secret), events: Kind::bits(&events), key: hash(&[b"kith/http/webhook/1", &drawn]) };
    let work = async {
        match hook(api, who, asking).await? {
            HookAnswer::Added { id } => Ok((StatusCode::CREATED, Registered { webhook: webhook_text(id), secret: None })),
            _ => Err(unexpected()),
        }
    };
    once_then(api, who.caller.user, key, asked, work, |answer| {
        if let (Some(answer), Some(shown)) = (answer.as_object_mut(), shown) {
            answer.insert("secret".to_owned(), shown.into());
        }
    })
    .await
}

async fn listed(api: &Api, who: &Who, scope: HookScope) -> Result<Json<Webhooks>, Problem> {
    match hook(api, who, HookRequest::List(scope)).await? {
        HookAnswer::Hooks(hooks) => Ok(Json(Webhooks { webhooks: hooks.into_iter().map(Webhook::from).collect() })),
        _ => Err(unexpected()),
    }
}

async fn removed(api: &Api, who: &Who, key: Option<Key>, digest: u64, scope: HookScope, params: &Params) -> Result<Response, Problem> {
    let asked = HookRequest::Remove { scope, id: named(params)? };
    once(api, who.caller.user, key, digest, async { hook(api, who, asked).await.map(|_| (StatusCode::OK, Done {})) }).await
}

async fn tried(api: &Api, who: &Who, key: Option<Key>, digest: u64, scope: HookScope, params: &Params) -> Result<Response, Problem> {
    let asked = HookRequest::Test { scope, id: named(params)? };
    let work = async {
        match hook(api, who, asked).await? {
            HookAnswer::Tested(status) => Ok((StatusCode::OK, Tried { status })),
            _ => Err(unexpected()),
        }
    };
    once(api, who.caller.user, key, digest, work).await
}

async fn hook(api: &Api, who: &Who, asked: HookRequest) -> Result<HookAnswer, Problem> {
    match api.ask(&who.caller, Request::Hook(asked)).await? {
        Answer::Hook(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

/// A webhook's id, as it is written.
pub(super) fn webhook_text(id: HookId) -> String {
    format!("{:016x}", id.get())
}

fn named(params: &Params) -> Result<HookId, Problem> {
    let text: String = part(params, "webhook")?;
    let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_hex.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    id.map(HookId::new).ok_or_else(|| Problem::new(Code::Invalid, "a webhook is 16 hexadecimal digits"))
}
