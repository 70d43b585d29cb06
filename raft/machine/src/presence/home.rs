//! The leader's side: who of its users is here, which edges look at them, and what each is to be told.
//!
//! In: how a user's sessions are together, watches of edges, changes of contacts and of private mode, nodes that are heard. Out: one push for each
//! edge, writes of `seen`. Invariants: `shown` is what everybody who may know was told or is about to be; a change rises the count; before
//! all edges have told their sessions, and for the grace after a lost leader, who has no session is unknown, not offline.
//! Bounds: an entry for each user who is here, left within the grace or is looked at; of each user one change in [`super::CALM`].

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use kith_wire::{
    id::{NodeId, Term, Timestamp, UserId},
    limit,
    presence::{PresenceAt, PresencePush, PresenceRight, PresenceState, PresenceTold, PresenceView, PresenceWatch},
};

use super::{CALM, Facts, RENEWED_WITHIN, Rows, WARMING_MAX};

/// Who is here, for one group and term.
#[derive(Debug)]
pub struct Home {
    term: Term,
    begun: Duration,
    grace: Duration,
    count: u64,
    /// From when on who has no session here has none: all edges have told theirs.
    warm: Option<Duration>,
    reported: BTreeSet<NodeId>,
    users: BTreeMap<UserId, Known>,
    /// The subscriptions of each edge.
    edges: BTreeMap<NodeId, BTreeMap<UserId, Renewed>>,
    /// Each subscription once: when it is looked at whether it was renewed. A renewal does not move it.
    ends: BTreeSet<(Duration, NodeId, UserId)>,
    looked: u64,
    due: BTreeSet<(Duration, UserId)>,
    writes: BTreeMap<UserId, Seen>,
    pushes: BTreeMap<NodeId, Pending>,
}

/// What is to be written down of a user: they were here then, and still are or have left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Whether they still are.
    pub here: bool,
    /// When.
    pub at: Timestamp,
}

/// A subscription.
#[derive(Clone, Copy, Debug)]
struct Renewed {
    /// When it last was.
    at: Duration,
    /// Its place in `ends`.
    look_at: Duration,
}

#[derive(Debug)]
struct Known {
    /// How their sessions are together; `None`: there is none.
    live: Option<PresenceState>,
    /// As they were with their last session.
    was: PresenceState,
    /// When that ended, in this term.
    left: Option<(Duration, Timestamp)>,
    facts: Facts,
    shown: PresenceView,
    /// When that last changed.
    changed: Option<Duration>,
    /// Count of the last change of who may look.
    rights: u64,
    edges: BTreeSet<NodeId>,
    due: Option<Duration>,
}

#[derive(Debug, Default)]
struct Pending {
    views: BTreeSet<UserId>,
    rights: BTreeMap<(UserId, UserId), (bool, PresenceAt)>,
    again: bool,
}

impl Home {
    /// A leader that knows nobody yet.
    pub fn new(term: Term, grace: Duration, now: Duration) -> Self {
        Self {
            term,
            begun: now,
            grace,
            count: 0,
            warm: None,
            reported: BTreeSet::new(),
            users: BTreeMap::new(),
            edges: BTreeMap::new(),
            ends: BTreeSet::new(),
            looked: 0,
            due: BTreeSet::new(),
            writes: BTreeMap::new(),
            pushes: BTreeMap::new(),
        }
    }
    /// Whether all edges have told which sessions they have: from then on who is not known is not here.
    pub const fn is_warm(&self) -> bool {
        self.warm.is_some()
    }
    /// Subscriptions, of all edges.
    pub fn subscriptions(&self) -> usize {
        self.edges.values().map(BTreeMap::len).sum()
    }

    /// Subscriptions that were looked at, ever, for whether they have ended: what a second in which nothing happens costs.
    pub const fn looked(&self) -> u64 {
        self.looked
    }

    // ---- inputs

