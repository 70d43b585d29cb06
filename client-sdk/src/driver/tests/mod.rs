//! The task over real QUIC, against the fake server of the core's tests behind a small edge.

mod socket;
mod wall;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::BytesMut;
use kith_wire::{
    client::{Pull, Refusal, ToClient, ToEdge},
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    id::{ChannelId, Seq, UserId},
    limit::FRAME_BYTES_MAX,
    log::Content,
};
use quinn::{ServerConfig, crypto::rustls::QuicServerConfig};
use rustls::pki_types::PrivateKeyDer;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    Backfill, Client, ClientBuilder, Connection, Error, Event, Events, MemoryStore, RetryPolicy, Status, Transport, Trust,
    core::fake_server::{Faults, ME, Server},
};

/// The edge: serves the fake server on a socket, until it is dropped.
struct Edge {
    endpoint: quinn::Endpoint,
    server: Arc<Mutex<Server>>,
    /// Raised when the server has something to say that no request led to.
    nudge: watch::Sender<u64>,
    pem: String,
    tls: rustls::ServerConfig,
    /// What the next hellos are answered with, last first.
    refuse: Arc<Mutex<Vec<Code>>>,
    tasks: JoinSet<()>,
}

impl Edge {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate with its key");
        tls.alpn_protocols = vec![b"kith/1".to_vec()];
        let endpoint = quinn::Endpoint::server(quic(&tls), SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
        let (nudge, _) = watch::channel(0);
        let mut edge = Self { endpoint, server: Arc::default(), nudge, pem: made.cert.pem(), tls, refuse: Arc::default(), tasks: JoinSet::new() };
        edge.serve();
        edge
    }
    fn serve(&mut self) {
        self.tasks.spawn(accept(self.endpoint.clone(), Arc::clone(&self.server), self.nudge.subscribe(), Arc::clone(&self.refuse)));
    }
    /// Ends every connection, and takes new ones with the same logs.
    async fn restart(&mut self) {
        self.tasks.shutdown().await;
        self.server().disconnect();
        self.serve();
    }
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().expect("no panic")
    }
    fn other_says(&self, channel: ChannelId) {
        self.server().append_other(channel, Faults::default());
        self.nudge.send_modify(|count| *count += 1);
    }
    fn client(&self) -> ClientBuilder {
        self.client_at(&self.endpoint.local_addr().expect("an address").to_string())
    }
    fn client_at(&self, address: &str) -> ClientBuilder {
        // {"sub":"u0000000000000001"}
        let token = "e30.eyJzdWIiOiJ1MDAwMDAwMDAwMDAwMDAwMSJ9.c2ln".to_owned();
        Client::builder(address)
            .tokens(token)
            .trust(Trust::ca_pem(self.pem.as_bytes()).expect("a PEM"))
            .backfill(Backfill::All)
            .retry(RetryPolicy { min: Duration::from_millis(10), max: Duration::from_millis(50) })
    }
}

fn quic(tls: &rustls::ServerConfig) -> ServerConfig {
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls.clone()).expect("a QUIC configuration")))
}

async fn accept(endpoint: quinn::Endpoint, server: Arc<Mutex<Server>>, nudge: watch::Receiver<u64>, refuse: Arc<Mutex<Vec<Code>>>) {
    let mut sessions = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        if let Ok(connection) = incoming.await {
            sessions.spawn(session(connection, Arc::clone(&server), nudge.clone(), Arc::clone(&refuse)));
        }
    }
}

/// One connection: the chat stream first, then bulk streams.
async fn session(connection: quinn::Connection, server: Arc<Mutex<Server>>, mut nudge: watch::Receiver<u64>, refuse: Arc<Mutex<Vec<Code>>>) {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    let mut decoder = Decoder::new(Framing::Plain, FRAME_BYTES_MAX);
    let mut mine = 0;
    loop {
        let mut out = Vec::new();
        tokio::select! {
            chunk = recv.read_chunk(64 * 1024, true) => {
                let Ok(Some(chunk)) = chunk else { break };
                decoder.push(&chunk.bytes);
            }
            pull = connection.accept_bi() => {
                let Ok((send, recv)) = pull else { break };
                bulk(send, recv, &server).await;
            }
            Ok(()) = nudge.changed() => {}
        }
        while let Ok(Some(frame)) = decoder.poll() {
            let frame = ToEdge::decode(&frame.body).expect("a frame of the client");
            if matches!(frame, ToEdge::Hello(_))
                && let Some(code) = refuse.lock().expect("no panic").pop()
            {
                out.push(ToClient::Bye(Refusal {
                    code,
                    retry_after_ms: None,
                    expected: None,
                    leader: None,
                    text: String::new(),
                    alternates: Vec::new(),
                }));
            } else {
                let is_hello = matches!(frame, ToEdge::Hello(_));
                let mut server = server.lock().expect("no panic");
                server.handle(frame, Faults::default());
                mine = if is_hello { server.sessions } else { mine };
            }
        }
        out.append(&mut server.lock().expect("no panic").out);
        let mut bytes = BytesMut::new();
        for frame in out {
            encode(Framing::Plain, Kind::ToClient, &frame.encode(), &mut bytes);
        }
        if send.write_all(&bytes).await.is_err() {
            break;
        }
    }
    server.lock().expect("no panic").end(mine);
}

