//! A client that does not read: its pushes are dropped within a bound, it is told to pull, and ends complete.

use kith_tests::{
    Cluster,
    raw::{Raw, hello},
};
use kith_wire::{
    client::{Event, HistoryQuery, Page, Pull, ToClient, ToEdge},
    id::Seq,
    limit::{OUTBOX_FRAMES_MAX, PAGE_RECORDS_MAX},
};

const MESSAGES: u64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_costs_a_bounded_queue_and_is_told_to_pull() {
    let c = Cluster::start(3).await;
    let ann = c.client_at("ann", 2).await;
    let bob = c.user("bob").await;
    ann.make_room("general", vec![bob]).await;
    let mut chat = Raw::to(&c, 1).await.chat().await;
    chat.send(&ToEdge::Hello(hello(bob, &c.token("bob", bob), None))).await;
    assert!(matches!(chat.next().await, Some(ToClient::Welcome(_))));

    // From here on bob's client reads nothing.
    ann.send_many("general", MESSAGES).await;
    // Its index among them: one that moves after the queue ran empty says it all itself.
    c.wait_for("pushes to the client were dropped", async || c.metric(1, "kith_outbox_rejects_total{reason=\"Move\"}") > 0.0).await;
    assert!(c.metric(1, "kith_outbox_depth") <= OUTBOX_FRAMES_MAX as f64, "one session on this node, one queue");

    // It reads on: what had been queued, then that it must pull.
    let mut seen = 0;
    loop {
        match chat.next().await {
            Some(ToClient::Event(Event::SyncNeeded { .. })) => break,
            Some(ToClient::Event(Event::Delivery(_))) => seen += 1,
            Some(_) => {}
            None => panic!("the session was ended"),
        }
    }
    assert!(seen < MESSAGES, "nothing was dropped, and yet it must pull");
    let mut held = Vec::new();
    while held.len() as u64 <= MESSAGES {
        let first = held.last().map_or(Seq::new(1), |record: &kith_wire::log::Record| record.at.seq.next());
        let (last, limit) = (Seq::new(u64::MAX), u32::try_from(PAGE_RECORDS_MAX).expect("fits"));
        let channel = c.channel_of("general");
        let query = HistoryQuery {
            channel,
            first,
            last,
            newest_first: false,
            limit,
            min_seq: Seq::new(MESSAGES),
            replica: None,
            linearizable: false,
            place: None,
        };
        let Page::History(page) = chat.pull(&Pull::History(query)).await else { panic!("no page") };
        assert!(!page.records.is_empty(), "the log ends at {first}");
        held.extend(page.records);
    }
    assert!(held.windows(2).all(|pair| pair[1].at.seq == pair[0].at.seq.next()), "a hole");
    c.check_history().await;
    c.finish().await;
}

/// Many that do not read cost the process no more than their bounds, whatever is sent to them.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_what_is_sent_to_clients_that_do_not_read() {
    const READERS: usize = 32;
    const TEXT_BYTES: usize = 3_000;
    const ROUND: u64 = 2_000;
    const ROUNDS: u64 = 3;
    /// A third of what the readers are sent after the first round, were it kept for each.
    const GROWTH_MAX: u64 = (ROUNDS - 1) * ROUND * (READERS * TEXT_BYTES) as u64 / 3;
    let c = Cluster::start(3).await;
    let ann = c.client_at("ann", 2).await;
    let mut chats = Vec::new();
    let mut readers = Vec::new();
    for number in 0..READERS {
        let name = format!("reader-{number}");
        let user = c.user(&name).await;
        let mut chat = Raw::to(&c, 1).await.chat().await;
        chat.send(&ToEdge::Hello(hello(user, &c.token(&name, user), None))).await;
        assert!(matches!(chat.next().await, Some(ToClient::Welcome(_))));
        chats.push(chat);
        readers.push(user);
    }
    ann.make_room("general", readers).await;

    let mut live = Vec::new();
    for _ in 0..ROUNDS {
        ann.send_many_of("general", ROUND, TEXT_BYTES).await;
        live.push(kith_tests::memory::live_bytes());
    }
    assert!(c.metric(1, "kith_outbox_rejects_total") > 0.0, "pushes to the clients were dropped");
    assert!(c.metric(1, "kith_outbox_depth") <= (READERS * OUTBOX_FRAMES_MAX) as f64, "a queue for each session");
    // The first round fills caches, memtables and queues to their bounds.
    let growth = live[live.len() - 1].saturating_sub(live[0]);
    println!("live after each round, MiB: {:?}", live.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    assert!(growth < GROWTH_MAX, "live memory grew by {} MiB, over {} MiB", growth >> 20, GROWTH_MAX >> 20);
    for chat in &mut chats {
        loop {
            match chat.next().await {
                Some(ToClient::Event(Event::SyncNeeded { .. })) => break,
                Some(_) => {}
                None => panic!("the session was ended"),
            }
        }
    }
    c.check_history().await;
    c.finish().await;
}

/// The same with the SDK: an app that does not look at its events for a while is complete and in order when it does.
#[tokio::test(flavor = "multi_thread")]
async fn app_that_does_not_look_for_a_while_sees_every_record_once_and_in_order() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let mut events = bob.channel("general").subscribe();
    ann.send_many("general", MESSAGES).await;

    let last = c.book().of(c.channel_of("general")).keys().next_back().copied().expect("many were acked");
    let mut seen = Seq::ZERO;
    while seen < last {
        let event = tokio::time::timeout(kith_tests::cluster::PATIENCE, events.next()).await.expect("more records").expect("an open client");
        if let kith_client::Event::Record { record, .. } = event {
            assert!(seen == Seq::ZERO || record.at.seq == seen.next(), "{} after {seen}", record.at.seq);
            seen = record.at.seq;
        }
    }
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}
