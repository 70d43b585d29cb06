//! Apple.

use hyper::{Method, Version};
use kith_push::*;
use kith_wire::{
    id::{Seq, Timestamp},
    push::{PushAbout, PushPayload},
};

use crate::{
    open::es256,
    server::{Does, answer, answer_after},
    world::*,
};

fn bearer(header: &str) -> &str {
    header.strip_prefix("bearer ").expect("a bearer token")
}

#[tokio::test]
async fn a_push_is_asked_for_as_apple_wants_it() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    assert_eq!(push.standing(Provider::Apns), Standing::Ready);
    let notification = to(apple());
    assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    let asked = server.only();
    assert_eq!((asked.method.clone(), asked.version), (Method::POST, Version::HTTP_2));
    assert_eq!(asked.path, format!("/3/device/{DEVICE_TOKEN}"));
    assert_eq!(asked.header("apns-topic"), "chat.kith.app");
    assert_eq!(asked.header("apns-push-type"), "alert");
    assert_eq!(asked.header("apns-priority"), "10");
    assert_eq!(asked.header("apns-expiration"), (NOW.get() / 1_000 + 24 * 3_600).to_string());
    assert_eq!(asked.header("apns-id"), "05050505-0505-8505-8505-050505050505");
    let collapse = asked.header("apns-collapse-id");
    assert_eq!(collapse, notification.collapse.unwrap().to_text());
    assert!(collapse.len() <= 64);
    let (header, claims) = es256(bearer(asked.header("authorization")), world.apns_key.public_key_raw());
    assert_eq!(header["kid"], "KEY1234567");
    assert_eq!(claims, serde_json::json!({ "iss": "TEAM123456", "iat": NOW.get() / 1_000 }));
    let json = asked.json();
    assert_eq!(json["aps"], serde_json::json!({ "alert": { "loc-key": "KITH_NEW" }, "mutable-content": 1, "sound": "default", "badge": 3 }));
    assert_eq!(PushPayload::decode_text(json["kith"].as_str().unwrap()), Ok(payload()));
    push.close().await;
}

#[tokio::test]
async fn what_shows_nothing_is_in_the_background_and_a_badge_is_not() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let silent = Notification { shows: Shows::Nothing, collapse: None, ..to(apple()) };
    assert_eq!(send(&push, &silent).await, Outcome::Delivered);
    let asked = server.only();
    assert_eq!((asked.header("apns-push-type"), asked.header("apns-priority"), asked.header("apns-collapse-id")), ("background", "5", ""));
    assert_eq!(asked.json()["aps"], serde_json::json!({ "content-available": 1 }));
    let read = PushPayload { badge: 0, about: PushAbout::Read { channel: channel(), seq: Seq::new(44) }, ..payload() };
    let read = Notification { payload: read, urgency: Urgency::Normal, ..silent };
    assert_eq!(send(&push, &read).await, Outcome::Delivered);
    let asked = server.only();
    assert_eq!((asked.header("apns-push-type"), asked.header("apns-priority")), ("alert", "5"));
    assert_eq!(asked.json()["aps"], serde_json::json!({ "badge": 0, "content-available": 1 }));
    let shown = Shown::new("Bob".to_owned(), "hello".to_owned()).unwrap();
    let topic = Target::Apns(ApnsTarget::parse(DEVICE_TOKEN, Some("other.app"), ApnsWorld::Sandbox).unwrap());
    let text = Notification { shows: Shows::Text(shown), ..to(topic) };
    assert_eq!(send(&push, &text).await, Outcome::Delivered);
    let asked = server.only();
    assert_eq!(asked.header("apns-topic"), "other.app");
    assert_eq!(asked.json()["aps"]["alert"], serde_json::json!({ "title": "Bob", "body": "hello" }));
    push.close().await;
}

#[tokio::test]
async fn a_token_is_used_for_fifty_minutes_on_one_connection() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    for minutes in [0, 20, 49] {
        assert_eq!(send_at(&push, &to(apple()), later(minutes * 60_000)).await, Outcome::Delivered);
    }
    assert_eq!(send_at(&push, &to(apple()), later(51 * 60_000)).await, Outcome::Delivered);
    let asked = server.asked();
    let tokens: Vec<&str> = asked.iter().map(|asked| bearer(asked.header("authorization"))).collect();
    assert!(tokens[0] == tokens[1] && tokens[1] == tokens[2], "no more tokens than Apple takes");
    assert_ne!(tokens[2], tokens[3]);
    let (_, claims) = es256(tokens[3], world.apns_key.public_key_raw());
    assert_eq!(claims["iat"], later(51 * 60_000).get() / 1_000);
    push.close().await;
}

