//! The one task of a client: owns the core, the store's writes and the connection.
//!
//! In: commands of handles, frames, pages, the clock. Out: frames, pulls, events, answers.
//! Loop: wait for one thing, give it to the core, then drain the core: store changes first, only then tell and send.
//! Bounds: `COMMANDS_MAX` commands wait; each queue of the core has its own. Invariant: nothing is sent that is not stored.

pub(crate) mod link;
mod reach;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_wire::{
    client::{Page, Request},
    code::{Code, Retry},
    id::{ChannelId, ClientSeq, NodeId},
    log::Position,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    time::sleep_until,
};

use self::link::Link;
use crate::{
    board::Boards,
    clock,
    core::{Core, Dial, Fate, Near, Output, PullId, Reply, Show, Tag, What},
    endpoint::{Endpoint, Trust},
    error::Error,
    feed::{Event, Feed},
    outgoing::{Delivery, MessageRef, Outgoing},
    presence::Screens,
    status::{Connection, Status, Traffic},
    store::{Change, Store},
    token::{TokenProvider, TokenReason},
    transport::{Transport, Transports},
    typist::Typists,
};

/// Commands that wait for the task; more make their callers wait.
pub(crate) const COMMANDS_MAX: usize = 32;
/// Token refusals in a row before the client gives up.
const AUTH_FAILURES_MAX: u32 = 4;

/// What a handle asks of the task.
pub(crate) enum Command {
    Connect,
    Write {
        channel: ChannelId,
        make: Box<dyn FnOnce(ClientSeq) -> Request + Send>,
        room: OwnedSemaphorePermit,
        done: oneshot::Sender<Outgoing>,
    },
    Ask {
        what: What,
        within: Duration,
        room: OwnedSemaphorePermit,
        done: oneshot::Sender<Result<Reply, Error>>,
    },
    /// Sends a write again.
    Retry {
        channel: ChannelId,
        client_seq: ClientSeq,
        done: oneshot::Sender<Result<Outgoing, Error>>,
    },
    /// Gives a write up.
    Discard {
        channel: ChannelId,
        client_seq: ClientSeq,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Traffic(oneshot::Sender<Traffic>),
    Activity(bool),
    /// Whether what this device holds is told to the edge: a device that is pushed to is not pushed what it has.
    Confirm(bool),
    NetworkChanged,
    /// Answered when no file is held any more.
    Background(oneshot::Sender<()>),
    Foreground,
    Close,
}

/// What the task is made of.
pub(crate) struct Parts {
    pub(crate) core: Core,
    pub(crate) dial: Dial,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tokens: Arc<dyn TokenProvider>,
    pub(crate) endpoint: Endpoint,
    pub(crate) owns_endpoint: bool,
    pub(crate) trust: Trust,
    pub(crate) server_name: Option<Arc<str>>,
    pub(crate) transports: Transports,
    pub(crate) token: Option<String>,
    /// For those who look at a write.
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) boards: Arc<Boards>,
    pub(crate) screens: Arc<Screens>,
    pub(crate) typists: Arc<Typists>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) connection: watch::Sender<Connection>,
    pub(crate) behind: watch::Sender<usize>,
    pub(crate) seed: u64,
}

/// For a confirmation to be taken.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Driver {
    parts: Parts,
    phase: Phase,
    address: String,
    /// When to leave the edge, at its wish or for a nearer one.
    leave_at: Option<Instant>,
    /// When QUIC is tried again beside a WebSocket, and the try.
    better_at: Option<Instant>,
    bettering: Option<BoxFuture<'static, Result<Link, Error>>>,
    near: Near,
    measuring: Option<BoxFuture<'static, Vec<Measured>>>,
    why_token: TokenReason,
    auth_failures: u32,
    connect_failures: u32,
    pulls: FuturesUnordered<BoxFuture<'static, (PullId, Result<Page, Error>)>>,
    asks: HashMap<Tag, (oneshot::Sender<Result<Reply, Error>>, OwnedSemaphorePermit)>,
    /// Those of this start have a place in the outbox.
    writes: HashMap<(ChannelId, ClientSeq), (watch::Sender<Delivery>, Option<OwnedSemaphorePermit>)>,
    /// Who waits for the store.
    stored: Vec<Stored>,
    confirms: bool,
    life: Life,
    /// Of links that ended.
    traffic: Traffic,
    rng: SmallRng,
}

