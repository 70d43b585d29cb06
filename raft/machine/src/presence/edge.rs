//! An edge's side: what its sessions look at, one subscription for each user, and what each session is to be shown.
//!
//! In: sessions, their screens, what homes say, who leads them. Out: subscriptions to tell, views for sessions. Invariants: a session is shown a
//! view once; whoever may not know is shown "offline", and nothing before the home has said whether they may; while a home finds out,
//! sessions are shown what was known last, for [`super::HOLD`] at most. Bounds: `limit::WATCHES_MAX` users of a screen, and the contacts
//! of its user where a cluster shows them all; one message under way to each home. Not here: who may know (`home`), outboxes (the node).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kith_wire::{
    id::{GroupId, NodeId, SessionId, Term, Timestamp, UserId},
    limit,
    presence::{PresenceAt, PresencePush, PresenceState, PresenceTold, PresenceView, PresenceWatch},
};

use super::{HOLD, RENEW_EVERY};

/// First and longest wait before what a home did not take is told again.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Subscriptions of one message.
const WATCHES_PER_MESSAGE: usize = 1_000;

/// Who is home where, and who leads.
pub trait Places {
    /// The group that holds a user; `None` while there is no map.
    fn home(&self, user: UserId) -> Option<GroupId>;
    /// Who leads a group, as far as known, and is heard.
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)>;
}

/// What the sessions of one edge look at.
#[derive(Debug, Default)]
pub struct Edge {
    sessions: BTreeMap<SessionId, Viewer>,
    watchers: BTreeMap<UserId, Watcher>,
    watched: BTreeMap<UserId, Watched>,
    homes: BTreeMap<GroupId, Home>,
    /// Whose home is not known yet.
    homeless: BTreeSet<UserId>,
    due: BTreeSet<(Duration, UserId)>,
    ready: BTreeMap<SessionId, BTreeSet<UserId>>,
    /// What sessions could not take.
    late: BTreeMap<SessionId, BTreeSet<UserId>>,
}

/// Subscriptions to be told to a home's leader; ends with [`Edge::handle_told`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The home group.
    pub group: GroupId,
    /// Who leads it.
    pub leader: (NodeId, Term),
    /// What to tell.
    pub watches: Vec<PresenceWatch>,
    /// How often the home had been in doubt when this was asked.
    doubts: u64,
}

#[derive(Debug)]
struct Viewer {
    user: UserId,
    screen: BTreeSet<UserId>,
}

/// A user of this edge who looks at others.
#[derive(Debug, Default)]
struct Watcher {
    sessions: BTreeSet<SessionId>,
    /// All their contacts, where every contact is shown.
    circle: BTreeSet<UserId>,
}

type Shown = (PresenceState, Option<Timestamp>);

/// A user who is looked at here.
#[derive(Default, Debug)]
struct Watched {
    home: Option<GroupId>,
    /// The leader that knows of the subscription.
    with: Option<(NodeId, Term)>,
    /// Who looks, and what each was shown last.
    sessions: BTreeMap<SessionId, Option<Shown>>,
    rights: BTreeMap<UserId, Right>,
    /// Up to here all changes of rights are known.
    rights_at: PresenceAt,
    /// What is shown; `None`: nothing was heard yet.
    view: Option<PresenceView>,
    /// The last that the home said, which may be that it does not know.
    known: PresenceAt,
    /// Since when it is not known whether `view` still holds.
    unsure: Option<Duration>,
    /// The home said that it does not know, and has not said otherwise since.
    is_unknown: bool,
    renew_at: Option<Duration>,
    due: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Right {
    allowed: Option<bool>,
    at: PresenceAt,
    /// The leader that was asked.
    with: Option<(NodeId, Term)>,
}

#[derive(Debug)]
struct Home {
    leader: Option<(NodeId, Term)>,
    users: BTreeSet<UserId>,
    queue: BTreeSet<UserId>,
    ended: BTreeSet<UserId>,
    doubts: u64,
    asking: bool,
    retry_at: Option<Duration>,
    backoff: Duration,
}

impl Edge {
    // ---- sessions

