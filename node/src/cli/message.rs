//! `kith message …`: what is done with messages besides sending and reading them.

use std::time::Duration;

use kith_client::{
    Backfill, Channel, Done, Draft, Post,
    wire::{
        client::ScheduledText,
        id::{Seq, Timestamp},
    },
};
use serde_json::{Value, json};

use super::{
    cluster::{ClusterArgs, Names, Session},
    failure::{Exit, Failure},
    group::tell,
    shown::say,
};

/// Edit, delete, react to, pin, forward and schedule messages
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who does it
    #[arg(long = "as", value_name = "NAME", global = true)]
    name: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

// Which message. No doc comment: it would stand as what the verbs do.
#[derive(clap::Args, Debug)]
struct Target {
    /// A user's name, or a group's id or title
    of: String,
    /// Its place, as `kith history` shows it
    seq: u64,
}

// What a text answers, and whom it calls. No doc comment, as above.
#[derive(clap::Args, Debug)]
pub(super) struct Aims {
    /// It answers this message
    #[arg(long, value_name = "SEQ")]
    reply_to: Option<u64>,
    #[command(flatten)]
    mentioned: Mentioned,
}

#[derive(clap::Args, Debug)]
struct Mentioned {
    /// It mentions this user, who sees that in the list and is told by a push; may be given again
    #[arg(long = "mention", value_name = "NAME")]
    names: Vec<String>,
}

impl Mentioned {
    async fn draft(&self, session: &Session, text: &[String]) -> Result<Draft, Failure> {
        let mut users = Vec::with_capacity(self.names.len());
        for name in &self.names {
            users.push(session.client.find_user(name).await?);
        }
        Ok(Draft::text(text.join(" ")).mentions(users))
    }
}

