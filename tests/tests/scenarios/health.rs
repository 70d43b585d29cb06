//! What a node says of itself is true: cut off it is not ready, and with a full disk it refuses what clients write, until there is room.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use kith::http::Outcome;
use kith_client::Delivery;
use kith_tests::{Cluster, PATIENCE, Setup};

/// Names of the checks of `/readyz` that do not pass.
fn failing(c: &Cluster, node: u64) -> Vec<&'static str> {
    c.node(node).health().ready().iter().filter(|check| check.outcome != Outcome::Pass).map(|check| check.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_is_not_ready_even_if_it_led_and_the_others_are() {
    let c = Cluster::start(3).await;
    c.wait_for("all are ready", async || c.running().iter().all(|node| failing(&c, *node).is_empty())).await;
    let ann = c.client("ann").await;
    c.room("general", &ann, &[]).await;
    let cut = c.leader_of_room("general").await;
    c.isolate(cut);
    c.wait_for("who is cut off says so", async || failing(&c, cut).contains(&"leaders")).await;
    let others = || c.running().into_iter().filter(|node| *node != cut);
    c.wait_for("the others are ready", async || others().all(|node| failing(&c, node).is_empty())).await;
    assert!(c.node(cut).health().live().iter().all(|check| check.outcome == Outcome::Pass), "it is alive: to restart it would be of no use");
    c.heal();
    c.wait_for("all are ready again", async || c.running().iter().all(|node| failing(&c, *node).is_empty())).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disks_refuse_texts_and_serve_reads_until_there_is_room() {
    let free = Arc::new(AtomicU64::new(Setup::DISK_BYTES / 2));
    let mut c = Cluster::start_with(Setup { free_bytes: Some(free.clone()), ..Setup::default() }).await;
    // What the disks say is the scenario's.
    c.expect_logs("disk: ");
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;

    free.store(1 << 20, Relaxed);
    c.wait_for("all say that they are full", async || c.running().iter().all(|node| failing(&c, *node) == ["disk"])).await;
    let held = ann.post("general", "while it is full").await;
    c.wait_for("it is refused", async || c.running().iter().any(|node| c.metric(*node, "kith_disk_refusals_total") > 0.0)).await;
    assert!(!matches!(held.state().get(), Delivery::Sent(_)), "a full disk has taken a text");
    // Reads, positions and leaders are as before.
    let late = c.client("bob").await;
    c.wait_for("a device that comes now reads what there is", async || late.has("general", "before").await).await;
    assert!(c.leader_now(c.group_of_room("general")).is_some());

    free.store(Setup::DISK_BYTES / 2, Relaxed);
    let sent = tokio::time::timeout(PATIENCE, held.sent()).await.expect("an answer").expect("an ack");
    c.book().acked(sent.channel, sent.seq(), "while it is full");
    for device in [&ann, &bob, &late] {
        c.check_device(device, "general").await;
    }
    c.check_history().await;
    assert!(c.running().iter().all(|node| failing(&c, *node).is_empty()));
    c.finish().await;
}
