//! What people do all day.

use kith_tests::{
    Cluster,
    device::text_of,
    raw::{Raw, hello},
};
use kith_wire::{
    client::{Answer, Hello, Request, Send, ToClient, ToEdge},
    code::Code,
    id::{ClientSeq, Conn},
    limit::MEMBERS_MAX,
};

#[tokio::test(flavor = "multi_thread")]
async fn three_people_talk_and_all_see_the_same() {
    let c = Cluster::start(3).await;
    let (ann, bob, cid) = (c.client("ann").await, c.client("bob").await, c.client("cid").await);
    c.room("general", &ann, &[&bob, &cid]).await;

    ann.send("general", "hi").await;
    bob.send("general", "hello ann").await;
    cid.send("general", "hello both").await;

    for device in [&ann, &bob, &cid] {
        c.check_device(device, "general").await;
    }
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_begin_a_direct_conversation_at_once_and_have_one() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let from_ann = ann.direct("talk", bob.user());
    let from_bob = bob.direct("talk", ann.user());
    assert_eq!(from_ann, from_bob);

    tokio::join!(ann.send("talk", "it is me"), bob.send("talk", "no, it is me"));

    c.check_device(&ann, "talk").await;
    c.check_device(&bob, "talk").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn group_takes_a_hundred_members_and_the_next_is_told_that_it_is_full() {
    let c = Cluster::start(3).await;
    let ann = c.client("ann").await;
    let mut members = Vec::new();
    for number in 1..MEMBERS_MAX {
        members.push(c.user(&format!("member-{number}")).await);
    }
    let late = c.user("late").await;
    ann.make_room("town hall", members.clone()).await;
    ann.send("town hall", "we are a hundred").await;

    let added = ann.channel("town hall").add(late).await.expect("a write that is queued");
    assert_eq!(added.sent().await.expect_err("the group is full").code, Code::GroupFull);

    // The refusal has used up its number and nothing else: what comes next is in order.
    ann.send("town hall", "sorry").await;
    let last = c.client(&format!("member-{}", MEMBERS_MAX - 1)).await;
    c.check_device(&last, "town hall").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_member_keeps_what_came_before_and_reads_nothing_after() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;
    c.wait_device(&bob, "general").await;

    let removed = ann.channel("general").remove(bob.user()).await.expect("a write that is queued");
    let removal = removed.sent().await.expect("ann owns the group");
    ann.send("general", "after").await;

    // Also a new device, which knows nothing and asks every replica, is given nothing that came after.
    let phone = c.client("bob").await;
    c.wait_for("bob's phone knows of the removal", async || {
        phone.holds(removal.channel).await.last().is_some_and(|record| record.at.seq == removal.seq())
    })
    .await;
    for node in c.running() {
        let seen = phone.channel("general").whole_history(Some(kith_wire::id::NodeId::new(node)), removal.seq()).await.expect("his ranges");
        assert!(seen.iter().any(|record| text_of(record) == Some("before")));
        assert!(seen.iter().all(|record| record.at.seq <= removal.seq()), "node {node} shows what came after the removal");
    }
    for device in [&bob, &phone] {
        assert!(!device.has("general", "after").await);
    }
    let refused = bob.channel("general").send("am I still here?").await.expect("a write that is queued").sent().await;
    assert_eq!(refused.expect_err("bob is no member").code, Code::NotMember);
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_person_converge() {
    let c = Cluster::start(3).await;
    let (phone, laptop, bob) = (c.client_at("ann", 1).await, c.client_at("ann", 2).await, c.client_at("bob", 3).await);
    c.room("general", &phone, &[&bob]).await;

    tokio::join!(phone.send_many("general", 100), laptop.send_many("general", 100), bob.send_many("general", 100));
    phone.client().channel(c.channel_of("general")).mark_read(kith_wire::id::Seq::new(50)).await.expect("phone holds it");

    for device in [&phone, &laptop, &bob] {
        c.check_device(device, "general").await;
    }
    c.wait_for("both devices of ann know what she has read", async || {
        let mut reads = Vec::new();
        for device in [&phone, &laptop] {
            let list = device.client().channels().await.expect("the store");
            reads.push(list.iter().map(|channel| (channel.channel, channel.row.read, channel.unread)).collect::<Vec<_>>());
        }
        reads[0] == reads[1] && reads[0].iter().all(|(_, read, _)| read.seq.get() >= 50)
    })
    .await;
    c.check_history().await;
    c.finish().await;
}

/// A client whose connection breaks before it has read the ack sends the same bytes again, by another node.
#[tokio::test(flavor = "multi_thread")]
async fn retry_after_a_lost_ack_gets_the_same_seq() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "first").await;
    let text = "did that get through?";
    let token = c.token("ann", ann.user());
    let (channel, number) = (c.channel_of("general"), ClientSeq::new(1));
    let send = Request::Send(Send { channel, client_seq: number, settled: number, text: text.into(), reply_to: None, mentions: Vec::new() });

    let mut lost = Raw::to(&c, 1).await.chat().await;
    lost.send(&ToEdge::Hello(hello(ann.user(), &token, None))).await;
    lost.ask(1, send.clone()).await;
    c.wait_for("the message stands", async || bob.has("general", text).await).await;
    let stands = bob.holds(channel).await.iter().find(|record| text_of(record) == Some(text)).expect("it was there").at.seq;
    // The ack was sent, and nobody has read it.
    drop(lost);
    bob.send("general", "yes").await;

    for (node, conn) in [(2, 2), (3, 3)] {
        let mut retry = Raw::to(&c, node).await.chat().await;
        retry.send(&ToEdge::Hello(Hello { conn: Conn::new(conn), ..hello(ann.user(), &token, None) })).await;
        retry.ask(1, send.clone()).await;
        let answer = loop {
            match retry.next().await {
                Some(ToClient::Answer { answer, .. }) => break answer,
                Some(_) => {}
                None => panic!("node {node} has closed the session"),
            }
        };
        assert!(matches!(answer, Ok(Answer::Sent { seq, duplicate: true, .. }) if seq == stands), "node {node}: {answer:?}, stands at {stands}");
    }
    c.book().acked(channel, stands, text);
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

/// A session is registered before it is welcomed, so pushes may be on their way already: none overtakes the welcome.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_before_the_welcome_however_much_is_pushed() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let talk = ann.talk("general");
    let token = c.token("bob", bob.user());
    for number in 1..=100 {
        let mut chat = Raw::to(&c, number % 3 + 1).await.chat().await;
        chat.send(&ToEdge::Hello(Hello { conn: Conn::new(number), ..hello(bob.user(), &token, None) })).await;
        let first = chat.next().await;
        assert!(matches!(first, Some(ToClient::Welcome(_))), "session {number} began with {first:?}");
    }
    talk.stop().await;
    c.check_device(&bob, "general").await;
    c.finish().await;
}
