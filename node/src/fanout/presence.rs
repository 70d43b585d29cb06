//! Who is here, as this node tells and hears it: the glue of `kith_machine::presence` to registries, links and outboxes.
//!
//! In: sessions of the registry ([`Here`], at a home's leader), screens of this node's sessions ([`Looks`], at an edge), pushes and answers of
//! homes. Out: subscriptions, views into outboxes. Invariant: nothing of it is in the way of records: a view that finds no room in an
//! outbox is shown later, the newest one. Bounds: those of the machines; one subscription message under way to each home. Not here: what
//! a view is and who may have it (kith-machine).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_machine::presence::edge::{Asked, Edge, Places};
use kith_machine::{
    presence::{
        home::{Home, Seen},
        state_of,
    },
    view::{StateView, ViewError},
};
use kith_raft::transport::TransportError;
use kith_wire::{
    client::{Event, Refusal},
    id::{BootEpoch, ChannelId, DeviceId, GroupId, NodeId, Seq, SessionId, Term, Timestamp, UserId},
    limit,
    peer::{Ask, Tell, Told},
    presence::{PresencePush, PresenceRequest, PresenceTold, PresenceView, PresenceWatch},
};
use tokio::sync::{Notify, oneshot};

use super::{
    Fanout, LOOK_EVERY, REGISTER_WITHIN,
    dispatch::Homes,
    lead::Message,
    metrics::FanoutMetrics,
    near::{self, Found},
};
use crate::{clock::Instant, cluster::map::MapVersion, outbox::Pushed, session::codec};

/// Views that found no room in an outbox are tried again so often.
const LATE_EVERY: Duration = Duration::from_secs(1);

// ---------------------------------------------------------------- at a home's leader

/// Who of a group's users is here, as its registry feeds it.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) home: Home,
    begun: Instant,
    /// When it was last brought up to date.
    settled: Duration,
    touched: BTreeSet<UserId>,
}

impl Here {
    pub(super) fn new(term: Term, grace: Duration, now: Instant) -> Self {
        Self { home: Home::new(term, grace, Duration::ZERO), begun: now, settled: Duration::ZERO, touched: BTreeSet::new() }
    }
    /// As the machine counts time.
    pub(super) fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
    /// Sessions of a user changed.
    pub(super) fn touch(&mut self, user: UserId) {
        self.touched.insert(user);
    }
    /// Brings those whose sessions changed up to date; `sessions` says of each session of a user whether nobody sits before it.
    pub(super) fn settle(&mut self, wall: Timestamp, now: Instant, sessions: impl Fn(UserId) -> Vec<bool>) {
        let at = self.at(now);
        self.settled = at;
        for user in std::mem::take(&mut self.touched) {
            self.home.handle_live(user, state_of(sessions(user)), wall, at);
        }
        self.home.handle_timeout(wall, at);
    }
    /// Which users are of this group from now on, and whether some may have come.
    pub(super) fn handle_owned(&mut self, is_own: impl Fn(UserId) -> bool, came: bool, now: Instant) {
        self.home.handle_owned(is_own);
        if came {
            let at = self.at(now);
            self.home.cool(at);
        }
    }
    /// An edge is gone, or has begun anew: nobody looks from there.
    pub(super) fn edge_gone(&mut self, edge: NodeId) {
        self.home.handle_edge_gone(edge, self.settled);
    }
    /// What is to be written down.
    pub(super) fn poll_writes(&mut self, limit: usize) -> Vec<(UserId, Seen)> {
        self.home.poll_writes(limit)
    }
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.home.poll_timeout().map(|at| self.begun + at)
    }
    /// Subscriptions of an edge.
    pub(super) fn handle_watches(
        &mut self,
        edge: NodeId,
        watches: &[PresenceWatch],
        view: &dyn StateView,
        now: Instant,
    ) -> Result<PresenceTold, ViewError> {
        let at = self.at(now);
        self.home.handle_watches(edge, watches, &view, at)
    }
    /// How users are, as somebody sees them who does not look on.
    pub(super) fn read(&self, asker: UserId, users: &[UserId], view: &dyn StateView, now: Instant) -> Result<Vec<PresenceView>, ViewError> {
        self.home.read(asker, users, &view, self.at(now))
    }
}

