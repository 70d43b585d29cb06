//! Nodes of one process over an in-memory network: the verbs that the scenarios read by.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kith_machine::reply::Reply;
use kith_raft::{
    FailPoints, GroupHandle, Groups, GroupsConfig, GroupsOptions, Lanes, OpenError, ProposeError, RaftMetrics, Retention, Timers, testing::MemoryNet,
};
use kith_storage::{Condition, Options, Storage};
use kith_wire::{
    id::{ChannelId, ClientSeq, DeviceId, GroupId, NodeId, OwnerEpoch, RegionId, Timestamp, UserId},
    log::{Author, Command, Content, Item, Membership, PeerCheck},
};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// How long anything may take before a test says what it was waiting for.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) groups: Arc<Groups>,
    pub(crate) storage: Arc<Storage>,
    pub(crate) failpoints: FailPoints,
    pub(crate) metrics: Arc<RaftMetrics>,
    lanes: Arc<Lanes>,
}

pub(crate) struct Cluster {
    pub(crate) net: MemoryNet,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    config: GroupsConfig,
    groups: Vec<GroupId>,
    dirs: BTreeMap<NodeId, TempDir>,
    clock: Arc<AtomicU64>,
}

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

pub(crate) fn group(id: u32) -> GroupId {
    GroupId::new(id)
}

pub(crate) fn config() -> GroupsConfig {
    GroupsConfig { timers: Timers::fast(), ..GroupsConfig::default() }
}

/// Keeps next to nothing of the log, and flushes only when told to.
pub(crate) fn purging() -> GroupsConfig {
    GroupsConfig {
        retention: Retention { flush_interval: Duration::from_secs(3_600), keep_entries: 1, keep_bytes: 256 << 20, purge_entries_min: 1 },
        ..config()
    }
}

impl Cluster {
    /// Three nodes, each with all groups; each group owns every bucket, so that any channel may be written anywhere.
    pub(crate) async fn start(groups: u32, config: GroupsConfig) -> Self {
        Self::start_owned_by(groups, config, |_| true).await
    }

    /// As [`Cluster::start`]; only these groups own buckets, every one.
    pub(crate) async fn start_owned_by(groups: u32, config: GroupsConfig, owns: impl Fn(GroupId) -> bool) -> Self {
        let dirs = (1..=3).map(|id| (node(id), TempDir::new().expect("a temporary directory"))).collect();
        let groups = (1..=groups).map(group).collect();
        let clock = Arc::new(AtomicU64::new(1_000));
        let mut cluster = Self { net: MemoryNet::new(Handle::current()), nodes: BTreeMap::new(), config, groups, dirs, clock };
        for id in 1..=3 {
            cluster.start_node(node(id)).await;
        }
        for group in cluster.groups.clone().into_iter().filter(|group| owns(*group)) {
            cluster.propose(group, Command::OwnBuckets { region: RegionId::FIRST, first: 0, last: u16::MAX, epoch: OwnerEpoch::new(1) }).await;
        }
        cluster
    }

    pub(crate) async fn start_node(&mut self, id: NodeId) {
        let storage = Storage::open(self.dirs[&id].path(), Options::default()).expect("opened");
        let lanes = Arc::new(Lanes::start(1).expect("a lane"));
        let (failpoints, metrics) = (FailPoints::default(), Arc::new(RaftMetrics::default()));
        let clock = Arc::clone(&self.clock);
        let groups = Groups::new(GroupsOptions {
            node: id,
            cluster: "test".to_owned(),
            storage: storage.clone(),
            transport: self.net.transport(id),
            lanes: Arc::clone(&lanes),
            config: self.config,
            now: Arc::new(move || Timestamp::new(clock.fetch_add(1, Ordering::Relaxed))),
            metrics: Arc::clone(&metrics),
            failpoints: failpoints.clone(),
        });
        self.net.attach(id, &groups);
        for group in &self.groups {
            match groups.open(*group, Some(self.voters())).await {
                // It is for the test to see to that.
                Ok(_) | Err(OpenError::Quarantined { .. }) => {}
                Err(error) => panic!("{group}: {error:?}"),
            }
        }
        self.nodes.insert(id, Node { id, groups, storage, failpoints, metrics, lanes });
    }

