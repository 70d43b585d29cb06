//! What a handler is given: who asks, under which key, with what body.
//!
//! In: the head and body of a request. Out: a [`Who`], a [`Key`], a [`Body`], a [`Query`], ids; or a problem that says what was wrong.
//! Bounds: `BODY_BYTES_MAX`, and a time for the body to come in. Not here: what the service refuses.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

use axum::{
    extract::{FromRequest, FromRequestParts, MatchedPath, OptionalFromRequestParts, RawPathParams, Request},
    http::{Extensions, Method, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{CallKey, ChannelId, DeviceId, Seq, UserId, hash},
    limit,
    peer::Caller,
};
use serde::de::DeserializeOwned;

use super::{Api, IDEMPOTENCY_KEY, PeerAddress, Trace, number, problem::Problem};
use crate::auth::Claims;

/// Who asks: a token was shown and is valid, and they do not ask too often.
pub(super) struct Who {
    /// As the service knows them.
    pub(super) caller: Caller,
    /// What the token says.
    pub(super) claims: Claims,
}

impl Who {
    /// As they are known to what answers the same under the same key.
    pub(super) fn under(&self, key: Option<Key>) -> Caller {
        Caller { key: key.map(|Key(key)| key), ..self.caller.clone() }
    }
    /// Who shows a token of the cluster, and whether it was ended since.
    async fn of(parts: &Parts, api: &Api) -> Result<(Self, Result<(), Problem>), Problem> {
        let shown = parts.headers.get(header::AUTHORIZATION).ok_or_else(|| Problem::new(Code::BadToken, "show a token: Authorization: Bearer …"))?;
        let token = shown.to_str().ok().and_then(bearer).ok_or_else(|| Problem::new(Code::BadToken, "the header is not Authorization: Bearer …"))?;
        let (claims, is_bot) = match api.bot(token).await {
            Some(claims) => (claims?, true),
            None => (api.tokens.show(token.to_owned(), from(&parts.extensions)).await?, false),
        };
        // A caller without a store is one device, whatever number of processes it has: it numbers nothing.
        let device = claims.device.unwrap_or_else(|| DeviceId::from_nonce(claims.user, HTTP_DEVICE));
        // Admin tokens are nobody's: each is counted by itself.
        let counted = claims.token.map_or(claims.user, |(token, _)| UserId::new(token.get()));
        let device = claims.token.map_or(device, |(token, _)| DeviceId::new(token.get()));
        api.limiter.caller(counted, device)?;
        let stays = if is_bot { Ok(()) } else { api.may_stay(&claims, device).await };
        let token = claims.token.map(|(token, _)| token);
        let caller = Caller { user: claims.user, device, admin: claims.role(), trace: Trace::of(parts), key: None, token };
        Ok((Self { caller, claims }, stays))
    }
}

impl FromRequestParts<Api> for Who {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let (who, stays) = Self::of(parts, api).await?;
        stays.map(|()| who)
    }
}

/// Who asks for what ends their own token: by a retry it has ended.
pub(super) struct Leaver {
    /// Who.
    pub(super) who: Who,
    /// Their token was ended: only what was answered before is theirs to hear.
    pub(super) gone: Option<Problem>,
}

impl FromRequestParts<Api> for Leaver {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        match Who::of(parts, api).await? {
            (who, Ok(())) => Ok(Self { who, gone: None }),
            (who, Err(problem)) if problem.code == Code::Revoked => Ok(Self { who, gone: Some(problem) }),
            (_, Err(problem)) => Err(problem),
        }
    }
}

/// Where a request came from.
fn from(extensions: &Extensions) -> IpAddr {
    extensions.get::<PeerAddress>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |PeerAddress(from)| *from)
}

/// The token of a header's value.
pub(super) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The key of a call; every write may have one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key(pub(super) CallKey);

impl<S: Sync> OptionalFromRequestParts<S> for Key {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim_matches('"');
        let key: CallKey =
            text.parse().map_err(|_| Problem::new(Code::Invalid, "Idempotency-Key is a UUID of version 7, for example of `uuidgen -7`"))?;
        // One without a date looks like a node's own.
        if key.is_of_node() { Err(Code::TooOld.into()) } else { Ok(Some(Self(key))) }
    }
}

/// No key: of a write that is as good done twice, and leaves nothing that could be told again. One who shows a key is told so.
pub(super) struct NoKey;

impl<S: Sync> FromRequestParts<S> for NoKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if parts.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(Problem::new(Code::Invalid, "this takes no Idempotency-Key: it is as good asked twice"));
        }
        Ok(Self)
    }
}