    /// A session of a user.
    pub fn handle_open(&mut self, session: SessionId, user: UserId) {
        self.sessions.insert(session, Viewer { user, screen: BTreeSet::new() });
        self.watchers.entry(user).or_default().sessions.insert(session);
    }
    /// It has ended.
    pub fn handle_close(&mut self, session: SessionId) {
        let Some(viewer) = self.sessions.remove(&session) else { return };
        self.ready.remove(&session);
        self.late.remove(&session);
        let Some(watcher) = self.watchers.get_mut(&viewer.user) else { return };
        watcher.sessions.remove(&session);
        let circle =
            if watcher.sessions.is_empty() { self.watchers.remove(&viewer.user).map(|gone| gone.circle) } else { Some(watcher.circle.clone()) };
        for user in viewer.screen.union(&circle.unwrap_or_default()) {
            self.look_away(session, viewer.user, *user);
        }
    }
    /// What a session shows from now on, in the place of what it showed; more than `limit::WATCHES_MAX` are left out.
    pub fn handle_screen(&mut self, session: SessionId, users: &[UserId]) {
        let Some(viewer) = self.sessions.get_mut(&session) else { return };
        let watcher = viewer.user;
        let screen: BTreeSet<UserId> = users.iter().copied().take(limit::WATCHES_MAX).collect();
        let old = std::mem::replace(&mut viewer.screen, screen.clone());
        let circle = self.watchers.get(&watcher).map(|watcher| watcher.circle.clone()).unwrap_or_default();
        for user in old.difference(&screen).filter(|user| !circle.contains(user)) {
            self.look_away(session, watcher, *user);
        }
        for user in &screen {
            self.look_at(session, watcher, *user);
        }
    }
    /// All contacts of a user with sessions here, where every contact is shown every change.
    pub fn handle_circle(&mut self, user: UserId, contacts: &[UserId]) {
        let Some(watcher) = self.watchers.get_mut(&user) else { return };
        let circle: BTreeSet<UserId> = contacts.iter().copied().collect();
        let old = std::mem::replace(&mut watcher.circle, circle.clone());
        let sessions = watcher.sessions.clone();
        for session in sessions {
            let screen = self.sessions.get(&session).map(|viewer| viewer.screen.clone()).unwrap_or_default();
            for gone in old.difference(&circle).filter(|gone| !screen.contains(gone)) {
                self.look_away(session, user, *gone);
            }
            for peer in &circle {
                self.look_at(session, user, *peer);
            }
        }
    }
    /// What a session could not take: it is shown the newest after [`Edge::handle_late`].
    pub fn handle_untold(&mut self, session: SessionId, views: &[PresenceView]) {
        for view in views {
            if let Some(told) = self.watched.get_mut(&view.user).and_then(|watched| watched.sessions.get_mut(&session)) {
                *told = None;
                self.late.entry(session).or_default().insert(view.user);
            }
        }
    }
    /// What sessions could not take is tried again.
    pub fn handle_late(&mut self) {
        for (session, users) in std::mem::take(&mut self.late) {
            self.ready.entry(session).or_default().extend(users);
        }
    }

    // ---- homes