    /// Stops a node in order; its disk stays.
    pub(crate) async fn stop_node(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).expect("it runs");
        self.net.detach(id);
        node.groups.shutdown().await;
        node.stop();
    }

    pub(crate) async fn shutdown(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.stop_node(id).await;
        }
    }

    fn voters(&self) -> Membership {
        Membership { voters: vec![self.dirs.keys().copied().collect()], learners: Vec::new() }
    }

    /// Data directory of a node.
    pub(crate) fn dir(&self, id: NodeId) -> &std::path::Path {
        self.dirs[&id].path()
    }

    /// What the nodes of a cluster do for a replica in quarantine: it withdraws, begins anew, and whoever leads takes it in again.
    pub(crate) async fn rebuild(&self, id: NodeId, group: GroupId) {
        let all = self.dirs.keys().copied().collect();
        let node = &self.nodes[&id];
        self.within("a rebuild", async {
            while node.groups.withdraw(group, &all).await.is_err() {
                tokio::task::yield_now().await;
            }
            node.groups.open(group, Some(self.voters())).await.expect("opened");
            while node.groups.condition(group) != Condition::Sound {
                let leader = self.leader(group).await;
                // Refusals are tried again.
                let _ = self.handle(leader, group).reconcile(&all).await;
                node.groups.note_rebuilt().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub(crate) fn handle(&self, id: NodeId, group: GroupId) -> GroupHandle {
        self.nodes[&id].groups.get(group).expect("open")
    }

    /// Some node that serves as the group's leader; waits for one.
    pub(crate) async fn leader(&self, group: GroupId) -> NodeId {
        self.leader_of(group, |_| true).await
    }

    pub(crate) async fn leader_of(&self, group: GroupId, wanted: impl Fn(NodeId) -> bool) -> NodeId {
        let serves = |id: NodeId| self.nodes[&id].groups.get(group).is_some_and(|handle| handle.leadership().serving);
        let found = || self.nodes.keys().copied().find(|id| wanted(*id) && serves(*id));
        self.wait_for(&format!("a leader of group {group}"), || found().is_some()).await;
        found().unwrap_or_else(|| panic!("leadership of group {group} moved at once"))
    }

    /// Proposes until a leader has logged it.
    pub(crate) async fn propose(&self, group: GroupId, command: Command) -> Reply {
        self.propose_at(group, command, |_| true).await
    }

    pub(crate) async fn propose_at(&self, group: GroupId, command: Command, at: impl Fn(NodeId) -> bool) -> Reply {
        let item = kith_machine::item(command);
        self.within("a proposal", async {
            loop {
                let leader = self.leader_of(group, &at).await;
                match self.handle(leader, group).propose(item.clone()).await {
                    Ok(reply) => return reply,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await
    }

    /// All nodes that run have applied the same entry of the group, and have the same digest there.
    pub(crate) async fn converged(&self, group: GroupId) {
        // A replica that is being replaced by a snapshot has no status.
        let state = |id: &NodeId| self.handle(*id, group).status().ok().map(|status| (status.applied, status.digest));
        let states = || self.nodes.keys().map(state).collect::<Option<Vec<_>>>();
        let equal = |states: Vec<_>| states.windows(2).all(|pair| pair[0] == pair[1]);
        self.wait_for(&format!("equal replicas of group {group}"), || states().is_some_and(equal)).await;
    }

    /// Waits for a condition; says what was waited for, and how the nodes stood, when it takes too long.
    pub(crate) async fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let polled = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        self.within(what, polled).await;
    }

    pub(crate) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => {
                let states = self.nodes.values().map(|n| (n.id, n.groups.all().iter().map(|g| g.status()).collect::<Vec<_>>())).collect::<Vec<_>>();
                panic!("waited in vain for {what}: {states:#?}")
            }
        }
    }
}

impl Node {
    fn stop(self) {
        let Self { groups, storage, lanes, .. } = self;
        drop(groups);
        lanes.stop();
        storage.close().expect("closed");
        // The data directory is locked for as long as anyone holds it.
        assert_eq!(Arc::strong_count(&storage), 1, "somebody still holds the store");
    }
}

/// A writer of texts to one direct channel.
pub(crate) struct Writer {
    pub(crate) channel: ChannelId,
    user: UserId,
    next: u64,
}

impl Writer {
    pub(crate) fn new(number: u64) -> Self {
        let user = UserId::new(number);
        Self { channel: ChannelId::direct(user, UserId::new(number + 1_000_000)), user, next: 1 }
    }

    /// Texts that it was asked for so far.
    pub(crate) fn said(&self) -> u64 {
        self.next - 1
    }

    /// The next text, as a command that a retry repeats byte for byte.
    pub(crate) fn text(&mut self, text: &str) -> Command {
        let client_seq = ClientSeq::new(self.next);
        self.next += 1;
        let author = Author { user: self.user, device: DeviceId::new(1), client_seq, settled: client_seq, digest: client_seq.get(), key: None };
        let content = Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None };
        Command::Append { channel: self.channel, author, content, peer: PeerCheck::Exists }
    }
}

pub(crate) fn item(command: Command) -> Item {
    kith_machine::item(command)
}

pub(crate) fn is_busy(reply: &Result<Reply, ProposeError>) -> bool {
    matches!(reply, Err(ProposeError::Busy { .. }))
}
