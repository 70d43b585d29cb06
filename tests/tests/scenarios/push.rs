//! Pushes over whole clusters: who is away is pushed to once, who is here is not, and neither a death nor a restart loses one or sends it a third time.

use std::{collections::BTreeSet, time::Duration};

use kith::cluster::files::PresenceSettings;
use kith_tests::{Cluster, Device, Setup, http::Caller, receiver::Receiver};
use kith_wire::{
    base64,
    code::Code,
    id::{ChannelId, UserId},
    log::{PushTarget, QuietHours},
    push::{PushAbout, PushPayload},
    push_device::PushVia,
    secret::Secret,
};
use serde_json::json;

pub(super) const KEY: &[u8] = b"a key of at least 24 bytes";

pub(super) fn target(receiver: &Receiver) -> PushTarget {
    PushTarget::Webhook { url: Secret::new(receiver.url()), key: Secret::new(base64::write_url(KEY)) }
}

/// What came to a receiver, each as its app would read it.
pub(super) fn pushed(receiver: &Receiver) -> Vec<PushPayload> {
    let posts = receiver.posts();
    assert!(posts.iter().all(|post| post.is_signed && post.kind == "push"), "{posts:?}");
    posts.iter().map(|post| PushPayload::decode_text(post.data["kith"].as_str().expect("a payload")).expect("a push")).collect()
}

/// How often each conversation of a user was pushed, by seq.
pub(super) fn grown(receiver: &Receiver, user: UserId) -> Vec<(ChannelId, u64)> {
    let mine = pushed(receiver).into_iter().filter(|push| push.user == user);
    mine.filter_map(|push| if let PushAbout::Grown { channel, seq, .. } = push.about { Some((channel, seq.get())) } else { None }).collect()
}

