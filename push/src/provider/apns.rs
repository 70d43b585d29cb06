//! Apple Push Notification service: HTTP/2, tokens signed with ES256.
//!
//! Invariants: a token is made anew 50 minutes after it was made (Apple takes none older than an hour), and not before 20 (`TooManyProviderTokenUpdates`) unless
//! the key has changed or Apple calls it expired; no connection is shared by two keys. Source: Apple's "Sending notification requests to APNs", "Handling
//! notification responses from APNs", "Establishing a token-based connection to APNs".

use std::sync::{Mutex, PoisonError};

use hyper::{HeaderMap, header::AUTHORIZATION, header::HeaderValue};
use kith_wire::{id::Timestamp, push::PUSH_FIELD};
use serde::Deserialize;
use serde_json::json;

use super::{Verdict, aps, by_status, put, secret, unsendable};
use crate::{
    Fault, Notification, Outcome, Reason, Urgency,
    credential::ApnsKey,
    jwt::{self, Signer},
    outbound::{Answer, Asked, Client, Speaks},
    target::{ApnsTarget, ApnsWorld},
    url::Url,
};

pub(crate) const PRODUCTION: &str = "https://api.push.apple.com";
pub(crate) const SANDBOX: &str = "https://api.sandbox.push.apple.com";
/// A token is made anew after so long.
const TOKEN_RENEWED_MS: u64 = 50 * 60_000;
/// Apple's bound on how often: a token that is younger is used, whatever is said of it.
const TOKEN_AGE_MIN_MS: u64 = 20 * 60_000;

/// Apple.
pub(crate) struct Apns {
    production: Url,
    sandbox: Url,
    topic: Option<String>,
    token: Mutex<Option<Token>>,
}

/// A token that we made.
struct Token {
    header: HeaderValue,
    made: Timestamp,
    /// Of the key.
    version: u64,
}

impl Apns {
    pub(crate) fn new(production: Url, sandbox: Url, topic: Option<String>) -> Self {
        Self { production, sandbox, topic, token: Mutex::default() }
    }
    pub(crate) async fn send(&self, client: &Client, key: &ApnsKey, target: &ApnsTarget, notification: &Notification, now: Timestamp) -> Verdict {
        let Some(topic) = target.topic.as_deref().or(self.topic.as_deref()) else {
            return Outcome::Misconfigured(Reason("no topic")).into();
        };
        let mut is_again = false;
        loop {
            let Some((token, made)) = self.token(key, now) else { return unsendable() };
            let asked = self.asked(key, target, topic, token, notification);
            let answer = match client.ask(&asked, now).await {
                Ok(answer) => answer,
                Err(error) => return error.into(),
            };
            let verdict = judge(&answer, now);
            if !verdict.is_token_spent {
                return verdict;
            }
            // A new one, once; Apple would not take more of them, and one that was just made is not too old: our clock is wrong.
            if is_again || now.get().saturating_sub(made.get()) < TOKEN_AGE_MIN_MS {
                return verdict;
            }
            self.forget(made);
            is_again = true;
        }
    }
    fn asked(&self, key: &ApnsKey, target: &ApnsTarget, topic: &str, token: HeaderValue, notification: &Notification) -> Asked {
        let base = if target.world == ApnsWorld::Sandbox { &self.sandbox } else { &self.production };
        let (aps, is_background) = aps(notification);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, token);
        put(&mut headers, "apns-id", &notification.id.to_uuid());
        put(&mut headers, "apns-topic", topic);
        put(&mut headers, "apns-push-type", if is_background { "background" } else { "alert" });
        put(&mut headers, "apns-expiration", &(notification.expires.get() / 1_000).to_string());
        put(&mut headers, "apns-priority", priority(notification.urgency, is_background));
        if let Some(collapse) = notification.collapse {
            put(&mut headers, "apns-collapse-id", &collapse.to_text());
        }
        let body = json!({ "aps": aps, PUSH_FIELD: notification.payload.to_text() });
        let url = base.with_path(format!("/3/device/{}", target.token.reveal()));
        Asked { speaks: Speaks::Http2, credential: key.version, ..Asked::post(url, headers, body.to_string()) }
    }
    /// The token of now, and when it was made.
    fn token(&self, key: &ApnsKey, now: Timestamp) -> Option<(HeaderValue, Timestamp)> {
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |token: &&Token| {
            let is_young = now >= token.made && now.get() - token.made.get() < TOKEN_RENEWED_MS;
            token.version == key.version && is_young
        };
        if let Some(token) = held.as_ref().filter(is_good) {
            return Some((token.header.clone(), token.made));
        }
        let claims = json!({ "iss": key.team_id, "iat": now.get() / 1_000 });
        let signed = jwt::sign(&Signer::Es256(&key.pair), Some(&key.key_id), &claims).ok()?;
        let header = secret(&format!("bearer {}", signed.reveal()))?;
        *held = Some(Token { header: header.clone(), made: now, version: key.version });
        Some((header, now))
    }
    /// The token that was made then is not used any more.
    fn forget(&self, made: Timestamp) {
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|token| token.made == made);
    }
}

