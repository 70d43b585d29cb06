//! What every reader of a group may see: only rows of buckets that the group owns ([`kith_machine::moving::served`]).
//!
//! In: readers of one moment, entries that change what lies here. Out: the same readers, behind what is owned at their moment. Invariant: what is
//! kept from an earlier reader is used only for one with the same rows of ownership: an entry that changes them is noted before any
//! reader shows it. A group that never gave a bucket and awaits none pays two comparisons a reader. Not here: what a move is (kith-machine).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use kith_machine::{
    moving::served::{Served, among_others},
    own::Owned,
    view::{RowKey, ViewError, WriteSet},
};
use kith_wire::{
    id::LogIndex,
    log::{Applied, LogId},
};

use crate::disk::{Moment, Reader};

/// What a replica owns, as its readers last found it.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    /// Past the last entry that changed a row of it, as far as this process knows.
    changed: AtomicU64,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    /// Past the last entry that its reader showed.
    at: u64,
    /// `None`: nothing lies here but what is owned.
    others: Option<Arc<Owned>>,
}

impl Ownership {
    /// An entry is about to be shown to readers.
    pub(crate) fn note(&self, index: LogIndex, writes: &WriteSet) {
        if writes.rows.keys().any(|key| matches!(key, RowKey::Owned(..) | RowKey::Staging(_))) {
            self.note_all(index);
        }
    }
    /// All rows are about to be others.
    pub(crate) fn note_all(&self, index: LogIndex) {
        self.changed.fetch_max(index.get() + 1, Ordering::AcqRel);
    }
    /// The reader without what is not owned at its moment.
    pub(crate) fn served(&self, reader: Reader) -> Result<Reader, ViewError> {
        let at = past(reader.applied().last);
        // After the reader was made: whatever it shows was noted before.
        let changed = self.changed.load(Ordering::Acquire);
        let known = self.lock().clone().filter(|known| known.at >= changed && at >= changed);
        let others = match known {
            Some(known) => known.others,
            None => {
                let others = among_others(&reader)?;
                let mut held = self.lock();
                if held.as_ref().is_none_or(|held| held.at <= at) {
                    *held = Some(Known { at, others: others.clone() });
                }
                others
            }
        };
        Ok(match others {
            Some(owned) => Reader::new(Served::of(reader, owned)),
            None => reader,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        // One assignment only.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it has applied, counted from 1; 0: nothing.
fn past(last: Option<LogId>) -> u64 {
    last.map_or(0, |last| last.index.get() + 1)
}

impl Moment for Served<Reader> {
    fn applied(&self) -> &Applied {
        self.whole().applied()
    }
}
