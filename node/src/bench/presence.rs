//! Presence at the size of a busy cluster: sessions that each look at their contacts, while users come, go and turn away.
//!
//! In: how many sessions and contacts. Out: [`Outcome`]: what is shown to screens each processor second, through homes, messages between nodes and
//! frames to clients, encoded and decoded as they are; beside it the naive way, in which a home looks up each contact at each change and
//! tells each by a message of its own. One thread, virtual time, no sockets: those cost what a heartbeat costs (`heartbeat`). Bounds: none.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    time::Duration,
};

use kith_machine::presence::{
    CALM, Facts, GRACE, Rows,
    edge::{Edge, Places},
    home::Home,
};
use kith_wire::{
    client::Event,
    id::{GroupId, NodeId, SessionId, Term, Timestamp, UserId},
    peer::{Tell, ToPeer},
    presence::{PresenceAt, PresencePush, PresenceState, PresenceView},
};
use serde::Serialize;

use super::{BenchError, rate::Rate};
use crate::{clock::Stopwatch, fanout::registry::empty_push, session::codec, usage};

/// Nodes, each an edge and the leader of a home.
const NODES: u64 = 3;
/// Users who change between two looks at what is to be sent.
const CHANGES: u64 = 100;
/// So often it is looked what is to be sent.
const TICK: Duration = Duration::from_millis(50);
const TERM: Term = Term::new(1);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Sessions, each of a user of its own.
    pub sessions: u64,
    /// Contacts of each, all of whom it shows.
    pub contacts: u64,
    /// To subscribe them all, in processor seconds.
    pub subscribe_cpu_s: f64,
    /// Messages between nodes for that.
    pub subscribe_messages: u64,
    /// Changes of users.
    pub changes: u64,
    /// Messages between nodes for each change; what changed at once shares them.
    pub messages_per_change: f64,
    /// Views shown a second of this run, and for each processor second.
    pub delivered: Rate,
    /// The same, told to each watcher by a message of its own.
    pub naive: Rate,
    /// How much less processor time a view takes than by the naive way.
    pub cheaper_by: f64,
    /// Renewals of subscriptions that a node takes for each processor second.
    pub renewals_per_cpu_s: f64,
    /// Processor microseconds of a second in which nobody changes and all is renewed in time, all homes together, without the renewals themselves.
    pub quiet_second_us: f64,
    /// Subscriptions that are looked at in such a second.
    pub quiet_second_looks: f64,
}

/// Seconds that go by quietly, five renewals of each subscription among them.
const QUIET_SECONDS: u64 = 300;

/// Who is a contact of whom: of the neighbours on a ring, strewn over it so that they are at home everywhere.
struct Circle {
    sessions: u64,
    contacts: u64,
}

impl Circle {
    fn user(&self, number: u64) -> UserId {
        UserId::new(1 + number % self.sessions)
    }
    /// As many before as after.
    fn of(&self, number: u64) -> impl Iterator<Item = UserId> + '_ {
        let half = self.contacts / 2;
        (1..=half).flat_map(move |step| [self.user(number + step), self.user(number + self.sessions - step)])
    }
}

impl Rows for Circle {
    type Error = BenchError;
    fn facts(&self, _: UserId) -> Result<Facts, BenchError> {
        Ok(Facts { exists: true, ..Facts::default() })
    }
    fn may_watch(&self, user: UserId, watcher: UserId) -> Result<bool, BenchError> {
        let apart = user.get().abs_diff(watcher.get());
        Ok(apart.min(self.sessions - apart) <= self.contacts / 2)
    }
}

impl Places for Circle {
    fn home(&self, user: UserId) -> Option<GroupId> {
        Some(GroupId::new(1 + (user.get() % NODES) as u32))
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        Some((NodeId::new(u64::from(group.get())), TERM))
    }
}

struct Cluster {
    circle: Circle,
    homes: BTreeMap<GroupId, Home>,
    edges: BTreeMap<NodeId, Edge>,
    now: Duration,
    away: BTreeSet<UserId>,
    delivered: u64,
    messages: u64,
}

