//! Where no UDP gets through: the same client over a WebSocket, and back over QUIC once that is there.

use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::*;

/// An edge whose UDP port is deaf at first; its WebSockets are at the same port.
pub(super) struct Walled {
    edge: Edge,
    address: SocketAddr,
    wall: Option<UdpSocket>,
    tasks: JoinSet<()>,
}

impl Walled {
    pub(super) async fn start() -> Self {
        let edge = Edge::start();
        let (wall, listener) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            if let Ok(wall) = UdpSocket::bind(listener.local_addr().expect("bound")).await {
                break (wall, listener);
            }
        };
        let mut tls = edge.tls.clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut walled = Self { address: listener.local_addr().expect("bound"), wall: Some(wall), tasks: JoinSet::new(), edge };
        walled.tasks.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&walled.edge.server), walled.edge.nudge.subscribe()));
        walled
    }
    pub(super) fn client(&self) -> ClientBuilder {
        self.edge.client_at(&self.address.to_string())
    }
    /// UDP gets through from now on.
    pub(super) async fn open(&mut self) {
        drop(self.wall.take());
        let endpoint = loop {
            // The system may need a moment to free the port.
            match quinn::Endpoint::server(quic(&self.edge.tls), self.address) {
                Ok(endpoint) => break endpoint,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (server, nudge, refuse) = (Arc::clone(&self.edge.server), self.edge.nudge.subscribe(), Arc::clone(&self.edge.refuse));
        self.tasks.spawn(accept(endpoint, server, nudge, refuse));
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, server: Arc<Mutex<Server>>, nudge: watch::Receiver<u64>) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, server, nudge) = (tls.clone(), Arc::clone(&server), nudge.clone());
        sessions.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let Ok(socket) = accept_async(stream).await else { return };
            let mine = talk(socket, &server, nudge).await;
            server.lock().expect("no panic").end(mine);
        });
    }
}

/// One session. Pages go in small pieces, between which chat has its turn.
async fn talk<S>(mut socket: tokio_tungstenite::WebSocketStream<S>, server: &Mutex<Server>, mut nudge: watch::Receiver<u64>) -> u64
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut decoder = Decoder::new(Framing::Plain, FRAME_BYTES_MAX);
    let mut mine = 0;
    loop {
        let mut messages = Vec::new();
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(mut bytes))) => match bytes.get_u32() {
                    0 => decoder.push(&bytes),
                    stream => {
                        let mut request = Decoder::new(Framing::Plain, 4_096);
                        request.push(&bytes);
                        let frame = request.poll().expect("a frame").expect("a whole frame");
                        let pull = Pull::decode(&frame.body).expect("a pull");
                        let page = server.lock().expect("no panic").page(&pull, Faults::default());
                        let mut bytes = BytesMut::new();
                        encode(Framing::Plain, Kind::Page, &page.encode(), &mut bytes);
                        messages.extend(bytes.chunks(10).map(|piece| message_of(stream, piece)));
                    }
                },
                Some(Ok(_)) => {}
                _ => return mine,
            },
            Ok(()) = nudge.changed() => {}
        }
        while let Ok(Some(frame)) = decoder.poll() {
            let frame = ToEdge::decode(&frame.body).expect("a frame of the client");
            let is_hello = matches!(frame, ToEdge::Hello(_));
            let mut server = server.lock().expect("no panic");
            server.handle(frame, Faults::default());
            mine = if is_hello { server.sessions } else { mine };
        }
        let out = std::mem::take(&mut server.lock().expect("no panic").out);
        for frame in out {
            let mut bytes = BytesMut::new();
            encode(Framing::Plain, Kind::ToClient, &frame.encode(), &mut bytes);
            messages.extend(bytes.chunks(50).map(|piece| message_of(0, piece)));
        }
        for message in messages {
            if socket.send(message).await.is_err() {
                return mine;
            }
        }
    }
}

fn message_of(stream: u32, bytes: &[u8]) -> Message {
    let mut message = BytesMut::new();
    message.put_u32(stream);
    message.put_slice(bytes);
    Message::Binary(message.freeze())
}

pub(super) async fn over(client: &Client, transport: Transport) {
    let mut connection = client.connection();
    let reached = connection.wait_for(|connection| connection.transport == Some(transport));
    tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap_or_else(|_| panic!("not over {transport:?}")).expect("an open client");
}

#[tokio::test]
async fn where_udp_is_silent_a_socket_takes_its_place_and_quic_goes_on_once_it_is_there() {
    let mut walled = Walled::start().await;
    // Nothing that was said before is known: it is pulled.
    for _ in 0..30 {
        walled.edge.other_says(direct());
    }
    let client = walled.client().build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    assert_eq!(client.connection().get().transport, Some(Transport::WebSocket));
    let channel = client.channel(direct());
    let first = channel.send("ok over a socket").await.expect("stored").sent().await.expect("acked");
    assert_eq!(first.seq(), Seq::new(31));
    for seq in (1..=31_u64).filter(|seq| seq % 5 != 3 || *seq == 31) {
        assert_eq!(next_record(&mut events).await.1, Seq::new(seq));
    }

    walled.open().await;
    client.network_changed().await;
    over(&client, Transport::Quic).await;
    let second = channel.send("ok over QUIC").await.expect("stored").sent().await.expect("acked");
    assert_eq!(second.seq(), Seq::new(32));
    assert_eq!(next_record(&mut events).await, (direct(), Seq::new(32), "ok over QUIC".to_owned()));
    client.close().await;
}

#[tokio::test]
async fn a_long_text_fits_a_socket_and_what_is_not_allowed_is_not_tried() {
    let walled = Walled::start().await;
    let client = walled.client().transports(&[Transport::WebSocket]).build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    let long = format!("ok {}", "x".repeat(90_000));
    client.channel(direct()).send(long.clone()).await.expect("stored").sent().await.expect("acked");
    assert_eq!(next_record(&mut events).await.2, long);
    client.close().await;

    let client = walled.client().transports(&[Transport::Quic]).build().await.expect("a client");
    let connecting = client.clone();
    let task = tokio::spawn(async move { connecting.connect().await });
    client.connection().wait_for(|connection| connection.next_try.is_some()).await.expect("its try fails");
    assert_eq!(client.connection().get().transport, None);
    client.close().await;
    assert!(task.await.expect("no panic").is_err());
    assert_eq!(walled.client().transports(&[]).build().await.map(drop).map_err(|error| error.code), Err(Code::Invalid));
}
