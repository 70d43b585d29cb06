//! A damaged replica: what it must not do, how it comes back, and that nothing is lost on the way.

#[allow(dead_code, reason = "the other tests use the rest")]
mod common;

use common::{Cluster, Writer, config, group, item, node, purging};
use kith_machine::reply::Reply;
use kith_raft::{GroupsConfig, OpenError, ProposeError};
use kith_storage::Condition;
use kith_wire::id::{NodeId, Seq};

async fn write(cluster: &Cluster, of: u32, writer: &mut Writer, count: u64) {
    for _ in 0..count {
        let reply = cluster.propose(group(of), writer.text("hello")).await;
        assert!(matches!(reply, Reply::Sent { .. }), "{reply:?}");
    }
}

async fn a_follower(cluster: &Cluster, of: u32) -> NodeId {
    let leader = cluster.leader(group(of)).await;
    (1..=3).map(node).find(|id| *id != leader).expect("two of them")
}

async fn quarantined_and_rebuilt(config: GroupsConfig) {
    let mut cluster = Cluster::start(2, config).await;
    let (mut writer, mut other) = (Writer::new(1), Writer::new(2));
    write(&cluster, 1, &mut writer, 40).await;
    cluster.converged(group(1)).await;
    let ill = a_follower(&cluster, 1).await;
    cluster.nodes[&ill].groups.quarantine(group(1)).await;
    let refused = cluster.nodes[&ill].groups.open(group(1), None).await;
    assert!(matches!(refused, Err(OpenError::Quarantined { .. })), "{refused:?}");
    // The others go on, and so does the other group here.
    write(&cluster, 1, &mut writer, 20).await;
    write(&cluster, 2, &mut other, 5).await;
    for node in cluster.nodes.values() {
        node.groups.flush().await;
    }
    // With one of them gone too, the ill one makes up no majority: it neither acknowledges nor votes.
    let leader = cluster.leader_of(group(1), |id| id != ill).await;
    let third = (1..=3).map(node).find(|id| *id != leader && *id != ill).expect("one");
    cluster.stop_node(third).await;
    let lost = cluster.handle(leader, group(1)).propose(item(writer.text("to nobody"))).await;
    assert!(matches!(lost, Err(ProposeError::Unknown | ProposeError::NotLeader { .. })), "{lost:?}");
    let all = (1..=3).map(node).collect();
    assert!(cluster.nodes[&ill].groups.withdraw(group(1), &all).await.is_err(), "nobody can take it out");
    assert_eq!(cluster.nodes[&ill].groups.condition(group(1)), Condition::Quarantined);
    cluster.start_node(third).await;
    cluster.rebuild(ill, group(1)).await;
    cluster.converged(group(1)).await;
    assert_eq!(cluster.nodes[&ill].metrics.rebuilds_done.get(), 1);
    // It is a voter as any: with it and without another one the group writes.
    let leader = cluster.leader(group(1)).await;
    let gone = (1..=3).map(node).find(|id| *id != leader && *id != ill).unwrap_or(leader);
    cluster.stop_node(gone).await;
    let reply = cluster.propose_at(group(1), writer.text("with the one that was ill"), |_| true).await;
    assert!(matches!(reply, Reply::Sent { seq, .. } if seq >= Seq::new(61)), "{reply:?}");
    cluster.start_node(gone).await;
    cluster.converged(group(1)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_replica_takes_no_part_and_is_rebuilt_from_the_log() {
    quarantined_and_rebuilt(config()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_replica_takes_no_part_and_is_rebuilt_by_a_snapshot() {
    quarantined_and_rebuilt(purging()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_log_comes_back_group_by_group() {
    let mut cluster = Cluster::start(2, purging()).await;
    let mut writers = [Writer::new(1), Writer::new(2)];
    for (of, writer) in (1..=2).zip(&mut writers) {
        write(&cluster, of, writer, 30).await;
    }
    let ill = a_follower(&cluster, 1).await;
    cluster.stop_node(ill).await;
    std::fs::write(cluster.dir(ill).join("log/CURRENT"), b"nothing").expect("written");
    for (of, writer) in (1..=2).zip(&mut writers) {
        cluster.leader_of(group(of), |id| id != ill).await;
        write(&cluster, of, writer, 10).await;
    }
    cluster.start_node(ill).await;
    for of in [1, 2] {
        assert_eq!(cluster.nodes[&ill].groups.condition(group(of)), Condition::Quarantined);
        cluster.rebuild(ill, group(of)).await;
    }
    // Over a restart it stays whole.
    cluster.stop_node(ill).await;
    cluster.start_node(ill).await;
    for (of, writer) in (1..=2).zip(&mut writers) {
        write(&cluster, of, writer, 5).await;
        cluster.converged(group(of)).await;
    }
    cluster.shutdown().await;
}
