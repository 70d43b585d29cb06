//! Sessions and fan-out over real nodes: what one client sends, the others get live, and every home commits.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use common::{Cluster, WITHIN, wait_for};
use kith::auth::{Claims, mint};
use kith_client::{Client, Event, Events, NewChannel, Trust};
use kith_machine::view::{Scan, StateView};
use kith_wire::{
    code::Code,
    id::{ChannelId, UserId},
    log::Content,
};

/// A device of an account that is made if need be, connected to this node first.
async fn client(cluster: &Cluster, name: &str, node: u64) -> (Client, Events) {
    let user = cluster.account(node, name).await.user;
    let claims = Claims { user, name: name.into(), cluster: cluster.files.id, expires_s: u64::MAX / 2, ..Claims::default() };
    let token = mint(&cluster.files.token_key, &claims).unwrap();
    let trust = Trust::ca_pem(cluster.files.ca_pem.as_bytes()).unwrap();
    let client = Client::builder(&cluster.nodes[&node].client_addr().to_string()).tokens(token).trust(trust).build().await.unwrap();
    let events = client.events();
    tokio::time::timeout(WITHIN, client.connect()).await.expect("connected in time").unwrap();
    (client, events)
}

/// No leader owes anything to any home.
fn is_fanned_out(cluster: &Cluster) -> bool {
    let groups = cluster.nodes.values().flat_map(|node| node.groups().all());
    groups.filter(|group| group.leadership().serving).all(|group| {
        let dirty = group.reader().and_then(|view| view.scan(&Scan::Dirty(None), false, 1));
        dirty.is_ok_and(|rows| rows.is_empty())
    })
}

/// The next texts of a channel.
async fn texts(events: &mut Events, of: ChannelId, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let event = tokio::time::timeout(WITHIN, events.next()).await;
        let Ok(Some(event)) = event else { panic!("only {} of {count} texts came: {texts:?}", texts.len()) };
        if let Event::Record { channel, record } = event
            && let Content::Text { text, .. } = &record.content
            && channel == of
        {
            texts.push(text.clone());
        }
    }
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_reaches_every_member_live_also_after_a_node_was_lost() {
    let mut cluster = Cluster::start(3).await;
    let (ann, mut at_ann) = client(&cluster, "ann", 1).await;
    let (bob, mut at_bob) = client(&cluster, "bob", 2).await;
    let (carol, mut at_carol) = client(&cluster, "carol", 3).await;
    let group = ann.create_channel(NewChannel::group("team").members([bob.me(), carol.me()])).await.unwrap();
    let mut wanted = Vec::new();
    for number in 0..60 {
        let text = format!("m{number}");
        group.send(text.clone()).await.unwrap();
        wanted.push(text);
    }
    for events in [&mut at_ann, &mut at_bob, &mut at_carol] {
        assert_eq!(texts(events, group.id(), wanted.len()).await, wanted);
    }
    wait_for("every home has committed", async || is_fanned_out(&cluster)).await;
    let row = bob.channels().await.unwrap().into_iter().find(|row| row.channel == group.id());
    assert!(row.is_some(), "bob's index names the group");

    // Carol's node goes; her session moves, and what is sent meanwhile comes too.
    let node = cluster.nodes.remove(&3).unwrap();
    node.abort().await;
    let direct = bob.direct(carol.me()).await.unwrap();
    let sent = tokio::time::timeout(WITHIN, direct.send("are you there?").await.unwrap().sent()).await;
    sent.expect("acked in time").unwrap();
    assert_eq!(texts(&mut at_carol, direct.id(), 1).await, ["are you there?"]);
    cluster.start_node(3, None).await;
    group.send("all back").await.unwrap();
    for events in [&mut at_ann, &mut at_bob, &mut at_carol] {
        assert_eq!(texts(events, group.id(), 1).await, ["all back"]);
    }
    wait_for("every home has committed again", async || is_fanned_out(&cluster)).await;
    for client in [ann, bob, carol] {
        client.close().await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_waits_for_no_client_that_is_not_there() {
    let mut cluster = Cluster::start(1).await;
    let node = cluster.nodes.remove(&1).unwrap();
    let (id, key, ca, address) = (cluster.files.id, cluster.files.token_key.clone(), cluster.files.ca_pem.clone(), node.client_addr().to_string());
    let operator = || {
        let claims = Claims { user: UserId::new(0), name: "operator".into(), cluster: id, admin: true, expires_s: u64::MAX / 2, ..Claims::default() };
        let trust = Trust::ca_pem(ca.as_bytes()).unwrap();
        Client::builder(&address).tokens(mint(&key, &claims).unwrap()).trust(trust)
    };
    let there = operator().build().await.unwrap();
    tokio::time::timeout(WITHIN, there.connect()).await.expect("connected in time").unwrap();
    // As a process that is killed: its runtime stops, and nothing more is sent.
    let silent = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let begun = operator();
    let gone = silent.spawn(async move {
        let client = begun.build().await.unwrap();
        tokio::time::timeout(WITHIN, client.connect()).await.expect("connected in time").unwrap();
        client
    });
    let gone = gone.await.unwrap();
    // Until its threads have ended it may still send; and what it sent is read before what comes later.
    tokio::task::spawn_blocking(move || silent.shutdown_timeout(WITHIN)).await.unwrap();
    assert_eq!(there.find_user("nobody").await.unwrap_err().code, Code::NoSuchUser);

    let registry = node.registry().clone();
    node.shutdown().await;
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    let ended: Vec<_> = metrics.lines().filter(|line| line.starts_with("kith_session_ended_total")).collect();
    // Neither was ended by the deadline: one moved when it was told to, the other did not even acknowledge that.
    assert!(ended.contains(&"kith_session_ended_total{reason=\"Left\"} 2"), "{ended:?}");
    drop((gone, there));
}
