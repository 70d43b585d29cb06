//! Webhooks over whole clusters: what happens in a channel is posted in its order, nothing is missing, whoever leads and whoever dies.

use kith_client::Client;
use kith_tests::{Cluster, receiver::Receiver};
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Request},
    code::Code,
    desk::{AuditAct, AuditEntry, AuditState, DeskAnswer, DeskRequest},
    hook::{HookAnswer, HookEvents, HookKey, HookRequest, HookScope},
    id::{ChannelId, DeviceId, UserId},
    peer::Caller,
};
use tokio::time::Instant;

const KEY: &[u8] = b"a key of at least 24 bytes";

fn key() -> HookKey {
    HookKey::new(bytes::Bytes::from_static(KEY))
}

async fn ask(c: &Cluster, request: HookRequest) -> Result<HookAnswer, Code> {
    let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    let node = c.node(c.running()[0]);
    match node.service().handle(&operator, Request::Hook(request), Instant::now() + kith_tests::cluster::PATIENCE).await {
        Ok(Answer::Hook(answer)) => Ok(answer),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

/// The audit log, the newest first.
async fn audit(c: &Cluster) -> Vec<(AuditEntry, AuditState)> {
    let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    let request = Request::Desk(DeskRequest::Audit { before: 0 });
    match c.node(c.running()[0]).service().handle(&operator, request, Instant::now() + kith_tests::cluster::PATIENCE).await {
        Ok(Answer::Desk(DeskAnswer::Audit { entries, .. })) => entries.into_iter().map(|one| (one.row.entry, one.row.state)).collect(),
        other => panic!("{other:?}"),
    }
}

async fn hooks_of(client: &Client, channel: ChannelId) -> kith_client::Hooks {
    client.hooks(HookScope::Channel(channel))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_happens_is_posted_in_order_though_the_leader_dies_and_the_receiver_refuses() {
    let mut c = Cluster::start(3).await;
    let receiver = Receiver::start(KEY, 2).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let rooms = ["one", "two"];
    for room in rooms {
        c.room(room, &ann, &[&bob]).await;
    }
    let own = c.channel_of("one");
    ann.send("one", "before there was a webhook").await;
    let hooks = hooks_of(ann.client(), own).await;
    let (id, _) = hooks.add(&receiver.url(), Some(key()), HookEvents::ALL).await.expect("registered");
    assert_eq!(hooks.add("ftp://x/", None, HookEvents::ALL).await.err().map(|error| error.code), Some(Code::Invalid));
    let others = hooks_of(bob.client(), own).await;
    assert_eq!(others.add(&receiver.url(), Some(key()), HookEvents::ALL).await.err().map(|error| error.code), Some(Code::NotAllowed), "a member");
    assert_eq!(hooks.list().await.expect("listed").len(), 1);

    let mut texts = Vec::new();
    for number in 0..10 {
        ann.send("one", &format!("{number} of ann")).await;
        bob.send("one", &format!("{number} of bob")).await;
        texts.extend([format!("{number} of ann"), format!("{number} of bob")]);
    }
    c.wait_for("something was posted", async || !receiver.of(own).is_empty()).await;
    let group = c.group_of(own.bucket());
    let victim = c.leader_of(group).await;
    c.kill(victim).await;
    c.wait_ready().await;
    for number in 10..20 {
        ann.send("one", &format!("{number} of ann")).await;
        texts.push(format!("{number} of ann"));
    }
    let edited = ann.send("one", "to be changed").await;
    ann.channel("one").edit(edited.seq(), "changed").await.expect("queued").done().await.expect("edited");
    ann.channel("one").delete(edited.seq()).await.expect("queued").done().await.expect("deleted");
    let told = |kind: &str| receiver.of(own).into_iter().filter(|post| post.kind == kind).count();
    c.wait_for("all of it was posted", async || told("message.deleted") == 1).await;

    let posts = receiver.of(own);
    assert!(posts.iter().all(|post| post.is_signed), "{posts:?}");
    assert!(posts.is_sorted_by(|a, b| a.seq < b.seq), "in the channel's order");
    let said: Vec<String> = posts.iter().filter(|post| post.kind == "message.created").filter_map(|post| post.text.clone()).collect();
    assert_eq!(said[..texts.len()], texts[..], "nothing is missing, nothing is from before");
    assert_eq!(told("message.edited"), 1);
    assert!(receiver.posts().iter().all(|post| post.channel == own.to_string()), "of no other channel");
    assert!((200..300).contains(&hooks.test(id).await.expect("tried")));

    hooks.remove(id).await.expect("removed");
    assert_eq!(hooks.remove(id).await.err().map(|error| error.code), Some(Code::NotFound));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_webhook_hears_of_every_channel_and_a_bots_of_its_own() {
    let c = Cluster::start(3).await;
    let (all, bots) = (Receiver::start(KEY, 0).await, Receiver::start(KEY, 0).await);
    let (ann, bob, bot) = (c.client("ann").await, c.client("bob").await, c.client("bot").await);
    let add = |scope, receiver: &Receiver| HookRequest::Add { scope, url: receiver.url(), secret: key(), events: HookEvents::CREATED, key: 7 };
    let added = ask(&c, add(HookScope::All, &all)).await.expect("registered");
    assert_eq!(ask(&c, add(HookScope::All, &all)).await, Ok(added), "a retry is the same webhook");
    ask(&c, add(HookScope::User(bot.user()), &bots)).await.expect("registered");
    assert_eq!(ann.client().hooks(HookScope::All).list().await.err().map(|error| error.code), Some(Code::NotAdmin));

    c.room("with", &ann, &[&bob, &bot]).await;
    c.room("without", &ann, &[&bob]).await;
    // Groups copy the desk's list within seconds; what is said before is nobody's.
    let (with, without) = (c.channel_of("with"), c.channel_of("without"));
    c.wait_for("both are heard", async || {
        ann.send("with", "hello").await;
        ann.send("without", "hello").await;
        !all.of(with).is_empty() && !all.of(without).is_empty() && !bots.of(with).is_empty()
    })
    .await;
    let last = ann.send("with", "the last").await;
    c.wait_for("the last is heard by both", async || {
        [&all, &bots].iter().all(|receiver| receiver.of(with).last().is_some_and(|post| post.seq == last.seq().get()))
    })
    .await;
    assert_eq!(bots.of(without).len(), 0, "not of a channel that the bot is not in");
    for receiver in [&all, &bots] {
        let posts = receiver.of(with);
        let seqs: Vec<u64> = posts.iter().map(|post| post.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
        assert!(posts.iter().all(|post| post.is_signed && post.kind == "message.created"));
    }
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_whose_receiver_ends_it_is_disabled_and_the_audit_log_says_so() {
    let c = Cluster::start(3).await;
    let receiver = Receiver::answering(KEY, "410 Gone").await;
    let ann = c.client("ann").await;
    c.room("one", &ann, &[]).await;
    let own = c.channel_of("one");
    let hooks = hooks_of(ann.client(), own).await;
    let (id, _) = hooks.add(&receiver.url(), Some(key()), HookEvents::ALL).await.expect("registered");
    let add = HookRequest::Add { scope: HookScope::All, url: receiver.url(), secret: key(), events: HookEvents::ALL, key: 7 };
    let HookAnswer::Added { id: of_cluster } = ask(&c, add).await.expect("registered") else { panic!("no id") };
    c.wait_for("both are disabled", async || {
        ann.send("one", "hello").await;
        let HookAnswer::Hooks(all) = ask(&c, HookRequest::List(HookScope::All)).await.expect("listed") else { return false };
        let own = hooks.list().await.expect("listed");
        own.iter().chain(&all).filter(|hook| hook.disabled.get() > 0).count() == 2
    })
    .await;
    c.wait_for("the log says so of each, once", async || {
        let given_up: Vec<_> = audit(&c).await.into_iter().filter(|(entry, _)| entry.act == AuditAct::DisableWebhook).collect();
        given_up.len() == 2
            && given_up.iter().all(|(entry, state)| entry.by == UserId::new(0) && *state == AuditState::Done)
            && given_up.iter().any(|(entry, _)| (entry.number, entry.channel) == (id.get(), Some(own)))
            && given_up.iter().any(|(entry, _)| (entry.number, entry.channel) == (of_cluster.get(), None))
    })
    .await;
    c.finish().await;
}
