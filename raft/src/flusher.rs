//! The node-level flusher: makes applied state durable now and then, and lets logs be purged behind it.
//!
//! In: the open groups. Out: a flush of the state database, and a snapshot trigger for each group whose log is long. Invariant: openraft
//! never purges past what [`Durable`] says, which is read before a flush and set after it succeeded. A snapshot of ours is only this
//! pointer; the bytes are made when a follower asks. Bounds: a log keeps so many entries behind the flushed state, and about so many bytes of
//! them, one round later. Not here: the timer (`registry`), installing (`snapshot`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kith_wire::{
    id::{GroupId, LogIndex},
    log::Applied,
};
use openraft::async_runtime::watch::WatchReceiver as _;

use crate::{
    config::Retention,
    disk::{Disk, off_lane},
    group::GroupHandle,
};

/// Up to where a group's state is on the disk for sure; nothing before the first flush.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable(Arc<Mutex<Option<Applied>>>);

impl Durable {
    pub(crate) fn get(&self) -> Option<Applied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(crate) fn set(&self, applied: Applied) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(applied);
    }
}

pub(crate) struct Flusher {
    storage: Arc<dyn Disk>,
    retention: Retention,
    durable: Mutex<HashMap<GroupId, Durable>>,
    round: tokio::sync::Mutex<()>,
}

impl Flusher {
    pub(crate) fn new(storage: Arc<dyn Disk>, retention: Retention) -> Self {
        Self { storage, retention, durable: Mutex::default(), round: tokio::sync::Mutex::default() }
    }

    pub(crate) fn durable(&self, group: GroupId) -> Durable {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).entry(group).or_default().clone()
    }

    /// The group is closed: what comes under its number next has another life.
    pub(crate) fn forget(&self, group: GroupId) {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(&group);
    }

    /// One round over these groups. A failed flush is the store's to report; no log is purged then.
    pub(crate) async fn round(&self, groups: &[GroupHandle]) {
        let _round = self.round.lock().await;
        let marks = groups.iter().map(|group| (group, group.0.state.applied())).collect::<Vec<_>>();
        let storage = Arc::clone(&self.storage);
        match off_lane(storage.blocks(), move || storage.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(cause = %error, "state was not flushed");
                return;
            }
            Err(join) => {
                tracing::error!(cause = %join, "the flush panicked");
                return;
            }
        }
        for (group, applied) in marks {
            let Some(last) = applied.last else { continue };
            self.durable(group.id()).set(applied);
            let purged = group.raft().metrics().borrow_watched().purged.map_or(0, |id| id.index);
            let held = last.index.get().saturating_sub(purged);
            let too_heavy = self.too_heavy(group.id(), purged, last.index.get());
            if too_heavy.is_some() || held >= self.retention.keep_entries + self.retention.purge_entries_min {
                // A stopped group needs no purge.
                let _ = group.raft().trigger().snapshot().await;
            }
            if let Some(upto) = too_heavy {
                // Never past the pointer that stands: what is new in this one goes with the next round.
                let _ = group.raft().trigger().purge_log(upto).await;
            }
        }
    }

    /// Up to where entries must go so that the rest is no heavier than what a log keeps.
    fn too_heavy(&self, group: GroupId, purged: u64, last: u64) -> Option<u64> {
        let weight = |from: u64| self.storage.log().bytes(group, LogIndex::new(from)..=LogIndex::new(last));
        let is_light = |from: u64| weight(from) <= self.retention.keep_bytes;
        if last <= purged || is_light(purged + 1) {
            return None;
        }
        let upto = first_that(purged + 1, last, is_light) - 1;
        (upto - purged >= self.retention.purge_entries_min.min(PURGE_HEAVY_MIN)).then_some(upto)
    }
}

/// Fewest heavy entries worth a purge.
const PURGE_HEAVY_MIN: u64 = 64;

/// The first of `from..=to` for which it holds, as it does for all after the first; `to` if for none.
fn first_that(mut from: u64, mut to: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::first_that;

    #[test]
    fn the_first_that_is_light_is_found() {
        for (from, to, first) in [(1, 1, 1), (1, 9, 1), (1, 9, 5), (1, 9, 9), (7, 8, 8), (3, 1_000_000, 77_777)] {
            assert_eq!(first_that(from, to, |index| index >= first), first);
        }
        assert_eq!(first_that(1, 9, |_| false), 9, "of a log whose last entry is too heavy by itself, that one is kept");
    }
}