pub(super) async fn register(device: &Device, receiver: &Receiver) {
    device.client().register_push(target(receiver)).await.expect("registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_pushed_to_once_and_who_is_connected_or_has_read_it_is_not() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let receiver = Receiver::start(KEY, 1).await;
    let (ann, mut bob, carol, dan) = (c.client("ann").await, c.client("bob").await, c.client("carol").await, c.client("dan").await);
    for device in [&bob, &carol, &dan] {
        register(device, &receiver).await;
    }
    let bad = PushTarget::Webhook { url: Secret::new("ftp://x"), key: Secret::new(base64::write_url(KEY)) };
    assert_eq!(bob.client().register_push(bad).await.err().map(|error| error.code), Some(Code::Invalid));
    let state = bob.client().pushes().await.expect("told");
    assert_eq!(state.devices.iter().map(|device| device.via).collect::<Vec<_>>(), [PushVia::Webhook]);

    // Dan has a second device, which is pushed to nowhere, and stays.
    let laptop = c.client("dan").await;
    c.room("all", &ann, &[&bob, &carol, &dan]).await;
    for device in [&bob, &dan] {
        device.go_offline().await;
    }
    let sent = ann.send("all", "hello").await;
    let channel = c.channel_of("all");
    c.wait_for("dan has it on his laptop", async || laptop.has("all", "hello").await).await;
    laptop.client().channel(channel).mark_read(sent.seq()).await.expect("read");
    // The receiver refuses the first attempt: it is tried again.
    c.wait_for("bob is pushed to", async || !grown(&receiver, bob.user()).is_empty()).await;
    assert_eq!(receiver.refused(), 1);
    let push = pushed(&receiver).into_iter().find(|push| push.user == bob.user()).expect("came");
    assert_eq!((push.about, push.badge), (PushAbout::Grown { channel, seq: sent.seq(), is_mention: false }, 1));

    // What is said within a minute of it is not another push; the payload leads to the message.
    bob.go_online(&c).await;
    let text = push.to_text();
    let opened = bob.client().open_push(text.as_bytes(), Duration::from_secs(30)).await.expect("opened").expect("found");
    assert_eq!((opened.channel, opened.record.at.seq), (channel, sent.seq()));
    bob.client().channel(channel).mark_read(sent.seq()).await.expect("read");
    assert_eq!(bob.client().open_push(text.as_bytes(), Duration::from_secs(30)).await.expect("opened"), None, "it was read");
    assert!(ann.client().open_push(text.as_bytes(), Duration::from_secs(1)).await.is_err(), "not hers");

    // Somebody who holds no stream: over HTTP alone.
    let eve = Caller::new(&c, "eve").await;
    let put = |body| eve.ask(&c, 2, "PUT", "/v1/me/push", &[], Some(body));
    put(json!({ "via": "fcm", "token": "short" })).await.expect(400);
    let tested = carol.client().test_push().await.expect("tried");
    assert!(tested.iter().all(|test| test.delivered), "{tested:?}");
    assert!(grown(&receiver, carol.user()).is_empty(), "she was here all the time");
    assert!(grown(&receiver, dan.user()).is_empty(), "he has read it elsewhere");
    assert_eq!(grown(&receiver, bob.user()).len(), 1, "once");
    carol.client().set_quiet_hours(Some(QuietHours { from: 1_320, to: 420 })).await.expect("set");
    assert_eq!(carol.client().pushes().await.expect("told").quiet, Some(QuietHours { from: 1_320, to: 420 }));
    carol.client().unregister_push().await.expect("ended");
    assert!(carol.client().pushes().await.expect("told").devices.is_empty());
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_its_receiver_does_not_know_any_more_is_forgotten() {
    let c = Cluster::start(3).await;
    let receiver = Receiver::answering(KEY, "410 Gone").await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    register(&bob, &receiver).await;
    c.room("all", &ann, &[&bob]).await;
    bob.go_offline().await;
    ann.send("all", "hello").await;
    c.wait_for("it was tried", async || receiver.refused() > 0).await;
    let phone = c.client("bob").await;
    c.wait_for("it is forgotten", async || phone.client().pushes().await.is_ok_and(|state| state.devices.is_empty())).await;
    assert_eq!(receiver.refused(), 1);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_every_node_one_after_another_pushes_to_nobody_who_is_here() {
    const PEOPLE: usize = 24;
    let setup = Setup { presence: PresenceSettings { grace_s: 30, ..PresenceSettings::default() }, ..Setup::nodes(3) };
    let mut c = Cluster::start_with(setup).await;
    let receiver = Receiver::start(KEY, 0).await;
    let ann = c.client("ann").await;
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let device = c.client(&format!("bob-{number}")).await;
        register(&device, &receiver).await;
        people.push(device);
    }
    let away = c.client("zoe").await;
    register(&away, &receiver).await;
    let mut others: Vec<&Device> = people.iter().collect();
    others.push(&away);
    c.room("all", &ann, &others).await;
    away.go_offline().await;
    c.expect_logs("failed to receive from RaftCore");
    for node in 1..=3 {
        ann.send("all", &format!("before the restart of {node}")).await;
        c.shut_down(node).await;
        ann.send("all", &format!("without {node}")).await;
        c.restart(node).await;
        c.wait_ready().await;
    }
    let last = ann.send("all", "the last").await;
    for device in &people {
        c.wait_for("everybody has it", async || device.has("all", "the last").await).await;
    }
    // Who is away is pushed to, with the last that was said: by then whoever else was taken to be away would have been, too.
    c.wait_for("zoe is pushed to", async || grown(&receiver, away.user()).iter().any(|(_, seq)| *seq == last.seq().get())).await;
    let users: BTreeSet<UserId> = pushed(&receiver).iter().map(|push| push.user).collect();
    assert_eq!(users, BTreeSet::from([away.user()]));
    c.finish().await;
}

#[cfg(feature = "failpoint")]
mod dies {
    use super::*;
    use kith_raft::failpoint::{Action, point};

    /// Kills the leader of bob's home where it stands, and says how often he was pushed to in the end.
    async fn pushes_when_killed_at(point: &'static str) -> usize {
        let mut c = Cluster::start(3).await;
        let receiver = Receiver::start(KEY, 0).await;
        let (ann, bob) = (c.client("ann").await, c.client("bob").await);
        register(&bob, &receiver).await;
        ann.direct("talk", bob.user());
        bob.go_offline().await;
        let home = c.group_of(bob.user().bucket());
        let leader = c.leader_of(home).await;
        c.failpoints(leader).arm(point, Action::Pause);
        ann.send("talk", "did you get this?").await;
        c.wait_for("it has come to there", async || c.failpoints(leader).hits(point) > 0).await;
        c.kill(leader).await;
        c.failpoints(leader).release(point);
        c.wait_ready().await;
        c.wait_for("bob is pushed to", async || !grown(&receiver, bob.user()).is_empty()).await;
        // Another conversation is pushed after it: what was to come of the first one has come by then.
        let eve = c.client("eve").await;
        eve.direct("late", bob.user());
        eve.send("late", "and this?").await;
        let late = c.channel_of("late");
        c.wait_for("the second one too", async || grown(&receiver, bob.user()).iter().any(|(channel, _)| *channel == late)).await;
        c.restart(leader).await;
        c.wait_ready().await;
        let talk = c.channel_of("talk");
        let count = grown(&receiver, bob.user()).into_iter().filter(|(channel, _)| *channel == talk).count();
        c.finish().await;
        count
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_that_dies_between_decision_and_send_is_followed_by_one_that_sends() {
        assert_eq!(Box::pin(pushes_when_killed_at(point::PUSH_DECIDED)).await, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_that_dies_between_send_and_record_is_followed_by_one_that_sends_once_more_at_most() {
        let count = Box::pin(pushes_when_killed_at(point::PUSH_SENT)).await;
        assert!((1..=2).contains(&count), "{count}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_that_dies_after_the_record_is_followed_by_one_that_sends_nothing() {
        assert_eq!(Box::pin(pushes_when_killed_at(point::PUSH_NOTED)).await, 1);
    }
}
