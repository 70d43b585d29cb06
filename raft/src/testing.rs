//! An in-memory [`PeerTransport`] for tests: nodes of one process, with cuts, half-open links, severed links and delay.
//!
//! In: what groups send. Out: the same at the other node, in order per link, or not at all. Invariants: as of a real link: order within
//! one, loss only with its end, a higher number for each new one. Only with the feature `testing`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use kith_wire::{
    id::NodeId,
    peer::{AppendAnswer, AppendResult, Ask, SnapshotHead, Tell, Told},
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    inbound::Answers,
    registry::Groups,
    transport::{PeerTransport, SnapshotPart, SnapshotSource, TransportError},
};

/// Seeds what openraft draws on this thread from now on (election timeouts, first ticks); `None`: truly random.
pub fn seed_elections(seed: Option<u64>) {
    crate::runtime::random::seed(seed);
}

/// Tells of one link that wait for delivery; one more is refused.
const LINK_QUEUE: usize = 4_096;

type Pair = (NodeId, NodeId);

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Weak<Groups>>,
    links: HashMap<Pair, Link>,
    cut: HashSet<Pair>,
    half_open: HashSet<Pair>,
    delay: Duration,
}

struct Link {
    number: u64,
    tells: mpsc::Sender<Tell>,
}

/// The network between nodes of one process. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNet {
    state: Arc<Mutex<State>>,
    next_link: Arc<AtomicU64>,
    runtime: Handle,
}

impl MemoryNet {
    /// A network whose links are carried by tasks of this runtime, which must outlive all groups.
    pub fn new(runtime: Handle) -> Self {
        Self { state: Arc::default(), next_link: Arc::new(AtomicU64::new(1)), runtime }
    }

    /// The transport of a node.
    pub fn transport(&self, node: NodeId) -> Arc<dyn PeerTransport> {
        Arc::new(MemoryTransport { from: node, net: self.clone() })
    }

    /// Puts a node on the network, in place of an earlier one of that id.
    pub fn attach(&self, node: NodeId, groups: &Arc<Groups>) {
        self.sever_all(node);
        self.state().nodes.insert(node, Arc::downgrade(groups));
    }

    /// Takes a node off: it can neither send nor receive.
    pub fn detach(&self, node: NodeId) {
        self.state().nodes.remove(&node);
        self.sever_all(node);
    }

    /// Cuts both ways between two nodes; both notice at once.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.state().cut.extend([(a, b), (b, a)]);
        self.sever(a, b);
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: NodeId) {
        for other in self.nodes() {
            if other != node {
                self.cut(node, other);
            }
        }
    }

    /// What `from` sends to `to` is taken and lost, and neither notices.
    pub fn half_open(&self, from: NodeId, to: NodeId) {
        self.state().half_open.insert((from, to));
    }

    /// Breaks the links between two nodes once: what is on its way is lost, new links carry on.
    pub fn sever(&self, a: NodeId, b: NodeId) {
        let mut state = self.state();
        state.links.remove(&(a, b));
        state.links.remove(&(b, a));
        let groups = [(state.node(a), b), (state.node(b), a)];
        drop(state);
        groups.into_iter().filter_map(|(groups, peer)| Some((groups?, peer))).for_each(|(groups, peer)| groups.handle_link_down(peer));
    }

    /// Everyone reaches everyone again.
    pub async fn heal(&self) {
        let pairs = {
            let mut state = self.state();
            state.half_open.clear();
            let cut = std::mem::take(&mut state.cut);
            cut.into_iter().filter_map(|(from, to)| Some((state.node(from)?, to))).collect::<Vec<_>>()
        };
        for (groups, peer) in pairs {
            groups.handle_link_up(peer).await;
        }
    }

    /// Each message takes this long from now on.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    fn sever_all(&self, node: NodeId) {
        self.nodes().into_iter().filter(|other| *other != node).for_each(|other| self.sever(node, other));
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.state().nodes.keys().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups at the far end, if the way there is open and this end is on the network.
    fn reach(&self, from: NodeId, to: NodeId) -> Option<Arc<Groups>> {
        let state = self.state();
        let open = !state.cut.contains(&(from, to)) && state.node(from).is_some();
        open.then(|| state.node(to)).flatten()
    }

    fn is_half_open(&self, from: NodeId, to: NodeId) -> bool {
        self.state().half_open.contains(&(from, to))
    }

    fn delay_now(&self) -> Duration {
        self.state().delay
    }

    fn link(&self, from: NodeId, to: NodeId) -> mpsc::Sender<Tell> {
        let mut state = self.state();
        let link = state.links.entry((from, to)).or_insert_with(|| {
            let number = self.next_link.fetch_add(1, Ordering::Relaxed);
            let (tells, queued) = mpsc::channel(LINK_QUEUE);
            // Ends with the link: its only sender is in the map.
            drop(self.runtime.spawn(carry(self.clone(), from, to, number, queued)));
            Link { number, tells }
        });
        link.tells.clone()
    }

    fn is_link(&self, from: NodeId, to: NodeId, number: u64) -> bool {
        self.state().links.get(&(from, to)).is_some_and(|link| link.number == number)
    }
}

