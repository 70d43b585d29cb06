//! Which links between the nodes of a cluster carry traffic.
//!
//! In: cuts and heals of a scenario. Out: [`LinkPolicy`], which every node asks for each frame, on both sides. A cut link loses what is
//! sent, silently, as a firewall that drops packets does; connections stay open until somebody gives up on them.

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kith::peer::LinkPolicy;
use kith_wire::id::NodeId;

/// The links of a cluster.
#[derive(Debug, Default)]
pub struct Links {
    cut: RwLock<BTreeSet<(NodeId, NodeId)>>,
}

impl Links {
    /// Nothing passes between the two any more.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.write().extend([(a, b), (b, a)]);
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.write().clear();
    }

    /// The links that are cut, for the report of a scenario that failed.
    pub fn cuts(&self) -> Vec<(NodeId, NodeId)> {
        self.read().iter().copied().filter(|(a, b)| a < b).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeSet<(NodeId, NodeId)>> {
        self.cut.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, BTreeSet<(NodeId, NodeId)>> {
        self.cut.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkPolicy for Links {
    fn allows(&self, from: NodeId, to: NodeId) -> bool {
        !self.read().contains(&(from, to))
    }
}
