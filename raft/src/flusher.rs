//! The node-level flusher: makes applied state durable now and then, and lets logs be purged behind it.
//!
//! In: the open groups. Out: a flush of the state database, and a snapshot trigger for each group whose log is long. Invariant: openraft
//! never purges past what [`Durable`] says, which is read before a flush and set after it succeeded. A snapshot of ours is only this
//! pointer; the bytes are made when a follower asks. Not here: the timer (`registry`), installing (`snapshot`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kith_wire::{id::GroupId, log::Applied};
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
            if last.index.get().saturating_sub(purged) >= self.retention.keep_entries + self.retention.purge_entries_min {
                // A stopped group needs no purge.
                let _ = group.raft().trigger().snapshot().await;
            }
        }
    }
}
