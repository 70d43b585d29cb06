//! `kith node`: nodes come and go: one more, one in the place of another, one that is emptied for good or for a while.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kith_client::wire::{
    client::{ClusterStatus, GroupStatus, ReplicaCondition, ReplicaStatus, Request},
    code::Code,
    id::{NodeId, RegionId},
    layout::{Emptying, LayoutAnswer, LayoutRequest},
    log::NodeState,
};
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    join, layout,
};
use crate::{
    cluster::{NodeSpec, add_node},
    config::Config,
    disk,
    operator::{self, missing},
};

/// Add, empty, drain or replace a node
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Put a new node in the place of one whose disk or machine is gone
    ///
    /// Makes the folder `node-<new>/` with a certificate (this needs `cluster/ca.key`), and tells the cluster. Then start it with an empty disk:
    /// `kith start --config node-<new>/node.toml`. Its replicas come from the others; `kith status` shows them. The dead node is refused for good,
    /// whatever its disk holds. May be run again.
    Replace(Replace),
    /// Add a node
    ///
    /// Makes the folder `node-<id>/` with a certificate (this needs `cluster/ca.key`), and tells the cluster. Then start it:
    /// `kith start --config node-<id>/node.toml`. It gets replicas where some are missing, then, when all has been well for a minute, its share. May be run again.
    Add(Add),
    /// Empty a node for good
    ///
    /// Its sessions and leaderships go, its replicas are copied to other nodes, then it has left and ends with exit code 6. Refused when a replica would have no place;
    /// then all that is in the way is named, and nothing is changed. May be run again; `kith node recommission` stops it.
    Decommission(Decommission),
    /// Keep a node that is being emptied
    Recommission {
        /// Id of the node
        #[arg(value_name = "ID")]
        node: u64,
    },
    /// Have a node give up its sessions and leaderships, and wait for that: before its machine is restarted, say
    ///
    /// Its replicas stay, and it takes part in quorums. It takes sessions again when it is started anew, or with `--undo`.
    Drain(DrainArgs),
    /// Make, list and revoke tokens by which nodes join
    Token(join::Args),
    /// Give up the room that was set aside on this machine's disk, when it is full: with the node running or not
    ///
    /// Then make more room: the node sets it aside again when there is plenty.
    FreeBallast {
        /// The node's settings
        #[arg(long, value_name = "FILE", default_value = "node.toml")]
        config: PathBuf,
    },
}

#[derive(clap::Args, Debug)]
struct Add {
    /// Id of the new node: one that was never used
    #[arg(long, value_name = "ID")]
    id: u64,
    /// Where it is dialled (UDP)
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// Where its health and metrics are (TCP)
    #[arg(long, value_name = "HOST:PORT")]
    http: String,
    /// Its zone: replicas of a group stand in different ones
    #[arg(long)]
    zone: String,
    /// Its host in the zone, where zones have several nodes on one machine
    #[arg(long, default_value = "")]
    host: String,
    /// Its region, by number
    #[arg(long, default_value_t = 0)]
    region: u8,
    /// Its weight: a node of weight 2 gets twice as much as one of weight 1
    #[arg(long, default_value_t = 1)]
    capacity: u32,
}

#[derive(clap::Args, Debug)]
struct Decommission {
    /// Id of the node
    #[arg(value_name = "ID")]
    node: u64,
    /// Only say what would be moved, or what is in the way
    #[arg(long)]
    dry_run: bool,
    /// Wait so many seconds until it has left
    #[arg(long, value_name = "SECONDS", conflicts_with = "dry_run")]
    wait: Option<u64>,
}

#[derive(clap::Args, Debug)]
struct DrainArgs {
    /// Id of the node
    #[arg(value_name = "ID")]
    node: u64,
    /// Wait at most so many seconds: sessions are told to move spread over 60
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    deadline: u64,
    /// It is to take sessions and leaderships again
    #[arg(long)]
    undo: bool,
}

