//! Nodes join by tokens: from one node to three with nothing lost; what is refused, and how often a token is good.

use kith::cluster::join::{Join, JoinError};
use kith_tests::{Cluster, Setup};
use kith_wire::{
    code::Code,
    id::{GroupId, NodeId},
    log::NodeState,
    trust::{JoinTicket, JoinView, TokenId, TrustAnswer, TrustRequest},
};

/// What is said when nodes come, and when those that were replaced are refused.
const SAID: &[&str] = &["peer.hello", "peer.snapshot", "cluster.replica: ", "service.read: not now", "cluster.map"];

fn setup(nodes: u64) -> Setup {
    let mut setup = Setup { nodes, groups: 3, ..Setup::default() }.purging();
    (setup.layout.balance, setup.layout.down_after_s) = (false, 60);
    setup
}

async fn token(c: &Cluster, replaces: Option<u64>) -> (String, TokenId) {
    let asked = TrustRequest::MakeJoin { ttl_s: 3_600, region: None, zone: String::new(), host: String::new(), replaces: replaces.map(NodeId::new) };
    match c.ask_trust(asked).await.expect("a token") {
        TrustAnswer::Made { token, id, .. } => (token.reveal().to_owned(), id),
        other => panic!("another answer: {other:?}"),
    }
}

async fn listed(c: &Cluster) -> Vec<JoinView> {
    match c.ask_trust(TrustRequest::Joins).await.expect("the tokens") {
        TrustAnswer::Joins(joins) => joins,
        other => panic!("another answer: {other:?}"),
    }
}

/// Why it is not let in.
async fn refused(c: &mut Cluster, join: &Join) -> Code {
    match c.join(join).await {
        Err(JoinError::Refused { refusal, .. }) => {
            assert!(refusal.text.len() > 20, "it says why: {refusal:?}");
            refusal.code
        }
        other => panic!("it is refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_becomes_three_by_tokens_and_nothing_is_lost() {
    let mut c = Cluster::start_with(setup(1)).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 30).await;
    let talk = ann.talk("general");

    let (first, used) = token(&c, None).await;
    let joining = c.joining(&first);
    assert_eq!(c.join(&joining).await.expect("it joins"), 2);
    assert_eq!(c.map().nodes[&NodeId::new(2)].state, NodeState::Joining, "it is given nothing yet");
    // The same token, another node.
    let again = c.joining(&first);
    assert_eq!(refused(&mut c, &again).await, Code::TokenSpent);

    // An address at which another node answers, then one at which nobody does: the token is as good as before.
    let (second, good) = token(&c, None).await;
    let mut wrong = c.joining(&second);
    let right = wrong.node.address.clone();
    wrong.node.address = c.joining(&second).node.address;
    assert_eq!(refused(&mut c, &wrong).await, Code::NotReached);
    let states: Vec<(TokenId, Option<u64>)> = listed(&c).await.iter().map(|join| (join.id, join.node.map(NodeId::get))).collect();
    assert_eq!(states, [(good, None), (used, Some(2))], "the newest first");
    wrong.node.address = right;
    assert_eq!(c.join(&wrong).await.expect("it joins from its own address"), 3);

    c.wait_for("every group has three replicas", async || c.map().groups.values().all(|row| row.replicas.len() == 3)).await;
    c.wait_members().await;
    assert!(c.map().nodes.values().all(|row| row.state == NodeState::Up));
    assert!(talk.stop().await > 0);
    // A disk is gone; any of the others will do, also one that came by a token: it holds all that signs and serves.
    c.kill(3).await;
    ann.send_many("general", 10).await;
    c.wait_for("the others know that node 3 is gone", async || [1, 2].iter().all(|node| !c.node(*node).peers().alive(NodeId::new(3)))).await;
    let (third, _) = token(&c, Some(3)).await;
    let mut joining = c.joining(&third);
    joining.node.zone.clear();
    joining.ticket.addresses = vec![c.map().nodes[&NodeId::new(2)].address.clone()];
    assert_eq!(c.join(&joining).await.expect("it takes the place of node 3"), 4);
    c.forget(3);
    c.wait_members().await;
    let map = c.map();
    assert_eq!(
        (map.nodes[&NodeId::new(3)].state, map.nodes[&NodeId::new(4)].zone.clone()),
        (NodeState::Left, map.nodes[&NodeId::new(3)].zone.clone())
    );
    bob.send("general", "still here").await;
    let groups: Vec<GroupId> = c.map().groups.keys().copied().collect();
    for group in groups {
        c.wait_equal(group).await;
    }
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_token_one_is_let_in_whoever_leads() {
    let mut c = Cluster::start_with(setup(3)).await;
    SAID.iter().for_each(|part| c.expect_logs(part));
    let (text, id) = token(&c, None).await;
    let joins: Vec<Join> = (0..3).map(|_| c.joining(&text)).collect();
    let clock: kith::clock::SharedClock = std::sync::Arc::new(kith::clock::SystemClock);
    let leader = c.leader_now(GroupId::META).expect("a leader");
    let clock = &clock;
    let asking = joins.iter().map(|join| async move { (join, join.run(clock).await) });
    let (told, ()) = tokio::join!(futures_util::future::join_all(asking), c.kill(leader));
    let in_now: Vec<&Join> = told.iter().filter(|(_, told)| told.is_ok()).map(|(join, _)| *join).collect();
    assert_eq!(in_now.len(), 1, "{:?}", told.iter().map(|(_, told)| told).collect::<Vec<_>>());
    let spent = |error: &JoinError| matches!(error, JoinError::Refused { refusal, .. } if refusal.code == Code::TokenSpent);
    assert!(told.iter().filter_map(|(_, told)| told.as_ref().err()).all(spent), "{told:?}");
    // Its answer may be lost: who asks again from the same folder is the same node.
    let again = c.joining(&text);
    assert_eq!(refused(&mut c, &again).await, Code::TokenSpent);
    assert_eq!(c.join(in_now[0]).await.expect("it is in"), 4);
    assert_eq!(c.ask_trust(TrustRequest::RevokeJoin { id }).await.expect_err("it was used").code, Code::TokenSpent);
    c.restart(leader).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_ended_or_is_of_another_cluster_lets_nobody_in() {
    let mut c = Cluster::start_with(setup(1)).await;
    let (text, id) = token(&c, None).await;
    assert_eq!(c.ask_trust(TrustRequest::RevokeJoin { id }).await, Ok(TrustAnswer::Done));
    let ended = c.joining(&text);
    assert_eq!(refused(&mut c, &ended).await, Code::Revoked);
    // Right addresses, another authority: the node asks nobody anything.
    let mut foreign: Join = c.joining(&text);
    foreign.ticket = JoinTicket { authority: [7; 32], ..foreign.ticket };
    match c.join(&foreign).await {
        Err(JoinError::Nobody(tried)) => assert!(!tried.is_empty()),
        other => panic!("nobody is trusted: {other:?}"),
    }
    // A secret that was never drawn.
    let mut guessed = c.joining(&text);
    guessed.ticket.secret = kith_wire::trust::JoinSecret::new([9; 32]);
    assert_eq!(refused(&mut c, &guessed).await, Code::BadToken);
    assert_eq!(c.map().nodes.len(), 1);
    c.finish().await;
}
