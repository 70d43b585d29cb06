//! Updates of user indexes applied by one replica: what each costs, from the command's log entry to its rows.
//!
//! In: how many. Out: [`Outcome`]. A group of one replica in this process; each update brings one user news of one channel, as a send does to
//! each member. Log, fsync and the state database are the real ones. Bounds: `local`.

use std::collections::HashMap;

use kith_wire::{
    id::{ChannelId, Incarnation, Seq, Timestamp, UserId},
    log::{Command, Position, Ref},
};
use serde::Serialize;

use super::{
    BenchError,
    local::{Local, accounts, person},
    rate::Rate,
};
use crate::{clock::Stopwatch, usage::cpu_seconds};

/// Users whose indexes move.
const USERS: u64 = 2_000;
/// Channels of each.
const CHANNELS: u64 = 10;

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Updates.
    pub updates: u64,
    /// Applied a second.
    pub per_s: f64,
    /// Applied for each processor second of everything: proposing, log, apply, rows.
    pub per_cpu_s: f64,
}

/// Measures so many updates.
///
/// # Errors
/// The node cannot be run, or refuses a command.
pub async fn run(updates: u64) -> Result<Outcome, BenchError> {
    let folder = super::stage::temporary_folder()?;
    let local = Local::open(folder.path()).await?;
    local.apply(accounts(0..USERS)).await?;
    // Every row exists before anything is counted.
    local.apply(news(0, USERS * CHANNELS)).await?;
    let me = [std::process::id()];
    // What the load is made of is no work of the replica.
    let load: Vec<_> = news(USERS * CHANNELS, updates).collect();
    let (cpu, begun) = (cpu_seconds(&me), Stopwatch::start());
    local.apply(load.into_iter()).await?;
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(&me) - cpu);
    local.close().await;
    let Rate { per_s, per_cpu_s } = Rate::of(updates, took, cpu);
    Ok(Outcome { updates, per_s, per_cpu_s })
}

/// Updates from the `first`-th on: everyone hears of one channel after the other.
fn news(first: u64, count: u64) -> impl Iterator<Item = Command> + Send {
    let users: HashMap<u64, UserId> = (0..USERS).map(|number| (number, person(number))).collect();
    (first..first + count).map(move |number| {
        let user = users[&(number % USERS)];
        let channel = ChannelId::direct(user, UserId::new(1 + number / USERS % CHANNELS));
        let seq = 1 + number / (USERS * CHANNELS);
        let head = Position { seq: Seq::new(seq), cnt: seq };
        let news = Ref {
            channel,
            incarnation: Incarnation::default(),
            head,
            head_ts: Timestamp::new(1_700_000_000_000 + number),
            member_seq: Seq::ZERO,
            join: Position::default(),
            left: None,
            own: Position::default(),
            mentions: Vec::new(),
            title: String::new(),
            preview: "what was said last, in its first eighty characters".to_owned(),
            head_sender: UserId::new(1 + number % CHANNELS),
        };
        Command::MergeRefs { user, refs: vec![news] }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_update_moves_its_channel_on() {
        let mut heads = HashMap::new();
        let mut rows = HashSet::new();
        for command in news(0, 2 * USERS * CHANNELS) {
            let Command::MergeRefs { user, refs } = command else { panic!("{command:?}") };
            assert!(heads.insert((user, refs[0].channel), refs[0].head).is_none_or(|head| head < refs[0].head));
            rows.insert((user, refs[0].channel));
        }
        assert_eq!(rows.len() as u64, USERS * CHANNELS);
    }
}
