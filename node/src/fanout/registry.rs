//! What the leader of a home group knows of its users' sessions, and of refs on their way into their indexes. Sans-io.
//!
//! In: registrations, ref frames, index moves, the outcome of commits. Out: push frames per edge, rounds of refs to commit, acks.
//! Invariants: of one device the highest `conn` holds; an ack leaves only after every ref that it answers was committed (or its user is
//! gone for good); a round is taken only when the one before has ended. Bounds: [`REFS_WAITING_MAX`] refs wait, more are left to their
//! source; `limit::DEVICES_MAX` sessions a user; who was told to end is remembered until it has, [`TOLD_TIMES`] looks at most. Not here: proposing, links, who leads (`fanout::lead`), outboxes (`fanout::local`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use kith_wire::{
    client::{Delivery, DeliveryBody},
    code::Code,
    id::{BootEpoch, ChannelId, Conn, DeviceId, GroupId, NodeId, Seq, SessionId, Term, Timestamp, UserId, UserRev},
    limit,
    log::{IndexRow, Ref},
    peer::{ChannelRefs, IndexMove, LiveReceipt, LiveRecord, PushFrame, RefsKept, Registration},
    presence::PresencePush,
};

use crate::{
    clock::Instant,
    fanout::{
        FanoutOptions,
        metrics::{FanoutMetrics, FanoutReject},
        near::Nearness,
        presence::Here,
    },
};

/// Refs that wait for their commit. More are dropped here and sent again by their source.
pub const REFS_WAITING_MAX: usize = 4 * limit::REFS_PENDING_MAX;
/// The longest that refs wait to be merged with others before their round.
pub const ROUND_WAIT_MAX: Duration = Duration::from_secs(1);

/// Who was told to end is told so often, a second apart, until its edge says that it has: as long as the lease of a session that nobody vouches for
/// (`fanout::local::LEASE`), so that a lost frame keeps no session of an ended device alive for longer than a lost link does.
const TOLD_TIMES: u8 = 30;
/// A push frame that has grown so large is followed by another: far below what a link takes.
const PUSH_BYTES: usize = 2 * 1024 * 1024;
/// What an index row is taken to weigh.
const ROW_BYTES: usize = 320;

/// The registry and pending refs of one home group, for one term.
#[derive(Debug)]
pub struct Home {
    group: GroupId,
    term: Term,
    users: HashMap<UserId, Vec<Live>>,
    here: Here,
    near: Nearness,
    /// Whom users who are here hear nothing of; only those who have blocked somebody.
    blocked: HashMap<UserId, BTreeSet<UserId>>,
    boots: BTreeMap<NodeId, BootEpoch>,
    /// Who was told to end and has not, as far as is known.
    leaving: BTreeMap<(NodeId, SessionId), Leaving>,
    pushes: BTreeMap<NodeId, Vec<Push>>,
    pending: BTreeMap<UserId, BTreeMap<ChannelId, Vec<Ref>>>,
    refs: usize,
    since: Option<Instant>,
    acks: Vec<Ack>,
    committing: Option<Vec<Ack>>,
    wait: Duration,
    round_begun: Option<Instant>,
    wait_min: Duration,
    metrics: Arc<FanoutMetrics>,
}

/// A session as its home knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Live {
    device: DeviceId,
    edge: NodeId,
    session: SessionId,
    conn: Conn,
    login: u64,
    issued: Timestamp,
    away: bool,
}

/// A session that is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leaving {
    is_replaced: bool,
    times_left: u8,
}

/// What a session's right to be here depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// The device that it is of.
    pub device: DeviceId,
    /// The log-in that it is bound to; 0: none.
    pub login: u64,
    /// When it was made.
    pub issued: Timestamp,
}

/// A frame being filled.
#[derive(Debug)]
struct Push {
    frame: PushFrame,
    bytes: usize,
}

/// Whom to tell when refs were committed.
#[derive(Debug)]
struct Ack {
    to: NodeId,
    source: GroupId,
    channel: ChannelId,
    seq: Seq,
    users: Vec<UserId>,
}

/// What became of a user's refs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// Committed.
    Kept,
    /// The user is erased or never was.
    Gone,
    /// Not committed, or not known to be: the source sends again.
    Failed,
}

