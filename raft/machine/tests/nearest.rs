//! The ranking of edges by example, and a crowd of sessions over 30 regions that loses a node, a zone and a region.

use std::collections::BTreeMap;

use kith_machine::meta::nearest::{Asker, Edge, Fleet};
use kith_wire::{
    id::{NodeId, RegionId},
    limit::EDGES_MAX,
};

mod crowd;

fn edge(node: u64, region: u8, sessions: u64) -> Edge {
    Edge { node: NodeId::new(node), region: RegionId::new(region), sessions, capacity: 1_000 }
}

fn fleet(edges: &[Edge]) -> Fleet {
    Fleet::new(edges.to_vec(), BTreeMap::new())
}

fn measured(pairs: &[(u64, u32)]) -> BTreeMap<NodeId, u32> {
    pairs.iter().map(|(node, ms)| (NodeId::new(*node), *ms)).collect()
}

fn ranked(fleet: &Fleet, asker: &Asker) -> Vec<u64> {
    fleet.rank(asker).into_iter().map(NodeId::get).collect()
}

#[test]
fn nearer_by_a_step_comes_before_all_else() {
    let fleet = fleet(&[edge(1, 0, 900), edge(2, 1, 0), edge(3, 1, 0)]);
    let near = Asker { measured: measured(&[(1, 12), (2, 40), (3, 35)]), home_leader: Some(NodeId::new(2)), ..Asker::default() };
    assert_eq!(ranked(&fleet, &near), [1, 2, 3], "its home's leader is 28 ms farther");
    let alike = Asker { measured: measured(&[(1, 21), (2, 40), (3, 35)]), home_leader: Some(NodeId::new(2)), ..Asker::default() };
    assert_eq!(ranked(&fleet, &alike)[0], 2, "19 ms are not");
}

#[test]
fn leader_of_the_home_is_chosen_while_it_is_not_loaded() {
    let asker = |seed| Asker { seed, measured: measured(&[(1, 5)]), home_leader: Some(NodeId::new(3)), ..Asker::default() };
    let first = |sessions, seed| ranked(&fleet(&[edge(1, 0, 100), edge(2, 0, 100), edge(3, 0, sessions)]), &asker(seed))[0];
    assert!((0..100).all(|seed| first(110, seed) == 3));
    let elsewhere = (0..300).filter(|seed| first(130, *seed) != 3).count();
    assert!((150..=250).contains(&elsewhere), "above it the draw decides: {elsewhere}");
}

#[test]
fn draw_follows_free_room_and_moves_only_those_of_a_lost_node() {
    let all = [edge(1, 0, 0), edge(2, 0, 500), edge(3, 0, 750), edge(4, 0, 1_000)];
    let asker = |seed| Asker { seed, measured: measured(&[(1, 5), (4, 5)]), ..Asker::default() };
    let before: Vec<Vec<u64>> = (0..7_000).map(|seed| ranked(&fleet(&all), &asker(seed))).collect();
    let count = |node| before.iter().filter(|ranked| ranked[0] == node).count();
    assert!(
        count(1).abs_diff(4_000) < 200 && count(2).abs_diff(2_000) < 200 && count(3).abs_diff(1_000) < 200,
        "{} {} {}",
        count(1),
        count(2),
        count(3)
    );
    assert!(before.iter().all(|ranked| ranked.len() == 3), "one without room is not named");
    for (seed, ranked_before) in before.iter().enumerate() {
        let after = ranked(&fleet(&all[1..]), &asker(seed as u64));
        let expected: Vec<u64> = ranked_before.iter().copied().filter(|node| *node != 1).collect();
        assert_eq!(after, expected, "the others keep their order");
    }
}

#[test]
fn last_places_are_elsewhere_and_nothing_measured_gives_one_of_each_region() {
    let mut edges: Vec<Edge> = (1..=10).map(|node| edge(node, 0, 0)).collect();
    edges.extend((11..=20).map(|node| edge(node, 1, 0)));
    edges.extend((21..=40).map(|node| edge(node, node as u8 % 10 + 2, 0)));
    let fleet = fleet(&edges);
    let asker = Asker { measured: measured(&[(1, 5), (11, 90)]), ..Asker::default() };
    let answer = ranked(&fleet, &asker);
    assert_eq!(answer.len(), EDGES_MAX);
    assert!(answer[..6].iter().all(|node| *node <= 10) && answer[6..].iter().all(|node| (11..=20).contains(node)), "{answer:?}");
    let stranger = fleet.rank(&Asker { seed: 5, ..Asker::default() });
    let mut regions: Vec<u8> = stranger.iter().map(|node| edges[node.get() as usize - 1].region.get()).collect();
    regions.sort_unstable();
    regions.dedup();
    assert_eq!(regions.len(), EDGES_MAX, "one each: {stranger:?}");
    assert!(Fleet::new(vec![edge(1, 0, 1_000)], BTreeMap::new()).rank(&asker).is_empty(), "nobody has room");
}

#[test]
fn region_that_could_be_nearer_is_offered_to_be_measured() {
    let edges: Vec<Edge> = (0..4).flat_map(|region| (1..=7).map(move |at| edge(u64::from(region) * 10 + at, region, 0))).collect();
    let region = RegionId::new;
    // The asker is 80 ms from region 0. Region 2 is 80 ms from there, so it may be next door; region 3 cannot be.
    let between = [((0, 1), 140), ((0, 2), 80), ((0, 3), 300)]
        .into_iter()
        .flat_map(|((a, b), ms)| [((region(a), region(b)), ms), ((region(b), region(a)), ms)]);
    let fleet = Fleet::new(edges, between.collect());
    let answer = ranked(&fleet, &Asker { measured: measured(&[(1, 80)]), ..Asker::default() });
    assert!(answer[..6].iter().all(|node| *node < 10), "{answer:?}");
    assert_eq!(answer[6] / 10, 2, "{answer:?}");
    assert_eq!(answer[7] / 10, 1, "{answer:?}");
}

#[test]
fn crowd_stays_within_bounds_when_a_node_a_zone_and_a_region_are_lost() {
    let report = crowd::run(&crowd::Shape { seed: 7, sessions: 100_000, regions: 30 });
    assert!(report.faults().is_empty(), "{:#?}\n{report:#?}", report.faults());
}
