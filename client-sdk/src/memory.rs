//! A store in memory: keeps a device for as long as the process lives.
//!
//! Bound: `keep` records of each channel, the newest; the oldest is dropped, and asked from the server when it is wanted again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, ready};
use kith_wire::{
    id::{ChannelId, Seq},
    log::{IndexRow, Record},
};

use crate::store::{Change, Cursor, Snapshot, Store, StoreFailed, StoredWrite};

/// The store in memory. Clones are the same store: keep one, and hand it to the next client of the same device.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    keep: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    meta: Snapshot,
    writes: BTreeMap<(ChannelId, u64), StoredWrite>,
    rows: HashMap<ChannelId, IndexRow>,
    records: HashMap<ChannelId, BTreeMap<Seq, Arc<Record>>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Self::KEEP)
    }
}

impl MemoryStore {
    /// Records kept of each channel unless told otherwise.
    pub const KEEP: usize = 1_000;

    /// A new device that keeps the newest `keep` records of each channel; `usize::MAX` keeps all, 0 none.
    pub fn new(keep: usize) -> Self {
        Self { keep, inner: Arc::default() }
    }

    /// Applies the changes at once.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let mut inner = self.lock();
        for change in changes {
            inner.apply(change, self.keep);
        }
    }
    pub(crate) fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            writes: inner.writes.values().cloned().collect(),
            rows: inner.rows.iter().map(|(id, row)| (*id, row.rev)).collect(),
            ..inner.meta.clone()
        }
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change leaves the maps whole, so a panic elsewhere under the lock spoils nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn apply(&mut self, change: Change, keep: usize) {
        match change {
            Change::Identity(identity) => self.meta.identity = Some(identity),
            Change::Conn(conn) => self.meta.conn = conn,
            Change::UserRev(rev) => self.meta.user_rev = rev,
            Change::Write(write) => {
                let numbers = self.meta.numbers.entry(write.channel).or_default();
                numbers.last = numbers.last.max(write.client_seq);
                self.writes.insert((write.channel, write.client_seq.get()), write);
            }
            Change::Settled { channel, client_seq, acked } => {
                self.writes.remove(&(channel, client_seq.get()));
                let numbers = self.meta.numbers.entry(channel).or_default();
                if acked {
                    numbers.acked = numbers.acked.max(client_seq);
                }
            }
            Change::Records(channel, records) => {
                if keep == 0 {
                    return;
                }
                let held = self.records.entry(channel).or_default();
                held.extend(records.into_iter().map(|record| (record.at.seq, record)));
                while held.len() > keep {
                    held.pop_first();
                }
            }
            Change::Cursor(channel, cursor) => {
                self.meta.cursors.insert(channel, cursor);
            }
            Change::Row(row) => {
                self.rows.insert(row.news.channel, row);
            }
            Change::Edges(edges) => self.meta.edges = edges,
        }
    }
}

impl Store for MemoryStore {
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreFailed>> {
        Box::pin(ready(Ok(self.snapshot())))
    }
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreFailed>> {
        self.apply(changes);
        Box::pin(ready(Ok(())))
    }
    fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Record>>, StoreFailed>> {
        let inner = self.lock();
        let found = match inner.records.get(&channel) {
            Some(held) if first <= last => held.range(first..=last).take(limit).map(|(_, record)| Arc::clone(record)).collect(),
            _ => Vec::new(),
        };
        Box::pin(ready(Ok(found)))
    }
    fn cursor(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Cursor>, StoreFailed>> {
        Box::pin(ready(Ok(self.lock().meta.cursors.get(&channel).copied())))
    }
    fn rows(&self) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreFailed>> {
        let mut rows: Vec<_> = self.lock().rows.values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.rev));
        Box::pin(ready(Ok(rows)))
    }
}
