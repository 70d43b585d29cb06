//! `kith node token`: tokens that let a node join. And what a node is started from that comes with one, for `kith start`.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use kith_client::wire::{
    code::Code,
    id::{NodeId, RegionId},
    log::NodeRow,
    trust::{JoinTicket, JoinView, TicketError, TokenId, TrustAnswer, TrustRequest},
    upgrade::ClusterVersion,
};
use serde_json::{Value, json};

use super::{
    access,
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::{
    clock::{Clock as _, SharedClock, SystemClock},
    cluster::join::{Join, JoinError},
    operator::missing,
};

/// Make, list and revoke tokens by which nodes join
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Make a token that lets one node in
    ///
    /// On the new machine: `kith start --join-file FILE --listen HOST:PORT --http HOST:PORT --zone ZONE`. It needs nothing else: the node makes its key there, and a
    /// node of the cluster signs it, once it has reached it at the address that it gave. Nodes sign that have `ca.key` beside `cluster.toml`; where that is kept
    /// elsewhere, use `kith node add`. Who has the token may join: it is printed once, and the cluster keeps a digest of it.
    Create(Create),
    /// List tokens: those that are good, and those that were used or are over since a week
    List,
    /// End a token
    Revoke {
        /// Which, as `list` shows it
        #[arg(value_name = "ID")]
        id: TokenId,
    },
}

#[derive(clap::Args, Debug)]
struct Create {
    /// How long it is good: 30s, 15m, 1h, 2d; at most 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    expires: u32,
    /// The region where the node will stand; if not given, the node says so
    #[arg(long, value_name = "N")]
    region: Option<u8>,
    /// Its zone; as above
    #[arg(long, default_value = "")]
    zone: String,
    /// Its host in the zone; as above
    #[arg(long, default_value = "")]
    host: String,
    /// The node takes the place of this one, whose disk or machine is gone, and which is refused from then on
    #[arg(long, value_name = "ID")]
    replaces: Option<u64>,
    /// Write the token to this file, readable by its owner only, and print none
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A time as `15m`, in seconds.
pub(super) fn parse_time(text: &str, most: u32) -> Option<u32> {
    let at = text.find(|one: char| !one.is_ascii_digit())?;
    let (count, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return None,
    };
    let seconds = count.parse::<u32>().ok()?.checked_mul(unit)?;
    (1..=most).contains(&seconds).then_some(seconds)
}

/// How long a join token is good.
pub(super) fn parse_ttl(text: &str) -> Result<u32, String> {
    let most = kith_client::wire::limit::JOIN_TTL_S_MAX;
    parse_time(text, most).ok_or_else(|| format!("{text:?} is no time from 1s to 7d, for example 30m or 1h"))
}

pub(super) async fn run(cluster: &ClusterArgs, args: Args) -> Result<Exit, Failure> {
    match args.act {
        Act::Create(create) => make(cluster, create).await,
        Act::List => list(cluster).await,
        Act::Revoke { id } => {
            access::ask(cluster.admin().await?, TrustRequest::RevokeJoin { id }).await?;
            cluster.say(&json!({ "id": id.to_string(), "revoked": true }), &format!("nobody joins by token {id} any more"));
            Ok(Exit::Done)
        }
    }
}

async fn make(cluster: &ClusterArgs, create: Create) -> Result<Exit, Failure> {
    let Create { expires, region, zone, host, replaces, out } = create;
    let asked = TrustRequest::MakeJoin { ttl_s: expires, region: region.map(RegionId::new), zone, host, replaces: replaces.map(NodeId::new) };
    let TrustAnswer::Made { token, id, until } = access::ask(cluster.admin().await?, asked).await? else { return Err(missing("a token").into()) };
    let until_ms = until.get();
    let Some(file) = out else {
        if cluster.json {
            println!("{}", json!({ "id": id.to_string(), "until_ms": until_ms, "token": token.reveal() }));
        } else {
            eprintln!("token {id}, good for {} s; it is not shown again:", until_ms.saturating_sub(SystemClock.now().get()) / 1_000);
            println!("{}", token.reveal());
        }
        return Ok(Exit::Done);
    };
    crate::cluster::bootstrap::write_secret(&file, token.reveal()).map_err(|error| {
        Failure::local("writing the token", &error, "give a file that can be written: --out FILE; then revoke the token that is lost")
    })?;
    cluster.say(&json!({ "id": id.to_string(), "until_ms": until_ms, "file": file }), &format!("token {id} is in {}", file.display()));
    Ok(Exit::Done)
}

async fn list(cluster: &ClusterArgs) -> Result<Exit, Failure> {
    let TrustAnswer::Joins(joins) = access::ask(cluster.admin().await?, TrustRequest::Joins).await? else {
        return Err(missing("a list of tokens").into());
    };
    let now = SystemClock.now();
    for join in &joins {
        let state = join.state(now);
        if cluster.json {
            println!("{}", shown(join, state));
        } else {
            let node = join.node.map(|node| format!(" node {node}")).unwrap_or_default();
            let replaces = join.replaces.map(|node| format!(" in the place of node {node}")).unwrap_or_default();
            println!("{}  {state}{node}{replaces}  until {} ms", join.id, join.until);
        }
    }
    if joins.is_empty() && !cluster.json {
        println!("there are no tokens: kith node token create");
    }
    Ok(Exit::Done)
}

fn shown(join: &JoinView, state: &str) -> Value {
    json!({
        "id": join.id.to_string(), "state": state, "by": join.by.to_string(), "made_ms": join.made.get(), "until_ms": join.until.get(),
        "region": join.region.map(RegionId::get), "zone": join.zone, "host": join.host,
        "replaces": join.replaces.map(NodeId::get), "node": join.node.map(NodeId::get),
    })
}

// ---------------------------------------------------------------- kith start --join

// How a node comes that has a token. No doc comment: it would stand as what the verb does.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Joining {
    /// Where others dial this node, if not where it listens
    #[arg(long, value_name = "HOST:PORT", requires = "joining")]
    advertise: Option<String>,
    /// Its zone: replicas of a group stand in different ones
    #[arg(long, default_value = "", requires = "joining")]
    zone: String,
    /// Its host in the zone, where zones have several nodes on one machine
    #[arg(long, default_value = "", requires = "joining")]
    host: String,
    /// Its region, by number
    #[arg(long, default_value_t = 0, requires = "joining")]
    region: u8,
    /// Its weight: a node of weight 2 gets twice as much as one of weight 1
    #[arg(long, default_value_t = 1, requires = "joining")]
    capacity: u32,
}

