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
