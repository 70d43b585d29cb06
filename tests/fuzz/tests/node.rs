//! What a node takes from others beside frames: tokens, settings, rows of snapshots, logged commands, files to replay.

use std::{fs, sync::OnceLock};

use bolero::check;
use kith::{
    auth::token::{self, Claims, TokenKey},
    config::Config,
    demo::replay::Plan,
};
use kith_machine::{invariant, testing::MemoryView};
use kith_storage::chunk;
use kith_wire::{
    id::{ClusterId, GroupId, Timestamp, UserId},
    log::Batch,
};

const NOW: Timestamp = Timestamp::new(1_000_000);

fn key() -> &'static TokenKey {
    static KEY: OnceLock<TokenKey> = OnceLock::new();
    KEY.get_or_init(|| TokenKey::generate().expect("a key").0)
}

/// Bytes as a token, and as what a lawful token has in its place.
#[test]
fn token() {
    let cluster = ClusterId::new([7; 16]);
    let claims = Claims { user: UserId::new(1), name: "ann".to_owned(), cluster, expires_s: u64::MAX / 2, ..Claims::default() };
    let lawful = token::mint(key(), &claims).expect("signed");
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        assert!(token::verify(key(), cluster, &text, NOW).is_err(), "a token that nobody signed");
        let (at, byte) = (usize::from(*input.first().unwrap_or(&0)) * lawful.len() / 256, *input.get(1).unwrap_or(&b'x'));
        let mut changed = lawful.clone().into_bytes();
        if byte.is_ascii_graphic() && changed[at] != byte {
            changed[at] = byte;
            let changed = String::from_utf8_lossy(&changed);
            if let Ok(taken) = token::verify(key(), cluster, &changed, NOW) {
                assert_eq!(taken, claims, "a changed token says something else");
            }
        }
    });
}

#[test]
fn settings() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("node.toml");
    check!().for_each(|input: &[u8]| {
        fs::write(&path, input).expect("written");
        if let Err(error) = Config::load_with(&path, &[]) {
            assert!(!error.to_string().is_empty());
        }
    });
}

#[test]
fn replayed_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("replay.jsonl");
    check!().for_each(|input: &[u8]| {
        fs::write(&path, input).expect("written");
        if let Ok(plan) = Plan::read(&path, Some(1_000)) {
            assert!(plan.messages() <= 1_000);
        }
    });
}

#[test]
fn rows_of_a_snapshot() {
    check!().for_each(|input: &[u8]| {
        if let Ok(rows) = chunk::rows_of(GroupId::new(1), input) {
            assert_eq!(rows.len(), chunk::rows(input) as usize);
        }
    });
}

/// A batch that was logged, whatever it is, twice: apply is an error or keeps the invariants.
#[test]
fn logged_batch() {
    check!().for_each(|input: &[u8]| {
        let Ok(batch) = Batch::decode(input) else { return };
        let mut view = MemoryView::default();
        for index in 1..3 {
            if view.apply(GroupId::new(1), index, batch.clone()).is_err() {
                return;
            }
        }
        invariant::everything(&view, view.rows.keys()).expect("invariants hold");
    });
}