#[derive(clap::Args, Debug)]
struct Replace {
    /// Id of the node that is gone
    #[arg(long, value_name = "ID")]
    dead: u64,
    /// Id of the new node: one that was never used
    #[arg(long, value_name = "ID")]
    new: u64,
    /// Where the new node is dialled (UDP); that of the dead one if not given
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Where its health and metrics are (TCP); that of the dead one if not given
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Its zone; that of the dead one if not given
    #[arg(long)]
    zone: Option<String>,
    /// Also when the dead node is still heard
    #[arg(long)]
    force: bool,
    /// Wait so many seconds until every replica of the new node has caught up and votes: start the node meanwhile
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.act {
        Act::Replace(replace) => put_in_place(&args.cluster, replace).await,
        Act::Add(add) => add_one(&args.cluster, add).await,
        Act::Decommission(asked) => decommission(&args.cluster, asked).await,
        Act::Recommission { node } => {
            let admin = args.cluster.admin().await?;
            let answer = layout::ask(&admin, LayoutRequest::Recommission { node: NodeId::new(node) }).await;
            admin.close().await;
            answer?;
            args.cluster.say(&json!({ "node": node, "state": "up" }), &format!("node {node} stays"));
            Ok(Exit::Done)
        }
        Act::Drain(asked) => drain(&args.cluster, asked).await,
        Act::Token(asked) => join::run(&args.cluster, asked).await,
        Act::FreeBallast { config } => free_ballast(&args.cluster, &config),
    }
}

fn free_ballast(cluster: &ClusterArgs, file: &Path) -> Result<Exit, Failure> {
    let config = Config::load(file).map_err(|error| Failure::local("reading the settings", &error, "give those of the node: --config FILE"))?;
    let hint = "run this as the node's user";
    let bytes = disk::free_ballast(&config.node.data).map_err(|error| Failure::local("giving up the ballast", &error, hint))?;
    let text = match bytes {
        0 => "there was no ballast: make room in another way".to_owned(),
        bytes => format!("{} are free now; make more room, or it is full again soon", layout::bytes(bytes)),
    };
    cluster.say(&json!({ "freed_bytes": bytes }), &text);
    Ok(Exit::Done)
}

async fn add_one(cluster: &ClusterArgs, add: Add) -> Result<Exit, Failure> {
    let operator = cluster.open()?;
    let Add { id, address, http, zone, host, region, capacity } = add;
    let spec = NodeSpec { id, address: address.clone(), http: http.clone(), region, zone: zone.clone(), host: host.clone() };
    let folder = add_node(operator.folder(), &spec).map_err(|error| {
        Failure::local("making the new node's folder", &error, "run this where the cluster's `ca.key` is, with an id that was never used")
    })?;
    let admin = cluster.admin().await?;
    let asked = LayoutRequest::AddNode { node: NodeId::new(id), address, http, region: RegionId::new(region), zone, host, capacity };
    let answer = layout::ask(&admin, asked).await;
    admin.close().await;
    answer?;
    let text = format!("node {id} is known now: start it: kith start --config {}/node.toml; kith layout show shows what it gets", folder.display());
    cluster.say(&json!({ "node": id, "folder": folder }), &text);
    Ok(Exit::Done)
}

