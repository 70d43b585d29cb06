//! The log writer: one thread, one synced batch for all groups at a time.
//!
//! In: jobs from [`crate::log::LogDb`] and from whoever keeps a local value. Out: their callbacks, in order, after the sync that carries them.
//! Invariants: jobs reach the disk in the order of the queue; a failed write fails it, all that wait and all that come; it is never retried.
//! Bounds: the queue by bytes (appenders block), a batch by bytes and jobs.
//! Why one thread: RocksDB merges concurrent synced writers by itself, at 1.6-2 times the CPU per write.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_machine::mutant::Mutant;
use kith_wire::{id::GroupId, log::LogId};
use rocksdb::{WriteBatch, WriteOptions};

use crate::{
    codec,
    db::{CF_LOCAL, CF_LOG, CF_META, Databases, synced},
    fatal::{Fatal, FatalError, Panicked},
    key,
    log::{Done, LogDb, MetaField, SharedLog, WriteFailed, entry_key},
    loss,
    metrics::{LogCounters, Stopwatch},
    options::Options,
    step,
    sync::{lock, wait, wait_for},
};

/// How much later the sync comes of a mutant that does not wait for it.
const LATE_SYNC: Duration = Duration::from_secs(2);
/// Beyond so many entries a purge also drops whole files.
const PURGE_FILES_MIN: u64 = 10_000;

/// One change, and who is told.
pub(crate) struct Job {
    pub(crate) group: GroupId,
    /// The group's log and its epoch at the time of the call, where the change moves `flushed`.
    pub(crate) log: Option<(SharedLog, u64)>,
    pub(crate) change: Change,
    pub(crate) done: Option<Done>,
}

/// Why a job was not queued, and whom to tell.
pub(crate) type Refused = (WriteFailed, Option<Done>);

/// What a job writes.
pub(crate) enum Change {
    /// Entries: index and sealed value, rising.
    Append(Vec<(u64, Vec<u8>)>),
    /// A sealed value.
    Meta(MetaField, Vec<u8>),
    /// Drops entries from this index on.
    TruncateFrom(u64),
    /// Drops entries from `from` to `upto`, both inclusive, and notes the purge point.
    Purge { from: u64, upto: LogId },
    /// A value of the node itself; `None` deletes.
    Local(String, Option<Vec<u8>>),
    /// Drops everything of the group, and these local values with it.
    Destroy { also: Vec<String> },
}

impl Change {
    fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD
            + match self {
                Self::Append(entries) => entries.iter().map(|(_, value)| value.len() + OVERHEAD).sum(),
                Self::Meta(_, value) | Self::Local(_, Some(value)) => value.len(),
                Self::TruncateFrom(_) | Self::Purge { .. } | Self::Local(_, None) | Self::Destroy { .. } => 0,
            }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(Job, Stopwatch)>,
    bytes: usize,
    committed: BTreeMap<GroupId, LogId>,
    is_idle: bool,
    is_closing: bool,
    failed: Option<FatalError>,
}

impl Waiting {
    fn refusal(&self) -> Option<WriteFailed> {
        match &self.failed {
            Some(error) => Some(WriteFailed::Store(error.clone())),
            None => self.is_closing.then_some(WriteFailed::Closed),
        }
    }
}

