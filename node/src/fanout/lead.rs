//! The duty of a group's leader: one task per group and term that runs [`Dispatch`] and [`Home`] and does their IO.
//!
//! In: the group's feed, frames from other nodes (a bounded inbox). Out: frames to nodes, proposals to the group. On cancel it is
//! dropped: all that it holds is rebuilt by the next leader from rows and registrations. Bounds: [`INBOX_MAX`] messages, then frames
//! are dropped (refs come again) and registrations are `Busy`; one round and one batch of `Fanned` under way; [`REGISTERING_MAX`]
//! registrations. Not here: decisions (`dispatch`, `registry`).

mod here;
mod owned;
mod proposal;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, join_all},
    stream::{self, FuturesUnordered},
};
use kith_machine::{
    effect::Effect,
    mutant::Mutant,
    own::Owned,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};
use kith_raft::{
    error::ProposeError,
    failpoint::point,
    feed::{AppliedEvent, FeedError},
};
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{BootEpoch, ChannelId, DeviceId, GroupId, NodeId, Seq, SessionId, Term, UserId, UserRev},
    log::{Command, Item, Position},
    peer::{ChannelRefs, RefsKept, RegisteredSession, Registration, Tell},
    presence::PresenceWatch,
};
use tokio::sync::{mpsc, oneshot};

use self::{
    owned::unread,
    proposal::{PROPOSALS_AT_ONCE, may_stay, note_device, propose_all, round, user_of},
};
use crate::{
    clock::Instant,
    fanout::{
        Fanout,
        dispatch::{Dispatch, News, Source},
        metrics::FanoutReject,
        near::{Asked, Found},
        presence::{LookAnswer, WatchAnswer},
        registry::{Home, Merged, empty_push},
    },
    router::{refuse, refuse_for},
};

/// Messages that wait for one group's leader.
pub const INBOX_MAX: usize = 1_024;
/// Registrations under way in one group.
pub const REGISTERING_MAX: usize = 1_024;
/// Messages and events taken in one go before what follows from them is sent.
const TAKE_AT_ONCE: usize = 64;
/// Edges are looked at so often.
const EDGES_EVERY: Duration = Duration::from_secs(1);
/// An edge that is not heard for so long has lost its sessions: they have moved elsewhere by then.
const EDGE_GONE: Duration = Duration::from_secs(10);
/// How long to wait after rows could not be read.
const UNREADABLE_WAIT: Duration = Duration::from_secs(1);
/// For how long a mutant keeps refs that it has acknowledged to itself.
const MUTANT_LATE: Duration = Duration::from_secs(1);

/// A group that this node leads.
pub trait Seat: Send + Sync + 'static {
    /// Which.
    fn group(&self) -> GroupId;
    /// Logs an item and gives its reply once it is applied here.
    fn propose(&self, item: Item) -> BoxFuture<'static, Result<Reply, ProposeError>>;
    /// The same for several, which keep their order; each has an answer of its own, at its place.
    fn propose_many(&self, items: Vec<Item>) -> BoxFuture<'static, Vec<Result<Reply, ProposeError>>> {
        let answers: Vec<_> = items.into_iter().map(|item| self.propose(item)).collect();
        Box::pin(join_all(answers))
    }
    /// The group's rows at one moment.
    ///
    /// # Errors
    /// The store cannot be read.
    fn view(&self) -> Result<Box<dyn StateView + '_>, ViewError>;
    /// What is applied from now on.
    fn events(&self) -> Box<dyn Events>;
    /// A channel's news for the homes of its members.
    ///
    /// # Errors
    /// A row cannot be read.
    fn news(&self, view: &dyn StateView, channel: ChannelId) -> Result<Option<News>, ViewError>;
}

/// A subscription to a group's feed.
pub trait Events: Send {
    /// Waits for the next event. Cancel safe.
    fn next(&mut self) -> BoxFuture<'_, Result<Arc<AppliedEvent>, FeedError>>;
    /// The next event if there is one now.
    ///
    /// # Errors
    /// As `next`.
    fn try_next(&mut self) -> Result<Option<Arc<AppliedEvent>>, FeedError>;
}

