//! Push services of browsers.

use std::time::Duration;

use hyper::{Method, Version};
use kith_push::*;
use kith_wire::{base64, id::Timestamp, push::PushPayload};

use crate::{
    open::{Browser, es256},
    server::{Server, answer, answer_after},
    world::*,
};

/// Token and key of a VAPID header.
fn vapid(header: &str) -> (&str, Vec<u8>) {
    let (token, key) = header.strip_prefix("vapid t=").and_then(|rest| rest.split_once(", k=")).expect("RFC 8292");
    (token, base64::read_url(key).unwrap())
}

#[tokio::test]
async fn a_push_is_encrypted_for_its_browser_and_signed_for_its_service() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let (ann, eve) = (Browser::new(3), Browser::new(9));
    let notification = to(browser(&server.url(), &ann, None));
    assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    let asked = server.only();
    assert_eq!((asked.method.clone(), asked.version, asked.path.as_str()), (Method::POST, Version::HTTP_2, "/endpoint-canary"));
    assert_eq!(asked.header("ttl"), "86400");
    assert_eq!(asked.header("urgency"), "high");
    assert_eq!(asked.header("content-encoding"), "aes128gcm");
    assert_eq!(asked.header("topic"), notification.collapse.unwrap().to_text());
    assert!(asked.header("topic").len() <= 32, "RFC 8030, section 5.4");
    let (token, key) = vapid(asked.header("authorization"));
    assert_eq!(key, world.vapid_key.public_key_raw());
    assert_eq!(push.server_key().unwrap().text, base64::write_url(&key), "what browsers subscribe with");
    let (header, claims) = es256(token, &key);
    assert_eq!(header["typ"], "JWT");
    let expected = serde_json::json!({ "aud": server.url(), "exp": NOW.get() / 1_000 + 12 * 3_600, "sub": "mailto:ops@kith.example" });
    assert_eq!(claims, expected);
    let plain: serde_json::Value = serde_json::from_slice(&ann.open(&asked.body)).unwrap();
    assert_eq!(PushPayload::decode_text(plain["kith"].as_str().unwrap()), Ok(payload()));
    assert!(std::panic::catch_unwind(|| eve.open(&asked.body)).is_err(), "nobody else opens it");
    push.close().await;
}

#[tokio::test]
async fn each_message_has_its_own_salt_and_key_and_the_same_length() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let ann = Browser::new(3);
    for badge in [1, u32::MAX] {
        let notification = Notification { payload: PushPayload { badge, ..payload() }, ..to(browser(&server.url(), &ann, None)) };
        assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    }
    let asked = server.asked();
    assert_ne!(asked[0].body[..86], asked[1].body[..86]);
    assert_eq!(asked[0].body.len(), asked[1].body.len());
    assert_eq!(asked[0].header("authorization"), asked[1].header("authorization"), "a token is for an origin");
    push.close().await;
}

#[tokio::test]
async fn tokens_are_made_anew_after_half_of_their_time() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let notification = Notification { expires: later(30 * HOUR_MS), ..to(browser(&server.url(), &Browser::new(3), None)) };
    for hours in [0, 5, 7] {
        assert_eq!(send_at(&push, &notification, later(hours * HOUR_MS)).await, Outcome::Delivered);
    }
    let asked = server.asked();
    assert_eq!(asked[0].header("authorization"), asked[1].header("authorization"));
    assert_ne!(asked[1].header("authorization"), asked[2].header("authorization"));
    push.close().await;
}

#[tokio::test]
async fn a_browser_is_served_with_the_key_that_it_subscribed_with() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let old = push.server_key().unwrap();
    // The new one first, then the old one: one in base64, as tools for Web Push write it.
    let next = rcgen::KeyPair::generate().unwrap();
    world.write("vapid.pem", &format!("{}\n{}", next.serialize_pem(), world.vapid_key.serialize_pem()));
    assert_eq!(push.reload().await, [Reloaded { provider: Provider::WebPush, result: Ok(()) }]);
    let current = push.server_key().unwrap();
    assert_ne!(old, current);
    let ann = Browser::new(3);
    for (id, public) in [(Some(old.id), world.vapid_key.public_key_raw()), (Some(current.id), next.public_key_raw()), (None, next.public_key_raw())] {
        assert_eq!(send(&push, &to(browser(&server.url(), &ann, id))).await, Outcome::Delivered);
        let asked = server.only();
        let (token, key) = vapid(asked.header("authorization"));
        assert_eq!(key, public);
        es256(token, &key);
    }
    let unknown = to(browser(&server.url(), &ann, Some(ServerKeyId([1; 8]))));
    assert_eq!(send(&push, &unknown).await, Outcome::Misconfigured(Reason("its server key is not there")));
    push.close().await;
}

#[tokio::test]
async fn answers_are_understood() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let refused = |reason, is_permanent| Outcome::Refused { reason: Reason(reason), is_permanent };
    let notification = to(browser(&server.url(), &Browser::new(3), None));
    let cases = [
        (answer(201, ""), Outcome::Delivered),
        (answer(404, ""), Outcome::DeadToken { since: None }),
        (answer(410, ""), Outcome::DeadToken { since: None }),
        (answer(401, ""), Outcome::Misconfigured(Reason("the vapid token is not taken"))),
        (answer(403, ""), refused("the server key is not that of the subscription", true)),
        (answer(413, ""), refused("too large", true)),
        (answer(307, ""), refused("redirect", true)),
        (answer(400, ""), refused("bad request", true)),
        (answer(502, ""), Outcome::Transient(Fault::Status(502))),
        (answer(429, ""), Outcome::Transient(Fault::Status(429))),
    ];
    for (does, outcome) in cases {
        server.then([does.clone()]);
        assert_eq!(send(&push, &notification).await, outcome, "{does:?}");
    }
    // The host wants to be left alone; other push services do not.
    server.then([answer_after(429, "60")]);
    assert_eq!(send(&push, &notification).await, Outcome::RetryAfter(Duration::from_secs(60)));
    assert_eq!(push.admit(&notification.target, later(1_000)).err(), Some(Duration::from_secs(59)));
    assert!(push.admit(&browser("https://push.example", &Browser::new(3), None), later(1_000)).is_ok());
    push.close().await;
}

#[tokio::test]
async fn what_is_of_no_use_any_more_is_not_sent() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let notification = Notification { expires: Timestamp::new(NOW.get() + 999), ..to(browser(&server.url(), &Browser::new(3), None)) };
    assert_eq!(send(&push, &notification).await, Outcome::Refused { reason: Reason("expired"), is_permanent: true });
    assert_eq!(server.asked().len(), 0);
    push.close().await;
}

#[tokio::test]
async fn a_device_leads_us_to_no_private_address() {
    let world = World::new();
    let server = Server::start(&world.issuer, &["127.0.0.1", "localhost"], &[H2, H1]).await;
    let settings = Settings { allow_private: false, ..world.settings(&server) };
    let push = Push::open(settings, no_env(), std::sync::Arc::default()).await.unwrap();
    let forbidden = Outcome::Refused { reason: Reason("forbidden address"), is_permanent: true };
    let port = server.port;
    for host in ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"] {
        let url = format!("https://{host}:{port}");
        assert_eq!(send(&push, &to(browser(&url, &Browser::new(3), None))).await, forbidden, "{url}");
        assert_eq!(send(&push, &to(hook(&url))).await, forbidden, "{url}");
    }
    assert_eq!(send(&push, &to(hook("http://93.184.216.34"))).await, forbidden, "not encrypted");
    assert_eq!(server.asked().len(), 0);
    // The operator's own settings are not a device's word.
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    push.close().await;
}
