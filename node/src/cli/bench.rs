//! `kith bench`: what Kith costs on this machine.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use crate::bench::{
    BenchError,
    chat::{self, Measured},
    failover, heartbeat, idle, quiet,
    row::{ROWS, Ready, Row},
    start,
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
    /// Sessions that say nothing
    Idle(Idle),
    /// Direct sends with 512 in flight (T2)
    Send,
    /// Direct sends, one in flight (T2a)
    Lone,
    /// One group of 100, all online, 16 senders (T3)
    Group,
    /// 16 groups of 100 (T3a)
    Groups,
    /// Heartbeats at the edge (T9)
    Heartbeat,
    /// Leaders killed under load: when sends resume (T10)
    Failover,
    /// 100 groups that nobody writes to (T15)
    Quiet,
    /// From the start of a single node to the first accepted message (T17)
    Start,
    /// Every row that can be measured
    All,
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
    if cfg!(debug_assertions) && !matches!(args.act, Act::List) {
        eprintln!("warning: this is not a release build; its figures say little");
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(Exit::Interrupted),
        done = act(&args) => done,
    }
}

async fn act(args: &Args) -> Result<Exit, Failure> {
    match &args.act {
        Act::List => list(args.json),
        Act::Chat(chat) => {
            let measured = chat::run(&chat.options()).await.map_err(failure)?;
            tell_chat(&measured, args.json)?;
            return Ok(if measured.outcome.missing == 0 { Exit::Done } else { Exit::Bad });
        }
        Act::Idle(asked) => {
            let options = idle::Options { nodes: asked.nodes, clients: asked.clients, seconds: asked.seconds };
            tell(&to_value(&idle::run(&options).await.map_err(failure)?)?, args.json);
        }
        Act::Send => return rows(&["send"], args.json).await,
        Act::Lone => return rows(&["lone"], args.json).await,
        Act::Group => return rows(&["group"], args.json).await,
        Act::Groups => return rows(&["groups"], args.json).await,
        Act::Heartbeat => return rows(&["heartbeat"], args.json).await,
        Act::Failover => return rows(&["failover"], args.json).await,
        Act::Quiet => return rows(&["quiet"], args.json).await,
        Act::Start => return rows(&["start"], args.json).await,
        Act::All => {
            let all: Vec<&str> = ROWS.iter().filter(|row| row.ready == Ready::Now).map(|row| row.name).collect();
            return rows(&all, args.json).await;
        }
    }
    Ok(Exit::Done)
}

/// Measures rows, one after the other.
async fn rows(names: &[&str], json: bool) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for row in ROWS.iter().filter(|row| names.contains(&row.name)) {
        let options = |senders, members, channels| chat::Options {
            nodes: 3,
            groups: 3,
            senders,
            members,
            channels,
            payload: 200,
            seconds: 8,
            rate: None,
            data: None,
        };
        let figures = match row.name {
            "idle" => to_value(&idle::run(&idle::Options { nodes: 1, clients: 5_000, seconds: 35 }).await.map_err(failure)?)?,
            "heartbeat" => to_value(&heartbeat::run(500, 8).await.map_err(failure)?)?,
            "failover" => {
                let outcome = failover::run(6).await.map_err(failure)?;
                if outcome.missing + outcome.duplicate + outcome.gaps > 0 {
                    exit = Exit::Bad;
                }
                to_value(&outcome)?
            }
            "quiet" => to_value(&quiet::run(100, 15).await.map_err(failure)?)?,
            "start" => to_value(&start::run().await.map_err(failure)?)?,
            name => {
                let measured = chat::run(&match name {
                    "send" => options(512, 1, 1),
                    "lone" => options(1, 1, 1),
                    "group" => options(16, 100, 1),
                    _ => options(16, 100, 16),
                })
                .await
                .map_err(failure)?;
                if measured.outcome.missing > 0 {
                    exit = Exit::Bad;
                }
                json!({ "chat": measured.outcome, "machine": measured.machine, "pulled": measured.pulled })
            }
        };
        tell_row(row, &figures, json);
    }
    Ok(exit)
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
    table.set_header(["row", "name", "what", "floor", "goal", ""]);
    for row in ROWS {
        let state = match row.ready {
            Ready::Now => String::new(),
            Ready::Later(why) => format!("awaited: {why}"),
        };
        table.add_row([row.row, row.name, row.what, row.floor, row.goal, &state]);
    }
    println!("{table}");
}

fn tell_chat(measured: &Measured, json: bool) -> Result<(), Failure> {
    let figures = to_value(&measured.outcome)?;
    tell(&figures, json);
    if !json {
        println!(
            "beside it: fdatasync p50 {:.3} ms, loopback round trip p50 {:.0} us, {} texts pulled",
            measured.machine.fdatasync_ms_p50, measured.machine.udp_round_trip_us_p50, measured.pulled
        );
    }
    Ok(())
}

fn tell_row(row: &Row, figures: &Value, json: bool) {
    if json {
        println!("{}", json!({ "row": row.row, "name": row.name, "floor": row.floor, "goal": row.goal, "figures": figures }));
        return;
    }
    println!("{} {}: {} (floor {}, goal {})", row.row, row.name, row.what, row.floor, row.goal);
    tell(figures, false);
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
        Some(number) if value.is_f64() && number >= 1_000.0 => format!("{number:.0}"),
        Some(number) if value.is_f64() => format!("{number:.3}"),
        _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn to_value(figures: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(figures).map_err(|error| Failure::local("writing the figures", &error, "this should not happen; please report it"))
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Client(error) => error.into(),
        BenchError::Open(error) => error.into(),
        BenchError::Invalid(text) => Failure::usage(text, "`kith bench chat --help` tells what goes together"),
        BenchError::Nodes(_) | BenchError::Io { .. } => {
            Failure::local("the benchmark failed", &error, "the text above says why; it needs room in the folder for temporary files")
        }
    }
}
