//! The client protocol over a WebSocket by hand: what a browser sends, and what none would.
//!
//! In: frames of the chat stream, pulls, messages that are neither. Out: what the edge answers. Not here: QUIC ([`crate::raw`]), retries, order, sync.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use kith_wire::{
    client::{Page, Pull, Request, ToClient, ToEdge},
    frame::{self, Decoder, Framing, Kind},
    id::RequestId,
    limit,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};

use crate::cluster::{Cluster, PATIENCE};

/// The stream of small frames.
const CHAT: u32 = 0;

/// Both directions of one connection, with TLS or without.
trait Way: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Way for T {}

/// A WebSocket of a client.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Way>>,
    chat: Decoder,
    /// Pages that have begun.
    pages: BTreeMap<u32, Decoder>,
    done: BTreeMap<u32, Page>,
    next_pull: u32,
    /// The number in the reason of the close.
    pub closed: Option<u16>,
}

impl Socket {
    /// Opens one at a node, over TLS, as no page does: it says no origin.
    pub async fn to(cluster: &Cluster, node: u64) -> Self {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(cluster.files().ca_pem.as_bytes()) {
            roots.add(cert.expect("the cluster's own authority")).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("tls 1.3");
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let address = cluster.node(node).api_addr().expect("the setup is with_api");
        let stream = TcpStream::connect(address).await.expect("the node listens");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let stream = tls.connect(name, stream).await.expect("the node's certificate is of the cluster");
        Self::open(Box::new(stream), address, None).await.expect("a WebSocket")
    }

    /// As a page of `origin` does, in the clear.
    ///
    /// # Errors
    /// The status of the refusal.
    pub async fn of_page(cluster: &Cluster, node: u64, origin: &str) -> Result<Self, u16> {
        let address = cluster.node(node).api_plain_addr().expect("the setup is with_api");
        let stream = TcpStream::connect(address).await.expect("the node listens");
        Self::open(Box::new(stream), address, Some(origin)).await
    }

    async fn open(stream: Box<dyn Way>, address: SocketAddr, origin: Option<&str>) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{}", kith::edge::websocket::PATH).into_client_request().expect("a request");
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).expect("an origin"));
        }
        // A client that does not read is to stop the node, not to keep what it sends for itself.
        let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
        match timeout(PATIENCE, client_async_with_config(request, stream, Some(config))).await.expect("the node answers") {
            Ok((stream, _)) => {
                let (chat, next_pull) = (Decoder::new(Framing::Plain, limit::FRAME_BYTES_MAX), 1);
                Ok(Self { stream, chat, pages: BTreeMap::new(), done: BTreeMap::new(), next_pull, closed: None })
            }
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("no WebSocket: {error}"),
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &ToEdge) {
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut out);
        self.send_on(CHAT, &out).await;
    }
    /// Asks something.
    pub async fn ask(&mut self, id: u64, request: Request) {
        self.send(&ToEdge::Request { id: RequestId::new(id), request }).await;
    }
    /// Sends bytes of a stream as one message. A node that has closed already is as good.
    pub async fn send_on(&mut self, stream: u32, bytes: &[u8]) {
        let mut message = BytesMut::new();
        message.put_u32(stream);
        message.put_slice(bytes);
        self.send_message(Message::Binary(message.freeze())).await;
    }
    /// Sends a message, whatever it is.
    pub async fn send_message(&mut self, message: Message) {
        let _ = self.stream.send(message).await;
    }

    /// The next frame of the chat stream; `None` once the node has closed.
    ///
    /// # Panics
    /// Nothing comes within [`PATIENCE`], or what comes is no frame.
    pub async fn next(&mut self) -> Option<ToClient> {
        loop {
            if let Some(frame) = self.chat.poll().expect("the edge sends sound frames") {
                return Some(ToClient::decode(&frame.body).expect("the edge sends sound messages"));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Asks for a page; gives the stream that it comes on.
    pub async fn begin_pull(&mut self, pull: &Pull) -> u32 {
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::Pull, &pull.encode(), &mut out);
        self.begin_pull_of(&out).await
    }
    /// As [`Socket::begin_pull`], with bytes that may be no pull.
    pub async fn begin_pull_of(&mut self, bytes: &[u8]) -> u32 {
        let stream = self.next_pull;
        self.next_pull += 1;
        self.pages.insert(stream, Decoder::new(Framing::Plain, limit::PAGE_FRAME_BYTES_MAX));
        self.send_on(stream, bytes).await;
        stream
    }
    /// The page of a pull; frames of the chat stream that come meanwhile wait for [`Socket::next`].
    pub async fn end_pull(&mut self, stream: u32) -> Page {
        loop {
            if let Some(page) = self.done.remove(&stream) {
                return page;
            }
            assert!(self.read().await, "the session was ended");
        }
    }
    /// Pulls a page.
    pub async fn pull(&mut self, pull: &Pull) -> Page {
        let stream = self.begin_pull(pull).await;
        self.end_pull(stream).await
    }

    /// Takes one message in; `false` once the node has closed.
    async fn read(&mut self) -> bool {
        let message = timeout(PATIENCE, self.stream.next()).await.expect("the edge says something");
        match message {
            Some(Ok(Message::Binary(bytes))) => self.take(bytes),
            Some(Ok(Message::Close(close))) => {
                self.closed = close.and_then(|close| close.reason.parse().ok());
                return false;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
        true
    }
    fn take(&mut self, mut message: Bytes) {
        let stream = message.get_u32();
        if stream == CHAT {
            return self.chat.push(&message);
        }
        let page = self.pages.get_mut(&stream).expect("pages come on streams that were asked for");
        page.push(&message);
        if let Some(frame) = page.poll().expect("the edge sends sound frames") {
            self.pages.remove(&stream);
            self.done.insert(stream, Page::decode(&frame.body).expect("a sound page"));
        }
    }
}