impl Home {
    /// An empty registry: nobody is known before the edges have registered their sessions. Refs wait at least `round_wait` to be merged.
    pub fn new(group: GroupId, term: Term, options: &FanoutOptions, metrics: Arc<FanoutMetrics>, now: Instant) -> Self {
        let wait_min = options.round_wait;
        Self {
            group,
            term,
            users: HashMap::new(),
            here: Here::new(term, Duration::from_secs(options.presence.grace_s), now),
            near: Nearness::new(now),
            blocked: HashMap::new(),
            boots: BTreeMap::new(),
            leaving: BTreeMap::new(),
            pushes: BTreeMap::new(),
            pending: BTreeMap::new(),
            refs: 0,
            since: None,
            acks: Vec::new(),
            committing: None,
            wait: wait_min,
            round_begun: None,
            wait_min,
            metrics,
        }
    }

    /// Takes a session of an edge.
    ///
    /// # Errors
    /// `Replaced`: a newer connection of the device is known. `TooMany`: the user has sessions enough.
    pub fn handle_register(&mut self, edge: NodeId, boot: BootEpoch, new: &Registration) -> Result<(), Code> {
        self.handle_boot(edge, boot)?;
        self.here.touch(new.user);
        self.near.touch(new.user);
        let sessions = self.users.entry(new.user).or_default();
        let Registration { device, session, conn, login, issued, away, .. } = *new;
        let live = Live { device, edge, session, conn, login, issued, away };
        if let Some(old) = sessions.iter_mut().find(|old| old.device == new.device) {
            if (old.edge, old.session) == (edge, new.session) {
                old.conn = old.conn.max(new.conn);
                (old.login, old.issued, old.away) = (new.login, new.issued, new.away);
                return Ok(());
            }
            if new.conn <= old.conn {
                return Err(Code::Replaced);
            }
            let lost = std::mem::replace(old, live);
            self.end(&lost, true);
            return Ok(());
        }
        if sessions.len() >= limit::DEVICES_MAX {
            return Err(Code::TooMany);
        }
        sessions.push(live);
        self.metrics.registered.inc();
        Ok(())
    }
    /// Takes the end of a session.
    pub fn handle_unregister(&mut self, edge: NodeId, user: UserId, device: DeviceId, session: SessionId) {
        self.leaving.remove(&(edge, session));
        self.retain(|owner, live| (owner, live.device, live.edge, live.session) != (user, device, edge, session), Some(user));
    }
    /// Takes the loss of a node: its sessions are gone until it registers them anew.
    pub fn handle_edge_gone(&mut self, edge: NodeId) {
        self.pushes.remove(&edge);
        self.boots.remove(&edge);
        self.leaving.retain(|(at, _), _| *at != edge);
        for (user, sessions) in &self.users {
            sessions.iter().filter(|live| live.edge == edge).for_each(|live| self.near.lose(*user, live.device));
        }
        self.retain(|_, live| live.edge != edge, None);
        self.here.edge_gone(edge);
    }
    /// Takes which users are of this group from now on. The sessions of others are their new home's, which nobody is told here; `came`: there may be
    /// users whose sessions are not known here, and nobody is absent before the edges have told theirs, or had time to.
    pub fn handle_owned(&mut self, is_own: impl Fn(UserId) -> bool, came: bool, now: Instant) {
        self.retain(|user, _| is_own(user), None);
        self.here.handle_owned(&is_own, came, now);
        if came {
            self.near.cool();
        }
    }
    /// Takes whether nobody sits before a device.
    pub fn handle_activity(&mut self, edge: NodeId, user: UserId, session: SessionId, away: bool) {
        let live = self.users.get_mut(&user).into_iter().flatten().find(|live| (live.edge, live.session) == (edge, session));
        if let Some(live) = live {
            live.away = away;
            self.here.touch(user);
        }
    }
    /// Takes that an edge has registered all that it has; or that it looks at users of this group.
    ///
    /// # Errors
    /// `Disconnected`: of an earlier start of that node.
    pub fn handle_edge(&mut self, edge: NodeId, boot: BootEpoch) -> Result<(), Code> {
        self.handle_boot(edge, boot)
    }
    /// Which devices are near.
    pub(super) const fn near(&mut self) -> &mut Nearness {
        &mut self.near
    }
    /// Who is here.
    pub(super) const fn here(&mut self) -> &mut Here {
        &mut self.here
    }
    /// Brings who is here up to date with the sessions, and puts what edges are to hear of it into their frames.
    pub fn poll_presence(&mut self, wall: Timestamp, now: Instant) {
        let users = &self.users;
        self.here.settle(wall, now, |user| users.get(&user).into_iter().flatten().map(|live| live.away).collect());
        let is_warm = self.here.home.is_warm();
        self.near.settle(is_warm, now, |user| users.get(&user).into_iter().flatten().map(|live| live.device).collect());
        for (edge, push) in self.here.home.poll_pushes() {
            let bytes = 32 * (push.views.len() + push.rights.len());
            let presence = &mut self.push_to(edge, bytes).presence;
            presence.views.extend(push.views);
            presence.rights.extend(push.rights);
            presence.again |= push.again;
        }
    }
    /// Tells a user's sessions whom they may look at, where every contact is shown.
    pub fn handle_circle(&mut self, user: UserId, contacts: &[UserId]) {
        for (edge, _) in self.sessions_by_edge(user) {
            self.push_to(edge, 8 * (contacts.len() + 1)).presence.circles.push((user, contacts.to_vec()));
        }
    }
    /// Takes refs and live records for users of this group.
    pub fn handle_refs(&mut self, from: NodeId, source: GroupId, news: ChannelRefs, now: Instant) {
        for record in news.bodies {
            self.deliver(news.channel, record);
        }
        for receipt in news.receipts {
            self.show_receipt(news.channel, &receipt);
        }
        if news.seq == Seq::ZERO {
            return;
        }
        if self.refs + news.refs.len() > REFS_WAITING_MAX {
            self.metrics.reject(FanoutReject::RefsFull);
            return;
        }
        let users = news.refs.iter().map(|(user, _)| *user).collect();
        for (user, news) in news.refs {
            self.merge(user, news);
        }
        self.acks.push(Ack { to: from, source, channel: news.channel, seq: news.seq, users });
        self.since.get_or_insert(now);
    }
    /// Takes a move of a user's index, as it was applied.
    pub fn handle_moved(&mut self, user: UserId, from: UserRev, to: UserRev, rows: &[Arc<IndexRow>]) {
        for (edge, sessions) in self.sessions_by_edge(user) {
            let rows: Vec<_> = rows.iter().map(|row| IndexRow::clone(row)).collect();
            let bytes = 32 + rows.len() * ROW_BYTES;
            self.push_to(edge, bytes).moves.push(IndexMove { sessions, from, to, rows });
        }
    }
    /// Takes all whom a user who is here hears nothing of.
    pub fn handle_blocks(&mut self, user: UserId, peers: Vec<UserId>) {
        if peers.is_empty() || !self.users.contains_key(&user) {
            self.blocked.remove(&user);
        } else {
            self.blocked.insert(user, peers.into_iter().collect());
        }
    }
    /// Takes one change of that.
    pub fn handle_blocked(&mut self, user: UserId, peer: UserId, blocked: bool) {
        if blocked && self.users.contains_key(&user) {
            self.blocked.entry(user).or_default().insert(peer);
        } else if let Some(peers) = self.blocked.get_mut(&user) {
            peers.remove(&peer);
        }
    }
    /// Takes the end of devices: `all_but` is of all others. Their sessions are ended where they are.
    pub fn handle_ended(&mut self, user: UserId, devices: &[DeviceId], all_but: bool) {
        let is_ended = |live: &Live| devices.contains(&live.device) != all_but;
        let ended: Vec<_> = self.users.get(&user).into_iter().flatten().copied().filter(is_ended).collect();
        for live in &ended {
            self.end(live, false);
        }
        self.retain(|owner, live| owner != user || !is_ended(live), Some(user));
    }
    /// Tells those again that are to end and have not, as far as is known: a frame may be lost although the link holds.
    pub fn tell_leaving(&mut self) {
        for ((edge, session), leaving) in std::mem::take(&mut self.leaving) {
            let Some(times_left) = leaving.times_left.checked_sub(1) else { continue };
            self.leaving.insert((edge, session), Leaving { times_left, ..leaving });
            self.push_end(edge, session, leaving.is_replaced);
        }
    }
    /// What the sessions of a user who is here came in by.
    pub fn tokens(&self, user: UserId) -> Vec<Token> {
        let sessions = self.users.get(&user).into_iter().flatten();
        sessions.map(|live| Token { device: live.device, login: live.login, issued: live.issued }).collect()
    }
    /// Tells a user's sessions of one edge where the index stands: what it was told before may be lost.
    pub fn handle_stands(&mut self, edge: NodeId, user: UserId, rev: UserRev) {
        if let Some(sessions) = self.sessions_by_edge(user).remove(&edge) {
            self.push_to(edge, 32).moves.push(IndexMove { sessions, from: rev, to: rev, rows: Vec::new() });
        }
    }
    /// Nodes that have registered sessions.
    pub fn edges(&self) -> impl Iterator<Item = NodeId> {
        self.boots.keys().copied()
    }
    /// Users that have a session at this edge, or at any; sorted.
    pub fn present(&self, edge: Option<NodeId>) -> Vec<UserId> {
        let at = |sessions: &[Live]| edge.is_none_or(|edge| sessions.iter().any(|live| live.edge == edge));
        let mut users: Vec<_> = self.users.iter().filter(|(_, sessions)| at(sessions)).map(|(user, _)| *user).collect();
        users.sort_unstable();
        users
    }

