//! The streams of one client: reads and writes for [`Machine`], and carries out what it asks for.
//!
//! In: a connection, of QUIC, WebTransport or a WebSocket (`link`). Out: nothing; returns when the session has ended and its registration is undone. One task a
//! session; requests are futures in it, first polled in order. Everything that is ready goes out in one write; the echo of a client's own record waits for the next
//! write, or for [`ECHO_WAIT`]: the client has the answer, and a packet costs more than all else here. Bounds: while [`WRITE_BYTES_MAX`] wait to be
//! written, the client's requests are not read and its outbox is not drained. On cancel the client is told. While the node drains, a
//! session that is idle when it should have moved is ended, and so is one whose client does not even acknowledge that it is told.
//! Not here: rules (`machine`).

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use axum::extract::ws::WebSocket;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kith_wire::{
    admin::AdminSecret,
    client::{Answer, Event, Refusal, Request, ToClient},
    code::Code,
    frame::Decoder,
    id::{RequestId, SessionId, UserId, UserRev},
    peer::Caller,
};
use quinn::Connection;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tracing::Instrument;

use super::{
    Door, Requests, Sessions, Tokens, Whose, codec,
    link::{ChatRecv, ChatSend, Link, Read, socket, web::Web},
    machine::{Action, HELLO_WITHIN, Identity, Machine, Registered},
    metrics::{End, OutboxMetrics, SessionMetrics, SessionReject},
    out::{Out, STUCK_MAX},
};
use crate::{
    auth::Claims,
    clock::{Instant, SharedClock},
    outbox::{Item, Outbox},
    router::refuse,
};

/// Bytes that wait to be written before reading and draining stop.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;
/// The service has at most so long for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// After Bye: until the client has it.
const BYE_WITHIN: Duration = Duration::from_secs(2);
/// While draining: for a client to acknowledge what it is told, at least and at most; three round trips where it is known.
const ACK_WITHIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// While draining: from when a client should have moved until it is made to.
const MOVE_WITHIN: Duration = Duration::from_millis(250);
/// What a client wrote itself comes back to it at most so much later than it could.
const ECHO_WAIT: Duration = Duration::from_millis(25);
/// The chat stream goes before bulk streams.
const CHAT_PRIORITY: i32 = 10;

/// What sessions need of the node.
pub struct SessionParts {
    /// What the client is shown of it.
    pub identity: Identity,
    /// Time.
    pub clock: SharedClock,
    /// Operations.
    pub requests: Arc<dyn Requests>,
    /// Tokens.
    pub tokens: Arc<dyn Tokens>,
    /// Registration.
    pub sessions: Arc<dyn Sessions>,
    /// Strangers.
    pub door: Arc<dyn Door>,
    /// Fires when the node takes no more sessions and wants these to move.
    pub draining: CancellationToken,
    /// Counters.
    pub session_metrics: Arc<SessionMetrics>,
    /// Counters.
    pub outbox_metrics: Arc<OutboxMetrics>,
}

impl std::fmt::Debug for SessionParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionParts").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Runs a session on a connection until it ends. `trace` seeds the names of its requests in the nodes' logs.
pub async fn run(parts: Arc<SessionParts>, conn: Connection, trace: u64) {
    // On the heap for as long as it takes: what is part of this future, an idle session pays for to its end.
    let accepted = Box::pin(parts.draining.run_until_cancelled(tokio::time::timeout(HELLO_WITHIN, conn.accept_bi()))).await;
    let (send, recv) = match accepted {
        Some(Ok(Ok(streams))) => streams,
        Some(_) => return Link::close(&conn, Code::Timeout),
        None => return Link::close(&conn, Code::Draining),
    };
    let _ = send.set_priority(CHAT_PRIORITY);
    let driver = Driver::new(parts, conn, send, recv, trace);
    Box::pin(driver.run()).await;
}

/// Runs a session over WebTransport until it ends; else as [`run`].
pub(crate) async fn run_web(parts: Arc<SessionParts>, mut web: Web, trace: u64) {
    let opened = Box::pin(parts.draining.run_until_cancelled(tokio::time::timeout(HELLO_WITHIN, web.chat()))).await;
    let (send, recv) = match opened {
        Some(Ok(Some(streams))) => streams,
        Some(Ok(None)) => return web.close(Code::BadFrame),
        Some(Err(_)) => return web.close(Code::Timeout),
        None => return web.close(Code::Draining),
    };
    let _ = send.set_priority(CHAT_PRIORITY);
    Box::pin(Driver::new(parts, web, send, recv, trace).run()).await;
}

