use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use kith_wire::{
    id::{NodeId, Term},
    log::Payload,
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use crate::{Options, Storage, testing::copy_dir};

fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term::new(term), index: LogIndex::new(index) }
}

fn entry(term: u64, index: u64) -> Entry {
    let body = format!("entry {index} of term {term}").repeat(1 + index as usize % 7);
    Entry { id: id(term, index), payload: Payload::Batch(body.into_bytes().into()) }
}

fn entries(term: u64, indexes: RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

fn ignored() -> Done {
    Box::new(drop)
}

fn append(log: &LogDb, group: GroupId, entries: Vec<Entry>) -> Result<(), WriteFailed> {
    let (done, is_done) = mpsc::channel();
    log.append(group, entries, Box::new(move |result| done.send(result).unwrap()));
    is_done.recv().unwrap()
}

fn all(log: &LogDb, group: GroupId) -> Vec<Entry> {
    log.read(group, LogIndex::new(0)..=LogIndex::new(u64::MAX), usize::MAX).unwrap()
}

fn open(dir: &Path) -> Arc<Storage> {
    Storage::open(dir, Options::default()).unwrap()
}

/// What a log should hold.
#[derive(Clone, Default, Debug)]
struct Model {
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
}

impl Model {
    fn check(&self, log: &LogDb, group: GroupId) {
        let bounds = log.bounds(group);
        assert_eq!((bounds.purged, bounds.last, bounds.vote), (self.purged, self.last, self.vote));
        assert_eq!(all(log, group), self.entries.values().cloned().collect::<Vec<_>>());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    Truncate(u64),
    Purge(u64),
    Vote(u64),
    Read(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..6u64).prop_map(Op::Append),
        1 => (0..6u64).prop_map(Op::Truncate),
        1 => (0..8u64).prop_map(Op::Purge),
        1 => (1..9u64).prop_map(Op::Vote),
        1 => (0..40u64, 0..10u64).prop_map(|(from, count)| Op::Read(from, count)),
    ]
}

/// Runs operations on a group and on its model; terms rise with each truncation.
fn run(log: &LogDb, group: GroupId, ops: &[Op]) -> Model {
    let (mut model, mut term) = (Model::default(), 1);
    for op in ops {
        let next = model.last.map_or(0, |last| last.index.get() + 1);
        match *op {
            Op::Append(count) => {
                let new = entries(term, next..=next + count - 1);
                model.last = Some(new[new.len() - 1].id);
                model.entries.extend(new.iter().map(|entry| (entry.id.index.get(), entry.clone())));
                log.append(group, new, ignored());
            }
            Op::Truncate(back) => {
                let keep = model.last.map(|last| last.index.get()).and_then(|last| last.checked_sub(back));
                let keep = keep.and_then(|index| model.entries.get(&index).map(|entry| entry.id)).or(model.purged);
                model.entries.retain(|index, _| keep.is_some_and(|keep| *index <= keep.index.get()));
                model.last = keep;
                term += 1;
                log.truncate_after(group, keep);
            }
            Op::Purge(ahead) => {
                // Sometimes beyond the last entry, as after a snapshot.
                let first = model.purged.map_or(0, |purged| purged.index.get() + 1);
                let upto = model.entries.get(&(first + ahead)).map_or_else(|| id(term, first + ahead), |entry| entry.id);
                model.entries.retain(|index, _| *index > upto.index.get());
                model.purged = Some(upto);
                if model.last.is_none_or(|last| last.index < upto.index) {
                    model.last = Some(upto);
                }
                log.purge(group, upto);
            }
            Op::Vote(node) => {
                let vote = Vote { term: Term::new(term), node: Some(NodeId::new(node)), committed: false };
                model.vote = Some(vote);
                log.save_vote(group, vote, ignored());
            }
            Op::Read(from, count) => {
                let expected: Vec<_> = model.entries.range(from..=from + count).map(|(_, entry)| entry.clone()).collect();
                let read = log.read(group, LogIndex::new(from)..=LogIndex::new(from + count), usize::MAX).unwrap();
                assert_eq!(read, expected);
            }
        }
        model.check(log, group);
    }
    model
}

#[test]
fn any_order_of_changes_is_what_memory_shows_and_what_a_kill_leaves() {
    let dir = tempfile::tempdir().unwrap();
    // Two entries stay in memory: most reads meet both disk and tail.
    let store = Storage::open(dir.path(), Options { log_tail_bytes: 150, ..Options::default() }).unwrap();
    let mut models = BTreeMap::new();
    let group = AtomicUsize::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases: 100, ..ProptestConfig::default() });
    let found = std::cell::RefCell::new(&mut models);
    runner
        .run(&proptest::collection::vec(op(), 0..40), |ops| {
            let group = GroupId::new(group.fetch_add(1, Ordering::Relaxed) as u32);
            found.borrow_mut().insert(group, run(store.log(), group, &ops));
            Ok(())
        })
        .unwrap();
    store.local_put("barrier", b"").unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    let killed = open(copy.path());
    for (group, model) in &models {
        model.check(killed.log(), *group);
        let bounds = killed.log().bounds(*group);
        assert_eq!(bounds.flushed, bounds.last.map(|last| last.index));
    }
}

#[test]
fn many_groups_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    thread::scope(|threads| {
        for group in 0..16 {
            let log = store.log();
            threads.spawn(move || (0..25).for_each(|index| append(log, GroupId::new(group), vec![entry(1, index)]).unwrap()));
        }
    });
    let metrics = store.log().metrics();
    assert_eq!(metrics.jobs_per_sync.sum, 16 * 25);
    assert!(metrics.jobs_per_sync.count < 16 * 25 / 2, "{metrics:?}");
    assert_eq!(metrics.jobs_per_sync.count, store.synced_batches());
    assert_eq!((metrics.queue_jobs, metrics.queue_bytes), (0, 0));
}

