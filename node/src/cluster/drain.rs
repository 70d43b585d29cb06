//! Whether this node gives up sessions and leaderships, and takes no new ones: asked for by an operator, or because the map says that it is being emptied.
//!
//! In: [`Drain::ask`], the map. Out: a watch. While it is on the node is not ready, its sessions have to go (`edge`), and what it leads is handed to
//! voters that have caught up, again and again (`hand`). Invariant: an operator's wish ends with the process, that of the map does not. Not
//! here: replicas (`steward`).

use std::sync::Arc;

use kith_wire::{
    id::NodeId,
    log::{ClusterMap, NodeState},
};
use tokio::sync::watch;

use super::map::Maps;

/// The wish and the state. Clones are the same node's.
#[derive(Clone, Debug)]
pub struct Drain {
    asked: Arc<watch::Sender<bool>>,
    on: Arc<watch::Sender<bool>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { asked: Arc::new(watch::Sender::new(false)), on: Arc::new(watch::Sender::new(false)) }
    }
}

impl Drain {
    /// An operator's wish.
    pub fn ask(&self, on: bool) {
        self.asked.send_replace(on);
        if on {
            self.on.send_replace(true);
        }
    }
    /// Whether the node drains, and every change of that.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.on.subscribe()
    }
    /// Whether the node drains.
    pub fn is_on(&self) -> bool {
        *self.on.borrow()
    }

    /// Follows the wish and the map, until dropped.
    pub(crate) async fn follow(self, node: NodeId, maps: Maps) {
        let (mut asked, mut map) = (self.asked.subscribe(), maps.watch());
        loop {
            let is_on = *asked.borrow_and_update() || is_emptied(&map.borrow_and_update(), node);
            let changed = self.on.send_if_modified(|on| std::mem::replace(on, is_on) != is_on);
            if changed {
                tracing::info!(%node, is_on, "cluster.drain");
            }
            // Both branches are cancel safe.
            let ended = tokio::select! {
                changed = asked.changed() => changed.is_err(),
                changed = map.changed() => changed.is_err(),
            };
            if ended {
                return;
            }
        }
    }
}

fn is_emptied(map: &ClusterMap, node: NodeId) -> bool {
    map.nodes.get(&node).is_some_and(|row| matches!(row.state, NodeState::Draining | NodeState::Left))
}

#[cfg(test)]
mod tests {
    use kith_wire::log::NodeRow;

    use super::*;

    #[test]
    fn a_node_that_is_emptied_drains_and_others_do_not() {
        let mut map = ClusterMap::default();
        let states = [NodeState::Joining, NodeState::Up, NodeState::Draining, NodeState::Left];
        for (id, state) in (1..).zip(states) {
            map.nodes.insert(NodeId::new(id), NodeRow { node: NodeId::new(id), state, ..NodeRow::default() });
        }
        assert_eq!([1, 2, 3, 4, 9].map(|id| is_emptied(&map, NodeId::new(id))), [false, false, true, true, false]);
    }
}
