//! `kith node replace`: a new node in the place of one that is gone for good.

use std::time::Duration;

use kith_client::wire::{
    client::{ClusterStatus, ReplicaCondition, Request},
    id::NodeId,
};
use serde_json::json;

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::{
    cluster::{NodeSpec, add_node},
    operator,
};

/// Replace a node
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
    let Act::Replace(replace) = args.act;
    let operator = args.cluster.open()?;
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
    let (_, admin) = args.cluster.admin().await?;
    let (dead, node) = (NodeId::new(replace.dead), NodeId::new(replace.new));
    let asked = admin.request(Request::ReplaceNode { dead, node, address, http, zone, host: String::new(), force: replace.force }).await;
    let done = match (asked, replace.wait) {
        (Ok(_), Some(seconds)) => wait(&admin, node, Duration::from_secs(seconds)).await,
        (Ok(_), None) => Ok(false),
        (Err(error), _) => Err(error.into()),
    };
    admin.close().await;
    let is_there = done?;
    if args.cluster.json {
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
            if operator::status(admin).await.is_ok_and(|status| has_caught_up(&status, node)) {
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

/// Whether it has replicas, and each is sound and has applied what its leader had.
fn has_caught_up(status: &ClusterStatus, node: NodeId) -> bool {
    let own = |group: &kith_client::wire::client::GroupStatus| group.replicas.iter().find(|replica| replica.node == node).cloned();
    let mut replicas = status.groups.iter().filter_map(|group| Some((group, own(group)?))).peekable();
    replicas.peek().is_some()
        && replicas.all(|(group, replica)| {
            let applied = group.replicas.iter().map(|other| other.applied).max().unwrap_or_default();
            replica.condition == ReplicaCondition::Sound && group.leader.is_some() && replica.applied + LAG_MAX >= applied
        })
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Entries that a replica under load may be behind.
const LAG_MAX: u64 = 256;
