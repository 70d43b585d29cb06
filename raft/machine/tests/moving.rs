//! Buckets that move change nothing: whatever happens is answered, and stands in the rows, as in one group that never gave a bucket away; at no
//! moment does a bucket have two owners; and whoever of the move's leaders dies where, speaks late, twice or from old rows, each move comes to an end.

mod fleet;

use fleet::{Cut, Fault, Fleet, Lot, Outcome, run};
use kith_machine::{
    invariant,
    moving::{self, served::Served, step},
    reply::Reply,
    testing::{STEP_BYTES, Script, Step, random_steps},
    view::{Row, RowKey, Scan, StateView, ViewError},
};
use kith_wire::{
    code::Code,
    id::{GroupId, OwnerEpoch, RegionId, Seq},
    log::{Command, OwnedRow},
    moving::{BucketRun, LeavingPhase, MoveChange},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

const ALL: BucketRun = BucketRun { region: RegionId::FIRST, first: 0, last: u16::MAX };
const LOW: BucketRun = BucketRun { region: RegionId::FIRST, first: 0, last: 0x7fff };

fn group(number: u32) -> GroupId {
    GroupId::new(number)
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(200))]

    /// Random moves between three groups, with leaders that die, speak late and twice, and decide from old rows, while a history goes on.
    #[test]
    fn a_history_with_moves_is_the_history_without(steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 1..250), lot in any::<u64>()) {
        let mut fleet = Fleet::new(3);
        let mut lot = Lot::new(lot);
        for step in steps {
            for _ in 0..lot.below(4) {
                fleet.stir(&mut lot);
            }
            fleet.write(step)?;
        }
        fleet.settle()?;
        fleet.same_as_unmoved()?;
    }
}

/// Everything that can go wrong with each message of a move: it is lost with its leader, comes twice, comes again after any later one, or is what a
/// leader makes of rows that are old by then; in the log of the source and in that of the target.
#[test]
fn each_message_of_a_move_lost_repeated_or_late() {
    let steps = random_steps(7, 260);
    let cut = Cut { rows: 70, rounds: 2 };
    let Outcome { messages, .. } = run(&steps, cut, Fault::None).expect("without a fault");
    assert!(messages >= 12, "a move of some length: {messages} messages");
    let mut seen = [0; 5];
    for at in 0..messages {
        let late = (at + 1..=messages).map(|until| Fault::Late { at, until });
        let delayed = (at + 1..=at + 4).map(|until| Fault::Delayed { at, until });
        let faults = [Fault::Lost { at }, Fault::Twice { at }, Fault::Old { at }].into_iter().chain(late).chain(delayed);
        for fault in faults {
            run(&steps, cut, fault).unwrap_or_else(|found| panic!("{fault:?}: {found}"));
            seen[fault.number()] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count >= messages), "{seen:?}");
}

/// Leaders that break one rule are found out: a rule that nobody would miss is none.
#[test]
fn each_broken_rule_is_noticed() {
    let steps = random_steps(7, 260);
    let cut = Cut { rows: 70, rounds: 2 };
    for broken in [Fault::NoFence, Fault::MarksForgotten, Fault::DedupStays, Fault::TakenEarly, Fault::LastRoundSkipped] {
        let found = run(&steps, cut, broken).err();
        assert!(found.is_some(), "{broken:?} went unnoticed");
    }
}

#[test]
fn a_move_that_is_cancelled_leaves_nothing_behind() {
    let mut fleet = Fleet::new(2);
    random_steps(3, 150).into_iter().for_each(|step| fleet.write(step).expect("is answered as ever"));
    let at = fleet.begin(group(1), LOW, group(2)).expect("begins");
    for _ in 0..3 {
        fleet.drive(group(1));
    }
    assert!(fleet.leaving(group(1)).is_some_and(|row| row.phase == LeavingPhase::Copying));
    assert!(fleet.view(group(2)).rows.keys().any(|key| key.bucket().is_some()), "some rows have gone over");
    fleet.log(group(1), MoveChange::Cancel { at });
    random_steps(4, 30).into_iter().for_each(|step| fleet.write(step).expect("is answered as ever"));
    fleet.settle().expect("comes to an end");
    assert!(fleet.view(group(2)).rows.keys().all(|key| key.bucket().is_none()), "nothing is left of it");
    fleet.same_as_unmoved().expect("as if there had been no move");
}

