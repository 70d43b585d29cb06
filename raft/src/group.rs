//! One replica of a group, as the rest of the node sees it: propose, read barrier, leadership, transfer, reads, feed.
//!
//! In: items to log, reads. Out: replies, a view of the applied state, news. Invariants: `serving` is true only on a leader that has
//! applied the first entry of its term, so its state holds everything that any leader before it has acknowledged; a handle outlives its
//! group and then says `Stopped`. Bounds: see the proposer, `recent` and `feed`. Not here: opening and closing (`registry`).

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use kith_machine::{
    mutant::{Mutant, Quirk},
    reply::Reply,
    view::{Row, RowKey, StateView, ViewError},
};
use kith_storage::{Condition, NotServing};
use kith_wire::{
    id::{GroupId, LogIndex, NodeId, Term},
    log::{Entry, Item, LogId, Membership},
};
use openraft::{
    ReadPolicy,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, ForwardToLeader, LinearizableReadError, RaftError},
};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    config::Timers,
    disk::{Disk, Reader, Rows},
    error::ProposeError,
    feed::{Feed, FeedSource},
    metrics::RaftMetrics,
    proposer::{Proposer, not_leader},
    recent::Recent,
    served::Ownership,
    types::{Raft, Types, membership_out},
};

/// Who leads a group, as this node knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// The leader; `None` while there is none or nobody has told us.
    pub leader: Option<NodeId>,
    /// The term this is about.
    pub term: Term,
    /// This node leads, and has applied the first entry of its term.
    pub serving: bool,
}

/// A replica's state at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: Term,
    /// Last entry of the log, applied or not.
    pub last: Option<LogIndex>,
    /// Last entry that is no longer in the log: who lacks it needs a snapshot.
    pub purged: Option<LogIndex>,
    /// Last entry applied.
    pub applied: Option<LogId>,
    /// Of everything applied.
    pub digest: [u8; 32],
    /// Members.
    pub membership: Membership,
    /// It stopped with an error and serves no more.
    pub failed: bool,
}

/// What of a log is asked for, by who did not hear of it when it was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged {
    /// Rising, without a hole.
    Entries(Vec<Entry>),
    /// Not all of it is kept any more: the rows say what became of it.
    Gone,
}

pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) me: NodeId,
    /// A handle outlives its group, and must not hold the store.
    pub(crate) storage: Weak<dyn Disk>,
    pub(crate) raft: Raft,
    pub(crate) proposer: Arc<Proposer>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) state: Arc<dyn Rows>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) feed: FeedSource,
    pub(crate) timers: Timers,
    /// Held from looking at the members until a change of them has ended: two ways lead there, the map's and a damaged peer's.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) lane: Handle,
    pub(crate) tasks: TaskTracker,
    /// Peers' questions that openraft was asked and has not answered: it says an ERROR of each that is there when it ends.
    pub(crate) asks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) failed: Arc<AtomicBool>,
}

/// A replica of a group; clones are the same replica.
#[derive(Clone)]
pub struct GroupHandle(pub(crate) Arc<Group>);

impl fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupHandle({})", self.0.id)
    }
}

impl GroupHandle {
    /// Which group.
    pub fn id(&self) -> GroupId {
        self.0.id
    }

    /// Logs an item and gives its reply once it is committed and applied here. Dropping the future does not take the item back.
    ///
    /// # Errors
    /// See [`ProposeError`]; only `Unknown` leaves open whether it was logged.
    pub async fn propose(&self, item: Item) -> Result<Reply, ProposeError> {
        let span = tracing::debug_span!("raft.propose", node = %self.0.me, group = %self.0.id);
        self.0.proposer.propose(self.0.me, item).instrument(span).await
    }

    /// [`Self::propose`] for several items, which keep their order; each has an answer of its own, at its place.
    pub async fn propose_many(&self, items: Vec<Item>) -> Vec<Result<Reply, ProposeError>> {
        let span = tracing::debug_span!("raft.propose", node = %self.0.me, group = %self.0.id, items = items.len());
        self.0.proposer.propose_many(self.0.me, items).instrument(span).await
    }

