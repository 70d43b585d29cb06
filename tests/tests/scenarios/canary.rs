//! Canaries: what people write, their names, passwords and tokens, and the keys of webhooks stand in no log, span or metric, at any level.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use kith_client::{Backfill, Client, Door, NewChannel, Post, ProfileChange};
use kith_tests::Cluster;
use kith_wire::{
    id::{Seq, Timestamp},
    log::SavedDraft,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

/// Each canary has this in it, and nothing else in the program has.
const SONG: &str = "tweetquux";

/// Every event and span of ours in which a canary sings.
#[derive(Clone, Default)]
struct Mine {
    heard: Arc<Mutex<Vec<String>>>,
    looked_at: Arc<Mutex<u64>>,
}

struct Fields<'m>(&'m Mine, &'static str);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        *self.0.looked_at.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        if text.to_lowercase().contains(SONG) {
            self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} {}={text}", self.1, field.name()));
        }
    }
}

impl<S: Subscriber> Layer<S> for Mine {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Fields(self, event.metadata().target()));
    }
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attributes.record(&mut Fields(self, attributes.metadata().target()));
    }
    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Fields(self, "span"));
    }
}

async fn person(c: &Cluster, door: &Door, name: &str, password: &str) -> Client {
    let login = door.sign_up(name, password, format!("{SONG} phone").as_str()).await.expect("signs up").login;
    let client = Client::builder(c.address(1)).login(login).trust(c.trust()).backfill(Backfill::All).build().await.expect("a client");
    client.connect().await.expect("connects");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_name_password_token_or_key_stands_in_a_log_a_span_or_a_metric() {
    let mine = Mine::default();
    // Everything there is, of whatever level.
    tracing_subscriber::registry().with(mine.clone()).try_init().expect("the first one");
    let mut c = Cluster::start(3).await;
    let door = Door::new(&[c.address(1).to_owned()], c.trust()).expect("a socket");
    let password = format!("{SONG} horse");
    let (ann, bob) = (person(&c, &door, &format!("{SONG}ann"), &password).await, person(&c, &door, &format!("{SONG}bob"), &password).await);
    // What is refused is logged most.
    assert!(door.log_in(&format!("{SONG}ann"), "wrong tweetquux horse", "x").await.is_err());
    assert!(door.sign_up(&format!("{SONG}ann"), password.as_str(), "x").await.is_err());
    assert!(door.reset_password(&format!("{SONG}ann"), "TWEETQUUX-CODE", password.as_str()).await.is_err());

    let group = ann.create_channel(NewChannel::group(format!("{SONG} group")).members([bob.me()])).await.expect("made");
    let said = group.send(format!("{SONG} text")).await.expect("queued").sent().await.expect("sent");
    let long = format!("{SONG} {}", "x".repeat(6_000));
    group.send(long).await.expect("queued").sent().await.expect("sent");
    group.edit(said.seq(), format!("{SONG} edit")).await.expect("queued").done().await.expect("edited");
    group.describe(Some(format!("{SONG} title")), Some(format!("{SONG} about"))).await.expect("queued").done().await.expect("described");
    let _ = group.schedule(Timestamp::new(u64::MAX), Post::new(format!("{SONG} later"))).await;
    let draft = SavedDraft { text: format!("{SONG} draft"), reply_to: None, at: Timestamp::new(1) };
    c.wait_for("it is in the list", async || group.preferences().save_draft(draft.clone()).await.is_ok()).await;
    let profile = ProfileChange { display: Some(format!("{SONG} display")), about: Some(format!("{SONG} about")), ..ProfileChange::default() };
    ann.contacts().set_profile(profile).await.expect("changed");
    let _ = bob.contacts().find(SONG).await;
    c.wait_for("bob finds it", async || bob.search(SONG).await.is_ok_and(|page| !page.hits.is_empty())).await;
    assert!(bob.search(format!("{SONG} ").repeat(17).as_str()).await.is_err());
    bob.channel(group.id()).report(said.seq(), format!("{SONG} reason")).await.expect("reported");
    let _ = bob.channel(group.id()).send("").await;
    c.wait_for("bob has all of it", async || {
        bob.channel(group.id()).records(Seq::new(1), Seq::new(9), 9).await.is_ok_and(|records| records.len() >= 5)
    })
    .await;
    // What fails is logged too.
    c.kill(3).await;
    c.wait_ready().await;
    group.send(format!("{SONG} after a death")).await.expect("queued").sent().await.expect("sent");
    let _ = bob.account().delete(password.as_str()).await;
    c.wait_for("he is gone", async || bob.status().get().is_closed()).await;

    for node in c.running() {
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, c.node(node).registry()).expect("encodes");
        assert!(!metrics.to_lowercase().contains(SONG), "a canary stands in the metrics of node {node}");
    }
    let heard = mine.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(heard.is_empty(), "canaries that sang:\n{}", heard.join("\n"));
    assert!(*mine.looked_at.lock().unwrap_or_else(PoisonError::into_inner) > 100, "nothing was logged at all");
    c.finish().await;
}
