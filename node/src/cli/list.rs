//! `kith list …`: the conversation list: what is read, pinned, muted, archived, and drafts.

use kith_client::{
    Backfill,
    wire::{id::Timestamp, log::SavedDraft},
};
use serde_json::json;

use super::{
    cluster::{ClusterArgs, Names, Session},
    failure::{Exit, Failure},
    shown::say,
};
use crate::clock::{Clock, SystemClock};

/// The conversation list: unread, mentions, pins, mutes, archive, drafts
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whose
    #[arg(long = "as", value_name = "NAME", global = true, default_value = "")]
    name: String,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Show what is archived
    Archived,
    /// Say that all of a conversation is read
    Read(Target),
    /// Keep a conversation on top
    Pin(Target),
    /// Let it go
    Unpin(Target),
    /// No push from a conversation
    Mute {
        #[command(flatten)]
        target: Target,
        /// For so many hours; for ever if not given
        #[arg(long, value_name = "HOURS")]
        hours: Option<u64>,
    },
    /// Push again
    Unmute(Target),
    /// Take a conversation out of the list until something is said
    Archive(Target),
    /// Put it back
    Unarchive(Target),
    /// Keep what was written and not sent, for all devices; no text: nothing
    Draft {
        #[command(flatten)]
        target: Target,
        /// So far
        #[arg(default_value = "")]
        text: String,
    },
}

#[derive(clap::Args, Debug)]
struct Target {
    /// A user's name, or a group's id or title
    conversation: String,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    if args.name.is_empty() {
        return Err(Failure::usage("whose list it is is not given", "give --as NAME"));
    }
    let session = args.cluster.session(&args.name, Backfill::Recent(1)).await?.connected().await?;
    let is_json = args.cluster.json;
    match args.verb {
        None => show(&session, false, is_json).await?,
        Some(Verb::Archived) => show(&session, true, is_json).await?,
        Some(verb) => {
            prefer(&session, verb).await?;
            println!("{}", if is_json { json!({ "done": true }).to_string() } else { "done".to_owned() });
        }
    }
    session.client.close().await;
    Ok(Exit::Done)
}

async fn prefer(session: &Session, verb: Verb) -> Result<(), Failure> {
    let (Verb::Read(target)
    | Verb::Pin(target)
    | Verb::Unpin(target)
    | Verb::Mute { target, .. }
    | Verb::Unmute(target)
    | Verb::Archive(target)
    | Verb::Unarchive(target)
    | Verb::Draft { target, .. }) = &verb
    else {
        return Ok(());
    };
    let channel = session.conversation(&target.conversation).await?;
    let preferences = channel.preferences();
    let now = SystemClock.now();
    match verb {
        Verb::Read(_) => channel.mark_read_at(channel.view().await?.head).await?,
        Verb::Pin(_) => preferences.pin(true).await?,
        Verb::Unpin(_) => preferences.pin(false).await?,
        Verb::Mute { hours, .. } => {
            let until = hours.map_or(u64::MAX, |hours| now.get().saturating_add(hours.saturating_mul(3_600_000)));
            preferences.mute(Some(Timestamp::new(until))).await?;
        }
        Verb::Unmute(_) => preferences.mute(None).await?,
        Verb::Archive(_) => preferences.archive(true).await?,
        Verb::Unarchive(_) => preferences.archive(false).await?,
        Verb::Draft { text, .. } => preferences.save_draft(SavedDraft { text, reply_to: None, at: now }).await?,
        Verb::Archived => {}
    }
    Ok(())
}

async fn show(session: &Session, archived: bool, is_json: bool) -> Result<(), Failure> {
    let now = SystemClock.now();
    let list = session.client.conversations(archived, now).await?;
    let me = session.client.me();
    let mut names = Names::new(&session.client);
    names.learn(list.iter().flat_map(|summary| summary.channel.peer_of(me).into_iter().chain([summary.row.news.head_sender]))).await?;
    for summary in list {
        let (news, preferences) = (&summary.row.news, &summary.row.preferences);
        let title = summary.channel.peer_of(me).map_or_else(|| news.title.clone(), |peer| names.of(peer));
        let draft = preferences.draft.as_ref().map(|draft| draft.text.as_str());
        if is_json {
            println!(
                "{}",
                json!({
                    "channel": summary.channel.to_string(), "title": title, "unread": summary.unread, "mentions": summary.mentions,
                    "pinned": preferences.pinned.is_some(), "muted": summary.row.is_muted(now), "archived": archived, "draft": draft,
                    "last": { "sender": names.of(news.head_sender), "preview": news.preview, "ts_ms": news.head_ts.get() },
                })
            );
            continue;
        }
        let marks = [(preferences.pinned.is_some(), "pinned"), (summary.row.is_muted(now), "muted"), (summary.mentions > 0, "mentions you")];
        let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let marks = if marks.is_empty() { String::new() } else { format!(" ({})", marks.join(", ")) };
        let last = draft.map_or_else(|| format!("{}: {}", names.of(news.head_sender), news.preview), |draft| format!("draft: {draft}"));
        say(&format!("{:>4} unread  {title}{marks}  {last}", summary.unread));
    }
    Ok(())
}
