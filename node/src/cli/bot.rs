//! `kith bot …`: users that a program is, over the HTTP API.

use kith_client::{Backfill, Bot, Client, wire::id::UserId};
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};

/// Bots: users that a program is, by a token that lasts until it is ended
///
/// A token is shown once. A program shows it to the HTTP API: Authorization: Bearer TOKEN
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Whose bots; without it the operator's: those of the cluster, and any other
    #[arg(long = "as", value_name = "NAME", global = true)]
    name: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Make a bot, and show its token
    Make {
        /// What it is called
        bot: String,
    },
    /// Give a bot another token; the one before is of no use any more
    Token {
        /// Its name or id
        bot: String,
    },
    /// End a bot's token
    Revoke {
        /// Its name or id
        bot: String,
    },
    /// Delete a bot, for ever
    Delete {
        /// Its name or id
        bot: String,
    },
    /// List the bots of a user: give --as
    List,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = match &args.name {
        Some(name) => args.cluster.session(name, Backfill::Off).await?.connected().await?.client,
        None => args.cluster.admin().await?,
    };
    let is_json = args.cluster.json;
    let account = client.account();
    match args.verb {
        Verb::Make { bot } => show(&account.make_bot(&bot).await?, is_json),
        Verb::Token { bot } => show(&account.bot_token(find(&client, &bot).await?).await?, is_json),
        Verb::Revoke { bot } => {
            account.end_bot_token(find(&client, &bot).await?).await?;
            done(is_json, "its token is of no use any more");
        }
        Verb::Delete { bot } => {
            account.delete_bot(find(&client, &bot).await?).await?;
            done(is_json, "gone");
        }
        Verb::List if args.name.is_none() => {
            return Err(Failure::usage("the cluster's bots are in no list", "say whose with --as NAME"));
        }
        Verb::List => {
            for bot in account.bots().await? {
                if is_json {
                    println!("{}", json!({ "user": bot.user.to_string(), "name": bot.name }));
                } else {
                    println!("{}  {}", bot.user, if bot.name.is_empty() { "(gone)" } else { &bot.name });
                }
            }
        }
    }
    client.close().await;
    Ok(Exit::Done)
}

/// The bot that a person means.
async fn find(client: &Client, bot: &str) -> Result<UserId, Failure> {
    match bot.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(client.find_user(bot).await?),
    }
}

fn show(bot: &Bot, is_json: bool) {
    let (user, name, token) = (bot.user.to_string(), &bot.name, bot.token.reveal());
    if is_json {
        println!("{}", json!({ "user": user, "name": name, "token": token }));
    } else {
        println!("{name} is {user}; this token is shown once:\n{token}");
    }
}

fn done(is_json: bool, text: &str) {
    if is_json {
        println!("{}", json!({ "done": true }));
    } else {
        println!("{text}");
    }
}
