//! Protocol of one client, sans-io.
//!
//! In: `handle_*`: frames of the chat stream, answers of the service, the outcome of the registration, the time. Out: `poll_transmit`
//! (frames to send, in order) and `poll_action` (what the driver must do). Invariants: Hello first, once; exactly one answer per
//! request; before Hello only what is asked at the door; numbered writes of one channel are started in the order of their frames. Bounds: `limit::SESSION_REQUESTS_MAX` requests
//! wait for an answer, the next is `Busy`; `limit::DEDUP_RING` of a channel are under way. Not here: streams, tasks, live pushes.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use kith_wire::{
    client::{Answer, Hello, Refusal, Request, ToClient, ToEdge, Welcome},
    code::Code,
    hello::{self, Features, Version},
    id::{ChannelId, ClusterId, DeviceId, NodeId, RequestId, SessionId, Timestamp, UserId, UserRev},
    limit,
    peer::Caller,
    trust::TrustRequest,
};

use crate::{
    auth::Claims,
    clock::Instant,
    router::{refuse, refuse_for},
    session::metrics::End,
};

/// A client that says nothing for so long is gone: two missed beats of 30 s and their jitter.
pub const IDLE: Duration = Duration::from_secs(75);
/// Hello must come within this.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Who asks for something before Hello has so long for each request, and until Hello.
pub const DOOR_WITHIN: Duration = Duration::from_secs(30);
/// What a client that has too many requests waiting is told to wait.
const BUSY_RETRY_MS: u32 = 100;
/// Channels whose state outlives their requests.
const LANES_KEPT: usize = 256;

/// What of the node a session shows to its client.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Optional parts of the protocol that this node speaks.
    pub features: Features,
}

/// What the driver must do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Check this token, then call `handle_token`.
    Verify { token: String },
    /// Register the session with its user's home, then call `handle_registered`.
    Register { claims: Claims, hello: Box<Hello> },
    /// As `Start`, for somebody who has not said Hello: if their address may ask now.
    Knock { id: RequestId, caller: Caller, request: Request },
    /// Do this request, then call `handle_answer`. To be begun in the order of the actions.
    Start { id: RequestId, caller: Caller, request: Request },
    /// Send what is to be sent, then close.
    End { why: End, code: Code },
}

/// A session that was registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Its id on this edge.
    pub session: SessionId,
    /// The user's name.
    pub name: String,
    /// The user's index stands here, read after the session was registered.
    pub user_rev: UserRev,
}

/// The protocol of one client.
#[derive(Debug)]
pub struct Machine {
    identity: Identity,
    phase: Phase,
    begun: Instant,
    heard: Instant,
    knocks: usize,
    waiting: HashMap<RequestId, Option<ChannelId>>,
    lanes: HashMap<ChannelId, Lane>,
    transmits: VecDeque<ToClient>,
    actions: VecDeque<Action>,
    trace: u64,
}

#[derive(Debug)]
enum Phase {
    Fresh,
    Opening(Box<Hello>, Version, VecDeque<(RequestId, Request)>),
    Open(Caller),
    Ended,
}

/// Numbered writes of one channel.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<(RequestId, Request)>,
    running: usize,
    /// The last one was taken: the channel exists, and nothing on the way to its log overtakes. Else they go one at a time.
    warm: bool,
}

impl Machine {
    /// A session whose connection was made now. `trace` seeds the names of its requests in the nodes' logs.
    pub fn new(identity: Identity, trace: u64, now: Instant) -> Self {
        Self {
            identity,
            phase: Phase::Fresh,
            begun: now,
            heard: now,
            knocks: 0,
            waiting: HashMap::new(),
            lanes: HashMap::new(),
            transmits: VecDeque::new(),
            actions: VecDeque::new(),
            trace,
        }
    }

