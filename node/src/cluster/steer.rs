//! What the meta group's leader does next about nodes and replicas: pure, so that a test of milliseconds shows it.
//!
//! In: the map, the planner's layout, what each group's leader says of its members, whether all is calm. Out: rows to be logged together, a line for each move.
//! Invariants: a group whose members are being changed, or of which no leader tells, is not touched; at most [`MOVES_AT_ONCE`] groups change
//! members by themselves at a time; nothing is balanced while anything must be repaired; a node has left only when no group has it as a member and its
//! sessions are gone. Not here: where things should go (kith-machine's `meta::layout`), proposing and timing (`steward`).

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::meta::layout::{Change, Layout, Limits, Move, Plan, Target};
use kith_wire::{
    id::{GroupId, NodeId, Timestamp},
    layout::{LayoutMove, LedGroup, NodeLoad},
    log::{ClusterMap, GroupRow, NodeRow, NodeState},
};

/// Groups whose members the cluster changes by itself at a time.
pub const MOVES_AT_ONCE: usize = 4;
/// As above, where nothing but balance is to be gained.
const BALANCED_AT_ONCE: usize = 2;

/// What is known.
pub struct Facts<'a> {
    /// As logged.
    pub map: &'a ClusterMap,
    /// As the planner sees it.
    pub layout: &'a Layout,
    /// What each group's leader says.
    pub groups: &'a BTreeMap<GroupId, (NodeId, LedGroup)>,
    /// What each node that answers says.
    pub loads: &'a BTreeMap<NodeId, NodeLoad>,
    /// Balancing is wanted, and nothing has happened for long enough.
    pub may_balance: bool,
    /// Now.
    pub now: Timestamp,
}

/// What is to be logged, all together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Changed nodes.
    pub nodes: Vec<NodeRow>,
    /// Changed groups.
    pub groups: Vec<GroupRow>,
    /// A line for each move.
    pub moves: Vec<LayoutMove>,
    /// Groups whose leaders rest after this.
    pub rest: Vec<GroupId>,
}

impl Step {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.groups.is_empty()
    }
}

impl Facts<'_> {
    /// What is to be done now.
    pub fn next(&self) -> Step {
        let mut step = Step { nodes: self.left(), ..Step::default() };
        if !step.is_empty() {
            return step;
        }
        let room = MOVES_AT_ONCE.saturating_sub(self.moving().count());
        let needed = self.layout.plan(self.now, Limits::NEEDED);
        self.take(&needed, room, changes_replicas, &mut step);
        if step.is_empty() && self.may_balance && room == MOVES_AT_ONCE {
            let plan = self.layout.plan(self.now, Limits::STEP);
            self.take(&plan, BALANCED_AT_ONCE, |_| true, &mut step);
        }
        step
    }

    /// All that a plan says, of groups that can be changed now.
    pub fn all(&self, plan: &Plan) -> Step {
        let mut step = Step::default();
        self.take(plan, usize::MAX, |_| true, &mut step);
        step
    }

    /// Groups whose members are not yet, or not for certain, what the map says.
    pub fn moving(&self) -> impl Iterator<Item = GroupId> {
        self.map.groups.values().filter(|row| !self.is_settled(row)).map(|row| row.group)
    }

    fn is_settled(&self, row: &GroupRow) -> bool {
        let mut wanted = row.replicas.clone();
        wanted.sort();
        self.groups.get(&row.group).is_some_and(|(_, led)| led.settled && led.learners.is_empty() && led.voters == wanted)
    }

    /// Nodes that are empty and were to be.
    fn left(&self) -> Vec<NodeRow> {
        if self.map.groups.keys().any(|group| !self.groups.contains_key(group)) {
            return Vec::new();
        }
        let holds = |node: NodeId| {
            let is_planned = self.map.groups.values().any(|row| row.replicas.contains(&node));
            is_planned || self.groups.values().any(|(_, led)| led.voters.contains(&node) || led.learners.contains(&node))
        };
        let serves = |node: NodeId| self.loads.get(&node).is_some_and(|load| load.sessions > 0);
        let empty = self.map.nodes.values().filter(|row| row.state == NodeState::Draining && !holds(row.node) && !serves(row.node));
        empty.map(|row| NodeRow { state: NodeState::Left, ..row.clone() }).collect()
    }

    /// Of at most `room` groups the members, and of all the order of leaders, as far as `wanted` says.
    fn take(&self, plan: &Plan, mut room: usize, wanted: impl Fn(&Change) -> bool, step: &mut Step) {
        let mut lines: BTreeMap<GroupId, Vec<&Move>> = BTreeMap::new();
        for one in &plan.moves {
            lines.entry(one.group).or_default().push(one);
        }
        for (group, target) in &plan.targets {
            let Some(row) = self.map.groups.get(group).filter(|row| self.is_settled(row)) else { continue };
            let Some(lines) = lines.get(group).filter(|lines| lines.iter().any(|one| wanted(&one.change))) else { continue };
            let is_move = !same(&row.replicas, &target.voters);
            if is_move && room == 0 {
                continue;
            }
            room -= usize::from(is_move);
            step.groups.push(changed(row, target));
            step.moves.extend(lines.iter().map(|one| line(one)));
        }
        if step.groups.is_empty() {
            return;
        }
        let mut after = self.layout.clone();
        after.apply(plan, self.now);
        let rests = |group: &GroupId| after.groups.get(group).map(|one| one.moved) != self.layout.groups.get(group).map(|one| one.moved);
        step.rest.extend(step.groups.iter().map(|row| row.group).filter(rests));
    }
}

