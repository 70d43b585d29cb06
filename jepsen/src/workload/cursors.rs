//! W6: a user's read position, moved and asked for by several of their devices at once.
//!
//! In: records that one sender makes, in the last room texts that are edited and taken away as well. Out: `cursor_set`, `ok` only when the server acked it, and `cursor_get`:
//! linearizable ones from the user's home, plain ones from what the device itself was told, and final ones of both kinds; in the end `unread_get`: what the device shows, and
//! a recount of its log. Bounds: one operation at a time per device. Not here: judging.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kith_client::wire::client::{IndexQuery, Page, Pull};
use kith_client::wire::id::{Seq, UserRev};
use kith_client::wire::limit::PAGE_ROWS_MAX;
use kith_client::wire::log::{IndexRow, Position};
use kith_client::{Backfill, Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Account, Audit, Bench, Loads, Phase, Room, reached, sender, text};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Users.
const USERS: usize = 2;
/// Devices of each.
const DEVICES: usize = 3;
/// Channels.
const ROOMS: usize = 3;
/// Texts of the last room, of the newest, that are edited and taken away.
const CHANGED_MAX: u64 = 20;
/// How long a device may take to be told, in the end, where its user is.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Tries of the last question.
const LAST_TRIES: u32 = 20;

/// What was sent: positions that may be set.
type Sent = Arc<Mutex<Vec<Vec<Position>>>>;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..USERS {
        accounts.push(bench.account(&format!("cursors-{n}")).await?);
    }
    let sender = bench.account("cursors-sender").await?;
    let users: Vec<_> = accounts.iter().chain([&sender]).map(|account| account.user).collect();
    let names = (0..ROOMS).map(|n| format!("cursors-{n}")).chain(["cursors-edits".to_owned()]);
    let rooms = Arc::new(bench.rooms(&sender, &users, names).await?);
    let sent: Sent = Arc::new(Mutex::new(vec![Vec::new(); rooms.len()]));
    loads.spawn(edit(Arc::clone(bench), sender.clone(), rooms[ROOMS].clone(), Arc::clone(&sent), phase.clone()));
    loads.spawn(send(Arc::clone(bench), sender.clone(), Arc::clone(&rooms), Arc::clone(&sent), phase.clone()));
    for (n, account) in accounts.into_iter().enumerate() {
        for m in 0..DEVICES {
            loads.spawn(device(Arc::clone(bench), account.clone(), n * DEVICES + m, Arc::clone(&rooms), Arc::clone(&sent), phase.clone()));
        }
    }
    // What is edited is no send of the history: nobody compares it with what was sent.
    Ok(Audit { reader: sender, rooms: rooms[..ROOMS].to_vec() })
}

