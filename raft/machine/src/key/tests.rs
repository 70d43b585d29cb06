use kith_wire::{
    act::Timer,
    id::{CallKey, DeviceId, HookId, NodeId, Seq, Timestamp, UserId, UserRev},
    log::Debt,
};
use proptest::prelude::*;

use super::*;

fn channel() -> impl Strategy<Value = ChannelId> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| ChannelId::direct(UserId::new(a), UserId::new(b))),
        (any::<u8>(), any::<u64>(), any::<u64>()).prop_map(|(region, user, op)| ChannelId::group(
            RegionId::new(region),
            UserId::new(user),
            DeviceId::new(1),
            op
        )),
    ]
}

fn timer() -> impl Strategy<Value = Timer> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(user, id)| Timer::Send { user: UserId::new(user), id }),
        any::<u64>().prop_map(|seq| Timer::Expire(Seq::new(seq))),
        Just(Timer::Sweep),
        Just(Timer::Erase(UserId::new(7))),
    ]
}

fn row_key() -> impl Strategy<Value = RowKey> {
    let user = || any::<u64>().prop_map(UserId::new);
    prop_oneof![
        channel().prop_map(RowKey::Channel),
        channel().prop_map(RowKey::Roster),
        (channel(), user()).prop_map(|(c, u)| RowKey::Former(c, u)),
        (channel(), user()).prop_map(|(c, u)| RowKey::Positions(c, u)),
        (channel(), any::<u64>()).prop_map(|(c, s)| RowKey::Record(c, Seq::new(s))),
        (channel(), any::<u64>()).prop_map(|(c, d)| RowKey::Dedup(c, DeviceId::new(d))),
        (channel(), user()).prop_map(|(c, u)| RowKey::Calls(c, u)),
        (channel(), user(), any::<[u8; 16]>()).prop_map(|(c, u, key)| RowKey::Keyed(c, u, CallKey::new(key))),
        user().prop_map(RowKey::HomeCalls),
        (user(), any::<[u8; 16]>()).prop_map(|(u, key)| RowKey::HomeCall(u, CallKey::new(key))),
        channel().prop_map(RowKey::Dirty),
        channel().prop_map(RowKey::Rules),
        (channel(), any::<u64>()).prop_map(|(c, s)| RowKey::Marks(c, Seq::new(s))),
        (channel(), any::<u64>(), any::<u64>()).prop_map(|(c, a, b)| RowKey::Reply(c, Seq::new(a), Seq::new(b))),
        (channel(), user(), any::<u64>()).prop_map(|(c, u, id)| RowKey::Scheduled(c, u, id)),
        (any::<u64>(), channel(), timer()).prop_map(|(due, c, timer)| RowKey::Timer(Timestamp::new(due), c, timer)),
        user().prop_map(RowKey::User),
        (user(), any::<u64>()).prop_map(|(u, d)| RowKey::Device(u, DeviceId::new(d))),
        (user(), channel()).prop_map(|(u, c)| RowKey::Index(u, c)),
        (user(), any::<u64>()).prop_map(|(u, r)| RowKey::IndexByRev(u, UserRev::new(r))),
        user().prop_map(RowKey::Credential),
        (user(), "[a-zé.]{0,30}").prop_map(|(u, name)| RowKey::Owed(u, Debt::Name(name))),
        (user(), user()).prop_map(|(u, peer)| RowKey::Owed(u, Debt::Contact(peer))),
        user().prop_map(|u| RowKey::Owed(u, Debt::Search)),
        user().prop_map(|u| RowKey::Owed(u, Debt::Texts)),
        user().prop_map(|u| RowKey::Owed(u, Debt::Reset)),
        (user(), user()).prop_map(|(u, bot)| RowKey::Owed(u, Debt::Bot(bot))),
        user().prop_map(RowKey::Pushes),
        (user(), channel()).prop_map(|(u, c)| RowKey::PushSent(u, c)),
        (user(), channel()).prop_map(|(u, c)| RowKey::PushDue(u, c)),
        user().prop_map(RowKey::Profile),
        (user(), user()).prop_map(|(u, peer)| RowKey::Contact(u, peer)),
        ("[a-zé語]{1,32}", user()).prop_map(|(word, u)| RowKey::Word(word, u)),
        "[a-zé.]{1,30}".prop_map(RowKey::Name),
        prop_oneof![
            Just(RowKey::Desk),
            any::<u64>().prop_map(RowKey::Report),
            (channel(), any::<u64>()).prop_map(|(c, s)| RowKey::ReportId(c, Seq::new(s))),
            any::<u64>().prop_map(RowKey::Audit),
            Just(RowKey::DeskHooks),
            Just(RowKey::GroupHooks),
            channel().prop_map(RowKey::ChannelHooks),
            channel().prop_map(RowKey::HookDue),
            (channel(), any::<u64>()).prop_map(|(c, id)| RowKey::HookCursor(c, HookId::new(id))),
        ],
        Just(RowKey::GroupState),
        Just(RowKey::Cluster),
        Just(RowKey::Trust),
        (any::<u8>(), any::<u16>()).prop_map(|(r, f)| RowKey::Owned(RegionId::new(r), f)),
        (any::<u8>(), any::<u16>()).prop_map(|(r, f)| RowKey::Run(RegionId::new(r), f)),
        any::<u64>().prop_map(|n| RowKey::Node(NodeId::new(n))),
        any::<u32>().prop_map(|g| RowKey::Group(GroupId::new(g))),
    ]
}

