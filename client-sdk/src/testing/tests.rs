//! An app against the fake server: its faults, its clock, its tokens; the life of a phone over a store in files.

use std::{
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use kith_wire::{
    code::Code,
    id::{ChannelId, Seq, UserId},
};
use tempfile::tempdir;

use super::{FakeServer, Fault};
use crate::{
    Anchor, Backfill, Client, Delivery, Event, SqliteStore, Status, StoreTrouble, TimelineItem, TokenReason,
    sqlite::tests::{is_free, limit_pages},
    store::Store,
};

/// What one client does reaches another by itself, and not because that one says something.
const NEVER: Duration = Duration::from_secs(3_600);

fn people(server: &FakeServer) -> (UserId, UserId, ChannelId) {
    let (ann, ben) = (server.user("ann"), server.user("ben"));
    (ann, ben, ChannelId::direct(ann, ben))
}

async fn all_held(client: &Client) {
    client.behind().wait_for(|behind| *behind == 0).await.expect("an open client");
}

#[tokio::test]
async fn two_apps_talk() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, room) = people(&server);
    let [anns, bens] = [ann, ben].map(|user| server.client(user).heartbeat(NEVER));
    let (anns, bens) = (anns.build().await.expect("a client"), bens.build().await.expect("a client"));
    anns.connect().await.expect("online");
    bens.connect().await.expect("online");
    let mut events = bens.events();
    anns.direct("ben").await.expect("found").send("hello").await.expect("stored").sent().await.expect("sent");
    loop {
        if let Some(Event::Record { channel, record }) = events.next().await {
            assert_eq!((channel, record.content.text(), record.sender), (room, Some("hello"), ann));
            break;
        }
    }
    bens.channel(room).mark_read(Seq::new(1)).await.expect("it is held");
    bens.channel(room).edit(Seq::new(1), "mine").await.expect("stored").sent().await.expect_err("it is ann's");
    anns.channel(room).edit(Seq::new(1), "hello ben").await.expect("stored").sent().await.expect("edited");
    assert_eq!(server.texts(room), ["hello ben"]);
}

#[tokio::test]
async fn faults_come_in_their_order_and_each_once() {
    let server = FakeServer::start().expect("a server");
    let (ann, _, room) = people(&server);
    let app = server.client(ann).build().await.expect("a client");
    app.connect().await.expect("online");
    let room_of_app = app.channel(room);
    server.next(Fault::LoseRequest);
    server.next(Fault::LoseAnswer);
    server.next(Fault::Refuse(Code::Busy, Some(Duration::from_millis(5))));
    room_of_app.send("one").await.expect("stored").sent().await.expect("sent in the end");
    room_of_app.send("two").await.expect("stored").sent().await.expect("sent in the end");
    server.next(Fault::Refuse(Code::NotAllowed, None));
    let refused = room_of_app.send("three").await.expect("stored").sent().await.expect_err("refused");
    assert_eq!(refused.code, Code::NotAllowed);
    room_of_app.send("four").await.expect("stored").sent().await.expect("sent");
    assert_eq!(server.texts(room), ["one", "two", "four"]);
}

#[tokio::test]
async fn tokens_that_expire_are_asked_for_anew_with_the_reason() {
    let server = FakeServer::start().expect("a server");
    let (ann, ..) = people(&server);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, first) = (Arc::clone(&asked), server.token(ann));
    let fresh = Arc::new(Mutex::new(first));
    let given = Arc::clone(&fresh);
    let tokens = move |why: TokenReason| -> Result<String, crate::Error> {
        seen.lock().expect("no panic").push(why);
        Ok(given.lock().expect("no panic").clone())
    };
    let app = server.client(ann).tokens(tokens).build().await.expect("a client");
    app.connect().await.expect("online");
    let mut status = app.status();
    server.expire_tokens();
    *fresh.lock().expect("no panic") = server.token(ann);
    status.wait_for(|status| !status.is_online()).await.expect("the session ends");
    status.wait_for(Status::is_online).await.expect("online again");
    assert_eq!(*asked.lock().expect("no panic"), [TokenReason::First, TokenReason::Refused]);
}

