//! A bucket with much in it moves to another group under load: for how long nobody gets an ack.
//!
//! In: how much the bucket holds. Out: [`Outcome`]. One conversation holds it all; while its bucket moves, its sender goes on at a steady rate, many texts in
//! flight. What counts is the longest time between two acks, as the sender sees it; beside it what the cluster says, from the hand-over until the other group
//! has the bucket. Afterwards every text that was acknowledged under the load is looked for, at its place, once.
//! Bounds: [`FILL_WINDOW`] texts in flight while it is filled, [`MOVE_MAX`] for the move. Not here: the move (`cluster::mover`).

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use kith_client::{Backfill, Channel, Client, Error, History, Outgoing};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    id::{GroupId, Seq},
    layout::{LayoutAnswer, LayoutRequest, LayoutView},
    log::Content,
    moving::BucketRun,
};
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{BenchError, stage::Stage, strain::told};
use crate::{
    cluster::map::group_of,
    operator::{ensure_account, missing},
};

/// What the bucket of the row holds, in MiB.
pub const BUCKET_MB: u64 = 1_024;
/// A text of what the bucket holds before.
const FILL_BYTES: usize = 90_000;
/// Of these texts so many are in flight.
const FILL_WINDOW: usize = 32;
/// Texts a second of the load.
const RATE: u64 = 500;
/// Texts of the load in flight; a freeze of two seconds fits.
const WINDOW: usize = 1_024;
/// Load before the move begins, and after it has ended.
const AROUND: Duration = Duration::from_secs(3);
/// Longest wait for a move.
const MOVE_MAX: Duration = Duration::from_secs(1_800);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// What the bucket held when it began to move, as it was sent.
    pub bucket_mb: f64,
    /// Acks a second while it moved.
    pub acked_per_s: f64,
    /// The longest time between two acks while it moved.
    pub freeze_ms: f64,
    /// The same in the seconds before it moved.
    pub gap_before_ms: f64,
    /// From the hand-over until the other group had it, as the node says that drove the move.
    pub handed_ms: f64,
    /// From the request until the map said so.
    pub move_s: f64,
    /// Texts acknowledged under the load.
    pub acked: u64,
    /// Of them not in the log at their place.
    pub missing: u64,
    /// In the log more than once.
    pub duplicate: u64,
}

/// When each text of the load was acknowledged, and where it stands.
type Ack = (Instant, String, Seq);

/// Measures.
///
/// # Errors
/// The cluster cannot be run, or the bucket does not move.
pub async fn run(megabytes: u64) -> Result<Outcome, BenchError> {
    let stage = Stage::set(3, 2, None).await?;
    let measured = Box::pin(measure(&stage, megabytes)).await;
    stage.strike().await;
    measured
}

async fn measure(stage: &Stage, megabytes: u64) -> Result<Outcome, BenchError> {
    let admin = stage.operator.admin().await?;
    admin.connect().await?;
    let (from, _) = ensure_account(&admin, "from").await?;
    let (to, _) = ensure_account(&admin, "to").await?;
    let client = stage.operator.client(from, "from", 0)?.backfill(Backfill::Off).build().await?;
    client.connect().await?;
    let channel = client.direct(to).await?;
    let filled = fill(&channel, megabytes << 20).await?;

    let bucket = channel.id().bucket();
    let source = group_of(&stage.operator.files().first_map(), bucket).ok_or_else(|| missing("a group in the map"))?;
    let run = BucketRun { region: bucket.region, first: bucket.index, last: bucket.index };
    let (over, over_seen) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(talk(channel.clone(), over_seen));
    sleep(AROUND).await;
    let begun = Instant::now();
    ask(&admin, LayoutRequest::MoveBuckets { from: source, run: Some(run), to: Some(GroupId::new(3 - source.get())) }).await?;
    moved(&admin, source, run).await?;
    let ended = Instant::now();
    sleep(AROUND).await;
    over.send_replace(true);
    let acks = match tasks.join_next().await {
        Some(done) => done.map_err(super::broke_off)??,
        None => Vec::new(),
    };
    let handed = stage.nodes.metrics().await.iter().map(|text| told(text, "kith_layout_bucket_freeze_seconds_sum")).sum::<f64>();
    admin.close().await;
    let (missing, duplicate) = judge(&channel, filled, &acks).await?;
    client.close().await;
    let while_moving = acks.iter().filter(|(at, ..)| *at >= begun && *at <= ended).count();
    let seconds = ended.duration_since(begun).as_secs_f64();
    Ok(Outcome {
        bucket_mb: megabytes as f64,
        acked_per_s: while_moving as f64 / seconds.max(0.001),
        freeze_ms: longest_gap(&acks, begun, ended),
        gap_before_ms: longest_gap(&acks, begun - AROUND, begun),
        handed_ms: handed * 1_000.0,
        move_s: seconds,
        acked: acks.len() as u64,
        missing,
        duplicate,
    })
}