    /// A home has said what is new of its users. The sender's term was checked to be none that has ended.
    pub fn handle_push(&mut self, group: GroupId, from: (NodeId, Term), push: PresencePush, now: Duration) {
        for view in push.views {
            if self.is_of(view.user, group) {
                self.take_view(view, now);
            }
        }
        for right in push.rights {
            if self.is_of(right.user, group) {
                self.take_right(right.user, right.watcher, right.allowed, right.at, None);
                if let Some(watched) = self.watched.get_mut(&right.user) {
                    watched.rights_at = watched.rights_at.max(right.at);
                }
            }
        }
        for (user, contacts) in push.circles {
            self.handle_circle(user, &contacts);
        }
        if push.again && self.homes.get(&group).is_some_and(|home| home.leader.is_none_or(|(_, term)| term <= from.1)) {
            self.handle_doubt(group, now);
        }
    }
    /// What a home said last may be lost: all that is looked at there is told anew.
    pub fn handle_doubt(&mut self, group: GroupId, now: Duration) {
        let Some(home) = self.homes.get_mut(&group) else { return };
        home.queue.clone_from(&home.users);
        home.doubts += 1;
        let users: Vec<UserId> = home.users.iter().copied().collect();
        for user in users {
            if let Some(watched) = self.watched.get_mut(&user) {
                watched.forget(now);
            }
            self.schedule(user);
        }
    }
    /// Homes whose leader this node was are in doubt.
    pub fn handle_link_down(&mut self, node: NodeId, now: Duration) {
        let of = |home: &Home| home.leader.is_some_and(|(leader, _)| leader == node);
        let groups: Vec<GroupId> = self.homes.iter().filter(|(_, home)| of(home)).map(|(group, _)| *group).collect();
        groups.into_iter().for_each(|group| self.handle_doubt(group, now));
    }
    /// The map changed: users may have other homes now.
    pub fn handle_map(&mut self, places: &dyn Places, now: Duration) {
        let moved: Vec<UserId> = self.watched.iter().filter(|(user, watched)| places.home(**user) != watched.home).map(|(user, _)| *user).collect();
        for user in moved {
            self.leave_home(user);
            if let Some(watched) = self.watched.get_mut(&user) {
                watched.forget(now);
                // Terms of another group do not compare.
                (watched.known, watched.rights_at) = Default::default();
                watched.rights.values_mut().for_each(|right| right.at = PresenceAt::default());
                self.homeless.insert(user);
            }
            self.schedule(user);
        }
    }
    /// What to tell homes now.
    pub fn poll_asks(&mut self, places: &dyn Places, now: Duration) -> Vec<Asked> {
        self.find_homes(places);
        self.take_due(now);
        let mut asks = Vec::new();
        let groups: Vec<GroupId> = self.homes.keys().copied().collect();
        for group in groups {
            let found = places.leader(group);
            let Some(home) = self.homes.get_mut(&group) else { continue };
            let is_new = found.is_some_and(|new| home.leader.is_none_or(|old| old != new && old.1 <= new.1));
            if is_new {
                (home.leader, home.retry_at, home.backoff) = (found, None, RETRY.0);
            }
            if is_new || (found.is_none() && home.leader.is_some()) {
                if found.is_none() {
                    home.leader = None;
                }
                self.handle_doubt(group, now);
            }
            let Some(home) = self.homes.get_mut(&group) else { continue };
            let Some(leader) = home.leader.filter(|leader| found == Some(*leader)) else { continue };
            if home.asking || home.retry_at.is_some_and(|at| now < at) {
                continue;
            }
            let watches = Self::watches(home, &self.watched, leader);
            if !watches.is_empty() {
                home.asking = true;
                let doubts = home.doubts;
                asks.push(Asked { group, leader, watches, doubts });
            } else if home.users.is_empty() {
                self.homes.remove(&group);
            }
        }
        asks
    }
    /// What came of it; `None`: it was not taken.
    pub fn handle_told(&mut self, asked: &Asked, told: Option<PresenceTold>, now: Duration) {
        let Some(home) = self.homes.get_mut(&asked.group) else { return };
        home.asking = false;
        if home.leader != Some(asked.leader) {
            return;
        }
        let Some(told) = told else {
            home.queue.extend(asked.watches.iter().filter(|watch| home.users.contains(&watch.user)).map(|watch| watch.user));
            home.ended.extend(asked.watches.iter().filter(|watch| watch.ended && !home.users.contains(&watch.user)).map(|watch| watch.user));
            home.retry_at = Some(now + home.backoff);
            home.backoff = (home.backoff * 2).min(RETRY.1);
            return;
        };
        (home.retry_at, home.backoff) = (None, RETRY.0);
        // In doubt since: what the home says is good, but it may have been lost what came after.
        let is_whole = home.doubts == asked.doubts;
        let denied: BTreeSet<(UserId, UserId)> = told.denied.into_iter().collect();
        let again: BTreeSet<UserId> = told.again.into_iter().collect();
        for watch in asked.watches.iter().filter(|watch| !watch.ended) {
            let user = watch.user;
            for watcher in &watch.watchers {
                self.take_right(user, *watcher, !denied.contains(&(user, *watcher)), told.at, Some(asked.leader));
            }
            let Some(watched) = self.watched.get_mut(&user) else { continue };
            if again.contains(&user) || !is_whole {
                watched.with = None;
                watched.rights.values_mut().for_each(|right| right.with = None);
            } else {
                watched.with = Some(asked.leader);
                if watch.all {
                    watched.rights_at = told.at;
                }
                // Whatever it knew is confirmed, unless that was that it does not know.
                if watched.known == watch.known && !watched.is_unknown {
                    watched.unsure = None;
                }
                // Spread, so that a minute after a leader was lost not all are renewed at once.
                let spread = Duration::from_millis(user.get() % 10_000);
                watched.renew_at = Some(now + RENEW_EVERY - spread);
            }
            let has_more = watched.with.is_none() || watched.rights.values().any(|right| right.with != watched.with);
            if has_more && let Some(home) = self.homes.get_mut(&asked.group) {
                home.queue.insert(user);
            }
            self.schedule(user);
        }
        for view in told.views {
            if self.is_of(view.user, asked.group) {
                self.take_view(view, now);
            }
        }
    }

