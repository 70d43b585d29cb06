//! A QUIC connection: the chat stream and pulls on streams of their own.
//!
//! In: frames, pulls. Out: bytes of frames, pages. Not here: which way is taken (`link`), frames (`kith_wire::frame`).

use bytes::{Buf, BytesMut};
use kith_wire::{
    client::{Page, ToClient},
    code::Code,
    frame::{Decoder, Framing},
    limit::PAGE_FRAME_BYTES_MAX,
};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::{CHUNK_BYTES, Failed, Place};
use crate::{error::Error, status::Traffic};

pub(super) struct Quic {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
}

/// Small frames go before bulk.
const CHAT_PRIORITY: i32 = 10;

pub(super) async fn open(place: Place<'_>) -> Result<Quic, Failed> {
    let connecting = place
        .endpoint
        .quic
        .connect_with(place.trust.quic.clone(), place.address, place.host)
        .map_err(|error| Failed::unheard(Error::caused(Code::Disconnected, "connecting to the edge", error)))?;
    let failed = |error: ConnectionError| Failed { was_heard: !matches!(error, ConnectionError::TimedOut), error: lost(&error) };
    let connection = connecting.await.map_err(failed)?;
    let (send, recv) = connection.open_bi().await.map_err(failed)?;
    // Fails only for a stream that is closed, which the first write will tell.
    let _ = send.set_priority(CHAT_PRIORITY);
    Ok(Quic { connection, send, recv })
}

impl Quic {
    /// Cancel safe.
    pub(super) async fn poll(&mut self, pending: &mut BytesMut, decoder: &mut Decoder) -> Result<(), Error> {
        let Self { send, recv, .. } = self;
        loop {
            if pending.is_empty() {
                if pending.capacity() > CHUNK_BYTES {
                    *pending = BytesMut::new();
                }
                return read(recv, decoder).await;
            }
            // Both are cancel safe (quinn: "if this does not resolve, no bytes were written", "cannot lead to loss of stream data").
            tokio::select! {
                read = read(recv, decoder) => return read,
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
    pub(super) fn connection(&self) -> quinn::Connection {
        self.connection.clone()
    }
    pub(super) fn traffic(&self) -> Traffic {
        let stats = self.connection.stats();
        Traffic {
            sent_bytes: stats.udp_tx.bytes,
            sent_packets: stats.udp_tx.datagrams,
            received_bytes: stats.udp_rx.bytes,
            received_packets: stats.udp_rx.datagrams,
        }
    }
    pub(super) fn close(&self) {
        self.connection.close(VarInt::from_u32(0), b"closed by the app");
    }
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

pub(super) async fn fetch(connection: quinn::Connection, request: BytesMut) -> Result<Page, Error> {
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
