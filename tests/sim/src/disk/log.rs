//! The logs of a node on a simulated disk: at once in memory, some time later on the platter.
//!
//! In: what the log-store glue writes. Out: completions after a sync that takes its time. Invariants: those of kith-storage's `LogDb`:
//! changes reach the platter in the order of the calls; `flushed` never runs ahead of it, nor beyond a truncation. A crash leaves any
//! prefix of what was being written, even of one append.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use kith_raft::disk::LogDisk;
use kith_storage::{Bounds, Done, ReadError, WriteFailed};
use kith_wire::{
    id::{GroupId, LogIndex},
    log::{Entry, LogId, Vote},
};

use super::{Life, platter::Change};
use crate::{invariant::Step, random::Random};

/// A change on its way to the platter.
struct Job {
    group: GroupId,
    change: Change,
    /// The log's epoch at the call, and what is flushed once this is.
    flushes: Option<(u64, u64)>,
    done: Option<Done>,
}

/// Logs in memory, and what waits for the disk.
#[derive(Default)]
pub(super) struct Logs {
    groups: Mutex<BTreeMap<GroupId, Tail>>,
    queue: Mutex<Queue>,
    wake: tokio::sync::Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    written: Vec<Job>,
    committed: BTreeMap<GroupId, LogId>,
    /// Hints that go with what is being written.
    hints: BTreeMap<GroupId, LogId>,
}

#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    flushed: Option<u64>,
    epoch: u64,
    waiters: Vec<(u64, Done)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tail {
    fn ready(&mut self) -> Vec<Done> {
        let Some(flushed) = self.flushed else { return Vec::new() };
        let (ready, waiting) = std::mem::take(&mut self.waiters).into_iter().partition(|(index, _)| *index <= flushed);
        self.waiters = waiting;
        ready.into_iter().map(|(_, done)| done).collect()
    }
}

impl Logs {
    /// What a start finds on the platter.
    pub(super) fn load(life: &Life) -> Self {
        let logs = Self::default();
        let mut groups = lock(&logs.groups);
        for (group, on) in &life.platter().groups {
            let last = on.last().max(on.purged);
            let tail = Tail {
                vote: on.vote,
                last,
                purged: on.purged,
                committed: on.committed,
                entries: on.entries.clone(),
                flushed: last.map(|last| last.index.get()),
                ..Tail::default()
            };
            groups.insert(*group, tail);
        }
        drop(groups);
        logs
    }

    /// The disk at work, for as long as the node lives.
    pub(super) async fn run(life: Arc<Life>, mut random: Random) {
        let logs = &life.logs;
        while !life.is_dead() {
            let has_work = {
                let mut queue = lock(&logs.queue);
                // Now and then a batch is full before the queue is empty; hints wait for what was queued ahead of them.
                let jobs_max = if random.percent(20) { 1 } else { queue.waiting.len() };
                let jobs: Vec<_> = {
                    let count = jobs_max.min(queue.waiting.len());
                    queue.waiting.drain(..count).collect()
                };
                queue.written.extend(jobs);
                if queue.waiting.is_empty() {
                    queue.hints = std::mem::take(&mut queue.committed);
                }
                !queue.written.is_empty()
            };
            if !has_work {
                logs.wake.notified().await;
                continue;
            }
            let slow = life.slow_by.load(Ordering::Relaxed);
            let micros = if random.percent(5) { random.of(2_000..30_000) } else { random.of(100..2_000) };
            tokio::time::sleep(Duration::from_micros(micros * slow.max(1))).await;
            if life.is_dead() {
                return;
            }
            Self::sync(&life);
        }
    }

