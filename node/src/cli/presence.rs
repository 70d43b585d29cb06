//! `kith presence`: who is here, as a user may see it.

use std::collections::HashMap;

use kith_client::{
    Backfill, Client,
    wire::{
        id::{Timestamp, UserId},
        presence::{PresenceState, PresenceView},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    cluster::{ClusterArgs, connect},
    failure::{Exit, Failure},
    shown::say,
};
use crate::clock::{Clock, SystemClock};

/// Show who is here: contacts are seen, all others are offline, as is somebody who hides
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whom to look at
    #[arg(value_name = "USER", required_unless_present = "private")]
    who: Vec<String>,
    /// Who looks
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Go on with each change, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// Hide from all others, or be seen again; kept until it is changed
    #[arg(long, value_name = "true|false", conflicts_with_all = ["who", "follow"])]
    private: Option<bool>,
}

pub(super) async fn run(args: Args, stop: CancellationToken) -> Result<Exit, Failure> {
    let is_json = args.cluster.json;
    let session = args.cluster.session(&args.name, Backfill::Off).await?;
    let client = &session.client;
    tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Interrupted),
        connected = connect(client) => connected?,
    }
    if let Some(private) = args.private {
        client.set_private(private).await?;
        println!("{}", if is_json { json!({ "private": private }).to_string() } else { "done".to_owned() });
        client.close().await;
        return Ok(Exit::Done);
    }
    let names = users(client, &args.who).await?;
    let users: Vec<UserId> = names.iter().map(|(user, _)| *user).collect();
    let names: HashMap<UserId, String> = names.into_iter().collect();
    if args.follow {
        follow(client, &users, &names, is_json, stop).await;
    } else {
        client.presence_now(&users).await?.iter().for_each(|view| show(view, &names, is_json));
    }
    client.close().await;
    Ok(Exit::Done)
}

/// Whom is meant; each once, in the order in which they were named.
async fn users(client: &Client, who: &[String]) -> Result<Vec<(UserId, String)>, Failure> {
    let mut users: Vec<(UserId, String)> = Vec::new();
    for name in who {
        let user = client.find_user(name).await?;
        if !users.iter().any(|(known, _)| *known == user) {
            users.push((user, name.clone()));
        }
    }
    Ok(users)
}

async fn follow(client: &Client, users: &[UserId], names: &HashMap<UserId, String>, is_json: bool, stop: CancellationToken) {
    let mut live = client.presence(users);
    let mut told: HashMap<UserId, (PresenceState, Option<Timestamp>)> = HashMap::new();
    loop {
        let map = tokio::select! {
            () = stop.cancelled() => return,
            map = live.changed() => map,
        };
        let Some(map) = map else { return };
        for view in map.values() {
            if told.insert(view.user, (view.state, view.last_seen)) != Some((view.state, view.last_seen)) {
                show(view, names, is_json);
            }
        }
    }
}

fn show(view: &PresenceView, names: &HashMap<UserId, String>, is_json: bool) {
    let name = names.get(&view.user).map_or("", String::as_str);
    if is_json {
        let (user, at) = (view.user.to_string(), view.last_seen.map(Timestamp::get));
        println!("{}", json!({ "user": user, "name": name, "state": view.state.name(), "last_seen_ms": at }));
        return;
    }
    let seen = view.last_seen.map_or_else(String::new, |at| format!("  last seen {}", ago(at, SystemClock.now())));
    say(&format!("{:<8} {name}{seen}", view.state.name()));
}

/// How long ago something was, in one word and a unit.
fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.get().saturating_sub(at.get()) / 60_000 {
        0 => "just now".to_owned(),
        minutes @ 1..60 => format!("{minutes} min ago"),
        minutes @ 60..2_880 => format!("{} h ago", minutes / 60),
        minutes => format!("{} days ago", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        let at = |minutes: u64| ago(Timestamp::new(1_000), Timestamp::new(1_000 + minutes * 60_000));
        assert_eq!([at(0), at(59), at(61), at(48 * 60)], ["just now", "59 min ago", "1 h ago", "2 days ago"]);
        assert_eq!(ago(Timestamp::new(9), Timestamp::new(1)), "just now", "clocks differ");
    }
}
