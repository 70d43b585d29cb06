//! What people do over HTTP besides sending: editing, reacting, pinning, forwarding, texts for later, running a group; each over any node.

use kith_tests::{
    Cluster, Setup,
    http::{Caller, key},
};
use serde_json::{Value, json};

struct Chat {
    c: Cluster,
    ann: Caller,
    bob: Caller,
    eve: Caller,
}

impl Chat {
    async fn start() -> Self {
        let c = Cluster::start_with(Setup::default().with_api()).await;
        let (ann, bob, eve) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await, Caller::new(&c, "eve").await);
        Self { c, ann, bob, eve }
    }
    async fn put(&self, who: &Caller, node: u64, path: &str, body: Value) -> Value {
        who.ask(&self.c, node, "PUT", path, &[], Some(body)).await.expect(201)
    }
    async fn do_it(&self, who: &Caller, method: &str, path: &str, status: u16) -> Value {
        who.ask(&self.c, 2, method, path, &[], None).await.expect(status)
    }
    async fn group(&self) -> String {
        let made = self.ann.post(&self.c, 1, "/v1/channels", json!({ "title": "chess", "members": [self.bob.user.to_string()] })).await.expect(201);
        format!("/v1/channels/{}", made["channel"].as_str().expect("an id"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_edited_reacted_to_pinned_forwarded_and_deleted() {
    let chat = Chat::start().await;
    let (c, ann, bob) = (&chat.c, &chat.ann, &chat.bob);
    ann.post(c, 1, "/v1/channels/@bob/messages", json!({ "text": "helo" })).await.expect(201);
    let text = "/v1/channels/@bob/messages/1";
    chat.put(ann, 2, text, json!({ "text": "hello" })).await;
    assert_eq!(bob.ask(c, 3, "PUT", "/v1/channels/@ann/messages/1", &[], Some(json!({ "text": "no" }))).await.status, 403);

    let thumb = "/v1/channels/@ann/messages/1/reactions/%F0%9F%91%8D";
    chat.do_it(bob, "PUT", thumb, 201).await;
    assert_eq!(chat.do_it(bob, "PUT", thumb, 200).await, json!({}), "it was given before");
    let reactions = ann.get(c, 1, &format!("{text}/reactions")).await.expect(200);
    assert_eq!(reactions, json!({ "reactions": [{ "emoji": "👍", "users": [bob.user.to_string()] }] }));
    chat.do_it(bob, "PUT", "/v1/channels/@ann/pins/1", 201).await;

    let now = bob.get(c, 1, "/v1/channels/@ann/messages/1").await.expect(200);
    assert_eq!((&now["text"], &now["edited"], &now["pinned"]), (&json!("hello"), &json!(2), &json!(true)), "{now}");
    assert_eq!(now["reactions"], json!([{ "emoji": "👍", "count": 1, "mine": true }]));

    let in_thread = json!({ "text": "about that", "thread": 1 });
    bob.post(c, 2, "/v1/channels/@ann/messages", in_thread).await.expect(201);
    ann.post(c, 1, "/v1/channels/@bob/messages", json!({ "text": "beside it" })).await.expect(201);
    let thread = ann.get(c, 3, "/v1/channels/@bob/messages?thread=1&after=0").await.expect(200);
    let texts: Vec<&Value> = thread["messages"].as_array().expect("messages").iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, [&json!("hello"), &json!("about that")]);
    assert_eq!(thread["messages"][0]["replies"], json!({ "count": 1, "last": 5 }));

    let own = format!("/v1/channels/{}/forwards", kith_wire::id::ChannelId::direct(bob.user, bob.user));
    let forwarded = bob.post(c, 1, &own, json!({ "from": "@ann", "seq": 1 })).await.expect(201);
    let copy = bob.get(c, 2, &format!("/v1/channels/{}/messages/1", forwarded["channel"].as_str().expect("an id"))).await.expect(200);
    assert_eq!((&copy["text"], &copy["origin"]["sender"]), (&json!("hello"), &json!(ann.user.to_string())));

    bob.ask(c, 1, "PUT", "/v1/channels/@ann/read", &[], Some(json!({ "seq": 6, "cnt": 3 }))).await.expect(200);
    c.wait_for("ann sees who has read it", async || {
        ann.get(c, 2, "/v1/channels/@bob/messages/6/seen").await.expect(200)["read"] == json!([bob.user.to_string()])
    })
    .await;
    chat.do_it(bob, "DELETE", "/v1/channels/@ann/pins/1", 201).await;
    chat.do_it(bob, "DELETE", thumb, 201).await;
    chat.do_it(ann, "DELETE", text, 201).await;
    let gone = bob.get(c, 3, "/v1/channels/@ann/messages/1").await.expect(200);
    assert_eq!((&gone["kind"], &gone["why"], &gone["text"]), (&json!("gone"), &json!("deleted"), &Value::Null));
    bob.get(c, 3, "/v1/channels/@ann/messages/99").await.expect(404);
    let around = bob.get(c, 3, "/v1/channels/@ann/messages?around=4&limit=3").await.expect(200);
    assert!(around["messages"].as_array().expect("messages").iter().any(|message| message["seq"] == 4), "{around}");
    chat.c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_for_later_is_listed_taken_back_and_sent_once() {
    let chat = Chat::start().await;
    let (c, ann, bob) = (&chat.c, &chat.ann, &chat.bob);
    ann.post(c, 1, "/v1/channels/@bob/messages", json!({ "text": "now" })).await.expect(201);
    let path = "/v1/channels/@bob/scheduled";
    let now_ms = kith::clock::Clock::now(&kith::clock::SystemClock).get();
    let late = json!({ "text": "never", "due_ms": now_ms + 3_600_000 });
    let (first, second) = (key(1), key(2));
    let one = ann.post_once(c, 1, path, &first, late.clone()).await.expect(201);
    let two = ann.post_once(c, 2, path, &second, late.clone()).await.expect(201);
    assert_ne!(one["id"], two["id"], "two keys are two texts");
    assert_eq!(ann.post_once(c, 3, path, &first, late).await.expect(201), one, "one key is one text");
    let held = ann.get(c, 2, path).await.expect(200);
    assert_eq!(held["scheduled"].as_array().expect("texts").len(), 2, "{held}");
    for id in [&one["id"], &two["id"]] {
        chat.do_it(ann, "DELETE", &format!("{path}/{}", id.as_str().expect("an id")), 200).await;
    }
    assert_eq!(ann.get(c, 1, path).await.expect(200)["scheduled"], json!([]));
    ann.post(c, 3, path, json!({ "text": "soon", "due_ms": now_ms + 30_000 })).await.expect(201);
    ann.post(c, 3, path, json!({ "text": "past", "due_ms": 1 })).await.expect(400);
    let soon = json!({ "text": "at once", "due_ms": kith::clock::Clock::now(&kith::clock::SystemClock).get() + 500 });
    ann.post(c, 3, path, soon).await.expect(201);
    c.wait_for("what was due is there", async || {
        let history = bob.get(c, 1, "/v1/channels/@ann/messages").await.expect(200);
        history["messages"].as_array().expect("messages").iter().filter(|message| message["text"] == "at once").count() == 1
    })
    .await;
    chat.c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_run_and_joined_by_a_link() {
    let chat = Chat::start().await;
    let (c, ann, bob, eve) = (&chat.c, &chat.ann, &chat.bob, &chat.eve);
    let group = chat.group().await;
    chat.put(ann, 2, &format!("{group}/description"), json!({ "title": "go", "about": "slow games" })).await;
    let held = bob.get(c, 3, &format!("{group}/group")).await.expect(200);
    assert_eq!((&held["title"], &held["about"], &held["role"]), (&json!("go"), &json!("slow games"), &json!("member")));
    let mut rules = held["rules"].clone();
    rules["approval"] = json!(true);
    rules["slow_ms"] = json!(3_600_000);
    chat.put(ann, 1, &format!("{group}/rules"), rules).await;
    bob.post(c, 1, &format!("{group}/messages"), json!({ "text": "first" })).await.expect(201);
    let slow = bob.post(c, 1, &format!("{group}/messages"), json!({ "text": "second" })).await;
    assert_eq!((slow.status, &slow.json["name"], slow.header("retry-after").is_some()), (429, &json!("SlowMode"), true));

    bob.post(c, 2, &format!("{group}/links"), json!({})).await.expect(403);
    let link_key = key(1);
    let link = ann.post_once(c, 2, &format!("{group}/links"), &link_key, json!({ "uses": 1 })).await.expect(201);
    let again = ann.post_once(c, 3, &format!("{group}/links"), &link_key, json!({ "uses": 1 })).await.expect(201);
    assert_eq!(again, link, "one key is one link");
    let shown = json!({ "link": link["link"] });
    assert_eq!(eve.post(c, 1, "/v1/join", shown.clone()).await.expect(200)["member"], json!(false), "an admin has to let her in");
    let asked = ann.get(c, 3, &format!("{group}/group")).await.expect(200);
    assert_eq!(asked["requests"][0]["user"], eve.user.to_string(), "{asked}");
    chat.do_it(ann, "DELETE", &format!("{group}/requests/{}", eve.user), 200).await;
    eve.post(c, 1, "/v1/join", shown).await.expect(200);
    ann.post(c, 1, &format!("{group}/members"), json!({ "user": eve.user.to_string() })).await.expect(201);
    chat.do_it(ann, "DELETE", &format!("/v1/links/{}", link["link"].as_str().expect("a link")), 200).await;
    let ended = Caller::new(c, "dan").await.post(c, 2, "/v1/join", json!({ "link": link["link"] })).await;
    assert_eq!((ended.status, &ended.json["name"]), (403, &json!("LinkEnded")));

    let until = json!({ "until_ms": kith::clock::Clock::now(&kith::clock::SystemClock).get() + 3_600_000 });
    chat.put(ann, 3, &format!("{group}/members/{}/mute", eve.user), until).await;
    let muted = eve.post(c, 1, &format!("{group}/messages"), json!({ "text": "?" })).await;
    assert_eq!((muted.status, &muted.json["name"]), (403, &json!("Muted")));
    chat.do_it(ann, "DELETE", &format!("{group}/members/{}/mute", eve.user), 201).await;
    eve.post(c, 1, &format!("{group}/messages"), json!({ "text": "!" })).await.expect(201);

    let last = ann.ask(c, 1, "DELETE", &format!("{group}/members/me"), &[], None).await;
    assert_eq!((last.status, &last.json["name"]), (409, &json!("LastOwner")));
    chat.put(ann, 1, &format!("{group}/owner"), json!({ "user": bob.user.to_string() })).await;
    chat.do_it(ann, "DELETE", &format!("{group}/members/me"), 201).await;
    assert_eq!(bob.get(c, 2, &format!("{group}/group")).await.expect(200)["role"], json!("owner"));
    chat.c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_hears_who_types() {
    let chat = Chat::start().await;
    let (c, ann, bob) = (&chat.c, &chat.ann, &chat.bob);
    ann.post(c, 1, "/v1/channels/@bob/messages", json!({ "text": "hi" })).await.expect(201);
    let mut events = bob.listen(c, 2, None).await;
    events.until("cursor", "").await;
    ann.post(c, 3, "/v1/channels/@bob/typing", json!({})).await.expect(200);
    events.until("typing", &ann.user.to_string()).await;
    drop(events);
    chat.c.finish().await;
}
