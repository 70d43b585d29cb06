//! The seam to the disk: what kith-raft needs of a node's store, and nothing more.
//!
//! In: entries and votes to keep, rows to show, snapshots. Out: completions, rows, chunks. A node runs over [`kith_storage::Storage`];
//! the simulation runs the same code over a disk in memory that forgets at a crash what was not synced. Invariants: those of kith-storage.
//! Not here: how anything lies on a disk.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use kith_machine::{
    mutant::Quirk,
    view::{Row, RowKey, Scan, StateView, ViewError, WriteSet},
};
use kith_storage::{
    Bounds, CommitError, Condition, DamageHook, Done, Export, FatalError, GroupState, Identity, InstallError, Installer, LogDb, NotServing,
    ReadError, Storage, WriteFailed,
};
use kith_wire::{
    id::{GroupId, LogIndex},
    log::{Applied, Entry, LogId, Vote},
    peer::SnapshotEnd,
};
use tokio::task::{JoinError, spawn_blocking};

use crate::transport::SnapshotReadError;

/// What a node keeps.
pub trait Disk: Send + Sync + 'static {
    /// What the disk is, and how often it was started.
    fn identity(&self) -> Identity;
    /// The logs of all groups.
    fn log(&self) -> &dyn LogDisk;
    /// A group's rows; empty if it has none.
    fn group(&self, group: GroupId) -> Arc<dyn Rows>;
    /// Brings everything committed so far onto the disk. May block.
    ///
    /// # Errors
    /// The store is out of service.
    fn flush(&self) -> Result<(), FatalError>;
    /// Whether a group's replica can be relied on; if not, why.
    fn condition(&self, _group: GroupId) -> (Condition, Option<String>) {
        (Condition::Sound, None)
    }
    /// Sets who is told of damage in a group that serves.
    fn on_damage(&self, _hook: DamageHook) {}
    /// Notes that a closed group's replica cannot be relied on. May block.
    ///
    /// # Errors
    /// The store is out of service.
    fn quarantine(&self, _group: GroupId, _cause: &str) -> Result<(), WriteFailed> {
        Ok(())
    }
    /// The entry with which the others took a replica out that is being rebuilt.
    fn taken_out(&self, _group: GroupId) -> Option<LogIndex> {
        None
    }
    /// Forgets all of a replica that its group took out with the entry at `out`, and begins anew with this vote. May block.
    ///
    /// # Errors
    /// The store is out of service.
    fn begin_anew(&self, _group: GroupId, _vote: Vote, _out: LogIndex) -> Result<(), InstallError> {
        Ok(())
    }
    /// The group has made this replica a voter again. May block.
    ///
    /// # Errors
    /// The store is out of service.
    fn rebuilt(&self, _group: GroupId) -> Result<(), WriteFailed> {
        Ok(())
    }
    /// Whether there is anything of a group.
    fn holds(&self, _group: GroupId) -> bool {
        false
    }
    /// About how many bytes a group's rows take.
    fn bytes(&self, _group: GroupId) -> u64 {
        0
    }
    /// What is wrong with this node.
    fn quirk(&self) -> Quirk {
        Quirk::default()
    }
    /// Whether calls that say so block: then they are made off the lanes.
    fn blocks(&self) -> bool {
        true
    }
}

