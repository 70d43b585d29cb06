//! W12: people whose device comes and goes, somebody who writes to them, a fake provider that takes what is pushed, and another device that reads now and then.
//!
//! In: accounts, each with a room of their own and a device that is pushed to. Out: `push_here` when the device is connected or has left, `push_said` for each text that was
//! acked, `push_read` when the other device has read, `push_event` as pushes come, `push_end` when what was to come has come or the time for it is over. Invariants: a
//! device is only said to be here while its client says so itself; nothing is said after the end. Bounds: one operation at a time of each person. Not here: judging.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::{Json, Router, http::StatusCode, routing::post};
use kith_client::wire::base64;
use kith_client::wire::id::Seq;
use kith_client::wire::log::PushTarget;
use kith_client::wire::push::{PushAbout, PushPayload};
use kith_client::wire::secret::Secret;
use kith_client::{Backfill, Client, MemoryStore};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Account, Audit, Bench, Loads, PREPARE_WITHIN, Phase, Room, reached, sender, text};
use crate::history::PushStep;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// People who are pushed to.
const PEOPLE: usize = 4;
/// How long after the load a push may come: the wait, a minute since the last one, the grace of a new leader, and some failures.
const LATE_MAX: Duration = Duration::from_secs(150);
/// For a request that has to be answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Post {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    kith: String,
}

/// The highest position that was pushed.
type Told = Arc<Mutex<u64>>;

/// One of them.
struct Person {
    account: Account,
    room: Room,
    told: Told,
    voice: Arc<Voice>,
    /// Of the device that is pushed to.
    device: MemoryStore,
    /// Of the other one.
    other: MemoryStore,
}

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let writer = bench.account("push-writer").await?;
    let mut people = BTreeMap::new();
    let mut rooms = Vec::new();
    for n in 0..PEOPLE {
        let account = bench.account(&format!("push-{n}")).await?;
        let room = bench.rooms(&writer, &[account.user], [format!("push-room-{n}")]).await?.pop().context("a room")?;
        rooms.push(room.clone());
        let voice = Arc::new(Voice::new(&bench.recorder, &account.name, &account.name, None));
        people.insert(account.user, Person { account, room, told: Told::default(), voice, device: MemoryStore::new(0), other: MemoryStore::new(0) });
    }
    let listener = TcpListener::bind((bench.lab.clients.address, 0)).await.context("listening for pushes")?;
    let url = format!("http://{}/", listener.local_addr().context("listening for pushes")?);
    let app = provider(people.iter().map(|(user, person)| (*user, (person.room.clone(), person.told.clone(), person.voice.clone()))).collect());
    let (ended, all_ended) = watch::channel(0_usize);
    let ended = Arc::new(ended);
    for (n, person) in people.into_values().enumerate() {
        register(bench, &person, &url).await?;
        loads.spawn(run(Arc::clone(bench), person, writer.clone(), n, Arc::clone(&ended), loads.phase.clone()));
    }
    loads.spawn(async move {
        let mut all_ended = all_ended;
        tokio::select! {
            served = axum::serve(listener, app) => served.context("taking pushes"),
            _ = all_ended.wait_for(|count| *count >= PEOPLE) => Ok(()),
        }
    });
    Ok(Audit { reader: writer, rooms })
}

/// Has the device of a person pushed to here.
async fn register(bench: &Bench, person: &Person, url: &str) -> anyhow::Result<()> {
    let client = bench.client(&person.account, 0, Backfill::Off)?.store(person.device.clone()).request_timeout(PREPARE_WITHIN).build().await?;
    timeout(PREPARE_WITHIN, client.connect()).await.context("connecting a device")??;
    let key = Secret::new(base64::write_url(&[7; 32]));
    client.register_push(PushTarget::Webhook { url: Secret::new(url), key }).await.context("registering a device")?;
    client.close().await;
    Ok(())
}

fn provider(people: BTreeMap<kith_client::wire::id::UserId, (Room, Told, Arc<Voice>)>) -> Router {
    let people = Arc::new(people);
    let take = move |Json(Post { data }): Json<Post>| {
        if let Ok(PushPayload { user, about: PushAbout::Grown { channel, seq, .. }, .. }) = PushPayload::decode_text(&data.kith)
            && let Some((room, told, voice)) = people.get(&user)
            && room.id == channel
        {
            voice.happened(record::push(&room.name, PushStep::Came(seq.get())));
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            *told = (*told).max(seq.get());
        }
        std::future::ready(StatusCode::NO_CONTENT)
    };
    Router::new().route("/", post(take))
}