async fn decommission(cluster: &ClusterArgs, asked: Decommission) -> Result<Exit, Failure> {
    let admin = cluster.admin().await?;
    let (id, node) = (asked.node, NodeId::new(asked.node));
    let answer = layout::ask(&admin, LayoutRequest::Decommission { node, dry_run: asked.dry_run }).await;
    let exit = match answer {
        Ok(LayoutAnswer::Blocked(blockers)) => {
            cluster.say(&json!({ "node": id, "blocked": blockers }), &format!("node {id} cannot be emptied:\n  {}", blockers.join("\n  ")));
            Ok(Exit::Refused)
        }
        Ok(LayoutAnswer::Emptying(Emptying { replicas, bytes, eta_s, .. })) => {
            let has_left = match asked.wait {
                Some(seconds) => Some(wait_left(&admin, node, Duration::from_secs(seconds)).await),
                None => None,
            };
            let would = if asked.dry_run { "would be" } else { "are" };
            let mut text = format!("{replicas} replicas {would} moved off node {id}, {} in about {eta_s} s", layout::bytes(bytes));
            if let Some(Ok(())) = has_left {
                text = format!("node {id} has left: {replicas} replicas were moved off it");
            }
            let state = if asked.dry_run {
                "up"
            } else if has_left.is_some() {
                "left"
            } else {
                "draining"
            };
            match has_left.unwrap_or(Ok(())) {
                Ok(()) => {
                    let what = json!({ "node": id, "dry_run": asked.dry_run, "state": state, "replicas": replicas, "bytes": bytes, "eta_s": eta_s });
                    cluster.say(&what, &text);
                    Ok(Exit::Done)
                }
                Err(failure) => Err(failure),
            }
        }
        Ok(_) => Err(missing("an answer about the node").into()),
        Err(failure) => Err(failure),
    };
    admin.close().await;
    exit
}

