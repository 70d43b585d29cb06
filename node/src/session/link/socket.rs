//! A session over a WebSocket, for browsers and for networks that let no UDP through: the same streams, of which every message names one.
//!
//! ```text
//! message (binary)   stream u32 BE | bytes of that stream
//! stream             0: chat      else: a pull; the client draws the number, its Pull frame is one message, and the Page frame comes back in pieces
//! ```
//! In: messages, [`Out`], pages. Out: the same. Invariants: chat goes before bulk, and pieces of pages take turns, so that no page holds up what is
//! said; what is no such message ends the session. Bounds: a message is a frame of the chat stream at most; [`limit::SESSION_PULLS_MAX`] pulls
//! from the first byte of the pull to the last of the page, one more ends the session; [`PIECE_BYTES`] of a page at a time. Not here: who may open
//! one (`edge::websocket`).

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{
    Sink, SinkExt, StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitSink, SplitStream},
};
use kith_wire::{code::Code, limit, peer::Caller};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{ChatRecv, ChatSend, Link, Read};
use crate::session::{codec, driver::SessionParts, out::Out, pull};

/// Longest message that a client may send: a frame of the chat stream, and what stands before it.
pub(crate) const MESSAGE_BYTES_MAX: usize = STREAM_BYTES + codec::FRAMING.header_bytes() + limit::FRAME_BYTES_MAX;
/// Of a page, between which chat has its turn.
const PIECE_BYTES: usize = 16 * 1024;
/// Handed to the socket before it is flushed.
const FLUSH_BYTES: usize = 64 * 1024;
/// The stream's number.
const STREAM_BYTES: usize = 4;
/// The stream of every small frame.
const CHAT: u32 = 0;
/// Of WebSocket's own numbers those that an application may use begin here; ours is in the reason.
const CLOSED: u16 = 4_000;

/// A client's WebSocket.
pub(crate) struct Socket {
    from: IpAddr,
    pulls: Option<Pulls>,
}

/// What the two halves of the socket share with the server of pulls.
struct Pulls {
    asked: mpsc::Receiver<Asked>,
    pages: mpsc::Sender<Paged>,
}

/// A pull, as it came.
struct Asked {
    stream: u32,
    frame: Bytes,
    place: OwnedSemaphorePermit,
}

/// A page on its way; its place is free once the last piece is taken.
struct Paged {
    stream: u32,
    left: Bytes,
    _place: OwnedSemaphorePermit,
}

/// The way to the client.
pub(crate) struct SocketSend {
    sink: SplitSink<WebSocket, Message>,
    ready: mpsc::Receiver<Paged>,
    bulk: VecDeque<Paged>,
    /// Bytes of chat that the sink has, and not all of the network.
    chat: usize,
    is_dirty: bool,
}

/// The way from the client.
pub(crate) struct SocketRecv {
    stream: SplitStream<WebSocket>,
    pulls: mpsc::Sender<Asked>,
    places: Arc<Semaphore>,
}

/// A client's WebSocket, as a session needs it.
pub(crate) fn split(socket: WebSocket, from: IpAddr) -> (Socket, SocketSend, SocketRecv) {
    let (sink, stream) = socket.split();
    // A place for each pull there may be: neither is ever full.
    let (asking, asked) = mpsc::channel(limit::SESSION_PULLS_MAX);
    let (pages, ready) = mpsc::channel(limit::SESSION_PULLS_MAX);
    let recv = SocketRecv { stream, pulls: asking, places: Arc::new(Semaphore::new(limit::SESSION_PULLS_MAX)) };
    let send = SocketSend { sink, ready, bulk: VecDeque::new(), chat: 0, is_dirty: false };
    (Socket { from, pulls: Some(Pulls { asked, pages }) }, send, recv)
}

impl Link for Socket {
    type Send = SocketSend;
    type Recv = SocketRecv;

    fn remote(&self) -> IpAddr {
        self.from
    }
    fn heard(&self) -> Option<(u64, Duration)> {
        // The kernel acknowledges for a client that is gone; only what it says itself counts, and it need not say anything now.
        None
    }
    fn serve_pulls(&mut self, parts: Arc<SessionParts>, caller: Caller) -> BoxFuture<'static, ()> {
        match self.pulls.take() {
            Some(pulls) => Box::pin(serve(pulls, parts, caller)),
            None => Box::pin(std::future::pending()),
        }
    }
    fn close(&self, _: Code) {
        // Said by `finish`; the rest ends with the halves.
    }
}

