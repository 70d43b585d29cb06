//! A firewall that drops UDP between one device and the cluster: it chats over a WebSocket, and over QUIC again once it may.
//!
//! In a network namespace of its own, with rules of nftables: as root. Elsewhere the test says that it tested nothing.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::Duration,
};

use kith_client::{Backfill, Client, Door, Endpoint, Transport};
use kith_tests::{Cluster, Setup};
use kith_wire::id::Seq;
use nix::sched::{CloneFlags, unshare};

/// Where the device is, among the addresses of this machine.
const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));

/// Runs a program to its end.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output().map_err(|error| format!("{program} cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", arguments.join(" "))) }
}

/// Takes this thread, and those that it starts, into a network where nobody else is.
fn own_network() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
    run("ip", &["link", "set", "lo", "up"])?;
    run("nft", &["add", "table", "inet", "wall"])?;
    run("nft", &["add", "chain", "inet", "wall", "in", "{ type filter hook input priority 0 ; }"])
}

/// Every datagram from and to the device is dropped; nobody is told.
fn wall() {
    for side in ["saddr", "daddr"] {
        run("nft", &["add", "rule", "inet", "wall", "in", "ip", side, &DEVICE.to_string(), "meta", "l4proto", "udp", "drop"]).expect("a rule");
    }
}
fn tear_down() {
    run("nft", &["flush", "chain", "inet", "wall", "in"]).expect("no rules");
}

async fn over(client: &Client, transport: Transport) {
    let mut connection = client.connection();
    let reached = connection.wait_for(|connection| connection.transport == Some(transport));
    tokio::time::timeout(Duration::from_secs(60), reached).await.unwrap_or_else(|_| panic!("not over {transport:?}")).expect("an open client");
}

#[test]
fn where_a_firewall_drops_udp_a_device_chats_over_tcp_and_over_quic_again_when_it_may() {
    if let Err(why) = own_network() {
        eprintln!("NOT TESTED, since root and nftables are needed: {why}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(chat());
}

async fn chat() {
    let mut c = Cluster::start_with(Setup::nodes(3).with_api_beside_quic()).await;
    let ann = c.client_at("ann", 2).await;
    assert_eq!(ann.client().connection().get().transport, Some(Transport::Quic), "nothing is in her way");
    let bob = c.user("bob").await;
    let addresses: Vec<String> = (1..=3).map(|node| c.address(node).to_owned()).collect();
    let room = ann.make_room("general", vec![bob]).await;

    wall();
    let endpoint = Endpoint::bind_at(DEVICE).expect("a socket");
    // Whoever is behind the wall can get in too.
    let door = Door::with_endpoint(&addresses, c.trust(), endpoint.clone());
    door.sign_up("carol", "correct horse battery", "phone").await.expect("an account");
    let builder = Client::builder(&addresses[0]).seeds(&addresses[1..]).tokens(c.token("bob", bob)).trust(c.trust());
    let phone = builder.endpoint(endpoint).backfill(Backfill::All).heartbeat(Duration::from_secs(2)).build().await.expect("a client");
    phone.connect().await.expect("online");
    assert_eq!(phone.connection().get().transport, Some(Transport::WebSocket));
    let sockets = |c: &Cluster| (1..=3).map(|node| c.metric(node, "kith_edge_web_sockets")).sum::<f64>();
    assert_eq!(sockets(&c), 1.0, "the phone's, and nobody else's");

    // Both ways, with pages that are pulled.
    let long = "x".repeat(20_000);
    for _ in 0..8 {
        ann.send("general", &long).await;
    }
    let sent = phone.channel(room).send("from behind a wall").await.expect("stored").sent().await.expect("acked");
    let held = async |seq: Seq| phone.channel(room).held().await.expect("the store").is_some_and(|cursor| cursor.max >= seq);
    c.wait_for("the phone holds all of it", async || held(sent.seq()).await).await;

    // The network is known: when its node dies, it goes on at another over a WebSocket.
    let edge = phone.connection().get().edge;
    let dead = (1..=3).find(|node| c.address(*node) == edge).expect("a node");
    c.kill(dead).await;
    phone.channel(room).send("its node is dead").await.expect("stored").sent().await.expect("acked");
    assert_eq!(phone.connection().get().transport, Some(Transport::WebSocket));
    c.restart(dead).await;
    c.wait_ready().await;

    tear_down();
    phone.network_changed().await;
    over(&phone, Transport::Quic).await;
    let last = phone.channel(room).send("the wall is gone").await.expect("stored").sent().await.expect("acked");
    c.wait_for("no WebSocket is left", async || sockets(&c) == 0.0).await;
    c.wait_for("the phone holds all of it", async || held(last.seq()).await).await;
    let texts = phone.channel(room).records(Seq::new(1), last.seq(), 99).await.expect("the store");
    let texts: Vec<&str> = texts.iter().filter_map(|record| record.content.text()).collect();
    assert_eq!(texts.len(), 11, "each once");
    assert_eq!(texts[8..], ["from behind a wall", "its node is dead", "the wall is gone"]);
    phone.close().await;
    c.finish().await;
}
