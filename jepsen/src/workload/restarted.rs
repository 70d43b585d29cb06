//! W2, with the SDK: an app that is ended between send and ack, again and again, and goes on from its store. What it had sent is sent again by the next one.
//!
//! Invariant: what the ended client was not told is `info`. Bounds: [`SENDS_MAX`] sends a life. Not here: clients without the SDK (`retry`).

use std::sync::Arc;
use std::time::Duration;

use kith_client::store::Store;
use kith_client::{Backfill, MemoryStore};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Account, Bench, Phase, Room, sender, text};
use crate::record::Voice;
use crate::seed::Chance;

/// Sends of one life.
const SENDS_MAX: u64 = 5;
/// How long the last one has to send what is left.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) async fn run(bench: Arc<Bench>, account: Account, rooms: Vec<Room>, phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x4e57_0000);
    let store = MemoryStore::new(0);
    let voice = Arc::new(Voice::new(&bench.recorder, &account.name, &account.name, None));
    let mut number = 0_u64;
    let nodes = bench.lab.nodes.len() as u64;
    while *phase.borrow() != Phase::Stopped {
        let client = bench.client(&account, chance.within(0, nodes - 1) as usize, Backfill::Off)?.store(store.clone()).build().await?;
        let _ = timeout(Duration::from_secs(3), client.connect()).await;
        let mut sends = JoinSet::new();
        for _ in 0..chance.within(1, SENDS_MAX) {
            let (room, name) = (chance.one_of(&rooms).clone(), format!("{}-{number}", account.name));
            number += 1;
            let (text, voice) = (text::make(&name, &mut chance), Arc::clone(&voice));
            // It does not hold on to the client: only what is stored goes on.
            let started = sender::begin(&client, &voice, &room, &name, text).await;
            sends.spawn(async move { sender::end(&voice, &room, &name, started).await });
        }
        tokio::time::sleep(Duration::from_millis(chance.within(1, 150))).await;
        drop(client);
        while sends.join_next().await.is_some() {}
        tokio::time::sleep(bench.pause(&mut chance, 20, 100)).await;
    }
    let client = bench.client(&account, 0, Backfill::Off)?.store(store.clone()).build().await?;
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let deadline = Instant::now() + SETTLE;
    while Instant::now() < deadline && !store.load().await?.writes.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.close().await;
    Ok(())
}
