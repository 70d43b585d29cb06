//! Which edge is near enough: what to measure, when to ask again, when to move.
//!
//! In: welcomes, rankings of the cluster, what was measured, time. Out: [`Want`]s. Rules: all edges that the cluster names are measured once,
//! and told, until it names nobody new; a session moves only to an edge that is nearer by [`STEP_MS`] and a quarter, seen twice some seconds
//! apart, and at most once in [`REST`]. Bounds: [`MEASURED_MAX`] distances, [`ROUNDS_MAX`] rounds of one ranking.
//! Not here: datagrams (`probe`), where to dial when a connection is lost (`dial`).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use kith_wire::{client::Edge, id::NodeId, limit::MEASURED_MAX};

/// A ranking is good for so long, and so is what was measured.
pub(crate) const KEPT: Duration = Duration::from_secs(600);
/// Edges within so many milliseconds of each other are as near: as the cluster ranks them.
const STEP_MS: u32 = 20;
/// Rankings that are asked for one after the other, as long as they name edges that are new.
const ROUNDS_MAX: u32 = 4;
/// Until a nearer edge is measured again: between this and twice of it.
const DOUBT: Duration = Duration::from_secs(1);
/// What was measured before that is not taken for the second look.
const FRESH: Duration = Duration::from_millis(500);
/// Between two moves.
const REST: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// Ask for the ranking, with these distances.
    Ask(Vec<(NodeId, u32)>),
    /// Measure these, unless that was done less than this ago.
    Measure { edges: Vec<(NodeId, String)>, newer_than: Duration },
    /// Leave for this one.
    Move(String),
}

#[derive(Debug)]
pub(crate) struct Near {
    here: Option<(NodeId, String)>,
    edges: Vec<Edge>,
    /// `None`: it did not answer.
    told: BTreeMap<NodeId, (Option<u32>, Instant)>,
    rounds: u32,
    stage: Stage,
    moved: Option<Instant>,
    again_at: Option<Instant>,
    wants: VecDeque<Want>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// All is known, or nobody is asked.
    Idle,
    Asked,
    Measuring,
    /// One seems nearer: look again then.
    Doubting(NodeId, Instant),
    Confirming(NodeId),
}

impl Default for Near {
    fn default() -> Self {
        Self {
            here: None,
            edges: Vec::new(),
            told: BTreeMap::new(),
            rounds: 0,
            stage: Stage::Idle,
            moved: None,
            again_at: None,
            wants: VecDeque::new(),
        }
    }
}

