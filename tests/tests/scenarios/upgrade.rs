//! Nodes of two releases side by side: forward, back, forward for good, under load, and who is not let in. The older release is this program, told to be it.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use kith::{
    StartError,
    cluster::{join::JoinError, upgrade::UpgradeSettings},
    peer::Fenced,
};
use kith_raft::storage::OpenError;
use kith_tests::{Cluster, PATIENCE, Setup};
use kith_wire::{
    code::Code,
    id::{GroupId, NodeId},
    layout::{LayoutAnswer, LayoutRequest},
    trust::{TrustAnswer, TrustRequest},
    upgrade::{BUILD, ClusterVersion, Unfit, UpgradeView},
};

/// Three nodes of the older release, which goes to the next version only when it is told to.
fn older(nodes: u64) -> Setup {
    Setup { older: true, upgrade: UpgradeSettings { finalize: false, after_s: 0 }, ..Setup::nodes(nodes) }
}

/// What links say of a node that was refused for its build.
const REFUSED: [&str; 3] = ["peer.hello: refused", "peer.hello: not taken", "peer.hello: the peer is not the one known"];

async fn view(c: &Cluster) -> UpgradeView {
    match c.layout(LayoutRequest::Upgrade).await.expect("how far it is") {
        LayoutAnswer::Upgrading(view) => view,
        other => panic!("another answer: {other:?}"),
    }
}

async fn finalize(c: &Cluster, to: ClusterVersion) -> Result<ClusterVersion, Code> {
    match c.layout(LayoutRequest::Finalize { to }).await.map_err(|refusal| refusal.code)? {
        LayoutAnswer::Upgrading(view) => Ok(view.version),
        other => panic!("another answer: {other:?}"),
    }
}

/// Puts another build in the place of a node's, as an operator does.
async fn put(c: &mut Cluster, node: u64, is_older: bool) {
    c.shut_down(node).await;
    c.set_older(node, is_older);
    c.restart(node).await;
    c.wait_ready().await;
    let knows = if is_older { BUILD.oldest() } else { BUILD };
    c.wait_for(&format!("the map says what node {node} knows"), async || c.map().nodes[&NodeId::new(node)].version == knows).await;
}

/// A node that was just started is heard a moment later.
async fn blocked_by(c: &Cluster, nodes: usize) {
    c.wait_for(&format!("{nodes} nodes are in the way"), async || view(c).await.blockers.len() == nodes).await;
}

async fn split(c: &Cluster) -> Result<(), Code> {
    c.layout(LayoutRequest::MoveBuckets { from: GroupId::new(1), run: None, to: None }).await.map(|_| ()).map_err(|refusal| refusal.code)
}