#[tokio::test]
async fn a_tunnel_ends_and_nothing_is_lost() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, room) = people(&server);
    let app = server.client(ann).backfill(Backfill::All).build().await.expect("a client");
    app.connect().await.expect("online");
    let mut status = app.status();
    server.set_reachable(false);
    status.wait_for(|status| !status.is_online()).await.expect("it notices");
    server.say(room, ben, "where are you?");
    let sent = app.channel(room).send("in a tunnel").await.expect("stored");
    server.set_reachable(true);
    app.network_changed().await;
    sent.sent().await.expect("sent");
    status.wait_for(Status::is_online).await.expect("online again");
    all_held(&app).await;
    let held = app.channel(room).records(Seq::new(1), Seq::new(9), 9).await.expect("the store");
    assert_eq!(held.iter().filter_map(|record| record.content.text()).collect::<Vec<_>>(), ["where are you?", "in a tunnel"]);
}

#[tokio::test]
async fn in_the_background_no_file_is_held_and_what_is_sent_waits() {
    let server = FakeServer::start().expect("a server");
    let (ann, _, room) = people(&server);
    let folder = tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).await.expect("a store");
    let app = server.client(ann).store(store.clone()).build().await.expect("a client");
    app.connect().await.expect("online");
    app.channel(room).send("one").await.expect("stored").sent().await.expect("sent");
    app.enter_background(Duration::from_secs(30)).await.expect("let go of");
    assert!(is_free(folder.path()));
    assert!(matches!(app.status().get(), Status::Suspended));
    let two = app.channel(room).send("two").await.expect("stored");
    store.park().await.expect("waits for the thread");
    assert!(is_free(folder.path()));
    assert_eq!(server.texts(room), ["one"]);
    app.enter_foreground().await;
    two.sent().await.expect("sent");
    assert_eq!(server.texts(room), ["one", "two"]);
    app.close().await;
    assert!(is_free(folder.path()));
}

#[tokio::test]
async fn a_full_disk_closes_the_client_and_the_next_one_sends_what_was_stored() {
    let server = FakeServer::start().expect("a server");
    let (ann, _, room) = people(&server);
    let folder = tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path()).await.expect("a store");
    let app = server.client(ann).store(store.clone()).build().await.expect("a client");
    app.channel(room).send("stored").await.expect("stored");
    limit_pages(&store, 0).await;
    let error = app.channel(room).send("x".repeat(30_000)).await.map(drop).expect_err("no room");
    assert_eq!((error.code, error.store_trouble()), (Code::DiskFull, Some(StoreTrouble::Full)));
    assert!(matches!(app.status().get(), Status::Closed(Some(_))));
    drop((app, store));
    // Room was made.
    let store = SqliteStore::open(folder.path()).await.expect("a store");
    let app = server.client(ann).store(store).build().await.expect("a client");
    app.connect().await.expect("online");
    app.channel(room).send("after").await.expect("stored").sent().await.expect("sent");
    assert_eq!(server.texts(room), ["stored", "after"]);
}

