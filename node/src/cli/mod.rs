//! Verbs of the command line: one file each, from argument to request to text.
//!
//! In: arguments. Out: text for a person, or one JSON object a line with `--json`; an exit code. Invariants: standard output holds only what was
//! asked for, everything else goes to standard error; an error says what happened and what to do; text of users reaches a terminal by [`shown`] only.
//! Not here: what is done (`operator`, `demo`, the server).

mod access;
mod account;
mod admin;
mod bench;
mod bot;
mod cert;
mod chat;
mod check;
mod cluster;
mod config;
mod contact;
mod debug;
mod demo;
mod desk;
mod device;
mod discover;
mod doctor;
mod export;
mod failure;
pub(crate) mod fuzz;
mod generate;
mod group;
mod history;
mod join;
mod layout;
mod list;
mod local;
mod login;
mod make;
mod message;
mod node;
mod notify;
mod presence;
mod push;
mod record;
mod search;
mod seat;
mod send;
mod shard;
mod shown;
mod start;
mod status;
mod tail;
mod tar;
mod token;
mod upgrade;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};
pub use kith_machine::mutant::Quirk;
use kith_raft::FailPoints;
use tokio_util::sync::CancellationToken;

use cluster::ClusterArgs;
use failure::{Exit, Failure};

use crate::supervise::Tasks;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and the answer is bad: a replay lost something, a check found damage
  2  wrong usage
  3  no node could be reached, or none answered in time
  4  the cluster refused
  5  something on this machine is missing or cannot be used
  6  the cluster refused this node's data directory: it is empty, an old copy, was replaced or decommissioned; or this build is too old or too new for it
130  interrupted before the end";

/// A distributed chat cluster, and the tools to talk to it.
#[derive(Parser, Debug)]
#[command(name = "kith", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Start(start::Args),
    Demo(demo::Args),
    Bench(bench::Args),
    Token(token::Args),
    Account(account::Args),
    Admin(access::Args),
    Bot(bot::Args),
    Contact(contact::Args),
    Presence(presence::Args),
    Push(push::Args),
    Report(desk::ReportArgs),
    Ban(desk::BanArgs),
    Audit(desk::AuditArgs),
    Webhook(webhook::Args),
    List(list::Args),
    Group(group::Args),
    Send(send::Args),
    Message(message::Args),
    Tail(tail::Args),
    History(history::Args),
    Search(search::Args),
    Chat(chat::Args),
    Status(status::Args),
    Discover(discover::Args),
    Check(check::Args),
    Cluster(make::Args),
    Cert(cert::Args),
    Config(config::Args),
    Doctor(doctor::Args),
    Debug(debug::Args),
    Generate(generate::Args),
    Node(node::Args),
    Layout(layout::Args),
    Shard(shard::Args),
    Upgrade(upgrade::Args),
}

/// What is wrong with the node that the program starts: nothing, and nothing that could be, in every build that is shipped.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// What it does wrong.
    pub quirk: Quirk,
    /// Where it fails.
    pub failpoints: FailPoints,
}

/// Runs the program with this process's arguments.
pub fn main() -> ExitCode {
    main_with(Faults::default())
}

/// As [`main`], with faults.
pub fn main_with(faults: Faults) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing is left to do if even this cannot be printed.
            let _ = error.print();
            return if is_answer { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::local("starting threads", &error, "free some memory or processes, then try again").print(false),
    };
    let is_json = cli.is_json();
    let done = runtime.block_on(cli.run(faults));
    // A line being read from a terminal cannot be cancelled.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.print(is_json),
    }
}

impl Cli {
    async fn run(self, faults: Faults) -> Result<Exit, Failure> {
        let stop = stop_on_signals()?;
        let cluster = self.cluster();
        let done = Box::pin(self.verb.run(stop, faults)).await;
        if let Some(cluster) = cluster {
            cluster.close().await;
        }
        done
    }

