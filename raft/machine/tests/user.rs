//! Users, their index, and names, by example and by property.

use kith_machine::{
    effect::Effect,
    group_state, name,
    reply::Reply,
    testing::Script,
    user::index,
    view::{RowKey, Scan, StateView, row},
};
use kith_wire::{
    client::IndexQuery,
    code::Code,
    id::{ChannelId, DeviceId, Incarnation, Seq, Timestamp, UserId, UserRev},
    limit,
    log::{Batch, Command, IndexRow, Position, Ref, UserState},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

fn reply(script: &mut Script, command: Command) -> Reply {
    script.propose(command).replies[0].clone()
}

fn ann() -> UserId {
    Script::user(0)
}

fn channel(number: u8) -> ChannelId {
    ChannelId::direct(ann(), Script::user(number))
}

fn position(seq: u64, cnt: u64) -> Position {
    Position { seq: Seq::new(seq), cnt }
}

fn news(number: u8, seq: u64) -> Ref {
    Ref {
        channel: channel(number),
        incarnation: Incarnation::default(),
        head: position(seq, seq),
        head_ts: Timestamp::new(seq),
        member_seq: Seq::ZERO,
        join: position(1, 0),
        left: None,
        own: Position::default(),
        mentions: Vec::new(),
        title: String::new(),
        preview: format!("text {seq}"),
        head_sender: Script::user(number),
    }
}

fn merge(script: &mut Script, refs: Vec<Ref>) -> Reply {
    reply(script, Command::MergeRefs { user: ann(), refs })
}

fn merged(from: u64, to: u64) -> Reply {
    Reply::Merged { from: UserRev::new(from), to: UserRev::new(to) }
}

fn held(script: &Script, number: u8) -> IndexRow {
    row::<IndexRow>(&script.view, &RowKey::Index(ann(), channel(number))).expect("readable").expect("is there").clone()
}

#[test]
fn a_sign_up_is_made_once_and_its_id_belongs_to_its_key() {
    let mut script = Script::new();
    let user = UserId::new(77);
    let create = |key: u8| Command::CreateUser { user, name: "zoe".to_owned(), key: [key; 32] };
    assert_eq!(reply(&mut script, create(1)), Reply::Account { created: true });
    assert_eq!(reply(&mut script, create(1)), Reply::Account { created: false });
    assert_eq!(reply(&mut script, create(2)), Reply::Rejected(Code::IdTaken));
    assert_eq!(reply(&mut script, Command::ForbidUser { user }), Reply::Account { created: false }, "who exists stays");
    let never = UserId::new(78);
    assert_eq!(reply(&mut script, Command::ForbidUser { user: never }), Reply::Done);
    let late = Command::CreateUser { user: never, name: "late".to_owned(), key: [1; 32] };
    assert_eq!(reply(&mut script, late), Reply::Rejected(Code::IdTaken));
    assert_eq!(kith_machine::user::account(&script.view, never).expect("readable").map(|row| row.state), Some(UserState::Forbidden));
    assert_eq!(
        reply(&mut script, Command::RegisterDevice { user: never, device: DeviceId::new(1), login: 0, issued: Timestamp::new(1) }),
        Reply::Rejected(Code::Revoked)
    );
    assert_eq!(reply(&mut script, Command::MergeRefs { user: never, refs: vec![] }), Reply::Rejected(Code::NoSuchUser));
}

#[test]
fn the_longest_idle_device_makes_room_for_the_33rd() {
    let mut script = Script::new();
    let (group, user) = (script.group(), ann());
    let mut index = script.index();
    let mut register = |device: u64, now: u64| {
        index += 1;
        let items = vec![kith_machine::item(Command::RegisterDevice { user, device: DeviceId::new(device), login: 0, issued: Timestamp::new(1) })];
        script.view.apply(group, index, Batch { now: Timestamp::new(now), items }).expect("applies").replies[0].clone()
    };
    for device in 1..=32 {
        assert_eq!(register(device, 10_000 + device), Reply::Rev(UserRev::ZERO));
    }
    register(1, 20_000);
    register(33, 20_001);
    let devices: Vec<_> = script.view.scan(&Scan::Devices(user), false, 99).expect("readable").into_iter().map(|(key, _)| key).collect();
    assert_eq!(devices.len(), limit::DEVICES_MAX);
    assert!(!devices.contains(&RowKey::Device(user, DeviceId::new(2))), "2 was idle longest");
    assert!(devices.contains(&RowKey::Device(user, DeviceId::new(1))));
}

#[test]
fn a_changed_row_moves_and_an_unchanged_one_stays() {
    let mut script = Script::new();
    assert_eq!(merge(&mut script, vec![news(1, 5), news(2, 7)]), merged(0, 2));
    assert_eq!(merge(&mut script, vec![news(1, 5), news(1, 3)]), merged(2, 2), "old news");
    assert!(script.applied.last().is_some_and(|applied| applied.effects.is_empty()));
    assert_eq!(merge(&mut script, vec![news(1, 6)]), merged(2, 3));
    let Some(Effect::IndexMoved { from, to, rows, .. }) = script.applied.last().and_then(|applied| applied.effects.first()) else { panic!("moved") };
    assert_eq!((from.get(), to.get(), rows.len()), (2, 3, 1));
    let page = index::page(&script.view, ann(), &IndexQuery { from: UserRev::ZERO, to: UserRev::new(9), below: None, limit: 9, linearizable: false })
        .expect("readable");
    assert_eq!(page.rows.iter().map(|row| (row.rev.get(), row.news.channel)).collect::<Vec<_>>(), [(3, channel(1)), (2, channel(2))]);
    assert!(!page.more);
}

#[test]
fn own_records_are_read_and_unread_is_a_difference() {
    let mut script = Script::new();
    merge(&mut script, vec![news(1, 5)]);
    assert_eq!(held(&script, 1).unread(), 5);
    let mark = |seq, cnt| Command::MarkRead { user: ann(), channel: channel(1), read: position(seq, cnt) };
    assert_eq!(reply(&mut script, mark(3, 3)), merged(1, 2));
    assert_eq!(held(&script, 1).unread(), 2);
    assert_eq!(reply(&mut script, mark(2, 2)), merged(2, 2), "never back");
    assert_eq!(reply(&mut script, mark(2, 3)), Reply::Rejected(Code::Invalid));
    merge(&mut script, vec![Ref { own: position(7, 7), ..news(1, 8) }]);
    assert_eq!((held(&script, 1).unread(), held(&script, 1).read), (1, position(7, 7)));
    merge(&mut script, vec![Ref { join: position(12, 10), member_seq: Seq::new(12), ..news(1, 13) }]);
    assert_eq!(held(&script, 1).unread(), 3, "of a later stay, only what is in it");
    let unknown = Command::MarkRead { user: ann(), channel: channel(2), read: position(1, 1) };
    assert_eq!(reply(&mut script, unknown), Reply::Rejected(Code::Behind));
}

#[test]
fn a_newer_incarnation_replaces_what_was_lost() {
    let mut script = Script::new();
    merge(&mut script, vec![Ref { own: position(9, 9), ..news(1, 10) }]);
    let after = Ref { incarnation: Incarnation::new(1), own: position(4, 4), ..news(1, 6) };
    merge(&mut script, vec![after.clone(), news(1, 11)]);
    assert_eq!((held(&script, 1).news, held(&script, 1).read), (after, position(6, 6)));
}

#[test]
fn an_index_is_read_newest_first_in_pages() {
    let mut script = Script::new();
    let groups: Vec<_> = (0..7_u64).map(|op| ChannelId::group(ann().region(), ann(), DeviceId::new(1), op)).collect();
    merge(&mut script, groups.iter().map(|group| Ref { channel: *group, ..news(1, 1) }).collect());
    let mut below = None;
    let mut revs = Vec::new();
    loop {
        let query = IndexQuery { from: UserRev::new(1), to: UserRev::new(6), below, limit: 2, linearizable: false };
        let page = index::page(&script.view, ann(), &query).expect("readable");
        revs.extend(page.rows.iter().map(|row| row.rev.get()));
        below = page.rows.last().map(|row| row.rev);
        assert_eq!(page.rev, UserRev::new(7));
        if !page.more {
            break;
        }
    }
    assert_eq!(revs, [6, 5, 4, 3, 2]);
    let nothing = IndexQuery { from: UserRev::new(u64::MAX), to: UserRev::new(u64::MAX), below: Some(UserRev::ZERO), limit: 0, linearizable: false };
    assert!(index::page(&script.view, ann(), &nothing).expect("readable").rows.is_empty());
}

#[test]
fn a_name_is_held_confirmed_and_released() {
    let mut script = Script::new();
    let (ann, bob) = (Script::user(0), Script::user(1));
    let reserve = |user| Command::ReserveName { name: "queen".to_owned(), user };
    let confirm = |user| Command::ConfirmName { name: "queen".to_owned(), user };
    let release = |user, since| Command::ReleaseName { name: "queen".to_owned(), user, since };
    fn since(reply: Reply) -> Timestamp {
        let Reply::Reserved { since } = reply else { panic!("{reply:?}") };
        since
    }
    assert_eq!(reply(&mut script, confirm(ann)), Reply::Rejected(Code::NotFound));
    let first = since(reply(&mut script, reserve(ann)));
    let second = since(reply(&mut script, reserve(ann)));
    assert!(second > first, "also within one moment");
    assert_eq!(reply(&mut script, reserve(bob)), Reply::Rejected(Code::Busy));
    let (group, index) = (script.group(), script.index() + 1);
    script.view.apply(group, index, Batch { now: Timestamp::new(61_000), items: vec![] }).expect("applies");
    let held = name::find(&script.view, "queen").expect("readable").expect("held");
    assert_eq!((held.user, held.confirmed, held.since, held.age_ms), (ann, false, second, 61_000 - second.get()));
    assert_eq!(reply(&mut script, release(bob, second)), Reply::Done, "not bob's to release");
    assert_eq!(reply(&mut script, release(ann, first)), Reply::Done, "late, of a reservation that was made anew");
    assert_eq!(reply(&mut script, reserve(bob)), Reply::Rejected(Code::Busy));
    assert_eq!(reply(&mut script, release(ann, second)), Reply::Done);
    let of_bob = since(reply(&mut script, reserve(bob)));
    assert_eq!(reply(&mut script, confirm(ann)), Reply::Rejected(Code::NameTaken));
    assert_eq!(reply(&mut script, confirm(bob)), Reply::Done);
    assert_eq!(reply(&mut script, confirm(bob)), Reply::Done);
    assert_eq!(reply(&mut script, reserve(ann)), Reply::Rejected(Code::NameTaken));
    assert_eq!(reply(&mut script, release(bob, of_bob)), Reply::Rejected(Code::NotAllowed));
    assert!(group_state(&script.view).expect("readable").now >= Timestamp::new(61_000));
}

prop_compose! {
    fn any_ref()(number in 1..3_u8, seq in 1..9_u64, cnt_below in 0..3_u64, join in 1..4_u64, own in 0..9_u64, mentions in prop::collection::vec(1..9_u64, 0..4)) -> Ref {
        // What a channel would say at that head: everything follows from the seq.
        let cnt = |seq: u64| seq - seq.min(cnt_below);
        let join = join.min(seq);
        Ref {
            head: position(seq, seq),
            member_seq: Seq::new(join),
            join: position(join, cnt(join).min(join - 1)),
            own: position(own.min(seq), own.min(seq)),
            mentions: mentions.into_iter().filter(|at| *at <= seq).map(Seq::new).collect(),
            ..news(number, seq)
        }
    }
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(128))]

    /// However refs are coalesced, repeated and reordered, the index ends the same, apart from what names the order.
    #[test]
    fn merging_does_not_depend_on_order_or_repeats(refs in prop::collection::vec(any_ref(), 1..12), order in any::<prop::sample::Index>(), joins in any::<bool>()) {
        // Equal member_seqs come with equal stays, as from one channel.
        let refs: Vec<Ref> = refs.into_iter().map(|mut news| {
            if !joins { (news.member_seq, news.join) = (Seq::ZERO, position(1, 0)); } else { news.join.cnt = 0; }
            news
        }).collect();
        let mut straight = Script::new();
        for news in &refs {
            merge(&mut straight, vec![news.clone()]);
        }
        let mut shuffled = refs.clone();
        shuffled.rotate_left(order.index(refs.len()));
        shuffled.reverse();
        shuffled.extend(refs.iter().take(3).cloned());
        let mut at_once = Script::new();
        merge(&mut at_once, shuffled);
        for number in 1..3 {
            let rows = [&straight, &at_once].map(|script| row::<IndexRow>(&script.view, &RowKey::Index(ann(), channel(number))).expect("readable").map(|row| {
                (row.news.clone(), row.read)
            }));
            prop_assert_eq!(&rows[0], &rows[1]);
        }
    }
}
