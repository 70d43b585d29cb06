//! Where a session should be held: the ranking of edges that `Discover` answers. Pure and deterministic.
//!
//! In: the edges with their regions, sessions and room (soft state, seconds old), how far regions are from each other, and of an asker: what it measured, who leads its home.
//! Out: at most [`EDGES_MAX`] edges, best first. Rules, strongest first: the nearest by the asker's own measurements, in steps of 20 ms from
//! the nearest one; the leader of its home, as long as it holds less than 1.12 times the mean there; then a weighted draw by free room that is the same each
//! time for the same asker (rendezvous), so that the sessions of a node that is lost spread over all others, and those of the others stay.
//! Invariants: an edge without room is never named; where one step fills the answer, the last two edges are the next nearest ones, or of regions
//! that could be nearer and were never measured: a lost region leaves its askers somewhere to go, and a wrong first guess is found out.
//! Not here: who is an edge and heard (the node's router), sessions that are refused at a full edge (the node's admission).

use std::collections::BTreeMap;

use kith_wire::{
    id::{NodeId, RegionId},
    limit::EDGES_MAX,
};

/// Edges within so many milliseconds of the nearest are as near.
const STEP_MS: u32 = 20;
/// What was measured to be farther is taken for so far.
const MS_MAX: u32 = 60_000;
/// Places of an answer that the nearest step leaves to others.
const SPARE: usize = 2;
/// A home's leader holds sessions of its own users below this share of the mean, in percent.
const AFFINITY_PERCENT: u128 = 112;
/// Bits after the point of a logarithm.
const POINT: u32 = 20;

/// A node that can hold sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Which.
    pub node: NodeId,
    /// Where it stands.
    pub region: RegionId,
    /// Sessions that it holds.
    pub sessions: u64,
    /// Sessions that it can hold.
    pub capacity: u64,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// Stands for the asker: a device's id, say.
    pub seed: u64,
    /// What it measured, in milliseconds.
    pub measured: BTreeMap<NodeId, u32>,
    /// Where it is thought to be, as long as it has measured nothing.
    pub region: Option<RegionId>,
    /// Who leads the group of its home.
    pub home_leader: Option<NodeId>,
}

/// All edges, as the node that answers knows them.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// By node.
    edges: Vec<Edge>,
    /// Edges of each region.
    regions: BTreeMap<RegionId, Vec<usize>>,
    /// Milliseconds between regions, both ways.
    between: BTreeMap<(RegionId, RegionId), u32>,
}

/// How far a region is from an asker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Distance {
    Measured(u32),
    /// At least this.
    AtLeast(u32),
}

impl Fleet {
    /// `between`: what edges measure of each other; pairs that are not there are not known.
    pub fn new(mut edges: Vec<Edge>, between: BTreeMap<(RegionId, RegionId), u32>) -> Self {
        edges.sort_by_key(|edge| edge.node);
        edges.dedup_by_key(|edge| edge.node);
        let mut regions: BTreeMap<RegionId, Vec<usize>> = BTreeMap::new();
        for (at, edge) in edges.iter().enumerate() {
            regions.entry(edge.region).or_default().push(at);
        }
        Self { edges, regions, between }
    }

    /// The edges, by node.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// What is newly known of an edge.
    pub fn note(&mut self, node: NodeId, sessions: u64, capacity: u64) {
        if let Ok(at) = self.edges.binary_search_by_key(&node, |edge| edge.node) {
            (self.edges[at].sessions, self.edges[at].capacity) = (sessions, capacity);
        }
    }

    /// Where the asker should be, best first; empty when nobody has room.
    pub fn rank(&self, asker: &Asker) -> Vec<NodeId> {
        let mut measured: BTreeMap<RegionId, u32> = BTreeMap::new();
        for (node, ms) in &asker.measured {
            if let Ok(at) = self.edges.binary_search_by_key(node, |edge| edge.node) {
                measured.entry(self.edges[at].region).and_modify(|least| *least = (*least).min(*ms)).or_insert(*ms);
            }
        }
        let mut out = Vec::with_capacity(EDGES_MAX);
        if measured.is_empty() {
            self.unmeasured(asker, &mut out);
            return self.nodes(out);
        }
        // Steps from the nearest one that has room.
        let mut near: Vec<(u32, usize)> = Vec::new();
        let mut maybe: Vec<(u32, u64, RegionId)> = Vec::new();
        for (region, edges) in &self.regions {
            match self.distance(*region, &measured) {
                Some(Distance::Measured(least)) => {
                    let known = |at: &usize| (asker.measured.get(&self.edges[*at].node).copied().unwrap_or(least).min(MS_MAX), *at);
                    near.extend(edges.iter().filter(|at| self.has_room(**at)).map(known));
                }
                Some(Distance::AtLeast(least)) => maybe.push((least, mix(asker.seed, u64::from(region.get())), *region)),
                None => {}
            }
        }
        near.sort_unstable();
        maybe.sort_unstable();
        let nearest = near.first().map_or(0, |(ms, _)| *ms);
        let mut rest = near.as_slice();
        let mut is_first = true;
        while let Some((least, _)) = rest.first().copied() {
            let end = nearest + ((least - nearest) / STEP_MS + 1) * STEP_MS;
            let (step, after) = rest.split_at(rest.partition_point(|(ms, _)| *ms < end));
            let mut step: Vec<usize> = step.iter().map(|(_, at)| *at).collect();
            self.order(asker, &mut step);
            if is_first {
                step.truncate(EDGES_MAX - SPARE);
                out.extend(step);
                // What could be nearer by a step and was never measured comes before what is known to be farther.
                let could = maybe.iter().filter(|(ms, ..)| ms.saturating_add(STEP_MS) <= nearest);
                out.extend(could.filter_map(|(_, _, region)| self.first_of(asker, *region)).take(SPARE));
            } else {
                out.extend(step);
            }
            (rest, is_first) = (after, false);
            if out.len() >= EDGES_MAX {
                break;
            }
        }
        // Nothing farther is known: anything is better than an empty place.
        out.extend(maybe.into_iter().filter_map(|(_, _, region)| self.first_of(asker, region)).take(EDGES_MAX));
        if out.len() < EDGES_MAX {
            let mut step: Vec<usize> = near.iter().map(|(_, at)| *at).collect();
            self.order(asker, &mut step);
            out.extend(step);
        }
        self.nodes(out)
    }

