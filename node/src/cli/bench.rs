//! `kith bench`: what Kith costs on this machine, one load at a time; several runs and their table are in [`suite`].

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

mod suite;

use super::failure::{Exit, Failure};
use crate::bench::{
    BenchError,
    chat::{self, Measured},
    freeze, idle, mixed, page, reconnect,
    report::short,
    row::{self, ROWS, Row},
    run::{self, Run},
};

/// Measure what Kith costs, on a cluster of processes started for it
///
/// Real QUIC with TLS, real processes, real fsync; every run checks the history that it made. For figures that mean something, build with
/// `cargo build --release -p kith` and leave the machine alone meanwhile.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// List the rows of the table of targets
    List,
    /// Senders with one send in flight each, members who are all online
    Chat(Chat),
    /// Sessions that say nothing (T5)
    Idle(Idle),
    /// Everything at once, in the proportions of a large deployment (T1)
    Mixed(Mixed),
    /// Direct sends with 512 in flight, and at half that load (T2)
    Send,
    /// Direct sends, one in flight (T2a)
    Lone,
    /// Direct sends, 64 in flight, against the best of other systems (T2b)
    Pairs,
    /// Direct sends of 100 KB (T2c)
    Large,
    /// One group of 100, all online, 16 senders (T3)
    Group,
    /// 16 groups of 100 (T3a)
    Groups,
    /// Small frames to distinct sessions (T4)
    Edge,
    /// Handshakes, full and resumed (T6)
    Handshake,
    /// Devices that ask what is new (T7)
    Sync,
    /// User-index updates applied by one replica (T8)
    Index,
    /// Heartbeats at the edge (T9)
    Heartbeat,
    /// Who is here, shown to 20,000 sessions that look at 50 contacts each (T18)
    Presence,
    /// Leaders killed under load: when sends resume (T10)
    Failover,
    /// A bucket moved under load (T11)
    Move(Move),
    /// A node with many sessions dies (T12)
    Reconnect(Reconnect),
    /// Bytes on disk of a message of real chat (T13)
    Disk(Means),
    /// The map of a large cluster: decode, lookup (T14)
    Map,
    /// 100 groups that nobody writes to (T15)
    Quiet,
    /// A page of history, cold (T16)
    Page(Page),
    /// From the start of a single node to the first accepted message (T17)
    Start,
    /// What a device uses: wake-ups and bytes of an idle hour, bytes of a text, processor, start with many conversations (T19)
    Sdk,
    /// Every row that can be measured, several times: table, JSON, plots
    All(suite::All),
    /// Hold the costs to the accepted figures, in processor time for each operation
    Check(suite::Check),
    /// How cost grows with nodes, groups, sessions and history
    Grow(suite::Grow),
    /// From daily users to nodes, by the measured costs
    Plan(suite::Plan),
}

/// What some rows need from outside.
#[derive(clap::Args, Clone, Debug)]
struct Means {
    /// The sample of real chat
    #[arg(long, value_name = "FILE", default_value = "tests/data/irc-sample.jsonl.gz")]
    sample: PathBuf,
    /// Where stores are kept from run to run
    #[arg(long, value_name = "DIR", default_value = "target/bench/stores")]
    stores: PathBuf,
}

#[derive(clap::Args, Debug)]
struct Mixed {
    /// Rooms of 6 or 7 members, each with one who speaks
    #[arg(long, value_name = "N", default_value_t = 200)]
    rooms: usize,
    /// Sends a second, all rooms together; 0: as many as they can
    #[arg(long, value_name = "R", default_value_t = 2_000.0)]
    rate: f64,
    /// Seconds that are counted
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
}

#[derive(clap::Args, Debug)]
struct Move {
    /// What the bucket holds, in MiB; the row's is 1 GiB
    #[arg(long, value_name = "MB", default_value_t = freeze::BUCKET_MB)]
    megabytes: u64,
}

#[derive(clap::Args, Debug)]
struct Reconnect {
    /// Sessions of all three nodes together
    #[arg(long, value_name = "N", default_value_t = reconnect::SESSIONS)]
    sessions: usize,
}

#[derive(clap::Args, Debug)]
struct Page {
    /// Messages stored
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,
    #[command(flatten)]
    means: Means,
}

