//! Push: what apps get of a provider, what devices register, what servers answer.

use bolero::check;
use kith_push::{ApnsTarget, ApnsWorld, FcmTarget, Outcome, RETRY_AFTER_MAX, URL_BYTES_MAX, Url, WebPushTarget, WebhookTarget, fuzz};
use kith_wire::{id::Timestamp, limit, push::PushPayload};

#[test]
fn push_payloads() {
    check!().for_each(|input: &[u8]| {
        if let Ok(text) = std::str::from_utf8(input) {
            let _any = PushPayload::decode_text(text);
        }
        let Ok(payload) = PushPayload::decode(input) else { return };
        assert!(input.len() <= limit::PUSH_PAYLOAD_BYTES_MAX);
        assert!(input.starts_with(&payload.encode()), "what stands after it is of a later version");
        assert_eq!(PushPayload::decode_text(&payload.to_text()), Ok(payload));
    });
}

#[test]
fn push_targets() {
    check!().for_each(|input: &[u8]| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let mut parts = text.splitn(3, '\n');
        let mut part = || parts.next().unwrap_or_default();
        let (first, second, third) = (part(), part(), part());
        let _any = ApnsTarget::parse(first, Some(second), ApnsWorld::Sandbox);
        let _any = FcmTarget::parse(first);
        if let Ok(target) = WebPushTarget::parse(first, second, third, None) {
            assert!(first.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("https://")), "{target:?}");
        }
        let _any = WebhookTarget::parse(first, second.as_bytes());
        let Ok(url) = Url::parse(first) else { return };
        assert!(first.len() <= URL_BYTES_MAX && !url.host().is_empty() && !url.authority().contains('@'));
        if let Ok(again) = Url::parse(&format!("{}{}", url.origin(), url.path())) {
            assert_eq!((again.origin(), again.path()), (url.origin(), url.path()));
        }
    });
}

/// The first two bytes are the status, then `Retry-After` up to a line's end, then the body.
#[test]
fn answers_of_providers() {
    check!().for_each(|input: &[u8]| {
        let [high, low, rest @ ..] = input else { return };
        let status = 100 + u16::from_be_bytes([*high, *low]) % 900;
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let body = rest.get(end + 1..).unwrap_or_default();
        let Some(outcomes) = fuzz::judge(status, &rest[..end], body, Timestamp::new(1_795_348_800_000)) else { return };
        for outcome in outcomes {
            assert_eq!(outcome == Outcome::Delivered, (200..300).contains(&status), "{outcome:?}");
            if let Outcome::RetryAfter(wait) = outcome {
                assert!(wait <= RETRY_AFTER_MAX);
            }
        }
    });
}
