//! The layers against one map: what is seen through them over a database is what was written, and new keys that went leave nothing.

use kith_machine::view::RowValue;
use kith_wire::id::{ChannelId, UserId, UserRev};
use proptest::prelude::*;

use super::*;

const USER: UserId = UserId::new(7);

fn key(rev: u64) -> RowKey {
    RowKey::IndexByRev(USER, UserRev::new(rev))
}
fn channel(number: u64) -> ChannelId {
    ChannelId::direct(USER, UserId::new(number))
}
fn seen(overlay: &Overlay, database: &BTreeMap<RowKey, Arc<Row>>, key: &RowKey) -> Option<ChannelId> {
    let row = find(overlay.layers(), key).cloned().unwrap_or_else(|| database.get(key).cloned());
    row.as_deref().and_then(ChannelId::of).copied()
}

/// Writes what was taken, as the state writer does: newest of each key.
fn write(taken: &[Arc<Layer>], database: &mut BTreeMap<RowKey, Arc<Row>>) -> usize {
    let mut rows = 0;
    for (at, layer) in taken.iter().enumerate() {
        for (key, held) in layer.rows.iter().filter(|(key, _)| !taken[at + 1..].iter().any(|layer| layer.rows.contains_key(key))) {
            rows += 1;
            match &held.row {
                Some(row) => drop(database.insert(key.clone(), Arc::clone(row))),
                None => drop(database.remove(key)),
            }
        }
    }
    rows
}

#[derive(Clone, Debug)]
enum Step {
    /// Moves of the index in one commit: each deletes the row before it, and puts one under the next rev.
    Commit(u64),
    /// A reader holds the layers until the next one does.
    Read,
    Take,
    Written,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => (1..4_u64).prop_map(Step::Commit), 1 => Just(Step::Read), 1 => Just(Step::Take), 1 => Just(Step::Written)]
}

proptest! {
    #[test]
    fn what_is_seen_is_what_was_written(steps in prop::collection::vec(step(), 1..60)) {
        let (mut overlay, mut database, mut model) = (Overlay::default(), BTreeMap::new(), BTreeMap::new());
        let (mut rev, mut reader, mut taken) = (0, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Commit(moves) => {
                    let mut writes = WriteSet::default();
                    for _ in 0..moves {
                        if rev > 0 {
                            writes.delete(key(rev));
                            model.remove(&key(rev));
                        }
                        rev += 1;
                        writes.put_new(key(rev), channel(rev));
                        model.insert(key(rev), channel(rev));
                    }
                    overlay.push(writes);
                }
                Step::Read => reader = overlay.layers().to_vec(),
                Step::Take if taken.is_empty() => taken = overlay.take(),
                Step::Take => {}
                Step::Written => {
                    write(&std::mem::take(&mut taken), &mut database);
                    overlay.drop_taken();
                }
            }
            for rev in 1..=rev {
                prop_assert_eq!(seen(&overlay, &database, &key(rev)), model.get(&key(rev)).copied(), "rev {}", rev);
            }
            let bytes: usize = overlay.layers().iter().map(|layer| layer.bytes).sum();
            prop_assert_eq!(bytes, overlay.bytes());
            for layer in overlay.layers() {
                prop_assert_eq!(layer.bytes, LAYER_BYTES + layer.rows.values().map(|held| held.bytes).sum::<usize>());
            }
        }
        drop(reader);
        write(&overlay.take(), &mut database);
        let left: Vec<_> = database.keys().cloned().collect();
        prop_assert_eq!(left, model.keys().cloned().collect::<Vec<_>>());
    }
}

#[test]
fn new_rows_that_went_are_not_written_and_old_ones_are_deleted() {
    let mut overlay = Overlay::default();
    let mut writes = WriteSet::default();
    writes.put(key(1), channel(1));
    overlay.push(writes);
    for rev in 2..=50 {
        let mut writes = WriteSet::default();
        writes.delete(key(rev - 1));
        writes.put_new(key(rev), channel(rev));
        overlay.push(writes);
    }
    let taken = overlay.take();
    assert_eq!(taken.iter().map(|layer| layer.rows.len()).sum::<usize>(), 2, "the first, which the database may have, and the last");
    assert!(taken[0].rows[&key(1)].row.is_none() && taken[0].rows[&key(50)].row.is_some());
    // What was taken is being written: its deletion is one.
    let mut writes = WriteSet::default();
    writes.delete(key(50));
    overlay.push(writes);
    assert!(overlay.layers().last().is_some_and(|layer| layer.rows.contains_key(&key(50))));
}
