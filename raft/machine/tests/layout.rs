//! The planner by example and by property: what holds after a plan, when it ends, how little it moves.

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::meta::layout::{
    Blocker, Change, DOWN_AFTER_MS, Group, LEADERS_AT_ONCE, Layout, Limits, Mode, Node, Plan, Policy, REST_MS, Reason, drain,
};
use kith_wire::{
    id::{GroupId, NodeId, RegionId, Timestamp},
    log::NodeState,
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};

const START: Timestamp = Timestamp::new(1_000_000_000);
/// Plans, one after the other, after which nothing is left to do.
const ROUNDS: usize = 6;

fn id(raw: u64) -> NodeId {
    NodeId::new(raw)
}

fn node(zone: &str) -> Node {
    Node { zone: zone.to_owned(), capacity: 1, ..Node::default() }
}

/// `groups` empty groups, the meta group before them.
fn layout(nodes: impl IntoIterator<Item = Node>, groups: u32) -> Layout {
    let nodes = (1..).map(id).zip(nodes).collect();
    let groups = (0..=groups).map(|group| (GroupId::new(group), Group { bytes: 1_000, load: 1, ..Group::default() })).collect();
    Layout { nodes, groups, ..Layout::default() }
}

fn zones(count: u64) -> impl Iterator<Item = Node> {
    (1..=count).map(|zone| node(&format!("zone-{zone}")))
}

/// Plans and applies until nothing is left; how often it did.
fn settle(layout: &mut Layout, now: &mut Timestamp, limits: Limits) -> Vec<Plan> {
    let mut plans = Vec::new();
    loop {
        *now = Timestamp::new(now.get() + REST_MS);
        let plan = layout.plan(*now, limits);
        assert_eq!(plan, layout.plan(*now, limits), "the same twice");
        if plan.is_empty() {
            assert!(plan.targets.is_empty(), "what changes has a line that says why: {plan:?}");
            return plans;
        }
        layout.apply(&plan, *now);
        plans.push(plan);
    }
}

fn settled(mut layout: Layout) -> (Layout, Timestamp) {
    let mut now = START;
    settle(&mut layout, &mut now, Limits::WHOLE);
    (layout, now)
}

fn leads(layout: &Layout, now: Timestamp) -> BTreeMap<NodeId, u64> {
    let mut out: BTreeMap<NodeId, u64> = layout.nodes.keys().filter(|id| is_open(layout, **id, now)).map(|id| (*id, 0)).collect();
    for (id, group) in layout.groups.iter().filter(|(id, _)| **id != GroupId::META) {
        if let Some(leader) = layout.leader(*id, now) {
            *out.entry(leader).or_default() += group.load.max(1);
        }
    }
    out
}

fn is_open(layout: &Layout, id: NodeId, now: Timestamp) -> bool {
    let node = &layout.nodes[&id];
    node.state == NodeState::Up && node.health(now) == kith_machine::meta::layout::Health::Alive
}

/// The most that a node leads, in percent of the mean.
fn worst_percent(leads: &BTreeMap<NodeId, u64>) -> u64 {
    let (sum, max) = (leads.values().sum::<u64>(), leads.values().max().copied().unwrap_or(0));
    max * 100 * leads.len() as u64 / sum.max(1)
}

fn zone_of(layout: &Layout, id: NodeId) -> (RegionId, String) {
    let node = &layout.nodes[&id];
    (node.region, if node.zone.is_empty() { format!("node {id}") } else { node.zone.clone() })
}

/// What must hold when nothing is left to do.
fn check_rules(layout: &Layout, now: Timestamp) {
    let open: Vec<NodeId> = layout.nodes.keys().copied().filter(|id| is_open(layout, *id, now)).collect();
    let zones: BTreeSet<_> = open.iter().map(|id| zone_of(layout, *id)).collect();
    for (group, row) in &layout.groups {
        let unique: BTreeSet<_> = row.voters.iter().collect();
        assert_eq!(unique.len(), row.voters.len(), "no node twice: {row:?}");
        let mut order = row.preference.clone();
        order.sort();
        assert_eq!(order, row.voters, "all voters are in the order");
        let sound: Vec<NodeId> = row.voters.iter().copied().filter(|id| open.contains(id)).collect();
        if open.len() >= 3 {
            assert_eq!(sound.len(), 3, "group {group} has three sound replicas: {row:?}");
            assert_eq!(row.voters.len(), 3, "and no others: {row:?}");
        }
        let used: BTreeSet<_> = sound.iter().map(|id| zone_of(layout, *id)).collect();
        assert_eq!(used.len(), zones.len().min(sound.len()), "group {group} stands in as many zones as there are: {row:?}");
        if !sound.is_empty() {
            assert!(layout.leader(*group, now).is_some_and(|leader| open.contains(&leader)), "group {group} is led: {row:?}");
        }
    }
}

