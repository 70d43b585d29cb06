//! Sessions are where they are near, or where there is room, and go elsewhere one after the other.

use std::time::Duration;

use kith::demo::regions;
use kith_client::{Backfill, Client, Endpoint, RetryPolicy};
use kith_tests::{Cluster, Setup};
use kith_wire::{
    client::{Answer, Request},
    id::NodeId,
    layout::LayoutRequest,
};

/// A client of somebody, who knows these nodes and dials from there.
async fn client(c: &Cluster, name: &str, endpoint: &Endpoint, nodes: &[u64]) -> Client {
    let user = c.user(name).await;
    let addresses: Vec<String> = nodes.iter().map(|node| c.address(*node).to_owned()).collect();
    let builder = Client::builder(&addresses[0]).seeds(&addresses[1..]).tokens(c.token(name, user)).trust(c.trust()).endpoint(endpoint.clone());
    let retry = RetryPolicy { min: Duration::from_millis(50), max: Duration::from_millis(500) };
    let client = builder.retry(retry).backfill(Backfill::All).heartbeat(Duration::from_secs(1)).patience(Duration::from_secs(1)).build().await;
    client.expect("a client")
}

/// The node that holds a client's session.
fn at(c: &Cluster, client: &Client) -> Option<u64> {
    let edge = client.connection().get().edge;
    let is_online = client.status().get().is_online();
    c.running().into_iter().find(|node| is_online && c.address(*node) == edge)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_ends_at_the_nearest_region_wherever_they_begin_and_in_another_when_it_is_lost() {
    let setup = Setup { nodes: 3, groups: 1, regions: 3, ..Setup::default() };
    let mut c = Cluster::start_with(setup).await;
    c.expect_logs("a home has no leader");
    let endpoints: Vec<Endpoint> = (0..3).map(|region| Endpoint::bind_at(regions::client_address(region)).expect("a socket")).collect();
    let mut clients = Vec::new();
    for (number, region) in (0..6_usize).map(|number| (number, number % 3)) {
        // The first three begin at home, the others somewhere else.
        let begin = (region + number / 3) % 3 + 1;
        let client = client(&c, &format!("user{number}"), &endpoints[region], &[begin as u64]).await;
        client.connect().await.expect("connected");
        clients.push((region, client));
    }
    c.wait_for("everybody is in their own region", async || clients.iter().all(|(region, client)| at(&c, client) == Some(*region as u64 + 1))).await;

    // What they asked with is what the ranking says over HTTP and for tools too.
    let (_, ann) = &clients[2];
    let measured = vec![(NodeId::new(1), 115), (NodeId::new(2), 70), (NodeId::new(3), 4)];
    match ann.request(Request::Discover { measured, region: None }).await.expect("an answer") {
        Answer::Edges(edges) => assert_eq!(edges.iter().map(|edge| edge.node.get()).collect::<Vec<_>>(), [3, 2, 1]),
        other => panic!("{other:?}"),
    }

    c.kill(3).await;
    c.wait_for("who was there is in the next region", async || {
        clients.iter().filter(|(region, _)| *region == 2).all(|(_, client)| at(&c, client) == Some(2))
    })
    .await;
    for (_, client) in clients {
        client.close().await;
    }
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_a_full_node_is_told_where_to_go_and_who_is_told_to_go_is_soon_elsewhere() {
    let setup = Setup { nodes: 3, sessions_max: 8, ..Setup::default() };
    let c = Cluster::start_with(setup).await;
    let endpoint = Endpoint::bind().expect("a socket");
    // Each knows node 1 alone, which can hold eight.
    let mut clients = Vec::new();
    for number in 0..14 {
        let client = client(&c, &format!("user{number}"), &endpoint, &[1]).await;
        client.connect().await.expect("connected");
        clients.push(client);
    }
    let count = |node: u64| clients.iter().filter(|client| at(&c, client) == Some(node)).count();
    c.wait_for("all are somewhere", async || (1..=3).map(count).sum::<usize>() == clients.len()).await;
    assert!((1..=8).contains(&count(1)), "{} at node 1", count(1));

    c.layout(LayoutRequest::Drain { node: NodeId::new(1), on: true }).await.expect("it drains");
    c.wait_for("nobody is at node 1", async || count(1) == 0 && count(2) + count(3) == clients.len()).await;
    assert!(count(2) <= 8 && count(3) <= 8);
    for client in clients {
        client.close().await;
    }
    c.finish().await;
}
