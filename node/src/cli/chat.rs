//! `kith chat`: a conversation in a terminal, line by line.

use std::{io::IsTerminal, time::Duration};

use kith_client::{Backfill, Channel, Event, wire::code::Code};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{ClusterArgs, Names, Session, connect},
    failure::{Exit, Failure, chain},
    record::{record_json, record_line},
    shown::say,
};

/// Chat in this terminal: a line is a message, Ctrl-D ends
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who talks
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// A user's name, or a group's id or title; on a terminal it waits for a user who is not there yet
    #[arg(long, value_name = "NAME|GROUP")]
    to: String,
}

/// Between two looks for a user who has no account yet.
const LOOK: Duration = Duration::from_secs(1);

/// The conversation; a person at a terminal waits until the other has an account, as with two terminals one is always first.
async fn partner(session: &Session, args: &Args, waits: bool) -> Result<Channel, Failure> {
    let mut is_told = false;
    loop {
        match session.conversation(&args.to).await {
            Err(failure) if waits && failure.code() == Some(Code::NoSuchUser) => {
                if !is_told {
                    println!("nobody is named {0:?} yet; waiting for `kith chat --as {0} --to {1}` (Ctrl-C ends)", args.to, args.name);
                    is_told = true;
                }
                tokio::time::sleep(LOOK).await;
            }
            found => return found,
        }
    }
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let session = args.cluster.session(&args.name, Backfill::Recent(20)).await?;
    let client = &session.client;
    let mut events = client.events();
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        connected = connect(client) => connected?,
    }
    let is_on_terminal = std::io::stdout().is_terminal() && !args.cluster.json;
    let channel = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        found = partner(&session, &args, is_on_terminal) => found?,
    };
    let mut names = Names::new(client);
    if is_on_terminal {
        println!("you are {}, talking to {}; a line is a message, Ctrl-D ends", args.name, args.to);
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = events.next() => match event {
                Some(Event::Record { channel: of, record }) if of == channel.id() => {
                    names.learn(Names::users_of(&record)).await?;
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