fn replicas(layout: &Layout) -> BTreeMap<NodeId, usize> {
    let mut out: BTreeMap<NodeId, usize> = layout.nodes.keys().map(|id| (*id, 0)).collect();
    for voter in layout.groups.values().flat_map(|group| &group.voters) {
        *out.entry(*voter).or_default() += 1;
    }
    out
}

fn copies(plan: &Plan) -> usize {
    plan.moves.iter().filter(|one| matches!(one.change, Change::Add { .. } | Change::Swap { .. })).count()
}

#[test]
fn cluster_grows_from_one_to_three_to_five_and_back() {
    let mut now = START;
    let mut cluster = layout(zones(1), 4);
    settle(&mut cluster, &mut now, Limits::STEP);
    assert!(cluster.groups.values().all(|group| group.voters == [id(1)]));

    cluster.nodes.insert(id(2), node("zone-2"));
    assert!(cluster.plan(now, Limits::WHOLE).is_empty(), "two voters are no better than one");
    cluster.nodes.insert(id(3), node("zone-3"));
    let plan = cluster.plan(now, Limits::NEEDED);
    assert_eq!(copies(&plan), 10, "two more replicas of five groups");
    assert!(plan.moves.iter().all(|one| matches!(one.reason, Reason::Missing { has: 1, wants: 3 })), "{plan:?}");
    settle(&mut cluster, &mut now, Limits::STEP);
    check_rules(&cluster, now);
    assert!(leads(&cluster, now).values().all(|leads| (1..=2).contains(leads)), "{:?}", leads(&cluster, now));

    cluster.nodes.insert(id(4), node("zone-4"));
    cluster.nodes.insert(id(5), node("zone-5"));
    settle(&mut cluster, &mut now, Limits::STEP);
    check_rules(&cluster, now);
    assert!(replicas(&cluster).values().all(|count| (2..=4).contains(count)), "{:?}", replicas(&cluster));

    for leaving in [2, 4] {
        drain(&cluster, id(leaving), now, 1).expect("there is room");
        cluster.nodes.get_mut(&id(leaving)).expect("is there").state = NodeState::Draining;
        settle(&mut cluster, &mut now, Limits::STEP);
        assert_eq!(replicas(&cluster)[&id(leaving)], 0);
        cluster.nodes.get_mut(&id(leaving)).expect("is there").state = NodeState::Left;
        assert!(cluster.plan(now, Limits::WHOLE).is_empty());
        check_rules(&cluster, now);
    }
}

#[test]
fn last_three_nodes_cannot_be_emptied_and_the_groups_are_named() {
    let (cluster, now) = settled(layout(zones(3), 2));
    let blockers = drain(&cluster, id(2), now, 1).expect_err("nobody could take over");
    let expected: Vec<Blocker> = (0..=2).map(|group| Blocker::NoPlace { group: GroupId::new(group), has: 3 }).collect();
    assert_eq!(blockers, expected);
    assert!(blockers[1].to_string().starts_with("group 1: none of the nodes that stay"), "{}", blockers[1]);
    assert_eq!(drain(&cluster, id(9), now, 1).expect_err("is not there"), [Blocker::Unknown { node: id(9) }]);
    let (single, now) = settled(layout(zones(1), 1));
    assert_eq!(drain(&single, id(1), now, 1).expect_err("is alone")[1], Blocker::Last { group: GroupId::new(1) });
}

#[test]
fn emptying_says_how_much_is_copied_and_how_long_and_asks_for_room() {
    let (mut cluster, now) = settled(layout(zones(4), 8));
    let held = replicas(&cluster)[&id(1)];
    let dry = drain(&cluster, id(1), now, 500).expect("there is room");
    assert_eq!((dry.replicas, dry.eta_s), (held, 2 * held as u64));
    assert!(dry.plan.moves.iter().all(|one| one.reason == Reason::Draining { node: id(1) } || one.reason == Reason::NoLeader), "{dry:?}");
    for node in cluster.nodes.values_mut() {
        node.free_bytes = Some(999);
    }
    let blockers = drain(&cluster, id(1), now, 500).expect_err("no disk has room");
    assert!(blockers.iter().all(|blocker| matches!(blocker, Blocker::NoRoom { bytes: 1_000, .. })), "{blockers:?}");
}

