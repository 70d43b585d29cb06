use std::sync::{Arc, mpsc};

use kith_machine::view::{Row, RowKey, Scan, StateView, WriteSet};
use kith_storage::{Options, Storage};
use kith_wire::{
    id::{ChannelId, GroupId, LogIndex, Seq, Term, UserId},
    log::{Applied, ChannelRow, Entry, LogId, Payload},
};

fn id(index: u64) -> LogId {
    LogId { term: Term::new(1), index: LogIndex::new(index) }
}

#[test]
fn appended_and_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let group = GroupId::new(3);
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.identity().boot.get(), 1);
    let (done, is_done) = mpsc::channel();
    let entries = (0..10).map(|index| Entry { id: id(index), payload: Payload::Batch(b"hello".to_vec().into()) }).collect();
    store.log().append(group, entries, Box::new(move |result| done.send(result).unwrap()));
    assert_eq!(store.log().read(group, LogIndex::new(2)..=LogIndex::new(4), usize::MAX).unwrap().len(), 3);
    is_done.recv().unwrap().unwrap();
    let state = store.state().group(group);
    let mut writes = WriteSet::default();
    writes.rows.insert(RowKey::Channel(channel), Some(Arc::new(Row::Channel(ChannelRow::default()))));
    writes.rows.insert(RowKey::Dirty(channel), Some(Arc::new(Row::Dirty)));
    state.commit(writes, Applied { last: Some(id(9)), ..Applied::default() }).unwrap();
    assert!(state.get(&RowKey::Channel(channel)).unwrap().is_some());
    let reader = state.reader().unwrap();
    store.close().unwrap();
    assert_eq!(store.state().durable_applied(group), Some(id(9)));
    drop((state, reader, store));
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.identity().boot.get(), 2);
    assert_eq!(store.log().bounds(group).last, Some(id(9)));
    let state = store.state().group(group);
    assert_eq!(state.applied().last, Some(id(9)));
    assert_eq!(state.scan(&Scan::Dirty(None), false, 10).unwrap().len(), 1);
    assert!(state.get(&RowKey::Record(channel, Seq::new(1))).unwrap().is_none());
}
