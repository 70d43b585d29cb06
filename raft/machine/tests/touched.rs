//! What an index of texts is fed with says everything: the effects of each entry, and for who missed them, what the entry touched.

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::{
    channel::pick::{Touched, aim, touched},
    effect::Effect,
    testing::{MemoryView, STEP_BYTES, Script, random_steps},
    view::{Row, RowKey},
};
use kith_wire::{
    id::{ChannelId, Seq},
    log::{Batch, Content, Record},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

type Texts = BTreeMap<(ChannelId, Seq), String>;

fn records(view: &MemoryView) -> BTreeMap<(ChannelId, Seq), Record> {
    let record = |(key, row): (&RowKey, &std::sync::Arc<Row>)| match (key, &**row) {
        (RowKey::Record(channel, seq), Row::Record(record)) => Some(((*channel, *seq), record.clone())),
        _ => None,
    };
    view.rows.iter().filter_map(record).collect()
}

fn texts(records: &BTreeMap<(ChannelId, Seq), Record>) -> Texts {
    records.iter().filter_map(|(key, record)| Some((*key, record.content.text()?.to_owned()))).collect()
}

/// As an index does that hears every effect.
fn hear(held: &mut Texts, effects: &[Effect]) {
    for effect in effects {
        let (Effect::Appended { channel, record, .. } | Effect::Amended { channel, record }) = effect else { continue };
        let key = (*channel, record.at.seq);
        match &record.content {
            Content::Text { text, .. } => drop(held.insert(key, text.clone())),
            Content::Gone { .. } => drop(held.remove(&key)),
            _ => {}
        }
    }
}

/// Records whose text an index looks at again that missed the batch.
fn looked_at(batch: &Batch, before: &BTreeMap<(ChannelId, Seq), Record>, after: &BTreeMap<(ChannelId, Seq), Record>) -> BTreeSet<(ChannelId, Seq)> {
    let mut seen = BTreeSet::new();
    for (channel, touch) in batch.items.iter().filter_map(|item| touched(&item.command)) {
        let of_channel = || after.iter().filter(move |((of, _), _)| *of == channel);
        match touch {
            Touched::Whole => seen.extend(of_channel().map(|(key, _)| *key)),
            Touched::Record(seq) => drop(seen.insert((channel, seq))),
            Touched::Tail => {
                for (key, record) in of_channel().filter(|(key, _)| !before.contains_key(key)) {
                    seen.insert(*key);
                    seen.extend(aim(record).map(|target| (channel, target)));
                }
            }
        }
    }
    seen
}

fn check(log: &[Batch], script: &Script) -> Result<usize, TestCaseError> {
    let (mut view, mut held, mut changes) = (MemoryView::default(), Texts::new(), 0);
    for (at, batch) in log.iter().enumerate() {
        let before = records(&view);
        let applied = view.apply(script.group(), at as u64 + 1, batch.clone()).expect("applies");
        let after = records(&view);
        hear(&mut held, &applied.effects);
        prop_assert_eq!(&held, &texts(&after), "who hears every effect has every text");
        let (was, is) = (texts(&before), texts(&after));
        let changed: BTreeSet<_> = was.keys().chain(is.keys()).filter(|key| was.get(key) != is.get(key)).copied().collect();
        changes += changed.len();
        let seen = looked_at(batch, &before, &after);
        prop_assert!(changed.is_subset(&seen), "{:?} was not looked at after {:?}", changed.difference(&seen).collect::<Vec<_>>(), batch);
    }
    Ok(changes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))), ..ProptestConfig::default() })]

    #[test]
    fn effects_and_touched_records_name_every_change_of_a_text(steps in prop::collection::vec(any::<[u8; STEP_BYTES]>(), 0..120)) {
        let mut script = Script::new();
        for step in &steps {
            script.step(*step);
        }
        check(&script.log.clone(), &script)?;
    }
}

#[test]
fn a_long_history_changes_many_texts() {
    let mut script = Script::new();
    for step in random_steps(5, 600) {
        script.step(step);
    }
    let changes = check(&script.log.clone(), &script).expect("named");
    assert!(changes > 50, "{changes}");
}