#[test]
fn loss_of_one_of_five_nodes_is_shared_by_the_others_at_once() {
    let (mut cluster, mut now) = settled(layout(zones(5), 160));
    assert!(worst_percent(&leads(&cluster, now)) <= 105, "{:?}", leads(&cluster, now));
    let before = cluster.clone();
    for lost in 1..=5 {
        (cluster, now) = (before.clone(), START);
        cluster.nodes.get_mut(&id(lost)).expect("is there").silent_since = Some(now);
        let at_once = leads(&cluster, now);
        assert_eq!(at_once.len(), 4);
        assert!(worst_percent(&at_once) <= 115, "node {lost} lost: {at_once:?}");
        let plans = settle(&mut cluster, &mut now, Limits::STEP);
        let balanced = leads(&cluster, now);
        assert!(worst_percent(&balanced) <= 105, "node {lost} lost, balanced: {balanced:?}");
        check_rules(&cluster, now);
        let copied: usize = plans.iter().map(copies).sum();
        let held = replicas(&before)[&id(lost)];
        assert!((held..=held + 10).contains(&copied), "what it held, and little else: {copied}");
    }
}

#[test]
fn silent_nodes_are_repaired_after_ten_minutes_and_not_when_much_of_a_zone_is_silent() {
    let nodes = (0..9).map(|at| node(["a", "b", "c"][at % 3]));
    let (mut cluster, mut now) = settled(layout(nodes, 30));
    let silent = |cluster: &mut Layout, raw: u64, since: Timestamp| cluster.nodes.get_mut(&id(raw)).expect("is there").silent_since = Some(since);
    silent(&mut cluster, 1, now);
    assert!(cluster.plan(Timestamp::new(now.get() + DOWN_AFTER_MS - 1), Limits::NEEDED).is_empty(), "it may come back");
    let later = Timestamp::new(now.get() + DOWN_AFTER_MS);
    let plan = cluster.plan(later, Limits::NEEDED);
    assert!(copies(&plan) > 0 && plan.held.is_empty());
    assert!(plan.moves.iter().all(|one| !matches!(one.change, Change::Swap { from, .. } if from != id(1))), "{plan:?}");

    silent(&mut cluster, 4, later);
    let plan = cluster.plan(later, Limits::NEEDED);
    assert!(plan.is_empty(), "two of the three of a zone: perhaps a cable: {plan:?}");
    assert_eq!((plan.held[0].zone.as_str(), plan.held[0].silent.clone(), plan.held[0].nodes), ("a", vec![id(1), id(4)], 3));

    // An operator says that the zone is gone for good.
    for raw in [1, 4, 7] {
        cluster.nodes.get_mut(&id(raw)).expect("is there").state = NodeState::Left;
    }
    settle(&mut cluster, &mut now, Limits::STEP);
    check_rules(&cluster, now);
    // And builds another: replicas part again.
    for raw in 10..=12 {
        cluster.nodes.insert(id(raw), node("d"));
    }
    let plans = settle(&mut cluster, &mut now, Limits::STEP);
    check_rules(&cluster, now);
    assert!(plans[0].moves.iter().any(|one| matches!(one.reason, Reason::Zone { .. })), "{:?}", plans[0].moves.first());
}

#[test]
fn leaders_move_four_at_once_then_rest_and_only_for_a_gain() {
    let (mut cluster, now) = settled(layout(zones(3), 30));
    for group in cluster.groups.values_mut() {
        group.preference = vec![id(1), id(2), id(3)];
        group.moved = None;
    }
    let plan = cluster.plan(now, Limits::STEP);
    let moved: Vec<_> = plan.moves.iter().filter(|one| matches!(one.change, Change::Lead { .. })).collect();
    assert_eq!(moved.len(), LEADERS_AT_ONCE);
    assert!(moved.iter().all(|one| one.reason.to_string().starts_with("leads 3") || one.reason.to_string().starts_with("leads 2")), "{moved:?}");
    cluster.apply(&plan, now);
    let next = cluster.plan(now, Limits::STEP);
    let again = next.moves.iter().filter(|one| matches!(one.change, Change::Lead { .. }) && moved.iter().any(|before| before.group == one.group));
    assert_eq!(again.count(), 0, "they rest");
    let mut now = now;
    settle(&mut cluster, &mut now, Limits::STEP);
    // One more on one node than on another is no reason.
    assert!(worst_percent(&leads(&cluster, now)) <= 110, "{:?}", leads(&cluster, now));
}

