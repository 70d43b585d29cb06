//! The edge's sessions: fences, registering again, and what a device is told when its home was away.

use std::sync::Mutex as StdMutex;

use kith_wire::{
    client::Delivery,
    id::{Conn, DeviceId, Timestamp, UserId},
};

use super::*;
use crate::{auth::Grant, cluster::map::MapVersion, outbox::Item, session::metrics::OutboxMetrics};

const GROUP: GroupId = GroupId::new(1);

/// Who leads, and how often everybody has moved to the next group.
#[derive(Default)]
struct Places(StdMutex<Option<(NodeId, Term)>>, StdMutex<u32>);
impl Places {
    fn move_all(&self) {
        *self.1.lock().unwrap() += 1;
    }
    fn moved(&self) -> u32 {
        *self.1.lock().unwrap()
    }
    fn lead(&self, node: u64, term: u64) {
        *self.0.lock().unwrap() = Some((NodeId::new(node), Term::new(term)));
    }
    fn lose(&self) {
        *self.0.lock().unwrap() = None;
    }
}
impl Homes for Places {
    fn home(&self, _: UserId) -> Option<GroupId> {
        Some(GroupId::new(GROUP.get() + self.moved()))
    }
    fn leader(&self, _: GroupId) -> Option<(NodeId, Term)> {
        *self.0.lock().unwrap()
    }
    fn map_version(&self) -> MapVersion {
        MapVersion::new(1 + u64::from(self.moved()))
    }
    fn alive(&self, _: NodeId) -> bool {
        true
    }
    fn nodes(&self) -> Vec<NodeId> {
        Vec::new()
    }
    fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }
}

struct Setup {
    now: Instant,
    places: Places,
    local: Local,
    session: SessionId,
    outbox: Arc<Outbox>,
}
fn whose(device: u64, conn: u64) -> Whose {
    Whose { user: UserId::new(9), device: DeviceId::new(device), conn: Conn::new(conn), grant: Grant { login: 3, issued: Timestamp::new(4) } }
}
/// One session, registered with node 1 in term 5 at version 3.
fn setup() -> Setup {
    let (now, places) = (Instant::now(), Places::default());
    places.lead(1, 5);
    let local = Local::new(BootEpoch::new(2), Arc::default());
    let outbox = Arc::new(Outbox::new(Arc::new(OutboxMetrics::default())));
    let session = local.open(whose(8, 7), outbox.clone());
    local.note_registered(session, GROUP, (NodeId::new(1), Term::new(5)), UserRev::new(3));
    let setup = Setup { now, places, local, session, outbox };
    assert_eq!(setup.stale(0), []);
    setup
}
impl Setup {
    fn stale(&self, ms: u64) -> Vec<Reregister> {
        self.local.poll_stale(&self.places, self.now + Duration::from_millis(ms))
    }
    fn told(&self) -> Vec<Item> {
        let mut items = Vec::new();
        while self.outbox.drain(usize::MAX, &mut items, self.now) {}
        items
    }
    fn push(&self, term: u64) -> PushFrame {
        let at = kith_wire::log::Position { seq: Seq::new(4), cnt: 4 };
        let channel = kith_wire::id::ChannelId::direct(UserId::new(1), UserId::new(9));
        let delivery = Delivery { channel, prev: Seq::ZERO, body: kith_wire::client::DeliveryBody::Stub { at } };
        PushFrame {
            home: GROUP,
            term: Term::new(term),
            deliveries: vec![(delivery, vec![(self.session, Seq::new(3))])],
            moves: vec![],
            replaced: vec![],
            receipts: vec![],
            ended: vec![],
            presence: Default::default(),
        }
    }
}
fn at(rev: u64) -> Result<RegisteredSession, Refusal> {
    Ok(RegisteredSession { user_rev: UserRev::new(rev), name: "ann".into(), pushes: false })
}

#[test]
fn a_push_of_an_older_leader_is_dropped() {
    let setup = setup();
    setup.local.handle_push(NodeId::new(3), setup.push(4), setup.now);
    assert_eq!(setup.told(), []);
    setup.local.handle_push(NodeId::new(1), setup.push(5), setup.now);
    assert!(matches!(setup.told()[..], [Item::Frame(_)]));
}

