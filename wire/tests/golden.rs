//! What must never change: the hashes that place things, the bytes of frames, the bytes of every stored and promised message.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kith_wire::{
    act::*,
    client::*,
    error::DecodeError,
    frame::{self, Decoder, Frame, Framing, Kind},
    id::*,
    log::*,
    peer::{self, *},
};
use support::{
    golden::{self, hex, unhex},
    sample::{Sample, Source, Variants},
};

#[test]
fn ids_and_buckets_are_fixed_for_ever() {
    let mut lines = Vec::new();
    let mut line = |name: String, value: String| lines.push((name, value));
    let users: Vec<UserId> = [(0, 0), (0, 1), (3, 7), (255, 255)]
        .iter()
        .map(|&(region, key)| {
            let user = UserId::from_sign_up_key(RegionId::new(region), &[key; 32]);
            line(format!("user of region {region}, key 32 x {key:02x}"), user.to_string());
            user
        })
        .collect();
    for &user in users.iter().chain(&[UserId::new(0), UserId::new(u64::MAX)]) {
        line(format!("bucket of {user}"), user.bucket().to_string());
        line(format!("device of {user}, nonce 16 x 5a"), format!("{:016x}", DeviceId::from_nonce(user, &[0x5a; 16]).get()));
        for &other in &users {
            let channel = ChannelId::direct(user, other);
            line(format!("direct {user} {other}"), format!("{channel} in bucket {}", channel.bucket()));
        }
        for (region, device, op) in [(0, 1, 0), (3, u64::MAX, 9)] {
            let channel = ChannelId::group(RegionId::new(region), user, DeviceId::new(device), op);
            line(format!("group region {region}, {user}, device {device:016x}, op {op}"), format!("{channel} in bucket {}", channel.bucket()));
        }
    }
    for name in ["", "ann", "björn", "語"] {
        line(format!("bucket of name {name:?}"), Bucket::of_name(name).to_string());
    }
    golden::check("ids.txt", &lines);
}

#[test]
fn digests_of_writes_are_fixed_for_ever() {
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let mut lines = Vec::new();
    for (text, reply_to, mentions) in [("hi", None, vec![]), ("hi", Some(Seq::new(3)), vec![]), ("語🦀", None, vec![UserId::new(1), UserId::new(2)])]
    {
        let name = format!("send {text:?} {reply_to:?} {mentions:?}");
        let mut send = Send { channel, client_seq: ClientSeq::new(4), settled: ClientSeq::new(1), text: text.into(), reply_to, mentions };
        let digest = send.digest();
        send.settled = ClientSeq::new(2);
        assert_eq!(send.digest(), digest, "settled is not part of what is sent");
        lines.push((name, format!("{digest:016x}")));
    }
    for change in [
        MemberChange::Add(UserId::new(9)),
        MemberChange::Remove(UserId::new(9)),
        MemberChange::Leave,
        MemberChange::SetRole(UserId::new(9), Role::Admin),
        MemberChange::SetRole(UserId::new(9), Role::Owner),
    ] {
        let write = ChangeMembers { channel, client_seq: ClientSeq::new(4), settled: ClientSeq::new(1), change };
        lines.push((format!("change {change:?}"), format!("{:016x}", write.digest())));
    }
    for (at, act) in variants::<Act>(18).into_iter().enumerate() {
        let name = format!("act {at}");
        let write = ActWrite { channel, client_seq: ClientSeq::new(4), settled: ClientSeq::new(1), act };
        lines.push((name, format!("{:016x}", write.digest())));
    }
    golden::check("digests.txt", &lines);
}

