//! Where groups stand and where they should: operators' requests, done at the meta group's leader, which has asked all nodes what they know.
//!
//! In: [`LayoutRequest`]s of operators. Out: views, plans with a reason for every line, changes of the map; blockers by name where something cannot be
//! done. Invariants: a plan is carried out at the version of the map that it was shown for, or not at all; a node is emptied only if every
//! replica of it has a place; any of it may be asked for again. Not here: what is planned (kith-machine's `meta::layout`), carrying it out (`cluster`).

use std::{collections::BTreeMap, time::Duration};

use kith_machine::meta::{
    layout::{Drain, Layout, Limits, Plan, drain},
    split,
};
use kith_raft::{GroupHandle, TransportError};
use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    desk::AuditAct,
    id::{BootEpoch, GroupId, MapEpoch, NodeId},
    layout::{Emptying, LayoutAnswer, LayoutGroup, LayoutMove, LayoutNode, LayoutPlan, LayoutRequest, LayoutView, LedGroup, NodeHealth, NodeLoad},
    limit,
    log::{ClusterMap, GroupRow, NodeRow, NodeState},
    moving::BucketRun,
    peer::{Ask, Caller, Inner, InnerAnswer, Told},
    upgrade::ClusterVersion,
};

use crate::{
    clock::Instant,
    cluster::{
        files::LayoutSettings,
        steer::{Facts, line},
        steward::{self, ChangeError},
        survey::Survey,
    },
    router::{Router, refuse, refuse_for},
};

/// What nodes told longer ago than this is asked for again.
const FRESH: Duration = Duration::from_secs(1);
/// For a node to begin to drain.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// Times that a change is planned anew because somebody else has changed the map meanwhile.
const TRIES: usize = 8;
/// How fast replicas are taken to be copied, all in all: what a disk of a small machine takes beside its work.
const COPIED_PER_S: u64 = 32 << 20;
/// For others to be done with the map.
const AGAIN_MS: u32 = 500;

/// What of it is logged as an operator's act, and about which node or version.
pub(super) const fn act_of(asked: &LayoutRequest) -> Option<(AuditAct, u64)> {
    match asked {
        LayoutRequest::Show | LayoutRequest::Plan | LayoutRequest::Upgrade | LayoutRequest::Decommission { dry_run: true, .. } => None,
        LayoutRequest::Apply { version } => Some((AuditAct::ApplyLayout, version.get())),
        LayoutRequest::AddNode { node, .. } => Some((AuditAct::AddNode, node.get())),
        LayoutRequest::Decommission { node, .. } => Some((AuditAct::Decommission, node.get())),
        LayoutRequest::Recommission { node } => Some((AuditAct::Recommission, node.get())),
        LayoutRequest::Drain { node, .. } => Some((AuditAct::Drain, node.get())),
        LayoutRequest::MoveBuckets { from, .. } => Some((AuditAct::MoveBuckets, from.get() as u64)),
        LayoutRequest::CancelMove { from } => Some((AuditAct::CancelMove, from.get() as u64)),
        LayoutRequest::Finalize { to } => Some((AuditAct::FinalizeUpgrade, to.get() as u64)),
    }
}

/// At the node that was asked.
///
/// # Errors
/// The node that is to drain cannot be reached, or the meta group's leader refuses.
pub(super) async fn ask(router: &Router, survey: &Survey, caller: &Caller, asked: LayoutRequest, deadline: Instant) -> Result<LayoutAnswer, Refusal> {
    match asked {
        LayoutRequest::Drain { node, on } => return set_drain(router, survey, node, on).await,
        LayoutRequest::MoveBuckets { from, run, to } => return move_buckets(router, from, run, to, deadline).await,
        LayoutRequest::CancelMove { from } => return cancel_move(router, from, deadline).await,
        _ => {}
    }
    match router.forward_to(caller, GroupId::META, Request::Layout(asked), deadline).await? {
        Answer::Layout(answer) => Ok(answer),
        _ => Err(refuse(Code::Internal)),
    }
}

