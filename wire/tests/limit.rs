//! Limits where they are met: the last value that is taken and the first that is not, with the code that the asker is told.
#![allow(clippy::unwrap_used)]

use std::str::FromStr;

use kith_wire::{
    act::{Act, ActWrite, Draft, Rules},
    client::*,
    code::Code,
    error::DecodeError,
    frame::{Decoder, FrameError, Framing, Kind, encode},
    hello::{self, Version},
    id::*,
    limit,
    log::*,
};

fn channel() -> ChannelId {
    ChannelId::direct(UserId::new(1), UserId::new(2))
}

fn send(change: impl FnOnce(&mut Send)) -> Request {
    let (client_seq, settled) = (ClientSeq::new(2), ClientSeq::new(1));
    let mut send = Send { channel: channel(), client_seq, settled, text: "hi".into(), reply_to: None, mentions: vec![] };
    change(&mut send);
    Request::Send(send)
}

/// What the edge makes of a request: taken, or answered with this code.
fn met(request: Request) -> Result<(), Code> {
    let id = RequestId::new(3);
    match ToEdge::decode(&ToEdge::Request { id, request: request.clone() }.encode()).unwrap() {
        ToEdge::Request { id: same, request: taken } => {
            assert_eq!((same, taken), (id, request));
            Ok(())
        }
        ToEdge::Unreadable { id: same, refusal } => {
            assert_eq!(same, id, "a refused request keeps its id");
            Err(refusal.code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn texts_are_counted_in_characters() {
    let text = |text: String| met(send(|send| send.text = text));
    assert_eq!(text("🦀".repeat(limit::TEXT_CHARS_MAX)), Ok(()));
    assert_eq!(text("🦀".repeat(limit::TEXT_CHARS_MAX + 1)), Err(Code::TooLarge));
    assert_eq!(text("a".repeat(limit::TEXT_CHARS_MAX)), Ok(()));
    assert_eq!(text("a".repeat(limit::TEXT_CHARS_MAX + 1)), Err(Code::TooLarge));
    assert_eq!(text(String::new()), Err(Code::Invalid));
}

#[test]
fn the_largest_text_fits_its_frames() {
    let request = send(|send| {
        send.text = "🦀".repeat(limit::TEXT_CHARS_MAX);
        send.mentions = vec![UserId::new(u64::MAX); limit::MENTIONS_MAX];
    });
    assert!(ToEdge::Request { id: RequestId::new(u64::MAX), request }.encode().len() <= limit::FRAME_BYTES_MAX);
}

#[test]
fn writes_are_numbered_from_one() {
    assert_eq!(met(send(|send| (send.client_seq, send.settled) = (ClientSeq::new(1), ClientSeq::new(0)))), Ok(()));
    assert_eq!(met(send(|send| (send.client_seq, send.settled) = (ClientSeq::new(0), ClientSeq::new(0)))), Err(Code::Invalid));
    assert_eq!(met(send(|send| send.settled = ClientSeq::new(3))), Err(Code::Invalid));
    let void = |number| Request::Void { channel: channel(), device: DeviceId::new(1), client_seq: ClientSeq::new(number), digest: None };
    assert_eq!((met(void(1)), met(void(0))), (Ok(()), Err(Code::Invalid)));
}

#[test]
fn lists_and_names_of_requests_are_bounded() {
    let users = |count| vec![UserId::new(5); count];
    let group = |title: usize, members| met(Request::CreateGroup { op: 1, title: "é".repeat(title), members: users(members) });
    let find = |bytes: usize| met(Request::FindUser { name: "n".repeat(bytes) });
    let account = |bytes: usize| met(Request::EnsureAccount { name: "n".repeat(bytes), key: [0; 32] });
    assert_eq!(met(send(|send| send.mentions = users(limit::MENTIONS_MAX))), Ok(()));
    assert_eq!(met(send(|send| send.mentions = users(limit::MENTIONS_MAX + 1))), Err(Code::TooLarge));
    assert_eq!(group(limit::TITLE_CHARS_MAX, limit::MEMBERS_MAX), Ok(()));
    assert_eq!(group(limit::TITLE_CHARS_MAX + 1, 0), Err(Code::TooLarge));
    assert_eq!(group(0, limit::MEMBERS_MAX + 1), Err(Code::GroupFull));
    assert_eq!(met(Request::GetUsers { users: users(limit::USERS_PER_REQUEST) }), Ok(()));
    assert_eq!(met(Request::GetUsers { users: users(limit::USERS_PER_REQUEST + 1) }), Err(Code::TooLarge));
    for ask in [&find as &dyn Fn(usize) -> _, &account] {
        assert_eq!([0, 1, limit::NAME_BYTES_MAX, limit::NAME_BYTES_MAX + 1].map(ask), [Err(Code::Invalid), Ok(()), Ok(()), Err(Code::TooLarge)]);
    }
}

#[test]
fn acts_are_bounded_where_they_come_in() {
    let act = |act| {
        let (client_seq, settled) = (ClientSeq::new(2), ClientSeq::new(1));
        met(Request::Act(ActWrite { channel: channel(), client_seq, settled, act }))
    };
    let (target, user) = (Seq::new(1), UserId::new(5));
    let edit = |chars: usize, mentions: usize| act(Act::Edit { target, text: "é".repeat(chars), mentions: vec![user; mentions] });
    assert_eq!([edit(limit::TEXT_CHARS_MAX, limit::MENTIONS_MAX), edit(0, 0)], [Ok(()), Err(Code::Invalid)]);
    assert_eq!([edit(limit::TEXT_CHARS_MAX + 1, 0), edit(1, limit::MENTIONS_MAX + 1)], [Err(Code::TooLarge); 2]);
    let react = |emoji: &str| act(Act::React { target, emoji: emoji.to_owned(), on: true });
    assert_eq!(
        ["👩‍👩‍👧‍👦", "", "a b", "\u{202e}", &"x".repeat(limit::EMOJI_BYTES_MAX)].map(react),
        [Ok(()), Err(Code::Invalid), Err(Code::Invalid), Err(Code::Invalid), Ok(())]
    );
    assert_eq!(react(&"x".repeat(limit::EMOJI_BYTES_MAX + 1)), Err(Code::TooLarge));
    let about = |chars: usize| act(Act::Describe { title: None, about: Some("é".repeat(chars)) });
    assert_eq!([limit::ABOUT_CHARS_MAX, limit::ABOUT_CHARS_MAX + 1].map(about), [Ok(()), Err(Code::TooLarge)]);
    assert_eq!(act(Act::Describe { title: None, about: None }), Err(Code::Invalid));
    let post = |ttl_ms| act(Act::Post(Draft { text: "x".into(), ttl_ms: Some(ttl_ms), ..Draft::default() }));
    assert_eq!([limit::TTL_MS_MIN, limit::AHEAD_MS_MAX].map(post), [Ok(()); 2]);
    assert_eq!([limit::TTL_MS_MIN - 1, limit::AHEAD_MS_MAX + 1].map(post), [Err(Code::Invalid); 2]);
    let rules = |slow_ms, retention_ms| act(Act::SetRules(Rules { slow_ms, retention_ms, ..Rules::default() }));
    assert_eq!([rules(limit::SLOW_MS_MAX, limit::RETENTION_MS_MIN), rules(0, 0)], [Ok(()); 2]);
    assert_eq!([rules(limit::SLOW_MS_MAX + 1, 0), rules(0, limit::RETENTION_MS_MIN - 1)], [Err(Code::Invalid); 2]);
}

fn hello(token: usize) -> Result<ToEdge, DecodeError> {
    let hello = Hello {
        version: hello::CURRENT,
        features: hello::FEATURES,
        cluster: None,
        token: "t".repeat(token),
        device: DeviceId::new(1),
        conn: Conn::new(1),
        user_rev: UserRev::ZERO,
    };
    ToEdge::decode(&ToEdge::Hello(hello).encode())
}

#[test]
fn a_token_that_is_too_long_is_a_bad_token() {
    assert!(hello(limit::TOKEN_BYTES_MAX).is_ok());
    assert_eq!(hello(limit::TOKEN_BYTES_MAX + 1).unwrap_err().code(), Code::BadToken);
}

#[test]
fn pages_that_are_too_long_are_not_taken() {
    let news = Ref {
        channel: channel(),
        incarnation: Incarnation::new(0),
        head: Position::default(),
        head_ts: Timestamp::new(0),
        member_seq: Seq::ZERO,
        join: Position::default(),
        left: None,
        own: Position::default(),
        mentions: vec![],
        title: String::new(),
        preview: String::new(),
        head_sender: UserId::new(1),
    };
    let row = IndexRow { rev: UserRev::new(1), news, read: Position::default(), preferences: PreferencesRow::default() };
    let page = |rows| Page::decode(&Page::Index { rows: vec![row.clone(); rows], more: false, rev: UserRev::new(1) }.encode());
    assert!(page(limit::PAGE_ROWS_MAX).is_ok());
    assert_eq!(page(limit::PAGE_ROWS_MAX + 1).unwrap_err().code(), Code::TooLarge);
    let query = IndexQuery { from: UserRev::ZERO, to: UserRev::ZERO, below: None, limit: 0, linearizable: false };
    assert_eq!(Pull::decode(&Pull::Index(query).encode()).unwrap_err().code(), Code::Invalid);
    let (channel, first) = (ChannelId::direct(UserId::new(1), UserId::new(2)), Seq::new(1));
    let query =
        HistoryQuery { channel, first, last: first, newest_first: false, limit: 1, min_seq: first, replica: None, linearizable: true, place: None };
    assert!(Pull::decode(&Pull::History(query.clone()).encode()).is_ok());
    let named = HistoryQuery { replica: Some(NodeId::new(1)), ..query };
    assert_eq!(Pull::decode(&Pull::History(named).encode()).unwrap_err().code(), Code::Invalid, "the leader answers it, whoever that is");
}

#[test]
fn a_batch_holds_so_many_items() {
    let item = Item { bucket: None, command: Command::RaiseVersion { version: 1 } };
    let batch = |items| Batch::decode(&Batch { now: Timestamp::new(1), items: vec![item.clone(); items] }.encode());
    assert!(batch(limit::BATCH_ITEMS_MAX).is_ok());
    assert!(batch(limit::BATCH_ITEMS_MAX + 1).is_err());
}

#[test]
fn an_unknown_command_is_an_error_and_an_unknown_content_is_kept() {
    let unknown = [0x0a, 0x00, 0xba, 0x3e, 0x01, 0x00]; // an item with a bucket, and a field 999
    assert_eq!(Item::decode(&unknown).unwrap_err().code(), Code::Unsupported);
    assert!(Batch::decode(&[0x12, 0x04, 0xba, 0x3e, 0x01, 0x00]).is_err());
    let content = Content::Unknown { kind: 77, bytes: bytes::Bytes::from_static(b"\xff\x00newer") };
    let record = Record {
        at: Position { seq: Seq::new(1), cnt: 0 },
        incarnation: Incarnation::new(0),
        sender: UserId::new(1),
        device: DeviceId::new(1),
        client_seq: ClientSeq::new(1),
        ts: Timestamp::new(1),
        content,
    };
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

#[test]
fn a_longer_frame_is_refused_from_its_header() {
    for framing in [Framing::Plain, Framing::Checked] {
        let mut stream = bytes::BytesMut::new();
        encode(framing, Kind::ToEdge, &[0; 11], &mut stream);
        let mut decoder = Decoder::new(framing, 10);
        decoder.push(&stream[..4]);
        assert_eq!(decoder.poll(), Err(FrameError::TooLong { length: 11, max: 10 }));
    }
}

#[test]
fn both_sides_of_a_hello_agree() {
    assert_eq!(hello::negotiate(hello::CURRENT), Ok(hello::CURRENT));
    assert_eq!(hello::negotiate(Version(u32::MAX)), Ok(hello::CURRENT));
    assert_eq!(hello::negotiate(Version(0)).unwrap_err().theirs, Version(0));
}

#[test]
fn the_map_finds_the_group_of_a_bucket() {
    let (eu, us) = (RegionId::new(1), RegionId::new(2));
    let run = |region, first, last, group| ((region, first), RunRow { region, first, last, group: GroupId::new(group), epoch: OwnerEpoch::new(1) });
    let runs = [run(eu, 0, 9, 1), run(eu, 10, 10, 2), run(us, 5, u16::MAX, 3)].into();
    let map = ClusterMap { runs, ..ClusterMap::default() };
    let group = |region, index| map.group_of(Bucket { region, index }).map(GroupId::get);
    assert_eq!([group(eu, 0), group(eu, 9), group(eu, 10), group(eu, 11)], [Some(1), Some(1), Some(2), None]);
    assert_eq!([group(us, 4), group(us, 5), group(us, u16::MAX), group(RegionId::FIRST, 5)], [None, Some(3), Some(3), None]);
}

#[test]
fn overlapping_runs_are_no_map() {
    let run = |first, last| RunRow { first, last, ..RunRow::default() };
    let map = |runs: [RunRow; 2]| {
        let runs = runs.into_iter().map(|run| ((run.region, run.first), run)).collect();
        ClusterMap::decode(&ClusterMap { runs, ..ClusterMap::default() }.encode())
    };
    assert!(map([run(0, 4), run(5, 9)]).is_ok());
    assert!(map([run(0, 5), run(5, 9)]).is_err());
}

#[test]
fn ids_are_read_as_they_are_shown() {
    let user = UserId::new(0x0300_0000_0000_00ff);
    assert_eq!((user.to_string().as_str(), "u03000000000000ff".parse()), ("u03000000000000ff", Ok(user)));
    let cluster = ClusterId::new([0xab; 16]);
    assert_eq!(ClusterId::from_str(&cluster.to_string()), Ok(cluster));
    assert_eq!(channel().to_string().parse(), Ok(channel()));
    for text in ["", "u", "u1", "03000000000000ff", "u03000000000000fg", "u+3000000000000ff", "uéééééééé"] {
        assert!(UserId::from_str(text).is_err(), "{text:?}");
    }
}