#[test]
fn buckets_come_back_and_go_on() {
    let mut fleet = Fleet::new(3);
    for (round, (from, to)) in [(1, 2), (2, 3), (3, 1), (1, 2)].into_iter().enumerate() {
        random_steps(round as u64, 80).into_iter().for_each(|step| fleet.write(step).expect("is answered as ever"));
        fleet.begin(group(from), ALL, group(to)).expect("begins");
        fleet.settle().expect("comes to an end");
        assert_eq!(fleet.owned(group(to)).whole(ALL), Some(OwnerEpoch::new(round as u64 + 2)));
    }
    fleet.same_as_unmoved().expect("as if there had been no move");
}

#[test]
fn between_hand_over_and_take_nobody_serves_and_says_so() {
    let mut fleet = Fleet::new(2);
    let user = Script::user(0);
    fleet.begin(group(1), ALL, group(2)).expect("begins");
    let command = || Command::RegisterDevice { user, device: Script::device(user, 0), login: 0, issued: kith_wire::id::Timestamp::new(0) };
    while fleet.leaving(group(1)).is_some_and(|row| row.phase == LeavingPhase::Copying) {
        assert!(!matches!(fleet.ask(group(1), command()), Reply::WrongGroup | Reply::Rejected(Code::Frozen)), "served while it is copied");
        fleet.drive(group(1));
    }
    assert_eq!(fleet.ask(group(1), command()), Reply::WrongGroup);
    assert_eq!(fleet.owned(group(1)).given(user.bucket()), Some((group(2), OwnerEpoch::new(2))));
    assert_eq!(fleet.ask(group(2), command()), Reply::Rejected(Code::Frozen));
    fleet.settle().expect("comes to an end");
    assert!(!matches!(fleet.ask(group(2), command()), Reply::WrongGroup | Reply::Rejected(Code::Frozen)));
    assert_eq!(fleet.ask(group(1), command()), Reply::WrongGroup, "still: an old map asks here");
}

#[test]
fn no_map_gives_back_what_was_handed_over() {
    let mut fleet = Fleet::new(2);
    fleet.begin(group(1), LOW, group(2)).expect("begins");
    let own = |epoch| Command::OwnBuckets { region: LOW.region, first: 0, last: u16::MAX, epoch: OwnerEpoch::new(epoch) };
    // An old map, at every step of the way and after it.
    while fleet.leaving(group(1)).is_some() {
        assert_ne!(fleet.ask(group(1), own(2)), Reply::Done);
        fleet.ask(group(1), own(1));
        fleet.drive(group(1));
        fleet.one_owner().expect("never two");
    }
    assert_eq!(fleet.ask(group(1), own(1)), Reply::Rejected(Code::Conflict));
    fleet.one_owner().expect("never two");
    assert_eq!(fleet.owned(group(2)).whole(LOW), Some(OwnerEpoch::new(2)));
}

#[test]
fn a_group_gives_only_what_it_owns_and_to_another() {
    let mut fleet = Fleet::new(2);
    let other_region = BucketRun { region: RegionId::new(3), ..LOW };
    let backwards = BucketRun { first: 9, last: 8, ..LOW };
    for (run, to, refused) in [
        (other_region, 2, Reply::WrongGroup),
        (backwards, 2, Reply::Rejected(Code::Invalid)),
        (LOW, 1, Reply::Rejected(Code::Invalid)),
        (LOW, 0, Reply::Rejected(Code::Invalid)),
    ] {
        assert_eq!(fleet.log(group(1), MoveChange::Begin { run, to: group(to) }), refused, "{run} to {to}");
    }
    let at = fleet.begin(group(1), LOW, group(2)).expect("begins");
    assert_eq!(fleet.begin(group(1), LOW, group(2)), Some(at), "again is the same one");
    assert_eq!(fleet.begin(group(1), ALL, group(2)), None, "one at a time");
    assert_eq!(fleet.log(group(2), MoveChange::Begin { run: LOW, to: group(1) }), Reply::WrongGroup);
}