/// All files of a node's data, with their sizes and times.
fn files(folder: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let meta = entry.metadata().expect("there");
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path().display().to_string(), (meta.len(), meta.modified().expect("a time")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_forward_and_back_and_forward_for_good_under_load() {
    let mut c = Cluster::start_with(older(3)).await;
    REFUSED.iter().for_each(|part| c.expect_logs(part));
    // A shard that gave buckets away is indexed anew while what it had is still being merged.
    c.expect_logs("tantivy::indexer::segment_manager");
    let people = [c.client_at("ann", 1).await, c.client_at("bob", 2).await];
    let [ann, bob] = &people;
    c.room("general", ann, &[bob]).await;
    bob.direct("aside", ann.user());
    bob.send("aside", "before").await;
    let talks = [ann.talk("general"), bob.talk("aside")];

    let is_at = async |c: &Cluster| (view(c).await.version, view(c).await.next);
    let first = BUILD.oldest();
    assert_eq!(is_at(&c).await, (first, None), "nobody knows of a newer version");
    assert_eq!(split(&c).await, Err(Code::Unsupported));

    // Forward: the cluster stays what it was, and what is new is not done, also by who knows it.
    put(&mut c, 1, false).await;
    blocked_by(&c, 2).await;
    let told = view(&c).await;
    assert_eq!((told.version, told.next, told.in_s), (first, Some(BUILD), None), "{told:?}");
    assert_eq!(finalize(&c, BUILD).await, Err(Code::NotAllowed));
    assert_eq!(split(&c).await, Err(Code::Unsupported));
    put(&mut c, 2, false).await;
    put(&mut c, 3, false).await;
    blocked_by(&c, 0).await;
    assert_eq!(is_at(&c).await, (first, Some(BUILD)));
    assert_eq!(split(&c).await, Err(Code::Unsupported));

    // Back, while that can be.
    for node in 1..=3 {
        put(&mut c, node, true).await;
    }
    assert_eq!(is_at(&c).await, (first, None));
    assert_eq!(finalize(&c, BUILD).await, Err(Code::Invalid));

    // And forward for good.
    for node in 1..=3 {
        put(&mut c, node, false).await;
    }
    blocked_by(&c, 0).await;
    assert_eq!(finalize(&c, BUILD.next()).await, Err(Code::Invalid), "none is skipped");
    assert_eq!(finalize(&c, BUILD).await, Ok(BUILD));
    assert_eq!(finalize(&c, BUILD).await, Ok(BUILD), "again is no change");
    c.wait_for("every disk has noted it", async || {
        c.running()
            .iter()
            .all(|node| c.node(*node).peers().release().noted() == BUILD && c.node(*node).service().router().maps().current().version == BUILD)
    })
    .await;

    // The older build does not start any more, and touches nothing.
    c.shut_down(3).await;
    c.set_older(3, true);
    let data = c.data_dir(3);
    let before = files(&data);
    match c.try_restart(3).await {
        Err(StartError::Storage { source: OpenError::Version(Unfit::TooOld { build, cluster }), .. }) => assert_eq!((build, cluster), (first, BUILD)),
        other => panic!("it starts: {other:?}"),
    }
    assert_eq!(files(&data), before);
    // Nor does it go on where the mark is gone: its own map says so.
    fs::remove_file(data.join("cluster-version")).expect("there was one");
    c.restart(3).await;
    let fenced = c.node(3).fenced();
    c.wait_for("it knows that it is too old", async || matches!(&*fenced.borrow(), Some(Fenced::Build(_)))).await;
    c.shut_down(3).await;
    put_back(&mut c, 3).await;

    c.wait_for("buckets move now", async || split(&c).await.is_ok()).await;
    for talk in talks {
        assert!(talk.stop().await > 0);
    }
    for group in [0, 1, 2].map(GroupId::new) {
        c.wait_equal(group).await;
    }
    c.check_device(bob, "general").await;
    c.check_device(ann, "aside").await;
    c.check_history().await;
    c.finish().await;
}

async fn put_back(c: &mut Cluster, node: u64) {
    c.set_older(node, false);
    c.restart(node).await;
    c.wait_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_finalizes_by_itself_when_all_nodes_have_been_new_for_a_while() {
    let setup = Setup { upgrade: UpgradeSettings { finalize: true, after_s: 1 }, ..older(1) };
    let mut c = Cluster::start_with(setup).await;
    let ann = c.client("ann").await;
    assert_eq!(view(&c).await.next, None);
    put(&mut c, 1, false).await;
    c.wait_for("it is at the next version", async || c.map().version == BUILD).await;
    let told = view(&c).await;
    assert!(told.by_itself && told.next.is_none() && told.blockers.is_empty(), "{told:?}");
    drop(ann);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_old_or_too_new_for_a_cluster_does_not_join() {
    let mut c = Cluster::start(1).await;
    assert_eq!(c.map().version, BUILD, "a new cluster begins at what its build knows");
    let asked = TrustRequest::MakeJoin { ttl_s: 600, region: None, zone: String::new(), host: String::new(), replaces: None };
    let Ok(TrustAnswer::Made { token, .. }) = c.ask_trust(asked).await else { panic!("a token") };
    for (version, part) in [(BUILD.oldest(), "start a newer build"), (BUILD.next().next(), "one at a time")] {
        let mut join = c.joining(token.reveal());
        join.node.version = version;
        match c.join(&join).await {
            Err(JoinError::Refused { refusal, .. }) => assert!(refusal.code == Code::VersionMismatch && refusal.text.contains(part), "{refusal:?}"),
            other => panic!("it is refused: {other:?}"),
        }
    }
    // The token is as good as before.
    let join = c.joining(token.reveal());
    assert_eq!(tokio::time::timeout(PATIENCE, c.join(&join)).await.expect("in time").expect("it joins"), 2);
    c.finish().await;
}
