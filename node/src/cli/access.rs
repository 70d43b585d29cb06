//! `kith admin`: who may run the cluster: admin tokens with roles, the first one, and the way back in from a node's own machine.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use kith_client::{
    Client,
    wire::{
        admin::{AdminRole, AdminView},
        client::{Answer, Request},
        id::Timestamp,
        limit,
        secret::Secret,
        trust::{TokenId, TrustAnswer, TrustRequest},
    },
};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    join::parse_time,
    local,
    shown::shown,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    operator::missing,
};

/// Say who may run the cluster: admin tokens, with the roles viewer, operator and admin
///
/// A token is good from any machine: `kith status --server HOST:PORT --ca ca.pem --admin-token-file FILE`, over HTTP as `Authorization: Bearer`, and in the console
/// at /console of every node. A viewer sees how the cluster is and changes nothing; an operator runs it; an admin says who else may, and which nodes join. What is
/// done by a token is in the audit log under its id.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Make, list and end admin tokens
    Token(TokenArgs),
    /// Turn the cluster's first token into an admin token
    ///
    /// A node prints the first token once, when the cluster is started for the first time. It opens nothing but this, once, within a day. Needs --server and --ca, or
    /// the cluster's folder; no other token.
    Claim {
        /// The file with the first token; -: standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        first_file: PathBuf,
        /// What the new token is for
        #[arg(long, default_value = "admin")]
        name: String,
        /// Write the token to this file, readable by its owner only, and print none
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make an admin token on a node's own machine, when no other is left
    ///
    /// Over the socket beside the node's data, which its user alone may open: run this as that user. The node must reach the cluster. It is in the audit log.
    Recover {
        /// The node's settings
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
        #[command(flatten)]
        new: New,
    },
}

#[derive(clap::Args, Debug)]
struct TokenArgs {
    #[command(subcommand)]
    act: TokenAct,
}

#[derive(clap::Subcommand, Debug)]
enum TokenAct {
    /// Make a token; it is shown once
    Create(New),
    /// List tokens: those that are good, and those that are over since a week
    List,
    /// End a token: every node refuses it within seconds
    Revoke {
        /// Which, as `list` shows it
        #[arg(value_name = "ID")]
        id: TokenId,
    },
}

// A token to be made. No doc comment: it would stand as what the verb does.
#[derive(clap::Args, Clone, Debug)]
struct New {
    /// What it is for
    #[arg(long, default_value = "admin")]
    name: String,
    /// What it is good for: viewer, operator or admin
    #[arg(long, default_value = "admin")]
    role: AdminRole,
    /// How long it is good: 12h, 30d; at most 366d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_ttl)]
    expires: u32,
    /// Write the token to this file, readable by its owner only, and print none
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn parse_ttl(text: &str) -> Result<u32, String> {
    parse_time(text, limit::ADMIN_TTL_S_MAX).ok_or_else(|| format!("{text:?} is no time from 1s to 366d, for example 12h or 90d"))
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let cluster = &args.cluster;
    match args.act {
        Act::Token(TokenArgs { act: TokenAct::Create(New { name, role, expires, out }) }) => {
            let asked = TrustRequest::MakeAdmin { name, role, ttl_s: expires };
            tell_made(cluster, ask(cluster.admin().await?, asked).await?, out)
        }
        Act::Token(TokenArgs { act: TokenAct::List }) => list(cluster).await,
        Act::Token(TokenArgs { act: TokenAct::Revoke { id } }) => {
            ask(cluster.admin().await?, TrustRequest::RevokeAdmin { id }).await?;
            cluster.say(&json!({ "id": id.to_string(), "revoked": true }), &format!("nobody is let in by token {id} any more"));
            Ok(Exit::Done)
        }
        Act::Claim { first_file, name, out } => {
            let token = first(&first_file)?;
            let made = cluster.door()?.claim_admin(token, &name).await?;
            tell_made(cluster, made, out)
        }
        Act::Recover { config, new } => recover(cluster, &config, new).await,
    }
}

fn first(file: &Path) -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" { std::io::stdin().read_to_string(&mut text).map(|_| text) } else { fs::read_to_string(file) };
    let text = read.map_err(|error| Failure::local("reading the first token", &error, "give the file that holds it: --first-file FILE"))?;
    Ok(Secret::new(text.trim()))
}