async fn set_drain(router: &Router, survey: &Survey, node: NodeId, on: bool) -> Result<LayoutAnswer, Refusal> {
    let map = router.maps().current();
    if map.nodes.get(&node).is_none_or(|row| row.state == NodeState::Left) {
        return Err(missing(format!("there is no node {node}")));
    }
    let load = if node == router.node() {
        survey.own().drain.ask(on);
        survey.own().now()
    } else {
        let told = async {
            router.peers().ask(node, Ask::Drain { on }, DRAIN_WITHIN).await?;
            router.peers().ask(node, Ask::Load, DRAIN_WITHIN).await
        };
        match told.await {
            Ok(Told::Load(load)) => load,
            Ok(_) => return Err(refuse(Code::Internal)),
            Err(TransportError::Refused(_, refusal)) => return Err(refusal),
            Err(error) => return Err(refuse_for(Code::Busy, AGAIN_MS).with_text(format!("node {node} was not reached: {error}"))),
        }
    };
    Ok(LayoutAnswer::Draining { sessions: load.sessions, leads: load.led.len() as u64 })
}

/// At the meta group's leader.
///
/// # Errors
/// The request contradicts the map, or the map has changed since it was shown.
pub(super) async fn run(meta: &GroupHandle, survey: &Survey, settings: LayoutSettings, asked: LayoutRequest) -> Result<LayoutAnswer, Refusal> {
    survey.look(&current(meta)?, FRESH).await;
    match asked {
        LayoutRequest::Show => {
            let map = current(meta)?;
            let moved = kith_machine::meta::moves(&super::local::view(meta)?).map_err(|error| unreadable(&error))?;
            let mut shown = LayoutView { moved, ..view(&map, survey, settings) };
            shown.notes.extend(super::upgrade::note(&map).filter(|_| shown.notes.len() < limit::LAYOUT_LINES_MAX));
            Ok(LayoutAnswer::Shown(shown))
        }
        LayoutRequest::Plan => {
            let map = current(meta)?;
            let layout = survey.layout(&map);
            let plan = layout.plan(survey.now(), Limits::WHOLE);
            let (groups, loads) = (survey.groups(), survey.loads());
            let moving: Vec<GroupId> = facts(&map, &layout, (&groups, &loads), survey).moving().collect();
            Ok(LayoutAnswer::Planned(planned(map.epoch, &plan, &moving)))
        }
        LayoutRequest::Apply { version } => apply(meta, survey, version).await,
        LayoutRequest::Upgrade => super::upgrade::show(meta, survey),
        LayoutRequest::Finalize { to } => super::upgrade::finalize(meta, survey, to).await,
        LayoutRequest::AddNode { .. } => {
            let (version, ()) = change(meta, |map| Ok((vec![added(map, &asked)?], Vec::new(), ()))).await?;
            Ok(LayoutAnswer::Done { version })
        }
        LayoutRequest::Decommission { node, dry_run } => decommission(meta, survey, node, dry_run).await,
        LayoutRequest::Recommission { node } => {
            let (version, ()) = change(meta, |map| {
                let row = known(map, node)?;
                match row.state {
                    NodeState::Left => Err(invalid(format!("node {node} has left: add a new one instead"))),
                    NodeState::Draining => Ok((vec![NodeRow { state: NodeState::Up, ..row.clone() }], Vec::new(), ())),
                    NodeState::Up | NodeState::Joining => Ok((Vec::new(), Vec::new(), ())),
                }
            })
            .await?;
            Ok(LayoutAnswer::Done { version })
        }
        LayoutRequest::Drain { .. } | LayoutRequest::MoveBuckets { .. } | LayoutRequest::CancelMove { .. } => Err(refuse(Code::Unsupported)),
    }
}

/// Asks the leader of the group that gives buckets away; which they are, and to whom they go, follows from this node's map where it is not said.
async fn move_buckets(
    router: &Router,
    from: GroupId,
    run: Option<BucketRun>,
    to: Option<GroupId>,
    deadline: Instant,
) -> Result<LayoutAnswer, Refusal> {
    let map = router.maps().current();
    let row = shard(&map, from)?;
    let run = run.or_else(|| split::half(&map, from)).ok_or_else(|| invalid(format!("shard {from} has less than two buckets: it is not split")))?;
    let to = to.or_else(|| split::emptiest(&map, row.region, from));
    let to = to.ok_or_else(|| invalid(format!("region {} has no other shard that could take them", row.region)))?;
    match router.inner_to(from, Inner::BeginMove { run, to }, deadline).await? {
        InnerAnswer::Kept { .. } => Ok(LayoutAnswer::Moving { from, run, to }),
        _ => Err(refuse(Code::Internal)),
    }
}