/// Fills the conversation; gives its last seq.
async fn fill(channel: &Channel, bytes: u64) -> Result<Seq, BenchError> {
    let (mut sent, mut number, mut last) = (0, 0_u64, Seq::ZERO);
    let mut under_way: VecDeque<Outgoing> = VecDeque::with_capacity(FILL_WINDOW);
    while sent < bytes || !under_way.is_empty() {
        if sent < bytes && under_way.len() < FILL_WINDOW {
            number += 1;
            // No two are alike, and none is nothing but one letter.
            let text: String = (0..)
                .flat_map(|at: u64| format!("{number} {:x} ", at.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number).into_bytes())
                .take(FILL_BYTES)
                .map(char::from)
                .collect();
            under_way.push_back(channel.send(text).await?);
            sent += FILL_BYTES as u64;
        } else if let Some(first) = under_way.pop_front() {
            last = last.max(first.sent().await?.seq());
        }
    }
    Ok(last)
}

/// Sends at a steady rate, until it is over; gives all acks.
async fn talk(channel: Channel, over: watch::Receiver<bool>) -> Result<Vec<Ack>, Error> {
    let (give, mut take) = mpsc::channel::<(String, Outgoing)>(WINDOW);
    let sends = async move {
        let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut number = 0_u64;
        while !*over.borrow() {
            ticks.tick().await;
            number += 1;
            let text = format!("under load {number}");
            let outgoing = channel.send(text.as_str()).await?;
            // Full: the load waits, as clients do.
            if give.send((text, outgoing)).await.is_err() {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    let acks = async move {
        let mut acks: Vec<Ack> = Vec::new();
        while let Some((text, outgoing)) = take.recv().await {
            let seq = outgoing.sent().await?.seq();
            acks.push((Instant::now(), text, seq));
        }
        Ok::<_, Error>(acks)
    };
    let ((), acks) = tokio::try_join!(sends, acks)?;
    Ok(acks)
}

/// The longest time without an ack within a time, in milliseconds.
fn longest_gap(acks: &[Ack], from: Instant, to: Instant) -> f64 {
    let within = acks.iter().map(|(at, ..)| *at).filter(|at| *at > from && *at < to);
    let (mut last, mut longest) = (from, Duration::ZERO);
    for at in within.chain([to]) {
        longest = longest.max(at.saturating_duration_since(last));
        last = last.max(at);
    }
    longest.as_secs_f64() * 1_000.0
}

async fn moved(admin: &Client, source: GroupId, run: BucketRun) -> Result<(), BenchError> {
    let until = Instant::now() + MOVE_MAX;
    while Instant::now() < until {
        sleep(LOOK).await;
        let LayoutAnswer::Shown(LayoutView { groups, .. }) = ask(admin, LayoutRequest::Show).await? else { continue };
        let source = groups.iter().find(|group| group.group == source);
        if source.is_some_and(|group| group.leader.is_some() && group.leaving.is_none() && !group.runs.iter().any(|own| own.overlaps(&run))) {
            return Ok(());
        }
    }
    Err(Error::new(Code::Timeout, format!("the bucket did not move within {} s", MOVE_MAX.as_secs())).into())
}

async fn ask(admin: &Client, asked: LayoutRequest) -> Result<LayoutAnswer, BenchError> {
    match admin.request(Request::Layout(asked)).await? {
        Answer::Layout(answer) => Ok(answer),
        _ => Err(missing("an answer about the move").into()),
    }
}

/// What of the acknowledged texts is not at its place, and what stands there twice.
async fn judge(channel: &Channel, filled: Seq, acks: &[Ack]) -> Result<(u64, u64), BenchError> {
    let (mut first, mut log) = (filled.next(), Vec::new());
    let last = acks.iter().map(|(_, _, seq)| *seq).max().unwrap_or_default();
    while first <= last {
        let page = channel.history(History { first, newest_first: false, min_seq: last, ..History::default() }).await?;
        log.extend(page.records);
        match page.covered {
            Some((_, covered)) if covered >= first => first = covered.next(),
            _ => break,
        }
    }
    let (mut at, mut once, mut duplicate) = (std::collections::BTreeMap::new(), HashSet::new(), 0);
    for record in &log {
        if let Content::Text { text, .. } = &record.content {
            duplicate += u64::from(!once.insert(text.as_str()));
            at.insert(record.at.seq, text.as_str());
        }
    }
    let missing = acks.iter().filter(|(_, text, seq)| at.get(seq).copied() != Some(text.as_str())).count() as u64;
    Ok((missing, duplicate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_an_ack_counts_its_ends() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let acks: Vec<Ack> = [100, 200, 900, 1_000].into_iter().map(|ms| (at(ms), String::new(), Seq::ZERO)).collect();
        let gap = |from, to| longest_gap(&acks, at(from), at(to)).round();
        assert_eq!([gap(0, 1_100), gap(150, 250), gap(1_050, 2_000), gap(0, 500)], [700.0, 50.0, 950.0, 300.0]);
    }
}
