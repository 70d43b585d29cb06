//! The way back of a damaged replica: out of its group, begun anew, in again as a learner, a voter once it has caught up.
//!
//! In: damage that the store met, the members that a group should have. Out: asks to the others, membership changes as a leader.
//! Why it is safe: openraft knows a voter by its node id alone, so a replica that lost its vote or what it has acknowledged must not vote as the one
//! it was. It stays closed (no votes, no answers, no reads) until a leader that a quorum has just confirmed says that the group, by joint
//! consensus among the others, has committed that it is out. A candidate or leader that has not heard of that lacks an entry that a majority
//! of the others has, so the vote of the one that began anew can never complete its majority. It then begins with the leader's vote, empty, and
//! comes in as any new member: [`GroupHandle::reconcile`].
//! Not here: what is damaged and the stages on the disk (kith-storage), which members a group should have (the node, by the map).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_storage::Condition;
use kith_wire::{
    client::Refusal,
    code::Code,
    id::{GroupId, LogIndex, NodeId},
    log::Vote,
    peer::{Ask, Told},
};
use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver as _};
use thiserror::Error;
use tokio::{sync::Notify, task::spawn_blocking, time::timeout};

use crate::{
    error::ProposeError,
    group::GroupHandle,
    registry::{Groups, refusal},
    transport::TransportError,
    types::{log_id_out, vote_out},
};

/// Entries that a learner may lack when it is made a voter.
const CAUGHT_UP: u64 = 256;
/// For the others to commit that a replica is out.
const WITHDRAW_MAX: Duration = Duration::from_secs(5);

/// Why a quarantined replica is not out of its group yet. Try again.
#[derive(Debug, Error)]
pub enum WithdrawError {
    /// Nobody of those asked leads the group now.
    #[error("no other replica of group {0} takes this one out")]
    NoLeader(GroupId),
    /// There is no other replica.
    #[error("group {0} has no other replica to be rebuilt from")]
    Alone(GroupId),
    /// The store has failed.
    #[error("cannot begin the replica anew")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Groups in which damage was met, until somebody takes them.
#[derive(Clone, Default)]
pub(crate) struct Met {
    groups: Arc<Mutex<VecDeque<GroupId>>>,
    some: Arc<Notify>,
}

impl Met {
    /// Each group once, as the store tells: bounded by the groups of the node.
    pub(crate) fn note(&self, group: GroupId) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).push_back(group);
        self.some.notify_one();
    }

    async fn next(&self) -> GroupId {
        loop {
            let next = self.groups.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(group) => return group,
                None => self.some.notified().await,
            }
        }
    }
}

/// A group's members, as one of its replicas knows them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Of all sets in force.
    pub voters: BTreeSet<NodeId>,
    /// Who does not vote.
    pub learners: BTreeSet<NodeId>,
    /// The last change is over: committed, and applied here.
    pub settled: bool,
}

impl Groups {
    /// The next group in which damage was met while it ran: [`Groups::quarantine`] it. Cancel safe.
    pub async fn damaged(&self) -> GroupId {
        self.met().next().await
    }

    /// Whether a group's replica can be relied on.
    pub fn condition(&self, group: GroupId) -> Condition {
        self.storage().condition(group).0
    }

    /// Whether there is a replica of the group here that can be relied on: an open one, or one on the disk.
    pub fn holds(&self, group: GroupId) -> bool {
        self.get(group).is_some() || (self.condition(group) == Condition::Sound && self.storage().holds(group))
    }

    /// About how many bytes a group's replica takes on this node's disk.
    pub fn bytes(&self, group: GroupId) -> u64 {
        self.storage().bytes(group)
    }

    /// Closes a group and keeps it closed until the others have taken this replica out of it.
    pub async fn quarantine(&self, group: GroupId) {
        self.close(group).await;
        let storage = Arc::clone(self.storage());
        match spawn_blocking(move || storage.quarantine(group, "damage was met while it ran")).await {
            Ok(Ok(())) => {}
            // The damage is there to be met again; until then the store keeps it in quarantine, or has failed as a whole.
            Ok(Err(error)) => tracing::error!(%group, cause = %error, "raft.rebuild: a quarantine was not written"),
            Err(join) => tracing::error!(%group, cause = %join, "raft.rebuild: writing a quarantine panicked"),
        }
    }

    /// Has the others take this node's quarantined replica out of the group, and begins it anew. Then open the group.
    ///
    /// # Errors
    /// It is not out yet; nothing has changed here.
    pub async fn withdraw(&self, group: GroupId, others: &BTreeSet<NodeId>) -> Result<(), WithdrawError> {
        let mut asked = BTreeSet::from([self.node()]);
        let mut next: VecDeque<NodeId> = others.iter().copied().filter(|node| *node != self.node()).collect();
        if next.is_empty() {
            return Err(WithdrawError::Alone(group));
        }
        while let Some(peer) = next.pop_front() {
            if !asked.insert(peer) {
                continue;
            }
            match self.transport().ask(peer, Ask::Withdraw { group }, WITHDRAW_MAX).await {
                Ok(Told::Vote { vote, granted: true, last: Some(out) }) => {
                    self.begin_anew(group, vote, out.index).await?;
                    self.metrics().rebuilds_begun.inc();
                    tracing::warn!(node = %self.node(), %group, "raft.rebuild: the replica is out of its group and begins anew");
                    return Ok(());
                }
                Err(TransportError::Refused(_, Refusal { leader: Some(leader), .. })) => next.push_front(leader),
                Ok(_) | Err(_) => {}
            }
        }
        Err(WithdrawError::NoLeader(group))
    }