async fn cancel_move(router: &Router, from: GroupId, deadline: Instant) -> Result<LayoutAnswer, Refusal> {
    shard(&router.maps().current(), from)?;
    let InnerAnswer::Leaving { leaving } = router.inner_to(from, Inner::Leaving, deadline).await? else { return Err(refuse(Code::Internal)) };
    let leaving = leaving.ok_or_else(|| refuse(Code::NotFound).with_text(format!("no move leads out of shard {from}")))?;
    router.inner_to(from, Inner::CancelMove, deadline).await?;
    Ok(LayoutAnswer::Moving { from, run: leaving.run, to: leaving.to })
}

async fn apply(meta: &GroupHandle, survey: &Survey, version: MapEpoch) -> Result<LayoutAnswer, Refusal> {
    let map = current(meta)?;
    if map.epoch != version {
        let text = format!("the map is at version {} now, not {version}: look at the plan again", map.epoch);
        return Err(refuse(Code::Outdated).with_text(text));
    }
    let layout = survey.layout(&map);
    let plan = layout.plan(survey.now(), Limits::WHOLE);
    let (groups, loads) = (survey.groups(), survey.loads());
    let facts = facts(&map, &layout, (&groups, &loads), survey);
    let (step, moving) = (facts.all(&plan), facts.moving().collect::<Vec<_>>());
    let at = steward::change(meta, map.epoch, (step.nodes, step.groups, &step.moves)).await.map_err(|error| match error {
        ChangeError::Rejected(Code::Conflict) => refuse(Code::Outdated).with_text("the map has changed meanwhile: look at the plan again"),
        error => not_changed(error),
    })?;
    let mut done = planned(at, &plan, &moving);
    // What could not be touched is in the notes.
    done.moves = bounded(&step.moves);
    done.moves_more = more(step.moves.len());
    done.bytes = step.moves.iter().map(|one| one.bytes).sum();
    survey.note_moved(step.rest);
    Ok(LayoutAnswer::Planned(done))
}

async fn decommission(meta: &GroupHandle, survey: &Survey, node: NodeId, dry_run: bool) -> Result<LayoutAnswer, Refusal> {
    let mut blocked = Vec::new();
    let outcome = change(meta, |map| {
        let row = known(map, node)?;
        if row.state == NodeState::Left {
            return Ok((Vec::new(), Vec::new(), Emptying::default()));
        }
        let layout = survey.layout(map);
        match drain(&layout, node, survey.now(), COPIED_PER_S) {
            Ok(Drain { plan, replicas, eta_s }) => {
                let emptying = Emptying { version: map.epoch, replicas: replicas as u64, bytes: plan.bytes(), eta_s };
                let nodes = if dry_run { Vec::new() } else { vec![NodeRow { state: NodeState::Draining, ..row.clone() }] };
                Ok((nodes, Vec::new(), emptying))
            }
            Err(blockers) => {
                blocked = blockers.iter().map(ToString::to_string).collect();
                Ok((Vec::new(), Vec::new(), Emptying::default()))
            }
        }
    });
    let (version, emptying) = outcome.await?;
    if blocked.is_empty() {
        return Ok(LayoutAnswer::Emptying(Emptying { version, ..emptying }));
    }
    let left_out = blocked.len().saturating_sub(limit::LAYOUT_LINES_MAX);
    blocked.truncate(limit::LAYOUT_LINES_MAX);
    if left_out > 0 {
        blocked.push(format!("and {left_out} more"));
    }
    Ok(LayoutAnswer::Blocked(blocked))
}

/// Changes the map as `plan` says of the map that it is shown; again, if somebody else was faster. Gives the version of the map then.
///
/// # Errors
/// Those of `plan`; `Busy` if others were faster each time; those of a proposal.
pub(super) async fn change<T>(
    meta: &GroupHandle,
    mut plan: impl FnMut(&ClusterMap) -> Result<(Vec<NodeRow>, Vec<GroupRow>, T), Refusal>,
) -> Result<(MapEpoch, T), Refusal> {
    for _ in 0..TRIES {
        let map = current(meta)?;
        let (nodes, groups, what) = plan(&map)?;
        match steward::change(meta, map.epoch, (nodes, groups, &[])).await {
            Ok(version) => return Ok((version, what)),
            Err(ChangeError::Rejected(Code::Conflict)) => {}
            Err(error) => return Err(not_changed(error)),
        }
    }
    Err(refuse_for(Code::Busy, AGAIN_MS))
}

fn not_changed(error: ChangeError) -> Refusal {
    match error {
        ChangeError::Rejected(code) => refuse(code),
        ChangeError::Propose(error) => super::local::not_proposed(error),
    }
}

