//! A snapshot between nodes: a stream of its own, so that it holds up nothing else.
//!
//! Layout: `SnapshotHead`, then `SnapshotChunk` frames in order, then `SnapshotEnd`; the receiver answers with one `SnapshotDone`, whose
//! body is a `FromPeer::Appended`. All frames carry a crc32. Bounds: two chunks in memory on each side.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use kith_raft::transport::{SnapshotPart, SnapshotSource, TransportError};
use kith_wire::{
    frame::{Decoder, Framing, Kind, encode},
    id::NodeId,
    limit,
    peer::{AppendAnswer, AppendResult, FromPeer, SnapshotEnd, SnapshotHead},
};
use tokio::sync::mpsc;

use super::{
    Shared,
    link::chain,
    stream::{StreamError, read_frame},
};

/// Sends a snapshot and waits until it is installed or refused.
pub(super) async fn send(
    connection: quinn::Connection,
    to: NodeId,
    head: SnapshotHead,
    source: Box<dyn SnapshotSource>,
) -> Result<AppendResult, TransportError> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
    // The reader blocks on the disk; it ends when its receiver is dropped.
    let reader = tokio::task::spawn_blocking(move || read_source(source, &chunks));
    let result = match transfer(&connection, head, receiver).await {
        Ok(result) => Ok(result),
        Err(error) => {
            tracing::warn!(peer = %to, cause = %chain(&error), "peer.snapshot not sent");
            Err(TransportError::Lost(to))
        }
    };
    match reader.await {
        Ok(true) => result,
        _ => Err(TransportError::Source(to)),
    }
}

fn read_source(mut source: Box<dyn SnapshotSource>, parts: &mpsc::Sender<SnapshotPart>) -> bool {
    loop {
        let part = match source.next_chunk() {
            Ok(Some(chunk)) => SnapshotPart::Chunk(chunk),
            Ok(None) => SnapshotPart::End(source.end()),
            Err(error) => {
                tracing::error!(cause = %chain(&error), "peer.snapshot cannot be read");
                return false;
            }
        };
        let last = matches!(part, SnapshotPart::End(_));
        if parts.blocking_send(part).is_err() || last {
            return true;
        }
    }
}

async fn transfer(connection: &quinn::Connection, head: SnapshotHead, mut parts: mpsc::Receiver<SnapshotPart>) -> Result<AppendResult, StreamError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // Below the link's own stream.
    let _ = send.set_priority(-1);
    let mut out = BytesMut::new();
    encode(Framing::Checked, Kind::SnapshotHead, &head.encode(), &mut out);
    loop {
        let wrote = tokio::time::timeout(CHUNK_MAX, send.write_chunk(out.split().freeze()));
        wrote.await.map_err(|_| StreamError::Timeout)??;
        match parts.recv().await {
            Some(SnapshotPart::Chunk(chunk)) => encode(Framing::Checked, Kind::SnapshotChunk, &chunk, &mut out),
            Some(SnapshotPart::End(end)) => {
                encode(Framing::Checked, Kind::SnapshotEnd, &end.encode(), &mut out);
                break;
            }
            None => {
                let _ = send.reset(quinn::VarInt::from_u32(0));
                return Err(StreamError::Content("the snapshot cannot be read"));
            }
        }
    }
    send.write_chunk(out.freeze()).await?;
    let _ = send.finish();
    let mut decoder = Decoder::new(Framing::Checked, limit::PEER_FRAME_BYTES_MAX);
    let frame = tokio::time::timeout(INSTALL_MAX, read_frame(&mut recv, &mut decoder)).await.map_err(|_| StreamError::Timeout)??;
    let frame = frame.ok_or(StreamError::Ended)?;
    match (frame.kind, FromPeer::decode(&frame.body)?) {
        (Kind::SnapshotDone, FromPeer::Appended(answer)) => Ok(answer.result),
        _ => Err(StreamError::Content("a snapshot's answer of another kind")),
    }
}

/// Receives one snapshot.
pub(super) async fn receive(shared: Arc<Shared>, from: NodeId, mut send: quinn::SendStream, mut recv: quinn::RecvStream) {
    match receive_parts(&shared, from, &mut send, &mut recv).await {
        Ok(()) => {}
        // Whoever sent it leads no more: nobody waits for the answer.
        Err(StreamError::Write(quinn::WriteError::Stopped(_))) => {
            tracing::debug!(node = %shared.me.node, peer = %from, "peer.snapshot: its sender has given up");
        }
        Err(error) => tracing::warn!(node = %shared.me.node, peer = %from, cause = %chain(&error), "peer.snapshot not received"),
    }
}

async fn receive_parts(shared: &Shared, from: NodeId, send: &mut quinn::SendStream, recv: &mut quinn::RecvStream) -> Result<(), StreamError> {
    let mut decoder = Decoder::new(Framing::Checked, limit::PEER_FRAME_BYTES_MAX);
    let frame = next(recv, &mut decoder).await?;
    if frame.kind != Kind::SnapshotHead {
        return Err(StreamError::Content("a stream that begins with no snapshot head"));
    }
    if !shared.allowed(from) {
        return Err(StreamError::Content("cut off"));
    }
    let head = SnapshotHead::decode(&frame.body)?;
    let group = head.group;
    let (parts, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let feed = async {
        loop {
            let frame = next(recv, &mut decoder).await?;
            let part = match frame.kind {
                Kind::SnapshotChunk => SnapshotPart::Chunk(frame.body),
                Kind::SnapshotEnd => SnapshotPart::End(SnapshotEnd::decode(&frame.body)?),
                _ => return Err(StreamError::Content("a frame that is no part of a snapshot")),
            };
            let last = matches!(part, SnapshotPart::End(_));
            if parts.send(part).await.is_err() || last {
                break;
            }
        }
        drop(parts);
        Ok(())
    };
    let install = shared.inbound().ok_or(StreamError::Ended)?.snapshot(from, head, receiver);
    let (fed, result) = tokio::join!(feed, install);
    fed?;
    let mut out = BytesMut::new();
    let answer = FromPeer::Appended(AppendAnswer { group, session: 0, result });
    encode(Framing::Checked, Kind::SnapshotDone, &answer.encode(), &mut out);
    send.write_chunk(out.freeze()).await?;
    let _ = send.finish();
    let _ = tokio::time::timeout(CHUNK_MAX, send.stopped()).await;
    Ok(())
}

async fn next(recv: &mut quinn::RecvStream, decoder: &mut Decoder) -> Result<kith_wire::frame::Frame, StreamError> {
    let frame = tokio::time::timeout(CHUNK_MAX, read_frame(recv, decoder)).await.map_err(|_| StreamError::Timeout)??;
    frame.ok_or(StreamError::Ended)
}

/// Chunks in memory between disk and network.
const CHUNKS_AHEAD: usize = 2;
/// For one chunk, either way.
const CHUNK_MAX: Duration = Duration::from_secs(20);
/// From the last chunk to the answer.
const INSTALL_MAX: Duration = Duration::from_secs(120);