    // ---- what sessions are shown

    /// What sessions are to be shown now, once: users who changed since they were shown last.
    pub fn poll_views(&mut self) -> Vec<(SessionId, Vec<PresenceView>)> {
        let mut all = Vec::new();
        for (session, users) in std::mem::take(&mut self.ready) {
            let Some(viewer) = self.sessions.get(&session) else { continue };
            let mut views = Vec::new();
            for user in users {
                let Some(watched) = self.watched.get_mut(&user) else { continue };
                let Some(view) = watched.seen_by(viewer.user) else { continue };
                let Some(told) = watched.sessions.get_mut(&session) else { continue };
                let shown = (view.state, view.last_seen);
                if told.replace(shown) != Some(shown) {
                    views.push(view);
                }
            }
            if !views.is_empty() {
                all.push((session, views));
            }
        }
        all
    }
    /// Whether [`Edge::poll_views`] may have something.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
    /// When [`Edge::poll_asks`] is due at the latest, beside each change.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let retries = self.homes.values().filter(|home| !home.queue.is_empty() || !home.ended.is_empty()).filter_map(|home| home.retry_at);
        self.due.first().map(|(at, _)| *at).into_iter().chain(retries).min()
    }
    /// Users who are looked at here: as many subscriptions.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    // ---- parts

