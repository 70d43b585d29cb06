//! A store in memory: keeps a device for as long as the process lives.
//!
//! Bound: `keep` records of each channel, the newest; the oldest is dropped, and asked from the server when it is wanted again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::{BoxFuture, ready};
use kith_wire::{
    id::{ChannelId, Seq},
    log::{IndexRow, Position, Record},
};

use crate::{
    amend::{Touches, amended, touches},
    span::Spans,
    store::{Change, Cursor, Parked, Snapshot, Span, Store, StoreFailed, StoredWrite},
};

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
    parked: BTreeMap<(ChannelId, u64), Parked>,
    rows: HashMap<ChannelId, IndexRow>,
    /// Own read positions that were acked, perhaps before the row that says so has come.
    reads: HashMap<ChannelId, Position>,
    records: HashMap<ChannelId, BTreeMap<Seq, Arc<Record>>>,
    /// Parts of histories besides the ones that grow.
    spans: HashMap<ChannelId, Spans>,
    /// Below it the records that grew were dropped.
    kept: HashMap<ChannelId, Seq>,
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
            parked: inner.parked.values().cloned().collect(),
            rows: inner.rows.iter().map(|(id, row)| (*id, row.rev)).collect(),
            ..inner.meta.clone()
        }
    }
    /// Every row of the index, newest first.
    pub(crate) fn index(&self) -> Vec<IndexRow> {
        let inner = self.lock();
        let mut rows: Vec<_> = inner.rows.values().cloned().collect();
        for row in &mut rows {
            if let Some(read) = inner.reads.get(&row.news.channel).filter(|read| row.read.seq < read.seq) {
                row.read = *read;
            }
        }
        rows.sort_by_key(|row| (std::cmp::Reverse(row.rev), row.news.channel));
        rows
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
            Change::Parked { channel, client_seq, code, why } => {
                if let Some(write) = self.writes.remove(&(channel, client_seq.get())) {
                    self.parked.insert((channel, client_seq.get()), Parked { write, code, why });
                }
            }
            Change::Dropped(channel, client_seq) => drop(self.parked.remove(&(channel, client_seq.get()))),
            Change::Records(channel, records) => {
                if keep == 0 {
                    return;
                }
                let held = self.records.entry(channel).or_default();
                for record in records {
                    amend(held, &record);
                    held.insert(record.at.seq, record);
                }
                self.trim(channel, keep);
            }
            Change::History { channel, records, span, head } => {
                if keep == 0 {
                    return;
                }
                let held = self.records.entry(channel).or_default();
                let later: Vec<_> =
                    held.range((Excluded(head), Unbounded)).map(|(_, by)| Arc::clone(by)).filter(|by| touches(by) != Touches::Nothing).collect();
                for mut record in records {
                    if held.contains_key(&record.at.seq) {
                        continue;
                    }
                    for by in &later {
                        record = amended(&record, by).unwrap_or(record);
                    }
                    held.insert(record.at.seq, record);
                }
                if let Some(dropped) = self.spans.entry(channel).or_default().add(span) {
                    held.retain(|seq, _| !dropped.contains(*seq));
                }
                self.trim(channel, keep);
            }
            Change::Cursor(channel, cursor) => {
                self.meta.cursors.insert(channel, cursor);
            }
            Change::Row(row) => {
                let (channel, incarnation) = (row.news.channel, row.news.incarnation);
                let old = self.rows.insert(channel, row);
                if old.is_some_and(|old| old.news.incarnation < incarnation) {
                    // It may lie in a tail that was lost.
                    self.reads.remove(&channel);
                }
            }
            Change::Read(channel, read) => {
                let held = self.reads.entry(channel).or_default();
                if read.seq > held.seq {
                    *held = read;
                }
            }
            Change::Edges(edges) => self.meta.edges = edges,
        }
    }
    /// Drops the oldest records of a channel until so many are left.
    fn trim(&mut self, channel: ChannelId, keep: usize) {
        let Some(held) = self.records.get_mut(&channel) else { return };
        let mut dropped = None;
        while held.len() > keep {
            dropped = held.pop_first();
        }
        if let Some((seq, _)) = dropped {
            let kept = self.kept.entry(channel).or_default();
            *kept = (*kept).max(seq.next());
            if let Some(spans) = self.spans.get_mut(&channel) {
                spans.trim_below(seq.next());
            }
        }
    }
    fn spans(&self, channel: ChannelId, keep: usize) -> Vec<Span> {
        let growing = self.meta.cursors.get(&channel).filter(|_| keep > 0).and_then(|cursor| {
            let kept = self.kept.get(&channel).copied().unwrap_or_default();
            Span::new(cursor.from.max(kept), cursor.max)
        });
        self.spans.get(&channel).cloned().unwrap_or_default().with(growing)
    }
}

/// Keeps what a record leaves of older ones.
fn amend(held: &mut BTreeMap<Seq, Arc<Record>>, by: &Record) {
    if touches(by) != Touches::Nothing {
        for record in held.values_mut() {
            if let Some(left) = amended(record, by) {
                *record = left;
            }
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
        Box::pin(ready(Ok(self.index())))
    }
    fn spans(&self, channel: ChannelId) -> BoxFuture<'_, Result<Vec<Span>, StoreFailed>> {
        Box::pin(ready(Ok(self.lock().spans(channel, self.keep))))
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        id::{Incarnation, UserId, UserRev},
        log::Ref,
    };

    use super::*;

    fn row(channel: ChannelId, rev: u64, incarnation: u32, read: u64) -> IndexRow {
        let at = |seq| Position { seq: Seq::new(seq), cnt: seq };
        let news = Ref {
            channel,
            incarnation: Incarnation::new(incarnation),
            head: at(9),
            head_ts: Default::default(),
            head_sender: UserId::new(1),
            member_seq: Seq::new(1),
            join: at(0),
            left: None,
            own: at(0),
            mentions: Vec::new(),
            title: String::new(),
            preview: String::new(),
        };
        IndexRow { rev: UserRev::new(rev), news, read: at(read), preferences: Default::default() }
    }

    #[tokio::test]
    async fn an_acked_read_position_is_shown_whichever_row_comes_after_it() {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let store = MemoryStore::default();
        let shown = async || store.rows().await.unwrap()[0].read.seq.get();
        store.apply(vec![Change::Read(channel, Position { seq: Seq::new(7), cnt: 7 }), Change::Row(row(channel, 1, 1, 3))]);
        assert_eq!(shown().await, 7, "the row is from before the ack");
        store.apply(vec![Change::Row(row(channel, 2, 1, 8))]);
        assert_eq!(shown().await, 8, "another device went further");
        store.apply(vec![Change::Row(row(channel, 3, 2, 4))]);
        assert_eq!(shown().await, 4, "the tail with it was lost");
    }
}