/// Answers to what edges ask of a home's presence.
pub(crate) type WatchAnswer = oneshot::Sender<Result<PresenceTold, Refusal>>;
/// Answers to who looks once.
pub(crate) type LookAnswer = oneshot::Sender<Result<Vec<PresenceView>, Refusal>>;

// ---------------------------------------------------------------- at an edge

/// What the sessions of this node look at.
#[derive(Debug)]
pub(super) struct Looks {
    begun: Instant,
    edge: Mutex<Edge>,
    stirred: Notify,
}

impl Looks {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, edge: Mutex::default(), stirred: Notify::new() }
    }
    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
    fn lock(&self) -> MutexGuard<'_, Edge> {
        // Nothing that is done under the lock leaves it half changed for long: renewals repair it.
        self.edge.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(super) fn open(&self, session: SessionId, user: UserId) {
        self.lock().handle_open(session, user);
    }
    pub(super) fn close(&self, session: SessionId) {
        self.lock().handle_close(session);
        self.stirred.notify_one();
    }
    pub(super) fn handle_push(&self, group: GroupId, from: (NodeId, Term), push: PresencePush, now: Instant) {
        let at = self.at(now);
        self.lock().handle_push(group, from, push, at);
        self.stirred.notify_one();
    }
    pub(super) fn handle_link_down(&self, node: NodeId, now: Instant) {
        let at = self.at(now);
        self.lock().handle_link_down(node, at);
    }
}

/// Homes as presence asks for them: a leader that is not heard is none.
struct Heard<'a>(&'a dyn Homes);
impl Places for Heard<'_> {
    fn home(&self, user: UserId) -> Option<GroupId> {
        self.0.home(user)
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        self.0.leader(group).filter(|(node, _)| self.0.alive(*node))
    }
}

impl Fanout {
    /// Keeps what this node's sessions look at subscribed, and shows it to them. Runs until it is dropped.
    pub async fn keep_looking(self: Arc<Self>) {
        let mut asks: FuturesUnordered<BoxFuture<'static, (Asked, Option<PresenceTold>)>> = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut version = MapVersion::default();
        let mut late_at = self.clock.instant();
        loop {
            // All branches are cancel safe.
            tokio::select! {
                biased;
                Some((asked, told)) = asks.next(), if !asks.is_empty() => {
                    let at = self.looks.at(self.clock.instant());
                    self.looks.lock().handle_told(&asked, told, at);
                }
                () = self.looks.stirred.notified() => {}
                _ = look.tick() => {}
            }
            let now = self.clock.instant();
            let (views, new) = {
                let mut edge = self.looks.lock();
                let (at, places) = (self.looks.at(now), Heard(&*self.homes));
                let newest = self.homes.map_version();
                if newest != version {
                    version = newest;
                    edge.handle_map(&places, at);
                }
                let new = edge.poll_asks(&places, at);
                if now >= late_at {
                    late_at = now + LATE_EVERY;
                    edge.handle_late();
                }
                let views = edge.poll_views();
                self.metrics.watched.set(edge.watched() as i64);
                (views, new)
            };
            for asked in new {
                let this = self.clone();
                asks.push(Box::pin(async move {
                    let told = this.ask_watch(&asked).await;
                    (asked, told)
                }));
            }
            self.show(views, now);
        }
    }

    /// What a session of this node asks of presence; `false`: not for a session to ask.
    pub(super) fn handle_presence(&self, session: SessionId, asked: &PresenceRequest) -> bool {
        match asked {
            PresenceRequest::Watch { users } => {
                self.looks.lock().handle_screen(session, users);
                self.looks.stirred.notify_one();
            }
            PresenceRequest::SetActivity { active } => {
                if let Some((node, tell)) = self.local.set_away(session, !active)
                    && !self.tell(node, tell)
                {
                    self.local.handle_untold(session);
                }
            }
            PresenceRequest::Get { .. } | PresenceRequest::SetPrivate { .. } => return false,
        }
        true
    }

