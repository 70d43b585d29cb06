//! The raft logs of all groups: entries, vote, purge point and commit hint, in one synced database.
//!
//! In: what consensus appends, truncates and purges. Out: callbacks once it is on the disk, and entries back, from memory where they are recent.
//! Invariants: entries are readable as soon as `append` returns; what a callback confirmed survives any crash; changes of one group reach the
//! disk in the order of the calls (one queue, one writer, one WAL); `flushed` never runs ahead of the disk, nor beyond a truncation.
//! Bounds: `Options::log_queue_bytes_max` waits for the disk (then `append` blocks), `Options::log_tail_bytes` per group in memory besides it.
//! Not here: the writer thread (`commit`), what an entry means (kith-raft).

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, RwLock},
};

use kith_machine::mutant::Quirk;
use kith_wire::{
    id::{GroupId, LogIndex},
    log::{Entry, LogId, Payload, Vote},
};
use thiserror::Error;

use crate::{
    codec::{self, EnvelopeError},
    commit::{Change, Job, Queue, Refused},
    db::{CF_LOG, CF_META, Databases},
    fatal::{Fatal, FatalError},
    metrics::{LogCounters, LogMetrics},
    quarantine::Damage,
    sync::{lock, read, write},
};

/// Told once a change is on the disk, or will never be. Runs on the log writer's thread: it must not block.
pub type Done = Box<dyn FnOnce(Result<(), WriteFailed>) + Send>;

/// A change was not made durable.
#[derive(Clone, Debug, Error)]
pub enum WriteFailed {
    /// The store is out of service; so is every later write.
    #[error("the store has failed")]
    Store(#[source] FatalError),
    /// Entries must follow each other without a hole: a mistake of the caller, nothing was written.
    #[error("entry {found} of group {group} does not follow {last}")]
    Hole { group: GroupId, last: LogIndex, found: LogIndex },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The group was removed meanwhile.
    #[error("group {0} was removed")]
    Destroyed(GroupId),
}

impl From<FatalError> for WriteFailed {
    fn from(error: FatalError) -> Self {
        Self::Store(error)
    }
}

/// Something in the log cannot be read. Stops this replica of this group.
#[derive(Debug, Error)]
pub enum ReadError {
    /// RocksDB refuses.
    #[error("cannot read the log of group {group}")]
    Database { group: GroupId, source: rocksdb::Error },
    /// The value is damaged.
    #[error("entry {index} of group {group} is damaged")]
    Envelope { group: GroupId, index: LogIndex, source: EnvelopeError },
    /// The value is whole, but no entry.
    #[error("entry {index} of group {group} cannot be decoded")]
    Entry { group: GroupId, index: LogIndex, source: Box<dyn std::error::Error + Send + Sync> },
    /// An entry is missing.
    #[error("group {group} has no entry {index} in its log")]
    Hole { group: GroupId, index: LogIndex },
    /// Vote, purge point or commit hint cannot be read.
    #[error("{field} of group {group} is damaged")]
    Meta { group: GroupId, field: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// A key has a shape that no version wrote.
    #[error("the log holds a key of {0} bytes that is not known here")]
    Key(usize),
}

/// Where a group's log stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// The last vote saved.
    pub vote: Option<Vote>,
    /// The last entry, or the purge point if there is none after it.
    pub last: Option<LogId>,
    /// Up to here (inclusive) entries are gone.
    pub purged: Option<LogId>,
    /// The last commit hint: may lag behind what is committed.
    pub committed: Option<LogId>,
    /// Up to here (inclusive) the log is on the disk, or covered by an installed snapshot.
    pub flushed: Option<LogIndex>,
}

/// What `meta` keeps per group. The number is stored in the key: `group u32 BE | field u8`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum MetaField {
    Vote = 1,
    Purged = 2,
    Committed = 3,
}

impl MetaField {
    pub(crate) fn key(self, group: GroupId) -> [u8; 5] {
        let mut key = [0; 5];
        key[..4].copy_from_slice(&group.get().to_be_bytes());
        key[4] = self as u8;
        key
    }
}