/// Tells a client that was let in no further why, once it has opened its chat stream: a page is told nothing of how a connection was closed.
pub(crate) async fn refuse_web(mut web: Web, refusal: Refusal, now: Instant) {
    let code = refusal.code;
    let told = async {
        let Some((mut send, mut recv)) = web.chat().await else { return };
        let mut out = Out::new(now);
        out.push(&ToClient::Bye(refusal), now);
        say_bye(&mut send, &mut recv, &mut out, code).await;
    };
    let _ = tokio::time::timeout(BYE_WITHIN, told).await;
    web.close(code);
}

/// Runs a session on a client's WebSocket until it ends; else as [`run`].
pub async fn run_socket(parts: Arc<SessionParts>, socket: WebSocket, from: IpAddr, trace: u64) {
    let (link, send, recv) = socket::split(socket, from);
    Box::pin(Driver::new(parts, link, send, recv, trace).run()).await;
}

/// Tells a client that was let in no further why, on its WebSocket.
pub async fn refuse_socket(socket: WebSocket, from: IpAddr, refusal: Refusal, now: Instant) {
    let (_, mut send, mut recv) = socket::split(socket, from);
    let mut out = Out::new(now);
    let code = refusal.code;
    out.push(&ToClient::Bye(refusal), now);
    let _ = tokio::time::timeout(BYE_WITHIN, say_bye(&mut send, &mut recv, &mut out, code)).await;
}

type Answered = (RequestId, Instant, Result<Answer, Refusal>);

/// A step of being let in.
enum Opened {
    /// What the cluster's rows say of a token.
    Token(Result<Claims, Code>),
    /// The session is registered, or is not.
    Registered(Box<Claims>, Result<Registered, Refusal>),
}

struct Driver<L: Link> {
    parts: Arc<SessionParts>,
    link: L,
    send: L::Send,
    recv: L::Recv,
    machine: Machine,
    decoder: Decoder,
    outbox: Arc<Outbox>,
    answers: FuturesUnordered<BoxFuture<'static, Answered>>,
    opening: Option<BoxFuture<'static, Opened>>,
    /// At most one; in a set, so that it is polled only when it was woken itself.
    pulls: FuturesUnordered<BoxFuture<'static, ()>>,
    registration: Option<Registration>,
    out: Out,
    /// Requests that the metric counts for this session.
    shown: i64,
    more: bool,
    /// The outbox was promised to be looked at by then.
    look_by: Option<Instant>,
    /// Fires when something may be due: armed anew only when that comes sooner, since a timer that is armed costs nothing.
    alarm: Pin<Box<Sleep>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    welcomed: Option<Welcomed>,
    drain: Option<Drain>,
    ended: Option<(End, Code)>,
}

/// The node drains, and this session is to go.
#[derive(Clone, Copy)]
struct Drain {
    /// How often the client was heard of when it began.
    heard: u64,
    /// A client that was not heard since is not there; only where the transport would tell.
    ack_by: Option<Instant>,
    /// The client was told to have moved by then.
    move_by: Option<Instant>,
}

/// Undoes a registration when the session ends, however it ends.
struct Registration {
    sessions: Arc<dyn Sessions>,
    id: SessionId,
}
impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.close(self.id);
    }
}

/// Counts an open session, however it ends.
struct Welcomed(Arc<SessionMetrics>);
impl Welcomed {
    fn new(metrics: Arc<SessionMetrics>) -> Self {
        metrics.open.inc();
        metrics.opened.inc();
        Self(metrics)
    }
}
impl Drop for Welcomed {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}

#[allow(clippy::large_enum_variant, reason = "one at a time, in the loop: a box would be an allocation for each answer")]
enum Woken {
    Answered(Answered),
    Opened(Box<Opened>),
    Outbox,
    Read(Read),
    Written(bool),
    Lost,
    Draining,
    Due,
}

