//! People over HTTP: profiles, contacts, blocks, search, how conversations stand in the list.

use kith_tests::{
    Cluster, Setup,
    http::{Caller, key},
};
use serde_json::{Value, json};

async fn start() -> (Cluster, Caller, Caller) {
    let cluster = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob) = (signed_up(&cluster, "ann").await, signed_up(&cluster, "bob").await);
    (cluster, ann, bob)
}

/// Somebody whom search can find: who was made by an operator's token has no words yet.
async fn signed_up(c: &Cluster, name: &str) -> Caller {
    let made = Caller::with_token("").post(c, 1, "/v1/sign-up", json!({ "name": name, "password": "correct horse" })).await.expect(201);
    let mut caller = Caller::with_token(made["access"].as_str().expect("a token"));
    caller.user = made["user"].as_str().expect("an id").parse().expect("an id");
    caller
}

async fn state(c: &Cluster, who: &Caller, other: &Caller) -> Value {
    let contacts = who.get(c, 3, "/v1/contacts").await.expect(200)["contacts"].clone();
    contacts
        .as_array()
        .expect("contacts")
        .iter()
        .find(|held| held["user"] == other.user.to_string())
        .map_or(Value::Null, |held| held["state"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_seen_and_found_until_its_owner_wants_neither() {
    let (c, ann, bob) = start().await;
    let profile = json!({ "display": "Ann of Green Gables", "about": "red hair", "fields": { "team": "blue" } });
    let once = key(1);
    ann.ask(&c, 1, "PUT", "/v1/me/profile", &[("idempotency-key", &once)], Some(profile.clone())).await.expect(200);
    let again = ann.ask(&c, 2, "PUT", "/v1/me/profile", &[("idempotency-key", &once)], Some(profile)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    let seen = bob.get(&c, 2, &format!("/v1/users/{}", ann.user)).await.expect(200);
    assert_eq!((&seen["display"], &seen["fields"]), (&json!("Ann of Green Gables"), &json!({ "team": "blue" })));
    c.wait_for("bob finds ann by what she is called", async || {
        bob.get(&c, 3, "/v1/search/users?prefix=green").await.expect(200)["users"][0]["user"] == ann.user.to_string()
    })
    .await;
    ann.ask(&c, 1, "PUT", "/v1/me/profile", &[], Some(json!({ "searchable": false }))).await.expect(200);
    c.wait_for("nobody finds ann", async || bob.get(&c, 3, "/v1/search/users?prefix=ann").await.expect(200)["users"] == json!([])).await;
    ann.ask(&c, 1, "PUT", "/v1/me/profile", &[], Some(json!({ "avatar": "javascript:alert(1)" }))).await.expect(400);
    bob.get(&c, 1, "/v1/users/u0000000000000001").await.expect(404);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_those_who_both_asked_and_who_is_blocked_cannot_tell() {
    let (c, ann, bob) = start().await;
    let (to_bob, to_ann) = (format!("/v1/contacts/{}", bob.user), format!("/v1/contacts/{}", ann.user));
    ann.ask(&c, 1, "PUT", &to_bob, &[("idempotency-key", &key(1))], None).await.expect(200);
    c.wait_for("bob is asked", async || state(&c, &bob, &ann).await == "asking").await;
    bob.ask(&c, 2, "PUT", &to_ann, &[], None).await.expect(200);
    c.wait_for("they are contacts", async || state(&c, &ann, &bob).await == "mutual" && state(&c, &bob, &ann).await == "mutual").await;
    bob.ask(&c, 2, "DELETE", &to_ann, &[], None).await.expect(200);
    c.wait_for("they are not any more", async || state(&c, &ann, &bob).await == "asked").await;

    bob.ask(&c, 3, "PUT", &format!("/v1/blocks/{}", ann.user), &[], None).await.expect(200);
    assert_eq!(state(&c, &bob, &ann).await, "blocked");
    bob.ask(&c, 3, "DELETE", &format!("/v1/blocks/{}", ann.user), &[], None).await.expect(200);
    ann.ask(&c, 1, "PUT", "/v1/contacts/u0000000000000001", &[], None).await.expect(404);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_pinned_muted_drafted_and_archived() {
    let (c, ann, _bob) = start().await;
    ann.post(&c, 1, "/v1/channels/@bob/messages", json!({ "text": "hi" })).await.expect(201);
    let row = async || ann.get(&c, 2, "/v1/channels").await.expect(200)["channels"][0].clone();
    c.wait_for("the list has it", async || row().await["preview"] == "hi").await;
    let wanted = json!({ "pinned": true, "muted_until_ms": 4_102_444_800_000_u64, "draft": { "text": "see y" }, "archived": 1 });
    ann.ask(&c, 3, "PUT", "/v1/channels/@bob/preferences", &[("idempotency-key", &key(1))], Some(wanted)).await.expect(200);
    let held = row().await;
    assert_eq!((&held["muted_until_ms"], &held["draft"]["text"], &held["archived"]), (&json!(4_102_444_800_000_u64), &json!("see y"), &json!(1)));
    assert!(held["pinned_ms"].is_u64(), "{held}");
    let back = json!({ "pinned": false, "muted_until_ms": 0, "draft": { "text": "" }, "archived": 0 });
    ann.ask(&c, 3, "PUT", "/v1/channels/@bob/preferences", &[], Some(back)).await.expect(200);
    let held = row().await;
    for gone in ["pinned_ms", "muted_until_ms", "draft", "archived"] {
        assert!(held[gone].is_null(), "{gone}: {held}");
    }
    c.finish().await;
}
