//! A recorded log of this release: its bytes are decoded and applied on every run, and its digest never changes within a version.
//!
//! `golden/version-1.log`: one batch per line, encoded, in hexadecimal; then `digest` and the group's digest after the last one.
//! To record a log for a *new* version: `KITH_RECORD_GOLDEN=1 cargo nextest run -p kith-machine --test golden`. Never rewrite an old one.

use std::{fmt::Write as _, fs, path::PathBuf};

use bytes::Bytes;
use kith_machine::{
    Meta, apply, group_state, invariant,
    testing::{MemoryView, Script, random_steps},
};
use kith_wire::{
    id::{LogIndex, Term, Timestamp},
    log::{Batch, LogId},
};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
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

/// Applies encoded batches as entries 1, 2, 3, … of term 1.
fn replay(script: &Script, log: &[Vec<u8>]) -> MemoryView {
    let mut view = MemoryView::default();
    for (at, batch) in log.iter().enumerate() {
        let id = LogId { term: Term::new(1), index: LogIndex::new(at as u64 + 1) };
        let applied = apply(&view, &Bytes::from(batch.clone()), Meta { group: script.group(), id }).expect("a recorded batch applies");
        view.commit(applied.writes);
    }
    view
}

fn check(name: &str, script: Script) {
    let text = fs::read_to_string(path(name)).expect("the recorded log is in the repository");
    let (log, digest) = text.trim_end().rsplit_once("\ndigest ").expect("ends with its digest");
    let log: Vec<_> = log.lines().map(unhex).collect();
    let view = replay(&script, &log);
    assert_eq!(hex(&group_state(&view).expect("readable").digest), digest, "apply writes other rows than the release that recorded {name}");
    let found = invariant::everything(&view, view.rows.keys()).expect("readable");
    assert!(found.is_empty(), "{found:?}");
}

fn record(name: &str, mut script: Script, seed: u64) {
    if std::env::var_os("KITH_RECORD_GOLDEN").is_none() {
        return;
    }
    random_steps(seed, 400).into_iter().for_each(|step| drop(script.step(step).clone()));
    let log: Vec<_> = script
        .log
        .chunks(5)
        .enumerate()
        .map(|(at, chunk)| Batch { now: Timestamp::new(1_000 + at as u64), items: chunk.iter().flat_map(|batch| batch.items.clone()).collect() })
        .map(|batch| batch.encode().to_vec())
        .collect();
    let view = replay(&script, &log);
    let mut text: String = log.iter().map(|batch| hex(batch) + "\n").collect();
    writeln!(text, "digest {}", hex(&group_state(&view).expect("readable").digest)).expect("a string takes all");
    fs::write(path(name), text).expect("the folder can be written");
}

#[test]
fn a_data_groups_log_of_version_1_gives_its_digest() {
    record("version-1.log", Script::new(), 1);
    check("version-1.log", Script::new());
}

#[test]
fn a_meta_groups_log_of_version_1_gives_its_digest() {
    record("version-1-meta.log", Script::meta(), 2);
    check("version-1-meta.log", Script::meta());
}