impl<L: Link> Driver<L> {
    fn new(parts: Arc<SessionParts>, link: L, send: L::Send, recv: L::Recv, trace: u64) -> Self {
        let now = parts.clock.instant();
        Self {
            machine: Machine::new(parts.identity.clone(), trace, now),
            decoder: codec::chat_decoder(),
            outbox: Arc::new(Outbox::new(parts.outbox_metrics.clone())),
            answers: FuturesUnordered::new(),
            opening: None,
            pulls: FuturesUnordered::new(),
            registration: None,
            out: Out::new(now),
            shown: 0,
            more: false,
            look_by: None,
            alarm: Box::pin(sleep_until(now + HELLO_WITHIN)),
            draining: Box::pin(parts.draining.clone().cancelled_owned()),
            welcomed: None,
            drain: None,
            ended: None,
            parts,
            link,
            send,
            recv,
        }
    }

    async fn run(mut self) {
        while self.ended.is_none() {
            let event = self.next().await;
            let now = self.parts.clock.instant();
            let mut is_echoed = false;
            match event {
                Woken::Answered((id, begun, answer)) => {
                    self.parts.session_metrics.wait.observe(now.saturating_duration_since(begun).as_secs_f64());
                    // Whatever waits for a write goes with this one.
                    self.more |= self.look_by.take().is_some();
                    is_echoed = matches!(answer, Ok(Answer::Sent { .. }));
                    self.machine.handle_answer(id, answer);
                }
                Woken::Opened(opened) => {
                    self.opened(*opened);
                    // The welcome goes out before anything that was pushed since the session was registered.
                    self.follow(now);
                    self.machine.rest();
                }
                Woken::Outbox => self.more = true,
                Woken::Read(Read::Bytes(bytes)) => self.read(&bytes, now),
                Woken::Read(Read::Bad) => self.machine.handle_bad_frame(),
                Woken::Read(Read::Over) | Woken::Lost | Woken::Written(false) => self.ended = Some((End::Left, Code::Disconnected)),
                Woken::Written(true) => {
                    let frames = self.out.moved(now);
                    if frames > 0 {
                        self.parts.session_metrics.frames_per_write.observe(f64::from(frames));
                    }
                }
                Woken::Draining => self.begin_drain(now),
                Woken::Due => self.machine.handle_timeout(now),
            }
            self.more |= self.look_by.take_if(|by| *by <= now).is_some();
            self.drain_outbox(now);
            if is_echoed {
                self.outbox.promise();
                self.look_by = Some(now + ECHO_WAIT);
            }
            self.leave(now);
            self.follow(now);
            if self.out.is_stuck(now) {
                self.ended = Some((End::Silent, Code::Timeout));
            }
        }
        Box::pin(self.finish()).await;
    }

    /// Waits for one thing. Every branch is cancel safe: the link's two are, and the futures are kept. In this order, so that all that is
    /// ready goes into one write.
    async fn next(&mut self) -> Woken {
        let room = self.out.bytes() < WRITE_BYTES_MAX;
        let is_wanted = self.send.is_wanted(&self.out);
        let now = self.parts.clock.instant();
        let dues = self.machine.poll_timeout().into_iter().chain(self.out.stuck_at()).chain(self.leave_at(now)).chain(self.look_by);
        let due = dues.min().unwrap_or(now + STUCK_MAX);
        if self.alarm.is_elapsed() || due < self.alarm.deadline() {
            self.alarm.as_mut().reset(due);
        }
        tokio::select! {
            biased;
            Some(answered) = self.answers.next(), if !self.answers.is_empty() => Woken::Answered(answered),
            opened = wait(&mut self.opening) => {
                self.opening = None;
                Woken::Opened(Box::new(opened))
            }
            () = self.outbox.ready(), if room && self.registration.is_some() => Woken::Outbox,
            written = self.send.write(&mut self.out), if is_wanted => Woken::Written(written),
            read = self.recv.read(), if room => Woken::Read(read),
            Some(()) = self.pulls.next(), if !self.pulls.is_empty() => Woken::Lost,
            () = self.draining.as_mut(), if self.drain.is_none() => Woken::Draining,
            () = self.alarm.as_mut() => Woken::Due,
        }
    }