/// Also marks of such rows.
fn any_key() -> impl Strategy<Value = RowKey> {
    let mark =
        (any::<u64>(), row_key()).prop_filter_map("rows of the group stay", |(round, key)| key.bucket().map(|_| RowKey::Changed(round, pack(&key))));
    prop_oneof![8 => row_key(), 1 => mark, 1 => Just(RowKey::Leaving), 1 => any::<u32>().prop_map(|from| RowKey::Staging(GroupId::new(from)))]
}

fn encoded(group: GroupId, key: &RowKey) -> (Family, Vec<u8>) {
    let mut out = Vec::new();
    (encode(group, key, &mut out), out)
}

proptest! {
    #[test]
    fn decode_gives_back_what_was_encoded(group in any::<u32>(), key in any_key()) {
        let group = GroupId::new(group);
        let (family, bytes) = encoded(group, &key);
        prop_assert!(bytes.len() <= MAX_BYTES);
        prop_assert_eq!(verify_bucket(&bytes, &key), Ok(()));
        prop_assert_eq!(decode(family, &bytes), Ok((group, key)));
    }

    #[test]
    fn a_group_lies_in_its_own_range(group in any::<u32>(), key in any_key()) {
        let (from, to) = whole(GroupId::new(group));
        let (_, inside) = encoded(GroupId::new(group), &key);
        prop_assert!(from <= inside && inside < to);
        let (_, outside) = encoded(GroupId::new(group.wrapping_add(1)), &key);
        prop_assert!(outside < from || to <= outside);
    }

    #[test]
    fn keys_of_a_scan_order_as_the_scan_does(channel in channel(), other in channel(), a in any::<u64>(), b in any::<u64>(), group in any::<u32>()) {
        let group = GroupId::new(group);
        let user = UserId::new(a);
        let key = |number: u64| CallKey::of_node(Timestamp::new(number >> 16), number as u32);
        let pairs = [
            (Scan::Records(channel, Seq::ZERO..=Seq::new(u64::MAX)), RowKey::Record(channel, Seq::new(a)), RowKey::Record(channel, Seq::new(b))),
            (Scan::Positions(channel), RowKey::Positions(channel, UserId::new(a)), RowKey::Positions(channel, UserId::new(b))),
            (Scan::Keyed(channel, user), RowKey::Keyed(channel, user, key(a)), RowKey::Keyed(channel, user, key(b))),
            (Scan::HomeCalls(user), RowKey::HomeCall(user, key(a)), RowKey::HomeCall(user, key(b))),
            (Scan::Devices(user), RowKey::Device(user, DeviceId::new(a)), RowKey::Device(user, DeviceId::new(b))),
            (Scan::IndexByRev(user, UserRev::ZERO..=UserRev::new(u64::MAX)), RowKey::IndexByRev(user, UserRev::new(a)), RowKey::IndexByRev(user, UserRev::new(b))),
            (Scan::AllRecords(None), RowKey::Record(channel, Seq::new(a)), RowKey::Record(other, Seq::new(b))),
            (Scan::Dirty(None), RowKey::Dirty(channel), RowKey::Dirty(other)),
            (Scan::HooksDue(None), RowKey::HookDue(channel), RowKey::HookDue(other)),
            (Scan::HookCursors(channel), RowKey::HookCursor(channel, HookId::new(a)), RowKey::HookCursor(channel, HookId::new(b))),
            (Scan::Audit(0..=u64::MAX), RowKey::Audit(a), RowKey::Audit(b)),
            (Scan::Reports(0), RowKey::Report(a), RowKey::Report(b)),
            (Scan::Owed(None), RowKey::Owed(user, Debt::Name("x".into())), RowKey::Owed(UserId::new(b), Debt::Name("xy".into()))),
            (Scan::PushesDue(None), RowKey::PushDue(user, channel), RowKey::PushDue(UserId::new(b), other)),
            (Scan::Marks(channel, Seq::ZERO..=Seq::new(u64::MAX)), RowKey::Marks(channel, Seq::new(a)), RowKey::Marks(channel, Seq::new(b))),
            (
                Scan::Replies(channel, Seq::new(7), Seq::ZERO..=Seq::new(u64::MAX)),
                RowKey::Reply(channel, Seq::new(7), Seq::new(a)),
                RowKey::Reply(channel, Seq::new(7), Seq::new(b)),
            ),
            (Scan::Scheduled(channel, user), RowKey::Scheduled(channel, user, a), RowKey::Scheduled(channel, user, b)),
            (
                Scan::Timers(None),
                RowKey::Timer(Timestamp::new(a), channel, Timer::Sweep),
                RowKey::Timer(Timestamp::new(b), other, Timer::Expire(Seq::new(a))),
            ),
            (Scan::Contacts(user, UserId::new(0)), RowKey::Contact(user, UserId::new(a)), RowKey::Contact(user, UserId::new(b))),
            (Scan::Words("an".into()), RowKey::Word("ann".into(), UserId::new(a)), RowKey::Word("anna".into(), UserId::new(b))),
            (Scan::Words("an".into()), RowKey::Word("an".into(), UserId::new(a)), RowKey::Word("an".into(), UserId::new(b))),
            (Scan::Nodes, RowKey::Node(NodeId::new(a)), RowKey::Node(NodeId::new(b))),
            (Scan::Groups, RowKey::Group(GroupId::new(a as u32)), RowKey::Group(GroupId::new(b as u32))),
            (Scan::Staging, RowKey::Staging(GroupId::new(a as u32)), RowKey::Staging(GroupId::new(b as u32))),
            (Scan::Changed(None), RowKey::Changed(a, pack(&RowKey::User(user))), RowKey::Changed(b, pack(&RowKey::Dirty(channel)))),
            (Scan::Owned, RowKey::Owned(RegionId::new(a as u8), b as u16), RowKey::Owned(RegionId::new(b as u8), a as u16)),
            (Scan::Runs, RowKey::Run(RegionId::new(a as u8), b as u16), RowKey::Run(RegionId::new(b as u8), a as u16)),
        ];
        for (scan, a, b) in pairs {
            let ((family, first), (_, second)) = (encoded(group, &a), encoded(group, &b));
            prop_assert_eq!(first.cmp(&second), scan.compare(&a, &b));
            let (in_family, from, to) = range(group, &scan);
            prop_assert_eq!(in_family, family);
            prop_assert!(from <= first && first < to && from <= second && second < to);
        }
    }

    #[test]
    fn a_packed_key_names_its_row_and_orders_as_the_row_does(a in row_key(), b in row_key()) {
        for key in [&a, &b] {
            if key.bucket().is_some() {
                prop_assert_eq!(decode_packed(&pack(key)), Ok(key.clone()));
            }
        }
        if a.bucket().is_some() && b.bucket().is_some() && Family::of(&a) == Family::of(&b) {
            let ((_, first), (_, second)) = (encoded(GroupId::new(1), &a), encoded(GroupId::new(1), &b));
            prop_assert_eq!(pack(&a).cmp(&pack(&b)), first.cmp(&second));
        }
    }

    #[test]
    fn rows_that_move_are_those_of_their_buckets_and_go_on_after_the_last_one(
        key in row_key(), other in row_key(), from in any::<u16>(), to in any::<u16>(), whole in any::<bool>(), family in 0..Family::ALL.len(), goes_on in any::<bool>(),
    ) {
        let family = if whole { Family::of(&key) } else { Family::ALL[family] };
        let (first, last) = if whole { (0, u16::MAX) } else { (from.min(to), from.max(to)) };
        let run = kith_wire::moving::BucketRun { region: key.bucket().map_or(RegionId::FIRST, |bucket| bucket.region), first, last };
        let after = (goes_on && Family::of(&other) == family && other.bucket().is_some()).then(|| pack(&other));
        if family != Family::Group {
            let scan = Scan::Moving(family, run, after);
            let (in_family, low, high) = range(GroupId::new(1), &scan);
            let (of, bytes) = encoded(GroupId::new(1), &key);
            let is_in = in_family == of && low <= bytes && bytes < high;
            let Some((least, most)) = scan.bounds() else { panic!("it has bounds") };
            prop_assert_eq!(is_in, least <= key && key <= most && scan.holds(&key), "{:?}", scan);
        }
    }

    #[test]
    fn marks_go_on_after_the_last_one(a in row_key(), b in row_key(), one in 0..3u64, other in 0..3u64) {
        if a.bucket().is_some() && b.bucket().is_some() {
            let scan = Scan::Changed(Some((one, pack(&a))));
            let key = RowKey::Changed(other, pack(&b));
            let (_, low, high) = range(GroupId::new(1), &scan);
            let (_, bytes) = encoded(GroupId::new(1), &key);
            prop_assert_eq!(low <= bytes && bytes < high, scan.holds(&key));
        }
    }

    #[test]
    fn a_range_holds_exactly_its_seqs(channel in channel(), from in 0..50u64, to in 0..50u64, at in 0..50u64) {
        let (_, low, high) = range(GroupId::new(1), &Scan::Records(channel, Seq::new(from)..=Seq::new(to)));
        let (_, key) = encoded(GroupId::new(1), &RowKey::Record(channel, Seq::new(at)));
        prop_assert_eq!(low <= key && key < high, (from..=to).contains(&at));
    }

    #[test]
    fn dirty_goes_on_after_the_last_channel(last in channel(), channel in channel()) {
        let scan = Scan::Dirty(Some(last));
        let (_, low, high) = range(GroupId::new(1), &scan);
        let key = RowKey::Dirty(channel);
        let (_, bytes) = encoded(GroupId::new(1), &key);
        prop_assert_eq!(low <= bytes && bytes < high, scan.holds(&key));
    }

    #[test]
    fn all_records_go_on_after_the_last_one(last in channel(), other in channel(), same in any::<bool>(), a in 0..5u64, b in 0..5u64) {
        let scan = Scan::AllRecords(Some((last, Seq::new(a))));
        let (_, low, high) = range(GroupId::new(1), &scan);
        let key = RowKey::Record(if same { last } else { other }, Seq::new(b));
        let (_, bytes) = encoded(GroupId::new(1), &key);
        prop_assert_eq!(low <= bytes && bytes < high, scan.holds(&key));
    }

    #[test]
    fn what_is_owed_goes_on_after_the_last_one(a in any::<u64>(), b in any::<u64>(), last in "[a-c]{0,3}", name in "[a-c]{0,3}", same in any::<bool>()) {
        let last = (UserId::new(a), Debt::Name(last));
        let key = RowKey::Owed(UserId::new(if same { a } else { b }), Debt::Name(name));
        let scan = Scan::Owed(Some(last));
        let (_, low, high) = range(GroupId::new(1), &scan);
        let (_, bytes) = encoded(GroupId::new(1), &key);
        prop_assert_eq!(low <= bytes && bytes < high, scan.holds(&key));
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60), family in 0..Family::ALL.len()) {
        if let Ok((_, key)) = decode(Family::ALL[family], &bytes) {
            let _ = verify_bucket(&bytes, &key);
        }
        let _ = decode_packed(&bytes);
    }
}