    fn sync(life: &Life) {
        let (jobs, committed) = {
            let mut queue = lock(&life.logs.queue);
            (std::mem::take(&mut queue.written), std::mem::take(&mut queue.hints))
        };
        {
            let mut platter = life.platter();
            for job in &jobs {
                platter.groups.entry(job.group).or_default().change(&job.change);
            }
            for (group, id) in committed {
                platter.groups.entry(group).or_default().change(&Change::Committed(id));
            }
        }
        for job in &jobs {
            life.watch.step(&Step::Synced { node: life.node, group: job.group, change: &job.change });
        }
        for job in jobs {
            let mut ready = Vec::new();
            if let Some((epoch, index)) = job.flushes
                && let Some(tail) = lock(&life.logs.groups).get_mut(&job.group)
            {
                if tail.epoch == epoch {
                    tail.flushed = tail.flushed.max(Some(index));
                }
                ready = tail.ready();
            }
            job.done.into_iter().chain(ready).for_each(|done| done(Ok(())));
        }
    }

    /// The power fails: of what was being written a prefix stays, perhaps not even the whole of its last append.
    pub(super) fn crash(life: &Life, random: &mut Random) {
        let logs = &life.logs;
        let (written, waiting) = {
            let mut queue = lock(&logs.queue);
            (std::mem::take(&mut queue.written), std::mem::take(&mut queue.waiting))
        };
        let whole = random.of(0..written.len() as u64 + 1) as usize;
        {
            let mut platter = life.platter();
            for job in &written[..whole] {
                platter.groups.entry(job.group).or_default().change(&job.change);
            }
            if let Some(Job { group, change: Change::Append(entries), .. }) = written.get(whole) {
                let torn = entries[..random.of(0..entries.len() as u64 + 1) as usize].to_vec();
                platter.groups.entry(*group).or_default().change(&Change::Append(torn));
            }
        }
        let waiters: Vec<_> = lock(&logs.groups).values_mut().flat_map(|tail| std::mem::take(&mut tail.waiters)).map(|(_, done)| done).collect();
        let jobs = written.into_iter().chain(waiting).filter_map(|job| job.done);
        jobs.chain(waiters).for_each(|done| done(Err(WriteFailed::Closed)));
        logs.wake.notify_one();
    }

    /// After an install the log begins behind it, at once: kith-storage waits for that sync before it says that the install is done.
    pub(super) fn installed(life: &Life, group: GroupId, upto: LogId) {
        life.log_purge(group, upto);
        Self::sync_all(life);
    }

    fn sync_all(life: &Life) {
        {
            let mut queue = lock(&life.logs.queue);
            let jobs = std::mem::take(&mut queue.waiting);
            queue.written.extend(jobs);
        }
        Self::sync(life);
    }

    fn push(&self, group: GroupId, change: Change, flushes: Option<(u64, u64)>, done: Option<Done>) {
        lock(&self.queue).waiting.push_back(Job { group, change, flushes, done });
        self.wake.notify_one();
    }
}

impl Life {
    fn log_purge(&self, group: GroupId, upto: LogId) {
        let mut groups = lock(&self.logs.groups);
        let tail = groups.entry(group).or_default();
        if tail.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        tail.entries = tail.entries.split_off(&(upto.index.get() + 1));
        tail.purged = Some(upto);
        if tail.last.is_none_or(|last| last.index < upto.index) {
            tail.last = Some(upto);
        }
        tail.flushed = tail.flushed.max(Some(upto.index.get()));
        let ready = tail.ready();
        let flushes = Some((tail.epoch, upto.index.get()));
        drop(groups);
        self.logs.push(group, Change::Purge(upto), flushes, None);
        ready.into_iter().for_each(|done| done(Ok(())));
    }
}

impl LogDisk for Life {
    fn bounds(&self, group: GroupId) -> Bounds {
        let groups = lock(&self.logs.groups);
        let Some(tail) = groups.get(&group) else { return Bounds::default() };
        Bounds { vote: tail.vote, last: tail.last, purged: tail.purged, committed: tail.committed, flushed: tail.flushed.map(LogIndex::new) }
    }