async fn recover(cluster: &ClusterArgs, file: &Path, new: New) -> Result<Exit, Failure> {
    let config = Config::load(file).map_err(|error| Failure::local("reading the settings", &error, "give those of the node: --config FILE"))?;
    let New { name, role, expires, out } = new;
    let body = json!({ "name": name, "role": role.name(), "ttl_s": expires }).to_string();
    let told = local::ask(&config.node.data, "POST", "/admin-token", &body).await?;
    let answer: Value = serde_json::from_str(&told.body).unwrap_or_default();
    let made = (|| {
        let id = answer["id"].as_str()?.parse().ok()?;
        Some(TrustAnswer::Made { token: Secret::new(answer["token"].as_str()?), id, until: Timestamp::new(answer["until_ms"].as_u64()?) })
    })();
    match made {
        Some(made) if told.status == 201 => tell_made(cluster, made, out),
        _ => {
            let why = answer["error"].as_str().unwrap_or("its answer cannot be read").to_owned();
            Err(Failure::local("asking the node for a token", &std::io::Error::other(why), "see that it runs and reaches the others: kith status"))
        }
    }
}

async fn list(cluster: &ClusterArgs) -> Result<Exit, Failure> {
    let TrustAnswer::Admins(admins) = ask(cluster.admin().await?, TrustRequest::Admins).await? else {
        return Err(missing("a list of tokens").into());
    };
    let now = SystemClock.now();
    for view in &admins {
        let state = view.state(now);
        if cluster.json {
            println!("{}", as_json(view, state));
        } else {
            println!("{}  {:<8}  {state:<7}  until {} ms  {}", view.id, view.role.name(), view.until, shown(&view.name));
        }
    }
    if admins.is_empty() && !cluster.json {
        println!("there are no admin tokens: kith admin token create");
    }
    Ok(Exit::Done)
}

fn as_json(view: &AdminView, state: &str) -> Value {
    json!({
        "id": view.id.to_string(), "name": view.name, "role": view.role.name(), "state": state, "by": view.by.to_string(),
        "by_token": view.by_token.map(|token| token.to_string()), "made_ms": view.made.get(), "until_ms": view.until.get(),
    })
}

fn tell_made(cluster: &ClusterArgs, answer: TrustAnswer, out: Option<PathBuf>) -> Result<Exit, Failure> {
    let TrustAnswer::Made { token, id, until } = answer else { return Err(missing("a token").into()) };
    let until_ms = until.get();
    let Some(file) = out else {
        if cluster.json {
            println!("{}", json!({ "id": id.to_string(), "until_ms": until_ms, "token": token.reveal() }));
        } else {
            let hours = until_ms.saturating_sub(SystemClock.now().get()) / 3_600_000;
            eprintln!("admin token {id}, good for {hours} h; it is not shown again:");
            println!("{}", token.reveal());
        }
        return Ok(Exit::Done);
    };
    crate::cluster::bootstrap::write_secret(&file, token.reveal()).map_err(|error| {
        Failure::local("writing the token", &error, "give a file that can be written: --out FILE; then end the token that is lost")
    })?;
    cluster.say(&json!({ "id": id.to_string(), "until_ms": until_ms, "file": file }), &format!("admin token {id} is in {}", file.display()));
    Ok(Exit::Done)
}

/// Asks about tokens, and ends the session.
pub(super) async fn ask(admin: Client, asked: TrustRequest) -> Result<TrustAnswer, Failure> {
    let answer = admin.request(Request::Trust(asked)).await;
    admin.close().await;
    match answer? {
        Answer::Trust(answer) => Ok(answer),
        _ => Err(missing("an answer about tokens").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_longer_than_those_of_nodes_that_join() {
        assert_eq!([parse_ttl("12h"), parse_ttl("90d"), parse_ttl("366d")], [Ok(43_200), Ok(7_776_000), Ok(limit::ADMIN_TTL_S_MAX)]);
        assert!(parse_ttl("367d").is_err() && parse_ttl("0d").is_err() && parse_ttl("1y").is_err());
    }
}
