//! The registry: who holds a device, who is told what, and when an ack may leave.

use kith_machine::{
    presence::Facts,
    view::{Row, RowKey, Scan, StateView, ViewError},
};
use kith_wire::{
    id::{Incarnation, RegionId, Timestamp},
    log::{ContactRow, Position, UserRow},
    presence::{PresenceState, PresenceWatch},
};

use super::*;

const HOME: GroupId = GroupId::new(1);
const SOURCE: GroupId = GroupId::new(2);

fn home() -> Home {
    Home::new(HOME, Term::new(3), &Default::default(), Arc::default(), Instant::now())
}
fn session(device: u64, session: u64, conn: u64) -> Registration {
    let (user, device) = (UserId::new(5), DeviceId::new(device));
    Registration {
        user,
        device,
        session: SessionId::new(session),
        conn: Conn::new(conn),
        new: true,
        login: 0,
        issued: Timestamp::default(),
        away: false,
    }
}
fn edge(n: u64) -> NodeId {
    NodeId::new(n)
}
fn boot(n: u64) -> BootEpoch {
    BootEpoch::new(n)
}
fn channel() -> ChannelId {
    ChannelId::group(RegionId::FIRST, UserId::new(1), DeviceId::new(1), 1)
}
fn a_ref(head: u64, member_seq: u64) -> Ref {
    Ref {
        channel: channel(),
        incarnation: Incarnation::default(),
        head: Position { seq: Seq::new(head), cnt: head },
        head_ts: Timestamp::new(0),
        member_seq: Seq::new(member_seq),
        join: Position::default(),
        left: None,
        own: Position::default(),
        mentions: vec![],
        title: String::new(),
        preview: String::new(),
        head_sender: UserId::new(1),
    }
}
fn news(seq: u64, users: &[u64]) -> ChannelRefs {
    let refs = users.iter().map(|user| (UserId::new(*user), a_ref(seq, 1))).collect();
    ChannelRefs { home: HOME, channel: channel(), seq: Seq::new(seq), refs, bodies: vec![], receipts: vec![] }
}
fn outcome(users: &[(u64, Merged)]) -> HashMap<UserId, Merged> {
    users.iter().map(|(user, merged)| (UserId::new(*user), *merged)).collect()
}

#[test]
fn users_who_went_are_another_homes_and_those_who_came_are_waited_for() {
    let mut home = home();
    let now = Instant::now();
    let asked = (UserId::new(5), channel(), DeviceId::new(1));
    assert_eq!(home.handle_register(edge(1), boot(1), &session(1, 10, 4)), Ok(()));
    home.here().home.handle_heard(&[], Duration::ZERO);
    home.poll_presence(Timestamp::default(), now);
    assert_eq!(home.present(None), [UserId::new(5)]);
    // Nothing that matters to them.
    home.handle_owned(|user| user == UserId::new(5), false, now);
    assert_eq!(home.present(None), [UserId::new(5)]);
    home.handle_owned(|_| false, false, now);
    home.poll_presence(Timestamp::default(), now);
    assert_eq!(home.present(None), []);
    assert!(home.poll_pushes().is_empty(), "their sessions go on, with their new home");
    assert!(matches!(home.near().find(&asked, now).0, kith_machine::push::Near::Gone(_)));
    // They are back: who has no session here may have one that was not told yet.
    home.handle_owned(|_| true, true, now);
    home.poll_presence(Timestamp::default(), now);
    assert!(!home.here().home.is_warm());
    assert_eq!(home.near().find(&(UserId::new(6), channel(), DeviceId::new(1)), now).0, kith_machine::push::Near::Unknown);
}

#[test]
fn the_higher_connection_of_a_device_wins_and_the_loser_is_told() {
    let mut home = home();
    assert_eq!(home.handle_register(edge(1), boot(1), &session(1, 10, 4)), Ok(()));
    assert_eq!(home.handle_register(edge(2), boot(1), &session(1, 20, 3)), Err(Code::Replaced), "an older one");
    assert_eq!(home.handle_register(edge(2), boot(1), &session(1, 20, 4)), Err(Code::Replaced), "the later equal one");
    assert_eq!(home.handle_register(edge(1), boot(1), &session(1, 10, 4)), Ok(()), "itself again");
    assert!(home.poll_pushes().is_empty());
    assert_eq!(home.handle_register(edge(2), boot(1), &session(1, 20, 5)), Ok(()));
    let pushes: BTreeMap<_, _> = home.poll_pushes().into_iter().collect();
    assert_eq!(pushes[&edge(1)].replaced, [SessionId::new(10)]);
    assert_eq!(pushes[&edge(1)].term, Term::new(3));
    assert_eq!(home.handle_register(edge(1), boot(1), &session(2, 11, 1)), Ok(()), "another device");
    assert_eq!(home.users[&UserId::new(5)].len(), 2);
}

