//! A sender through the SDK, as several loads need one: few writes under way, an even pace.

use std::sync::Arc;
use std::time::Duration;

use kith_client::wire::log::Position;
use kith_client::{Backfill, Client, Error, Outgoing};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Account, Bench, Phase, Room, reached, text};
use crate::history::Outcome;
use crate::record::{self, Voice};
use crate::seed::Chance;

/// Writes under way per sender.
const UNDER_WAY_MAX: usize = 8;
/// How long a write may go on after the load has stopped; then its fate is unknown.
const SETTLE: Duration = Duration::from_secs(15);

/// Sends to these channels, with a pause of so many milliseconds between two, until the load stops.
pub(super) async fn run(
    bench: Arc<Bench>,
    account: Account,
    n: usize,
    rooms: Arc<Vec<Room>>,
    pause_ms: (u64, u64),
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let salt = account.name.bytes().fold(0x5e4d_e400, |salt: u64, byte| salt.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut chance = Chance::new(bench.seed ^ salt);
    let client = bench.client(&account, n, Backfill::Off)?.build().await?;
    let voice = Arc::new(Voice::new(&bench.recorder, &account.name, &account.name, None));
    let room_under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut under_way = JoinSet::new();
    let (mut healed, more) = (phase.clone(), Arc::clone(&room_under_way));
    under_way.spawn(async move {
        // After heal, writes that never end must not keep new ones from showing that nobody serves.
        reached(&mut healed, Phase::Healed).await;
        more.add_permits(UNDER_WAY_MAX * 4);
    });
    let _ = timeout(Duration::from_secs(5), client.connect()).await;
    let mut number = 0_u64;
    loop {
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            permit = Arc::clone(&room_under_way).acquire_owned() => {
                let permit = permit?;
                let room = chance.one_of(&rooms).clone();
                let name = format!("{}-{number}", account.name);
                number += 1;
                let text = text::make(&name, &mut chance);
                let (client, voice) = (client.clone(), Arc::clone(&voice));
                under_way.spawn(async move {
                    send(&client, &voice, &room, &name, text).await;
                    drop(permit);
                });
                while under_way.try_join_next().is_some() {}
            }
        }
        tokio::time::sleep(bench.pause(&mut chance, pause_ms.0, pause_ms.1)).await;
    }
    // What is not answered by then stays without an end.
    let _ = timeout(SETTLE, async { while under_way.join_next().await.is_some() {} }).await;
    under_way.shutdown().await;
    client.close().await;
    Ok(())
}

/// A send that was begun: how the history names it, and what the SDK gave for it.
pub(super) type Started = (u64, Result<Outgoing, Error>);

/// Sends one message and records what came of it; gives its position.
pub(super) async fn send(client: &Client, voice: &Voice, room: &Room, name: &str, text: String) -> Option<Position> {
    let started = begin(client, voice, room, name, text).await;
    end(voice, room, name, started).await
}

/// The first half of a send: it is stored by the client, and goes on without whoever began it.
pub(super) async fn begin(client: &Client, voice: &Voice, room: &Room, name: &str, text: String) -> Started {
    let token = voice.begin(record::send(&room.name, name, Some(&text), None, None));
    (token, client.channel(room.id).send(text).await)
}

/// The other half: what came of it.
pub(super) async fn end(voice: &Voice, room: &Room, name: &str, (token, outgoing): Started) -> Option<Position> {
    let op = |seq| record::send(&room.name, name, None, seq, None);
    let (outcome, error) = match outgoing {
        Ok(outgoing) => match outgoing.sent().await {
            Ok(message) => {
                voice.end(token, Outcome::Ok, op(Some(message.seq().get())), None);
                return Some(message.at);
            }
            Err(error) if error.is_final() => (Outcome::Fail { is_final: true }, error),
            Err(error) => (Outcome::Info, error),
        },
        // Refused before it got a number.
        Err(error) => (Outcome::Fail { is_final: false }, error),
    };
    voice.end(token, outcome, op(None), Some(error.to_string()));
    None
}
