//! The groups of a node: opens and closes them on their lanes, and takes in what peers send for them.
//!
//! In: which groups to run; votes, heartbeats, appends, answers and snapshots from peers. Out: handles; answers to peers.
//! Invariants: a group is open at most once; what comes in for a group that is not open is refused, not kept. Whoever spawns awaits:
//! `close` and `shutdown` return when no task of the group is left. Not here: which groups should run (the node, by the map).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use futures_util::future::join_all;
use kith_machine::mutant::Quirk;
use kith_storage::Condition;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{GroupId, NodeId, Term},
    log::{LogId, Membership, Vote},
    peer::{Append, AppendAnswer, AppendResult, Ask, Heartbeat, HeartbeatAnswer, SnapshotHead, Told},
};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    apply::{LogBelow, Machine},
    beat::Beats,
    config::GroupsConfig,
    disk::{Disk, Rows},
    error::OpenError,
    failpoint::FailPoints,
    feed::{FEED_EVENTS_MAX, FeedSender, FeedSource},
    flusher::Flusher,
    group::{Group, GroupHandle, Leadership, LeadershipWatcher},
    inbound::{Answers, Inbound},
    lanes::Lanes,
    log_store::LogStore,
    metrics::RaftMetrics,
    mutant::Hasty,
    network::{Network, SNAPSHOTS_MAX, Shared},
    proposer::{Now, Proposer},
    rebuild::Met,
    recent::Recent,
    runtime,
    served::Ownership,
    session::Sessions,
    snapshot,
    transport::{PeerTransport, SnapshotPart},
    types::{Raft, Types, log_id_in, log_id_out, vote_in, vote_out},
};

/// What a node's groups are made of.
pub struct GroupsOptions {
    /// This node.
    pub node: NodeId,
    /// Names the cluster in openraft's traces.
    pub cluster: String,
    /// Its disk.
    pub storage: Arc<dyn Disk>,
    /// Its links.
    pub transport: Arc<dyn PeerTransport>,
    /// Its threads.
    pub lanes: Arc<Lanes>,
    /// Timers and bounds.
    pub config: GroupsConfig,
    /// Stamps batches.
    pub now: Now,
    /// Where it counts.
    pub metrics: Arc<RaftMetrics>,
    /// Its fail points; an empty value without the feature.
    pub failpoints: FailPoints,
}

/// All groups of a node.
pub struct Groups {
    node: NodeId,
    cluster: String,
    storage: Arc<dyn Disk>,
    lanes: Arc<Lanes>,
    config: GroupsConfig,
    now: Now,
    metrics: Arc<RaftMetrics>,
    failpoints: FailPoints,
    network: Arc<Shared>,
    inbound: Inbound,
    flusher: Flusher,
    open: Mutex<BTreeMap<GroupId, GroupHandle>>,
    /// Snapshots being received at once.
    receiving: Semaphore,
    /// Groups being opened or closed, one at a time.
    changing: tokio::sync::Mutex<()>,
    /// Where the store met damage.
    met: Met,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("node", &self.node).field("open", &self.opened().keys()).finish_non_exhaustive()
    }
}

