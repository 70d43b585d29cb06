use std::{thread, time::Duration};

use kith_machine::{
    testing::{Script, random_steps},
    view::{Row, RowKey, StateView, WriteSet},
};
use kith_wire::id::NodeId;

use super::*;
use crate::{
    Storage,
    testing::{applied, assert_same, commit, copy_dir, states},
};

fn script(seed: u64, steps: usize) -> Script {
    let mut script = if seed % 4 == 3 { Script::meta() } else { Script::new() };
    random_steps(seed, steps).into_iter().for_each(|step| {
        script.step(step);
    });
    script
}

/// A pseudo-random choice that follows from the seed.
fn choice(seed: u64, at: usize) -> u8 {
    random_steps(seed ^ 0xc0ffee, at + 1)[at][0]
}

#[test]
fn rows_and_readers_are_those_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { state_write_interval: Duration::from_millis(1), row_cache_bytes: 100_000, ..Options::default() };
    let store = Storage::open(dir.path(), options).unwrap();
    for seed in 0..8 {
        let script = script(seed, 250);
        let states = states(&script);
        let group = store.state().group(GroupId::new(seed as u32));
        let mut readers = Vec::new();
        for (at, state) in states.iter().enumerate().skip(1) {
            commit(&group, &script, at, at);
            match choice(seed, at) {
                0..10 => assert_same(&*group, state),
                10..30 => readers.push((at, group.reader().unwrap())),
                30..35 => store.state().shared.drain().unwrap(),
                35 => store.state().flush().unwrap(),
                _ => {}
            }
        }
        assert_same(&*group, &states[states.len() - 1]);
        for (at, reader) in readers {
            assert_eq!(reader.applied(), &applied(at as u64));
            assert_same(&reader, &states[at]);
        }
    }
    let metrics = store.state().metrics();
    assert!(metrics.cache_hits > 0 && metrics.batches > 1, "{metrics:?}");
    store.close().unwrap();
    assert_eq!(store.state().metrics().overlay_bytes, 0);
}

#[test]
fn many_layers_stay_few_and_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { state_write_interval: Duration::from_secs(3_600), ..Options::default() };
    let store = Storage::open(dir.path(), options).unwrap();
    let script = script(1, 400);
    let states = states(&script);
    let group = store.state().group(GroupId::new(1));
    let mut readers = Vec::new();
    for at in 1..states.len() {
        commit(&group, &script, at, at);
        readers.push(group.reader().unwrap());
        assert!(group.held().overlay.layers().len() <= 12, "{} layers", group.held().overlay.layers().len());
    }
    for (at, reader) in readers.iter().enumerate().step_by(37) {
        assert_same(reader, &states[at + 1]);
    }
    assert_same(&*group, &states[states.len() - 1]);
}

#[test]
fn readers_on_other_threads_see_one_moment_while_rows_are_committed_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { state_write_interval: Duration::from_micros(200), ..Options::default() };
    let store = Storage::open(dir.path(), options).unwrap();
    let group = store.state().group(GroupId::new(0));
    // Every commit writes its number to all of these rows, hot ones and others: a reader must never see two numbers.
    let users: Vec<_> = Script::users();
    let keys: Vec<_> = users.iter().map(|user| RowKey::User(*user)).chain((0..8).map(|node| RowKey::Node(NodeId::new(node)))).collect();
    let write = |number: u64| {
        let mut writes = WriteSet::default();
        for key in &keys {
            let row = match key {
                RowKey::User(_) => Row::User(kith_wire::log::UserRow { rev: kith_wire::id::UserRev::new(number), ..Default::default() }),
                _ => Row::Node(kith_wire::log::NodeRow { boot: kith_wire::id::BootEpoch::new(number), ..Default::default() }),
            };
            writes.rows.insert(key.clone(), Some(Arc::new(row)));
        }
        group.commit(writes, applied(number)).unwrap();
    };
    let number = |row: &Row| match row {
        Row::User(row) => row.rev.get(),
        Row::Node(row) => row.boot.get(),
        other => panic!("{other:?}"),
    };
    write(1);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut last = 0;
                while !is_over.load(Relaxed) {
                    let reader = group.reader().unwrap();
                    let at = reader.applied().last.unwrap().index.get();
                    assert!(at >= last, "a reader went back from {last} to {at}");
                    last = at;
                    for key in &keys {
                        assert_eq!(number(&reader.get(key).unwrap().unwrap()), at, "{key:?}");
                    }
                    let nodes = reader.scan(&kith_machine::view::Scan::Nodes, false, 100).unwrap();
                    assert!(nodes.len() == 8 && nodes.iter().all(|(_, row)| number(row) == at));
                }
            });
        }
        for at in 2..3_000 {
            write(at);
            // The applier sees its own rows.
            let key = &keys[at as usize % keys.len()];
            assert_eq!(number(&group.get(key).unwrap().unwrap()), at);
        }
        is_over.store(true, Relaxed);
    });
}