/// A body for each kind of frame, in both framings.
#[test]
fn frames_have_the_bytes_they_always_had() {
    let source: Vec<u8> = (1..=60).collect();
    let mut source = Source::new(&source);
    let body = |kind: Kind, source: &mut Source<'_>| match kind {
        Kind::ToEdge => ToEdge::variant(0, source).encode(),
        Kind::ToClient => ToClient::variant(0, source).encode(),
        Kind::Pull => Pull::sample(source).encode(),
        Kind::Page => Page::variant(2, source).encode(),
        Kind::ToPeer => ToPeer::variant(0, source).encode(),
        Kind::FromPeer => FromPeer::variant(0, source).encode(),
        Kind::SnapshotHead => SnapshotHead::sample(source).encode(),
        Kind::SnapshotEnd => SnapshotEnd { rows: 3, crc: 0x0102_0304 }.encode(),
        Kind::SnapshotDone => AppendResult::Closed.encode(),
        Kind::SnapshotChunk | Kind::Unknown(_) => Bytes::from_static(b"rows"),
    };
    let mut lines = Vec::new();
    for &kind in Kind::ALL.iter().chain(&[Kind::Unknown(0xfffe)]) {
        let body = body(kind, &mut source);
        for framing in [Framing::Plain, Framing::Checked] {
            let mut out = BytesMut::new();
            frame::encode(framing, kind, &body, &mut out);
            let mut decoder = Decoder::new(framing, body.len());
            decoder.push(&out);
            assert_eq!(decoder.poll(), Ok(Some(Frame { kind, body: body.clone() })));
            lines.push((format!("{kind:?} {framing:?}"), hex(&out)));
        }
    }
    golden::check("frames.txt", &lines);
}

#[test]
fn a_changed_byte_of_a_golden_checked_frame_fails() {
    for (name, value) in golden::lines("frames.txt").iter().filter(|(name, _)| name.ends_with("Checked")) {
        for at in 0..value.len() / 2 {
            let mut bytes = unhex(value);
            bytes[at] ^= 0x10;
            let mut decoder = Decoder::new(Framing::Checked, 1 << 16);
            decoder.push(&bytes);
            assert!(!matches!(decoder.poll(), Ok(Some(_))), "{name}: byte {at}");
        }
    }
}

/// A value of each variant, drawn from bytes that rise from `start`.
fn variants<T: Variants>(start: u8) -> Vec<T> {
    let bytes: Vec<u8> = (0..400u16).map(|step| (u16::from(start) + 3 * step) as u8).collect();
    (0..T::COUNT).map(|index| T::variant(index, &mut Source::new(&bytes))).collect()
}

type Codec = fn(&[u8]) -> Result<(String, Bytes), DecodeError>;

macro_rules! codecs {
    ($($ty:ident),* $(,)?) => {
        fn codec(name: &str) -> Codec {
            match name {
                $(stringify!($ty) => |bytes| $ty::decode(bytes).map(|value| (told(&value), value.encode())),)*
                other => panic!("{other} is no type"),
            }
        }
        /// One value of each type.
        fn plain() -> Vec<(String, Bytes)> {
            let bytes: Vec<u8> = (0..400u16).map(|step| (5 * step + 1) as u8).collect();
            vec![$((format!("{}", stringify!($ty)), $ty::sample(&mut Source::new(&bytes)).encode())),*]
        }
    };
}
every_type!(codecs);

