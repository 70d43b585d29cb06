//! Handing leaderships over: to who should lead by the map, and away from a node that drains or is to lose its replica.
//!
//! In: a group that this node leads, the map. Out: at most one transfer of leadership at a time. Invariants: only to a voter that can be reached,
//! does not drain, and lacks at most [`LAG_MAX`] entries; one that was not taken is not tried again for [`REST`]. To who should lead: at once when
//! the map begins to say so, else only after all was well for long, never with `layout.balance` off. Not here: who should lead (kith-machine's
//! `meta::layout`), when a node ends (`node`).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_raft::GroupHandle;
use kith_wire::{
    id::NodeId,
    log::{ClusterMap, GroupRow, NodeState},
};

use super::{drain::Drain, files::LayoutSettings, steward::LayoutMetrics};
use crate::{
    clock::{Instant, SharedClock},
    peer::Peers,
};

/// Entries that a successor may lack.
const LAG_MAX: u64 = 256;
/// For one replica to take a leadership.
const TAKEN_MAX: Duration = Duration::from_secs(1);
/// After a leadership that nobody took.
const REST: Duration = Duration::from_secs(10);
/// Between two leaderships that this node gives away to balance: each costs its group a moment.
const APART: Duration = Duration::from_secs(1);

/// Hands over what this node leads. Clones are the same node's.
#[derive(Clone)]
pub(crate) struct Hands {
    peers: Peers,
    drain: Drain,
    clock: SharedClock,
    settings: LayoutSettings,
    metrics: Arc<LayoutMetrics>,
    last: Arc<Mutex<Option<Instant>>>,
}

/// One leadership of this node.
pub(crate) struct Hand {
    hands: Hands,
    began: Instant,
    /// Who should lead, when it began.
    first: Option<NodeId>,
    /// When somebody was last not heard.
    restless: Instant,
    rests_until: Option<Instant>,
}

/// Why a leadership is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Drains,
    NoReplica,
    Preference,
}

impl Hands {
    pub(crate) fn new(peers: Peers, drain: Drain, clock: SharedClock, settings: LayoutSettings, metrics: Arc<LayoutMetrics>) -> Self {
        Self { peers, drain, clock, settings, metrics, last: Arc::default() }
    }

    /// This node leads a group from now on.
    pub(crate) fn begin(&self) -> Hand {
        let now = self.clock.instant();
        Hand { hands: self.clone(), began: now, first: None, restless: now, rests_until: None }
    }

    /// This node ends: gives a group away. Says whether somebody took it, or nobody is there who could.
    pub(crate) async fn leave(&self, group: GroupHandle, map: &ClusterMap) -> bool {
        let others = self.candidates(&group, map);
        let is_alone = others.is_empty();
        for to in others {
            match self.give(&group, to).await {
                Some(true) => return true,
                Some(false) => {}
                None => return false,
            }
        }
        is_alone
    }

    /// Gives a group to a voter. Says whether it took it in time; `None`: the transfer was refused here.
    async fn give(&self, group: &GroupHandle, to: NodeId) -> Option<bool> {
        if let Err(error) = group.transfer(to).await {
            tracing::warn!(group = %group.id(), peer = %to, cause = %error, "cluster.hand: leadership not handed over");
            return None;
        }
        let me = self.peers.node();
        let mut lead = group.leader();
        let taken = lead.wait_for(|lead| lead.leader.is_some_and(|leader| leader != me));
        Some(tokio::time::timeout(TAKEN_MAX, taken).await.is_ok_and(|taken| taken.is_ok()))
    }

    /// Who could take a group over, best first: voters by the map's order, those that drain or are being emptied last.
    fn candidates(&self, group: &GroupHandle, map: &ClusterMap) -> Vec<NodeId> {
        let Some(row) = map.groups.get(&group.id()) else { return Vec::new() };
        let voters = group.members().voters;
        let mut nodes: Vec<NodeId> = Vec::new();
        for node in row.preference.iter().chain(&row.replicas).chain(&voters) {
            if *node != self.peers.node() && !nodes.contains(node) && voters.contains(node) && self.peers.reachable(*node) {
                nodes.push(*node);
            }
        }
        let is_worse = |node: &NodeId| {
            let is_emptied = map.nodes.get(node).is_none_or(|row| row.state != NodeState::Up);
            (is_emptied || self.peers.drains(*node), group.lag(*node).is_none_or(|lag| lag > LAG_MAX))
        };
        nodes.sort_by_key(is_worse);
        nodes
    }

    fn is_fit(&self, group: &GroupHandle, map: &ClusterMap, node: NodeId) -> bool {
        let is_up = map.nodes.get(&node).is_some_and(|row| row.state == NodeState::Up);
        is_up && self.peers.reachable(node) && !self.peers.drains(node) && group.lag(node).is_some_and(|lag| lag <= LAG_MAX)
    }
}

impl Hand {
    /// Looks whether somebody else should lead, and hands over. Says whether it did, or tried.
    pub(crate) async fn step(&mut self, group: &GroupHandle, map: &ClusterMap) -> bool {
        let Some(row) = map.groups.get(&group.id()).filter(|_| map.epoch.get() > 0) else { return false };
        let now = self.hands.clock.instant();
        let me = self.hands.peers.node();
        let is_there = |node: &NodeId| map.nodes.get(node).is_none_or(|row| row.state == NodeState::Left) || self.hands.peers.alive(*node);
        if !map.nodes.keys().all(is_there) {
            self.restless = now;
        }
        let first = *self.first.get_or_insert_with(|| row.preference.first().copied().unwrap_or(me));
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        let Some((why, to)) = self.wanted(group, map, row, (first, now)) else { return false };
        tracing::info!(node = %me, group = %group.id(), peer = %to, ?why, "cluster.hand: leadership is handed over");
        if self.hands.give(group, to).await == Some(true) {
            self.hands.metrics.handed.inc();
        } else {
            self.rests_until = Some(self.hands.clock.instant() + REST);
        }
        true
    }

    fn wanted(&self, group: &GroupHandle, map: &ClusterMap, row: &GroupRow, (first, now): (NodeId, Instant)) -> Option<(Why, NodeId)> {
        let (me, hands) = (self.hands.peers.node(), &self.hands);
        let drains = hands.drain.is_on();
        if drains || !row.replicas.contains(&me) {
            let why = if row.replicas.contains(&me) { Why::Drains } else { Why::NoReplica };
            // Who goes as well is no help.
            let fit = |node: &NodeId| row.replicas.contains(node) && hands.is_fit(group, map, *node);
            return hands.candidates(group, map).into_iter().find(fit).map(|to| (why, to));
        }
        let wanted = *row.preference.first()?;
        if wanted == me || !hands.is_fit(group, map, wanted) || !group.members().voters.contains(&wanted) {
            return None;
        }
        let calm = hands.settings.calm();
        let is_calm = now.duration_since(self.began) >= calm && now.duration_since(self.restless) >= calm;
        let is_new = wanted != first;
        (is_new || (hands.settings.balance && is_calm && hands.takes_turn(now))).then_some((Why::Preference, wanted))
    }
}

impl Hands {
    /// One at a time, over all groups of this node.
    fn takes_turn(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = last.is_none_or(|last| now.duration_since(last) >= APART);
        if is_free {
            *last = Some(now);
        }
        is_free
    }
}
