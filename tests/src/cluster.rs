//! A cluster of whole nodes in this process.
//!
//! In: the verbs of a scenario: start, kill, restart, partition, heal, wait. Out: running nodes with their own folders, certificates and
//! ports; clients of people who get an account on first use. Invariant: every wait has a deadline and a reason, and its failure prints
//! what each node knows. Not here: what clients do ([`crate::device`]), whether it was right ([`crate::history`]).

mod build;
mod rotation;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kith::{
    Node, NodeOptions, StartError,
    auth::{Claims, token::mint},
    clock::{Clock, SharedClock, SystemClock},
    cluster::{
        ClusterFiles, NodeSpec, add_node,
        bootstrap::bootstrap,
        files::ClusterSpec,
        join::{Join, JoinError},
        map::Located,
    },
    config::Config,
    demo::regions,
    disk::Room,
};
use kith_client::{Backfill, Client, Door, Login, Trust};
use kith_machine::mutant::Quirk;
use kith_raft::FailPoints;
use kith_wire::{
    admin::AdminRole,
    client::{Answer, Refusal, Request},
    id::{Bucket, ChannelId, DeviceId, GroupId, NodeId, RegionId, UserId},
    layout::{LayoutAnswer, LayoutRequest},
    log::{NodeRow, NodeState},
    peer::Caller,
    trust::{TrustAnswer, TrustRequest},
    upgrade::BUILD,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{book::Book, device::Device, links::Links, logs::Logs, setup::Setup};

/// Longest wait of a scenario for anything.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// Clients that are closed at once in the end.
const CLOSED_AT_ONCE: usize = 64;
/// Of those who sign up.
pub const PASSWORD: &str = "correct horse";
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Whole nodes in one process.
pub struct Cluster {
    folder: tempfile::TempDir,
    files: ClusterFiles,
    setup: Setup,
    links: Arc<Links>,
    nodes: BTreeMap<u64, Place>,
    people: Mutex<BTreeMap<String, UserId>>,
    clients: Mutex<Vec<Client>>,
    book: Arc<Book>,
    logs: Logs,
    allowed: Vec<&'static str>,
    joined: AtomicU64,
}

/// Where a node is, running or not.
struct Place {
    address: String,
    node: Option<Node>,
    failpoints: FailPoints,
    /// Its settings, where they are not beside the others'.
    file: Option<PathBuf>,
    /// What is told to its program.
    quirk: Quirk,
}

impl Place {
    fn new(address: String) -> Self {
        Self { address, node: None, failpoints: FailPoints::default(), file: None, quirk: Quirk::default() }
    }
}

impl Cluster {
    /// So many nodes, set up as usual.
    pub async fn start(nodes: u64) -> Self {
        Self::start_with(Setup::nodes(nodes)).await
    }

    /// Makes a cluster and starts its nodes; returns when every group has a leader and the map is logged.
    ///
    /// # Panics
    /// It does not start in time.
    pub async fn start_with(setup: Setup) -> Self {
        let logs = Logs::collect();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let sockets: BTreeMap<u64, UdpSocket> =
            (1..=setup.nodes).map(|id| (id, UdpSocket::bind((regions::node_address(setup.region_of(id), 1), 0)).expect("a free port"))).collect();
        let address = |socket: &UdpSocket| socket.local_addr().expect("a bound socket").to_string();
        let spec = ClusterSpec {
            groups: setup.groups,
            nodes: sockets
                .iter()
                .map(|(id, socket)| NodeSpec {
                    id: *id,
                    address: address(socket),
                    http: String::new(),
                    region: setup.region_of(*id),
                    zone: format!("zone-{id}"),
                    host: String::new(),
                })
                .collect(),
        };
        bootstrap(folder.path(), &spec).expect("a new cluster");
        setup.say(folder.path());
        let files = ClusterFiles::load(&folder.path().join("cluster")).expect("the cluster's files");
        let place = |socket: &UdpSocket| Place::new(address(socket));
        let nodes = sockets.iter().map(|(id, socket)| (*id, place(socket))).collect();
        let mut cluster = Self {
            folder,
            files,
            setup,
            links: Arc::default(),
            nodes,
            people: Mutex::default(),
            clients: Mutex::default(),
            book: Arc::default(),
            logs,
            allowed: Vec::new(),
            joined: AtomicU64::new(1),
        };
        for (id, socket) in sockets {
            #[cfg(feature = "failpoint")]
            cluster.set_older(id, cluster.setup.older);
            cluster.start_node(id, Some(socket)).await;
        }
        cluster.wait_ready().await;
        cluster
    }

    // Faults.

    /// Stops a node as a crash would, as far as one process can: nothing is handed over, nobody is told, clients learn it from silence or
    /// a closed connection. What was not synced is lost with a process only; `node/tests/crash.rs` kills processes.
    pub async fn kill(&mut self, node: u64) {
        self.expect_crash();
        let place = self.nodes.get_mut(&node).expect("a node of the cluster");
        let running = place.node.take().expect("a node that runs");
        running.abort().await;
    }

    /// Stops several nodes at once, as [`Cluster::kill`].
    pub async fn kill_all(&mut self) {
        self.expect_crash();
        let running: Vec<Node> = self.nodes.values_mut().filter_map(|place| place.node.take()).collect();
        let mut aborts = tokio::task::JoinSet::new();
        for node in running {
            aborts.spawn(node.abort());
        }
        aborts.join_all().await;
    }

    /// Ends a node in order.
    pub async fn shut_down(&mut self, node: u64) {
        let place = self.nodes.get_mut(&node).expect("a node of the cluster");
        place.node.take().expect("a node that runs").shutdown().await;
    }

    /// Starts a node that was stopped, with the same data, address and certificate.
    pub async fn restart(&mut self, node: u64) {
        self.start_node(node, None).await;
    }

    /// Puts a new node, with an empty disk, in the place of one that is gone, as an operator does.
    pub async fn replace(&mut self, dead: u64, new: u64) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound socket").to_string();
        let spec = NodeSpec { id: new, address: address.clone(), http: String::new(), region: 0, zone: String::new(), host: String::new() };
        add_node(self.folder.path(), &spec).expect("the new node's folder");
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
        let request = Request::ReplaceNode {
            dead: NodeId::new(dead),
            node: NodeId::new(new),
            address: address.clone(),
            http: String::new(),
            zone: String::new(),
            host: String::new(),
            force: false,
        };
        self.wait_for("the node is replaced", async || {
            let asked = self.node(self.running()[0]).service().handle(&operator, request.clone(), Instant::now() + PATIENCE).await;
            matches!(asked, Ok(Answer::Done))
        })
        .await;
        self.nodes.remove(&dead);
        self.nodes.insert(new, Place::new(address));
        self.start_node(new, Some(socket)).await;
    }

    /// Adds a node in a zone of its own, and starts it, as an operator does.
    pub async fn add(&mut self, node: u64) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound socket").to_string();
        let zone = format!("zone-{node}");
        let spec = NodeSpec { id: node, address: address.clone(), http: String::new(), region: 0, zone: zone.clone(), host: String::new() };
        add_node(self.folder.path(), &spec).expect("the new node's folder");
        let asked = LayoutRequest::AddNode {
            node: NodeId::new(node),
            address: address.clone(),
            http: String::new(),
            region: RegionId::FIRST,
            zone,
            host: String::new(),
            capacity: 1,
        };
        self.layout(asked).await.expect("the node is added");
        self.nodes.insert(node, Place::new(address));
        self.start_node(node, Some(socket)).await;
    }

    /// What a node would join with, by this token, from a folder of its own and a free address.
    pub fn joining(&self, token: &str) -> Join {
        let number = self.joined.fetch_add(1, Relaxed);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let listen = socket.local_addr().expect("a bound socket");
        let node = NodeRow { address: listen.to_string(), zone: format!("joined-{number}"), capacity: 1, version: BUILD, ..NodeRow::default() };
        Join { ticket: token.parse().expect("a join token"), folder: self.folder.path().join(format!("joined-{number}")), listen, node }
    }

    /// Joins, and starts the node from what it was told. Gives its id.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn join(&mut self, join: &Join) -> Result<u64, JoinError> {
        let clock: SharedClock = Arc::new(SystemClock);
        let file = join.run(&clock).await?;
        let id = Config::load(&file).expect("the node's own settings").node.id;
        self.nodes.insert(id, Place { file: Some(file), ..Place::new(join.node.address.clone()) });
        self.start_node(id, None).await;
        Ok(id)
    }

    /// A node that was killed never comes back.
    pub fn forget(&mut self, node: u64) {
        self.nodes.remove(&node);
    }

    /// What an operator asks about who may join, at a running node.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn ask_trust(&self, asked: TrustRequest) -> Result<TrustAnswer, Refusal> {
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
        let last = *self.running().last().expect("a node that runs");
        match self.node(last).service().handle(&operator, Request::Trust(asked), Instant::now() + PATIENCE).await? {
            Answer::Trust(answer) => Ok(answer),
            other => panic!("another answer: {other:?}"),
        }
    }

    /// Waits until a node has left, and ends it.
    pub async fn wait_left(&mut self, node: u64) {
        self.wait_for(&format!("node {node} has left"), async || {
            self.map().nodes.get(&NodeId::new(node)).is_some_and(|row| row.state == NodeState::Left)
        })
        .await;
        let place = self.nodes.remove(&node).expect("a node of the cluster");
        if let Some(running) = place.node {
            running.shutdown().await;
        }
    }

    /// What an operator asks about nodes and groups, at a running node; asked again while nobody leads.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn layout(&self, asked: LayoutRequest) -> Result<LayoutAnswer, Refusal> {
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
        let last = *self.running().last().expect("a node that runs");
        match self.node(last).service().handle(&operator, Request::Layout(asked), Instant::now() + PATIENCE).await? {
            Answer::Layout(answer) => Ok(answer),
            other => panic!("another answer: {other:?}"),
        }
    }

    /// The newest map of the nodes that run.
    pub fn map(&self) -> Arc<Located> {
        let maps = self.running().into_iter().map(|node| self.node(node).service().router().maps().current());
        maps.max_by_key(|map| map.epoch).expect("a node that runs")
    }

    /// Waits until every group has the members that the map gives it, and nodes hold no others.
    pub async fn wait_members(&self) {
        self.wait_for("every group has the members that the map gives it", async || {
            let map = self.map();
            map.groups.values().all(|row| {
                let wanted: BTreeSet<NodeId> = row.replicas.iter().copied().collect();
                let Some(leader) = self.leader_now(row.group) else { return false };
                let members = self.node(leader).groups().get(row.group).map(|group| group.members()).unwrap_or_default();
                let is_held = |node: &u64| self.node(*node).groups().get(row.group).is_some();
                let held: BTreeSet<NodeId> = self.running().into_iter().filter(is_held).map(NodeId::new).collect();
                members.settled && members.voters == wanted && members.learners.is_empty() && held.is_subset(&wanted)
            })
        })
        .await;
    }

    /// Cuts the links between two nodes.
    pub fn partition(&self, a: u64, b: u64) {
        self.links.cut(NodeId::new(a), NodeId::new(b));
    }

    /// Cuts a node off from all others; its clients still reach it.
    pub fn isolate(&self, node: u64) {
        self.nodes.keys().filter(|other| **other != node).for_each(|other| self.partition(node, *other));
    }

    /// All links carry traffic again.
    pub fn heal(&self) {
        self.links.heal();
    }

    /// A group that is stopped in the middle of something says so; one that stops by itself is logged by others too.
    fn expect_crash(&mut self) {
        self.allowed.extend(["raft stopped", "the proposer ends because the group has stopped"]);
    }

    /// From now on lines that hold this part are expected. Say why in the scenario.
    pub fn expect_logs(&mut self, part: &'static str) {
        self.allowed.push(part);
    }

    // Who and where.

    /// A running node.
    ///
    /// # Panics
    /// It does not run.
    pub fn node(&self, node: u64) -> &Node {
        self.nodes.get(&node).and_then(|place| place.node.as_ref()).unwrap_or_else(|| panic!("node {node} does not run"))
    }

    /// Ids of the nodes that run.
    pub fn running(&self) -> Vec<u64> {
        self.nodes.iter().filter(|(_, place)| place.node.is_some()).map(|(id, _)| *id).collect()
    }

    /// Fail points of a node; they outlive it.
    pub fn failpoints(&self, node: u64) -> &FailPoints {
        &self.nodes.get(&node).expect("a node of the cluster").failpoints
    }

    /// `host:port` of a node.
    pub fn address(&self, node: u64) -> &str {
        &self.nodes.get(&node).expect("a node of the cluster").address
    }

    /// The cluster's files.
    pub fn files(&self) -> &ClusterFiles {
        &self.files
    }

    /// What a node shows to its peers: its certificate and key, in PEM.
    pub fn node_identity(&self, node: u64) -> (String, String) {
        let read = |file: &str| std::fs::read_to_string(self.folder.path().join(format!("node-{node}/{file}"))).expect("a file of the node");
        (read("cert.pem"), read("key.pem"))
    }

    /// Data directory of a node.
    pub fn data_dir(&self, node: u64) -> PathBuf {
        self.folder.path().join(format!("node-{node}/data"))
    }

    /// The group of a bucket.
    pub fn group_of(&self, bucket: Bucket) -> GroupId {
        let node = self.running()[0];
        self.node(node).service().router().locate(bucket).expect("a map").group
    }

    /// The group of a conversation.
    pub fn group_of_room(&self, room: &str) -> GroupId {
        self.group_of(self.book.room(room).channel.bucket())
    }

    /// Nodes with a replica of a group, as the map says.
    pub fn replicas(&self, group: GroupId) -> Vec<u64> {
        let node = self.running()[0];
        let map = self.node(node).service().router().maps().current();
        map.groups.get(&group).map(|row| row.replicas.iter().map(|node| node.get()).collect()).unwrap_or_default()
    }

    /// The node that serves a group as its leader; waits until there is one.
    pub async fn leader_of(&self, group: GroupId) -> u64 {
        self.wait_for(&format!("group {group} has a leader"), async || self.leader_now(group).is_some()).await;
        self.leader_now(group).expect("it was there a moment ago, and nobody was killed since")
    }

    /// As [`Cluster::leader_of`], for the group of a conversation.
    pub async fn leader_of_room(&self, room: &str) -> u64 {
        self.leader_of(self.group_of_room(room)).await
    }

    /// A running node that holds a replica of the group and does not lead it.
    pub async fn follower_of(&self, group: GroupId) -> u64 {
        let leader = self.leader_of(group).await;
        let running = self.running();
        self.replicas(group).into_iter().find(|node| *node != leader && running.contains(node)).expect("a follower that runs")
    }

    /// The one that serves it in the highest term: a leader that is cut off may believe in itself for a while.
    pub fn leader_now(&self, group: GroupId) -> Option<u64> {
        let serving = self.running().into_iter().filter_map(|node| {
            let lead = self.node(node).groups().get(group)?.leadership();
            lead.serving.then_some((lead.term, node))
        });
        serving.max().map(|(_, node)| node)
    }

    /// The sum of a node's metric over its labels.
    pub fn metric(&self, node: u64, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, self.node(node).registry()).expect("writing to a string");
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    // People.

    /// A new device of a person, connected. The account is made on first use.
    pub async fn client(&self, name: &str) -> Device {
        let device = self.offline_client(name).await;
        device.connect().await;
        device
    }

    /// As [`Cluster::client`], by way of one node as long as that lives.
    pub async fn client_at(&self, name: &str, node: u64) -> Device {
        let user = self.user(name).await;
        let device = Device::make(self, name, user, vec![self.address(node).to_owned()]).await;
        device.connect().await;
        device
    }

    /// A new device of a person that has not gone online yet.
    pub async fn offline_client(&self, name: &str) -> Device {
        let user = self.user(name).await;
        Device::make(self, name, user, self.addresses()).await
    }

    /// The account of a person, made on first use.
    pub async fn user(&self, name: &str) -> UserId {
        let known = self.people().get(name).copied();
        if let Some(user) = known {
            return user;
        }
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
        let mut key = [0; 32];
        key[..name.len().min(32)].copy_from_slice(&name.as_bytes()[..name.len().min(32)]);
        let node = self.node(self.running()[0]);
        let made = node.service().handle(&operator, Request::EnsureAccount { name: name.to_owned(), key }, Instant::now() + PATIENCE).await;
        let Ok(Answer::Account { user, .. }) = made else { panic!("no account for {name}: {made:?}\n{}", self.states()) };
        self.people().insert(name.to_owned(), user);
        user
    }

    /// A token for a person.
    pub fn token(&self, name: &str, user: UserId) -> String {
        let now_s = SystemClock.now().get() / 1000;
        let claims = Claims { user, name: name.to_owned(), cluster: self.files.id, expires_s: now_s + 3_600, issued_s: now_s, ..Claims::default() };
        mint(&self.files.token_key, &claims).expect("a token")
    }

    /// A token of an operator.
    pub fn operator_token(&self) -> String {
        let now_s = SystemClock.now().get() / 1000;
        let claims = Claims {
            user: UserId::new(0),
            name: "operator".into(),
            cluster: self.files.id,
            admin: true,
            expires_s: now_s + 3_600,
            issued_s: now_s,
            ..Claims::default()
        };
        mint(&self.files.token_key, &claims).expect("a token")
    }

    /// Whom a client of this cluster believes.
    pub fn trust(&self) -> Trust {
        Trust::ca_pem(self.files.ca_pem.as_bytes()).expect("the cluster's own authority")
    }

    /// Signs up with [`PASSWORD`], and is in, at this node.
    pub async fn person(&self, door: &Door, name: &str, node: u64) -> Client {
        self.enter(door.sign_up(name, PASSWORD, "laptop").await.expect("signs up").login, node).await
    }

    /// A device that was let in, connected to that node.
    pub async fn enter(&self, login: Login, node: u64) -> Client {
        let client = Client::builder(self.address(node)).login(login).trust(self.trust()).backfill(Backfill::All).build().await.expect("a client");
        client.connect().await.expect("connects");
        client
    }

    /// Makes a group chat and waits until it is there.
    pub async fn room(&self, room: &str, creator: &Device, others: &[&Device]) -> ChannelId {
        let members = others.iter().map(|device| device.user()).collect();
        creator.make_room(room, members).await
    }

    /// What was acked so far.
    pub fn book(&self) -> &Arc<Book> {
        &self.book
    }

    /// How this scenario's cluster is set up.
    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.values().map(|place| place.address.clone()).collect()
    }

    pub(crate) fn keep(&self, client: Client) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    // Waiting.

    /// Waits until something holds.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`]; the text says what was waited for, and what each node knows.
    pub async fn wait_for(&self, reason: &str, holds: impl AsyncFnMut() -> bool) {
        self.wait_within(PATIENCE, reason, holds).await;
    }

    /// As [`Cluster::wait_for`], for what takes its time.
    ///
    /// # Panics
    /// It does not hold within that.
    pub async fn wait_within(&self, patience: Duration, reason: &str, mut holds: impl AsyncFnMut() -> bool) {
        let looking = async {
            while !holds().await {
                sleep(LOOK).await;
            }
        };
        if timeout(patience, looking).await.is_err() {
            panic!("waited {patience:?} for: {reason}\n{}", self.states());
        }
    }

    /// Waits until every group has a leader that every running node knows, and the map is logged.
    pub async fn wait_ready(&self) {
        self.wait_for("every group has a leader, and the map is known everywhere", async || {
            self.running().iter().all(|node| {
                let router = self.node(*node).service().router();
                let map = router.maps().current();
                map.epoch.get() > 0
                    && !map.groups.is_empty()
                    && map.groups.keys().all(|group| self.leader_now(*group).is_some() && router.leader(*group).is_some())
            })
        })
        .await;
    }

    /// Waits until the replicas of a group that run have applied the same entries with the same result.
    pub async fn wait_equal(&self, group: GroupId) {
        self.wait_for(&format!("the replicas of group {group} are equal"), async || {
            let states: Vec<_> = self.running().iter().filter_map(|node| self.node(*node).groups().get(group)?.status().ok()).collect();
            let applied = |status: &kith_raft::GroupStatus| (status.applied.map(|id| id.index), status.digest);
            states.windows(2).all(|pair| applied(&pair[0]) == applied(&pair[1]))
        })
        .await;
    }

    /// What each node knows, for people.
    pub fn states(&self) -> String {
        let mut text = format!("cut links: {:?}\n", self.links.cuts());
        for (id, place) in &self.nodes {
            let Some(node) = &place.node else {
                let _ = writeln!(text, "node {id}: stopped");
                continue;
            };
            let router = node.service().router();
            let _ = writeln!(text, "node {id}: map {}, links up {}", router.maps().current().epoch.get(), node.peers().links_up());
            for group in node.groups().all() {
                let _ = match group.status() {
                    Ok(status) => writeln!(
                        text,
                        "  group {}: leader {:?} term {} last {:?} applied {:?} serving {} failed {}",
                        status.group,
                        status.leader.map(NodeId::get),
                        status.term,
                        status.last.map(|index| index.get()),
                        status.applied.map(|id| id.index.get()),
                        group.leadership().serving,
                        status.failed
                    ),
                    Err(error) => writeln!(text, "  group {}: {error}", group.id()),
                };
            }
        }
        for (number, client) in self.clients.lock().unwrap_or_else(PoisonError::into_inner).iter().enumerate() {
            let (me, status, behind) = (client.me(), client.status().get(), client.behind().get());
            let _ = writeln!(text, "client {number} of {me}, home in group {}: {status:?}, behind in {behind}", self.group_of(me.bucket()));
        }
        for node in self.running() {
            let mut metrics = String::new();
            if prometheus_client::encoding::text::encode(&mut metrics, self.node(node).registry()).is_ok() {
                let of_interest = |line: &&str| !line.starts_with('#') && !line.contains("bucket") && !line.ends_with(" 0");
                let lines = metrics.lines().filter(|line| line.starts_with("kith_fanout") || line.starts_with("kith_session"));
                let _ = writeln!(text, "node {node}: {}", lines.filter(of_interest).collect::<Vec<_>>().join("; "));
            }
        }
        text
    }

    /// Ends the scenario: no node has logged what nobody expected; then everything stops.
    ///
    /// # Panics
    /// A node has logged an unexpected warning or error.
    pub async fn finish(mut self) {
        let unexpected = self.logs.unexpected(&self.allowed);
        let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        stream::iter(clients)
            .for_each_concurrent(CLOSED_AT_ONCE, |client| async move {
                client.close().await;
            })
            .await;
        self.kill_all().await;
        assert!(unexpected.is_empty(), "lines that nobody expected:\n{}", unexpected.join("\n"));
    }

    async fn try_start(&mut self, id: u64, socket: Option<UdpSocket>) -> Result<(), StartError> {
        let file = self.nodes[&id].file.clone().unwrap_or_else(|| self.folder.path().join(format!("node-{id}/node.toml")));
        let mut config = Config::load(&file).expect("the node's own settings");
        config.node.lanes = Some(self.setup.lanes);
        // Receivers of scenarios are in this process.
        config.hooks.allow_private = true;
        config.push.allow_private = true;
        config.search.commit_interval_ms = 500;
        config.disk.ballast_mb = 0;
        config.limits.sessions_max = self.setup.sessions_max;
        if self.setup.regions > 1 {
            config.demo.regions_ms = regions::distances(self.setup.region_of(id), self.setup.regions);
        }
        config.auth.issuers.clone_from(&self.setup.issuers);
        config.auth.reset.clone_from(&self.setup.reset);
        config.api.plain = self.setup.api.then(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        config.api.listen = self.setup.api_at(config.node.listen);
        if let Some(rate) = self.setup.user_per_s {
            config.api.user_per_s = rate;
            config.api.device_per_s = rate;
        }
        let place = self.nodes.get_mut(&id).expect("a node of the cluster");
        assert!(place.node.is_none(), "node {id} runs already");
        let mut options = NodeOptions::new(config);
        options.links = self.links.clone();
        options.groups = self.setup.raft;
        options.store = self.setup.store.clone();
        options.failpoints = place.failpoints.clone();
        options.quirk = place.quirk;
        options.socket = socket;
        // How full this machine's disk is, is nobody's business here.
        let free = self.setup.free_bytes.clone().unwrap_or_else(|| Arc::new(AtomicU64::new(Setup::DISK_BYTES / 2)));
        options.probe = Arc::new(move |_| Some(Room { free: free.load(Relaxed), total: Setup::DISK_BYTES }));
        place.node = Some(Box::pin(Node::start(options)).await?);
        Ok(())
    }

    fn people(&self) -> MutexGuard<'_, BTreeMap<String, UserId>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
