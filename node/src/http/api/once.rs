//! Doing a call once, whatever number of times and over whatever nodes it is asked for.
//!
//! In: a key (or none), the digest of what was asked, the work. Out: its answer, or the one that was kept. A write to one channel needs none of
//! this: its key goes into the channel's log. Invariants: only final answers are kept; what may pass is done again; no secret is kept, neither of
//! an answer nor, but as a slow hash, of a request.

use std::future::Future;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use kith_wire::{
    code::{Code, Retry},
    id::{CallKey, UserId, hash},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api,
    extract::{Key, Leaver, Who},
    problem::Problem,
};
use crate::{clock, service::call};

/// An answer as it is kept in the caller's home.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    /// Of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    body: Value,
}

/// Does the work under the key, or tells what was answered to it. Work that runs twice must come to the same end: a node may die in it.
pub(super) async fn once<T: Serialize>(
    api: &Api,
    user: UserId,
    key: Option<Key>,
    digest: u64,
    work: impl Future<Output = Result<(StatusCode, T), Problem>>,
) -> Result<Response, Problem> {
    once_then(api, user, key, digest, work, |_| ()).await
}

/// As [`once`]. What `show` adds to the answer goes out with it and with each retry, and is not kept.
pub(super) async fn once_then<T: Serialize>(
    api: &Api,
    user: UserId,
    key: Option<Key>,
    digest: u64,
    work: impl Future<Output = Result<(StatusCode, T), Problem>>,
    show: impl FnOnce(&mut Value),
) -> Result<Response, Problem> {
    let work = async {
        let (status, value) = work.await?;
        serde_json::to_value(value).map(|body| (status, body)).map_err(|_| Problem::from(Code::Internal))
    };
    let Some(Key(key)) = key else {
        let (status, body) = work.await?;
        return Ok(response(status, body, show));
    };
    let router = api.service.router();
    if let Some(kept) = Box::pin(call::begin(router, user, key, digest, api.deadline())).await? {
        return replay(&kept, show);
    }
    let done = work.await;
    let answer = match &done {
        Ok((status, body)) => keep(&Kept { status: status.as_u16(), code: None, body: body.clone() }),
        Err(problem) if problem.code.retry() == Retry::Never && problem.code != Code::Internal => {
            keep(&Kept { status: problem.status.as_u16(), code: Some(problem.code.number()), body: problem.detail.clone().into() })
        }
        Err(_) => Bytes::new(),
    };
    if let Err(refusal) = Box::pin(call::end(router, user, key, answer, api.deadline())).await {
        // The answer stands all the same; a retry will come to it again.
        tracing::debug!(code = %refusal.code, "http.once: the answer is not kept");
    }
    done.map(|(status, body)| response(status, body, show))
}

/// As [`once`], of what ends the asker's token. Who shows a token that was ended hears what was answered under their key, and nothing is done.
pub(super) async fn once_for_leaver<T: Serialize>(
    api: &Api,
    leaver: &Leaver,
    key: Option<Key>,
    digest: u64,
    work: impl Future<Output = Result<(StatusCode, T), Problem>>,
) -> Result<Response, Problem> {
    let user = leaver.who.caller.user;
    let Some(gone) = leaver.gone.clone() else { return once(api, user, key, digest, work).await };
    let Some(Key(key)) = key else { return Err(gone) };
    match Box::pin(call::begin(api.service.router(), user, key, digest, api.deadline())).await {
        Ok(Some(kept)) => replay(&kept, |_| ()),
        Ok(None) => {
            // Nothing was asked under it: nobody is at it.
            Box::pin(call::end(api.service.router(), user, key, Bytes::new(), api.deadline())).await?;
            Err(gone)
        }
        Err(refusal) if refusal.code == Code::Conflict => Err(refusal.into()),
        Err(_) => Err(gone),
    }
}

/// As [`once`], of an answer with a secret in this field. Of a call under a key the secret follows from the key, by `derive` from the rest of the
/// answer: it is kept nowhere, and each retry shows it.
pub(super) async fn once_with_secret<T: Serialize>(
    api: &Api,
    who: &Who,
    key: Option<Key>,
    digest: u64,
    work: impl Future<Output = Result<(StatusCode, T), Problem>>,
    (field, derive): (&'static str, impl FnOnce(&Value, Key) -> Option<Secret>),
) -> Result<Response, Problem> {
    let work = async {
        let (status, value) = work.await?;
        let mut value = serde_json::to_value(value).map_err(|_| Problem::from(Code::Internal))?;
        if key.is_some()
            && let Some(value) = value.as_object_mut()
        {
            value.remove(field);
        }
        Ok::<_, Problem>((status, value))
    };
    once_then(api, who.caller.user, key, digest, work, |answer| {
        if let Some(secret) = key.and_then(|key| derive(answer, key))
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert(field.to_owned(), secret.reveal().into());
        }
    })
    .await
}

/// What tells a body with passwords from another one under the same key. It is kept, and so it is a slow hash of them; without a key it is nothing.
pub(super) async fn imprint(api: &Api, who: &Who, key: Option<Key>, asked: u64, secrets: &[&str]) -> Result<u64, Problem> {
    let Some(Key(key)) = key else { return Ok(asked) };
    // It takes as long as to try a password.
    api.gate.attempt(who.caller.user)?;
    let mut together = String::new();
    for secret in secrets {
        together.push_str(&secret.len().to_string());
        together.push(':');
        together.push_str(secret);
    }
    let imprint = api.gate.imprint(key, Secret::new(together)).await?;
    Ok(hash(&[b"kith/http/secret/1", &asked.to_be_bytes(), &imprint.to_be_bytes()]))
}

/// The key of a write to one channel: the caller's, or one that tells the node's own retries apart.
pub(super) fn key_or_own(api: &Api, key: Option<Key>) -> CallKey {
    key.map_or_else(|| CallKey::of_node(api.clock.now(), clock::draw() as u32), |Key(key)| key)
}

fn keep(kept: &Kept) -> Bytes {
    // Of what was serialised a moment ago; an empty answer would only be done again.
    serde_json::to_vec(kept).map(Bytes::from).unwrap_or_default()
}

fn replay(kept: &[u8], show: impl FnOnce(&mut Value)) -> Result<Response, Problem> {
    let kept: Kept = serde_json::from_slice(kept).map_err(|error| {
        tracing::error!(cause = %error, "http.once: a kept answer cannot be read");
        Problem::from(Code::Internal)
    })?;
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(code) = kept.code {
        let detail = kept.body.as_str().unwrap_or_default();
        return Err(Problem::new(Code::from_number(code), detail).with_status(status));
    }
    let mut response = response(status, kept.body, show);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn response(status: StatusCode, mut body: Value, show: impl FnOnce(&mut Value)) -> Response {
    show(&mut body);
    (status, Json(body)).into_response()
}

/// Says that the answer was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