#[tokio::test]
async fn a_damaged_store_is_healed_by_a_new_sync_and_queued_sends_stand_once() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, room) = people(&server);
    let folder = tempdir().expect("a folder");
    let open = async || SqliteStore::open(folder.path()).await.expect("a store");
    let app = server.client(ann).backfill(Backfill::All).store(open().await).build().await.expect("a client");
    app.connect().await.expect("online");
    for number in 0..20 {
        server.say(room, ben, &format!("said {number}"));
    }
    app.channel(room).send("sent").await.expect("stored").sent().await.expect("sent");
    app.enter_background(Duration::from_secs(30)).await.expect("let go of");
    app.channel(room).send("queued").await.expect("stored");
    app.close().await;
    let file = std::fs::OpenOptions::new().write(true).open(folder.path().join("history.db")).expect("the history");
    file.write_all_at(&[0xff; 4_096], 0).expect("damaged");
    let store = open().await;
    assert!(store.salvage().expect("it is noticed").history_lost);
    let app = server.client(ann).backfill(Backfill::All).store(store).build().await.expect("a client");
    app.connect().await.expect("online");
    app.channel(room).send("last").await.expect("stored").sent().await.expect("sent");
    app.behind().wait_for(|behind| *behind == 0).await.expect("an open client");
    let log = server.texts(room);
    assert_eq!(log[20..], ["sent", "queued", "last"]);
    let until = app.channel(room);
    while until.held().await.expect("the store").is_none_or(|cursor| cursor.max < Seq::new(23)) {
        tokio::task::yield_now().await;
    }
    let held = until.records(Seq::new(1), Seq::new(99), 99).await.expect("the store");
    assert_eq!(held.iter().filter_map(|record| record.content.text()).collect::<Vec<_>>(), log);
}

#[tokio::test]
async fn a_refused_text_is_kept_with_its_reason_until_it_is_sent_anew_or_dropped() {
    let server = FakeServer::start().expect("a server");
    let (ann, _, room) = people(&server);
    let folder = tempdir().expect("a folder");
    let open = async || server.client(ann).store(SqliteStore::open(folder.path()).await.expect("a store")).build().await.expect("a client");
    let app = open().await;
    app.connect().await.expect("online");
    for text in ["one", "two"] {
        server.next(Fault::Refuse(Code::Muted, None));
        app.channel(room).send(text).await.expect("stored").sent().await.expect_err("refused");
    }
    app.channel(room).send("three").await.expect("stored").sent().await.expect("sent");
    app.close().await;

    let app = open().await;
    let failed = app.failed();
    let reasons: Vec<_> =
        failed.iter().map(|echo| (echo.content.text(), matches!(&echo.state, Delivery::Failed(why) if why.code == Code::Muted))).collect();
    assert_eq!(reasons, [(Some("one"), true), (Some("two"), true)]);
    let timeline = app.channel(room).timeline(Anchor::Latest).await.expect("a list");
    let shown = |timeline: &crate::Timeline| timeline.items().items().iter().filter_map(|item| item.text().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(shown(&timeline), ["three", "one", "two"], "refused ones are at the end");
    assert!(matches!(timeline.items().items().last(), Some(TimelineItem::Echo(echo)) if matches!(echo.state, Delivery::Failed(_))));
    let room_of_app = app.channel(room);
    room_of_app.discard(failed[1].id).await.expect("dropped");
    assert_eq!(room_of_app.discard(failed[1].id).await.map_err(|error| error.code), Err(Code::NotFound));
    let again = room_of_app.retry(failed[0].id).await.expect("stored");
    assert_ne!(again.id(), failed[0].id, "its number was used up");
    assert_eq!(shown(&timeline), ["three", "one"]);
    assert!(app.failed().is_empty());
    app.connect().await.expect("online");
    again.sent().await.expect("sent");
    assert_eq!(server.texts(room), ["three", "one"]);
    assert_eq!(again.retry().await.map(drop).map_err(|error| error.code), Err(Code::NotFound), "it stands");
    app.close().await;
    let app = open().await;
    assert!(app.failed().is_empty() && app.outbox().items().is_empty());
    app.close().await;
}

#[tokio::test]
async fn what_is_discarded_before_it_was_sent_never_stands_and_what_was_too_far_is_shown() {
    let server = FakeServer::start().expect("a server");
    let (ann, _, room) = people(&server);
    let folder = tempdir().expect("a folder");
    let open = async || server.client(ann).store(SqliteStore::open(folder.path()).await.expect("a store")).build().await.expect("a client");
    let app = open().await;
    let mut queued = Vec::new();
    for text in ["one", "two", "three"] {
        queued.push(app.channel(room).send(text).await.expect("stored"));
    }
    queued[1].discard().await.expect("given up");
    assert_eq!(app.outbox().items().len(), 2, "it is out of the lists at once");
    app.close().await;
    // It is remembered.
    let app = open().await;
    app.connect().await.expect("online");
    app.channel(room).send("four").await.expect("stored").sent().await.expect("sent");
    assert_eq!(server.texts(room), ["one", "three", "four"]);

    // Its answer is lost: when it is given up, it stands already.
    server.next(Fault::LoseAnswer);
    let far = app.channel(room).send("five").await.expect("stored");
    far.state().wait_for(|state| !matches!(state, Delivery::Queued)).await.expect("an open client");
    let discarded = far.discard().await;
    let end = far.done().await;
    match discarded {
        // Before it was sent, or while it was on its way.
        Ok(()) => assert!(end.is_ok() || end.is_err_and(|error| error.code == Code::Voided)),
        Err(error) => assert_eq!((error.code, end.is_ok()), (Code::NotFound, true)),
    }
    let stands = server.texts(room).iter().any(|text| text == "five");
    app.channel(room).send("six").await.expect("stored").sent().await.expect("sent");
    assert_eq!(server.texts(room).iter().any(|text| text == "five"), stands, "it does not come later");
    app.close().await;
}

#[tokio::test]
async fn a_search_finds_what_is_held_and_what_is_not_each_once_and_says_who_did_not_answer() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, room) = people(&server);
    for number in 0..40 {
        server.say(room, ben, &format!("harbour {number}"));
    }
    let app = server.client(ann).backfill(Backfill::Recent(10)).build().await.expect("a client");
    app.connect().await.expect("online");
    all_held(&app).await;
    while app.find_here("harb").await.expect("the store").len() < 10 {
        tokio::task::yield_now().await;
    }
    let found = app.find("harbour").await.expect("found");
    let seqs: Vec<_> = found.hits.iter().map(|hit| hit.spot.seq.get()).collect();
    assert_eq!(seqs, (1..=40).rev().collect::<Vec<_>>());
    assert!(found.unanswered.is_none() && found.next.is_none());
    let mut narrow = crate::wire::search::SearchQuery::from("HARBOUR");
    narrow.limit = 3;
    narrow.sender = Some(ben);
    assert_eq!(app.find_here(narrow).await.expect("the store").len(), 3);

    server.next(Fault::Refuse(Code::NotAllowed, None));
    let found = app.find("harbour").await.expect("what is here");
    assert_eq!(found.unanswered.map(|error| error.code), Some(Code::NotAllowed));
    assert!(found.hits.len() >= 10 && found.hits.len() < 40);
    app.close().await;
    assert!(app.find_here("harbour 39").await.is_ok_and(|hits| hits.len() == 1), "offline");
}

