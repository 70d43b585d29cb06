//! Links between nodes: `PeerTransport`, forwarded requests, fan-out batches, liveness.
//!
//! In: asks, tells and raft frames for another node. Out: the same from it, to [`Inbound`]. One connection and one multiplexed stream per
//! ordered pair: what A asks and tells goes over the stream that A opened, its answers come back on it; a snapshot has a stream of its own.
//! Invariants: both sides have proven who they are (mutual TLS, cluster id, data directory, count of starts); raft traffic has its own
//! queue and never waits behind requests. Bounds: `queue`, `link`, `accept`. Not here: what an ask does, the map, who leads.

pub mod accept;
pub mod beat;
pub mod browser;
pub mod delay;
pub mod endpoint;
pub mod inbound;
pub mod known;
pub mod link;
pub mod metrics;
pub(crate) mod pin;
pub mod queue;
pub mod release;
pub mod renew;
pub mod snapshot;
pub mod stream;
pub mod tls;
pub(crate) mod trusted;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
pub use inbound::Inbound;
use kith_raft::{
    Lanes,
    transport::{PeerTransport, SnapshotSource, TransportError},
};
use kith_wire::{
    hello,
    id::{BootEpoch, ClusterId, GroupId, MapEpoch, NodeId, StoreId, Term},
    log::{ClusterMap, NodeRow, NodeState},
    peer::{AppendResult, Ask, PeerHello, SnapshotHead, Tell, Told},
    upgrade::ClusterVersion,
};
pub use known::Known;
pub use link::Link;
pub use release::{Fenced, Release};

use tokio::{runtime::Handle, sync::watch};

use self::metrics::PeerMetrics;
use crate::{clock::SharedClock, supervise::Tasks};

/// Who this node is to its peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Me {
    /// Its id.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its data directory.
    pub store: StoreId,
    /// Its count of starts.
    pub boot: BootEpoch,
}

/// Which links carry traffic: a harness cuts them here, and nothing else does.
pub trait LinkPolicy: Send + Sync + 'static {
    /// Whether frames between the two nodes pass; asked on both sides, for each frame.
    fn allows(&self, from: NodeId, to: NodeId) -> bool;
}

/// Every link carries traffic.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllLinks;
impl LinkPolicy for AllLinks {
    fn allows(&self, _: NodeId, _: NodeId) -> bool {
        true
    }
}

/// What the links need.
pub struct PeersOptions {
    /// Who this node is.
    pub me: Me,
    /// The shared endpoint.
    pub endpoint: quinn::Endpoint,
    /// For dialling ([`tls::Identity::dialler`]).
    pub dialler: quinn::ClientConfig,
    /// Time.
    pub clock: SharedClock,
    /// Which links carry traffic.
    pub policy: Arc<dyn LinkPolicy>,
    /// Whom this node has met.
    pub known: Known,
    /// Owner of all tasks here.
    pub tasks: Tasks,
    /// Where links run: one to a peer on the lane of its number.
    pub lanes: Arc<Lanes>,
    /// Counters.
    pub metrics: Arc<PeerMetrics>,
    /// How much this node's log has synced, ever.
    pub synced: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Builds.
    pub release: Release,
}

/// The links of a node to all others.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peers({})", self.shared.me.node)
    }
}

pub(crate) struct Shared {
    me: Me,
    endpoint: quinn::Endpoint,
    dialler: quinn::ClientConfig,
    clock: SharedClock,
    policy: Arc<dyn LinkPolicy>,
    known: Known,
    tasks: Tasks,
    lanes: Arc<Lanes>,
    /// None before the start and after the close: the receiver holds these links in turn.
    inbound: RwLock<Option<Arc<dyn Inbound>>>,
    links: RwLock<BTreeMap<NodeId, (Arc<Link>, Tasks)>>,
    accepted: Mutex<BTreeMap<NodeId, (u64, quinn::Connection)>>,
    accepted_count: AtomicU64,
    map_epoch: AtomicU64,
    /// Where nodes dial from; `None`: not known of all.
    addresses: RwLock<Option<BTreeSet<IpAddr>>>,
    table: beat::Table,
    metrics: Arc<PeerMetrics>,
    synced: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// This start of this node.
    life: u64,
    release: Release,
}