#[test]
fn a_late_end_of_the_replaced_session_does_not_end_the_new_one() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_register(edge(2), boot(1), &session(1, 20, 2)).unwrap();
    home.handle_unregister(edge(1), UserId::new(5), DeviceId::new(1), SessionId::new(10));
    assert_eq!(home.present(None), [UserId::new(5)]);
    home.handle_unregister(edge(2), UserId::new(5), DeviceId::new(1), SessionId::new(20));
    assert!(home.present(None).is_empty());
}

#[test]
fn a_new_start_of_an_edge_ends_what_the_old_one_held() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_register(edge(1), boot(2), &session(2, 11, 1)).unwrap();
    assert_eq!(home.users[&UserId::new(5)].len(), 1);
    assert_eq!(home.handle_register(edge(1), boot(1), &session(3, 12, 1)), Err(Code::Disconnected), "the old start speaks late");
    home.handle_edge_gone(edge(1));
    assert!(home.present(None).is_empty());
}

#[test]
fn a_user_has_at_most_so_many_sessions() {
    let mut home = home();
    for n in 0..limit::DEVICES_MAX as u64 {
        home.handle_register(edge(1), boot(1), &session(n, n, 1)).unwrap();
    }
    assert_eq!(home.handle_register(edge(1), boot(1), &session(999, 999, 1)), Err(Code::TooMany));
}

#[test]
fn a_live_record_goes_at_once_to_each_session_once_with_its_own_prev() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_register(edge(2), boot(1), &session(2, 20, 1)).unwrap();
    let body = DeliveryBody::Stub { at: Position { seq: Seq::new(8), cnt: 8 } };
    let recipients = vec![(UserId::new(4), Seq::new(7)), (UserId::new(5), Seq::new(6))];
    let live = ChannelRefs { bodies: vec![LiveRecord { body, recipients }], ..news(0, &[]) };
    home.handle_refs(edge(9), SOURCE, live, Instant::now());
    let pushes: BTreeMap<_, _> = home.poll_pushes().into_iter().collect();
    assert_eq!(pushes.len(), 2);
    assert_eq!(pushes[&edge(1)].deliveries[0].1, [(SessionId::new(10), Seq::new(6))]);
    assert_eq!(pushes[&edge(2)].deliveries[0].1, [(SessionId::new(20), Seq::new(6))]);
    assert_eq!(home.poll_timeout(), None, "there is nothing to commit");
}

#[test]
fn what_is_much_goes_in_several_frames_in_order() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    for seq in 1..=2_000 {
        let body = DeliveryBody::Stub { at: Position { seq: Seq::new(seq), cnt: seq } };
        let live = LiveRecord { body, recipients: vec![(UserId::new(5), Seq::new(seq - 1))] };
        home.handle_refs(edge(9), SOURCE, ChannelRefs { bodies: vec![live], ..news(0, &[]) }, Instant::now());
    }
    let pushes = home.poll_pushes();
    assert!(pushes.len() > 1 && pushes.len() < 8, "{}", pushes.len());
    let prevs: Vec<_> = pushes.iter().flat_map(|(_, frame)| frame.deliveries.iter().map(|(_, to)| to[0].1.get())).collect();
    assert_eq!(prevs, (0..2_000).collect::<Vec<_>>());
}

