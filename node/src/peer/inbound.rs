//! What a node does with what its peers send: implemented by the composition root.

use futures_util::future::BoxFuture;
use kith_wire::{
    client::Refusal,
    id::NodeId,
    peer::{Ask, Tell, Told},
};

use crate::clock::Instant;

/// Takes what comes over peer links, except raft traffic.
pub trait Inbound: Send + Sync + 'static {
    /// Answers a question of another node before the deadline. Runs up to its first wait in the order of arrival.
    fn ask(&self, from: NodeId, ask: Ask, deadline: Instant) -> BoxFuture<'static, Result<Told, Refusal>>;
    /// Takes news. Must not block.
    fn tell(&self, from: NodeId, tell: Tell);
    /// The link that this node opened to the other is up: tell it what it must know.
    fn link_up(&self, to: NodeId);
    /// That link is gone.
    fn link_down(&self, to: NodeId);
}