async fn bulk(mut send: quinn::SendStream, mut recv: quinn::RecvStream, server: &Mutex<Server>) {
    let request = recv.read_to_end(4_096).await.expect("a pull");
    let mut decoder = Decoder::new(Framing::Plain, 4_096);
    decoder.push(&request);
    let frame = decoder.poll().expect("a frame").expect("a whole frame");
    let page = server.lock().expect("no panic").page(&Pull::decode(&frame.body).expect("a pull"), Faults::default());
    let mut bytes = BytesMut::new();
    encode(Framing::Plain, Kind::Page, &page.encode(), &mut bytes);
    // The client may have gone meanwhile.
    if send.write_all(&bytes).await.is_ok() {
        let _ = send.finish();
    }
}

async fn next_record(events: &mut Events) -> (ChannelId, Seq, String) {
    loop {
        if let Event::Record { channel, record } = events.next().await.expect("an open client") {
            let Content::Text { text, .. } = &record.content else { panic!("not a text") };
            return (channel, record.at.seq, text.clone());
        }
    }
}

fn direct() -> ChannelId {
    ChannelId::direct(ME, UserId::new(11))
}

#[tokio::test]
async fn a_write_is_acked_and_shown() {
    let edge = Edge::start();
    let client = edge.client().build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    let channel = client.direct(UserId::new(11)).await.expect("a channel");
    let message = channel.send("ok").await.expect("stored").sent().await.expect("acked");
    assert_eq!(message.seq(), Seq::new(1));
    assert_eq!(next_record(&mut events).await, (channel.id(), Seq::new(1), "ok".to_owned()));
    client.close().await;
    assert!(matches!(client.status().get(), Status::Closed(None)));
    assert!(channel.send("late").await.is_err());
}

#[tokio::test]
async fn writes_queued_offline_and_across_a_restart_stand_once_and_in_order() {
    let mut edge = Edge::start();
    let client = edge.client().build().await.expect("a client");
    let mut events = client.events();
    let channel = client.channel(direct());
    let mut outgoing = Vec::new();
    for number in 0..40 {
        outgoing.push(channel.send(format!("ok {number}")).await.expect("stored"));
    }
    client.connect().await.expect("online");
    for number in 40..120 {
        outgoing.push(channel.send(format!("ok {number}")).await.expect("stored"));
        if number % 40 == 0 {
            edge.restart().await;
        }
    }
    for (number, outgoing) in outgoing.iter().enumerate() {
        assert_eq!(outgoing.sent().await.expect("acked").seq().get(), number as u64 + 1);
    }
    for number in 0..120_u64 {
        assert_eq!(next_record(&mut events).await, (direct(), Seq::new(number + 1), format!("ok {number}")));
    }
    assert_eq!(edge.server().logs[&direct()].records.len(), 120);
}

#[tokio::test]
async fn a_device_that_was_away_gets_what_it_missed_and_nothing_twice() {
    let edge = Edge::start();
    let store = MemoryStore::new(usize::MAX);
    let client = edge.client().store(store.clone()).build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    edge.other_says(direct());
    assert_eq!(next_record(&mut events).await.1, Seq::new(1));
    client.close().await;
    drop(client);

    for _ in 0..49 {
        edge.other_says(direct());
    }
    let client = edge.client().store(store.clone()).build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    edge.other_says(direct());
    let mut last = Seq::new(1);
    while last < Seq::new(51) {
        let (_, seq, text) = next_record(&mut events).await;
        assert!(seq > last, "{seq} after {last}");
        assert_eq!(text, format!("other {}", seq.get() - 1));
        last = seq;
    }
    client.behind().wait_for(|behind| *behind == 0).await.expect("an open client");
    let held = client.channel(direct()).records(Seq::new(1), last, usize::MAX).await.expect("records");
    let withheld = (1..=51).filter(|seq| seq % 5 == 3).count();
    assert_eq!(held.len(), 51 - withheld);
    let summary = client.channels().await.expect("rows").remove(0);
    assert_eq!((summary.channel, summary.unread), (direct(), 51));
    let page = client.channel(direct()).history(crate::History { last, ..crate::History::default() }).await.expect("a page");
    assert_eq!((page.records.len(), page.covered), (2, Some((Seq::new(1), Seq::new(3)))), "the third is withheld");
}

