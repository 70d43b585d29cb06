//! kith-raft: runs many Raft groups in one process: consensus by openraft, state by kith-machine, disks by kith-storage.
//!
//! In: items to log, reads, and what peers send. Out: replies, the applied state at a moment, news of it, and what peers should get.
//! Invariants: a reply means that a quorum has it on the disk and this node has applied it; a group that fails stops alone, a disk that
//! fails stops the node; reads that must be current go through ReadIndex, never through a lease. Bounds: [`config`], and `limit.rs` of
//! kith-wire; every queue refuses or tells, none waits for a laggard.
//! Not here: links, TLS and frames (behind [`transport::PeerTransport`]), users and permissions, where a group should run.
//!
//! Reading order: [`group`] is what the node uses, [`registry`] opens it; `proposer` → openraft → `log_store` → `apply` is a write's way;
//! `network`, `session`, `inbound` and `beat` are the way between nodes; `flusher` and `snapshot` keep logs short.

mod apply;
mod asker;
mod beat;
pub mod config;
#[cfg(test)]
mod conformance;
pub mod disk;
pub mod error;
pub mod failpoint;
pub mod feed;
mod flusher;
pub mod group;
mod inbound;
pub mod lanes;
mod log_store;
pub mod metrics;
mod mutant;
mod network;
mod proposer;
pub mod rebuild;
pub mod recent;
pub mod registry;
mod runtime;
mod served;
mod session;
mod snapshot;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;
mod types;
#[cfg(feature = "testing")]
mod watch;

pub use config::{GroupsConfig, ProposerLimits, Retention, Timers};
pub use disk::{Disk, Reader};
pub use error::{OpenError, ProposeError};
pub use failpoint::FailPoints;
pub use feed::{AppliedEvent, Feed, FeedError};
pub use group::{GroupHandle, GroupStatus, Leadership, Logged};
pub use inbound::Answers;
pub use lanes::{LaneId, Lanes};
pub use metrics::{QueueReject, RaftMetrics};
pub use proposer::Now;
pub use rebuild::{Members, WithdrawError};
pub use recent::{Recent, RecentLimits};
pub use registry::{Groups, GroupsOptions};
pub use transport::{PeerTransport, SnapshotPart, SnapshotReadError, SnapshotSource, TransportError};

/// The node's disk, for whoever composes a node.
pub mod storage {
    pub use kith_storage::{Condition, FatalError, Identity, LocalError, NotServing, OpenError, Options, Storage, check};
}
