//! What a session runs on: a chat stream both ways, bulk streams beside it, and what is known of the connection under them.
//!
//! In: frames that wait ([`Out`]). Out: bytes of the chat stream, pages for pulls. Three transports: [`quic`], where each stream is one of QUIC's own,
//! [`web`], WebTransport, where each says first which session it is of, and [`socket`], a WebSocket, where every message names its stream. Invariant: the driver cannot tell one from another. Not here: rules
//! (`machine`), who may connect (`edge`).

pub(super) mod quic;
pub(super) mod socket;
pub(super) mod web;

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kith_wire::{code::Code, peer::Caller};

use super::{driver::SessionParts, out::Out};

/// The connection of one client.
pub(super) trait Link: Send + 'static {
    /// Writes the chat stream.
    type Send: ChatSend;
    /// Reads the chat stream.
    type Recv: ChatRecv;
    /// Where the client is.
    fn remote(&self) -> IpAddr;
    /// How often the client was heard of, be it that it only acknowledged something; with how long a round trip takes. `None`: the transport
    /// does not say.
    fn heard(&self) -> Option<(u64, Duration)>;
    /// Serves bulk streams until the connection ends or this is dropped. Called once.
    fn serve_pulls(&mut self, parts: Arc<SessionParts>, caller: Caller) -> BoxFuture<'static, ()>;
    /// Closes with our number: part of the protocol.
    fn close(&self, code: Code);
}

/// The way to the client.
pub(super) trait ChatSend: Send {
    /// Whether [`ChatSend::write`] has something to do.
    fn is_wanted(&self, out: &Out) -> bool;
    /// Writes what waits, at least some of it; `false` when the stream is gone. Cancel safe.
    fn write(&mut self, out: &mut Out) -> impl Future<Output = bool> + Send;
    /// Nothing more is written; waits, as far as the transport can tell, until the client has all.
    fn finish(&mut self, code: Code) -> impl Future<Output = ()> + Send;
}

/// The way from the client.
pub(super) trait ChatRecv: Send {
    /// What comes next. Cancel safe.
    fn read(&mut self) -> impl Future<Output = Read> + Send;
    /// Waits until the client has closed its side, where the transport needs that for the last word to arrive.
    fn ended(&mut self) -> impl Future<Output = ()> + Send;
}

/// What came from a client.
pub(super) enum Read {
    /// Bytes of the chat stream, one or more.
    Bytes(Bytes),
    /// What the transport carries is none of ours.
    Bad,
    /// The client has closed it, or it is lost.
    Over,
}
