//! Simulated nodes: real groups and fan-out over a simulated disk and network, which crash and start again.
//!
//! In: which node to start or to crash. Out: their groups. Invariant: a node that has crashed has no effect any more: its disk and its links
//! are dead, what still runs of it is ended in the background. Not here: which faults happen when (`plan`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use kith::{
    clock::{Clock, SharedClock},
    cluster::map::MapVersion,
    fanout::{Fanout, FanoutOptions, FanoutParts, Homes, metrics::FanoutMetrics},
    leadership::{self, Duty},
    supervise::Tasks,
};
use kith_raft::{GroupHandle, Groups, GroupsConfig, GroupsOptions, Lanes, RaftMetrics, Retention, Timers};
use kith_wire::{
    id::{Bucket, GroupId, NodeId, Term, Timestamp, UserId},
    log::Membership,
};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    Mutant,
    disk::{SharedPlatter, SimDisk},
    duty::SimDuty,
    edge::{Edge, EdgeParts},
    invariant::Step,
    net::Net,
    random::Random,
    watch::Watch,
};

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Groups, from 1.
    pub(crate) groups: u32,
    /// When logs are cut short.
    pub(crate) retention: Retention,
    /// What is wrong with it, for a test of the simulation itself.
    pub(crate) mutant: Option<Mutant>,
}

/// All nodes, up or down.
pub(crate) struct Cluster {
    shape: Shape,
    net: Net,
    watch: Arc<Watch>,
    runtime: Handle,
    platters: BTreeMap<NodeId, SharedPlatter>,
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    random: Mutex<Random>,
    /// What is left of crashed nodes, and the disks at work.
    rest: TaskTracker,
    started: Instant,
}

struct Node {
    disk: Arc<SimDisk>,
    groups: Arc<Groups>,
    fanout: Arc<Fanout>,
    edge: Arc<Edge>,
    tasks: Tasks,
}

/// Where a bucket lives: groups share the buckets in equal runs.
pub(crate) fn group_of(bucket: Bucket, groups: u32) -> GroupId {
    GroupId::new(u32::from(bucket.index) * groups / 65_536 + 1)
}

/// The first and last bucket of a group.
pub(crate) fn buckets_of(group: GroupId, groups: u32) -> (u16, u16) {
    let first = |number: u32| (number * 65_536).div_ceil(groups);
    let number = group.get() - 1;
    (u16::try_from(first(number)).unwrap_or(u16::MAX), u16::try_from(first(number + 1) - 1).unwrap_or(u16::MAX))
}

