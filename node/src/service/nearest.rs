//! Where a session is held best: what `Discover` answers, and where a node that takes no session sends its clients.
//!
//! In: the map, beats, this node's own state, what an asker measured. Out: at most `limit::EDGES_MAX` edges, best first. What is known of the
//! nodes is put together at most every [`FRESH`], for all who ask. Not here: the ranking itself (`machine::meta::nearest`).

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_machine::meta::nearest::{self, Asker, Fleet};
use kith_wire::{
    client::Edge,
    id::{DeviceId, NodeId, RegionId, UserId, digest},
    log::NodeState,
    peer::Caller,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::{
    clock::{self, Instant},
    cluster::load::OwnLoad,
    rate,
    router::Router,
};

/// How old what is known of the nodes may be: as often as they tell.
const FRESH: Duration = Duration::from_millis(250);
/// Sessions of a node that does not tell how many it can hold.
const CAPACITY: u64 = 20_000;

/// Answers where to go. Clones are the same.
#[derive(Clone)]
pub struct Nearest(Arc<Inner>);

struct Inner {
    router: Router,
    load: OwnLoad,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
    metrics: Arc<NearestMetrics>,
}

/// Counters of the answers.
#[derive(Default, Debug)]
pub struct NearestMetrics {
    /// Answers to who asks where a session is held best.
    pub discoveries: Family<DiscoveryLabel, Counter>,
}

/// What kind of answer a `Discover` was given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum Discovery {
    /// To one who has measured nothing.
    Guessed,
    /// To one who has measured.
    Measured,
}

/// Label of [`NearestMetrics::discoveries`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct DiscoveryLabel {
    /// Which kind.
    pub reason: Discovery,
    /// Whether this node came first.
    pub outcome: First,
}

/// Who came first in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EncodeLabelValue)]
pub enum First {
    /// This node, or nobody.
    Here,
    /// Another one.
    Elsewhere,
}

impl NearestMetrics {
    /// Counts an answer.
    pub fn discovered(&self, reason: Discovery, is_here: bool) {
        let outcome = if is_here { First::Here } else { First::Elsewhere };
        self.discoveries.get_or_create(&DiscoveryLabel { reason, outcome }).inc();
    }
    /// Puts all into a registry, as `kith_edge_*`: an edge is what was asked for.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [Discovery::Guessed, Discovery::Measured] {
            for outcome in [First::Here, First::Elsewhere] {
                drop(self.discoveries.get_or_create(&DiscoveryLabel { reason, outcome }));
            }
        }
        let registry = registry.sub_registry_with_prefix("kith_edge");
        registry.register(
            "discoveries",
            "Answers to who asks where a session is held best, by what it had measured and who came first",
            self.discoveries.clone(),
        );
    }
}

#[derive(Default)]
struct Known {
    fleet: Fleet,
    edges: BTreeMap<NodeId, Edge>,
    here: RegionId,
}

impl std::fmt::Debug for Nearest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nearest({:?})", self.0.load)
    }
}

impl Nearest {
    /// Over what a node knows of the others.
    pub(crate) fn new(router: Router, load: OwnLoad, metrics: Arc<NearestMetrics>) -> Self {
        Self(Arc::new(Inner { router, load, known: Mutex::default(), metrics }))
    }

    /// For a client: `measured` in milliseconds, `region` as long as it has measured nothing; unless it says, this node's own.
    pub fn edges(&self, caller: &Caller, measured: Vec<(NodeId, u32)>, region: Option<RegionId>) -> Vec<Edge> {
        let known = self.known();
        let seed = if caller.device == DeviceId::new(0) { caller.trace } else { caller.device.get() };
        let (node, kind) = (self.0.router.node(), if measured.is_empty() { Discovery::Guessed } else { Discovery::Measured });
        let asker =
            Asker { seed, measured: measured.into_iter().collect(), region: region.or(Some(known.here)), home_leader: self.home_leader(caller.user) };
        let edges = known.rank(&asker);
        self.0.metrics.discovered(kind, edges.first().is_none_or(|first| first.node == node));
        edges
    }

    /// For who asks over HTTP: nothing is known of them but their address.
    pub fn stranger(&self, from: IpAddr, measured: Vec<(NodeId, u32)>, region: Option<RegionId>) -> Vec<Edge> {
        let key = digest(&[b"kith/nearest/1", &rate::address(from).to_be_bytes()]);
        let seed = key.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        self.edges(&Caller { user: UserId::new(0), device: DeviceId::new(seed), admin: None, trace: seed, key: None, token: None }, measured, region)
    }

    /// Addresses for who cannot stay here: others each time, since many may stand behind one address.
    pub fn elsewhere(&self) -> Vec<String> {
        let (here, known) = (self.0.router.node(), self.known());
        let asker = Asker { seed: clock::draw(), region: Some(known.here), ..Asker::default() };
        known.rank(&asker).into_iter().filter(|edge| edge.node != here).map(|edge| edge.address).collect()
    }

    fn home_leader(&self, user: UserId) -> Option<NodeId> {
        if user == UserId::new(0) {
            return None;
        }
        let route = self.0.router.locate(user.bucket()).ok()?;
        self.0.router.leader(route.group).map(|(node, _)| node)
    }

    fn known(&self) -> Arc<Known> {
        let now = self.0.router.clock().instant();
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, known)) if now.duration_since(*at) < FRESH => known.clone(),
            _ => known.insert((now, Arc::new(self.look()))).1.clone(),
        }
    }

    /// Nodes that are up, heard, and stay.
    fn look(&self) -> Known {
        let (router, load) = (&self.0.router, &self.0.load);
        let (map, peers, me) = (router.maps().current(), router.peers(), router.node());
        let here = map.nodes.get(&me).map_or_else(RegionId::default, |row| row.region);
        let (mut edges, mut fleet, mut between) = (BTreeMap::new(), Vec::new(), BTreeMap::<_, u32>::new());
        for row in map.nodes.values().filter(|row| row.state == NodeState::Up && peers.reachable(row.node)) {
            let (drains, (sessions, capacity)) = if row.node == me {
                (load.drain.is_on(), (load.sessions(), load.sessions_max))
            } else {
                (peers.drains(row.node), peers.sessions(row.node).unwrap_or((0, CAPACITY)))
            };
            if drains {
                continue;
            }
            if let Some(rtt) = peers.rtt(row.node).filter(|_| row.region != here) {
                let ms = u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX);
                for pair in [(here, row.region), (row.region, here)] {
                    between.entry(pair).and_modify(|least| *least = ms.min(*least)).or_insert(ms);
                }
            }
            fleet.push(nearest::Edge { node: row.node, region: row.region, sessions, capacity });
            edges.insert(row.node, Edge { node: row.node, address: row.address.clone(), region: row.region, zone: row.zone.clone() });
        }
        Known { fleet: Fleet::new(fleet, between), edges, here }
    }
}

impl Known {
    fn rank(&self, asker: &Asker) -> Vec<Edge> {
        self.fleet.rank(asker).iter().filter_map(|node| self.edges.get(node).cloned()).collect()
    }
}
