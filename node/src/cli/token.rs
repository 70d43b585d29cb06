//! `kith token NAME`: a token for a user, whose account is made on first use.

use std::time::Duration;

use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::operator;

/// Print an access token for a user; the account is made on first use
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The user's name
    name: String,
    /// How long it lasts
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=8760))]
    hours: u64,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let (cluster, admin) = (args.cluster.open()?, args.cluster.admin().await?);
    let (user, created) = operator::ensure_account(&admin, &args.name).await?;
    admin.close().await;
    let token = cluster.token(user, &args.name, Duration::from_secs(args.hours * 3600))?;
    if args.cluster.json {
        println!("{}", json!({ "user": user.to_string(), "name": args.name, "created": created, "token": token }));
    } else {
        if created {
            eprintln!("made the account of {}", args.name);
        }
        println!("{token}");
    }
    Ok(Exit::Done)
}