/// Measures.
///
/// # Errors
/// A message cannot be read back: a fault of Kith's.
pub fn run(sessions: u64, contacts: u64, seconds: u64) -> Result<Outcome, BenchError> {
    let mut cluster = Cluster::new(Circle { sessions, contacts });
    let cpu = self::cpu();
    let subscribe_messages = cluster.subscribe()?;
    let subscribe_cpu_s = self::cpu() - cpu;

    let (cpu, begun, mut changes) = (self::cpu(), Stopwatch::start(), 0);
    (cluster.delivered, cluster.messages) = (0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        cluster.change(changes)?;
        changes += CHANGES;
    }
    let delivered = Rate::of(cluster.delivered, begun.elapsed().as_secs_f64(), self::cpu() - cpu);
    let messages_per_change = cluster.messages as f64 / changes as f64;

    let (cpu, begun, mut told) = (self::cpu(), Stopwatch::start(), 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        told += naive(&cluster.circle, told)?;
    }
    let naive = Rate::of(told, begun.elapsed().as_secs_f64(), self::cpu() - cpu);

    let cpu = self::cpu();
    let renewals = cluster.renew()?;
    let renewals_per_cpu_s = super::rate::share(renewals as f64, self::cpu() - cpu);
    let (quiet_cpu_s, looks) = cluster.quiet()?;
    let cheaper_by = super::rate::share(delivered.per_cpu_s, naive.per_cpu_s);
    Ok(Outcome {
        sessions,
        contacts,
        subscribe_cpu_s,
        subscribe_messages,
        changes,
        messages_per_change,
        delivered,
        naive,
        cheaper_by,
        renewals_per_cpu_s,
        quiet_second_us: quiet_cpu_s * 1e6 / QUIET_SECONDS as f64,
        quiet_second_looks: looks as f64 / QUIET_SECONDS as f64,
    })
}

fn cpu() -> f64 {
    usage::cpu_seconds(&[std::process::id()])
}

impl Cluster {
    /// All are here, and nobody looks yet.
    fn new(circle: Circle) -> Self {
        let now = Duration::from_secs(1_000);
        let mut homes: BTreeMap<GroupId, Home> = (1..=NODES).map(|id| (GroupId::new(id as u32), Home::new(TERM, GRACE, now))).collect();
        homes.values_mut().for_each(|home| home.handle_heard(&[], now));
        let mut edges: BTreeMap<NodeId, Edge> = (1..=NODES).map(|id| (NodeId::new(id), Edge::default())).collect();
        for number in 0..circle.sessions {
            let user = circle.user(number);
            if let Some(home) = circle.home(user).and_then(|group| homes.get_mut(&group)) {
                home.handle_facts(user, Facts { exists: true, here: true, ..Facts::default() }, now);
                home.handle_live(user, Some(PresenceState::Online), Timestamp::new(1), now);
            }
            // Where somebody is connected has nothing to do with where they are at home.
            if let Some(edge) = edges.get_mut(&NodeId::new(1 + number / 7 % NODES)) {
                edge.handle_open(SessionId::new(number), user);
                edge.handle_screen(SessionId::new(number), &circle.of(number).collect::<Vec<_>>());
            }
        }
        Self { circle, homes, edges, now: now + CALM, away: BTreeSet::new(), delivered: 0, messages: 0 }
    }
    fn subscribe(&mut self) -> Result<u64, BenchError> {
        self.exchange()?;
        self.show();
        Ok(std::mem::take(&mut self.messages))
    }
    /// Edges tell what they have to tell, until there is nothing more.
    fn exchange(&mut self) -> Result<(), BenchError> {
        loop {
            let mut is_quiet = true;
            for (node, edge) in &mut self.edges {
                for asked in edge.poll_asks(&self.circle, self.now) {
                    is_quiet = false;
                    self.messages += 1;
                    let Some(home) = self.homes.get_mut(&asked.group) else { continue };
                    let told = home.handle_watches(*node, &asked.watches, &self.circle, self.now)?;
                    edge.handle_told(&asked, Some(told), self.now);
                }
            }
            if is_quiet {
                return Ok(());
            }
        }
    }
    /// Some users turn away from their devices or come back to them, and whoever looks is shown it.
    fn change(&mut self, from: u64) -> Result<(), BenchError> {
        // Once around all of them takes longer than any calm.
        self.now += TICK.max(CALM.mul_f64(CHANGES as f64 / self.circle.sessions as f64));
        for number in from..from + CHANGES {
            let user = self.circle.user(number.wrapping_mul(7_919));
            let is_away = if self.away.remove(&user) { false } else { self.away.insert(user) };
            let state = if is_away { PresenceState::Away } else { PresenceState::Online };
            if let Some(home) = self.circle.home(user).and_then(|group| self.homes.get_mut(&group)) {
                home.handle_live(user, Some(state), Timestamp::new(1), self.now);
            }
        }
        for (group, home) in &mut self.homes {
            home.handle_timeout(Timestamp::new(1), self.now);
            for (node, push) in home.poll_pushes() {
                self.messages += 1;
                let push = over_the_wire(*group, push)?;
                if let Some(edge) = self.edges.get_mut(&node) {
                    edge.handle_push(*group, (NodeId::new(u64::from(group.get())), TERM), push, self.now);
                }
            }
        }
        self.show();
        Ok(())
    }
    fn show(&mut self) {
        for edge in self.edges.values_mut() {
            for (_, views) in edge.poll_views() {
                self.delivered += views.len() as u64;
                black_box(codec::event(&Event::Presence(views)));
            }
        }
    }
    /// Seconds go by in which nobody changes. Gives the processor time that they took beside renewals, and how many subscriptions were looked at.
    fn quiet(&mut self) -> Result<(f64, u64), BenchError> {
        let looked = |homes: &BTreeMap<GroupId, Home>| homes.values().map(Home::looked).sum::<u64>();
        let (from, nodes) = (looked(&self.homes), (1..=NODES).map(NodeId::new).collect::<Vec<_>>());
        let mut cpu_s = 0.0;
        for second in 0..QUIET_SECONDS {
            self.now += Duration::from_secs(1);
            let cpu = self::cpu();
            for home in self.homes.values_mut() {
                home.handle_heard(&nodes, self.now);
                home.handle_timeout(Timestamp::new(1), self.now);
            }
            cpu_s += self::cpu() - cpu;
            if second % 60 == 0 {
                self.exchange()?;
            }
        }
        Ok((cpu_s, looked(&self.homes) - from))
    }
    /// A minute later each subscription is renewed.
    fn renew(&mut self) -> Result<u64, BenchError> {
        self.now += Duration::from_secs(61);
        let count = self.edges.values().map(|edge| edge.watched() as u64).sum();
        self.exchange()?;
        Ok(count)
    }
}