/// The logs of all groups, as [`LogDb`] has them.
pub trait LogDisk: Send + Sync {
    /// Where a group's log stands, with what is still queued.
    fn bounds(&self, group: GroupId) -> Bounds;
    /// Entries of the range that are there, dense; at least one, then as long as `bytes_max` is not reached.
    ///
    /// # Errors
    /// An entry is damaged or missing.
    fn read(&self, group: GroupId, indexes: RangeInclusive<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, ReadError>;
    /// About how many bytes entries of the range take in the log's files; what is only in memory is not counted.
    fn bytes(&self, _group: GroupId, _indexes: RangeInclusive<LogIndex>) -> u64 {
        0
    }
    /// Appends entries: readable on return, `done` is told once they are synced.
    fn append(&self, group: GroupId, entries: Vec<Entry>, done: Done);
    /// Saves a vote; `done` is told once it is synced.
    fn save_vote(&self, group: GroupId, vote: Vote, done: Done);
    /// Notes how far a group is committed; may be lost.
    fn save_committed(&self, group: GroupId, committed: LogId);
    /// Drops all entries after this one.
    fn truncate_after(&self, group: GroupId, last: Option<LogId>);
    /// Drops all entries up to and with this one.
    fn purge(&self, group: GroupId, upto: LogId);
    /// Tells `done` once the log is synced up to the index.
    fn flushed_wait(&self, group: GroupId, index: LogIndex, done: Done);
}

/// A group's rows, as [`GroupState`] has them.
pub trait Rows: StateView + Send + Sync + 'static {
    /// Which group.
    fn id(&self) -> GroupId;
    /// What is applied, with the membership in force.
    fn applied(&self) -> Applied;
    /// Why the group serves nothing now, if so.
    fn refusal(&self) -> Option<NotServing>;
    /// Shows the rows and the applied id of the next entry, which is flushed in the log.
    ///
    /// # Errors
    /// The store has failed, or the group takes no rows.
    fn commit(&self, writes: WriteSet, applied: Applied) -> Result<(), CommitError>;
    /// All rows as they are now.
    ///
    /// # Errors
    /// The group serves nothing now.
    fn reader(self: Arc<Self>) -> Result<Reader, ViewError>;
    /// A snapshot of everything committed. May block, and so may reading it.
    ///
    /// # Errors
    /// As kith-storage's.
    fn export(&self) -> Result<Box<dyn Exporting>, SnapshotReadError>;
    /// Begins to take a snapshot with this head. May block.
    ///
    /// # Errors
    /// It cannot be staged.
    fn install(self: Arc<Self>, applied: Applied) -> Result<Box<dyn Installing>, InstallError>;
    /// As [`Disk::blocks`].
    fn blocks(&self) -> bool {
        true
    }
}

/// A snapshot on its way out.
pub trait Exporting: Send {
    /// What is applied in it.
    fn applied(&self) -> &Applied;
    /// The next chunk.
    ///
    /// # Errors
    /// A row cannot be read.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotReadError>;
    /// Its end, once the last chunk was taken.
    fn end(&self) -> SnapshotEnd;
}

/// A snapshot on its way in; dropped before its end it leaves nothing behind.
pub trait Installing: Send {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// It is damaged or cannot be staged.
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), InstallError>;
    /// Checks that everything came.
    ///
    /// # Errors
    /// It did not.
    fn check(&self, end: SnapshotEnd) -> Result<(), InstallError>;
    /// Puts it in the place of what the group has; durable on return.
    ///
    /// # Errors
    /// Something is missing, or the store has failed.
    fn finish(self: Box<Self>, end: SnapshotEnd) -> Result<(), InstallError>;
}

/// A group's rows at one moment.
pub trait Moment: StateView + Send + Sync {
    /// What was applied at that moment.
    fn applied(&self) -> &Applied;
}

/// All rows of a group at one moment. Keep it for a request, not for a session.
pub struct Reader(Box<dyn Moment>);

impl Reader {
    /// Reads of that moment.
    pub fn new(moment: impl Moment + 'static) -> Self {
        Self(Box::new(moment))
    }
    /// What was applied at that moment.
    pub fn applied(&self) -> &Applied {
        self.0.applied()
    }
}

impl StateView for Reader {
    fn quirk(&self) -> Quirk {
        self.0.quirk()
    }
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        self.0.get(key)
    }
    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        self.0.scan(scan, reverse, limit)
    }
}

/// Runs what may block off the lane, unless it does not block.
pub(crate) async fn off_lane<T: Send + 'static>(blocks: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if blocks { spawn_blocking(work).await } else { Ok(work()) }
}

