//! Crashes at a named point: what load would hit once in thirty runs is hit each time.

use kith_raft::failpoint::{Action, point};
use kith_tests::Cluster;
use kith_wire::id::{ChannelId, NodeId};

/// Trap 7 of the protocol: a ref that was received and not committed when the home leader dies must come again from the channel.
#[tokio::test(flavor = "multi_thread")]
async fn home_leader_that_dies_between_receipt_and_commit_of_a_ref_loses_none() {
    let mut c = Cluster::start(3).await;
    let ann = c.client("ann").await;
    let bob = someone_at_home_elsewhere(&c, &ann).await;
    let bob_user = c.user(&bob).await;
    let (room_group, home) = (c.group_of(ann.direct("talk", bob_user).bucket()), c.group_of(bob_user.bucket()));
    let home_leader = c.leader_of(home).await;
    // The leader of the conversation survives, and must send again by itself.
    if c.leader_of(room_group).await == home_leader {
        let other = c.follower_of(room_group).await;
        let group = c.node(home_leader).groups().get(room_group).expect("the group that it leads");
        group.transfer(NodeId::new(other)).await.expect("a leader that hands over");
        c.wait_for("another node leads the conversation", async || c.leader_now(room_group) == Some(other)).await;
    }

    c.failpoints(home_leader).arm(point::BEFORE_REF_COMMIT, Action::Pause);
    ann.send("talk", "did you get this?").await;
    c.wait_for("the ref has arrived", async || c.failpoints(home_leader).hits(point::BEFORE_REF_COMMIT) > 0).await;
    c.kill(home_leader).await;
    c.failpoints(home_leader).release(point::BEFORE_REF_COMMIT);

    // Nobody says another word: bob's new phone knows of the conversation from his index alone.
    let phone = c.client(&bob).await;
    c.wait_device(&phone, "talk").await;
    c.restart(home_leader).await;
    c.wait_ready().await;
    c.check_history().await;
    c.finish().await;
}

/// The same without a crash: whoever fails to commit a ref once does it again.
#[tokio::test(flavor = "multi_thread")]
async fn ref_whose_commit_fails_is_sent_again_until_it_is_committed() {
    let c = Cluster::start(3).await;
    let ann = c.client("ann").await;
    let bob = someone_at_home_elsewhere(&c, &ann).await;
    let bob_user = c.user(&bob).await;
    ann.direct("talk", bob_user);
    for node in c.running() {
        c.failpoints(node).arm(point::BEFORE_REF_COMMIT, Action::Fail);
    }
    ann.send("talk", "did you get this?").await;
    let hits = || c.running().into_iter().map(|node| c.failpoints(node).hits(point::BEFORE_REF_COMMIT)).sum::<u64>();
    c.wait_for("it was tried again", async || hits() > 1).await;
    for node in c.running() {
        c.failpoints(node).release(point::BEFORE_REF_COMMIT);
    }
    let phone = c.client(&bob).await;
    c.wait_device(&phone, "talk").await;
    c.check_history().await;
    c.finish().await;
}

/// Somebody whose home is in another group than their conversation with this person.
async fn someone_at_home_elsewhere(c: &Cluster, person: &kith_tests::Device) -> String {
    for number in 0..32 {
        let name = format!("bob-{number}");
        let user = c.user(&name).await;
        if c.group_of(user.bucket()) != c.group_of(ChannelId::direct(person.user(), user).bucket()) {
            return name;
        }
    }
    panic!("of 32 people all have their home where the conversation is");
}
