//! `kith shard`: which group holds which buckets, and their moves.

use std::time::Duration;

use comfy_table::{Table, presets};
use kith_client::{
    Client,
    wire::{
        id::GroupId,
        layout::{LayoutAnswer, LayoutGroup, LayoutRequest, LayoutView},
        moving::BucketRun,
    },
};
use serde_json::{Value, json};

use super::{
    cluster::ClusterArgs,
    failure::{Exit, Failure},
    layout::{self, bytes, on_the_way, run_json},
};
use crate::operator::missing;

/// Show which shard holds which buckets, and move them
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand, Debug)]
enum Act {
    /// Show the shards, their buckets and sizes, and what is on the way
    List,
    /// Move half of a shard's buckets to another one
    ///
    /// They are served while they are copied; for a moment in the end their writes wait. Conversations and users move with all that they have.
    Split {
        /// Which shard
        #[arg(value_name = "SHARD")]
        shard: u32,
        /// To this one; else to the one of its region that has the fewest buckets
        #[arg(long, value_name = "SHARD")]
        to: Option<u32>,
        /// Return when the move is over
        #[arg(long)]
        wait: bool,
    },
    /// Move buckets from one shard to another
    Move {
        /// From this shard
        #[arg(long, value_name = "SHARD")]
        from: u32,
        /// To this one
        #[arg(long, value_name = "SHARD")]
        to: u32,
        /// The first of the buckets that go; `kith shard list` shows which there are
        #[arg(long, value_name = "BUCKET")]
        first: u16,
        /// The last of them
        #[arg(long, value_name = "BUCKET")]
        last: u16,
        /// Return when the move is over
        #[arg(long)]
        wait: bool,
    },
    /// Give up the move out of a shard, as long as its buckets have not been handed over
    Cancel {
        /// Which shard
        #[arg(value_name = "SHARD")]
        shard: u32,
    },
}

pub(super) async fn run(args: Args) -> Result<Exit, Failure> {
    let admin = args.cluster.admin().await?;
    let done = act(&admin, args.act).await;
    admin.close().await;
    let (value, text) = done?;
    println!("{}", if args.cluster.json { value.to_string() } else { text });
    Ok(Exit::Done)
}

async fn act(admin: &Client, act: Act) -> Result<(Value, String), Failure> {
    let (asked, wait) = match act {
        Act::List => {
            let view = shown(admin).await?;
            return Ok((view_json(&view), view_text(&view)));
        }
        Act::Cancel { shard } => (LayoutRequest::CancelMove { from: GroupId::new(shard) }, None),
        Act::Split { shard, to, wait } => {
            let from = GroupId::new(shard);
            (LayoutRequest::MoveBuckets { from, run: None, to: to.map(GroupId::new) }, Some(wait))
        }
        Act::Move { from, to, first, last, wait } => {
            let (from, to) = (GroupId::new(from), GroupId::new(to));
            let region = shown(admin).await?.groups.iter().find(|group| group.group == from).map(|group| group.region);
            let region = region.ok_or_else(|| Failure::usage(format!("there is no shard {from}"), "`kith shard list` shows which there are"))?;
            (LayoutRequest::MoveBuckets { from, run: Some(BucketRun { region, first, last }), to: Some(to) }, Some(wait))
        }
    };
    let LayoutAnswer::Moving { from, run, to } = layout::ask(admin, asked).await? else { return Err(missing("an answer about the move").into()) };
    let value = |state: &str| json!({ "from": from.get(), "to": to.get(), "run": run_json(&run), "state": state });
    let count = run.count();
    Ok(match wait {
        None => (value("given up"), format!("given up: {count} buckets stay on shard {from}")),
        Some(false) => (value("begun"), format!("begun: {count} buckets ({run}) move from shard {from} to shard {to}: kith shard list")),
        Some(true) => match ended(admin, from, run).await? {
            true => (value("moved"), format!("moved: shard {to} has {count} buckets ({run}) of shard {from}")),
            false => (value("given up"), format!("given up by somebody else: {count} buckets stay on shard {from}")),
        },
    })
}

