//! Whole nodes in one process, over real sockets and disks, for the tests of this folder.
//!
//! In: how many nodes. Out: a running cluster with three groups beside the meta group. Not here: faults and whole scenarios (package `kith-tests`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses a part")]

use std::{collections::BTreeMap, net::UdpSocket, time::Duration};

use kith::{
    Node, NodeOptions,
    clock::Instant,
    cluster::{ClusterFiles, ClusterSpec, NodeSpec, bootstrap},
    config::{Config, LogConfig},
};
use kith_raft::{GroupsConfig, Timers};
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Refusal, Request},
    id::{DeviceId, UserId},
    peer::Caller,
};

/// Longest wait for anything.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) files: ClusterFiles,
    pub(crate) nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    pub(crate) async fn start(count: u64) -> Self {
        kith::telemetry::start(&LogConfig { level: std::env::var("KITH_TEST_LOG").unwrap_or_else(|_| "warn".into()), ..LogConfig::default() });
        let dir = tempfile::tempdir().unwrap();
        let sockets: BTreeMap<u64, UdpSocket> = (1..=count).map(|id| (id, UdpSocket::bind("127.0.0.1:0").unwrap())).collect();
        let node = |(id, socket): (&u64, &UdpSocket)| NodeSpec {
            id: *id,
            address: socket.local_addr().unwrap().to_string(),
            http: "127.0.0.1:0".into(),
            region: 0,
            zone: format!("zone-{id}"),
            host: String::new(),
        };
        bootstrap(dir.path(), &ClusterSpec { groups: 3, nodes: sockets.iter().map(node).collect() }).unwrap();
        let files = ClusterFiles::load(&dir.path().join("cluster")).unwrap();
        let mut cluster = Self { dir, files, nodes: BTreeMap::new() };
        for (id, socket) in sockets {
            cluster.start_node(id, Some(socket)).await;
        }
        cluster
    }

    pub(crate) async fn start_node(&mut self, id: u64, socket: Option<UdpSocket>) {
        let mut config = Config::load(&self.dir.path().join(format!("node-{id}/node.toml"))).unwrap();
        config.node.lanes = Some(1);
        let groups = GroupsConfig { timers: Timers::fast(), ..GroupsConfig::default() };
        let node = Node::start(NodeOptions { groups, socket, ..NodeOptions::new(config) }).await.unwrap();
        self.nodes.insert(id, node);
    }

    pub(crate) async fn handle(&self, node: u64, caller: &Caller, request: Request) -> Result<Answer, Refusal> {
        self.nodes[&node].service().handle(caller, request, soon()).await
    }

    /// A device of an account that is made if need be.
    pub(crate) async fn account(&self, node: u64, name: &str) -> Caller {
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(0), admin: Some(AdminRole::Admin), trace: 1, key: None, token: None };
        let mut key = [7; 32];
        key[..name.len()].copy_from_slice(name.as_bytes());
        match self.handle(node, &operator, Request::EnsureAccount { name: name.into(), key }).await.unwrap() {
            Answer::Account { user, .. } => {
                Caller { user, device: DeviceId::from_nonce(user, &[1; 16]), admin: None, trace: 2, key: None, token: None }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn end(self) {
        for (_, node) in self.nodes {
            node.shutdown().await;
        }
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + WITHIN
}

/// Waits for a condition, with a deadline and a reason.
pub(crate) async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = soon();
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}
