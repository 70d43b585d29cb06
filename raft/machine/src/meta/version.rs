//! The cluster's version: raised by one, when every node's build knows the next.
//!
//! In: the meta group's `Command::RaiseCluster`, the nodes' rows. Out: one field of the cluster's row, which is part of the map. Invariants: it never goes
//! back; it is never raised past a node that has not left and was last seen with a build that does not know it. What a version brings is not in the rows
//! here: each group is raised in its own log afterwards, since this row reaches replicas at other places of theirs.

use kith_wire::{
    code::Code,
    id::NodeId,
    log::{ClusterMap, ClusterRow, NodeRow, NodeState},
    upgrade::ClusterVersion,
};

use super::map;
use crate::{
    Context,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// The nodes that keep a cluster from this version: those that have not left and were last seen with a build that does not know it, or never.
pub fn behind(map: &ClusterMap, to: ClusterVersion) -> impl Iterator<Item = &NodeRow> {
    map.nodes.values().filter(move |row| is_behind(row, to))
}

fn is_behind(row: &NodeRow, to: ClusterVersion) -> bool {
    row.state != NodeState::Left && row.version < to
}

/// Raises it. Again is no change.
pub(crate) fn raise(ctx: &mut Context<'_>, to: ClusterVersion) -> Result<Reply, ViewError> {
    let Some(row) = ctx.rows.row::<ClusterRow>(&RowKey::Cluster)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    let now = row.version.or_first();
    if to <= now {
        return Ok(Reply::Done);
    }
    if to != now.next() {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    for (key, row) in ctx.rows.scan(&Scan::Nodes, false, usize::MAX)? {
        let node = Held::<NodeRow>::new(&key, row)?;
        if is_behind(&node, to) {
            return Ok(Reply::Rejected(Code::NotAllowed));
        }
    }
    ctx.rows.put(RowKey::Cluster, ClusterRow { version: to, ..ClusterRow::clone(&row) });
    map::changed(ctx)
}

/// A node whose build knows a version above the cluster's.
pub fn ahead(map: &ClusterMap) -> Option<NodeId> {
    let now = map.version.or_first();
    map.nodes.values().find(|row| row.state != NodeState::Left && row.version > now).map(|row| row.node)
}