    /// What is to be told to edges: one frame each, more only when it is much.
    pub fn poll_pushes(&mut self) -> Vec<(NodeId, PushFrame)> {
        let pushes = std::mem::take(&mut self.pushes).into_iter();
        pushes.flat_map(|(edge, pushes)| pushes.into_iter().map(move |push| (edge, push.frame))).collect()
    }
    /// When [`Home::poll_round`] may have one.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.committing {
            None => self.since.map(|since| if self.refs >= limit::REFS_PENDING_MAX { since } else { since + self.wait }),
            Some(_) => None,
        }
    }
    /// Refs to commit now: one command a user. Ends with [`Home::handle_round_done`].
    pub fn poll_round(&mut self, now: Instant) -> Option<Vec<(UserId, Vec<Ref>)>> {
        self.poll_timeout().filter(|due| *due <= now)?;
        if let Some(since) = self.since.take() {
            self.metrics.refs_pending_wait.observe(now.saturating_duration_since(since).as_secs_f64());
        }
        self.set_refs(0);
        self.round_begun = Some(now);
        self.committing = Some(std::mem::take(&mut self.acks));
        let pending = std::mem::take(&mut self.pending);
        self.metrics.rounds.inc();
        self.metrics.users_per_round.observe(pending.len() as f64);
        Some(pending.into_iter().map(|(user, refs)| (user, refs.into_values().flatten().collect())).collect())
    }
    /// Takes the outcome of a round: what each source may be told.
    pub fn handle_round_done(&mut self, outcome: &HashMap<UserId, Merged>, now: Instant) -> Vec<(NodeId, RefsKept)> {
        if let Some(begun) = self.round_begun.take() {
            // Under load a round takes longer; waiting as long again lets more refs of a user share one row.
            self.wait = (now.saturating_duration_since(begun) * 2).clamp(self.wait_min, ROUND_WAIT_MAX);
        }
        let mut kept: BTreeMap<(NodeId, GroupId), RefsKept> = BTreeMap::new();
        for ack in self.committing.take().unwrap_or_default() {
            let of = |user: &UserId| outcome.get(user).copied().unwrap_or(Merged::Failed);
            if ack.users.iter().any(|user| of(user) == Merged::Failed) {
                continue;
            }
            let gone = ack.users.iter().copied().filter(|user| of(user) == Merged::Gone).collect();
            kept.entry((ack.to, ack.source)).or_insert_with(|| RefsKept { source: ack.source, home: self.group, kept: Vec::new() }).kept.push((
                ack.channel,
                ack.seq,
                gone,
            ));
        }
        kept.into_iter().map(|((to, _), kept)| (to, kept)).collect()
    }

    fn handle_boot(&mut self, edge: NodeId, boot: BootEpoch) -> Result<(), Code> {
        let known = self.boots.get(&edge).copied().unwrap_or(boot);
        if known > boot {
            return Err(Code::Disconnected);
        }
        if known < boot {
            self.handle_edge_gone(edge);
        }
        self.boots.insert(edge, boot);
        Ok(())
    }
    fn end(&mut self, live: &Live, is_replaced: bool) {
        self.leaving.insert((live.edge, live.session), Leaving { is_replaced, times_left: TOLD_TIMES });
        self.push_end(live.edge, live.session, is_replaced);
    }
    fn push_end(&mut self, edge: NodeId, session: SessionId, is_replaced: bool) {
        let frame = self.push_to(edge, 8);
        if is_replaced { frame.replaced.push(session) } else { frame.ended.push(session) }
    }
    fn deliver(&mut self, channel: ChannelId, record: LiveRecord) {
        let mut by_edge: BTreeMap<NodeId, Vec<(SessionId, Seq)>> = BTreeMap::new();
        for (user, prev) in &record.recipients {
            if self.is_silenced(*user, channel, &record) {
                continue;
            }
            for live in self.users.get(user).into_iter().flatten() {
                by_edge.entry(live.edge).or_default().push((live.session, *prev));
            }
        }
        for (edge, sessions) in by_edge {
            let delivery = Delivery { channel, prev: Seq::ZERO, body: record.body.clone() };
            let bytes = limit::STUB_BYTES + 16 * sessions.len();
            self.push_to(edge, bytes).deliveries.push((delivery, sessions));
        }
    }
    /// Whether this is of somebody whom the user has blocked, in their direct channel. Of a stub it is not known whose it is: the device pulls.
    fn is_silenced(&self, user: UserId, channel: ChannelId, record: &LiveRecord) -> bool {
        let Some(peers) = self.blocked.get(&user) else { return false };
        let Some(peer) = channel.peer_of(user).filter(|peer| peers.contains(peer)) else { return false };
        match &record.body {
            DeliveryBody::Whole(record) => record.sender == peer,
            DeliveryBody::Stub { .. } => true,
        }
    }
    fn show_receipt(&mut self, channel: ChannelId, receipt: &LiveReceipt) {
        for user in &receipt.recipients {
            for (edge, sessions) in self.sessions_by_edge(*user) {
                let shown = sessions.into_iter().map(|session| (session, channel, receipt.user, receipt.read, receipt.delivered));
                self.push_to(edge, 64).receipts.extend(shown);
            }
        }
    }
    fn merge(&mut self, user: UserId, new: Ref) {
        let refs = self.pending.entry(user).or_default().entry(new.channel).or_default();
        let before = refs.len();
        // A ref that is ahead in every part says all that the other says; else both go, and the machine takes the larger of each part.
        refs.retain(|old| !covers(&new, old));
        if !refs.iter().any(|old| covers(old, &new)) {
            refs.push(new);
        }
        let after = refs.len();
        self.set_refs(self.refs + after - before);
    }
    fn set_refs(&mut self, refs: usize) {
        self.metrics.refs_pending.inc_by(refs as i64 - self.refs as i64);
        self.refs = refs;
    }
    fn sessions_by_edge(&self, user: UserId) -> BTreeMap<NodeId, Vec<SessionId>> {
        let mut by_edge: BTreeMap<NodeId, Vec<SessionId>> = BTreeMap::new();
        for live in self.users.get(&user).into_iter().flatten() {
            by_edge.entry(live.edge).or_default().push(live.session);
        }
        by_edge
    }
    /// The frame for an edge that takes about so many bytes more.
    fn push_to(&mut self, edge: NodeId, bytes: usize) -> &mut PushFrame {
        let (home, term) = (self.group, self.term);
        let pushes = self.pushes.entry(edge).or_default();
        if pushes.last().is_none_or(|last| last.bytes + bytes > PUSH_BYTES) {
            let frame = empty_push(home, term);
            pushes.push(Push { frame, bytes: 0 });
        }
        let last = pushes.len() - 1;
        pushes[last].bytes += bytes;
        &mut pushes[last].frame
    }
    fn retain(&mut self, keep: impl Fn(UserId, &Live) -> bool, only: Option<UserId>) {
        let mut lost = 0;
        let (here, near) = (&mut self.here, &mut self.near);
        let mut prune = |user: UserId, sessions: &mut Vec<Live>| {
            let before = sessions.len();
            sessions.retain(|live| keep(user, live));
            if sessions.len() < before {
                lost += before - sessions.len();
                here.touch(user);
                near.touch(user);
            }
            !sessions.is_empty()
        };
        match only {
            Some(user) => {
                if self.users.get_mut(&user).is_some_and(|sessions| !prune(user, sessions)) {
                    self.users.remove(&user);
                }
            }
            None => self.users.retain(|user, sessions| prune(*user, sessions)),
        }
        match only {
            Some(user) if self.users.contains_key(&user) => {}
            Some(user) => drop(self.blocked.remove(&user)),
            None => self.blocked.retain(|user, _| self.users.contains_key(user)),
        }
        self.metrics.registered.dec_by(lost as i64);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.retain(|_, _| false, None);
        self.set_refs(0);
    }
}

/// A frame that says nothing yet.
pub(crate) fn empty_push(home: GroupId, term: Term) -> PushFrame {
    PushFrame {
        home,
        term,
        deliveries: Vec::new(),
        moves: Vec::new(),
        replaced: Vec::new(),
        receipts: Vec::new(),
        ended: Vec::new(),
        presence: PresencePush::default(),
    }
}

/// Whether `a` says all that `b` says, and nothing older.
fn covers(a: &Ref, b: &Ref) -> bool {
    a.incarnation > b.incarnation
        || (a.incarnation == b.incarnation && a.head >= b.head && a.member_seq >= b.member_seq && a.own >= b.own && a.join >= b.join)
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