    /// Who leads now, and every change of it.
    pub fn leader(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// Who leads now.
    pub fn leadership(&self) -> Leadership {
        *self.0.leadership.borrow()
    }

    /// Waits until this node has proved that it still leads and has applied all that was committed when this was called (ReadIndex):
    /// a read after it sees every write acknowledged before it.
    ///
    /// # Errors
    /// `NotLeader` also when a quorum does not confirm in time.
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        if self.quirk().is(Mutant::ReadWithoutIndex) {
            return Ok(());
        }
        let lead = self.leadership();
        let confirmed = timeout(self.0.timers.election_max, self.0.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await;
        match confirmed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(ForwardToLeader { leader_id, .. })))) => {
                Err(ProposeError::NotLeader { leader: leader_id.map(NodeId::new), term: lead.term })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                Err(ProposeError::NotLeader { leader: None, term: lead.term })
            }
            Ok(Err(RaftError::Fatal(_))) => Err(ProposeError::Stopped),
        }
    }

    /// What is wrong with this node; nothing in any build that is shipped.
    pub fn quirk(&self) -> Quirk {
        self.0.state.quirk()
    }

    /// Hands leadership to another voter; the leadership watch tells whether it took it.
    ///
    /// # Errors
    /// This node does not lead, or the group has stopped.
    pub async fn transfer(&self, to: NodeId) -> Result<(), ProposeError> {
        let lead = self.leadership();
        if lead.leader != Some(self.0.me) {
            return Err(not_leader(lead));
        }
        self.0.raft.trigger().transfer_leader(to.get()).await.map_err(|_| ProposeError::Stopped)
    }

    /// The applied state at this moment, as far as the group owns it; never goes on. Of a bucket that is on its way here, or that was given away,
    /// rows are another group's to show ([`ViewError::is_not_owned`]), and a walk over the whole group passes over them.
    ///
    /// # Errors
    /// As [`GroupHandle::rows`].
    pub fn reader(&self) -> Result<Reader, ViewError> {
        self.0.ownership.served(self.rows()?)
    }

    /// All rows at this moment, whoever owns them: for who moves or counts them.
    ///
    /// # Errors
    /// The group serves nothing now: its state is being replaced by a snapshot, or it is not a voter yet after it began anew.
    pub fn rows(&self) -> Result<Reader, ViewError> {
        if self.is_rebuilding() {
            return Err(ViewError { key: "reader".to_owned(), cause: Arc::new(NotServing::Rebuilding) });
        }
        Arc::clone(&self.0.state).reader()
    }

    /// Whether it was begun anew after damage, and has not caught up yet.
    pub fn is_rebuilding(&self) -> bool {
        self.0.storage.upgrade().is_some_and(|storage| storage.condition(self.0.id).0 == Condition::Rebuilding)
    }

    /// The newest records of the group's busiest channels.
    pub fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Effects of all entries applied from now on.
    pub fn feed(&self) -> Feed {
        self.0.feed.subscribe()
    }

    /// Logged entries after one, up to another that is applied here: as many as fit these bytes, at least one, rising, without a hole. May block.
    ///
    /// # Errors
    /// The log cannot be read, or the group is closed.
    pub fn logged(&self, after: LogIndex, upto: LogIndex, bytes_max: usize) -> Result<Logged, ViewError> {
        let broken = |cause: Arc<dyn std::error::Error + Send + Sync>| ViewError { key: "log".to_owned(), cause };
        let storage = self.0.storage.upgrade().ok_or_else(|| broken(Arc::new(ProposeError::Stopped)))?;
        let log = storage.log();
        let is_gone = || log.bounds(self.0.id).purged.is_some_and(|purged| purged.index > after);
        if is_gone() {
            return Ok(Logged::Gone);
        }
        if after >= upto {
            return Ok(Logged::Entries(Vec::new()));
        }
        match log.read(self.0.id, LogIndex::new(after.get() + 1)..=upto, bytes_max) {
            Ok(entries) => Ok(Logged::Entries(entries)),
            // They went meanwhile.
            Err(_) if is_gone() => Ok(Logged::Gone),
            Err(error) => Err(broken(Arc::new(error))),
        }
    }

    /// Entries of the log, ever, applied or not.
    pub fn entries(&self) -> u64 {
        self.0.raft.metrics().borrow_watched().last_log_index.map_or(0, |last| last + 1)
    }

    /// The replica's state now.
    ///
    /// # Errors
    /// The group's own row cannot be read.
    pub fn status(&self) -> Result<GroupStatus, ViewError> {
        let reader = Arc::clone(&self.0.state).reader()?;
        let digest = match reader.get(&RowKey::GroupState)?.as_deref() {
            Some(Row::GroupState(row)) => row.digest,
            _ => [0; 32],
        };
        let applied = reader.applied().clone();
        let metrics = self.0.raft.metrics().borrow_watched().clone();
        let lead = self.leadership();
        Ok(GroupStatus {
            group: self.0.id,
            leader: lead.leader,
            term: lead.term,
            last: metrics.last_log_index.map(LogIndex::new),
            purged: metrics.purged.map(|id| LogIndex::new(id.index)),
            applied: applied.last,
            digest,
            membership: membership_out(metrics.membership_config.membership()),
            failed: self.has_failed(),
        })
    }

    /// Whether it stopped with an error.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Acquire)
    }

    /// Makes a group that was opened without an initial membership; one that exists already is left as it is. One voter's call is
    /// enough, and two at once only split the first vote.
    ///
    /// # Errors
    /// The group has stopped.
    pub async fn initialize(&self, initial: &Membership) -> Result<(), ProposeError> {
        let Some(_asking) = crate::registry::asking(self) else { return Err(ProposeError::Stopped) };
        crate::registry::initialize(&self.0.raft, initial).await.map_err(|error| {
            tracing::warn!(group = %self.id(), cause = %error, "the group could not be made");
            ProposeError::Stopped
        })
    }

    /// Whether the group has been made: its log has a membership.
    ///
    /// # Errors
    /// The group has stopped.
    pub async fn is_initialized(&self) -> Result<bool, ProposeError> {
        let Some(_asking) = crate::registry::asking(self) else { return Err(ProposeError::Stopped) };
        self.0.raft.is_initialized().await.map_err(|_| ProposeError::Stopped)
    }

    /// Adds a replica that does not vote and waits until it is in the log, not until it has caught up.
    ///
    /// # Errors
    /// This node does not lead, or another change is under way (`Busy`).
    pub async fn add_learner(&self, node: NodeId) -> Result<(), ProposeError> {
        self.changed(self.0.raft.add_learner(node.get(), (), false).await.map(drop))
    }

    /// Replaces the voters by joint consensus; those left out are removed. New voters must be learners.
    ///
    /// # Errors
    /// This node does not lead, or another change is under way (`Busy`).
    pub async fn change_membership(&self, voters: BTreeSet<NodeId>) -> Result<(), ProposeError> {
        let voters = voters.into_iter().map(NodeId::get).collect::<BTreeSet<_>>();
        self.changed(self.0.raft.change_membership(voters, false).await.map(drop))
    }

    pub(crate) fn changed(&self, result: Result<(), RaftError<Types, ClientWriteError<Types>>>) -> Result<(), ProposeError> {
        let lead = self.leadership();
        match result {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, .. }))) => {
                Err(ProposeError::NotLeader { leader: leader_id.map(NodeId::new), term: lead.term })
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::Unknown),
            Err(RaftError::APIError(_)) => Err(ProposeError::Busy { retry_after: self.0.timers.heartbeat }),
            Err(RaftError::Fatal(_)) => Err(ProposeError::Stopped),
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    /// Runs a task of the group on its lane; it is dropped when the group closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        let task = async move {
            let _ = stop.run_until_cancelled_owned(task).await;
        };
        self.0.tasks.spawn_on(task, &self.0.lane);
    }
}

