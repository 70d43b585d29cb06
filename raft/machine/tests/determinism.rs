//! The same log gives the same state and digest, in whatever batches and from whatever snapshot; no command panics.

use kith_machine::{
    group_state,
    testing::{MemoryView, STEP_BYTES, Script, Step},
    view::{Row, RowKey},
};
use kith_wire::{
    id::{GroupId, Timestamp},
    log::{Batch, Item},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..count)
}

fn script(mut script: Script, steps: &[Step]) -> Script {
    for step in steps {
        script.step(*step);
    }
    script
}

fn replay(log: &[Batch], group: GroupId) -> MemoryView {
    let mut view = MemoryView::default();
    for (at, batch) in log.iter().enumerate() {
        view.apply(group, at as u64 + 1, batch.clone()).expect("applies");
    }
    view
}

/// Rows without what names log positions.
fn comparable(mut view: MemoryView) -> MemoryView {
    view.rows.remove(&RowKey::GroupState);
    view.rows.remove(&RowKey::Cluster);
    view
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(64))]

    #[test]
    fn same_log_gives_same_rows_and_digest(steps in steps(150), is_meta in any::<bool>()) {
        let script = script(if is_meta { Script::meta() } else { Script::new() }, &steps);
        let encoded: Vec<_> = script.log.iter().map(|batch| Batch::decode(&batch.encode()).expect("what we encode can be decoded")).collect();
        let again = replay(&encoded, script.group());
        prop_assert_eq!(&again, &script.view);
        prop_assert_eq!(group_state(&again).expect("readable").digest, group_state(&script.view).expect("readable").digest);
    }

    #[test]
    fn any_batching_gives_same_rows_and_replies(steps in steps(150), cuts in prop::collection::vec(1..12_usize, 1..40), is_meta in any::<bool>()) {
        let script = script(if is_meta { Script::meta() } else { Script::new() }, &steps);
        // One clock for all: a batch has one.
        let items: Vec<Item> = script.log.iter().flat_map(|batch| batch.items.clone()).collect();
        let one_by_one: Vec<Batch> = items.iter().map(|item| Batch { now: Timestamp::new(7), items: vec![item.clone()] }).collect();
        let mut batched = Vec::new();
        let mut rest = items.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (batch, tail) = rest.split_at((*cut).min(rest.len()));
            batched.push(Batch { now: Timestamp::new(7), items: batch.to_vec() });
            rest = tail;
        }
        let run = |log: &[Batch]| {
            let mut view = MemoryView::default();
            let mut replies = Vec::new();
            for (at, batch) in log.iter().enumerate() {
                replies.extend(view.apply(script.group(), at as u64 + 1, batch.clone()).expect("applies").replies);
            }
            (comparable(view), replies)
        };
        let (one, many) = (run(&one_by_one), run(&batched));
        prop_assert_eq!(one.1, many.1);
        prop_assert_eq!(one.0, many.0);
    }

    #[test]
    fn snapshot_then_tail_is_the_whole_log(steps in steps(150), at in any::<prop::sample::Index>()) {
        let script = script(Script::new(), &steps);
        let cut = at.index(script.log.len());
        let mut view = replay(&script.log[..cut], script.group());
        // A snapshot is rows only; whatever else there was is gone.
        view = MemoryView { rows: view.rows.into_iter().collect() };
        for (at, batch) in script.log.iter().enumerate().skip(cut) {
            view.apply(script.group(), at as u64 + 1, batch.clone()).expect("applies");
        }
        prop_assert_eq!(view, script.view);
    }

    #[test]
    fn every_item_is_answered(steps in steps(100)) {
        let script = script(Script::new(), &steps);
        for (batch, applied) in script.log.iter().zip(&script.applied) {
            prop_assert_eq!(batch.items.len(), applied.replies.len());
            prop_assert!(applied.writes.rows.get(&RowKey::GroupState).is_some_and(|row| matches!(row.as_deref(), Some(Row::GroupState(_)))));
        }
    }
}
