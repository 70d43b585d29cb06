//! `kith contact …`, `kith profile …`, `kith find`: people.

use kith_client::{
    Backfill, Client, ProfileChange,
    wire::people::{ContactState, ProfileView},
};
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    shown::say,
};

/// Contacts, blocks, profiles, and the search for users
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Who asks
    #[arg(long = "as", value_name = "NAME", global = true, default_value = "")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// List contacts, who has asked, who was asked, and who is blocked
    List,
    /// Ask somebody to be a contact, or accept
    Add {
        /// Whom
        who: String,
    },
    /// Take a request back, decline one, or end a contact
    Remove {
        /// Whom
        who: String,
    },
    /// Hear nothing of somebody, who is not told
    Block {
        /// Whom
        who: String,
    },
    /// Hear of somebody again
    Unblock {
        /// Whom
        who: String,
    },
    /// Find users by the beginning of a name
    Find {
        /// What it begins with
        prefix: String,
    },
    /// Show somebody's profile
    Show {
        /// Whose
        who: String,
    },
    /// Change the own profile
    Profile(ProfileArgs),
}

#[derive(clap::Args, Debug)]
struct ProfileArgs {
    /// Shown in the place of the name; empty: the name is
    #[arg(long)]
    display: Option<String>,
    /// A few words
    #[arg(long)]
    about: Option<String>,
    /// https:// URL of a picture
    #[arg(long)]
    avatar: Option<String>,
    /// Whether search finds you
    #[arg(long, value_name = "true|false")]
    searchable: Option<bool>,
    /// A field of your own, as KEY=VALUE; an empty value takes it away
    #[arg(long = "field", value_name = "KEY=VALUE")]
    fields: Vec<String>,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    if args.name.is_empty() {
        return Err(Failure::usage("who asks is not given", "give --as NAME"));
    }
    let session = args.cluster.session(&args.name, Backfill::Off).await?.connected().await?;
    act(&session.client, args.verb, args.cluster.json).await?;
    session.client.close().await;
    Ok(Exit::Done)
}

async fn act(client: &Client, verb: Verb, is_json: bool) -> Result<(), Failure> {
    let contacts = client.contacts();
    match verb {
        Verb::List => {
            for contact in contacts.list().await? {
                let state = match contact.state {
                    ContactState::Mutual => "contact",
                    ContactState::Asked => "asked",
                    ContactState::Asking => "asks you",
                    ContactState::Blocked => "blocked",
                };
                if is_json {
                    let user = contact.user.to_string();
                    println!(
                        "{}",
                        json!({ "user": user, "name": contact.name, "display": contact.display, "state": state, "since_ms": contact.since.get() })
                    );
                } else {
                    say(&format!("{:<10} {} {}", state, contact.name, contact.display));
                }
            }
            return Ok(());
        }
        Verb::Find { prefix } => {
            contacts.find(&prefix).await?.iter().for_each(|profile| show(profile, is_json));
            return Ok(());
        }
        Verb::Show { who } => {
            let user = client.find_user(&who).await?;
            contacts.profiles(vec![user]).await?.iter().for_each(|profile| show(profile, is_json));
            return Ok(());
        }
        Verb::Add { who } => contacts.request(client.find_user(&who).await?).await?,
        Verb::Remove { who } => contacts.remove(client.find_user(&who).await?).await?,
        Verb::Block { who } => contacts.block(client.find_user(&who).await?).await?,
        Verb::Unblock { who } => contacts.unblock(client.find_user(&who).await?).await?,
        Verb::Profile(ProfileArgs { display, about, avatar, searchable, fields }) => {
            let fields = fields.iter().map(|field| field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
            let fields =
                fields.collect::<Option<Vec<_>>>().ok_or_else(|| Failure::usage("a field is KEY=VALUE", "for example --field city=Delft"))?;
            contacts.set_profile(ProfileChange { display, about, avatar, searchable, fields }).await?;
        }
    }
    println!("{}", if is_json { json!({ "done": true }).to_string() } else { "done".to_owned() });
    Ok(())
}

fn show(profile: &ProfileView, is_json: bool) {
    if is_json {
        let fields: serde_json::Map<_, _> = profile.fields.iter().map(|field| (field.key.clone(), json!(field.value))).collect();
        let (user, name) = (profile.user.to_string(), &profile.name);
        println!(
            "{}",
            json!({ "user": user, "name": name, "display": profile.display, "about": profile.about, "avatar": profile.avatar, "fields": fields })
        );
        return;
    }
    say(&format!("{}  {}", profile.name, profile.display));
    profile.about.lines().for_each(|line| say(&format!("  {line}")));
    if !profile.avatar.is_empty() {
        say(&format!("  {}", profile.avatar));
    }
    profile.fields.iter().for_each(|field| say(&format!("  {}: {}", field.key, field.value)));
}
