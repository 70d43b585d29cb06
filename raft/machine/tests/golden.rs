//! Recorded logs of every release: their bytes are decoded and applied on every run, and what they write never changes.
//!
//! `golden/vN/*.log`, of the release whose build knew cluster version N: one batch a line, encoded, in hexadecimal; then `digest` and the group's digest after
//! the last one, which all rows that were written are part of. `data` and `meta` are histories of a group of either kind, `source` and `target` of two groups
//! between which buckets moved. A release that raises the version adds its folder, and touches no other:
//! `KITH_RECORD_GOLDEN=1 cargo nextest run -p kith-machine --test golden` records what is not there.

mod fleet;

use std::{fmt::Write as _, fs, path::PathBuf};

use bytes::Bytes;
use fleet::Fleet;
use kith_machine::{
    Meta, VERSION_MOVES, apply, group_state, invariant,
    testing::{MemoryView, Script, random_steps},
};
use kith_wire::{
    id::{GroupId, LogIndex, RegionId, Term, Timestamp},
    log::{Batch, Command, LogId},
    moving::BucketRun,
    upgrade::{BUILD, ClusterVersion},
};

fn folder(version: ClusterVersion) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("v{version}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// Whose log it is.
fn group(name: &str) -> GroupId {
    match name {
        "meta" => GroupId::META,
        "target" => GroupId::new(2),
        _ => GroupId::new(1),
    }
}

/// Applies encoded batches as entries 1, 2, 3, … of term 1.
fn replay(group: GroupId, log: &[Vec<u8>]) -> MemoryView {
    let mut view = MemoryView::default();
    for (at, batch) in log.iter().enumerate() {
        let id = LogId { term: Term::new(1), index: LogIndex::new(at as u64 + 1) };
        let applied = apply(&view, &Bytes::from(batch.clone()), Meta { group, id }).expect("a recorded batch applies");
        view.commit(applied.writes);
    }
    view
}

#[test]
fn logs_of_every_release_give_their_digests() {
    record();
    let mut count = 0;
    for version in (1..=BUILD.get()).map(ClusterVersion::new) {
        for entry in fs::read_dir(folder(version)).expect("each release has its folder") {
            let path = entry.expect("readable").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(&path).expect("the recorded log is in the repository");
            let (log, digest) = text.trim_end().rsplit_once("\ndigest ").expect("ends with its digest");
            let log: Vec<_> = log.lines().map(unhex).collect();
            let view = replay(group(&name), &log);
            let state = group_state(&view).expect("readable");
            assert_eq!(hex(&state.digest), digest, "apply writes other rows than the release that recorded {}", path.display());
            let found = invariant::everything(&view, view.rows.keys()).expect("readable");
            assert!(found.is_empty(), "{}: {found:?}", path.display());
            count += 1;
        }
    }
    assert!(count >= 6, "{count} logs");
}

/// Records the histories of this release, where they are not there.
fn record() {
    if std::env::var_os("KITH_RECORD_GOLDEN").is_none() {
        return;
    }
    fs::create_dir_all(folder(BUILD)).expect("the folder can be made");
    for (name, mut script, seed) in [("data", Script::new(), 1), ("meta", Script::meta(), 2)] {
        random_steps(seed, 400).into_iter().for_each(|step| drop(script.step(step).clone()));
        let log = script.log.chunks(5).enumerate();
        let log = log.map(|(at, chunk)| {
            Batch { now: Timestamp::new(1_000 + at as u64), items: chunk.iter().flat_map(|batch| batch.items.clone()).collect() }.encode().to_vec()
        });
        write(name, &log.collect::<Vec<_>>());
    }
    let mut fleet = Fleet::new(2);
    let (source, target) = (group("source"), group("target"));
    for group in [source, target] {
        fleet.ask(group, Command::RaiseVersion { version: VERSION_MOVES });
    }
    let low = BucketRun { region: RegionId::FIRST, first: 0, last: 0x7fff };
    for (from, to, seed) in [(source, target, 3), (target, source, 4)] {
        let mut steps = random_steps(seed, 160).into_iter();
        steps.by_ref().take(120).for_each(|step| fleet.write(step).expect("is answered as ever"));
        fleet.begin(from, low, to).expect("begins");
        for step in steps {
            fleet.drive(from);
            fleet.write(step).expect("is answered as ever");
        }
        fleet.settle().expect("comes to an end");
    }
    for (name, group) in [("source", source), ("target", target)] {
        write(name, &fleet.logged(group).iter().map(|batch| batch.encode().to_vec()).collect::<Vec<_>>());
    }
}

fn write(name: &str, log: &[Vec<u8>]) {
    let path = folder(BUILD).join(format!("{name}.log"));
    if path.exists() {
        return;
    }
    let view = replay(group(name), log);
    let mut text: String = log.iter().map(|batch| hex(batch) + "\n").collect();
    writeln!(text, "digest {}", hex(&group_state(&view).expect("readable").digest)).expect("a string takes all");
    fs::write(path, text).expect("the folder can be written");
}
