//! openraft's type configuration, and the way between its types and ours: the only place its generics are spelled out.
//!
//! Invariant: a log id is (term, index), as `leader_id_std` has it, so nothing of openraft is ever stored or sent.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use kith_machine::reply::Reply;
use kith_wire::{
    id::{LogIndex, NodeId, Term},
    log,
};
use openraft::{
    EntryPayload,
    alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf},
    entry::RaftEntry,
    impls::leader_id_std,
    vote::RaftLeaderIdExt,
};

/// What a log entry of ours carries: an encoded [`log::Batch`], kept as bytes until it is applied.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch of {} bytes", self.0.len())
    }
}

/// What applying an entry gives its proposer: a reply per item, in order; empty for blank and membership entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies(pub(crate) Vec<Reply>);

openraft::declare_raft_types!(
    /// openraft as we use it.
    pub(crate) Types:
        D = Proposal,
        R = Replies,
        NodeId = u64,
        Node = (),
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = crate::runtime::Runtime,
);

pub(crate) type Raft = openraft::Raft<Types, crate::apply::Machine>;
pub(crate) type RaftLogId = LogIdOf<Types>;
pub(crate) type RaftVote = VoteOf<Types>;
pub(crate) type RaftLogEntry = EntryOf<Types>;
pub(crate) type RaftMembership = openraft::Membership<u64, ()>;
pub(crate) type RaftStoredMembership = StoredMembershipOf<Types>;
pub(crate) type RaftSnapshot = SnapshotOf<Types, crate::snapshot::SnapshotData>;
pub(crate) type RaftSnapshotMeta = SnapshotMetaOf<Types>;

pub(crate) fn log_id_in(id: log::LogId) -> RaftLogId {
    RaftLogId::new(leader_id_std::LeaderId::new_committed(id.term.get(), 0), id.index.get())
}

pub(crate) fn log_id_out(id: &RaftLogId) -> log::LogId {
    log::LogId { term: Term::new(id.leader_id.term), index: LogIndex::new(id.index) }
}

/// A vote of nobody is openraft's vote of node 0, which is no node.
pub(crate) fn vote_in(vote: log::Vote) -> RaftVote {
    let node = vote.node.map_or(0, NodeId::get);
    if vote.committed { RaftVote::new_committed(vote.term.get(), node) } else { RaftVote::new(vote.term.get(), node) }
}

pub(crate) fn vote_out(vote: &RaftVote) -> log::Vote {
    let node = vote.leader_id.voted_for;
    log::Vote { term: Term::new(vote.leader_id.term), node: (node != 0).then(|| NodeId::new(node)), committed: vote.committed }
}

pub(crate) fn membership_in(membership: &log::Membership) -> RaftMembership {
    let voters = membership.voters.iter().map(|set| set.iter().map(|n| n.get()).collect::<BTreeSet<_>>()).collect();
    RaftMembership::new_with_defaults(voters, membership.learners.iter().map(|n| n.get()))
}

pub(crate) fn membership_out(membership: &RaftMembership) -> log::Membership {
    log::Membership {
        voters: membership.get_joint_config().iter().map(|set| set.iter().copied().map(NodeId::new).collect()).collect(),
        learners: membership.learner_ids().map(NodeId::new).collect(),
    }
}

pub(crate) fn entry_in(entry: log::Entry) -> RaftLogEntry {
    let payload = match entry.payload {
        log::Payload::Blank => EntryPayload::Blank,
        log::Payload::Batch(bytes) => EntryPayload::Normal(Proposal(bytes)),
        log::Payload::Membership(membership) => EntryPayload::Membership(membership_in(&membership)),
    };
    RaftLogEntry::new(log_id_in(entry.id), payload)
}

pub(crate) fn entry_out(entry: RaftLogEntry) -> log::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => log::Payload::Blank,
        EntryPayload::Normal(Proposal(bytes)) => log::Payload::Batch(bytes),
        EntryPayload::Membership(membership) => log::Payload::Membership(membership_out(&membership)),
    };
    log::Entry { id: log_id_out(&entry.log_id), payload }
}

/// What the state database holds for a group, as openraft asks for it.
pub(crate) fn applied_in(applied: &log::Applied) -> (Option<RaftLogId>, RaftStoredMembership) {
    let membership = RaftStoredMembership::new(applied.membership_at.map(log_id_in), membership_in(&applied.membership));
    (applied.last.map(log_id_in), membership)
}

pub(crate) fn applied_out(last: Option<&RaftLogId>, membership: &RaftStoredMembership) -> log::Applied {
    log::Applied {
        last: last.map(log_id_out),
        membership_at: membership.log_id().as_ref().map(log_id_out),
        membership: membership_out(membership.membership()),
    }
}

pub(crate) fn snapshot_meta(applied: &log::Applied) -> RaftSnapshotMeta {
    let (last_log_id, last_membership) = applied_in(applied);
    RaftSnapshotMeta { last_log_id, last_membership }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openraft_gets_comes_back_the_same() {
        let id = log::LogId { term: Term::new(7), index: LogIndex::new(9) };
        assert_eq!(log_id_out(&log_id_in(id)), id);
        for (node, committed) in [(None, false), (Some(NodeId::new(3)), false), (Some(NodeId::new(3)), true)] {
            let vote = log::Vote { term: Term::new(5), node, committed };
            assert_eq!(vote_out(&vote_in(vote)), vote);
        }
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId::new).collect::<Vec<_>>();
        let membership = log::Membership { voters: vec![nodes(&[1, 2, 3]), nodes(&[2, 3, 4])], learners: nodes(&[8, 9]) };
        assert_eq!(membership_out(&membership_in(&membership)), membership);
        for payload in [log::Payload::Blank, log::Payload::Batch(Bytes::from_static(b"x")), log::Payload::Membership(membership)] {
            let entry = log::Entry { id, payload };
            assert_eq!(entry_out(entry_in(entry.clone())), entry);
        }
    }
}
