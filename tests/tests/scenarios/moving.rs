//! Buckets move between groups of whole nodes while people talk, search and die: nobody loses anything, has anything twice, or is told of an error.

use kith_machine::moving;
use kith_raft::failpoint::{Action, point};
use kith_tests::{Cluster, Device, PATIENCE, Setup};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{Bucket, DeviceId, GroupId},
    log::RunRow,
    moving::BucketRun,
    peer::{Caller, Inner, InnerAnswer},
    search::SearchQuery,
};
use tokio::time::Instant;

/// The other group of data.
fn other(group: GroupId) -> GroupId {
    GroupId::new(3 - group.get())
}

/// Runs that a group owns by the rows of its leader.
async fn runs_of(c: &Cluster, group: GroupId) -> Vec<BucketRun> {
    let leader = c.leader_of(group).await;
    let rows = c.node(leader).groups().get(group).expect("a replica").rows().expect("serving");
    kith_machine::own::Owned::read(&rows).expect("readable").runs().map(|(run, _)| run).collect()
}

/// Begins to move the run of a bucket to another group, by way of any node.
async fn begin(c: &Cluster, bucket: Bucket, from: GroupId, to: GroupId) -> BucketRun {
    let run = runs_of(c, from).await.into_iter().find(|run| run.holds(bucket)).expect("it owns the bucket");
    c.wait_for(&format!("{run} begins to move from {from} to {to}"), async || {
        let router = c.node(c.running()[0]).service().router();
        matches!(router.inner_to(from, Inner::BeginMove { run, to }, Instant::now() + PATIENCE).await, Ok(InnerAnswer::Kept { .. }))
    })
    .await;
    run
}

/// Whether nothing of a move is left in either group, by the rows of their leaders.
fn is_over(c: &Cluster, groups: [GroupId; 2]) -> bool {
    groups.into_iter().all(|group| {
        let rows = c.leader_now(group).and_then(|leader| c.node(leader).groups().get(group)?.rows().ok());
        rows.is_some_and(|rows| moving::leaving(&rows).expect("readable").is_none() && moving::stagings(&rows).expect("readable").is_empty())
    })
}

/// Waits until a move has ended, and every node and the meta group know it.
async fn moved(c: &Cluster, run: BucketRun, from: GroupId, to: GroupId) {
    c.wait_for("the move is over", async || is_over(c, [from, to])).await;
    let bucket = Bucket { region: run.region, index: run.first };
    c.wait_for("every map knows it", async || {
        let of_map = |row: &&RunRow| row.region == run.region && row.first <= run.first && run.last <= row.last;
        let router = |node| c.node(node).service().router();
        let knows = |node| {
            let map = router(node).maps().current();
            map.runs.values().find(of_map).is_some_and(|row| row.group == to) && map.group_of(bucket) == Some(to)
        };
        c.running().into_iter().all(knows)
    })
    .await;
}

/// Ann, Bob and Cid, by way of different nodes, in a group and in two direct conversations.
async fn people(c: &Cluster) -> [Device; 3] {
    let last = *c.running().last().expect("nodes that run");
    let people = [c.client_at("ann", 1).await, c.client_at("bob", 2).await, c.client_at("cid", last).await];
    let [ann, bob, cid] = &people;
    c.room("general", ann, &[bob, cid]).await;
    ann.direct("aside", bob.user());
    ann.send("aside", "between us").await;
    cid.direct("across", ann.user());
    cid.send("across", "from afar").await;
    people
}

