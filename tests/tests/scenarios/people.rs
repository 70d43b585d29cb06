//! People over whole clusters: the conversation list on all devices, contacts, blocks, profiles and the search for users.

use kith_client::{Client, ProfileChange};
use kith_tests::{Cluster, Device};
use kith_wire::{
    code::Code,
    id::{Seq, Timestamp},
    log::{Position, SavedDraft},
    people::ContactState,
};

fn code<T>(outcome: Result<T, kith_client::Error>) -> Option<Code> {
    outcome.err().map(|error| error.code)
}

async fn state(client: &Client, of: &Device) -> Option<ContactState> {
    client.contacts().list().await.ok()?.into_iter().find(|contact| contact.user == of.user()).map(|contact| contact.state)
}

async fn found(client: &Client, prefix: &str) -> Vec<String> {
    client.contacts().find(prefix).await.expect("searched").into_iter().map(|profile| profile.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_pinned_muted_archived_and_drafted_on_all_devices_and_comes_back_with_a_text() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    let phone = c.client("ann").await;
    c.room("general", &bob, &[&ann]).await;
    bob.send("general", "hello").await;
    c.wait_device(&ann, "general").await;
    let list = ann.channel("general").preferences();
    let row = async || phone.client().channels().await.expect("listed").into_iter().find(|summary| summary.row.news.title == "general");
    c.wait_for("it is in the list", async || row().await.is_some()).await;
    list.pin(true).await.expect("pinned");
    list.mute(Some(Timestamp::new(u64::MAX))).await.expect("muted");
    list.save_draft(SavedDraft { text: "not yet".into(), reply_to: Some(Seq::new(1)), at: Timestamp::new(5) }).await.expect("kept");
    c.wait_for("the phone has it", async || {
        row().await.is_some_and(|summary| {
            let held = &summary.row.preferences;
            held.pinned.is_some() && held.muted.is_some() && held.draft.as_ref().is_some_and(|draft| draft.text == "not yet")
        })
    })
    .await;
    let long = SavedDraft { text: "x".repeat(2_001), ..SavedDraft::default() };
    assert_eq!(code(list.save_draft(long).await), Some(Code::TooLarge));
    assert_eq!(
        code(ann.client().channel(c.channel_of("general")).preferences().clear(Position { seq: Seq::new(99), cnt: 1 }).await),
        Some(Code::Invalid)
    );

    list.mute(None).await.expect("heard again");
    list.archive(true).await.expect("archived");
    let shown = async |archived| phone.client().conversations(archived, Timestamp::new(1)).await.expect("listed").len();
    c.wait_for("it is out of the list", async || (shown(false).await, shown(true).await) == (0, 1)).await;
    bob.send("general", "still there?").await;
    c.wait_for("it is back", async || (shown(false).await, shown(true).await) == (1, 0)).await;
    let head = row().await.expect("listed").row.news.head;
    list.clear(head).await.expect("cleared");
    c.wait_for("nothing is unread", async || row().await.is_some_and(|summary| summary.unread == 0)).await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_those_who_both_asked_and_who_is_blocked_hears_nothing_of_it() {
    let c = Cluster::start(3).await;
    let (ann, bob, eve) = (c.client("ann").await, c.client("bob").await, c.client("eve").await);
    let (a, b, e) = (ann.client(), bob.client(), eve.client());
    a.contacts().request(bob.user()).await.expect("asked");
    c.wait_for("bob is asked", async || state(b, &ann).await == Some(ContactState::Asking)).await;
    assert_eq!(state(a, &bob).await, Some(ContactState::Asked));
    b.contacts().request(ann.user()).await.expect("accepted");
    c.wait_for("they are contacts", async || {
        (state(a, &bob).await, state(b, &ann).await) == (Some(ContactState::Mutual), Some(ContactState::Mutual))
    })
    .await;
    assert_eq!(code(a.contacts().request(ann.user()).await), Some(Code::Invalid), "oneself");
    assert_eq!(code(a.contacts().request(kith_wire::id::UserId::new(5)).await), Some(Code::NoSuchUser));

    // Requests that cross agree.
    tokio::join!(async { a.contacts().request(eve.user()).await.expect("asked") }, async { e.contacts().request(ann.user()).await.expect("asked") });
    c.wait_for("both are contacts", async || {
        (state(a, &eve).await, state(e, &ann).await) == (Some(ContactState::Mutual), Some(ContactState::Mutual))
    })
    .await;

    eve.direct("talk", ann.user());
    eve.send("talk", "before").await;
    c.wait_for("ann has it", async || {
        ann.client().channels().await.is_ok_and(|list| list.iter().any(|summary| summary.row.news.preview == "before"))
    })
    .await;
    a.contacts().block(eve.user()).await.expect("blocked");
    assert_eq!(state(a, &eve).await, Some(ContactState::Blocked));
    assert_eq!(code(a.contacts().request(eve.user()).await), Some(Code::NotAllowed));
    eve.send("talk", "after").await;
    bob.direct("other", ann.user());
    bob.send("other", "a later text").await;
    c.wait_for("ann hears of bob", async || {
        ann.client().channels().await.is_ok_and(|list| list.iter().any(|summary| summary.row.news.preview == "a later text"))
    })
    .await;
    let list = ann.client().channels().await.expect("listed");
    assert!(list.iter().all(|summary| summary.row.news.preview != "after"), "and nothing of eve");
    c.wait_for("eve sees a contact that has gone", async || state(e, &ann).await == Some(ContactState::Asked)).await;
    a.contacts().unblock(eve.user()).await.expect("heard again");
    eve.send("talk", "at last").await;
    c.wait_for("ann hears of eve", async || {
        ann.client().channels().await.is_ok_and(|list| list.iter().any(|summary| summary.row.news.preview == "at last"))
    })
    .await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_by_any_word_of_their_name_unless_they_do_not_want_to_be() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann42").await, c.client("bob").await);
    let b = bob.client();
    let change =
        ProfileChange { display: Some("Ann-Marie 山田".into()), fields: vec![("city".into(), "Delft".into())], ..ProfileChange::default() };
    ann.client().contacts().set_profile(change).await.expect("set");
    for prefix in ["ann4", "MAR", "山"] {
        c.wait_for(prefix, async || found(b, prefix).await == ["ann42"]).await;
    }
    let profile = &b.contacts().profiles(vec![ann.user()]).await.expect("shown")[0];
    assert_eq!((profile.display.as_str(), profile.fields[0].value.as_str()), ("Ann-Marie 山田", "Delft"));
    let forged = ProfileChange { display: Some("a\u{202e}b".into()), ..ProfileChange::default() };
    assert_eq!(code(ann.client().contacts().set_profile(forged).await), Some(Code::Invalid));

    ann.client().contacts().set_profile(ProfileChange { searchable: Some(false), ..ProfileChange::default() }).await.expect("set");
    assert!(found(b, "ann4").await.is_empty(), "at once");
    ann.client()
        .contacts()
        .set_profile(ProfileChange { searchable: Some(true), display: Some(String::new()), ..ProfileChange::default() })
        .await
        .expect("set");
    c.wait_for("found again", async || found(b, "ann4").await == ["ann42"]).await;
    assert!(found(b, "mar").await.is_empty(), "not by a word that is gone");
    c.finish().await;
}
