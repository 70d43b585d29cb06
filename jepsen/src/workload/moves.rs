//! W9: appends while buckets move. As long as there are faults, the shard with the most buckets gives half of them to the one with the fewest, time
//! and again, so that conversations and their users change groups under whatever goes on.
//!
//! In: channels, the cluster's own command line. Out: lines of the history, and one line of `nemesis.jsonl` that counts the moves that were begun and
//! how often the cluster could not be asked: none of it fails the run. Not here: what must hold (the checkers of appends: whatever moves is a log
//! like any other).

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Audit, Bench, Loads, Phase, reached, sender};
use crate::history::{Evidence, FaultOutcome};
use crate::name::Nemesis;
use crate::seed::Chance;

/// Senders.
const SENDERS: usize = 4;
/// Channels: enough that each half of a shard has some.
const ROOMS: usize = 24;
/// For the cluster to be asked, or told to begin.
const ASK_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<Audit> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..SENDERS {
        accounts.push(bench.account(&format!("move-{n}")).await?);
    }
    let reader = bench.account("move-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let rooms = Arc::new(bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("move-{n}"))).await?);
    for (n, account) in accounts.into_iter().enumerate() {
        loads.spawn(sender::run(Arc::clone(bench), account, n, Arc::clone(&rooms), (25, 60), phase.clone()));
    }
    loads.spawn(give(Arc::clone(bench), phase));
    Ok(Audit { reader, rooms: rooms.to_vec() })
}

/// Has one shard after the other split, until the load stops.
async fn give(bench: Arc<Bench>, mut phase: watch::Receiver<Phase>) -> anyhow::Result<()> {
    let mut chance = Chance::new(bench.seed ^ 0x0ee0_0000);
    let (mut begun, mut in_vain) = (0_u64, 0_u64);
    loop {
        let pause = bench.pause(&mut chance, 1_500, 4_000);
        let more = async {
            tokio::time::sleep(pause).await;
            // In trouble nobody may answer, and a move may be under way: the next turn is soon.
            match split(&bench).await {
                Ok(true) => begun += 1,
                Ok(false) => {}
                Err(_) => in_vain += 1,
            }
        };
        tokio::select! {
            () = reached(&mut phase, Phase::Stopped) => break,
            () = more => {}
        }
    }
    let note = format!("buckets moved under the load: {begun} moves were begun, {in_vain} times the cluster could not be asked");
    let more = json!({ "moves_begun": begun, "in_vain": in_vain }).as_object().cloned().unwrap_or_default();
    bench.recorder.fault(Nemesis::None, "all", FaultOutcome::Healed, Evidence { bit: Some(begun), note, more });
    Ok(())
}

/// The largest shard gives half of what it has, unless some move is under way. Says whether it does.
async fn split(bench: &Bench) -> anyhow::Result<bool> {
    let listed = bench.lab.kith(&["shard", "list"], ASK_WITHIN).await?;
    let shards = listed.get("shards").and_then(Value::as_array).context("the shards")?;
    if shards.iter().any(|shard| shard.get("moving").is_some_and(|moving| !moving.is_null())) {
        return Ok(false);
    }
    let number = |shard: &Value, key: &str| shard.get(key).and_then(Value::as_u64).unwrap_or(0);
    let largest = shards.iter().max_by_key(|shard| (number(shard, "buckets"), std::cmp::Reverse(number(shard, "shard")))).context("no shard")?;
    bench.lab.kith(&["shard", "split", &number(largest, "shard").to_string()], ASK_WITHIN).await?;
    Ok(true)
}