/// A JSON body, and a digest of all that was asked.
pub(super) struct Body<T> {
    pub(super) value: T,
    pub(super) digest: u64,
}

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _api: &Api) -> Result<Self, Problem> {
        let is_json = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
        if !is_json {
            return Err(
                Problem::new(Code::Invalid, "the body is JSON: Content-Type: application/json").with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
            );
        }
        let asked = Asked::of(request.method(), request.uri().path());
        let bytes = read(request).await?;
        let value =
            serde_json::from_slice(&bytes).map_err(|error| Problem::new(Code::Invalid, format!("the body is not what is asked for: {error}")))?;
        Ok(Self { value, digest: asked.digest(&bytes) })
    }
}

/// What tells a retry from another request under the same key.
struct Asked(String);

impl Asked {
    fn of(method: &Method, path: &str) -> Self {
        Self(format!("{method} {path}"))
    }
    fn digest(&self, body: &[u8]) -> u64 {
        hash(&[b"kith/http/1", self.0.as_bytes(), body])
    }
}

pub(super) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read(request: Request) -> Result<Bytes, Problem> {
    let body = axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_WITHIN, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Problem::new(Code::TooLarge, format!("a body has at most {BODY_BYTES_MAX} bytes"))),
        Err(_) => Err(Problem::new(Code::Timeout, "the body did not come in time").with_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

/// Digest of all that was asked, of a request without a body.
pub(super) struct Digest(pub(super) u64);

impl<S: Sync> FromRequestParts<S> for Digest {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(Asked::of(&parts.method, parts.uri.path()).digest(&[])))
    }
}

/// The query of a URL.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value));
        query.map_err(|error| Problem::new(Code::Invalid, format!("the query is not what is asked for: {}", error.body_text())))
    }
}

/// The parts of the path, decoded.
pub(super) struct Params(RawPathParams);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        RawPathParams::from_request_parts(parts, state).await.map(Self).map_err(|_| Problem::new(Code::Invalid, "the path is not UTF-8"))
    }
}

/// A part of the path, by its name, parsed.
pub(super) fn part<T: FromStr>(params: &Params, name: &'static str) -> Result<T, Problem> {
    let value = params.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).ok_or_else(|| Problem::new(Code::Invalid, format!("the path's {name} is malformed")))
}

/// The record that the path names.
pub(super) fn seq(params: &Params) -> Result<Seq, Problem> {
    numbered(params, "seq").map(Seq::new)
}

/// What the path names by a number from 1 on.
pub(super) fn numbered(params: &Params, name: &'static str) -> Result<u64, Problem> {
    match part::<u64>(params, name)? {
        number if (1..=number::MAX).contains(&number) => Ok(number),
        _ => Err(Problem::new(Code::Invalid, format!("the path's {name} begins at 1, and numbers end at 2^53"))),
    }
}

/// A user that a caller names.
pub(super) fn user(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| Problem::new(Code::Invalid, "a user id is u and 16 hexadecimal digits"))
}

/// A channel that a caller names, or the name of the user at its other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// By its id.
    Channel(ChannelId),
    /// The direct channel with the user of this name.
    With(String),
}

impl FromStr for Place {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        match text.strip_prefix('@') {
            Some(name) if name.len() <= limit::NAME_BYTES_MAX => Ok(Self::With(name.to_owned())),
            _ => text
                .parse()
                .map(Self::Channel)
                .map_err(|_| Problem::new(Code::Invalid, "a channel is its id, 34 hexadecimal digits, or @ and the name of a user")),
        }
    }
}

/// The route of a request, for its metrics.
pub(super) fn route(request: &Request) -> String {
    request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned())
}

/// Nonce of the device that HTTP callers of a user are.
const HTTP_DEVICE: &[u8; 16] = b"kith http caller";
/// A body, in bytes: the longest text, each character written as `\uXXXX` twice, and what is around it.
const BODY_BYTES_MAX: usize = 12 * limit::TEXT_CHARS_MAX + 64 * 1024;
/// For a body to come in.
const BODY_WITHIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_after_its_scheme() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for wrong in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_is_an_id_or_a_name() {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        assert_eq!(channel.to_string().parse(), Ok(Place::Channel(channel)));
        assert_eq!("@ann".parse(), Ok(Place::With("ann".to_owned())));
        for wrong in ["", "ann", "01", &format!("@{}", "x".repeat(65))] {
            assert_eq!(wrong.parse::<Place>().unwrap_err().code, Code::Invalid, "{wrong}");
        }
    }

    #[test]
    fn another_path_or_body_is_another_request() {
        let digest = |path: &str, body: &[u8]| Asked::of(&Method::POST, path).digest(body);
        assert_eq!(digest("/a", b"1"), digest("/a", b"1"));
        assert_ne!(digest("/a", b"1"), digest("/a", b"2"));
        assert_ne!(digest("/a", b"1"), digest("/b", b"1"));
    }
}
