//! Google.

use std::time::Duration;

use hyper::Method;
use kith_push::*;
use kith_wire::push::PushPayload;

use crate::{
    open::rs256,
    server::{Does, Server, answer, answer_after},
    world::*,
};

fn granted(token: &str, seconds: u64) -> Does {
    answer(200, &format!(r#"{{"access_token":"{token}","expires_in":{seconds},"token_type":"Bearer"}}"#))
}
fn error(status: u16, code: &str) -> String {
    let detail = serde_json::json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code });
    serde_json::json!({ "error": { "code": status, "message": "…", "status": "…", "details": [detail] } }).to_string()
}

async fn start() -> (World, Server, Push, Vec<u8>) {
    let world = World::new();
    let server = world.server().await;
    let public = world.write_account(&server, "kith-chat");
    let push = world.push(&server).await;
    assert_eq!(push.standing(Provider::Fcm), Standing::Ready);
    (world, server, push, public)
}

#[tokio::test]
async fn a_token_is_had_by_an_assertion_and_a_push_is_asked_for_with_it() {
    let (_world, server, push, public) = start().await;
    server.then([granted("ya29.canary", 3_599)]);
    let notification = to(android());
    assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    let asked = server.asked();
    let [first, second] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((first.method.clone(), first.path.as_str()), (Method::POST, "/token"));
    assert_eq!(first.header("content-type"), "application/x-www-form-urlencoded");
    let form = String::from_utf8(first.body.clone()).unwrap();
    let assertion = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").expect("RFC 7523");
    let (header, claims) = rs256(assertion, &public);
    assert_eq!(header["kid"], "key-of-google");
    let seconds = NOW.get() / 1_000;
    let expected = serde_json::json!({
        "iss": "push@kith.example",
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": format!("{}/token", server.url()),
        "iat": seconds,
        "exp": seconds + 3_600,
    });
    assert_eq!(claims, expected);
    assert_eq!((second.method.clone(), second.path.as_str()), (Method::POST, "/v1/projects/kith-chat/messages:send"));
    assert_eq!(second.header("authorization"), "Bearer ya29.canary");
    let message = &second.json()["message"];
    assert_eq!(message["token"], FCM_TOKEN);
    assert_eq!(PushPayload::decode_text(message["data"]["kith"].as_str().unwrap()), Ok(payload()));
    let collapse = notification.collapse.unwrap().to_text();
    assert_eq!(message["android"], serde_json::json!({ "priority": "HIGH", "ttl": "86400s", "collapse_key": collapse }));
    assert_eq!(message["apns"]["headers"]["apns-collapse-id"], collapse);
    assert!(message.get("notification").is_none(), "a pointer shows no text");
    push.close().await;
}

