//! A session over WebTransport, for browsers: the streams are QUIC's own as in [`super::quic`], each with the session's number before it.
//!
//! ```text
//! stream both ways     kind varint 0x41 | session varint: the number of the stream that asked for it | bytes as over QUIC
//! ```
//! In: a connection on which a session was granted. Out: chat, pulls. Invariants: the streams that HTTP/3 wants open stay open as long as the session; when the
//! stream that asked for it ends, the session does. Bound: [`ASKING_BYTES_MAX`] are taken of that stream, on which nothing that we know is said. Not here: how
//! it was granted (`edge::webtransport`).

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kith_wire::{code::Code, peer::Caller};
use quinn::{Connection, RecvStream, SendStream};
use web_transport_proto::{Frame, VarInt, error_to_http3};

use super::{ChatRecv, Link, Read};
use crate::session::{driver::SessionParts, pull};

/// What a browser may say on the stream that asked for the session before that is a nuisance, in bytes: capsules that nobody knows yet.
const ASKING_BYTES_MAX: usize = 64 * 1024;
/// Taken of it at once.
const ASKING_READ_BYTES: usize = 4 * 1024;

/// A session that was granted.
pub(crate) struct Web {
    connection: Connection,
    session: Preface,
    asking: Option<RecvStream>,
    /// To drop one of them would be an error of HTTP/3: our half of the stream that asked, and the settings of both sides.
    _held: (SendStream, SendStream, Vec<RecvStream>),
}

/// The way from the client.
pub(crate) struct WebRecv {
    chat: RecvStream,
    asking: RecvStream,
    /// Bytes that may still come on it.
    left: usize,
}

/// What a stream of the client begins with, before what is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::session) enum Preface {
    /// Nothing.
    None,
    /// Which session it is of.
    Session(VarInt),
}

impl Preface {
    /// Takes it off the stream. `false`: this stream is none of the session's.
    pub(in crate::session) async fn take(self, recv: &mut RecvStream) -> bool {
        let Self::Session(session) = self else { return true };
        match (VarInt::read(recv).await, VarInt::read(recv).await) {
            (Ok(kind), Ok(of)) => Frame(kind) == Frame::WEBTRANSPORT && of == session,
            _ => false,
        }
    }
    /// Our number, as it is said where a stream is given up or the connection closed.
    pub(in crate::session) fn number(self, code: Code) -> quinn::VarInt {
        let code = u32::from(code.number());
        match self {
            Self::None => code.into(),
            Self::Session(_) => quinn::VarInt::from_u64(error_to_http3(code)).unwrap_or(quinn::VarInt::MAX),
        }
    }
}

impl Web {
    /// Of the stream that asked for it, and the streams of settings.
    pub(crate) fn new(connection: Connection, (answer, asking): (SendStream, RecvStream), (ours, theirs): (SendStream, Vec<RecvStream>)) -> Self {
        let session = Preface::Session(VarInt::try_from(u64::from(asking.id())).unwrap_or(VarInt::MAX));
        Self { connection, session, asking: Some(asking), _held: (answer, ours, theirs) }
    }
    /// The client's first stream, which is the chat stream.
    pub(crate) async fn chat(&mut self) -> Option<(SendStream, WebRecv)> {
        let (send, mut chat) = self.connection.accept_bi().await.ok()?;
        let is_ours = self.session.take(&mut chat).await;
        let asking = self.asking.take().filter(|_| is_ours)?;
        Some((send, WebRecv { chat, asking, left: ASKING_BYTES_MAX }))
    }
}

impl Link for Web {
    type Send = SendStream;
    type Recv = WebRecv;

    fn remote(&self) -> IpAddr {
        self.connection.remote_address().ip()
    }
    fn heard(&self) -> Option<(u64, Duration)> {
        self.connection.heard()
    }
    fn serve_pulls(&mut self, parts: Arc<SessionParts>, caller: Caller) -> BoxFuture<'static, ()> {
        Box::pin(pull::serve(parts, self.connection.clone(), self.session, caller))
    }
    fn close(&self, code: Code) {
        self.connection.close(self.session.number(code), code.text().as_bytes());
    }
}

impl WebRecv {
    /// What came on the stream that asked: `None` while the session goes on.
    async fn asked(asking: &mut RecvStream, left: &mut usize) -> Option<Read> {
        match asking.read_chunk(ASKING_READ_BYTES, true).await {
            Ok(Some(chunk)) => match left.checked_sub(chunk.bytes.len()) {
                Some(less) => {
                    *left = less;
                    None
                }
                None => Some(Read::Bad),
            },
            Ok(None) | Err(_) => Some(Read::Over),
        }
    }
}

impl ChatRecv for WebRecv {
    async fn read(&mut self) -> Read {
        let Self { chat, asking, left } = self;
        loop {
            // Both are cancel safe. Chat goes first: what was said before the end counts.
            tokio::select! {
                biased;
                read = ChatRecv::read(chat) => return read,
                over = Self::asked(asking, left) => if let Some(over) = over { return over },
            }
        }
    }
    async fn ended(&mut self) {
        // A browser forgets what it has not given to the page when the connection ends, so the page is to end the session itself.
        while Self::asked(&mut self.asking, &mut self.left).await.is_none() {}
    }
}