impl Cluster {
    /// No node has started yet.
    pub(crate) fn new(shape: Shape, platters: BTreeMap<NodeId, SharedPlatter>, watch: Arc<Watch>, mut random: Random) -> Self {
        let runtime = Handle::current();
        let net = Net::new(runtime.clone(), Arc::clone(&watch), random.fork());
        Self {
            shape,
            net,
            watch,
            runtime,
            platters,
            nodes: Mutex::default(),
            random: Mutex::new(random),
            rest: TaskTracker::new(),
            started: Instant::now(),
        }
    }
    /// Its shape.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }
    /// Its network.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }
    /// What sees it.
    pub(crate) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
    /// All nodes, up or down.
    pub(crate) fn all(&self) -> Vec<NodeId> {
        self.platters.keys().copied().collect()
    }
    /// Nodes that are up.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }
    /// All groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.shape.groups).map(GroupId::new)
    }
    /// A group at a node, if that is up.
    pub(crate) fn handle(&self, node: NodeId, group: GroupId) -> Option<GroupHandle> {
        self.lock().get(&node)?.groups.get(group)
    }
    /// Where devices connect to a node, if that is up.
    pub(crate) fn edge(&self, node: NodeId) -> Option<Arc<Edge>> {
        self.lock().get(&node).map(|node| node.edge.clone())
    }
    /// A node that serves as the group's leader.
    pub(crate) fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.lock().iter().find(|(_, node)| node.groups.get(group).is_some_and(|group| group.leadership().serving)).map(|(id, _)| *id)
    }

    /// Starts a node that is down.
    pub(crate) async fn start(&self, id: NodeId) {
        if self.lock().contains_key(&id) {
            return;
        }
        let random = self.lock_random().fork();
        let (disk, work) = SimDisk::start(id, Arc::clone(&self.platters[&id]), self.shape.mutant, Arc::clone(&self.watch), random);
        self.rest.spawn_on(work, &self.runtime);
        let life = kith_raft::Disk::identity(&*disk).boot;
        let (started, skew) = (self.started, self.lock_random().of(0..2_000));
        let transport = self.net.transport(id, life.get());
        let groups = Groups::new(GroupsOptions {
            node: id,
            cluster: "sim".to_owned(),
            storage: disk.clone(),
            transport: transport.clone(),
            lanes: Arc::new(Lanes::on(self.runtime.clone())),
            config: GroupsConfig { timers: Timers::fast(), retention: self.shape.retention, ..GroupsConfig::default() },
            now: Arc::new(move || now(started, skew)),
            metrics: Arc::new(RaftMetrics::default()),
            failpoints: Default::default(),
        });
        let homes = NodeHomes { groups: Arc::downgrade(&groups), net: self.net.clone(), node: id, nodes: self.all(), count: self.shape.groups };
        let clock: SharedClock = Arc::new(NodeClock { started, skew });
        let fanout = Fanout::new(FanoutParts {
            node: id,
            boot: life,
            links: transport.clone(),
            homes: Arc::new(homes),
            clock: clock.clone(),
            options: FanoutOptions::default(),
            fail_points: Default::default(),
            metrics: Arc::new(FanoutMetrics::default()),
        });
        let tasks = Tasks::new(self.runtime.clone());
        let edge = Edge::new(EdgeParts {
            node: id,
            net: self.net.clone(),
            clock,
            groups: groups.clone(),
            transport,
            fanout: fanout.clone(),
            tasks: tasks.clone(),
            count: self.shape.groups,
            replicas: self.all(),
            mutant: self.shape.mutant,
        });
        self.net.attach(id, life.get(), &groups, &fanout, &edge).await;
        let duty: Arc<dyn Duty> =
            Arc::new(SimDuty { fanout: fanout.clone(), groups: Arc::downgrade(&groups), tasks: tasks.clone(), mutant: self.shape.mutant });
        let duties: Arc<[Arc<dyn Duty>]> = Arc::new([duty]);
        self.lock().insert(id, Node { disk, groups: groups.clone(), fanout, edge, tasks: tasks.clone() });
        for group in self.groups() {
            match groups.open(group, Some(self.voters())).await {
                Ok(handle) => leadership::watch(&tasks, &handle, duties.clone()),
                // Its power may fail meanwhile.
                Err(error) if self.lock().get(&id).is_some_and(|node| Arc::ptr_eq(&node.groups, &groups)) => {
                    self.watch.violate(format!("node {id} cannot open group {group}: {}", chain(&error)));
                }
                Err(_) => return,
            }
        }
        self.watch.step(&Step::Started { node: id });
    }

    /// Cuts a node's power.
    pub(crate) fn crash(&self, id: NodeId) {
        let Some(node) = self.lock().remove(&id) else { return };
        node.edge.cut_power();
        node.disk.crash(&mut self.lock_random());
        self.net.detach(id);
        self.watch.step(&Step::Crashed { node: id });
        let Node { groups, fanout, edge, tasks, .. } = node;
        let ending = async move {
            tasks.close(Duration::from_secs(5)).await;
            drop((fanout, edge));
            groups.shutdown().await;
        };
        self.rest.spawn_on(ending, &self.runtime);
    }

    /// A node's disk takes so many times as long to sync.
    pub(crate) fn slow_disk(&self, id: NodeId, times: u64) {
        if let Some(node) = self.lock().get(&id) {
            node.disk.slow_by(times);
        }
    }

    /// Flushes a node's state and cuts its logs.
    pub(crate) async fn flush(&self, id: NodeId) {
        let groups = self.lock().get(&id).map(|node| node.groups.clone());
        if let Some(groups) = groups {
            groups.flush().await;
        }
    }

    /// Has the invariants look at who leads, and at groups that have failed.
    pub(crate) fn look(&self) {
        let nodes: Vec<_> = self.lock().iter().map(|(id, node)| (*id, node.groups.clone())).collect();
        for (node, groups) in nodes {
            for handle in groups.all() {
                let lead = handle.leadership();
                if lead.serving {
                    self.watch.step(&Step::Leads { node, group: handle.id(), term: lead.term });
                }
                if handle.has_failed() {
                    self.watch.violate(format!("group {} of node {node} has stopped with an error", handle.id()));
                }
            }
        }
    }

    /// Waits until nothing is left of nodes that crashed.
    pub(crate) async fn ended(&self) {
        self.rest.close();
        self.rest.wait().await;
    }

    fn voters(&self) -> Membership {
        Membership { voters: vec![self.all()], learners: Vec::new() }
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn lock_random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn now(started: Instant, skew: u64) -> Timestamp {
    Timestamp::new(1_000_000 + skew + u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}

struct NodeClock {
    started: Instant,
    skew: u64,
}
impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        now(self.started, self.skew)
    }
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

struct NodeHomes {
    groups: Weak<Groups>,
    net: Net,
    node: NodeId,
    nodes: Vec<NodeId>,
    count: u32,
}
impl Homes for NodeHomes {
    fn home(&self, user: UserId) -> Option<GroupId> {
        Some(group_of(user.bucket(), self.count))
    }
    fn leader(&self, group: GroupId) -> Option<(NodeId, Term)> {
        let lead = self.groups.upgrade()?.get(group)?.leadership();
        Some((lead.leader?, lead.term))
    }
    fn map_version(&self) -> MapVersion {
        MapVersion::new(1)
    }
    fn alive(&self, node: NodeId) -> bool {
        self.net.hears(self.node, node)
    }
    fn nodes(&self) -> Vec<NodeId> {
        self.nodes.clone()
    }
    fn groups(&self) -> Vec<GroupId> {
        (1..=self.count).map(GroupId::new).collect()
    }
}