/// Nodes that have joined and are steady: from now on they get replicas and sessions.
pub fn arrived(map: &ClusterMap, steady: &BTreeSet<NodeId>) -> Vec<NodeRow> {
    let joined = map.nodes.values().filter(|row| row.state == NodeState::Joining && row.store.is_some() && steady.contains(&row.node));
    joined.map(|row| NodeRow { state: NodeState::Up, ..row.clone() }).collect()
}

/// A line of a plan, in words.
pub fn line(one: &Move) -> LayoutMove {
    LayoutMove { group: one.group, what: one.change.to_string(), why: one.reason.to_string(), bytes: one.bytes }
}

fn changed(row: &GroupRow, target: &Target) -> GroupRow {
    GroupRow { replicas: target.voters.clone(), preference: target.preference.clone(), conf_epoch: row.conf_epoch + 1, ..row.clone() }
}

fn same(a: &[NodeId], b: &[NodeId]) -> bool {
    a.len() == b.len() && a.iter().all(|node| b.contains(node))
}

const fn changes_replicas(change: &Change) -> bool {
    matches!(change, Change::Add { .. } | Change::Swap { .. } | Change::Remove { .. })
}

#[cfg(test)]
mod tests {
    use kith_machine::meta::{layout::DOWN_AFTER_MS, plan::first_placement};
    use kith_wire::id::StoreId;

    use super::*;

    const NOW: Timestamp = Timestamp::new(100 * DOWN_AFTER_MS);

    struct World {
        map: ClusterMap,
        layout: Layout,
        groups: BTreeMap<GroupId, (NodeId, LedGroup)>,
        loads: BTreeMap<NodeId, NodeLoad>,
        may_balance: bool,
    }

    fn node(id: u64) -> NodeRow {
        NodeRow { node: NodeId::new(id), zone: format!("zone-{id}"), capacity: 1, ..NodeRow::default() }
    }

