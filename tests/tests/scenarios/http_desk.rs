//! Moderation, webhooks and taking all of it along, over HTTP.

use kith_tests::{
    Cluster, Setup,
    http::{Caller, key},
};
use serde_json::{Value, json};

async fn signed_up(c: &Cluster, name: &str) -> Caller {
    let made = Caller::with_token("").post(c, 1, "/v1/sign-up", json!({ "name": name, "password": "correct horse" })).await.expect(201);
    let mut caller = Caller::with_token(made["access"].as_str().expect("a token"));
    caller.user = made["user"].as_str().expect("an id").parse().expect("an id");
    caller
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_user_is_banned_and_let_in_again_and_all_of_it_is_logged() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, eve) = (signed_up(&c, "ann").await, signed_up(&c, "eve").await);
    let operator = Caller::with_token(&c.operator_token());
    let seq = eve.post(&c, 2, "/v1/channels/@ann/messages", json!({ "text": "buy this" })).await.expect(201)["seq"].clone();
    let reports = format!("/v1/channels/@eve/messages/{seq}/reports");
    let once = key(1);
    ann.post_once(&c, 1, &reports, &once, json!({ "reason": "spam" })).await.expect(200);
    let again = ann.post_once(&c, 3, &reports, &once, json!({ "reason": "spam" })).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    ann.post_once(&c, 2, &reports, &once, json!({ "reason": "other" })).await.expect(422);
    assert_eq!(eve.post(&c, 1, &reports.replace("@eve", "@ann"), json!({ "reason": "mine" })).await.status, 400);
    assert_eq!(ann.post(&c, 1, &reports, json!({ "reason": "x".repeat(501) })).await.expect(413)["name"], "TooLarge");
    assert_eq!(ann.get(&c, 1, "/v1/reports").await.expect(403)["name"], "NotAdmin");

    let listed = operator.get(&c, 3, "/v1/reports").await.expect(200);
    let report = &listed["reports"][0];
    assert_eq!((&report["count"], &report["text"], &report["sender"]), (&json!(1), &json!("buy this"), &json!(eve.user.to_string())));
    let ban = json!({ "note": "spam" });
    operator.ask(&c, 1, "PUT", "/v1/bans/eve", &[], Some(ban.clone())).await.expect(200);
    ann.ask(&c, 1, "PUT", "/v1/bans/eve", &[], Some(ban.clone())).await.expect(403);
    operator.ask(&c, 1, "PUT", "/v1/bans/nobody", &[], Some(ban)).await.expect(404);
    c.wait_for("her token is of no use", async || eve.get(&c, 3, "/v1/devices").await.status == 401).await;
    let credentials = json!({ "name": "eve", "password": "correct horse" });
    let log_in = async || Caller::with_token("").post(&c, 2, "/v1/log-in", credentials.clone()).await;
    assert_eq!(log_in().await.expect(401)["name"], "Banned");
    let close = format!("/v1/reports/{}/close", report["report"]);
    operator.post(&c, 2, &close, json!({ "note": "banned" })).await.expect(200);
    assert_eq!(operator.get(&c, 1, "/v1/reports").await.expect(200), json!({ "reports": [] }));
    operator.ask(&c, 3, "DELETE", "/v1/bans/eve", &[], None).await.expect(200);
    log_in().await.expect(200);

    let log = operator.get(&c, 2, "/v1/audit").await.expect(200);
    let acts: Vec<_> = log["entries"].as_array().expect("entries").iter().map(|entry| (entry["act"].clone(), entry["state"].clone())).collect();
    assert_eq!(acts, ["unban", "close-report", "ban"].map(|act| (json!(act), json!("done"))), "the newest first");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_its_channels_owners_and_one_key_is_one_webhook() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await);
    let operator = Caller::with_token(&c.operator_token());
    let group = json!({ "title": "chess", "members": [bob.user.to_string()] });
    let channel = ann.post(&c, 1, "/v1/channels", group).await.expect(201)["channel"].as_str().expect("an id").to_owned();
    let hooks = format!("/v1/channels/{channel}/webhooks");
    let (once, wanted) = (key(1), json!({ "url": "https://example.org/kith", "events": ["created", "members"] }));
    let made = ann.post_once(&c, 1, &hooks, &once, wanted.clone()).await.expect(201);
    assert!(made["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{made}");
    let again = ann.post_once(&c, 2, &hooks, &once, wanted.clone()).await;
    assert_eq!((again.header("idempotency-replayed"), again.json.clone()), (Some("true"), made.clone()), "its key too");
    ann.post_once(&c, 3, &hooks, &once, json!({ "url": "https://example.org/other" })).await.expect(422);
    bob.post(&c, 1, &hooks, wanted.clone()).await.expect(403);
    ann.post(&c, 1, &hooks, json!({ "url": "ftp://example.org/" })).await.expect(400);
    ann.post(&c, 1, &hooks, json!({ "url": "https://example.org/", "secret": "whsec_c2hvcnQ=" })).await.expect(400);

    let listed = ann.get(&c, 2, &hooks).await.expect(200)["webhooks"].clone();
    assert_eq!((&listed[0]["webhook"], &listed[0]["events"], &listed[1]), (&made["webhook"], &json!(["created", "members"]), &Value::Null));
    assert!(listed[0]["secret"].is_null(), "the key is in no list");
    let one = format!("{hooks}/{}", made["webhook"].as_str().expect("an id"));
    bob.ask(&c, 1, "DELETE", &one, &[], None).await.expect(403);
    ann.ask(&c, 3, "DELETE", &one, &[], None).await.expect(200);
    ann.ask(&c, 3, "DELETE", &one, &[], None).await.expect(404);

    ann.post(&c, 1, "/v1/webhooks", wanted.clone()).await.expect(403);
    let given = json!({ "user": bob.user.to_string(), "url": "https://example.org/all", "secret": format!("whsec_{}", "QUFB".repeat(8)) });
    let made = operator.post(&c, 2, "/v1/webhooks", given).await.expect(201);
    assert!(made["secret"].is_null(), "whoever gave the key has it");
    let own = operator.get(&c, 3, "/v1/webhooks").await.expect(200)["webhooks"].clone();
    assert_eq!((&own[0]["webhook"], &own[0]["by"]), (&made["webhook"], &Value::Null));
    operator.ask(&c, 1, "DELETE", &format!("/v1/webhooks/{}", made["webhook"].as_str().expect("an id")), &[], None).await.expect(200);
    assert_eq!(operator.get(&c, 2, "/v1/webhooks").await.expect(200), json!({ "webhooks": [] }));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_takes_all_of_it_along_page_by_page() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob) = (signed_up(&c, "ann").await, signed_up(&c, "bob").await);
    let group = json!({ "title": "chess", "members": [bob.user.to_string()] });
    let group = ann.post(&c, 1, "/v1/channels", group).await.expect(201)["channel"].as_str().expect("an id").to_owned();
    let mut mine = Vec::new();
    for number in 0..110 {
        let channel = if number % 10 == 0 { &group } else { "@bob" };
        let written =
            ann.post(&c, 1 + number % 3, &format!("/v1/channels/{channel}/messages"), json!({ "text": format!("{number}") })).await.expect(201);
        mine.push((written["channel"].clone().to_string(), written["seq"].as_u64(), json!(format!("{number}"))));
    }
    bob.post(&c, 1, "/v1/channels/@ann/messages", json!({ "text": "not hers" })).await.expect(201);
    ann.ask(&c, 1, "PUT", &format!("/v1/contacts/{}", bob.user), &[], None).await.expect(200);
    c.wait_for("both are in her list", async || {
        ann.get(&c, 2, "/v1/channels").await.expect(200)["channels"].as_array().is_some_and(|channels| channels.len() == 2)
    })
    .await;

    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&c, 1 + pages.len() as u64 % 3, &format!("/v1/me/export{cursor}")).await.expect(200);
        let next = page["next"].as_str().map(|next| format!("?cursor={next}"));
        pages.push(page);
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let all = |part: &str| pages.iter().filter_map(|page| page[part].as_array()).flatten().cloned().collect::<Vec<_>>();
    assert_eq!(pages[0]["profile"]["name"], "ann");
    assert_eq!((all("devices").len(), all("contacts").len(), all("channels").len()), (1, 1, 2));
    let texts = all("texts");
    let told = |text: &Value| (text["channel"].to_string(), text["message"]["seq"].as_u64(), text["message"]["text"].clone());
    mine.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    assert_eq!(texts.iter().map(told).collect::<Vec<_>>(), mine, "by channel and seq, each once");
    ann.get(&c, 1, "/v1/me/export?cursor=x").await.expect(400);
    c.finish().await;
}
