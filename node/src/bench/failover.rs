//! Leaders die under load: how long until sends are acknowledged again, and whether anything was lost on the way.
//!
//! In: rounds. Out: [`Outcome`]. In each round the node that leads most conversations is killed (SIGKILL) and started again; what counts is the
//! time from the kill to the first ack of a send in a conversation that it led. Clients are those of the SDK: they reconnect and resend.
//! Bounds: `ROUND_MAX` for each conversation to go on.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_client::{Backfill, Channel, Client, Error};
use kith_wire::{
    code::Code,
    id::{GroupId, NodeId, Seq},
    log::Content,
};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{BenchError, stage::Stage};
use crate::{
    cluster::map::group_of,
    operator::{ensure_account, missing, status},
    spread::{Percentiles, Spread},
};

/// Conversations, each with one sender.
const PAIRS: usize = 24;
/// Load between a start and the next kill.
const QUIET: Duration = Duration::from_secs(3);
/// Longest wait until a conversation goes on.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Between two looks for an ack.
const LOOK: Duration = Duration::from_millis(5);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Leaders killed.
    pub kills: u32,
    /// From the kill to the first ack, over all conversations that the dead node led.
    pub resume_ms: Percentiles,
    /// The longest of them.
    pub resume_ms_max: f64,
    /// Sends acknowledged in all.
    pub acked: u64,
    /// Acknowledged and not in the log.
    pub missing: u64,
    /// In the log more than once.
    pub duplicate: u64,
    /// Seqs that the log lacks.
    pub gaps: u64,
}

/// A conversation with its sender.
struct Pair {
    channel: Channel,
    group: GroupId,
    client: Client,
    acks: Acks,
}

type Acks = Arc<Mutex<Vec<Ack>>>;

/// A text, when it was sent and acknowledged, and where it stands.
#[derive(Clone, Copy)]
struct Ack {
    number: u64,
    sent: Instant,
    acked: Instant,
    seq: Seq,
}

/// Measures.
///
/// # Errors
/// The cluster cannot be run, or sends do not resume.
pub async fn run(rounds: u32) -> Result<Outcome, BenchError> {
    let stage = Stage::set(3, 3, None).await?;
    let measured = measure(&stage, rounds).await;
    stage.strike().await;
    measured
}

async fn measure(stage: &Stage, rounds: u32) -> Result<Outcome, BenchError> {
    let admin = stage.operator.admin().await?;
    admin.connect().await?;
    let pairs = pairs(stage, &admin).await?;
    let (over, over_seen) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for pair in &pairs {
        tasks.spawn(talk(pair.channel.clone(), pair.acks.clone(), over_seen.clone()));
    }
    let (mut spread, mut longest) = (Spread::default(), Duration::ZERO);
    for _ in 0..rounds {
        sleep(QUIET).await;
        let groups = status(&admin).await?.groups;
        let leaders: BTreeMap<GroupId, NodeId> = groups.iter().filter_map(|group| Some((GroupId::new(group.group), group.leader?))).collect();
        let led = |node: &NodeId| pairs.iter().filter(|pair| leaders.get(&pair.group) == Some(node)).count();
        let victim = stage.nodes.ids().into_iter().max_by_key(led).ok_or_else(|| missing("a node to kill"))?;
        let killed = Instant::now();
        stage.nodes.kill(victim).await;
        for pair in pairs.iter().filter(|pair| leaders.get(&pair.group) == Some(&victim)) {
            let resumed = timeout(ROUND_MAX, resumed(&pair.acks, killed)).await;
            let late = || Error::new(Code::Timeout, format!("no send was acknowledged within {} s of a kill", ROUND_MAX.as_secs()));
            let resumed = resumed.map_err(|_| late())?;
            spread.record(resumed);
            longest = longest.max(resumed);
        }
        stage.nodes.start(victim)?;
        stage.nodes.wait_ready(victim).await?;
    }
    over.send_replace(true);
    while let Some(done) = tasks.join_next().await {
        done.map_err(super::broke_off)??;
    }
    admin.close().await;
    let mut outcome = Outcome {
        kills: rounds,
        resume_ms: spread.percentiles(),
        resume_ms_max: longest.as_secs_f64() * 1_000.0,
        acked: 0,
        missing: 0,
        duplicate: 0,
        gaps: 0,
    };
    for pair in &pairs {
        judge(pair, &mut outcome).await?;
        pair.client.close().await;
    }
    Ok(outcome)
}

async fn pairs(stage: &Stage, admin: &Client) -> Result<Vec<Pair>, BenchError> {
    let map = stage.operator.files().first_map();
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        let name = format!("from-{number}");
        let (from, _) = ensure_account(admin, &name).await?;
        let (to, _) = ensure_account(admin, &format!("to-{number}")).await?;
        let client = stage.operator.client(from, &name, number)?.backfill(Backfill::Off).build().await?;
        client.connect().await?;
        let channel = client.direct(to).await?;
        let group = group_of(&map, channel.id().bucket()).ok_or_else(|| missing("a group in the map"))?;
        pairs.push(Pair { channel, group, client, acks: Acks::default() });
    }
    Ok(pairs)
}

/// Sends one text after the other, each when the one before has its ack.
async fn talk(channel: Channel, acks: Acks, over: watch::Receiver<bool>) -> Result<(), Error> {
    let mut number = 0;
    while !*over.borrow() {
        number += 1;
        let sent = Instant::now();
        let seq = channel.send(number.to_string()).await?.sent().await?.seq();
        lock(&acks).push(Ack { number, sent, acked: Instant::now(), seq });
    }
    Ok(())
}

/// How long after the kill the first text was acknowledged that was sent after it.
async fn resumed(acks: &Acks, killed: Instant) -> Duration {
    loop {
        if let Some(first) = lock(acks).iter().find(|ack| ack.sent > killed) {
            return first.acked.saturating_duration_since(killed);
        }
        sleep(LOOK).await;
    }
}

async fn judge(pair: &Pair, outcome: &mut Outcome) -> Result<(), BenchError> {
    let acks = lock(&pair.acks).clone();
    let last = acks.iter().map(|ack| ack.seq).max().unwrap_or_default();
    let log = pair.channel.whole_history(None, last).await?;
    let mut numbers = BTreeMap::new();
    let mut once = HashSet::new();
    for (at, record) in log.iter().enumerate() {
        outcome.gaps += u64::from(record.at.seq.get() != at as u64 + 1);
        if let Content::Text { text, .. } = &record.content {
            outcome.duplicate += u64::from(!once.insert(text.as_str()));
            numbers.insert(record.at.seq, text.as_str());
        }
    }
    outcome.acked += acks.len() as u64;
    outcome.missing += acks.iter().filter(|ack| numbers.get(&ack.seq).copied() != Some(ack.number.to_string().as_str())).count() as u64;
    Ok(())
}

fn lock(acks: &Acks) -> std::sync::MutexGuard<'_, Vec<Ack>> {
    // Each change is one push.
    acks.lock().unwrap_or_else(PoisonError::into_inner)
}
