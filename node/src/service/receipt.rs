//! Positions that other members may see, coalesced: the newest of each member and channel, sent at most once a second.
//!
//! In: read and delivered positions of this node's clients. Out: receipts at the channels' leaders. Latest values: one that is lost is
//! followed by a larger one. Bounds: [`WAITING_MAX`] channels and members; beyond it a new one is dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kith_wire::{
    client::{Refusal, Request},
    id::{ChannelId, UserId},
    log::Position,
    peer::{Caller, Inner},
};

use crate::router::Router;

/// What waits to be sent.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    waiting: Arc<Mutex<BTreeMap<(ChannelId, UserId), Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    read: Option<Position>,
    delivered: Option<Position>,
}

impl Receipts {
    /// Notes a delivered position.
    pub fn delivered(&self, caller: &Caller, channel: ChannelId, delivered: Position) {
        self.note(caller, channel, |waiting| waiting.delivered = waiting.delivered.max(Some(delivered)));
    }
    /// Notes a read position, for the other members.
    pub fn read(&self, caller: &Caller, channel: ChannelId, read: Position) {
        self.note(caller, channel, |waiting| waiting.read = waiting.read.max(Some(read)));
    }
    fn note(&self, caller: &Caller, channel: ChannelId, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&(channel, caller.user)) {
            return;
        }
        let new = || Waiting { caller: caller.clone(), read: None, delivered: None };
        change(waiting.entry((channel, caller.user)).or_insert_with(new));
    }
    /// Sends what waits, once a second.
    pub async fn run(self, router: Router) {
        let mut ticks = tokio::time::interval(SEND_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            stream::iter(waiting).for_each_concurrent(AT_ONCE_MAX, |((channel, _), waiting)| send(&router, channel, waiting)).await;
        }
    }
}

async fn send(router: &Router, channel: ChannelId, waiting: Waiting) {
    let deadline = router.clock().instant() + SEND_MAX;
    let Waiting { caller, read, delivered } = waiting;
    let not_taken = |refusal: Refusal| tracing::debug!(code = %refusal.code, "service.receipt not taken");
    if let Some(read) = read {
        let receipt = Inner::Receipt { channel, user: caller.user, read };
        router.inner(channel.bucket(), receipt, deadline).await.map_or_else(not_taken, drop);
    }
    if let Some(delivered) = delivered {
        let request = Request::Delivered { channel, delivered };
        router.forward(&caller, channel.bucket(), request, deadline).await.map_or_else(not_taken, drop);
    }
}

/// Channels and members that wait.
const WAITING_MAX: usize = 65_536;
/// Between two rounds.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// Sent at once.
const AT_ONCE_MAX: usize = 64;
/// For one to be taken.
const SEND_MAX: Duration = Duration::from_secs(3);
