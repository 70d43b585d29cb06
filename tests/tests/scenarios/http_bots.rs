//! Bots: made by a user or by an operator, let in by a token that lasts until it is ended, over any node.

use kith_tests::{
    Cluster, Setup,
    http::{Caller, key},
};
use serde_json::{Value, json};

fn of(bot: &Value) -> Caller {
    Caller::with_token(bot["token"].as_str().expect("a token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_chats_until_its_token_is_ended() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await);
    let once = key(1);
    let bot = ann.post_once(&c, 1, "/v1/bots", &once, json!({ "name": "Helper" })).await.expect(201);
    let again = ann.post_once(&c, 2, "/v1/bots", &once, json!({ "name": "Helper" })).await.expect(201);
    assert_eq!((&again, &again["name"]), (&bot, &json!("helper")), "one key is one bot");
    let user = bot["user"].as_str().expect("an id").to_owned();
    assert_eq!(ann.get(&c, 3, "/v1/bots").await.expect(200), json!({ "bots": [{ "user": user, "name": "helper" }] }));

    let helper = of(&again);
    assert_eq!(helper.get(&c, 3, "/v1/me").await.expect(200)["user"], user);
    helper.post(&c, 1, "/v1/channels/@bob/messages", json!({ "text": "beep" })).await.expect(201);
    c.wait_for("bob has heard it", async || bob.get(&c, 2, "/v1/sync?wait_s=5").await.expect(200)["channels"][0]["preview"] == "beep").await;
    let mut events = helper.listen(&c, 2, None).await;
    events.until("channel", "beep").await;

    // Its holder cannot make it more than it is.
    let password = json!({ "old": "x", "new": "correct horse" });
    helper.ask(&c, 1, "PUT", "/v1/me/password", &[], Some(password)).await.expect(403);
    helper.post(&c, 1, "/v1/bots", json!({ "name": "another" })).await.expect(403);
    // Nobody but its owner and operators has a say in it.
    let token = format!("/v1/bots/{user}/token");
    bob.ask(&c, 1, "DELETE", &token, &[], None).await.expect(403);
    ann.ask(&c, 1, "DELETE", &token, &[], None).await.expect(200);
    events.until("end", "Revoked").await;
    for node in [1, 2, 3] {
        c.wait_for("the token is of no use", async || helper.get(&c, node, "/v1/me").await.status == 401).await;
    }

    let operator = Caller::with_token(&c.operator_token());
    let next = operator.ask(&c, 2, "POST", &token, &[], None).await.expect(200);
    of(&next).post(&c, 3, "/v1/channels/@bob/messages", json!({ "text": "beep again" })).await.expect(201);
    ann.ask(&c, 1, "DELETE", &format!("/v1/bots/{user}"), &[], None).await.expect(200);
    assert_eq!(ann.get(&c, 3, "/v1/bots").await.expect(200), json!({ "bots": [] }));
    c.wait_for("the bot is gone", async || of(&next).get(&c, 2, "/v1/me").await.status == 401).await;
    assert_eq!(Caller::with_token(&format!("kb1.{user}.{}", "0".repeat(64))).get(&c, 1, "/v1/me").await.status, 401);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_own_bot_is_the_operators_and_one_whose_owner_is_gone_goes_too() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let operator = Caller::with_token(&c.operator_token());
    let own = operator.post(&c, 1, "/v1/bots", json!({ "name": "herald" })).await.expect(201);
    assert_eq!(of(&own).get(&c, 2, "/v1/me").await.expect(200)["operator"], json!(false));

    let stranger = Caller::with_token("");
    let eve = stranger.post(&c, 1, "/v1/sign-up", json!({ "name": "eve", "password": "correct horse" })).await.expect(201);
    let eve = Caller::with_token(eve["access"].as_str().expect("a token"));
    let bot = eve.post(&c, 1, "/v1/bots", json!({ "name": "minion" })).await.expect(201);
    of(&bot).get(&c, 3, "/v1/me").await.expect(200);
    let herald = own["user"].as_str().expect("an id");
    eve.ask(&c, 1, "DELETE", &format!("/v1/bots/{herald}"), &[], None).await.expect(403);
    eve.post(&c, 1, "/v1/me/delete", json!({ "password": "correct horse" })).await.expect(200);
    c.wait_for("the bot is gone too", async || of(&bot).get(&c, 3, "/v1/me").await.status == 401).await;
    c.finish().await;
}
