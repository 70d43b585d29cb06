//! Moves of buckets as they are logged: what is promised keeps its bytes, any value survives the way.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    id::*,
    layout::{LayoutAnswer, LayoutGroup, LayoutRequest, LayoutView, LedGroup, NodeLoad},
    log::{Command, Item, OwnedRow, RunRow},
    moving::*,
    peer::{Ask, FromPeer, Inner, InnerAnswer, ToPeer, Told},
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

fn to_peer(source: &mut Source<'_>) -> Vec<ToPeer> {
    let (leaving, ..) = rows(source);
    let change = changes(source).into_iter().find_map(|item| match item.command {
        Command::Move(change @ MoveChange::Import { .. }) => Some(change),
        _ => None,
    });
    let from = Sample::sample(source);
    let runs = few(source, told_run);
    let inner = [
        Inner::Move { from, leaving, change: None },
        Inner::Move { from, leaving, change },
        Inner::Leaving,
        Inner::GivenTo { bucket: Bucket { region: Sample::sample(source), index: Sample::sample(source) } },
        Inner::TellRuns { runs },
        Inner::BeginMove { run: run(source), to: Sample::sample(source) },
        Inner::CancelMove,
        Inner::Receipt { channel: Sample::sample(source), user: Sample::sample(source), read: Sample::sample(source) },
    ];
    let ask = |inner| Ask::Inner { group: GroupId::new(1), map_epoch: MapEpoch::default(), inner };
    inner.into_iter().map(|inner| ToPeer::Ask { id: RequestId::new(7), deadline_ms: 9, ask: ask(inner) }).collect()
}

fn told_run(source: &mut Source<'_>) -> RunRow {
    let BucketRun { region, first, last } = run(source);
    RunRow { region, first, last, group: Sample::sample(source), epoch: Sample::sample(source) }
}

fn layout(source: &mut Source<'_>) -> Vec<ToEdge> {
    let (from, to) = (Sample::sample(source), Sample::sample(source));
    let asked = [
        LayoutRequest::MoveBuckets { from, run: None, to: None },
        LayoutRequest::MoveBuckets { from, run: Some(run(source)), to: Some(to) },
        LayoutRequest::CancelMove { from },
    ];
    asked.into_iter().map(|asked| ToEdge::Request { id: RequestId::new(7), request: Request::Layout(asked) }).collect()
}

fn laid_out(source: &mut Source<'_>) -> Vec<ToClient> {
    let (leaving, ..) = rows(source);
    let group = LayoutGroup { buckets: Sample::sample(source), runs: few(source, run), leaving: Some(leaving), ..LayoutGroup::default() };
    let told = [
        LayoutAnswer::Moving { from: Sample::sample(source), run: run(source), to: Sample::sample(source) },
        LayoutAnswer::Shown(LayoutView { groups: vec![group], ..LayoutView::default() }),
    ];
    told.into_iter().map(|told| ToClient::Answer { id: RequestId::new(7), answer: Ok(Answer::Layout(told)) }).collect()
}

fn from_peer(source: &mut Source<'_>) -> Vec<FromPeer> {
    let (leaving, staging, _) = rows(source);
    let told = [
        InnerAnswer::MoveStands { staging: None, reached: true },
        InnerAnswer::MoveStands { staging: Some(staging), reached: false },
        InnerAnswer::Leaving { leaving: None },
        InnerAnswer::Leaving { leaving: Some(leaving) },
        InnerAnswer::GivenTo { run: None },
        InnerAnswer::GivenTo { run: Some(told_run(source)) },
    ];
    let led = LedGroup { leaving: Some(leaving), ..LedGroup::default() };
    let load = Told::Load(NodeLoad { led: vec![led], ..NodeLoad::default() });
    told.into_iter().map(Told::Inner).chain([load]).map(|told| FromPeer::Told { id: RequestId::new(7), told: Ok(told) }).collect()
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
        to_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("{start} to peer {at}"), frame.encode()));
        from_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("{start} from peer {at}"), frame.encode()));
        layout(source).iter().enumerate().for_each(|(at, frame)| add(format!("{start} asked {at}"), frame.encode()));
        laid_out(source).iter().enumerate().for_each(|(at, frame)| add(format!("{start} told {at}"), frame.encode()));
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
        for frame in to_peer(source) {
            prop_assert_eq!(ToPeer::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in layout(source) {
            prop_assert_eq!(ToEdge::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in laid_out(source) {
            prop_assert_eq!(ToClient::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in from_peer(source) {
            prop_assert_eq!(FromPeer::decode(&frame.encode()).unwrap(), frame);
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