    fn look_at(&mut self, session: SessionId, watcher: UserId, user: UserId) {
        let homeless = &mut self.homeless;
        let watched = self.watched.entry(user).or_insert_with(|| {
            homeless.insert(user);
            Watched::default()
        });
        if watched.sessions.contains_key(&session) {
            return;
        }
        watched.sessions.insert(session, None);
        let home = watched.home;
        let mut is_new = false;
        watched.rights.entry(watcher).or_insert_with(|| {
            is_new = true;
            Right::default()
        });
        self.ready.entry(session).or_default().insert(user);
        if is_new && let Some(home) = home.and_then(|home| self.homes.get_mut(&home)) {
            home.queue.insert(user);
        }
    }
    fn look_away(&mut self, session: SessionId, watcher: UserId, user: UserId) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        watched.sessions.remove(&session);
        if let Some(users) = self.ready.get_mut(&session) {
            users.remove(&user);
        }
        let still = self.watchers.get(&watcher).is_some_and(|watcher| watcher.sessions.iter().any(|other| watched.sessions.contains_key(other)));
        if !still {
            watched.rights.remove(&watcher);
        }
        if !watched.sessions.is_empty() {
            return;
        }
        let was_told = watched.with.is_some();
        let home = watched.home;
        self.leave_home(user);
        self.homeless.remove(&user);
        if let Some(at) = self.watched.remove(&user).and_then(|watched| watched.due) {
            self.due.remove(&(at, user));
        }
        if let Some(home) = home.and_then(|home| self.homes.get_mut(&home))
            && (was_told || home.asking)
        {
            home.ended.insert(user);
        }
    }
    fn leave_home(&mut self, user: UserId) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        if let Some(home) = watched.home.take().and_then(|home| self.homes.get_mut(&home)) {
            home.users.remove(&user);
            home.queue.remove(&user);
        }
    }
    fn find_homes(&mut self, places: &dyn Places) {
        if self.homeless.is_empty() {
            return;
        }
        let Self { homeless, watched, homes, .. } = self;
        homeless.retain(|user| {
            let (Some(watched), Some(group)) = (watched.get_mut(user), places.home(*user)) else { return watched.contains_key(user) };
            watched.home = Some(group);
            let home = homes.entry(group).or_default();
            home.users.insert(*user);
            home.queue.insert(*user);
            home.ended.remove(user);
            false
        });
    }
    fn take_due(&mut self, now: Duration) {
        while let Some((_, user)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            let Some(watched) = self.watched.get_mut(&user) else { continue };
            watched.due = None;
            if watched.renew_at.take_if(|at| *at <= now).is_some()
                && let Some(home) = watched.home.and_then(|home| self.homes.get_mut(&home))
            {
                home.queue.insert(user);
            }
            if watched.unsure.is_some_and(|since| now >= since + HOLD) {
                watched.unsure = None;
                watched.view = Some(PresenceView { at: watched.known, ..PresenceView::unknown(user) });
                self.show(user);
            }
            self.schedule(user);
        }
    }
    fn watches(home: &mut Home, all: &BTreeMap<UserId, Watched>, leader: (NodeId, Term)) -> Vec<PresenceWatch> {
        let mut watches = Vec::new();
        let mut room = limit::WATCHERS_PER_MESSAGE;
        while watches.len() < WATCHES_PER_MESSAGE
            && let Some(user) = home.ended.pop_first()
        {
            if !home.users.contains(&user) {
                let (known, rights) = Default::default();
                watches.push(PresenceWatch { user, known, rights, watchers: Vec::new(), all: true, ended: true });
            }
        }
        while watches.len() < WATCHES_PER_MESSAGE
            && room > 0
            && let Some(user) = home.queue.pop_first()
        {
            let Some(watched) = all.get(&user) else { continue };
            let is_new = watched.with != Some(leader);
            let open = watched.rights.iter().filter(|(_, right)| is_new || right.with != Some(leader));
            let watchers: Vec<UserId> = open.map(|(watcher, _)| *watcher).take(room).collect();
            room -= watchers.len();
            watches.push(PresenceWatch { user, known: watched.known, rights: watched.rights_at, watchers, all: is_new, ended: false });
        }
        watches
    }
    fn is_of(&self, user: UserId, group: GroupId) -> bool {
        self.watched.get(&user).is_some_and(|watched| watched.home == Some(group))
    }
    fn take_view(&mut self, view: PresenceView, now: Duration) {
        let Some(watched) = self.watched.get_mut(&view.user) else { return };
        if view.at <= watched.known {
            return;
        }
        watched.known = view.at;
        watched.is_unknown = view.state == PresenceState::Unknown;
        let is_held = watched.is_unknown && watched.view.is_some_and(|old| old.state != PresenceState::Unknown);
        if is_held {
            watched.unsure.get_or_insert(now);
            return self.schedule(view.user);
        }
        watched.unsure = None;
        watched.view = Some(view);
        self.show(view.user);
    }
    fn take_right(&mut self, user: UserId, watcher: UserId, allowed: bool, at: PresenceAt, with: Option<(NodeId, Term)>) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        let Some(right) = watched.rights.get_mut(&watcher) else { return };
        right.with = with.or(right.with);
        if at < right.at {
            return;
        }
        right.at = at;
        if right.allowed.replace(allowed) == Some(allowed) {
            return;
        }
        let sessions = self.watchers.get(&watcher).into_iter().flat_map(|watcher| &watcher.sessions);
        for session in sessions.filter(|session| watched.sessions.contains_key(session)) {
            self.ready.entry(*session).or_default().insert(user);
        }
    }
    /// A user's view changed: all sessions that look may be shown it.
    fn show(&mut self, user: UserId) {
        let Some(watched) = self.watched.get(&user) else { return };
        for session in watched.sessions.keys() {
            self.ready.entry(*session).or_default().insert(user);
        }
    }
    fn schedule(&mut self, user: UserId) {
        let Some(watched) = self.watched.get_mut(&user) else { return };
        let next = watched.renew_at.into_iter().chain(watched.unsure.map(|since| since + HOLD)).min();
        if watched.due == next {
            return;
        }
        if let Some(old) = watched.due {
            self.due.remove(&(old, user));
        }
        watched.due = next;
        if let Some(at) = next {
            self.due.insert((at, user));
        }
    }
}

impl Watched {
    /// Nobody is known to know of the subscription any more.
    fn forget(&mut self, now: Duration) {
        self.with = None;
        self.rights.values_mut().for_each(|right| right.with = None);
        if self.view.is_some_and(|view| view.state != PresenceState::Unknown) {
            self.unsure.get_or_insert(now);
        }
    }
    /// What a watcher may see; `None`: not known yet.
    fn seen_by(&self, watcher: UserId) -> Option<PresenceView> {
        let view = self.view?;
        match self.rights.get(&watcher)?.allowed? {
            true => Some(view),
            false => Some(PresenceView::hidden(view.user)),
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self {
            leader: None,
            users: BTreeSet::new(),
            queue: BTreeSet::new(),
            ended: BTreeSet::new(),
            doubts: 0,
            asking: false,
            retry_at: None,
            backoff: RETRY.0,
        }
    }
}
