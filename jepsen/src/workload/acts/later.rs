//! Texts that are to be sent a few seconds later, some of them taken back before.
//!
//! In: a room and its members. Out: `later_set` and `later_cancel`, `ok` only when the server acked them; `later_get` when all times have passed: how often each text is
//! there. Bounds: [`WAITING_MAX`] texts of each user wait at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kith_client::wire::id::{Seq, Timestamp};
use kith_client::{Backfill, Client, Done, Post};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::{Account, Bench, Loads, Phase, Room, reached};
use crate::history::Outcome;
use crate::record::{self, Voice, unix_ms};
use crate::seed::Chance;

/// Texts of one user that wait.
const WAITING_MAX: usize = 8;
/// Latest time of a text, from when it is asked for.
const DUE_MS_MAX: u64 = 6_000;
/// How long after its time a text may come, when all is healed.
const LATE_MAX: Duration = Duration::from_secs(30);

/// What was asked for: a name, and whether it must come: it was acked, and nobody has tried to take it back.
type Asked = Arc<Mutex<BTreeMap<String, bool>>>;

pub(super) fn start(bench: &Arc<Bench>, loads: &mut Loads, accounts: &[Account], room: &Room) {
    let asked: Asked = Arc::default();
    for (n, account) in accounts.iter().enumerate() {
        let phase = loads.phase.clone();
        loads.spawn(ask(Arc::clone(bench), account.clone(), n, room.clone(), Arc::clone(&asked), phase));
    }
}

async fn ask(bench: Arc<Bench>, account: Account, n: usize, room: Room, asked: Asked, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x1a7e_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("later-{n}"), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut waiting: Vec<(u64, String, u64)> = Vec::new();
    let mut number = 0_u64;
    loop {
        let (after, takes_back) = (chance.within(300, DUE_MS_MAX), chance.percent(20));
        let pause = bench.pause(&mut chance, 250, 600);
        waiting.retain(|(due, ..)| *due + 2_000 > unix_ms());
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                if takes_back && let Some((_, name, id)) = waiting.pop() {
                    note(&asked, &name, false);
                    take_back(&client, &voice, &room, &name, id).await;
                } else if waiting.len() < WAITING_MAX {
                    let name = format!("later-{}-{number}", account.name);
                    number += 1;
                    note(&asked, &name, false);
                    let due = unix_ms() + after;
                    if let Some(id) = set(&client, &voice, &room, &name, due).await {
                        note(&asked, &name, true);
                        waiting.push((due, name, id));
                    }
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    if n == 0 {
        settle(&client, &voice, &room, &asked).await;
    }
    client.close().await;
    Ok(())
}

fn note(asked: &Asked, name: &str, must_come: bool) {
    asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), must_come);
}

async fn set(client: &Client, voice: &Voice, room: &Room, name: &str, due: u64) -> Option<u64> {
    let op = || record::later_set(&room.name, name);
    let token = voice.begin(op());
    let done = match client.channel(room.id).schedule(Timestamp::new(due), Post::new(name)).await {
        Ok(outgoing) => outgoing.done().await,
        Err(error) => {
            voice.end(token, Outcome::Fail { is_final: false }, op(), Some(error.to_string()));
            return None;
        }
    };
    match done {
        Ok(done) => {
            voice.end(token, Outcome::Ok, op(), None);
            if let Done::Kept(id) = done { Some(id) } else { None }
        }
        Err(error) => {
            let outcome = if error.is_final() { Outcome::Fail { is_final: true } } else { Outcome::Info };
            voice.end(token, outcome, op(), Some(error.to_string()));
            None
        }
    }
}

async fn take_back(client: &Client, voice: &Voice, room: &Room, name: &str, id: u64) {
    let op = || record::later_cancel(&room.name, name);
    let token = voice.begin(op());
    let done = match client.channel(room.id).unschedule(id).await {
        Ok(outgoing) => outgoing.done().await,
        Err(error) => return voice.end(token, Outcome::Fail { is_final: false }, op(), Some(error.to_string())),
    };
    match done {
        Ok(_) => voice.end(token, Outcome::Ok, op(), None),
        Err(error) if error.is_final() => voice.end(token, Outcome::Fail { is_final: true }, op(), Some(error.to_string())),
        Err(error) => voice.end(token, Outcome::Info, op(), Some(error.to_string())),
    }
}

/// Waits until every time has passed and what was to come has come, or the time for it is over; then counts.
async fn settle(client: &Client, voice: &Voice, room: &Room, asked: &Asked) {
    // What others had under way when the load stopped may still be logged.
    tokio::time::sleep(Duration::from_millis(DUE_MS_MAX)).await;
    let deadline = Instant::now() + LATE_MAX;
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut before = 0;
    let counts = loop {
        let counts = client.channel(room.id).whole_history(None, Seq::ZERO).await.map(|records| {
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for name in records.iter().filter_map(|record| record.content.text()) {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
            counts
        });
        let is_over = Instant::now() >= deadline;
        match counts {
            // All that must come is there, or nothing has come for a while.
            Ok(counts) if is_over || asked.iter().all(|(name, must_come)| !must_come || counts.contains_key(name)) => break counts,
            Ok(counts) if counts.len() == before && Instant::now() + LATE_MAX / 2 >= deadline => break counts,
            Ok(counts) => before = counts.len(),
            Err(_) if is_over => return,
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    for name in asked.keys() {
        let op = |count| record::later_get(&room.name, name, count);
        let token = voice.begin(op(None));
        voice.end(token, Outcome::Ok, op(Some(counts.get(name).copied().unwrap_or(0))), None);
    }
}