/// Key of an entry: `group u32 BE | index u64 BE`.
pub(crate) fn entry_key(group: GroupId, index: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&group.get().to_be_bytes());
    key[4..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn parse_entry_key(key: &[u8]) -> Result<(GroupId, LogIndex), ReadError> {
    let (Some((group, rest)), 12) = (key.split_first_chunk::<4>(), key.len()) else { return Err(ReadError::Key(key.len())) };
    let index = rest.first_chunk::<8>().ok_or(ReadError::Key(key.len()))?;
    Ok((GroupId::new(u32::from_be_bytes(*group)), LogIndex::new(u64::from_be_bytes(*index))))
}

pub(crate) fn parse_entry(quirk: Quirk, group: GroupId, index: LogIndex, value: &[u8]) -> Result<Entry, ReadError> {
    let body = codec::open_as(quirk, value).map_err(|source| ReadError::Envelope { group, index, source })?;
    let entry = Entry::decode(body).map_err(|source| ReadError::Entry { group, index, source: source.into() })?;
    // An entry under another's key is as good as none.
    if entry.id.index == index { Ok(entry) } else { Err(ReadError::Hole { group, index }) }
}

/// An entry in its envelope, made in one place: it may be as large as a batch.
fn sealed(entry: &Entry) -> Vec<u8> {
    /// Envelope, id, and the lengths of what is nested.
    const FLAT: usize = 64;
    let body = if let Payload::Batch(batch) = &entry.payload { batch.len() } else { 0 };
    let mut value = Vec::with_capacity(FLAT + body);
    codec::seal_with(&mut value, |out| entry.encode_into(out));
    value
}

/// An entry kept in memory, with its size on the disk.
struct Held {
    entry: Entry,
    bytes: usize,
}

/// One group's log in memory: where it stands, and its recent entries.
pub(crate) struct GroupLog {
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// Index of the first entry, or of the next one to come; `None` while any may come.
    first: Option<u64>,
    /// Entries below this index are on the disk or in the tail; `None` before the first.
    flushed: Option<u64>,
    /// Raised by whatever takes entries back: a write queued before must not raise `flushed`.
    epoch: u64,
    /// Dense; holds every entry that is not flushed yet, and flushed ones up to the bound.
    tail: VecDeque<Held>,
    /// Index of the tail's first entry, or of the next one to come.
    tail_from: u64,
    tail_bytes: usize,
    waiters: Vec<(u64, Done)>,
    is_destroyed: bool,
    /// What could not be read when the log was opened.
    damage: Option<String>,
}

impl GroupLog {
    fn new(bounds: Bounds, first: Option<u64>) -> Self {
        Self {
            first,
            vote: bounds.vote,
            last: bounds.last,
            purged: bounds.purged,
            committed: bounds.committed,
            flushed: bounds.flushed.map(LogIndex::get),
            epoch: 0,
            tail: VecDeque::new(),
            tail_from: bounds.last.map_or(0, |last| last.index.get() + 1),
            tail_bytes: 0,
            waiters: Vec::new(),
            is_destroyed: false,
            damage: None,
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { vote: self.vote, last: self.last, purged: self.purged, committed: self.committed, flushed: self.flushed.map(LogIndex::new) }
    }

    fn push(&mut self, entries: Vec<Entry>, values: &[(u64, Vec<u8>)]) {
        for (entry, (index, value)) in entries.into_iter().zip(values) {
            if self.tail.is_empty() {
                self.tail_from = *index;
            }
            self.first.get_or_insert(*index);
            self.last = Some(entry.id);
            self.tail_bytes += value.len();
            self.tail.push_back(Held { entry, bytes: value.len() });
        }
    }

    /// Drops entries after the index (all, if `None`).
    fn cut_after(&mut self, last: Option<LogId>) {
        let next = last.map_or(0, |last| last.index.get() + 1);
        while self.tail_from + self.tail.len() as u64 > next {
            let Some(held) = self.tail.pop_back() else { break };
            self.tail_bytes -= held.bytes;
        }
        self.tail_from = self.tail_from.min(next);
        self.last = last;
        if last.is_none() {
            self.first = None;
        }
        self.flushed = match (self.flushed, last) {
            (Some(flushed), Some(last)) => Some(flushed.min(last.index.get())),
            _ => None,
        };
        self.epoch += 1;
    }

    /// Drops entries up to the index.
    fn cut_to(&mut self, upto: LogId) {
        let next = upto.index.get() + 1;
        while self.tail_from < next {
            let Some(held) = self.tail.pop_front() else { break };
            self.tail_bytes -= held.bytes;
            self.tail_from += 1;
        }
        self.tail_from = self.tail_from.max(next);
        self.first = Some(next);
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
        // Nobody purges what is not in a durable state: covered, whatever is still in the queue.
        self.flushed = self.flushed.max(Some(upto.index.get()));
    }

    /// Notes that everything up to the index is on the disk; gives back whom to tell.
    pub(crate) fn on_flushed(&mut self, epoch: u64, index: u64, tail_bytes_max: usize) -> Vec<Done> {
        if epoch == self.epoch {
            self.flushed = self.flushed.max(Some(index));
        }
        self.evict(tail_bytes_max);
        self.take_waiters()
    }

    pub(crate) fn take_waiters(&mut self) -> Vec<Done> {
        let Some(flushed) = self.flushed else { return Vec::new() };
        if self.waiters.iter().all(|(index, _)| *index > flushed) {
            return Vec::new();
        }
        let (ready, waiting) = std::mem::take(&mut self.waiters).into_iter().partition(|(index, _)| *index <= flushed);
        self.waiters = waiting;
        ready.into_iter().map(|(_, done)| done).collect()
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.tail_bytes > bytes_max && self.flushed.is_some_and(|flushed| self.tail_from <= flushed) {
            let Some(held) = self.tail.pop_front() else { break };
            self.tail_bytes -= held.bytes;
            self.tail_from += 1;
        }
    }

    fn fail(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.waiters).into_iter().map(|(_, done)| done).collect()
    }
}

pub(crate) type SharedLog = Arc<Mutex<GroupLog>>;

/// All groups' logs.
pub struct LogDb {
    databases: Arc<Databases>,
    groups: RwLock<BTreeMap<GroupId, SharedLog>>,
    queue: Arc<Queue>,
    counters: Arc<LogCounters>,
    fatal: Arc<Fatal>,
    damage: Arc<Damage>,
    tail_bytes_max: usize,
}

impl LogDb {
    pub(crate) fn open(
        databases: Arc<Databases>,
        queue: Arc<Queue>,
        counters: Arc<LogCounters>,
        fatal: Arc<Fatal>,
        damage: Arc<Damage>,
        tail_bytes_max: usize,
    ) -> Result<Self, ReadError> {
        let groups = scan_bounds(&databases)?;
        let groups = groups.into_iter().map(|(group, found)| {
            let log = GroupLog { damage: found.damage, ..GroupLog::new(found.bounds, found.first) };
            (group, Arc::new(Mutex::new(log)))
        });
        let groups = groups.collect();
        Ok(Self { databases, groups: RwLock::new(groups), queue, counters, fatal, damage, tail_bytes_max })
    }

    /// Every group with anything in the log, rising.
    pub fn groups(&self) -> Vec<GroupId> {
        let groups = read(&self.groups);
        groups.iter().filter(|(_, log)| lock(log).bounds() != Bounds::default()).map(|(group, _)| *group).collect()
    }

    /// Where a group's log stands, with what is still in the queue. A group that is not known has an empty log.
    pub fn bounds(&self, group: GroupId) -> Bounds {
        read(&self.groups).get(&group).map(|log| lock(log).bounds()).unwrap_or_default()
    }

    /// Entries from the first index that exist, up to the last, both inclusive: dense, from memory or disk. Stops once `bytes_max` is
    /// reached, but gives at least one. Starts after the purge point if that is beyond `from`; may be empty.
    ///
    /// # Errors
    /// An entry is damaged or missing.
    pub fn read(&self, group: GroupId, indexes: RangeInclusive<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        self.read_unreported(group, indexes, bytes_max).inspect_err(|error| self.damage.report(group, error))
    }

    /// About how many bytes entries of the range take in the database's files; what is only in memory is not counted. Cheap: no entry is read.
    pub fn bytes(&self, group: GroupId, indexes: RangeInclusive<LogIndex>) -> u64 {
        let (from, to) = (entry_key(group, indexes.start().get()), entry_key(group, indexes.end().get().saturating_add(1)));
        let databases = &self.databases;
        let sizes = databases.log.get_approximate_sizes_cf(databases.log_cf(CF_LOG), &[rocksdb::Range::new(&from, &to)]);
        sizes.first().copied().unwrap_or(0)
    }

    /// Index of a group's first entry, or where the next one goes; `None` while any may come.
    pub(crate) fn first(&self, group: GroupId) -> Option<u64> {
        read(&self.groups).get(&group).and_then(|log| lock(log).first)
    }

    /// What could not be read of a group when the log was opened.
    pub(crate) fn damage(&self, group: GroupId) -> Option<String> {
        read(&self.groups).get(&group).and_then(|log| lock(log).damage.clone())
    }

    fn read_unreported(&self, group: GroupId, indexes: RangeInclusive<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let Some(log) = read(&self.groups).get(&group).map(Arc::clone) else { return Ok(Vec::new()) };
        let (mut next, to) = (indexes.start().get(), indexes.end().get());
        let mut entries = Vec::new();
        let mut bytes = 0;
        loop {
            let log = lock(&log);
            let Some(last) = log.last else { return Ok(entries) };
            let first = log.first.unwrap_or_default();
            if next < first {
                if !entries.is_empty() {
                    return Ok(entries);
                }
                next = first;
            }
            let to = to.min(last.index.get());
            if next > to {
                return Ok(entries);
            }
            if next >= log.tail_from {
                for held in log.tail.range((next - log.tail_from) as usize..=(to - log.tail_from) as usize) {
                    if bytes >= bytes_max && !entries.is_empty() {
                        break;
                    }
                    bytes += held.bytes;
                    entries.push(held.entry.clone());
                }
                return Ok(entries);
            }
            let stop = to.min(log.tail_from - 1);
            drop(log);
            let found = self.read_disk(group, next, stop, bytes_max, &mut bytes, &mut entries)?;
            if bytes >= bytes_max {
                return Ok(entries);
            }
            next += found;
            // Purged while we read, which the next round sees, or a hole.
            if next <= stop && self.bounds(group).purged.is_none_or(|purged| purged.index.get() < next) {
                return Err(ReadError::Hole { group, index: LogIndex::new(next) });
            }
        }
    }

    /// Reads `from..=to` as far as it is dense; gives back how many.
    fn read_disk(&self, group: GroupId, from: u64, to: u64, bytes_max: usize, bytes: &mut usize, entries: &mut Vec<Entry>) -> Result<u64, ReadError> {
        let mut options = self.databases.read_options();
        options.set_iterate_range(entry_key(group, from).to_vec()..crate::key::after_prefix(&entry_key(group, to)));
        let mut rows = self.databases.log.raw_iterator_cf_opt(self.databases.log_cf(CF_LOG), options);
        rows.seek_to_first();
        let mut found = 0;
        while let Some((key, value)) = rows.item() {
            let (_, index) = parse_entry_key(key)?;
            if index.get() != from + found || (*bytes >= bytes_max && !entries.is_empty()) {
                break;
            }
            entries.push(parse_entry(self.databases.quirk, group, index, value)?);
            *bytes += value.len();
            found += 1;
            rows.next();
        }
        rows.status().map_err(|source| ReadError::Database { group, source })?;
        Ok(found)
    }

    /// Appends entries that follow the last one. They are readable on return; `done` is told when they are on the disk.
    /// Blocks only while `Options::log_queue_bytes_max` wait for the disk.
    pub fn append(&self, group: GroupId, entries: Vec<Entry>, done: Done) {
        if let Err(error) = self.queue.wait_for_room() {
            return done(Err(error));
        }
        let values: Vec<_> = entries.iter().map(|entry| (entry.id.index.get(), sealed(entry))).collect();
        let shared = self.shared(group);
        let mut log = lock(&shared);
        if log.is_destroyed {
            drop(log);
            return done(Err(WriteFailed::Destroyed(group)));
        }
        let mut expected = log.last.map(|last| last.index.get() + 1);
        for (index, _) in &values {
            if expected.is_some_and(|expected| expected != *index) {
                let (last, found) = (LogIndex::new(expected.unwrap_or_default().saturating_sub(1)), LogIndex::new(*index));
                drop(log);
                return done(Err(WriteFailed::Hole { group, last, found }));
            }
            expected = Some(index + 1);
        }
        log.push(entries, &values);
        let epoch = log.epoch;
        // Under the group's lock, so that the queue has a group's changes in the order in which memory saw them.
        let queued = self.queue.push(Job { group, log: Some((Arc::clone(&shared), epoch)), change: Change::Append(values), done: Some(done) });
        drop(log);
        tell_refused(queued);
    }

    /// Saves a vote; `done` is told when it is on the disk.
    pub fn save_vote(&self, group: GroupId, vote: Vote, done: Done) {
        let shared = self.shared(group);
        let mut log = lock(&shared);
        if log.is_destroyed {
            drop(log);
            return done(Err(WriteFailed::Destroyed(group)));
        }
        log.vote = Some(vote);
        let queued = self.queue.push(Job { group, log: None, change: Change::Meta(MetaField::Vote, codec::seal(&vote.encode())), done: Some(done) });
        drop(log);
        tell_refused(queued);
    }

    /// Notes how far a group is committed. Rides on the next batch and never makes one: after a crash an older value may be found.
    pub fn save_committed(&self, group: GroupId, committed: LogId) {
        let shared = self.shared(group);
        let mut log = lock(&shared);
        if log.is_destroyed {
            return;
        }
        log.committed = Some(committed);
        self.queue.save_committed(group, committed);
    }

    /// Drops all entries after this one (all, if `None`). Takes effect at once; on the disk it comes before whatever is called later.
    pub fn truncate_after(&self, group: GroupId, last: Option<LogId>) {
        let shared = self.shared(group);
        let mut log = lock(&shared);
        if log.is_destroyed {
            return;
        }
        // A purge point is never taken back.
        let last = last.max_by_index(log.purged);
        let nothing_after = log.last.is_none_or(|newest| last.is_some_and(|last| last.index >= newest.index));
        if nothing_after {
            return;
        }
        log.cut_after(last);
        let (epoch, next) = (log.epoch, last.map_or(0, |last| last.index.get() + 1));
        // After a failure nobody reads this log again: a refused change without a callback needs no answer.
        let _ = self.queue.push(Job { group, log: Some((Arc::clone(&shared), epoch)), change: Change::TruncateFrom(next), done: None });
    }

    /// Drops all entries up to and with this one: only what a durable state or an installed snapshot covers. Beyond the last entry it moves the
    /// log there. Takes effect at once.
    pub fn purge(&self, group: GroupId, upto: LogId) {
        let shared = self.shared(group);
        let mut log = lock(&shared);
        let from = log.purged.map_or(0, |purged| purged.index.get() + 1);
        if log.is_destroyed || log.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        log.cut_to(upto);
        let ready = log.take_waiters();
        let epoch = log.epoch;
        let _ = self.queue.push(Job { group, log: Some((Arc::clone(&shared), epoch)), change: Change::Purge { from, upto }, done: None });
        drop(log);
        ready.into_iter().for_each(|done| done(Ok(())));
    }

    /// Up to here (inclusive) a group's log is on the disk, or covered by an installed snapshot.
    pub fn flushed(&self, group: GroupId) -> Option<LogIndex> {
        self.bounds(group).flushed
    }

    /// Tells `done` once the log is on the disk up to the index; at once, on this thread, if it is. Apply waits for this.
    pub fn flushed_wait(&self, group: GroupId, index: LogIndex, done: Done) {
        let shared = self.shared(group);
        let mut log = lock(&shared);
        if log.flushed.is_some_and(|flushed| flushed >= index.get()) {
            drop(log);
            return done(Ok(()));
        }
        if log.is_destroyed {
            drop(log);
            return done(Err(WriteFailed::Destroyed(group)));
        }
        // Checked under the lock that `fail_waiters` takes: no waiter is left behind by a failure.
        if let Err(error) = self.fatal.check() {
            drop(log);
            return done(Err(error.into()));
        }
        log.waiters.push((index.get(), done));
    }

    /// Removes a group: log, vote and all. Its waiters fail. `done` is told when that is on the disk.
    pub(crate) fn destroy(&self, group: GroupId, also: Vec<String>, done: Done) {
        let shared = self.shared(group);
        write(&self.groups).remove(&group);
        let mut log = lock(&shared);
        log.is_destroyed = true;
        log.epoch += 1;
        let waiters = log.fail();
        self.queue.forget_committed(group);
        let queued = self.queue.push(Job { group, log: None, change: Change::Destroy { also }, done: Some(done) });
        drop(log);
        tell_refused(queued);
        waiters.into_iter().for_each(|done| done(Err(WriteFailed::Destroyed(group))));
    }

    /// The queue and the writer, as they stand.
    pub fn metrics(&self) -> LogMetrics {
        let (queue_jobs, queue_bytes) = self.queue.depth();
        LogMetrics {
            queue_jobs,
            queue_bytes,
            queue_waits: self.counters.queue_waits.load(std::sync::atomic::Ordering::Relaxed),
            written_bytes: self.counters.written_bytes.load(std::sync::atomic::Ordering::Relaxed),
            jobs_per_sync: self.counters.jobs_per_sync.read(),
            sync_micros: self.counters.sync_micros.read(),
            queue_wait_micros: self.counters.queue_wait_micros.read(),
        }
    }

    /// Fails everyone who waits for a flush: after a failed write nothing is flushed any more.
    pub(crate) fn fail_waiters(&self, error: &FatalError) {
        let logs: Vec<_> = read(&self.groups).values().map(Arc::clone).collect();
        for log in logs {
            let waiters = lock(&log).fail();
            waiters.into_iter().for_each(|done| done(Err(error.clone().into())));
        }
    }

    pub(crate) fn tail_bytes_max(&self) -> usize {
        self.tail_bytes_max
    }

    #[cfg(test)]
    pub(crate) fn tail_len(&self, group: GroupId) -> usize {
        read(&self.groups).get(&group).map_or(0, |log| lock(log).tail.len())
    }

    fn shared(&self, group: GroupId) -> SharedLog {
        if let Some(log) = read(&self.groups).get(&group) {
            return Arc::clone(log);
        }
        let mut groups = write(&self.groups);
        Arc::clone(groups.entry(group).or_insert_with(|| Arc::new(Mutex::new(GroupLog::new(Bounds::default(), None)))))
    }
}

/// Told without any lock held: the callback may come back to this log.
fn tell_refused(queued: Result<(), Refused>) {
    if let Err((error, Some(done))) = queued {
        done(Err(error));
    }
}

/// Where a group's log stands on the disk.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) bounds: Bounds,
    /// Index of its first entry, or where the next one goes.
    pub(crate) first: Option<u64>,
    /// What cannot be read of it.
    pub(crate) damage: Option<String>,
}

