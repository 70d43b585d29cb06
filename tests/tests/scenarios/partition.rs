//! Networks that break.

use kith_client::Delivery;
use kith_tests::Cluster;
use kith_wire::id::GroupId;

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_is_cut_off_acks_nothing_and_converges_when_healed() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;
    let group = c.group_of_room("general");
    let old = c.leader_of(group).await;
    let lost = c.client_at("ann", old).await;
    lost.send("general", "from the old leader").await;
    let reached = bob_elsewhere(&c, old).await;

    c.isolate(old);
    let held = lost.post("general", "into the void").await;
    c.wait_for("the others have a leader", async || c.leader_now(group).is_some_and(|leader| leader != old)).await;
    reached.send_many("general", 50).await;
    assert!(!matches!(held.state().get(), Delivery::Sent(_)), "a minority has acked");

    c.heal();
    let late = tokio::time::timeout(kith_tests::cluster::PATIENCE, held.sent()).await.expect("an answer").expect("an ack");
    c.book().acked(late.channel, late.seq(), "into the void");
    c.wait_equal(group).await;
    for device in [&ann, &bob, &lost, &reached] {
        c.check_device(device, "general").await;
    }
    c.check_history().await;
    c.finish().await;
}

/// A device of bob on another node.
async fn bob_elsewhere(c: &Cluster, node: u64) -> kith_tests::Device {
    let other = c.running().into_iter().find(|other| *other != node).expect("three nodes");
    c.client_at("bob", other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_to_one_group_go_on_while_another_has_no_quorum() {
    let mut c = Cluster::start(3).await;
    let ann = c.client("ann").await;
    // One conversation in each group of data.
    let groups = [GroupId::new(1), GroupId::new(2)];
    for number in 0..32 {
        let room = format!("room {number}");
        ann.make_room(&room, Vec::new()).await;
        if groups.iter().all(|group| c.book().rooms().iter().any(|room| c.group_of(room.channel.bucket()) == *group)) {
            break;
        }
    }
    let in_group = |group: GroupId| c.book().rooms().into_iter().find(|room| c.group_of(room.channel.bucket()) == group).expect("one in each").name;
    let (broken, sound) = (in_group(groups[0]), in_group(groups[1]));

    let leader = c.leader_of(groups[0]).await;
    for node in c.running().into_iter().filter(|node| *node != leader) {
        c.node(node).groups().close(groups[0]).await;
    }
    let held = ann.post(&broken, "stuck").await;
    ann.send_many(&sound, 200).await;
    assert!(!matches!(held.state().get(), Delivery::Sent(_)), "no quorum, and yet an ack");

    // The replicas were closed, not lost: nodes that start again open them.
    for node in c.running().into_iter().filter(|node| *node != leader) {
        c.kill(node).await;
        c.restart(node).await;
    }
    let sent = held.sent().await.expect("an ack once the group has its quorum");
    c.book().acked(sent.channel, sent.seq(), "stuck");
    c.check_history().await;
    c.finish().await;
}
