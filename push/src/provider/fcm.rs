//! Firebase Cloud Messaging, HTTP v1: OAuth 2 with a service account's assertion, signed with RS256 (RFC 7523).
//!
//! Invariants: one access token at a time is asked for; it is used until a minute before its end, and made anew before that once Google calls it bad. Source: Google's
//! "Send messages with the FCM v1 API", "ErrorCode" and "Using OAuth 2.0 for server to server applications".
//! A trap: Google keeps four collapse keys a device at most, and which ones is not said. With pointers that does no harm: any of them wakes the app, which then asks
//! for everything.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use kith_wire::{id::Timestamp, push::PUSH_FIELD, secret::Secret};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Verdict, aps, by_status, cut_off, secret, unsendable};
use crate::{
    Fault, Notification, Outcome, Reason, Shows, Urgency,
    credential::Account,
    jwt::{self, Signer},
    outbound::{Answer, Asked, Client},
    target::FcmTarget,
    url::Url,
};

pub(crate) const GOOGLE: &str = "https://fcm.googleapis.com";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// An assertion is good for so long, in seconds: Google's bound.
const ASSERTED_SECONDS: u64 = 3_600;
/// A token is not used in its last minute.
const TOKEN_LEFT_MS: u64 = 60_000;
/// What Google says where it names no time (its documentation: a minute at least).
const QUOTA_WAIT: Duration = Duration::from_secs(60);

/// Google.
pub(crate) struct Fcm {
    base: Url,
    held: Mutex<Held>,
    /// How often asking for a token has come to an end.
    asked: AtomicU64,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// What came of asking last, if it was no token.
    failed: Option<Verdict>,
}

/// An access token that Google gave.
struct Token {
    header: HeaderValue,
    until: Timestamp,
    /// Of the account.
    version: u64,
    made: Timestamp,
}

impl Fcm {
    pub(crate) fn new(base: Url) -> Self {
        Self { base, held: Mutex::default(), asked: AtomicU64::new(0) }
    }
    pub(crate) async fn send(&self, client: &Client, account: &Account, target: &FcmTarget, notification: &Notification, now: Timestamp) -> Verdict {
        let Some(seconds) = notification.kept_seconds(now) else { return Outcome::never("expired").into() };
        let mut is_again = false;
        loop {
            let (token, is_new) = match self.token(client, account, now).await {
                Ok(token) => token,
                Err(verdict) => return verdict,
            };
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, token.clone());
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let url = self.base.with_path(format!("/v1/projects/{}/messages:send", account.project));
            let asked = Asked { credential: account.version, ..Asked::post(url, headers, message(target, notification, seconds).to_string()) };
            let answer = match client.ask(&asked, now).await {
                Ok(answer) => answer,
                Err(error) => return error.into(),
            };
            let verdict = judge(&answer, now);
            if !verdict.is_token_spent || is_new || is_again {
                return verdict;
            }
            self.held.lock().await.token.take_if(|held| held.header == token);
            is_again = true;
        }
    }
    /// The token of now, and whether it was had for this. Who comes while one is asked for waits for it, and fails with it: a server that hangs is not asked
    /// by all of them, one after the other.
    async fn token(&self, client: &Client, account: &Account, now: Timestamp) -> Result<(HeaderValue, bool), Verdict> {
        let asked = self.asked.load(Relaxed);
        let mut held = self.held.lock().await;
        let is_good = |token: &&Token| token.version == account.version && now >= token.made && now.get() + TOKEN_LEFT_MS < token.until.get();
        if let Some(token) = held.token.as_ref().filter(is_good) {
            return Ok((token.header.clone(), false));
        }
        if let Some(failed) = held.failed
            && asked != self.asked.load(Relaxed)
        {
            return Err(failed);
        }
        let had = had(client, account, now).await;
        // Those who wait came before this.
        self.asked.fetch_add(1, Relaxed);
        match had {
            Ok(token) => {
                let header = token.header.clone();
                *held = Held { token: Some(token), failed: None };
                Ok((header, true))
            }
            Err(failed) => {
                *held = Held { token: None, failed: Some(failed) };
                Err(failed)
            }
        }
    }
}

/// A new token.
async fn had(client: &Client, account: &Account, now: Timestamp) -> Result<Token, Verdict> {
    let asked = ask(account, now).ok_or_else(unsendable)?;
    let answer = client.ask(&asked, now).await.map_err(Verdict::from)?;
    let granted = judge_token(&answer, now)?;
    let header = secret(&format!("Bearer {}", granted.token.reveal())).ok_or_else(unsendable)?;
    let until = Timestamp::new(now.get().saturating_add(granted.seconds.saturating_mul(1_000)));
    Ok(Token { header, until, version: account.version, made: now })
}

/// Asks for an access token.
fn ask(account: &Account, now: Timestamp) -> Option<Asked> {
    let seconds = now.get() / 1_000;
    let claims = json!({ "iss": account.email, "scope": SCOPE, "aud": account.audience, "iat": seconds, "exp": seconds + ASSERTED_SECONDS });
    let assertion = jwt::sign(&Signer::Rs256(&account.pair), Some(&account.key_id), &claims).ok()?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}", assertion.reveal());
    let url = account.token_url.clone();
    Some(Asked { credential: account.version, ..Asked::post(url, headers, body) })
}

