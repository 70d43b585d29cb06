//! One QUIC connection: the chat stream and pulls on streams of their own.
//!
//! Bounds: a frame's body at most `limit::FRAME_BYTES_MAX`, a page's at most `limit::PAGE_FRAME_BYTES_MAX`; each step has a deadline.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use kith_wire::{
    client::{Page, Pull, ToClient, ToEdge},
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    limit::{FRAME_BYTES_MAX, PAGE_FRAME_BYTES_MAX},
};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    endpoint::{Endpoint, Trust},
    error::Error,
};

/// A connection with its chat stream.
pub(crate) struct Link {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    decoder: Decoder,
    /// Encoded frames that the stream has not taken yet.
    pending: BytesMut,
}

/// Bytes of frames that wait for the stream; beyond it no more are taken from the core.
const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Read from the stream at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// A pull is given up after this time, and asked again.
const PULL_WITHIN: Duration = Duration::from_secs(30);
/// Small frames go before bulk.
const CHAT_PRIORITY: i32 = 10;

/// Connects to `host:port`; every address that the name has is tried in turn.
pub(crate) async fn connect(endpoint: &Endpoint, trust: &Trust, name: &str, server_name: Option<&str>, within: Duration) -> Result<Link, Error> {
    let host = server_name.unwrap_or_else(|| host_of(name));
    let addresses: Vec<SocketAddr> = match name.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            tokio::net::lookup_host(name).await.map_err(|error| Error::caused(Code::Disconnected, "looking the edge's name up", error))?.collect()
        }
    };
    let mut last = Error::new(Code::Disconnected, "the edge's name has no address");
    for address in addresses {
        match timeout(within, connect_to(endpoint, trust, address, host)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::new(Code::Timeout, "the edge did not answer the handshake"),
        }
    }
    Err(last)
}

async fn connect_to(endpoint: &Endpoint, trust: &Trust, address: SocketAddr, host: &str) -> Result<Link, Error> {
    let connecting = endpoint
        .quic
        .connect_with(trust.config.clone(), address, host)
        .map_err(|error| Error::caused(Code::Disconnected, "connecting to the edge", error))?;
    let connection = connecting.await.map_err(|error| lost(&error))?;
    let (send, recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    // Fails only for a stream that is closed, which the first write will tell.
    let _ = send.set_priority(CHAT_PRIORITY);
    Ok(Link { connection, send, recv, decoder: Decoder::new(Framing::Plain, FRAME_BYTES_MAX), pending: BytesMut::new() })
}

impl Link {
    /// Whether more frames may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_BYTES_MAX
    }
    pub(crate) fn add(&mut self, frame: &ToEdge) {
        encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut self.pending);
    }
    /// Moves bytes both ways until something arrived. Cancel safe.
    pub(crate) async fn poll(&mut self) -> Result<(), Error> {
        let Self { send, recv, pending, decoder, .. } = self;
        loop {
            if pending.is_empty() {
                if pending.capacity() > CHUNK_BYTES {
                    *pending = BytesMut::new();
                }
                return Self::read(recv, decoder).await;
            }
            // Both are cancel safe (quinn: "if this does not resolve, no bytes were written", "cannot lead to loss of stream data").
            tokio::select! {
                read = Self::read(recv, decoder) => return read,
                written = send.write(pending) => {
                    let written = written.map_err(|error| match error {
                        WriteError::ConnectionLost(error) => lost(&error),
                        error => Error::caused(Code::Disconnected, "writing to the edge", error),
                    })?;
                    pending.advance(written);
                    if pending.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }
    /// The next frame of those that arrived.
    pub(crate) fn poll_frame(&mut self) -> Result<Option<ToClient>, Error> {
        let unreadable = |error: &dyn std::fmt::Display| Error::new(Code::BadFrame, format!("a frame of the edge could not be read: {error}"));
        while let Some(frame) = self.decoder.poll().map_err(|error| unreadable(&error))? {
            if frame.kind == Kind::ToClient {
                return ToClient::decode(&frame.body).map(Some).map_err(|error| unreadable(&error));
            }
            tracing::debug!(kind = frame.kind.number(), "skipped a frame of an unknown kind");
        }
        Ok(None)
    }
    /// A pull on a stream of its own; it takes its turn among all clients of the endpoint.
    pub(crate) fn pull(&self, pull: &Pull, turns: Arc<Semaphore>) -> impl Future<Output = Result<Page, Error>> + Send + use<> {
        let connection = self.connection.clone();
        let mut request = BytesMut::new();
        encode(Framing::Plain, Kind::Pull, &pull.encode(), &mut request);
        async move {
            let _turn = turns.acquire_owned().await.map_err(|_| Error::closed())?;
            timeout(PULL_WITHIN, fetch(connection, request)).await.unwrap_or_else(|_| Err(Error::new(Code::Timeout, "a page did not come in time")))
        }
    }
    /// Tells the edge that this session ends by our will.
    pub(crate) fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"closed by the app");
    }
    async fn read(recv: &mut quinn::RecvStream, decoder: &mut Decoder) -> Result<(), Error> {
        match recv.read_chunk(CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => {
                decoder.push(&chunk.bytes);
                Ok(())
            }
            Ok(None) => Err(Error::new(Code::Disconnected, "the edge closed the stream")),
            Err(ReadError::ConnectionLost(error)) => Err(lost(&error)),
            Err(error) => Err(Error::caused(Code::Disconnected, "reading from the edge", error)),
        }
    }
}

async fn fetch(connection: quinn::Connection, request: BytesMut) -> Result<Page, Error> {
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    let failed = |error: &dyn std::fmt::Display| Error::new(Code::Disconnected, format!("a pull was cut off: {error}"));
    send.write_all(&request).await.map_err(|error| failed(&error))?;
    send.finish().map_err(|error| failed(&error))?;
    let mut decoder = Decoder::new(Framing::Plain, PAGE_FRAME_BYTES_MAX);
    let unreadable = |error: &dyn std::fmt::Display| Error::new(Code::Disconnected, format!("a page could not be read: {error}"));
    loop {
        if let Some(frame) = decoder.poll().map_err(|error| unreadable(&error))? {
            return Page::decode(&frame.body).map_err(|error| unreadable(&error));
        }
        match recv.read_chunk(CHUNK_BYTES, true).await.map_err(|error| failed(&error))? {
            Some(chunk) => decoder.push(&chunk.bytes),
            None => return Err(Error::new(Code::Disconnected, "a pull ended without a page")),
        }
    }
}

/// What the end of a connection means: an edge closes with the number of its reason.
fn lost(error: &ConnectionError) -> Error {
    if let ConnectionError::ApplicationClosed(close) = error
        && let Ok(ToClient::Bye(refusal)) = ToClient::decode(&close.reason)
        && u64::from(refusal.code.number()) == close.error_code.into_inner()
    {
        // One that takes no session says where to go.
        return Error::refused(refusal, None);
    }
    let code = match error {
        ConnectionError::ApplicationClosed(close) => match u16::try_from(close.error_code.into_inner()).ok().map(Code::from_number) {
            Some(code) if code.number() >= 1_000 => code,
            _ => Code::Disconnected,
        },
        ConnectionError::TimedOut => Code::Timeout,
        _ => Code::Disconnected,
    };
    Error::caused(code, "the connection to the edge ended", error.clone())
}

fn host_of(name: &str) -> &str {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
