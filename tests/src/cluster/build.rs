//! Which build a node runs, and whether it starts.
//!
//! With fail points the same program can be told to be the release before it; without, every node runs what was compiled.

use std::net::UdpSocket;

use kith::StartError;
#[cfg(feature = "failpoint")]
use kith_machine::mutant::Quirk;

use super::Cluster;

impl Cluster {
    /// From its next start on a node runs the release before this one, or this one.
    #[cfg(feature = "failpoint")]
    pub fn set_older(&mut self, node: u64, is_older: bool) {
        let quirk = Quirk::default();
        self.nodes.get_mut(&node).expect("a node of the cluster").quirk = if is_older { quirk.older() } else { quirk };
    }

    /// As [`Cluster::restart`], of a node that may not start.
    ///
    /// # Errors
    /// It does not.
    pub async fn try_restart(&mut self, node: u64) -> Result<(), StartError> {
        self.try_start(node, None).await
    }

    pub(super) async fn start_node(&mut self, node: u64, socket: Option<UdpSocket>) {
        self.try_start(node, socket).await.unwrap_or_else(|error| panic!("node {node} does not start: {error:?}"));
    }
}
