//! The log writer: appends of several groups, synced together. What is measured is mostly the disk; set against its fdatasync time it is the
//! writer's own share.
#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::mpsc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kith_storage::{Options, Storage};
use kith_wire::{
    id::{GroupId, LogIndex, Term},
    log::{Entry, LogId, Payload},
};

/// Bytes of an entry: a batch of about 15 texts of 200 bytes.
const ENTRY_BYTES: usize = 4_096;

fn log_writer(bench: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = Storage::open(dir.path(), Options::default()).unwrap();
    let mut index = 0;
    let mut group = bench.benchmark_group("log writer");
    for groups in [1_u32, 3, 16] {
        group.throughput(Throughput::Elements(u64::from(groups)));
        group.bench_function(format!("{groups} appends, synced"), |bencher| {
            bencher.iter(|| {
                let (done, is_done) = mpsc::channel();
                for number in 1..=groups {
                    let done = done.clone();
                    let id = LogId { term: Term::new(1), index: LogIndex::new(index) };
                    let entry = Entry { id, payload: Payload::Batch(vec![number as u8; ENTRY_BYTES].into()) };
                    // Each size has groups of its own, whose logs begin anew.
                    let of = GroupId::new(groups * 1_000 + number);
                    store.log().append(of, vec![entry], Box::new(move |result| done.send(result).unwrap()));
                }
                (0..groups).for_each(|_| is_done.recv().unwrap().unwrap());
                index += 1;
            });
        });
        index = 0;
    }
    group.finish();
    store.close().unwrap();
}

criterion_group!(benches, log_writer);
criterion_main!(benches);
