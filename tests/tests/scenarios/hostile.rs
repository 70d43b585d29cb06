//! Clients and nodes that are wrong, broken or silent: each gets a typed refusal, and the node goes on.

use kith::auth::{Claims, TokenKey, token::mint};
use kith_tests::{
    Cluster,
    raw::{self, Raw},
};
use kith_wire::{
    client::{ToClient, ToEdge},
    code::Code,
    hello,
    id::{BootEpoch, ClusterId, MapEpoch, NodeId, StoreId, UserId},
    peer::PeerHello,
    upgrade::{BUILD, ClusterVersion},
};

async fn bye(c: &Cluster, frame: &ToEdge) -> Option<Code> {
    let mut chat = Raw::to(c, 1).await.chat().await;
    chat.send(frame).await;
    match chat.next().await {
        Some(ToClient::Bye(refusal)) => Some(refusal.code),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_that_is_not_ours_is_refused_by_reason() {
    let c = Cluster::start(3).await;
    let user = c.user("ann").await;
    let token = c.token("ann", user);
    let (stranger, _) = TokenKey::generate().expect("a key");
    let claims = |cluster, expires_s| Claims { user, name: "ann".into(), cluster, expires_s, issued_s: 1, ..Claims::default() };
    let sign = |key: &TokenKey, claims: &Claims| mint(key, claims).expect("a token");
    let ours = &c.files().token_key;

    for (what, token, cluster, expected) in [
        ("no token", String::new(), None, Code::BadToken),
        ("garbage", "a.b.c".into(), None, Code::BadToken),
        ("another key", sign(&stranger, &claims(c.files().id, 4_000_000_000)), None, Code::BadToken),
        ("another cluster's token", sign(ours, &claims(ClusterId::new([9; 16]), 4_000_000_000)), None, Code::BadToken),
        ("expired", sign(ours, &claims(c.files().id, 1)), None, Code::TokenExpired),
        ("meant for another cluster", token.clone(), Some(ClusterId::new([9; 16])), Code::WrongCluster),
    ] {
        assert_eq!(bye(&c, &ToEdge::Hello(raw::hello(user, &token, cluster))).await, Some(expected), "{what}");
    }
    assert_eq!(bye(&c, &ToEdge::Beat).await, Some(Code::BadFrame), "a beat before Hello");

    c.client("ann").await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nobody() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0; 64], &[0, 0, 0, 3, 0, 1, 9, 9, 9]] {
        let mut chat = Raw::to(&c, 1).await.chat().await;
        chat.send_bytes(garbage).await;
        let code = loop {
            match chat.next().await {
                Some(ToClient::Bye(refusal)) => break Some(refusal.code),
                Some(_) => {}
                None => break None,
            }
        };
        assert_eq!(code, Some(Code::BadFrame), "{garbage:?}");
    }
    // Datagrams that are no QUIC at all, and too long or short for it.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for length in [1, 20, 1_200, 9_000] {
        socket.send_to(&vec![0xc3; length], c.address(1)).await.expect("sent");
    }
    ann.send("general", "still here").await;
    c.wait_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_are_closed_and_others_are_served_meanwhile() {
    let c = Cluster::start(3).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(Raw::to(&c, 1).await);
    }
    let mut half = Vec::new();
    for _ in 0..50 {
        let mut chat = Raw::to(&c, 1).await.chat().await;
        // The length of a frame that never comes.
        chat.send_bytes(&[0, 0]).await;
        half.push(chat);
    }
    let ann = c.client_at("ann", 1).await;
    ann.make_room("notes", Vec::new()).await;
    ann.send("notes", "nobody is in my way").await;

    for raw in &silent {
        assert_eq!(raw.closed().await, Some(u64::from(Code::Timeout.number())));
    }
    for chat in &half {
        assert_eq!(chat.raw().closed().await, Some(u64::from(Code::Timeout.number())));
    }
    c.wait_for("no session is left but ann's", async || c.metric(1, "kith_session_open") <= 1.0).await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_believes_only_its_own_cluster_and_nodes_only_their_own_peers() {
    let (mut c, mut other) = (Cluster::start(1).await, Cluster::start(1).await);
    // Both clusters log into the same lines.
    c.expect_logs("peer.hello: not taken");
    other.expect_logs("peer.hello: not taken");
    // A client that trusts the other cluster's authority does not talk to this one.
    let refused = Raw::connect(c.address(1), &other.files().ca_pem, b"kith/1").await;
    assert!(refused.is_err(), "a certificate of another authority was believed");
    // Without a certificate of the cluster nobody is a node.
    let stranger = Raw::connect(c.address(1), &c.files().ca_pem, b"kith-peer/1").await;
    if let Ok(stranger) = stranger {
        stranger.closed().await;
    }
    // Nor does anybody speak what we do not.
    assert!(Raw::connect(c.address(1), &c.files().ca_pem, b"h9").await.is_err());

    let user = c.user("ann").await;
    assert_ne!(user, UserId::new(0));
    c.client("ann").await;
    other.finish().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_another_cluster_or_of_another_node_opens_no_peer_link() {
    let (mut c, mut other) = (Cluster::start(3).await, Cluster::start(1).await);
    for cluster in [&mut c, &mut other] {
        cluster.expect_logs("peer.hello: not taken");
        cluster.expect_logs("peer.hello: refused");
    }
    let ca = c.files().ca_pem.clone();
    let hello = |cluster, node| PeerHello {
        version: hello::CURRENT,
        cluster,
        node: NodeId::new(node),
        store: StoreId::new([5; 16]),
        boot: BootEpoch::new(1_000),
        map_epoch: MapEpoch::new(0),
        synced_batches: 0,
        life: 0,
        knows: BUILD,
        noted: ClusterVersion::default(),
        build: String::new(),
    };

    // Sound where it was made, and signed by an authority that this cluster does not know: no handshake ends well, whatever is claimed in it.
    let (cert, key) = other.node_identity(1);
    if let Ok(foreign) = Raw::connect_as(Some((&cert, &key)), c.address(1), &ca, b"kith-peer/1").await {
        // In TLS 1.3 the client may be done before the server has looked at its certificate; then the connection ends.
        assert_eq!(foreign.closed().await, None, "the handshake failed, nobody said goodbye in the protocol");
    }

    // A certificate of this cluster: for its own node, and for this cluster only. Its holder speaks well, and claims too much.
    let (cert, key) = c.node_identity(2);
    for (claimed, code) in [
        (hello(c.files().id, 3), Code::BadToken),
        (hello(c.files().id, 9), Code::BadToken),
        (hello(other.files().id, 2), Code::WrongCluster),
        // The node that it is for, from a data directory that the cluster has never seen: an emptied disk.
        (hello(c.files().id, 2), Code::Revoked),
    ] {
        let mut link = Raw::connect_as(Some((&cert, &key)), c.address(1), &ca, b"kith-peer/1").await.expect("a handshake").chat().await;
        let refusal = link.greet_as_node(claimed.clone()).await;
        assert_eq!(refusal.map(|refusal| refusal.code), Some(code), "{claimed:?}");
    }

    // The real one was not pushed aside.
    let (ann, bob) = (c.client_at("ann", 2).await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "still linked").await;
    c.wait_device(&bob, "general").await;
    assert_eq!(c.node(1).peers().links_up(), 2);
    c.check_history().await;
    other.finish().await;
    c.finish().await;
}
