//! Decoded rows that each message reads: they are not fetched and decoded again.
//!
//! Invariant (kept by `group`): an entry is what the database holds at the group's present `drops` count, for a key that no layer holds.
//! Bound: `Options::row_cache_bytes`; the least used make room.

use kith_machine::view::RowKey;
use kith_wire::id::GroupId;
use quick_cache::{Weighter, sync::Cache};

use crate::row::Weighed;

/// Names a row of one life of a group: an installed snapshot begins another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub(crate) group: GroupId,
    pub(crate) life: u64,
    pub(crate) key: RowKey,
}

#[derive(Clone)]
pub(crate) struct RowWeight;

impl Weighter<CacheKey, Weighed> for RowWeight {
    fn weight(&self, _: &CacheKey, row: &Weighed) -> u64 {
        row.bytes as u64
    }
}

/// Absent rows are kept as such.
pub(crate) type RowCache = Cache<CacheKey, Weighed, RowWeight>;

pub(crate) fn new(bytes: u64) -> RowCache {
    const ROW_BYTES: u64 = 512;
    Cache::with_weighter((bytes / ROW_BYTES) as usize, bytes, RowWeight)
}

/// Whether a row is worth keeping: small, and read with every message or session (that none is there is kept as well).
pub(crate) fn is_hot(key: &RowKey) -> bool {
    matches!(
        key,
        RowKey::Channel(_)
            | RowKey::Roster(_)
            | RowKey::Positions(..)
            | RowKey::Dedup(..)
            | RowKey::User(_)
            | RowKey::Index(..)
            | RowKey::GroupState
            | RowKey::Leaving
            | RowKey::Cluster
    )
}
