//! Links between simulated nodes: they delay, break, go deaf, and lose what was on its way; but never reorder or lose within a link.
//!
//! In: what groups and fan-out send. Out: the same at the other node, some simulated time later, or not at all. Invariants: as of a real
//! link (see `kith_raft::transport`); a node that has crashed neither sends nor receives any more, whatever of it still runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join},
};
use kith::fanout::Fanout;
use kith_raft::{Answers, Groups, PeerTransport, SnapshotPart, SnapshotSource, TransportError};
use kith_wire::{
    id::NodeId,
    peer::{AppendAnswer, AppendResult, Ask, SnapshotHead, Tell, Told},
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use crate::{edge::Edge, random::Random, watch::Watch};

/// Tells of one link that wait for delivery; one more is refused.
const LINK_QUEUE: usize = 4_096;

type Pair = (NodeId, NodeId);

/// Who receives at a node.
#[derive(Clone)]
struct Peer {
    life: u64,
    groups: Weak<Groups>,
    fanout: Weak<Fanout>,
    edge: Weak<Edge>,
}

struct Link {
    number: u64,
    tells: mpsc::Sender<(Instant, Tell)>,
}

struct State {
    random: Random,
    nodes: BTreeMap<NodeId, Peer>,
    links: BTreeMap<Pair, Link>,
    next_link: u64,
    /// Both ends know that there is no link.
    cut: BTreeSet<Pair>,
    /// What is sent this way vanishes, and nobody knows.
    deaf: BTreeSet<Pair>,
    /// The longest way of a message.
    latency_most: Duration,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    runtime: Handle,
    tasks: TaskTracker,
    watch: Arc<Watch>,
}

impl Net {
    /// A whole network without nodes.
    pub(crate) fn new(runtime: Handle, watch: Arc<Watch>, random: Random) -> Self {
        let state = State {
            random,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            cut: BTreeSet::new(),
            deaf: BTreeSet::new(),
            latency_most: LATENCY_MOST,
        };
        Self { state: Arc::new(Mutex::new(state)), runtime, tasks: TaskTracker::new(), watch }
    }
    /// The transport of one life of a node.
    pub(crate) fn transport(&self, node: NodeId, life: u64) -> Arc<dyn PeerTransport> {
        Arc::new(Transport { from: node, life, net: self.clone() })
    }
    /// Puts a node on the network.
    pub(crate) async fn attach(&self, node: NodeId, life: u64, groups: &Arc<Groups>, fanout: &Arc<Fanout>, edge: &Arc<Edge>) {
        let peer = Peer { life, groups: Arc::downgrade(groups), fanout: Arc::downgrade(fanout), edge: Arc::downgrade(edge) };
        self.lock().nodes.insert(node, peer);
        for other in self.others(node) {
            self.link_up(other, node).await;
        }
    }
    /// Takes a node off.
    pub(crate) fn detach(&self, node: NodeId) {
        self.lock().nodes.remove(&node);
        self.others(node).into_iter().for_each(|other| self.sever(node, other));
    }
    /// Cuts both ways between two nodes; both notice at once.
    pub(crate) fn cut(&self, a: NodeId, b: NodeId) {
        self.lock().cut.extend([(a, b), (b, a)]);
        self.sever(a, b);
    }
    /// What one sends to the other vanishes from now on.
    pub(crate) fn deafen(&self, from: NodeId, to: NodeId) {
        self.lock().deaf.insert((from, to));
    }
    /// Breaks the links between two nodes once.
    pub(crate) fn sever(&self, a: NodeId, b: NodeId) {
        let mut state = self.lock();
        state.links.remove(&(a, b));
        state.links.remove(&(b, a));
        let ends = [(state.nodes.get(&a).cloned(), b), (state.nodes.get(&b).cloned(), a)];
        drop(state);
        for (end, peer) in ends.into_iter().filter_map(|(end, peer)| Some((end?, peer))) {
            if let Some(groups) = end.groups.upgrade() {
                groups.handle_link_down(peer);
            }
            if let Some(fanout) = end.fanout.upgrade() {
                fanout.handle_link_down(peer);
            }
        }
    }
    /// Messages take up to so long from now on.
    pub(crate) fn slow(&self, latency_most: Duration) {
        self.lock().latency_most = latency_most;
    }
    /// Everybody reaches everybody again, at once.
    pub(crate) async fn heal(&self) {
        let (cut, deaf) = {
            let mut state = self.lock();
            state.latency_most = LATENCY_MOST;
            (std::mem::take(&mut state.cut), std::mem::take(&mut state.deaf))
        };
        // A link that was deaf for long has died meanwhile.
        deaf.iter().for_each(|(a, b)| self.sever(*a, *b));
        for (a, b) in cut.union(&deaf) {
            self.link_up(*a, *b).await;
        }
    }
    /// Whether a node hears another.
    pub(crate) fn hears(&self, node: NodeId, other: NodeId) -> bool {
        let state = self.lock();
        let open = |pair| !state.cut.contains(&pair) && !state.deaf.contains(&pair);
        node == other || (open((other, node)) && open((node, other)) && state.nodes.contains_key(&other))
    }

    async fn link_up(&self, a: NodeId, b: NodeId) {
        let groups = self.lock().nodes.get(&a).and_then(|peer| peer.groups.upgrade());
        if let Some(groups) = groups {
            groups.handle_link_up(b).await;
        }
    }
    fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.lock().nodes.keys().copied().filter(|other| *other != node).collect()
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The far end, if there is a way.
    fn reach(&self, from: NodeId, life: u64, to: NodeId) -> Option<Peer> {
        let state = self.lock();
        let is_alive = state.nodes.get(&from).is_some_and(|peer| peer.life == life);
        (is_alive && !state.cut.contains(&(from, to))).then(|| state.nodes.get(&to).cloned()).flatten()
    }
    fn is_deaf(&self, from: NodeId, to: NodeId) -> bool {
        self.lock().deaf.contains(&(from, to))
    }
    /// How long a message is under way.
    pub(crate) fn latency(&self) -> Duration {
        let mut state = self.lock();
        let most = state.latency_most;
        state.random.between(LATENCY_LEAST, most)
    }
    fn is_link(&self, from: NodeId, to: NodeId, number: u64) -> bool {
        self.lock().links.get(&(from, to)).is_some_and(|link| link.number == number)
    }
    /// The link, made if there is none.
    fn link(&self, from: NodeId, life: u64, to: NodeId) -> mpsc::Sender<(Instant, Tell)> {
        let mut state = self.lock();
        if let Some(link) = state.links.get(&(from, to)) {
            return link.tells.clone();
        }
        let number = state.next_link;
        state.next_link += 1;
        let (tells, queued) = mpsc::channel(LINK_QUEUE);
        state.links.insert((from, to), Link { number, tells: tells.clone() });
        drop(state);
        // Ends with the link: its only sender that stays is in the map.
        self.tasks.spawn_on(carry(self.clone(), (from, life), to, number, queued), &self.runtime);
        tells
    }
}

const LATENCY_LEAST: Duration = Duration::from_micros(200);
const LATENCY_MOST: Duration = Duration::from_millis(4);

async fn carry(net: Net, (from, life): (NodeId, u64), to: NodeId, number: u64, mut queued: mpsc::Receiver<(Instant, Tell)>) {
    let back = net.clone();
    let (answered, mut answering) = mpsc::channel::<(Instant, AppendAnswer)>(LINK_QUEUE);
    let answers: Answers = Arc::new(move |answer: AppendAnswer| {
        // Answers come back on the same link, and are lost with it; one too many is lost, and the session with it by its deadline.
        let _ = answered.try_send((Instant::now() + back.latency(), answer));
    });
    let returning = net.clone();
    let way_back = async move {
        while let Some((at, answer)) = answering.recv().await {
            sleep_until(at).await;
            let lost = !returning.is_link(from, to, number) || returning.is_deaf(to, from);
            let Some(peer) = returning.reach(from, life, to).and_then(|_| returning.lock().nodes.get(&from).cloned()).filter(|_| !lost) else {
                continue;
            };
            if let Some(groups) = peer.groups.upgrade() {
                groups.handle_appended(to, answer);
            }
        }
    };
    let way_there = async {
        let answers = answers;
        while let Some((at, tell)) = queued.recv().await {
            sleep_until(at).await;
            if !net.is_link(from, to, number) || net.is_deaf(from, to) {
                continue;
            }
            let Some(peer) = net.reach(from, life, to) else { continue };
            net.watch.note("tell", &[from.get(), to.get(), kind(&tell)]);
            let (Some(groups), Some(fanout)) = (peer.groups.upgrade(), peer.fanout.upgrade()) else { continue };
            match tell {
                Tell::Append(append) => groups.handle_append(from, number, append, &answers),
                Tell::AppendEnd { group, session } => groups.handle_append_end(from, number, group, session),
                other => fanout.handle_tell(from, other),
            }
        }
        let groups = net.lock().nodes.get(&to).and_then(|peer| peer.groups.upgrade());
        if let Some(groups) = groups {
            groups.handle_append_link_closed(from, number);
        }
    };
    join(way_there, way_back).await;
}

fn kind(tell: &Tell) -> u64 {
    match tell {
        Tell::Append(append) => 1_000 + append.entries.len() as u64,
        Tell::AppendEnd { .. } => 1,
        Tell::Beat(_) => 2,
        Tell::Refs(_) => 3,
        Tell::RefsKept(_) => 4,
        Tell::Push(_) => 5,
        Tell::Unregister { .. } => 6,
        Tell::RegisteredAll { .. } => 7,
        Tell::Activity { .. } => 8,
        Tell::Confirmed { .. } => 9,
    }
}

struct Transport {
    from: NodeId,
    life: u64,
    net: Net,
}

impl PeerTransport for Transport {
    fn ask(&self, to: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        let (net, from, life) = (self.net.clone(), self.from, self.life);
        async move {
            let there_and_back = async {
                net.reach(from, life, to).ok_or(TransportError::Unreachable(to))?;
                sleep(net.latency()).await;
                let peer = net.reach(from, life, to).ok_or(TransportError::Lost(to))?;
                if net.is_deaf(from, to) {
                    std::future::pending::<()>().await;
                }
                net.watch.note("ask", &[from.get(), to.get()]);
                let (Some(groups), Some(fanout)) = (peer.groups.upgrade(), peer.fanout.upgrade()) else { return Err(TransportError::Lost(to)) };
                let told = match ask {
                    Ask::Register { group, boot, sessions } => fanout.handle_register(from, group, boot, sessions).await,
                    Ask::History { group, caller, query } => {
                        let edge = peer.edge.upgrade().ok_or(TransportError::Lost(to))?;
                        edge.reads().history_here(group, &caller, &query).await.map(Told::History)
                    }
                    Ask::Index { group, caller, query, min_rev } => {
                        let edge = peer.edge.upgrade().ok_or(TransportError::Lost(to))?;
                        edge.reads().index_here(group, &caller, &query, min_rev).await.map(Told::Page)
                    }
                    ask => groups.handle_ask(from, ask).await,
                };
                sleep(net.latency()).await;
                net.reach(to, peer.life, from).ok_or(TransportError::Lost(to))?;
                if net.is_deaf(to, from) {
                    std::future::pending::<()>().await;
                }
                told.map_err(|refusal| TransportError::Refused(to, refusal))
            };
            timeout(within, there_and_back).await.unwrap_or(Err(TransportError::Timeout(to)))
        }
        .boxed()
    }

    fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError> {
        if self.net.reach(self.from, self.life, to).is_none() {
            return Err(TransportError::Unreachable(to));
        }
        let at = Instant::now() + self.net.latency();
        self.net.link(self.from, self.life, to).try_send((at, tell)).map_err(|_| TransportError::Full(to))
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        head: SnapshotHead,
        mut source: Box<dyn SnapshotSource>,
    ) -> BoxFuture<'static, Result<AppendResult, TransportError>> {
        let (net, from, life) = (self.net.clone(), self.from, self.life);
        async move {
            let peer = net.reach(from, life, to).ok_or(TransportError::Unreachable(to))?;
            let groups = peer.groups.upgrade().ok_or(TransportError::Unreachable(to))?;
            let (parts, received) = mpsc::channel(2);
            let sending = async {
                let sent = send_parts(&net, (from, life), to, &mut *source, &parts).await;
                // Ends the stream at the far end, in whatever state it is.
                drop(parts);
                sent
            };
            net.watch.note("snapshot", &[from.get(), to.get(), u64::from(head.group.get())]);
            let (sent, result) = join(sending, groups.handle_snapshot(head, received)).await;
            sent?;
            sleep(net.latency()).await;
            net.reach(from, life, to).ok_or(TransportError::Lost(to))?;
            Ok(result)
        }
        .boxed()
    }
}

async fn send_parts(
    net: &Net,
    (from, life): (NodeId, u64),
    to: NodeId,
    source: &mut dyn SnapshotSource,
    parts: &mpsc::Sender<SnapshotPart>,
) -> Result<(), TransportError> {
    loop {
        let part = match source.next_chunk().map_err(|_| TransportError::Source(to))? {
            Some(chunk) => SnapshotPart::Chunk(chunk),
            None => SnapshotPart::End(source.end()),
        };
        sleep(net.latency() * 4).await;
        let is_last = matches!(part, SnapshotPart::End(_));
        net.reach(from, life, to).filter(|_| !net.is_deaf(from, to)).ok_or(TransportError::Lost(to))?;
        parts.send(part).await.map_err(|_| TransportError::Lost(to))?;
        if is_last {
            return Ok(());
        }
    }
}