impl Groups {
    /// A node's groups, none open yet. Starts the flusher.
    pub fn new(options: GroupsOptions) -> Arc<Self> {
        let GroupsOptions { node, cluster, storage, transport, lanes, config, now, metrics, failpoints } = options;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let beats =
            Beats::new(Arc::clone(&transport), Arc::clone(&lanes), tasks.clone(), stop.clone(), config.timers.heartbeat, Arc::clone(&metrics));
        let sessions = Arc::new(Sessions::new(storage.identity().boot.get(), Arc::clone(&metrics)));
        let network = Arc::new(Shared {
            transport,
            sessions,
            beats,
            timers: config.timers,
            snapshots: Semaphore::new(SNAPSHOTS_MAX),
            metrics: Arc::clone(&metrics),
            failpoints: failpoints.clone(),
        });
        let flusher = Flusher::new(Arc::clone(&storage), config.retention);
        let met = Met::default();
        storage.on_damage({
            let met = met.clone();
            Box::new(move |group| met.note(group))
        });
        let groups = Arc::new(Self {
            node,
            cluster,
            storage,
            lanes,
            config,
            now,
            metrics,
            failpoints,
            network,
            inbound: Inbound::default(),
            flusher,
            open: Mutex::default(),
            receiving: Semaphore::new(SNAPSHOTS_MAX),
            changing: tokio::sync::Mutex::default(),
            met,
            tasks,
            stop,
        });
        let lane = groups.lanes.handle(groups.lanes.of_number(node.get())).clone();
        let weak = Arc::downgrade(&groups);
        let interval = groups.config.retention.flush_interval;
        let stop = groups.stop.clone();
        groups.tasks.spawn_on(
            async move {
                while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
                    let Some(groups) = weak.upgrade() else { return };
                    groups.flush().await;
                }
            },
            &lane,
        );
        groups
    }

    /// Opens a group. `initial` makes it when its log is empty; without, it waits for another voter to make it, or for
    /// [`GroupHandle::initialize`].
    ///
    /// # Errors
    /// Its log or state cannot be read, or do not fit each other, or it is in quarantine ([`Groups::withdraw`]); the group stays closed.
    pub async fn open(&self, group: GroupId, initial: Option<Membership>) -> Result<GroupHandle, OpenError> {
        let _changing = self.changing.lock().await;
        if let Some(open) = self.get(group) {
            return Ok(open);
        }
        if self.stop.is_cancelled() {
            return Err(OpenError::ShuttingDown);
        }
        let lane = self.lanes.of_group(group);
        let load = |cause| OpenError::Load { group, cause };
        let config = self.config.openraft(&self.cluster)?;
        // A replica that began anew is made by its group alone, never by itself.
        let initial = match self.storage.condition(group) {
            (Condition::Quarantined, cause) => return Err(OpenError::Quarantined { group, cause: cause.unwrap_or_default() }),
            (Condition::Rebuilding, _) => None,
            (Condition::Sound, _) => initial,
        };
        let state = self.storage.group(group);
        if let Some(reason) = state.refusal() {
            return Err(OpenError::NotServing { group, reason });
        }
        let (applied_term, applied_term_seen) = watch::channel(state.applied().last.map_or_else(Term::default, |id| id.term));
        let recent = Arc::new(Recent::new(self.config.recent, Arc::clone(&self.metrics)));
        let ownership = Arc::<Ownership>::default();
        let feed = FeedSender::new(FEED_EVENTS_MAX);
        let feed_source = feed.source();
        let log_store = LogStore::new(Arc::clone(&self.storage), group, self.failpoints.clone());
        let machine = Machine {
            group,
            storage: Arc::clone(&self.storage),
            state: Arc::clone(&state),
            log: LogBelow::Present,
            applied_term,
            recent: Arc::clone(&recent),
            ownership: Arc::clone(&ownership),
            feed,
            durable: self.flusher.durable(group),
            failpoints: self.failpoints.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let stop = self.stop.child_token();
        let network = Network { group, stop: stop.clone(), shared: Arc::clone(&self.network) };
        let (me, tick) = (self.node.get(), self.config.timers.tick());
        // openraft spawns its tasks where it is made: on the group's lane.
        let made = self.lanes.spawn_on(lane, async move {
            runtime::tick_every(tick);
            let raft =
                Raft::new(me, config, network, log_store, machine).await.map_err(|e| Box::new(e) as Box<dyn std::error::Error + Send + Sync>)?;
            if let Some(initial) = initial {
                initialize(&raft, &initial).await?;
            }
            // Nobody else can lead: no need to wait for a timeout.
            if raft.voter_ids().eq([me]) {
                raft.trigger().elect(false).await?;
            }
            Ok(raft)
        });
        let raft = made.await.map_err(|join| load(Box::new(join)))?.map_err(load)?;
        let handle = self.start(group, Opened { raft, state, recent, ownership, feed: feed_source, applied_term: applied_term_seen, stop });
        self.opened().insert(group, handle.clone());
        tracing::info!(node = %self.node, group = %group, lane = lane.index(), "group opened");
        Ok(handle)
    }

    fn start(&self, group: GroupId, opened: Opened) -> GroupHandle {
        let Opened { raft, state, recent, ownership, feed, applied_term, stop } = opened;
        let (leadership, leadership_seen) = watch::channel(Leadership::default());
        let failed = Arc::new(AtomicBool::new(false));
        // A watch wakes its waiters in random order: the proposer has one of its own, so that a simulation repeats.
        let (to_proposer, proposer_seen) = watch::channel(Leadership::default());
        let proposer = Arc::new(Proposer::new(self.config.proposer, proposer_seen, Arc::clone(&self.metrics), self.failpoints.clone()));
        let hasty = Hasty::new(Arc::clone(&state));
        let handle = GroupHandle(Arc::new(Group {
            id: group,
            me: self.node,
            storage: Arc::downgrade(&self.storage),
            raft: raft.clone(),
            proposer: Arc::clone(&proposer),
            leadership: leadership_seen,
            state,
            recent,
            ownership,
            feed,
            timers: self.config.timers,
            changing: tokio::sync::Mutex::default(),
            lane: self.lanes.handle(self.lanes.of_group(group)).clone(),
            tasks: TaskTracker::new(),
            asks: TaskTracker::new(),
            stop: stop.clone(),
            failed: Arc::clone(&failed),
        }));
        let watcher = LeadershipWatcher {
            group,
            me: self.node,
            raft: raft.clone(),
            applied_term,
            leadership,
            to_proposer,
            failed,
            stop: stop.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let tasks = &handle.0.tasks;
        // These two end by themselves: the one when openraft has stopped, the other when told to.
        tasks.spawn_on(watcher.run(), &handle.0.lane);
        tasks.spawn_on(proposer.run(raft, Arc::clone(&self.now), self.config.timers.propose_overdue, hasty, stop), &handle.0.lane);
        handle
    }

    /// What is wrong with this node; nothing in any build that is shipped.
    pub fn quirk(&self) -> Quirk {
        self.storage.quirk()
    }

    /// An open group.
    pub fn get(&self, group: GroupId) -> Option<GroupHandle> {
        self.opened().get(&group).cloned()
    }

    /// All open groups, by id.
    pub fn all(&self) -> Vec<GroupHandle> {
        self.opened().values().cloned().collect()
    }

    /// Closes a group: its proposers get `Stopped`, its tasks end; its rows and log stay. Returns when all is quiet.
    pub async fn close(&self, group: GroupId) {
        let _changing = self.changing.lock().await;
        let Some(handle) = self.opened().remove(&group) else { return };
        self.inbound.close_group(group);
        close(&handle).await;
        self.flusher.forget(group);
        tracing::info!(node = %self.node, group = %group, "group closed");
    }

    /// Closes all groups and ends the node's own tasks.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let _changing = self.changing.lock().await;
        let all = std::mem::take(&mut *self.opened());
        join_all(all.values().map(close)).await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Flushes the state database and lets logs be purged up to what is durable then; the flusher's round, also for tests.
    pub async fn flush(&self) {
        self.flusher.round(&self.all()).await;
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Disk> {
        &self.storage
    }
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }
    pub(crate) fn metrics(&self) -> &RaftMetrics {
        &self.metrics
    }
    pub(crate) fn transport(&self) -> &Arc<dyn PeerTransport> {
        &self.network.transport
    }
    pub(crate) fn met(&self) -> &Met {
        &self.met
    }

    /// Answers a vote, a transfer of leadership or heartbeats of a peer.
    ///
    /// # Errors
    /// The group is not open here, or this is not for kith-raft.
    pub async fn handle_ask(&self, from: NodeId, ask: Ask) -> Result<Told, Refusal> {
        match ask {
            Ask::Vote { group, vote, last, pre, transfer } => self.vote(group, vote, last, pre, transfer).await,
            Ask::TransferLeader { group, from: leader, to, last } => self.take_leadership(group, leader, to, last).await,
            Ask::Withdraw { group } => self.let_go(from, group).await,
            Ask::IsOut { group } => self.is_out(from, group).await,
            Ask::Heartbeats(heartbeats) => Ok(Told::Heartbeats(join_all(heartbeats.into_iter().map(|beat| self.heartbeat(beat))).await)),
            _ => Err(refusal(Code::Unsupported, format!("node {from} asked raft for something else"))),
        }
    }

    async fn vote(&self, group: GroupId, vote: Vote, last: Option<LogId>, pre: bool, transfer: bool) -> Result<Told, Refusal> {
        let handle = self.wanted(group)?;
        let Some(_asking) = asking(&handle) else { return Err(stopped(group)) };
        let mut request = VoteRequest::new(vote_in(vote), last.map(log_id_in));
        request.leadership_transfer = transfer;
        let answer = if pre { handle.raft().pre_vote(request).await } else { handle.raft().vote(request).await };
        let answer = answer.map_err(|_| stopped(group))?;
        Ok(Told::Vote { vote: vote_out(&answer.vote), granted: answer.vote_granted, last: answer.last_log_id.as_ref().map(log_id_out) })
    }

    async fn take_leadership(&self, group: GroupId, leader: Vote, to: NodeId, last: Option<LogId>) -> Result<Told, Refusal> {
        let handle = self.wanted(group)?;
        let Some(_asking) = asking(&handle) else { return Err(stopped(group)) };
        let request = TransferLeaderRequest::<Types>::new(vote_in(leader), to.get(), last.map(log_id_in));
        match handle.raft().handle_transfer_leader(request).await {
            Ok(Ok(())) => Ok(Told::Done),
            Ok(Err(error)) => Err(refusal(Code::Behind, error.to_string())),
            Err(_) => Err(stopped(group)),
        }
    }

    async fn heartbeat(&self, beat: Heartbeat) -> HeartbeatAnswer {
        let closed = HeartbeatAnswer { group: beat.group, result: AppendResult::Closed };
        let Some(handle) = self.get(beat.group) else { return closed };
        let Some(_asking) = asking(&handle) else { return closed };
        let request = AppendEntriesRequest::<Types> {
            vote: vote_in(beat.vote),
            prev_log_id: beat.prev.map(log_id_in),
            entries: Vec::new(),
            leader_commit: beat.committed.map(log_id_in),
        };
        // A group whose disk is slow must not hold up the answers of the others in this frame.
        let answered = timeout(self.config.timers.heartbeat / 2, handle.raft().append_entries(request)).await;
        let result = match answered {
            Ok(Ok(AppendEntriesResponse::Success)) => AppendResult::Flushed(beat.prev),
            Ok(Ok(AppendEntriesResponse::PartialSuccess(id))) => AppendResult::Flushed(id.as_ref().map(log_id_out)),
            Ok(Ok(AppendEntriesResponse::Conflict)) => AppendResult::Conflict(beat.prev),
            Ok(Ok(AppendEntriesResponse::HigherVote(vote))) => AppendResult::HigherVote(vote_out(&vote)),
            Ok(Err(_)) | Err(_) => return closed,
        };
        HeartbeatAnswer { group: beat.group, result }
    }

    /// Takes an append of a peer's session. `link` grows with each connection of that peer; `answers` must not wait. Calls of one link
    /// must come in the order of its stream.
    pub fn handle_append(&self, from: NodeId, link: u64, append: Append, answers: &Answers) {
        let group = self.get(append.group).filter(|group| !group.has_failed());
        self.inbound.handle_append(from, link, append, group.as_ref(), answers);
    }

    /// The peer has ended a session.
    pub fn handle_append_end(&self, from: NodeId, link: u64, group: GroupId, session: u64) {
        self.inbound.handle_append_end(from, link, group, session);
    }

    /// A connection that a peer made to us is gone, and its sessions with it.
    pub fn handle_append_link_closed(&self, from: NodeId, link: u64) {
        self.inbound.handle_link_closed(from, link);
    }

    /// Takes a peer's answer to an append of ours.
    pub fn handle_appended(&self, from: NodeId, answer: AppendAnswer) {
        self.network.sessions.handle_appended(from, answer);
    }

    /// Our link to a peer is gone: sessions over it fail now.
    pub fn handle_link_down(&self, peer: NodeId) {
        self.network.sessions.handle_link_down(peer);
    }

    /// Our link to a peer is back: replication to it stops backing off.
    pub async fn handle_link_up(&self, peer: NodeId) {
        for group in self.all() {
            // A stopped group has nothing to replicate.
            let _ = group.raft().trigger().reset_backoff([peer.get()]).await;
        }
    }

    /// Receives a snapshot and installs it; `parts` is bounded, and ends early when the link breaks.
    pub async fn handle_snapshot(&self, head: SnapshotHead, parts: mpsc::Receiver<SnapshotPart>) -> AppendResult {
        let Some(group) = self.get(head.group).filter(|group| !group.has_failed()) else { return AppendResult::Closed };
        let Ok(_turn) = self.receiving.acquire().await else { return AppendResult::Closed };
        snapshot::receive(&group, head, parts, &self.failpoints).await
    }

    fn wanted(&self, group: GroupId) -> Result<GroupHandle, Refusal> {
        self.get(group).ok_or_else(|| refusal(Code::NotFound, format!("group {group} is not open here")))
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<GroupId, GroupHandle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn initialize(raft: &Raft, initial: &Membership) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if raft.is_initialized().await? {
        return Ok(());
    }
    let voters = initial.voters.iter().flatten().map(|node| node.get()).collect::<BTreeSet<u64>>();
    raft.initialize(voters).await?;
    Ok(())
}

/// What a group is made of, before its tasks run.
struct Opened {
    raft: Raft,
    state: Arc<dyn Rows>,
    recent: Arc<Recent>,
    ownership: Arc<Ownership>,
    feed: FeedSource,
    applied_term: watch::Receiver<Term>,
    stop: CancellationToken,
}

/// To be held while openraft is asked; `None`: the group stops, and nothing is to be asked any more.
pub(crate) fn asking(handle: &GroupHandle) -> Option<TaskTrackerToken> {
    let token = handle.0.asks.token();
    (!handle.0.stop.is_cancelled()).then_some(token)
}

async fn close(handle: &GroupHandle) {
    handle.0.stop.cancel();
    handle.0.asks.close();
    // A disk that hangs holds up answers for as long as it likes.
    let _ = timeout(2 * handle.0.timers.heartbeat, handle.0.asks.wait()).await;
    if let Err(error) = handle.raft().shutdown().await {
        tracing::error!(group = %handle.id(), cause = %error, "a group did not stop in order");
    }
    handle.0.tasks.close();
    handle.0.tasks.wait().await;
}

fn stopped(group: GroupId) -> Refusal {
    refusal(Code::Draining, format!("group {group} has stopped here"))
}

pub(crate) fn refusal(code: Code, text: String) -> Refusal {
    Refusal { text, ..Refusal::new(code) }
}
