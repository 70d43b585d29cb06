//! What every request meets on a node: the map's lookup, and a step of the session machine.
#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kith::{
    auth::Claims,
    bench::map::{bucket, large_map},
    clock::{Clock, SystemClock},
    cluster::map::Located,
    session::machine::{Action, Identity, Machine, Registered},
};
use kith_wire::{
    client::{Answer, Hello, Request, Send, ToEdge},
    hello::{CURRENT, FEATURES},
    id::{ChannelId, ClientSeq, ClusterId, Conn, DeviceId, NodeId, RequestId, Seq, SessionId, Timestamp, UserId, UserRev},
};

fn map(bench: &mut Criterion) {
    let map = Located::new(large_map());
    let mut number = 0;
    bench.bench_function("map lookup of 100,000 groups", |bencher| {
        bencher.iter(|| {
            number += 1;
            map.group_of(black_box(bucket(number)))
        });
    });
}

/// A session that is open.
fn opened() -> Machine {
    let now = SystemClock.instant();
    let (user, cluster) = (UserId::new(9), ClusterId::new([7; 16]));
    let mut machine = Machine::new(Identity { cluster, node: NodeId::new(1), features: FEATURES }, 0, now);
    let hello = Hello {
        version: CURRENT,
        features: FEATURES,
        cluster: None,
        token: "t".to_owned(),
        device: DeviceId::new(5),
        conn: Conn::new(1),
        user_rev: UserRev::ZERO,
    };
    let claims = Claims { user, name: "ann".to_owned(), cluster, expires_s: 10, ..Claims::default() };
    machine.handle_frame(ToEdge::Hello(hello), now);
    machine.handle_token(Ok(claims.clone()));
    let registered = Registered { session: SessionId::new(3), name: "ann".to_owned(), user_rev: UserRev::ZERO };
    machine.handle_registered(&claims, Ok(registered), Timestamp::new(1));
    while machine.poll_action().is_some() {}
    while machine.poll_transmit().is_some() {}
    machine
}

fn session(bench: &mut Criterion) {
    let (mut machine, now, mut number) = (opened(), SystemClock.instant(), 0);
    let channel = ChannelId::direct(UserId::new(9), UserId::new(10));
    bench.bench_function("session step: send in, ack out", |bencher| {
        bencher.iter(|| {
            number += 1;
            let (client_seq, settled) = (ClientSeq::new(number), ClientSeq::new(number));
            let send = Send { channel, client_seq, settled, text: "hi".to_owned(), reply_to: None, mentions: Vec::new() };
            machine.handle_frame(ToEdge::Request { id: RequestId::new(number), request: Request::Send(send) }, now);
            let Some(Action::Start { id, .. }) = machine.poll_action() else { panic!("the send was not begun") };
            machine.handle_answer(id, Ok(Answer::Sent { seq: Seq::new(number), cnt: number, ts: Timestamp::new(1), duplicate: false }));
            machine.poll_transmit()
        });
    });
}

criterion_group!(benches, map, session);
criterion_main!(benches);
