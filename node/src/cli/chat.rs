//! `kith chat`: a conversation line by line, or the full client on a terminal.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kith_client::{Backfill, Channel, Event, wire::code::Code};
use kith_tui::{Options, Server, Zone};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{ClusterArgs, Names, Session, connect},
    failure::{Exit, Failure, chain},
    record::{record_json, record_line},
    seat::Logins,
    shown::say,
};
use crate::cluster::ClusterFiles;

/// Chat in this terminal: the full client, or with --to one conversation line by line
///
/// Without --to, on a terminal, it opens the full client: sign up, log in, conversations, groups, contacts, account; `?` or F1 shows the keys of
/// each screen. It knows the server from the cluster's folder, or from --server and --ca; logins are kept in the folder's `logins`. NO_COLOR turns
/// colours off.
///
/// With --to (and for pipes and scripts) a line is a message, and Ctrl-D ends.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who talks; without --to, the saved login to go on with
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// A user's name, or a group's id or title; on a terminal it waits for a user who is not there yet
    #[arg(long, value_name = "NAME|GROUP")]
    to: Option<String>,
    /// Never the full client
    #[arg(long)]
    plain: bool,
}

/// Between two looks for a user who has no account yet.
const LOOK: Duration = Duration::from_secs(1);

/// The conversation; a person at a terminal waits until the other has an account, as with two terminals one is always first.
async fn partner(session: &Session, name: &str, to: &str, waits: bool) -> Result<Channel, Failure> {
    let mut is_told = false;
    loop {
        match session.conversation(to).await {
            Err(failure) if waits && failure.code() == Some(Code::NoSuchUser) => {
                if !is_told {
                    println!("nobody is named {to:?} yet; waiting for `kith chat --as {to} --to {name}` (Ctrl-C ends)");
                    is_told = true;
                }
                tokio::time::sleep(LOOK).await;
            }
            found => return found,
        }
    }
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match (&args.name, &args.to) {
        (Some(name), Some(to)) => by_lines(&args, name, to, stop).await,
        (_, None) if is_terminal && !args.plain && !args.cluster.json => full(args, stop).await,
        _ => Err(Failure::usage(
            "who talks, or to whom, is not said",
            "line by line: kith chat --as NAME --to NAME|GROUP; the full client needs a terminal",
        )),
    }
}

/// The full client.
async fn full(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let ClusterArgs { cluster: folder, server: addresses, ca, .. } = args.cluster.clone();
    let options = Options {
        server: server(&folder, addresses, ca),
        title: title(),
        resume: args.name,
        colors: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        zone: Zone::of_machine(),
    };
    let ran = kith_tui::run(Arc::new(Logins::new(folder)), options, stop).await;
    ran.map_err(|error| Failure::local("using this terminal", &error, "start it in a terminal, or use --as and --to"))?;
    Ok(Exit::Done)
}

/// Where the cluster is: as told, else as its folder says, else the user will say it.
fn server(folder: &Path, addresses: Option<String>, certificate: Option<PathBuf>) -> Server {
    let files = folder.join("cluster");
    let known = || {
        let nodes = ClusterFiles::load(&files).ok()?.spec.nodes;
        Some(nodes.into_iter().map(|node| node.address).collect::<Vec<_>>().join(", "))
    };
    let pem = files.join("ca.pem");
    let certificate = certificate.or_else(|| pem.exists().then_some(pem));
    Server {
        addresses: addresses.or_else(known).unwrap_or_default(),
        certificate: certificate.map_or_else(String::new, |path| path.display().to_string()),
    }
}

/// What this device is called.
fn title() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    if host.is_empty() { "a terminal".to_owned() } else { format!("a terminal on {host}") }
}

async fn by_lines(args: &Args, name: &str, to: &str, stop: CancellationToken) -> Result<Exit, Failure> {
    let session = args.cluster.session(name, Backfill::Recent(20)).await?;
    let client = &session.client;
    let mut events = client.events();
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        connected = connect(client) => connected?,
    }
    let is_on_terminal = std::io::stdout().is_terminal() && !args.cluster.json;
    let channel = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        found = partner(&session, name, to, is_on_terminal) => found?,
    };
    let mut names = Names::new(client);
    if is_on_terminal {
        println!("you are {name}, talking to {to}; a line is a message, Ctrl-D ends");
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = events.next() => match event {
                Some(Event::Record { channel: of, record }) if of == channel.id() => {
                    names.learn(record.users()).await?;
                    let line = if args.cluster.json { record_json(of, &record, &names).to_string() } else { record_line(&record, &names) };
                    if args.cluster.json { println!("{line}") } else { say(&line) }
                }
                Some(_) => {}
                None => {
                    client.connect().await?;
                    break;
                }
            },
            line = lines.next_line() => match line {
                Ok(Some(line)) if line.trim().is_empty() => {}
                Ok(Some(line)) => match channel.send(line).await {
                    Ok(outgoing) => last = Some(outgoing),
                    Err(error) => eprintln!("not sent: {}", chain(&error)),
                },
                Ok(None) => break,
                Err(error) => return Err(Failure::local("reading what you type", &error, "start it in a terminal, or give it lines on standard input")),
            },
        }
    }
    // What was typed last is waited for; all before it has its answer by then.
    if let Some(outgoing) = last {
        tokio::select! {
            () = stop.cancelled() => {}
            sent = outgoing.sent() => {
                sent?;
            }
        }
    }
    client.close().await;
    Ok(Exit::Done)
}