#[derive(clap::Args, Debug)]
struct Chat {
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: usize,
    /// Raft groups that hold conversations; one for each node unless given
    #[arg(long, value_name = "N")]
    groups: Option<u32>,
    /// Senders, each with one send in flight
    #[arg(long, value_name = "C", default_value_t = 64)]
    senders: usize,
    /// 1: each sender talks to a receiver of its own; more: members of each group chat, senders included
    #[arg(long, value_name = "M", default_value_t = 1)]
    members: usize,
    /// Group chats, over which the senders are spread
    #[arg(long, value_name = "K", default_value_t = 1)]
    channels: usize,
    /// Bytes of a text
    #[arg(long, value_name = "BYTES", default_value_t = 200)]
    payload: usize,
    /// Seconds that are counted
    #[arg(long, value_name = "S", default_value_t = 8)]
    seconds: u64,
    /// Texts a second of all senders together, instead of as many as they can
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Keep the cluster's data in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
struct Idle {
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: usize,
    /// Sessions
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    clients: usize,
    /// Seconds of silence
    #[arg(long, value_name = "S", default_value_t = 35)]
    seconds: u64,
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    if cfg!(debug_assertions) && !matches!(args.act, Act::List | Act::Plan(_)) {
        eprintln!("warning: this is not a release build; its figures say little");
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(Exit::Interrupted),
        done = act(&args) => done,
    }
}

async fn act(args: &Args) -> Result<Exit, Failure> {
    let means = || run::Means { sample: "".into(), stores: "".into() };
    match &args.act {
        Act::List => list(args.json),
        Act::Chat(chat) => {
            let measured = Box::pin(chat::run(&chat.options())).await.map_err(failure)?;
            tell_chat(&measured, args.json)?;
            return Ok(if measured.outcome.missing == 0 { Exit::Done } else { Exit::Bad });
        }
        Act::Idle(asked) => {
            let options = idle::Options { nodes: asked.nodes, clients: asked.clients, seconds: asked.seconds };
            let outcome = idle::run(&options).await.map_err(failure)?;
            tell(&run::to_value(outcome).map_err(failure)?, args.json);
        }
        Act::Mixed(asked) => {
            let rate = (asked.rate > 0.0).then_some(asked.rate);
            let options = mixed::Options { rooms: asked.rooms, rate, seconds: asked.seconds };
            let measured = Box::pin(mixed::run(&options)).await.map_err(failure)?;
            return Ok(tell_row(row_of("mixed")?, &run::mixed_figures(&measured).map_err(failure)?, args.json));
        }
        Act::Page(asked) => {
            let outcome = Box::pin(page::run(asked.messages, &asked.means.stores)).await.map_err(failure)?;
            let measured = run::plain(outcome, "disk").map_err(failure)?;
            return Ok(tell_row(row_of("page")?, &measured, args.json));
        }
        Act::Move(asked) => {
            let measured = run::move_row(asked.megabytes).await.map_err(failure)?;
            return Ok(tell_row(row_of("move")?, &measured, args.json));
        }
        Act::Reconnect(asked) => {
            let measured = run::reconnect_row(asked.sessions).await.map_err(failure)?;
            return Ok(tell_row(row_of("reconnect")?, &measured, args.json));
        }
        Act::All(asked) => return suite::all(asked, args.json).await,
        Act::Check(asked) => return suite::check(asked, args.json).await,
        Act::Grow(asked) => return suite::grow(asked, args.json).await,
        Act::Plan(asked) => return suite::plan(asked, args.json),
        Act::Disk(given) => return row("disk", &run::Means { sample: given.sample.clone(), stores: given.stores.clone() }, args.json).await,
        act => return row(act.row(), &means(), args.json).await,
    }
    Ok(Exit::Done)
}

/// Measures a row once.
async fn row(name: &str, means: &run::Means, json: bool) -> Result<Exit, Failure> {
    let row = row_of(name)?;
    let measured = Box::pin(run::run(row, means)).await.map_err(failure)?;
    Ok(tell_row(row, &measured, json))
}

fn row_of(name: &str) -> Result<&'static Row, Failure> {
    row::by_name(name).ok_or_else(|| Failure::usage(format!("there is no row {name}"), "`kith bench list` names them"))
}

