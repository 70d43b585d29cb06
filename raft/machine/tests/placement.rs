//! The first placement over clusters of several shapes.

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::meta::plan::{Plan, REPLICAS, first_placement, groups_default};
use kith_wire::{
    id::{GroupId, NodeId, RegionId},
    log::{NodeRow, NodeState},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

fn node(id: u64, zone: &str) -> NodeRow {
    NodeRow { node: NodeId::new(id), zone: zone.to_owned(), capacity: 1, ..NodeRow::default() }
}

fn leaders(plan: &Plan) -> BTreeMap<NodeId, usize> {
    let mut out = BTreeMap::new();
    for group in plan.groups.iter().filter(|group| group.group != GroupId::META) {
        *out.entry(group.preference[0]).or_default() += 1;
    }
    out
}

fn check_covers(plan: &Plan, region: RegionId) {
    let mut next = 0_u32;
    for run in plan.runs.iter().filter(|run| run.region == region) {
        assert_eq!(u32::from(run.first), next, "runs follow each other");
        next = u32::from(run.last) + 1;
    }
    assert_eq!(next, 1 << 16, "every bucket of region {region} has a group");
}

#[test]
fn one_node_gets_everything() {
    let plan = first_placement(&[node(1, "a")], groups_default(1));
    assert_eq!(plan.groups.len(), 5);
    assert!(plan.groups.iter().all(|group| group.replicas == [NodeId::new(1)] && group.preference == [NodeId::new(1)]));
    check_covers(&plan, RegionId::FIRST);
}

#[test]
fn three_nodes_each_lead_one_of_three_groups() {
    let nodes = [node(1, "a"), node(2, "b"), node(3, "c")];
    let plan = first_placement(&nodes, groups_default(3));
    assert!(plan.groups.iter().all(|group| group.replicas.len() == 3));
    assert_eq!(leaders(&plan).into_values().collect::<Vec<_>>(), [1, 1, 1]);
    check_covers(&plan, RegionId::FIRST);
    let sizes: Vec<_> = plan.runs.iter().map(|run| u32::from(run.last) - u32::from(run.first)).collect();
    assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "runs are equal: {sizes:?}");
}

#[test]
fn five_nodes_share_few_groups_in_pairs() {
    let nodes: Vec<_> = (1..=5).map(|id| node(id, &format!("zone-{id}"))).collect();
    let plan = first_placement(&nodes, 5);
    assert_eq!(leaders(&plan).into_values().collect::<Vec<_>>(), [1; 5]);
    let mut shared: BTreeMap<(NodeId, NodeId), usize> = BTreeMap::new();
    let mut replicas: BTreeMap<NodeId, usize> = BTreeMap::new();
    for group in plan.groups.iter().filter(|group| group.group != GroupId::META) {
        for (at, a) in group.replicas.iter().enumerate() {
            *replicas.entry(*a).or_default() += 1;
            for b in &group.replicas[at + 1..] {
                *shared.entry((*a, *b)).or_default() += 1;
            }
        }
    }
    assert_eq!(replicas.into_values().collect::<Vec<_>>(), [3; 5]);
    assert!(shared.values().all(|count| *count <= 2), "15 pairs over 10 pairs of nodes: {shared:?}");
}

#[test]
fn two_nodes_of_one_zone_never_hold_the_same_group_when_there_are_three_zones() {
    let nodes: Vec<_> = (1..=6).map(|id| node(id, ["a", "b", "c"][id as usize % 3])).collect();
    let plan = first_placement(&nodes, 6);
    for group in &plan.groups {
        let zones: BTreeSet<_> = group.replicas.iter().map(|id| id.get() % 3).collect();
        assert_eq!(zones.len(), 3, "{group:?}");
    }
}

#[test]
fn a_leaving_node_gets_nothing_and_no_nodes_no_plan() {
    let leaving = NodeRow { state: NodeState::Draining, ..node(2, "b") };
    let plan = first_placement(&[node(1, "a"), leaving], 1);
    assert!(plan.groups.iter().all(|group| group.replicas == [NodeId::new(1)]));
    assert_eq!(first_placement(&[], 3), Plan::default());
}

#[test]
fn each_region_is_covered_by_its_own_nodes() {
    let nodes: Vec<_> = (1..=6).map(|id| NodeRow { region: RegionId::new((id / 4) as u8), ..node(id, &id.to_string()) }).collect();
    let plan = first_placement(&nodes, 2);
    assert_eq!(plan.groups.len(), 5);
    for region in [RegionId::new(0), RegionId::new(1)] {
        check_covers(&plan, region);
    }
    for group in plan.groups.iter().filter(|group| group.group != GroupId::META) {
        assert!(group.replicas.iter().all(|id| (id.get() / 4) as u8 == group.region.get()));
    }
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(64))]

    #[test]
    fn any_cluster_is_placed_the_same_way_twice_and_balanced(zones in prop::collection::vec(0..5_u8, 1..12), groups in 1..20_u32) {
        let nodes: Vec<_> = zones.iter().enumerate().map(|(at, zone)| node(at as u64 + 1, &format!("zone-{zone}"))).collect();
        let plan = first_placement(&nodes, groups);
        let mut shuffled = nodes.clone();
        shuffled.reverse();
        prop_assert_eq!(&plan, &first_placement(&shuffled, groups));
        check_covers(&plan, RegionId::FIRST);
        let distinct: BTreeSet<_> = zones.iter().collect();
        for group in &plan.groups {
            prop_assert_eq!(group.replicas.len(), nodes.len().min(REPLICAS));
            let used: BTreeSet<_> = group.replicas.iter().map(|id| zones[id.get() as usize - 1]).collect();
            prop_assert_eq!(used.len(), distinct.len().min(REPLICAS), "zones of {:?}", group);
            let mut sorted = group.preference.clone();
            sorted.sort();
            prop_assert_eq!(&sorted, &group.replicas);
        }
    }
}