    /// Takes a frame of the client.
    pub fn handle_frame(&mut self, frame: ToEdge, now: Instant) {
        self.heard = now;
        match (frame, &mut self.phase) {
            (_, Phase::Ended) => {}
            (ToEdge::Hello(hello), Phase::Fresh) => self.open(hello),
            (ToEdge::Request { id, request }, Phase::Fresh) if is_at_door(&request) => self.knock(id, Ok(request)),
            (ToEdge::Unreadable { id, refusal }, Phase::Fresh) => self.knock(id, Err(refusal)),
            (_, Phase::Fresh) | (ToEdge::Hello(_), _) => self.handle_bad_frame(),
            (ToEdge::Beat, _) => self.transmits.push_back(ToClient::Beat),
            (ToEdge::Request { id, request }, _) => self.request(id, request),
            (ToEdge::Unreadable { id, refusal }, _) => self.unreadable(id, refusal),
        }
    }
    /// Takes a frame that cannot be read: the stream cannot be trusted any more.
    pub fn handle_bad_frame(&mut self) {
        self.end(End::Protocol, refuse(Code::BadFrame));
    }
    /// Takes the outcome of [`Action::Verify`].
    pub fn handle_token(&mut self, outcome: Result<Claims, Code>) {
        let Phase::Opening(hello, ..) = &self.phase else { return };
        match outcome {
            Err(code) => self.end(End::Refused, refuse(code)),
            Ok(claims) if claims.user == UserId::new(0) && claims.role().is_none() => self.end(End::Refused, refuse(Code::BadToken)),
            Ok(claims) if claims.device.is_some_and(|device| device != hello.device) => {
                self.end(End::Refused, refuse(Code::BadToken).with_text("the token is of another device"));
            }
            Ok(claims) => {
                let hello = hello.clone();
                self.actions.push_back(Action::Register { claims, hello });
            }
        }
    }
    /// Takes the outcome of [`Action::Register`]. `wall` is the server's clock, for the client's offset.
    pub fn handle_registered(&mut self, claims: &Claims, outcome: Result<Registered, Refusal>, wall: Timestamp) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        let Phase::Opening(hello, version, early) = phase else {
            self.phase = phase;
            return;
        };
        let registered = match outcome {
            Ok(registered) => registered,
            Err(refusal) => {
                self.phase = Phase::Opening(hello, version, VecDeque::new());
                return self.end(End::Refused, refusal);
            }
        };
        self.transmits.push_back(ToClient::Welcome(Welcome {
            version,
            features: hello.features.common(self.identity.features),
            cluster: self.identity.cluster,
            node: self.identity.node,
            session: registered.session,
            user: claims.user,
            name: registered.name,
            user_rev: registered.user_rev,
            now: wall,
        }));
        let token = claims.token.map(|(token, _)| token);
        self.phase = Phase::Open(Caller { user: claims.user, device: hello.device, admin: claims.role(), trace: self.trace, key: None, token });
        for (id, request) in early {
            self.admit(id, request);
        }
    }
    /// Takes the answer to a request that was started.
    pub fn handle_answer(&mut self, id: RequestId, answer: Result<Answer, Refusal>) {
        let Some(channel) = self.waiting.remove(&id) else { return };
        let taken = answer.is_ok();
        self.transmits.push_back(ToClient::Answer { id, answer });
        let Some(channel) = channel else { return };
        if let Some(lane) = self.lanes.get_mut(&channel) {
            lane.running = lane.running.saturating_sub(1);
            lane.warm = taken;
        }
        self.start_next(channel);
        if self.lanes.len() > LANES_KEPT {
            self.lanes.retain(|_, lane| lane.running > 0 || !lane.queue.is_empty());
        }
    }
    /// Ends the session for a reason of ours.
    pub fn handle_close(&mut self, why: Refusal) {
        let end = match why.code {
            Code::Replaced => End::Replaced,
            Code::Draining => End::Draining,
            _ => End::Refused,
        };
        self.end(end, why);
    }
    /// Takes the time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.end(End::Silent, refuse(Code::Timeout));
        }
    }

    /// The next frame to send.
    pub fn poll_transmit(&mut self) -> Option<ToClient> {
        self.transmits.pop_front()
    }
    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    /// Gives back the memory of what was said so far: a session may be idle from here on.
    pub fn rest(&mut self) {
        self.transmits.shrink_to_fit();
        self.actions.shrink_to_fit();
    }
    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Fresh if self.knocks > 0 => Some(self.heard + DOOR_WITHIN),
            Phase::Fresh => Some(self.begun + HELLO_WITHIN),
            Phase::Opening(..) | Phase::Open(_) => Some(self.heard + IDLE),
            Phase::Ended => None,
        }
    }
    /// Who the client is, once it was welcomed.
    pub fn caller(&self) -> Option<&Caller> {
        match &self.phase {
            Phase::Open(caller) => Some(caller),
            _ => None,
        }
    }
    /// Whether nothing more is taken.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
    /// Requests that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn open(&mut self, hello: Hello) {
        let Ok(version) = hello::negotiate(hello.version) else {
            return self.end(End::Refused, refuse(Code::VersionMismatch));
        };
        if hello.cluster.is_some_and(|cluster| cluster != self.identity.cluster) {
            return self.end(End::Refused, refuse(Code::WrongCluster));
        }
        if hello.token.len() > limit::TOKEN_BYTES_MAX {
            return self.end(End::Refused, refuse(Code::BadToken));
        }
        self.actions.push_back(Action::Verify { token: hello.token.clone() });
        self.phase = Phase::Opening(Box::new(hello), version, VecDeque::new());
    }
    /// A request before Hello: one at a time, and only so many.
    fn knock(&mut self, id: RequestId, request: Result<Request, Refusal>) {
        self.knocks += 1;
        if self.knocks > limit::DOOR_REQUESTS_MAX {
            return self.end(End::Refused, refuse(Code::RateLimited));
        }
        match request {
            Err(refusal) => self.refuse(id, refusal),
            Ok(_) if !self.waiting.is_empty() => self.refuse(id, refuse_for(Code::Busy, BUSY_RETRY_MS)),
            Ok(request) => {
                self.waiting.insert(id, None);
                self.trace = self.trace.wrapping_add(1);
                let caller = Caller { user: UserId::new(0), device: DeviceId::new(0), admin: None, trace: self.trace, key: None, token: None };
                self.actions.push_back(Action::Knock { id, caller, request });
            }
        }
    }
    fn request(&mut self, id: RequestId, request: Request) {
        if self.waiting.contains_key(&id) {
            return self.handle_bad_frame();
        }
        if self.waiting.len() >= limit::SESSION_REQUESTS_MAX {
            return self.refuse(id, refuse_for(Code::Busy, BUSY_RETRY_MS));
        }
        self.waiting.insert(id, numbered_in(&request));
        if let Phase::Opening(.., early) = &mut self.phase {
            early.push_back((id, request));
        } else {
            self.admit(id, request);
        }
    }
    /// Its id could be read, but not what it asks: it is refused, and the stream goes on.
    fn unreadable(&mut self, id: RequestId, why: Refusal) {
        if self.waiting.contains_key(&id) {
            return self.handle_bad_frame();
        }
        self.refuse(id, why);
    }
    fn admit(&mut self, id: RequestId, request: Request) {
        if let Some(channel) = numbered_in(&request) {
            self.lanes.entry(channel).or_default().queue.push_back((id, request));
            self.start_next(channel);
        } else {
            self.start(id, request);
        }
    }
    fn start_next(&mut self, channel: ChannelId) {
        while let Some(lane) = self.lanes.get_mut(&channel) {
            let room = if lane.warm { limit::DEDUP_RING } else { 1 };
            if lane.running >= room {
                break;
            }
            let Some((id, request)) = lane.queue.pop_front() else { break };
            lane.running += 1;
            self.start(id, request);
        }
    }
    fn start(&mut self, id: RequestId, request: Request) {
        let Phase::Open(caller) = &self.phase else { return };
        self.trace = self.trace.wrapping_add(1);
        let caller = Caller { trace: self.trace, ..caller.clone() };
        self.actions.push_back(Action::Start { id, caller, request });
    }
    fn refuse(&mut self, id: RequestId, refusal: Refusal) {
        self.transmits.push_back(ToClient::Answer { id, answer: Err(refusal) });
    }
    fn end(&mut self, why: End, refusal: Refusal) {
        if self.is_ended() {
            return;
        }
        self.phase = Phase::Ended;
        self.waiting.clear();
        self.lanes.clear();
        let code = refusal.code;
        self.transmits.push_back(ToClient::Bye(refusal));
        self.actions.push_back(Action::End { why, code });
    }
}

/// Whether it may be asked before Hello.
fn is_at_door(request: &Request) -> bool {
    match request {
        Request::People(asked) => asked.is_at_door(),
        // The first token of a cluster is all that is shown.
        Request::Trust(TrustRequest::ClaimFirst { .. }) => true,
        _ => false,
    }
}

/// The channel whose order a request must keep.
fn numbered_in(request: &Request) -> Option<ChannelId> {
    match request {
        Request::Send(send) => Some(send.channel),
        Request::ChangeMembers(change) => Some(change.channel),
        Request::Act(write) => Some(write.channel),
        Request::Void { channel, .. } => Some(*channel),
        _ => None,
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