impl Act {
    /// The row that it measures; nothing for those that are none.
    const fn row(&self) -> &'static str {
        match self {
            Self::List | Self::Chat(_) | Self::All(_) | Self::Check(_) | Self::Grow(_) | Self::Plan(_) => "",
            Self::Idle(_) => "idle",
            Self::Mixed(_) => "mixed",
            Self::Send => "send",
            Self::Lone => "lone",
            Self::Pairs => "pairs",
            Self::Large => "large",
            Self::Group => "group",
            Self::Groups => "groups",
            Self::Edge => "edge",
            Self::Handshake => "handshake",
            Self::Sync => "sync",
            Self::Index => "index",
            Self::Heartbeat => "heartbeat",
            Self::Presence => "presence",
            Self::Failover => "failover",
            Self::Move(_) => "move",
            Self::Reconnect(_) => "reconnect",
            Self::Disk(_) => "disk",
            Self::Map => "map",
            Self::Quiet => "quiet",
            Self::Page(_) => "page",
            Self::Start => "start",
            Self::Sdk => "sdk",
        }
    }
}

impl Chat {
    fn options(&self) -> chat::Options {
        chat::Options {
            nodes: self.nodes,
            groups: self.groups.unwrap_or_else(|| u32::try_from(self.nodes).unwrap_or(u32::MAX)),
            senders: self.senders,
            members: self.members,
            channels: self.channels,
            payload: self.payload,
            seconds: self.seconds,
            rate: self.rate,
            log_bytes_before: 0,
            data: self.data.clone(),
        }
    }
}

fn list(json: bool) {
    if json {
        ROWS.iter().for_each(|row| println!("{}", json!(row)));
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["row", "name", "what", "figure", "floor", "goal"]);
    for row in ROWS {
        for (nth, metric) in row.metrics.iter().enumerate() {
            let [number, name, what] = if nth == 0 { [row.row, row.name, row.what] } else { [""; 3] };
            let bound = |bound: Option<f64>| bound.map(short).unwrap_or_default();
            table.add_row([number, name, what, metric.what, &bound(metric.floor), &bound(metric.goal)]);
        }
    }
    println!("{table}");
}

fn tell_chat(measured: &Measured, json: bool) -> Result<(), Failure> {
    tell(&run::to_value(&measured.outcome).map_err(failure)?, json);
    if !json {
        let machine = &measured.machine;
        println!(
            "beside it: fdatasync p50 {:.3} ms, loopback round trip p50 {:.0} us, {} texts pulled",
            machine.fdatasync_ms_p50, machine.udp_round_trip_us_p50, measured.pulled
        );
        let strain = &measured.strain;
        println!(
            "each: {:.1} commands a proposal, {:.1} appends a sync, {:.1} frames a write; {:.0} syncs/s",
            strain.items_per_batch, strain.jobs_per_sync, strain.frames_per_write, strain.syncs_per_s
        );
        println!("bottleneck: {}", strain.bottleneck());
    }
    Ok(())
}

/// Prints a run; bad when something was lost.
fn tell_row(row: &Row, run: &Run, json: bool) -> Exit {
    if json {
        let mut line = json!({ "row": row.row, "name": row.name });
        line["run"] = json!(run);
        println!("{line}");
    } else {
        println!("{} {}: {}", row.row, row.name, row.what);
        tell(&run.figures, false);
        println!("bottleneck: {}", run.bottleneck);
    }
    let broken = row.broken(&run.figures);
    broken.iter().for_each(|broken| eprintln!("A PROMISE WAS BROKEN: {broken}"));
    if broken.is_empty() { Exit::Done } else { Exit::Bad }
}

/// An object, a line for each figure.
fn tell(figures: &Value, json: bool) {
    if json {
        println!("{figures}");
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let Value::Object(fields) = figures else { return };
    for (name, value) in fields {
        if let Value::Object(inner) = value {
            for (part, value) in inner {
                table.add_row([format!("  {name} {part}"), round(value)]);
            }
        } else {
            table.add_row([format!("  {name}"), round(value)]);
        }
    }
    println!("{table}");
}

fn round(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => short(number),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Client(error) => error.into(),
        BenchError::Open(error) => error.into(),
        BenchError::Invalid(text) => Failure::usage(text, "`kith bench chat --help` tells what goes together"),
        BenchError::Lost(_) | BenchError::Untrue(_) => Failure::local(
            "the benchmark failed",
            &error,
            "leave the machine alone and run it again; if it loses something again, that is a fault of Kith's",
        ),
        BenchError::Nodes(_) | BenchError::Io { .. } => {
            Failure::local("the benchmark failed", &error, "the text above says why; it needs room in the folder for temporary files")
        }
    }
}
