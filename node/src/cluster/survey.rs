//! What the meta group's leader knows of all nodes: who is heard, what groups look like, how much they do.
//!
//! In: the [`NodeLoad`] of every node, asked for every few seconds. Out: a [`Layout`] for the planner, the members that each group really has.
//! Invariants: a node is silent only if it does not answer and at least two others, or all, do not hear it; a group of which no leader tells is not
//! touched. Soft state: a new leader of the meta group asks anew. Bounds: one entry for each node and group.
//! Not here: what is to be done (`steer`), who does it (`steward`), what was moved and why (the map keeps it).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use kith_machine::meta::layout::{DOWN_AFTER_MS, Layout};
use kith_wire::{
    id::{GroupId, NodeId, Timestamp},
    layout::{LedGroup, NodeLoad},
    log::{ClusterMap, NodeState},
    peer::{Ask, Told},
};

use super::{load::OwnLoad, upgrade::UpgradeSettings};
use crate::clock::{Instant, SharedClock};

/// For a node to tell.
const ASK_MAX: Duration = Duration::from_secs(2);
/// What a group is taken to do besides what it is seen to do: idle ones are spread by their number.
const IDLE: u64 = 100;
/// The weight of what was seen before, in a new mean: of 32 parts, so that a minute counts for most of it.
const KEPT: u64 = 31;

/// All that is known. Clones are the same.
#[derive(Clone)]
pub struct Survey {
    known: Arc<Mutex<Known>>,
    own: OwnLoad,
    clock: SharedClock,
    down_after: Duration,
    upgrade: UpgradeSettings,
}

#[derive(Default)]
struct Known {
    at: Option<Instant>,
    loads: BTreeMap<NodeId, NodeLoad>,
    /// Who leads each group, as the highest term says, and how it is.
    groups: BTreeMap<GroupId, (NodeId, LedGroup)>,
    rates: BTreeMap<GroupId, Rate>,
    moved_at: BTreeMap<GroupId, Timestamp>,
    /// Since when each node has answered every time.
    heard: BTreeMap<NodeId, Instant>,
    restless: Option<Instant>,
    /// Since when nothing is in the way of the cluster's next version.
    ripe: Option<Instant>,
}

/// How fast a group's log grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rate {
    at: Instant,
    entries: u64,
    /// In thousandths.
    per_s: u64,
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Survey({:?})", self.own)
    }
}

impl Survey {
    /// Nothing is known yet. `down_after`: how long a node is silent before what it held is made elsewhere.
    pub fn new(own: OwnLoad, clock: SharedClock, down_after: Duration, upgrade: UpgradeSettings) -> Self {
        Self { known: Arc::default(), own, clock, down_after, upgrade }
    }

    /// When the cluster goes to its next version by itself.
    pub fn upgrade(&self) -> UpgradeSettings {
        self.upgrade
    }

    /// Whether nothing is in the way of the cluster's next version now; gives for how long that has been so.
    pub fn note_ripe(&self, is_ripe: bool) -> Option<Duration> {
        let now = self.clock.instant();
        let mut known = self.known();
        let since = is_ripe.then(|| known.ripe.unwrap_or(now));
        known.ripe = since;
        since.map(|since| now.duration_since(since))
    }

    /// What this node tells others.
    pub fn own(&self) -> &OwnLoad {
        &self.own
    }

    /// Asks everybody, unless that was done less than this ago.
    pub async fn look(&self, map: &ClusterMap, newer_than: Duration) {
        let now = self.clock.instant();
        if self.known().at.is_some_and(|at| now.duration_since(at) < newer_than) {
            return;
        }
        let nodes: Vec<NodeId> = map.nodes.values().filter(|row| row.state != NodeState::Left).map(|row| row.node).collect();
        let loads = join_all(nodes.iter().map(|node| self.ask(*node))).await;
        let loads: BTreeMap<NodeId, NodeLoad> = nodes.into_iter().zip(loads).filter_map(|(node, load)| Some((node, load?))).collect();
        let now = self.clock.instant();
        let mut known = self.known();
        known.groups = told(&loads);
        known.note_rates(now);
        let silent = silences(map, &loads);
        let drains = loads.values().any(|load| load.drains);
        let is_whole = map.groups.keys().all(|group| known.groups.get(group).is_some_and(|(_, led)| led.settled));
        if !silent.is_empty() || drains || !is_whole || known.at.is_none() {
            known.restless = Some(now);
        }
        known.heard.retain(|node, _| loads.contains_key(node));
        for node in loads.keys() {
            known.heard.entry(*node).or_insert(now);
        }
        known.loads = loads;
        known.at = Some(now);
    }

