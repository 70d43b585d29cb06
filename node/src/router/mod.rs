//! From an id to a place: bucket → group → leader (or nearest replica), at most one hop.
//!
//! In: a bucket and what to do there. Out: its answer, wherever it was done, or a typed refusal. Invariants: what was forwarded is never
//! forwarded again; `NotLeader` and `WrongGroup` are tried again until the deadline; what may have been proposed ends as `OutcomeUnknown`,
//! never as a plain failure. A group that does not own a bucket is asked where it went (`moved`). Not here: what a request means (`service`), who leads (raft; hints here are only hints).

mod lead;
mod locate;
mod moved;

use std::sync::{Arc, OnceLock, Weak};

use futures_util::future::BoxFuture;
use kith_raft::Groups;
use kith_wire::{
    client::{Answer, Page, Pull, Refusal, Request},
    code::Code,
    id::{GroupId, NodeId},
    peer::{Caller, Inner, InnerAnswer},
};
pub use locate::Route;

use crate::{
    clock::{Instant, SharedClock},
    cluster::map::Maps,
    peer::Peers,
};

/// A refusal with the code's own text.
pub fn refuse(code: Code) -> Refusal {
    Refusal::new(code)
}

/// A refusal that says how long to wait.
pub fn refuse_for(code: Code, retry_after_ms: u32) -> Refusal {
    Refusal::new(code).after(retry_after_ms)
}

/// What a node does itself as the leader of a group; implemented by `service`.
pub trait LocalOps: Send + Sync + 'static {
    /// A client's request. Proposes in its first poll, so that requests keep their order.
    fn at_leader(&self, group: GroupId, caller: Caller, request: Request, deadline: Instant) -> BoxFuture<'static, Result<Answer, Refusal>>;
    /// A linearizable pull.
    fn read(&self, group: GroupId, caller: Caller, pull: Pull) -> BoxFuture<'static, Result<Page, Refusal>>;
    /// An operation of the cluster itself.
    fn inner(&self, group: GroupId, inner: Inner, deadline: Instant) -> BoxFuture<'static, Result<InnerAnswer, Refusal>>;
}

/// Finds the way.
#[derive(Clone)]
pub struct Router {
    node: NodeId,
    maps: Maps,
    groups: Arc<Groups>,
    peers: Peers,
    clock: SharedClock,
    ops: Arc<OnceLock<Weak<dyn LocalOps>>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Router({})", self.node)
    }
}

impl Router {
    /// A router without local operations yet.
    pub fn new(node: NodeId, maps: Maps, groups: Arc<Groups>, peers: Peers, clock: SharedClock) -> Self {
        Self { node, maps, groups, peers, clock, ops: Arc::default() }
    }
    /// Says who does what is to be done here. Once.
    pub fn attach(&self, ops: &Arc<dyn LocalOps>) {
        // A second call changes nothing.
        let _ = self.ops.set(Arc::downgrade(ops));
    }
    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }
    /// The node's map.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }
    /// The node's groups.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }
    /// Links to other nodes.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }
    /// Time.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }
    fn ops(&self) -> Result<Arc<dyn LocalOps>, Refusal> {
        self.ops.get().and_then(Weak::upgrade).ok_or_else(|| refuse(Code::Draining))
    }
}
