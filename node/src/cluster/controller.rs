//! Keeps the map and the groups in step: what the meta group says, what each group owns, what each node holds.
//!
//! In: leadership, beats, effects of the meta group. Out: proposals (the first map, who was met, ownership), newer maps for this node.
//! Invariant: every step is idempotent and tried again; the rows decide. As a leader it brings the members of its groups to what
//! the map says, and hands its groups to who should lead them ([`hand`]). Not here: what the map should say (`steward`), moving buckets (`mover`), this
//! node's own replicas (`replica`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use kith_machine::{effect::Effect, own::Owned, reply::Reply};
use kith_raft::{FeedError, GroupHandle, Groups};
use kith_wire::{
    code::Code,
    id::{BootEpoch, Bucket, GroupId, NodeId, OwnerEpoch, StoreId, Term},
    limit,
    log::{ClusterMap, Command, NodeRow, RunRow},
    moving::BucketRun,
    peer::{Ask, Told},
    upgrade::ClusterVersion,
};

use super::{
    hand::Hands,
    map::{Maps, run_of},
    mover::Mover,
    steward::{Steward, read},
};
use crate::{leadership::Duty, peer::Peers, supervise::Tasks};

/// What the controller needs.
#[derive(Clone)]
pub struct Controller {
    /// This node.
    pub node: NodeId,
    /// Its data directory and count of starts.
    pub identity: (StoreId, BootEpoch),
    /// The map that the cluster began with.
    pub first_map: Arc<ClusterMap>,
    /// The node's groups.
    pub groups: Arc<Groups>,
    /// Links to others.
    pub peers: Peers,
    /// The node's map.
    pub maps: Maps,
    /// Hands leaderships over.
    pub(crate) hands: Hands,
    /// Looks after nodes and replicas while this node leads the meta group.
    pub(crate) steward: Steward,
    /// Moves buckets out of the groups that this node leads.
    pub(crate) mover: Mover,
    /// Owner of the tasks.
    pub tasks: Tasks,
}

impl Controller {
    /// Starts following the map: from whoever has a newer one.
    pub fn start(&self) {
        self.tasks.spawn("cluster.map_pull", self.clone().follow_peers());
        self.tasks.spawn("cluster.links", self.clone().follow_links());
    }

    /// Follows the meta group's rows, as long as this replica of it is open.
    pub fn follow(&self, meta: &GroupHandle) {
        self.tasks.spawn("cluster.map", self.clone().follow_rows(meta.clone()));
    }

    /// Follows what a group's replica owns, as long as it is open: the map hears of a move from whoever has a replica of either group.
    pub fn follow_owned(&self, group: &GroupHandle) {
        self.tasks.spawn("cluster.owned", self.clone().follow_ownership(group.clone()));
    }

    async fn follow_ownership(self, group: GroupHandle) {
        // Before the first read: what changes after it is heard.
        let mut feed = group.feed();
        loop {
            match group.rows().and_then(|rows| Owned::read(&rows)) {
                Ok(owned) => owned.told(group.id()).filter(|run| run.epoch > OwnerEpoch::FIRST).for_each(|run| {
                    self.maps.learn(run);
                }),
                Err(error) => tracing::debug!(group = %group.id(), cause = %error, "cluster.controller: ownership cannot be read now"),
            }
            loop {
                match tokio::time::timeout(REREAD_OWNED, feed.next()).await {
                    Ok(Ok(event)) if !event.effects.contains(&Effect::OwnershipChanged) => {}
                    Ok(Err(FeedError::Closed)) => return,
                    _ => break,
                }
            }
        }
    }

    async fn follow_rows(self, meta: GroupHandle) {
        let mut feed = meta.feed();
        loop {
            if !meta.is_rebuilding()
                && let Some(map) = read(&meta)
            {
                self.maps.offer(map);
            }
            // An event, or a lag, or nothing for a while: read the rows again.
            if let Ok(Err(FeedError::Closed)) = tokio::time::timeout(REREAD, feed.next()).await {
                return;
            }
        }
    }

