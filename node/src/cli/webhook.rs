//! `kith webhook …`: what happens in channels is posted to a URL.

use bytes::Bytes;
use kith_client::{
    Backfill, Client,
    wire::{
        hook::{HookEvents, HookKey, HookScope, HookView},
        id::HookId,
    },
};
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::hook::sign;

/// Post what happens in a channel to a URL: in order, at least once, signed (Standard Webhooks)
///
/// `--as OWNER --group GROUP` for a group of one's own; without them, as the operator, for all channels, or with `--bot NAME` for those of a bot.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The owner of the group
    #[arg(long = "as", value_name = "NAME", global = true, requires = "group")]
    name: Option<String>,
    /// Id or title of the group
    #[arg(long, global = true, requires = "name")]
    group: Option<String>,
    /// As the operator: of the channels that this user is in
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "group")]
    bot: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Register a URL; shows the key of its signatures, once
    Add {
        /// Where posts go: https://…
        url: String,
        /// What is posted
        #[arg(long, value_delimiter = ',', default_value = "created,edited,deleted,members")]
        events: Vec<Kind>,
        /// The key of its signatures, `whsec_…`; drawn if none is given
        #[arg(long, value_name = "KEY", env = "KITH_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
    },
    /// List those there are
    List,
    /// Remove one
    Remove {
        /// Which, as `list` shows it
        id: String,
    },
    /// Post an event of no meaning now
    Test {
        /// Which, as `list` shows it
        id: String,
    },
}

/// A kind of event, as a person writes it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// A text was sent
    Created,
    /// A text was edited
    Edited,
    /// A text was deleted
    Deleted,
    /// Members came, went, or have another role
    Members,
}

impl Kind {
    const ALL: [(Self, HookEvents, &'static str); 4] = [
        (Self::Created, HookEvents::CREATED, "created"),
        (Self::Edited, HookEvents::EDITED, "edited"),
        (Self::Deleted, HookEvents::DELETED, "deleted"),
        (Self::Members, HookEvents::MEMBERS, "members"),
    ];
    fn bits(self) -> u32 {
        Self::ALL.iter().find(|(kind, ..)| *kind as u8 == self as u8).map_or(0, |(_, events, _)| events.0)
    }
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let (client, scope) = match (&args.name, &args.group) {
        (Some(name), Some(group)) => {
            let session = args.cluster.session(name, Backfill::Off).await?.connected().await?;
            let scope = HookScope::Channel(session.group(group).await?.id());
            (session.client, scope)
        }
        _ => {
            let admin = args.cluster.admin().await?;
            let scope = match &args.bot {
                Some(bot) => HookScope::User(admin.find_user(bot).await?),
                None => HookScope::All,
            };
            (admin, scope)
        }
    };
    let done = act(&client, scope, args.verb, args.cluster.json).await;
    client.close().await;
    done.map(|()| Exit::Done)
}

async fn act(client: &Client, scope: HookScope, verb: Verb, is_json: bool) -> Result<(), Failure> {
    let hooks = client.hooks(scope);
    match verb {
        Verb::Add { url, events, secret } => {
            let given = secret
                .map(|text| sign::read_key(&text).ok_or_else(|| Failure::usage("the key cannot be read", "a key has the form whsec_ and base64")));
            let given = given.transpose()?.map(|key| HookKey::new(Bytes::from(key)));
            let events = HookEvents(events.into_iter().fold(0, |bits, kind| bits | kind.bits()));
            let (id, secret) = hooks.add(&url, given, events).await?;
            let (id, secret) = (id_text(id), sign::key_text(secret.reveal()));
            if is_json {
                println!("{}", json!({ "id": id, "secret": secret }));
            } else {
                println!("{id}");
                println!("posts are signed by this key, which is shown once: {secret}");
            }
            return Ok(());
        }
        Verb::List => {
            for hook in hooks.list().await? {
                println!("{}", if is_json { hook_json(&hook).to_string() } else { hook_line(&hook) });
            }
            return Ok(());
        }
        Verb::Remove { id } => hooks.remove(id_of(&id)?).await?,
        Verb::Test { id } => {
            let status = hooks.test(id_of(&id)?).await?;
            println!("{}", if is_json { json!({ "status": status }).to_string() } else { format!("it answered {status}") });
            return Ok(());
        }
    }
    println!("{}", if is_json { json!({ "done": true }).to_string() } else { "done".to_owned() });
    Ok(())
}

fn hook_line(hook: &HookView) -> String {
    let state = match (hook.disabled.get(), hook.failing.get()) {
        (0, 0) => String::new(),
        (0, since) => format!("  failing since {since} ms"),
        (since, _) => format!("  disabled since {since} ms"),
    };
    format!("{}  {}  {}{state}", id_text(hook.id), events(hook.events).join(","), hook.url)
}

fn hook_json(hook: &HookView) -> serde_json::Value {
    json!({
        "id": id_text(hook.id), "url": hook.url, "events": events(hook.events), "by_id": hook.by.to_string(), "made_ms": hook.made.get(),
        "disabled_ms": hook.disabled.get(), "failing_ms": hook.failing.get(),
    })
}

fn events(events: HookEvents) -> Vec<&'static str> {
    Kind::ALL.iter().filter(|(_, bit, _)| events.holds(*bit)).map(|(.., name)| *name).collect()
}

pub(super) fn id_text(id: HookId) -> String {
    format!("{:016x}", id.get())
}

pub(super) fn id_of(text: &str) -> Result<HookId, Failure> {
    let is_id = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.map(HookId::new).ok_or_else(|| Failure::usage("a webhook is 16 hexadecimal digits", "`kith webhook list` shows them"))
}
