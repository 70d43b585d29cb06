//! The duty of the meta group's leader towards nodes and replicas: it looks, plans and logs, every few seconds.
//!
//! In: what all nodes tell, the map. Out: changes of the map, each with its reason in the log; the groups' leaders carry them out
//! (`controller`). Invariant: a change is logged only if the map is still the one that it was planned from, so that two leaders, or a leader and an
//! operator, never undo each other. Not here: what is planned (`steer`), operators' requests (`service::layout`).

use std::{sync::Arc, time::Duration};

use kith_machine::{meta, reply::Reply};
use kith_raft::GroupHandle;
use kith_wire::{
    id::{GroupId, MapEpoch},
    layout::LayoutMove,
    limit,
    log::{ClusterMap, Command, GroupRow, NodeRow},
};
use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{
    files::LayoutSettings,
    steer::{self, Facts, Step},
    survey::Survey,
    upgrade,
};

/// Between two looks.
const STEP: Duration = Duration::from_secs(2);
/// A node that joins is given nothing before it has answered for so long.
const STEADY: Duration = Duration::from_secs(10);
/// What is younger than this is not asked for again.
const FRESH: Duration = Duration::from_secs(1);

/// Counts what is moved.
#[derive(Debug, Default)]
pub(crate) struct LayoutMetrics {
    moves: Counter,
    moving: Gauge,
    silent: Gauge,
    pub(crate) handed: Counter,
    pub(crate) left: Counter,
    pub(crate) bucket_moves: Counter,
    pub(crate) buckets_moved: Counter,
    pub(crate) bucket_bytes: Counter,
    pub(crate) bucket_freeze: Freeze,
}

/// From the hand-over of buckets until their new group has them.
#[derive(Debug)]
pub(crate) struct Freeze(Histogram);
impl Default for Freeze {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.002, 2.0, 12)))
    }
}
impl Freeze {
    pub(crate) fn observe(&self, seconds: f64) {
        self.0.observe(seconds);
    }
}

impl LayoutMetrics {
    /// Shows them under `kith_layout_…`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kith_layout");
        let mut add = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        add("moves", "Groups whose replicas or order of leaders the meta group's leader changed by itself", &self.moves);
        add("leaders_handed", "Leaderships that this node handed to the one who should lead, or to anybody while it drains", &self.handed);
        add("replicas_left", "Replicas that this node gave up because the map gave them to others", &self.left);
        add("bucket_moves", "Moves of buckets to another group that ended while this node led the group that gave them", &self.bucket_moves);
        add("buckets_moved", "Buckets of those moves", &self.buckets_moved);
        add("bucket_copied_bytes", "Bytes of rows that this node sent to groups that take buckets", &self.bucket_bytes);
        let freeze = self.bucket_freeze.0.clone();
        registry.register("bucket_freeze_seconds", "From the hand-over of buckets until their new group has them, when nobody serves them", freeze);
        registry.register("groups_moving", "Groups whose members are not yet what the map says, at the meta group's leader", self.moving.clone());
        registry.register("nodes_silent", "Nodes that are not heard, at the meta group's leader", self.silent.clone());
    }
    fn clear(&self) {
        self.moving.set(0);
        self.silent.set(0);
    }
}

/// Looks after nodes and replicas while this node leads the meta group.
#[derive(Clone, Debug)]
pub(crate) struct Steward {
    pub(crate) survey: Survey,
    pub(crate) settings: LayoutSettings,
    pub(crate) metrics: Arc<LayoutMetrics>,
}