    async fn follow_peers(self) {
        let mut ticks = tokio::time::interval(PULL);
        loop {
            ticks.tick().await;
            let Some((node, epoch)) = self.peers.newest_map() else { continue };
            let have = self.maps.current().epoch;
            if epoch <= have {
                continue;
            }
            match self.peers.ask(node, Ask::Map { newer_than: have }, ASK_MAX).await {
                Ok(Told::Map(Some(map))) => {
                    self.maps.offer(map);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(peer = %node, cause = %error, "cluster.map not pulled"),
            }
        }
    }

    async fn follow_links(self) {
        let mut maps = self.maps.watch();
        loop {
            let map = maps.borrow_and_update().clone();
            self.peers.follow(&map);
            if maps.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs while this node leads the meta group.
    async fn lead_meta(self) {
        let mut ticks = tokio::time::interval(STEP);
        let mut hand = self.hands.begin();
        loop {
            ticks.tick().await;
            let Some(meta) = self.groups.get(GroupId::META) else { return };
            propose_all(&meta, self.wanted(&meta)).await;
            let map = self.maps.current();
            if !hand.step(&meta, &map).await {
                reconcile(&meta, &map).await;
            }
        }
    }

    fn wanted(&self, handle: &GroupHandle) -> Vec<Command> {
        let Some(map) = read(handle) else { return Vec::new() };
        let missing = missing_rows(&map, &self.first_map, self.peers.release().own().knows);
        if missing.is_empty() { self.seen_anew(&map).into_iter().collect() } else { missing }
    }

    /// Starts that the map does not know yet. Logged only if the map is still this one: of a node that is being emptied meanwhile nothing is undone.
    fn seen_anew(&self, map: &ClusterMap) -> Option<Command> {
        let met = |node| if node == self.node { Some(self.identity) } else { self.peers.met(node) };
        let release = self.peers.release();
        let knows = |node| if node == self.node { Some(release.own().knows) } else { release.of(node).map(|build| build.knows) };
        let news = |row: &NodeRow| {
            let (store, boot) = met(row.node)?;
            let version = knows(row.node).unwrap_or(row.version);
            let is_same = row.store == Some(store) && boot <= row.boot && version == row.version;
            let known = row.store.is_some_and(|known| known != store) || is_same;
            (!known).then(|| NodeRow { store: Some(store), boot, version, ..row.clone() })
        };
        let nodes: Vec<NodeRow> = map.nodes.values().filter_map(news).take(limit::MAP_CHANGE_ROWS_MAX).collect();
        (!nodes.is_empty()).then(|| Command::ChangeMap { at: map.epoch, nodes, groups: Vec::new(), moves: Vec::new() })
    }

    /// Runs while this node leads a group of data: takes the buckets that the map gives it.
    async fn lead_data(self, group: GroupId) {
        let mut ticks = tokio::time::interval(STEP);
        let mut hand = self.hands.begin();
        loop {
            ticks.tick().await;
            let Some(handle) = self.groups.get(group) else { return };
            let own = |run: RunRow| Command::OwnBuckets { region: run.region, first: run.first, last: run.last, epoch: run.epoch };
            let map = self.maps.current();
            let missing = not_owned(&handle, &map, group);
            propose_all(&handle, missing.into_iter().map(own).collect()).await;
            if !hand.step(&handle, &map).await {
                reconcile(&handle, &map).await;
            }
        }
    }
}

/// The controller's duties of this node as a leader.
pub struct ControllerDuty {
    controller: Controller,
    running: Mutex<BTreeMap<GroupId, Tasks>>,
}

impl ControllerDuty {
    /// None running.
    pub fn new(controller: Controller) -> Self {
        Self { controller, running: Mutex::default() }
    }
}

impl Duty for ControllerDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        let tasks = self.controller.tasks.child();
        let controller = self.controller.clone();
        if group == GroupId::META {
            if let Some(meta) = controller.groups.get(group) {
                tasks.spawn("cluster.steward", controller.steward.clone().run(meta));
            }
            tasks.spawn("cluster.lead_meta", controller.lead_meta());
        } else {
            tasks.spawn("cluster.move", controller.mover.clone().lead(group));
            tasks.spawn("cluster.lead_data", controller.lead_data(group));
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(group, tasks);
    }
    fn end(&self, group: GroupId, _term: Term) {
        if let Some(tasks) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&group) {
            tasks.cancelled().cancel();
        }
    }
}

/// Brings the group's voters one step nearer to what the logged map says.
async fn reconcile(handle: &GroupHandle, map: &ClusterMap) {
    let Some(row) = map.groups.get(&handle.id()).filter(|_| map.epoch.get() > 0) else { return };
    match handle.reconcile(&row.replicas.iter().copied().collect()).await {
        Ok(_) => {}
        Err(error) => tracing::debug!(group = %handle.id(), cause = %error, "cluster.controller: members not changed"),
    }
}

/// What the rows lack of the first map; a new cluster begins at the version that the build of its first leader knows. Only rows that are not there: what has changed since is not put back.
fn missing_rows(map: &ClusterMap, first: &ClusterMap, version: ClusterVersion) -> Vec<Command> {
    let mut commands = Vec::new();
    if map.cluster != first.cluster {
        commands.push(Command::InitCluster { cluster: first.cluster, version });
    }
    let nodes = first.nodes.values().filter(|node| !map.nodes.contains_key(&node.node));
    commands.extend(nodes.map(|node| Command::PutNode { node: node.clone() }));
    let groups = first.groups.values().filter(|group| !map.groups.contains_key(&group.group));
    commands.extend(groups.map(|group| Command::PutGroup { group: group.clone() }));
    let runs = first.runs.values().filter(|run| run_of(map, Bucket { region: run.region, index: run.first }).is_none());
    commands.extend(runs.map(|run| Command::PutRun { run: *run }));
    commands
}

/// Runs that the map gives to the group and its rows do not say it owns.
fn not_owned(handle: &GroupHandle, map: &ClusterMap, group: GroupId) -> Vec<RunRow> {
    let owned = match handle.rows().and_then(|rows| Owned::read(&rows)) {
        Ok(owned) => owned,
        Err(error) => {
            tracing::error!(%group, cause = %error, "cluster.controller: ownership cannot be read");
            return Vec::new();
        }
    };
    // What it owned at that epoch and gave away since is not taken back.
    let known = |run: &RunRow| owned.reached(BucketRun { region: run.region, first: run.first, last: run.last }, run.epoch);
    map.runs.values().filter(|run| run.group == group && !known(run)).copied().collect()
}

/// All in one batch, in order. What fails is wanted again in the next step.
async fn propose_all(group: &GroupHandle, commands: Vec<Command>) {
    let proposals = commands.into_iter().map(|command| group.propose(kith_machine::item(command)));
    for outcome in join_all(proposals).await {
        match outcome {
            // Somebody changed the map meanwhile: it is looked at again.
            Ok(Reply::Rejected(Code::Conflict)) => tracing::debug!(group = %group.id(), "cluster.controller: the map has changed"),
            Ok(Reply::Rejected(code)) => tracing::warn!(group = %group.id(), %code, "cluster.controller: rejected"),
            Ok(_) => {}
            Err(error) => tracing::debug!(group = %group.id(), cause = %error, "cluster.controller: not proposed"),
        }
    }
}

/// How often the rows are read although no event came.
const REREAD: Duration = Duration::from_secs(2);
/// How often beats are looked at for a newer map.
const PULL: Duration = Duration::from_millis(250);
/// For another node to send its map.
const ASK_MAX: Duration = Duration::from_secs(2);
/// Between two looks of a leader.
const STEP: Duration = Duration::from_millis(500);
/// How often what a group owns is read although no event said that it changed.
const REREAD_OWNED: Duration = Duration::from_secs(30);
