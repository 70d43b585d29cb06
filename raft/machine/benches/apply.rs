//! Apply: a text appended to a group chat, and a ref merged into a user's index, in batches as a busy log has them, over rows in memory.
#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kith_machine::{Meta, apply_batch, item, testing::MemoryView};
use kith_wire::{
    id::{ChannelId, ClientSeq, DeviceId, GroupId, LogIndex, OwnerEpoch, RegionId, Seq, Term, Timestamp, UserId},
    log::{Author, Batch, Command, Content, Item, LogId, PeerCheck, Position, Ref},
};

/// Commands of a batch.
const ITEMS: u64 = 50;
/// Members of the group chat.
const MEMBERS: u64 = 7;
/// The index at which the measured batch stands.
const AT: u64 = 100;

const GROUP: GroupId = GroupId::new(1);

fn user(number: u64) -> UserId {
    UserId::from_sign_up_key(RegionId::FIRST, &[number as u8; 32])
}

fn device(number: u64) -> DeviceId {
    DeviceId::from_nonce(user(number), &[1; 16])
}

fn channel() -> ChannelId {
    ChannelId::group(RegionId::FIRST, user(0), device(0), 1)
}

/// A group with its users and a group chat.
fn view() -> MemoryView {
    let mut view = MemoryView::default();
    let mut commands = vec![Command::OwnBuckets { region: RegionId::FIRST, first: 0, last: u16::MAX, epoch: OwnerEpoch::new(1) }];
    commands.extend((0..ITEMS).map(|number| Command::CreateUser { user: user(number), name: format!("user-{number}"), key: [number as u8; 32] }));
    let members = (1..MEMBERS).map(user).collect();
    commands.push(Command::CreateGroup { channel: channel(), creator: user(0), device: device(0), op: 1, title: "room".to_owned(), members });
    commands.push(append(0, 1));
    for (index, command) in (1..).zip(commands) {
        view.apply(GROUP, index, Batch { now: Timestamp::new(1_000), items: vec![item(command)] }).unwrap();
    }
    view
}

fn append(sender: u64, number: u64) -> Command {
    let author = Author {
        user: user(sender),
        device: device(sender),
        client_seq: ClientSeq::new(number),
        settled: ClientSeq::new(number),
        digest: number,
        key: None,
    };
    let content = Content::Text {
        text: "what people say in a line of chat, about as long as this one".to_owned(),
        reply_to: None,
        mentions: Vec::new(),
        extra: None,
    };
    Command::Append { channel: channel(), author, content, peer: PeerCheck::NotAsked }
}

fn news(number: u64) -> Command {
    let head = Position { seq: Seq::new(AT), cnt: AT };
    let news = Ref {
        channel: channel(),
        incarnation: Default::default(),
        head,
        head_ts: Timestamp::new(1_000),
        member_seq: Seq::new(1),
        join: Position::default(),
        left: None,
        own: Position::default(),
        mentions: Vec::new(),
        title: "room".to_owned(),
        preview: "what people say in a line of chat".to_owned(),
        head_sender: user(0),
    };
    Command::MergeRefs { user: user(number), refs: vec![news] }
}

fn batch(command: impl Fn(u64) -> Command) -> Batch {
    let items: Vec<Item> = (0..ITEMS).map(|number| item(command(number))).collect();
    Batch { now: Timestamp::new(2_000), items }
}

fn machine(bench: &mut Criterion) {
    let view = view();
    let meta = Meta { group: GROUP, id: LogId { term: Term::new(1), index: LogIndex::new(AT) } };
    let mut group = bench.benchmark_group("apply");
    group.throughput(Throughput::Elements(ITEMS));
    // One sender's numbers follow each other; the first was used when the room was made.
    let appends = batch(|number| append(0, number + 2));
    let merges = batch(news);
    for (name, batch) in [("append", appends), ("index merge", merges)] {
        let applied = apply_batch(&view, batch.clone(), meta).unwrap();
        assert!(applied.effects.len() as u64 >= ITEMS, "{name}: a command was refused: {:?}", applied.replies.first());
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| batch.clone(), |batch| apply_batch(black_box(&view), batch, meta).unwrap(), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, machine);
criterion_main!(benches);