#[tokio::test]
async fn many_pushes_share_one_connection() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let notification = to(apple());
    let outcomes = futures_util::future::join_all((0..100).map(|_| send(&push, &notification))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    let asked = server.asked();
    assert_eq!(asked.len(), 100);
    assert!(asked.iter().all(|asked| asked.connection == 0), "one connection carries them all");
    push.close().await;
}

#[tokio::test]
async fn a_token_that_apple_calls_expired_is_made_anew_once() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    let expired = || answer(403, r#"{"reason":"ExpiredProviderToken"}"#);
    server.then([expired()]);
    assert_eq!(send_at(&push, &to(apple()), later(30 * 60_000)).await, Outcome::Delivered);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_ne!(asked[1].header("authorization"), asked[2].header("authorization"));
    // One that is new and expired: our clock is wrong, and another token would be, too.
    server.then([expired()]);
    let outcome = send_at(&push, &to(apple()), later(31 * 60_000)).await;
    assert_eq!(outcome, Outcome::Misconfigured(Reason("ExpiredProviderToken")));
    assert_eq!(server.asked().len(), 4);
    push.close().await;
}

#[tokio::test]
async fn a_key_that_was_replaced_is_used_on_a_connection_of_its_own() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    let next = rcgen::KeyPair::generate().unwrap();
    let bundle = serde_json::json!({ "key_id": "NEXT123456", "team_id": "TEAM654321", "private_key": next.serialize_pem() });
    world.write("AuthKey_KEY1234567.p8", &bundle.to_string());
    assert_eq!(push.reload().await, [Reloaded { provider: Provider::Apns, result: Ok(()) }]);
    assert_eq!(push.reload().await, [], "nothing has changed since");
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    let asked = server.asked();
    assert_eq!((asked[0].connection, asked[1].connection), (0, 1));
    let (header, claims) = es256(bearer(asked[1].header("authorization")), next.public_key_raw());
    assert_eq!((&header["kid"], &claims["iss"]), (&"NEXT123456".into(), &"TEAM654321".into()));
    push.close().await;
}

#[tokio::test]
async fn answers_are_understood() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let cases = [
        (
            answer(410, r#"{"reason":"Unregistered","timestamp":1795000000000}"#),
            Outcome::DeadToken { since: Some(Timestamp::new(1_795_000_000_000)) },
        ),
        (answer(400, r#"{"reason":"BadDeviceToken"}"#), Outcome::DeadToken { since: None }),
        (answer(403, r#"{"reason":"InvalidProviderToken"}"#), Outcome::Misconfigured(Reason("InvalidProviderToken"))),
        (answer(400, r#"{"reason":"PayloadEmpty"}"#), Outcome::Refused { reason: Reason("PayloadEmpty"), is_permanent: true }),
        (
            Does::Answer(429, vec![("retry-after", "7".to_owned())], r#"{"reason":"TooManyRequests"}"#.to_owned()),
            Outcome::RetryAfter(std::time::Duration::from_secs(7)),
        ),
    ];
    for (does, outcome) in cases {
        server.then([does]);
        assert_eq!(send(&push, &to(apple())).await, outcome);
    }
    // Too many to one device do not stop the others; a server that is overloaded does.
    server.then([answer_after(503, "30")]);
    assert_eq!(send(&push, &to(apple())).await, Outcome::RetryAfter(std::time::Duration::from_secs(30)));
    assert_eq!(push.admit(&apple(), later(10_000)).err(), Some(std::time::Duration::from_secs(20)));
    assert!(push.admit(&android(), later(10_000)).is_ok(), "other providers are not meant");
    assert_eq!(send_at(&push, &to(apple()), later(30_000)).await, Outcome::Delivered);
    push.close().await;
}

#[tokio::test]
async fn a_server_that_speaks_no_http2_is_not_asked() {
    let world = World::new();
    let server = crate::server::Server::start(&world.issuer, &["127.0.0.1"], &[H1]).await;
    let push = world.push(&server).await;
    assert_eq!(send(&push, &to(apple())).await, Outcome::Transient(Fault::Protocol));
    assert_eq!(server.asked().len(), 0);
    push.close().await;
}
