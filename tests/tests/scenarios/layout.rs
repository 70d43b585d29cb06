//! Nodes come and go: growth, emptying, repair and draining under load, with nothing lost.

use kith_tests::{Cluster, Setup};
use kith_wire::{
    code::Code,
    id::{GroupId, MapEpoch, NodeId},
    layout::{LayoutAnswer, LayoutPlan, LayoutRequest, LayoutView, NodeHealth},
    log::NodeState,
};

/// What is said when nodes leave, or are lost: the ones that have left go on dialling until they are ended.
const SAID: &[&str] = &["peer.hello", "node.shutdown", "cluster.replica: ", "service.read: not now", "cluster.map"];

fn setup(balance: bool) -> Setup {
    let mut setup = Setup { groups: 4, ..Setup::default() }.purging();
    (setup.layout.balance, setup.layout.calm_s) = (balance, 2);
    setup
}

async fn plan(c: &Cluster) -> LayoutPlan {
    match c.layout(LayoutRequest::Plan).await.expect("a plan") {
        LayoutAnswer::Planned(plan) => plan,
        other => panic!("another answer: {other:?}"),
    }
}

async fn shown(c: &Cluster) -> LayoutView {
    match c.layout(LayoutRequest::Show).await.expect("the layout") {
        LayoutAnswer::Shown(view) => view,
        other => panic!("another answer: {other:?}"),
    }
}

async fn equal(c: &Cluster) {
    let groups: Vec<GroupId> = c.map().groups.keys().copied().collect();
    for group in groups {
        c.wait_equal(group).await;
    }
}

fn decommission(node: u64) -> LayoutRequest {
    LayoutRequest::Decommission { node: NodeId::new(node), dry_run: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_five_and_three_again_under_load_and_nothing_is_lost() {
    let mut c = Cluster::start_with(setup(false)).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("busy", &ann, &[&bob]).await;
    c.room("idle", &bob, &[&ann]).await;
    ann.send_many("busy", 50).await;
    bob.send_many("idle", 20).await;
    let talk = ann.talk("busy");

    c.add(4).await;
    c.add(5).await;
    let before = c.map();
    // What is planned has a reason and is carried out at the version that was shown, once.
    c.wait_for("the new nodes are heard", async || shown(&c).await.nodes.iter().all(|node| node.health == NodeHealth::Alive)).await;
    // So are their starts: from then on nothing changes the map by itself.
    c.wait_for("the new nodes' starts are noted", async || c.map().nodes.values().all(|row| row.store.is_some())).await;
    let planned = plan(&c).await;
    assert!(!planned.moves.is_empty() && planned.moves.iter().all(|line| !line.why.is_empty()), "{planned:?}");
    let stale = c.layout(LayoutRequest::Apply { version: MapEpoch::new(1) }).await.expect_err("an old version");
    assert_eq!(stale.code, Code::Outdated);
    let apply = LayoutRequest::Apply { version: planned.version };
    c.layout(apply.clone()).await.expect("applied");
    assert_eq!(c.layout(apply).await.expect_err("a second time").code, Code::Outdated);
    c.wait_members().await;
    let map = c.map();
    assert!(map.epoch > before.epoch && map.groups.values().any(|row| row.replicas.contains(&NodeId::new(4))), "{:?}", map.groups);
    assert!(map.groups.values().all(|row| row.replicas.len() == 3), "{:?}", map.groups);

    // Two of the first three go. One of them is started anew meanwhile, and stays one that goes.
    for node in [1, 2] {
        let said = c.layout(LayoutRequest::Decommission { node: NodeId::new(node), dry_run: true }).await.expect("a dry run");
        assert!(matches!(said, LayoutAnswer::Emptying(_)), "{said:?}");
        assert_eq!(c.map().nodes[&NodeId::new(node)].state, NodeState::Up, "a dry run changes nothing");
        c.layout(decommission(node)).await.expect("it begins");
        if node == 1 {
            c.shut_down(1).await;
            c.restart(1).await;
        }
        c.wait_left(node).await;
    }
    c.wait_members().await;
    let map = c.map();
    let stays = |row: &kith_wire::log::GroupRow| row.replicas == [3, 4, 5].map(NodeId::new);
    assert!(map.groups.values().all(stays), "{:?}", map.groups);

    // With three nodes for three replicas, the next one is in the way of itself.
    match c.layout(decommission(3)).await.expect("an answer") {
        LayoutAnswer::Blocked(blockers) => assert!(blockers.iter().all(|text| text.contains("add a node first")), "{blockers:?}"),
        other => panic!("it cannot be emptied: {other:?}"),
    }
    assert!(talk.stop().await > 0);
    bob.send("idle", "still here").await;
    equal(&c).await;
    c.check_device(&bob, "busy").await;
    c.check_device(&ann, "idle").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_node_held_is_made_on_another_by_itself() {
    let mut setup = setup(false);
    setup.nodes = 4;
    setup.layout.down_after_s = 5;
    let mut c = Cluster::start_with(setup).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 20).await;
    let dead = c.follower_of(c.group_of_room("general")).await;
    let held = c.map().groups.values().filter(|row| row.replicas.contains(&NodeId::new(dead))).count();
    assert!(held > 0);
    c.kill(dead).await;
    c.wait_for("nothing is left to the dead node", async || c.map().groups.values().all(|row| !row.replicas.contains(&NodeId::new(dead)))).await;
    c.wait_members().await;
    let view = shown(&c).await;
    assert!(view.moved.iter().any(|line| line.why.contains("silent")), "{:?}", view.moved);
    ann.send_many("general", 20).await;
    equal(&c).await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_gives_up_what_it_leads_and_gets_it_back_in_calm() {
    let mut c = Cluster::start_with(setup(true)).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client_at("ann", 1).await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let leads = |node: u64| c.map().groups.keys().filter(|group| c.leader_now(**group) == Some(node)).count();
    c.wait_for("node 1 leads something", async || leads(1) > 0).await;
    let drain = |on| LayoutRequest::Drain { node: NodeId::new(1), on };
    c.layout(drain(true)).await.expect("it drains");
    c.wait_for("node 1 leads nothing", async || leads(1) == 0).await;
    assert!(shown(&c).await.nodes.iter().any(|node| node.node.get() == 1 && node.drains));
    ann.send_many("general", 10).await;
    assert!(c.map().nodes.values().all(|row| row.state == NodeState::Up), "its replicas stay");
    c.layout(drain(false)).await.expect("it takes them again");
    let first = c.map().groups.values().filter(|row| row.preference.first() == Some(&NodeId::new(1))).count();
    assert!(first > 0);
    c.wait_for("who should lead leads", async || leads(1) > 0).await;
    ann.send_many("general", 10).await;
    equal(&c).await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_grows_to_three_and_leaders_are_balanced_by_themselves() {
    let mut setup = setup(true);
    setup.nodes = 1;
    let mut c = Cluster::start_with(setup).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 50).await;
    c.add(2).await;
    c.add(3).await;
    c.wait_for("every group has three replicas", async || c.map().groups.values().all(|row| row.replicas.len() == 3)).await;
    c.wait_members().await;
    let led = || -> Vec<u64> { c.map().groups.keys().filter_map(|group| c.leader_now(*group)).collect() };
    c.wait_for("each node leads something", async || [1, 2, 3].iter().all(|node| led().contains(node))).await;
    let view = shown(&c).await;
    assert!(view.moved.iter().any(|line| line.why.contains("of the mean")) && view.notes.is_empty(), "{view:?}");
    ann.send_many("general", 20).await;
    equal(&c).await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}
