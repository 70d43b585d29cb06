//! One run of a row: which load it is, with which numbers, and its figures in the form that the row's metrics name.
//!
//! In: a row, where the sample of chat and the stores are. Out: [`Run`]. Not here: several runs and their table (`report`).

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    BenchError, chat, disk, failover, freeze, handshake, heartbeat, idle, index, machine::Machine, map, mixed, page, presence, quiet, rate::share,
    reconnect, report::short, row::Row, sdk, stage::temporary_folder, start, strain::Strain, sync,
};
use crate::spread::Spread;

/// What a run needs besides its row.
#[derive(Clone, Debug)]
pub struct Means {
    /// The shipped sample of chat.
    pub sample: PathBuf,
    /// Where stores are kept from run to run.
    pub stores: PathBuf,
}

/// A latency distribution: the share of all that is at most as slow, and milliseconds; rising.
pub type Curve = Vec<(f64, f64)>;

/// What a run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The row's figures, by the paths of its metrics.
    pub figures: Value,
    /// The machine before the load.
    pub machine: Machine,
    /// What limited it.
    pub bottleneck: String,
    /// Latency distributions, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<(&'static str, Curve)>,
}

/// What a log takes until all its files are such as were used before: those that it may have, and the next.
const LOG_TURNED_BYTES: usize = 256 << 20;

/// The load of direct sends or groups with the numbers that all rows share.
pub fn chat_options(senders: usize, members: usize, channels: usize) -> chat::Options {
    chat::Options { nodes: 3, groups: 3, senders, members, channels, payload: 200, seconds: 8, rate: None, log_bytes_before: 0, data: None }
}

/// Measures a row once.
///
/// # Errors
/// The cluster cannot be run, or a client fails; `Invalid` for a row that cannot be measured yet.
pub async fn run(row: &Row, means: &Means) -> Result<Run, BenchError> {
    match row.name {
        "mixed" => mixed_row().await,
        "send" => Box::pin(send_row()).await,
        "lone" => lone_row().await,
        "pairs" => chat_row(chat_options(64, 1, 1)).await,
        "large" => chat_row(chat::Options { payload: 100_000, ..chat_options(16, 1, 1) }).await,
        "group" => chat_row(chat_options(16, 100, 1)).await,
        "groups" => chat_row(chat_options(16, 100, 16)).await,
        "edge" => chat_row(chat::Options { nodes: 1, groups: 1, payload: 24, ..chat_options(8, 100, 8) }).await,
        "idle" => plain(idle::run(&idle::Options { nodes: 1, clients: 5_000, seconds: 15 }).await?, "memory: it is what is measured"),
        "handshake" => plain(handshake::run(6).await?, "processor: signatures and key exchange, of both sides on one machine"),
        "sync" => plain(sync::run(5).await?, "processor: a stream, a view and a page for each pull"),
        "index" => plain(Box::pin(index::run(400_000)).await?, "processor: apply and the rows of the state database"),
        "heartbeat" => plain(heartbeat::run(500, 8).await?, "processor: a packet in and one out for each"),
        "presence" => plain(presence::run(20_000, 50, 8)?, "processor: a frame for each screen that changes"),
        "failover" => plain(failover::run(6).await?, "waiting: election timeouts and clients' patience"),
        "move" => move_row(freeze::BUCKET_MB).await,
        "reconnect" => reconnect_row(reconnect::SESSIONS).await,
        "disk" => plain(Box::pin(disk::run(&means.sample, 200_000)).await?, "disk: it is what is measured"),
        "map" => plain(map::run()?, "processor: decoding and the lookup's cache misses"),
        "quiet" => plain(quiet::run(100, 15).await?, "processor: ticks and heartbeats of the groups"),
        "page" => plain(Box::pin(page::run(1_000_000, &means.stores)).await?, "disk: reads of a page's blocks, and the round trip"),
        "sdk" => plain(sdk::run().await?, "waiting: heartbeats; then processor: the device's store"),
        "start" => plain(start::run().await?, "waiting: the first syncs, and accounts on an empty disk"),
        name => Err(BenchError::Invalid(format!("{name} cannot be measured yet"))),
    }
}

/// Figures of a load that samples nothing itself.
///
/// # Errors
/// They cannot be written, or the machine not be measured.
pub fn plain(figures: impl Serialize, bottleneck: &str) -> Result<Run, BenchError> {
    let folder = temporary_folder()?;
    Ok(Run { figures: to_value(figures)?, machine: Machine::measure(folder.path())?, bottleneck: bottleneck.to_owned(), curves: Vec::new() })
}

async fn chat_row(options: chat::Options) -> Result<Run, BenchError> {
    chat_figures(&chat::run(&options).await?)
}

/// A bucket of so many MiB moved.
///
/// # Errors
/// The cluster cannot be run, or the bucket does not move.
pub async fn move_row(megabytes: u64) -> Result<Run, BenchError> {
    plain(Box::pin(freeze::run(megabytes)).await?, "disk: the bucket is written anew by three replicas, beside the load")
}

