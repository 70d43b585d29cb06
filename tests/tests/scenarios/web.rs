//! Pages over WebTransport: the same session as over QUIC and WebSockets, the same limits; and what is none of a page gets a typed refusal.

use futures_util::FutureExt;
use kith_tests::{
    Cluster, Setup,
    raw::hello,
    web::{self, Http3, Web},
};
use kith_wire::{
    client::{Answer, DeliveryBody, Event, HistoryQuery, Page, Pull, Request, Send, ToClient, ToEdge},
    code::Code,
    id::{ClientSeq, RequestId, Seq},
    limit,
    log::Content,
};
use web_transport_proto::{Frame, VarInt, error_to_http3};

const PATH: &str = kith::edge::websocket::PATH;

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

async fn enter(c: &Cluster, name: &str, node: u64) -> Web {
    let user = c.user(name).await;
    let mut page = Web::to(c, node).await;
    page.send(&ToEdge::Hello(hello(user, &c.token(name, user), Some(c.files().id)))).await;
    assert!(matches!(page.next().await, Some(ToClient::Welcome(_))));
    page
}

/// The number of ours as HTTP/3 carries it.
fn carried(code: Code) -> Option<u64> {
    Some(error_to_http3(u32::from(code.number())))
}

async fn last_word(page: &mut Web) -> Option<Code> {
    loop {
        match page.next().await {
            Some(ToClient::Bye(refusal)) => break Some(refusal.code),
            Some(_) => {}
            None => break None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_and_phone_chat_with_texts_of_any_size() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let ann = c.client_at("ann", 2).await;
    let bob = c.user("bob").await;
    ann.make_room("general", vec![bob]).await;
    let mut page = enter(&c, "bob", 1).await;
    assert_eq!(c.metric(1, "kith_edge_web_transports"), 1.0);
    assert_eq!(c.metric(1, "kith_session_open"), 1.0, "a session as any other");

    // The longest text there may be, of the longest characters: a frame that comes in hundreds of datagrams.
    let longest = "\u{1f30d}".repeat(limit::TEXT_CHARS_MAX);
    for (number, text) in [(1, "from a page"), (2, longest.as_str())] {
        let send = Send {
            channel: c.channel_of("general"),
            client_seq: ClientSeq::new(number),
            settled: ClientSeq::new(number),
            text: text.to_owned(),
            reply_to: None,
            mentions: Vec::new(),
        };
        // The same twice is the same record.
        for id in [2 * number, 2 * number + 1] {
            page.ask(id, Request::Send(send.clone())).await;
            let seq = loop {
                match page.next().await {
                    Some(ToClient::Answer { id: of, answer: Ok(Answer::Sent { seq, .. }) }) if of == RequestId::new(id) => break seq,
                    Some(ToClient::Answer { answer, .. }) => panic!("instead of an ack: {answer:?}"),
                    Some(_) => {}
                    None => panic!("the session was ended"),
                }
            };
            assert_eq!(seq.get(), number + 1, "after the record of the group itself");
        }
    }
    c.wait_device(&ann, "general").await;

    // Sent from the phone; pushed to the page, and pulled: more pages than there may be streams, one after another and all at once.
    for _ in 0..5 {
        ann.send("general", &"x".repeat(limit::STUB_BYTES)).await;
    }
    ann.send("general", "short").await;
    let last = 9;
    loop {
        match page.next().await {
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
    let pull = history(&c, "general", last);
    let pages = futures_util::future::join_all((0..3 * limit::SESSION_PULLS_MAX).map(|_| page.pull(&pull))).await;
    for answer in pages {
        let Page::History(history) = answer else { panic!("no page") };
        assert_eq!(history.records.iter().map(|record| record.at.seq.get()).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
    }
    drop(page);
    c.wait_for("the session has ended", async || c.metric(1, "kith_edge_web_transports") == 0.0).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_and_whoever_wants_something_else_get_no_session() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let rejects = |reason: &str| c.metric(1, &format!("kith_edge_rejects_total{{reason=\"{reason}\"}}"));
    assert_eq!(Web::of_page(&c, 1, "https://evil.example").await.err(), Some(403));
    assert_eq!((rejects("Origin"), rejects("Request")), (1.0, 0.0));
    let plain = c.node(1).api_plain_addr().expect("the setup is with_api");
    for own in [format!("http://{plain}"), format!("http://localhost:{}", plain.port()), format!("https://{}", c.address(2))] {
        assert!(Web::of_page(&c, 1, &own).await.is_ok(), "{own}");
    }

    let http3 = async || Http3::to(&c, 1).await.settled().await;
    let elsewhere = http3().await;
    let request = elsewhere.request("/kith/2", &[]);
    assert_eq!(elsewhere.ask(&request).await.err(), Some(404));
    let long = http3().await;
    // Longer than the library lets one be said: by hand.
    let (mut send, mut recv) = long.connection.open_bi().await.expect("a stream");
    send.write_all(&[0x01, 0x80, 0x00, 0x60, 0x00]).await.expect("written");
    assert!(recv.read_to_end(1_000).await.is_ok_and(|answer| !answer.is_empty()), "it is told that its head is too long");
    // `GET /`: as curl asks, or a browser that thinks that pages are served here. QPACK's static table has all of it but the host.
    let get = http3().await;
    let (mut send, mut recv) = get.connection.open_bi().await.expect("a stream");
    send.write_all(&[0x01, 8, 0, 0, 0xc0 | 17, 0xc0 | 23, 0xc0 | 1, 0x50, 1, b'a']).await.expect("written");
    assert!(recv.read_to_end(1_000).await.is_ok_and(|answer| !answer.is_empty()), "it is told that this is not done here");
    assert_eq!(get.closed().await, Some(0x100));
    assert_eq!((rejects("Origin"), rejects("Request")), (1.0, 3.0));

    // What is no HTTP/3.
    let none = Http3::to(&c, 1).await;
    let mut stream = none.connection.open_uni().await.expect("a stream");
    stream.write_all(b"\x00\x04\x02\x33\x00").await.expect("written");
    assert_eq!(none.closed().await, Some(0x109), "settings without WebTransport");
    let none = Http3::to(&c, 1).await;
    let mut stream = none.connection.open_uni().await.expect("a stream");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    assert_eq!(none.closed().await, Some(0x109), "no stream of settings");
    for garbage in [&[0x01, 0x04, 0xff, 0xff, 0xff, 0xff][..], b"GET / HTTP/1.1\r\n\r\n", &[0x00, 0x00]] {
        let none = http3().await;
        let (mut send, _recv) = none.connection.open_bi().await.expect("a stream");
        send.write_all(garbage).await.expect("written");
        let _ = send.finish();
        assert_eq!(none.closed().await, Some(0x10e), "{garbage:?}");
    }
    enter(&c, "ann", 1).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_none_of_a_sessions_streams_is_given_up_and_what_is_no_frame_ends_it() {
    let c = Cluster::start_with(Setup::nodes(1).with_api()).await;
    // Its chat stream is another session's, or a second request.
    for (kind, of) in [(Frame::WEBTRANSPORT, 4_u32), (Frame::HEADERS, 0)] {
        let page = Web::to(&c, 1).await;
        let _stream = page.open_as(kind.0, VarInt::from_u32(of)).await;
        assert_eq!(page.closed().await, carried(Code::BadFrame), "{kind:?} {of}");
    }
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0; 64]] {
        let mut page = Web::to(&c, 1).await;
        page.send_bytes(garbage).await;
        assert_eq!(last_word(&mut page).await, Some(Code::BadFrame), "{garbage:?}");
        assert!(page.next().await.is_none());
        // A page ends the session when it has heard so; the node does not wait for one that does not.
        assert_eq!(page.closed().await, carried(Code::BadFrame), "{garbage:?}");
    }
    // Beside a session that goes on: streams of another one, and pulls that are none.
    let mut page = enter(&c, "ann", 1).await;
    let another = page.open_as(Frame::WEBTRANSPORT.0, VarInt::from_u32(4)).await;
    let request = page.open_as(Frame::HEADERS.0, VarInt::from_u32(0)).await;
    let mut garbage = page.open().await;
    garbage.0.write_all(&[0xff; 32]).await.expect("written");
    for (_send, mut recv) in [another, request, garbage] {
        let Err(quinn::ReadError::Reset(code)) = recv.read_chunk(16, true).await else { panic!("it is not given up") };
        assert_eq!(Some(code.into_inner()), carried(Code::BadFrame));
    }
    // As many silent streams as there may be; one more gets no room.
    let mut silent = Vec::new();
    for _ in 0..limit::SESSION_PULLS_MAX {
        silent.push(page.open().await);
    }
    page.send(&ToEdge::Beat).await;
    assert!(matches!(page.next().await, Some(ToClient::Beat)));
    assert!(page.connection().open_bi().now_or_never().is_none(), "there is a bound");
    drop(silent);
    // A page says little on the stream that asked for the session. What says much is none.
    let (asking, _) = &mut page.asking;
    let much = vec![0; 80 * 1024];
    let _ = asking.write_all(&much).await;
    assert_eq!(last_word(&mut page).await, Some(Code::BadFrame));

    let mut page = enter(&c, "ann", 1).await;
    c.wait_for("one page is there", async || c.metric(1, "kith_edge_web_transports") == 1.0).await;
    page.asking.0.finish().expect("an open stream");
    c.wait_for("a page that ends its session has none", async || c.metric(1, "kith_edge_web_transports") == 0.0).await;
    assert!(page.closed().await.is_some());
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_without_room_tells_pages_so_and_one_that_drains_ends_their_sessions() {
    let mut c = Cluster::start_with(Setup { sessions_max: 1, ..Setup::nodes(3).with_api() }).await;
    let mut ann = enter(&c, "ann", 1).await;
    let mut second = Web::to(&c, 1).await;
    let Some(ToClient::Bye(refusal)) = second.next().await else { panic!("no reason") };
    assert_eq!(refusal.code, Code::Busy);
    assert!(refusal.retry_after_ms.is_some_and(|ms| ms > 0));
    assert!(second.next().await.is_none());
    assert_eq!(second.closed().await, carried(Code::Busy));
    c.shut_down(1).await;
    assert_eq!(last_word(&mut ann).await, Some(Code::Draining));
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_may_connect_may_read_how() {
    let c = Cluster::start_with(Setup::nodes(3).with_api()).await;
    let other = format!("https://{}", c.address(2));
    for (origin, may) in [(None, false), (Some("https://evil.example"), false), (Some(other.as_str()), true)] {
        let answer = web::about(&c, 1, origin).await;
        let allowed = answer.headers.iter().find(|(name, _)| name == "access-control-allow-origin").map(|(_, value)| value.as_str());
        assert_eq!((answer.status, allowed), (200, origin.filter(|_| may)), "{origin:?}");
        let port = c.address(1).rsplit(':').next().expect("a port");
        assert_eq!(answer.json["url"], format!("https://kith:{port}{PATH}"), "by the name that it was asked by");
    }
    c.finish().await;
}