/// What comes to the leader of a group.
#[derive(Debug)]
pub(crate) enum Message {
    /// As home: news of a channel.
    Refs { from: NodeId, source: GroupId, news: Vec<ChannelRefs> },
    /// As source: what a home has committed.
    Kept(RefsKept),
    /// As home: sessions of an edge.
    Register { from: NodeId, boot: BootEpoch, sessions: Vec<Registration>, answer: RegisterAnswer },
    /// As source: a member types.
    Typing { channel: ChannelId, user: UserId, others: Arc<[UserId]> },
    /// As home: the end of a session.
    Unregister { from: NodeId, user: UserId, device: DeviceId, session: SessionId },
    /// As home: an edge has registered all that it has.
    Reported { from: NodeId, term: Term, boot: BootEpoch },
    /// As home: whether nobody sits before a device.
    Activity { from: NodeId, user: UserId, session: SessionId, away: bool },
    /// As home: whom an edge's users look at.
    Watch { from: NodeId, boot: BootEpoch, watches: Vec<PresenceWatch>, answer: WatchAnswer },
    /// As home: a device that is pushed to has a conversation up to there.
    Confirmed { asked: Asked, seq: Seq },
    /// As home: how near devices are.
    Near { asked: Vec<Asked>, answer: NearAnswer },
    /// As home: how users are now.
    Look { asker: UserId, users: Vec<UserId>, answer: LookAnswer },
}

/// A message, and since when it waits.
pub(crate) type Waiting = (Instant, Message);

/// Sessions, in the order in which they were asked for, and the term in which they were registered.
pub(crate) type RegisterOutcome = Result<(Term, Vec<Result<RegisteredSession, Refusal>>), Refusal>;
/// How near devices are, in the order in which they were asked for.
pub(crate) type NearAnswer = oneshot::Sender<Result<Vec<Found>, Refusal>>;
pub(crate) type RegisterAnswer = oneshot::Sender<RegisterOutcome>;

enum Done {
    Round(HashMap<UserId, Merged>),
    /// When users were seen was written down, as far as it could be.
    Seen,
    Proposed(Vec<Command>),
    /// Refs that a mutant has acknowledged, and only now takes in.
    Late {
        from: NodeId,
        source: GroupId,
        news: Vec<ChannelRefs>,
    },
    Registered {
        attempt: u64,
        from: NodeId,
        sessions: Vec<Registration>,
        results: Vec<Result<RegisteredSession, Refusal>>,
        answer: RegisterAnswer,
    },
}

/// The duty of one term.
pub(crate) struct Lead {
    fanout: Arc<Fanout>,
    seat: Arc<dyn Seat>,
    term: Term,
    inbox: mpsc::Receiver<Waiting>,
    dispatch: Dispatch,
    home: Home,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    registering: usize,
    /// The latest registration under way of each session; edges number theirs alike.
    attempts: HashMap<(NodeId, SessionId), u64>,
    attempt: u64,
    unreadable_until: Option<Instant>,
    silent: HashMap<NodeId, Instant>,
    /// How often the link to each edge had broken when its sessions were last told where they stand.
    breaks: HashMap<NodeId, u64>,
    /// Edges that may have missed a push.
    owed: BTreeSet<NodeId>,
    /// Whether the end of a device or a block may have been missed.
    is_unsure: bool,
    /// What the group owned when it was last looked at.
    owned: Owned,
    /// What it owns now could not be read.
    is_stranger: bool,
    /// When users were seen is being written down.
    is_writing: bool,
    looked: Instant,
}

impl Lead {
    pub(crate) fn new(fanout: Arc<Fanout>, seat: Arc<dyn Seat>, term: Term, inbox: mpsc::Receiver<Waiting>) -> Self {
        let group = seat.group();
        Self {
            silent: HashMap::new(),
            breaks: HashMap::new(),
            owed: BTreeSet::new(),
            is_unsure: false,
            owned: Owned::default(),
            is_stranger: false,
            is_writing: false,
            attempts: HashMap::new(),
            attempt: 0,
            looked: fanout.clock.instant(),
            dispatch: Dispatch::new(group, term, fanout.metrics.clone()),
            home: Home::new(group, term, &fanout.options, fanout.metrics.clone(), fanout.clock.instant()),
            fanout,
            seat,
            term,
            inbox,
            work: FuturesUnordered::new(),
            registering: 0,
            unreadable_until: None,
        }
    }

