//! `kith tail`: what a user is shown, live.

use kith_client::{Backfill, Event};
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{ClusterArgs, Names, connect},
    failure::{Exit, Failure},
    record::{record_json, record_line},
    shown::say,
};

/// Show a user's messages as they come, until Ctrl-C
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whose
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Only those with this user, or of this group (id or title)
    #[arg(long, value_name = "NAME|GROUP")]
    of: Option<String>,
    /// Begin with the newest records of each conversation
    #[arg(long, value_name = "N", default_value_t = 10)]
    recent: u32,
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let session = args.cluster.session(&args.name, Backfill::Recent(args.recent)).await?;
    let client = &session.client;
    let mut events = client.events();
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        connected = connect(client) => connected?,
    }
    let only = match &args.of {
        Some(of) => Some(session.conversation(of).await?.id()),
        None => None,
    };
    let mut names = Names::new(client);
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            Some(Event::Record { channel, record }) if only.is_none_or(|only| only == channel) => {
                names.learn(record.users()).await?;
                if args.cluster.json {
                    println!("{}", record_json(channel, &record, &names));
                } else if only.is_some() {
                    say(&record_line(&record, &names));
                } else {
                    say(&format!("{channel} {}", record_line(&record, &names)));
                }
            }
            Some(_) => {}
            // Ended for good: the reason comes with any request.
            None => {
                client.connect().await?;
                break;
            }
        }
    }
    client.close().await;
    Ok(Exit::Done)
}