/// One push as it leaves a node and reaches another.
fn over_the_wire(group: GroupId, push: PresencePush) -> Result<PresencePush, BenchError> {
    let mut frame = empty_push(group, TERM);
    frame.presence = push;
    let bytes = ToPeer::Tell(Tell::Push(frame)).encode();
    match ToPeer::decode(black_box(&bytes)) {
        Ok(ToPeer::Tell(Tell::Push(frame))) => Ok(frame.presence),
        _ => Err(BenchError::Untrue("a push was read as something else".to_owned())),
    }
}

/// One change, told to each contact by a message and a frame of its own; gives how many.
fn naive(circle: &Circle, number: u64) -> Result<u64, BenchError> {
    let user = circle.user(number);
    let mut told = 0;
    for watcher in circle.of(number) {
        if !circle.may_watch(user, watcher)? {
            continue;
        }
        let at = PresenceAt { term: TERM, version: number };
        let view = PresenceView { user, state: PresenceState::Away, last_seen: None, at };
        let push = over_the_wire(GroupId::new(1), PresencePush { views: vec![view], ..PresencePush::default() })?;
        black_box(codec::event(&Event::Presence(push.views)));
        told += 1;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_look_are_shown_each_change_and_an_edge_is_told_once() {
        let mut cluster = Cluster::new(Circle { sessions: 600, contacts: 10 });
        cluster.subscribe().unwrap();
        assert_eq!(cluster.delivered, 6_000, "each is shown its ten");
        (cluster.delivered, cluster.messages) = (0, 0);
        cluster.change(0).unwrap();
        assert_eq!(cluster.delivered, 10 * CHANGES);
        assert!(cluster.messages <= NODES * NODES, "one message from each home to each edge: {}", cluster.messages);
        assert_eq!(naive(&cluster.circle, 1).unwrap(), 10);
        let (_, looked) = cluster.quiet().unwrap();
        assert!(looked <= 600 * NODES * 3, "each subscription once in 150 s: {looked}");
    }
}