pub(super) fn current(meta: &GroupHandle) -> Result<ClusterMap, Refusal> {
    let map = kith_machine::meta::map(&super::local::view(meta)?).map_err(|error| unreadable(&error))?;
    // The first map is logged a moment after the first leader began.
    if map.epoch.get() == 0 { Err(refuse_for(Code::NoLeader, AGAIN_MS)) } else { Ok(map) }
}

fn unreadable(error: &kith_machine::view::ViewError) -> Refusal {
    tracing::error!(cause = %error, "service.layout: the map cannot be read");
    refuse(Code::Internal)
}

fn invalid(text: String) -> Refusal {
    refuse(Code::Invalid).with_text(text)
}

fn missing(text: String) -> Refusal {
    refuse(Code::NotFound).with_text(text)
}

/// A group that holds people and conversations.
fn shard(map: &ClusterMap, group: GroupId) -> Result<&GroupRow, Refusal> {
    map.groups.get(&group).filter(|row| row.group != GroupId::META).ok_or_else(|| missing(format!("there is no shard {group} of data")))
}

fn known(map: &ClusterMap, node: NodeId) -> Result<&NodeRow, Refusal> {
    map.nodes.get(&node).ok_or_else(|| missing(format!("there is no node {node}")))
}

/// A new node's row; of one that is known its labels change, and its state does not.
fn added(map: &ClusterMap, asked: &LayoutRequest) -> Result<NodeRow, Refusal> {
    let LayoutRequest::AddNode { node, address, http, region, zone, host, capacity } = asked.clone() else { return Err(refuse(Code::Internal)) };
    if node.get() == 0 || address.is_empty() {
        return Err(invalid("a node needs an id from 1 and an address".into()));
    }
    if let Some(other) = map.nodes.values().find(|row| row.node != node && row.address == address && row.state != NodeState::Left) {
        return Err(invalid(format!("node {} has the address {address} already", other.node)));
    }
    let old = map.nodes.get(&node);
    match old.map(|row| row.state) {
        Some(NodeState::Left) => return Err(invalid(format!("node {node} has left: its id cannot be used again"))),
        Some(_) if old.is_some_and(|row| row.region != region) => return Err(invalid(format!("node {node} stands in another region"))),
        _ => {}
    }
    Ok(NodeRow {
        node,
        store: old.and_then(|row| row.store),
        boot: old.map_or_else(BootEpoch::default, |row| row.boot),
        address,
        http,
        region,
        zone,
        host,
        capacity: capacity.max(1),
        state: old.map_or(NodeState::Up, |row| row.state),
        version: old.map_or_else(ClusterVersion::default, |row| row.version),
    })
}

type Told2<'a> = (&'a BTreeMap<GroupId, (NodeId, LedGroup)>, &'a BTreeMap<NodeId, NodeLoad>);

fn facts<'a>(map: &'a ClusterMap, layout: &'a Layout, (groups, loads): Told2<'a>, survey: &Survey) -> Facts<'a> {
    Facts { map, layout, groups, loads, may_balance: false, now: survey.now() }
}

fn planned(version: MapEpoch, plan: &Plan, moving: &[GroupId]) -> LayoutPlan {
    let moves: Vec<LayoutMove> = plan.moves.iter().map(line).collect();
    let mut notes: Vec<String> = plan.held.iter().map(ToString::to_string).chain(plan.stuck.iter().map(ToString::to_string)).collect();
    notes.extend(
        moving
            .iter()
            .map(|group| format!("group {group}: its members are being changed, or nobody leads it: it is left as it is until that is over")),
    );
    notes.truncate(limit::LAYOUT_LINES_MAX);
    LayoutPlan { version, bytes: plan.bytes(), moves_more: more(moves.len()), moves: bounded(&moves), notes }
}

fn bounded(moves: &[LayoutMove]) -> Vec<LayoutMove> {
    moves.iter().take(limit::LAYOUT_LINES_MAX).cloned().collect()
}

const fn more(count: usize) -> u64 {
    count.saturating_sub(limit::LAYOUT_LINES_MAX) as u64
}