fn told(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Every type, command, request, answer, event, ask and tell: old bytes are read as the old value, and written as the old bytes.
#[test]
fn messages_have_the_bytes_they_always_had() {
    let id = RequestId::new(7);
    let caller = Caller { user: UserId::new(1), device: DeviceId::new(2), admin: None, trace: 3, key: None, token: None };
    let mut values = plain();
    let mut add = |name: &str, bytes: Bytes| values.push((name.to_owned(), bytes));
    for (start, command) in variants::<Command>(1).into_iter().take(25).enumerate() {
        let command = match command {
            Command::OwnBuckets { region, epoch, .. } => Command::OwnBuckets { region, first: 1, last: 300, epoch },
            command => command,
        };
        let bucket = (start % 2 == 0).then_some(Bucket { region: RegionId::FIRST, index: start as u16 });
        add("Item", Item { bucket, command }.encode());
    }
    variants::<Outcome>(2).into_iter().for_each(|outcome| {
        let entry = DedupEntry { client_seq: ClientSeq::new(5), digest: 6, outcome };
        add("DedupRow", DedupRow { user: UserId::new(1), last: ClientSeq::new(5), ring: vec![entry] }.encode());
    });
    variants::<Request>(3).into_iter().for_each(|request| add("ToEdge", ToEdge::Request { id, request }.encode()));
    variants::<ToEdge>(4).iter().for_each(|value| add("ToEdge", value.encode()));
    variants::<ToClient>(5).iter().for_each(|value| add("ToClient", value.encode()));
    variants::<Answer>(6).into_iter().for_each(|answer| add("ToClient", ToClient::Answer { id, answer: Ok(answer) }.encode()));
    variants::<Event>(7).into_iter().for_each(|event| add("ToClient", ToClient::Event(event).encode()));
    variants::<Pull>(8).iter().for_each(|value| add("Pull", value.encode()));
    variants::<Page>(9).iter().for_each(|value| add("Page", value.encode()));
    variants::<Ask>(10).into_iter().for_each(|ask| add("ToPeer", ToPeer::Ask { id, deadline_ms: 9, ask }.encode()));
    let inner_ask = |inner| {
        let ask = Ask::Inner { group: GroupId::new(1), map_epoch: MapEpoch::new(2), inner };
        ToPeer::Ask { id, deadline_ms: 9, ask }.encode()
    };
    variants::<Inner>(11).into_iter().take(8).for_each(|inner| add("ToPeer", inner_ask(inner)));
    variants::<Tell>(12).into_iter().for_each(|tell| add("ToPeer", ToPeer::Tell(tell).encode()));
    variants::<FromPeer>(13).iter().for_each(|value| add("FromPeer", value.encode()));
    variants::<peer::Told>(14).into_iter().for_each(|told| add("FromPeer", FromPeer::Told { id, told: Ok(told) }.encode()));
    variants::<InnerAnswer>(15).into_iter().for_each(|inner| add("FromPeer", FromPeer::Told { id, told: Ok(peer::Told::Inner(inner)) }.encode()));
    variants::<AppendResult>(16).iter().for_each(|value| add("AppendResult", value.encode()));
    let query = HistoryQuery::sample(&mut Source::new(&[9; 90]));
    add("ToPeer", ToPeer::Ask { id, deadline_ms: 9, ask: Ask::History { group: GroupId::new(1), caller, query } }.encode());
    // Lines are named by their number: what came later stands last.
    variants::<Inner>(11).into_iter().skip(8).for_each(|inner| add("ToPeer", inner_ask(inner)));
    let history = HistoryQuery { replica: None, linearizable: true, ..HistoryQuery::sample(&mut Source::new(&[9; 90])) };
    add("Pull", Pull::History(history).encode());
    let index = IndexQuery { linearizable: true, ..IndexQuery::sample(&mut Source::new(&[9; 40])) };
    add("Pull", Pull::Index(index).encode());
    variants::<Command>(1).into_iter().skip(25).for_each(|command| add("Item", Item { bucket: None, command }.encode()));

    variants::<Act>(17).iter().for_each(|act| add("Act", act.encode()));

    let new: Vec<(String, String)> = values
        .iter()
        .enumerate()
        .map(|(at, (name, bytes))| {
            let (told, _) = codec(name)(bytes).unwrap();
            (format!("{at} {name}"), format!("{} = {told}", hex(bytes)))
        })
        .collect();
    golden::write_new("messages.txt", &new);
    for (name, line) in golden::lines("messages.txt") {
        let (_, kind) = name.split_once(' ').unwrap();
        let (bytes, kept) = line.split_once(" = ").unwrap();
        let (told, again) = codec(kind)(&unhex(bytes)).unwrap();
        assert_eq!((told.as_str(), hex(&again).as_str()), (kept, bytes), "{name}");
    }
}
