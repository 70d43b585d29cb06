//! URLs of devices.

use std::time::Duration;

use hyper::{Method, Version};
use kith_push::*;
use kith_wire::{push::PushPayload, sign};

use crate::{
    server::{Server, answer, answer_after},
    world::*,
};

#[tokio::test]
async fn a_post_is_signed_and_keeps_its_id_over_its_attempts() {
    let world = World::new();
    let server = Server::start(&world.issuer, &["127.0.0.1"], &[H1]).await;
    let push = world.push(&server).await;
    let notification = to(hook(&server.url()));
    server.then([answer(500, "")]);
    assert_eq!(send(&push, &notification).await, Outcome::Transient(Fault::Status(500)));
    assert_eq!(send_at(&push, &notification, later(2_000)).await, Outcome::Delivered);
    let asked = server.asked();
    assert_eq!(asked[0].header("webhook-id"), asked[1].header("webhook-id"));
    assert_eq!(asked[1].header("webhook-timestamp"), (NOW.get() / 1_000 + 2).to_string());
    for asked in asked {
        assert_eq!((asked.method.clone(), asked.version, asked.path.as_str()), (Method::POST, Version::HTTP_11, "/hook-canary?x=1"));
        assert_eq!(asked.header("host"), format!("127.0.0.1:{}", server.port));
        let seconds = asked.header("webhook-timestamp").parse().unwrap();
        let body = std::str::from_utf8(&asked.body).unwrap();
        let signed = sign::headers(HOOK_KEY, asked.header("webhook-id"), seconds, body);
        assert_eq!(asked.header("webhook-signature"), signed.signature);
        assert_eq!(asked.header("content-type"), "application/json");
        let json = asked.json();
        assert_eq!(json["type"], "push");
        let data = &json["data"];
        assert_eq!(PushPayload::decode_text(data["kith"].as_str().unwrap()), Ok(payload()));
        assert_eq!((&data["badge"], &data["urgency"]), (&3.into(), &"high".into()));
        assert!(data.get("body").is_none());
    }
    push.close().await;
}

#[tokio::test]
async fn answers_are_understood_and_a_host_that_is_busy_is_left_alone() {
    let world = World::new();
    let (server, other) = (world.server().await, Server::start(&world.issuer, &["localhost"], &[H2, H1]).await);
    let push = world.push(&server).await;
    let notification = to(hook(&server.url()));
    let refused = |reason, is_permanent| Outcome::Refused { reason: Reason(reason), is_permanent };
    let cases = [
        (answer(204, ""), Outcome::Delivered),
        (answer(410, ""), Outcome::DeadToken { since: None }),
        (answer(404, ""), refused("not found", false)),
        (answer(401, ""), refused("not authorised", false)),
        (answer(302, ""), refused("redirect", true)),
        (answer(422, ""), refused("bad request", true)),
    ];
    for (does, outcome) in cases {
        server.then([does.clone()]);
        assert_eq!(send(&push, &notification).await, outcome, "{does:?}");
    }
    server.then([answer_after(503, "12")]);
    assert_eq!(send(&push, &notification).await, Outcome::RetryAfter(Duration::from_secs(12)));
    assert_eq!(push.admit(&notification.target, NOW).err(), Some(Duration::from_secs(12)));
    assert_eq!(send(&push, &to(hook(&format!("https://localhost:{}", other.port)))).await, Outcome::Delivered);
    push.close().await;
}

#[tokio::test]
async fn without_any_credential_webhooks_still_work() {
    let world = World::new();
    let server = world.server().await;
    let settings = Settings { apns: None, fcm: None, web_push: None, ..world.settings(&server) };
    let push = Push::open(settings, no_env(), std::sync::Arc::default()).await.unwrap();
    assert_eq!(push.server_key(), None);
    for (target, provider) in [(apple(), Provider::Apns), (android(), Provider::Fcm)] {
        assert_eq!(push.standing(provider), Standing::Off);
        assert_eq!(send(&push, &to(target)).await, Outcome::Misconfigured(Reason("no credential")));
    }
    assert_eq!(send(&push, &to(hook(&server.url()))).await, Outcome::Delivered);
    push.close().await;
}