    /// Nodes that have answered each time for so long.
    pub fn steady(&self, within: Duration) -> BTreeSet<NodeId> {
        let now = self.clock.instant();
        self.known().heard.iter().filter(|(_, since)| now.duration_since(**since) >= within).map(|(node, _)| *node).collect()
    }

    async fn ask(&self, node: NodeId) -> Option<NodeLoad> {
        if node == self.own.peers.node() {
            return Some(self.own.now());
        }
        match self.own.peers.ask(node, Ask::Load, ASK_MAX).await {
            Ok(Told::Load(load)) => Some(load),
            _ => None,
        }
    }

    /// The cluster as the planner sees it.
    pub fn layout(&self, map: &ClusterMap) -> Layout {
        let mut layout = Layout::of(map);
        let known = self.known();
        let now = self.clock.now();
        let silent = silences(map, &known.loads);
        for (id, node) in &mut layout.nodes {
            node.silent_since = silent.get(id).map(|ms| self.since(now, *ms));
            node.free_bytes = known.loads.get(id).and_then(|load| load.free_bytes);
        }
        for (id, group) in &mut layout.groups {
            group.bytes = known.groups.get(id).map_or(0, |(_, led)| led.bytes);
            group.load = IDLE + known.rates.get(id).map_or(0, |rate| rate.per_s / 1_000);
            group.moved = known.moved_at.get(id).copied();
        }
        layout
    }

    /// The planner counts in times of its own: what is silent for as long as this cluster waits is down there too.
    fn since(&self, now: Timestamp, silent_ms: u64) -> Timestamp {
        let is_down = silent_ms >= u64::try_from(self.down_after.as_millis()).unwrap_or(u64::MAX);
        let shown = if is_down { silent_ms.max(DOWN_AFTER_MS) } else { silent_ms.min(DOWN_AFTER_MS - 1) };
        Timestamp::new(now.get().saturating_sub(shown))
    }

    /// What each group's leader says of it; those without one are not there.
    pub fn groups(&self) -> BTreeMap<GroupId, (NodeId, LedGroup)> {
        self.known().groups.clone()
    }

    /// The time, as this node has it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What each node told.
    pub fn loads(&self) -> BTreeMap<NodeId, NodeLoad> {
        self.known().loads.clone()
    }

    /// The nodes that are not heard, and for how long, in milliseconds.
    pub fn silent(&self, map: &ClusterMap) -> BTreeMap<NodeId, u64> {
        silences(map, &self.known().loads)
    }

    /// For how long nothing has happened that would make it better to wait: all nodes are heard, all groups have their members.
    pub fn calm(&self) -> Duration {
        let known = self.known();
        known.restless.map_or(Duration::ZERO, |at| self.clock.instant().duration_since(at))
    }

