//! What a node does with what its peers send: implemented by the composition root.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kith_raft::transport::SnapshotPart;
use kith_wire::{
    client::Refusal,
    id::{GroupId, NodeId},
    peer::{Append, AppendAnswer, AppendResult, Ask, Beat, SnapshotHead, Tell, Told},
};
use tokio::sync::mpsc;

use crate::clock::Instant;

/// Where the answers to a link's appends go, in order. Never blocks.
pub type AppendAnswers = Arc<dyn Fn(AppendAnswer) + Send + Sync>;

/// Takes what comes over peer links. Nothing here blocks; what takes time is in the returned futures.
pub trait Inbound: Send + Sync + 'static {
    /// Answers a question of another node before the deadline. The futures of one link are first polled in the order of arrival.
    fn ask(&self, from: NodeId, ask: Ask, deadline: Instant) -> BoxFuture<'static, Result<Told, Refusal>>;
    /// Takes news: fan-out and the end of sessions.
    fn tell(&self, from: NodeId, tell: Tell);
    /// Raft: one append of a session; `link` names the accepted connection, and rises with each new one.
    fn append(&self, from: NodeId, link: u64, append: Append, answers: AppendAnswers);
    /// Raft: the sender ended a session.
    fn append_end(&self, from: NodeId, link: u64, group: GroupId, session: u64);
    /// Raft: an accepted connection is gone, and its sessions with it.
    fn append_link_closed(&self, from: NodeId, link: u64);
    /// Raft: an answer to an append that this node sent.
    fn appended(&self, from: NodeId, answer: AppendAnswer);
    /// Raft: a snapshot, received until its end was handed over; a receiver that closes before means that the sender is gone.
    fn snapshot(&self, from: NodeId, head: SnapshotHead, parts: mpsc::Receiver<SnapshotPart>) -> BoxFuture<'static, AppendResult>;
    /// What this node's own beats say now.
    fn beat(&self) -> Beat;
    /// A beat of another node was heard.
    fn heard(&self, from: NodeId, beat: &Beat);
    /// The link that this node opened to the other is up: tell it what it must know.
    fn link_up(&self, to: NodeId);
    /// That link is gone.
    fn link_down(&self, to: NodeId);
}