impl Disk for Storage {
    fn condition(&self, group: GroupId) -> (Condition, Option<String>) {
        Self::condition(self, group)
    }
    fn on_damage(&self, hook: DamageHook) {
        Self::on_damage(self, hook);
    }
    fn quarantine(&self, group: GroupId, cause: &str) -> Result<(), WriteFailed> {
        Self::quarantine(self, group, cause)
    }
    fn taken_out(&self, group: GroupId) -> Option<LogIndex> {
        Self::taken_out(self, group)
    }
    fn begin_anew(&self, group: GroupId, vote: Vote, out: LogIndex) -> Result<(), InstallError> {
        Self::begin_anew(self, group, vote, out)
    }
    fn rebuilt(&self, group: GroupId) -> Result<(), WriteFailed> {
        Self::rebuilt(self, group)
    }
    fn holds(&self, group: GroupId) -> bool {
        Self::holds(self, group)
    }
    fn bytes(&self, group: GroupId) -> u64 {
        Self::bytes(self, group)
    }
    fn identity(&self) -> Identity {
        self.identity()
    }
    fn log(&self) -> &dyn LogDisk {
        self.log()
    }
    fn group(&self, group: GroupId) -> Arc<dyn Rows> {
        self.state().group(group)
    }
    fn flush(&self) -> Result<(), FatalError> {
        self.state().flush()
    }
    fn quirk(&self) -> Quirk {
        self.quirk()
    }
}

impl LogDisk for LogDb {
    fn bounds(&self, group: GroupId) -> Bounds {
        self.bounds(group)
    }
    fn read(&self, group: GroupId, indexes: RangeInclusive<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        self.read(group, indexes, bytes_max)
    }
    fn bytes(&self, group: GroupId, indexes: RangeInclusive<LogIndex>) -> u64 {
        self.bytes(group, indexes)
    }
    fn append(&self, group: GroupId, entries: Vec<Entry>, done: Done) {
        self.append(group, entries, done);
    }
    fn save_vote(&self, group: GroupId, vote: Vote, done: Done) {
        self.save_vote(group, vote, done);
    }
    fn save_committed(&self, group: GroupId, committed: LogId) {
        self.save_committed(group, committed);
    }
    fn truncate_after(&self, group: GroupId, last: Option<LogId>) {
        self.truncate_after(group, last);
    }
    fn purge(&self, group: GroupId, upto: LogId) {
        self.purge(group, upto);
    }
    fn flushed_wait(&self, group: GroupId, index: LogIndex, done: Done) {
        self.flushed_wait(group, index, done);
    }
}

impl Rows for GroupState {
    fn id(&self) -> GroupId {
        self.id()
    }
    fn applied(&self) -> Applied {
        self.applied()
    }
    fn refusal(&self) -> Option<NotServing> {
        self.refusal()
    }
    fn commit(&self, writes: WriteSet, applied: Applied) -> Result<(), CommitError> {
        self.commit(writes, applied)
    }
    fn reader(self: Arc<Self>) -> Result<Reader, ViewError> {
        GroupState::reader(&self).map(Reader::new)
    }
    fn export(&self) -> Result<Box<dyn Exporting>, SnapshotReadError> {
        let export = self.export().map_err(|error| SnapshotReadError(Box::new(error)))?;
        Ok(Box::new(export))
    }
    fn install(self: Arc<Self>, applied: Applied) -> Result<Box<dyn Installing>, InstallError> {
        Ok(Box::new(GroupState::install(&self, applied)?))
    }
}

impl Moment for kith_storage::Reader {
    fn applied(&self) -> &Applied {
        self.applied()
    }
}

impl Exporting for Export {
    fn applied(&self) -> &Applied {
        self.applied()
    }
    fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotReadError> {
        self.next().transpose().map_err(|error| SnapshotReadError(Box::new(error)))
    }
    fn end(&self) -> SnapshotEnd {
        self.end()
    }
}

impl Installing for Installer {
    fn chunk(&mut self, chunk: &[u8]) -> Result<(), InstallError> {
        self.chunk(chunk)
    }
    fn check(&self, end: SnapshotEnd) -> Result<(), InstallError> {
        self.check(end)
    }
    fn finish(self: Box<Self>, end: SnapshotEnd) -> Result<(), InstallError> {
        Installer::finish(*self, end)
    }
}
