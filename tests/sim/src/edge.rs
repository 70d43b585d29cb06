//! A node as devices see it: the real session protocol, registration, outbox and reads, without QUIC.
//!
//! In: connections of devices, pulls. Out: what the node's own parts say: `session::machine`, `fanout` (registration and live pushes),
//! `outbox`, `service::history` (here, then at the leader, then at others). Invariant: a node without power says nothing any more.
//! Not here: writes of devices (`people` propose them), tokens (a token is a user's number), streams (`wire`).

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use kith::{
    auth::Claims,
    clock::SharedClock,
    fanout::{Fanout, LocalSessions},
    outbox::{Item, Outbox},
    router::{Route, refuse},
    service::history::{Reads, Way},
    session::{
        Sessions, Whose, codec,
        machine::{Action, Identity, Machine, Registered},
        metrics::OutboxMetrics,
    },
    supervise::Tasks,
};
use kith_raft::{Groups, PeerTransport, TransportError};
use kith_wire::{
    client::{Answer, Event, Page, Pull, Refusal, Request, ToClient, ToEdge},
    code::Code,
    frame::Decoder,
    hello::Features,
    id::{Bucket, ClusterId, GroupId, NodeId, Seq, SessionId, Term, UserId},
    limit,
    peer::{Ask, Caller, Told},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Mutant,
    cluster::group_of,
    net::Net,
    wire::{End, wire},
};

/// A page is waited for so long.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

/// The sessions and reads of one life of a node.
pub(crate) struct Edge {
    node: NodeId,
    net: Net,
    clock: SharedClock,
    reads: Reads,
    sessions: LocalSessions,
    tasks: Tasks,
    power: CancellationToken,
    metrics: Arc<OutboxMetrics>,
    mutant: Option<Mutant>,
}

/// What an edge is made of.
pub(crate) struct EdgeParts {
    pub(crate) node: NodeId,
    pub(crate) net: Net,
    pub(crate) clock: SharedClock,
    pub(crate) groups: Arc<Groups>,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) tasks: Tasks,
    /// Groups of the cluster, and its nodes.
    pub(crate) count: u32,
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) mutant: Option<Mutant>,
}

impl Edge {
    /// Takes devices from now on.
    pub(crate) fn new(parts: EdgeParts) -> Arc<Self> {
        let EdgeParts { node, net, clock, groups, transport, fanout, tasks, count, replicas, mutant } = parts;
        tasks.spawn("sim.registered", fanout.clone().keep_registered());
        let way = SimWay { node, net: net.clone(), clock: clock.clone(), groups, transport, count, replicas };
        Arc::new(Self {
            node,
            net,
            clock,
            reads: Reads::new(way),
            sessions: LocalSessions(fanout),
            tasks,
            power: CancellationToken::new(),
            metrics: Arc::default(),
            mutant,
        })
    }
    /// Its power fails.
    pub(crate) fn cut_power(&self) {
        self.power.cancel();
    }
    /// What it reads for others.
    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }
    /// A device dials.
    pub(crate) fn connect(self: &Arc<Self>) -> End<ToEdge, ToClient> {
        let (device, here) = wire(&self.net);
        let session = Session::new(self.clone(), here);
        let power = self.power.clone();
        self.tasks.spawn("sim.session", async move { _ = power.run_until_cancelled(session.run()).await });
        device
    }
    /// A bulk stream of a device. `None`: the connection is gone.
    pub(crate) async fn pull(self: Arc<Self>, caller: Caller, pull: Pull) -> Option<Page> {
        sleep(self.net.latency()).await;
        let deadline = Instant::now() + PAGE_WITHIN;
        let page = async {
            match pull {
                Pull::History(query) => self.reads.history(&caller, query, deadline).await.map(Page::History),
                Pull::Index(query) => self.reads.index(&caller, query, deadline).await,
            }
        };
        let page = self.power.run_until_cancelled(timeout(PAGE_WITHIN, page)).await?;
        sleep(self.net.latency()).await;
        let page = page.unwrap_or_else(|_| Err(refuse(Code::Timeout)));
        (!self.power.is_cancelled()).then(|| page.unwrap_or_else(Page::Refused))
    }
}

type Opened = (Claims, Result<Registered, Refusal>);

/// Undoes a registration, however the session ends.
struct Registration(LocalSessions, SessionId);
impl Drop for Registration {
    fn drop(&mut self) {
        self.0.close(self.1);
    }
}

/// One device's session: what `session::driver` is with streams.
struct Session {
    edge: Arc<Edge>,
    end: End<ToClient, ToEdge>,
    machine: Machine,
    outbox: Arc<Outbox>,
    decoder: Decoder,
    opening: Option<BoxFuture<'static, Opened>>,
    registration: Option<Registration>,
    is_over: bool,
}

impl Session {
    fn new(edge: Arc<Edge>, end: End<ToClient, ToEdge>) -> Self {
        let identity = Identity { cluster: ClusterId::default(), node: edge.node, features: Features::NONE };
        Self {
            end,
            machine: Machine::new(identity, 0, Instant::now()),
            outbox: Arc::new(Outbox::new(edge.metrics.clone())),
            decoder: Decoder::new(codec::FRAMING, limit::FRAME_BYTES_MAX),
            opening: None,
            registration: None,
            is_over: false,
            edge,
        }
    }

