//! Erasure over whole clusters: a user's texts go from every channel, whoever leads it and whoever dies meanwhile, and the seqs stay.

use kith_client::{Client, Door, NewChannel};
use kith_tests::Cluster;
use kith_wire::{
    act::Gone,
    id::{ChannelId, NodeId, Seq},
    log::{Content, Record},
};

async fn say(client: &Client, channel: ChannelId, text: &str) -> Seq {
    client.channel(channel).send(text).await.expect("queued").sent().await.expect("sent").seq()
}

/// What a node's own replica holds of a channel.
async fn held_by(client: &Client, channel: ChannelId, node: u64) -> Option<Vec<Record>> {
    client.channel(channel).whole_history(Some(NodeId::new(node)), Seq::ZERO).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_users_texts_go_from_every_channel_on_every_replica_though_leaders_die_meanwhile() {
    let mut c = Cluster::start(3).await;
    let door = Door::new(&[c.address(2).to_owned(), c.address(3).to_owned()], c.trust()).expect("a socket");
    let (ann, bob) = (c.person(&door, "ann", 2).await, c.person(&door, "bob", 3).await);
    let mut channels = Vec::new();
    for number in 0..6 {
        let group = bob.create_channel(NewChannel::group(format!("group {number}")).members([ann.me()])).await.expect("made").id();
        channels.push(group);
    }
    let direct = ann.direct("bob").await.expect("found").id();
    let notes = ChannelId::direct(ann.me(), ann.me());
    channels.push(direct);
    let mut said = Vec::new();
    for channel in &channels {
        let own = say(&ann, *channel, "words of ann").await;
        let answer = say(&bob, *channel, "words of bob").await;
        said.push((*channel, own, answer));
    }
    say(&ann, notes, "words to herself").await;
    // One that she has left: it is in her index, and she is no member.
    ann.channel(channels[0]).leave().await.expect("queued").done().await.expect("left");
    c.wait_for("all of it is in her list, and the leave is known", async || {
        let listed = ann.channels().await.unwrap_or_default();
        listed.len() == channels.len() + 1 && listed.iter().any(|summary| summary.row.news.left.is_some())
    })
    .await;

    // The session may end before the answer comes.
    let _ = ann.account().delete(kith_tests::cluster::PASSWORD).await;
    let victim = c.leader_now(c.group_of(direct.bucket())).unwrap_or(1);
    c.kill(victim).await;
    c.wait_ready().await;
    let nodes = c.running();
    for (channel, own, answer) in &said {
        c.wait_for("her texts are gone and bob's are there, on each replica", async || {
            for node in &nodes {
                let Some(records) = held_by(&bob, *channel, *node).await else { return false };
                let at = |seq: Seq| records.iter().find(|record| record.at.seq == seq).map(|record| record.content.clone());
                let is_gone = matches!(at(*own), Some(Content::Gone { why: Gone::Erased, counted: true }));
                let is_told = records.iter().any(|record| record.content == Content::Erased { user: ann.me() });
                let is_dense = records.windows(2).all(|pair| pair[0].at.seq.next() == pair[1].at.seq);
                let stays = records.iter().any(|record| record.at.seq == *answer && record.content.text() == Some("words of bob"));
                if !(is_gone && is_told && is_dense && stays) {
                    return false;
                }
            }
            true
        })
        .await;
    }
    c.wait_for("his device has dropped what it held, and no list shows it", async || {
        let records = bob.channel(direct).records(Seq::new(1), Seq::new(9), 9).await.unwrap_or_default();
        let listed = bob.channels().await.unwrap_or_default();
        !records.is_empty()
            && records.iter().all(|record| record.content.text() != Some("words of ann"))
            && listed.iter().all(|summary| summary.row.news.preview != "words of ann")
    })
    .await;
    c.wait_for("no row of any node holds a word of hers", async || {
        let words = ["words of ann", "words to herself"];
        nodes.iter().all(|node| {
            c.node(*node).groups().all().iter().all(|group| {
                let Ok(view) = group.reader() else { return false };
                said.iter().map(|(channel, ..)| *channel).chain([notes]).all(|channel| {
                    let scan = kith_machine::view::Scan::Records(channel, Seq::new(1)..=Seq::new(99));
                    let rows = kith_machine::view::StateView::scan(&view, &scan, false, 99).unwrap_or_default();
                    rows.iter().all(|(_, row)| words.iter().all(|word| !format!("{row:?}").contains(word)))
                })
            })
        })
    })
    .await;
    // Told again, by whichever leader: nothing more happens.
    bob.close().await;
    c.finish().await;
}