#[test]
fn room_is_made_only_where_nothing_is() {
    let mut fleet = Fleet::new(2);
    let stage = |epoch| MoveChange::Stage { from: group(9), at: kith_wire::id::LogIndex::new(5), run: LOW, epoch: OwnerEpoch::new(epoch) };
    assert_eq!(fleet.log(group(1), stage(7)), Reply::Rejected(Code::Conflict), "it owns them");
    assert_eq!(fleet.log(group(2), stage(7)), Reply::Done);
    assert_eq!(fleet.log(group(2), stage(7)), Reply::Done, "again is the same one");
    assert_eq!(fleet.log(group(2), stage(8)), Reply::Rejected(Code::Conflict));
    assert!(step::is_dead(&moving::staging(fleet.view(group(2)), group(9)).expect("readable").expect("is there"), None));
}

/// What the groups show of their rows, at every step of a move, is together what the group without a move shows, but for what nobody serves just then.
#[test]
fn groups_show_only_what_they_own() {
    let mut fleet = Fleet::new(2);
    random_steps(21, 250).into_iter().for_each(|step| fleet.write(step).expect("is answered as ever"));
    fleet.begin(group(1), LOW, group(2)).expect("begins");
    let scans = || [Scan::Dirty(None), Scan::Timers(None), Scan::Owed(None), Scan::PushesDue(None), Scan::HooksDue(None), Scan::AllRecords(None)];
    let mut hidden = 0;
    loop {
        let is_frozen = fleet.leaving(group(1)).is_some_and(|row| row.phase == LeavingPhase::Handed) && fleet.owned(group(2)).whole(LOW).is_none();
        for scan in scans() {
            let mut keys: Vec<RowKey> = Vec::new();
            for number in [1, 2] {
                let served = Served::new(fleet.view(group(number)).clone()).expect("readable");
                let all = served.scan(&scan, false, usize::MAX).expect("readable");
                for limit in [1, 7] {
                    let some = served.scan(&scan, false, limit).expect("readable");
                    assert_eq!(some, all.iter().take(limit).cloned().collect::<Vec<_>>(), "{scan:?} of group {number}, {limit} rows");
                }
                keys.extend(all.into_iter().map(|(key, _)| key));
            }
            let expected = fleet.unmoved().scan(&scan, false, usize::MAX).expect("readable");
            let mut expected: Vec<RowKey> = expected.into_iter().map(|(key, _)| key).collect();
            expected.retain(|key| !is_frozen || key.bucket().is_none_or(|bucket| !LOW.holds(bucket)));
            keys.sort();
            expected.sort();
            assert_eq!(keys, expected, "{scan:?}");
        }
        for channel in Script::channels() {
            for number in [1, 2] {
                let served = Served::new(fleet.view(group(number)).clone()).expect("readable");
                let is_owned = fleet.owned(group(number)).holds(channel.bucket());
                let refused = |found: Result<(), ViewError>| found.is_err_and(|error| error.is_not_owned());
                // A group that has nothing but its own has nothing to refuse either.
                let is_plain = number == 2 && moving::stagings(fleet.view(group(2))).expect("readable").is_empty();
                let found = [
                    refused(served.get(&RowKey::Channel(channel)).map(drop)),
                    refused(served.scan(&Scan::Records(channel, Seq::ZERO..=Seq::new(9)), false, 9).map(drop)),
                ];
                if is_plain && !is_owned {
                    assert_eq!(served.get(&RowKey::Channel(channel)).expect("readable"), None);
                } else {
                    assert_eq!(found, [!is_owned; 2], "{channel} in group {number}");
                    hidden += usize::from(!is_owned);
                }
            }
        }
        if fleet.leaving(group(1)).is_none() {
            break;
        }
        fleet.drive(group(1));
    }
    assert!(hidden > 100, "{hidden}");
}

