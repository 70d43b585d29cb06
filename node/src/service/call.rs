//! Calls under a key, in their caller's home: what was answered once is answered again, over any node.
//!
//! In: a key and the digest of what was asked. Out: the answer that was given to it before, or leave to do it. What is done between
//! [`begin`] and [`end`] must be idempotent itself: a node that dies in the middle leaves it to the retry. Not here: writes to a channel,
//! which carry their key into the channel's own log.

use bytes::Bytes;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{CallKey, UserId},
    peer::{Inner, InnerAnswer},
};

use crate::{
    clock::Instant,
    router::{Router, refuse},
};

/// Begins a call, or gives what was answered to it.
///
/// # Errors
/// `Conflict`: something else was asked under this key. `Busy`: someone is at it. `TooOld`, `Invalid`: the time in the key.
pub async fn begin(router: &Router, user: UserId, key: CallKey, digest: u64, deadline: Instant) -> Result<Option<Bytes>, Refusal> {
    match router.inner(user.bucket(), Inner::BeginCall { user, key, digest }, deadline).await? {
        InnerAnswer::Call { answer } => Ok(answer),
        _ => Err(refuse(Code::Internal)),
    }
}

/// Keeps the answer to a call; an empty one leaves it to the next who asks.
///
/// # Errors
/// It was never begun, the answer is too large to be kept, or the home has no leader.
pub async fn end(router: &Router, user: UserId, key: CallKey, answer: Bytes, deadline: Instant) -> Result<(), Refusal> {
    router.inner(user.bucket(), Inner::EndCall { user, key, answer }, deadline).await.map(|_| ())
}