#[tokio::test]
async fn a_token_is_kept_until_its_last_minute_and_asked_for_once_by_many() {
    let (_world, server, push, _) = start().await;
    server.then([granted("one", 600)]);
    let notification = to(android());
    let outcomes = futures_util::future::join_all((0..20).map(|_| send(&push, &notification))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    assert_eq!(send_at(&push, &notification, later(530_000)).await, Outcome::Delivered);
    let tokens = |server: &Server| server.asked().iter().filter(|asked| asked.path == "/token").count();
    assert_eq!(tokens(&server), 1);
    server.then([granted("two", 600)]);
    assert_eq!(send_at(&push, &notification, later(545_000)).await, Outcome::Delivered);
    assert_eq!(tokens(&server), 2);
    assert_eq!(server.asked().last().unwrap().header("authorization"), "Bearer two");
    push.close().await;
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_asked_for_again_once() {
    let (_world, server, push, _) = start().await;
    server.then([granted("one", 3_600)]);
    assert_eq!(send(&push, &to(android())).await, Outcome::Delivered);
    server.then([answer(401, &error(401, "")), granted("two", 3_600)]);
    assert_eq!(send(&push, &to(android())).await, Outcome::Delivered);
    assert_eq!(server.asked().last().unwrap().header("authorization"), "Bearer two");
    server.then([answer(401, &error(401, "")), granted("three", 3_600), answer(401, &error(401, ""))]);
    assert_eq!(send(&push, &to(android())).await, Outcome::Misconfigured(Reason("UNAUTHENTICATED")));
    push.close().await;
}

#[tokio::test]
async fn an_account_that_is_replaced_asks_for_a_token_of_its_own() {
    let (world, server, push, _) = start().await;
    server.then([granted("one", 3_600)]);
    assert_eq!(send(&push, &to(android())).await, Outcome::Delivered);
    let public = world.write_account(&server, "other-project");
    assert_eq!(push.reload().await, [Reloaded { provider: Provider::Fcm, result: Ok(()) }]);
    server.then([granted("two", 3_600)]);
    assert_eq!(send(&push, &to(android())).await, Outcome::Delivered);
    let asked = server.asked();
    let form = String::from_utf8(asked[2].body.clone()).unwrap();
    rs256(form.rsplit('=').next().unwrap(), &public);
    assert_eq!(asked[3].path, "/v1/projects/other-project/messages:send");
    push.close().await;
}

#[tokio::test]
async fn answers_are_understood() {
    let (_world, server, push, _) = start().await;
    server.then([granted("one", 3_600)]);
    let cases = [
        (answer(404, &error(404, "UNREGISTERED")), Outcome::DeadToken { since: None }),
        (answer(403, &error(403, "SENDER_ID_MISMATCH")), Outcome::Refused { reason: Reason("SENDER_ID_MISMATCH"), is_permanent: true }),
        (answer(500, &error(500, "INTERNAL")), Outcome::Transient(Fault::Status(500))),
        (answer(503, &error(503, "UNAVAILABLE")), Outcome::Transient(Fault::Status(503))),
    ];
    for (does, outcome) in cases {
        server.then([does]);
        assert_eq!(send(&push, &to(android())).await, outcome);
    }
    server.then([Does::Answer(429, vec![("retry-after", "Sun, 22 Nov 2026 12:01:30 GMT".to_owned())], error(429, "QUOTA_EXCEEDED"))]);
    assert_eq!(send(&push, &to(android())).await, Outcome::RetryAfter(Duration::from_secs(90)));
    assert_eq!(push.admit(&android(), NOW).err(), Some(Duration::from_secs(90)), "it is the project's quota");
    push.close().await;
}

#[tokio::test]
async fn an_account_that_is_not_taken_says_so_and_a_token_server_may_be_down() {
    let (_world, server, push, _) = start().await;
    let cases = [
        (answer(400, r#"{"error":"invalid_grant"}"#), Outcome::Misconfigured(Reason("the service account is not taken"))),
        (answer(500, ""), Outcome::Transient(Fault::Status(500))),
        (Does::ResetInBody(200), Outcome::Transient(Fault::Reset)),
        (Does::Reset, Outcome::Transient(Fault::Reset)),
        (answer_after(503, "5"), Outcome::RetryAfter(Duration::from_secs(5))),
    ];
    for (does, outcome) in cases {
        server.then([does.clone()]);
        assert_eq!(send(&push, &to(android())).await, outcome, "{does:?}");
    }
    server.then([granted("one", 3_600)]);
    assert_eq!(send_at(&push, &to(android()), later(6_000)).await, Outcome::Delivered);
    push.close().await;
}

#[tokio::test]
async fn a_token_server_that_hangs_is_waited_for_once_by_all() {
    let world = World::new();
    let server = world.server().await;
    world.write_account(&server, "kith-chat");
    let push = world.hasty(&server).await;
    server.then([Does::Hang]);
    let notification = to(android());
    let outcomes = futures_util::future::join_all((0..20).map(|_| send(&push, &notification))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Transient(Fault::TimedOut)), "{outcomes:?}");
    assert_eq!(server.asked().len(), 1);
    server.then([granted("one", 3_600)]);
    assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    push.close().await;
}
