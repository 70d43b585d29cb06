//! Nodes that die and come back.

use futures_util::future::join_all;
use kith_tests::{Cluster, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn leader_that_is_killed_under_load_loses_nothing() {
    Box::pin(kill_the_leader(Cluster::start(3).await)).await;
}

/// Connections, links and groups of one node on several threads, as on a machine of more cores.
#[tokio::test(flavor = "multi_thread")]
async fn leader_of_several_lanes_that_is_killed_under_load_loses_nothing() {
    Box::pin(kill_the_leader(Cluster::start_with(Setup { lanes: 3, ..Setup::default() }).await)).await;
}

async fn kill_the_leader(mut c: Cluster) {
    let (ann, bob, cid) = (c.client("ann").await, c.client("bob").await, c.client("cid").await);
    c.room("general", &ann, &[&bob, &cid]).await;
    let (one, two) = (ann.talk("general"), bob.talk("general"));
    c.wait_for("both talk", async || one.acked() > 100 && two.acked() > 100).await;

    let leader = c.leader_of_room("general").await;
    c.kill(leader).await;

    let (before_one, before_two) = (one.acked(), two.acked());
    c.wait_for("both go on", async || one.acked() > before_one + 200 && two.acked() > before_two + 200).await;
    c.restart(leader).await;
    one.stop().await;
    two.stop().await;
    c.wait_equal(c.group_of_room("general")).await;
    for device in [&ann, &bob, &cid] {
        c.check_device(device, "general").await;
    }
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_that_missed_ten_thousand_messages_catches_up_from_the_log() {
    let mut c = Cluster::start(3).await;
    miss_ten_thousand(&mut c, false).await;
    let behind = c.running().into_iter().map(|node| c.metric(node, "kith_raft_snapshots_installed_total")).sum::<f64>();
    assert_eq!(behind, 0.0, "nobody needed a snapshot");
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_that_missed_ten_thousand_messages_catches_up_by_snapshot_after_a_purge() {
    let mut c = Cluster::start_with(Setup::default().purging()).await;
    // While it installs the snapshot it reads nothing, and says so to whoever asks; clients are served by others.
    c.expect_logs("service.read: not now");
    let follower = miss_ten_thousand(&mut c, true).await;
    assert!(c.metric(follower, "kith_raft_snapshots_installed_total") > 0.0, "the log was purged, so it needed a snapshot");
    c.finish().await;
}

/// Gives the follower. It comes back when the others have purged what it lacks, or before that.
async fn miss_ten_thousand(c: &mut Cluster, is_purged: bool) -> u64 {
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;
    let group = c.group_of_room("general");
    let follower = c.follower_of(group).await;
    let status = |c: &Cluster, node| c.node(node).groups().get(group).and_then(|handle| handle.status().ok());
    let last = status(c, follower).and_then(|status| status.last);
    c.kill(follower).await;

    let others: Vec<u64> = c.running();
    let mut talkers = Vec::new();
    for number in 0..5 {
        talkers.push(c.client_at("ann", others[number % others.len()]).await);
    }
    join_all(talkers.iter().map(|device| device.send_many("general", 2_000))).await;
    for node in &others {
        c.node(*node).groups().flush().await;
    }
    let have_purged = async || others.iter().all(|node| status(c, *node).is_some_and(|status| status.purged > last));
    if is_purged {
        c.wait_for("the others have purged what it lacks", have_purged).await;
    }

    c.restart(follower).await;
    c.wait_equal(c.group_of_room("general")).await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    follower
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once_have_everything_acked_when_they_are_back() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let talk = ann.talk("general");
    c.wait_for("ann talks", async || talk.acked() > 300).await;

    c.kill_all().await;
    for node in 1..=3 {
        c.restart(node).await;
    }
    c.wait_ready().await;

    let before = talk.acked();
    c.wait_for("ann goes on by herself", async || talk.acked() > before + 100).await;
    talk.stop().await;
    c.check_device(&ann, "general").await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_was_offline_through_it_all_syncs_to_the_same_log() {
    let mut c = Cluster::start(3).await;
    let ann = c.client("ann").await;
    let mut bob = c.client("bob").await;
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "see you later").await;
    c.wait_device(&bob, "general").await;
    bob.go_offline().await;

    for node in 1..=3 {
        ann.send_many("general", 200).await;
        c.kill(node).await;
        ann.send_many("general", 200).await;
        c.restart(node).await;
        c.wait_ready().await;
    }

    bob.go_online(&c).await;
    c.check_device(&bob, "general").await;
    c.check_device(&ann, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_nodes_die_in_turn_while_people_talk_and_lose_nothing() {
    let mut c = Cluster::start(5).await;
    // Three of the five hold a group, so for each group some of these are its members and some are not.
    let (ann, bob, cid) = (c.client_at("ann", 1).await, c.client_at("bob", 3).await, c.client_at("cid", 5).await);
    c.room("general", &ann, &[&bob, &cid]).await;
    c.room("aside", &cid, &[&ann]).await;
    let talks = [ann.talk("general"), bob.talk("general"), cid.talk("aside")];
    for node in 1..=5 {
        c.kill(node).await;
        let before: Vec<_> = talks.iter().map(|talk| talk.acked()).collect();
        c.wait_for("all go on without it", async || talks.iter().zip(&before).all(|(talk, before)| talk.acked() > before + 50)).await;
        c.restart(node).await;
        c.wait_ready().await;
    }
    for talk in talks {
        talk.stop().await;
    }
    for room in ["general", "aside"] {
        c.wait_equal(c.group_of_room(room)).await;
    }
    for (device, room) in [(&ann, "general"), (&bob, "general"), (&cid, "general"), (&cid, "aside"), (&ann, "aside")] {
        c.check_device(device, room).await;
    }
    c.check_history().await;
    c.finish().await;
}
