//! Syncs: what it costs a node to tell a device that it has everything, and to bring one up to date.
//!
//! In: how long. Out: [`Outcome`]. *Nothing new* is one pull of the index from where it stands, on a session that is open: what a device asks that
//! was told of a move which brought nothing; a device that comes back with nothing new is told so by its Welcome, and asks nothing. *Ten channels* is a pull of all ten rows and of
//! twenty records in each: eleven pulls, as the SDK makes them. Every page is looked at. Bounds: `DEVICES` at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kith_client::raw::Session;
use kith_wire::{
    client::{Answer, HistoryQuery, IndexQuery, Page, Pull, Request, Send},
    code::Code,
    id::{ClientSeq, Seq, UserId, UserRev},
    limit::PAGE_ROWS_MAX,
    log::IndexRow,
};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    BenchError, broke_off,
    people::{People, ask},
    rate::Rate,
    stage::Stage,
};
use crate::clock::Stopwatch;

/// Devices that sync over and over.
const DEVICES: usize = 16;
/// Channels of each.
const CHANNELS: usize = 10;
/// Records to be pulled in each channel.
const RECORDS: usize = 20;
/// Pulls of one device at once: fewer than the server allows.
const PULLS: usize = 4;
/// Longest wait until the indexes have all channels.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Devices that had everything.
    pub nothing_new: Rate,
    /// Devices that lacked ten channels of twenty records.
    pub ten_channels: Rate,
}

/// A device, and where its user's index stands.
struct Device {
    session: Session,
    rev: UserRev,
}

/// Measures each kind for so many seconds.
///
/// # Errors
/// The node cannot be run, or a page is refused or not what was written.
pub async fn run(seconds: u64) -> Result<Outcome, BenchError> {
    let stage = Stage::set(1, 1, None).await?;
    let people = People::make(&stage, "load", DEVICES).await?;
    let mut sessions = people.sessions((0..DEVICES).map(|number| (number, 0))).await?;
    write(&people, &mut sessions).await?;
    let mut devices = Vec::new();
    for session in sessions {
        let rev = timeout(READY_WITHIN, settled(&session)).await;
        let rev = rev.map_err(|_| kith_client::Error::new(Code::Timeout, "the indexes did not get all channels"))??;
        devices.push(Device { session, rev });
    }
    let (devices, nothing_new) = repeat(&stage, devices, seconds, false).await?;
    let (_, ten_channels) = repeat(&stage, devices, seconds, true).await?;
    people.leave().await;
    stage.strike().await;
    Ok(Outcome { nothing_new, ten_channels })
}

/// Everyone is in all channels; one of them says everything.
async fn write(people: &People, sessions: &mut [Session]) -> Result<(), BenchError> {
    let maker = &mut sessions[0];
    let members: Vec<UserId> = (1..people.count()).map(|number| people.get(number).user).collect();
    for number in 0..CHANNELS as u64 {
        let channel = people.group(maker, number + 1, members.clone()).await?;
        for text in 1..=RECORDS as u64 {
            let (client_seq, settled) = (ClientSeq::new(text), ClientSeq::new(text));
            let send = Send { channel, client_seq, settled, text: super::tally::filler(120), reply_to: None, mentions: Vec::new() };
            if !matches!(ask(maker, 1_000 * (number + 1) + text, Request::Send(send)).await?, Answer::Sent { .. }) {
                return Err(crate::operator::missing("the seq of a send").into());
            }
        }
    }
    Ok(())
}

/// Where the index stands once it has the last text of every channel.
async fn settled(session: &Session) -> Result<UserRev, BenchError> {
    loop {
        let (rows, rev) = index(session, UserRev::ZERO, None).await?;
        // The first record of a group says who made it.
        if rows.len() == CHANNELS && rows.iter().all(|row| row.news.head.seq == Seq::new(RECORDS as u64 + 1)) {
            return Ok(rev);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// All rows of the index above a version up to another, or to whatever its leader has; and where it stands.
async fn index(session: &Session, from: UserRev, to: Option<UserRev>) -> Result<(Vec<IndexRow>, UserRev), BenchError> {
    let (to, linearizable) = (to.unwrap_or(UserRev::new(u64::MAX)), to.is_none());
    let query = IndexQuery { from, to, below: None, limit: PAGE_ROWS_MAX as u32, linearizable };
    match session.pull(&Pull::Index(query)).await? {
        Page::Index { rows, rev, .. } => Ok((rows, rev)),
        Page::Refused(refusal) => Err(kith_client::Error::new(refusal.code, refusal.text).into()),
        Page::History(_) => Err(crate::operator::missing("a page of the index").into()),
    }
}

async fn repeat(stage: &Stage, devices: Vec<Device>, seconds: u64, lacks_all: bool) -> Result<(Vec<Device>, Rate), BenchError> {
    let (counted, begun) = (Arc::new(AtomicU64::new(0)), Stopwatch::start());
    let until = Duration::from_secs(seconds);
    let cpu = stage.cpu_seconds();
    let mut tasks = JoinSet::new();
    for device in devices {
        let counted = counted.clone();
        tasks.spawn(async move {
            while begun.elapsed() < until {
                if lacks_all {
                    all(&device).await?
                } else {
                    nothing(&device).await?
                }
                counted.fetch_add(1, Relaxed);
            }
            Ok::<_, BenchError>(device)
        });
    }
    let mut devices = Vec::new();
    while let Some(done) = tasks.join_next().await {
        devices.push(done.map_err(broke_off)??);
    }
    let (syncs, cpu, took) = (counted.load(Relaxed), stage.cpu_seconds() - cpu, begun.elapsed().as_secs_f64());
    Ok((devices, Rate::of(syncs, took, cpu)))
}

async fn nothing(device: &Device) -> Result<(), BenchError> {
    let (rows, rev) = index(&device.session, device.rev, Some(device.rev)).await?;
    if rows.is_empty() && rev == device.rev { Ok(()) } else { Err(crate::operator::missing("an index that nobody moved").into()) }
}

async fn all(device: &Device) -> Result<(), BenchError> {
    let (rows, _) = index(&device.session, UserRev::ZERO, Some(device.rev)).await?;
    let pull = |row: &IndexRow| {
        let head = row.news.head.seq;
        let first = Seq::new(head.get() + 1 - RECORDS as u64);
        let limit = RECORDS as u32;
        let (channel, last) = (row.news.channel, head);
        let query = HistoryQuery { channel, first, last, newest_first: false, limit, min_seq: last, replica: None, linearizable: false, place: None };
        device.session.pull(&Pull::History(query))
    };
    let pages: Vec<Page> = stream::iter(rows.iter().map(pull)).buffer_unordered(PULLS).try_collect().await?;
    let records: usize = pages.iter().map(|page| if let Page::History(page) = page { page.records.len() } else { 0 }).sum();
    if records == CHANNELS * RECORDS { Ok(()) } else { Err(crate::operator::missing("a record of a sync").into()) }
}