/// A token, said or in a file.
pub(super) enum Token<'a> {
    Said(&'a str),
    File(&'a PathBuf),
}

/// The settings of the node: it joins, or has before.
pub(super) async fn joined(
    joining: &Joining,
    token: &Token<'_>,
    (folder, listen, http): (&PathBuf, SocketAddr, SocketAddr),
    version: ClusterVersion,
) -> Result<PathBuf, Failure> {
    // A token is used once, and its file may be gone by the next start.
    if let Some(file) = crate::cluster::join::joined(folder).map_err(failure)? {
        return Ok(file);
    }
    let text = match token {
        Token::Said(text) => (*text).to_owned(),
        Token::File(file) => {
            fs::read_to_string(file).map_err(|error| Failure::local("reading the token", &error, "give the file that holds it: --join-file FILE"))?
        }
    };
    let ticket: JoinTicket = text
        .parse()
        .map_err(|error: TicketError| Failure::usage(error.to_string(), "ask an operator for a token: kith node token create --out FILE"))?;
    let Joining { advertise, zone, host, region, capacity } = joining.clone();
    let node = NodeRow {
        address: advertise.unwrap_or_else(|| listen.to_string()),
        http: http.to_string(),
        region: RegionId::new(region),
        zone,
        host,
        capacity,
        version,
        ..NodeRow::default()
    };
    let clock: SharedClock = Arc::new(SystemClock);
    eprintln!("joining cluster {} at {}", ticket.cluster, ticket.addresses.join(", "));
    let file = Join { ticket, folder: folder.clone(), listen, node }.run(&clock).await.map_err(failure)?;
    eprintln!("this is a node of the cluster now; its settings are in {}", file.display());
    Ok(file)
}

fn failure(error: JoinError) -> Failure {
    match &error {
        JoinError::Refused { refusal, .. } => Failure::refused(refusal.code, error.to_string(), hint(refusal.code)),
        JoinError::Nobody(_) => Failure::unreachable(error.to_string()),
        JoinError::Foreign { .. } => Failure::local("joining", &error, "give an empty folder, or a token of that cluster"),
        JoinError::Several { .. } => Failure::local("joining", &error, "say which node is meant: --config DIR/node-ID/node.toml"),
        JoinError::Listen { .. } => Failure::local("joining", &error, "give a free address of this machine: --listen ADDRESS"),
        JoinError::Key(_) | JoinError::Tls(_) | JoinError::Files(_) | JoinError::Render(_) => {
            Failure::local("joining", &error, "give a folder that can be written: --data DIR")
        }
    }
}

const fn hint(code: Code) -> &'static str {
    match code {
        Code::NotReached => "the token is as good as before: start again with the right --listen or --advertise",
        Code::BadToken | Code::TokenSpent | Code::TokenExpired | Code::Revoked => "an operator makes another: kith node token create --out FILE",
        Code::WrongCluster => "the token is of another cluster",
        Code::VersionMismatch => "install the build that the cluster's nodes run: kith upgrade status, on a machine of the cluster, names it",
        Code::NotAllowed | Code::Invalid => "kith layout show, on a machine of the cluster, names its nodes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_a_bound() {
        assert_eq!([parse_ttl("30s"), parse_ttl("15m"), parse_ttl("1h"), parse_ttl("7d")], [Ok(30), Ok(900), Ok(3_600), Ok(604_800)]);
        for wrong in ["", "1", "h", "0s", "8d", "-1h", "1.5h", "99999999999s", "1 h"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