async fn check(c: &Cluster, people: &[Device; 3]) {
    for group in [1, 2].map(GroupId::new) {
        c.wait_equal(group).await;
    }
    for device in people {
        c.check_device(device, "general").await;
    }
    c.check_device(&people[0], "aside").await;
    c.check_device(&people[1], "aside").await;
    c.check_device(&people[2], "across").await;
    c.check_history().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_and_their_people_move_under_load_and_back() {
    let c = Cluster::start(3).await;
    let people = people(&c).await;
    let [ann, _, cid] = &people;
    // No more of them: see `killed_at`.
    let talks = [ann.talk("general"), cid.talk("across")];
    let all_talk = async |more: u64| {
        let before: Vec<_> = talks.iter().map(|talk| talk.acked()).collect();
        c.wait_for("everybody goes on", async || talks.iter().zip(&before).all(|(talk, before)| talk.acked() > before + more)).await;
    };
    all_talk(50).await;

    // All that a group has, to the other; then half of everything, back.
    let bucket = c.book().room("general").channel.bucket();
    let (from, to) = (c.group_of(bucket), other(c.group_of(bucket)));
    let run = begin(&c, bucket, from, to).await;
    moved(&c, run, from, to).await;
    all_talk(50).await;
    assert!(runs_of(&c, from).await.is_empty(), "one group has everything");

    let run = begin(&c, bucket, to, from).await;
    moved(&c, run, to, from).await;
    all_talk(50).await;
    for talk in talks {
        talk.stop().await;
    }
    let freezes: f64 = c.running().into_iter().map(|node| c.metric(node, "kith_layout_bucket_freeze_seconds_count")).sum();
    assert_eq!(freezes, 2.0, "each move froze its buckets once");
    check(&c, &people).await;
    c.finish().await;
}

/// Who leads the source, or who leads the target, dies at each stage of a move, while people talk: not for ever, since a move does not keep up with all that can be said.
async fn killed_at(points: &[&'static str], kills_target: bool) {
    let mut c = Cluster::start(3).await;
    let people = people(&c).await;
    let talk = || [("general", 0), ("general", 1), ("across", 2)].map(|(room, who): (_, usize)| people[who].talk_for(room, 200));
    let bucket = c.book().room("general").channel.bucket();
    for at in points.iter().copied() {
        let while_it_copies = talk();
        let (from, to) = (c.group_of(bucket), other(c.group_of(bucket)));
        // Whoever leads the source stops there.
        let nodes = c.running();
        let hits = |c: &Cluster| nodes.iter().map(|node| c.failpoints(*node).hits(at)).sum::<u64>();
        let hits_before = hits(&c);
        nodes.iter().for_each(|node| c.failpoints(*node).arm(at, Action::Pause));
        let run = begin(&c, bucket, from, to).await;
        c.wait_for(&format!("the move is at {at}"), async || hits(&c) > hits_before).await;
        let while_one_dies = talk();
        let victim = c.leader_of(if kills_target { to } else { from }).await;
        c.kill(victim).await;
        nodes.iter().for_each(|node| c.failpoints(*node).release(at));
        moved(&c, run, from, to).await;
        c.restart(victim).await;
        c.wait_ready().await;
        for talk in while_it_copies.into_iter().chain(while_one_dies) {
            talk.wait().await;
        }
    }
    check(&c, &people).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn source_that_dies_at_any_stage_of_a_move_loses_nothing() {
    Box::pin(killed_at(&[point::MOVE_COPIES, point::MOVE_HANDED, point::MOVE_TAKEN, point::MOVE_SWEEPS], false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn target_that_dies_at_any_stage_of_a_move_loses_nothing() {
    Box::pin(killed_at(&[point::MOVE_COPIES, point::MOVE_HANDED, point::MOVE_TAKEN], true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn move_that_is_given_up_leaves_nothing_behind() {
    let c = Cluster::start(3).await;
    let people = people(&c).await;
    people[0].send_many("general", 50).await;
    let bucket = c.book().room("general").channel.bucket();
    let (from, to) = (c.group_of(bucket), other(c.group_of(bucket)));
    let router = c.node(1).service().router();
    let cancel = async || router.inner_to(from, Inner::CancelMove, Instant::now() + PATIENCE).await.map_err(|refusal| refusal.code);
    assert_eq!(cancel().await, Err(Code::NotFound));
    c.running().iter().for_each(|node| c.failpoints(*node).arm(point::MOVE_COPIES, Action::Pause));
    let run = begin(&c, bucket, from, to).await;
    c.wait_for("it copies", async || c.running().iter().any(|node| c.failpoints(*node).hits(point::MOVE_COPIES) > 0)).await;
    assert_eq!(cancel().await, Ok(InnerAnswer::Done));
    c.running().iter().for_each(|node| c.failpoints(*node).release(point::MOVE_COPIES));
    c.wait_for("nothing is left of it", async || is_over(&c, [from, to])).await;
    assert_eq!(c.group_of(bucket), from);
    people[1].send_many("general", 50).await;
    // It may go another time.
    let again = begin(&c, bucket, from, to).await;
    assert_eq!(again, run);
    moved(&c, run, from, to).await;
    people[2].send_many("general", 50).await;
    check(&c, &people).await;
    c.finish().await;
}

/// Five nodes, of which three hold each group: others learn of the move by asking, or by the map.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_a_replica_find_the_way_to_what_has_moved() {
    let c = Cluster::start_with(Setup { nodes: 5, ..Setup::default() }).await;
    let devices = [c.client_at("ann", 1).await, c.client_at("bob", 3).await, c.client_at("cid", 5).await];
    c.room("general", &devices[0], &[&devices[1], &devices[2]]).await;
    devices[0].send_many("general", 20).await;
    let bucket = c.book().room("general").channel.bucket();
    let (from, to) = (c.group_of(bucket), other(c.group_of(bucket)));
    let holds = |node: &u64| c.replicas(from).contains(node);
    assert!(!c.running().iter().all(holds), "some node does not hold the source: {}", c.states());
    let run = begin(&c, bucket, from, to).await;
    for device in &devices {
        device.send_many("general", 20).await;
    }
    moved(&c, run, from, to).await;
    for device in &devices {
        device.send_many("general", 20).await;
    }
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_moved_are_found_at_their_new_home() {
    let c = Cluster::start(3).await;
    let people = people(&c).await;
    people[0].send("general", "the blue boat").await;
    people[2].send("across", "a red boat").await;
    let finds = async |node: u64, words: &str| -> Option<usize> {
        let caller = Caller { user: people[0].user(), device: DeviceId::new(1), admin: None, trace: 0, key: None, token: None };
        let asked = Request::Search(SearchQuery::from(words));
        match c.node(node).service().handle(&caller, asked, Instant::now() + PATIENCE).await {
            Ok(Answer::Found(page)) if page.unsearched == 0 => Some(page.hits.len()),
            _ => None,
        }
    };
    let all_find = async |count: usize| {
        for node in c.running() {
            c.wait_for(&format!("{count} boats are found at node {node}"), async || finds(node, "boat").await == Some(count)).await;
        }
    };
    all_find(2).await;
    for _ in 0..2 {
        let bucket = c.book().room("general").channel.bucket();
        let (from, to) = (c.group_of(bucket), other(c.group_of(bucket)));
        let run = begin(&c, bucket, from, to).await;
        moved(&c, run, from, to).await;
        all_find(2).await;
    }
    people[1].send("general", "three boats, or one boat").await;
    all_find(3).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_move_is_refused_with_a_reason() {
    let c = Cluster::start(3).await;
    let router = c.node(1).service().router();
    let (one, two) = (GroupId::new(1), GroupId::new(2));
    let own = runs_of(&c, one).await[0];
    let foreign = runs_of(&c, two).await[0];
    let refused = async |group, run, to| {
        let asked = router.inner_to(group, Inner::BeginMove { run, to }, Instant::now() + PATIENCE).await;
        asked.map_err(|refusal| (refusal.code, refusal.text))
    };
    for (run, to, code, part) in [
        (own, GroupId::META, Code::Invalid, "shard 0"),
        (own, one, Code::Invalid, "another shard"),
        (own, GroupId::new(9), Code::NotFound, "no such shard"),
        (foreign, two, Code::Invalid, "does not own"),
        (BucketRun { region: kith_wire::id::RegionId::new(3), ..own }, two, Code::Invalid, "region"),
    ] {
        let (found, text) = refused(one, run, to).await.expect_err("refused");
        assert!(found == code && text.contains(part), "{found}: {text}");
    }
    c.finish().await;
}