/// Reads where every group's log stands.
pub(crate) fn scan_bounds(databases: &Databases) -> Result<BTreeMap<GroupId, Found>, ReadError> {
    let mut groups: BTreeMap<GroupId, Found> = BTreeMap::new();
    let mut rows = databases.log.raw_iterator_cf(databases.log_cf(CF_META));
    rows.seek_to_first();
    while let Some((key, value)) = rows.item() {
        let (group, field) = parse_meta_key(key)?;
        let found = groups.entry(group).or_default();
        if let Err(error) = parse_meta(group, field, value, &mut found.bounds) {
            found.damage.get_or_insert_with(|| error.to_string());
        }
        rows.next();
    }
    rows.status().map_err(|source| ReadError::Database { group: GroupId::META, source })?;
    drop(rows);
    let mut rows = databases.log.raw_iterator_cf(databases.log_cf(CF_LOG));
    rows.seek_to_first();
    while let Some(key) = rows.key() {
        let (group, first) = parse_entry_key(key)?;
        rows.seek_for_prev(entry_key(group, u64::MAX));
        let Some((key, value)) = rows.item() else { break };
        let (_, index) = parse_entry_key(key)?;
        let found = groups.entry(group).or_default();
        found.first = Some(first.get());
        match parse_entry(databases.quirk, group, index, value) {
            Ok(entry) => found.bounds.last = Some(entry.id),
            Err(error) => drop(found.damage.get_or_insert_with(|| error.to_string())),
        }
        rows.seek(crate::key::after_prefix(&group.get().to_be_bytes()));
    }
    rows.status().map_err(|source| ReadError::Database { group: GroupId::META, source })?;
    for Found { bounds, first, .. } in groups.values_mut() {
        bounds.last = bounds.last.max_by_index(bounds.purged);
        bounds.flushed = bounds.last.map(|last| last.index);
        *first = (*first).max(bounds.purged.map(|purged| purged.index.get() + 1));
    }
    Ok(groups)
}