impl Peers {
    /// Links of a node, none dialled yet.
    pub fn new(options: PeersOptions) -> Self {
        let PeersOptions { me, endpoint, dialler, clock, policy, known, tasks, lanes, metrics, synced, release } = options;
        let shared = Shared {
            me,
            endpoint,
            dialler,
            clock,
            policy,
            known,
            tasks,
            lanes,
            inbound: RwLock::default(),
            links: RwLock::default(),
            accepted: Mutex::default(),
            accepted_count: AtomicU64::new(0),
            map_epoch: AtomicU64::new(0),
            addresses: RwLock::default(),
            table: beat::Table::default(),
            metrics,
            synced,
            // 0 would say that it is not told.
            life: crate::clock::draw().max(1),
            release,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says who takes what comes in; before that connections are refused and nothing is dialled.
    pub fn start(&self, inbound: Arc<dyn Inbound>) {
        *self.shared.inbound.write().unwrap_or_else(PoisonError::into_inner) = Some(inbound);
        let known = self.shared.known.clone();
        self.shared.tasks.spawn("peer.known", async move {
            let mut ticks = tokio::time::interval(KEEP_EVERY);
            loop {
                ticks.tick().await;
                let known = known.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || known.flush()).await {
                    tracing::error!(cause = %error, "peer.known: keeping what was seen panicked");
                }
            }
        });
    }

    /// Why this node must not go on as itself, once there is a reason.
    pub fn fenced(&self) -> watch::Receiver<Option<Fenced>> {
        self.shared.release.fenced()
    }

    /// This node's build, and others'.
    pub fn release(&self) -> &Release {
        &self.shared.release
    }

    /// How much this node's log has synced, ever.
    pub fn synced(&self) -> u64 {
        (self.shared.synced)()
    }

    /// Dials the nodes of a map that are new, and forgets those that are no longer in it.
    pub fn follow(&self, map: &ClusterMap) {
        let shared = &self.shared;
        shared.map_epoch.store(map.epoch.get(), Ordering::Relaxed);
        shared.known.learn(map);
        let dials_from = |row: &NodeRow| row.address.parse::<SocketAddr>().ok().map(|at| at.ip().to_canonical()).filter(|ip| !ip.is_unspecified());
        *shared.addresses.write().unwrap_or_else(PoisonError::into_inner) = map.nodes.values().map(dials_from).collect();
        let is_there = |node: &NodeId| map.nodes.get(node).is_some_and(|row| row.state != NodeState::Left);
        if shared.inbound().is_none() {
            return;
        }
        let mut links = shared.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|node, (_, tasks)| {
            let stays = is_there(node);
            if !stays {
                tasks.cancelled().cancel();
            }
            stays
        });
        for (node, row) in map.nodes.iter().filter(|(node, _)| **node != shared.me.node && is_there(node)) {
            let (link, _) = links.entry(*node).or_insert_with(|| begin(shared, *node, row.address.clone()));
            link.readdress(&row.address);
        }
    }

    /// Serves a connection whose handshake chose `kith-peer/1`, on the lane that it lives on. Returns at once.
    pub fn accept(&self, connection: quinn::Connection, lane: &Handle) {
        if self.shared.inbound().is_none() {
            connection.close(quinn::VarInt::from_u32(0), b"starting");
            return;
        }
        self.shared.tasks.on(lane).spawn_finishing("peer.accepted", {
            let shared = self.shared.clone();
            async move {
                let cancel = shared.tasks.cancelled();
                let end = connection.clone();
                tokio::select! {
                    () = cancel.cancelled() => end.close(quinn::VarInt::from_u32(0), b"closing"),
                    () = accept::serve(shared, connection) => {}
                }
            }
        });
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared.me.node
    }

    /// Asks another node, at most so long. The question is queued in the first poll, in order with those before it.
    ///
    /// # Errors
    /// `Unreachable` and `Full`: it was not sent. `Lost` and `Timeout`: it may have been done. `Refused`: the answer.
    pub async fn ask(&self, to: NodeId, ask: Ask, within: Duration) -> Result<Told, TransportError> {
        if !self.shared.allowed(to) {
            tokio::time::sleep(within).await;
            return Err(TransportError::Timeout(to));
        }
        self.shared.link(to)?.ask(accept::class_of(&ask), ask, within).await
    }

