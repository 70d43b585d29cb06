//! Static stability (promise 7): what goes on while the meta group has no quorum.

use kith_tests::Cluster;
use kith_wire::id::GroupId;

#[tokio::test(flavor = "multi_thread")]
async fn without_the_meta_group_sessions_sends_deliveries_and_elections_go_on() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;

    // Two of its three replicas stop. Every other group keeps all of its own.
    for node in [1, 2] {
        c.node(node).groups().close(GroupId::META).await;
    }

    // Deliveries, sessions and accounts.
    ann.send("general", "the map cannot change").await;
    c.wait_device(&bob, "general").await;
    let cid = c.client("cid").await;
    c.room("new", &cid, &[&ann]).await;
    cid.send("new", "and yet here I am").await;
    c.wait_device(&ann, "new").await;

    // Elections: the leader of the conversation dies and comes back, from the map on its own disk.
    let leader = c.leader_of_room("general").await;
    let group = c.group_of_room("general");
    c.kill(leader).await;
    bob.send("general", "the leader is gone").await;
    c.wait_for("another leads", async || c.leader_now(group).is_some_and(|now| now != leader)).await;
    let dan = c.client("dan").await;
    c.room("newer", &dan, &[&bob]).await;
    dan.send("newer", "still possible").await;
    c.wait_device(&bob, "newer").await;
    // Of the replicas of the meta group that stopped, at most the killed node's comes back: two of three are then there again, or one.
    c.restart(leader).await;
    for device in [&ann, &bob] {
        c.check_device(device, "general").await;
    }
    c.check_history().await;
    c.finish().await;
}

/// A node that starts while the meta group has no quorum serves from the map on its own disk.
#[tokio::test(flavor = "multi_thread")]
async fn node_that_starts_without_the_meta_group_serves_from_the_map_on_its_disk() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;
    // The meta group's only replicas are stopped on the two nodes that stay: nobody can tell the third anything about the map.
    let third = 3;
    for node in [1, 2] {
        c.node(node).groups().close(GroupId::META).await;
    }
    c.kill(third).await;
    c.restart(third).await;
    assert!(c.leader_now(GroupId::META).is_none(), "one of three replicas cannot lead");

    let map = c.node(third).service().router().maps().current();
    assert!(map.epoch.get() > 0 && !map.groups.is_empty(), "its map came from its disk");
    c.wait_for("every group that has a quorum is led, and the node knows by whom", async || {
        let router = c.node(third).service().router();
        map.groups.keys().filter(|group| **group != GroupId::META).all(|group| router.leader(*group).is_some())
    })
    .await;
    // Sessions, accounts, sends and deliveries through it.
    let cid = c.client_at("cid", third).await;
    c.room("new", &cid, &[&bob]).await;
    cid.send("new", "by way of the node that started blind").await;
    c.wait_device(&bob, "new").await;
    // And its replicas are kept up to date.
    let group = c.group_of_room("general");
    c.wait_for("it has caught up", async || {
        let applied = |node| c.node(node).groups().get(group).and_then(|group| group.status().ok()?.applied);
        applied(third).is_some() && applied(third) == applied(1)
    })
    .await;
    ann.send("general", "after").await;
    c.wait_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}
