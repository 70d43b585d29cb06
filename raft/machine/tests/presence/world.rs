//! A cluster of one home group and three edges, with messages that come late and links that lose them, beside the truth.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use kith_machine::presence::{
    Facts, GRACE, Rows,
    edge::{Asked, Edge, Places},
    home::Home,
    state_of,
};
use kith_wire::{
    id::{GroupId, NodeId, SessionId, Term, Timestamp, UserId},
    presence::{PresencePush, PresenceState, PresenceTold, PresenceView},
};
use proptest::prelude::*;

const GROUP: GroupId = GroupId::new(1);
const USERS: u64 = 6;
const EDGES: u64 = 3;
/// Late messages, lost leaders and their finding out apart, nothing is older than this.
const RECENT: Duration = Duration::from_secs(100);
/// An edge that is silent for so long is gone for the home.
const EDGE_GONE: Duration = Duration::from_secs(10);

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Open { user: u64, edge: u64, away: bool },
    Close(usize),
    Activity(usize, bool),
    Screen(usize, u8),
    Contact { one: u64, other: u64, on: bool },
    Private(u64, bool),
    Pass(u64),
    Deliver(usize),
    NewLeader,
    LoseLeader,
    Crash(u64),
    BreakLink(u64),
}

/// Any of it; most often people come and go.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let user = 0..USERS;
    prop_oneof![
        4 => (user.clone(), 0..EDGES, any::<bool>()).prop_map(|(user, edge, away)| Op::Open { user, edge, away }),
        3 => (0..20usize).prop_map(Op::Close),
        1 => (0..20usize, any::<bool>()).prop_map(|(at, away)| Op::Activity(at, away)),
        4 => (0..20usize, any::<u8>()).prop_map(|(at, users)| Op::Screen(at, users)),
        2 => (user.clone(), user.clone(), any::<bool>()).prop_map(|(one, other, on)| Op::Contact { one, other, on }),
        1 => (user, any::<bool>()).prop_map(|(user, private)| Op::Private(user, private)),
        6 => prop_oneof![1..2_000u64, 1_000..60_000u64].prop_map(Op::Pass),
        6 => (0..8usize).prop_map(Op::Deliver),
        1 => Just(Op::NewLeader),
        1 => Just(Op::LoseLeader),
        1 => (0..EDGES).prop_map(Op::Crash),
        1 => (0..EDGES).prop_map(Op::BreakLink),
    ]
}

#[derive(Debug)]
enum Message {
    Watches(Asked),
    Told(Asked, Option<PresenceTold>),
    Push(Term, PresencePush),
    /// All sessions of an edge, to a new leader.
    Register(Term),
}

#[derive(Clone, Copy, Debug)]
struct Session {
    user: UserId,
    edge: NodeId,
    away: bool,
}

/// A time in which a user had no session.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: Duration,
    to: Option<Duration>,
    /// When a home first learned of a session after it: what no home was told of, none can show.
    learned: Option<Duration>,
}

#[derive(Default)]
struct Truth {
    contacts: BTreeSet<(UserId, UserId)>,
    /// When each pair's right, or a user's wish to hide, last changed.
    changed: BTreeMap<(UserId, UserId), Duration>,
    facts: BTreeMap<UserId, Facts>,
    hid: BTreeMap<UserId, Duration>,
    gaps: BTreeMap<UserId, Vec<Gap>>,
}

