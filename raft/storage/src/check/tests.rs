use std::{fs, sync::mpsc};

use kith_machine::testing::{Script, random_steps};
use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::{Entry, Payload},
};

use super::*;
use crate::{
    Condition, Storage, codec,
    key::encode,
    testing::{applied, commit, copy_dir},
};

const GROUP: GroupId = GroupId::new(1);

/// A directory with a script applied and logged, purged up to entry 20, and flushed: 150 entries in all.
fn directory() -> (tempfile::TempDir, Script) {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let mut script = Script::new();
    random_steps(5, 150).into_iter().for_each(|step| {
        script.step(step);
    });
    let entries = (1..=150).map(|index| Entry { id: applied(index).last.unwrap(), payload: Payload::Batch(script.log[index as usize - 1].encode()) });
    let (done, is_done) = mpsc::channel();
    store.log().append(GROUP, entries.collect(), Box::new(move |result| done.send(result).unwrap()));
    is_done.recv().unwrap().unwrap();
    store.log().save_committed(GROUP, applied(150).last.unwrap());
    commit(&store.state().group(GROUP), &script, 1, 150);
    store.state().flush().unwrap();
    store.log().purge(GROUP, applied(20).last.unwrap());
    store.local_put("map", b"the last map").unwrap();
    store.close().unwrap();
    (dir, script)
}

fn databases(dir: &Path) -> Databases {
    Databases::open(dir, &Options::default()).unwrap().databases
}

#[test]
fn a_sound_directory_has_no_problems_and_is_not_changed() {
    let (dir, script) = directory();
    let rows = crate::testing::states(&script)[150].rows.len() as u64;
    for _ in 0..2 {
        let report = check(dir.path()).unwrap();
        assert_eq!(report.problems, []);
        let [group] = report.groups.as_slice() else { panic!("{:?}", report.groups) };
        assert_eq!((group.group, group.entries, group.rows, group.log.last), (GROUP, 130, rows, applied(150).last));
        assert_eq!((group.applied.last, group.log.committed), (applied(150).last, applied(150).last));
        assert_eq!(report.identity.unwrap().boot.get(), 1);
    }
}

#[test]
fn a_directory_in_use_or_absent_is_refused() {
    let (dir, _) = directory();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert!(matches!(check(dir.path()), Err(CheckError::Open(OpenError::Locked(_)))));
    assert!(matches!(Storage::open(dir.path(), Options::default()), Err(OpenError::Locked(_))));
    // What a kill leaves is sound as well.
    let copy = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), copy.path());
    assert!(check(copy.path()).unwrap().is_sound());
    drop(store);
    assert!(matches!(check(&dir.path().join("nothing")), Err(CheckError::Absent(_))));
}

#[test]
fn every_damaged_value_is_found_and_read_as_an_error() {
    let (dir, script) = directory();
    let states = crate::testing::states(&script);
    let (mut damaged, mut kinds) = (0, std::collections::BTreeSet::new());
    {
        let databases = databases(dir.path());
        let mut key = Vec::new();
        // One row of each kind.
        for (row_key, row) in &states[150].rows {
            if kinds.insert(format!("{:?}", std::mem::discriminant(row_key))) {
                let family = encode(GROUP, row_key, &mut key);
                let mut value = Vec::new();
                row::encode(row, &mut value);
                let last = value.len() - 1;
                value[last] ^= 0x40;
                databases.state.put_cf(databases.state_cf(family), &key, value).unwrap();
                damaged += 1;
            }
        }
        databases.log.put_cf(databases.log_cf(CF_LOG), log::entry_key(GROUP, 70), b"\x01no entry").unwrap();
        databases.log.put_cf(databases.log_cf(CF_LOCAL), b"value/map", codec::seal(b"other").split_last().unwrap().1).unwrap();
        databases.log.put_cf(databases.log_cf(CF_META), log::MetaField::Committed.key(GROUP), codec::seal(b"\xff\xff")).unwrap();
    }
    let report = check(dir.path()).unwrap();
    let values = report.problems.iter().filter(|problem| matches!(problem, Problem::Value { .. })).count();
    assert_eq!(values, damaged + 3, "{:#?}", report.problems);
    // The node starts, this group's replica is in quarantine, and what is damaged is an error where it is read.
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.condition(GROUP).0, Condition::Quarantined);
    let group = store.state().group(GROUP);
    let unreadable = states[150].rows.keys().filter(|key| group.get(key).is_err()).count();
    assert_eq!(unreadable, damaged);
    assert!(store.local_get("map").is_err());
    let all = LogIndex::new(21)..=LogIndex::new(150);
    assert!(matches!(store.log().read(GROUP, all, usize::MAX), Err(log::ReadError::Envelope { index, .. }) if index.get() == 70));
    assert_eq!(store.log().read(GROUP, LogIndex::new(21)..=LogIndex::new(69), usize::MAX).unwrap().len(), 49);
}