#[tokio::test]
async fn a_screen_shows_who_types_until_they_have_said_it_and_the_app_hears_what_the_client_does() {
    let server = FakeServer::start().expect("a server");
    let (ann, ben, room) = people(&server);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let logger = move |line: &crate::LogRecord| seen.lock().expect("no panic").push(line.text.clone());
    let anns = server.client(ann).heartbeat(NEVER).logger(logger).build().await.expect("a client");
    let bens = server.client(ben).heartbeat(NEVER).build().await.expect("a client");
    anns.connect().await.expect("online");
    bens.connect().await.expect("online");
    bens.channel(room).send("hello").await.expect("stored").sent().await.expect("sent");
    let mut typists = anns.channel(room).typists();
    bens.channel(room).typing().await.expect("told");
    typists.wait_for(|users| *users == [ben]).await.expect("an open client");
    bens.channel(room).send("ann?").await.expect("stored").sent().await.expect("sent");
    typists.wait_for(Vec::is_empty).await.expect("an open client");
    let mut status = anns.status();
    server.set_reachable(false);
    status.wait_for(|status| !status.is_online()).await.expect("it notices");
    anns.channel(room).typing().await.expect("a hint: it is dropped, and no error");
    anns.close().await;
    assert!(lines.lock().expect("no panic").iter().any(|line| line.starts_with("the session ended, will resume")), "{lines:?}");
}
