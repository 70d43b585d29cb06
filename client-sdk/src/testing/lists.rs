//! Lists of an app, against the fake server: timelines, the outbox, conversations, what is unread.

use kith_wire::id::{ChannelId, Seq, UserId};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tempfile::tempdir;

use super::{FakeServer, Fault};
use crate::{Anchor, Backfill, Delivery, MemoryStore, More, SqliteStore, TimelineItem, Vector};

fn people(server: &FakeServer) -> (UserId, UserId, ChannelId) {
    let (ann, ben) = (server.user("ann"), server.user("ben"));
    (ann, ben, ChannelId::direct(ann, ben))
}

fn texts(items: &Vector<TimelineItem>) -> Vec<String> {
    items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
}

fn is_record(item: &TimelineItem) -> bool {
    matches!(item, TimelineItem::Record { .. })
}

#[tokio::test]
async fn an_own_text_shows_at_once_and_keeps_its_id_when_it_stands() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, id) = people(&server);
    let app = server.client(ann).build().await.expect("a client");
    let room = app.channel(id);
    let timeline = room.timeline(Anchor::Latest).await.expect("a timeline");
    let mut items = timeline.items();
    let mut outbox = app.outbox();
    room.send("offline").await.expect("stored");
    let echo = items.wait_for(|items| items.len() == 1).await.expect("it shows")[0].clone();
    assert!(matches!(&echo, TimelineItem::Echo(echo) if matches!(echo.state, Delivery::Queued)), "{echo:?}");
    outbox.wait_for(|list| list.len() == 1).await.expect("it waits");
    app.connect().await.expect("online");
    server.say(id, ben, "hello");
    let shown = items.wait_for(|items| items.len() == 2 && items.iter().all(is_record)).await.expect("both stand").clone();
    let mut both = texts(&shown);
    both.sort();
    assert_eq!(both, ["hello", "offline"]);
    assert_eq!(shown.iter().filter(|item| item.id() == echo.id()).map(TimelineItem::text).collect::<Vec<_>>(), [Some("offline")]);
    outbox.wait_for(Vector::is_empty).await.expect("it is answered");
    // Another list has it under the same id.
    let again = room.timeline(Anchor::Latest).await.expect("a timeline").items();
    assert!(again.items().iter().any(|item| item.id() == echo.id()));
}

#[tokio::test]
async fn edits_and_deletions_show_where_they_are_made_and_refusals_stay() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, id) = people(&server);
    let app = server.client(ann).build().await.expect("a client");
    app.connect().await.expect("online");
    let room = app.channel(id);
    let timeline = room.timeline(Anchor::Latest).await.expect("a timeline");
    let mut items = timeline.items();
    let first = room.send("one").await.expect("stored").sent().await.expect("sent").seq();
    let second = room.send("two").await.expect("stored").sent().await.expect("sent").seq();
    server.say(id, ben, "three");
    room.edit(first, "uno").await.expect("stored").sent().await.expect("sent");
    room.delete(second).await.expect("stored").sent().await.expect("sent");
    items.wait_for(|items| texts(items) == ["uno", "three"]).await.expect("they show");
    assert!(matches!(items.items()[0], TimelineItem::Record { is_edited: true, .. }));
    server.next(Fault::Refuse(kith_wire::code::Code::NotAllowed, None));
    room.send("four").await.expect("stored").sent().await.expect_err("refused");
    let failed = |item: &TimelineItem| matches!(item, TimelineItem::Echo(echo) if matches!(echo.state, Delivery::Failed(_)));
    items.wait_for(|items| items.last().is_some_and(failed)).await.expect("it stays, with its reason");
}

#[tokio::test]
async fn a_timeline_grows_both_ways_without_a_hole_wherever_it_begins() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, id) = people(&server);
    for number in 1..=400 {
        server.say(id, ben, &number.to_string());
    }
    let folder = tempdir().expect("a folder");
    for in_files in [false, true] {
        let seed = 7 + u64::from(in_files);
        let mut rng = SmallRng::seed_from_u64(seed);
        let builder = server.client(ann).backfill(Backfill::Recent(30));
        let builder =
            if in_files { builder.store(SqliteStore::open(folder.path()).await.expect("a store")) } else { builder.store(MemoryStore::new(60)) };
        let app = builder.build().await.expect("a client");
        app.connect().await.expect("online");
        app.behind().wait_for(|behind| *behind == 0).await.expect("an open client");
        let room = app.channel(id);
        for round in 0..6 {
            let at = rng.random_range(1..=400);
            let anchor = if round == 0 { Anchor::Latest } else { Anchor::Seq(Seq::new(at)) };
            let timeline = room.timeline(anchor).await.expect("a timeline");
            let mut items = timeline.items();
            let check = |items: &Vector<TimelineItem>, why: &str| {
                let shown: Vec<u64> = texts(items).iter().map(|text| text.parse().expect("a number")).collect();
                assert!(
                    !shown.is_empty() && shown.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                    "{why}, seed {seed}, round {round}, at {at}: {shown:?}"
                );
                assert!(round == 0 || shown.contains(&at), "{why}, seed {seed}, round {round}: {at} is not in {shown:?}");
            };
            check(items.items(), "at first");
            let (mut older, mut newer) = (More::Yes, More::Yes);
            while older == More::Yes || newer == More::Yes {
                let n = rng.random_range(1..90);
                if rng.random() {
                    older = timeline.load_older(n).await.expect("a page")
                } else {
                    newer = timeline.load_newer(n).await.expect("a page")
                }
                check(timeline.items().items(), "on the way");
            }
            let head = server.log(id).len() as u64;
            items.wait_for(|items| texts(items).len() as u64 == head).await.expect("all of it");
            let seq = server.say(id, ben, &(head + 1).to_string());
            items.wait_for(|items| texts(items).last() == Some(&seq.to_string())).await.expect("what is new follows");
            check(items.items(), "at the end");
        }
        app.close().await;
    }
}

#[tokio::test]
async fn conversations_are_sorted_and_counted_as_they_change() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, with_ben) = people(&server);
    let eve = server.user("eve");
    let with_eve = ChannelId::direct(ann, eve);
    let app = server.client(ann).build().await.expect("a client");
    app.connect().await.expect("online");
    let mut list = app.live_channels().await.expect("a list");
    let mut unread = app.unread().await.expect("totals");
    let order = |list: &Vector<crate::ChannelSummary>| list.iter().map(|summary| summary.channel).collect::<Vec<_>>();
    server.say(with_ben, ben, "one");
    server.say(with_eve, eve, "two");
    list.wait_for(|list| order(list) == [with_eve, with_ben]).await.expect("the newest first");
    server.say(with_ben, ben, "three");
    list.wait_for(|list| order(list) == [with_ben, with_eve]).await.expect("the newest first");
    unread.wait_for(|totals| (totals.channels, totals.messages) == (2, 3)).await.expect("all are unread");
    app.behind().wait_for(|behind| *behind == 0).await.expect("an open client");
    while app.channel(with_ben).mark_read(Seq::new(2)).await.is_err() {
        tokio::task::yield_now().await;
    }
    unread.wait_for(|totals| (totals.channels, totals.messages) == (1, 1)).await.expect("eve's is left");
    // A list that is opened now shows the same.
    assert_eq!(order(app.live_channels().await.expect("a list").items()), [with_ben, with_eve]);
    assert_eq!(app.unread().await.expect("totals").get().messages, 1);
}
