//! Frames: what each costs to write and to read, in both framings, with the message of a client's send inside.
#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kith_wire::{
    client::{Request, Send, ToEdge},
    frame::{Decoder, Framing, Kind, encode},
    id::{ChannelId, ClientSeq, RequestId, UserId},
    limit::FRAME_BYTES_MAX,
};

/// Bytes of the text.
const TEXT_BYTES: usize = 200;
/// Frames of one read, as a busy stream has them.
const FRAMES: u64 = 16;

fn send() -> ToEdge {
    let channel = ChannelId::direct(UserId::new(7), UserId::new(9));
    let (client_seq, settled) = (ClientSeq::new(5), ClientSeq::new(5));
    let send = Send { channel, client_seq, settled, text: "x".repeat(TEXT_BYTES), reply_to: None, mentions: Vec::new() };
    ToEdge::Request { id: RequestId::new(5), request: Request::Send(send) }
}

fn frames(bench: &mut Criterion) {
    let frame = send();
    let body = frame.encode();
    for (name, framing) in [("plain", Framing::Plain), ("checked", Framing::Checked)] {
        let mut group = bench.benchmark_group(format!("frame {name}"));
        group.throughput(Throughput::Elements(FRAMES));
        let mut out = BytesMut::with_capacity(64 * 1024);
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                (0..FRAMES).for_each(|_| encode(framing, Kind::ToEdge, black_box(&body), &mut out));
            });
        });
        let mut bytes = BytesMut::new();
        (0..FRAMES).for_each(|_| encode(framing, Kind::ToEdge, &body, &mut bytes));
        group.bench_function("decode", |bencher| {
            bencher.iter(|| {
                let mut decoder = Decoder::new(framing, FRAME_BYTES_MAX);
                decoder.push(black_box(&bytes));
                while let Some(frame) = decoder.poll().unwrap() {
                    black_box(frame);
                }
            });
        });
        group.finish();
    }
    bench.bench_function("send encode", |bencher| bencher.iter(|| black_box(&frame).encode()));
    bench.bench_function("send decode", |bencher| bencher.iter(|| ToEdge::decode(black_box(&body)).unwrap()));
}

criterion_group!(benches, frames);
criterion_main!(benches);