    /// Gives up a replica that the map no longer gives this node: once a leader says that it is out, it is closed and all of it is forgotten, but for
    /// what it must not vote against. Says whether that was done; it is safe to try at any time. One that was closed and is not out after all has to be
    /// opened again.
    ///
    /// # Errors
    /// The store has failed.
    pub async fn leave(&self, group: GroupId, others: &BTreeSet<NodeId>) -> Result<bool, WithdrawError> {
        if self.out_of(group, others).await.is_none() {
            return Ok(false);
        }
        // Open, it could come in again and acknowledge what is then forgotten: what counts is an answer that is given while it is closed.
        self.close(group).await;
        let Some((vote, out)) = self.out_of(group, others).await else { return Ok(false) };
        self.begin_anew(group, vote, out).await?;
        Ok(true)
    }

    async fn out_of(&self, group: GroupId, others: &BTreeSet<NodeId>) -> Option<(Vote, LogIndex)> {
        let mut asked = BTreeSet::from([self.node()]);
        let mut next: VecDeque<NodeId> = others.iter().copied().collect();
        while let Some(peer) = next.pop_front() {
            if !asked.insert(peer) {
                continue;
            }
            match self.transport().ask(peer, Ask::IsOut { group }, WITHDRAW_MAX).await {
                Ok(Told::Vote { vote, granted: true, last: Some(out) }) => return Some((vote, out.index)),
                Ok(Told::Vote { .. }) => return None,
                Err(TransportError::Refused(_, Refusal { leader: Some(leader), .. })) => next.push_front(leader),
                Ok(_) | Err(_) => {}
            }
        }
        None
    }

    /// As a leader: whether a peer is out of the group, as its members have committed it.
    pub(crate) async fn is_out(&self, from: NodeId, group: GroupId) -> Result<Told, Refusal> {
        let handle = self.get(group).ok_or_else(|| refusal(Code::NotFound, format!("group {group} is not open here")))?;
        let confirmed = timeout(WITHDRAW_MAX, handle.read_barrier()).await;
        match confirmed {
            Ok(Ok(())) => {}
            Ok(Err(ProposeError::NotLeader { leader, .. })) => return Err(Refusal::not_leader(leader)),
            Ok(Err(error)) => return Err(refusal(Code::Busy, error.to_string())),
            Err(_) => return Err(refusal(Code::Timeout, "the others did not confirm it in time".into())),
        }
        let Members { voters, learners, settled } = handle.members();
        let metrics = handle.raft().metrics();
        let metrics = metrics.borrow_watched();
        let out = metrics.membership_config.log_id().as_ref().map(log_id_out);
        let granted = settled && !voters.contains(&from) && !learners.contains(&from);
        Ok(Told::Vote { vote: vote_out(&metrics.vote), granted, last: out })
    }

    async fn begin_anew(&self, group: GroupId, vote: Vote, out: LogIndex) -> Result<(), WithdrawError> {
        let storage = Arc::clone(self.storage());
        let begun = spawn_blocking(move || storage.begin_anew(group, vote, out)).await;
        begun.map_err(|join| WithdrawError::Store(Box::new(join)))?.map_err(|error| WithdrawError::Store(Box::new(error)))?;
        Ok(())
    }

    /// As a leader: takes a peer's replica out, at its own wish.
    pub(crate) async fn let_go(&self, from: NodeId, group: GroupId) -> Result<Told, Refusal> {
        let handle = self.get(group).ok_or_else(|| refusal(Code::NotFound, format!("group {group} is not open here")))?;
        let not_led = |error: ProposeError| match error {
            ProposeError::NotLeader { leader, .. } => Refusal::not_leader(leader),
            other => refusal(Code::Busy, other.to_string()),
        };
        let out = async {
            // From the answer on the peer forgets what it has promised: this must be the leader, now, not one that has been succeeded.
            handle.read_barrier().await.map_err(not_led)?;
            let _changing = handle.0.changing.lock().await;
            let Members { voters, learners, settled } = handle.members();
            if !settled {
                return Err(refusal(Code::Busy, format!("group {group} is changing its members")));
            }
            if voters.contains(&from) {
                tracing::warn!(%group, peer = %from, "raft.rebuild: a damaged replica is taken out of its group");
                let rest = voters.into_iter().filter(|node| *node != from).collect();
                handle.change_membership(rest).await.map_err(not_led)?;
            } else if learners.contains(&from) {
                // Its progress begins anew with it.
                handle.remove_learners(BTreeSet::from([from])).await.map_err(not_led)?;
            }
            Ok(())
        };
        timeout(WITHDRAW_MAX, out).await.unwrap_or_else(|_| Err(refusal(Code::Timeout, "the others did not commit it in time".into())))?;
        let metrics = handle.raft().metrics();
        let metrics = metrics.borrow_watched();
        let out = metrics.membership_config.log_id().as_ref().map(log_id_out);
        Ok(Told::Vote { vote: vote_out(&metrics.vote), granted: true, last: out })
    }

