//! `kith layout`: where groups stand, where they should, and the moves between.

use comfy_table::{Table, presets};
use kith_client::{
    Client,
    wire::{
        client::{Answer, Request},
        id::{MapEpoch, NodeId},
        layout::{LayoutAnswer, LayoutGroup, LayoutMove, LayoutNode, LayoutPlan, LayoutRequest, LayoutView},
        log::NodeState,
        moving::{BucketRun, LeavingRow},
    },
};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
};
use crate::operator::missing;

/// Show where groups stand, plan where they should, and move them
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Show nodes, groups, and what the cluster moved by itself
    Show,
    /// Show what should be moved now, and why; nothing is
    ///
    /// What must be moved (off a dead node, off one that is being emptied, to new nodes where replicas are missing) begins by itself. The rest, leaders and replicas
    /// that are balanced, does after a minute in which all is well, a few at a time, unless cluster.toml says `[layout] balance = false`.
    Plan,
    /// Do all that the plan of this version says, at once
    ///
    /// Refused when the map has changed since: look at the plan again. Replicas are copied before the old ones go.
    Apply {
        /// The version that `kith layout plan` showed
        #[arg(long, value_name = "N")]
        version: u64,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let asked = match args.act {
        Act::Show => LayoutRequest::Show,
        Act::Plan => LayoutRequest::Plan,
        Act::Apply { version } => LayoutRequest::Apply { version: MapEpoch::new(version) },
    };
    let is_plan = asked == LayoutRequest::Plan;
    let answer = ask(&admin, asked).await;
    admin.close().await;
    let text = match (answer?, args.cluster.json) {
        (LayoutAnswer::Shown(view), true) => view_json(&view).to_string(),
        (LayoutAnswer::Shown(view), false) => view_text(&view),
        (LayoutAnswer::Planned(plan), true) => plan_json(&plan).to_string(),
        (LayoutAnswer::Planned(plan), false) => plan_text(&plan, is_plan),
        _ => return Err(missing("the layout").into()),
    };
    println!("{text}");
    Ok(Exit::Done)
}

/// Asks the cluster's meta group.
pub(super) async fn ask(admin: &Client, asked: LayoutRequest) -> Result<LayoutAnswer, Failure> {
    match admin.request(Request::Layout(asked)).await? {
        Answer::Layout(answer) => Ok(answer),
        _ => Err(missing("an answer about the layout").into()),
    }
}

/// In one word.
pub(super) const fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Joining => "joining",
        NodeState::Up => "up",
        NodeState::Draining => "draining",
        NodeState::Left => "left",
    }
}

fn view_json(view: &LayoutView) -> Value {
    let node = |node: &LayoutNode| {
        json!({
            "node": node.node.get(), "address": node.address, "region": node.region.get(), "zone": node.zone, "host": node.host,
            "capacity": node.capacity, "state": state(node.state), "health": node.health.name(), "silent_ms": node.silent_ms, "drains": node.drains,
            "free_bytes": node.free_bytes, "sessions": node.sessions, "replicas": node.replicas, "leads": node.leads,
        })
    };
    let group = |group: &LayoutGroup| {
        json!({
            "group": group.group.get(), "region": group.region.get(), "replicas": numbers(&group.replicas), "preference": numbers(&group.preference),
            "leader": group.leader.map(NodeId::get), "voters": numbers(&group.voters), "learners": numbers(&group.learners), "bytes": group.bytes,
            "buckets": group.buckets, "runs": group.runs.iter().map(run_json).collect::<Vec<_>>(), "moving": group.leaving.as_ref().map(moving_json),
        })
    };
    json!({
        "version": view.version.get(), "balance": view.balance, "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
        "groups": view.groups.iter().map(group).collect::<Vec<_>>(), "groups_more": view.groups_more,
        "moved": view.moved.iter().map(move_json).collect::<Vec<_>>(), "notes": view.notes,
    })
}

/// Buckets, first and last one.
pub(super) fn run_json(run: &BucketRun) -> Value {
    json!({ "first": run.first, "last": run.last })
}

fn moving_json(leaving: &LeavingRow) -> Value {
    json!({ "run": run_json(&leaving.run), "to": leaving.to.get(), "phase": leaving.phase.name() })
}

fn plan_json(plan: &LayoutPlan) -> Value {
    json!({
        "version": plan.version.get(), "moves": plan.moves.iter().map(move_json).collect::<Vec<_>>(), "moves_more": plan.moves_more,
        "bytes": plan.bytes, "notes": plan.notes,
    })
}

fn move_json(line: &LayoutMove) -> Value {
    json!({ "group": line.group.get(), "what": line.what, "why": line.why, "bytes": line.bytes })
}

fn numbers(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.get()).collect()
}