    /// One edge of each region, beginning with where the asker is thought to be: to be measured.
    fn unmeasured(&self, asker: &Asker, out: &mut Vec<usize>) {
        if let Some(edges) = asker.region.and_then(|region| self.regions.get(&region)) {
            let mut step: Vec<usize> = edges.iter().copied().filter(|at| self.has_room(*at)).collect();
            self.order(asker, &mut step);
            step.truncate(EDGES_MAX - SPARE);
            out.extend(step);
        }
        let far = |region: RegionId| asker.region.and_then(|guess| self.between.get(&(guess, region)).copied()).unwrap_or(u32::MAX);
        let others = self.regions.keys().copied().filter(|region| Some(*region) != asker.region);
        let mut others: Vec<_> = others.map(|region| (far(region), mix(asker.seed, u64::from(region.get())), region)).collect();
        others.sort_unstable();
        out.extend(others.into_iter().filter_map(|(_, _, region)| self.first_of(asker, region)).take(EDGES_MAX));
    }

    /// The edge of a region that the draw gives.
    fn first_of(&self, asker: &Asker, region: RegionId) -> Option<usize> {
        let edges = self.regions.get(&region)?;
        edges.iter().copied().filter(|at| self.has_room(*at)).min_by_key(|at| self.draw(asker, *at))
    }

    fn nodes(&self, mut edges: Vec<usize>) -> Vec<NodeId> {
        let mut seen = std::collections::BTreeSet::new();
        edges.retain(|at| seen.insert(*at));
        edges.truncate(EDGES_MAX);
        edges.into_iter().map(|at| self.edges[at].node).collect()
    }

    /// What was measured in the region, or what follows from what was measured elsewhere: no way is shorter than the difference of two others.
    fn distance(&self, region: RegionId, measured: &BTreeMap<RegionId, u32>) -> Option<Distance> {
        if let Some(ms) = measured.get(&region) {
            return Some(Distance::Measured(*ms));
        }
        let bound = |(from, ms): (&RegionId, &u32)| self.between.get(&(*from, region)).map_or(0, |between| between.abs_diff(*ms));
        measured.iter().map(bound).max().map(Distance::AtLeast)
    }

    fn has_room(&self, at: usize) -> bool {
        self.edges[at].sessions < self.edges[at].capacity
    }

    /// Edges that are as near: the home's leader first, if it is not loaded, then the draw.
    fn order(&self, asker: &Asker, step: &mut [usize]) {
        let (sessions, capacity) = step.iter().fold((0_u128, 0_u128), |(sessions, capacity), at| {
            (sessions + u128::from(self.edges[*at].sessions), capacity + u128::from(self.edges[*at].capacity))
        });
        let is_home = |at: usize| {
            let edge = &self.edges[at];
            let is_below = u128::from(edge.sessions) * capacity * 100 <= sessions * u128::from(edge.capacity) * AFFINITY_PERCENT;
            asker.home_leader == Some(edge.node) && is_below
        };
        step.sort_by_cached_key(|at| (!is_home(*at), self.draw(asker, *at)));
    }

    /// The lower, the better: -log(u) / free, u drawn from asker and node. The share of askers with whom an edge comes first is its share of
    /// the free room (Schindelhauer and Schomaker, weighted distributed hash tables, 2005).
    fn draw(&self, asker: &Asker, at: usize) -> (u64, NodeId) {
        let edge = &self.edges[at];
        let free = edge.capacity.saturating_sub(edge.sessions);
        let log = u128::from(minus_log2(mix(asker.seed, edge.node.get())));
        (u64::try_from((log << 36) / u128::from(free.max(1))).unwrap_or(u64::MAX), edge.node)
    }
}

/// Whatever is given, all bits of the outcome look drawn (splitmix64).
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// -log2(x / 2^64), with [`POINT`] bits after the point; x = 0 counts as 1.
fn minus_log2(x: u64) -> u64 {
    let x = x | 1;
    let whole = 63 - x.leading_zeros();
    // 1 ≤ m < 2, with 31 bits after the point; each squaring tells the next bit of its logarithm.
    let mut m = (x << x.leading_zeros()) >> 32;
    let mut log = u64::from(whole);
    for _ in 0..POINT {
        m = (m * m) >> 31;
        log <<= 1;
        if m >> 32 > 0 {
            m >>= 1;
            log |= 1;
        }
    }
    (64 << POINT) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_right() {
        let one = 1_u64 << POINT;
        for (x, want) in [(1_u64 << 63, one), (1 << 62, 2 * one), (3 << 62, 435_198), (1, 64 * one)] {
            // The last bit of x is set.
            assert!(minus_log2(x).abs_diff(want) <= 4, "{x}: {} for {want}", minus_log2(x));
        }
    }
}