    /// Tells another node; never waits.
    ///
    /// # Errors
    /// There is no link, or its queue is full: nothing was sent.
    pub fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError> {
        let class = match tell {
            Tell::Append(_) | Tell::AppendEnd { .. } | Tell::Beat(_) => queue::Class::Raft,
            _ => queue::Class::Fan,
        };
        if !self.shared.allowed(to) {
            // Fan-out has no answers to miss: a cut that swallowed its frames in silence would be one that no real link has.
            return if class == queue::Class::Fan { Err(TransportError::Unreachable(to)) } else { Ok(()) };
        }
        self.shared.link(to)?.tell(class, tell)
    }

    /// Whether the node's beats are heard (3 s); true for this node.
    pub fn alive(&self, node: NodeId) -> bool {
        node == self.shared.me.node || self.shared.table.alive(node, self.shared.clock.instant())
    }

    /// For how long a node that is not alive has not been heard, since this one knows of it; `None`: it is alive, or not known.
    pub fn silence(&self, node: NodeId) -> Option<Duration> {
        let since = self.shared.link(node).ok()?.since();
        self.shared.table.silence(node, since, self.shared.clock.instant())
    }

    /// Whether the node is alive and the link to it is up: what is asked of it now would arrive.
    pub fn reachable(&self, node: NodeId) -> bool {
        node == self.shared.me.node || (self.alive(node) && self.shared.link(node).is_ok_and(|link| link.is_up()))
    }

    /// How long a datagram takes there and back, as the link's own acknowledgements say; `None`: it is down.
    pub fn rtt(&self, node: NodeId) -> Option<Duration> {
        self.shared.link(node).ok()?.connection().map(|connection| connection.rtt())
    }

    /// Whether a node of the map may dial from this address; where the map has names instead of addresses, any node may.
    pub fn may_come_from(&self, address: IpAddr) -> bool {
        let known = self.shared.addresses.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_none_or(|known| known.contains(&address.to_canonical()))
    }

    /// Whether the node says in its beats that it gives up sessions and leaderships.
    pub fn drains(&self, node: NodeId) -> bool {
        self.shared.table.of(node, self.shared.clock.instant(), |beat| beat.drains).unwrap_or(false)
    }

    /// Sessions that the node holds and can hold, as it says in its beats; `None`: it is not alive, or does not tell.
    pub fn sessions(&self, node: NodeId) -> Option<(u64, u64)> {
        let told = self.shared.table.of(node, self.shared.clock.instant(), |beat| (beat.sessions, beat.sessions_max));
        told.filter(|(_, most)| *most > 0)
    }

    /// The version of the cluster that a node has on its disk, as it says in its beats; `None`: it is not alive, or does not tell.
    pub fn noted(&self, node: NodeId) -> Option<ClusterVersion> {
        if node == self.shared.me.node {
            return Some(self.shared.release.noted());
        }
        let told = self.shared.table.of(node, self.shared.clock.instant(), |beat| beat.noted);
        told.filter(|noted| *noted > ClusterVersion::default())
    }

    /// Who says in its beats that it leads the group.
    pub fn leads(&self, group: GroupId) -> Option<(NodeId, Term)> {
        self.shared.table.leads(group, self.shared.clock.instant())
    }

    /// The node with the newest map, as beats say.
    pub fn newest_map(&self) -> Option<(NodeId, MapEpoch)> {
        let can_ask = |node| self.shared.link(node).is_ok_and(|link| link.is_up());
        self.shared.table.newest_map(self.shared.clock.instant(), can_ask)
    }

    /// The data directory and starts of a node, as it said when it was last met.
    pub fn met(&self, node: NodeId) -> Option<(StoreId, BootEpoch)> {
        self.shared.known.of(node)
    }

    /// Links that are up.
    pub fn links_up(&self) -> usize {
        self.shared.links.read().unwrap_or_else(PoisonError::into_inner).values().filter(|(link, _)| link.is_up()).count()
    }

