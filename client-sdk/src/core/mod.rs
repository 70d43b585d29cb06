//! The session of one device, without IO: what a frame, a page, a command or the clock leads to.
//!
//! In: `handle_*` with the time as an argument. Out: `poll_*`, in this order: changes (to be stored before anything else goes out),
//! events, frames, pulls, the next timeout. Invariants: those of `outbox` (exactly once), `cursor` and `sync` (in order, no hole).
//! Bounds: `REQUESTS_MAX` unanswered requests, `PULLS_MAX` pulls. Not here: sockets, tasks and tokens (`driver`), what is kept (`store`).

mod ask;
mod cursor;
#[cfg(test)]
mod death;
mod dial;
#[cfg(test)]
pub(crate) mod fake_server;
mod looking;
mod near;
mod outbox;
mod sync;
#[cfg(test)]
mod tests;
mod way;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use kith_wire::{
    client::{Answer, Edge, Event, Hello, Page, Pull, Refusal, Request, ToClient, ToEdge, Welcome},
    code::Code,
    hello::{CURRENT, Features},
    id::{ChannelId, ClientSeq, ClusterId, Conn, DeviceId, NodeId, RequestId, Seq, UserId},
    limit::{SESSION_PULLS_MAX, SESSION_REQUESTS_MAX},
    log::Position,
    presence::PresenceView,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use self::{
    ask::Asks,
    looking::{About, Looking},
    outbox::{Outbox, Settled, renumbered},
    sync::{Purpose, Step, Sync},
};
pub(crate) use self::{
    ask::{Reply, Tag, What},
    dial::Dial,
    near::{Near, Want},
    outbox::Fate,
    sync::Show,
    way::{Network, Ways},
};
pub use self::{dial::RetryPolicy, sync::Backfill};
use crate::{
    error::Error,
    store::{Change, Identity, Snapshot},
};

/// What a core needs to begin.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) identity: Identity,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) backfill: Backfill,
    /// Between two beats, when nothing else is sent.
    pub(crate) heartbeat: Duration,
    /// An answer is waited for so long before the edge is probed, and the probe so long again before it is given up.
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
}

/// Names a pull in flight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PullId(u64);

/// What the driver and the app hear.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// The edge took the session.
    Welcomed(NodeId),
    /// Every row of the index that was known at the start is held.
    Reconciled,
    Show(Show),
    Receipt {
        channel: ChannelId,
        user: UserId,
        read: Position,
        delivered: Position,
    },
    Typing {
        channel: ChannelId,
        user: UserId,
    },
    Presence(Vec<PresenceView>),
    Replied(Tag, Result<Reply, Error>),
    Sending(ChannelId, ClientSeq),
    Settled(ChannelId, ClientSeq, Fate),
    StoreReplaced,
    Edges(Vec<Edge>),
    /// The edge wants this session gone after the delay.
    GoAway(Duration),
    /// The connection is of no use any more; the reason is the edge's, or ours.
    Lost(Error),
}

