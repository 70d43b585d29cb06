//! `kith search`: messages by words, sender, conversation and time.

use kith_client::{
    Backfill,
    wire::{
        id::{ChannelId, Timestamp},
        limit::QUERY_HITS_MAX,
        search::{SearchHit, SearchPage, SearchQuery, Spot},
    },
};
use serde_json::json;

use super::{
    cluster::{ClusterArgs, Names, Session},
    failure::{Exit, Failure},
};

const SYNTAX: &str = "\
Words are found in any order, whatever their case; `\"a phrase\"` as it stands; `beginn*` what begins so; `-word` is not wanted.
Put the whole into single quotes, and -- before it if it begins with a dash.";

/// Find messages in all conversations that you may read, the newest first
#[derive(clap::Args, Debug)]
#[command(after_help = SYNTAX)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who looks
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// What to look for
    #[arg(default_value = "")]
    words: Vec<String>,
    /// Only in this conversation: a user's name, or a group's id or title
    #[arg(long = "in", value_name = "CONVERSATION")]
    conversation: Option<String>,
    /// Only of this user
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Only from this time on, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    since_ms: Option<u64>,
    /// Only before this time, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    until_ms: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Only what is older: what the last line of an earlier search gave
    #[arg(long, value_name = "PLACE")]
    below: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let session = args.cluster.session(&args.name, Backfill::Recent(1)).await?.connected().await?;
    let mut query = SearchQuery { words: args.words.join(" "), ..SearchQuery::default() };
    query.since = args.since_ms.map(Timestamp::new);
    query.until = args.until_ms.map(Timestamp::new);
    query.below = args.below.as_deref().map(place).transpose()?;
    if let Some(of) = &args.conversation {
        query.channel = Some(session.conversation(of).await?.id());
    }
    if let Some(from) = &args.from {
        query.sender = Some(session.client.find_user(from).await?);
    }
    let page = gather(&session, query, args.limit).await?;
    print(&session, &page, args.cluster.json).await?;
    session.client.close().await;
    Ok(Exit::Done)
}

fn place(text: &str) -> Result<Spot, Failure> {
    text.parse().map_err(|_| Failure::usage(format!("{text:?} is no place in a search"), "give what the last line of an earlier search says"))
}

/// Pages until there are as many as wanted, as one.
async fn gather(session: &Session, mut query: SearchQuery, limit: u32) -> Result<SearchPage, Failure> {
    let mut all: Option<SearchPage> = None;
    loop {
        let left = limit.saturating_sub(all.as_ref().map_or(0, |all| all.hits.len() as u32));
        query.limit = left.clamp(1, QUERY_HITS_MAX as u32);
        let page = session.client.search(query.clone()).await?;
        query.below = page.next;
        let all = match &mut all {
            None => all.insert(page),
            Some(all) => {
                all.hits.extend(page.hits);
                all.missing.extend(page.missing);
                (all.unsearched, all.next) = (all.unsearched.max(page.unsearched), page.next);
                all
            }
        };
        if all.next.is_none() || all.hits.len() as u32 >= limit {
            all.missing.sort();
            all.missing.dedup();
            return Ok(std::mem::take(all));
        }
    }
}

async fn print(session: &Session, page: &SearchPage, is_json: bool) -> Result<(), Failure> {
    let me = session.client.me();
    let titles = session.client.channels().await?;
    let mut names = Names::new(&session.client);
    let channels = page.hits.iter().map(|hit| hit.spot.channel).chain(page.channels.iter().copied());
    names.learn(channels.filter_map(|channel| channel.peer_of(me)).chain(page.hits.iter().map(|hit| hit.sender))).await?;
    let title = |channel: ChannelId| match channel.peer_of(me) {
        Some(peer) => names.of(peer),
        None => titles.iter().find(|summary| summary.channel == channel).map_or_else(|| channel.to_string(), |found| found.row.news.title.clone()),
    };
    for channel in &page.channels {
        if is_json {
            println!("{}", json!({ "conversation": title(*channel), "channel": channel.to_string() }));
        } else {
            println!("group   {}  {channel}", title(*channel));
        }
    }
    for hit in &page.hits {
        let SearchHit { spot, sender, excerpt, marks } = hit;
        if is_json {
            println!(
                "{}",
                json!({
                    "channel": spot.channel.to_string(), "conversation": title(spot.channel), "seq": spot.seq.get(), "ts_ms": spot.ts.get(),
                    "sender": names.of(*sender), "sender_id": sender.to_string(), "excerpt": excerpt, "marks": marks,
                })
            );
        } else {
            let line = excerpt.split_whitespace().collect::<Vec<_>>().join(" ");
            println!("{:>6}  {}  {}: {line}", spot.seq.get(), title(spot.channel), names.of(*sender));
        }
    }
    let missing: Vec<u64> = page.missing.iter().map(|node| node.get()).collect();
    if is_json {
        let next = page.next.map(|next| next.to_string());
        println!("{}", json!({ "next": next, "missing": missing, "unsearched": page.unsearched }));
        return Ok(());
    }
    if page.unsearched > 0 {
        let nodes = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        eprintln!("{} of your conversations were not searched (nodes that did not answer: {nodes}); try again in a while", page.unsearched);
    }
    if let Some(next) = page.next {
        eprintln!("there is more: --below {next}");
    }
    Ok(())
}