fn view_text(view: &LayoutView) -> String {
    let mut nodes = Table::new();
    nodes.load_style(presets::UTF8_FULL_CONDENSED).set_header(["node", "address", "zone", "state", "heard", "replicas", "leads", "sessions", "free"]);
    for node in &view.nodes {
        let drains = if node.drains && node.state == NodeState::Up { ", drains" } else { "" };
        let heard =
            if node.silent_ms == 0 { node.health.name().to_owned() } else { format!("{} ({} s)", node.health.name(), node.silent_ms / 1_000) };
        let known = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        nodes.add_row([
            node.node.to_string(),
            node.address.clone(),
            node.zone.clone(),
            format!("{}{drains}", state(node.state)),
            heard,
            node.replicas.to_string(),
            node.leads.to_string(),
            known(node.sessions),
            node.free_bytes.map_or_else(|| "?".to_owned(), bytes),
        ]);
    }
    let mut groups = Table::new();
    groups.load_style(presets::UTF8_FULL_CONDENSED).set_header(["group", "leader", "replicas, best leader first", "buckets", "size", "on the way"]);
    for group in &view.groups {
        let name = if group.group.get() == 0 { "0 (meta)".to_owned() } else { group.group.to_string() };
        let leader = group.leader.map_or_else(|| "none".to_owned(), |leader| format!("node {leader}"));
        groups.add_row([name, leader, list(&group.preference), group.buckets.to_string(), bytes(group.bytes), on_the_way(group)]);
    }
    let mut text = format!("map version {}, balancing {}\n{nodes}\n{groups}", view.version, if view.balance { "on" } else { "off" });
    if view.groups_more > 0 {
        text += &format!("\nand {} groups more", view.groups_more);
    }
    for line in &view.moved {
        text += &format!("\nmoved: {}", move_text(line));
    }
    for note in &view.notes {
        text += &format!("\nnote: {note}");
    }
    text
}

/// What of the members is not yet what the map says.
pub(super) fn on_the_way(group: &LayoutGroup) -> String {
    let mut words = Vec::new();
    let coming: Vec<NodeId> = group.replicas.iter().copied().filter(|node| !group.voters.contains(node)).collect();
    let going: Vec<NodeId> = group.voters.iter().copied().filter(|node| !group.replicas.contains(node)).collect();
    if group.leader.is_some() && !coming.is_empty() {
        words.push(format!("to node {}", list(&coming)));
    }
    if !going.is_empty() {
        words.push(format!("from node {}", list(&going)));
    }
    if let Some(leaving) = &group.leaving {
        words.push(format!("{} buckets to group {}: {}", leaving.run.count(), leaving.to, leaving.phase.name()));
    }
    words.join(", ")
}

fn plan_text(plan: &LayoutPlan, is_plan: bool) -> String {
    let mut text = String::new();
    for line in &plan.moves {
        text += &format!("{}\n", move_text(line));
    }
    if plan.moves_more > 0 {
        text += &format!("and {} moves more\n", plan.moves_more);
    }
    for note in &plan.notes {
        text += &format!("note: {note}\n");
    }
    let count = plan.moves.len() as u64 + plan.moves_more;
    let end = match (count, is_plan) {
        (0, _) => format!("map version {}: nothing is to be moved", plan.version),
        (_, true) => format!("{count} moves, {} to copy: kith layout apply --version {}", bytes(plan.bytes), plan.version),
        (_, false) => format!("{count} moves begun, {} to copy; map version {}: kith layout show", bytes(plan.bytes), plan.version),
    };
    text + &end
}

fn move_text(line: &LayoutMove) -> String {
    let size = if line.bytes > 0 { format!(", {}", bytes(line.bytes)) } else { String::new() };
    format!("group {}: {}{size}: {}", line.group, line.what, line.why)
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// So many bytes, for a person.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..0x400 => format!("{count} B"),
        0x400..0x10_0000 => format!("{} KiB", count >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}

#[cfg(test)]
mod tests {
    use kith_client::wire::id::GroupId;

    use super::*;

    #[test]
    fn a_plan_says_what_why_how_much_and_how_to_go_on() {
        let line = LayoutMove {
            group: GroupId::new(3),
            what: "move the replica on node 1 to node 4".into(),
            why: "node 1 is being emptied".into(),
            bytes: 5 << 20,
        };
        let plan = LayoutPlan { version: MapEpoch::new(77), moves: vec![line], bytes: 5 << 20, ..LayoutPlan::default() };
        assert_eq!(
            plan_text(&plan, true),
            "group 3: move the replica on node 1 to node 4, 5 MiB: node 1 is being emptied\n1 moves, 5 MiB to copy: kith layout apply --version 77"
        );
        assert_eq!(plan_text(&LayoutPlan { version: MapEpoch::new(77), ..LayoutPlan::default() }, true), "map version 77: nothing is to be moved");
    }

    #[test]
    fn members_that_come_and_go_are_told() {
        let ids = |raw: &[u64]| raw.iter().copied().map(NodeId::new).collect::<Vec<_>>();
        let group = LayoutGroup { replicas: ids(&[2, 3, 4]), voters: ids(&[1, 2, 3]), leader: Some(NodeId::new(2)), ..LayoutGroup::default() };
        assert_eq!(on_the_way(&group), "to node 4, from node 1");
        assert_eq!(on_the_way(&LayoutGroup { voters: ids(&[2, 3, 4]), ..group }), "");
    }
}