/// Answers pulls until the socket is gone.
async fn serve(pulls: Pulls, parts: Arc<SessionParts>, caller: Caller) {
    let Pulls { mut asked, pages } = pulls;
    let mut running: FuturesUnordered<BoxFuture<'static, Paged>> = FuturesUnordered::new();
    loop {
        // Both branches are cancel safe.
        tokio::select! {
            Some(page) = running.next(), if !running.is_empty() => {
                if pages.send(page).await.is_err() {
                    return;
                }
            }
            one = asked.recv() => {
                let Some(Asked { stream, frame, place }) = one else { return };
                let (parts, caller) = (parts.clone(), caller.clone());
                running.push(Box::pin(async move {
                    let left = pull::answer(&parts, caller, &frame).await;
                    Paged { stream, left, _place: place }
                }));
            }
        }
    }
}

impl SocketSend {
    /// Hands over what waits and flushes it; ready once something was flushed.
    fn poll_write(&mut self, out: &mut Out, cx: &mut Context<'_>) -> Poll<bool> {
        let mut handed = 0;
        while handed < FLUSH_BYTES {
            while let Poll::Ready(Some(page)) = self.ready.poll_recv(cx) {
                self.bulk.push_back(page);
            }
            if !self.is_dirty && out.is_empty() && self.bulk.is_empty() {
                return Poll::Pending;
            }
            let Poll::Ready(is_ready) = Pin::new(&mut self.sink).poll_ready(cx) else { break };
            if is_ready.is_err() {
                return Poll::Ready(false);
            }
            let Some(message) = self.next(out) else { break };
            handed += message.len();
            self.is_dirty = true;
            if Pin::new(&mut self.sink).start_send(Message::Binary(message)).is_err() {
                return Poll::Ready(false);
            }
        }
        if ready!(Pin::new(&mut self.sink).poll_flush(cx)).is_err() {
            return Poll::Ready(false);
        }
        self.is_dirty = false;
        out.flushed(std::mem::take(&mut self.chat));
        Poll::Ready(true)
    }

    /// Chat first, then the next piece of the page whose turn it is.
    fn next(&mut self, out: &mut Out) -> Option<Bytes> {
        if let Some(chunk) = out.take() {
            self.chat += chunk.len();
            return Some(message(CHAT, &chunk));
        }
        let mut page = self.bulk.pop_front()?;
        let piece = page.left.split_to(page.left.len().min(PIECE_BYTES));
        let message = message(page.stream, &piece);
        if !page.left.is_empty() {
            self.bulk.push_back(page);
        }
        Some(message)
    }
}

impl ChatSend for SocketSend {
    fn is_wanted(&self, _: &Out) -> bool {
        // It waits for pages too.
        true
    }
    async fn write(&mut self, out: &mut Out) -> bool {
        // Cancel safe: all that is between two polls is in `self` and `out`.
        poll_fn(|cx| self.poll_write(out, cx)).await
    }
    async fn finish(&mut self, code: Code) {
        let reason = code.number().to_string().into();
        let _ = self.sink.send(Message::Close(Some(CloseFrame { code: CLOSED, reason }))).await;
    }
}

impl ChatRecv for SocketRecv {
    async fn read(&mut self) -> Read {
        loop {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Read::Over,
            };
            match message {
                Message::Binary(bytes) => match self.take(bytes) {
                    Some(chat) if chat.is_empty() => {}
                    Some(chat) => return Read::Bytes(chat),
                    None => return Read::Bad,
                },
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text(_) => return Read::Bad,
                Message::Close(_) => return Read::Over,
            }
        }
    }
    async fn ended(&mut self) {
        while let Some(Ok(message)) = self.stream.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
        }
    }
}

impl SocketRecv {
    /// Bytes of the chat stream; empty when the message was a pull; `None` when it is nothing of ours.
    fn take(&self, mut message: Bytes) -> Option<Bytes> {
        let stream = message.try_get_u32().ok()?;
        if stream == CHAT {
            return (!message.is_empty()).then_some(message);
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        // Never full: there are no more places than room.
        self.pulls.try_send(Asked { stream, frame: message, place }).ok()?;
        Some(Bytes::new())
    }
}

fn message(stream: u32, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(STREAM_BYTES + bytes.len());
    message.put_u32(stream);
    message.put_slice(bytes);
    message.freeze()
}