#[derive(Debug)]
pub(crate) struct Core {
    config: Config,
    device: DeviceId,
    conn: Conn,
    phase: Phase,
    outbox: Outbox,
    sync: Sync,
    asks: Asks,
    looking: Looking,
    /// Texts that were refused, until the app sends them anew or drops them.
    parked: BTreeMap<(ChannelId, ClientSeq), Request>,
    /// Own acked writes and heads of pages that the app was shown, beside what `sync` knows: no later page may end before them.
    known: HashMap<ChannelId, Seq>,
    next_request: u64,
    requests: BTreeMap<RequestId, Waiting>,
    /// When each unanswered request is given up, by rising time.
    deadlines: VecDeque<(Instant, RequestId)>,
    next_pull: u64,
    pulls: BTreeMap<PullId, PullOf>,
    changes: Vec<Change>,
    outputs: VecDeque<Output>,
    heard: Instant,
    said: Instant,
    next_beat: Duration,
    probed: Option<Instant>,
    /// Doubles while edges that welcomed us fall silent one after the other: then it is us, or the load.
    patience: Duration,
    beat_due: bool,
    discover_due: bool,
    /// How far edges are.
    measured: Vec<(NodeId, u32)>,
    reconciled: bool,
    rng: SmallRng,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Down,
    /// Hello is to be sent.
    Hello,
    /// Welcome is awaited.
    Greeting,
    Up,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waiting {
    Write(ChannelId, ClientSeq),
    App(Tag),
    Looking(About),
    Discover,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PullOf {
    Sync(Purpose),
    App(Tag),
}

impl Core {
    pub(crate) fn new(config: Config, snapshot: Snapshot, now: Instant) -> Self {
        let mut outbox = Outbox::default();
        let parked = snapshot.parked.into_iter().map(|parked| ((parked.write.channel, parked.write.client_seq), parked.write.request)).collect();
        outbox.load(snapshot.numbers, snapshot.writes);
        let sync = Sync::new(config.backfill, snapshot.user_rev, snapshot.cursors, &snapshot.rows);
        Self {
            device: DeviceId::from_nonce(config.identity.user, &config.identity.nonce),
            conn: snapshot.conn,
            phase: Phase::Down,
            outbox,
            sync,
            asks: Asks::default(),
            looking: Looking::default(),
            parked,
            known: HashMap::new(),
            next_request: 1,
            requests: BTreeMap::new(),
            deadlines: VecDeque::new(),
            next_pull: 1,
            pulls: BTreeMap::new(),
            changes: Vec::new(),
            outputs: VecDeque::new(),
            heard: now,
            said: now,
            next_beat: config.heartbeat,
            probed: None,
            patience: config.patience,
            beat_due: false,
            discover_due: false,
            measured: Vec::new(),
            reconciled: false,
            rng: SmallRng::seed_from_u64(config.seed),
            config,
        }
    }

    // ---- inputs

    /// The chat stream is open.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.conn = Conn::new(self.conn.get() + 1);
        self.changes.push(Change::Conn(self.conn));
        self.phase = Phase::Hello;
        self.heard = now;
        self.said = now;
    }
    /// The connection is gone; what was unanswered goes out again on the next one.
    pub(crate) fn handle_disconnected(&mut self) {
        self.phase = Phase::Down;
        self.requests.clear();
        self.deadlines.clear();
        self.pulls.clear();
        self.probed = None;
        self.beat_due = false;
        self.reconciled = false;
        self.outbox.handle_disconnected();
        self.sync.handle_disconnected();
        self.asks.handle_disconnected();
    }
    /// A frame came in on the chat stream.
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: ToClient) {
        self.heard = now;
        self.probed = None;
        match frame {
            ToClient::Welcome(welcome) => self.welcome(welcome),
            ToClient::Answer { id, answer } => {
                // As good as a beat: who talks all the time never sends one.
                self.patience = self.config.patience;
                self.answer(now, id, answer.map_err(|refusal| Error::refused(refusal, Some(id))));
            }
            ToClient::Event(event) => self.event(now, event),
            ToClient::Beat => self.patience = self.config.patience,
            ToClient::Bye(refusal) => self.lost(refusal),
        }
    }
    /// Takes a write in. It is durable once the changes are.
    pub(crate) fn handle_write(&mut self, channel: ChannelId, make: impl FnOnce(ClientSeq) -> Request) -> ClientSeq {
        let write = self.outbox.push(channel, make);
        let client_seq = write.client_seq;
        self.changes.push(Change::Write(write));
        client_seq
    }
    /// Sends a write again: now, if it waits; under a new number, if it was refused. Its number; `None`: there is no such write.
    pub(crate) fn handle_retry(&mut self, channel: ChannelId, client_seq: ClientSeq) -> Option<ClientSeq> {
        if self.outbox.hurry(channel, client_seq) {
            return Some(client_seq);
        }
        let request = self.parked.remove(&(channel, client_seq))?;
        self.changes.push(Change::Dropped(channel, client_seq));
        Some(self.handle_write(channel, |number| renumbered(request, number)))
    }
    /// Gives a write up that is not answered, or drops one that was refused. `false`: there is no such write.
    pub(crate) fn handle_discard(&mut self, channel: ChannelId, client_seq: ClientSeq) -> bool {
        if self.parked.remove(&(channel, client_seq)).is_some() {
            self.changes.push(Change::Dropped(channel, client_seq));
            return true;
        }
        match self.outbox.discard(channel, client_seq, self.device) {
            Some(void) => self.changes.push(Change::Write(void)),
            None => return false,
        }
        true
    }
    /// Takes a request or pull of the app in.
    pub(crate) fn handle_ask(&mut self, now: Instant, what: What, within: Duration) -> Tag {
        let what = match what {
            // What this device knows to exist is never answered by a replica that has not got it yet.
            // Behind a read barrier nothing is missing anyway.
            What::Pull(Pull::History(mut query)) if query.replica.is_none() && !query.linearizable => {
                let known = self.known.get(&query.channel).copied().unwrap_or(Seq::ZERO);
                query.min_seq = query.min_seq.max(self.sync.highest(query.channel)).max(known);
                What::Pull(Pull::History(query))
            }
            what => what,
        };
        self.asks.push(now, what, within)
    }
    /// Whom the app shows from now on.
    pub(crate) fn handle_wanted(&mut self, wanted: BTreeSet<UserId>) {
        self.looking.handle_wanted(wanted);
    }
    /// Whether somebody sits before this device.
    pub(crate) fn handle_activity(&mut self, active: bool) {
        self.looking.handle_activity(active);
    }
    /// How far edges are; the ranking is asked for again.
    pub(crate) fn handle_measured(&mut self, measured: Vec<(NodeId, u32)>) {
        self.measured = measured;
        self.discover_due = true;
    }
    /// A pull ended.
    pub(crate) fn handle_page(&mut self, now: Instant, id: PullId, page: Result<Page, Error>) {
        let Some(of) = self.pulls.remove(&id) else { return };
        if page.is_ok() {
            self.heard = now;
        }
        let page = page.and_then(|page| match page {
            Page::Refused(refusal) => Err(Error::refused(refusal, None)),
            page => Ok(page),
        });
        let spread = self.spread();
        match of {
            PullOf::Sync(purpose) => {
                let step = self.sync.handle_page(now, spread, purpose, page);
                self.step(step);
            }
            PullOf::App(tag) => {
                if let (Some(channel), Ok(Page::History(page))) = (self.asks.channel(tag), &page) {
                    self.learn(channel, page.head.seq);
                }
                if let Some(result) = self.asks.handle_answer(now, spread, tag, page.map(Reply::Page)) {
                    self.outputs.push_back(Output::Replied(tag, result));
                }
            }
        }
    }
    /// The app does (not) keep up with what it is shown.
    pub(crate) fn handle_paused(&mut self, is_paused: bool) {
        self.sync.set_paused(is_paused);
    }
    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((tag, error)) = self.asks.poll_ended(now) {
            self.outputs.push_back(Output::Replied(tag, Err(error)));
        }
        self.asks.handle_timeout(now);
        self.looking.handle_timeout(now);
        self.sync.handle_timeout(now);
        self.outbox.handle_timeout(now);
        match self.phase {
            Phase::Down => return,
            Phase::Hello | Phase::Greeting => {
                if now >= self.heard + HELLO_WITHIN {
                    self.outputs.push_back(Output::Lost(Error::new(Code::Timeout, "the edge did not answer the hello")));
                }
                return;
            }
            Phase::Up => {}
        }
        while let Some(&(_, id)) = self.deadlines.front().filter(|(at, id)| *at <= now || !self.requests.contains_key(id)) {
            self.deadlines.pop_front();
            if self.requests.contains_key(&id) {
                self.answer(now, id, Err(Error::new(Code::Timeout, Code::Timeout.text())));
            }
        }
        if self.probed.is_some_and(|at| now >= at + self.patience) {
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
            self.outputs.push_back(Output::Lost(Error::new(Code::Timeout, "the edge fell silent")));
        } else if self.beat_at().is_some_and(|at| now >= at) {
            self.beat_due = true;
            self.probed = self.probed.or(Some(now));
        }
    }

    // ---- outputs

    /// What must be stored before anything else is taken out.
    pub(crate) fn poll_changes(&mut self) -> Option<Vec<Change>> {
        (!self.changes.is_empty()).then(|| std::mem::take(&mut self.changes))
    }
    /// Whether there is nothing to store and nothing to tell.
    pub(crate) fn is_drained(&self) -> bool {
        self.changes.is_empty() && self.outputs.is_empty()
    }
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    /// The next frame for the chat stream.
    pub(crate) fn poll_frame(&mut self, now: Instant, token: &str) -> Option<ToEdge> {
        debug_assert!(self.changes.is_empty(), "changes are stored before frames are taken");
        let frame = match self.phase {
            Phase::Down | Phase::Greeting => return None,
            Phase::Hello => {
                self.phase = Phase::Greeting;
                ToEdge::Hello(self.hello(token))
            }
            Phase::Up if self.beat_due => {
                self.beat_due = false;
                ToEdge::Beat
            }
            Phase::Up => {
                let (waiting, request) = self.next_request(now)?;
                let id = RequestId::new(self.next_request);
                self.next_request += 1;
                self.requests.insert(id, waiting);
                self.deadlines.push_back((now + ANSWER_WITHIN, id));
                ToEdge::Request { id, request }
            }
        };
        self.said = now;
        let jitter = 0.8 + 0.2 * self.spread();
        self.next_beat = self.config.heartbeat.mul_f64(jitter);
        Some(frame)
    }
    /// The next pull to open on a stream of its own.
    pub(crate) fn poll_pull(&mut self) -> Option<(PullId, Pull)> {
        if self.phase != Phase::Up || self.pulls.len() >= PULLS_MAX {
            return None;
        }
        // The app's own pulls first, but never so that sync starves.
        let for_app = self.pulls.values().filter(|of| matches!(of, PullOf::App(_))).count() < PULLS_MAX / 2;
        let app = if for_app { self.asks.poll_pull().map(|(tag, pull)| (PullOf::App(tag), pull)) } else { None };
        let (of, pull) = app.or_else(|| self.sync.poll_pull().map(|(purpose, pull)| (PullOf::Sync(purpose), pull)))?;
        let id = PullId(self.next_pull);
        self.next_pull += 1;
        self.pulls.insert(id, of);
        Some((id, pull))
    }
    /// When `handle_timeout` is due; after it, frames and pulls may be taken again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waits = [self.asks.poll_timeout(), self.sync.poll_timeout(), self.outbox.poll_timeout(), self.looking.poll_timeout()];
        let session = match self.phase {
            Phase::Down => [None; 3],
            Phase::Hello | Phase::Greeting => [Some(self.heard + HELLO_WITHIN), None, None],
            Phase::Up => [self.probed.map(|at| at + self.patience), self.deadlines.front().map(|(at, _)| *at), self.beat_at()],
        };
        waits.into_iter().chain(session).flatten().min()
    }
    pub(crate) fn behind(&self) -> usize {
        self.sync.behind()
    }

    // ---- frames

    fn hello(&self, token: &str) -> Hello {
        Hello {
            version: CURRENT,
            features: Features::default(),
            cluster: self.config.cluster,
            token: token.to_owned(),
            device: self.device,
            conn: self.conn,
            user_rev: self.sync.user_rev(),
        }
    }
    fn welcome(&mut self, welcome: Welcome) {
        if self.phase != Phase::Greeting {
            return self.lost(fault("a second welcome"));
        }
        if welcome.user != self.config.identity.user {
            let mut refusal = fault("the token is of another user than this store");
            refusal.code = Code::BadToken;
            return self.lost(refusal);
        }
        self.phase = Phase::Up;
        self.config.cluster = Some(welcome.cluster);
        self.discover_due = true;
        self.sync.handle_connected(welcome.user_rev);
        self.looking.handle_connected();
        self.outputs.push_back(Output::Welcomed(welcome.node));
        self.check_reconciled();
    }
    fn answer(&mut self, now: Instant, id: RequestId, answer: Result<Answer, Error>) {
        // One that is not awaited any more was given up: what it answered was sent again.
        let Some(waiting) = self.requests.remove(&id) else { return };
        while self.deadlines.front().is_some_and(|(_, id)| !self.requests.contains_key(id)) {
            self.deadlines.pop_front();
        }
        if let Err(error) = &answer
            && matches!(error.code, Code::Draining | Code::BadToken | Code::TokenExpired | Code::Revoked)
        {
            self.outputs.push_back(Output::Lost(error.clone()));
        }
        let spread = self.spread();
        match waiting {
            Waiting::Write(channel, client_seq) => {
                for settled in self.outbox.handle_answer(now, spread, channel, client_seq, answer) {
                    self.settled(now, settled);
                }
            }
            Waiting::App(tag) => {
                if let (Some((channel, read)), Ok(Answer::Done)) = (self.asks.mark_read(tag), &answer) {
                    self.changes.push(Change::Read(channel, read));
                }
                if let Some(result) = self.asks.handle_answer(now, spread, tag, answer.map(Reply::Answer)) {
                    self.outputs.push_back(Output::Replied(tag, result));
                }
            }
            Waiting::Looking(about) => self.looking.handle_answer(about, answer.is_ok(), now),
            Waiting::Discover => {
                if let Ok(Answer::Edges(edges)) = answer {
                    self.changes.push(Change::Edges(edges.clone()));
                    self.outputs.push_back(Output::Edges(edges));
                }
            }
        }
    }
    fn settled(&mut self, now: Instant, settled: Settled) {
        let Settled { channel, client_seq, fate, store_replaced, refused } = settled;
        let acked = matches!(fate, Fate::Sent { .. } | Fate::Kept { .. });
        match (&fate, refused) {
            (Fate::Failed(error), Some(request)) => {
                self.changes.push(Change::Parked { channel, client_seq, code: error.code, why: error.text.clone() });
                self.park(channel, client_seq, request);
            }
            _ => self.changes.push(Change::Settled { channel, client_seq, acked }),
        }
        if let Fate::Sent { at, .. } = &fate {
            self.sync.handle_head(now, channel, at.seq);
            self.learn(channel, at.seq);
        }
        self.outputs.push_back(Output::Settled(channel, client_seq, fate));
        if store_replaced {
            self.outputs.push_back(Output::StoreReplaced);
        }
    }
    fn park(&mut self, channel: ChannelId, client_seq: ClientSeq, request: Request) {
        self.parked.insert((channel, client_seq), request);
        while self.parked.len() > PARKED_MAX {
            let Some((channel, client_seq)) = self.parked.keys().find(|key| **key != (channel, client_seq)).copied() else { break };
            self.parked.remove(&(channel, client_seq));
            self.changes.push(Change::Dropped(channel, client_seq));
            self.outputs.push_back(Output::Settled(channel, client_seq, Fate::Discarded));
        }
    }
    fn learn(&mut self, channel: ChannelId, seq: Seq) {
        let known = self.known.entry(channel).or_default();
        *known = (*known).max(seq);
    }
    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Delivery(delivery) => {
                let step = self.sync.handle_delivery(now, delivery);
                self.step(step);
            }
            Event::IndexMoved { from, to, rows } => {
                let step = self.sync.handle_moved(now, from, to, rows);
                self.step(step);
            }
            Event::SyncNeeded { to } => self.sync.handle_target(to),
            Event::Receipt { channel, user, read, delivered } => self.outputs.push_back(Output::Receipt { channel, user, read, delivered }),
            Event::Typing { channel, user } => self.outputs.push_back(Output::Typing { channel, user }),
            Event::Presence(views) => self.outputs.push_back(Output::Presence(views)),
            Event::GoAway { after_ms } => {
                // Where to, as things stand now.
                self.discover_due = true;
                self.outputs.push_back(Output::GoAway(Duration::from_millis(u64::from(after_ms))));
            }
        }
    }
    fn step(&mut self, step: Step) {
        self.changes.extend(step.changes);
        self.outputs.extend(step.shows.into_iter().map(Output::Show));
        self.check_reconciled();
    }
    fn check_reconciled(&mut self) {
        if self.phase == Phase::Up && !self.reconciled && self.sync.is_reconciled() {
            self.reconciled = true;
            self.outputs.push_back(Output::Reconciled);
        }
    }
    fn lost(&mut self, refusal: Refusal) {
        self.outputs.push_back(Output::Lost(Error::refused(refusal, None)));
    }
    fn next_request(&mut self, now: Instant) -> Option<(Waiting, Request)> {
        if self.discover_due {
            self.discover_due = false;
            return Some((Waiting::Discover, Request::Discover { measured: self.measured.clone(), region: None }));
        }
        if self.requests.len() >= REQUESTS_MAX {
            return None;
        }
        if let Some((about, request)) = self.looking.poll() {
            return Some((Waiting::Looking(about), request));
        }
        // Writes leave room for questions, so that those never wait for a group without a leader.
        if let Some((tag, request)) = self.asks.poll_request() {
            return Some((Waiting::App(tag), request));
        }
        if self.outbox.in_flight() >= WRITES_IN_FLIGHT_MAX {
            return None;
        }
        let (channel, client_seq, request) = self.outbox.poll(now, self.device)?;
        self.outputs.push_back(Output::Sending(channel, client_seq));
        Some((Waiting::Write(channel, client_seq), request))
    }
    /// When a beat is due: after silence while something is awaited, or after a while of saying nothing.
    fn beat_at(&self) -> Option<Instant> {
        if self.phase != Phase::Up || self.probed.is_some() {
            return None;
        }
        let idle = self.said + self.next_beat;
        let awaits = !self.requests.is_empty() || !self.pulls.is_empty();
        Some(if awaits { idle.min(self.heard.max(self.asked_at()) + self.patience) } else { idle })
    }
    fn asked_at(&self) -> Instant {
        self.deadlines.front().map_or(self.said, |(at, _)| *at - ANSWER_WITHIN)
    }
    fn spread(&mut self) -> f64 {
        self.rng.random::<f64>()
    }
}

/// Full jitter: evenly from 0 to a bound that doubles with each attempt. `spread` is a random number below 1.
fn backoff(min: Duration, max: Duration, attempts: u32, spread: f64) -> Duration {
    min.saturating_mul(1 << attempts.min(16)).min(max).mul_f64(spread)
}

fn fault(text: &str) -> Refusal {
    Refusal { code: Code::BadFrame, retry_after_ms: None, expected: None, leader: None, text: text.to_owned(), alternates: Vec::new() }
}

/// Unanswered requests of one session, of the server's `SESSION_REQUESTS_MAX`: the rest waits here.
const REQUESTS_MAX: usize = SESSION_REQUESTS_MAX - 4;
/// Of those, writes.
const WRITES_IN_FLIGHT_MAX: usize = REQUESTS_MAX - 12;
/// Refused texts that are kept; with one more, one makes room.
const PARKED_MAX: usize = 256;
/// Pulls in flight.
const PULLS_MAX: usize = SESSION_PULLS_MAX;
/// The edge answers a hello within this time, or another is tried.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// An unanswered request is asked again after this time on a connection that lives.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Longest patience with a silent edge.
const PATIENCE_MAX: Duration = Duration::from_secs(15);
