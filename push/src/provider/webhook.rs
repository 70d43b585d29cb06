//! A URL of the device's own, for those that no provider reaches: posts signed by Standard Webhooks, as the webhooks of channels are.
//!
//! Invariants: it goes to public addresses only and encrypted, unless the settings allow more; `webhook-id` is the same for every attempt. Its JSON:
//!
//! ```text
//! {"type": "push", "timestamp": RFC 3339, "data": {"kith": the payload's text, "badge": 3, "urgency": "high", "expires_ms": …, "collapse": …?, "title": …?, "body": …?}}
//! ```

use hyper::{
    HeaderMap,
    header::{CONTENT_TYPE, HeaderValue},
};
use kith_wire::{id::Timestamp, push::PUSH_FIELD, sign};
use serde_json::json;

use super::{Verdict, by_status, put, secret, unsendable};
use crate::{
    Notification, Outcome, Shows,
    outbound::{Answer, Asked, Client, Reach},
    target::WebhookTarget,
};

pub(crate) async fn send(client: &Client, reach: Reach, target: &WebhookTarget, notification: &Notification, now: Timestamp) -> Verdict {
    let body = body(notification, now);
    let signed = sign::headers(&target.key, &format!("push_{}", notification.id.to_uuid()), now.get() / 1_000, &body);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    put(&mut headers, "webhook-id", &signed.id);
    put(&mut headers, "webhook-timestamp", &signed.timestamp);
    let Some(signature) = secret(&signed.signature) else { return unsendable() };
    headers.insert("webhook-signature", signature);
    let asked = Asked { reach, ..Asked::post(target.url.clone(), headers, body) };
    match client.ask(&asked, now).await {
        Ok(answer) => judge(&answer, now),
        Err(error) => error.into(),
    }
}

fn body(notification: &Notification, now: Timestamp) -> String {
    let mut data = json!({
        PUSH_FIELD: notification.payload.to_text(),
        "badge": notification.payload.badge,
        "urgency": notification.urgency.word(),
        "expires_ms": notification.expires.get(),
    });
    if let Some(collapse) = notification.collapse {
        data["collapse"] = json!(collapse.to_text());
    }
    if let Shows::Text(shown) = &notification.shows {
        data["title"] = json!(shown.title());
        data["body"] = json!(shown.body());
    }
    json!({ "type": "push", "timestamp": sign::time_text(now), "data": data }).to_string()
}

/// What the receiver's answer means.
pub(crate) fn judge(answer: &Answer, now: Timestamp) -> Verdict {
    match answer.status.as_u16() {
        410 => Outcome::DeadToken { since: None }.into(),
        // A receiver that is not there yet, or not any more: it says 410 if it means that.
        404 => Outcome::Refused { reason: crate::Reason("not found"), is_permanent: false }.into(),
        _ => by_status(answer, now),
    }
}
