//! Clients of the SDK against whole nodes in one process: what one sends, the others see, whatever node they are at.

use std::{collections::BTreeMap, net::UdpSocket, time::Duration};

use kith::{
    Node, NodeOptions,
    auth::{Claims, mint},
    clock::Instant,
    cluster::{ClusterFiles, ClusterSpec, NodeSpec, bootstrap},
    config::Config,
};
use kith_client::{Client, Event, Events, Trust};
use kith_raft::{GroupsConfig, Timers};
use kith_wire::{
    client::{Answer, Request},
    id::{DeviceId, UserId},
    log::Content,
    peer::Caller,
};

struct Cluster {
    _dir: tempfile::TempDir,
    files: ClusterFiles,
    nodes: BTreeMap<u64, Node>,
}

impl Cluster {
    async fn start(count: u64) -> Self {
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
        let mut nodes = BTreeMap::new();
        for (id, socket) in sockets {
            let mut config = Config::load(&dir.path().join(format!("node-{id}/node.toml"))).unwrap();
            config.node.lanes = Some(1);
            let groups = GroupsConfig { timers: Timers::fast(), ..GroupsConfig::default() };
            let node = Node::start(NodeOptions { groups, socket: Some(socket), ..NodeOptions::new(config) }).await.unwrap();
            nodes.insert(id, node);
        }
        Self { _dir: dir, files, nodes }
    }

    /// A client of a new or known name, connected to one node.
    async fn client(&self, node: u64, name: &str) -> Client {
        let operator = Caller { user: UserId::new(0), device: DeviceId::new(0), admin: true, trace: 1 };
        let mut key = [7; 32];
        key[..name.len()].copy_from_slice(name.as_bytes());
        let deadline = Instant::now() + Duration::from_secs(20);
        let account = self.nodes[&node].service().handle(&operator, Request::EnsureAccount { name: name.into(), key }, deadline).await;
        let Ok(Answer::Account { user, name, .. }) = account else { panic!("{account:?}") };
        let claims = Claims { user, name, cluster: self.files.id, admin: false, expires_s: 4_000_000_000, issued_s: 0 };
        let token = mint(&self.files.token_key, &claims).unwrap();
        let address = format!("https://{}", self.nodes[&node].client_addr());
        let trust = Trust::ca_pem(self.files.ca_pem.as_bytes()).unwrap();
        let client = Client::builder(&address).tokens(token).trust(trust).build().await.unwrap();
        client.connect().await.unwrap();
        client
    }

    async fn end(self) {
        for (_, node) in self.nodes {
            node.shutdown().await;
        }
    }
}

async fn texts(events: &mut Events, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let all = async {
        while seen.len() < count {
            match events.next().await {
                Some(Event::Record { record, .. }) => match &record.content {
                    Content::Text { text, .. } => seen.push(text.clone()),
                    other => panic!("{other:?}"),
                },
                Some(_) => {}
                None => panic!("the client has ended"),
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), all).await.is_err() {
        panic!("waited in vain for {count} texts, saw {seen:?}");
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_at_two_nodes_see_each_others_messages_once_and_in_order() {
    let cluster = Cluster::start(3).await;
    let ann = cluster.client(1, "ann").await;
    let bob = cluster.client(2, "bob").await;
    let (mut at_ann, mut at_bob) = (ann.events(), bob.events());
    let from_ann = ann.direct(bob.me()).await.unwrap();
    let mut wanted = Vec::new();
    for number in 0..20 {
        let text = format!("from ann {number}");
        from_ann.send(text.as_str()).await.unwrap().sent().await.unwrap();
        wanted.push(text);
    }
    assert_eq!(texts(&mut at_bob, 20).await, wanted);
    let from_bob = bob.direct(ann.me()).await.unwrap();
    from_bob.send("hello").await.unwrap().sent().await.unwrap();
    wanted.push("hello".into());
    assert_eq!(texts(&mut at_ann, 21).await, wanted);

    // A device that comes later gets the same log.
    let later = cluster.client(3, "bob").await;
    let mut at_later = later.events();
    let log = later.direct(ann.me()).await.unwrap().whole_history(None, kith_wire::id::Seq::new(21)).await.unwrap();
    assert_eq!(log.len(), 21);
    assert_eq!(texts(&mut at_later, 21).await, wanted);

    for client in [ann, bob, later] {
        client.close().await;
    }
    cluster.end().await;
}