async fn run(
    bench: Arc<Bench>,
    person: Person,
    writer: Account,
    n: usize,
    ended: Arc<watch::Sender<usize>>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x9054_0000 + n as u64));
    let author = bench.client(&writer, n, Backfill::Off)?.build().await?;
    let _ = timeout(Duration::from_secs(5), author.connect()).await;
    let writing = Voice::new(&bench.recorder, &writer.name, &format!("{}-{n}", writer.name), None);
    let say = |step| person.voice.happened(record::push(&person.room.name, step));
    say(PushStep::Here(false));
    let (mut number, mut last) = (0_u64, 0_u64);
    loop {
        // Away: something is said, and read on another device now and then.
        for _ in 0..chance.within(1, 5) {
            number += 1;
            if let Some(seq) = write(&author, &writing, &person, next_text(&person, number, &mut chance)).await {
                last = last.max(seq);
                say(PushStep::Said(seq));
            }
            if chance.within(0, 4) == 0 && last > 0 && read_elsewhere(&bench, &person, n, last).await {
                say(PushStep::Read(last));
            }
            let pause = bench.pause(&mut chance, 500, 12_000);
            tokio::select! {
                () = reached(&mut phase, Phase::Stopped) => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if *phase.borrow() >= Phase::Stopped {
            break;
        }
        // Here: it gets what it has missed, and is not pushed to as long as its client says that it is connected.
        let stay = bench.pause(&mut chance, 2_000, 40_000);
        be_here(&bench, &person, n, stay, &say, &mut phase).await?;
        say(PushStep::Here(false));
        if *phase.borrow() >= Phase::Stopped {
            break;
        }
    }
    // The last word is said when nothing breaks any more.
    number += 1;
    if let Some(seq) = write(&author, &writing, &person, next_text(&person, number, &mut chance)).await {
        say(PushStep::Said(seq));
        let deadline = Instant::now() + LATE_MAX;
        while *person.told.lock().unwrap_or_else(PoisonError::into_inner) < seq && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    say(PushStep::End);
    author.close().await;
    ended.send_modify(|count| *count += 1);
    Ok(())
}

/// The name and the words of what is said to a person next.
fn next_text(person: &Person, number: u64, chance: &mut Chance) -> (String, String) {
    let name = format!("{}-said-{number}", person.account.name);
    let words = text::make(&name, chance);
    (name, words)
}

/// Says something to a person. What is not answered is not known to stand anywhere.
async fn write(author: &Client, writing: &Voice, person: &Person, (name, words): (String, String)) -> Option<u64> {
    timeout(ANSWERED_WITHIN, sender::send(author, writing, &person.room, &name, words)).await.ok()?.map(|at| at.seq.get())
}

/// Another device of theirs, without a stream of its own for long, reads all.
async fn read_elsewhere(bench: &Bench, person: &Person, n: usize, seq: u64) -> bool {
    let Ok(builder) = bench.client(&person.account, n + 1, Backfill::Off) else { return false };
    let Ok(client) = builder.store(person.other.clone()).build().await else { return false };
    let read = async {
        client.connect().await.ok()?;
        let records = client.channel(person.room.id).whole_history(None, Seq::new(seq)).await.ok()?;
        let at = records.iter().find(|record| record.at.seq.get() == seq)?.at;
        client.channel(person.room.id).mark_read_at(at).await.ok()
    };
    let is_read = timeout(ANSWERED_WITHIN, read).await.is_ok_and(|read| read.is_some());
    client.close().await;
    is_read
}

/// Holds a session for so long, and says whether it stands.
async fn be_here(
    bench: &Bench,
    person: &Person,
    n: usize,
    stay: Duration,
    say: &impl Fn(PushStep),
    phase: &mut watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let client = bench.client(&person.account, n, Backfill::Off)?.store(person.device.clone()).build().await?;
    let mut status = client.status();
    let until = Instant::now() + stay;
    let _ = timeout(stay, client.connect()).await;
    let mut is_here = false;
    loop {
        let now = status.get().is_online();
        if now != is_here {
            is_here = now;
            say(PushStep::Here(now));
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => break,
            () = reached(phase, Phase::Stopped) => break,
            changed = status.changed() => if changed.is_none() { break },
        }
    }
    // Before it goes: from here on it may be pushed to.
    say(PushStep::Here(false));
    client.close().await;
    Ok(())
}