#[test]
fn flipped_bytes_of_files_are_found() {
    let (dir, script) = directory();
    let keys: Vec<_> = crate::testing::states(&script)[150].rows.keys().cloned().collect();
    let mut files: Vec<_> = fs::read_dir(dir.path().join("state")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sst" || extension == "blob"));
    assert!(files.len() >= 4);
    for file in files {
        let copy = tempfile::tempdir().unwrap();
        crate::testing::copy_dir(dir.path(), copy.path());
        let mut bytes = fs::read(&file).unwrap();
        // In the first data block of each file.
        bytes[40] ^= 0xff;
        fs::write(copy.path().join("state").join(file.file_name().unwrap()), bytes).unwrap();
        let found = check(copy.path());
        assert!(!found.as_ref().is_ok_and(Report::is_sound), "{}: {found:?}", file.display());
        // It opens without those rows, and knows that they are missing.
        let store = Storage::open(copy.path(), Options::default()).unwrap();
        assert_eq!(store.condition(GROUP).0, Condition::Quarantined, "{}", file.display());
        let group = store.state().group(GROUP);
        keys.iter().for_each(|key| drop(group.get(key)));
        let _ = group.scan(&Scan::Dirty(None), false, 100);
    }
}

#[test]
fn logs_and_states_that_do_not_fit_are_found() {
    let found = |change: &dyn Fn(&Databases)| {
        let (dir, _) = directory();
        change(&databases(dir.path()));
        check(dir.path()).unwrap().problems
    };
    let entry = |index, term| Entry { id: kith_wire::log::LogId { term: Term::new(term), index: LogIndex::new(index) }, payload: Payload::Blank };
    let index = LogIndex::new;
    let put = |databases: &Databases, index, term| {
        let value = codec::seal(&entry(index, term).encode());
        databases.log.put_cf(databases.log_cf(CF_LOG), log::entry_key(GROUP, index), value).unwrap();
    };
    let delete = |databases: &Databases, index| databases.log.delete_cf(databases.log_cf(CF_LOG), log::entry_key(GROUP, index)).unwrap();
    assert_eq!(found(&|databases| delete(databases, 60)), [Problem::Hole { group: GROUP, after: index(59), found: index(61) }]);
    assert_eq!(found(&|databases| delete(databases, 21)), [Problem::Start { group: GROUP, purged: index(20), first: index(22) }]);
    assert_eq!(
        found(&|databases| put(databases, 150, 0)),
        [Problem::Term { group: GROUP, index: index(150), term: Term::new(0), before: Term::new(1) }]
    );
    let ahead = Problem::Ahead { group: GROUP, applied: index(150), last: Some(index(149)) };
    assert_eq!(found(&|databases| delete(databases, 150)), [ahead]);
    let set_applied = |databases: &Databases, at: Option<u64>| {
        let key = GROUP.get().to_be_bytes();
        match at {
            Some(at) => databases.state.put_cf(databases.applied_cf(), key, crate::state::seal_applied(&applied(at))).unwrap(),
            None => databases.state.delete_cf(databases.applied_cf(), key).unwrap(),
        }
    };
    let behind = Problem::Behind { group: GROUP, applied: Some(index(10)), purged: index(20) };
    assert_eq!(found(&|databases| set_applied(databases, Some(10))), [behind]);
    let nothing = found(&|databases| set_applied(databases, None));
    assert!(nothing.iter().any(|problem| matches!(problem, Problem::NothingApplied { .. })), "{nothing:?}");
    // A channel without its roster and records breaks the machine's invariants.
    let stray = found(&|databases| {
        let mut key = Vec::new();
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let family = encode(GROUP, &RowKey::Channel(channel), &mut key);
        let mut value = Vec::new();
        let row = kith_wire::log::ChannelRow { head: kith_wire::log::Position { seq: Seq::new(3), cnt: 3 }, ..Default::default() };
        row::encode(&Row::Channel(row), &mut value);
        databases.state.put_cf(databases.state_cf(family), &key, value).unwrap();
    });
    assert!(stray.iter().any(|problem| matches!(problem, Problem::Invariant { .. } | Problem::Unchecked { .. })), "{stray:?}");
    assert!(stray.iter().all(|problem| !problem.to_string().is_empty()));
}