/// Keeps the leadership watch of a group true, until openraft stops.
pub(crate) struct LeadershipWatcher {
    pub(crate) group: GroupId,
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    /// Term of the last entry applied.
    pub(crate) applied_term: watch::Receiver<Term>,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// The same, before everybody else.
    pub(crate) to_proposer: watch::Sender<Leadership>,
    pub(crate) failed: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Arc<RaftMetrics>,
}

impl LeadershipWatcher {
    pub(crate) async fn run(mut self) {
        let mut server = self.raft.server_metrics();
        loop {
            let now = {
                let server = server.borrow_and_update();
                (server.vote.leader_id.term, server.current_leader)
            };
            self.publish(now);
            // Both branches are cancel safe. Biased, so that a simulation repeats.
            tokio::select! {
                biased;
                changed = server.changed() => if changed.is_err() { break },
                changed = self.applied_term.changed() => if changed.is_err() { break },
            }
        }
        let term = self.leadership.borrow().term.get();
        self.publish((term, None));
        if !self.stop.is_cancelled() {
            self.failed.store(true, Ordering::Release);
            self.metrics.failed_groups.inc();
            let state = self.raft.metrics().borrow_watched().running_state.clone();
            tracing::error!(group = %self.group, cause = ?state.err(), "a group has stopped with an error");
        }
    }

    fn publish(&mut self, (term, leader): (u64, Option<u64>)) {
        let term = Term::new(term);
        let leader = leader.map(NodeId::new);
        let applied_term = *self.applied_term.borrow_and_update();
        let next = Leadership { leader, term, serving: leader == Some(self.me) && applied_term == term };
        let before = *self.leadership.borrow();
        if before == next {
            return;
        }
        self.to_proposer.send_replace(next);
        self.leadership.send_replace(next);
        match (before.leader == Some(self.me), leader == Some(self.me)) {
            (false, true) => drop(self.metrics.led_groups.inc()),
            (true, false) => drop(self.metrics.led_groups.dec()),
            _ => {}
        }
        if (before.leader, before.term) != (leader, term) {
            tracing::info!(node = %self.me, group = %self.group, term = %term, leader = ?leader.map(NodeId::get), "leadership changed");
        }
    }
}
