//! Web Push (RFC 8030): any push service of a browser, VAPID (RFC 8292), encrypted for the browser (RFC 8291).
//!
//! Invariants: the endpoint was named by a device, so it is asked for only at a public address; a token is for one origin, good for 12 hours and used for half of
//! them. Bounds: [`TOKENS_MAX`] origins whose token is kept.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
};
use kith_wire::{base64, id::Timestamp, push::PUSH_FIELD};
use serde_json::json;

use super::{Verdict, by_status, put, secret, unsendable};
use crate::{
    Notification, Outcome, Reason, Shows,
    credential::{VapidKey, VapidKeys},
    jwt::{self, Signer},
    outbound::{Answer, Asked, Client, Reach},
    seal,
    target::{ServerKeyId, WebPushTarget},
};

/// Origins whose token is kept; beyond it the oldest is made anew when it is needed.
const TOKENS_MAX: usize = 256;
/// A token is good for so long, in seconds; RFC 8292 allows a day.
const GOOD_SECONDS: u64 = 12 * 3_600;

/// Browsers' push services.
pub(crate) struct WebPush {
    reach: Reach,
    /// By key and origin.
    tokens: Mutex<BTreeMap<(ServerKeyId, String), Token>>,
}

struct Token {
    header: HeaderValue,
    made: Timestamp,
}

impl WebPush {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, tokens: Mutex::default() }
    }
    pub(crate) async fn send(
        &self,
        client: &Client,
        keys: &VapidKeys,
        target: &WebPushTarget,
        notification: &Notification,
        now: Timestamp,
    ) -> Verdict {
        let Some(seconds) = notification.kept_seconds(now) else { return Outcome::never("expired").into() };
        // The key may be in another file by mistake: the subscription is not removed for that.
        let Some(key) = keys.of(target.server) else { return Outcome::Misconfigured(Reason("its server key is not there")).into() };
        let Some(token) = self.token(keys, key, target, now) else { return unsendable() };
        let mut plain = json!({ PUSH_FIELD: notification.payload.to_text() });
        if let Shows::Text(shown) = &notification.shows {
            plain["title"] = json!(shown.title());
            plain["body"] = json!(shown.body());
        }
        let Ok(body) = seal::seal(plain.to_string().as_bytes(), &target.key, &target.auth) else { return unsendable() };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, token);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put(&mut headers, "ttl", &seconds.to_string());
        put(&mut headers, "urgency", notification.urgency.word());
        if let Some(collapse) = notification.collapse {
            put(&mut headers, "topic", &collapse.to_text());
        }
        let url = target.endpoint.clone();
        let asked = Asked { reach: self.reach, ..Asked::post(url, headers, body) };
        match client.ask(&asked, now).await {
            Ok(answer) => judge(&answer, now),
            Err(error) => error.into(),
        }
    }
    fn token(&self, keys: &VapidKeys, key: &VapidKey, target: &WebPushTarget, now: Timestamp) -> Option<HeaderValue> {
        let at = (key.id, target.endpoint.origin());
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |token: &&Token| now >= token.made && now.get() - token.made.get() < GOOD_SECONDS * 1_000 / 2;
        if let Some(token) = tokens.get(&at).filter(is_good) {
            return Some(token.header.clone());
        }
        let claims = json!({ "aud": at.1, "exp": now.get() / 1_000 + GOOD_SECONDS, "sub": keys.subject });
        let signed = jwt::sign(&Signer::Es256(&key.pair), None, &claims).ok()?;
        let header = secret(&format!("vapid t={}, k={}", signed.reveal(), base64::write_url(&key.public)))?;
        if tokens.len() >= TOKENS_MAX {
            let oldest = tokens.iter().min_by_key(|(_, token)| token.made).map(|(at, _)| at.clone());
            oldest.map(|oldest| tokens.remove(&oldest));
        }
        tokens.insert(at, Token { header: header.clone(), made: now });
        Some(header)
    }
}

/// What a push service's answer means.
pub(crate) fn judge(answer: &Answer, now: Timestamp) -> Verdict {
    match answer.status.as_u16() {
        404 | 410 => Outcome::DeadToken { since: None }.into(),
        401 => Outcome::Misconfigured(Reason("the vapid token is not taken")).into(),
        // It subscribed with another server key than the one it told us of.
        403 => Outcome::never("the server key is not that of the subscription").into(),
        _ => by_status(answer, now),
    }
}