#[test]
fn leaders_follow_the_zones_that_the_policy_prefers_and_fall_through() {
    let (mut cluster, mut now) = settled(layout(zones(3), 12));
    let policy = Policy { leader_zones: vec!["zone-2".into(), "zone-3".into()], ..Policy::default() };
    cluster.policies.regions.insert(RegionId::FIRST, policy);
    settle(&mut cluster, &mut now, Limits::STEP);
    assert_eq!(leads(&cluster, now), BTreeMap::from([(id(1), 0), (id(2), 12), (id(3), 0)]));
    cluster.nodes.get_mut(&id(2)).expect("is there").silent_since = Some(now);
    assert_eq!(leads(&cluster, now), BTreeMap::from([(id(1), 0), (id(3), 12)]), "the next zone takes over, all of it");
    let moves = cluster.plan(now, Limits::WHOLE).moves;
    assert!(moves.iter().all(|one| one.group == GroupId::META), "and nothing is moved for a zone that flaps: {moves:?}");
}

#[test]
fn region_mode_has_five_voters_over_three_regions_and_leads_at_home() {
    let mut nodes = Vec::new();
    for region in 0..4 {
        nodes.extend(zones(3).map(|node| Node { region: RegionId::new(region), ..node }));
    }
    let mut cluster = layout(nodes, 10);
    let mode = Mode::Region { second: RegionId::new(2), third: RegionId::new(1) };
    let mut now = START;
    settle(&mut cluster, &mut now, Limits::WHOLE);
    check_rules_of_regions(&cluster, &[(0, 3)]);
    cluster.policies.regions.insert(RegionId::FIRST, Policy { mode, learners: Some((RegionId::new(3), 1)), ..Policy::default() });
    settle(&mut cluster, &mut now, Limits::WHOLE);
    check_rules_of_regions(&cluster, &[(0, 2), (2, 2), (1, 1)]);
    for (group, row) in cluster.groups.iter().filter(|(group, _)| **group != GroupId::META) {
        assert_eq!(row.learners.iter().map(|id| cluster.nodes[id].region.get()).collect::<Vec<_>>(), [3], "group {group}");
        let leader = cluster.leader(*group, now).expect("is led");
        assert_eq!(cluster.nodes[&leader].region, RegionId::FIRST);
    }
    // The home region is lost: the second one leads.
    for node in cluster.nodes.values_mut().filter(|node| node.region == RegionId::FIRST) {
        node.silent_since = Some(now);
    }
    for group in cluster.groups.keys().filter(|group| **group != GroupId::META) {
        let leader = cluster.leader(*group, now).expect("three of five are left");
        assert_eq!(cluster.nodes[&leader].region, RegionId::new(2), "group {group}: {:?}", cluster.groups[group]);
    }
}

fn check_rules_of_regions(cluster: &Layout, wanted: &[(u8, usize)]) {
    for (group, row) in cluster.groups.iter().filter(|(group, _)| **group != GroupId::META) {
        for (region, count) in wanted {
            let there: Vec<_> = row.voters.iter().filter(|id| cluster.nodes[id].region.get() == *region).collect();
            let zones: BTreeSet<_> = there.iter().map(|id| zone_of(cluster, **id)).collect();
            assert_eq!((there.len(), zones.len()), (*count, *count), "group {group} in region {region}: {row:?}");
        }
        assert_eq!(row.voters.len(), wanted.iter().map(|(_, count)| count).sum::<usize>());
    }
}

#[test]
fn load_goes_by_capacity_and_unequal_zones_hold_what_the_rules_leave_them() {
    let capacities = [1, 1, 2, 4];
    let nodes = (0..12).map(|at| Node { capacity: capacities[at / 3], ..node(["a", "b", "c"][at % 3]) });
    let (cluster, now) = settled(layout(nodes, 96));
    check_rules(&cluster, now);
    let held = replicas(&cluster);
    for (at, id) in cluster.nodes.keys().enumerate() {
        let share = 96 * capacities[at / 3] as usize / 8;
        assert!(held[id].abs_diff(share) <= share / 8 + 2, "node {id} holds {} of {share}", held[id]);
    }
    // One zone of one node among larger ones: it holds one replica of each group, and no rule is broken to spare it.
    let nodes = (0..7).map(|at| node(if at == 0 { "small" } else { ["x", "y"][at % 2] }));
    let (cluster, now) = settled(layout(nodes, 24));
    check_rules(&cluster, now);
    assert_eq!(replicas(&cluster)[&id(1)], 25);
}