impl Rows for Truth {
    type Error = ();
    fn facts(&self, user: UserId) -> Result<Facts, ()> {
        Ok(self.facts[&user])
    }
    fn may_watch(&self, user: UserId, watcher: UserId) -> Result<bool, ()> {
        Ok(user == watcher || self.contacts.contains(&(user, watcher)))
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

pub(crate) struct World {
    now: Duration,
    next_session: u64,
    home: Option<Home>,
    term: Term,
    /// Sessions as the home's registry has them.
    registry: BTreeMap<SessionId, Session>,
    sessions: BTreeMap<SessionId, Session>,
    edges: BTreeMap<NodeId, Edge>,
    /// Between the home and each edge, in order each way.
    to_home: BTreeMap<NodeId, VecDeque<Message>>,
    to_edge: BTreeMap<NodeId, VecDeque<Message>>,
    crashed: BTreeMap<NodeId, Duration>,
    /// What each session is to show, and what it was shown last.
    screens: BTreeMap<SessionId, BTreeSet<UserId>>,
    shown: BTreeMap<(SessionId, UserId), PresenceView>,
    truth: Truth,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut truth = Truth::default();
        for user in (0..USERS).map(UserId::new) {
            truth.facts.insert(user, Facts { exists: true, ..Facts::default() });
            truth.gaps.insert(user, vec![Gap { from: Duration::ZERO, to: None, learned: None }]);
        }
        let edges: BTreeMap<NodeId, Edge> = (0..EDGES).map(|edge| (node(edge), Edge::default())).collect();
        let mut world = Self {
            now: Duration::from_secs(1_000),
            next_session: 1,
            home: None,
            term: Term::new(0),
            registry: BTreeMap::new(),
            sessions: BTreeMap::new(),
            to_home: edges.keys().map(|edge| (*edge, VecDeque::new())).collect(),
            to_edge: edges.keys().map(|edge| (*edge, VecDeque::new())).collect(),
            edges,
            crashed: BTreeMap::new(),
            screens: BTreeMap::new(),
            shown: BTreeMap::new(),
            truth,
        };
        world.new_leader();
        world
    }

    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Open { user, edge, away } => self.open(UserId::new(user), node(edge), away),
            Op::Close(at) => {
                if let Some(session) = self.pick(at) {
                    self.close(session);
                }
            }
            Op::Activity(at, away) => {
                if let Some(session) = self.pick(at) {
                    self.sessions.get_mut(&session).unwrap().away = away;
                    if let Some(known) = self.registry.get_mut(&session) {
                        known.away = away;
                        let user = known.user;
                        self.live(user);
                    }
                }
            }
            Op::Screen(at, users) => {
                if let Some(session) = self.pick(at) {
                    let users: BTreeSet<UserId> = (0..USERS).filter(|bit| users & (1 << bit) != 0).map(UserId::new).collect();
                    let edge = self.sessions[&session].edge;
                    self.edges.get_mut(&edge).unwrap().handle_screen(session, &users.iter().copied().collect::<Vec<_>>());
                    // Who is shown no more is forgotten, and shown anew if shown again.
                    self.shown.retain(|(of, user), _| *of != session || users.contains(user));
                    self.screens.insert(session, users);
                }
            }
            Op::Contact { one, other, on } => self.contact(UserId::new(one), UserId::new(other), on),
            Op::Private(user, private) => {
                let user = UserId::new(user);
                self.truth.facts.get_mut(&user).unwrap().private = private;
                self.truth.hid.insert(user, self.now);
                let now = self.now;
                if let Some(home) = &mut self.home {
                    home.handle_private(user, private, now);
                }
            }
            Op::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Op::Deliver(at) => self.deliver(at),
            Op::NewLeader => self.new_leader(),
            Op::LoseLeader => {
                self.home = None;
                self.registry.clear();
                self.lose_asks();
            }
            Op::Crash(edge) => self.crash(node(edge)),
            Op::BreakLink(edge) => {
                let edge = node(edge);
                let lost: Vec<Message> =
                    [&mut self.to_home, &mut self.to_edge].into_iter().flat_map(|queues| std::mem::take(queues.get_mut(&edge).unwrap())).collect();
                let now = self.now;
                if let Some(home) = &mut self.home {
                    home.handle_unsure(edge, now);
                }
                let at_edge = self.edges.get_mut(&edge).unwrap();
                at_edge.handle_link_down(node(0), now);
                // Who asked is told that it was lost; what was to be registered is registered again.
                for message in lost {
                    match message {
                        Message::Watches(asked) | Message::Told(asked, _) => {
                            self.to_edge.get_mut(&edge).unwrap().push_back(Message::Told(asked, None))
                        }
                        Message::Register(term) => self.to_home.get_mut(&edge).unwrap().push_back(Message::Register(term)),
                        Message::Push(..) => {}
                    }
                }
            }
        }
        self.flush();
    }

    /// Nothing is lost any more, and nothing late.
    pub(crate) fn settle(&mut self) {
        if self.home.is_none() {
            self.new_leader();
        }
        for _ in 0..220 {
            for _ in 0..40 {
                self.flush();
                self.deliver(0);
                self.deliver(1);
                self.deliver(2);
            }
            self.pass(Duration::from_secs(1));
        }
        self.flush();
    }

    /// Every session shows what the model says.
    pub(crate) fn check(&self) {
        for (session, users) in &self.screens {
            let watcher = self.sessions[session].user;
            for user in users {
                let shown = self.shown.get(&(*session, *user)).unwrap_or_else(|| panic!("{watcher} was shown nothing of {user}"));
                let facts = self.truth.facts[user];
                let state = match state_of(self.sessions.values().filter(|live| live.user == *user).map(|live| live.away)) {
                    _ if !self.truth.may_watch(*user, watcher).unwrap() || facts.private => PresenceState::Offline,
                    Some(state) => state,
                    None => PresenceState::Offline,
                };
                assert_eq!(shown.state, state, "{watcher} is shown {shown:?} of {user}");
                if facts.private || !self.truth.may_watch(*user, watcher).unwrap() {
                    assert_eq!(shown.last_seen, None);
                }
            }
        }
        let live: usize = self.edges.values().map(Edge::watched).sum();
        assert_eq!(self.home.as_ref().unwrap().subscriptions(), live, "one subscription for each edge and user");
    }

    fn pick(&self, at: usize) -> Option<SessionId> {
        self.sessions.keys().nth(at % self.sessions.len().max(1)).copied()
    }
    fn wall(&self) -> Timestamp {
        Timestamp::new(self.now.as_millis() as u64)
    }
    fn open(&mut self, user: UserId, edge: NodeId, away: bool) {
        let session = SessionId::new(self.next_session);
        self.next_session += 1;
        let live = Session { user, edge, away };
        self.sessions.insert(session, live);
        self.edges.get_mut(&edge).unwrap().handle_open(session, user);
        if let Some(gap) = self.truth.gaps.get_mut(&user).unwrap().last_mut() {
            gap.to.get_or_insert(self.now);
        }
        if self.home.is_some() {
            // As a registration does.
            let seen = self.wall();
            let facts = self.truth.facts.get_mut(&user).unwrap();
            (facts.here, facts.seen) = (true, seen);
            self.registry.insert(session, live);
            self.live(user);
        }
    }
    fn close(&mut self, session: SessionId) {
        let Some(live) = self.sessions.remove(&session) else { return };
        self.screens.remove(&session);
        self.shown.retain(|(of, _), _| *of != session);
        self.edges.get_mut(&live.edge).unwrap().handle_close(session);
        self.note_gap(live.user);
        if self.registry.remove(&session).is_some() {
            self.live(live.user);
        }
    }
    fn note_gap(&mut self, user: UserId) {
        if !self.sessions.values().any(|live| live.user == user) {
            self.truth.gaps.get_mut(&user).unwrap().push(Gap { from: self.now, to: None, learned: None });
        }
    }
    fn live(&mut self, user: UserId) {
        let (now, wall) = (self.now, self.wall());
        let live = state_of(self.registry.values().filter(|live| live.user == user).map(|live| live.away));
        let Some(home) = &mut self.home else { return };
        if live.is_some() {
            self.truth.gaps.get_mut(&user).unwrap().iter_mut().filter(|gap| gap.to.is_some()).for_each(|gap| _ = gap.learned.get_or_insert(now));
            home.handle_facts(user, self.truth.facts[&user], now);
        }
        home.handle_live(user, live, wall, now);
    }
    fn contact(&mut self, one: UserId, other: UserId, on: bool) {
        if one == other {
            return;
        }
        for (user, watcher) in [(one, other), (other, one)] {
            let changed = if on { self.truth.contacts.insert((user, watcher)) } else { self.truth.contacts.remove(&(user, watcher)) };
            if !changed {
                continue;
            }
            self.truth.changed.insert((user, watcher), self.now);
            if let Some(home) = &mut self.home {
                home.handle_right(user, watcher, on);
            }
        }
    }
    /// Who asked a leader that is lost is told so.
    fn lose_asks(&mut self) {
        for (edge, queue) in &mut self.to_home {
            for message in std::mem::take(queue) {
                if let Message::Watches(asked) = message {
                    self.to_edge.get_mut(edge).unwrap().push_back(Message::Told(asked, None));
                }
            }
        }
    }
    fn new_leader(&mut self) {
        self.term = Term::new(self.term.get() + 1);
        self.home = Some(Home::new(self.term, GRACE, self.now));
        self.registry.clear();
        self.lose_asks();
        for edge in self.edges.keys() {
            self.to_home.get_mut(edge).unwrap().push_back(Message::Register(self.term));
        }
    }
    fn crash(&mut self, edge: NodeId) {
        let lost: Vec<SessionId> = self.sessions.iter().filter(|(_, live)| live.edge == edge).map(|(session, _)| *session).collect();
        for session in lost {
            let live = self.sessions.remove(&session).unwrap();
            self.screens.remove(&session);
            self.shown.retain(|(of, _), _| *of != session);
            self.note_gap(live.user);
        }
        self.edges.insert(edge, Edge::default());
        self.to_home.get_mut(&edge).unwrap().clear();
        self.to_edge.get_mut(&edge).unwrap().clear();
        self.to_home.get_mut(&edge).unwrap().push_back(Message::Register(self.term));
        self.crashed.insert(edge, self.now + EDGE_GONE);
    }
    /// The home learns late that an edge was lost; who has come since is another's.
    fn note_crashes(&mut self) {
        let over: Vec<NodeId> = self.crashed.iter().filter(|(_, at)| **at <= self.now).map(|(edge, _)| *edge).collect();
        for edge in over {
            self.crashed.remove(&edge);
            let gone: Vec<(SessionId, UserId)> = self
                .registry
                .iter()
                .filter(|(session, live)| live.edge == edge && !self.sessions.contains_key(session))
                .map(|(session, live)| (*session, live.user))
                .collect();
            for (session, user) in gone {
                self.registry.remove(&session);
                self.live(user);
            }
        }
    }
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(500));
            self.note_crashes();
            let (now, wall) = (self.now, self.wall());
            let nodes: Vec<NodeId> = self.edges.keys().copied().collect();
            if let Some(home) = &mut self.home {
                home.handle_heard(&nodes, now);
                home.handle_timeout(wall, now);
            }
            self.flush();
            // No message is later than a second or two.
            if self.now.as_millis() % 2_000 < 500 {
                for at in 0..3 {
                    self.deliver(at);
                }
                self.flush();
            }
        }
    }
    /// What follows from what happened goes onto its way.
    fn flush(&mut self) {
        let now = self.now;
        let term = self.term;
        if let Some(home) = &mut self.home {
            for (user, seen) in home.poll_writes(usize::MAX) {
                let facts = self.truth.facts.get_mut(&user).unwrap();
                if seen.at >= facts.seen {
                    (facts.here, facts.seen) = (seen.here, seen.at);
                }
            }
            for (edge, push) in home.poll_pushes() {
                self.to_edge.get_mut(&edge).unwrap().push_back(Message::Push(term, push));
            }
        }
        let led = Led(self.home.as_ref().map(|_| (node(0), term)));
        let mut told = Vec::new();
        for (id, edge) in &mut self.edges {
            for asked in edge.poll_asks(&led, now) {
                self.to_home.get_mut(id).unwrap().push_back(Message::Watches(asked));
            }
            for (session, views) in edge.poll_views() {
                told.extend(views.into_iter().map(|view| (session, view)));
            }
        }
        for (session, view) in told {
            let watcher = self.sessions[&session].user;
            self.no_false_offline(watcher, &view);
            self.shown.insert((session, view.user), view);
        }
    }
    /// Nobody is shown offline who had no gap as long as the grace lately, unless they hide from who looks.
    fn no_false_offline(&self, watcher: UserId, view: &PresenceView) {
        let (now, user) = (self.now, view.user);
        let is_recent = |at: Option<&Duration>| at.is_some_and(|at| now < *at + RECENT);
        if view.state != PresenceState::Offline
            || self.truth.facts[&user].private
            || !self.truth.may_watch(user, watcher).unwrap()
            || is_recent(self.truth.changed.get(&(user, watcher)))
            || is_recent(self.truth.hid.get(&user))
        {
            return;
        }
        let is_long = |gap: &Gap| gap.to.unwrap_or(now) >= gap.from + GRACE && gap.learned.is_none_or(|at| now < at + RECENT);
        assert!(self.truth.gaps[&user].iter().any(is_long), "{user} is shown offline to {watcher} at {now:?}: {:?}", self.truth.gaps[&user]);
    }
    /// One message of one edge's, the oldest, each way.
    fn deliver(&mut self, at: usize) {
        let edge = node(at as u64 % EDGES);
        let now = self.now;
        match self.to_home.get_mut(&edge).unwrap().pop_front() {
            Some(Message::Watches(asked)) => {
                let told = match &mut self.home {
                    Some(home) if asked.leader.1 == self.term => home.handle_watches(edge, &asked.watches, &self.truth, now).ok(),
                    _ => None,
                };
                self.to_edge.get_mut(&edge).unwrap().push_back(Message::Told(asked, told));
            }
            Some(Message::Register(term)) if term == self.term && self.home.is_some() => {
                let own: Vec<(SessionId, Session)> =
                    self.sessions.iter().filter(|(_, live)| live.edge == edge).map(|(id, live)| (*id, *live)).collect();
                for (session, live) in own {
                    self.registry.insert(session, live);
                    self.live(live.user);
                }
                if let Some(home) = &mut self.home {
                    home.handle_reported(edge);
                }
            }
            _ => {}
        }
        match self.to_edge.get_mut(&edge).unwrap().pop_front() {
            Some(Message::Told(asked, told)) => self.edges.get_mut(&edge).unwrap().handle_told(&asked, told, now),
            Some(Message::Push(term, push)) if term == self.term => {
                self.edges.get_mut(&edge).unwrap().handle_push(GROUP, (node(0), term), push, now);
            }
            _ => {}
        }
    }
}

fn node(edge: u64) -> NodeId {
    NodeId::new(edge + 1)
}