    /// Something was begun with these groups.
    pub(crate) fn note_moved(&self, groups: impl IntoIterator<Item = GroupId>) {
        let now = self.clock.now();
        self.known().moved_at.extend(groups.into_iter().map(|group| (group, now)));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note_rates(&mut self, now: Instant) {
        let groups = &self.groups;
        self.rates.retain(|group, _| groups.contains_key(group));
        for (group, (_, led)) in groups {
            let (group, entries) = (*group, led.entries);
            let rate = self.rates.entry(group).or_insert(Rate { at: now, entries, per_s: 0 });
            let ms = u64::try_from(now.duration_since(rate.at).as_millis()).unwrap_or(u64::MAX);
            if let Some(seen) = entries.saturating_sub(rate.entries).saturating_mul(1_000_000).checked_div(ms) {
                *rate = Rate { at: now, entries, per_s: (rate.per_s * KEPT + seen) / (KEPT + 1) };
            }
        }
    }
}

/// Who says to lead each group, in the highest term, and how it is.
fn told(loads: &BTreeMap<NodeId, NodeLoad>) -> BTreeMap<GroupId, (NodeId, LedGroup)> {
    let mut groups: BTreeMap<GroupId, (NodeId, LedGroup)> = BTreeMap::new();
    for (node, load) in loads {
        for led in &load.led {
            if groups.get(&led.group).is_none_or(|(_, known)| known.term < led.term) {
                groups.insert(led.group, (*node, led.clone()));
            }
        }
    }
    groups
}

/// Nodes that did not answer, and that at least two others, or all, do not hear; for as long as at least two say so.
fn silences(map: &ClusterMap, loads: &BTreeMap<NodeId, NodeLoad>) -> BTreeMap<NodeId, u64> {
    let mut silent = BTreeMap::new();
    for row in map.nodes.values().filter(|row| row.state != NodeState::Left && !loads.contains_key(&row.node)) {
        let said = loads.values().filter_map(|load| load.silent.iter().find(|(node, _)| *node == row.node).map(|(_, ms)| *ms));
        let mut said: Vec<u64> = said.collect();
        said.sort_unstable_by_key(|ms| std::cmp::Reverse(*ms));
        if said.len() >= 2 || (!said.is_empty() && said.len() == loads.len()) {
            silent.insert(row.node, said.get(1).or_else(|| said.first()).copied().unwrap_or(0));
        }
    }
    silent
}

#[cfg(test)]
mod tests {
    use kith_wire::{id::Term, log::NodeRow};

    use super::*;

    fn map(nodes: u64) -> ClusterMap {
        let mut map = ClusterMap::default();
        for id in 1..=nodes {
            map.nodes.insert(NodeId::new(id), NodeRow { node: NodeId::new(id), ..NodeRow::default() });
        }
        map
    }

    fn says(silent: &[(u64, u64)]) -> NodeLoad {
        NodeLoad { silent: silent.iter().map(|(node, ms)| (NodeId::new(*node), *ms)).collect(), ..NodeLoad::default() }
    }

    #[test]
    fn a_node_is_silent_when_two_others_or_all_say_so_and_it_does_not_answer() {
        let loads = |of: &[(u64, NodeLoad)]| -> BTreeMap<NodeId, NodeLoad> { of.iter().map(|(id, load)| (NodeId::new(*id), load.clone())).collect() };
        let silent = |nodes, of: &[(u64, NodeLoad)]| -> Vec<(u64, u64)> {
            silences(&map(nodes), &loads(of)).into_iter().map(|(node, ms)| (node.get(), ms)).collect()
        };
        // Of two, the other one alone.
        assert_eq!(silent(2, &[(1, says(&[(2, 5_000)]))]), [(2, 5_000)]);
        // Of three, one who does not hear it may be cut off; the second longest silence counts, whoever was started lately.
        assert!(silent(3, &[(1, says(&[(3, 9_000)])), (2, says(&[]))]).is_empty());
        assert_eq!(silent(4, &[(1, says(&[(4, 9_000)])), (2, says(&[(4, 70_000)])), (3, says(&[(4, 60_000)]))]), [(4, 60_000)]);
        // It answers: it is there.
        assert!(silent(3, &[(1, says(&[(3, 9_000)])), (2, says(&[(3, 9_000)])), (3, says(&[]))]).is_empty());
    }

    #[test]
    fn the_highest_term_tells_of_a_group() {
        let led = |term, voter| NodeLoad {
            led: vec![LedGroup { group: GroupId::new(1), term: Term::new(term), voters: vec![NodeId::new(voter)], ..LedGroup::default() }],
            ..NodeLoad::default()
        };
        let loads = BTreeMap::from([(NodeId::new(1), led(5, 1)), (NodeId::new(2), led(6, 2))]);
        let groups = told(&loads);
        let (node, group) = &groups[&GroupId::new(1)];
        assert_eq!((*node, group.voters.clone(), groups.len()), (NodeId::new(2), vec![NodeId::new(2)], 1));
    }
}
