//! From a committed record to screens: by refs, in three roles that a node has at once.
//!
//! In: leadership begun and ended, frames of other nodes, sessions. Out: the same kinds of frames; a node talks to itself as to others,
//! without the network. [`dispatch`]: leader of a channel's group, owes refs to the homes of its members. [`registry`]: leader of a home
//! group, knows sessions and commits refs to user indexes. [`local`]: edge, puts frames into outboxes. [`lead`]: runs the first two.
//! [`presence`]: who is here, on both sides.
//! Invariant: a live push may be lost, a ref may not: it is owed by a dirty row until every home has committed it.
//! Bounds: in each part. Not here: links (`peer`), who leads (`leadership`, `router`), the streams of clients (`session`).

pub mod dispatch;
pub mod lead;
pub mod local;
pub mod metrics;
pub mod near;
pub mod presence;
pub mod registry;
pub mod seat;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_machine::mutant::Quirk;
use kith_raft::{
    failpoint::FailPoints,
    transport::{PeerTransport, TransportError},
};
use kith_wire::{
    client::Refusal,
    code::{Code, Retry},
    id::{BootEpoch, ChannelId, GroupId, NodeId, SessionId, Term, UserId},
    peer::{Ask, ChannelRefs, Registration, Tell, Told},
    presence::PresenceRequest,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use self::{dispatch::Homes, lead::Seat, local::Local};
use self::{
    lead::{INBOX_MAX, Lead, Message, RegisterOutcome, Waiting, give},
    local::Reregister,
    metrics::{FanoutMetrics, FanoutReject},
    presence::Looks,
};
use crate::{
    clock::SharedClock,
    cluster::{files::PresenceSettings, map::MapVersion},
    outbox::Outbox,
    router::{refuse, refuse_for},
    session::{Sessions, Whose, machine::Registered},
    supervise::Tasks,
};

/// A node waits at most so long for another to register sessions.
const REGISTER_WITHIN: Duration = Duration::from_secs(3);
/// A new session waits at most so long for a leader of its home.
const OPEN_WITHIN: Duration = Duration::from_secs(8);
/// Between two looks at who leads the homes of this node's sessions.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct FanoutOptions {
    /// Refs wait at least so long at the home leader to be merged with others. Default 50 ms; at most 1 s.
    pub round_wait: Duration,
    /// How presence is told; the same on all nodes.
    pub presence: PresenceSettings,
    /// What is wrong with this node; an empty value without the feature.
    pub quirk: Quirk,
}
impl Default for FanoutOptions {
    fn default() -> Self {
        Self { round_wait: Duration::from_millis(50), presence: PresenceSettings::default(), quirk: Quirk::default() }
    }
}

/// Fan-out of a node.
pub struct Fanout {
    node: NodeId,
    boot: BootEpoch,
    links: Arc<dyn PeerTransport>,
    homes: Arc<dyn Homes>,
    clock: SharedClock,
    local: Local,
    looks: Looks,
    leads: Mutex<HashMap<GroupId, Led>>,
    breaks: Mutex<HashMap<NodeId, u64>>,
    options: FanoutOptions,
    fail_points: FailPoints,
    metrics: Arc<FanoutMetrics>,
}

#[derive(Debug)]
struct Led {
    term: Term,
    inbox: mpsc::Sender<Waiting>,
    cancel: CancellationToken,
}

/// What the node gives to its fan-out.
pub struct FanoutParts {
    /// This node.
    pub node: NodeId,
    /// Which start of it this is.
    pub boot: BootEpoch,
    /// Links to other nodes.
    pub links: Arc<dyn PeerTransport>,
    /// Who is home where, and who leads.
    pub homes: Arc<dyn Homes>,
    /// Time.
    pub clock: SharedClock,
    /// Choices.
    pub options: FanoutOptions,
    /// For tests.
    pub fail_points: FailPoints,
    /// Counters.
    pub metrics: Arc<FanoutMetrics>,
}

