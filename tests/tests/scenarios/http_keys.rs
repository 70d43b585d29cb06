//! `Idempotency-Key` where an answer holds a secret, where there is no token yet, and where there is none any more: the same key, the same answer,
//! over any node; and no write without a word about keys.

use kith::clock::{Clock, SystemClock};
use kith_tests::{
    Cluster, Setup,
    http::{Answer, Caller, key_at},
};
use serde_json::{Value, json};

fn with_token(held: &Value) -> Caller {
    Caller::with_token(held["access"].as_str().expect("a token"))
}

/// Whether two log-ins are one: access tokens are made anew.
fn same(one: &Value, other: &Value) -> bool {
    ["user", "device", "refresh", "recovery", "name"].iter().all(|part| one[part] == other[part])
}

/// Keys of this moment, told apart by numbers: each time the same ones.
fn keys() -> impl Fn(u64) -> String {
    let now = SystemClock.now().get();
    move |number| key_at(now, number)
}

async fn once(c: &Cluster, caller: &Caller, node: u64, method: &str, path: &str, key: &str, body: Option<Value>) -> Answer {
    caller.ask(c, node, method, path, &[("idempotency-key", key)], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_takes_a_key_or_says_that_it_takes_none() {
    let c = Cluster::start_with(Setup { nodes: 1, ..Setup::default().with_api() }).await;
    let (ann, bob) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await);
    let document = ann.get(&c, 1, "/v1/openapi.json").await.expect(200);
    let mut writes = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let mut asked = path.clone();
        for (part, value) in [("{channel}", "@bob"), ("{user}", bob.user.to_string().as_str()), ("{name}", "bob"), ("{seq}", "1")] {
            asked = asked.replace(part, value);
        }
        // Whatever else stands in the path.
        while let (Some(from), Some(to)) = (asked.find('{'), asked.find('}')) {
            asked.replace_range(from..=to, "1");
        }
        for (method, operation) in item.as_object().expect("operations").iter().filter(|(method, _)| *method != "get") {
            let answer = once(&c, &ann, 1, &method.to_ascii_uppercase(), &asked, "no key", None).await;
            let detail = answer.json["detail"].as_str().unwrap_or_default().to_owned();
            assert!(answer.status == 400 && detail.contains("Idempotency-Key"), "{method} {path} ignores a key: {} {detail}", answer.status);
            let takes_one = operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "Idempotency-Key"));
            assert_eq!(takes_one, detail.contains("UUID"), "{method} {path}: the document says so");
            writes += 1;
        }
    }
    assert!(writes >= 60, "{writes}");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_a_token_is_answered_alike_under_one_key() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (stranger, key) = (Caller::with_token(""), keys());
    let post =
        async |node: u64, path: &str, number: u64, body: &Value| once(&c, &stranger, node, "POST", path, &key(number), Some(body.clone())).await;
    let ann = |password: &str, device: &str| json!({ "name": "ann", "password": password, "device": device });

    let made = post(1, "/v1/sign-up", 1, &ann("correct horse", "laptop")).await.expect(201);
    assert!(same(&made, &post(2, "/v1/sign-up", 1, &ann("correct horse", "laptop")).await.expect(201)));
    for other in
        [ann("battery staple", "laptop"), ann("correct horse", "phone"), json!({ "name": "zoe", "password": "correct horse", "device": "laptop" })]
    {
        assert_eq!(post(3, "/v1/sign-up", 1, &other).await.expect(422)["name"], "Conflict", "{other}");
    }
    assert_eq!(post(3, "/v1/sign-up", 2, &ann("correct horse", "laptop")).await.expect(409)["name"], "NameTaken", "another key is another user");
    let zoe = json!({ "name": "zoe", "password": "correct horse" });
    post(1, "/v1/sign-up", 3, &zoe).await.expect(201);

    let held = post(1, "/v1/log-in", 4, &ann("correct horse", "phone")).await.expect(200);
    assert!(same(&held, &post(2, "/v1/log-in", 4, &ann("correct horse", "phone")).await.expect(200)));
    post(3, "/v1/log-in", 4, &ann("correct horse", "tablet")).await.expect(422);
    assert_eq!(post(3, "/v1/log-in", 4, &ann("wrong horse", "phone")).await.expect(401)["name"], "BadLogin", "each time it must be proven");
    // The device goes on; a late retry is answered alike, and takes nothing from it.
    let refresh = |held: &Value| json!({ "refresh": held["refresh"] });
    let next = post(1, "/v1/refresh", 5, &refresh(&held)).await.expect(200);
    assert!(same(&next, &post(2, "/v1/refresh", 5, &refresh(&held)).await.expect(200)) && next["refresh"] != held["refresh"]);
    assert_eq!(post(3, "/v1/refresh", 5, &refresh(&made)).await.expect(422)["name"], "Conflict");
    assert!(same(&held, &post(3, "/v1/log-in", 4, &ann("correct horse", "phone")).await.expect(200)));
    let devices = with_token(&next).get(&c, 1, "/v1/devices").await.expect(200);
    assert_eq!(devices["devices"].as_array().expect("devices").len(), 2, "{devices}");

    let reset = |password: &str| json!({ "name": "ann", "code": made["recovery"], "password": password });
    let code = post(1, "/v1/reset-password", 6, &reset("battery staple")).await.expect(200);
    assert_eq!(post(2, "/v1/reset-password", 6, &reset("battery staple")).await.expect(200), code);
    assert_eq!(post(3, "/v1/reset-password", 6, &reset("other horse")).await.status, 422);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_an_answer_are_shown_again_under_its_key_and_who_has_left_hears_what_was_answered() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (stranger, key) = (Caller::with_token(""), keys());
    let sign_up = async |name: &str| stranger.post(&c, 1, "/v1/sign-up", json!({ "name": name, "password": "correct horse" })).await.expect(201);
    let held = sign_up("ann").await;
    let ann = with_token(&held);
    let is_replay = |answer: &Answer| answer.header("idempotency-replayed") == Some("true");

    let change = |new: &str| Some(json!({ "old": "correct horse", "new": new }));
    once(&c, &ann, 1, "PUT", "/v1/me/password", &key(1), change("battery staple")).await.expect(200);
    assert!(is_replay(&once(&c, &ann, 2, "PUT", "/v1/me/password", &key(1), change("battery staple")).await));
    once(&c, &ann, 3, "PUT", "/v1/me/password", &key(1), change("another horse")).await.expect(422);

    let confirm = |password: &str| Some(json!({ "password": password }));
    let code = once(&c, &ann, 1, "POST", "/v1/me/recovery-code", &key(2), confirm("battery staple")).await.expect(200);
    assert!(code["code"].as_str().is_some_and(|code| code.len() == 29), "{code}");
    let again = once(&c, &ann, 2, "POST", "/v1/me/recovery-code", &key(2), confirm("battery staple")).await;
    assert!(is_replay(&again) && again.json == code);
    once(&c, &ann, 3, "POST", "/v1/me/recovery-code", &key(2), confirm("a guess, perhaps")).await.expect(422);

    let bot = once(&c, &ann, 1, "POST", "/v1/bots", &key(3), Some(json!({ "name": "helper" }))).await.expect(201);
    let again = once(&c, &ann, 2, "POST", "/v1/bots", &key(3), Some(json!({ "name": "helper" }))).await;
    assert!(is_replay(&again) && again.json == bot && again.status == 201);
    let token = format!("/v1/bots/{}/token", bot["user"].as_str().expect("an id"));
    let next = once(&c, &ann, 1, "POST", &token, &key(4), None).await.expect(200);
    assert_eq!(once(&c, &ann, 2, "POST", &token, &key(4), None).await.expect(200), next);
    assert_ne!(next["token"], bot["token"]);
    let helper = Caller::with_token(next["token"].as_str().expect("a token"));
    assert_eq!(helper.get(&c, 3, "/v1/me").await.expect(200)["name"], "helper", "the token that was shown twice");

    // An operator's token of nobody has keys too.
    let operator = Caller::with_token(&c.operator_token());
    let reset = once(&c, &operator, 1, "POST", "/v1/accounts/ann/reset-code", &key(5), None).await.expect(200);
    let again = once(&c, &operator, 2, "POST", "/v1/accounts/ann/reset-code", &key(5), None).await;
    assert!(is_replay(&again) && again.json == reset);
    once(&c, &operator, 3, "POST", "/v1/accounts", &key(5), Some(json!({ "name": "eve" }))).await.expect(422);
    once(&c, &ann, 1, "POST", "/v1/channels/@helper/typing", &key(6), None).await.expect(400);

    // Their own token ends by it: a retry is told what was answered, and nothing else is.
    let phone = stranger.post(&c, 2, "/v1/log-in", json!({ "name": "ann", "password": "battery staple" })).await.expect(200);
    let phone = with_token(&phone);
    once(&c, &phone, 1, "DELETE", "/v1/devices/me", &key(7), None).await.expect(200);
    for node in [1, 2, 3] {
        c.wait_for("its token is of no use", async || phone.get(&c, node, "/v1/me").await.status == 401).await;
        let again = once(&c, &phone, node, "DELETE", "/v1/devices/me", &key(7), None).await;
        assert!(is_replay(&again) && again.status == 200, "{}", again.json);
        once(&c, &phone, node, "DELETE", "/v1/devices/others", &key(8), None).await.expect(401);
    }
    once(&c, &ann, 1, "POST", "/v1/me/delete", &key(9), confirm("battery staple")).await.expect(200);
    c.wait_for("the account is gone", async || ann.get(&c, 2, "/v1/me").await.status == 401).await;
    let again = once(&c, &ann, 2, "POST", "/v1/me/delete", &key(9), confirm("battery staple")).await;
    assert!(is_replay(&again) && again.status == 200, "{}", again.json);
    once(&c, &ann, 3, "POST", "/v1/me/delete", &key(10), confirm("battery staple")).await.expect(401);
    c.finish().await;
}