/// A node dies with a third of so many sessions.
///
/// # Errors
/// The cluster cannot be run, or a client does not come back.
pub async fn reconnect_row(sessions: usize) -> Result<Run, BenchError> {
    plain(Box::pin(reconnect::run(sessions)).await?, "processor: handshakes, of both sides on one machine")
}

async fn lone_row() -> Result<Run, BenchError> {
    // A log's file that grows has its length written with each sync, which is one more write of the file system's; one that was used before has not. A node is in
    // the first state for its first minutes only.
    let run = chat_row(chat::Options { log_bytes_before: LOG_TURNED_BYTES, ..chat_options(1, 1, 1) }).await?;
    // An ack follows a sync on two disks, which here are one: a figure below that says that the disk was slower when it was measured alone.
    match run.figures["ack_p50_in_fdatasyncs"].as_f64() {
        Some(ratio) if ratio >= 1.0 => beyond_the_path(run).await,
        ratio => Err(BenchError::Untrue(format!("acks took {} fdatasync times: the disk was not left alone", short(ratio.unwrap_or_default())))),
    }
}

/// Adds what the disk takes of an ack: the same load with all data in memory takes what the path's wake-ups take. Where no folder is in memory,
/// nothing is added, and the figure is not known.
async fn beyond_the_path(mut run: Run) -> Result<Run, BenchError> {
    let Some(memory) = folder_in_memory()? else { return Ok(run) };
    let path = chat::run(&chat::Options { data: Some(memory.path().join("data")), ..chat_options(1, 1, 1) }).await?;
    let (ack, path) = (run.figures["chat"]["ack_ms"]["p50"].as_f64().unwrap_or_default(), path.outcome.ack_ms.p50);
    run.figures["path_ms_p50"] = path.into();
    run.figures["disk_in_fdatasyncs"] = ((ack - path) / run.machine.fdatasync_ms_p50.max(0.001)).into();
    Ok(run)
}

/// A folder that no disk holds.
fn folder_in_memory() -> Result<Option<tempfile::TempDir>, BenchError> {
    const TMPFS: i64 = 0x0102_1994;
    let shared = std::path::Path::new("/dev/shm");
    if !rustix::fs::statfs(shared).is_ok_and(|found| found.f_type == TMPFS) {
        return Ok(None);
    }
    let made = tempfile::Builder::new().prefix("kith-bench-").tempdir_in(shared);
    made.map(Some).map_err(|source| BenchError::Io { what: "making a folder in memory", source })
}

/// The figures of one load of chat.
///
/// # Errors
/// They cannot be written: a fault of Kith's.
pub fn chat_figures(measured: &chat::Measured) -> Result<Run, BenchError> {
    let per_100k = measured.outcome.server_cpu_s_per_100k_delivered;
    let figures = json!({
        "chat": to_value(&measured.outcome)?,
        "ack_p50_in_fdatasyncs": measured.outcome.ack_ms.p50 / measured.machine.fdatasync_ms_p50.max(0.001),
        "frames_per_cpu_s": share(100_000.0, per_100k),
        "pulled": measured.pulled,
        "strain": to_value(&measured.strain)?,
    });
    Ok(Run { figures, machine: measured.machine, bottleneck: measured.strain.bottleneck(), curves: curves(&measured.ack, &measured.deliver) })
}

async fn send_row() -> Result<Run, BenchError> {
    let full = chat::run(&chat_options(512, 1, 1)).await?;
    let rate = Some((full.outcome.acked_per_s / 2.0).max(1.0));
    let half = chat::run(&chat::Options { rate, ..chat_options(512, 1, 1) }).await?;
    let mut run = chat_figures(&full)?;
    run.figures["half"] = to_value(&half.outcome)?;
    Ok(run)
}

async fn mixed_row() -> Result<Run, BenchError> {
    let measured = mixed::run(&mixed::Options { rooms: 200, rate: Some(2_000.0), seconds: 10 }).await?;
    mixed_figures(&measured)
}

/// The figures of one mixed load.
///
/// # Errors
/// They cannot be written: a fault of Kith's.
pub fn mixed_figures(measured: &mixed::Measured) -> Result<Run, BenchError> {
    let strain: &Strain = &measured.strain;
    let figures = json!({ "mixed": to_value(measured.outcome)?, "recent_hit_share": strain.recent_hit_share, "strain": to_value(strain)? });
    Ok(Run { figures, machine: measured.machine, bottleneck: strain.bottleneck(), curves: curves(&measured.ack, &measured.deliver) })
}

fn curves(ack: &Spread, deliver: &Spread) -> Vec<(&'static str, Curve)> {
    vec![("ack", ack.curve()), ("delivery", deliver.curve())]
}

/// As JSON.
///
/// # Errors
/// It cannot be written: a fault of Kith's.
pub fn to_value(figures: impl Serialize) -> Result<Value, BenchError> {
    serde_json::to_value(figures).map_err(|error| BenchError::Io { what: "writing figures", source: error.into() })
}