#[test]
fn a_prefix_of_all_ones_still_has_an_end() {
    let (from, to) = whole(GroupId::new(u32::MAX));
    assert!(from < to && [0xff; MAX_BYTES].as_slice() < to.as_slice());
}

/// Keys are on disks for ever: a changed byte here is a migration.
#[test]
fn layouts_are_fixed() {
    fn hex(key: &RowKey) -> String {
        encoded(GroupId::new(0x0102_0304), key).1.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
    let user = UserId::new(7);
    let (in_channel, in_user) = (channel.bucket(), user.bucket());
    let channel_hex = format!("01020304{:02x}{:04x}{channel}", in_channel.region.get(), in_channel.index);
    let user_hex = format!("01020304{:02x}{:04x}0000000000000007", in_user.region.get(), in_user.index);
    let of_word = kith_wire::log::bucket_of_word("ab");
    let (device, nine) = (DeviceId::new(9), "0000000000000009");
    for (key, expected) in [
        (RowKey::Record(channel, Seq::new(9)), format!("{channel_hex}{nine}")),
        (RowKey::Dirty(channel), channel_hex.clone()),
        (RowKey::Channel(channel), format!("{channel_hex}01")),
        (RowKey::Roster(channel), format!("{channel_hex}02")),
        (RowKey::Former(channel, UserId::new(9)), format!("{channel_hex}03{nine}")),
        (RowKey::Positions(channel, UserId::new(9)), format!("{channel_hex}04{nine}")),
        (RowKey::Dedup(channel, device), format!("{channel_hex}05{nine}")),
        (RowKey::Calls(channel, UserId::new(9)), format!("{channel_hex}0c{nine}")),
        (RowKey::Keyed(channel, UserId::new(9), CallKey::new([0xab; 16])), format!("{channel_hex}0d{nine}{}", "ab".repeat(16))),
        (RowKey::HomeCalls(user), format!("{user_hex}1c")),
        (RowKey::HomeCall(user, CallKey::new([0xab; 16])), format!("{user_hex}1d{}", "ab".repeat(16))),
        (RowKey::User(user), format!("{user_hex}10")),
        (RowKey::Device(user, device), format!("{user_hex}11{nine}")),
        (RowKey::Index(user, channel), format!("{user_hex}12{channel}")),
        (RowKey::IndexByRev(user, UserRev::new(9)), format!("{user_hex}13{nine}")),
        (RowKey::Credential(user), format!("{user_hex}14")),
        (RowKey::Pushes(user), format!("{user_hex}17")),
        (RowKey::PushSent(user, channel), format!("{user_hex}18{channel}")),
        (RowKey::PushDue(user, channel), format!("{user_hex}{channel}")),
        (RowKey::Owed(user, Debt::Name("ab".into())), format!("{user_hex}016162")),
        (RowKey::Profile(user), format!("{user_hex}15")),
        (RowKey::Contact(user, UserId::new(9)), format!("{user_hex}16{nine}")),
        (RowKey::Owed(user, Debt::Contact(UserId::new(9))), format!("{user_hex}02{nine}")),
        (RowKey::Owed(user, Debt::Search), format!("{user_hex}03")),
        (RowKey::Owed(user, Debt::Texts), format!("{user_hex}04")),
        (RowKey::Owed(user, Debt::Reset), format!("{user_hex}06")),
        (RowKey::Owed(user, Debt::Bot(UserId::new(9))), format!("{user_hex}05{nine}")),
        (RowKey::Word("ab".into(), UserId::new(9)), format!("01020304{:02x}{:04x}616200{nine}", of_word.region.get(), of_word.index)),
        (RowKey::GroupState, "0102030420".to_owned()),
        (RowKey::Owned(RegionId::new(5), 6), "0102030421050006".to_owned()),
        (RowKey::Cluster, "0102030422".to_owned()),
        (RowKey::Trust, "010203042d".to_owned()),
        (RowKey::Node(NodeId::new(9)), format!("0102030423{nine}")),
        (RowKey::Group(GroupId::new(9)), "010203042400000009".to_owned()),
        (RowKey::Run(RegionId::new(5), 6), "0102030425050006".to_owned()),
        (RowKey::Leaving, "0102030427".to_owned()),
        (RowKey::Staging(GroupId::new(9)), "010203042800000009".to_owned()),
        (RowKey::Changed(9, pack(&RowKey::Channel(channel))), format!("0102030429{nine}02{}01", &channel_hex[8..])),
    ] {
        assert_eq!(hex(&key), expected, "{key:?}");
    }
}