/// The request's JSON.
fn message(target: &FcmTarget, notification: &Notification, seconds: u64) -> Value {
    let is_high = notification.urgency == Urgency::High;
    let mut android = json!({ "priority": if is_high { "HIGH" } else { "NORMAL" }, "ttl": format!("{seconds}s") });
    let (aps, is_background) = aps(notification);
    let mut apple = json!({
        "apns-priority": if is_high && !is_background { "10" } else { "5" },
        "apns-push-type": if is_background { "background" } else { "alert" },
        "apns-expiration": (notification.expires.get() / 1_000).to_string(),
    });
    if let Some(collapse) = notification.collapse {
        android["collapse_key"] = json!(collapse.to_text());
        apple["apns-collapse-id"] = json!(collapse.to_text());
    }
    let mut message = json!({
        "token": target.token.reveal(),
        "data": { PUSH_FIELD: notification.payload.to_text() },
        "apns": { "headers": apple, "payload": { "aps": aps } },
    });
    if let Shows::Text(shown) = &notification.shows {
        message["notification"] = json!({ "title": shown.title(), "body": shown.body() });
        if let Some(collapse) = notification.collapse {
            android["notification"] = json!({ "tag": collapse.to_text() });
        }
    }
    message["android"] = android;
    json!({ "message": message })
}

/// A token that was granted.
#[derive(Debug)]
pub(crate) struct Granted {
    token: Secret,
    seconds: u64,
}

#[derive(Deserialize)]
struct GrantedJson {
    access_token: String,
    expires_in: u64,
}

/// What the answer to an assertion means.
pub(crate) fn judge_token(answer: &Answer, now: Timestamp) -> Result<Granted, Verdict> {
    if answer.status.is_success() {
        let granted: GrantedJson = serde_json::from_slice(&answer.body).map_err(|_| cut_off())?;
        return Ok(Granted { token: Secret::new(granted.access_token), seconds: granted.expires_in });
    }
    Err(match answer.status.as_u16() {
        400 | 401 | 403 => Outcome::Misconfigured(Reason("the service account is not taken")).into(),
        _ => by_status(answer, now),
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    error: SaidError,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct SaidError {
    details: Vec<Detail>,
}
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: String,
    field_violations: Vec<Violation>,
}
#[derive(Deserialize, Default)]
#[serde(default)]
struct Violation {
    field: String,
}

/// What Google's answer means.
pub(crate) fn judge(answer: &Answer, now: Timestamp) -> Verdict {
    if answer.status.is_success() {
        return Outcome::Delivered.into();
    }
    let said: Said = serde_json::from_slice(&answer.body).unwrap_or_default();
    let details = &said.error.details;
    let code = details.iter().map(|detail| detail.error_code.as_str()).find(|code| !code.is_empty()).unwrap_or_default();
    let is_token_bad = details.iter().flat_map(|detail| &detail.field_violations).any(|violation| violation.field == "message.token");
    match (answer.status.as_u16(), code) {
        (_, "UNREGISTERED") => Outcome::DeadToken { since: None }.into(),
        (400, _) if is_token_bad => Outcome::DeadToken { since: None }.into(),
        (400, "INVALID_ARGUMENT") => Outcome::never("INVALID_ARGUMENT").into(),
        (400, _) if answer.body.is_empty() => Outcome::Transient(Fault::Status(400)).into(),
        // It is another project's: were the account the wrong one, its devices would still be there.
        (403, "SENDER_ID_MISMATCH") => Outcome::never("SENDER_ID_MISMATCH").into(),
        (401, "THIRD_PARTY_AUTH_ERROR") => Outcome::Misconfigured(Reason("THIRD_PARTY_AUTH_ERROR")).into(),
        (401, _) => Verdict { outcome: Outcome::Misconfigured(Reason("UNAUTHENTICATED")), pause: None, is_token_spent: true },
        (403, _) => Outcome::Misconfigured(Reason("PERMISSION_DENIED")).into(),
        (404, _) => Outcome::Misconfigured(Reason("the project is not known")).into(),
        (429, _) => {
            let after = super::retry_after(&answer.headers, now).unwrap_or(QUOTA_WAIT);
            Verdict { outcome: Outcome::RetryAfter(after), pause: Some(after), is_token_spent: false }
        }
        _ => by_status(answer, now),
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn judged(status: u16, detail: &Value) -> Verdict {
        let body = json!({ "error": { "code": status, "message": "…", "status": "…", "details": [{ "@type": "x" }, detail] } });
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.to_string().into() };
        judge(&answer, Timestamp::new(0))
    }

    #[test]
    fn answers_mean_what_google_says() {
        let code = |status, code: &str| judged(status, &json!({ "errorCode": code })).outcome;
        assert_eq!(code(404, "UNREGISTERED"), Outcome::DeadToken { since: None });
        assert_eq!(code(404, ""), Outcome::Misconfigured(Reason("the project is not known")));
        assert_eq!(code(400, "INVALID_ARGUMENT"), Outcome::never("INVALID_ARGUMENT"));
        let violation = judged(400, &json!({ "fieldViolations": [{ "field": "message.token", "description": "…" }] }));
        assert_eq!(violation.outcome, Outcome::DeadToken { since: None });
        assert_eq!(code(403, "SENDER_ID_MISMATCH"), Outcome::never("SENDER_ID_MISMATCH"));
        assert_eq!(code(403, ""), Outcome::Misconfigured(Reason("PERMISSION_DENIED")));
        assert_eq!(code(401, "THIRD_PARTY_AUTH_ERROR"), Outcome::Misconfigured(Reason("THIRD_PARTY_AUTH_ERROR")));
        assert!(judged(401, &json!({})).is_token_spent);
        let quota = judged(429, &json!({ "errorCode": "QUOTA_EXCEEDED" }));
        assert_eq!((quota.outcome, quota.pause), (Outcome::RetryAfter(QUOTA_WAIT), Some(QUOTA_WAIT)));
        assert_eq!(code(503, "UNAVAILABLE"), Outcome::Transient(Fault::Status(503)));
        assert_eq!(code(500, "INTERNAL"), Outcome::Transient(Fault::Status(500)));
    }
}