#[test]
fn a_session_whose_user_has_moved_is_the_new_homes() {
    let setup = setup();
    setup.places.lead(2, 6);
    let late = setup.stale(0);
    assert_eq!(late[0].group, GROUP);
    setup.places.move_all();
    let asks = setup.stale(10);
    let home = GroupId::new(2);
    assert_eq!((asks.len(), asks[0].group, asks[0].leader), (1, home, (NodeId::new(2), Term::new(6))));
    // The same node leads both, in the same term: what the old home says of it is nothing about the new one.
    setup.local.handle_reregistered(&late[0], Ok((Term::new(6), vec![at(9)])), setup.now);
    assert_eq!(setup.told(), []);
    assert!(!setup.local.is_registered(home, (NodeId::new(2), Term::new(6))));
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(6), vec![at(4)])), setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(UserRev::new(4))]);
    assert_eq!(setup.stale(20), []);
    // One that is registered where its user was a moment ago.
    setup.places.move_all();
    setup.local.note_registered(setup.session, home, (NodeId::new(2), Term::new(6)), UserRev::new(4));
    setup.local.follow_home(setup.session, &setup.places);
    assert_eq!(setup.stale(30)[0].group, GroupId::new(3));
    let ended = setup.local.close(setup.session);
    assert!(matches!(ended, Some((_, Tell::Unregister { group, .. })) if group == GroupId::new(3)), "{ended:?}");
}

#[test]
fn session_ids_are_never_used_twice_not_even_by_another_start() {
    let setup = setup();
    let second = setup.local.open(whose(1, 1), setup.outbox.clone());
    let other = Local::new(BootEpoch::new(3), Arc::default());
    let third = other.open(whose(1, 1), setup.outbox.clone());
    assert!(setup.session < second && second < third);
}

#[test]
fn a_new_leader_gets_the_sessions_again_and_a_moved_index_is_pulled() {
    let setup = setup();
    setup.places.lead(2, 6);
    let asks = setup.stale(0);
    assert_eq!(asks[0].leader, (NodeId::new(2), Term::new(6)));
    assert!(!asks[0].sessions[0].new, "the device is known");
    assert_eq!(setup.stale(10), [], "asked already");
    setup.local.handle_push(NodeId::new(1), setup.push(5), setup.now);
    assert_eq!(setup.told(), [], "the old leader's push");
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(6), vec![at(4)])), setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(UserRev::new(4))]);
    assert_eq!(setup.stale(20), []);
    assert_eq!(setup.local.close(setup.session).map(|(node, _)| node), Some(NodeId::new(2)));
}

#[test]
fn sessions_of_a_home_that_was_silent_are_registered_again() {
    let setup = setup();
    setup.places.lose();
    assert_eq!(setup.stale(0), []);
    setup.places.lead(1, 5);
    let asks = setup.stale(100);
    assert_eq!(asks[0].leader, (NodeId::new(1), Term::new(5)), "the same leader, which may have given up this edge");
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(5), vec![at(6)])), setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(UserRev::new(6))]);
}

#[test]
fn an_index_that_did_not_move_is_not_pulled() {
    let setup = setup();
    setup.local.handle_link_down(NodeId::new(1));
    let asks = setup.stale(0);
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(5), vec![at(3)])), setup.now);
    assert_eq!(setup.told(), []);
}

#[test]
fn a_hint_of_an_older_term_is_ignored() {
    let setup = setup();
    setup.places.lead(3, 4);
    assert_eq!(setup.stale(0), []);
}

#[test]
fn a_registration_that_failed_is_tried_again_after_a_while() {
    let setup = setup();
    setup.places.lead(2, 6);
    let asks = setup.stale(0);
    setup.local.handle_reregistered(&asks[0], Err(refuse_for(Code::NoLeader, 1)), setup.now);
    assert_eq!(setup.stale(1), []);
    assert_eq!(setup.stale(200), asks);
}

#[test]
fn a_session_that_lost_its_device_meanwhile_is_ended() {
    let setup = setup();
    setup.places.lead(2, 6);
    let asks = setup.stale(0);
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(6), vec![Err(refuse(Code::Replaced))])), setup.now);
    assert_eq!(setup.told(), [Item::Bye(refuse(Code::Replaced))]);
}

#[test]
fn sessions_of_a_leaderless_home_are_told_to_move_once() {
    let setup = setup();
    setup.places.lose();
    assert_eq!(setup.stale(0), []);
    assert_eq!(setup.told(), []);
    setup.stale(10_001);
    assert!(matches!(setup.told()[..], [Item::GoAway(_)]));
    setup.stale(20_000);
    assert_eq!(setup.told(), []);
}

