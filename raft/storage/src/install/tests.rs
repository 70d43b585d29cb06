use kith_machine::testing::{MemoryView, Script, random_steps};
use kith_wire::log::{Entry, Payload};

use super::*;
use crate::{
    Options, Storage,
    testing::{applied, assert_same, commit, copy_dir, states},
};

const GROUP: GroupId = GroupId::new(5);

struct Case {
    script: Script,
    states: Vec<MemoryView>,
    leader: Arc<Storage>,
    follower: Arc<Storage>,
    dirs: [tempfile::TempDir; 2],
}

/// A leader with 150 entries applied, a follower with 40 of another history, and another group on both.
fn case() -> Case {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut script = Script::new();
    random_steps(11, 200).into_iter().for_each(|step| {
        script.step(step);
    });
    let [leader, follower] = [&dirs[0], &dirs[1]].map(|dir| Storage::open(dir.path(), Options::default()).unwrap());
    commit(&leader.state().group(GROUP), &script, 1, 150);
    let old = follower.state().group(GROUP);
    commit(&old, &script, 1, 40);
    commit(&follower.state().group(GroupId::new(6)), &script, 1, 90);
    follower.log().append(GROUP, (1..=40).map(|index| Entry { id: applied(index).last.unwrap(), payload: Payload::Blank }).collect(), Box::new(drop));
    follower.state().flush().unwrap();
    Case { states: states(&script), script, leader, follower, dirs }
}

fn send(from: &Storage, to: &Storage) -> Result<(), InstallError> {
    let mut export = from.state().group(GROUP).export().unwrap();
    let mut installer = to.state().group(GROUP).install(export.applied().clone())?;
    for chunk in export.by_ref() {
        installer.chunk(&chunk.unwrap())?;
    }
    installer.finish(export.end())
}

fn staged_files(dir: &Path) -> usize {
    fs::read_dir(staging(dir)).map_or(0, Iterator::count)
}

#[test]
fn a_snapshot_replaces_everything_and_is_durable() {
    let case = case();
    let group = case.follower.state().group(GROUP);
    let before = group.reader().unwrap();
    send(&case.leader, &case.follower).unwrap();
    assert_eq!(group.applied(), applied(150));
    assert_same(&*group, &case.states[150]);
    assert_same(&before, &case.states[40]);
    assert_eq!(case.follower.log().bounds(GROUP).purged, applied(150).last);
    commit(&group, &case.script, 151, 200);
    assert_same(&*group, &case.states[200]);
    let copy = tempfile::tempdir().unwrap();
    copy_dir(case.dirs[1].path(), copy.path());
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    let group = killed.state().group(GROUP);
    assert_eq!((group.applied(), group.refusal()), (applied(150), None));
    assert_eq!(killed.state().durable_applied(GROUP), applied(150).last);
    assert_same(&*group, &case.states[150]);
    assert_same(&*killed.state().group(GroupId::new(6)), &case.states[90]);
    assert_eq!(staged_files(copy.path()), 0);
}

#[test]
fn an_export_is_of_one_moment() {
    let case = case();
    let leader = case.leader.state().group(GROUP);
    let mut export = leader.export().unwrap();
    commit(&leader, &case.script, 151, 200);
    case.leader.state().flush().unwrap();
    let mut installer = case.follower.state().group(GROUP).install(export.applied().clone()).unwrap();
    for chunk in export.by_ref() {
        installer.chunk(&chunk.unwrap()).unwrap();
    }
    installer.finish(export.end()).unwrap();
    assert_same(&*case.follower.state().group(GROUP), &case.states[150]);
}

#[test]
fn a_crash_at_any_step_leaves_the_old_state_or_the_new_one() {
    use Step::{Deleted, Flushed, HalfWritten, Marked, Staged, Written};
    let case = case();
    for step in [Staged, Marked, Deleted, HalfWritten, Written, Flushed] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(case.dirs[1].path(), dir.path());
        let store = Storage::open(dir.path(), Options::default()).unwrap();
        *crate::sync::lock(&store.state().shared.stop_at) = Some(step);
        assert!(matches!(send(&case.leader, &store), Err(InstallError::Stopped)));
        // As bad as it gets: what is in memory at that step reaches the disk.
        store.state().shared.flush_database().unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let killed = Storage::open(copy.path(), Options::default()).unwrap();
        let group = killed.state().group(GROUP);
        let expected = if step == Staged { 40 } else { 150 };
        assert_eq!((group.applied(), group.refusal()), (applied(expected), None), "{step:?}");
        assert_same(&*group, &case.states[expected as usize]);
        assert_same(&*killed.state().group(GroupId::new(6)), &case.states[90]);
        assert_eq!(killed.local.with_prefix(MARK).unwrap(), []);
        assert_eq!(staged_files(copy.path()), 0, "{step:?}");
        assert!(killed.log().bounds(GROUP).last >= group.applied().last);
    }
}

#[test]
fn a_staging_file_that_was_damaged_leaves_a_group_that_asks_again() {
    let case = case();
    *crate::sync::lock(&case.follower.state().shared.stop_at) = Some(Step::Deleted);
    assert!(send(&case.leader, &case.follower).is_err());
    let copy = tempfile::tempdir().unwrap();
    copy_dir(case.dirs[1].path(), copy.path());
    let path = fs::read_dir(staging(copy.path())).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    for _ in 0..2 {
        let killed = Storage::open(copy.path(), Options::default()).unwrap();
        let group = killed.state().group(GROUP);
        assert_eq!((group.refusal(), group.applied()), (Some(NotServing::NeedsSnapshot), applied(0)));
        assert!(group.reader().is_err());
        assert_eq!(killed.log().bounds(GROUP).last, applied(40).last, "vote and log stay");
        assert_same(&*killed.state().group(GroupId::new(6)), &case.states[90]);
    }
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    send(&case.leader, &killed).unwrap();
    drop(killed);
    let killed = Storage::open(copy.path(), Options::default()).unwrap();
    assert_same(&*killed.state().group(GROUP), &case.states[150]);
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let case = case();
    let group = case.follower.state().group(GROUP);
    let mut export = case.leader.state().group(GROUP).export().unwrap();
    let chunks: Vec<_> = export.by_ref().map(|chunk| chunk.unwrap().to_vec()).collect();
    let end = export.end();
    let install = |chunks: &[Vec<u8>], end: SnapshotEnd| {
        let mut installer = group.install(applied(150))?;
        chunks.iter().try_for_each(|chunk| installer.chunk(chunk))?;
        installer.finish(end)
    };
    let mut flipped = chunks.clone();
    let middle = flipped[0].len() / 2;
    flipped[0][middle] ^= 0x10;
    let short = vec![chunks[0][..chunks[0].len() - 1].to_vec()];
    let twice = [chunks.clone(), chunks.clone()].concat();
    assert!(matches!(install(&flipped, end), Err(InstallError::Chunk { .. })));
    assert!(matches!(install(&short, end), Err(InstallError::Chunk { .. })));
    assert!(matches!(install(&twice, end), Err(InstallError::Chunk { source: ChunkError::Order, .. })));
    assert!(matches!(install(&[], end), Err(InstallError::Incomplete { .. })));
    assert!(matches!(install(&chunks, SnapshotEnd { crc: end.crc ^ 1, ..end }), Err(InstallError::Incomplete { .. })));
    assert_eq!(staged_files(case.dirs[1].path()), 0);
    assert_same(&*group, &case.states[40]);
    install(&chunks, end).unwrap();
    assert_same(&*group, &case.states[150]);
}