#[test]
fn a_kill_leaves_an_exact_prefix_of_each_group() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let scripts: Vec<_> = (0..3).map(|seed| script(seed, 120)).collect();
    let states: Vec<_> = scripts.iter().map(states).collect();
    let groups: Vec<_> = (0..3).map(|group| store.state().group(GroupId::new(group))).collect();
    let (half, whole) = (60, 120);
    groups.iter().zip(&scripts).for_each(|(group, script)| commit(group, script, 1, half));
    store.state().flush().unwrap();
    groups.iter().zip(&scripts).for_each(|(group, script)| commit(group, script, half + 1, whole));
    store.state().shared.drain().unwrap();
    assert_same(&*groups[0], &states[0][whole]);
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    for (at, states) in states.iter().enumerate() {
        let group = killed.state().group(GroupId::new(at as u32));
        // What was flushed is there, what was only written is replayed from the log: the state database has no WAL.
        assert_eq!(group.applied(), applied(half as u64));
        assert_eq!(killed.state().durable_applied(group.id()), applied(half as u64).last);
        assert_same(&*group, &states[half]);
        commit(&group, &scripts[at], half + 1, whole);
        assert_same(&*group, &states[whole]);
    }
}

#[test]
fn durable_is_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let group = store.state().group(GroupId::new(7));
    group.commit(WriteSet::default(), applied(1)).unwrap();
    assert_eq!(store.state().durable_applied(group.id()), None);
    store.state().flush().unwrap();
    group.commit(WriteSet::default(), applied(2)).unwrap();
    assert_eq!(store.state().durable_applied(group.id()), applied(1).last);
    store.close().unwrap();
    assert_eq!(store.state().durable_applied(group.id()), applied(2).last);
}

#[test]
fn a_full_overlay_makes_commits_wait_for_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { overlay_bytes_max: 2_000, state_write_interval: Duration::from_secs(3_600), ..Options::default() };
    let store = Storage::open(dir.path(), options).unwrap();
    let script = script(2, 200);
    let group = store.state().group(GroupId::new(1));
    commit(&group, &script, 1, 200);
    let metrics = store.state().metrics();
    assert!(metrics.commit_waits > 0 && metrics.overlay_bytes < 20_000, "{metrics:?}");
    assert_same(&*group, &states(&script)[200]);
}

#[test]
fn a_failed_state_write_ends_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let group = store.state().group(GroupId::new(1));
    store.state().shared.fatal.fail_next_write();
    group.commit(WriteSet::default(), applied(1)).unwrap();
    assert!(store.state().flush().is_err());
    assert!(group.commit(WriteSet::default(), applied(2)).is_err());
    assert!(store.local_put("name", b"value").is_err());
}

#[test]
fn a_removed_group_is_gone_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let script = script(1, 60);
    let states = states(&script);
    for group in [1, 2] {
        let group = store.state().group(GroupId::new(group));
        commit(&group, &script, 1, 60);
        let entry = kith_wire::log::Entry { id: applied(1).last.unwrap(), payload: kith_wire::log::Payload::Blank };
        store.log().append(group.id(), vec![entry], Box::new(drop));
    }
    let removed = store.state().group(GroupId::new(1));
    // Its rows are in the row cache by now.
    store.state().shared.drain().unwrap();
    store.destroy(GroupId::new(1)).unwrap();
    assert!(removed.reader().is_err() && removed.commit(WriteSet::default(), applied(61)).is_err());
    assert_eq!(store.log().groups(), [GroupId::new(2)]);
    // The same group may come back, and begins from nothing.
    let again = store.state().group(GroupId::new(1));
    assert_eq!(again.applied(), applied(0));
    assert_same(&*again, &states[0]);
    drop((removed, again));
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    assert_eq!(killed.log().groups(), [GroupId::new(2)]);
    assert_same(&*killed.state().group(GroupId::new(1)), &states[0]);
    // A removal that was only marked is completed.
    killed.local.set("destroy/2", Some(&[])).unwrap();
    drop(killed);
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    assert_eq!(killed.log().groups(), []);
    assert_same(&*store.state().group(GroupId::new(2)), &states[60]);
}
