//! Bulk streams of a session: one Pull frame in, one Page frame out, each on a stream that the client opened: of QUIC's own, be it WebTransport's
//! ([`serve`]), or a numbered one of a WebSocket ([`answer`]).
//!
//! Bounds: `limit::SESSION_PULLS_MAX` at once, the next waits in the transport; each has a deadline for its frame, its page and its
//! sending. A stream that is not a pull is reset. Not here: what a page holds (`service`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_wire::{
    client::{Page, Pull},
    code::Code,
    frame, limit,
    peer::Caller,
};
use quinn::{Connection, RecvStream, SendStream};

use super::{
    codec,
    driver::{SessionParts, refusal_code},
    link::web::Preface,
};
use crate::router::refuse;

/// A pull, from its stream's opening until its page was taken by the transport.
const PULL_WITHIN: Duration = Duration::from_secs(60);
/// The service has at most so long for a page.
const PAGE_WITHIN: Duration = Duration::from_secs(10);
/// A pull frame is small.
const PULL_BYTES_MAX: usize = 4 * 1024;

/// Serves bulk streams until the connection ends or this is dropped.
pub(super) async fn serve(parts: Arc<SessionParts>, conn: Connection, preface: Preface, caller: Caller) {
    let mut running: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    loop {
        // Both branches are cancel safe.
        tokio::select! {
            Some(()) = running.next(), if !running.is_empty() => {}
            opened = conn.accept_bi(), if running.len() < limit::SESSION_PULLS_MAX => {
                let Ok((send, recv)) = opened else { return };
                let (parts, caller) = (parts.clone(), caller.clone());
                running.push(Box::pin(async move {
                    // A client that opens streams and says nothing, or does not read its page, loses the stream.
                    let _ = tokio::time::timeout(PULL_WITHIN, one(parts, caller, preface, send, recv)).await;
                }));
            }
        }
    }
}

async fn one(parts: Arc<SessionParts>, caller: Caller, preface: Preface, mut send: SendStream, mut recv: RecvStream) {
    let mut decoder = fresh_decoder();
    let is_ours = preface.take(&mut recv).await;
    let pull = loop {
        if !is_ours {
            break None;
        }
        match decoder.poll() {
            Ok(Some(frame)) => break codec::pull(&frame),
            Ok(None) => {}
            Err(_) => break None,
        }
        match recv.read_chunk(PULL_BYTES_MAX, true).await {
            Ok(Some(chunk)) => decoder.push(&chunk.bytes),
            Ok(None) | Err(_) => break None,
        }
    };
    let Some(pull) = pull else {
        let code = preface.number(Code::BadFrame);
        let _ = recv.stop(code);
        let _ = send.reset(code);
        return;
    };
    let page = page(&parts, caller, pull).await;
    let _ = send.set_priority(0);
    if send.write_chunk(page).await.is_ok() {
        let _ = send.finish();
    }
}

/// The page, as a frame, for a pull whose frame came whole; one that cannot be read is refused.
pub(super) async fn answer(parts: &SessionParts, caller: Caller, bytes: &[u8]) -> Bytes {
    let mut decoder = fresh_decoder();
    decoder.push(bytes);
    match decoder.poll() {
        Ok(Some(frame)) if decoder.buffered() == 0 => match codec::pull(&frame) {
            Some(pull) => page(parts, caller, pull).await,
            None => refused(parts, Code::BadFrame),
        },
        _ => refused(parts, Code::BadFrame),
    }
}

async fn page(parts: &SessionParts, caller: Caller, pull: Pull) -> Bytes {
    let deadline = parts.clock.instant() + PAGE_WITHIN;
    let page = tokio::time::timeout(PAGE_WITHIN, parts.requests.pull(caller, pull, deadline)).await;
    match page {
        Ok(page) => given(parts, &page),
        Err(_) => refused(parts, Code::Timeout),
    }
}

fn refused(parts: &SessionParts, code: Code) -> Bytes {
    given(parts, &Page::Refused(refuse(code)))
}

fn given(parts: &SessionParts, page: &Page) -> Bytes {
    if let Page::Refused(refusal) = page {
        tracing::debug!(code = refusal_code(refusal), "session.pull refused");
    }
    parts.session_metrics.pages.inc();
    codec::page(page)
}

fn fresh_decoder() -> frame::Decoder {
    frame::Decoder::new(codec::FRAMING, PULL_BYTES_MAX)
}
