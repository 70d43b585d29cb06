//! `kith group …`: group chats of a user.

use kith_client::{Backfill, NewChannel};
use serde_json::json;

use super::{
    admin,
    cluster::{ClusterArgs, Names, Session},
    failure::{Exit, Failure},
    shown::say,
};

/// Make, list and change group chats
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Make a group with a title and members
    Create {
        /// Who makes it, and owns it
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Its title
        title: String,
        /// Members besides the maker
        members: Vec<String>,
    },
    /// List conversations, newest first
    List {
        /// Whose
        #[arg(long = "as", value_name = "NAME")]
        name: String,
    },
    /// Add a member
    Add {
        /// Who adds
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Id or title of the group
        group: String,
        /// Who is added
        member: String,
    },
    /// Remove a member
    Remove {
        /// Who removes
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Id or title of the group
        group: String,
        /// Who is removed
        member: String,
    },
    /// Leave a group
    Leave {
        /// Who leaves
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        /// Id or title of the group
        group: String,
    },
    /// Run a group: rules, roles, links, and joining by one
    Run {
        /// Who does it
        #[arg(long = "as", value_name = "NAME")]
        name: String,
        #[command(subcommand)]
        verb: admin::Verb,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let (Verb::Create { name, .. }
    | Verb::List { name }
    | Verb::Add { name, .. }
    | Verb::Remove { name, .. }
    | Verb::Leave { name, .. }
    | Verb::Run { name, .. }) = &args.verb;
    let session = args.cluster.session(name, Backfill::Recent(1)).await?.connected().await?;
    let is_json = args.cluster.json;
    match &args.verb {
        Verb::Create { title, members, .. } => create(&session, title, members, is_json).await?,
        Verb::List { .. } => list(&session, is_json).await?,
        Verb::Add { group, member, .. } => {
            let member = session.client.find_user(member).await?;
            let done = session.group(group).await?.add(member).await?.sent().await?;
            tell(&done, is_json);
        }
        Verb::Remove { group, member, .. } => {
            let member = session.client.find_user(member).await?;
            let done = session.group(group).await?.remove(member).await?.sent().await?;
            tell(&done, is_json);
        }
        Verb::Run { verb, .. } => admin::run(&session, verb, is_json).await?,
        Verb::Leave { group, .. } => {
            let done = session.group(group).await?.leave().await?.sent().await?;
            tell(&done, is_json);
        }
    }
    session.client.close().await;
    Ok(Exit::Done)
}

async fn create(session: &Session, title: &str, members: &[String], is_json: bool) -> Result<(), Failure> {
    let mut ids = Vec::new();
    for member in members {
        ids.push(session.client.find_user(member).await?);
    }
    let channel = session.client.create_channel(NewChannel::group(title).members(ids)).await?;
    if is_json {
        println!("{}", json!({ "channel": channel.id().to_string(), "title": title }));
    } else {
        println!("{}", channel.id());
    }
    Ok(())
}

async fn list(session: &Session, is_json: bool) -> Result<(), Failure> {
    let channels = session.client.channels().await?;
    let mut names = Names::new(&session.client);
    names
        .learn(channels.iter().flat_map(|summary| summary.channel.peer_of(session.client.me()).into_iter().chain([summary.row.news.head_sender])))
        .await?;
    for summary in channels {
        let news = &summary.row.news;
        let with = summary.channel.peer_of(session.client.me()).map(|user| names.of(user));
        if is_json {
            println!(
                "{}",
                json!({
                    "channel": summary.channel.to_string(), "title": news.title, "with": with, "unread": summary.unread, "head": news.head.seq.get(),
                    "left": news.left.is_some(), "last": { "sender": names.of(news.head_sender), "preview": news.preview, "ts_ms": news.head_ts.get() },
                })
            );
        } else {
            let name = with.unwrap_or_else(|| news.title.clone());
            let left = if news.left.is_some() { " (left)" } else { "" };
            let last = if news.preview.is_empty() { String::new() } else { format!(": {}: {}", names.of(news.head_sender), news.preview) };
            say(&format!("{}  {:>4} unread  {name}{left}{last}", summary.channel, summary.unread));
        }
    }
    Ok(())
}

pub(super) fn tell(done: &kith_client::MessageRef, is_json: bool) {
    if is_json {
        println!("{}", json!({ "channel": done.channel.to_string(), "seq": done.seq().get() }));
    } else {
        println!("done, at {}", done.seq());
    }
}