impl Fanout {
    /// Neither leads nor holds sessions yet.
    pub fn new(parts: FanoutParts) -> Arc<Self> {
        Arc::new(Self {
            node: parts.node,
            boot: parts.boot,
            links: parts.links,
            homes: parts.homes,
            local: Local::new(parts.boot, parts.metrics.clone()),
            looks: Looks::new(parts.clock.instant()),
            clock: parts.clock,
            leads: Mutex::default(),
            breaks: Mutex::default(),
            options: parts.options,
            fail_points: parts.fail_points,
            metrics: parts.metrics,
        })
    }
    /// The sessions of this node.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// This node leads a group from now on: runs its duty among `tasks` until [`Fanout::end`] or the end of the tasks.
    pub fn begin(self: &Arc<Self>, seat: Arc<dyn Seat>, term: Term, tasks: &Tasks) {
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let cancel = tasks.cancelled().child_token();
        let led = Led { term, inbox, cancel: cancel.clone() };
        if let Some(old) = self.leads().insert(seat.group(), led) {
            old.cancel.cancel();
        }
        let lead = Lead::new(self.clone(), seat, term, messages);
        tasks.spawn_finishing("fanout.lead", async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = lead.run() => {}
            }
        });
    }
    /// It no longer does.
    pub fn end(&self, group: GroupId, term: Term) {
        let mut leads = self.leads();
        if leads.get(&group).is_some_and(|led| led.term == term)
            && let Some(led) = leads.remove(&group)
        {
            led.cancel.cancel();
        }
    }
    /// Keeps this node's sessions registered with their home leaders. Runs until it is dropped.
    pub async fn keep_registered(self: Arc<Self>) {
        let mut asks: FuturesUnordered<BoxFuture<'static, (Reregister, RegisterOutcome)>> = FuturesUnordered::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told_all = (BTreeMap::new(), MapVersion::default());
        loop {
            // Both branches are cancel safe.
            tokio::select! {
                biased;
                _ = look.tick() => {}
                Some((asked, outcome)) = asks.next(), if !asks.is_empty() => {
                    self.local.handle_reregistered(&asked, outcome, self.clock.instant());
                }
            }
            for stale in self.local.poll_stale(&*self.homes, self.clock.instant()) {
                tracing::info!(group = %stale.group, peer = %stale.leader.0, term = %stale.leader.1, sessions = stale.sessions.len(), "fanout.reregister");
                let this = self.clone();
                asks.push(Box::pin(async move {
                    let outcome = this.ask_register(stale.leader.0, stale.group, stale.sessions.clone()).await;
                    (stale, outcome)
                }));
            }
            self.tell_registered(&mut told_all);
        }
    }

    /// Takes news of another node. Never blocks; what is not for fan-out is ignored.
    pub fn handle_tell(&self, from: NodeId, tell: Tell) {
        match tell {
            Tell::Refs(frame) => {
                let mut by_home: BTreeMap<GroupId, Vec<ChannelRefs>> = BTreeMap::new();
                for news in frame.channels {
                    by_home.entry(news.home).or_default().push(news);
                }
                for (home, news) in by_home {
                    self.give(home, Message::Refs { from, source: frame.source, news });
                }
            }
            Tell::RefsKept(kept) => self.give(kept.source, Message::Kept(kept)),
            Tell::Push(frame) => {
                let (home, term, now) = (frame.home, frame.term, self.clock.instant());
                if let Some(presence) = self.local.handle_push(from, frame, now).filter(|presence| !presence.is_empty()) {
                    self.looks.handle_push(home, (from, term), presence, now);
                }
            }
            Tell::RegisteredAll { group, term, boot } => self.give(group, Message::Reported { from, term, boot }),
            Tell::Confirmed { group, user, device, channel, seq } => self.give(group, Message::Confirmed { asked: (user, channel, device), seq }),
            Tell::Activity { group, user, session, away } => self.give(group, Message::Activity { from, user, session, away }),
            Tell::Unregister { group, user, device, session } => self.give(group, Message::Unregister { from, user, device, session }),
            Tell::Append(_) | Tell::AppendEnd { .. } | Tell::Beat(_) => {}
        }
    }
    /// A member types in a channel of a group that this node leads: told to the others' screens, or dropped.
    pub fn handle_typing(&self, group: GroupId, channel: ChannelId, user: UserId, others: Arc<[UserId]>) {
        self.give(group, Message::Typing { channel, user, others });
    }
    /// Answers [`Ask::Register`] of another node.
    ///
    /// # Errors
    /// `NotLeader` with a hint; `Busy`.
    pub async fn handle_register(&self, from: NodeId, group: GroupId, boot: BootEpoch, sessions: Vec<Registration>) -> Result<Told, Refusal> {
        let (term, sessions) = self.register_here(from, group, boot, sessions).await?;
        Ok(Told::Registered { group, term, sessions })
    }
    /// Takes the loss of the link to a node: its pushes may be lost, and so may ours to it.
    pub fn handle_link_down(&self, node: NodeId) {
        *self.lock_breaks().entry(node).or_default() += 1;
        self.local.handle_link_down(node);
        self.looks.handle_link_down(node, self.clock.instant());
    }
    /// How often a link to or from a node was lost.
    fn breaks(&self, node: NodeId) -> u64 {
        self.lock_breaks().get(&node).copied().unwrap_or_default()
    }

    /// Sends, or says that it could not.
    fn tell(&self, to: NodeId, tell: Tell) -> bool {
        if to == self.node {
            self.handle_tell(to, tell);
            return true;
        }
        let sent = self.links.tell(to, tell).is_ok();
        if !sent {
            self.metrics.reject(FanoutReject::LinkFull);
        }
        sent
    }
    fn give(&self, group: GroupId, message: Message) {
        give(self, self.inbox(group).as_ref(), message);
    }
    fn inbox(&self, group: GroupId) -> Option<mpsc::Sender<Waiting>> {
        self.leads().get(&group).map(|led| led.inbox.clone())
    }
    /// Asks the duty of a group that this node leads.
    async fn ask_lead<T>(&self, group: GroupId, message: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Message) -> Result<T, Refusal> {
        let not_leader =
            || Refusal { leader: self.homes.leader(group).map(|(node, _)| node).filter(|node| *node != self.node), ..refuse(Code::NotLeader) };
        let Some(inbox) = self.inbox(group) else { return Err(not_leader()) };
        let (answer, answered) = oneshot::channel();
        let waiting: Waiting = (self.clock.instant(), message(answer));
        match inbox.try_send(waiting) {
            Ok(()) => {
                self.metrics.inbox_depth.inc();
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.metrics.reject(FanoutReject::InboxFull);
                return Err(refuse_for(Code::Busy, 200));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(not_leader()),
        }
        answered.await.unwrap_or_else(|_| Err(not_leader()))
    }
    async fn register_here(&self, from: NodeId, group: GroupId, boot: BootEpoch, sessions: Vec<Registration>) -> RegisterOutcome {
        tracing::debug!(node = %self.node, group = %group, peer = %from, sessions = sessions.len(), "fanout.register");
        self.ask_lead(group, |answer| Message::Register { from, boot, sessions, answer }).await
    }
    async fn ask_register(&self, to: NodeId, group: GroupId, sessions: Vec<Registration>) -> RegisterOutcome {
        if to == self.node {
            let registered = self.register_here(to, group, self.boot, sessions);
            return tokio::time::timeout(REGISTER_WITHIN, registered).await.unwrap_or_else(|_| Err(refuse_for(Code::NoLeader, 100)));
        }
        let ask = Ask::Register { group, boot: self.boot, sessions };
        let asked = tokio::select! {
            asked = self.links.ask(to, ask, REGISTER_WITHIN) => asked,
            // A node that died does not answer, and its link takes seconds to notice.
            () = self.succeeded(group, to) => Err(TransportError::Lost(to)),
        };
        match asked {
            Ok(Told::Registered { term, sessions, .. }) => Ok((term, sessions)),
            Ok(_) => Err(refuse(Code::Internal)),
            Err(TransportError::Refused(_, refusal)) => Err(refusal),
            Err(_) => Err(refuse_for(Code::NoLeader, 100)),
        }
    }
    /// Ends once another node than the asked one is known to lead the group.
    async fn succeeded(&self, group: GroupId, asked: NodeId) {
        let before = self.homes.leader(group);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.homes.leader(group);
            if now != before && now.is_some_and(|(node, _)| node != asked) {
                return;
            }
        }
    }
    /// As `ask_register`; says also whether the links to that node held meanwhile. If not, what it pushed after it registered may be lost.
    async fn ask_register_watched(&self, to: NodeId, group: GroupId, sessions: Vec<Registration>) -> (bool, RegisterOutcome) {
        let before = self.breaks(to);
        let outcome = self.ask_register(to, group, sessions).await;
        (self.breaks(to) == before, outcome)
    }
    async fn open(&self, session: SessionId, registration: Registration) -> Result<Registered, Refusal> {
        let until = self.clock.instant() + OPEN_WITHIN;
        let mut hint: Option<NodeId> = None;
        loop {
            let group = self.homes.home(registration.user);
            let leader = group.and_then(|group| self.homes.leader(group).map(|(node, _)| node));
            let refusal = match (group, hint.take().or(leader)) {
                (Some(group), Some(node)) => match self.ask_register_watched(node, group, vec![registration.clone()]).await {
                    (is_whole, Ok((term, results))) => match results.into_iter().next() {
                        Some(Ok(registered)) => {
                            self.local.note_registered(session, group, (node, term), registered.user_rev);
                            self.local.note_pushes(session, registered.pushes);
                            // One that moved meanwhile is looked for anew.
                            self.local.follow_home(session, &*self.homes);
                            if !is_whole {
                                self.local.handle_doubt(session, group);
                            }
                            return Ok(Registered { session, name: registered.name, user_rev: registered.user_rev });
                        }
                        Some(Err(refusal)) => refusal,
                        None => refuse(Code::Internal),
                    },
                    (_, Err(refusal)) => refusal,
                },
                _ => refuse_for(Code::NoLeader, 500),
            };
            if refusal.code.retry() == Retry::Never || self.clock.instant() >= until {
                // What is between nodes stays there.
                let own = matches!(refusal.code, Code::NotLeader | Code::WrongGroup | Code::Disconnected);
                return Err(if own { refuse_for(Code::NoLeader, 500) } else { refusal });
            }
            hint = refusal.leader;
            let wait = refusal.retry_after_ms.map_or(Duration::from_millis(50), |ms| Duration::from_millis(u64::from(ms)));
            tokio::time::sleep(wait.min(Duration::from_millis(500))).await;
        }
    }
    fn lock_breaks(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        // Single additions only.
        self.breaks.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn leads(&self) -> MutexGuard<'_, HashMap<GroupId, Led>> {
        // Single inserts and removals only.
        self.leads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a home is told of a session.
fn registration(session: SessionId, whose: &Whose, new: bool, away: bool) -> Registration {
    let Whose { user, device, conn, grant } = *whose;
    Registration { user, device, session, conn, new, login: grant.login, issued: grant.issued, away }
}

/// The sessions of this node, as `session` sees them.
#[derive(Clone, Debug)]
pub struct LocalSessions(pub Arc<Fanout>);

impl Sessions for LocalSessions {
    fn open(&self, whose: Whose, outbox: Arc<Outbox>) -> SessionId {
        let session = self.0.local.open(whose, outbox);
        self.0.looks.open(session, whose.user);
        session
    }
    fn register(&self, session: SessionId, whose: Whose) -> BoxFuture<'static, Result<Registered, Refusal>> {
        let fanout = self.0.clone();
        let registration = registration(session, &whose, true, false);
        Box::pin(async move { fanout.open(session, registration).await })
    }
    fn watch(&self, session: SessionId, whose: Whose) -> BoxFuture<'static, Result<Registered, Refusal>> {
        let fanout = self.0.clone();
        let registration = registration(session, &whose, false, false);
        Box::pin(async move { fanout.open(session, registration).await })
    }
    fn presence(&self, session: SessionId, asked: &PresenceRequest) -> bool {
        self.0.handle_presence(session, asked)
    }
    fn close(&self, session: SessionId) {
        self.0.looks.close(session);
        if let Some((node, tell)) = self.0.local.close(session) {
            self.0.tell(node, tell);
        }
    }
    fn count(&self) -> usize {
        self.0.local.len()
    }
    fn go_away(&self, within: Duration) {
        self.0.local.go_away(within);
    }
    fn close_all(&self, why: &Refusal) {
        self.0.local.close_all(why);
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fanout").field("node", &self.node).field("boot", &self.boot).finish_non_exhaustive()
    }
}