    fn cluster(&self) -> Option<ClusterArgs> {
        match &self.verb {
            Verb::Start(_)
            | Verb::Demo(_)
            | Verb::Bench(_)
            | Verb::Check(_)
            | Verb::Cluster(_)
            | Verb::Cert(_)
            | Verb::Config(_)
            | Verb::Doctor(_)
            | Verb::Debug(_)
            | Verb::Generate(_) => None,
            Verb::Token(args) => Some(args.cluster.clone()),
            Verb::Account(args) => Some(args.cluster.clone()),
            Verb::Admin(args) => Some(args.cluster.clone()),
            Verb::Bot(args) => Some(args.cluster.clone()),
            Verb::Contact(args) => Some(args.cluster.clone()),
            Verb::Presence(args) => Some(args.cluster.clone()),
            Verb::Push(args) => Some(args.cluster.clone()),
            Verb::Report(args) => Some(args.cluster.clone()),
            Verb::Ban(args) => Some(args.cluster.clone()),
            Verb::Audit(args) => Some(args.cluster.clone()),
            Verb::Webhook(args) => Some(args.cluster.clone()),
            Verb::List(args) => Some(args.cluster.clone()),
            Verb::Group(args) => Some(args.cluster.clone()),
            Verb::Send(args) => Some(args.cluster.clone()),
            Verb::Message(args) => Some(args.cluster.clone()),
            Verb::Tail(args) => Some(args.cluster.clone()),
            Verb::History(args) => Some(args.cluster.clone()),
            Verb::Search(args) => Some(args.cluster.clone()),
            Verb::Chat(args) => Some(args.cluster.clone()),
            Verb::Status(args) => Some(args.cluster.clone()),
            Verb::Discover(args) => Some(args.cluster.clone()),
            Verb::Node(args) => Some(args.cluster.clone()),
            Verb::Layout(args) => Some(args.cluster.clone()),
            Verb::Shard(args) => Some(args.cluster.clone()),
            Verb::Upgrade(args) => Some(args.cluster.clone()),
        }
    }

    fn is_json(&self) -> bool {
        match &self.verb {
            Verb::Start(args) => args.json,
            Verb::Demo(args) => args.json,
            Verb::Bench(args) => args.json,
            Verb::Check(args) => args.json,
            Verb::Cluster(args) => args.json,
            Verb::Cert(args) => args.json,
            Verb::Config(args) => args.json,
            Verb::Doctor(args) => args.json,
            Verb::Debug(args) => args.json,
            Verb::Generate(args) => args.json,
            _ => self.cluster().is_some_and(|cluster| cluster.json),
        }
    }
}

impl Verb {
    async fn run(self, stop: CancellationToken, faults: Faults) -> Result<Exit, Failure> {
        match self {
            Self::Start(args) => Box::pin(start::run(args, stop, faults)).await,
            Self::Demo(args) => demo::run(args, stop).await,
            Self::Bench(args) => Box::pin(bench::run(args, stop)).await,
            Self::Check(args) => check::run(args).await,
            Self::Cluster(args) => make::run(&args),
            Self::Cert(args) => cert::run(&args),
            Self::Config(args) => config::run(&args),
            Self::Generate(args) => generate::run(&args),
            Self::Doctor(args) => until(stop, doctor::run(&args)).await,
            Self::Debug(args) => until(stop, debug::run(&args)).await,
            Self::Token(args) => until(stop, token::run(args)).await,
            Self::Account(args) => Box::pin(until(stop, account::run(args))).await,
            Self::Admin(args) => Box::pin(until(stop, access::run(args))).await,
            Self::Bot(args) => until(stop, bot::run(args)).await,
            Self::Contact(args) => until(stop, contact::run(args)).await,
            Self::Presence(args) => presence::run(args, stop).await,
            Self::Push(args) => push::run(args, stop).await,
            Self::Report(args) => until(stop, desk::report(args)).await,
            Self::Ban(args) => until(stop, desk::ban(args)).await,
            Self::Audit(args) => until(stop, desk::audit(args)).await,
            Self::Webhook(args) => until(stop, webhook::run(args)).await,
            Self::List(args) => until(stop, list::run(args)).await,
            Self::Group(args) => until(stop, group::run(args)).await,
            Self::Send(args) => until(stop, send::run(args)).await,
            Self::Message(args) => until(stop, message::run(args)).await,
            Self::Tail(args) => tail::run(args, stop).await,
            Self::History(args) => until(stop, history::run(args)).await,
            Self::Search(args) => until(stop, search::run(args)).await,
            Self::Chat(args) => Box::pin(chat::run(args, stop)).await,
            Self::Status(args) => until(stop, status::run(args)).await,
            Self::Discover(args) => until(stop, discover::run(args)).await,
            Self::Node(args) => until(stop, node::run(args)).await,
            Self::Layout(args) => until(stop, layout::run(args)).await,
            Self::Shard(args) => until(stop, shard::run(args)).await,
            Self::Upgrade(args) => until(stop, upgrade::run(args)).await,
        }
    }
}

/// Fires with Ctrl-C or SIGTERM.
fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let failed = |error: std::io::Error| Failure::local("listening for signals", &error, "this should not happen; please report it");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    // Lives as long as the process: there is nobody to await it.
    Tasks::new(tokio::runtime::Handle::current()).spawn("cli.signals", async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}

async fn until(stop: CancellationToken, work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(Exit::Interrupted),
        done = work => done,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_json_and_says_what_it_does() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} says what it does", command.get_name());
            let subs: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
            subs.iter().for_each(|sub| check(sub));
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            assert!(verb.get_arguments().any(|argument| argument.get_id() == "json"), "{} has --json", verb.get_name());
        }
    }
}