#[test]
fn each_invariant_of_moves_notices_a_broken_row() {
    let break_it = |name: &str, damage: &dyn Fn(&mut Fleet)| {
        let mut fleet = Fleet::new(2);
        fleet.begin(group(1), LOW, group(2)).expect("begins");
        fleet.drive(group(1));
        damage(&mut fleet);
        let found: Vec<_> = [1, 2].iter().flat_map(|number| invariant::group(fleet.view(group(*number))).expect("readable")).collect();
        assert!(found.iter().any(|violation| violation.invariant == name), "{name} did not notice: {found:?}");
    };
    let put = |fleet: &mut Fleet, number, key, row: Row| drop(fleet.view_mut(group(number)).rows.insert(key, row.into()));
    break_it("what_moves_is_owned_in_one_place", &|fleet| drop(fleet.view_mut(group(1)).rows.remove(&RowKey::Owned(RegionId::FIRST, 0))));
    break_it("what_moves_is_owned_in_one_place", &|fleet| {
        put(fleet, 2, RowKey::Owned(RegionId::FIRST, 5), Row::Owned(OwnedRow { last: 6, epoch: OwnerEpoch::new(1), to: None }));
    });
    let mark = || RowKey::Changed(9, kith_machine::key::pack(&RowKey::User(Script::user(0))));
    break_it("marks_are_of_a_move", &|fleet| put(fleet, 1, mark(), Row::Changed));
    break_it("marks_are_of_a_move", &|fleet| put(fleet, 2, mark(), Row::Changed));
}

#[test]
fn the_map_is_told_what_it_does_not_know_yet() {
    let mut fleet = Fleet::new(2);
    fleet.begin(group(1), LOW, group(2)).expect("begins");
    fleet.settle().expect("comes to an end");
    let run = |first, last, number, epoch| kith_wire::log::RunRow {
        region: RegionId::FIRST,
        first,
        last,
        group: group(number),
        epoch: OwnerEpoch::new(epoch),
    };
    let mut map = kith_wire::log::ClusterMap::default();
    map.runs.insert((RegionId::FIRST, 0), run(0, u16::MAX, 1, 1));
    assert_eq!(moving::untold(&fleet.owned(group(2)), group(2), &map), [run(LOW.first, LOW.last, 2, 2)]);
    assert_eq!(moving::untold(&fleet.owned(group(1)), group(1), &map), []);
    map.runs.insert((RegionId::FIRST, 0), run(0, LOW.last, 2, 2));
    map.runs.insert((RegionId::FIRST, LOW.last + 1), run(LOW.last + 1, u16::MAX, 1, 1));
    assert_eq!(moving::untold(&fleet.owned(group(2)), group(2), &map), []);
}

/// A log that is read by seq has neither a hole nor a second owner's record in it.
#[test]
fn seqs_go_on_without_a_gap_in_the_new_group() {
    let mut fleet = Fleet::new(2);
    let steps: Vec<Step> = random_steps(11, 400);
    let (before, after) = steps.split_at(200);
    before.iter().for_each(|step| fleet.write(*step).expect("is answered as ever"));
    fleet.begin(group(1), ALL, group(2)).expect("begins");
    fleet.settle().expect("comes to an end");
    let heads = |fleet: &Fleet| {
        let head = |channel| match fleet.view(group(2)).get(&RowKey::Channel(channel)).expect("readable").as_deref() {
            Some(Row::Channel(row)) => row.head.seq,
            _ => Seq::ZERO,
        };
        Script::channels().into_iter().map(head).collect::<Vec<_>>()
    };
    let then = heads(&fleet);
    after.iter().for_each(|step| fleet.write(*step).expect("is answered as ever"));
    assert!(heads(&fleet) > then, "something was said after the move");
    let view = fleet.view(group(2));
    let found = invariant::everything(view, view.rows.keys()).expect("readable");
    assert!(found.is_empty(), "{found:?}");
}
