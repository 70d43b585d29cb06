//! What can go wrong with a group, one enum per operation.

use std::time::Duration;

use kith_wire::id::{GroupId, NodeId, Term};
use thiserror::Error;

/// Why a proposal has no reply. Final refusals are replies, not errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProposeError {
    /// This node does not lead the group: nothing was proposed.
    #[error("this node does not lead the group")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<NodeId>,
        /// In which term.
        term: Term,
    },
    /// The proposer's queue is full: nothing was proposed.
    #[error("the group's queue is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// It was proposed, but its fate is not known: ask again with the same number.
    #[error("the outcome is not known yet")]
    Unknown,
    /// The group is closed or has failed here.
    #[error("the group has stopped here")]
    Stopped,
}

/// Why a group could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The timers contradict each other.
    #[error("cannot use the raft settings")]
    Config(#[from] openraft::ConfigError),
    /// Its log or state cannot be read, or do not fit each other.
    #[error("cannot load group {group}")]
    Load {
        /// Which group.
        group: GroupId,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its rows are damaged, incomplete or gone: it must be rebuilt from its peers.
    #[error("cannot open group {group}")]
    NotServing {
        /// Which group.
        group: GroupId,
        /// Why.
        #[source]
        reason: kith_storage::NotServing,
    },
    /// Its replica cannot be relied on: it must be taken out of the group by the others first.
    #[error("the replica of group {group} is in quarantine: {cause}")]
    Quarantined {
        /// Which group.
        group: GroupId,
        /// What is damaged.
        cause: String,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}
