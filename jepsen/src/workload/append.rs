//! W1: senders through the SDK to few hot and many cold channels; reads by others: the tail, from somewhere on, all.

use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::id::Seq;
use kith_client::{Backfill, Client, History};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Account, Audit, Bench, Loads, Phase, Room, reached, text};
use crate::history::{Outcome, Withheld};
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Senders, each a user with one device.
const SENDERS: usize = 6;
/// Channels that get most of the load, and all others: enough that every group has one.
const HOT: usize = 3;
const COLD: usize = 21;
/// Writes under way per sender.
const UNDER_WAY_MAX: usize = 16;
/// How long a write may go on after the load has stopped; then its fate is unknown.
const SETTLE: Duration = Duration::from_secs(15);
/// Records of a tail read.
const TAIL: u32 = 50;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..SENDERS {
        accounts.push(bench.account(&format!("append-{n}")).await?);
    }
    let reader = bench.account("append-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let names = (0..HOT).map(|n| format!("hot-{n}")).chain((0..COLD).map(|n| format!("cold-{n}")));
    let rooms = Arc::new(bench.rooms(&accounts[0], &users, names).await?);
    for (n, account) in accounts.into_iter().enumerate() {
        loads.spawn(send(Arc::clone(bench), account, n, Arc::clone(&rooms), phase.clone()));
    }
    for n in 0..2 {
        loads.spawn(read(Arc::clone(bench), reader.clone(), n, Arc::clone(&rooms), phase.clone()));
    }
    Ok(Audit { reader, rooms: rooms.to_vec() })
}

async fn send(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0xa99e_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let device = format!("append-{n}");
    let voice = Arc::new(Voice::new(&bench.recorder, &device, &account.name, None));
    let room_under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut under_way = JoinSet::new();
    // After heal, writes that never end must not keep new ones from showing that nobody serves.
    let (mut healed, more) = (phase.clone(), Arc::clone(&room_under_way));
    under_way.spawn(async move {
        reached(&mut healed, Phase::Healed).await;
        more.add_permits(UNDER_WAY_MAX * 4);
    });
    // It may be unreachable at first: it goes on trying.
    let _ = tokio::time::timeout(Duration::from_secs(5), client.connect()).await;
    let mut number = 0_u64;
    loop {
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            permit = Arc::clone(&room_under_way).acquire_owned() => {
                let permit = permit?;
                let is_hot = *phase.borrow() == Phase::Faults && chance.percent(70);
                let room = if is_hot { &rooms[chance.within(0, HOT as u64 - 1) as usize] } else { chance.one_of(&rooms) };
                let (name, is_oversize) = (format!("a{n}-{number}"), chance.within(1, 300) == 1);
                number += 1;
                let text = if is_oversize { text::oversize(&name, &mut chance) } else { text::make(&name, &mut chance) };
                let token = voice.begin(record::send(&room.name, &name, Some(&text), None, None));
                match client.channel(room.id).send(text).await {
                    Ok(outgoing) => {
                        let (voice, room) = (Arc::clone(&voice), room.name.clone());
                        under_way.spawn(async move {
                            let op = |seq| record::send(&room, &name, None, seq, Some(outgoing.client_seq().get()));
                            match outgoing.sent().await {
                                Ok(message) => voice.end(token, Outcome::Ok, op(Some(message.seq().get())), None),
                                Err(error) if error.is_final() => voice.end(token, Outcome::Fail { is_final: true }, op(None), Some(error.to_string())),
                                Err(error) => voice.end(token, Outcome::Info, op(None), Some(error.to_string())),
                            }
                            drop(permit);
                        });
                    }
                    // Refused before it got a number.
                    Err(error) => voice.end(token, Outcome::Fail { is_final: false }, record::send(&room.name, &name, None, None, None), Some(error.to_string())),
                }
                while under_way.try_join_next().is_some() {}
            }
        }
        let pause = bench.pause(&mut chance, 20, 80);
        tokio::time::sleep(pause).await;
    }
    // What is not answered by then stays without an end: its fate is unknown.
    let _ = tokio::time::timeout(SETTLE, async { while under_way.join_next().await.is_some() {} }).await;
    under_way.shutdown().await;
    client.close().await;
    Ok(())
}

async fn read(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x4ead_0000 + n as u64));
    let client = bench.client(&account, n + 1, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("append-eye-{n}"), &account.name, None);
    let _ = tokio::time::timeout(Duration::from_secs(5), client.connect()).await;
    loop {
        let room = chance.one_of(&rooms);
        let (kind, from) = (chance.within(1, 10), chance.within(2, 40));
        let pause = bench.pause(&mut chance, 100, 400);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                match kind {
                    1..=6 => tail(&client, &voice, room).await,
                    7..=8 => part(&client, &voice, room, from).await,
                    _ => whole(&client, &voice, room).await,
                }
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

async fn tail(client: &Client, voice: &Voice, room: &Room) {
    page(client, voice, room, None, History { limit: TAIL, ..History::default() }).await;
}

/// From a position on, as a device that holds what is below it.
async fn part(client: &Client, voice: &Voice, room: &Room, from: u64) {
    page(client, voice, room, Some(from), History { limit: TAIL, first: Seq::new(from), newest_first: false, ..History::default() }).await;
}

async fn page(client: &Client, voice: &Voice, room: &Room, from: Option<u64>, history: History) {
    let limit = Some(u64::from(TAIL));
    let token = voice.begin(record::read(&room.name, from, limit, false, Vec::new(), Vec::new()));
    match client.channel(room.id).history(history).await {
        Ok(page) => {
            let items = page.records.iter().map(text::item).collect();
            let withheld = page.withheld.iter().map(|(from, to)| Withheld { from: from.get(), to: to.get() }).collect();
            voice.end(token, Outcome::Ok, record::read(&room.name, from, limit, false, items, withheld), None);
        }
        Err(error) => {
            let op = record::read(&room.name, from, limit, false, Vec::new(), Vec::new());
            voice.end(token, Outcome::Info, op, Some(error.to_string()));
        }
    }
}

async fn whole(client: &Client, voice: &Voice, room: &Room) {
    let token = voice.begin(record::read(&room.name, Some(1), None, false, Vec::new(), Vec::new()));
    match client.channel(room.id).whole_history(None, Seq::ZERO).await {
        Ok(records) => {
            let items = records.iter().map(text::item).collect();
            voice.end(token, Outcome::Ok, record::read(&room.name, Some(1), None, false, items, Vec::new()), None);
        }
        Err(error) => {
            let op = record::read(&room.name, Some(1), None, false, Vec::new(), Vec::new());
            voice.end(token, Outcome::Info, op, Some(error.to_string()));
        }
    }
}