async fn wait_left(admin: &kith_client::Client, node: NodeId, within: Duration) -> Result<(), Failure> {
    let looking = async {
        loop {
            if let Ok(LayoutAnswer::Shown(view)) = layout::ask(admin, LayoutRequest::Show).await
                && view.nodes.iter().any(|row| row.node == node && row.state == NodeState::Left)
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let late = format!("node {node} had not left within {} s: kith layout show says what it waits for", within.as_secs());
    tokio::time::timeout(within, looking).await.map_err(|_| Failure::unreachable(late))
}

async fn drain(cluster: &ClusterArgs, asked: DrainArgs) -> Result<Exit, Failure> {
    let admin = cluster.admin().await?;
    let request = LayoutRequest::Drain { node: NodeId::new(asked.node), on: !asked.undo };
    let looking = async {
        loop {
            match layout::ask(&admin, request.clone()).await {
                Ok(LayoutAnswer::Draining { sessions, leads }) if asked.undo || (sessions == 0 && leads == 0) => return Ok((sessions, leads)),
                Ok(LayoutAnswer::Draining { .. }) => {}
                Ok(_) => return Err(missing("an answer about the node").into()),
                // This session was one that had to move.
                Err(failure) if matches!(failure.code(), Some(Code::Draining | Code::Disconnected)) => {}
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let within = Duration::from_secs(asked.deadline);
    let done = tokio::time::timeout(within, looking).await;
    admin.close().await;
    let id = asked.node;
    match done {
        Ok(Ok((sessions, leads))) => {
            let text = if asked.undo { format!("node {id} takes sessions again") } else { format!("node {id} holds no session and leads no group") };
            cluster.say(&json!({ "node": id, "drains": !asked.undo, "sessions": sessions, "leads": leads }), &text);
            Ok(Exit::Done)
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(Failure::unreachable(format!("node {id} still had sessions or leaderships after {} s; it goes on draining", within.as_secs()))),
    }
}

async fn put_in_place(cluster: &ClusterArgs, replace: Replace) -> Result<Exit, Failure> {
    let operator = cluster.open()?;
    let spec = operator.files().spec.nodes.iter().find(|node| node.id == replace.dead);
    let of_dead = |given: Option<String>, old: Option<&String>, what: &str| {
        given.or_else(|| old.cloned()).ok_or_else(|| Failure::usage(format!("cluster.toml does not name node {}", replace.dead), what))
    };
    let address = of_dead(replace.address, spec.map(|spec| &spec.address), "give --address HOST:PORT of the new node")?;
    let http = of_dead(replace.http, spec.map(|spec| &spec.http), "give --http HOST:PORT of the new node")?;
    let zone = replace.zone.unwrap_or_default();
    let new = NodeSpec { id: replace.new, address: address.clone(), http: http.clone(), region: 0, zone: zone.clone(), host: String::new() };
    let folder = add_node(operator.folder(), &new).map_err(|error| {
        Failure::local("making the new node's folder", &error, "run this where the cluster's `ca.key` is, with an id that was never used")
    })?;
    let admin = cluster.admin().await?;
    let (dead, node) = (NodeId::new(replace.dead), NodeId::new(replace.new));
    let asked = admin.request(Request::ReplaceNode { dead, node, address, http, zone, host: String::new(), force: replace.force }).await;
    let done = match (asked, replace.wait) {
        (Ok(_), Some(seconds)) => wait(&admin, node, Duration::from_secs(seconds)).await,
        (Ok(_), None) => Ok(false),
        (Err(error), _) => Err(error.into()),
    };
    admin.close().await;
    let is_there = done?;
    if cluster.json {
        println!("{}", json!({ "dead": replace.dead, "node": replace.new, "folder": folder, "is_caught_up": is_there }));
    } else {
        println!("node {} takes the place of node {}, which is refused from now on", replace.new, replace.dead);
        if !is_there {
            println!("start it with an empty disk: kith start --config {}/node.toml; kith status shows how its replicas come", folder.display());
        }
    }
    Ok(Exit::Done)
}

async fn wait(admin: &kith_client::Client, node: NodeId, within: Duration) -> Result<bool, Failure> {
    let looking = async {
        loop {
            if let Ok(LayoutAnswer::Shown(view)) = layout::ask(admin, LayoutRequest::Show).await
                && let Some(own) = view.nodes.iter().find(|one| one.node == node)
                && operator::status(admin).await.is_ok_and(|status| has_caught_up(&status, node, own.replicas))
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(within, looking).await {
        Ok(()) => Ok(true),
        Err(_) => Err(Failure::unreachable(format!("the replicas of node {node} were not complete within {} s", within.as_secs()))),
    }
}

/// Whether it has as many replicas as the map gives it, be it none, and each is sound and has applied what its leader had.
fn has_caught_up(status: &ClusterStatus, node: NodeId, wanted: u64) -> bool {
    let is_whole = |group: &GroupStatus, replica: &ReplicaStatus| {
        let applied = group.replicas.iter().map(|other| other.applied).max().unwrap_or_default();
        replica.condition == ReplicaCondition::Sound && group.leader.is_some() && replica.applied + LAG_MAX >= applied
    };
    let mut whole = status.groups.iter().filter_map(|group| {
        let own = group.replicas.iter().find(|replica| replica.node == node)?;
        Some(is_whole(group, own))
    });
    let mut count = 0;
    whole.all(|is_whole| {
        count += 1;
        is_whole
    }) && count >= wanted
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Entries that a replica under load may be behind.
const LAG_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use kith_client::wire::id::ClusterId;

    use super::*;

    #[test]
    fn a_node_has_caught_up_with_all_that_the_map_gives_it() {
        let replica =
            |node: u64, applied| ReplicaStatus { node: NodeId::new(node), last: applied, applied, digest: 0, condition: ReplicaCondition::Sound };
        let group = |group, replicas| GroupStatus { group, leader: Some(NodeId::new(1)), term: 1, replicas };
        let status = |groups| ClusterStatus { cluster: ClusterId::new([1; 16]), map_epoch: 1, nodes: Vec::new(), groups };
        let has = |status: &ClusterStatus, wanted| has_caught_up(status, NodeId::new(4), wanted);
        let two = status(vec![group(1, vec![replica(1, 900), replica(4, 900)]), group(2, vec![replica(1, 900), replica(4, 700)])]);
        assert!(has(&two, 2));
        assert!(!has(&two, 3), "one is still to come");
        assert!(!has(&status(vec![group(1, vec![replica(1, 900), replica(4, 600)])]), 1), "it is behind");
        assert!(!has(&status(vec![GroupStatus { leader: None, ..group(1, vec![replica(4, 9)]) }]), 1), "nobody leads");
        assert!(has(&status(vec![group(1, vec![replica(1, 900)])]), 0), "who stood there had none");
    }
}
