//! Learning where buckets went from the group that gave them away.
//!
//! In: a group that has just said that a bucket is not its own. Out: a newer entry in the node's map. Invariant: what is learned is what a row of that
//! group says, with its epoch; the higher epoch counts. Each replica here is looked at whenever what it owns changes (`cluster::controller`), so
//! that other nodes are asked only about groups that have no replica here.

use std::time::Duration;

use kith_machine::own::Owned;
use kith_wire::{
    id::{Bucket, GroupId, NodeId},
    peer::{Ask, Inner, InnerAnswer, Told},
};

use super::Router;
use crate::clock::Instant;

impl Router {
    /// Learns where a bucket of a group went, if the group gave it away and this node does not know: from its own replica, else from the node
    /// that was asked, or who leads the group.
    pub async fn learn(&self, group: GroupId, bucket: Bucket, asked: Option<NodeId>, deadline: Instant) {
        if self.locate(bucket).is_ok_and(|route| route.group != group) || self.learn_here(group, bucket) {
            return;
        }
        let leader = self.leader(group).map(|(node, _)| node);
        let Some(node) = asked.or(leader).filter(|node| *node != self.node) else { return };
        let within = deadline.saturating_duration_since(self.clock.instant()).min(ASK_MAX);
        let ask = Ask::Inner { group, map_epoch: self.maps.current().epoch, inner: Inner::GivenTo { bucket } };
        match self.peers.ask(node, ask, within).await {
            Ok(Told::Inner(InnerAnswer::GivenTo { run: Some(run) })) => {
                self.maps.learn(run);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%group, peer = %node, cause = %error, "router.moved: where a bucket went is not told now"),
        }
    }

    fn learn_here(&self, group: GroupId, bucket: Bucket) -> bool {
        let Some(handle) = self.groups.get(group) else { return false };
        let given = handle.rows().and_then(|rows| Owned::read(&rows)).ok().and_then(|owned| owned.given_run(bucket));
        given.is_some_and(|run| self.maps.learn(run))
    }
}

/// For another node to say it.
const ASK_MAX: Duration = Duration::from_secs(1);
