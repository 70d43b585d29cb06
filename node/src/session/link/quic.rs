//! A session over QUIC: the chat stream and each bulk stream are streams of their own, opened by the client.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kith_wire::{code::Code, peer::Caller};
use quinn::{Connection, RecvStream, SendStream};

use super::{ChatRecv, ChatSend, Link, Read, web::Preface};
use crate::session::{driver::SessionParts, out::Out, pull};

/// Chunks of one write.
const CHUNKS_PER_WRITE: usize = 64;
/// Bytes asked of the stream in one read.
const READ_BYTES: usize = 64 * 1024;

impl Link for Connection {
    type Send = SendStream;
    type Recv = RecvStream;

    fn remote(&self) -> IpAddr {
        self.remote_address().ip()
    }
    fn heard(&self) -> Option<(u64, Duration)> {
        Some((self.stats().udp_rx.datagrams, self.rtt()))
    }
    fn serve_pulls(&mut self, parts: Arc<SessionParts>, caller: Caller) -> BoxFuture<'static, ()> {
        Box::pin(pull::serve(parts, self.clone(), Preface::None, caller))
    }
    fn close(&self, code: Code) {
        Self::close(self, Preface::None.number(code), code.text().as_bytes());
    }
}

impl ChatSend for SendStream {
    fn is_wanted(&self, out: &Out) -> bool {
        !out.is_empty()
    }
    async fn write(&mut self, out: &mut Out) -> bool {
        let mut chunks = out.chunks(CHUNKS_PER_WRITE);
        let Ok(written) = self.write_chunks(&mut chunks).await else { return false };
        out.sent(written.bytes);
        true
    }
    async fn finish(&mut self, _: Code) {
        if Self::finish(self).is_ok() {
            let _ = self.stopped().await;
        }
    }
}

impl ChatRecv for RecvStream {
    async fn read(&mut self) -> Read {
        match self.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => Read::Bytes(chunk.bytes),
            Ok(None) | Err(_) => Read::Over,
        }
    }
    async fn ended(&mut self) {}
}