    impl World {
        fn new(nodes: u64, groups: u32) -> Self {
            let nodes: Vec<NodeRow> = (1..=nodes).map(node).collect();
            let plan = first_placement(&nodes, groups);
            let map = ClusterMap {
                nodes: nodes.into_iter().map(|row| (row.node, row)).collect(),
                groups: plan.groups.into_iter().map(|row| (row.group, row)).collect(),
                ..ClusterMap::default()
            };
            let mut world = Self { layout: Layout::default(), groups: BTreeMap::new(), loads: BTreeMap::new(), may_balance: false, map };
            world.settle();
            world
        }
        /// Every group gets the members that the map gives it.
        fn settle(&mut self) {
            self.layout = Layout::of(&self.map);
            let led = |row: &GroupRow| {
                let led = LedGroup { group: row.group, voters: row.replicas.clone(), settled: true, ..LedGroup::default() };
                (row.group, (row.preference[0], led))
            };
            self.groups = self.map.groups.values().map(led).collect();
        }
        fn facts(&self) -> Facts<'_> {
            let Self { map, layout, groups, loads, may_balance } = self;
            Facts { map, layout, groups, loads, may_balance: *may_balance, now: NOW }
        }
        fn log(&mut self, step: &Step) {
            self.map.nodes.extend(step.nodes.iter().map(|row| (row.node, row.clone())));
            self.map.groups.extend(step.groups.iter().map(|row| (row.group, row.clone())));
        }
        fn set(&mut self, id: u64, state: NodeState) {
            self.map.nodes.get_mut(&NodeId::new(id)).unwrap().state = state;
            self.layout = Layout::of(&self.map);
        }
    }

    #[test]
    fn a_node_that_is_emptied_leaves_when_the_last_group_has_let_it_go() {
        let mut world = World::new(4, 8);
        world.set(1, NodeState::Draining);
        let mut rounds = 0;
        loop {
            let step = world.facts().next();
            if !step.nodes.is_empty() {
                assert_eq!(step.nodes.iter().map(|row| (row.node.get(), row.state)).collect::<Vec<_>>(), [(1, NodeState::Left)]);
                break;
            }
            assert!(!step.is_empty() && step.groups.len() <= MOVES_AT_ONCE, "{step:?}");
            let is_due = |line: &LayoutMove| ["node 1 is being emptied", "the one that should lead cannot"].contains(&line.why.as_str());
            assert!(step.moves.iter().all(is_due), "{:?}", step.moves);
            world.log(&step);
            world.layout = Layout::of(&world.map);
            // Half of them are there: only so many more are begun.
            let done = step.groups.len() / 2;
            for row in &step.groups[..done] {
                world.groups.get_mut(&row.group).unwrap().1.voters = row.replicas.clone();
            }
            let moving = world.facts().moving().count();
            let next = world.facts().next();
            assert!(moving + next.groups.len() <= MOVES_AT_ONCE && next.nodes.is_empty(), "{next:?}");
            world.settle();
            rounds += 1;
            assert!(rounds < 20);
        }
        assert!(rounds >= 2, "{rounds}");
        // Its sessions are waited for.
        world.loads.insert(NodeId::new(1), NodeLoad { sessions: 1, ..NodeLoad::default() });
        assert!(world.facts().next().nodes.is_empty());
        // So is a group that says nothing.
        world.loads.clear();
        world.groups.remove(&GroupId::new(3));
        assert!(world.facts().next().nodes.is_empty());
    }

    #[test]
    fn a_node_that_joins_counts_once_it_is_known_and_steady() {
        let mut world = World::new(3, 2);
        for id in [4, 5, 6] {
            world.map.nodes.insert(NodeId::new(id), NodeRow { state: NodeState::Joining, ..node(id) });
        }
        for id in [4, 5] {
            world.map.nodes.get_mut(&NodeId::new(id)).unwrap().store = Some(StoreId::new([4; 16]));
        }
        world.settle();
        assert!(world.facts().next().is_empty(), "nothing is placed on it before");
        let steady = [1, 2, 4, 6].map(NodeId::new).into();
        let up: Vec<(u64, NodeState)> = arrived(&world.map, &steady).iter().map(|row| (row.node.get(), row.state)).collect();
        assert_eq!(up, [(4, NodeState::Up)], "5 is not steady, of 6 no start is known");
    }

    #[test]
    fn what_a_dead_node_held_is_made_elsewhere_and_a_silent_one_keeps_it() {
        let mut world = World::new(4, 4);
        let held: usize = world.map.groups.values().filter(|row| row.replicas.contains(&NodeId::new(2))).count();
        world.layout.nodes.get_mut(&NodeId::new(2)).unwrap().silent_since = Some(Timestamp::new(NOW.get() - 5_000));
        assert!(world.facts().next().is_empty(), "a node that was just lost comes back, most often");
        world.layout.nodes.get_mut(&NodeId::new(2)).unwrap().silent_since = Some(Timestamp::new(NOW.get() - DOWN_AFTER_MS));
        let step = world.facts().next();
        assert_eq!(step.groups.len(), held.min(MOVES_AT_ONCE), "{step:?}");
        assert!(step.groups.iter().all(|row| !row.replicas.contains(&NodeId::new(2)) && row.replicas.len() == 3));
    }

    #[test]
    fn one_node_grows_to_three_by_itself_and_balances_only_when_it_may() {
        let mut world = World::new(1, 4);
        assert!(world.facts().next().is_empty());
        world.map.nodes.extend([2, 3].map(|id| (NodeId::new(id), node(id))));
        world.settle();
        for _ in 0..10 {
            let step = world.facts().next();
            if step.is_empty() {
                break;
            }
            world.log(&step);
            world.settle();
        }
        assert!(world.map.groups.values().all(|row| row.replicas.len() == 3), "{:?}", world.map.groups);
        assert!(world.facts().next().is_empty(), "all leaders are still on the first: nothing is moved for balance alone");
        world.may_balance = true;
        let step = world.facts().next();
        assert!(!step.groups.is_empty() && !step.rest.is_empty(), "{step:?}");
        // While members change somewhere, nothing is balanced.
        world.groups.get_mut(&GroupId::new(1)).unwrap().1.settled = false;
        assert!(world.facts().next().is_empty());
    }
}
