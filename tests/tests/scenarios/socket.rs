//! Clients over WebSockets: browsers, and whoever gets no UDP through. The same session, the same limits.

use kith::edge::websocket::PATH;
use kith_tests::{Cluster, Setup, raw::hello, socket::Socket};
use kith_wire::{
    client::{Answer, DeliveryBody, Event, HistoryQuery, Page, Pull, Request, Send, ToClient, ToEdge},
    code::Code,
    id::{ClientSeq, RequestId, Seq},
    limit,
    log::Content,
};
use tokio_tungstenite::tungstenite::Message;

fn history(c: &Cluster, room: &str, last: u64) -> Pull {
    Pull::History(HistoryQuery {
        channel: c.channel_of(room),
        first: Seq::new(1),
        last: Seq::new(last),
        newest_first: false,
        limit: u32::try_from(limit::PAGE_RECORDS_MAX).expect("fits"),
        min_seq: Seq::new(last),
        replica: None,
        linearizable: false,
        place: None,
    })
}

async fn enter(c: &Cluster, name: &str, node: u64) -> Socket {
    let user = c.user(name).await;
    let mut socket = Socket::to(c, node).await;
    socket.send(&ToEdge::Hello(hello(user, &c.token(name, user), Some(c.files().id)))).await;
    assert!(matches!(socket.next().await, Some(ToClient::Welcome(_))));
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_and_phone_chat_and_pages_do_not_hold_up_what_is_said() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let ann = c.client_at("ann", 2).await;
    let bob = c.user("bob").await;
    ann.make_room("general", vec![bob]).await;
    let mut socket = enter(&c, "bob", 1).await;
    assert_eq!(c.metric(1, "kith_edge_web_sockets"), 1.0);
    assert_eq!(c.metric(1, "kith_session_open"), 1.0, "a session as any other");

    // Sent from the browser; the phone gets it.
    let send = |number| {
        Request::Send(Send {
            channel: c.channel_of("general"),
            client_seq: ClientSeq::new(number),
            settled: ClientSeq::new(number),
            text: format!("from a page {number}"),
            reply_to: None,
            mentions: Vec::new(),
        })
    };
    for number in 1..=2 {
        // The same twice is the same record.
        for id in [2 * number, 2 * number + 1] {
            socket.ask(id, send(number)).await;
            let seq = loop {
                match socket.next().await {
                    Some(ToClient::Answer { id: of, answer: Ok(Answer::Sent { seq, .. }) }) if of == RequestId::new(id) => break seq,
                    Some(ToClient::Answer { answer, .. }) => panic!("instead of an ack: {answer:?}"),
                    Some(_) => {}
                    None => panic!("the session was ended"),
                }
            };
            assert_eq!(seq.get(), number + 1, "after the record of the group itself");
        }
    }

    // Sent from the phone; pushed to the browser, and pulled with a page that comes in many pieces.
    let long = "x".repeat(limit::STUB_BYTES);
    for _ in 0..40 {
        ann.send("general", &long).await;
    }
    ann.send("general", "short").await;
    let last = 44;
    let pull = socket.begin_pull(&history(&c, "general", last)).await;
    loop {
        match socket.next().await {
            Some(ToClient::Event(Event::Delivery(delivery))) => {
                let DeliveryBody::Whole(record) = delivery.body else { continue };
                if matches!(&record.content, Content::Text { text, .. } if text == "short") {
                    break;
                }
            }
            Some(_) => {}
            None => panic!("the session was ended"),
        }
    }
    let Page::History(page) = socket.end_pull(pull).await else { panic!("no page") };
    assert_eq!(page.records.iter().map(|record| record.at.seq.get()).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    drop(socket);
    c.wait_for("the session has ended", async || c.metric(1, "kith_edge_web_sockets") == 0.0).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_of_ours_ends_the_session_with_its_number_and_harms_nobody() {
    let c = Cluster::start_with(Setup::nodes(1).with_api()).await;
    let garbage: [(&str, Vec<Message>); 5] = [
        ("a text", vec![Message::Text("hello".into())]),
        ("too short", vec![Message::Binary(vec![0, 0].into())]),
        ("no frame", vec![Message::Binary(vec![0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1].into())]),
        ("nothing of the chat stream", vec![Message::Binary(vec![0; 4].into())]),
        ("more pulls than there may be", (1..=limit::SESSION_PULLS_MAX as u8 + 1).map(|n| Message::Binary(vec![0, 0, 0, n].into())).collect()),
    ];
    for (what, messages) in garbage {
        let mut socket = Socket::to(&c, 1).await;
        for message in messages {
            socket.send_message(message).await;
        }
        let Some(ToClient::Bye(refusal)) = socket.next().await else { panic!("no reason for {what}") };
        assert_eq!(refusal.code, Code::BadFrame, "{what}");
        assert!(socket.next().await.is_none());
        assert_eq!(socket.closed, Some(Code::BadFrame.number()), "{what}");
    }
    // A pull that cannot be read is refused; the session goes on.
    let mut socket = enter(&c, "ann", 1).await;
    let stream = socket.begin_pull_of(&[0, 0, 0, 1, 0, 9, 9]).await;
    let Page::Refused(refusal) = socket.end_pull(stream).await else { panic!("a page for what is no pull") };
    assert_eq!(refusal.code, Code::BadFrame);
    socket.send(&ToEdge::Beat).await;
    assert!(matches!(socket.next().await, Some(ToClient::Beat)));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_get_no_socket() {
    let c = Cluster::start_with(Setup::nodes(1).with_api()).await;
    assert_eq!(Socket::of_page(&c, 1, "https://evil.example").await.err(), Some(403));
    assert_eq!(c.metric(1, "kith_edge_rejects_total"), 1.0);
    let own = format!("http://{}", c.node(1).api_plain_addr().expect("the setup is with_api"));
    assert!(Socket::of_page(&c, 1, &own).await.is_ok(), "{PATH} of the page's own node");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_room_says_so_and_one_that_drains_ends_its_sockets() {
    let mut c = Cluster::start_with(Setup { sessions_max: 1, ..Setup::nodes(3).with_api() }).await;
    let mut ann = enter(&c, "ann", 1).await;
    let mut second = Socket::to(&c, 1).await;
    let Some(ToClient::Bye(refusal)) = second.next().await else { panic!("no reason") };
    assert_eq!(refusal.code, Code::Busy);
    assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 0));
    assert!(second.next().await.is_none());
    c.shut_down(1).await;
    let last = loop {
        match ann.next().await {
            Some(ToClient::Bye(refusal)) => break Some(refusal.code),
            Some(_) => {}
            None => break None,
        }
    };
    assert_eq!(last, Some(Code::Draining));
    c.finish().await;
}

/// A browser that does not read costs a bounded queue, and is told to pull.
#[tokio::test(flavor = "multi_thread")]
async fn page_that_does_not_read_is_told_to_pull() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let ann = c.client_at("ann", 2).await;
    let bob = c.user("bob").await;
    ann.make_room("general", vec![bob]).await;
    let mut socket = enter(&c, "bob", 1).await;
    // The kernel takes much of what nobody reads: more than that is sent.
    let mut sent = 0;
    while c.metric(1, "kith_outbox_rejects_total") == 0.0 {
        ann.send_many_of("general", 500, limit::STUB_BYTES - 200).await;
        sent += 500;
        assert!(sent < 20_000, "nothing is dropped");
    }
    // Until its index moves while nothing more fits: an index that moves after the queue ran empty says it all itself.
    c.wait_for("it has to pull", async || c.metric(1, "kith_outbox_rejects_total{reason=\"Move\"}") > 0.0).await;
    loop {
        match socket.next().await {
            Some(ToClient::Event(Event::SyncNeeded { .. })) => break,
            Some(_) => {}
            None => panic!("the session was ended"),
        }
    }
    let Page::History(page) = socket.pull(&history(&c, "general", 100)).await else { panic!("no page") };
    assert_eq!(page.records.len(), 100);
    c.finish().await;
}