/// Waits until a move out of a shard has ended; says whether the buckets went.
async fn ended(admin: &Client, from: GroupId, run: BucketRun) -> Result<bool, Failure> {
    let mut looks_after = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let view = shown(admin).await?;
        let Some(group) = view.groups.iter().find(|group| group.group == from) else { return Err(missing("the shard").into()) };
        if group.leader.is_none() || group.leaving.is_some_and(|leaving| leaving.run == run) {
            continue;
        }
        // The map hears of it last.
        looks_after += 1;
        let has_gone = !group.runs.iter().any(|own| own.overlaps(&run));
        if has_gone || looks_after > MAP_LOOKS {
            return Ok(has_gone);
        }
    }
}

async fn shown(admin: &Client) -> Result<LayoutView, Failure> {
    match layout::ask(admin, LayoutRequest::Show).await? {
        LayoutAnswer::Shown(view) => Ok(view),
        _ => Err(missing("the layout").into()),
    }
}

/// Those that hold data.
fn shards(view: &LayoutView) -> impl Iterator<Item = &LayoutGroup> {
    view.groups.iter().filter(|group| group.group != GroupId::META)
}

fn view_json(view: &LayoutView) -> Value {
    let shard = |group: &LayoutGroup| {
        let moving = group.leaving.map(|row| json!({ "run": run_json(&row.run), "to": row.to.get(), "phase": row.phase.name() }));
        json!({
            "shard": group.group.get(), "region": group.region.get(), "leader": group.leader.map(|node| node.get()), "buckets": group.buckets,
            "runs": group.runs.iter().map(run_json).collect::<Vec<_>>(), "bytes": group.bytes, "moving": moving,
        })
    };
    json!({ "version": view.version.get(), "shards": shards(view).map(shard).collect::<Vec<_>>() })
}

fn view_text(view: &LayoutView) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["shard", "region", "leader", "buckets", "which", "size", "on the way"]);
    for group in shards(view) {
        let leader = group.leader.map_or_else(|| "none".to_owned(), |leader| format!("node {leader}"));
        let row = [
            group.group.to_string(),
            group.region.to_string(),
            leader,
            group.buckets.to_string(),
            which(group),
            bytes(group.bytes),
            on_the_way(group),
        ];
        table.add_row(row);
    }
    format!("map version {}\n{table}", view.version)
}

/// The first few runs.
fn which(group: &LayoutGroup) -> String {
    let mut words: Vec<String> = group.runs.iter().take(RUNS_IN_A_ROW).map(|run| format!("{}-{}", run.first, run.last)).collect();
    if group.runs.len() > RUNS_IN_A_ROW {
        words.push("...".to_owned());
    }
    words.join(", ")
}

/// Between two looks at a move.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks at a map that still gives the buckets to their old shard, after which they are taken to have stayed.
const MAP_LOOKS: usize = 20;
/// Runs that a row of the table names.
const RUNS_IN_A_ROW: usize = 4;

#[cfg(test)]
mod tests {
    use kith_client::wire::{
        id::{NodeId, RegionId},
        moving::{LeavingPhase, LeavingRow},
    };

    use super::*;

    #[test]
    fn a_list_says_who_has_what_and_what_is_on_the_way() {
        let run = |first, last| BucketRun { region: RegionId::FIRST, first, last };
        let leaving = LeavingRow { run: run(10, 19), to: GroupId::new(2), phase: LeavingPhase::Copying, ..LeavingRow::default() };
        let group = LayoutGroup {
            group: GroupId::new(1),
            leader: Some(NodeId::new(3)),
            buckets: 20,
            runs: (0..6).map(|at| run(at * 10, at * 10 + 3)).collect(),
            leaving: Some(leaving),
            ..LayoutGroup::default()
        };
        assert_eq!(which(&group), "0-3, 10-13, 20-23, 30-33, ...");
        let view = LayoutView { groups: vec![LayoutGroup::default(), group], ..LayoutView::default() };
        let text = view_text(&view);
        assert!(text.contains("node 3") && text.contains("10 buckets to group 2: copying"), "{text}");
        assert_eq!(view_json(&view)["shards"].as_array().map(Vec::len), Some(1), "the meta group holds no buckets");
    }
}