impl Near {
    /// A session was opened at this edge, which is asked for the ranking anyway.
    pub(crate) fn handle_welcomed(&mut self, node: NodeId, address: &str) {
        self.handle_disconnected();
        self.here = Some((node, address.to_owned()));
        self.stage = Stage::Asked;
    }
    pub(crate) fn handle_disconnected(&mut self) {
        (self.here, self.rounds, self.stage, self.again_at) = (None, 0, Stage::Idle, None);
        self.wants.clear();
    }
    /// The ranking has come.
    pub(crate) fn handle_edges(&mut self, now: Instant, spread: f64, edges: &[Edge]) {
        let Some(here) = self.here.clone() else { return };
        edges.clone_into(&mut self.edges);
        let is_known = |node: &NodeId| self.told.get(node).is_some_and(|(_, at)| now.duration_since(*at) < KEPT);
        let mut unknown: Vec<(NodeId, String)> =
            edges.iter().filter(|edge| !is_known(&edge.node)).map(|edge| (edge.node, edge.address.clone())).collect();
        if edges.iter().all(|edge| edge.node == here.0) || unknown.is_empty() || self.rounds >= ROUNDS_MAX {
            return self.settle(now, spread);
        }
        if !is_known(&here.0) && unknown.iter().all(|(node, _)| *node != here.0) {
            unknown.push(here);
        }
        self.stage = Stage::Measuring;
        self.wants.push_back(Want::Measure { edges: unknown, newer_than: KEPT });
    }
    /// What was wanted is measured.
    pub(crate) fn handle_measured(&mut self, now: Instant, spread: f64, measured: &[(NodeId, Option<u32>)]) {
        for (node, ms) in measured {
            // At the second look the least of both counts: a busy machine is not a far one.
            let before = self.distance(*node).filter(|_| matches!(self.stage, Stage::Confirming(_)));
            let ms = ms.map(|ms| before.map_or(ms, |before| before.min(ms)));
            self.told.insert(*node, (ms, now));
        }
        while self.told.len() > MEASURED_MAX {
            let far = |(_, (ms, at)): &(&NodeId, &(Option<u32>, Instant))| (ms.unwrap_or(u32::MAX), Reverse(*at));
            let Some(farthest) = self.told.iter().max_by_key(far).map(|(node, _)| *node) else { break };
            self.told.remove(&farthest);
        }
        match self.stage {
            Stage::Measuring => {
                self.rounds += 1;
                if measured.iter().any(|(_, ms)| ms.is_some()) && self.is_worth_telling() {
                    self.ask();
                } else {
                    self.settle(now, spread);
                }
            }
            Stage::Confirming(best) => {
                self.rest(now, spread);
                let address = self.edges.iter().find(|edge| edge.node == best).map(|edge| edge.address.clone());
                if let (Some(address), true) = (address, self.is_nearer(best)) {
                    self.moved = Some(now);
                    self.wants.push_back(Want::Move(address));
                }
            }
            Stage::Idle | Stage::Asked | Stage::Doubting(..) => {}
        }
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Stage::Doubting(best, at) = self.stage
            && now >= at
        {
            self.stage = Stage::Confirming(best);
            let other = self.edges.iter().find(|edge| edge.node == best).map(|edge| (best, edge.address.clone()));
            let edges = self.here.clone().into_iter().chain(other).collect();
            self.wants.push_back(Want::Measure { edges, newer_than: FRESH });
        }
        if self.stage == Stage::Idle && self.again_at.is_some_and(|at| now >= at) {
            (self.again_at, self.rounds) = (None, 0);
            self.ask();
        }
    }
    pub(crate) fn poll_want(&mut self) -> Option<Want> {
        self.wants.pop_front()
    }
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.stage {
            Stage::Doubting(_, at) => Some(at),
            Stage::Idle => self.again_at,
            Stage::Asked | Stage::Measuring | Stage::Confirming(_) => None,
        }
    }
    /// What is known of this node's distance, in milliseconds.
    pub(crate) fn distance(&self, node: NodeId) -> Option<u32> {
        self.told.get(&node).and_then(|(ms, _)| *ms)
    }

    fn ask(&mut self) {
        self.stage = Stage::Asked;
        self.wants.push_back(Want::Ask(self.told.iter().filter_map(|(node, (ms, _))| Some((*node, (*ms)?))).collect()));
    }
    /// Where all that there is, is as near, the ranking does not hang on distances.
    fn is_worth_telling(&self) -> bool {
        let known = || self.told.values().filter_map(|(ms, _)| *ms);
        let (least, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
        self.edges.len() >= kith_wire::limit::EDGES_MAX || most - least >= STEP_MS
    }
    /// Nothing is left to measure: is this the place?
    fn settle(&mut self, now: Instant, spread: f64) {
        self.rest(now, spread);
        let best = self.edges.iter().map(|edge| edge.node).find(|node| self.distance(*node).is_some());
        if let Some(best) = best.filter(|best| self.is_nearer(*best) && self.moved.is_none_or(|at| now.duration_since(at) >= REST)) {
            self.stage = Stage::Doubting(best, now + DOUBT.mul_f64(1.0 + spread));
        }
    }
    fn rest(&mut self, now: Instant, spread: f64) {
        self.stage = Stage::Idle;
        self.again_at = Some(now + KEPT.mul_f64(1.0 + spread / 4.0));
    }
    /// By so much that a move is worth it.
    fn is_nearer(&self, best: NodeId) -> bool {
        let Some(here) = self.here.as_ref().and_then(|(node, _)| self.distance(*node)) else { return false };
        self.distance(best).is_some_and(|there| here >= there + STEP_MS && here - here / 4 >= there)
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::id::RegionId;

    use super::*;

    fn edges(nodes: &[u64]) -> Vec<Edge> {
        let edge = |node: &u64| Edge { node: NodeId::new(*node), address: format!("{node}:1"), region: RegionId::default(), zone: String::new() };
        nodes.iter().map(edge).collect()
    }
    fn ms(of: &[(u64, u32)]) -> Vec<(NodeId, Option<u32>)> {
        of.iter().map(|(node, ms)| (NodeId::new(*node), Some(*ms))).collect()
    }
    fn told(of: &[(u64, u32)]) -> Want {
        Want::Ask(of.iter().map(|(node, ms)| (NodeId::new(*node), *ms)).collect())
    }
    fn wanted(near: &mut Near) -> Vec<u64> {
        match near.poll_want() {
            Some(Want::Measure { edges, .. }) => edges.iter().map(|(node, _)| node.get()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_named_is_measured_once_and_told_and_the_nearest_is_moved_to_after_a_second_look() {
        let (mut near, mut now) = (Near::default(), Instant::now());
        near.handle_welcomed(NodeId::new(1), "1:1");
        near.handle_edges(now, 0.5, &edges(&[1, 2, 3]));
        assert_eq!(wanted(&mut near), [1, 2, 3]);
        near.handle_measured(now, 0.5, &ms(&[(1, 90), (2, 10), (3, 40)]));
        assert_eq!(near.poll_want(), Some(told(&[(1, 90), (2, 10), (3, 40)])));
        // Somebody new is named.
        near.handle_edges(now, 0.5, &edges(&[2, 4, 3, 1]));
        assert_eq!(wanted(&mut near), [4]);
        near.handle_measured(now, 0.5, &ms(&[(4, 12)]));
        assert_eq!(near.poll_want(), Some(told(&[(1, 90), (2, 10), (3, 40), (4, 12)])));
        near.handle_edges(now, 0.5, &edges(&[4, 2, 3, 1]));
        assert_eq!(near.poll_want(), None);
        now = near.poll_timeout().unwrap();
        near.handle_timeout(now);
        assert_eq!(wanted(&mut near), [1, 4]);
        near.handle_measured(now, 0.5, &ms(&[(1, 88), (4, 60)]));
        assert_eq!(near.poll_want(), Some(Want::Move("4:1".to_owned())));
        // It is there, and stays.
        near.handle_disconnected();
        near.handle_welcomed(NodeId::new(4), "4:1");
        near.handle_edges(now, 0.5, &edges(&[2, 4, 3, 1]));
        assert_eq!(near.poll_want(), None);
        assert!(near.poll_timeout().unwrap() >= now + KEPT, "the ranking is asked for again when it is old");
        now = near.poll_timeout().unwrap();
        near.handle_timeout(now);
        assert!(matches!(near.poll_want(), Some(Want::Ask(_))));
        // All is measured anew.
        near.handle_edges(now, 0.5, &edges(&[2, 4, 3, 1]));
        assert_eq!(wanted(&mut near), [2, 4, 3, 1]);
    }

    #[test]
    fn no_move_for_a_moment_of_slowness_nor_for_a_few_milliseconds_nor_twice_in_a_while() {
        let (mut near, now) = (Near::default(), Instant::now());
        let settle = |near: &mut Near, first: &[(u64, u32)]| {
            near.handle_disconnected();
            near.told.clear();
            near.handle_welcomed(NodeId::new(1), "1:1");
            near.handle_edges(now, 0.0, &edges(&[2, 1]));
            assert_eq!(wanted(near), [2, 1]);
            near.handle_measured(now, 0.0, &ms(first));
            if near.poll_want().is_some() {
                near.handle_edges(now, 0.0, &edges(&[2, 1]));
            }
            near.handle_timeout(now + DOUBT);
            near.poll_want()
        };
        assert_eq!(settle(&mut near, &[(1, 25), (2, 8)]), None, "17 ms");
        assert_eq!(settle(&mut near, &[(1, 200), (2, 170)]), None, "less than a quarter");
        assert!(settle(&mut near, &[(1, 60), (2, 8)]).is_some());
        near.handle_measured(now, 0.0, &ms(&[(1, 9), (2, 8)]));
        assert_eq!(near.poll_want(), None, "it was slow for a moment");
        assert!(settle(&mut near, &[(1, 60), (2, 8)]).is_some());
        near.handle_measured(now, 0.0, &ms(&[(1, 60), (2, 8)]));
        assert!(matches!(near.poll_want(), Some(Want::Move(_))));
        assert_eq!(settle(&mut near, &[(1, 60), (2, 8)]), None, "not again for a while");
    }

    #[test]
    fn nobody_is_measured_where_there_is_no_choice_and_what_is_known_is_bounded() {
        let (mut near, now) = (Near::default(), Instant::now());
        near.handle_welcomed(NodeId::new(1), "1:1");
        near.handle_edges(now, 0.0, &edges(&[1]));
        assert_eq!(near.poll_want(), None);
        let many: Vec<(u64, u32)> = (1..=200).map(|node| (node, node as u32)).collect();
        near.handle_measured(now, 0.0, &ms(&many));
        assert_eq!((near.told.len(), near.distance(NodeId::new(64)), near.distance(NodeId::new(65))), (MEASURED_MAX, Some(64), None));
        // A name that a balancer stands behind: the edge is measured there.
        near.handle_welcomed(NodeId::new(300), "lb:1");
        near.handle_edges(now, 0.0, &edges(&[301, 1]));
        assert_eq!(wanted(&mut near), [301, 300]);
    }
}
