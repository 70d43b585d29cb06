//! openraft's log storage over kith-storage: one log writer for all groups of the node.
//!
//! In: openraft's appends, votes, truncations and purges of one group. Out: the same to the node's log, completions back. Invariants:
//! entries are readable when `append` returns; `io_completed` comes from the writer, after the sync; a vote is awaited, and shares the
//! queue with appends, so their order on the disk is openraft's; the commit point only rides along. Bounds: reads by bytes.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use futures_util::{Stream, stream};
use kith_wire::{
    id::{GroupId, LogIndex},
    log,
};
use openraft::{
    OptionalSend, RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::oneshot;

use crate::{
    disk::Disk,
    failpoint::{FailPoints, point},
    types::{RaftLogEntry, RaftLogId, RaftVote, Types, entry_in, entry_out, log_id_in, log_id_out, vote_in, vote_out},
};

/// Bytes of entries read at once, for one append or one step of apply; one entry always fits.
const READ_BYTES_MAX: usize = kith_wire::limit::BATCH_BYTES_MAX;

/// One group's part of the node's log.
#[derive(Clone)]
pub(crate) struct LogStore {
    storage: Arc<dyn Disk>,
    group: GroupId,
    failpoints: FailPoints,
}

impl LogStore {
    pub(crate) fn new(storage: Arc<dyn Disk>, group: GroupId, failpoints: FailPoints) -> Self {
        Self { storage, group, failpoints }
    }

    /// Entries from `start` to before `end` that are there, at most `bytes_max` but one entry always.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<RaftLogEntry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let range = LogIndex::new(start)..=LogIndex::new(end - 1);
        let entries = self.storage.log().read(self.group, range, bytes_max).map_err(io::Error::other)?;
        Ok(entries.into_iter().map(entry_in).collect())
    }

    fn bounds_of(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        (start, end)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(&mut self, range: RB) -> io::Result<Vec<RaftLogEntry>> {
        let (start, end) = self.bounds_of(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.storage.log().bounds(self.group).vote.map(vote_in))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftLogEntry>> {
        let entries = self.read(start, end, READ_BYTES_MAX)?;
        match entries.first() {
            Some(first) if first.log_id.index != start => Err(io::Error::other(format!("entry {start} of group {} was purged", self.group))),
            _ => Ok(entries),
        }
    }

    /// What apply reads: step by step, so that a long log is never in memory at once.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftLogEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds_of(&range);
        stream::unfold(
            (self.clone(), start, end, Vec::new().into_iter()),
            |(log, next, end, mut read): (_, _, _, std::vec::IntoIter<_>)| async move {
                if let Some(entry) = read.next() {
                    return Some((Ok(entry), (log, next, end, read)));
                }
                if next >= end {
                    return None;
                }
                match log.read(next, end, READ_BYTES_MAX) {
                    Ok(entries) => {
                        let after = entries.last().map_or(end, |last| last.log_id.index + 1);
                        let mut read = entries.into_iter();
                        read.next().map(|entry| (Ok(entry), (log, after, end, read)))
                    }
                    Err(error) => Some((Err(error), (log, end, end, Vec::new().into_iter()))),
                }
            },
        )
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let bounds = self.storage.log().bounds(self.group);
        let last_purged_log_id = bounds.purged.map(log_id_in);
        Ok(LogState { last_purged_log_id, last_log_id: bounds.last.map(log_id_in).max(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        self.failpoints.hit(point::BEFORE_VOTE).await.map_err(io::Error::other)?;
        let (done, saved) = oneshot::channel();
        self.storage.log().save_vote(self.group, vote_out(vote), Box::new(move |result| drop(done.send(result))));
        saved.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        self.failpoints.hit(point::VOTE_PERSISTED).await.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.failpoints.hit(point::COMMITTED).await.map_err(io::Error::other)?;
        if let Some(committed) = committed {
            self.storage.log().save_committed(self.group, log_id_out(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.storage.log().bounds(self.group).committed.map(log_id_in))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftLogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(entry_out).collect::<Vec<log::Entry>>();
        self.failpoints.hit(point::BEFORE_APPEND).await.map_err(io::Error::other)?;
        let failpoints = self.failpoints.clone();
        let done = move |result: Result<(), kith_storage::WriteFailed>| {
            let passed = failpoints.hit_blocking(point::APPEND_PERSISTED).map_err(io::Error::other);
            callback.io_completed(result.map_err(io::Error::other).and(passed));
        };
        self.storage.log().append(self.group, entries, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        self.failpoints.hit(point::BEFORE_TRUNCATE).await.map_err(io::Error::other)?;
        self.storage.log().truncate_after(self.group, last.as_ref().map(log_id_out));
        Ok(())
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        self.failpoints.hit(point::BEFORE_PURGE).await.map_err(io::Error::other)?;
        self.storage.log().purge(self.group, log_id_out(&upto));
        Ok(())
    }
}
