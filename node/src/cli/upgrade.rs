//! `kith upgrade`: which builds the nodes run, what is in the way of the cluster's next version, and going to it.

use comfy_table::{Table, presets};
use kith_client::{
    Client,
    wire::{
        layout::{LayoutAnswer, LayoutRequest, NodeHealth},
        log::NodeState,
        upgrade::{ClusterVersion, UpgradeNode, UpgradeView},
    },
};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    layout::{self, state},
};
use crate::operator::missing;

/// Show how far an upgrade is, check what is in its way, and finalize it
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Show the version of the cluster and the nodes' builds
    Status,
    /// Say what is in the way of the next version; exit code 1 if anything is
    ///
    /// Nothing to finalize is fine too: then every node's build knows the cluster's version and no newer one.
    Check,
    /// Go to the next version: what it brings is used from then on, and the older build does not start any more
    ///
    /// The cluster does so by itself a day after all nodes run the new build, unless cluster.toml says `[upgrade] finalize = false`.
    Finalize {
        /// This version, and no other; again is no change
        #[arg(long, value_name = "N")]
        to: Option<u32>,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let done = act(&admin, &args.act).await;
    admin.close().await;
    let view = done?;
    let is_check = matches!(args.act, Act::Check);
    let text = match &args.act {
        _ if args.cluster.json => view_json(&view).to_string(),
        Act::Status => view_text(&view),
        Act::Check => check_text(&view),
        Act::Finalize { .. } => format!("the cluster is at version {}", view.version),
    };
    println!("{text}");
    Ok(if is_check && !view.blockers.is_empty() { Exit::Bad } else { Exit::Done })
}

async fn act(admin: &Client, act: &Act) -> Result<UpgradeView, Failure> {
    let shown = ask(admin, LayoutRequest::Upgrade).await?;
    let to = match act {
        Act::Status | Act::Check => return Ok(shown),
        Act::Finalize { to: Some(to) } => ClusterVersion::new(*to),
        Act::Finalize { to: None } => match shown.next {
            Some(next) => next,
            // Nothing newer is known: it is done.
            None => return Ok(shown),
        },
    };
    ask(admin, LayoutRequest::Finalize { to }).await
}

async fn ask(admin: &Client, asked: LayoutRequest) -> Result<UpgradeView, Failure> {
    match layout::ask(admin, asked).await? {
        LayoutAnswer::Upgrading(view) => Ok(view),
        _ => Err(missing("an answer about the upgrade").into()),
    }
}

fn view_json(view: &UpgradeView) -> Value {
    let node = |node: &UpgradeNode| {
        json!({
            "node": node.node.get(), "state": state(node.state), "health": node.health.name(), "knows": known(node.version), "build": node.build,
            "noted": node.noted.map(ClusterVersion::get),
        })
    };
    json!({
        "version": view.version.get(), "next": view.next.map(ClusterVersion::get), "blockers": view.blockers, "by_itself": view.by_itself,
        "in_s": view.in_s, "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn known(version: ClusterVersion) -> Option<u32> {
    (version > ClusterVersion::default()).then(|| version.get())
}

fn view_text(view: &UpgradeView) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["node", "build", "knows up to", "has noted", "heard"]);
    for node in &view.nodes {
        let number = |version: Option<u32>| version.map_or_else(|| "?".to_owned(), |version| version.to_string());
        let left = if node.state == NodeState::Up { String::new() } else { format!(", {}", state(node.state)) };
        let heard = if node.health == NodeHealth::Alive { "yes" } else { "no" };
        table.add_row([
            node.node.to_string(),
            if node.build.is_empty() { "?".to_owned() } else { node.build.clone() },
            number(known(node.version)),
            number(node.noted.map(ClusterVersion::get)),
            format!("{heard}{left}"),
        ]);
    }
    format!("cluster version {}\n{table}\n{}", view.version, check_text(view))
}

fn check_text(view: &UpgradeView) -> String {
    let Some(next) = view.next else { return format!("nothing to finalize: no node's build knows a version beyond {}", view.version) };
    if !view.blockers.is_empty() {
        let lines: String = view.blockers.iter().map(|line| format!("\n  {line}")).collect();
        return format!("not ready for version {next}; until then the older build can be put back:{lines}");
    }
    let by_itself = match (view.by_itself, view.in_s) {
        (true, Some(seconds)) => format!("; the cluster does so by itself in {}", span(seconds)),
        _ => "; cluster.toml says that the cluster does not do so by itself".to_owned(),
    };
    format!("ready for version {next}: kith upgrade finalize{by_itself}. Until then the older build can be put back")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_to_do_next() {
        let version = ClusterVersion::new;
        let done = UpgradeView { version: version(2), ..UpgradeView::default() };
        assert_eq!(check_text(&done), "nothing to finalize: no node's build knows a version beyond 2");
        let ready = UpgradeView { next: Some(version(3)), by_itself: true, in_s: Some(86_400), ..done.clone() };
        let text = check_text(&ready);
        assert!(text.contains("kith upgrade finalize") && text.contains("in 24 h"), "{text}");
        let held = UpgradeView { by_itself: false, in_s: None, ..ready.clone() };
        assert!(check_text(&held).contains("does not do so by itself"));
        let blocked = UpgradeView { blockers: vec!["node 2 is not heard".into()], ..ready };
        assert!(check_text(&blocked).ends_with("\n  node 2 is not heard"));
        let node = UpgradeNode { build: "0.1.0".into(), version: version(2), ..UpgradeNode::default() };
        let text = view_text(&UpgradeView { nodes: vec![node], ..done });
        assert!(text.starts_with("cluster version 2\n") && text.contains("0.1.0"), "{text}");
    }
}