    /// Runs until it is dropped or the group is closed.
    pub(crate) async fn run(mut self) {
        // The subscription comes before the first walk: what is applied after it is heard, what was applied before is a row.
        let mut events = self.seat.events();
        let seat = self.seat.clone();
        // Unread, it counts as nothing: whatever comes then is new.
        self.owned = seat.view().and_then(|view| Owned::read(&*view)).unwrap_or_default();
        loop {
            self.poll();
            let now = self.fanout.clock.instant();
            let due = [self.dispatch.poll_timeout(now), self.home.poll_timeout(), self.unreadable_until, self.home.here().poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            let due = due.unwrap_or(now + EDGES_EVERY).min(self.looked + EDGES_EVERY);
            // Every branch is cancel safe: each takes something out only when it completes. Biased, so that a simulation repeats; what is
            // bounded comes first, and of the rest some is taken below whatever came first.
            tokio::select! {
                biased;
                Some(done) = self.work.next(), if !self.work.is_empty() => self.handle_done(done),
                heard = events.next() => if !self.handle_heard(heard) { return },
                message = self.inbox.recv() => match message {
                    Some(message) => self.handle_message(message),
                    None => return,
                },
                () = tokio::time::sleep_until(due) => {}
            }
            for _ in 0..TAKE_AT_ONCE {
                let heard = match events.try_next() {
                    Ok(None) => break,
                    Ok(Some(event)) => Ok(event),
                    Err(error) => Err(error),
                };
                if !self.handle_heard(heard) {
                    return;
                }
            }
            for _ in 0..TAKE_AT_ONCE {
                let Ok(message) = self.inbox.try_recv() else { break };
                self.handle_message(message);
            }
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.fanout.options.quirk.is(mutant)
    }
    fn handle_heard(&mut self, heard: Result<Arc<AppliedEvent>, FeedError>) -> bool {
        match heard {
            Ok(event) => {
                let span = tracing::trace_span!("fanout.dispatch", node = %self.fanout.node, group = %self.seat.group(), term = %event.term, index = %event.index);
                span.in_scope(|| event.effects.iter().for_each(|effect| self.handle_effect(effect)));
            }
            Err(FeedError::Closed) => return false,
            Err(FeedError::Lagged(missed)) => {
                tracing::warn!(group = %self.seat.group(), missed, "fan-out missed events: walking the dirty channels");
                self.dispatch.handle_lagged();
                // Index moves were missed: a number without rows makes the devices pull.
                let edges: Vec<_> = self.home.edges().collect();
                self.owed.extend(edges);
                self.tell_where_they_stand();
                // So was, perhaps, the end of a device: the rows say whose sessions may stay.
                self.is_unsure = true;
                self.check_sessions();
                // And changes of contacts.
                self.contacts_lagged();
                // And of what is the group's at all.
                self.follow_ownership();
            }
        }
        true
    }
    fn handle_effect(&mut self, effect: &Effect) {
        let homes = &*self.fanout.homes;
        match effect {
            Effect::Appended { channel, record, recipients } => {
                tracing::trace!(seq = %record.at.seq, recipients = recipients.len(), "fanout.dispatch: a record");
                self.dispatch.handle_appended(*channel, record, recipients, homes, self.fanout.clock.instant());
            }
            Effect::Receipt { channel, user, read, delivered, others } => {
                self.dispatch.handle_receipt(*channel, (*user, *read, *delivered), others, homes);
            }
            Effect::IndexMoved { user, from, to, rows } => self.home.handle_moved(*user, *from, *to, rows),
            Effect::Blocked { user, peer, blocked } => self.home.handle_blocked(*user, *peer, *blocked),
            Effect::DevicesEnded { user, devices, all_but } => {
                self.home.handle_ended(*user, devices, *all_but);
                // Of somebody who was erased nobody learns any more when they were here.
                self.note_user(*user);
            }
            Effect::MayLook { user, peer, allowed } => {
                self.home.here().home.handle_right(*user, *peer, *allowed);
                self.note_circle(*user);
            }
            Effect::Hides { user, private } => {
                self.hides(*user, *private);
            }
            Effect::OwnershipChanged => self.follow_ownership(),
            Effect::Amended { .. }
            | Effect::Hooked { .. }
            | Effect::Timed { .. }
            | Effect::MapChanged { .. }
            | Effect::Pushable { .. }
            | Effect::Owes => {}
        }
    }
    /// Ends sessions whose devices were ended, and reads anew whom users hear nothing of, if either may have been missed. What cannot be read
    /// now is read at a later look.
    fn check_sessions(&mut self) {
        if !self.is_unsure {
            return;
        }
        let users = self.home.present(None);
        let seat = self.seat.clone();
        let ended = seat.view().and_then(|view| {
            let mut ended = Vec::new();
            for user in &users {
                for token in self.home.tokens(*user) {
                    if may_stay(&*view, *user, &token)?.flatten().is_none() {
                        ended.push((*user, token.device));
                    }
                }
            }
            Ok(ended)
        });
        match ended {
            Ok(ended) => {
                self.is_unsure = false;
                for (user, device) in ended {
                    self.home.handle_ended(user, &[device], false);
                }
                for user in users {
                    self.note_blocks(user);
                    self.note_user(user);
                }
            }
            Err(error) => unread(&*seat, &error, "whose sessions may stay"),
        }
    }
    /// Tells the sessions of edges that may have missed a push where their users' indexes stand: whoever was told less pulls. An edge
    /// that cannot be told now is told at a later look.
    fn tell_where_they_stand(&mut self) {
        if self.is(Mutant::PushLostSilently) {
            return self.owed.clear();
        }
        for edge in std::mem::take(&mut self.owed) {
            // Without a link there is no point in reading all those rows.
            let (home, term) = (self.seat.group(), self.term);
            let probe = empty_push(home, term);
            if !self.fanout.tell(edge, Tell::Push(probe)) {
                self.owed.insert(edge);
                continue;
            }
            self.edge_unsure(edge);
            let stand = self.seat.view().and_then(|view| {
                let users = self.home.present(Some(edge)).into_iter();
                users.map(|user| user_of(&*view, user).map(|row| (user, row))).collect::<Result<Vec<_>, _>>()
            });
            match stand {
                Ok(users) => {
                    for (user, row) in users {
                        if let Some((_, rev)) = row {
                            self.home.handle_stands(edge, user, rev);
                        }
                    }
                }
                Err(error) => {
                    unread(&*self.seat, &error, "where users stand");
                    self.owed.insert(edge);
                }
            }
        }
    }
    fn handle_message(&mut self, (since, message): Waiting) {
        let now = self.fanout.clock.instant();
        self.fanout.metrics.inbox_depth.dec();
        self.fanout.metrics.inbox_wait.observe(now.saturating_duration_since(since).as_secs_f64());
        match message {
            Message::Refs { from, source, news } => {
                if self.is(Mutant::RefAckedEarly) {
                    let kept = news.iter().filter(|news| news.seq > Seq::ZERO).map(|news| (news.channel, news.seq, Vec::new())).collect();
                    self.fanout.tell(from, Tell::RefsKept(RefsKept { source, home: self.seat.group(), kept }));
                    let late = async move {
                        tokio::time::sleep(MUTANT_LATE).await;
                        Done::Late { from, source, news }
                    };
                    return self.work.push(Box::pin(late));
                }
                self.take_refs(from, source, news, now);
            }
            Message::Kept(kept) => {
                let _ = self.fanout.fail_points.hit_blocking(point::REF_ACKED);
                self.dispatch.handle_kept(&kept, now);
            }
            Message::Typing { channel, user, others } => {
                let nowhere = Position::default();
                self.dispatch.handle_receipt(channel, (user, nowhere, nowhere), &others, &*self.fanout.homes);
            }
            Message::Unregister { from, user, device, session } => self.home.handle_unregister(from, user, device, session),
            Message::Register { from, boot, sessions, answer } => self.register(from, boot, sessions, answer),
            Message::Reported { from, term, boot } => {
                if term == self.term && self.home.handle_edge(from, boot).is_ok() {
                    self.home.here().home.handle_reported(from);
                }
            }
            Message::Activity { from, user, session, away } => self.home.handle_activity(from, user, session, away),
            Message::Watch { from, boot, watches, answer } => {
                let told = self.watch(from, boot, &watches, now);
                // An edge that does not wait any more asks again.
                let _ = answer.send(told);
            }
            Message::Confirmed { asked, seq } => self.home.near().handle_confirmed(asked, seq, now),
            Message::Near { asked, answer } => {
                self.home.poll_presence(self.fanout.clock.now(), now);
                let near = self.home.near();
                let found = asked.iter().map(|asked| near.find(asked, now)).collect();
                // A worker that does not wait any more asks again.
                let _ = answer.send(Ok(found));
            }
            Message::Look { asker, users, answer } => {
                let views = self.look(asker, &users, now);
                let _ = answer.send(views);
            }
        }
    }
    fn take_refs(&mut self, from: NodeId, source: GroupId, news: Vec<ChannelRefs>, now: Instant) {
        for news in news {
            self.home.handle_refs(from, source, news, now);
        }
    }
    fn register(&mut self, from: NodeId, boot: BootEpoch, sessions: Vec<Registration>, answer: RegisterAnswer) {
        if self.registering >= REGISTERING_MAX {
            let _ = answer.send(Err(refuse_for(Code::Busy, 200)));
            return;
        }
        // In the registry first: what moves the index from here on is pushed, what moved it before is in the version read below.
        let taken: Vec<_> = sessions.iter().map(|session| self.home.handle_register(from, boot, session)).collect();
        self.registering += 1;
        self.attempt += 1;
        let attempt = self.attempt;
        self.attempts.extend(sessions.iter().map(|session| ((from, session.session), attempt)));
        let (seat, is_silent) = (self.seat.clone(), self.is(Mutant::PushLostSilently));
        self.work.push(Box::pin(async move {
            let steps = sessions.iter().zip(taken).map(|(session, taken)| {
                let seat = seat.clone();
                async move {
                    taken.map_err(refuse)?;
                    let registered = note_device(&*seat, session).await?;
                    let user_rev = if is_silent && !session.new { UserRev::ZERO } else { registered.user_rev };
                    Ok(RegisteredSession { user_rev, ..registered })
                }
            });
            let results = stream::iter(steps.collect::<Vec<_>>()).buffered(PROPOSALS_AT_ONCE).collect().await;
            Done::Registered { attempt, from, sessions, results, answer }
        }));
    }
    fn handle_done(&mut self, done: Done) {
        let now = self.fanout.clock.instant();
        match done {
            Done::Late { from, source, news } => self.take_refs(from, source, news, now),
            Done::Seen => self.is_writing = false,
            Done::Proposed(failed) => self.dispatch.handle_proposed(failed, now),
            Done::Round(outcome) => {
                for (source, kept) in self.home.handle_round_done(&outcome, now) {
                    self.fanout.tell(source, Tell::RefsKept(kept));
                }
            }
            Done::Registered { attempt, from, sessions, results, answer } => {
                self.registering -= 1;
                for (session, result) in sessions.iter().zip(&results) {
                    // An edge that did not wait for this one has asked again since: the later registration counts.
                    if self.attempts.get(&(from, session.session)) != Some(&attempt) {
                        continue;
                    }
                    self.attempts.remove(&(from, session.session));
                    if result.is_ok() {
                        self.note_blocks(session.user);
                        self.note_user(session.user);
                        self.note_circle(session.user);
                    }
                    if result.as_ref().is_err_and(|refusal| refusal.code != Code::Replaced) {
                        self.home.handle_unregister(from, session.user, session.device, session.session);
                    }
                }
                let _ = answer.send(Ok((self.term, results)));
            }
        }
    }
    /// Whom a user who is here hears nothing of. What cannot be read now is dropped from the index all the same, by apply.
    fn note_blocks(&mut self, user: UserId) {
        let blocked = self.seat.view().and_then(|view| {
            let count = kith_machine::user::account(&*view, user)?.map_or(0, |account| account.blocks);
            if count == 0 {
                return Ok(Vec::new());
            }
            let contacts = kith_machine::user::contacts(&*view, user, UserId::new(0), usize::MAX)?;
            Ok(contacts.into_iter().filter(|(_, row)| row.blocked).map(|(peer, _)| peer).collect())
        });
        match blocked {
            Ok(blocked) => self.home.handle_blocks(user, blocked),
            Err(error) => unread(&*self.seat, &error, "whom a user has blocked"),
        }
    }
    /// Sessions live as long as their edge is heard: one that was not for a while has lost its own.
    fn look_at_edges(&mut self, now: Instant) {
        if now < self.looked + EDGES_EVERY {
            return;
        }
        self.looked = now;
        let edges: Vec<_> = self.home.edges().collect();
        self.silent.retain(|edge, _| edges.contains(edge));
        self.breaks.retain(|edge, _| edges.contains(edge));
        self.owed.retain(|edge| edges.contains(edge));
        for edge in edges {
            let breaks = self.fanout.breaks(edge);
            if self.breaks.insert(edge, breaks).unwrap_or_default() != breaks {
                self.owed.insert(edge);
            }
            if self.fanout.homes.alive(edge) {
                self.silent.remove(&edge);
            } else if now >= *self.silent.entry(edge).or_insert(now) + EDGE_GONE {
                tracing::info!(group = %self.seat.group(), peer = %edge, "an edge is gone, and its sessions with it");
                self.silent.remove(&edge);
                self.owed.remove(&edge);
                self.home.handle_edge_gone(edge);
            }
        }
        if self.is_stranger {
            self.follow_ownership();
        }
        self.note_heard(now);
        self.tell_where_they_stand();
        self.check_sessions();
        self.home.tell_leaving();
    }
    /// Does what follows from what was taken.
    fn poll(&mut self) {
        let now = self.fanout.clock.instant();
        self.look_at_edges(now);
        if self.unreadable_until.is_none_or(|until| until <= now) {
            self.unreadable_until = None;
            let source = Rows { seat: &*self.seat };
            match self.dispatch.poll_frames(&source, &*self.fanout.homes, now) {
                Ok(frames) => {
                    for (node, frame) in frames {
                        tracing::trace!(group = %self.seat.group(), term = %self.term, peer = %node, channels = frame.channels.len(), "fanout.refs");
                        self.fanout.metrics.ref_frames.inc();
                        let forgotten = self.is(Mutant::OutboxDroppedEarly).then(|| frame.channels.clone());
                        let owed: Vec<_> = frame.channels.iter().filter(|news| news.seq > Seq::ZERO).map(|news| news.home).collect();
                        // A fault here is a sleep or the end of the process: there is nothing to refuse.
                        let _ = self.fanout.fail_points.hit_blocking(point::BEFORE_REF_SEND);
                        if !self.fanout.tell(node, Tell::Refs(frame)) {
                            self.dispatch.handle_unsent(&owed, now);
                        }
                        for news in forgotten.into_iter().flatten().filter(|news| news.seq > Seq::ZERO) {
                            let kept = vec![(news.channel, news.seq, Vec::new())];
                            self.dispatch.handle_kept(&RefsKept { source: self.seat.group(), home: news.home, kept }, now);
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(group = %self.seat.group(), %error, "fan-out cannot read the group's rows");
                    self.dispatch.handle_lagged();
                    self.unreadable_until = Some(now + UNREADABLE_WAIT);
                }
            }
        }
        self.poll_here(now);
        for (node, frame) in self.home.poll_pushes() {
            self.fanout.metrics.presence_pushed.inc_by(frame.presence.views.len() as u64);
            self.fanout.metrics.push_frames.inc();
            if !self.fanout.tell(node, Tell::Push(frame)) {
                self.owed.insert(node);
            }
        }
        if let Some(refs) = self.home.poll_round(now) {
            self.work.push(Box::pin(round(self.seat.clone(), self.fanout.clone(), refs)));
        }
        let commands = self.dispatch.poll_proposals(now);
        if !commands.is_empty() {
            self.work.push(Box::pin(propose_all(self.seat.clone(), self.fanout.clone(), commands)));
        }
    }
}

/// The group's rows, as [`Dispatch`] asks for them.
struct Rows<'a> {
    seat: &'a dyn Seat,
}
impl Source for Rows<'_> {
    fn dirty(&self, after: Option<ChannelId>, limit: usize) -> Result<Vec<ChannelId>, ViewError> {
        let rows = self.seat.view()?.scan(&Scan::Dirty(after), false, limit)?;
        Ok(rows.into_iter().filter_map(|(key, _)| if let RowKey::Dirty(channel) = key { Some(channel) } else { None }).collect())
    }
    fn news(&self, channel: ChannelId, wanted: &mut dyn FnMut(Seq, UserId) -> bool) -> Result<Option<News>, ViewError> {
        let news = match self.seat.news(&*self.seat.view()?, channel) {
            // It is another group's to tell.
            Err(error) if error.is_not_owned() => None,
            news => news?,
        };
        Ok(news.map(|mut news| {
            let head = news.head;
            news.refs.retain(|(user, _)| wanted(head, *user));
            news
        }))
    }
}

/// Counts what is dropped because a group's inbox is full or nobody leads it here.
pub(crate) fn give(fanout: &Fanout, inbox: Option<&mpsc::Sender<Waiting>>, message: Message) {
    let reject = match inbox.map(|inbox| inbox.try_send((fanout.clock.instant(), message))) {
        Some(Ok(())) => {
            fanout.metrics.inbox_depth.inc();
            return;
        }
        Some(Err(mpsc::error::TrySendError::Full(_))) => FanoutReject::InboxFull,
        Some(Err(mpsc::error::TrySendError::Closed(_))) | None => FanoutReject::NotLeader,
    };
    fanout.metrics.reject(reject);
}

#[cfg(test)]
#[path = "lead_tests.rs"]
mod tests;
