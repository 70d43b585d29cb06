//! How a group of a new cluster comes to be: its preferred leader makes it, once it can reach a majority.
//!
//! In: a group opened with an empty log, its first voters. Out: one `initialize`. Invariants: a group that was made is never made again
//! (openraft refuses); any voter may make it, all with the same voters, so a preferred leader that stays away only costs time. If all
//! made it at once, each would vote for itself and the first election would be lost: two seconds of every first start.

use std::time::Duration;

use kith_raft::GroupHandle;
use kith_wire::log::Membership;

use crate::peer::Peers;

/// How often links are looked at; a first start happens once.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A group to be made.
pub struct Birth {
    /// Opened without an initial membership.
    pub handle: GroupHandle,
    /// The first voters, as every one of them knows them from the first map.
    pub initial: Membership,
    /// This node's place in the group's leader preference; 0 goes first.
    pub rank: usize,
    /// How much longer each next one waits for those before it.
    pub patience: Duration,
    /// Who can be reached.
    pub peers: Peers,
}

impl Birth {
    /// Ends once the group has been made, by whomever, or this replica was closed.
    pub async fn run(self) {
        let rank = u32::try_from(self.rank).unwrap_or(u32::MAX);
        tokio::time::sleep(self.patience.saturating_mul(rank)).await;
        while let Ok(false) = self.handle.is_initialized().await {
            if self.reaches_majority() {
                if self.handle.initialize(&self.initial).await.is_err() {
                    return;
                }
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    fn reaches_majority(&self) -> bool {
        self.initial.voters.iter().all(|voters| 2 * voters.iter().filter(|node| self.peers.reachable(**node)).count() > voters.len())
    }
}