    fn read(&mut self, bytes: &[u8], now: Instant) {
        self.decoder.push(bytes);
        loop {
            match self.decoder.poll() {
                Ok(Some(frame)) => match codec::to_edge(&frame) {
                    Some(frame) => self.machine.handle_frame(frame, now),
                    None => self.machine.handle_bad_frame(),
                },
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "session.read");
                    self.machine.handle_bad_frame();
                    break;
                }
            }
        }
    }
    fn opened(&mut self, opened: Opened) {
        let (claims, outcome) = match opened {
            Opened::Token(outcome) => return self.machine.handle_token(outcome),
            Opened::Registered(claims, outcome) => (claims, outcome),
        };
        let refused = outcome.is_err();
        self.machine.handle_registered(&claims, outcome, self.parts.clock.now());
        if refused {
            self.registration = None;
        } else if let Some(caller) = self.machine.caller() {
            self.welcomed = Some(Welcomed::new(self.parts.session_metrics.clone()));
            self.pulls.push(self.link.serve_pulls(self.parts.clone(), caller.clone()));
            self.more = true;
        }
    }
    /// Moves what is pushed into the next write. Before the welcome it waits: nothing may come before that.
    fn drain_outbox(&mut self, now: Instant) {
        if !self.more || self.machine.caller().is_none() || self.out.bytes() >= WRITE_BYTES_MAX {
            return;
        }
        let mut items = Vec::new();
        self.look_by = None;
        self.more = self.outbox.drain(WRITE_BYTES_MAX - self.out.bytes(), &mut items, now);
        for item in items {
            match item {
                Item::Frame(frame) => self.out.push_bytes(frame, now),
                Item::SyncNeeded(to) => self.out.push(&ToClient::Event(Event::SyncNeeded { to }), now),
                Item::GoAway(after_ms) => self.go_away(after_ms, now),
                Item::Bye(why) => self.machine.handle_close(why),
            }
        }
    }
    /// Tells the client to move. A session that is registered is told by its outbox, in its turn; one that is not is told here.
    fn begin_drain(&mut self, now: Instant) {
        let known = self.link.heard();
        let ack_by = known.map(|(_, round_trip)| now + (round_trip * 3).clamp(ACK_WITHIN.0, ACK_WITHIN.1));
        self.drain = Some(Drain { heard: known.map_or(0, |(heard, _)| heard), ack_by, move_by: None });
        if self.machine.caller().is_none() {
            self.machine.handle_close(refuse(Code::Draining));
        } else if self.registration.is_none() {
            self.go_away(0, now);
        }
    }
    fn go_away(&mut self, after_ms: u32, now: Instant) {
        self.out.push(&ToClient::Event(Event::GoAway { after_ms }), now);
        if let Some(drain) = &mut self.drain {
            // Who is far away has at least the time in which it is waited for a sign of them.
            let move_by = now + Duration::from_millis(u64::from(after_ms)) + MOVE_WITHIN;
            drain.move_by = Some(drain.ack_by.map_or(move_by, |ack_by| move_by.max(ack_by)));
        }
    }
    /// When to look whether the session is to be ended because the node drains.
    fn leave_at(&self, now: Instant) -> Option<Instant> {
        let drain = self.drain?;
        // One that is not idle yet ends with its last answer, which wakes the driver.
        let move_by = drain.move_by.filter(|at| *at > now || self.is_idle());
        drain.ack_by.into_iter().chain(move_by).min()
    }
    /// While draining: ends the session if nobody is there, or if its time to move has passed and it waits for nothing.
    fn leave(&mut self, now: Instant) {
        if self.drain.is_none() {
            return;
        }
        let heard = self.link.heard().map_or(0, |(heard, _)| heard);
        let is_idle = self.is_idle();
        let Some(drain) = &mut self.drain else { return };
        if drain.ack_by.take_if(|by| *by <= now).is_some() && heard == drain.heard {
            self.ended = Some((End::Left, Code::Draining));
        } else if is_idle && drain.move_by.is_some_and(|by| by <= now) {
            self.machine.handle_close(refuse(Code::Draining));
        }
    }
    fn is_idle(&self) -> bool {
        self.machine.waiting() == 0 && self.out.is_empty()
    }
    /// Does what the machine asks for.
    fn follow(&mut self, now: Instant) {
        loop {
            while let Some(frame) = self.machine.poll_transmit() {
                if let ToClient::Answer { answer: Err(refusal), .. } = &frame {
                    self.note_refusal(refusal);
                }
                self.out.push(&frame, now);
            }
            let Some(action) = self.machine.poll_action() else { break };
            match action {
                Action::Verify { token } => {
                    if AdminSecret::is_meant(&token) {
                        let shown = self.parts.tokens.show(token, self.link.remote());
                        self.opening = Some(Box::pin(async move { Opened::Token(shown.await.map_err(|refusal| refusal.code)) }));
                    } else {
                        let outcome = self.parts.tokens.verify(&token);
                        self.machine.handle_token(outcome);
                    }
                }
                Action::Register { claims, hello } => {
                    let opening: BoxFuture<'static, Opened> = if claims.user == UserId::new(0) {
                        let registered = Registered { session: SessionId::new(0), name: claims.name.clone(), user_rev: UserRev::ZERO };
                        Box::pin(std::future::ready(Opened::Registered(Box::new(claims), Ok(registered))))
                    } else {
                        let sessions = &self.parts.sessions;
                        let whose = Whose { user: claims.user, device: hello.device, conn: hello.conn, grant: claims.grant() };
                        let id = sessions.open(whose, self.outbox.clone());
                        self.registration = Some(Registration { sessions: sessions.clone(), id });
                        let registered = sessions.register(id, whose);
                        Box::pin(async move { Opened::Registered(Box::new(claims), registered.await) })
                    };
                    self.opening = Some(opening);
                }
                Action::Knock { id, caller, request } => match self.knock(&request) {
                    Ok(()) => self.start(id, caller, request, now),
                    Err(refusal) => self.machine.handle_answer(id, Err(refusal)),
                },
                Action::Start { id, caller, request } => self.start(id, caller, request, now),
                Action::End { why, code } => self.ended = Some((why, code)),
            }
        }
        self.parts.session_metrics.depth.inc_by(self.machine.waiting() as i64 - self.shown);
        self.shown = self.machine.waiting() as i64;
    }
    fn knock(&self, request: &Request) -> Result<(), Refusal> {
        let (door, from) = (&self.parts.door, self.link.remote());
        door.knock(from)?;
        let Request::People(asked) = request else { return Ok(()) };
        asked.guesses().map_or(Ok(()), |name| door.guess(from, name))
    }
    fn start(&mut self, id: RequestId, caller: Caller, request: Request, now: Instant) {
        if let (Request::Presence(asked), Some(registration)) = (&request, &self.registration)
            && registration.sessions.presence(registration.id, asked)
        {
            return self.machine.handle_answer(id, Ok(Answer::Done));
        }
        let session = self.registration.as_ref().map_or(0, |registration| registration.id.get());
        let span = tracing::debug_span!("session.request", node = %self.parts.identity.node, session, request = caller.trace);
        let answer = self.parts.requests.handle(caller, request, now + ANSWER_WITHIN);
        let answered = async move {
            let answer = tokio::time::timeout(ANSWER_WITHIN + Duration::from_secs(1), answer).await;
            (id, now, answer.unwrap_or_else(|_| Err(refuse(Code::OutcomeUnknown))))
        };
        self.answers.push(Box::pin(answered.instrument(span)));
    }
    fn note_refusal(&self, refusal: &Refusal) {
        match refusal.code {
            Code::Unsupported => self.parts.session_metrics.reject(SessionReject::Unsupported),
            Code::Busy => self.parts.session_metrics.reject(SessionReject::Busy),
            _ => {}
        }
    }
    /// Says Bye, as far as the client still listens, and closes.
    async fn finish(mut self) {
        let (why, code) = self.ended.take().unwrap_or((End::Left, Code::Disconnected));
        self.parts.session_metrics.end(why);
        self.parts.session_metrics.depth.dec_by(self.shown);
        self.welcomed = None;
        // Unregistered before the last word: who is told to go must not be found any more.
        self.registration = None;
        self.pulls.clear();
        self.answers.clear();
        if why != End::Left {
            let bye = say_bye(&mut self.send, &mut self.recv, &mut self.out, code);
            let _ = tokio::time::timeout(BYE_WITHIN, bye).await;
        }
        self.link.close(code);
    }
}

/// Writes what is left, and waits until the client has it.
async fn say_bye(send: &mut impl ChatSend, recv: &mut impl ChatRecv, out: &mut Out, code: Code) {
    while !out.is_empty() && send.write(out).await {}
    send.finish(code).await;
    recv.ended().await;
}

/// Waits for a future that may not be there.
async fn wait<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The number of a refusal, for logs.
pub(super) fn refusal_code(refusal: &Refusal) -> u16 {
    refusal.code.number()
}
