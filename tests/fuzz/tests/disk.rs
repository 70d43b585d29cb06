//! What lies on a disk or comes as a snapshot: keys, rows, log entries, marks, and what apply does with whatever was logged.

use bolero::check;
use kith_machine::{invariant, testing::MemoryView};
use kith_storage::{chunk, fuzz};
use kith_wire::{
    id::{GroupId, StoreId},
    log::Batch,
};

const GROUP: GroupId = GroupId::new(1);

/// A chunk as it came, and with keys and checksums that are right, so that what is behind them is tried too.
#[test]
fn rows_of_a_snapshot() {
    check!().for_each(|input: &[u8]| {
        for chunk in fuzz::mended(GROUP, input).as_deref().into_iter().chain([input]) {
            let Ok(rows) = chunk::rows_of(GROUP, chunk) else { continue };
            assert_eq!(rows.len(), chunk::rows(chunk) as usize);
            let again: Vec<_> = chunk::of_rows(GROUP, rows.iter().map(|(key, row)| (key, row)))
                .iter()
                .flat_map(|chunk| chunk::rows_of(GROUP, chunk).expect("what was read is written so that it is read"))
                .collect();
            assert_eq!(again.len(), rows.len());
            assert!(rows.iter().all(|row| again.contains(row)), "a row is not what was written");
        }
    });
}

/// Keys of every family: each is read as what it is written as.
#[test]
fn keys() {
    check!().for_each(|input: &[u8]| {
        for key in fuzz::keys(input) {
            assert!(fuzz::keys(&key.1).contains(&key), "{key:?} is not read as what was written");
        }
        if let Ok(row) = kith_machine::key::decode_packed(input) {
            let again = kith_machine::key::pack(&row);
            assert_eq!(kith_machine::key::decode_packed(&again), Ok(row), "as it is named on its way to another group");
        }
    });
}

/// The log: entries, votes, marks; and the few values of the node itself.
#[test]
fn log_values() {
    check!().for_each(|input: &[u8]| {
        let (key, body) = input.split_at(input.len().min(12));
        if let Some((_, index, entry)) = fuzz::entry(key, body) {
            assert_eq!(entry.id.index, index);
        }
        let (key, body) = input.split_at(input.len().min(5));
        if let Some((_, bounds)) = fuzz::meta(key, body) {
            assert_eq!([bounds.vote.is_some(), bounds.purged.is_some(), bounds.committed.is_some()].iter().filter(|some| **some).count(), 1);
        }
        let _ = (fuzz::applied(input), fuzz::identity(input), input.first_chunk().and_then(fuzz::witness), fuzz::mark(input));
    });
}

/// Where a search index stands: a text, written again as it was read.
#[test]
fn stand_of_an_index() {
    let store = StoreId::new([0; 16]);
    let head = format!("kith-search/1 {store}\n");
    check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        for payload in [text.to_string(), format!("{head}{text}")] {
            if let Some(again) = kith_search::fuzz::stands(store, &payload) {
                assert_eq!(kith_search::fuzz::stands(store, &again), Some(again));
            }
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
            if view.apply(GROUP, index, batch.clone()).is_err() {
                return;
            }
        }
        invariant::everything(&view, view.rows.keys()).expect("invariants hold");
    });
}