const fn priority(urgency: Urgency, is_background: bool) -> &'static str {
    match urgency {
        Urgency::VeryLow => "1",
        Urgency::High if !is_background => "10",
        _ => "5",
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    reason: String,
    /// In milliseconds; with status 410.
    timestamp: Option<u64>,
}

/// Apple's words for what cannot be sent, whoever tries it.
const REFUSED: [&str; 12] = [
    "BadCollapseId",
    "BadExpirationDate",
    "BadMessageId",
    "BadPath",
    "BadPriority",
    "DeviceTokenNotForTopic",
    "DuplicateHeaders",
    "InvalidPushType",
    "MethodNotAllowed",
    "MissingDeviceToken",
    "PayloadEmpty",
    "PayloadTooLarge",
];
/// Apple's words for what the operator has to set right.
const MISCONFIGURED: [&str; 11] = [
    "BadCertificate",
    "BadCertificateEnvironment",
    "BadEnvironmentKeyIdInToken",
    "BadTopic",
    "Forbidden",
    "InvalidProviderToken",
    "MissingProviderToken",
    "MissingTopic",
    "TopicDisallowed",
    "UnrelatedKeyIdInToken",
    "TopicMismatch",
];

/// What Apple's answer means.
pub(crate) fn judge(answer: &Answer, now: Timestamp) -> Verdict {
    if answer.status.is_success() {
        return Outcome::Delivered.into();
    }
    let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
    let known = |words: &[&'static str]| words.iter().copied().find(|word| *word == said.reason);
    if let Some(word) = known(&REFUSED) {
        return Outcome::never(word).into();
    }
    if let Some(word) = known(&MISCONFIGURED) {
        return Outcome::Misconfigured(Reason(word)).into();
    }
    match (answer.status.as_u16(), said.reason.as_str()) {
        (410, _) => Outcome::DeadToken { since: said.timestamp.map(Timestamp::new) }.into(),
        (400, "BadDeviceToken") => Outcome::DeadToken { since: None }.into(),
        (403, "ExpiredProviderToken") => {
            Verdict { outcome: Outcome::Misconfigured(Reason("ExpiredProviderToken")), pause: None, is_token_spent: true }
        }
        // To one device: others are not meant.
        (429, "TooManyRequests") => Outcome::later(super::retry_after(&answer.headers, now), 429).into(),
        (400 | 403, "") => Outcome::Transient(Fault::Status(answer.status.as_u16())).into(),
        (400, _) => Outcome::never("bad request").into(),
        _ => by_status(answer, now),
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn judged(status: u16, body: &str) -> Outcome {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.to_owned().into() };
        judge(&answer, Timestamp::new(0)).outcome
    }

    #[test]
    fn answers_mean_what_apple_says() {
        assert_eq!(judged(200, ""), Outcome::Delivered);
        assert_eq!(judged(410, r#"{"reason":"Unregistered","timestamp":77}"#), Outcome::DeadToken { since: Some(Timestamp::new(77)) });
        assert_eq!(judged(410, ""), Outcome::DeadToken { since: None }, "the body was lost");
        assert_eq!(judged(400, r#"{"reason":"BadDeviceToken"}"#), Outcome::DeadToken { since: None });
        assert_eq!(judged(400, r#"{"reason":"DeviceTokenNotForTopic"}"#), Outcome::never("DeviceTokenNotForTopic"), "a wrong topic kills no tokens");
        assert_eq!(judged(403, r#"{"reason":"InvalidProviderToken"}"#), Outcome::Misconfigured(Reason("InvalidProviderToken")));
        assert_eq!(judged(413, r#"{"reason":"PayloadTooLarge"}"#), Outcome::never("PayloadTooLarge"));
        assert_eq!(judged(400, r#"{"reason":"Newly"}"#), Outcome::never("bad request"));
        assert_eq!(judged(400, ""), Outcome::Transient(Fault::Status(400)), "why is not known");
        assert_eq!(judged(500, r#"{"reason":"InternalServerError"}"#), Outcome::Transient(Fault::Status(500)));
    }
}
