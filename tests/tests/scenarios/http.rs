//! The HTTP API against real clusters: a script with nothing but HTTP chats, over any node, across the death of one.

use std::num::NonZeroU32;

use kith_tests::{
    Cluster, Setup,
    http::{Caller, key, key_at},
};
use kith_wire::id::ChannelId;
use serde_json::{Value, json};

async fn start() -> (Cluster, Caller, Caller) {
    let cluster = Cluster::start_with(Setup::default().with_api()).await;
    let (ann, bob) = (Caller::new(&cluster, "ann").await, Caller::new(&cluster, "bob").await);
    (cluster, ann, bob)
}

fn texts(history: &Value) -> Vec<&str> {
    history["messages"].as_array().expect("messages").iter().filter_map(|message| message["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_chat_over_different_nodes() {
    let (c, ann, bob) = start().await;
    let sent = ann.post(&c, 1, "/v1/channels/@bob/messages", json!({ "text": "hello" })).await.expect(201);
    assert_eq!((&sent["seq"], &sent["cnt"]), (&json!(1), &json!(1)));
    let channel = ChannelId::direct(ann.user, bob.user).to_string();
    assert_eq!(sent["channel"], channel);
    let answer = json!({ "text": "hi ann", "reply_to": 1, "mentions": [ann.user.to_string()] });
    bob.post(&c, 2, &format!("/v1/channels/{channel}/messages"), answer).await.expect(201);
    // Acknowledged by one node is there over another.
    let history = ann.get(&c, 3, "/v1/channels/@bob/messages").await.expect(200);
    assert_eq!(texts(&history), ["hello", "hi ann"]);
    assert_eq!((&history["messages"][1]["reply_to"], &history["head"]["seq"]), (&json!(1), &json!(2)));

    // The list, once the index knows.
    let mut cursor = String::new();
    c.wait_for("ann's list shows the answer", async || {
        let synced = ann.get(&c, 2, &format!("/v1/sync?wait_s=5{cursor}")).await.expect(200);
        cursor = format!("&cursor={}", synced["cursor"].as_str().expect("a cursor"));
        synced["channels"].as_array().expect("rows").iter().any(|row| row["preview"] == "hi ann" && row["mentions"] == 1 && row["unread"] == 1)
    })
    .await;
    let read = ann.ask(&c, 1, "PUT", "/v1/channels/@bob/read", &[], Some(json!({ "seq": 2, "cnt": 2 }))).await;
    assert_eq!(read.expect(200), json!({}));
    c.wait_for("nothing is unread", async || {
        let list = ann.get(&c, 3, "/v1/channels").await.expect(200);
        list["channels"][0]["unread"] == 0 && list["channels"][0]["peer"] == bob.user.to_string()
    })
    .await;
    c.wait_for("bob sees how far ann has read", async || {
        let room = bob.get(&c, 1, &format!("/v1/channels/{channel}")).await.expect(200);
        room["members"].as_array().expect("members").iter().any(|member| member["user"] == ann.user.to_string() && member["read"]["seq"] == 2)
    })
    .await;
    bob.ask(&c, 1, "PUT", &format!("/v1/channels/{channel}/delivered"), &[], Some(json!({ "seq": 2, "cnt": 2 }))).await.expect(200);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_filled_and_left() {
    let (c, ann, bob) = start().await;
    let eve = Caller::new(&c, "eve").await;
    let id = |caller: &Caller| caller.user.to_string();
    let made = ann.post_once(&c, 1, "/v1/channels", &key(1), json!({ "title": "chess", "members": [id(&bob)] })).await.expect(201);
    let group = made["channel"].as_str().expect("an id").to_owned();
    let another = ann.post_once(&c, 2, "/v1/channels", &key(2), json!({ "title": "chess" })).await.expect(201);
    assert_ne!(another["channel"], group, "another key is another group");
    let members = format!("/v1/channels/{group}/members");
    eve.get(&c, 1, &format!("/v1/channels/{group}")).await.expect(403);
    ann.post(&c, 2, &members, json!({ "user": id(&eve) })).await.expect(201);
    ann.ask(&c, 3, "PUT", &format!("{members}/{}", id(&bob)), &[], Some(json!({ "role": "admin" }))).await.expect(201);
    bob.ask(&c, 1, "DELETE", &format!("{members}/{}", id(&eve)), &[], None).await.expect(201);
    let problem = eve.post(&c, 2, &format!("/v1/channels/{group}/messages"), json!({ "text": "still here?" })).await;
    assert_eq!((problem.status, &problem.json["name"], &problem.json["retry"]), (403, &json!("NotMember"), &json!("never")));
    bob.ask(&c, 2, "DELETE", &format!("{members}/me"), &[], None).await.expect(201);
    let alone = ann.get(&c, 1, &format!("/v1/channels/{group}")).await.expect(200);
    assert_eq!((alone["members"].as_array().expect("members").len(), &alone["title"]), (1, &json!("chess")));
    let kinds: Vec<Value> = ann.get(&c, 2, &format!("/v1/channels/{group}/messages")).await.expect(200)["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|message| message["kind"].clone())
        .collect();
    assert_eq!(kinds, ["created", "added", "role_changed", "removed", "left"]);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_write_over_any_node_and_across_a_leaders_death() {
    let (mut c, ann, bob) = start().await;
    let channel = ChannelId::direct(ann.user, bob.user);
    let path = format!("/v1/channels/{channel}/messages");
    let (key, body) = (key(7), json!({ "text": "once" }));
    let first = ann.post_once(&c, 1, &path, &key, body.clone()).await.expect(201);
    for node in [1, 2, 3] {
        assert_eq!(ann.post_once(&c, node, &path, &key, body.clone()).await.expect(201), first, "over node {node}");
    }
    let other = ann.post_once(&c, 2, &path, &key, json!({ "text": "twice" })).await;
    assert_eq!((other.status, &other.json["code"]), (422, &json!(4003)));
    let made = ann.post_once(&c, 1, "/v1/channels", &key, json!({ "title": "a" })).await.expect(201);
    let again = ann.post_once(&c, 3, "/v1/channels", &key, json!({ "title": "a" })).await;
    assert_eq!((again.header("idempotency-replayed"), &again.json), (Some("true"), &made));
    ann.post_once(&c, 2, "/v1/channels", &key, json!({ "title": "b" })).await.expect(422);

    // The leaders of both die: what was answered is known to those that follow.
    let leader = c.leader_of(c.group_of(channel.bucket())).await;
    c.kill(leader).await;
    for node in c.running() {
        c.wait_for("the write is answered as before", async || {
            let answer = ann.post_once(&c, node, &path, &key, body.clone()).await;
            assert!(answer.status == 201 && answer.json == first || answer.status >= 500, "{}", answer.json);
            answer.status == 201
        })
        .await;
    }
    let home = c.group_of(ann.user.bucket());
    c.leader_of(home).await;
    c.wait_for("the group is answered as before", async || {
        let answer = ann.post_once(&c, c.running()[0], "/v1/channels", &key, json!({ "title": "a" })).await;
        answer.status == 201 && answer.json == made
    })
    .await;
    let history = bob.get(&c, c.running()[0], "/v1/channels/@ann/messages").await.expect(200);
    assert_eq!(texts(&history), ["once"]);
    c.restart(leader).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_when_something_happens_and_a_stream_goes_on_where_it_broke() {
    let (mut c, ann, bob) = start().await;
    let synced = bob.get(&c, 1, "/v1/sync").await.expect(200);
    assert_eq!((&synced["channels"], &synced["more"]), (&json!([]), &json!(false)));
    let cursor = synced["cursor"].as_str().expect("a cursor").to_owned();

    let path = format!("/v1/sync?wait_s=60&cursor={cursor}");
    let (polled, _) = tokio::join!(bob.get(&c, 1, &path), ann.post(&c, 2, "/v1/channels/@bob/messages", json!({ "text": "wake up" })));
    let polled = polled.expect(200);
    assert_eq!(polled["channels"][0]["preview"], "wake up", "{polled}");

    let mut events = bob.listen(&c, 1, Some(polled["cursor"].as_str().expect("a cursor"))).await;
    ann.post(&c, 3, "/v1/channels/@bob/messages", json!({ "text": "live" })).await.expect(201);
    let message = events.until("message", "live").await;
    let message: Value = serde_json::from_str(&message.data).expect("json");
    assert_eq!((&message["prev_seq"], &message["message"]["seq"]), (&json!(1), &json!(2)));
    events.until("channel", "live").await;
    let last = events.until("cursor", "").await.id.expect("where to go on");

    // The node ends: the stream says so, and goes on over another one without a loss.
    // The others still append to it while its groups stop.
    c.expect_logs("raft stopped");
    c.expect_logs("failed to receive from RaftCore");
    c.shut_down(1).await;
    let ended = events.until("end", "").await;
    assert!(ended.data.contains("Draining"), "{}", ended.data);
    ann.post(&c, 2, "/v1/channels/@bob/messages", json!({ "text": "missed" })).await.expect(201);
    let mut events = bob.listen(&c, 3, Some(&last)).await;
    let row = events.until("channel", "missed").await;
    let row: Value = serde_json::from_str(&row.data).expect("json");
    assert_eq!(row["head"]["seq"], 3);
    events.until("cursor", "").await;
    let missed = bob.get(&c, 2, "/v1/channels/@ann/messages?after=2").await.expect(200);
    assert_eq!(texts(&missed), ["missed"]);
    drop(events);
    c.restart(1).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_in_both_directions_without_a_hole() {
    let (c, ann, _) = start().await;
    for number in 1..=25 {
        ann.post(&c, 1 + number % 3, "/v1/channels/@bob/messages", json!({ "text": number.to_string() })).await.expect(201);
    }
    for (order, start) in [("rising", "?limit=10&after=0"), ("newest first", "?limit=10")] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/channels/@bob/messages{start}");
        loop {
            let page = ann.get(&c, 2, &path).await.expect(200);
            let mut seqs: Vec<u64> = page["messages"].as_array().expect("messages").iter().filter_map(|message| message["seq"].as_u64()).collect();
            if order != "rising" {
                seqs.reverse();
            }
            seen.extend(seqs);
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/channels/@bob/messages?limit=10&cursor={next}");
        }
        if order != "rising" {
            seen.reverse();
        }
        assert_eq!(seen, (1..=25).collect::<Vec<_>>(), "{order}");
    }
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_problem_that_says_so() {
    let (c, ann, bob) = start().await;
    ann.post(&c, 1, "/v1/channels/@bob/messages", json!({ "text": "hi" })).await.expect(201);
    let to_bob = "/v1/channels/@bob/messages";
    let channel = ChannelId::direct(ann.user, bob.user);
    let cases: Vec<(&str, &str, Option<Value>, u16, u16)> = vec![
        ("GET", "/v1/nothing", None, 404, 4006),
        ("DELETE", "/v1/me", None, 405, 4007),
        ("POST", to_bob, Some(json!({ "text": "" })), 400, 4001),
        ("POST", to_bob, Some(json!({ "text": "x".repeat(100_001) })), 413, 4002),
        ("POST", to_bob, Some(json!({ "txt": "hi" })), 400, 4001),
        ("POST", to_bob, Some(json!({ "text": "hi", "reply_to": 9 })), 404, 4006),
        ("POST", to_bob, Some(json!({ "text": "hi", "mentions": ["bob"] })), 400, 4001),
        ("POST", to_bob, None, 415, 4001),
        ("POST", "/v1/channels/@nobody/messages", Some(json!({ "text": "hi" })), 404, 3004),
        ("POST", "/v1/channels/12/messages", Some(json!({ "text": "hi" })), 400, 4001),
        ("POST", "/v1/channels", Some(json!({ "title": "x".repeat(201) })), 413, 4002),
        ("POST", "/v1/channels", Some(json!({ "title": "x", "members": ["u0000000000000001"] })), 404, 3004),
        ("GET", "/v1/channels/@bob/messages?limit=0", None, 400, 4001),
        ("GET", "/v1/channels/@bob/messages?limit=two", None, 400, 4001),
        ("GET", "/v1/channels/@bob/messages?cursor=zzz", None, 400, 4001),
        ("GET", "/v1/sync?cursor=sffff", None, 410, 6008),
        ("GET", "/v1/sync?wait_s=61", None, 400, 4001),
        ("GET", "/v1/users?ids=bob", None, 400, 4001),
        ("GET", "/v1/users?name=a%20b", None, 400, 4001),
        ("GET", "/v1/status", None, 403, 2004),
        ("POST", "/v1/accounts", Some(json!({ "name": "eve" })), 403, 2004),
        ("GET", "/v1/problems/1", None, 404, 4006),
    ];
    for (method, path, body, status, code) in cases {
        let answer = ann.ask(&c, 2, method, path, &[], body).await;
        assert_eq!((answer.status, &answer.json["code"]), (status, &json!(code)), "{method} {path}: {}", answer.json);
        assert_eq!(answer.json["status"], status);
        assert_eq!(answer.header("x-request-id"), answer.json["request_id"].as_str(), "{method} {path}");
    }
    let none = Caller::with_token("none").get(&c, 1, "/v1/me").await;
    assert_eq!((none.status, none.header("www-authenticate"), &none.json["retry"]), (401, Some("Bearer"), &json!("after_auth")));
    for wrong in ["abc", "0198b2e6-6d5c-4a41-9c0e-3f2b8d7a6e10"] {
        ann.post_once(&c, 1, to_bob, wrong, json!({ "text": "hi" })).await.expect(400);
    }
    ann.post_once(&c, 1, to_bob, &key_at(4_102_444_800_000, 1), json!({ "text": "from the future" })).await.expect(400);
    // A refusal is the answer to its key as well.
    let leave = format!("/v1/channels/{channel}/members/me");
    let key = key(3);
    for node in [1, 2] {
        let answer = ann.ask(&c, node, "DELETE", &leave, &[("idempotency-key", &key)], None).await;
        assert!((400..500).contains(&answer.status), "{}", answer.json);
    }
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_answered_and_tls_is_the_nodes_own() {
    let (c, ann, bob) = start().await;
    let me = ann.ask_tls(&c, 1, "/v1/me").await.expect(200);
    assert_eq!((&me["name"], &me["user"], &me["operator"]), (&json!("ann"), &json!(ann.user.to_string()), &json!(false)));
    let found = ann.get(&c, 2, "/v1/users?name=BOB").await.expect(200);
    assert_eq!(found["users"], json!([{ "user": bob.user.to_string(), "name": "bob" }]));
    let found = ann.get(&c, 3, &format!("/v1/users?ids={},{}", ann.user, bob.user)).await.expect(200);
    assert_eq!(found["users"].as_array().expect("users").len(), 2);
    let anyone = Caller::with_token("");
    assert_eq!(anyone.get(&c, 1, "/v1/nodes").await.expect(200)["nodes"].as_array().expect("nodes").len(), 3);
    assert_eq!(anyone.get(&c, 1, "/v1/problems/3001").await.expect(200)["name"], "NotMember");
    let document = anyone.get(&c, 1, "/v1/openapi.json").await.expect(200);
    assert_eq!(document.to_string(), serde_json::from_str::<Value>(&kith::http::api::document()).expect("json").to_string());
    let operator = Caller::with_token(&c.operator_token());
    assert_eq!(operator.get(&c, 2, "/v1/status").await.expect(200)["nodes"].as_array().expect("nodes").len(), 3);
    let made = operator.post(&c, 2, "/v1/accounts", json!({ "name": "eve" })).await.expect(200);
    assert_eq!((&made["name"], &made["created"]), (&json!("eve"), &json!(true)));
    assert_eq!(operator.post(&c, 1, "/v1/accounts", json!({ "name": "eve" })).await.expect(200)["user"], made["user"]);
    // Closed by default: a page of whatever origin gets nothing that it may read.
    let page = ann.ask(&c, 1, "GET", "/v1/me", &[("origin", "https://elsewhere.example")], None).await;
    assert_eq!((page.status, page.header("access-control-allow-origin")), (200, None));
    assert!(c.metric(1, "kith_http_requests_total") >= 5.0);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let setup = Setup { user_per_s: NonZeroU32::new(1), ..Setup::nodes(1).with_api() };
    let c = Cluster::start_with(setup).await;
    let (ann, bob) = (Caller::new(&c, "ann").await, Caller::new(&c, "bob").await);
    let mut refused = None;
    for _ in 0..20 {
        let answer = ann.get(&c, 1, "/v1/me").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("twenty at once are too many for one a second");
    assert_eq!((refused.status, &refused.json["name"]), (429, &json!("Busy")));
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0)));
    bob.get(&c, 1, "/v1/me").await.expect(200);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_sign_up_chat_and_end_a_device() {
    let c = Cluster::start_with(Setup::default().with_api()).await;
    let stranger = Caller::with_token("");
    let (ann_key, ann_body) = (key(1), json!({ "name": "Ann", "password": "correct horse", "device": "script" }));
    let ann = stranger.post_once(&c, 1, "/v1/sign-up", &ann_key, ann_body.clone()).await.expect(201);
    assert_eq!((&ann["name"], ann["recovery"].is_string()), (&json!("ann"), true));
    let again = stranger.post_once(&c, 2, "/v1/sign-up", &ann_key, ann_body).await.expect(201);
    assert_eq!((&again["user"], &again["device"]), (&ann["user"], &ann["device"]), "the same key is the same user");
    let taken = stranger.post(&c, 3, "/v1/sign-up", json!({ "name": "ann", "password": "another one" })).await;
    assert_eq!((taken.status, &taken.json["name"]), (409, &json!("NameTaken")));
    stranger.post(&c, 3, "/v1/sign-up", json!({ "name": "bob", "password": "short" })).await.expect(400);
    let bob = stranger.post(&c, 3, "/v1/sign-up", json!({ "name": "bob", "password": "battery staple" })).await.expect(201);

    let of = |login: &Value| Caller::with_token(login["access"].as_str().expect("a token"));
    of(&again).post(&c, 1, "/v1/channels/@bob/messages", json!({ "text": "hello" })).await.expect(201);
    let mut events = of(&bob).listen(&c, 2, None).await;
    events.until("channel", "hello").await;
    drop(events);

    let wrong = stranger.post(&c, 1, "/v1/log-in", json!({ "name": "ann", "password": "battery staple" })).await;
    assert_eq!((wrong.status, &wrong.json["name"]), (401, &json!("BadLogin")));
    let second = stranger.post(&c, 1, "/v1/log-in", json!({ "name": "ann", "password": "correct horse", "device": "laptop" })).await.expect(200);
    let devices = of(&second).get(&c, 2, "/v1/devices").await.expect(200);
    assert_eq!(devices["devices"].as_array().expect("devices").len(), 2, "{devices}");

    // A device that is ended hears nothing more, and does not go on.
    let mut events = of(&second).listen(&c, 3, None).await;
    events.until("cursor", "").await;
    let device = second["device"].as_str().expect("an id");
    of(&again).ask(&c, 1, "DELETE", &format!("/v1/devices/{device}"), &[], None).await.expect(200);
    events.until("end", "Revoked").await;
    for node in 1..=3 {
        c.wait_for("its token is of no use", async || of(&second).get(&c, node, "/v1/devices").await.status == 401).await;
    }
    stranger.post(&c, 2, "/v1/refresh", json!({ "refresh": second["refresh"] })).await.expect(401);
    let next = stranger.post(&c, 2, "/v1/refresh", json!({ "refresh": again["refresh"] })).await.expect(200);
    assert_eq!(next["device"], again["device"]);

    let password = json!({ "old": "correct horse", "new": "correct horse 2" });
    of(&next).ask(&c, 3, "PUT", "/v1/me/password", &[], Some(password)).await.expect(200);
    stranger.post(&c, 1, "/v1/log-in", json!({ "name": "ann", "password": "correct horse 2" })).await.expect(200);
    of(&next).ask(&c, 3, "PUT", "/v1/me/name", &[("idempotency-key", &key(2))], Some(json!({ "name": "anna" }))).await.expect(200);
    c.wait_for("ann has another name", async || {
        let found = of(&bob).get(&c, 1, "/v1/users?name=anna").await.expect(200);
        found["users"][0]["user"] == ann["user"]
    })
    .await;
    of(&next).post(&c, 2, "/v1/me/delete", json!({ "password": "correct horse 2" })).await.expect(200);
    stranger.post(&c, 1, "/v1/log-in", json!({ "name": "anna", "password": "correct horse 2" })).await.expect(401);
    c.wait_for("nobody's token is of no use", async || of(&next).get(&c, 1, "/v1/devices").await.status == 401).await;
    c.finish().await;
}
