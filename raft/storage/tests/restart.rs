//! A store that is closed, and one that is killed, opened again.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use kith_machine::{
    Meta, apply,
    testing::{MemoryView, Script, random_steps},
    view::{Row, RowKey, Scan, StateView, WriteSet},
};
use kith_storage::{Options, Storage, check::check};
use kith_wire::{
    id::{ChannelId, GroupId, LogIndex, Seq, Term, UserId},
    log::{Applied, ChannelRow, Entry, LogId, Payload, PushDueRow},
};

fn id(index: u64) -> LogId {
    LogId { term: Term::new(1), index: LogIndex::new(index) }
}

fn applied(index: u64) -> Applied {
    Applied { last: Some(id(index)), ..Applied::default() }
}

#[test]
fn appended_and_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let group = GroupId::new(3);
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.identity().boot.get(), 1);
    let (done, is_done) = mpsc::channel();
    let entries = (0..10).map(|index| Entry { id: id(index), payload: Payload::Batch(b"hello".to_vec().into()) }).collect();
    store.log().append(group, entries, Box::new(move |result| done.send(result).unwrap()));
    is_done.recv().unwrap().unwrap();
    let state = store.state().group(group);
    let mut writes = WriteSet::default();
    writes.rows.insert(RowKey::Channel(channel), Some(Arc::new(Row::Channel(ChannelRow::default()))));
    writes.rows.insert(RowKey::Dirty(channel), Some(Arc::new(Row::Dirty)));
    state.commit(writes, applied(9)).unwrap();
    store.local_put("map", b"the last map").unwrap();
    let first = store.identity();
    store.close().unwrap();
    assert_eq!(store.state().durable_applied(group), Some(id(9)));
    drop((state, store));
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert_eq!((store.identity().store, store.identity().boot.get()), (first.store, 2));
    assert_eq!(store.log().bounds(group).last, Some(id(9)));
    assert_eq!(store.local_get("map").unwrap().unwrap(), b"the last map");
    let state = store.state().group(group);
    assert_eq!(state.applied().last, Some(id(9)));
    assert_eq!(state.scan(&Scan::Dirty(None), false, 10).unwrap().len(), 1);
    assert!(state.get(&RowKey::Record(channel, Seq::new(1))).unwrap().is_none());
}

#[test]
fn a_folder_of_an_older_build_that_lacks_a_column_family_opens_and_works() {
    let dir = tempfile::tempdir().unwrap();
    let group = GroupId::new(3);
    let (user, channel) = (UserId::new(1), ChannelId::direct(UserId::new(1), UserId::new(2)));
    let put = |store: &Storage, index, key: RowKey, row: Row| {
        let mut writes = WriteSet::default();
        writes.rows.insert(key, Some(Arc::new(row)));
        store.state().group(group).commit(writes, applied(index)).unwrap();
    };
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    put(&store, 1, RowKey::Channel(channel), Row::Channel(ChannelRow::default()));
    store.close().unwrap();
    drop(store);
    let found = || format!("{:?}", check(dir.path()).unwrap().problems);
    let before = found();
    // As builds before pushes left it.
    let (path, options) = (dir.path().join("state"), rocksdb::Options::default());
    let families = rocksdb::DB::list_cf(&options, &path).unwrap();
    let mut database = rocksdb::DB::open_cf(&options, &path, &families).unwrap();
    database.drop_cf("push").unwrap();
    drop(database);
    assert!(!rocksdb::DB::list_cf(&options, &path).unwrap().contains(&"push".to_owned()));

    // The offline check reads it as it is, and leaves it so.
    assert_eq!(found(), before);
    assert!(!rocksdb::DB::list_cf(&options, &path).unwrap().contains(&"push".to_owned()));
    for index in [2, 3] {
        let store = Storage::open(dir.path(), Options::default()).unwrap();
        let state = store.state().group(group);
        assert_eq!(state.applied().last, Some(id(index - 1)), "nothing was put aside");
        assert!(state.get(&RowKey::Channel(channel)).unwrap().is_some());
        assert_eq!(state.scan(&Scan::PushesDue(None), false, 10).unwrap().len(), usize::from(index == 3));
        put(&store, index, RowKey::PushDue(user, channel), Row::PushDue(PushDueRow::default()));
        assert_eq!(state.scan(&Scan::PushesDue(None), false, 10).unwrap().len(), 1);
        store.close().unwrap();
    }
}