    /// Answers [`Ask::Watch`] of another node.
    ///
    /// # Errors
    /// `NotLeader`; `Busy`.
    pub async fn handle_watch(&self, from: NodeId, group: GroupId, boot: BootEpoch, watches: Vec<PresenceWatch>) -> Result<Told, Refusal> {
        let told = self.ask_lead(group, |answer| Message::Watch { from, boot, watches, answer }).await?;
        Ok(Told::Watched { group, told })
    }
    /// How users of a group that this node leads are, as somebody may see it.
    ///
    /// # Errors
    /// `NotLeader`; `Busy`.
    pub async fn look(&self, group: GroupId, asker: UserId, users: Vec<UserId>) -> Result<Vec<PresenceView>, Refusal> {
        self.ask_lead(group, |answer| Message::Look { asker, users, answer }).await
    }

    /// Tells the leaders of groups that all sessions of this node are registered with them.
    pub(super) fn tell_registered(&self, told: &mut (BTreeMap<GroupId, (NodeId, Term)>, MapVersion)) {
        let version = self.homes.map_version();
        if std::mem::replace(&mut told.1, version) != version {
            // Whoever took users over waits to hear of theirs.
            told.0.clear();
        }
        let told = &mut told.0;
        for group in self.homes.groups() {
            let Some(leader) = self.homes.leader(group).filter(|(node, _)| self.homes.alive(*node)) else { continue };
            if told.get(&group) != Some(&leader)
                && self.local.is_registered(group, leader)
                && self.tell(leader.0, Tell::RegisteredAll { group, term: leader.1, boot: self.boot })
            {
                told.insert(group, leader);
            }
        }
    }

    async fn ask_watch(&self, asked: &Asked) -> Option<PresenceTold> {
        let (to, group, watches) = (asked.leader.0, asked.group, asked.watches.clone());
        self.metrics.watches.inc_by(watches.len() as u64);
        if to == self.node {
            let told = self.ask_lead(group, |answer| Message::Watch { from: to, boot: self.boot, watches, answer });
            return tokio::time::timeout(REGISTER_WITHIN, told).await.ok()?.ok();
        }
        let ask = Ask::Watch { group, boot: self.boot, watches };
        let told = tokio::select! {
            told = self.links.ask(to, ask, REGISTER_WITHIN) => told,
            () = self.succeeded(group, to) => Err(TransportError::Lost(to)),
        };
        match told {
            Ok(Told::Watched { told, .. }) => Some(told),
            _ => None,
        }
    }
    /// How near devices of a group that this node leads are.
    ///
    /// # Errors
    /// `NotLeader`; `Busy`.
    pub async fn near(&self, group: GroupId, asked: Vec<near::Asked>) -> Result<Vec<Found>, Refusal> {
        self.ask_lead(group, |answer| Message::Near { asked, answer }).await
    }
    /// A device says that it has a conversation up to there. Its home hears of it if the device is pushed to.
    pub fn confirm(&self, user: UserId, device: DeviceId, channel: ChannelId, seq: Seq) {
        if let Some((node, group)) = self.local.pushed(user, device) {
            // One that is lost leaves the push to what else is known of the device.
            self.tell(node, Tell::Confirmed { group, user, device, channel, seq });
        }
    }

    /// Puts views into outboxes.
    fn show(&self, all: Vec<(SessionId, Vec<PresenceView>)>, now: Instant) {
        for (session, views) in all {
            for views in views.chunks(limit::PRESENCE_EVENT_MAX) {
                let frame = codec::event(&Event::Presence(views.to_vec()));
                match self.local.push(session, frame, now) {
                    Some(Pushed::Queued) => note_shown(&self.metrics, views.len()),
                    Some(_) => self.looks.lock().handle_untold(session, views),
                    None => {}
                }
            }
        }
    }
}

fn note_shown(metrics: &FanoutMetrics, views: usize) {
    metrics.presence_events.inc();
    metrics.presence_views.inc_by(views as u64);
}
