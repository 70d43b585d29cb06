//! Moves of buckets as they are logged: what is promised keeps its bytes, any value survives the way.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    id::*,
    log::{Command, Item, OwnedRow},
    moving::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

fn run(source: &mut Source<'_>) -> BucketRun {
    BucketRun { region: Sample::sample(source), first: Sample::sample(source), last: Sample::sample(source) }
}

fn few<T>(source: &mut Source<'_>, one: impl Fn(&mut Source<'_>) -> T) -> Vec<T> {
    (0..source.below(3)).map(|_| one(source)).collect()
}

fn changes(source: &mut Source<'_>) -> Vec<Item> {
    let (from, at, round) = (GroupId::sample(source), LogIndex::sample(source), u64::sample(source));
    let rows = few(source, |source| MovedRow { key: Sample::sample(source), body: (source.byte() & 1 == 1).then(|| Sample::sample(source)) });
    let changes = [
        MoveChange::Begin { run: run(source), to: Sample::sample(source) },
        MoveChange::NextRound { at, round },
        MoveChange::HandOver { at, round },
        MoveChange::Cancel { at },
        MoveChange::Taken { at },
        MoveChange::Sweep { at, keys: few(source, Sample::sample) },
        MoveChange::End { at },
        MoveChange::Stage { from, at, run: run(source), epoch: Sample::sample(source) },
        MoveChange::Import { from, at, round, after: Sample::sample(source), upto: Sample::sample(source), last: Sample::sample(source), rows },
        MoveChange::Take { from, at, round },
        MoveChange::Unstage { from, at },
        MoveChange::Drop { from, at, keys: few(source, Sample::sample) },
        MoveChange::EndStage { from, at },
    ];
    changes.into_iter().map(|change| Item { bucket: None, command: Command::Move(change) }).collect()
}

fn rows(source: &mut Source<'_>) -> (LeavingRow, StagingRow, OwnedRow) {
    let phase = [LeavingPhase::Copying, LeavingPhase::Handed, LeavingPhase::Sweeping, LeavingPhase::Cancelled][source.below(4)];
    let (at, epoch, round) = (Sample::sample(source), Sample::sample(source), Sample::sample(source));
    let leaving = LeavingRow { at, run: run(source), to: Sample::sample(source), epoch, phase, round };
    let (after, rows, dropping) = (Sample::sample(source), Sample::sample(source), Sample::sample(source));
    let staging = StagingRow { at, run: run(source), epoch, round, after, rows, dropping };
    let owned = OwnedRow { last: Sample::sample(source), epoch, to: Some(Sample::sample(source)) };
    (leaving, staging, owned)
}

#[test]
fn moves_have_the_bytes_they_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        for (at, value) in changes(source).into_iter().enumerate() {
            add(format!("{start} change {at}"), value.encode());
        }
        let (leaving, staging, owned) = rows(source);
        add(format!("{start} leaving"), leaving.encode());
        add(format!("{start} staging"), staging.encode());
        add(format!("{start} given"), owned.encode());
    }
    golden::check("moving.txt", &lines);
}

proptest! {
    #[test]
    fn any_value_survives_the_way(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for value in changes(source) {
            prop_assert_eq!(Item::decode(&value.encode()).unwrap(), value);
        }
        let (leaving, staging, owned) = rows(source);
        prop_assert_eq!(LeavingRow::decode(&leaving.encode()).unwrap(), leaving);
        prop_assert_eq!(StagingRow::decode(&staging.encode()).unwrap(), staging);
        prop_assert_eq!(OwnedRow::decode(&owned.encode()).unwrap(), owned);
    }
}

#[test]
fn runs_know_what_is_in_them() {
    let run = |first, last| BucketRun { region: RegionId::FIRST, first, last };
    let bucket = |region, index| Bucket { region: RegionId::new(region), index };
    assert!(run(3, 5).holds(bucket(0, 3)) && run(3, 5).holds(bucket(0, 5)) && !run(3, 5).holds(bucket(0, 6)) && !run(3, 5).holds(bucket(1, 4)));
    assert!(run(3, 5).overlaps(&run(5, 9)) && run(0, u16::MAX).overlaps(&run(4, 4)) && !run(3, 5).overlaps(&run(6, 9)));
    assert_eq!([run(0, u16::MAX).count(), run(3, 3).count(), run(4, 3).count()], [65_536, 1, 0]);
}