fn view(map: &ClusterMap, survey: &Survey, settings: LayoutSettings) -> LayoutView {
    let (layout, groups, loads, silent) = (survey.layout(map), survey.groups(), survey.loads(), survey.silent(map));
    let now = survey.now();
    let mut replicas: BTreeMap<NodeId, u64> = BTreeMap::new();
    for node in map.groups.values().flat_map(|row| &row.replicas) {
        *replicas.entry(*node).or_default() += 1;
    }
    let mut leads: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (node, _) in groups.values() {
        *leads.entry(*node).or_default() += 1;
    }
    let node = |row: &NodeRow| {
        let load = loads.get(&row.node);
        LayoutNode {
            node: row.node,
            address: row.address.clone(),
            region: row.region,
            zone: row.zone.clone(),
            host: row.host.clone(),
            capacity: row.capacity,
            state: row.state,
            health: match layout.nodes.get(&row.node).map(|node| node.health(now)) {
                Some(kith_machine::meta::layout::Health::Suspect) => NodeHealth::Suspect,
                Some(kith_machine::meta::layout::Health::Down) => NodeHealth::Down,
                _ => NodeHealth::Alive,
            },
            silent_ms: silent.get(&row.node).copied().unwrap_or(0),
            drains: load.is_some_and(|load| load.drains),
            free_bytes: load.and_then(|load| load.free_bytes),
            sessions: load.map(|load| load.sessions),
            replicas: replicas.get(&row.node).copied().unwrap_or(0),
            leads: leads.get(&row.node).copied().unwrap_or(0),
        }
    };
    let group = |row: &GroupRow| {
        let led = groups.get(&row.group);
        LayoutGroup {
            group: row.group,
            region: row.region,
            replicas: row.replicas.clone(),
            preference: row.preference.clone(),
            leader: led.map(|(node, _)| *node),
            voters: led.map(|(_, led)| led.voters.clone()).unwrap_or_default(),
            learners: led.map(|(_, led)| led.learners.clone()).unwrap_or_default(),
            bytes: led.map_or(0, |(_, led)| led.bytes),
            buckets: split::buckets(map, row.group),
            runs: split::runs(map, row.group).take(limit::SHOWN_RUNS_MAX).collect(),
            leaving: led.and_then(|(_, led)| led.leaving),
        }
    };
    let plan = layout.plan(now, Limits::NEEDED);
    let notes = plan.held.iter().map(ToString::to_string).chain(plan.stuck.iter().map(ToString::to_string));
    LayoutView {
        version: map.epoch,
        balance: settings.balance,
        nodes: map.nodes.values().map(node).collect(),
        groups: map.groups.values().take(limit::LAYOUT_LINES_MAX).map(group).collect(),
        groups_more: more(map.groups.len()),
        moved: Vec::new(),
        notes: notes.take(limit::LAYOUT_LINES_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::id::RegionId;

    use super::*;

    fn map() -> ClusterMap {
        let row = |id: u64, state| NodeRow { node: NodeId::new(id), address: format!("h{id}:1"), state, ..NodeRow::default() };
        let rows = [row(1, NodeState::Up), row(2, NodeState::Draining), row(3, NodeState::Left)];
        ClusterMap { nodes: rows.into_iter().map(|row| (row.node, row)).collect(), ..ClusterMap::default() }
    }

    fn add(node: u64, address: &str) -> LayoutRequest {
        let text = String::new;
        let node = NodeId::new(node);
        LayoutRequest::AddNode { node, address: address.into(), http: text(), region: RegionId::FIRST, zone: text(), host: text(), capacity: 0 }
    }

    #[test]
    fn a_node_is_added_once_and_what_is_known_of_it_stays() {
        let row = added(&map(), &add(4, "h4:1")).unwrap();
        assert_eq!((row.node, row.state, row.capacity), (NodeId::new(4), NodeState::Up, 1));
        let again = added(&map(), &add(2, "elsewhere:1")).unwrap();
        assert_eq!((again.address.as_str(), again.state), ("elsewhere:1", NodeState::Draining), "to be added again is not to stay");
        for (node, address) in [(0, "h:1"), (5, ""), (3, "h3:1"), (5, "h1:1")] {
            assert_eq!(added(&map(), &add(node, address)).unwrap_err().code, Code::Invalid, "{node} {address}");
        }
        assert!(added(&map(), &add(5, "h3:1")).is_ok(), "the address of one that has left is free");
    }

    #[test]
    fn what_changes_something_is_an_operators_act() {
        assert_eq!(act_of(&LayoutRequest::Show), None);
        assert_eq!(act_of(&LayoutRequest::Decommission { node: NodeId::new(2), dry_run: true }), None);
        assert_eq!(act_of(&LayoutRequest::Decommission { node: NodeId::new(2), dry_run: false }), Some((AuditAct::Decommission, 2)));
    }
}
