//! W8: appends while logs are kept as short as can be, and a replica that was away for longer than any log reaches back: a snapshot is all that it has to come back with.
//!
//! In: channels, a node to take away when the load has stopped. Out: lines of the history, and on the heal line how many snapshots that node installed: none fails the run.
//! The sends that were acked before it went are sent again when it is back: what is known of them must have been in the snapshot, also
//! for the one that follows them.
//! Not here: the settings that keep logs short ([`SETTINGS`] says them, the lab gives them to every node).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use kith_client::Backfill;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::direct::{Direct, Fate};
use super::{Account, Audit, Bench, Loads, Room, sender, text};
use crate::history::{Evidence, FaultOutcome};
use crate::name::Nemesis;
use crate::record::Voice;
use crate::seed::Chance;

/// What nodes are started with in such a run.
pub(crate) const SETTINGS: &[&str] = &["raft.flush_interval_ms=1000", "raft.keep_entries=50", "raft.purge_entries_min=25"];

/// Senders.
const SENDERS: usize = 3;
/// Channels.
const ROOMS: usize = 4;
/// Sends of each channel that are sent again.
const KEPT: usize = 5;
/// Entries that a group's log keeps, at most, and then some: so many messages are sent to each channel while the node is away.
const AWAY_MESSAGES: usize = 120;
/// After them: time for a flush and a purge on every replica.
const AWAY_REST: Duration = Duration::from_secs(2);
/// For each step of it.
const STEP_WITHIN: Duration = Duration::from_secs(60);
/// The count of installed snapshots.
const INSTALLED: &str = "kith_raft_snapshots_installed_total";

/// The part that comes when the load has stopped.
#[derive(Debug)]
pub(crate) struct Away {
    account: Account,
    rooms: Vec<Room>,
    device: Direct,
    chance: Chance,
}

pub(super) async fn start(bench: &Arc<Bench>, loads: &mut Loads) -> anyhow::Result<(Audit, Away)> {
    let phase = loads.phase.clone();
    let mut accounts = Vec::new();
    for n in 0..SENDERS {
        accounts.push(bench.account(&format!("snapshot-{n}")).await?);
    }
    let reader = bench.account("snapshot-eye").await?;
    let users: Vec<_> = accounts.iter().chain([&reader]).map(|account| account.user).collect();
    let rooms = Arc::new(bench.rooms(&accounts[0], &users, (0..ROOMS).map(|n| format!("snapshot-{n}"))).await?);
    let mut chance = Chance::new(bench.seed ^ 0x54a9_0000);
    let account = accounts[0].clone();
    let device = Direct::new(bench, &account, "snapshot-again", 0, &mut chance)?;
    for (n, account) in accounts.into_iter().enumerate() {
        loads.spawn(sender::run(Arc::clone(bench), account, n, Arc::clone(&rooms), (25, 60), phase.clone()));
    }
    let away = Away { account, rooms: rooms.to_vec(), device, chance };
    Ok((Audit { reader, rooms: rooms.to_vec() }, away))
}

impl Away {
    /// Takes a node away, makes every log forget what it would need, and has it back.
    pub(crate) async fn run(mut self, bench: &Arc<Bench>) -> anyhow::Result<()> {
        for room in self.rooms.clone() {
            for _ in 0..KEPT {
                self.acked(&room).await?;
            }
        }
        let node = self.chance.one_of(&bench.lab.nodes);
        let evidence = Evidence { note: "restart from a snapshot only: taken away".to_owned(), ..Evidence::default() };
        bench.recorder.fault(Nemesis::None, &node.name(), FaultOutcome::Installed, evidence);
        node.stop().await?;
        timeout(STEP_WITHIN * 2, self.fill(bench)).await.context("sending while a node is away")??;
        tokio::time::sleep(AWAY_REST).await;
        node.start()?;
        node.ready(STEP_WITHIN).await.context("a node that was away")?;
        for room in self.rooms.clone() {
            let again = timeout(STEP_WITHIN, self.device.send_all_again(&room)).await.context("sending again")?;
            ensure!(again > 0, "nothing of {} could be sent again", room.name);
        }
        let deadline = Instant::now() + STEP_WITHIN;
        let installed = loop {
            match node.metric(INSTALLED) {
                Some(count) if count > 0 => break count,
                _ if Instant::now() > deadline => break 0,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        // And a new one: a replica that does not know the numbers before it would leave it out.
        for room in self.rooms.clone() {
            self.acked(&room).await?;
        }
        self.device.leave();
        let note = format!("restart from a snapshot only: {installed} snapshots installed");
        let more = json!({ "snapshots_installed": installed }).as_object().cloned().unwrap_or_default();
        bench.recorder.fault(Nemesis::None, &node.name(), FaultOutcome::Healed, Evidence { bit: Some(installed), note, more });
        Ok(())
    }

    async fn acked(&mut self, room: &Room) -> anyhow::Result<()> {
        let deadline = Instant::now() + STEP_WITHIN;
        while !matches!(self.device.send(room, &mut self.chance).await, Fate::Acked(_)) {
            ensure!(Instant::now() < deadline, "{} does not take a message", room.name);
        }
        Ok(())
    }

    async fn fill(&mut self, bench: &Arc<Bench>) -> anyhow::Result<()> {
        let client = bench.client(&self.account, 0, Backfill::Off)?.build().await?;
        client.connect().await?;
        let voice = Voice::new(&bench.recorder, "snapshot-fill", &self.account.name, None);
        for n in 0..AWAY_MESSAGES {
            let texts: Vec<(String, String)> = (0..self.rooms.len())
                .map(|at| format!("snapshot-fill-{n}-{at}"))
                .map(|name| (name.clone(), text::short(&name, &mut self.chance)))
                .collect();
            // One to each channel at a time: each is an entry of its own in its group's log.
            let sends = self.rooms.iter().zip(&texts).map(|(room, (name, text))| sender::send(&client, &voice, room, name, text.clone()));
            futures_util::future::join_all(sends).await;
        }
        client.close().await;
        Ok(())
    }
}