impl Aims {
    /// The text that has them.
    pub(super) async fn draft(&self, session: &Session, text: &[String]) -> Result<Draft, Failure> {
        let draft = self.mentioned.draft(session, text).await?;
        Ok(match self.reply_to {
            Some(seq) => draft.reply_to(Seq::new(seq)),
            None => draft,
        })
    }
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Replace the text of an own message
    Edit {
        #[command(flatten)]
        target: Target,
        /// The new text; several words are joined by a space
        #[arg(required = true)]
        text: Vec<String>,
        #[command(flatten)]
        mentioned: Mentioned,
    },
    /// Delete a message for everyone
    Delete {
        #[command(flatten)]
        target: Target,
    },
    /// Add a reaction, or take it back
    React {
        #[command(flatten)]
        target: Target,
        /// An emoji, or any short word
        emoji: String,
        /// Take it back
        #[arg(long)]
        undo: bool,
    },
    /// Pin a message, or unpin it
    Pin {
        #[command(flatten)]
        target: Target,
        /// Unpin it
        #[arg(long)]
        undo: bool,
    },
    /// Send a copy of a message elsewhere
    Forward {
        #[command(flatten)]
        target: Target,
        /// A user's name, or a group's id or title
        #[arg(long, value_name = "NAME|GROUP")]
        to: String,
    },
    /// Send a text in a thread, or one that ends by itself
    Post {
        /// A user's name, or a group's id or title
        to: String,
        /// The text; several words are joined by a space
        #[arg(required = true)]
        text: Vec<String>,
        /// In the thread that began with this message
        #[arg(long, value_name = "SEQ")]
        thread: Option<u64>,
        /// It ends after so many seconds
        #[arg(long, value_name = "SECONDS")]
        ends_after: Option<u64>,
        #[command(flatten)]
        aims: Aims,
    },
    /// Have a text sent later
    Schedule {
        /// A user's name, or a group's id or title
        to: String,
        /// At this time, in milliseconds since 1970
        #[arg(long, value_name = "MS")]
        at_ms: u64,
        /// The text; several words are joined by a space
        #[arg(required = true)]
        text: Vec<String>,
        #[command(flatten)]
        aims: Aims,
    },
    /// List the texts that are to be sent later
    Scheduled {
        /// A user's name, or a group's id or title
        to: String,
    },
    /// Take back a text that is to be sent later
    Unschedule {
        /// A user's name, or a group's id or title
        to: String,
        /// Its id, as `scheduled` shows it
        id: String,
    },
    /// Show who has read a message, and who reacted to it
    Seen {
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let Some(name) = &args.name else { return Err(Failure::usage("who does it is not said".to_owned(), "give `--as NAME`")) };
    let session = args.cluster.session(name, Backfill::Recent(1)).await?.connected().await?;
    run_verb(&session, &args.verb, args.cluster.json).await?;
    session.client.close().await;
    Ok(Exit::Done)
}

async fn run_verb(session: &Session, verb: &Verb, is_json: bool) -> Result<(), Failure> {
    let outgoing = match verb {
        Verb::Edit { target, text, mentioned } => {
            let new = mentioned.draft(session, text).await?;
            target.channel(session).await?.edit(target.seq(), new).await?
        }
        Verb::Delete { target } => target.channel(session).await?.delete(target.seq()).await?,
        Verb::React { target, emoji, undo } => target.channel(session).await?.react(target.seq(), emoji, !undo).await?,
        Verb::Pin { target, undo } => target.channel(session).await?.pin(target.seq(), !undo).await?,
        Verb::Forward { target, to } => {
            let from = target.channel(session).await?.id();
            session.conversation(to).await?.forward(from, target.seq()).await?
        }
        Verb::Post { to, text, thread, ends_after, aims } => {
            let mut post = Post::new(aims.draft(session, text).await?);
            if let Some(root) = thread {
                post = post.in_thread(Seq::new(*root));
            }
            if let Some(seconds) = ends_after {
                post = post.ends_after(Duration::from_secs(*seconds));
            }
            session.conversation(to).await?.post(post).await?
        }
        Verb::Schedule { to, at_ms, text, aims } => {
            let post = Post::new(aims.draft(session, text).await?);
            session.conversation(to).await?.schedule(Timestamp::new(*at_ms), post).await?
        }
        Verb::Unschedule { to, id } => {
            let id = u64::from_str_radix(id, 16).map_err(|_| Failure::usage(format!("{id:?} is no id"), "`kith message scheduled` shows them"))?;
            session.conversation(to).await?.unschedule(id).await?
        }
        Verb::Scheduled { to } => return scheduled(&session.conversation(to).await?, is_json).await,
        Verb::Seen { target } => return seen(session, target, is_json).await,
    };
    match outgoing.done().await? {
        Done::Record(at) => tell(&at, is_json),
        Done::Kept(0) if is_json => println!("{}", json!({ "channel": outgoing.channel().to_string() })),
        Done::Kept(id) if is_json => println!("{}", json!({ "channel": outgoing.channel().to_string(), "id": format!("{id:016x}") })),
        Done::Kept(0) => println!("done"),
        Done::Kept(id) => println!("done, as {id:016x}"),
    }
    Ok(())
}

async fn scheduled(channel: &Channel, is_json: bool) -> Result<(), Failure> {
    for ScheduledText { id, due, draft, refused } in channel.scheduled().await? {
        if is_json {
            let refused = refused.map(|code| code.to_string());
            println!("{}", json!({ "id": format!("{id:016x}"), "due_ms": due.get(), "text": draft.text, "refused": refused }));
        } else {
            let refused = refused.map_or(String::new(), |code| format!(" (refused: {})", code.text()));
            say(&format!("{id:016x}  at {} ms: {}{refused}", due.get(), draft.text));
        }
    }
    Ok(())
}

async fn seen(session: &Session, target: &Target, is_json: bool) -> Result<(), Failure> {
    let channel = target.channel(session).await?;
    let (read, delivered) = channel.seen(target.seq()).await?;
    let reactions = channel.reactions(target.seq()).await?;
    let mut names = Names::new(&session.client);
    names.learn(delivered.iter().chain(reactions.iter().flat_map(|reaction| &reaction.users)).copied()).await?;
    let named = |users: &[_]| users.iter().map(|user| names.of(*user)).collect::<Vec<_>>();
    if is_json {
        let reactions: Vec<Value> = reactions.iter().map(|one| json!({ "emoji": one.emoji, "by": named(&one.users) })).collect();
        println!("{}", json!({ "read": named(&read), "delivered": named(&delivered), "reactions": reactions }));
    } else {
        say(&format!("read by {}; delivered to {}", listed(&named(&read)), listed(&named(&delivered))));
        reactions.iter().for_each(|one| say(&format!("{} by {}", one.emoji, listed(&named(&one.users)))));
    }
    Ok(())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

impl Target {
    async fn channel(&self, session: &Session) -> Result<Channel, Failure> {
        session.conversation(&self.of).await
    }
    fn seq(&self) -> Seq {
        Seq::new(self.seq)
    }
}
