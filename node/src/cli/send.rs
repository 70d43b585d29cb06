//! `kith send`: one message.

use kith_client::Backfill;
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    message::Aims,
};

/// Send a message, and wait until it is on the disks of a quorum
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who sends
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// A user's name, or a group's id or title
    #[arg(long, value_name = "NAME|GROUP")]
    to: String,
    /// The text; several words are joined by a space
    #[arg(required = true)]
    text: Vec<String>,
    #[command(flatten)]
    aims: Aims,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let session = args.cluster.session(&args.name, Backfill::Recent(1)).await?.connected().await?;
    let draft = args.aims.draft(&session, &args.text).await?;
    let sent = session.conversation(&args.to).await?.send(draft).await?.sent().await?;
    session.client.close().await;
    if args.cluster.json {
        println!("{}", json!({ "channel": sent.channel.to_string(), "seq": sent.seq().get(), "ts_ms": sent.ts }));
    } else {
        println!("sent, at {}", sent.seq());
    }
    Ok(Exit::Done)
}