    /// An edge has told all its sessions.
    pub fn handle_reported(&mut self, edge: NodeId) {
        self.reported.insert(edge);
    }
    /// The nodes that are heard now; to be said every second.
    pub fn handle_heard(&mut self, nodes: &[NodeId], now: Duration) {
        if self.warm.is_none() && (now >= self.begun + WARMING_MAX || nodes.iter().all(|node| self.reported.contains(node))) {
            self.warm = Some(now);
            let users: Vec<UserId> = self.users.keys().copied().collect();
            users.into_iter().for_each(|user| self.settle(user, now));
        }
        while let Some((_, edge, user)) = self.ends.first().copied().filter(|(at, ..)| *at <= now) {
            self.ends.pop_first();
            self.looked += 1;
            match self.edges.get_mut(&edge).and_then(|users| users.get_mut(&user)) {
                Some(renewed) if now < renewed.at + RENEWED_WITHIN => {
                    renewed.look_at = renewed.at + RENEWED_WITHIN;
                    self.ends.insert((renewed.look_at, edge, user));
                }
                _ => self.unsubscribe(edge, user, now),
            }
        }
    }
    /// What rows say of a user who comes or is looked at. Of one who is known already only whether they hide: the rest is known better here.
    pub fn handle_facts(&mut self, user: UserId, facts: Facts, now: Duration) {
        match self.users.get_mut(&user) {
            Some(known) => (known.facts.private, known.facts.exists) = (facts.private, facts.exists),
            None => {
                self.count += 1;
                let at = PresenceAt { term: self.term, version: self.count };
                let known = Known {
                    live: None,
                    was: PresenceState::Unknown,
                    left: None,
                    facts,
                    shown: PresenceView { at, ..PresenceView::unknown(user) },
                    changed: None,
                    rights: 0,
                    edges: BTreeSet::new(),
                    due: None,
                };
                self.users.insert(user, known);
            }
        }
        self.refresh(user, now);
    }
    /// How all sessions of a user are together; `None`: there is none. Of who is not known nothing is noted: facts come first.
    pub fn handle_live(&mut self, user: UserId, live: Option<PresenceState>, wall: Timestamp, now: Duration) {
        let Some(known) = self.users.get_mut(&user) else { return };
        match live {
            Some(state) => {
                known.was = state;
                if known.live.replace(state).is_none() {
                    known.left = None;
                    if !known.facts.here {
                        (known.facts.here, known.facts.seen) = (true, wall);
                        self.writes.insert(user, Seen { here: true, at: wall });
                    }
                    let written_for = Duration::from_millis(wall.get().saturating_sub(known.facts.seen.get()));
                    let wait = Duration::from_millis(limit::SEEN_EVERY_MS).saturating_sub(written_for);
                    self.schedule(user, now + wait);
                }
            }
            None if known.live.take().is_some() => {
                known.left = Some((now, wall));
                let at = now + self.grace;
                self.schedule(user, at);
            }
            None => {}
        }
        self.settle(user, now);
    }
    /// Whether all others are to see the user offline. Also said of somebody who was erased.
    pub fn handle_private(&mut self, user: UserId, private: bool, now: Duration) {
        if let Some(known) = self.users.get_mut(&user) {
            known.facts.private = private;
            // At once: who wants to be unseen does not wait for others' calm.
            known.changed = None;
            self.settle(user, now);
        }
    }
    /// Whether a watcher may know how a user is has changed.
    pub fn handle_right(&mut self, user: UserId, watcher: UserId, allowed: bool) {
        let Some(known) = self.users.get_mut(&user).filter(|known| !known.edges.is_empty()) else { return };
        self.count += 1;
        known.rights = self.count;
        let at = PresenceAt { term: self.term, version: self.count };
        for edge in &known.edges {
            self.pushes.entry(*edge).or_default().rights.insert((user, watcher), (allowed, at));
        }
    }
    /// Takes subscriptions of an edge: begun, renewed, ended.
    ///
    /// # Errors
    /// A row cannot be read; what was taken before stays, the rest is to be told again.
    pub fn handle_watches<R: Rows>(&mut self, edge: NodeId, watches: &[PresenceWatch], rows: &R, now: Duration) -> Result<PresenceTold, R::Error> {
        let mut told = PresenceTold::default();
        for watch in watches {
            let user = watch.user;
            if watch.ended {
                self.unsubscribe(edge, user, now);
                continue;
            }
            if !watch.all && !self.edges.get(&edge).is_some_and(|users| users.contains_key(&user)) {
                told.again.push(user);
                continue;
            }
            for watcher in &watch.watchers {
                if !rows.may_watch(user, *watcher)? {
                    told.denied.push((user, *watcher));
                }
            }
            if !self.users.contains_key(&user) {
                self.handle_facts(user, rows.facts(user)?, now);
            }
            self.renew(edge, user, now);
            let Some(known) = self.users.get_mut(&user) else { continue };
            known.edges.insert(edge);
            if !watch.all && watch.rights < (PresenceAt { term: self.term, version: known.rights }) && known.rights > 0 {
                told.again.push(user);
            }
            if known.shown.at != watch.known {
                told.views.push(known.shown);
            }
            if let Some(pending) = self.pushes.get_mut(&edge) {
                pending.views.remove(&user);
            }
        }
        told.at = PresenceAt { term: self.term, version: self.count };
        Ok(told)
    }
    /// An edge is gone: with it all that it looked at. Its sessions are told to [`Home::handle_live`].
    pub fn handle_edge_gone(&mut self, edge: NodeId, now: Duration) {
        self.pushes.remove(&edge);
        self.reported.remove(&edge);
        self.end_all(edge, now);
    }
    /// Who is not of this group any more is told by their new home: here nothing is known of them, and nobody is told so.
    pub fn handle_owned(&mut self, is_own: impl Fn(UserId) -> bool) {
        let gone: Vec<UserId> = self.users.keys().copied().filter(|user| !is_own(*user)).collect();
        for user in gone {
            let Some(known) = self.users.remove(&user) else { continue };
            if let Some(at) = known.due {
                self.due.remove(&(at, user));
            }
            for edge in known.edges {
                self.unsubscribe(edge, user, Duration::ZERO);
            }
        }
        self.writes.retain(|user, _| is_own(*user));
        for pending in self.pushes.values_mut() {
            pending.views.retain(|user| is_own(*user));
            pending.rights.retain(|(user, _), _| is_own(*user));
        }
    }
    /// There may be users whose sessions are not known here: as at the beginning, who has none is unknown until all edges have told theirs.
    pub fn cool(&mut self, now: Duration) {
        (self.begun, self.warm) = (now, None);
        self.reported.clear();
    }
    /// What was pushed to an edge may be lost: it is to tell all that it looks at anew.
    pub fn handle_unsure(&mut self, edge: NodeId, now: Duration) {
        let had = self.edges.get(&edge).is_some_and(|users| !users.is_empty());
        self.end_all(edge, now);
        self.pushes.remove(&edge);
        if had {
            self.pushes.entry(edge).or_default().again = true;
        }
    }
    /// Changes of contacts may have been missed: all edges ask anew who may look.
    pub fn handle_lagged(&mut self, now: Duration) {
        let edges: Vec<NodeId> = self.edges.keys().copied().collect();
        edges.into_iter().for_each(|edge| self.handle_unsure(edge, now));
    }
    /// The time. What is due of each user is done.
    pub fn handle_timeout(&mut self, wall: Timestamp, now: Duration) {
        while let Some((_, user)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            let Some(known) = self.users.get_mut(&user) else { continue };
            known.due = None;
            if known.live.is_some() {
                let next = Duration::from_millis(limit::SEEN_EVERY_MS);
                if wall.get() >= known.facts.seen.get().saturating_add(limit::SEEN_EVERY_MS) {
                    known.facts.seen = wall;
                    self.writes.insert(user, Seen { here: true, at: wall });
                }
                self.schedule(user, now + next);
            }
            self.settle(user, now);
        }
    }
    /// How users are, as somebody may see it who does not look on: one view each, in order.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn read<R: Rows>(&self, asker: UserId, users: &[UserId], rows: &R, now: Duration) -> Result<Vec<PresenceView>, R::Error> {
        let at = PresenceAt { term: self.term, version: self.count };
        let view = |user: &UserId| {
            if !rows.may_watch(*user, asker)? {
                return Ok(PresenceView::hidden(*user));
            }
            Ok(match self.users.get(user) {
                Some(known) => known.shown,
                None => {
                    let (state, last_seen) = self.stands(None, PresenceState::Unknown, None, &rows.facts(*user)?, now);
                    PresenceView { user: *user, state, last_seen, at }
                }
            })
        };
        users.iter().map(view).collect()
    }

    // ---- outputs

    /// What edges are to be told: once each.
    pub fn poll_pushes(&mut self) -> Vec<(NodeId, PresencePush)> {
        let mut pushes = Vec::new();
        for (edge, pending) in std::mem::take(&mut self.pushes) {
            let views = pending.views.iter().filter_map(|user| self.users.get(user)).map(|known| known.shown).collect();
            let right = |((user, watcher), (allowed, at))| PresenceRight { user, watcher, allowed, at };
            let push = PresencePush { views, rights: pending.rights.into_iter().map(right).collect(), circles: Vec::new(), again: pending.again };
            if !push.is_empty() {
                pushes.push((edge, push));
            }
        }
        pushes
    }
    /// What is to be written down: the latest of each user, at most `limit`.
    pub fn poll_writes(&mut self, limit: usize) -> Vec<(UserId, Seen)> {
        std::iter::from_fn(|| self.writes.pop_first()).take(limit).collect()
    }
    /// When [`Home::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    // ---- parts

    /// How a user stands: their state, and when they were last seen if that is to be said.
    fn stands(
        &self,
        live: Option<PresenceState>,
        was: PresenceState,
        left: Option<(Duration, Timestamp)>,
        facts: &Facts,
        now: Duration,
    ) -> (PresenceState, Option<Timestamp>) {
        let seen = (facts.seen > Timestamp::default()).then_some(facts.seen);
        match (live, left) {
            _ if facts.private || !facts.exists => (PresenceState::Offline, None),
            (Some(state), _) => (state, None),
            (None, Some((at, _))) if now < at + self.grace => (was, None),
            (None, Some((_, at))) => (PresenceState::Offline, Some(at)),
            (None, None) => match self.warm {
                // They were here when the leader before was lost. Their last session may have ended as late as its edge told the others.
                Some(warm) if !facts.here || now >= warm + self.grace => (PresenceState::Offline, seen),
                _ => (PresenceState::Unknown, None),
            },
        }
    }
    /// Brings what is shown of a user up to date, and forgets who is of no interest.
    fn settle(&mut self, user: UserId, now: Duration) {
        self.refresh(user, now);
        let Some(known) = self.users.get(&user) else { return };
        let is_idle = known.live.is_none() && known.edges.is_empty() && known.left.is_none_or(|(at, _)| now >= at + self.grace);
        if is_idle
            && let Some(known) = self.users.remove(&user)
            && let Some(at) = known.due
        {
            self.due.remove(&(at, user));
        }
    }
    fn refresh(&mut self, user: UserId, now: Duration) {
        let Some(known) = self.users.get(&user) else { return };
        let (state, last_seen) = self.stands(known.live, known.was, known.left, &known.facts, now);
        let calm_at = known.changed.map(|at| at + CALM).filter(|at| now < *at);
        let over_at = self.over_at(known);
        let is_offline = known.live.is_none() && self.is_warm() && over_at.is_some_and(|at| now >= at);
        let may_return = over_at.filter(|at| known.live.is_none() && now < *at);
        let is_changed = (state, last_seen) != (known.shown.state, known.shown.last_seen);
        let Some(known) = self.users.get_mut(&user) else { return };
        if is_offline && known.facts.here {
            let at = known.left.map_or(known.facts.seen, |(_, at)| at);
            (known.facts.here, known.facts.seen) = (false, at);
            self.writes.insert(user, Seen { here: false, at });
        }
        match calm_at {
            Some(at) if is_changed => self.schedule_by(user, at),
            _ if is_changed => {
                self.count += 1;
                known.shown = PresenceView { user, state, last_seen, at: PresenceAt { term: self.term, version: self.count } };
                known.changed = Some(now);
                for edge in &known.edges {
                    self.pushes.entry(*edge).or_default().views.insert(user);
                }
            }
            _ => {}
        }
        if let Some(at) = may_return {
            self.schedule_by(user, at);
        }
    }
    /// From when on a user without a session is offline; `None`: not known before the home is warm.
    fn over_at(&self, known: &Known) -> Option<Duration> {
        match known.left {
            Some((at, _)) => Some(at + self.grace),
            None if known.facts.here => self.warm.map(|warm| warm + self.grace),
            None => self.warm,
        }
    }
    fn schedule(&mut self, user: UserId, at: Duration) {
        let Some(known) = self.users.get_mut(&user) else { return };
        if let Some(old) = known.due.replace(at) {
            self.due.remove(&(old, user));
        }
        self.due.insert((at, user));
    }
    /// As `schedule`, unless something is due earlier.
    fn schedule_by(&mut self, user: UserId, at: Duration) {
        if self.users.get(&user).is_some_and(|known| known.due.is_none_or(|due| at < due)) {
            self.schedule(user, at);
        }
    }
    fn renew(&mut self, edge: NodeId, user: UserId, now: Duration) {
        let look_at = now + RENEWED_WITHIN;
        match self.edges.entry(edge).or_default().entry(user) {
            Entry::Occupied(mut held) => held.get_mut().at = now,
            Entry::Vacant(none) => {
                none.insert(Renewed { at: now, look_at });
                self.ends.insert((look_at, edge, user));
            }
        }
    }
    fn unsubscribe(&mut self, edge: NodeId, user: UserId, now: Duration) {
        if let Some(users) = self.edges.get_mut(&edge) {
            if let Some(renewed) = users.remove(&user) {
                self.ends.remove(&(renewed.look_at, edge, user));
            }
            if users.is_empty() {
                self.edges.remove(&edge);
            }
        }
        self.leave(edge, user, now);
    }
    fn end_all(&mut self, edge: NodeId, now: Duration) {
        for (user, renewed) in self.edges.remove(&edge).unwrap_or_default() {
            self.ends.remove(&(renewed.look_at, edge, user));
            self.leave(edge, user, now);
        }
    }
    fn leave(&mut self, edge: NodeId, user: UserId, now: Duration) {
        if let Some(known) = self.users.get_mut(&user) {
            known.edges.remove(&edge);
            self.settle(user, now);
        }
    }
}