    /// Notes that replicas which were begun anew are voters again. Cheap; call it now and then.
    pub async fn note_rebuilt(&self) {
        for handle in self.all() {
            let group = handle.id();
            if self.condition(group) != Condition::Rebuilding || handle.has_failed() {
                continue;
            }
            let applied = handle.0.state.applied();
            // Before that entry, its old membership says that it is a voter.
            let knows_that_it_was_out = applied.last.map(|id| id.index) >= self.storage().taken_out(group);
            let is_voter = !applied.membership.voters.is_empty() && applied.membership.voters.iter().all(|set| set.contains(&self.node()));
            if !(is_voter && knows_that_it_was_out) {
                continue;
            }
            let storage = Arc::clone(self.storage());
            match spawn_blocking(move || storage.rebuilt(group)).await {
                Ok(Ok(())) => drop(self.metrics().rebuilds_done.inc()),
                Ok(Err(error)) => tracing::warn!(%group, cause = %error, "raft.rebuild: the end of a rebuild was not written"),
                Err(join) => tracing::error!(%group, cause = %join, "raft.rebuild: writing the end of a rebuild panicked"),
            }
        }
    }
}

impl GroupHandle {
    /// Who is in the group, as this replica knows it.
    pub fn members(&self) -> Members {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let stored = &metrics.membership_config;
        let voters = stored.membership().voter_ids().map(NodeId::new).collect();
        let learners = stored.membership().learner_ids().map(NodeId::new).collect();
        let is_joint = stored.membership().get_joint_config().len() > 1;
        let at = stored.log_id().as_ref().map(|id| id.index);
        Members { voters, learners, settled: !is_joint && at <= metrics.last_applied.as_ref().map(|id| id.index) }
    }

    /// As a leader: how many entries of this log a member is known to lack; `None`: it is no member, nothing is known, or this node does not lead.
    pub fn lag(&self, node: NodeId) -> Option<u64> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = metrics.replication.as_ref()?.get(&node.get())?.as_ref()?.index;
        Some(last.saturating_sub(matched))
    }

    async fn remove_learners(&self, nodes: BTreeSet<NodeId>) -> Result<(), ProposeError> {
        let change = ChangeMembers::RemoveNodes(nodes.into_iter().map(NodeId::get).collect());
        self.changed(self.raft().change_membership(change, true).await.map(drop))
    }

    /// As a leader: brings the group's voters one step nearer to these: first learners, then, once they have caught up, voters; who is not wanted
    /// goes when all others are there, so that there are never fewer that have caught up. A leader does not take itself out: it has to hand
    /// over first ([`GroupHandle::transfer`]), to one of these that votes. Says whether they are the voters.
    ///
    /// # Errors
    /// This node does not lead, or another change is under way.
    pub async fn reconcile(&self, wanted: &BTreeSet<NodeId>) -> Result<bool, ProposeError> {
        if !self.leadership().serving {
            return Err(crate::proposer::not_leader(self.leadership()));
        }
        let Ok(_changing) = self.0.changing.try_lock() else { return Ok(false) };
        let Members { voters, learners, settled } = self.members();
        if voters == *wanted && learners.is_empty() && settled {
            return Ok(true);
        }
        let is_joint = self.raft().metrics().borrow_watched().membership_config.membership().get_joint_config().len() > 1;
        if is_joint {
            // A leader was lost in the middle: the newer set is gone on with.
            let newer = self.raft().metrics().borrow_watched().membership_config.membership().get_joint_config().last().cloned();
            let newer = newer.unwrap_or_default().into_iter().map(NodeId::new).collect();
            self.change_membership(newer).await?;
            return Ok(false);
        }
        if !settled {
            return Ok(false);
        }
        if let Some(new) = wanted.iter().find(|node| !voters.contains(node) && !learners.contains(node)) {
            self.add_learner(*new).await?;
            return Ok(false);
        }
        let has_caught_up = |node: &NodeId| self.lag(*node).is_some_and(|lag| lag <= CAUGHT_UP);
        let progress: BTreeSet<NodeId> = wanted.iter().copied().filter(|node| learners.contains(node) && has_caught_up(node)).collect();
        let ready: BTreeSet<NodeId> = wanted.iter().copied().filter(|node| voters.contains(node) || progress.contains(node)).collect();
        if ready == *wanted && voters != *wanted && wanted.contains(&self.0.me) {
            self.change_membership(ready).await?;
        } else if !progress.is_empty() {
            self.change_membership(voters.union(&progress).copied().collect()).await?;
        } else if let Some(gone) = learners.iter().find(|node| !wanted.contains(node)) {
            self.remove_learners(BTreeSet::from([*gone])).await?;
        }
        Ok(false)
    }
}