/// What waits for the disk.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    work: Condvar,
    room: Condvar,
    bytes_max: usize,
    counters: Arc<LogCounters>,
    synced_batches: AtomicU64,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, counters: Arc<LogCounters>) -> Self {
        Self { waiting: Mutex::default(), work: Condvar::new(), room: Condvar::new(), bytes_max, counters, synced_batches: AtomicU64::new(0) }
    }

    /// Blocks while the queue is full. Never called with a group's lock held: the writer needs it to make room.
    pub(crate) fn wait_for_room(&self) -> Result<(), WriteFailed> {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes >= self.bytes_max {
            self.counters.queue_waits.fetch_add(1, Relaxed);
        }
        while waiting.bytes >= self.bytes_max && waiting.failed.is_none() {
            waiting = wait(&self.room, waiting);
        }
        waiting.refusal().map_or(Ok(()), Err)
    }

    /// Queues a job.
    ///
    /// # Errors
    /// The store has failed: the callback is given back, to be told without any lock held.
    pub(crate) fn push(&self, job: Job) -> Result<(), Refused> {
        let mut waiting = lock(&self.waiting);
        if let Some(error) = waiting.refusal() {
            return Err((error, job.done));
        }
        waiting.bytes += job.change.bytes();
        waiting.jobs.push_back((job, Stopwatch::start()));
        if std::mem::take(&mut waiting.is_idle) {
            self.work.notify_one();
        }
        Ok(())
    }

    pub(crate) fn save_committed(&self, group: GroupId, committed: LogId) {
        lock(&self.waiting).committed.insert(group, committed);
    }

    pub(crate) fn forget_committed(&self, group: GroupId) {
        lock(&self.waiting).committed.remove(&group);
    }

    /// Jobs and bytes that wait.
    pub(crate) fn depth(&self) -> (u64, u64) {
        let waiting = lock(&self.waiting);
        (waiting.jobs.len() as u64, waiting.bytes as u64)
    }

    /// Synced batches so far.
    pub(crate) fn synced_batches(&self) -> u64 {
        self.synced_batches.load(Relaxed)
    }

    /// Makes the writer end once the queue is empty.
    pub(crate) fn close(&self) {
        lock(&self.waiting).is_closing = true;
        self.work.notify_all();
    }

    fn fail(&self, error: &FatalError) -> Vec<Job> {
        let mut waiting = lock(&self.waiting);
        waiting.failed = Some(error.clone());
        waiting.bytes = 0;
        let jobs = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        self.room.notify_all();
        jobs.into_iter().map(|(job, _)| job).collect()
    }

    /// Waits for work. `None`: closing, and nothing is left.
    fn next_batch(&self, options: &Options) -> Option<(Vec<Job>, BTreeMap<GroupId, LogId>)> {
        let mut waiting = lock(&self.waiting);
        while waiting.jobs.is_empty() {
            if waiting.is_closing {
                let committed = std::mem::take(&mut waiting.committed);
                return (!committed.is_empty()).then_some((Vec::new(), committed));
            }
            waiting.is_idle = true;
            waiting = wait(&self.work, waiting);
        }
        waiting.is_idle = false;
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some((job, since)) = waiting.jobs.front() {
            let more = job.change.bytes();
            if !jobs.is_empty() && (bytes + more > options.log_batch_bytes_max || jobs.len() >= options.log_batch_jobs_max) {
                break;
            }
            bytes += more;
            self.counters.queue_wait_micros.record_micros(since.elapsed());
            jobs.extend(waiting.jobs.pop_front().map(|(job, _)| job));
        }
        waiting.bytes -= bytes;
        // A hint that is on the disk before its entries are would keep the group closed after a crash.
        let committed = if waiting.jobs.is_empty() { std::mem::take(&mut waiting.committed) } else { BTreeMap::new() };
        drop(waiting);
        self.room.notify_all();
        Some((jobs, committed))
    }
}

/// The thread's work, until the queue is closed and empty.
pub(crate) struct Writer {
    pub(crate) databases: Arc<Databases>,
    pub(crate) log: Arc<LogDb>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) fatal: Arc<Fatal>,
    pub(crate) counters: Arc<LogCounters>,
    pub(crate) options: Options,
}

impl Writer {
    pub(crate) fn run(self) {
        if catch_unwind(AssertUnwindSafe(|| self.write_until_closed())).is_err() {
            let error = self.fatal.raise("keep writing the raft log", Panicked("log writer"));
            self.give_up(Vec::new(), &error);
        }
    }

    fn write_until_closed(&self) {
        let (synced, unsynced) = (synced(), WriteOptions::default());
        let quirk = self.options.quirk;
        let mut last_synced = Stopwatch::start();
        while let Some((jobs, committed)) = self.queue.next_batch(&self.options) {
            let started = Stopwatch::start();
            // What may be lost with the power: nothing, unless this node is a mutant.
            let is_late = quirk.is(Mutant::AckBeforeFsync) && last_synced.elapsed() < LATE_SYNC;
            let options = if is_late || quirk.is(Mutant::WalSyncOff) { &unsynced } else { &synced };
            if !is_late {
                last_synced = Stopwatch::start();
            }
            let (count, written) = (jobs.len(), self.write(&jobs, committed, options));
            let bytes = match written {
                Ok(bytes) => bytes,
                Err(error) => return self.give_up(jobs, &error),
            };
            self.queue.synced_batches.fetch_add(1, Relaxed);
            self.databases.note_synced();
            self.counters.synced(count, bytes, started.elapsed());
            for job in jobs {
                self.complete(job);
            }
            if count > 1 {
                self.pause(started);
            }
        }
    }

    /// Under load a short gap lets the next batch fill: fewer syncs, lower latency.
    fn pause(&self, started: Stopwatch) {
        let Some(left) = self.options.log_sync_gap.checked_sub(started.elapsed()) else { return };
        let waiting = lock(&self.queue.waiting);
        if !waiting.is_closing && waiting.bytes < self.options.log_batch_bytes_max {
            // `is_idle` is unset, so only closing ends this early.
            drop(wait_for(&self.queue.work, waiting, left));
        }
    }