    async fn run(mut self) {
        let mut has_more = false;
        while !self.is_over {
            let due = self.machine.poll_timeout().unwrap_or_else(|| Instant::now() + PAGE_WITHIN);
            // Every branch is cancel safe: the future is kept, so is a frame under way.
            tokio::select! {
                biased;
                (claims, outcome) = opened(&mut self.opening) => {
                    self.opening = None;
                    if outcome.is_err() {
                        self.registration = None;
                    }
                    self.machine.handle_registered(&claims, outcome, self.edge.clock.now());
                    has_more = true;
                }
                () = self.outbox.ready(), if self.registration.is_some() => has_more = true,
                frame = self.end.recv() => match frame {
                    Some(frame) => self.machine.handle_frame(frame, Instant::now()),
                    None => return,
                },
                () = sleep_until(due) => self.machine.handle_timeout(Instant::now()),
            }
            // The welcome goes out before anything that was pushed since the session was registered.
            self.follow();
            if has_more && self.machine.caller().is_some() {
                has_more = false;
                self.drain();
                self.follow();
            }
        }
    }
    fn send(&mut self, frame: ToClient) {
        self.is_over |= !self.end.send(frame);
    }
    fn push(&mut self, mut event: Event) {
        match (self.edge.mutant, &mut event) {
            (Some(Mutant::NewsDropped), Event::IndexMoved { .. } | Event::SyncNeeded { .. }) => return,
            (Some(Mutant::HoleHidden), Event::Delivery(delivery)) => delivery.prev = Seq::ZERO,
            _ => {}
        }
        self.send(ToClient::Event(event));
    }
    fn drain(&mut self) {
        let mut items = Vec::new();
        while self.outbox.drain(usize::MAX, &mut items, Instant::now()) {}
        for item in items {
            match item {
                Item::Frame(bytes) => {
                    self.decoder.push(&bytes);
                    while let Ok(Some(frame)) = self.decoder.poll() {
                        match ToClient::decode(&frame.body) {
                            Ok(ToClient::Event(event)) => self.push(event),
                            Ok(_) | Err(_) => self.is_over = true,
                        }
                    }
                }
                Item::SyncNeeded(to) => self.push(Event::SyncNeeded { to }),
                Item::GoAway(after_ms) => self.push(Event::GoAway { after_ms }),
                Item::Bye(why) => self.machine.handle_close(why),
            }
        }
    }
    fn follow(&mut self) {
        loop {
            while let Some(frame) = self.machine.poll_transmit() {
                self.send(frame);
            }
            let Some(action) = self.machine.poll_action() else { return };
            match action {
                Action::Verify { token } => self.machine.handle_token(claims(&token).ok_or(Code::BadToken)),
                Action::Register { claims, hello } => {
                    let sessions = &self.edge.sessions;
                    let whose = Whose { user: claims.user, device: hello.device, conn: hello.conn, grant: claims.grant() };
                    let id = sessions.open(whose, self.outbox.clone());
                    self.registration = Some(Registration(sessions.clone(), id));
                    let registered = sessions.register(id, whose);
                    self.opening = Some(async move { (claims, registered.await) }.boxed());
                }
                Action::Start { id, request: Request::Discover { .. }, .. } => self.machine.handle_answer(id, Ok(Answer::Edges(Vec::new()))),
                Action::Start { id, .. } | Action::Knock { id, .. } => self.machine.handle_answer(id, Err(refuse(Code::Unsupported))),
                Action::End { .. } => self.is_over = true,
            }
        }
    }
}

async fn opened(opening: &mut Option<BoxFuture<'static, Opened>>) -> Opened {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

/// The token of a user.
pub(crate) fn token(user: UserId) -> String {
    user.get().to_string()
}

fn claims(token: &str) -> Option<Claims> {
    let user = UserId::new(token.parse().ok()?);
    Some(Claims { user, name: token.to_owned(), expires_s: u64::MAX, ..Claims::default() })
}

struct SimWay {
    node: NodeId,
    net: Net,
    clock: SharedClock,
    groups: Arc<Groups>,
    transport: Arc<dyn PeerTransport>,
    count: u32,
    replicas: Vec<NodeId>,
}

impl Way for SimWay {
    fn node(&self) -> NodeId {
        self.node
    }
    fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }
    fn clock(&self) -> &SharedClock {
        &self.clock
    }
    fn locate(&self, bucket: Bucket) -> Result<Route, Refusal> {
        Ok(Route { group: group_of(bucket, self.count), replicas: self.replicas.clone(), epoch: kith_wire::id::MapEpoch::new(1) })
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        let lead = self.groups.get(group)?.leadership();
        Some((lead.leader?, lead.term))
    }
    fn reachable(&self, node: NodeId) -> bool {
        self.net.hears(self.node, node)
    }
    fn ask(&self, node: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        self.transport.ask(node, ask, within)
    }
    fn read(&self, _: Caller, _: Bucket, _: Pull, _: Instant) -> BoxFuture<'static, Result<Page, Refusal>> {
        async { Err(refuse(Code::Unsupported)) }.boxed()
    }
}
