//! `kith.client.v1` and `kith.peer.v1`: where groups stand and where they should.

use super::{
    Field, at_most, message, nested, numbered, proto,
    proto::{
        client::v1::{self as client, layout_answer::Answer as AnswerKind, layout_request::Ask as AskKind},
        peer::v1 as peer,
    },
    tuple, union, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    id::NodeId,
    layout::{Emptying, LayoutAnswer, LayoutGroup, LayoutMove, LayoutNode, LayoutPlan, LayoutRequest, LayoutView, LedGroup, NodeHealth, NodeLoad},
    limit,
    upgrade::{UpgradeNode, UpgradeView},
};

wrapper!(LayoutRequest => client::LayoutRequest.ask check check_request);
nested!(LayoutRequest, client::LayoutRequest);
union!(LayoutRequest => AskKind {
    Apply: client::LayoutApply { version },
    AddNode: client::AddNode { node, address, http, region, zone, host, capacity },
    Decommission: client::Decommission { node, dry_run },
    Recommission: client::Recommission { node },
    Drain: client::DrainNode { node, on },
    MoveBuckets: client::MoveBuckets { from, run, to },
    CancelMove: client::CancelMove { from },
    Finalize: client::FinalizeUpgrade { to },
    ; empty Show, Plan, Upgrade
});
wrapper!(LayoutAnswer => client::LayoutAnswer.answer);
nested!(LayoutAnswer, client::LayoutAnswer);
union!(LayoutAnswer => AnswerKind {
    Done: client::LayoutDone { version },
    Draining: client::NodeDraining { sessions, leads },
    Moving: client::BucketsMoving { from, run, to },
    ; holds Shown, Planned, Emptying, Blocked, Upgrading
});
wrapper!(Vec<String> => client::Blockers.blockers);
message!(LayoutView => client::LayoutView { version, balance, nodes, groups, groups_more, moved, notes } check check_view);
message!(LayoutNode => client::LayoutNode {
    node, address, region, zone, host, capacity, state, health, silent_ms, drains, free_bytes, sessions, replicas, leads
});
message!(LayoutGroup => client::LayoutGroup { group, region, replicas, preference, leader, voters, learners, bytes, buckets, runs, leaving } check check_group);
message!(LayoutPlan => client::LayoutPlan { version, moves, moves_more, bytes, notes } check check_plan);
message!(LayoutMove => client::LayoutMove { group, what, why, bytes });
message!(Emptying => client::Emptying { version, replicas, bytes, eta_s });
message!(UpgradeView => client::UpgradeView { version, next, blockers, by_itself, in_s, nodes } check check_upgrade);
message!(UpgradeNode => client::UpgradeNode { node, state, health, version, build, noted });
numbered!(NodeHealth => client::NodeHealth { Alive, Suspect, Down });

message!(NodeLoad => peer::NodeLoad { free_bytes, sessions, drains, silent, led });
tuple!((NodeId, u64) => peer::SilentNode { node node, ms ms });
message!(LedGroup => peer::LedGroup { group, term, bytes, entries, voters, learners, settled, leaving });

fn check_request(request: &LayoutRequest) -> Result<(), DecodeError> {
    match request {
        LayoutRequest::AddNode { address, http, zone, host, .. } => [address, http, zone, host]
            .into_iter()
            .try_for_each(|text| at_most(text.len(), limit::NODE_LABEL_BYTES_MAX, "label"))
            .map_err(|error| error.within("AddNode")),
        _ => Ok(()),
    }
}

fn check_group(group: &LayoutGroup) -> Result<(), DecodeError> {
    at_most(group.runs.len(), limit::SHOWN_RUNS_MAX, "runs")
}

fn check_view(view: &LayoutView) -> Result<(), DecodeError> {
    at_most(view.groups.len(), limit::LAYOUT_LINES_MAX, "groups")?;
    at_most(view.moved.len(), limit::LAYOUT_LINES_MAX, "moved")
}

fn check_upgrade(view: &UpgradeView) -> Result<(), DecodeError> {
    at_most(view.blockers.len(), limit::LAYOUT_LINES_MAX, "blockers")
}

fn check_plan(plan: &LayoutPlan) -> Result<(), DecodeError> {
    at_most(plan.moves.len(), limit::LAYOUT_LINES_MAX, "moves")
}