#[test]
fn pairs_of_nodes_share_about_as_many_groups() {
    let (cluster, _) = settled(layout(zones(6), 100));
    let mut shared: BTreeMap<(NodeId, NodeId), usize> = BTreeMap::new();
    for group in cluster.groups.values() {
        for (at, a) in group.voters.iter().enumerate() {
            for b in &group.voters[at + 1..] {
                *shared.entry((*a, *b)).or_default() += 1;
            }
        }
    }
    // 303 pairs of replicas over 15 pairs of nodes: 20 each.
    assert!(shared.len() == 15 && shared.values().all(|count| (14..=27).contains(count)), "{shared:?}");
}

/// A failing case prints its input and seed, and is kept in a `.seeds` file beside this one: the same command then tries it first.
fn property(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("seeds");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

#[derive(Clone, Debug)]
enum Event {
    Join(u8, u32),
    Die(usize),
    Drain(usize),
    Load(usize, u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5_u8, 1..4_u32).prop_map(|(zone, capacity)| Event::Join(zone, capacity)),
        any::<usize>().prop_map(Event::Die),
        any::<usize>().prop_map(Event::Drain),
        (any::<usize>(), 0..9_u64).prop_map(|(group, load)| Event::Load(group, load)),
    ]
}

proptest! {
    #![proptest_config(property(48))]

    #[test]
    fn whatever_happens_rules_hold_again_and_planning_ends(
        first in prop::collection::vec((0..5_u8, 1..4_u32), 3..9),
        sizes in prop::collection::vec((0..9_u64, 0..9_u64), 1..40),
        events in prop::collection::vec(event(), 0..8),
    ) {
        let new = |(zone, capacity): (u8, u32)| Node { capacity, ..node(&format!("zone-{zone}")) };
        let mut cluster = layout(first.into_iter().map(new), sizes.len() as u32);
        for (group, (bytes, load)) in cluster.groups.values_mut().skip(1).zip(sizes) {
            (group.bytes, group.load) = (bytes * 1_000, load);
        }
        let mut now = START;
        let plans = settle(&mut cluster, &mut now, Limits::WHOLE);
        prop_assert!(plans.len() <= ROUNDS, "{} rounds", plans.len());
        check_rules(&cluster, now);
        for event in events {
            let open: Vec<NodeId> = cluster.nodes.keys().copied().filter(|id| is_open(&cluster, *id, now)).collect();
            // Replicas that must move, whatever else.
            let mut forced = 0;
            match event {
                Event::Join(zone, capacity) => {
                    let next = cluster.nodes.keys().next_back().map_or(1, |id| id.get() + 1);
                    cluster.nodes.insert(id(next), new((zone, capacity)));
                }
                Event::Die(at) if open.len() > 3 => {
                    let lost = open[at % open.len()];
                    forced = replicas(&cluster)[&lost];
                    cluster.nodes.get_mut(&lost).expect("is there").state = NodeState::Left;
                }
                Event::Drain(at) if open.len() > 3 => {
                    let leaving = open[at % open.len()];
                    forced = replicas(&cluster)[&leaving];
                    prop_assert!(drain(&cluster, leaving, now, 1).is_ok());
                    cluster.nodes.get_mut(&leaving).expect("is there").state = NodeState::Draining;
                }
                Event::Load(at, load) => {
                    let group = GroupId::new((at % cluster.groups.len()) as u32);
                    cluster.groups.get_mut(&group).expect("is there").load = load;
                }
                Event::Die(_) | Event::Drain(_) => {}
            }
            let needed = copies(&cluster.plan(now, Limits::NEEDED));
            prop_assert!(needed >= forced, "{needed} of {forced}");
            let plans = settle(&mut cluster, &mut now, Limits::WHOLE);
            prop_assert!(plans.len() <= ROUNDS, "{} rounds: {:?}", plans.len(), plans.last());
            check_rules(&cluster, now);
            let moved: usize = plans.iter().map(copies).sum();
            // What a new or a lost node's share is, and as much again: not the whole cluster.
            let all: usize = replicas(&cluster).values().sum();
            prop_assert!(moved <= needed + all * 3 / 4 + 2, "{moved} copies, {needed} of them needed, of {all} replicas");
        }
    }
}