#[test]
fn entries_are_readable_before_they_are_flushed_and_bounded_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    log.append(group, entries(1, 1..=20), ignored());
    assert_eq!(all(log, group), entries(1, 1..=20));
    let size = crate::codec::seal(&entry(1, 1).encode()).len();
    let read = |bytes| log.read(group, LogIndex::new(1)..=LogIndex::new(20), bytes).unwrap().len();
    assert_eq!((read(0), read(1), read(size), read(size + 1)), (1, 1, 1, 2));
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    let read = |bytes| store.log().read(group, LogIndex::new(1)..=LogIndex::new(20), bytes).unwrap().len();
    assert_eq!((read(0), read(size), read(size + 1), read(usize::MAX)), (1, 1, 2, 20));
}

#[test]
fn the_tail_is_evicted_only_below_what_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options { log_tail_bytes: 0, ..Options::default() }).unwrap();
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 0..=9)).unwrap();
    assert_eq!(log.tail_len(group), 0);
    assert_eq!(all(log, group), entries(1, 0..=9));
    let unflushed = entries(1, 10..=12);
    log.append(group, unflushed, ignored());
    assert_eq!(all(log, group), entries(1, 0..=12));
}

#[test]
fn a_truncation_takes_back_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 0..=9)).unwrap();
    assert_eq!(log.flushed(group), Some(LogIndex::new(9)));
    log.append(group, entries(1, 10..=19), ignored());
    log.truncate_after(group, Some(id(1, 4)));
    assert_eq!(log.flushed(group), Some(LogIndex::new(4)));
    let (told, is_told) = mpsc::channel();
    log.flushed_wait(group, LogIndex::new(6), Box::new(move |result| told.send(result).unwrap()));
    store.local_put("barrier", b"").unwrap();
    assert!(is_told.try_recv().is_err(), "entry 6 was taken back, and no other has come");
    append(log, group, entries(2, 5..=7)).unwrap();
    is_told.recv().unwrap().unwrap();
    assert_eq!(all(log, group), [entries(1, 0..=4), entries(2, 5..=7)].concat());
}

#[test]
fn a_purge_beyond_the_log_counts_as_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    let (told, is_told) = mpsc::channel();
    log.flushed_wait(group, LogIndex::new(50), Box::new(move |result| told.send(result).unwrap()));
    log.purge(group, id(3, 50));
    is_told.recv().unwrap().unwrap();
    append(log, group, entries(3, 51..=52)).unwrap();
    assert_eq!(log.bounds(group).purged, Some(id(3, 50)));
    assert_eq!(all(log, group), entries(3, 51..=52));
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 3..=4)).unwrap();
    assert!(matches!(append(log, group, entries(1, 6..=6)), Err(WriteFailed::Hole { .. })));
    assert!(matches!(append(log, group, entries(1, 4..=4)), Err(WriteFailed::Hole { .. })));
    assert_eq!(all(log, group), entries(1, 3..=4));
}

#[test]
fn the_commit_hint_rides_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 0..=3)).unwrap();
    let syncs = store.synced_batches();
    log.save_committed(group, id(1, 2));
    log.save_committed(group, id(1, 3));
    assert_eq!((store.synced_batches(), log.bounds(group).committed), (syncs, Some(id(1, 3))));
    store.local_put("any", b"job").unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    assert_eq!(open(copy.path()).log().bounds(group).committed, Some(id(1, 3)));
}

#[test]
fn the_first_failed_write_ends_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 0..=3)).unwrap();
    let reports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reports);
    store.on_fatal(Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    store.fatal.fail_next_write();
    let (told, is_told) = mpsc::channel();
    let waiter = told.clone();
    log.flushed_wait(group, LogIndex::new(4), Box::new(move |result| waiter.send(result.is_err()).unwrap()));
    log.append(group, entries(1, 4..=4), Box::new(move |result| told.send(result.is_err()).unwrap()));
    assert!(is_told.recv().unwrap() && is_told.recv().unwrap());
    assert!(matches!(append(log, group, entries(1, 5..=5)), Err(WriteFailed::Store(_))));
    assert!(store.local_put("name", b"value").is_err());
    assert!(store.close().is_err());
    assert_eq!(reports.load(Ordering::Relaxed), 1);
    drop(store);
    let store = open(dir.path());
    assert_eq!(all(store.log(), group), entries(1, 0..=3));
}

#[test]
fn a_full_queue_makes_appenders_wait() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options { log_queue_bytes_max: 1, ..Options::default() }).unwrap();
    thread::scope(|threads| {
        for group in 0..4 {
            let log = store.log();
            threads.spawn(move || (0..50).for_each(|index| log.append(GroupId::new(group), vec![entry(1, index)], ignored())));
        }
    });
    store.local_put("barrier", b"").unwrap();
    assert!(store.log().metrics().queue_waits > 0);
    (0..4).for_each(|group| assert_eq!(all(store.log(), GroupId::new(group)), entries(1, 0..=49)));
}

#[test]
fn a_purged_log_stays_purged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (log, group) = (store.log(), GroupId::new(1));
    append(log, group, entries(1, 0..=99)).unwrap();
    log.purge(group, id(1, 49));
    log.purge(group, id(1, 20));
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.log().bounds(group).purged, Some(id(1, 49)));
    assert_eq!(all(store.log(), group), entries(1, 50..=99));
    store.log().purge(group, id(1, 99));
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.log().bounds(group).last, Some(id(1, 99)));
    append(store.log(), group, entries(2, 100..=100)).unwrap();
}