impl State {
    fn node(&self, node: NodeId) -> Option<Arc<Groups>> {
        self.nodes.get(&node).and_then(Weak::upgrade)
    }
}

async fn carry(net: MemoryNet, from: NodeId, to: NodeId, number: u64, mut queued: mpsc::Receiver<Tell>) {
    let back = net.clone();
    let answers: Answers = Arc::new(move |answer: AppendAnswer| {
        // Answers come back on the same link, and are lost with it.
        let way_back = back.is_link(from, to, number) && !back.is_half_open(to, from) && back.reach(to, from).is_some();
        if let Some(groups) = way_back.then(|| back.state().node(from)).flatten() {
            groups.handle_appended(to, answer);
        }
    });
    while let Some(tell) = queued.recv().await {
        let delay = net.delay_now();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if !net.is_link(from, to, number) || net.is_half_open(from, to) {
            continue;
        }
        let Some(groups) = net.reach(from, to) else { continue };
        match tell {
            Tell::Append(append) => groups.handle_append(from, number, append, &answers),
            Tell::AppendEnd { group, session } => groups.handle_append_end(from, number, group, session),
            _ => {}
        }
    }
    if let Some(groups) = net.state().node(to) {
        groups.handle_append_link_closed(from, number);
    }
}

struct MemoryTransport {
    from: NodeId,
    net: MemoryNet,
}

impl PeerTransport for MemoryTransport {
    fn ask(&self, to: NodeId, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Told, TransportError>> {
        let (net, from) = (self.net.clone(), self.from);
        async move {
            let groups = net.reach(from, to).ok_or(TransportError::Unreachable(to))?;
            let there_and_back = async {
                sleep(net.delay_now()).await;
                if net.is_half_open(from, to) || net.is_half_open(to, from) {
                    std::future::pending::<()>().await;
                }
                let told = groups.handle_ask(from, ask).await;
                net.reach(to, from).ok_or(TransportError::Lost(to))?;
                told.map_err(|refusal| TransportError::Refused(to, refusal))
            };
            timeout(within, there_and_back).await.unwrap_or(Err(TransportError::Timeout(to)))
        }
        .boxed()
    }

    fn tell(&self, to: NodeId, tell: Tell) -> Result<(), TransportError> {
        if self.net.reach(self.from, to).is_none() {
            return Err(TransportError::Unreachable(to));
        }
        self.net.link(self.from, to).try_send(tell).map_err(|_| TransportError::Full(to))
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        head: SnapshotHead,
        mut source: Box<dyn SnapshotSource>,
    ) -> BoxFuture<'static, Result<AppendResult, TransportError>> {
        let (net, from) = (self.net.clone(), self.from);
        async move {
            let groups = net.reach(from, to).ok_or(TransportError::Unreachable(to))?;
            let (parts, received) = mpsc::channel(2);
            let reading = tokio::task::spawn_blocking(move || {
                while let Some(chunk) = source.next_chunk().map_err(|_| TransportError::Source(to))? {
                    net.reach(from, to).ok_or(TransportError::Lost(to))?;
                    parts.blocking_send(SnapshotPart::Chunk(chunk)).map_err(|_| TransportError::Lost(to))?;
                }
                parts.blocking_send(SnapshotPart::End(source.end())).map_err(|_| TransportError::Lost(to))
            });
            let result = groups.handle_snapshot(head, received).await;
            reading.await.unwrap_or(Err(TransportError::Source(to)))?;
            Ok(result)
        }
        .boxed()
    }
}
