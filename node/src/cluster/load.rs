//! What this node tells the meta group's leader: room, sessions, the groups that it leads, whom it does not hear.
//!
//! In: the node's parts. Out: a [`NodeLoad`] of this moment. Soft state: nothing correct hangs on it alone. Bound: one line for each group led and
//! for each silent node. Not here: what is made of it (`survey`).

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use kith_raft::{GroupHandle, Groups, Members};
use kith_wire::{
    layout::{LedGroup, NodeLoad},
    log::NodeState,
};

use super::{drain::Drain, map::Maps};
use crate::peer::Peers;

/// How many sessions this node holds.
pub(crate) type SessionCount = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Tells what this node knows.
#[derive(Clone)]
pub struct OwnLoad {
    pub(crate) groups: Arc<Groups>,
    pub(crate) maps: Maps,
    pub(crate) peers: Peers,
    pub(crate) drain: Drain,
    /// Where its data lies.
    pub(crate) data: PathBuf,
    /// How many it can hold.
    pub(crate) sessions_max: u64,
    /// Set once, when the part that knows it is there.
    pub(crate) sessions: Arc<OnceLock<SessionCount>>,
}

impl std::fmt::Debug for OwnLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnLoad({})", self.peers.node())
    }
}

impl OwnLoad {
    /// What is known now. Asks the file system once.
    pub fn now(&self) -> NodeLoad {
        let map = self.maps.current();
        let others = map.nodes.values().filter(|row| row.state != NodeState::Left && row.node != self.peers.node());
        let silent = others.filter_map(|row| Some((row.node, u64::try_from(self.peers.silence(row.node)?.as_millis()).unwrap_or(u64::MAX))));
        NodeLoad {
            free_bytes: self.free_bytes(),
            sessions: self.sessions(),
            drains: self.drain.is_on(),
            silent: silent.collect(),
            led: self.groups.all().iter().filter_map(|group| self.led(group)).collect(),
        }
    }

    /// Sessions that this node holds.
    pub fn sessions(&self) -> u64 {
        self.sessions.get().map_or(0, |count| count())
    }

    fn led(&self, group: &GroupHandle) -> Option<LedGroup> {
        let lead = group.leadership();
        if !lead.serving {
            return None;
        }
        let Members { voters, learners, settled } = group.members();
        Some(LedGroup {
            group: group.id(),
            term: lead.term,
            bytes: self.groups.bytes(group.id()),
            entries: group.entries(),
            voters: voters.into_iter().collect(),
            learners: learners.into_iter().collect(),
            settled,
            leaving: group.rows().ok().and_then(|rows| kith_machine::moving::leaving(&rows).ok().flatten()),
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.data).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }
}