#[test]
fn refs_wait_to_be_merged_and_are_acked_only_after_their_commit() {
    let (mut home, now) = (home(), Instant::now());
    home.handle_refs(edge(9), SOURCE, news(1, &[5, 6]), now);
    home.handle_refs(edge(9), SOURCE, news(2, &[5, 6]), now);
    assert_eq!(home.poll_round(now), None);
    let later = now + Duration::from_millis(50);
    let round = home.poll_round(later).unwrap();
    assert_eq!(round, [(UserId::new(5), vec![a_ref(2, 1)]), (UserId::new(6), vec![a_ref(2, 1)])]);
    home.handle_refs(edge(9), SOURCE, news(3, &[5]), later);
    assert_eq!(home.poll_round(later + ROUND_WAIT_MAX), None, "one round at a time");
    let kept = home.handle_round_done(&outcome(&[(5, Merged::Kept), (6, Merged::Gone)]), later);
    let expected = vec![(channel(), Seq::new(1), vec![UserId::new(6)]), (channel(), Seq::new(2), vec![UserId::new(6)])];
    assert_eq!(kept, [(edge(9), RefsKept { source: SOURCE, home: HOME, kept: expected })]);
    assert!(home.poll_round(later + ROUND_WAIT_MAX).is_some());
    assert_eq!(home.handle_round_done(&HashMap::new(), later + ROUND_WAIT_MAX), [], "what is not known to be committed is not acked");
}

#[test]
fn one_user_that_fails_holds_up_only_the_channels_that_name_it() {
    let (mut home, now) = (home(), Instant::now());
    let other = ChannelId::group(RegionId::FIRST, UserId::new(2), DeviceId::new(1), 1);
    home.handle_refs(edge(9), SOURCE, news(1, &[5, 6]), now);
    let mut second = news(4, &[5]);
    second.channel = other;
    second.refs[0].1.channel = other;
    home.handle_refs(edge(9), SOURCE, second, now);
    home.poll_round(now + ROUND_WAIT_MAX).unwrap();
    let kept = home.handle_round_done(&outcome(&[(5, Merged::Kept), (6, Merged::Failed)]), now);
    assert_eq!(kept[0].1.kept, [(other, Seq::new(4), vec![])]);
}

#[test]
fn refs_of_which_neither_covers_the_other_both_go() {
    let (mut home, now) = (home(), Instant::now());
    for new in [a_ref(5, 1), a_ref(4, 4), a_ref(3, 1)] {
        home.handle_refs(edge(9), SOURCE, ChannelRefs { refs: vec![(UserId::new(5), new)], ..news(5, &[]) }, now);
    }
    let round = home.poll_round(now + ROUND_WAIT_MAX).unwrap();
    assert_eq!(round, [(UserId::new(5), vec![a_ref(5, 1), a_ref(4, 4)])]);
}

#[test]
fn more_refs_than_fit_are_left_to_their_source() {
    let (mut home, now) = (home(), Instant::now());
    let users: Vec<u64> = (0..100).collect();
    for n in 0..2 * REFS_WAITING_MAX as u64 / 100 {
        let channel = ChannelId::group(RegionId::FIRST, UserId::new(n), DeviceId::new(1), 1);
        let mut new = news(1, &users);
        new.channel = channel;
        new.refs.iter_mut().for_each(|(_, news)| news.channel = channel);
        home.handle_refs(edge(9), SOURCE, new, now);
    }
    assert!(home.refs <= REFS_WAITING_MAX);
    assert_eq!(home.poll_timeout(), Some(now), "a full set does not wait");
}

#[test]
fn only_the_edge_that_may_have_missed_something_is_told_where_its_users_stand() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_register(edge(2), boot(1), &session(2, 20, 1)).unwrap();
    assert_eq!(home.present(Some(edge(2))), [UserId::new(5)]);
    assert!(home.present(Some(edge(3))).is_empty());
    home.handle_stands(edge(2), UserId::new(5), UserRev::new(7));
    home.handle_stands(edge(3), UserId::new(5), UserRev::new(7));
    let pushes = home.poll_pushes();
    assert_eq!(pushes.len(), 1);
    let told = IndexMove { sessions: vec![SessionId::new(20)], from: UserRev::new(7), to: UserRev::new(7), rows: vec![] };
    assert_eq!((pushes[0].0, &pushes[0].1.moves[..]), (edge(2), &[told][..]));
}

