use std::{fs, path::Path, sync::mpsc};

use kith_machine::testing::{Script, random_steps};
use kith_wire::{
    id::{NodeId, Term},
    log::{Entry, Payload},
};

use super::*;
use crate::{
    Options,
    db::{CF_META, Databases},
    log::MetaField,
    testing::{applied, commit, copy_dir},
};

const ONE: GroupId = GroupId::new(1);
const TWO: GroupId = GroupId::new(2);

fn open(dir: &Path) -> Arc<Storage> {
    Storage::open(dir, Options::default()).unwrap()
}

fn append(store: &Storage, group: GroupId, script: &Script, from: u64, to: u64) {
    let entry = |index: u64| Entry {
        id: applied(index).last.unwrap_or_default(),
        payload: if index == 0 { Payload::Blank } else { Payload::Batch(script.log[index as usize - 1].encode()) },
    };
    let (done, is_done) = mpsc::channel();
    store.log().append(group, (from..=to).map(entry).collect(), Box::new(move |result| done.send(result).unwrap()));
    is_done.recv().unwrap().unwrap();
}

fn vote(term: u64) -> Vote {
    Vote { term: Term::new(term), node: Some(NodeId::new(2)), committed: true }
}

/// Two groups with 40 entries each from the first on, all of it applied and flushed, then 10 more in the log.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut script = Script::new();
    random_steps(5, 60).into_iter().for_each(|step| {
        script.step(step);
    });
    for group in [ONE, TWO] {
        append(&store, group, &script, 0, 40);
        let (done, is_done) = mpsc::channel();
        store.log().save_vote(group, vote(3), Box::new(move |result| done.send(result).unwrap()));
        is_done.recv().unwrap().unwrap();
        commit(&store.state().group(group), &script, 1, 40);
    }
    store.state().flush().unwrap();
    append(&store, ONE, &script, 41, 50);
    append(&store, TWO, &script, 41, 50);
    dir
}

/// As a kill leaves it.
fn killed() -> (tempfile::TempDir, tempfile::TempDir) {
    let dir = directory();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    (dir, copy)
}

fn conditions(store: &Storage) -> [Condition; 2] {
    [store.condition(ONE).0, store.condition(TWO).0]
}

#[test]
fn a_damaged_vote_quarantines_its_group_alone() {
    let (_dir, copy) = killed();
    {
        let databases = Databases::open(copy.path(), &Options::default()).unwrap().databases;
        databases.log.put_cf(databases.log_cf(CF_META), MetaField::Vote.key(ONE), b"\x01no vote").unwrap();
    }
    for _ in 0..2 {
        let store = open(copy.path());
        assert_eq!(conditions(&store), [Condition::Quarantined, Condition::Sound]);
        assert_eq!(store.log().bounds(TWO).vote, Some(vote(3)));
        store.close().unwrap();
    }
}

#[test]
fn a_log_that_lost_its_tail_quarantines_every_group() {
    let (_dir, copy) = killed();
    let sound = tempfile::tempdir().unwrap();
    copy_dir(copy.path(), sound.path());
    let before = open(sound.path());
    assert_eq!(conditions(&before), [Condition::Sound; 2]);
    let wal = fs::read_dir(copy.path().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let wal = wal.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap();
    let bytes = fs::read(&wal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&wal, &bytes[..end - 20]).unwrap();
    let store = open(copy.path());
    assert_eq!(conditions(&store), [Condition::Quarantined; 2]);
    assert_eq!(store.identity().store, before.identity().store);
    assert!(store.position() > before.position(), "nobody has seen a higher one");
    // Each group comes back by itself.
    store.begin_anew(ONE, vote(9), LogIndex::new(7)).unwrap();
    assert_eq!(conditions(&store), [Condition::Rebuilding, Condition::Quarantined]);
    assert_eq!((store.taken_out(ONE), store.taken_out(TWO)), (Some(LogIndex::new(7)), None));
    assert_eq!((store.log().bounds(ONE).last, store.log().bounds(ONE).vote), (None, Some(vote(9))));
    store.rebuilt(ONE).unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(copy.path());
    assert_eq!(conditions(&store), [Condition::Sound, Condition::Quarantined]);
    assert_eq!((store.log().bounds(ONE).vote, store.state().group(ONE).applied().last), (Some(vote(9)), None));
}

#[test]
fn a_log_database_that_does_not_open_is_a_loss_of_all_and_the_store_stays_itself() {
    for (file, bytes) in [("CURRENT", &b""[..]), ("CURRENT", b"MANIFEST-999999\n")] {
        let (dir, copy) = killed();
        fs::write(copy.path().join("log").join(file), bytes).unwrap();
        let store = open(copy.path());
        assert_eq!(conditions(&store), [Condition::Quarantined; 2]);
        let before = open_identity(dir.path());
        assert_eq!((store.identity().store, store.identity().boot.get()), (before.store, before.boot.get() + 1));
        assert!(copy.path().join("log.lost").is_dir());
    }
}

fn open_identity(dir: &Path) -> crate::Identity {
    crate::witness::read_identity(dir).unwrap()
}

#[test]
fn rows_that_are_lost_are_made_again_from_a_log_that_begins_at_the_beginning() {
    let (_dir, copy) = killed();
    fs::remove_file(copy.path().join("state/CURRENT")).unwrap();
    fs::write(copy.path().join("state/CURRENT"), b"nothing").unwrap();
    let store = open(copy.path());
    assert_eq!(conditions(&store), [Condition::Sound; 2]);
    assert_eq!(store.state().group(ONE).applied().last, None);
    assert_eq!(store.log().bounds(ONE).last, applied(50).last);
    // Not where the log was purged.
    let (_dir, copy) = killed();
    {
        let store = open(copy.path());
        store.log().purge(ONE, applied(30).last.unwrap());
        store.close().unwrap();
    }
    fs::write(copy.path().join("state/CURRENT"), b"nothing").unwrap();
    let store = open(copy.path());
    assert_eq!(conditions(&store), [Condition::Quarantined, Condition::Sound]);
}

#[test]
fn damage_that_a_read_meets_is_told_once() {
    use kith_machine::view::StateView;
    let (_dir, copy) = killed();
    let store = open(copy.path());
    let (told, is_told) = mpsc::channel();
    store.on_damage(Box::new(move |group| told.send(group).unwrap()));
    let databases = &store.databases;
    let mut key = Vec::new();
    let row = kith_machine::view::RowKey::User(kith_wire::id::UserId::new(77));
    let family = crate::key::encode(ONE, &row, &mut key);
    databases.state.put_cf_opt(databases.state_cf(family), &key, b"\x01no row", &crate::db::unlogged()).unwrap();
    assert!(store.state().group(ONE).get(&row).is_err());
    assert!(store.state().group(ONE).get(&row).is_err());
    assert_eq!(is_told.try_iter().collect::<Vec<_>>(), [ONE]);
}