/// Whom to tell that something is stored, and what.
enum Stored {
    Write(oneshot::Sender<Outgoing>, Outgoing),
    Again(oneshot::Sender<Result<Outgoing, Error>>, Outgoing),
    Gone(oneshot::Sender<Result<(), Error>>),
}

/// Whether the app is before its user's eyes.
enum Life {
    Foreground,
    /// The store is to be let go of; then these are told.
    Leaving {
        waiting: Vec<oneshot::Sender<()>>,
        was_idle: bool,
    },
    Background {
        was_idle: bool,
    },
    /// The store is to be taken again.
    Returning {
        was_idle: bool,
    },
}

enum Phase {
    /// Not asked to connect yet.
    Idle,
    /// Waits for its turn to dial.
    Down,
    Dialing(BoxFuture<'static, (Option<String>, Result<Link, Error>)>),
    Up(Box<Link>),
}

/// An edge, and how far it is: `None` when it did not answer.
type Measured = (NodeId, String, Option<Duration>);

/// The one thing that happened.
enum Happened {
    Command(Option<Command>),
    Dialed(Option<String>, Result<Link, Error>),
    Moved(Result<(), Error>),
    Pulled(PullId, Result<Page, Error>),
    Measured(Vec<Measured>),
    Bettered(Result<Link, Error>),
    Drained,
    Stirred,
    Time,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let rng = SmallRng::seed_from_u64(parts.seed);
        Self {
            parts,
            phase: Phase::Idle,
            address: String::new(),
            leave_at: None,
            better_at: None,
            bettering: None,
            near: Near::default(),
            measuring: None,
            why_token: TokenReason::First,
            auth_failures: 0,
            connect_failures: 0,
            pulls: FuturesUnordered::new(),
            asks: HashMap::new(),
            writes: HashMap::new(),
            stored: Vec::new(),
            confirms: false,
            life: Life::Foreground,
            traffic: Traffic::default(),
            rng,
        }
    }