#[test]
fn the_sessions_of_ended_devices_are_ended_where_they_are_and_known_no_more() {
    let mut home = home();
    for device in 1..=3 {
        home.handle_register(edge(device), boot(1), &session(device, 10 * device, 1)).unwrap();
    }
    let ended = |home: &mut Home| {
        let pushes = home.poll_pushes().into_iter();
        pushes.flat_map(|(edge, push)| push.ended.into_iter().map(move |session| (edge.get(), session.get()))).collect::<Vec<_>>()
    };
    home.handle_ended(UserId::new(5), &[DeviceId::new(2)], false);
    assert_eq!(ended(&mut home), [(2, 20)]);
    home.handle_ended(UserId::new(5), &[DeviceId::new(1)], true);
    assert_eq!(ended(&mut home), [(3, 30)], "all but one, and each once");
    assert_eq!(home.present(None), [UserId::new(5)]);
    home.handle_ended(UserId::new(5), &[], true);
    assert_eq!((ended(&mut home), home.present(None)), (vec![(1, 10)], vec![]));
}

#[test]
fn an_edge_that_never_says_that_a_session_ended_is_not_told_for_ever() {
    let mut home = home();
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_register(edge(2), boot(1), &session(1, 20, 2)).unwrap();
    home.handle_ended(UserId::new(5), &[], true);
    let mut told = (0, 0);
    for _ in 0..2 * TOLD_TIMES {
        for (_, push) in home.poll_pushes() {
            told = (told.0 + push.replaced.len(), told.1 + push.ended.len());
        }
        home.tell_leaving();
    }
    assert_eq!(told, (1 + usize::from(TOLD_TIMES), 1 + usize::from(TOLD_TIMES)));
    assert!(home.leaving.is_empty());
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.handle_ended(UserId::new(5), &[], true);
    home.handle_edge_gone(edge(1));
    assert!(home.leaving.is_empty(), "nobody is there to be told");
}

fn watch(watchers: &[u64]) -> PresenceWatch {
    let (known, rights) = Default::default();
    PresenceWatch { user: UserId::new(5), known, rights, watchers: watchers.iter().copied().map(UserId::new).collect(), all: true, ended: false }
}
/// Everybody exists, and knows everybody.
struct Friends;
impl StateView for Friends {
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError> {
        Ok(match key {
            RowKey::User(_) => Some(Arc::new(Row::User(UserRow::default()))),
            RowKey::Contact(..) => Some(Arc::new(Row::Contact(ContactRow { mine: true, theirs: true, ..ContactRow::default() }))),
            _ => None,
        })
    }
    fn scan(&self, _: &Scan, _: bool, _: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_session_that_turns_away_or_ends_is_told_once_to_each_edge_that_looks() {
    let (mut home, begun, wall) = (home(), Instant::now(), Timestamp::new(9));
    let user = UserId::new(5);
    home.handle_register(edge(1), boot(1), &session(1, 10, 1)).unwrap();
    home.here().home.handle_heard(&[], Duration::ZERO);
    home.here().home.handle_facts(user, Facts { exists: true, here: true, ..Facts::default() }, Duration::ZERO);
    home.poll_presence(wall, begun);
    for at in [2, 3] {
        home.handle_edge(edge(at), boot(1)).unwrap();
        let told = home.here().handle_watches(edge(at), &[watch(&[7, 8, 9])], &Friends, begun).unwrap();
        assert_eq!(told.views[0].state, PresenceState::Online);
    }
    home.poll_pushes();
    let states = |home: &mut Home, now: Instant| -> Vec<(NodeId, PresenceState)> {
        home.poll_presence(wall, now);
        home.poll_pushes().into_iter().flat_map(|(edge, frame)| frame.presence.views.into_iter().map(move |view| (edge, view.state))).collect()
    };
    home.handle_activity(edge(1), user, SessionId::new(10), true);
    assert_eq!(states(&mut home, begun + Duration::from_secs(2)), [(edge(2), PresenceState::Away), (edge(3), PresenceState::Away)]);
    home.handle_activity(edge(9), user, SessionId::new(10), false);
    assert!(states(&mut home, begun + Duration::from_secs(4)).is_empty(), "of another edge");
    home.handle_edge_gone(edge(1));
    assert!(states(&mut home, begun + Duration::from_secs(5)).is_empty(), "they have the grace to come back");
    let over = begun + Duration::from_secs(51);
    assert_eq!(states(&mut home, over), [(edge(2), PresenceState::Offline), (edge(3), PresenceState::Offline)]);
    // An edge that begins anew looks at nobody.
    home.handle_edge(edge(2), boot(2)).unwrap();
    assert_eq!(home.here().home.subscriptions(), 1);
}
