//! Search over whole nodes: what is found by whom, by way of any node, and what becomes of the indexes of nodes that die.

use kith_client::{Done, Door, NewChannel};
use kith_tests::{Cluster, Device, Setup};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{ChannelId, DeviceId, NodeId, UserId},
    peer::Caller,
    search::{SearchPage, SearchQuery},
};
use tokio::time::Instant;

async fn done(outgoing: Result<kith_client::Outgoing, kith_client::Error>) -> Done {
    outgoing.expect("a write that is queued").done().await.expect("allowed")
}

/// What a user finds by way of one node, in any session or none.
async fn ask(c: &Cluster, node: u64, user: UserId, query: impl Into<SearchQuery>) -> Result<SearchPage, Code> {
    let caller = Caller { user, device: DeviceId::new(1), admin: None, trace: 0, key: None, token: None };
    let deadline = Instant::now() + kith_tests::cluster::PATIENCE;
    match c.node(node).service().handle(&caller, Request::Search(query.into()), deadline).await {
        Ok(Answer::Found(page)) => Ok(page),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

/// Texts that a user finds by way of one node, the newest first. Waits while they search too often.
async fn found(c: &Cluster, node: u64, user: UserId, query: impl Into<SearchQuery>) -> Vec<String> {
    let query = query.into();
    let mut texts = None;
    c.wait_for("a search is answered, and nothing is left out", async || {
        let page = ask(c, node, user, query.clone()).await;
        texts = page.ok().filter(|page| page.unsearched == 0).map(|page| page.hits.into_iter().map(|hit| hit.excerpt).collect());
        texts.is_some()
    })
    .await;
    texts.expect("it was waited for")
}

/// Waits until this is what the user of a device finds by way of each node.
async fn all_find(c: &Cluster, of: &Device, words: &str, expected: &[&str]) {
    finds(c, of.user(), words, expected).await;
}

/// Waits until this is what a user finds by way of each node.
async fn finds(c: &Cluster, user: UserId, words: &str, expected: &[&str]) {
    for node in c.running() {
        c.wait_for(&format!("{user} finds {expected:?} by {words:?} at node {node}"), async || found(c, node, user, words).await == expected).await;
    }
}

/// Waits until the index of each of these nodes has so many texts, each once, all of them written.
async fn hold(c: &Cluster, nodes: impl IntoIterator<Item = u64>, texts: u64) {
    for node in nodes {
        c.wait_for(&format!("node {node} has {texts} texts"), async || {
            c.metric(node, "kith_search_pending") == 0.0 && c.metric(node, "kith_search_documents") == texts as f64
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_found_as_they_read_now_by_way_of_any_node() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let room = c.room("Harbour friends", &ann, &[&bob]).await;
    let edited = ann.send("Harbour friends", "The blue boat").await.seq();
    let gone = bob.send("Harbour friends", "a red boat").await.seq();
    bob.send("Harbour friends", "山田太郎さんの船").await;
    ann.direct("talk", bob.user());
    ann.send("talk", "BOATS, and nothing but boats").await;
    for one in [&ann, &bob] {
        all_find(&c, one, "boat", &["a red boat", "The blue boat"]).await;
        all_find(&c, one, "boat*", &["BOATS, and nothing but boats", "a red boat", "The blue boat"]).await;
        all_find(&c, one, "\"blue boat\"", &["The blue boat"]).await;
        all_find(&c, one, "太郎さん", &["山田太郎さんの船"]).await;
    }
    let narrowed = SearchQuery { sender: Some(bob.user()), channel: Some(room), ..SearchQuery::default() };
    let page = ann.client().search(narrowed).await.expect("found");
    assert_eq!(page.hits.iter().map(|hit| hit.sender).collect::<Vec<_>>(), [bob.user(), bob.user()]);
    let titled = ann.client().search("harbour").await.expect("found");
    assert_eq!((titled.channels, titled.hits), (vec![room], vec![]));

    // A page at a time.
    let mut query = SearchQuery { limit: 1, ..SearchQuery::from("boat*") };
    let mut pages = Vec::new();
    loop {
        let page = ann.client().search(query.clone()).await.expect("found");
        pages.extend(page.hits.into_iter().map(|hit| hit.excerpt));
        query.below = page.next;
        if query.below.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["BOATS, and nothing but boats", "a red boat", "The blue boat"]);

    done(ann.channel("Harbour friends").edit(edited, "The green ship").await).await;
    done(bob.channel("Harbour friends").delete(gone).await).await;
    for one in [&ann, &bob] {
        all_find(&c, one, "boat", &[]).await;
        all_find(&c, one, "ship", &["The green ship"]).await;
    }
    for (words, code) in [("", Code::Invalid), ("!!!", Code::Invalid), ("b*", Code::Invalid)] {
        assert_eq!(ann.client().search(words).await.expect_err("nothing to look for").code, code, "{words:?}");
    }
    assert_eq!(ann.client().search("word ".repeat(17).as_str()).await.expect_err("too many").code, Code::TooLarge);
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_what_they_may_not_read() {
    let c = Cluster::start(3).await;
    let (ann, bob, cid, eve) = (c.client("ann").await, c.client("bob").await, c.client("cid").await, c.client("eve").await);
    let room = c.room("general", &ann, &[&bob]).await;
    ann.send("general", "secret one").await;
    done(ann.channel("general").add(cid.user()).await).await;
    let second = ann.send("general", "secret two").await.seq();
    all_find(&c, &cid, "secret", &["secret two"]).await;
    done(ann.channel("general").remove(cid.user()).await).await;
    ann.send("general", "secret three").await;
    done(ann.channel("general").edit(second, "secret two, and more").await).await;

    all_find(&c, &ann, "secret", &["secret three", "secret two, and more", "secret one"]).await;
    // What was edited after they left is not theirs, and what it said is gone.
    all_find(&c, &cid, "secret", &[]).await;
    all_find(&c, &eve, "secret", &[]).await;
    for node in c.running() {
        for stranger in [&cid, &eve] {
            let there = SearchQuery { channel: Some(room), ..SearchQuery::from("secret") };
            assert_eq!(found(&c, node, stranger.user(), there).await, [""; 0]);
        }
    }

    // Who is blocked is not found by who has blocked them, and finds all the same.
    eve.direct("talk", ann.user());
    eve.send("talk", "secret of eve").await;
    all_find(&c, &ann, "eve", &["secret of eve"]).await;
    ann.client().contacts().block(eve.user()).await.expect("blocked");
    all_find(&c, &ann, "eve", &[]).await;
    all_find(&c, &eve, "eve", &["secret of eve"]).await;
    c.finish().await;
}

/// Whether the index of a node has all of a group.
fn is_current(c: &Cluster, node: u64, room: &str) -> bool {
    c.node(node).search().is_current(c.group_of_room(room))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_lost_or_left_behind_is_made_whole() {
    let mut c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send_many("general", 300).await;
    let edited = ann.send("general", "needle in the hay").await.seq();
    let lost = c.follower_of(c.group_of_room("general")).await;
    let others: Vec<u64> = c.running().into_iter().filter(|node| *node != lost).collect();
    all_find(&c, &ann, "needle", &["needle in the hay"]).await;
    hold(&c, [lost], 301).await;

    // It was away while things changed: it reads the log.
    c.kill(lost).await;
    done(ann.channel("general").edit(edited, "pin in the hay").await).await;
    let gone = ann.send("general", "a second pin").await.seq();
    ann.send("general", "a third pin").await;
    done(ann.channel("general").delete(gone).await).await;
    c.restart(lost).await;
    c.wait_for("it has caught up", async || is_current(&c, lost, "general")).await;
    c.wait_equal(c.group_of_room("general")).await;
    all_find(&c, &ann, "pin", &["a third pin", "pin in the hay"]).await;
    assert_eq!(c.metric(lost, "kith_search_walks_total"), 0.0, "the log was enough");

    // It is gone: all rows are read.
    c.kill(lost).await;
    std::fs::remove_dir_all(c.data_dir(lost).join("search")).expect("the index is there");
    ann.send("general", "the last pin").await;
    c.restart(lost).await;
    c.wait_for("it is built anew", async || is_current(&c, lost, "general")).await;
    all_find(&c, &ann, "pin", &["the last pin", "a third pin", "pin in the hay"]).await;
    assert!(c.metric(lost, "kith_search_walks_total") > 0.0, "the rows were read");

    // Every index has as many texts as every other.
    hold(&c, others.into_iter().chain([lost]), 303).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_erased_user_wrote_is_in_no_index_not_of_a_node_that_was_dead_nor_of_one_that_had_lost_it() {
    let mut c = Cluster::start(3).await;
    let door = Door::new(&[c.address(2).to_owned(), c.address(3).to_owned()], c.trust()).expect("a socket");
    let (ann, bob) = (c.person(&door, "ann", 2).await, c.person(&door, "bob", 3).await);
    let group = bob.create_channel(NewChannel::group("garden").members([ann.me()])).await.expect("made").id();
    for (who, text) in [(&ann, "needle of ann"), (&bob, "needle of bob")] {
        who.channel(group).send(text).await.expect("queued").sent().await.expect("sent");
    }
    finds(&c, bob.me(), "needle", &["needle of bob", "needle of ann"]).await;
    hold(&c, 1..=3, 2).await;

    c.kill(1).await;
    c.wait_ready().await;
    // The session may end before the answer comes.
    let _ = ann.account().delete(kith_tests::cluster::PASSWORD).await;
    finds(&c, bob.me(), "needle", &["needle of bob"]).await;
    hold(&c, 2..=3, 1).await;
    c.restart(1).await;
    finds(&c, bob.me(), "needle", &["needle of bob"]).await;
    hold(&c, [1], 1).await;
    assert_eq!(c.metric(1, "kith_search_walks_total"), 0.0, "the log was enough");

    c.kill(1).await;
    std::fs::remove_dir_all(c.data_dir(1).join("search")).expect("the index is there");
    c.restart(1).await;
    finds(&c, bob.me(), "needle", &["needle of bob"]).await;
    hold(&c, [1], 1).await;
    assert!(c.metric(1, "kith_search_walks_total") > 0.0, "the rows were read");
    bob.close().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_got_a_snapshot_has_its_index_too() {
    let mut c = Cluster::start_with(Setup::default().purging()).await;
    c.expect_logs("service.read: not now");
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    ann.send("general", "needle one").await;
    let group = c.group_of_room("general");
    let away = c.follower_of(group).await;
    all_find(&c, &ann, "needle", &["needle one"]).await;
    let status = |c: &Cluster, node: u64| c.node(node).groups().get(group).and_then(|handle| handle.status().ok());
    let last = status(&c, away).and_then(|status| status.last);
    c.kill(away).await;
    ann.send("general", "needle two").await;
    let talk = ann.talk("general");
    c.wait_for("the others have purged what it lacks", async || {
        c.running().into_iter().all(|node| status(&c, node).is_some_and(|status| status.purged > last))
    })
    .await;
    talk.stop().await;
    c.restart(away).await;
    c.wait_equal(group).await;
    c.wait_for("its index is whole", async || is_current(&c, away, "general")).await;
    all_find(&c, &ann, "needle", &["needle two", "needle one"]).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_for_is_counted_and_the_nodes_that_hold_it_are_named() {
    let mut c = Cluster::start_with(Setup { groups: 8, ..Setup::nodes(4) }).await;
    // A node that is killed may be in the middle of an append.
    c.expect_logs("failed to receive from RaftCore");
    c.expect_logs("rx recv error: channel closed");
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let home = c.replicas(c.group_of(ann.user().bucket()));
    let node = home[0];
    // Groups of chat until one lies elsewhere and one here.
    let is_here = |channel: ChannelId| c.replicas(c.group_of(channel.bucket())).contains(&node);
    let (mut here, mut elsewhere) = (None, None);
    for number in 0..200 {
        let room = format!("room {number}");
        let channel = c.room(&room, &ann, &[&bob]).await;
        if is_here(channel) && here.is_none() {
            here = Some(room);
        } else if !is_here(channel) && elsewhere.is_none() {
            elsewhere = Some(room);
        }
        if here.is_some() && elsewhere.is_some() {
            break;
        }
    }
    let (here, elsewhere) = (here.expect("a group here"), elsewhere.expect("a group elsewhere"));
    ann.send(&here, "needle at hand").await;
    ann.send(&elsewhere, "needle far away").await;
    all_find(&c, &ann, "needle", &["needle far away", "needle at hand"]).await;

    let away: Vec<u64> = c.running().into_iter().filter(|other| *other != node).collect();
    for other in &away {
        c.kill(*other).await;
    }
    c.wait_for("the node finds what it has, and names who has the rest", async || {
        let Ok(page) = ask(&c, node, ann.user(), "needle").await else { return false };
        let texts: Vec<_> = page.hits.iter().map(|hit| hit.excerpt.as_str()).collect();
        let named = away.iter().all(|other| page.missing.contains(&NodeId::new(*other)));
        texts == ["needle at hand"] && named && page.unsearched >= 1
    })
    .await;
    c.finish().await;
}
