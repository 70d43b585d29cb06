//! Damaged, empty and old disks: what is rebuilt by itself, what is refused, and how an operator replaces a node.

use std::{fs, path::Path};

use kith_raft::storage::Condition;
use kith_tests::{Cluster, Setup};

/// What people read when disks are lost.
const SAID: &[&str] = &["storage: ", "cluster.replica: ", "raft.rebuild: ", "peer.hello", "service.read: not now", "cluster.map", "service.status"];

async fn sound(c: &Cluster, node: u64) {
    c.wait_for(&format!("all replicas of node {node} are whole"), async || {
        let map = c.node(node).service().router().maps().current();
        let own = || map.groups.values().filter(|row| row.replicas.iter().any(|one| one.get() == node));
        let groups = c.node(node).groups();
        let is_voter = |group| {
            groups.get(group).and_then(|handle| handle.status().ok()).is_some_and(|status| {
                // Before its leader has said anything it knows of no members.
                !status.failed
                    && !status.membership.voters.is_empty()
                    && status.membership.voters.iter().all(|set| set.iter().any(|one| one.get() == node))
            })
        };
        own().count() > 0 && own().all(|row| groups.condition(row.group) == Condition::Sound && is_voter(row.group))
    })
    .await;
}

async fn equal(c: &Cluster) {
    let groups: Vec<_> = c.node(c.running()[0]).service().router().maps().current().groups.keys().copied().collect();
    for group in groups {
        c.wait_equal(group).await;
    }
}

async fn refused(c: &Cluster, node: u64) {
    let refused = c.node(node).fenced();
    c.wait_for(&format!("node {node} is refused as itself"), async || refused.borrow().is_some()).await;
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_damaged_disk_are_rebuilt_from_their_peers() {
    let mut c = Cluster::start_with(Setup::default().purging()).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 50).await;
    // First the rows, then the whole log.
    for part in ["state/CURRENT", "log/CURRENT"] {
        let ill = c.follower_of(c.group_of_room("general")).await;
        c.kill(ill).await;
        fs::write(c.data_dir(ill).join(part), b"nothing").expect("damaged");
        ann.send_many("general", 20).await;
        c.restart(ill).await;
        sound(&c, ill).await;
        equal(&c).await;
        ann.send_many("general", 20).await;
    }
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_disk_is_refused_as_itself() {
    let mut c = Cluster::start(3).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client_at("ann", 1).await, c.client_at("bob", 2).await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "before").await;
    let copy = tempfile::tempdir().expect("a temporary folder");
    c.shut_down(3).await;
    copy_dir(&c.data_dir(3), copy.path());
    c.restart(3).await;
    c.wait_ready().await;
    ann.send_many("general", 20).await;
    equal(&c).await;
    c.kill(3).await;
    fs::remove_dir_all(c.data_dir(3)).expect("removed");
    copy_dir(copy.path(), &c.data_dir(3));
    c.restart(3).await;
    refused(&c, 3).await;
    c.kill(3).await;
    ann.send_many("general", 5).await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_disk_is_refused_and_a_new_node_takes_its_place() {
    let mut c = Cluster::start_with(Setup::default().purging()).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client_at("ann", 1).await, c.client_at("bob", 2).await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 50).await;
    c.kill(3).await;
    fs::remove_dir_all(c.data_dir(3)).expect("removed");
    c.restart(3).await;
    refused(&c, 3).await;
    c.kill(3).await;
    ann.send_many("general", 10).await;
    c.replace(3, 4).await;
    sound(&c, 4).await;
    equal(&c).await;
    // It is needed for a majority now, and is one.
    c.kill(2).await;
    ann.send_many("general", 10).await;
    c.restart(2).await;
    equal(&c).await;
    c.check_history().await;
    c.finish().await;
}
