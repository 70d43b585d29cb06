//! A read of a mutant: who may read comes from a view that is up to [`KEPT`] older than the one that the rows come from. See `kith_machine::mutant`.
//!
//! In: a replica, and its rows as they are. Out: a view in which the two do not fit. Without the feature `mutants` nothing of it is called.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_machine::view::{Row, RowKey, Scan, StateView, ViewError};
use kith_raft::{GroupHandle, Reader};
use kith_wire::{client::Refusal, id::GroupId};

use super::local::view;
use crate::clock::Instant;

/// How long a view is kept.
const KEPT: Duration = Duration::from_millis(700);

/// Views of a moment ago.
#[derive(Clone, Default)]
pub(super) struct Earlier(Arc<Mutex<HashMap<GroupId, Read>>>);

type Read = (Instant, Arc<Reader>);

impl std::fmt::Debug for Earlier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Earlier(..)")
    }
}

impl Earlier {
    /// The group's rows, with the members of a while ago.
    pub(super) fn over(&self, handle: &GroupHandle, rows: Reader, now: Instant) -> Result<Patchwork, Refusal> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = kept.get(&handle.id()).filter(|(at, _)| now < *at + KEPT).map(|(_, members)| members.clone());
        let members = match old {
            Some(members) => members,
            None => {
                let members = Arc::new(view(handle)?);
                kept.insert(handle.id(), (now, members.clone()));
                members
            }
        };
        Ok(Patchwork { members, rows })
    }
}

/// Two views as one.
pub(super) struct Patchwork {
    members: Arc<Reader>,
    rows: Reader,
}

impl StateView for Patchwork {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        match key {
            RowKey::Roster(channel) | RowKey::Former(channel, _) if self.members.get(&RowKey::Channel(*channel))?.is_some() => self.members.get(key),
            _ => self.rows.get(key),
        }
    }
    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        self.rows.scan(scan, reverse, limit)
    }
}