const CHILD_DIR: &str = "KITH_STORAGE_TEST_CHILD_DIR";
const GROUPS: u32 = 3;
const STEPS: usize = 1_500;

fn script(group: u32) -> Script {
    let mut script = Script::new();
    random_steps(u64::from(group), STEPS).into_iter().for_each(|step| {
        script.step(step);
    });
    script
}

fn entry(script: &Script, index: usize) -> Entry {
    Entry { id: id(index as u64), payload: Payload::Batch(script.log[index - 1].encode()) }
}

/// Applies as a node does: entries are appended, and applied once they are flushed. Says what a caller could rely on.
#[test]
fn workload_of_the_killed_process() {
    let Some(dir) = env::var_os(CHILD_DIR) else { return };
    let store = Storage::open(Path::new(&dir), Options::default()).unwrap();
    thread::scope(|threads| {
        for group in 0..GROUPS {
            let store = &store;
            threads.spawn(move || {
                let (script, group) = (script(group), store.state().group(GroupId::new(group)));
                for index in 1..=script.log.len() {
                    let (done, is_done) = mpsc::channel();
                    store.log().append(group.id(), vec![entry(&script, index)], Box::new(move |result| drop(done.send(result))));
                    is_done.recv().unwrap().unwrap();
                    println!("\nlogged {} {index}", group.id());
                    group.commit(script.applied[index - 1].writes.clone(), applied(index as u64)).unwrap();
                    if index % 40 == 0 {
                        store.state().flush().unwrap();
                        println!("\ndurable {} {}", group.id(), store.state().durable_applied(group.id()).unwrap().index);
                    }
                }
            });
        }
    });
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged_and_leaves_exact_prefixes() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "workload_of_the_killed_process", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut logged, mut durable, mut lines) = (BTreeMap::new(), BTreeMap::new(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let mut words = line.split(' ');
        let (said, group, index) = (words.next(), words.next(), words.next().and_then(|index| index.parse::<u64>().ok()));
        let (Some(said @ ("logged" | "durable")), Some(group), Some(index)) = (said, group, index) else { continue };
        let group: u32 = group.parse().unwrap();
        if said == "logged" { &mut logged } else { &mut durable }.insert(group, index);
        lines += 1;
        if lines == 700 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert_eq!(durable.len(), GROUPS as usize, "killed too early to show anything");
    assert!(check(dir.path()).unwrap().is_sound(), "{:#?}", check(dir.path()).unwrap().problems);
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    for number in 0..GROUPS {
        let (script, group) = (script(number), GroupId::new(number));
        let last = store.log().bounds(group).last.unwrap().index;
        assert!(last.get() >= logged[&number], "group {group}: {} was acknowledged, the log ends at {last}", logged[&number]);
        let entries = store.log().read(group, LogIndex::new(1)..=last, usize::MAX).unwrap();
        assert!(entries.iter().enumerate().all(|(at, found)| *found == entry(&script, at + 1)) && entries.len() as u64 == last.get());
        let state = store.state().group(group);
        let at = state.applied().last.unwrap().index;
        assert!(durable[&number] <= at.get() && at <= last);
        let mut model = MemoryView::default();
        script.applied[..at.get() as usize].iter().for_each(|applied| model.commit(applied.writes.clone()));
        assert_same(&*state, &model);
        // The rest is replayed from the log, as at every start.
        for index in at.get() + 1..=last.get() {
            let Payload::Batch(batch) = &entries[index as usize - 1].payload else { panic!("only batches were logged") };
            let done = apply(&*state, batch, Meta { group: script.group(), id: id(index) }).unwrap();
            state.commit(done.writes, applied(index)).unwrap();
            model.commit(script.applied[index as usize - 1].writes.clone());
        }
        assert_same(&*state, &model);
    }
    store.close().unwrap();
}

fn assert_same(view: &dyn StateView, model: &MemoryView) {
    let get = |view: &dyn StateView, key| view.get(key).expect("rows are readable");
    model.rows.keys().for_each(|key| assert_eq!(get(view, key), get(model, key), "{key:?}"));
    for channel in Script::channels() {
        for scan in [Scan::Records(channel, Seq::ZERO..=Seq::new(u64::MAX)), Scan::Positions(channel), Scan::Dirty(Some(channel))] {
            let rows = |view: &dyn StateView| view.scan(&scan, false, usize::MAX).expect("rows are readable");
            assert_eq!(rows(view), rows(model), "{scan:?}");
        }
    }
}
