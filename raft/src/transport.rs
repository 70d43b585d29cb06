//! The seam to the network: what kith-raft needs of the links between nodes, and nothing more.
//!
//! In: asks, tells and snapshots for another node. Out: answers, or a typed failure. A transport keeps the order of tells to one
//! peer for as long as a link lasts, and may lose all of them when it breaks; `Groups::handle_*` is the way back in.
//! Not here: connections, TLS, framing (the node's peer links); deadlines of append sessions (`session`).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kith_wire::{
    client::Refusal,
    id::NodeId,
    peer::{AppendResult, Ask, SnapshotEnd, SnapshotHead, Tell, Told},
};
use thiserror::Error;

/// Why a message did not reach a peer, or its answer did not come back.
#[derive(Clone, Debug, Error)]
pub enum TransportError {
    /// There is no link to the peer now.
    #[error("no link to node {0}")]
    Unreachable(NodeId),
    /// The link is there, but its queue is full.
    #[error("the link to node {0} is full")]
    Full(NodeId),
    /// No answer in time.
    #[error("no answer of node {0} in time")]
    Timeout(NodeId),
    /// The link broke before the answer came.
    #[error("the link to node {0} was lost")]
    Lost(NodeId),
    /// The peer answered with a refusal.
    #[error("node {0} refused")]
    Refused(NodeId, Refusal),
    /// What was to be sent could not be read.
    #[error("cannot read what was to be sent to node {0}")]
    Source(NodeId),
}

/// The rows of a group on their way out: chunks in order, then what the receiver checks.
pub trait SnapshotSource: Send {
    /// The next chunk, at most [`kith_wire::limit::SNAPSHOT_CHUNK_BYTES`] and one row; `None` after the last.
    ///
    /// # Errors
    /// A row cannot be read: the snapshot must be given up.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotReadError>;
    /// Rows and checksum of all chunks so far: valid after the last one.
    fn end(&self) -> SnapshotEnd;
}

/// A snapshot cannot be read on.
#[derive(Debug, Error)]
#[error("cannot read the snapshot of a group")]
pub struct SnapshotReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A snapshot on its way in: what the transport hands over while it receives.
#[derive(Clone, PartialEq, Debug)]
pub enum SnapshotPart {
    /// A chunk, in order.
    Chunk(Bytes),
    /// All chunks were handed over.
    End(SnapshotEnd),
}

/// Links to other nodes. Cheap to call: nothing here waits, except in the futures it returns.
pub trait PeerTransport: Send + Sync + 'static {
    /// Asks a peer, and waits at most `within` for the answer.
    fn ask(&self, to: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>>;
    /// Tells a peer; queued, in order, never waits.
    ///
    /// # Errors
    /// There is no link, or its queue is full: nothing was sent.
    fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError>;
    /// Sends a snapshot over a stream of its own and waits until the peer has installed or refused it. Dropping the future cancels it.
    /// Reads the source off the hot path: it blocks on the disk.
    fn send_snapshot(
        &self,
        to: NodeId,
        head: SnapshotHead,
        source: Box<dyn SnapshotSource>,
    ) -> BoxFuture<'static, Result<AppendResult, TransportError>>;
}