    fn read(&self, group: GroupId, indexes: RangeInclusive<LogIndex>, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let groups = lock(&self.logs.groups);
        let Some(tail) = groups.get(&group) else { return Ok(Vec::new()) };
        let mut bytes = 0;
        let (from, to) = (indexes.start().get(), indexes.end().get());
        let mut found: Vec<Entry> = Vec::new();
        for entry in tail.entries.range(from..=to.max(from)).map(|(_, entry)| entry) {
            if bytes >= bytes_max && !found.is_empty() {
                break;
            }
            if let Some(last) = found.last()
                && last.id.index.get() + 1 != entry.id.index.get()
            {
                return Err(ReadError::Hole { group, index: LogIndex::new(last.id.index.get() + 1) });
            }
            bytes += 64;
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn append(&self, group: GroupId, entries: Vec<Entry>, done: Done) {
        if self.is_dead() {
            return done(Err(WriteFailed::Closed));
        }
        let mut groups = lock(&self.logs.groups);
        let tail = groups.entry(group).or_default();
        let mut expected = tail.last.map(|last| last.index.get() + 1);
        for entry in &entries {
            let index = entry.id.index.get();
            if expected.is_some_and(|expected| expected != index) {
                let (last, found) = (LogIndex::new(expected.unwrap_or_default().saturating_sub(1)), LogIndex::new(index));
                drop(groups);
                self.watch.violate(format!("node {}: a hole in the log of group {group}: {found} after {last}", self.node));
                return done(Err(WriteFailed::Hole { group, last, found }));
            }
            expected = Some(index + 1);
        }
        for entry in &entries {
            tail.last = Some(entry.id);
            tail.entries.insert(entry.id.index.get(), entry.clone());
        }
        let flushes = entries.last().map(|entry| (tail.epoch, entry.id.index.get()));
        drop(groups);
        self.logs.push(group, Change::Append(entries), flushes, Some(done));
    }

    fn save_vote(&self, group: GroupId, vote: Vote, done: Done) {
        if self.is_dead() {
            return done(Err(WriteFailed::Closed));
        }
        lock(&self.logs.groups).entry(group).or_default().vote = Some(vote);
        self.logs.push(group, Change::Vote(vote), None, Some(done));
    }

    fn save_committed(&self, group: GroupId, committed: LogId) {
        lock(&self.logs.groups).entry(group).or_default().committed = Some(committed);
        lock(&self.logs.queue).committed.insert(group, committed);
    }

    fn truncate_after(&self, group: GroupId, last: Option<LogId>) {
        if self.is_dead() {
            return;
        }
        let mut groups = lock(&self.logs.groups);
        let tail = groups.entry(group).or_default();
        let last = if tail.purged.map(|id| id.index) > last.map(|id| id.index) { tail.purged } else { last };
        if tail.last.is_none_or(|newest| last.is_some_and(|last| last.index >= newest.index)) {
            return;
        }
        let next = last.map_or(0, |last| last.index.get() + 1);
        drop(tail.entries.split_off(&next));
        tail.last = last;
        tail.flushed = match (tail.flushed, last) {
            (Some(flushed), Some(last)) => Some(flushed.min(last.index.get())),
            _ => None,
        };
        tail.epoch += 1;
        let flushes = next.checked_sub(1).map(|index| (tail.epoch, index));
        drop(groups);
        self.logs.push(group, Change::TruncateFrom(next), flushes, None);
    }

    fn purge(&self, group: GroupId, upto: LogId) {
        if self.is_dead() {
            return;
        }
        let durable = self.platter().groups.get(&group).map_or(0, super::OnPlatter::applied_index);
        if durable < upto.index.get() {
            self.watch
                .violate(format!("node {}: group {group} purges its log up to {}, and its durable state is at {durable}", self.node, upto.index));
        }
        self.log_purge(group, upto);
    }

    fn flushed_wait(&self, group: GroupId, index: LogIndex, done: Done) {
        if self.is_dead() {
            return done(Err(WriteFailed::Closed));
        }
        let mut groups = lock(&self.logs.groups);
        let tail = groups.entry(group).or_default();
        if tail.flushed.is_some_and(|flushed| flushed >= index.get()) {
            drop(groups);
            return done(Ok(()));
        }
        tail.waiters.push((index.get(), done));
    }
}
