//! Servers that hang, reset, lie and go away: the same for every provider.

use std::{sync::Arc, time::Duration};

use kith_push::*;
use prometheus_client::{encoding::text::encode, registry::Registry};

use crate::{
    open::Browser,
    server::{Does, Server, answer, answer_after},
    world::*,
};

/// One device of each provider at this server; FCM has its token.
async fn devices(world: &World, server: &Server, push: &Push) -> Vec<Notification> {
    world.write_account(server, "kith-chat");
    push.reload().await;
    server.then([answer(200, r#"{"access_token":"t","expires_in":3600}"#)]);
    assert_eq!(send(push, &to(android())).await, Outcome::Delivered);
    [apple(), android(), browser(&server.url(), &Browser::new(3), None), hook(&server.url())].map(to).into()
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_the_next_attempt_has_another_connection() {
    let world = World::new();
    let server = world.server().await;
    let push = world.hasty(&server).await;
    for notification in devices(&world, &server, &push).await {
        let before = server.asked().last().map_or(0, |asked| asked.connection);
        server.then([Does::Hang]);
        assert_eq!(send(&push, &notification).await, Outcome::Transient(Fault::TimedOut), "{:?}", notification.target);
        assert_eq!(send(&push, &notification).await, Outcome::Delivered);
        assert!(server.asked().last().unwrap().connection > before);
    }
    push.close().await;
}

#[tokio::test]
async fn a_reset_is_transient_and_what_was_said_before_it_counts() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    for notification in devices(&world, &server, &push).await {
        let target = &notification.target;
        server.then([Does::Reset]);
        assert_eq!(send(&push, &notification).await, Outcome::Transient(Fault::Reset), "{target:?}");
        // The status had come: it is delivered, and a second one would be one too many.
        server.then([Does::ResetInBody(200)]);
        assert_eq!(send(&push, &notification).await, Outcome::Delivered, "{target:?}");
        server.then([Does::ResetInBody(503)]);
        assert_eq!(send(&push, &notification).await, Outcome::Transient(Fault::Status(503)), "{target:?}");
        assert_eq!(send(&push, &notification).await, Outcome::Delivered, "{target:?}");
    }
    push.close().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    for notification in devices(&world, &server, &push).await {
        assert_eq!(send(&push, &notification).await, Outcome::Delivered);
        server.hang_up();
        // Whether it is noticed before the request is on its way is up to the two systems.
        let first = send(&push, &notification).await;
        assert!(matches!(first, Outcome::Delivered | Outcome::Transient(Fault::Reset)), "{first:?}");
        assert_eq!(send(&push, &notification).await, Outcome::Delivered);
    }
    push.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_who_it_says_is_told_nothing() {
    let world = World::new();
    let (stranger, _) = authority();
    let protocols = [H2, H1];
    for server in [Server::start(&stranger, &["127.0.0.1"], &protocols).await, Server::start(&world.issuer, &["other.example"], &protocols).await] {
        world.write_account(&server, "kith-chat");
        let push = world.push(&server).await;
        for target in [apple(), android(), browser(&server.url(), &Browser::new(3), None), hook(&server.url())] {
            assert_eq!(send(&push, &to(target.clone())).await, Outcome::Transient(Fault::Certificate), "{target:?}");
        }
        assert_eq!(server.asked().len(), 0);
        push.close().await;
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_its_status_counts() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    for notification in devices(&world, &server, &push).await {
        server.then([answer(410, &"x".repeat(1_000_000)), answer(500, &"{".repeat(1_000_000))]);
        let outcome = send(&push, &notification).await;
        // Google names a device that is gone by another status.
        let gone = if notification.target.provider() == Provider::Fcm {
            Outcome::Refused { reason: Reason("bad request"), is_permanent: true }
        } else {
            Outcome::DeadToken { since: None }
        };
        assert_eq!(outcome, gone, "{:?}", notification.target);
        assert_eq!(send(&push, &notification).await, Outcome::Transient(Fault::Status(500)));
    }
    push.close().await;
}

#[tokio::test]
async fn nobody_there_is_transient() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    drop(server);
    assert_eq!(send(&push, &to(apple())).await, Outcome::Transient(Fault::Unreachable));
    let nowhere = hook("https://kith.invalid");
    assert_eq!(send(&push, &to(nowhere)).await, Outcome::Transient(Fault::Unresolved));
    push.close().await;
}

/// What the schedule makes of a provider that is down, then busy, then well.
#[tokio::test]
async fn a_push_arrives_after_failures_and_never_before_it_may() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    let (notification, schedule) = (to(apple()), Schedule::default());
    server.then([answer(500, ""), Does::Reset, answer_after(503, "40")]);
    let (mut now, mut attempts) = (NOW, 0);
    loop {
        let outcome = send_at(&push, &notification, now).await;
        attempts += 1;
        let at = Attempted { attempts, begun: NOW, expires: notification.expires, seed: 11 };
        match schedule.next(&outcome, &at, now) {
            Next::Done => break,
            Next::At(next) => {
                let wait = next.get() - now.get();
                assert!(attempts != 3 || wait >= 40_000, "{wait}");
                now = next;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((attempts, server.asked().len()), (4, 4));
    push.close().await;
}

#[tokio::test]
async fn attempts_are_counted_by_provider_and_outcome() {
    let world = World::new();
    let server = world.server().await;
    let metrics = Arc::new(PushMetrics::default());
    let push = Push::open(world.settings(&server), no_env(), metrics.clone()).await.unwrap();
    server.then([answer(200, ""), answer(410, ""), answer(500, ""), answer(413, ""), answer_after(503, "9")]);
    for _ in 0..5 {
        send(&push, &to(apple())).await;
    }
    assert_eq!(push.admit(&apple(), NOW).err(), Some(Duration::from_secs(9)));
    assert_eq!(send(&push, &to(android())).await, Outcome::Misconfigured(Reason("no credential")));
    let permit = push.admit(&hook(&server.url()), NOW).unwrap();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "kith_push_attempts_total{provider=\"Apns\",outcome=\"Delivered\"} 1",
        "kith_push_attempts_total{provider=\"Apns\",outcome=\"DeadToken\"} 1",
        "kith_push_attempts_total{provider=\"Apns\",outcome=\"Transient\"} 1",
        "kith_push_attempts_total{provider=\"Apns\",outcome=\"Refused\"} 1",
        "kith_push_attempts_total{provider=\"Apns\",outcome=\"RetryAfter\"} 1",
        "kith_push_attempts_total{provider=\"Fcm\",outcome=\"Misconfigured\"} 1",
        "kith_push_attempts_total{provider=\"WebPush\",outcome=\"Delivered\"} 0",
        "kith_push_attempt_seconds_count{provider=\"Apns\"} 5",
        "kith_push_held_total{provider=\"Apns\"} 1",
        "kith_push_running{provider=\"Apns\"} 0",
        "kith_push_running{provider=\"Webhook\"} 1",
        "kith_push_ready{provider=\"Apns\"} 1",
        "kith_push_ready{provider=\"Fcm\"} 0",
        "kith_push_ready{provider=\"Webhook\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    drop(permit);
    push.close().await;
}