    /// Counters.
    pub fn metrics(&self) -> &PeerMetrics {
        &self.shared.metrics
    }

    /// Ends all links and lets go of who took what came in.
    pub async fn close(&self, within: Duration) -> bool {
        let closed = self.shared.tasks.close(within).await;
        *self.shared.inbound.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.links.write().unwrap_or_else(PoisonError::into_inner).clear();
        closed
    }
}

impl PeerTransport for Peers {
    fn ask(&self, to: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        let peers = self.clone();
        async move { Self::ask(&peers, to, ask, within).await }.boxed()
    }
    fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError> {
        Self::tell(self, to, tell)
    }
    fn send_snapshot(
        &self,
        to: NodeId,
        head: SnapshotHead,
        source: Box<dyn SnapshotSource>,
    ) -> BoxFuture<'static, Result<AppendResult, TransportError>> {
        let connection = self.shared.link(to).and_then(|link| link.connection().ok_or(TransportError::Unreachable(to)));
        let allowed = self.shared.allowed(to);
        async move {
            if !allowed {
                return Err(TransportError::Unreachable(to));
            }
            snapshot::send(connection?, to, head, source).await
        }
        .boxed()
    }
}

/// Begins to dial a node, until its tasks are cancelled.
fn begin(shared: &Arc<Shared>, node: NodeId, address: String) -> (Arc<Link>, Tasks) {
    let link = Arc::new(Link::new(node, address, shared.clock.instant()));
    let tasks = shared.tasks.child();
    shared.tasks.on(shared.lanes.handle(shared.lanes.of_number(node.get()))).spawn("peer.link", {
        let (gone, link, shared) = (tasks.cancelled(), link.clone(), shared.clone());
        async move {
            gone.run_until_cancelled(link.run(shared)).await;
        }
    });
    (link, tasks)
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.me.node)
    }
}

impl Shared {
    fn allowed(&self, other: NodeId) -> bool {
        self.policy.allows(self.me.node, other) && self.policy.allows(other, self.me.node)
    }
    fn link(&self, to: NodeId) -> Result<Arc<Link>, TransportError> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&to).map(|(link, _)| link.clone()).ok_or(TransportError::Unreachable(to))
    }
    /// `None`: the node is starting or closing.
    fn inbound(&self) -> Option<Arc<dyn Inbound>> {
        self.inbound.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn hello(&self) -> PeerHello {
        PeerHello {
            version: hello::CURRENT,
            cluster: self.me.cluster,
            node: self.me.node,
            store: self.me.store,
            boot: self.me.boot,
            map_epoch: MapEpoch::new(self.map_epoch.load(Ordering::Relaxed)),
            synced_batches: (self.synced)(),
            life: self.life,
            knows: self.release.own().knows,
            noted: self.release.noted(),
            build: self.release.own().name.clone(),
        }
    }
    /// A node that knows a newer map and is in none of this node's is dialled where it was heard (nodes dial from the port that they listen on):
    /// a new node, all of whose first peers were replaced since, would else ask nobody. The newer map keeps the link or ends it.
    fn dial_heard(self: &Arc<Self>, hello: &PeerHello, at: SocketAddr) {
        if hello.map_epoch.get() > self.map_epoch.load(Ordering::Relaxed) {
            let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
            links.entry(hello.node).or_insert_with(|| begin(self, hello.node, at.to_string()));
        }
    }
    /// Notes an accepted connection; an older one of the same node is closed. Gives its number.
    fn replace_accepted(&self, from: NodeId, connection: &quinn::Connection) -> u64 {
        let link = self.accepted_count.fetch_add(1, Ordering::Relaxed) + 1;
        let old = link::lock(&self.accepted).insert(from, (link, connection.clone()));
        if let Some((_, old)) = old {
            old.close(quinn::VarInt::from_u32(0), b"replaced");
        }
        link
    }
    fn forget_accepted(&self, from: NodeId, link: u64) {
        let mut accepted = link::lock(&self.accepted);
        if accepted.get(&from).is_some_and(|(number, _)| *number == link) {
            accepted.remove(&from);
        }
    }
}

/// How often what beats have said is brought onto the disk.
const KEEP_EVERY: Duration = Duration::from_secs(2);
