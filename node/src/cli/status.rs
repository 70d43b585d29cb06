//! `kith status`: nodes, groups, leaders, lag.

use comfy_table::{Table, presets};
use kith_client::wire::client::{ClusterStatus, GroupStatus, ReplicaCondition, ReplicaStatus};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::operator;

/// Show nodes, groups, leaders and lag
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let status = operator::status(&admin).await?;
    admin.close().await;
    if args.cluster.json {
        println!("{}", as_json(&status));
    } else {
        println!("{}", as_text(&status));
    }
    Ok(Exit::Done)
}

fn as_json(status: &ClusterStatus) -> Value {
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|node| {
            json!({ "node": node.node.get(), "address": node.address, "zone": node.zone, "alive": node.alive, "sessions": node.sessions, "rss_bytes": node.rss_bytes })
        })
        .collect();
    let groups: Vec<Value> = status
        .groups
        .iter()
        .map(|group| {
            let replicas: Vec<Value> = group
                .replicas
                .iter()
                .map(|replica| json!({ "node": replica.node.get(), "last": replica.last, "applied": replica.applied, "lag": lag(group, replica.applied), "digest": format!("{:016x}", replica.digest), "condition": condition(replica.condition) }))
                .collect();
            json!({ "group": group.group, "leader": group.leader.map(|leader| leader.get()), "term": group.term, "replicas": replicas })
        })
        .collect();
    json!({ "cluster": status.cluster.to_string(), "map_epoch": status.map_epoch, "nodes": nodes, "groups": groups })
}

fn as_text(status: &ClusterStatus) -> String {
    let mut nodes = Table::new();
    nodes.load_style(presets::UTF8_FULL_CONDENSED).set_header(["node", "address", "zone", "alive", "sessions", "memory (MiB)"]);
    for node in &status.nodes {
        let known = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        nodes.add_row([
            node.node.to_string(),
            node.address.clone(),
            node.zone.clone(),
            (if node.alive { "yes" } else { "NO" }).to_owned(),
            known(node.sessions),
            known(node.rss_bytes.map(|bytes| bytes >> 20)),
        ]);
    }
    let mut groups = Table::new();
    groups.load_style(presets::UTF8_FULL_CONDENSED).set_header(["group", "leader", "term", "replicas: applied (lag)"]);
    for group in &status.groups {
        let replicas: Vec<String> = group.replicas.iter().map(|replica| shown(group, replica)).collect();
        let name = if group.group == 0 { "0 (meta)".to_owned() } else { group.group.to_string() };
        let leader = group.leader.map_or_else(|| "none".to_owned(), |leader| format!("node {leader}"));
        groups.add_row([name, leader, group.term.to_string(), replicas.join(", ")]);
    }
    format!("cluster {}, map epoch {}\n{nodes}\n{groups}", status.cluster, status.map_epoch)
}

fn shown(group: &GroupStatus, replica: &ReplicaStatus) -> String {
    let note = match replica.condition {
        ReplicaCondition::Sound => String::new(),
        other => format!(" {}", condition(other).to_uppercase()),
    };
    format!("node {}: {} ({}){note}", replica.node, replica.applied, lag(group, replica.applied))
}

const fn condition(condition: ReplicaCondition) -> &'static str {
    match condition {
        ReplicaCondition::Sound => "sound",
        ReplicaCondition::Quarantined => "quarantined",
        ReplicaCondition::Rebuilding => "rebuilding",
        ReplicaCondition::Failed => "failed",
    }
}

/// How many log entries a replica has not applied of those that any replica of its group has.
fn lag(group: &GroupStatus, applied: u64) -> u64 {
    group.replicas.iter().map(|replica| replica.last.max(replica.applied)).max().unwrap_or_default().saturating_sub(applied)
}

#[cfg(test)]
mod tests {
    use kith_client::wire::{
        client::NodeStatus,
        id::{ClusterId, NodeId},
    };

    use super::*;

    #[test]
    fn status_shows_leaders_and_lag() {
        let replica = |node, applied| ReplicaStatus { node: NodeId::new(node), last: 9, applied, digest: 0xab, condition: ReplicaCondition::Sound };
        let node =
            NodeStatus { node: NodeId::new(1), address: "h:1".into(), zone: "a".into(), alive: false, sessions: None, rss_bytes: Some(5 << 20) };
        let groups = vec![GroupStatus { group: 1, leader: Some(NodeId::new(2)), term: 4, replicas: vec![replica(1, 9), replica(2, 7)] }];
        let status = ClusterStatus { cluster: ClusterId::new([1; 16]), map_epoch: 3, nodes: vec![node], groups };
        let text = as_text(&status);
        assert!(text.contains("node 2: 7 (2)") && text.contains("NO") && text.contains('?'), "{text}");
        assert_eq!(as_json(&status)["groups"][0]["replicas"][1]["lag"], 2);
    }
}