async fn send(bench: Arc<Bench>, account: Account, rooms: Arc<Vec<Room>>, sent: Sent, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0xc045_0000);
    let client = bench.client(&account, 0, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &account.name, &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut number = 0_u64;
    loop {
        let at = chance.within(0, ROOMS as u64 - 1) as usize;
        let name = format!("{}-{number}", account.name);
        number += 1;
        let text = text::make(&name, &mut chance);
        let pause = bench.pause(&mut chance, 40, 120);
        tokio::select! {
            // What is not answered by then stays without an end.
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                if let Some(position) = sender::send(&client, &voice, &rooms[at], &name, text).await {
                    sent.lock().unwrap_or_else(PoisonError::into_inner)[at].push(position);
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

/// Texts, edits and deletions in a room of their own.
async fn edit(bench: Arc<Bench>, account: Account, room: Room, sent: Sent, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0xc047_0000);
    let client = bench.client(&account, 1, Backfill::Off)?.build().await?;
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let channel = client.channel(room.id);
    loop {
        let (kind, back) = (chance.within(1, 100), chance.within(0, CHANGED_MAX - 1) as usize);
        let target = {
            let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            sent[ROOMS].iter().rev().nth(back).map(|position| position.seq)
        };
        let pause = bench.pause(&mut chance, 100, 300);
        tokio::select! {
            // What is not answered by then may be done or not: nothing here depends on it.
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                let begun = match (kind, target) {
                    (..=25, Some(target)) => channel.edit(target, format!("edited {kind}")).await,
                    (26..=40, Some(target)) => channel.delete(target).await,
                    _ => channel.send(format!("a text {kind}")).await,
                };
                if let Ok(outgoing) = begun {
                    let is_text = kind > 40 || target.is_none();
                    if let Ok(message) = outgoing.sent().await
                        && is_text
                    {
                        sent.lock().unwrap_or_else(PoisonError::into_inner)[ROOMS].push(message.at);
                    }
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

async fn device(
    bench: Arc<Bench>,
    account: Account,
    n: usize,
    rooms: Arc<Vec<Room>>,
    sent: Sent,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0xc046_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Recent(1))?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("{}-device-{n}", account.name), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        let at = chance.within(0, rooms.len() as u64 - 1) as usize;
        let kind = chance.within(1, 100);
        let position = pick(&sent, at, &mut chance);
        let pause = bench.pause(&mut chance, 40, 120);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                match (kind, position) {
                    (..=45, Some(position)) => set(&client, &voice, &rooms[at], position).await,
                    (46..=75, _) => ask(&client, &voice, &rooms[at], false).await.map_or((), drop),
                    _ => shown(&client, &voice, &rooms[at], false).await.map_or((), drop),
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    settle(&client, &voice, &rooms).await;
    client.close().await;
    Ok(())
}

/// A recent position, or any: the largest must win whatever comes last.
fn pick(sent: &Sent, at: usize, chance: &mut Chance) -> Option<Position> {
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let all = sent[at].as_slice();
    let recent = &all[all.len().saturating_sub(5)..];
    let from = if chance.percent(70) { recent } else { all };
    (!from.is_empty()).then(|| *chance.one_of(from))
}

async fn set(client: &Client, voice: &Voice, room: &Room, position: Position) {
    let op = || record::cursor_set(&room.name, position.seq.get());
    let token = voice.begin(op());
    match client.channel(room.id).mark_read_at(position).await {
        Ok(()) => voice.end(token, Outcome::Ok, op(), None),
        Err(error) => voice.end(token, Outcome::Info, op(), Some(error.to_string())),
    }
}

/// Where the user's home says that they are.
async fn ask(client: &Client, voice: &Voice, room: &Room, is_final: bool) -> Option<u64> {
    let token = voice.begin(record::cursor_get(&room.name, None, true, is_final));
    let query = IndexQuery { from: UserRev::ZERO, to: UserRev::new(u64::MAX), below: None, limit: PAGE_ROWS_MAX as u32, linearizable: true };
    let rows = match client.pull(Pull::Index(query)).await {
        Ok(Page::Index { rows, .. }) => Ok(rows),
        Ok(_) => Err("a page of another kind".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    told(voice, token, room, true, is_final, rows)
}

/// Where this device shows that they are.
async fn shown(client: &Client, voice: &Voice, room: &Room, is_final: bool) -> Option<u64> {
    let token = voice.begin(record::cursor_get(&room.name, None, false, is_final));
    let rows = client.channels().await.map(|all| all.into_iter().map(|summary| summary.row).collect());
    told(voice, token, room, false, is_final, rows.map_err(|error: Error| error.to_string()))
}

fn told(voice: &Voice, token: u64, room: &Room, is_linearizable: bool, is_final: bool, rows: Result<Vec<IndexRow>, String>) -> Option<u64> {
    match rows {
        Ok(rows) => {
            // A device without the row has not been told anything yet.
            let Some(position) = rows.iter().find(|row| row.news.channel == room.id).map(|row| row.read.seq.get()) else {
                let op = record::cursor_get(&room.name, None, is_linearizable, is_final);
                voice.end(token, Outcome::Fail { is_final: false }, op, Some("no row yet".to_owned()));
                return None;
            };
            voice.end(token, Outcome::Ok, record::cursor_get(&room.name, Some(position), is_linearizable, is_final), None);
            Some(position)
        }
        Err(error) => {
            voice.end(token, Outcome::Fail { is_final: false }, record::cursor_get(&room.name, None, is_linearizable, is_final), Some(error));
            None
        }
    }
}

/// When the load has stopped: the home's word, and the device's own, which must come to it within its time.
async fn settle(client: &Client, voice: &Voice, rooms: &[Room]) {
    let deadline = Instant::now() + CATCH_UP;
    for room in rooms {
        let mut home = None;
        for _ in 0..LAST_TRIES {
            home = ask(client, voice, room, true).await;
            if home.is_some() {
                break;
            }
        }
        let Some(home) = home else { continue };
        loop {
            let rows = client.channels().await.unwrap_or_default();
            let is_there = rows.iter().any(|summary| summary.channel == room.id && summary.row.read.seq.get() >= home) || home == 0;
            if is_there || Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        shown(client, voice, room, true).await;
        recount(client, voice, room, deadline).await;
    }
}

/// What the device shows as unread, and what stands above its position; once they agree, or its time is over.
async fn recount(client: &Client, voice: &Voice, room: &Room, deadline: Instant) {
    let mut last = None;
    loop {
        let log = client.channel(room.id).whole_history(None, Seq::ZERO).await;
        let rows = client.channels().await.unwrap_or_default();
        if let (Ok(log), Some(summary)) = (log, rows.iter().find(|summary| summary.channel == room.id)) {
            let counted = log.iter().filter(|record| record.at.seq > summary.row.read.seq && record.content.is_text()).count() as u64;
            last = Some((summary.row.unread(), counted));
        }
        if last.is_some_and(|(shown, counted)| shown == counted) || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let token = voice.begin(record::unread_get(&room.name, None));
    match last {
        Some(_) => voice.end(token, Outcome::Ok, record::unread_get(&room.name, last), None),
        None => voice.end(token, Outcome::Fail { is_final: false }, record::unread_get(&room.name, None), Some("no row or no log".to_owned())),
    }
}