#[test]
fn an_index_move_without_rows_makes_the_device_pull() {
    let setup = setup();
    let rev = UserRev::new(7);
    let moves = vec![IndexMove { sessions: vec![setup.session], from: rev, to: rev, rows: vec![] }];
    setup.local.handle_push(NodeId::new(1), PushFrame { moves, deliveries: vec![], ..setup.push(5) }, setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(rev)]);
}

#[test]
fn an_index_that_stands_where_the_device_was_told_is_not_pulled() {
    let setup = setup();
    let rev = UserRev::new(3);
    let moves = vec![IndexMove { sessions: vec![setup.session], from: rev, to: rev, rows: vec![] }];
    setup.local.handle_push(NodeId::new(1), PushFrame { moves, deliveries: vec![], ..setup.push(5) }, setup.now);
    assert_eq!(setup.told(), []);
}

#[test]
fn a_registration_that_was_under_way_when_the_link_broke_does_not_count() {
    let setup = setup();
    setup.local.handle_link_down(NodeId::new(1));
    let asks = setup.stale(0);
    setup.local.handle_link_down(NodeId::new(1));
    setup.local.handle_reregistered(&asks[0], Ok((Term::new(5), vec![at(4)])), setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(UserRev::new(4))], "what it says is true all the same");
    let again = setup.stale(10);
    assert_eq!(again[0].sessions, asks[0].sessions);
    setup.local.handle_reregistered(&again[0], Ok((Term::new(5), vec![at(5)])), setup.now);
    assert_eq!(setup.told(), [Item::SyncNeeded(UserRev::new(5))]);
    assert_eq!(setup.stale(20), []);
}

#[test]
fn a_first_registration_that_was_under_way_when_the_link_broke_is_repeated() {
    let setup = setup();
    setup.local.handle_doubt(setup.session, GROUP);
    let asks = setup.stale(0);
    assert_eq!(asks[0].sessions[0].session, setup.session);
}

#[test]
fn the_session_of_an_ended_device_ends_and_so_does_one_that_no_home_knows_of() {
    let setup = setup();
    let frame = PushFrame { ended: vec![setup.session], deliveries: vec![], ..setup.push(5) };
    setup.local.handle_push(NodeId::new(1), frame, setup.now);
    assert!(matches!(&setup.told()[..], [Item::Bye(why)] if why.code == Code::Revoked));

    let setup = self::setup();
    setup.places.lose();
    setup.stale(0);
    setup.stale(LEASE.as_millis() as u64 - 1);
    assert!(!setup.told().iter().any(|item| matches!(item, Item::Bye(_))), "its lease is not over");
    setup.stale(LEASE.as_millis() as u64);
    assert!(matches!(&setup.told()[..], [.., Item::Bye(why)] if why.code == Code::NoLeader));
}

#[test]
fn a_home_is_told_again_by_which_token_a_session_was_opened() {
    let setup = setup();
    setup.places.lead(2, 6);
    let asks = setup.stale(0);
    assert_eq!((asks[0].sessions[0].login, asks[0].sessions[0].issued), (3, Timestamp::new(4)));
}

#[test]
fn a_device_that_nobody_sits_before_is_told_once_and_goes_with_the_registration() {
    let setup = setup();
    let told = setup.local.set_away(setup.session, true);
    assert!(matches!(told, Some((node, Tell::Activity { away: true, .. })) if node == NodeId::new(1)));
    assert_eq!(setup.local.set_away(setup.session, true), None, "that is known");
    setup.local.handle_link_down(NodeId::new(1));
    assert_eq!(setup.local.set_away(setup.session, false), None, "nobody knows the session now");
    setup.local.set_away(setup.session, true);
    let stale = setup.stale(0);
    assert!(stale[0].sessions[0].away);
    assert!(!setup.local.is_registered(GROUP, (NodeId::new(1), Term::new(5))));
    setup.local.handle_reregistered(&stale[0], Ok((Term::new(5), vec![at(3)])), setup.now);
    assert_eq!(setup.stale(1), []);
    assert!(setup.local.is_registered(GROUP, (NodeId::new(1), Term::new(5))));
    assert!(setup.local.is_registered(GroupId::new(9), (NodeId::new(4), Term::new(1))), "there is nothing to register");
}