    fn write(&self, jobs: &[Job], committed: BTreeMap<GroupId, LogId>, options: &WriteOptions) -> Result<usize, FatalError> {
        const OPERATION: &str = "write the raft log";
        let (log, meta, local) = (self.databases.log_cf(CF_LOG), self.databases.log_cf(CF_META), self.databases.log_cf(CF_LOCAL));
        let mut batch = WriteBatch::with_capacity_bytes(jobs.iter().map(|job| job.change.bytes()).sum());
        for job in jobs {
            match &job.change {
                Change::Append(entries) => entries.iter().for_each(|(index, value)| batch.put_cf(log, entry_key(job.group, *index), value)),
                Change::Meta(field, value) => batch.put_cf(meta, field.key(job.group), value),
                Change::TruncateFrom(index) => batch.delete_range_cf(log, &entry_key(job.group, *index)[..], &key::whole(job.group).1[..]),
                Change::Purge { from, upto } => {
                    batch.delete_range_cf(log, entry_key(job.group, *from), entry_key(job.group, upto.index.get() + 1));
                    batch.put_cf(meta, MetaField::Purged.key(job.group), codec::seal(&upto.encode()));
                }
                Change::Local(name, Some(value)) => batch.put_cf(local, name, value),
                Change::Local(name, None) => batch.delete_cf(local, name),
                Change::Destroy { also } => {
                    let (from, to) = key::whole(job.group);
                    batch.delete_range_cf(log, &from, &to);
                    batch.delete_range_cf(meta, &from, &to);
                    also.iter().for_each(|name| batch.delete_cf(local, name));
                }
            }
        }
        for (group, committed) in committed {
            batch.put_cf(meta, MetaField::Committed.key(group), codec::seal(&committed.encode()));
        }
        let bytes = batch.size_in_bytes();
        self.fatal.check()?;
        self.fatal.injected().map_err(|cause| self.fatal.raise(OPERATION, cause))?;
        self.options.steps.pass(step::log::BEFORE_SYNC);
        self.databases.log.write_opt(batch, options).map_err(|cause| {
            if loss::is_damage(&cause) {
                loss::mark(&self.databases.dir, "log");
            }
            self.fatal.raise(OPERATION, cause)
        })?;
        self.options.steps.pass(step::log::AFTER_SYNC);
        for job in jobs {
            if let Change::Purge { from, upto } = &job.change
                && upto.index.get() - from >= PURGE_FILES_MIN
                && let Err(error) =
                    self.databases.log.delete_file_in_range_cf(log, entry_key(job.group, *from), entry_key(job.group, upto.index.get()))
            {
                // Only the space is late: the range is deleted already.
                tracing::warn!(group = %job.group, %error, "cannot drop files of purged entries");
            }
        }
        Ok(bytes)
    }

    fn complete(&self, job: Job) {
        let mut ready = Vec::new();
        if let Some((log, epoch)) = &job.log {
            let flushed = match &job.change {
                Change::Append(entries) => entries.last().map(|(index, _)| *index),
                Change::TruncateFrom(index) => index.checked_sub(1),
                Change::Purge { upto, .. } => Some(upto.index.get()),
                Change::Meta(..) | Change::Local(..) | Change::Destroy { .. } => None,
            };
            if let Some(flushed) = flushed {
                ready = lock(log).on_flushed(*epoch, flushed, self.log.tail_bytes_max());
            }
        }
        if let Some(done) = job.done {
            done(Ok(()));
        }
        ready.into_iter().for_each(|done| done(Ok(())));
    }

    fn give_up(&self, jobs: Vec<Job>, error: &FatalError) {
        let waiting = self.queue.fail(error);
        for done in jobs.into_iter().chain(waiting).filter_map(|job| job.done) {
            done(Err(WriteFailed::Store(error.clone())));
        }
        self.log.fail_waiters(error);
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::id::{LogIndex, Term};

    use super::*;

    #[test]
    fn a_commit_hint_is_never_written_before_what_was_queued_ahead_of_it() {
        let options = Options { log_batch_jobs_max: 2, ..Options::default() };
        let queue = Queue::new(options.log_queue_bytes_max, Arc::new(LogCounters::new()));
        let group = GroupId::new(1);
        for index in 1..=3 {
            let job = Job { group, log: None, change: Change::Append(vec![(index, vec![0])]), done: None };
            assert!(queue.push(job).is_ok());
        }
        queue.save_committed(group, LogId { term: Term::new(1), index: LogIndex::new(3) });
        let (jobs, committed) = queue.next_batch(&options).expect("work");
        assert_eq!((jobs.len(), committed.len()), (2, 0), "the third entry is not in this batch");
        let (jobs, committed) = queue.next_batch(&options).expect("work");
        assert_eq!((jobs.len(), committed.len()), (1, 1));
    }
}
