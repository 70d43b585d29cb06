//! `kith demo`: a cluster on this machine, and a replay of real chat through it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use crate::demo::{
    chaos::{Chaos, Whom},
    regions::WorldReport,
    report::{MemoryOfNode, Report},
    run::{DemoError, End, Options, Replay, Voice, run as run_demo},
};

/// Start a cluster on this machine, in temporary data, and say how to talk to it
///
/// With --replay, real chat is sent through it, everything is read back from every replica, and a table says whether all is as promised;
/// then it ends, unless --stay is given.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Nodes, spread over three zones
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    nodes: u64,
    /// Regions, far from each other; in each as many nodes and groups. Says for people of each where they were let in
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "replay", value_parser = clap::value_parser!(u8).range(1..=16))]
    regions: u8,
    /// Raft groups that hold conversations; one for each node unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    groups: Option<u32>,
    /// Keep the data in this folder, and go on with what is there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Send this chat log through the cluster (.jsonl or .jsonl.gz)
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Send at most so many of its messages
    #[arg(long, value_name = "N", requires = "replay", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Messages a second, 0 for flat out
    #[arg(long, value_name = "N", requires = "replay", default_value_t = 0)]
    rate: u64,
    /// Kill a node (SIGKILL) in mid-run and start it again
    #[arg(long, value_name = "WHOM", requires = "replay")]
    kill: Option<Whom>,
    /// Kill a node each so many seconds; any, unless --kill says whom
    #[arg(long, value_name = "SECONDS", requires = "replay", value_parser = clap::value_parser!(u64).range(1..))]
    kill_every: Option<u64>,
    /// Decides which node is killed, when and for how long; drawn and told unless given
    #[arg(long, value_name = "X")]
    seed: Option<u64>,
    /// Keep the cluster up after the replay, until Ctrl-C
    #[arg(long)]
    stay: bool,
    /// Print the result as one JSON object, the last line; all else goes to standard error
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let chaos = (args.kill.is_some() || args.kill_every.is_some()).then(|| Chaos {
        whom: args.kill.unwrap_or(Whom::Any),
        every: args.kill_every.map(Duration::from_secs),
        seed: args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000)),
    });
    let nodes = usize::try_from(args.nodes).unwrap_or(usize::MAX);
    let options = Options {
        data: args.data,
        nodes,
        groups: args.groups.unwrap_or_else(|| u32::try_from(nodes).unwrap_or(u32::MAX)),
        regions: args.regions,
        // Who reads the result as JSON waits for its end.
        stay: args.stay || (args.replay.is_none() && !(args.regions > 1 && args.json)),
        replay: args.replay.map(|file| Replay { file, limit: args.limit.and_then(|limit| usize::try_from(limit).ok()), rate: args.rate }),
        chaos,
    };
    let is_bare = options.replay.is_none();
    match run_demo(options, Arc::new(Screen { json: args.json }), stop).await {
        Ok(End::Good) => Ok(Exit::Done),
        Ok(End::Faulty) => Ok(Exit::Bad),
        // Without a replay, Ctrl-C is how it ends.
        Ok(End::Interrupted) => Ok(if is_bare { Exit::Done } else { Exit::Interrupted }),
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: DemoError) -> Failure {
    match error {
        DemoError::Client(error) => error.into(),
        DemoError::Open(error) => error.into(),
        DemoError::Replay(error) => {
            Failure::local("reading the chat log", &error, "tests/data/README.md describes the format; tests/data holds a sample")
        }
        DemoError::Folder(_) => Failure::local("the demo cannot start", &error, "give a folder that can be written: --data DIR"),
        DemoError::Nodes(_) => Failure::local("the demo's cluster failed", &error, "the log above says why; with --data DIR the whole logs are kept"),
    }
}

struct Screen {
    json: bool,
}

impl Voice for Screen {
    fn say(&self, line: &str) {
        if self.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
    fn world(&self, report: &WorldReport) {
        if self.json {
            eprintln!("{}", report.table());
            match serde_json::to_string(report) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: the report cannot be written: {error}"),
            }
        } else {
            println!("{}", report.table());
        }
    }
    fn report(&self, report: &Report, memory: &[MemoryOfNode], is_good: bool) {
        if self.json {
            eprintln!("{}", report.table(memory));
            match serde_json::to_string(report) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("error: the report cannot be written: {error}"),
            }
        } else {
            println!("{}", report.table(memory));
            println!("{}", if is_good { "Every promise was kept." } else { "A PROMISE WAS BROKEN: see the table." });
        }
    }
}
