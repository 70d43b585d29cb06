//! A WebSocket over TLS, for networks that let no UDP through: the same streams as over QUIC, of which every message names one.
//!
//! ```text
//! message (binary)   stream u32 BE | bytes of that stream
//! stream             0: chat      else: a pull; its Pull frame is one message, and the Page frame comes back in pieces
//! ```
//! In: frames, pulls. Out: bytes of frames, pages. Invariants: nothing runs beside the task that polls it; a pull that nobody waits for any more keeps
//! its place until its page is there, as it does at the edge. Bounds: [`SESSION_PULLS_MAX`] pulls, further ones wait; [`HANDED_BYTES_MAX`] handed to
//! the socket before it is flushed. Not here: which way is taken (`link`), frames (`kith_wire::frame`).

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use kith_wire::{
    client::Page,
    code::Code,
    frame::{Decoder, Framing},
    limit::{PAGE_FRAME_BYTES_MAX, SESSION_PULLS_MAX},
};
use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, http::StatusCode, protocol::WebSocketConfig},
};

use super::{CHUNK_BYTES, Failed, Place};
use crate::{error::Error, status::Traffic};

/// Where an edge's WebSockets are: as the ALPN of QUIC has it.
const PATH: &str = "/kith/1";
/// The stream of every small frame.
const CHAT: u32 = 0;
/// The stream's number.
const STREAM_BYTES: usize = 4;
/// Of the chat stream in one message; an edge takes more.
const PIECE_BYTES: usize = 16 * 1024;
/// Handed to the socket before it is flushed.
const HANDED_BYTES_MAX: usize = 64 * 1024;
/// Longest message that is taken: an edge sends its frames, or pieces of pages, in far shorter ones.
const MESSAGE_BYTES_MAX: usize = PAGE_FRAME_BYTES_MAX + STREAM_BYTES;
/// To read into, in bytes.
const READ_BYTES: usize = 16 * 1024;

pub(super) struct Socket {
    stream: WebSocketStream<TlsStream<TcpStream>>,
    asking: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    pulls: HashMap<u32, Coming>,
    next_pull: u32,
    /// Whether something was handed over and is not flushed.
    is_dirty: bool,
    traffic: Traffic,
}

/// A pull that waits for its place.
struct Asked {
    request: Bytes,
    page: oneshot::Sender<Result<Page, Error>>,
}

/// A page on its way.
struct Coming {
    decoder: Decoder,
    page: oneshot::Sender<Result<Page, Error>>,
}

/// Asks for pages.
pub(super) struct Asking(mpsc::Sender<Asked>);

impl Asking {
    /// Moves while its socket is polled.
    pub(super) async fn fetch(self, request: Bytes) -> Result<Page, Error> {
        let (page, comes) = oneshot::channel();
        let ended = || Error::new(Code::Disconnected, "a pull was cut off: the connection ended");
        self.0.send(Asked { request, page }).await.map_err(|_| ended())?;
        comes.await.map_err(|_| ended())?
    }
}

pub(super) async fn open(place: Place<'_>) -> Result<Socket, Failed> {
    let failed = |text: &str, error: std::io::Error| Failed::unheard(Error::caused(Code::Disconnected, text, error));
    let tcp = dial(place.address, place.endpoint.bound_to()).await.map_err(|error| failed("connecting to the edge by TCP", error))?;
    // Frames are small, and each is waited for.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "the system holds small messages back");
    }
    let name = ServerName::try_from(place.host.to_owned())
        .map_err(|error| Failed::unheard(Error::caused(Code::Invalid, "reading the name that the edge must have", error)))?;
    let connector = TlsConnector::from(place.trust.tls.clone());
    let tls = connector.connect(name, tcp).await.map_err(|error| failed("setting TLS up with the edge", error))?;
    let request = format!("wss://{}{PATH}", place.name).into_client_request();
    let request = request.map_err(|error| Failed::unheard(Error::caused(Code::Invalid, "making an address of the edge's name", error)))?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(0);
    let config = config.max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_async_with_config(request, tls, Some(config)).await {
        Ok((stream, _)) => {
            let (asking, asked) = mpsc::channel(SESSION_PULLS_MAX);
            Ok(Socket { stream, asking, asked, pulls: HashMap::new(), next_pull: 1, is_dirty: false, traffic: Traffic::default() })
        }
        // By TLS it is the edge that says so.
        Err(tungstenite::Error::Http(answer)) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
            Err(Failed { error: Error::new(Code::Busy, Code::Busy.text()), was_heard: true })
        }
        Err(error) => Err(Failed::unheard(Error::caused(Code::Disconnected, "opening a WebSocket at the edge", error))),
    }
}