/// Group and field of a key in `meta`.
pub(crate) fn parse_meta_key(key: &[u8]) -> Result<(GroupId, u8), ReadError> {
    match key.split_first_chunk::<4>() {
        Some((group, [field])) => Ok((GroupId::new(u32::from_be_bytes(*group)), *field)),
        _ => Err(ReadError::Key(key.len())),
    }
}

pub(crate) fn parse_meta(group: GroupId, field: u8, value: &[u8], bounds: &mut Bounds) -> Result<(), ReadError> {
    const VOTE: u8 = MetaField::Vote as u8;
    const PURGED: u8 = MetaField::Purged as u8;
    const COMMITTED: u8 = MetaField::Committed as u8;
    let damaged = |field| move |source| ReadError::Meta { group, field, source };
    match field {
        VOTE => {
            let body = codec::open(value).map_err(|source| damaged("vote")(source.into()))?;
            bounds.vote = Some(Vote::decode(body).map_err(|source| damaged("vote")(source.into()))?);
        }
        PURGED => {
            let body = codec::open(value).map_err(|source| damaged("purge point")(source.into()))?;
            bounds.purged = Some(LogId::decode(body).map_err(|source| damaged("purge point")(source.into()))?);
        }
        COMMITTED => {
            let body = codec::open(value).map_err(|source| damaged("commit hint")(source.into()))?;
            bounds.committed = Some(LogId::decode(body).map_err(|source| damaged("commit hint")(source.into()))?);
        }
        _ => return Err(ReadError::Key(5)),
    }
    Ok(())
}

trait MaxByIndex {
    fn max_by_index(self, other: Self) -> Self;
}

impl MaxByIndex for Option<LogId> {
    /// The one further on in the log, whatever its term.
    fn max_by_index(self, other: Self) -> Self {
        if other.map(|id| id.index) > self.map(|id| id.index) { other } else { self }
    }
}

#[cfg(test)]
mod tests;