impl Steward {
    /// Until dropped.
    pub(crate) async fn run(self, meta: GroupHandle) {
        let _clear = Clear(&self.metrics);
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(map) = read(&meta).filter(|map| map.epoch.get() > 0) else { continue };
            self.survey.look(&map, FRESH).await;
            upgrade::step(&meta, &self.survey, &map).await;
            let step = self.next(&map);
            if step.is_empty() {
                continue;
            }
            let groups = step.groups.len() as u64;
            match change(&meta, map.epoch, (step.nodes.clone(), step.groups, &step.moves)).await {
                Ok(_) => {
                    for node in &step.nodes {
                        tracing::info!(node = %node.node, state = ?node.state, "cluster.steward: a node's state is another now");
                    }
                    for line in &step.moves {
                        tracing::info!(group = %line.group, what = line.what, why = line.why, bytes = line.bytes, "cluster.steward");
                    }
                    self.metrics.moves.inc_by(groups);
                    self.survey.note_moved(step.rest);
                }
                Err(error) => tracing::debug!(cause = %error, "cluster.steward: not changed; it is planned anew"),
            }
        }
    }

    fn next(&self, map: &ClusterMap) -> Step {
        let nodes = steer::arrived(map, &self.survey.steady(STEADY));
        if !nodes.is_empty() {
            return Step { nodes, ..Step::default() };
        }
        let (layout, groups, loads) = (self.survey.layout(map), self.survey.groups(), self.survey.loads());
        let may_balance = self.settings.balance && self.survey.calm() >= self.settings.calm();
        let now = self.survey.now();
        let facts = Facts { map, layout: &layout, groups: &groups, loads: &loads, may_balance, now };
        self.metrics.moving.set(i64::try_from(facts.moving().count()).unwrap_or(i64::MAX));
        self.metrics.silent.set(i64::try_from(self.survey.silent(map).len()).unwrap_or(i64::MAX));
        facts.next()
    }
}

/// Who does not lead any more counts nothing.
struct Clear<'a>(&'a LayoutMetrics);
impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Why the map was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It has changed since it was read, or what was to be logged contradicts it.
    #[error("the map does not take it: {0}")]
    Rejected(kith_wire::code::Code),
    /// It was not logged, or that is not known.
    #[error("the change was not logged")]
    Propose(#[from] kith_raft::ProposeError),
}

/// Logs a change of nodes and groups, with what of it is moved and why, in pieces where it is large; of what somebody else changed meanwhile the
/// rows' own epochs refuse what is left. Gives the version of the map then.
pub(crate) async fn change(
    meta: &GroupHandle,
    at: MapEpoch,
    (mut nodes, mut groups, moves): (Vec<NodeRow>, Vec<GroupRow>, &[LayoutMove]),
) -> Result<MapEpoch, ChangeError> {
    let mut at = at;
    // More would not be kept.
    let mut moves: Vec<LayoutMove> = moves[moves.len().saturating_sub(limit::MOVES_KEPT)..].iter().map(kept).collect();
    while !nodes.is_empty() || !groups.is_empty() {
        let some_nodes: Vec<_> = nodes.drain(..nodes.len().min(limit::MAP_CHANGE_ROWS_MAX)).collect();
        let room = limit::MAP_CHANGE_ROWS_MAX - some_nodes.len();
        let some_groups: Vec<_> = groups.drain(..groups.len().min(room)).collect();
        let moves = std::mem::take(&mut moves);
        match meta.propose(kith_machine::item(Command::ChangeMap { at, nodes: some_nodes, groups: some_groups, moves })).await? {
            Reply::Done => {}
            Reply::Rejected(code) => return Err(ChangeError::Rejected(code)),
            _ => return Err(ChangeError::Rejected(kith_wire::code::Code::Internal)),
        }
        // The leader has applied what it answers.
        at = read(meta).map_or(at, |map| map.epoch);
    }
    Ok(at)
}

/// As the map keeps it.
fn kept(one: &LayoutMove) -> LayoutMove {
    let cut = |text: &str| text[..text.floor_char_boundary(limit::MOVE_TEXT_BYTES_MAX)].to_owned();
    LayoutMove { what: cut(&one.what), why: cut(&one.why), ..*one }
}

/// The map as this replica's rows have it, empty before the cluster is made; `None` when they cannot be read now.
pub(super) fn read(handle: &GroupHandle) -> Option<ClusterMap> {
    debug_assert_eq!(handle.id(), GroupId::META);
    let map = handle.reader().and_then(|reader| meta::map(&reader));
    map.inspect_err(|error| tracing::error!(cause = %error, "cluster.map cannot be read")).ok()
}