#[tokio::test]
async fn a_slow_reader_stops_the_fetching_and_loses_nothing() {
    let edge = Edge::start();
    let client = edge.client().build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    for _ in 0..3_000 {
        edge.other_says(direct());
    }
    let mut expected = (1..=3_000_u64).filter(|seq| seq % 5 != 3);
    for seq in expected.by_ref() {
        assert_eq!(next_record(&mut events).await.1, Seq::new(seq));
    }
}

#[tokio::test]
async fn refused_tokens_are_asked_for_anew_and_then_shown() {
    let edge = Edge::start();
    edge.refuse.lock().expect("no panic").push(Code::TokenExpired);
    let client = edge.client().build().await.expect("a client");
    client.connect().await.expect("online after a new token");
    client.close().await;

    edge.refuse.lock().expect("no panic").extend([Code::BadToken; 8]);
    let client = edge.client().build().await.expect("a client");
    assert_eq!(client.connect().await.map_err(|error| error.code), Err(Code::BadToken));
}

#[tokio::test]
async fn a_screen_can_say_which_edge_it_is_and_when_the_next_is_tried() {
    let edge = Edge::start();
    let client = edge.client().retry(RetryPolicy { min: Duration::from_secs(600), max: Duration::from_secs(600) }).build().await.expect("a client");
    assert_eq!(client.connection().get(), Connection::default());
    client.connect().await.expect("connected");
    let address = edge.endpoint.local_addr().expect("an address").to_string();
    assert_eq!(client.connection().get(), Connection { edge: address.clone(), next_try: None, transport: Some(Transport::Quic) });
    drop(edge);
    let lost = client.connection().wait_for(|connection| connection.next_try.is_some()).await.expect("the client lives");
    assert_eq!(lost.edge, address);
    client.close().await;
}

#[tokio::test]
async fn a_replaced_client_is_closed() {
    let edge = Edge::start();
    edge.refuse.lock().expect("no panic").push(Code::Replaced);
    let client = edge.client().build().await.expect("a client");
    let error = client.connect().await.expect_err("closed");
    assert_eq!(error.code, Code::Replaced);
    let late = client.find_user("ann").await.expect_err("closed");
    assert_eq!(late.code, Code::Replaced);
}

#[tokio::test]
async fn certificates_of_others_are_not_believed() {
    let edge = Edge::start();
    let stranger = Edge::start();
    let client = edge.client().trust(Trust::ca_pem(stranger.pem.as_bytes()).expect("a PEM")).build().await.expect("a client");
    let mut status = client.status();
    let connecting = client.clone();
    let task = tokio::spawn(async move { connecting.connect().await });
    status.wait_for(|status| matches!(status, Status::Connecting)).await.expect("it tries");
    status.wait_for(|status| matches!(status, Status::Offline)).await.expect("it fails");
    client.close().await;
    assert!(task.await.expect("no panic").is_err());
}

#[tokio::test]
async fn events_end_with_the_last_handle() {
    let edge = Edge::start();
    let client = edge.client().build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    drop(client);
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn many_clients_share_a_socket() {
    let edge = Edge::start();
    let endpoint = crate::Endpoint::bind().expect("a socket");
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = edge.client().endpoint(endpoint.clone()).backfill(Backfill::Off).build().await.expect("a client");
        client.connect().await.expect("online");
        clients.push(client);
    }
    for client in &clients {
        client.close().await;
    }
}

#[tokio::test]
async fn a_store_belongs_to_one_user() {
    let edge = Edge::start();
    let store = MemoryStore::default();
    edge.client().store(store.clone()).build().await.expect("a client").close().await;
    let error: Error = match edge.client().store(store).user(UserId::new(7)).build().await {
        Err(error) => error,
        Ok(_) => panic!("another user's store was taken"),
    };
    assert_eq!(error.code, Code::Invalid);
}
