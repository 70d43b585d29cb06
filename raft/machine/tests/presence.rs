//! Who is here: homes and edges against a naive model, under lost leaders, lost edges, lost links and late messages; and what it costs.
#![allow(clippy::unwrap_used)]

#[path = "presence/world.rs"]
mod world;

use std::{collections::BTreeMap, time::Duration};

use kith_machine::presence::{
    CALM, Facts, GRACE, Rows, WARMING_MAX,
    edge::{Edge, Places},
    home::{Home, Seen},
};
use kith_wire::{
    id::{GroupId, NodeId, SessionId, Term, Timestamp, UserId},
    presence::{PresenceState, PresenceView, PresenceWatch},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use world::{World, op};

const GROUP: GroupId = GroupId::new(1);
const ANN: UserId = UserId::new(1);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn wall(now: Duration) -> Timestamp {
    Timestamp::new(1_000_000 + now.as_millis() as u64)
}

/// Everybody is a contact of everybody but for strangers, who have odd ids above 100,000.
struct Open;
impl Rows for Open {
    type Error = ();
    fn facts(&self, _: UserId) -> Result<Facts, ()> {
        Ok(Facts { exists: true, ..Facts::default() })
    }
    fn may_watch(&self, _: UserId, watcher: UserId) -> Result<bool, ()> {
        Ok(watcher.get() < 100_000)
    }
}

struct Led(Option<(NodeId, Term)>);
impl Places for Led {
    fn home(&self, _: UserId) -> Option<GroupId> {
        Some(GROUP)
    }
    fn leader(&self, _: GroupId) -> Option<(NodeId, Term)> {
        self.0
    }
}

fn led(term: u64) -> Led {
    Led(Some((NodeId::new(1), Term::new(term))))
}

fn warm(term: u64, now: Duration) -> Home {
    let mut home = Home::new(Term::new(term), GRACE, now);
    home.handle_heard(&[], now);
    assert!(home.is_warm());
    home
}

fn comes(home: &mut Home, user: UserId, now: Duration) {
    home.handle_facts(user, Facts { exists: true, here: true, seen: wall(now), private: false }, now);
    home.handle_live(user, Some(PresenceState::Online), wall(now), now);
}

/// Tells the home all that the edge has to tell, and the edge what comes of it.
fn exchange(edge: &mut Edge, node: u64, home: &mut Home, places: &Led, now: Duration) -> usize {
    let mut messages = 0;
    loop {
        let asks = edge.poll_asks(places, now);
        if asks.is_empty() {
            return messages;
        }
        for asked in asks {
            messages += 1;
            let told = home.handle_watches(NodeId::new(node), &asked.watches, &Open, now).unwrap();
            edge.handle_told(&asked, Some(told), now);
        }
    }
}

fn shown(edge: &mut Edge) -> Vec<(SessionId, PresenceState)> {
    edge.poll_views().into_iter().flat_map(|(session, views)| views.into_iter().map(move |view| (session, view.state))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_who_look_are_shown_what_a_naive_model_says(ops in proptest::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.settle();
        world.check();
    }
}

#[test]
fn a_user_with_ten_thousand_watchers_costs_one_message_for_each_edge() {
    let (now, places) = (secs(100), led(3));
    let mut home = warm(3, now);
    comes(&mut home, ANN, now);
    let mut edges: BTreeMap<u64, Edge> = (1..=3).map(|node| (node, Edge::default())).collect();
    for watcher in 0..10_000 {
        let edge = edges.get_mut(&(1 + watcher % 3)).unwrap();
        edge.handle_open(SessionId::new(watcher), UserId::new(10 + watcher));
        edge.handle_screen(SessionId::new(watcher), &[ANN]);
    }
    let messages: usize = edges.iter_mut().map(|(node, edge)| exchange(edge, *node, &mut home, &places, now)).sum();
    assert_eq!(messages, 6, "each edge asks for its 3,333 in two messages");
    assert_eq!(home.subscriptions(), 3);
    assert_eq!(edges.values_mut().map(|edge| shown(edge).len()).sum::<usize>(), 10_000);
    assert!(home.poll_pushes().is_empty(), "they had it as the answer");

    home.handle_live(ANN, Some(PresenceState::Away), wall(now), now + CALM);
    let pushes = home.poll_pushes();
    assert_eq!(pushes.len(), 3);
    for (edge, push) in pushes {
        assert_eq!((push.views.len(), push.views[0].state), (1, PresenceState::Away));
        let edge = edges.get_mut(&edge.get()).unwrap();
        edge.handle_push(GROUP, (NodeId::new(1), Term::new(3)), push, now);
        assert!(shown(edge).len() >= 3_333);
    }
    // A minute later each subscription is renewed, by one small message and without watchers.
    let later = now + secs(61);
    for (node, edge) in &mut edges {
        let asks = edge.poll_asks(&places, later);
        assert!(matches!(&asks[..], [asked] if matches!(&asked.watches[..], [PresenceWatch { watchers, all: false, .. }] if watchers.is_empty())));
        let told = home.handle_watches(NodeId::new(*node), &asks[0].watches, &Open, later).unwrap();
        assert!(told.views.is_empty() && told.again.is_empty(), "nothing is new");
        edge.handle_told(&asks[0], Some(told), later);
        assert!(shown(edge).is_empty());
    }
}

#[test]
fn a_network_that_flaps_is_not_seen() {
    let (mut now, places) = (secs(100), led(3));
    let (mut home, mut edge) = (warm(3, now), Edge::default());
    comes(&mut home, ANN, now);
    edge.handle_open(SessionId::new(1), UserId::new(2));
    edge.handle_screen(SessionId::new(1), &[ANN]);
    exchange(&mut edge, 1, &mut home, &places, now);
    assert_eq!(shown(&mut edge), [(SessionId::new(1), PresenceState::Online)]);
    home.poll_writes(9);
    for _ in 0..20 {
        home.handle_live(ANN, None, wall(now), now);
        now += GRACE - secs(1);
        home.handle_timeout(wall(now), now);
        home.handle_live(ANN, Some(PresenceState::Online), wall(now), now);
        now += secs(1);
        home.handle_timeout(wall(now), now);
    }
    assert!(home.poll_pushes().is_empty());
    assert!(home.poll_writes(9).len() <= 1, "written once in ten minutes");
    home.handle_live(ANN, None, wall(now), now);
    let left = wall(now);
    now += GRACE;
    home.handle_timeout(wall(now), now);
    let pushes = home.poll_pushes();
    assert_eq!((pushes[0].1.views[0].state, pushes[0].1.views[0].last_seen), (PresenceState::Offline, Some(left)));
    assert_eq!(home.poll_writes(9), [(ANN, Seen { here: false, at: left })]);
}

#[test]
fn who_toggles_all_the_time_is_told_once_a_second() {
    let mut now = secs(100);
    let (mut home, mut edge) = (warm(3, now), Edge::default());
    comes(&mut home, ANN, now);
    edge.handle_open(SessionId::new(1), UserId::new(2));
    edge.handle_screen(SessionId::new(1), &[ANN]);
    exchange(&mut edge, 1, &mut home, &led(3), now);
    let mut pushes = 0;
    let mut last = PresenceState::Online;
    for step in 0..1_000 {
        now += Duration::from_millis(10);
        last = if step % 2 == 0 { PresenceState::Away } else { PresenceState::Online };
        home.handle_live(ANN, Some(last), wall(now), now);
        home.handle_timeout(wall(now), now);
        pushes += home.poll_pushes().len();
    }
    assert!((5..=11).contains(&pushes), "{pushes} in ten seconds");
    now += CALM;
    home.handle_timeout(wall(now), now);
    home.poll_pushes();
    assert_eq!(home.read(ANN, &[ANN], &Open, now).unwrap()[0].state, last);
}

#[test]
fn another_leader_makes_no_storm_and_nobody_offline() {
    let mut now = secs(100);
    let (mut home, mut edge) = (warm(3, now), Edge::default());
    let users: Vec<UserId> = (1..=100).map(UserId::new).collect();
    users.iter().for_each(|user| comes(&mut home, *user, now));
    for watcher in 0..50 {
        edge.handle_open(SessionId::new(watcher), UserId::new(1_000 + watcher));
        edge.handle_screen(SessionId::new(watcher), &users);
    }
    exchange(&mut edge, 1, &mut home, &led(3), now);
    assert_eq!(shown(&mut edge).len(), 5_000);

    // The leader is lost; for a while there is none, then one that has to find out.
    assert!(edge.poll_asks(&Led(None), now).is_empty());
    now += secs(3);
    let mut home = Home::new(Term::new(4), GRACE, now);
    home.handle_heard(&[NodeId::new(1), NodeId::new(2)], now);
    assert!(!home.is_warm());
    exchange(&mut edge, 1, &mut home, &led(4), now);
    assert!(shown(&mut edge).is_empty(), "what was known is shown until it is known anew");
    assert_eq!(home.read(UserId::new(1_000), &users[..1], &Open, now).unwrap()[0].state, PresenceState::Unknown);
    users.iter().for_each(|user| comes(&mut home, *user, now));
    for (_, push) in home.poll_pushes() {
        edge.handle_push(GROUP, (NodeId::new(1), Term::new(4)), push, now);
    }
    home.handle_reported(NodeId::new(1));
    home.handle_heard(&[NodeId::new(1), NodeId::new(2)], now);
    assert!(!home.is_warm(), "node 2 has not told");
    home.handle_heard(&[NodeId::new(1), NodeId::new(2)], now + WARMING_MAX);
    assert!(home.is_warm());
    home.handle_timeout(wall(now), now);
    assert!(home.poll_pushes().is_empty());
    assert!(shown(&mut edge).is_empty());
}

#[test]
fn a_second_in_which_nothing_happens_looks_at_no_subscription() {
    const USERS: u64 = 1_000;
    let mut now = secs(100);
    let mut home = warm(3, now);
    let users: Vec<UserId> = (1..=USERS).map(UserId::new).collect();
    let watch = |user: &UserId, all| {
        let (known, rights) = Default::default();
        PresenceWatch { user: *user, known, rights, watchers: vec![UserId::new(2_000)], all, ended: false }
    };
    let watches = |all| users.iter().map(|user| watch(user, all)).collect::<Vec<_>>();
    let edges = [NodeId::new(1), NodeId::new(2)];
    for edge in edges {
        home.handle_watches(edge, &watches(true), &Open, now).unwrap();
    }
    let subscribed = 2 * USERS;
    assert_eq!(home.subscriptions() as u64, subscribed);
    for _ in 0..149 {
        now += secs(1);
        home.handle_heard(&edges, now);
    }
    assert_eq!(home.looked(), 0, "nothing has to be renewed yet");
    // For an hour both renew every minute: each is looked at once in as long as it lasts.
    for second in 0..3_600 {
        if second % 60 == 0 {
            edges.iter().for_each(|edge| drop(home.handle_watches(*edge, &watches(false), &Open, now).unwrap()));
        }
        now += secs(1);
        home.handle_heard(&edges, now);
    }
    assert_eq!(home.subscriptions() as u64, subscribed);
    assert!(home.looked() <= subscribed * (3_600 / 90 + 1), "{} looks for {subscribed} subscriptions", home.looked());
    // One ends in order, one goes: neither is looked at again. What is not renewed ends in time.
    home.handle_watches(edges[0], &[PresenceWatch { ended: true, ..watch(&users[0], false) }], &Open, now).unwrap();
    home.handle_edge_gone(edges[1], now);
    assert_eq!(home.subscriptions() as u64, USERS - 1);
    let looked = home.looked();
    for _ in 0..151 {
        now += secs(1);
        home.handle_heard(&edges[..1], now);
    }
    assert_eq!((home.subscriptions(), home.poll_timeout()), (0, None));
    assert!(home.looked() - looked <= 2 * (USERS - 1));
}

#[test]
fn who_was_here_when_the_leader_was_lost_is_given_the_grace_to_come_back() {
    struct WasHere;
    impl Rows for WasHere {
        type Error = ();
        fn facts(&self, _: UserId) -> Result<Facts, ()> {
            Ok(Facts { exists: true, private: false, here: true, seen: Timestamp::new(77) })
        }
        fn may_watch(&self, _: UserId, _: UserId) -> Result<bool, ()> {
            Ok(true)
        }
    }
    let now = secs(100);
    let edge = NodeId::new(1);
    let mut home = Home::new(Term::new(3), GRACE, now);
    let (known, rights) = Default::default();
    let watch = PresenceWatch { user: ANN, known, rights, watchers: vec![UserId::new(2)], all: true, ended: false };
    let told = home.handle_watches(edge, &[watch], &WasHere, now + secs(1)).unwrap();
    assert_eq!(told.views[0].state, PresenceState::Unknown);
    // Her session ended when the home had begun, and before the edge told it its sessions.
    let ended = now + secs(2);
    home.handle_reported(edge);
    home.handle_heard(&[edge], ended);
    home.handle_timeout(wall(now + GRACE), now + GRACE);
    assert!(home.poll_pushes().is_empty() && home.poll_writes(9).is_empty(), "the grace counts from when the edges have told");
    let over = ended + GRACE;
    assert_eq!(home.poll_timeout(), Some(over));
    home.handle_timeout(wall(over), over);
    let pushes = home.poll_pushes();
    assert_eq!((pushes[0].1.views[0].state, pushes[0].1.views[0].last_seen), (PresenceState::Offline, Some(Timestamp::new(77))));
    assert_eq!(home.poll_writes(9), [(ANN, Seen { here: false, at: Timestamp::new(77) })]);
}

#[test]
fn strangers_blocked_ones_and_former_contacts_see_the_same_as_of_nobody() {
    let now = secs(100);
    let mut home = warm(3, now);
    comes(&mut home, ANN, now);
    let (friend, stranger) = (UserId::new(2), UserId::new(100_001));
    let mut edge = Edge::default();
    edge.handle_open(SessionId::new(1), friend);
    edge.handle_open(SessionId::new(2), stranger);
    edge.handle_screen(SessionId::new(1), &[ANN]);
    edge.handle_screen(SessionId::new(2), &[ANN, UserId::new(999)]);
    exchange(&mut edge, 1, &mut home, &led(3), now);
    let views: BTreeMap<SessionId, Vec<PresenceView>> = edge.poll_views().into_iter().collect();
    assert_eq!(views[&SessionId::new(1)][0].state, PresenceState::Online);
    assert_eq!(views[&SessionId::new(2)], [PresenceView::hidden(ANN), PresenceView::hidden(UserId::new(999))]);
    assert_eq!(home.read(stranger, &[ANN], &Open, now).unwrap(), [PresenceView::hidden(ANN)]);

    // A contact is ended: what the former one sees is the same, and stays so whatever ann does.
    home.handle_right(ANN, friend, false);
    home.handle_live(ANN, Some(PresenceState::Away), wall(now), now + CALM);
    for (_, push) in home.poll_pushes() {
        edge.handle_push(GROUP, (NodeId::new(1), Term::new(3)), push, now);
    }
    assert_eq!(edge.poll_views(), [(SessionId::new(1), vec![PresenceView::hidden(ANN)])]);
    // And back.
    home.handle_right(ANN, friend, true);
    for (_, push) in home.poll_pushes() {
        edge.handle_push(GROUP, (NodeId::new(1), Term::new(3)), push, now);
    }
    assert_eq!(shown(&mut edge), [(SessionId::new(1), PresenceState::Away)]);
    // Who hides is offline to friends, as at once as they can.
    home.handle_private(ANN, true, now + CALM);
    for (_, push) in home.poll_pushes() {
        edge.handle_push(GROUP, (NodeId::new(1), Term::new(3)), push, now);
    }
    let views = edge.poll_views();
    assert_eq!((views[0].1[0].state, views[0].1[0].last_seen), (PresenceState::Offline, None));
}

#[test]
fn a_view_that_was_lost_is_found_at_the_next_renewal() {
    let now = secs(100);
    let (mut home, mut edge) = (warm(3, now), Edge::default());
    comes(&mut home, ANN, now);
    edge.handle_open(SessionId::new(1), UserId::new(2));
    edge.handle_screen(SessionId::new(1), &[ANN]);
    exchange(&mut edge, 1, &mut home, &led(3), now);
    shown(&mut edge);
    home.handle_live(ANN, Some(PresenceState::Away), wall(now), now + CALM);
    home.handle_right(ANN, UserId::new(2), false);
    assert_eq!(home.poll_pushes().len(), 1, "and nobody gets it");
    exchange(&mut edge, 1, &mut home, &led(3), now + secs(60));
    // What a right was is asked anew; these rows still allow it.
    assert_eq!(shown(&mut edge), [(SessionId::new(1), PresenceState::Away)]);
    let (known, rights) = Default::default();
    let renewal = PresenceWatch { user: ANN, known, rights, watchers: Vec::new(), all: false, ended: false };
    assert_eq!(home.handle_watches(NodeId::new(9), &[renewal], &Open, now).unwrap().again, [ANN], "of an edge that it does not know");
}

#[test]
fn where_every_contact_is_shown_a_circle_is_a_screen() {
    let now = secs(100);
    let (mut home, mut edge) = (warm(3, now), Edge::default());
    comes(&mut home, ANN, now);
    edge.handle_open(SessionId::new(1), UserId::new(2));
    edge.handle_circle(UserId::new(2), &[ANN, UserId::new(3)]);
    exchange(&mut edge, 1, &mut home, &led(3), now);
    assert_eq!(shown(&mut edge), [(SessionId::new(1), PresenceState::Online), (SessionId::new(1), PresenceState::Offline)]);
    edge.handle_screen(SessionId::new(1), &[ANN]);
    edge.handle_screen(SessionId::new(1), &[]);
    assert_eq!(edge.watched(), 2, "the circle stays when the screen goes");
    edge.handle_circle(UserId::new(2), &[UserId::new(3)]);
    assert_eq!(edge.watched(), 1);
    edge.handle_close(SessionId::new(1));
    exchange(&mut edge, 1, &mut home, &led(3), now);
    assert_eq!((edge.watched(), home.subscriptions()), (0, 0));
}
