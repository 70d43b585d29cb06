//! A lost password by way of the app's backend: it is told a code, signed, whoever dies meanwhile; nobody else learns anything.

use kith::{auth::reset::ResetConfig, hook::sign};
use kith_client::Door;
use kith_tests::{Cluster, Setup, http::Caller, receiver::Receiver};
use kith_wire::{code::Code, id::UserId};
use serde_json::{Value, json};

const KEY: &[u8] = b"a key that is shared with the app";

async fn reset(caller: &Caller, c: &Cluster, node: u64, code: &Value, password: &str) -> kith_tests::http::Answer {
    caller.post(c, node, "/v1/reset-password", json!({ "name": "ann", "code": code, "password": password })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_is_told_a_code_that_resets_the_password_once_though_the_leader_dies_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("reset.key");
    std::fs::write(&key, sign::key_text(KEY)).expect("a file");
    // The backend is down at first.
    let receiver = Receiver::start(KEY, 2).await;
    let config = ResetConfig { url: receiver.url(), key, ca_file: None };
    let mut c = Cluster::start_with(Setup { reset: Some(config), ..Setup::default().with_api() }).await;
    let stranger = Caller::with_token("");
    let made = stranger.post(&c, 1, "/v1/sign-up", json!({ "name": "ann", "password": "correct horse" })).await.expect(201);
    let ann: UserId = made["user"].as_str().and_then(|id| id.parse().ok()).expect("an id");

    let ask = async |c: &Cluster, node: u64, name: &str| stranger.post(c, node, "/v1/ask-reset", json!({ "name": name })).await;
    let known = ask(&c, 2, "Ann").await;
    let unknown = ask(&c, 2, "nobody").await;
    assert_eq!((known.status, &known.json), (unknown.status, &unknown.json), "nobody learns who exists");
    assert_eq!(known.expect(200), json!({}));
    assert_eq!(ask(&c, 1, "a b").await.status, 400, "what cannot be a name");
    c.wait_for("the backend was asked in vain", async || receiver.refused() > 0).await;
    let victim = c.leader_of(c.group_of(ann.bucket())).await;
    c.kill(victim).await;
    c.wait_ready().await;
    c.wait_for("the backend has it", async || !receiver.posts().is_empty()).await;
    let post = receiver.posts().remove(0);
    assert!(post.is_signed && post.kind == "password.reset_asked", "{post:?}");
    assert_eq!((&post.data["name"], &post.data["user"]), (&json!("ann"), &json!(ann.to_string())));

    let node = c.running()[0];
    let code = post.data["code"].clone();
    assert_eq!(reset(&stranger, &c, node, &json!("00000-00000-00000-00000-00000"), "battery staple").await.status, 401);
    let recovery = reset(&stranger, &c, node, &code, "battery staple").await.expect(200);
    assert_ne!(recovery["code"], code);
    assert_eq!(reset(&stranger, &c, node, &code, "another one").await.status, 401, "it works once");
    let log_in = async |password: &str| stranger.post(&c, node, "/v1/log-in", json!({ "name": "ann", "password": password })).await.status;
    assert_eq!((log_in("correct horse").await, log_in("battery staple").await), (401, 200));

    // Asked again at once, over QUIC too: answered alike, and nothing is told.
    let door = Door::new(&[c.address(node).to_owned()], c.trust()).expect("a socket");
    door.ask_reset("ann").await.expect("heard");
    door.ask_reset("nobody").await.expect("heard");
    let ids: std::collections::BTreeSet<String> = receiver.posts().into_iter().map(|post| post.id).collect();
    assert_eq!(ids.len(), 1, "one message, however often it was sent");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_backend_who_asks_is_told_so() {
    let c = Cluster::start_with(Setup { nodes: 1, ..Setup::default().with_api() }).await;
    let answer = Caller::with_token("").post(&c, 1, "/v1/ask-reset", json!({ "name": "ann" })).await;
    assert_eq!(answer.json["name"], "Unsupported", "{}", answer.json);
    let door = Door::new(&[c.address(1).to_owned()], c.trust()).expect("a socket");
    assert_eq!(door.ask_reset("ann").await.err().map(|error| error.code), Some(Code::Unsupported));
    c.finish().await;
}