async fn dial(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

impl Socket {
    pub(super) fn asking(&self) -> Asking {
        Asking(self.asking.clone())
    }
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }
    /// Cancel safe: all that is between two polls is in `self` and `pending`.
    pub(super) async fn poll(&mut self, pending: &mut BytesMut, decoder: &mut Decoder) -> Result<(), Error> {
        poll_fn(|cx| self.poll_io(cx, pending, decoder)).await
    }
    /// Says so if the socket takes it at once: it is over in any case.
    pub(super) fn close(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = Pin::new(&mut self.stream);
        if matches!(stream.as_mut().poll_ready(cx), Poll::Ready(Ok(()))) && stream.as_mut().start_send(Message::Close(None)).is_ok() {
            let _ = stream.poll_flush(cx);
        }
    }

    fn poll_io(&mut self, cx: &mut Context<'_>, pending: &mut BytesMut, decoder: &mut Decoder) -> Poll<Result<(), Error>> {
        let mut arrived = 0;
        while arrived < CHUNK_BYTES {
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(Err(Error::new(Code::Disconnected, "the edge closed the connection"))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken("reading from the edge", error))),
                Poll::Ready(Some(Ok(message))) => match self.take(message, decoder) {
                    Ok(bytes) => arrived += bytes,
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
        let had = !pending.is_empty();
        if let Poll::Ready(Err(error)) = self.poll_write(cx, pending) {
            return Poll::Ready(Err(broken("writing to the edge", error)));
        }
        if arrived > 0 || (had && pending.is_empty()) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
    /// Hands over what waits, and flushes it.
    fn poll_write(&mut self, cx: &mut Context<'_>, pending: &mut BytesMut) -> Poll<Result<(), tungstenite::Error>> {
        let mut handed = 0;
        while handed < HANDED_BYTES_MAX {
            // Chat goes before bulk; only what is there is waited for.
            let is_ready = Pin::new(&mut self.stream).poll_ready(cx)?;
            if is_ready.is_pending() {
                return Poll::Pending;
            }
            let Some(message) = self.next(cx, pending) else { break };
            handed += message.len();
            self.is_dirty = true;
            self.traffic.sent_packets += 1;
            self.traffic.sent_bytes += message.len() as u64;
            Pin::new(&mut self.stream).start_send(Message::Binary(message))?;
        }
        if self.is_dirty && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.is_dirty = false;
            if handed >= HANDED_BYTES_MAX {
                // There may be more.
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(()))
    }
    fn next(&mut self, cx: &mut Context<'_>, pending: &mut BytesMut) -> Option<Bytes> {
        if !pending.is_empty() {
            let piece = pending.split_to(pending.len().min(PIECE_BYTES));
            return Some(message(CHAT, &piece));
        }
        while self.pulls.len() < SESSION_PULLS_MAX {
            let Poll::Ready(Some(asked)) = self.asked.poll_recv(cx) else { return None };
            if asked.page.is_closed() {
                continue;
            }
            let stream = self.next_pull;
            self.next_pull = stream.checked_add(1).unwrap_or(1);
            self.pulls.insert(stream, Coming { decoder: Decoder::new(Framing::Plain, PAGE_FRAME_BYTES_MAX), page: asked.page });
            return Some(message(stream, &asked.request));
        }
        None
    }
    /// How many bytes of the chat stream were in it.
    fn take(&mut self, message: Message, decoder: &mut Decoder) -> Result<usize, Error> {
        let mut bytes = match message {
            Message::Binary(bytes) => {
                self.traffic.received_packets += 1;
                self.traffic.received_bytes += bytes.len() as u64;
                bytes
            }
            Message::Close(close) => {
                let code = close.and_then(|close| close.reason.parse().ok()).map(Code::from_number).filter(|code| code.number() >= 1_000);
                return Err(Error::new(code.unwrap_or(Code::Disconnected), "the edge closed the connection"));
            }
            // The library answers a ping.
            _ => return Ok(0),
        };
        let bad = |text: &str| Error::new(Code::BadFrame, text);
        let stream = bytes.try_get_u32().map_err(|_| bad("a message of the edge names no stream"))?;
        if stream == CHAT {
            decoder.push(&bytes);
            return Ok(bytes.len());
        }
        let coming = self.pulls.get_mut(&stream).ok_or_else(|| bad("a page came that was not asked for"))?;
        coming.decoder.push(&bytes);
        let Some(frame) = coming.decoder.poll().map_err(|error| bad(&format!("a page could not be read: {error}")))? else { return Ok(0) };
        let page = Page::decode(&frame.body).map_err(|error| Error::new(Code::Disconnected, format!("a page could not be read: {error}")));
        if let Some(coming) = self.pulls.remove(&stream) {
            // Whoever gave it up needs no answer.
            let _ = coming.page.send(page);
        }
        Ok(0)
    }
}

fn message(stream: u32, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(STREAM_BYTES + bytes.len());
    message.put_u32(stream);
    message.put_slice(bytes);
    message.freeze()
}

fn broken(action: &str, error: tungstenite::Error) -> Error {
    Error::caused(Code::Disconnected, action, error)
}
