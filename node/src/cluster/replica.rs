//! The replicas of this node: opened as the map says, and the damaged ones rebuilt from their peers.
//!
//! In: the map, damage that the store met. Out: open groups with their duties; replicas in quarantine that are taken out, begun anew, and opened again;
//! replicas that the map gave to others are given up once their groups have let them go. Invariant: a group is made by its first voters only, on
//! its first start; a replica that comes later, or begins anew, waits for its leader; one that may still vote stays open, also over a restart.
//! Every step is tried again. Not here: the leader's side (`controller`), why a rebuild is safe (kith-raft, `rebuild`).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use kith_raft::{GroupHandle, Groups, OpenError, storage::Condition};
use kith_wire::{
    id::{GroupId, NodeId},
    log::{GroupRow, Membership},
};

use super::{birth::Birth, controller::Controller, map::Maps, steward::LayoutMetrics};
use crate::{
    leadership::{self, Duty},
    peer::Peers,
    supervise::Tasks,
};

/// What opens replicas.
#[derive(Clone)]
pub struct Replicas {
    /// This node.
    pub node: NodeId,
    /// Its groups.
    pub groups: Arc<Groups>,
    /// Its map.
    pub maps: Maps,
    /// Links to others.
    pub peers: Peers,
    /// Follows the meta group's rows.
    pub controller: Controller,
    /// What it does as a leader.
    pub duties: Arc<[Arc<dyn Duty>]>,
    /// Counts what was given up.
    pub(crate) metrics: Arc<LayoutMetrics>,
    /// How much longer each next voter of a new group waits before it makes it.
    pub patience: Duration,
    /// Owner of the tasks.
    pub tasks: Tasks,
}

impl Replicas {
    /// Opens what the map gives this node; what is in quarantine is left to [`Replicas::start`].
    ///
    /// # Errors
    /// A group cannot be opened for another reason.
    pub async fn open_all(&self) -> Result<(), OpenError> {
        for row in self.own().into_iter().chain(self.lost()) {
            self.open(&row).await?;
        }
        Ok(())
    }

    /// Goes on opening and rebuilding, until the tasks are cancelled.
    pub fn start(self) {
        self.tasks.clone().spawn("cluster.replicas", self.run());
    }

    async fn run(self) {
        let mut maps = self.maps.watch();
        let mut ticks = tokio::time::interval(STEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // All branches are cancel safe.
            tokio::select! {
                group = self.groups.damaged() => {
                    tracing::error!(node = %self.node, %group, "cluster.replica: damage was met; the replica is closed, and rebuilt from its peers");
                    self.groups.quarantine(group).await;
                }
                _ = ticks.tick() => {}
                changed = maps.changed() => if changed.is_err() { return },
            }
            join_all(self.own().iter().filter(|row| self.groups.get(row.group).is_none()).map(|row| self.bring_back(row))).await;
            join_all(self.lost().iter().map(|row| self.give_up(row))).await;
            self.groups.note_rebuilt().await;
        }
    }

    fn own(&self) -> Vec<GroupRow> {
        self.maps.current().groups.values().filter(|row| row.replicas.contains(&self.node)).cloned().collect()
    }

    /// What the map gives to others, and this node still holds.
    fn lost(&self) -> Vec<GroupRow> {
        let map = self.maps.current();
        if map.epoch.get() == 0 {
            return Vec::new();
        }
        let is_lost = |row: &&GroupRow| !row.replicas.contains(&self.node) && self.groups.holds(row.group);
        map.groups.values().filter(is_lost).cloned().collect()
    }

    async fn give_up(&self, row: &GroupRow) {
        // One that must be handed over first is led until then.
        if self.groups.get(row.group).is_some_and(|group| group.leadership().leader == Some(self.node)) {
            return;
        }
        match self.groups.leave(row.group, &row.replicas.iter().copied().collect()).await {
            Ok(true) => {
                self.metrics.left.inc();
                tracing::info!(node = %self.node, group = %row.group, "cluster.replica: given up; the map gave it to others");
            }
            // It may vote, be it only until the others have it in writing that it may not.
            Ok(false) if self.groups.get(row.group).is_none() => self.bring_back(row).await,
            Ok(false) => {}
            Err(error) => tracing::warn!(node = %self.node, group = %row.group, cause = %error, "cluster.replica: not given up yet"),
        }
    }

    async fn bring_back(&self, row: &GroupRow) {
        if self.groups.condition(row.group) == Condition::Quarantined {
            let others: BTreeSet<NodeId> = row.replicas.iter().copied().collect();
            if let Err(error) = self.groups.withdraw(row.group, &others).await {
                tracing::warn!(node = %self.node, group = %row.group, cause = %error, "cluster.replica: still in quarantine");
                return;
            }
        }
        match self.open(row).await {
            Ok(()) | Err(OpenError::ShuttingDown) => {}
            Err(error) => tracing::warn!(node = %self.node, group = %row.group, cause = %error, "cluster.replica: not opened"),
        }
    }

    async fn open(&self, row: &GroupRow) -> Result<(), OpenError> {
        let initial = Membership { voters: vec![row.replicas.clone()], learners: Vec::new() };
        let is_first = row.conf_epoch <= 1 && self.groups.condition(row.group) == Condition::Sound;
        let alone = is_first && row.replicas.len() == 1;
        let handle = match self.groups.open(row.group, alone.then(|| initial.clone())).await {
            Ok(handle) => handle,
            Err(error @ OpenError::Quarantined { .. }) => {
                tracing::error!(node = %self.node, group = %row.group, cause = %error, "cluster.replica: damaged; it is rebuilt from its peers");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.adopt(&handle);
        if is_first && !alone {
            let rank = row.preference.iter().position(|node| *node == self.node).unwrap_or(row.preference.len());
            let birth = Birth { handle, initial, rank, patience: self.patience, peers: self.peers.clone() };
            self.tasks.spawn("cluster.birth", birth.run());
        }
        Ok(())
    }

    fn adopt(&self, handle: &GroupHandle) {
        leadership::watch(&self.tasks, handle, self.duties.clone());
        if handle.id() == GroupId::META {
            self.controller.follow(handle);
        } else {
            self.controller.follow_owned(handle);
        }
    }
}

/// How often what is missing is tried again.
const STEP: Duration = Duration::from_millis(500);
