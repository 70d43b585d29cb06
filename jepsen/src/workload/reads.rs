//! W4: reads of every kind side by side, each flagged as what it is: linearizable ones, ones from any replica, ones from a named replica; with appends under way.
//!
//! And readers that are true to one node: a leader that is cut off from its peers is asked on, as long as it thinks that it leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::id::{NodeId, Seq};
use kith_client::{Backfill, Client, History};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Account, Audit, Bench, Loads, Phase, Room, pages, reached, sender};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Senders, each a user with one device.
const SENDERS: usize = 3;
/// Channels: few, so that a read is soon after a send.
const ROOMS: usize = 4;
/// How long a reader that is true to a node waits for an answer, and how long it takes its node for alive.
const TRUE_WITHIN: Duration = Duration::from_secs(2);
const TRUE_PATIENCE: Duration = Duration::from_secs(20);
/// Linearizable reads, of a hundred.
const LINEARIZABLE: u64 = 50;
/// How far below what it has seen a reader begins.
const BACK: u64 = 10;

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..SENDERS {
        accounts.push(bench.account(&format!("reads-{n}")).await?);
    }
    let reader = bench.account("reads-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let rooms = Arc::new(bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("reads-{n}"))).await?);
    for (n, account) in accounts.into_iter().enumerate() {
        loads.spawn(sender::run(Arc::clone(bench), account, n, Arc::clone(&rooms), (30, 90), phase.clone()));
    }
    for n in 0..bench.lab.nodes.len() {
        loads.spawn(read(Arc::clone(bench), reader.clone(), n, Arc::clone(&rooms), phase.clone()));
        loads.spawn(read_one_node(Arc::clone(bench), reader.clone(), n, Arc::clone(&rooms), phase.clone()));
    }
    Ok(Audit { reader, rooms: rooms.to_vec() })
}

/// One device that reads through one node, and on through others when that is gone.
async fn read(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ (0x4ea5_0000 + n as u64));
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Voice::new(&bench.recorder, &format!("reads-eye-{n}"), &account.name, None);
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut seen = BTreeMap::new();
    loop {
        let room = chance.one_of(&rooms);
        let kind = chance.within(1, 100);
        let node = bench.lab.nodes[chance.within(0, bench.lab.nodes.len() as u64 - 1) as usize].id;
        let pause = bench.pause(&mut chance, 60, 160);
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = async {
                let seen = seen.entry(room.name.clone()).or_insert(0);
                *seen = one(&client, &voice, room, kind, node, *seen).await;
                tokio::time::sleep(pause).await;
            } => {}
        }
    }
    client.close().await;
    Ok(())
}

/// One device that asks one node alone for linearizable reads, of each channel by itself: those whose leader cannot be reached hold no other up.
async fn read_one_node(bench: Arc<Bench>, account: Account, n: usize, rooms: Arc<Vec<Room>>, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let builder = bench.client(&account, n, Backfill::Off)?;
    let client = builder.request_timeout(TRUE_WITHIN).patience(TRUE_PATIENCE).heartbeat(TRUE_PATIENCE).build().await?;
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut readers = JoinSet::new();
    for (at, room) in rooms.iter().cloned().enumerate() {
        let (bench, client, mut phase) = (Arc::clone(&bench), client.clone(), phase.clone());
        let voice = Voice::new(&bench.recorder, &format!("reads-true-{n}"), &account.name, None);
        let mut chance = Chance::new(bench.seed ^ (0x4ea6_0000 + (n * ROOMS + at) as u64));
        readers.spawn(async move {
            let mut seen = 0;
            loop {
                let pause = bench.pause(&mut chance, 60, 160);
                tokio::select! {
                    () = reached(&mut phase, Phase::Stopped) => break,
                    () = async {
                        seen = one(&client, &voice, &room, LINEARIZABLE, 0, seen).await;
                        tokio::time::sleep(pause).await;
                    } => {}
                }
            }
        });
    }
    while readers.join_next().await.is_some() {}
    client.close().await;
    Ok(())
}

/// One read; gives how far this device has seen the channel then.
async fn one(client: &Client, voice: &Voice, room: &Room, kind: u64, node: u64, seen: u64) -> u64 {
    let first = seen.saturating_sub(BACK).max(1);
    let want = History { first: Seq::new(first), newest_first: false, ..History::default() };
    let want = match kind {
        // A barrier needs no help: nothing is said of what must be there.
        ..=LINEARIZABLE => History { linearizable: true, ..want },
        51..=80 => History { min_seq: Seq::new(seen), ..want },
        _ => History { min_seq: Seq::new(seen), replica: Some(NodeId::new(node)), ..want },
    };
    let op = |items, withheld| record::read_as(&room.name, Some(first), want.linearizable, items, withheld);
    let token = voice.begin(op(Vec::new(), Vec::new()));
    match pages(&client.channel(room.id), want).await {
        Ok((items, withheld)) => {
            let last = items.last().map_or(seen, |item| item.seq.max(seen));
            voice.end(token, Outcome::Ok, op(items, withheld), None);
            last
        }
        Err(error) => {
            voice.end(token, Outcome::Fail { is_final: false }, op(Vec::new(), Vec::new()), Some(error.to_string()));
            seen
        }
    }
}
