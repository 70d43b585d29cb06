//! More than fits: refused at once with a delay, never absorbed; and full speed again after.

use std::time::Duration;

use kith_tests::{
    Cluster, Setup,
    raw::{Raw, hello},
};
use kith_wire::{
    client::{Answer, Request, Send, ToClient, ToEdge},
    code::Code,
    id::{ClientSeq, DeviceId},
    limit::SESSION_REQUESTS_MAX,
    peer::Caller,
};
use tokio::{task::JoinSet, time::Instant};

const FLOOD: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn flood_is_answered_busy_with_a_delay_and_everything_works_after_it() {
    let c = Cluster::start_with(Setup::default().queue_items_max(64)).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let leader = c.leader_of_room("general").await;
    let channel = c.channel_of("general");

    let mut flood = JoinSet::new();
    for number in 0..FLOOD {
        let service = c.node(leader).service().clone();
        let caller = Caller { user: ann.user(), device: DeviceId::new(1_000 + number), admin: None, trace: number, key: None, token: None };
        let text = format!("flood {number}");
        let (client_seq, settled) = (ClientSeq::new(1), ClientSeq::new(1));
        let send = Send { channel, client_seq, settled, text: text.clone(), reply_to: None, mentions: Vec::new() };
        flood.spawn(async move { (text, service.handle(&caller, Request::Send(send), Instant::now() + Duration::from_secs(20)).await) });
    }
    let (mut taken, mut busy) = (0, 0);
    for (text, answer) in flood.join_all().await {
        match answer {
            Ok(Answer::Sent { seq, .. }) => {
                c.book().acked(channel, seq, &text);
                taken += 1;
            }
            Err(refusal) if refusal.code == Code::Busy => {
                assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 0), "busy, and no delay");
                busy += 1;
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(taken > 0 && busy > 0, "taken {taken}, busy {busy}");
    // The last answers may be told before the proposer has counted what it took.
    c.wait_for("the queue to be empty again", async || c.metric(leader, "kith_raft_queue_items") == 0.0).await;

    ann.send_many("general", 500).await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

/// What is refused is not kept: memory after many floods is what it was after the first.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_what_is_refused() {
    const ROUNDS: u64 = 6;
    const TEXT_BYTES: usize = 30_000;
    /// What was accepted is kept by three nodes in four places: raft's cache and the log's memtable, the tail cache and the columns'.
    const COPIES: u64 = 3 * 4;
    let c = Cluster::start_with(Setup::default().queue_items_max(4)).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let leader = c.leader_of_room("general").await;
    let channel = c.channel_of("general");
    let (mut busy, mut accepted, mut live) = (0, 0, Vec::new());
    for round in 0..ROUNDS {
        let mut flood = JoinSet::new();
        for number in 0..FLOOD {
            let service = c.node(leader).service().clone();
            let caller = Caller {
                user: ann.user(),
                device: DeviceId::new(1_000 + round * FLOOD + number),
                admin: None,
                trace: number,
                key: None,
                token: None,
            };
            let text = format!("{round} {number} {}", "x".repeat(TEXT_BYTES));
            let (client_seq, settled) = (ClientSeq::new(1), ClientSeq::new(1));
            let send = Send { channel, client_seq, settled, text: text.clone(), reply_to: None, mentions: Vec::new() };
            flood.spawn(async move { (text, service.handle(&caller, Request::Send(send), Instant::now() + Duration::from_secs(20)).await) });
        }
        while let Some(done) = flood.join_next().await {
            match done.expect("a request that is answered") {
                (text, Ok(Answer::Sent { seq, .. })) => {
                    c.book().acked(channel, seq, &text);
                    accepted += 1;
                }
                (_, Err(refusal)) if refusal.code == Code::Busy => busy += 1,
                (text, other) => panic!("{}: {other:?}", &text[..20]),
            }
        }
        live.push(kith_tests::memory::live_bytes());
    }
    println!("refused {busy}, accepted {accepted}; live after each round, MiB: {:?}", live.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    assert!(busy > ROUNDS * FLOOD / 2, "busy {busy}: this was no flood");
    let growth = live[live.len() - 1].saturating_sub(live[0]);
    let growth_max = (accepted * COPIES + busy / 4) * TEXT_BYTES as u64;
    assert!(growth < growth_max, "live memory grew by {} MiB, over {} MiB", growth >> 20, growth_max >> 20);
    assert!(growth_max < (ROUNDS - 1) * FLOOD * TEXT_BYTES as u64, "accepted {accepted}: a leak of what is refused would not show");
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_with_too_many_requests_waiting_is_told_so_and_loses_none() {
    let c = Cluster::start(3).await;
    let user = c.user("ann").await;
    let mut chat = Raw::to(&c, 1).await.chat().await;
    chat.send(&ToEdge::Hello(hello(user, &c.token("ann", user), None))).await;
    assert!(matches!(chat.next().await, Some(ToClient::Welcome(_))));
    let asked = 4 * SESSION_REQUESTS_MAX as u64;
    for number in 0..asked {
        chat.ask(number, Request::FindUser { name: format!("nobody-{number}") }).await;
    }
    let (mut answered, mut busy) = (0, 0);
    while answered + busy < asked {
        match chat.next().await {
            Some(ToClient::Answer { answer: Ok(_), .. }) => answered += 1,
            Some(ToClient::Answer { answer: Err(refusal), .. }) => {
                assert_eq!(refusal.code, Code::Busy);
                assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 0), "busy, and no delay");
                busy += 1;
            }
            Some(_) => {}
            None => panic!("the session was ended"),
        }
    }
    assert!(answered >= SESSION_REQUESTS_MAX as u64, "answered {answered}, busy {busy}");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_node_tells_the_next_client_that_it_is_busy_and_still_finds_its_peers() {
    let mut c = Cluster::start_with(Setup { sessions_max: 2, ..Setup::default() }).await;
    let (ann, bob) = (c.client_at("ann", 1).await, c.client_at("bob", 1).await);
    let third = Raw::to(&c, 1).await;
    assert_eq!(third.closed().await, Some(u64::from(Code::Busy.number())));

    // Its places are for clients: a peer that starts again is let in.
    c.kill(2).await;
    c.restart(2).await;
    c.wait_for("the two nodes are linked again", async || c.node(1).peers().links_up() == 2 && c.node(2).peers().links_up() == 2).await;

    ann.go_offline().await;
    let cid = c.client_at("cid", 1).await;
    cid.direct("talk", bob.user());
    cid.send("talk", "there is room again").await;
    c.wait_device(&bob, "talk").await;
    c.check_history().await;
    c.finish().await;
}
