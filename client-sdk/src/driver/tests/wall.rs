//! A firewall that drops UDP: a rule of nftables, in a network namespace of its own. It wants root; elsewhere the test says that it tested nothing.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::{socket::Walled, *};

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

/// Every datagram is dropped, and nobody is told.
fn wall() {
    run("nft", &["add", "rule", "inet", "wall", "in", "meta", "l4proto", "udp", "drop"]).expect("a rule");
}
fn tear_down() {
    run("nft", &["flush", "chain", "inet", "wall", "in"]).expect("no rules");
}

async fn chat() {
    let mut walled = Walled::start().await;
    walled.open().await;
    let client = walled.client().build().await.expect("a client");
    let mut events = client.events();
    client.connect().await.expect("online");
    assert_eq!(client.connection().get().transport, Some(Transport::Quic), "nothing is in the way");
    let channel = client.channel(direct());
    channel.send("ok before").await.expect("stored").sent().await.expect("acked");

    // The session that runs over QUIC falls silent, and the next one goes over TCP.
    wall();
    let behind = channel.send("ok behind a wall").await.expect("stored");
    assert_eq!(behind.sent().await.expect("acked").seq(), Seq::new(2));
    socket::over(&client, Transport::WebSocket).await;
    // It is remembered: no time is lost with QUIC.
    client.network_changed().await;
    assert_eq!(channel.send("ok again").await.expect("stored").sent().await.expect("acked").seq(), Seq::new(3));
    socket::over(&client, Transport::WebSocket).await;

    tear_down();
    client.network_changed().await;
    socket::over(&client, Transport::Quic).await;
    channel.send("ok after").await.expect("stored").sent().await.expect("acked");
    for (seq, text) in (1..).zip(["ok before", "ok behind a wall", "ok again", "ok after"]) {
        assert_eq!(next_record(&mut events).await, (direct(), Seq::new(seq), text.to_owned()));
    }
    client.close().await;
}

#[test]
fn where_a_firewall_drops_udp_a_client_chats_over_tcp_and_over_quic_again_when_it_may() {
    if let Err(why) = own_network() {
        eprintln!("NOT TESTED, since root and nftables are needed: {why}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(chat());
}
