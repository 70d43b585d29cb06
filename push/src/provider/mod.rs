//! The providers: how each is asked, and what its answers mean.
//!
//! In: a notification, the provider's credential, the time. Out: a [`Verdict`]. What an answer means is a pure function of its status, headers and body
//! (`judge` in each), so that any answer can be tried. Not here: connections ([`crate::outbound`]), places ([`crate::gate`]), when to try again ([`crate::retry`]).

pub(crate) mod apns;
pub(crate) mod fcm;
pub(crate) mod web_push;
pub(crate) mod webhook;

use std::time::{Duration, UNIX_EPOCH};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue, RETRY_AFTER},
};
use kith_wire::id::Timestamp;
use serde_json::{Value, json};

use crate::{
    Fault, Notification, Outcome, Shows,
    outbound::{Answer, Unanswered},
    retry::RETRY_AFTER_MAX,
};

/// What an answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// It is not this push alone: nothing is to be asked of that host for so long.
    pub(crate) pause: Option<Duration>,
    /// The token that we showed is not good any more: another one may be.
    pub(crate) is_token_spent: bool,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, pause: None, is_token_spent: false }
    }
}

impl From<Unanswered> for Verdict {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Forbidden => Outcome::never("forbidden address"),
            Unanswered::Fault(fault) => Outcome::Transient(fault),
        }
        .into()
    }
}

impl Verdict {
    /// An answer of a host that is overloaded: it says for how long, or the schedule does.
    fn overloaded(answer: &Answer, now: Timestamp) -> Self {
        let after = retry_after(&answer.headers, now);
        Self { outcome: Outcome::later(after, answer.status.as_u16()), pause: after, is_token_spent: false }
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            at.saturating_sub(Duration::from_millis(now.get()))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A header whose value must not be seen.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A header of a name and a value that we made: numbers, ids and topics, which all can stand in one.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The `aps` part of Apple's JSON, which Google passes on too; and whether it is a push in the background.
fn aps(notification: &Notification) -> (Value, bool) {
    use kith_wire::push::PushAbout;
    let badge = notification.payload.badge;
    match (&notification.shows, notification.payload.about) {
        (Shows::Something, _) => (json!({ "alert": { "loc-key": "KITH_NEW" }, "mutable-content": 1, "sound": "default", "badge": badge }), false),
        (Shows::Text(shown), _) => {
            let alert = json!({ "title": shown.title(), "body": shown.body() });
            (json!({ "alert": alert, "mutable-content": 1, "sound": "default", "badge": badge }), false)
        }
        // The badge is something that is shown: Apple throttles what is in the background, and takes no badge there.
        (Shows::Nothing, PushAbout::Read { .. }) => (json!({ "badge": badge, "content-available": 1 }), false),
        (Shows::Nothing, _) => (json!({ "content-available": 1 }), true),
    }
}

/// Statuses that all HTTP servers share: what to do where nothing more is known.
fn by_status(answer: &Answer, now: Timestamp) -> Verdict {
    match answer.status.as_u16() {
        200..=299 => Outcome::Delivered.into(),
        429 | 503 => Verdict::overloaded(answer, now),
        408 | 425 | 500.. => Outcome::later(retry_after(&answer.headers, now), answer.status.as_u16()).into(),
        300..=399 => Outcome::never("redirect").into(),
        413 => Outcome::never("too large").into(),
        401 | 403 => Outcome::Refused { reason: crate::Reason("not authorised"), is_permanent: false }.into(),
        _ => Outcome::never("bad request").into(),
    }
}

/// A fault of ours: nothing was sent.
fn unsendable() -> Verdict {
    Outcome::never("cannot be sent").into()
}

/// No credential.
pub(crate) fn unset() -> Verdict {
    Outcome::Misconfigured(crate::Reason("no credential")).into()
}

/// An answer whose body should have been there and was not.
fn cut_off() -> Verdict {
    Outcome::Transient(Fault::Reset).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        // 2026-11-22 12:00:00 UTC
        let now = Timestamp::new(1_795_348_800_000);
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]), now);
        assert_eq!(read("30"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun, 22 Nov 2026 12:02:00 GMT"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 22 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO), "it is over");
        assert_eq!(read("99999999999"), Some(RETRY_AFTER_MAX));
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