    /// Runs until closed. On cancel (every handle gone) it ends the session and stops.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let end = loop {
            match self.drain().await {
                Ok(()) => {}
                Err(error) => break Some(error),
            }
            let happened = self.wait(&mut commands).await;
            match self.apply(happened) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error),
            }
            // All that waits is taken in at once, and stored in one transaction.
            let mut is_closing = false;
            for _ in 0..COMMANDS_MAX {
                match commands.try_recv() {
                    Ok(Command::Close) => is_closing = true,
                    Ok(command) => self.command(clock::now(), command),
                    Err(_) => break,
                }
            }
            if is_closing {
                break self.drain().await.err();
            }
        };
        if let Phase::Up(link) = &mut self.phase {
            link.close();
        }
        if let Err(error) = self.parts.store.close().await {
            tracing::warn!(%error, "the store did not close");
        }
        if self.parts.owns_endpoint {
            // So that a process that ends now still tells the edge; else the session would linger there for its idle time.
            self.parts.endpoint.close().await;
        }
        self.parts.status.send_replace(Status::Closed(end));
    }

    /// Waits for one thing. Every branch is cancel safe: channels, quinn's reads and writes, a notification, a timer; the dial future
    /// is kept and polled again.
    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>) -> Happened {
        let now = clock::now();
        let dial_at = match self.phase {
            Phase::Down => Some(self.parts.dial.not_before().unwrap_or(now)),
            _ => None,
        };
        let due =
            [self.parts.core.poll_timeout(), dial_at, self.leave_at, self.better_at, self.near.poll_timeout(), self.parts.typists.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
        let phase = &mut self.phase;
        let io = async {
            match phase {
                Phase::Idle | Phase::Down => std::future::pending().await,
                Phase::Dialing(dialing) => {
                    let (token, result) = dialing.await;
                    Happened::Dialed(token, result)
                }
                Phase::Up(link) => Happened::Moved(link.poll().await),
            }
        };
        let measuring = &mut self.measuring;
        let measured = async {
            match measuring {
                Some(measuring) => measuring.await,
                None => std::future::pending().await,
            }
        };
        let bettering = &mut self.bettering;
        let bettered = async {
            match bettering {
                Some(bettering) => bettering.await,
                None => std::future::pending().await,
            }
        };
        let timer = async {
            match due {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        // What arrived goes before the clock: a late task must not take its own delay for the edge's silence. Commands cannot starve, they
        // are also taken in after each event.
        tokio::select! {
            biased;
            happened = io => happened,
            Some((id, page)) = self.pulls.next(), if !self.pulls.is_empty() => Happened::Pulled(id, page),
            command = commands.recv() => Happened::Command(command),
            found = measured => Happened::Measured(found),
            link = bettered => Happened::Bettered(link),
            () = self.parts.feed.drained.notified() => Happened::Drained,
            () = self.parts.screens.stirred.notified() => Happened::Stirred,
            () = timer => Happened::Time,
        }
    }

    /// `Ok(false)`: the client is to close.
    fn apply(&mut self, happened: Happened) -> Result<bool, Error> {
        let now = clock::now();
        match happened {
            Happened::Command(None | Some(Command::Close)) => return Ok(false),
            Happened::Command(Some(command)) => self.command(now, command),
            Happened::Dialed(token, result) => {
                self.parts.token = token;
                match result {
                    Ok(link) => {
                        self.connect_failures = 0;
                        self.up(now, link);
                    }
                    Err(error) => {
                        self.connect_failures += 1;
                        self.down(now, error)?;
                    }
                }
            }
            Happened::Moved(result) => {
                let result = result.and_then(|()| self.take_frames(now));
                if let Err(error) = result {
                    // What the edge said last may still say why.
                    self.down(now, error)?;
                }
            }
            Happened::Pulled(id, page) => self.parts.core.handle_page(now, id, page),
            Happened::Stirred => self.parts.core.handle_wanted(self.parts.screens.wanted()),
            Happened::Drained => self.parts.core.handle_paused(self.parts.feed.is_full()),
            Happened::Measured(found) => self.measured(now, found),
            Happened::Bettered(link) => self.bettered(now, link),
            Happened::Time => {}
        }
        self.parts.core.handle_timeout(now);
        self.near.handle_timeout(now);
        self.parts.typists.handle_timeout(now);
        self.approach(now);
        if self.better_at.is_some_and(|at| at <= now) {
            self.better();
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            let mut error = Error::new(Code::Draining, Code::Draining.text());
            error.retry_after = Some(Duration::ZERO);
            self.down(now, error)?;
        }
        if matches!(self.phase, Phase::Down) && self.parts.dial.not_before().is_none_or(|at| at <= now) {
            self.dial();
        }
        Ok(true)
    }
    fn take_frames(&mut self, now: Instant) -> Result<(), Error> {
        let Phase::Up(link) = &mut self.phase else { return Ok(()) };
        while let Some(frame) = link.poll_frame()? {
            self.parts.core.handle_frame(now, frame);
        }
        Ok(())
    }
    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Connect => match &mut self.life {
                Life::Foreground => {
                    if matches!(self.phase, Phase::Idle) {
                        self.phase = Phase::Down;
                    }
                }
                Life::Leaving { was_idle, .. } | Life::Background { was_idle } | Life::Returning { was_idle } => *was_idle = false,
            },
            Command::Background(done) => self.leave(done),
            Command::Foreground => match self.life {
                Life::Foreground | Life::Returning { .. } => {}
                Life::Leaving { was_idle, .. } | Life::Background { was_idle } => self.life = Life::Returning { was_idle },
            },
            Command::Write { channel, make, room, done } => self.write(channel, make, room, done),
            Command::Retry { channel, client_seq, done } => self.retry(channel, client_seq, done),
            Command::Discard { channel, client_seq, done } => self.discard(channel, client_seq, done),
            Command::Ask { what, within, room, done } => {
                let tag = self.parts.core.handle_ask(now, what, within);
                self.asks.insert(tag, (done, room));
            }
            // Who went away needs no answer.
            Command::Traffic(done) => drop(done.send(self.traffic())),
            Command::Activity(active) => self.parts.core.handle_activity(active),
            Command::Confirm(confirms) => self.confirms = confirms,
            Command::NetworkChanged => {
                self.parts.dial.reset();
                self.parts.endpoint.ways().handle_network_changed(now);
                if self.parts.owns_endpoint
                    && let Err(error) = self.parts.endpoint.rebind()
                {
                    tracing::debug!(%error, "could not move to a new socket");
                }
                if matches!(&self.phase, Phase::Up(link) if link.transport() != Transport::Quic) {
                    // It hangs on the address that is gone. Nothing that ends the client ends it so.
                    let _ = self.down(now, Error::new(Code::Disconnected, "the network is another"));
                    self.parts.dial.reset();
                }
            }
            // Told apart by the caller.
            Command::Close => {}
        }
    }
    /// Of all links so far.
    fn traffic(&self) -> Traffic {
        match &self.phase {
            Phase::Up(link) => self.traffic + link.traffic(),
            _ => self.traffic,
        }
    }
    fn leave(&mut self, done: oneshot::Sender<()>) {
        match &mut self.life {
            Life::Leaving { waiting, .. } => waiting.push(done),
            Life::Background { was_idle } | Life::Returning { was_idle } => self.life = Life::Leaving { waiting: vec![done], was_idle: *was_idle },
            Life::Foreground => {
                self.traffic = self.traffic();
                let mut before = std::mem::replace(&mut self.phase, Phase::Idle);
                if let Phase::Up(link) = &mut before {
                    link.close();
                }
                self.life = Life::Leaving { waiting: vec![done], was_idle: matches!(before, Phase::Idle) };
                self.ended();
                self.parts.status.send_replace(Status::Suspended);
            }
        }
    }
    /// Lets go of the store, or takes it again, once all is stored.
    async fn live(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.life, Life::Foreground) {
            Life::Leaving { waiting, was_idle } => {
                self.parts.store.park().await.map_err(|error| Error::store("letting go of the local store", error))?;
                self.life = Life::Background { was_idle };
                // Who went away needs no answer.
                for done in waiting {
                    let _ = done.send(());
                }
            }
            Life::Returning { was_idle } => {
                self.parts.store.resume().await.map_err(|error| Error::store("taking the local store again", error))?;
                self.parts.status.send_replace(Status::Offline);
                if !was_idle {
                    self.parts.dial.reset();
                    self.phase = Phase::Down;
                }
            }
            life => self.life = life,
        }
        Ok(())
    }
    fn write(
        &mut self,
        channel: ChannelId,
        make: Box<dyn FnOnce(ClientSeq) -> Request + Send>,
        room: OwnedSemaphorePermit,
        done: oneshot::Sender<Outgoing>,
    ) {
        let client_seq = self.parts.core.handle_write(channel, make);
        let (state, watched) = watch::channel(Delivery::Queued);
        self.writes.insert((channel, client_seq), (state, Some(room)));
        self.stored.push(Stored::Write(done, self.outgoing(channel, client_seq, watched)));
    }
    fn outgoing(&self, channel: ChannelId, client_seq: ClientSeq, state: watch::Receiver<Delivery>) -> Outgoing {
        Outgoing::new(channel, client_seq, state, self.parts.commands.clone())
    }
    fn retry(&mut self, channel: ChannelId, client_seq: ClientSeq, done: oneshot::Sender<Result<Outgoing, Error>>) {
        let Some(number) = self.parts.core.handle_retry(channel, client_seq) else {
            return drop(done.send(Err(Error::new(Code::NotFound, "no such write waits, or was refused"))));
        };
        if number != client_seq {
            // The new one takes its place in the lists.
            self.parts.boards.handle_state(channel, client_seq, &Delivery::Discarded);
        }
        let (state, _) = self.writes.entry((channel, number)).or_insert_with(|| (watch::channel(Delivery::Queued).0, None));
        let watched = state.subscribe();
        self.stored.push(Stored::Again(done, self.outgoing(channel, number, watched)));
    }
    fn discard(&mut self, channel: ChannelId, client_seq: ClientSeq, done: oneshot::Sender<Result<(), Error>>) {
        if !self.parts.core.handle_discard(channel, client_seq) {
            return drop(done.send(Err(Error::new(Code::NotFound, "no such write waits, or was refused"))));
        }
        self.parts.boards.handle_state(channel, client_seq, &Delivery::Discarded);
        self.stored.push(Stored::Gone(done));
    }

    /// Takes everything out of the core: changes into the store, then outputs, frames and pulls.
    async fn drain(&mut self) -> Result<(), Error> {
        loop {
            let now = clock::now();
            if let Some(changes) = self.parts.core.poll_changes() {
                let written = |change: &Change| if let Change::Write(write) = change { Some(write.clone()) } else { None };
                let written: Vec<_> = changes.iter().filter_map(written).collect();
                self.parts.store.commit(changes).await.map_err(|error| Error::store("writing to the local store", error))?;
                written.iter().for_each(|write| self.parts.boards.handle_stored(write));
            }
            for stored in self.stored.drain(..) {
                // A caller that went away loses the handle only.
                match stored {
                    Stored::Write(done, outgoing) => drop(done.send(outgoing)),
                    Stored::Again(done, outgoing) => drop(done.send(Ok(outgoing))),
                    Stored::Gone(done) => drop(done.send(Ok(()))),
                }
            }
            self.outputs(now)?;
            self.send(now);
            if self.parts.core.is_drained() {
                break;
            }
        }
        self.live().await?;
        let behind = self.parts.core.behind();
        self.parts.behind.send_if_modified(|value| std::mem::replace(value, behind) != behind);
        Ok(())
    }
    fn send(&mut self, now: Instant) {
        let Phase::Up(link) = &mut self.phase else { return };
        let token = self.parts.token.as_deref().unwrap_or_default();
        while link.has_room() {
            let Some(frame) = self.parts.core.poll_frame(now, token) else { break };
            link.add(&frame);
        }
        while let Some((id, pull)) = self.parts.core.poll_pull() {
            let page = link.pull(&pull, Arc::clone(&self.parts.endpoint.pulls));
            self.pulls.push(page.map(move |page| (id, page)).boxed());
        }
    }
    fn outputs(&mut self, now: Instant) -> Result<(), Error> {
        let mut events = Vec::new();
        let mut held: HashMap<ChannelId, Position> = HashMap::new();
        let mut lost = None;
        while let Some(output) = self.parts.core.poll_output() {
            match output {
                Output::Welcomed(node) => {
                    self.near.handle_welcomed(node, &self.address);
                    self.auth_failures = 0;
                    self.parts.dial.handle_connected(&self.address);
                    self.parts.status.send_replace(Status::Syncing);
                }
                Output::Reconciled => {
                    self.parts.status.send_replace(Status::Online);
                }
                Output::Show(Show::Records(channel, records)) => {
                    if let Some(last) = records.last().filter(|_| self.confirms) {
                        held.insert(channel, last.at);
                    }
                    self.parts.boards.handle_records(channel, &records);
                    records.iter().for_each(|record| self.parts.typists.handle_record(channel, record.sender));
                    events.extend(records.into_iter().map(|record| Event::Record { channel, record }));
                }
                Output::Show(Show::Row(row)) => {
                    self.parts.boards.handle_row(&row);
                    events.push(Event::Channel(row));
                }
                Output::Show(Show::Gap(channel, span)) => events.push(Event::Gap { channel, first: span.first, last: span.last }),
                Output::Show(Show::Resync) => events.push(Event::Resync),
                Output::Typing { channel, user } => {
                    self.parts.typists.handle_typing(now, channel, user);
                    events.push(Event::Typing { channel, user });
                }
                Output::Presence(views) => self.parts.screens.take(views),
                Output::Receipt { channel, user, read, delivered } => events.push(Event::Receipt { channel, user, read, delivered }),
                Output::StoreReplaced => events.push(Event::StoreReplaced),
                Output::Replied(tag, result) => {
                    if let Some((done, _room)) = self.asks.remove(&tag) {
                        // A caller that went away needs no answer.
                        let _ = done.send(result);
                    }
                }
                Output::Sending(channel, client_seq) => {
                    self.parts.boards.handle_state(channel, client_seq, &Delivery::Sending);
                    if let Some((state, _)) = self.writes.get(&(channel, client_seq)) {
                        state.send_replace(Delivery::Sending);
                    }
                }
                Output::Settled(channel, client_seq, fate) => {
                    let end = match fate {
                        Fate::Sent { at, ts } => Delivery::Sent(MessageRef { channel, at, ts }),
                        Fate::Kept { id } => Delivery::Kept(id),
                        Fate::Failed(error) => Delivery::Failed(error),
                        Fate::Discarded => Delivery::Discarded,
                    };
                    self.parts.boards.handle_state(channel, client_seq, &end);
                    if let Some((state, _room)) = self.writes.remove(&(channel, client_seq)) {
                        state.send_replace(end);
                    }
                }
                Output::Edges(edges) => {
                    self.near.handle_edges(now, self.rng.random(), &edges);
                    self.parts.dial.rank(edges.into_iter().map(|edge| edge.address));
                }
                // The edge has spread its sessions over the time.
                Output::GoAway(after) => self.leave_at = Some(now + after.mul_f64(1.0 - self.rng.random::<f64>() / 10.0)),
                Output::Lost(error) => lost = lost.or(Some(error)),
            }
        }
        for (channel, delivered) in held {
            // Nobody waits for the answer; one that is lost is followed by a larger one.
            self.parts.core.handle_ask(now, What::Request(Request::Delivered { channel, delivered }), CONFIRM_WITHIN);
        }
        if !events.is_empty() {
            let is_full = self.parts.feed.publish(events);
            self.parts.core.handle_paused(is_full);
        }
        self.approach(now);
        lost.map_or(Ok(()), |error| self.down(now, error))
    }

    /// The session is over; another one may follow.
    fn ended(&mut self) {
        (self.leave_at, self.better_at, self.bettering, self.measuring) = (None, None, None, None);
        self.near.handle_disconnected();
        self.pulls.clear();
        self.parts.core.handle_disconnected();
    }
    /// The connection is gone, or never came. An error: the client can't go on.
    fn down(&mut self, now: Instant, error: Error) -> Result<(), Error> {
        self.traffic = self.traffic();
        match std::mem::replace(&mut self.phase, Phase::Down) {
            // Told twice: by what the edge said, and by the end of its stream.
            Phase::Down | Phase::Idle => return Ok(()),
            Phase::Dialing(_) => {}
            Phase::Up(mut link) => link.close(),
        }
        self.ended();
        if matches!(error.code, Code::Replaced | Code::Revoked | Code::LoginNeeded | Code::VersionMismatch | Code::WrongCluster) {
            return Err(error);
        }
        if error.retry() == Retry::AfterAuth {
            self.auth_failures += 1;
            self.parts.token = None;
            self.why_token = TokenReason::Refused;
            if self.auth_failures >= AUTH_FAILURES_MAX {
                return Err(error);
            }
        }
        tracing::debug!(%error, edge = %self.address, "the session ended, will resume");
        self.parts.dial.handle_failed(now, self.rng.random(), &self.address, error.retry_after, error.elsewhere);
        let next_try = Some(self.parts.dial.not_before().unwrap_or(now));
        self.parts.connection.send_modify(|connection| connection.next_try = next_try);
        self.parts.status.send_replace(Status::Offline);
        Ok(())
    }
}

impl Drop for Driver {
    /// However the task ends: readers of events are not left waiting.
    fn drop(&mut self) {
        self.parts.feed.close();
    }
}
