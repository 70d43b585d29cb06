//! The map's rows: what changes them, and what they say together.

use kith_wire::{
    code::Code,
    id::{ClusterId, GroupId, MapEpoch, NodeId},
    layout::LayoutMove,
    limit,
    log::{ClusterMap, ClusterRow, GroupRow, LogId, NodeRow, NodeState, RunRow},
    upgrade::{ClusterVersion, fits},
};

use crate::{
    Context,
    reply::Reply,
    run::{Run, stands, taken},
    view::{Held, Row, RowKey, Scan, StateView, ViewError, row},
};

/// The whole map; the default one before the cluster is made.
///
/// # Errors
/// A row cannot be read.
pub fn read(view: &dyn StateView) -> Result<ClusterMap, ViewError> {
    let Some(cluster) = row::<ClusterRow>(view, &RowKey::Cluster)? else { return Ok(ClusterMap::default()) };
    let mut map = ClusterMap { cluster: cluster.cluster, epoch: cluster.epoch, version: cluster.version, ..ClusterMap::default() };
    for (key, row) in view.scan(&Scan::Nodes, false, usize::MAX)? {
        let node = Held::<NodeRow>::new(&key, row)?;
        map.nodes.insert(node.node, node.clone());
    }
    for (key, row) in view.scan(&Scan::Groups, false, usize::MAX)? {
        let group = Held::<GroupRow>::new(&key, row)?;
        map.groups.insert(group.group, group.clone());
    }
    for (key, row) in view.scan(&Scan::Runs, false, usize::MAX)? {
        let run = Held::<RunRow>::new(&key, row)?;
        map.runs.insert((run.region, run.first), *run);
    }
    Ok(map)
}

/// What was moved last and why, newest first.
///
/// # Errors
/// A row cannot be read.
pub fn moves(view: &dyn StateView) -> Result<Vec<LayoutMove>, ViewError> {
    Ok(row::<ClusterRow>(view, &RowKey::Cluster)?.map(|row| row.moves.clone()).unwrap_or_default())
}

/// The map's epoch after a visible change in this entry.
pub(crate) fn epoch_of(id: LogId) -> MapEpoch {
    MapEpoch::new(id.index.get())
}

/// Makes the cluster, at this version; the same one again is no change.
pub(crate) fn init(ctx: &mut Context<'_>, cluster: ClusterId, version: ClusterVersion) -> Result<Reply, ViewError> {
    match ctx.rows.row::<ClusterRow>(&RowKey::Cluster)? {
        Some(row) if row.cluster == cluster => Ok(Reply::Done),
        Some(_) => Ok(Reply::Rejected(Code::WrongCluster)),
        None => {
            ctx.rows.put(RowKey::Cluster, ClusterRow { cluster, epoch: epoch_of(ctx.meta.id), moves: Vec::new(), version });
            ctx.map_changed = true;
            Ok(Reply::Done)
        }
    }
}

/// Adds a node or replaces what is known of it. Its data directory, once known, its highest start and its build stay, where the row names none.
pub(crate) fn put_node(ctx: &mut Context<'_>, mut node: NodeRow) -> Result<Reply, ViewError> {
    if let Some(code) = refuses_node(ctx, &mut node)? {
        return Ok(Reply::Rejected(code));
    }
    let key = RowKey::Node(node.node);
    let old = ctx.rows.row::<NodeRow>(&key)?;
    put(ctx, key, old.as_deref(), node)
}

/// Adds a group or changes it; a change needs a higher `conf_epoch`.
pub(crate) fn put_group(ctx: &mut Context<'_>, mut group: GroupRow) -> Result<Reply, ViewError> {
    if let Some(code) = refuses_group(ctx, &mut group, &[])? {
        return Ok(Reply::Rejected(code));
    }
    let key = RowKey::Group(group.group);
    let old = ctx.rows.row::<GroupRow>(&key)?;
    put(ctx, key, old.as_deref(), group)
}

/// Changes nodes and groups together: all of them, if the map still has the epoch that its proposer saw, or nothing.
/// What of it is moved is kept with its reason.
pub(crate) fn change(
    ctx: &mut Context<'_>,
    at: MapEpoch,
    mut nodes: Vec<NodeRow>,
    mut groups: Vec<GroupRow>,
    moves: Vec<LayoutMove>,
) -> Result<Reply, ViewError> {
    match ctx.rows.row::<ClusterRow>(&RowKey::Cluster)? {
        None => return Ok(Reply::Rejected(Code::NotFound)),
        Some(row) if row.epoch != at => return Ok(Reply::Rejected(Code::Conflict)),
        Some(_) => {}
    }
    for node in &mut nodes {
        if let Some(code) = refuses_node(ctx, node)? {
            return Ok(Reply::Rejected(code));
        }
    }
    let new: Vec<NodeId> = nodes.iter().map(|row| row.node).collect();
    for group in &mut groups {
        if let Some(code) = refuses_group(ctx, group, &new)? {
            return Ok(Reply::Rejected(code));
        }
    }
    for node in nodes {
        let key = RowKey::Node(node.node);
        let old = ctx.rows.row::<NodeRow>(&key)?;
        put(ctx, key, old.as_deref(), node)?;
    }
    for group in groups {
        let key = RowKey::Group(group.group);
        let old = ctx.rows.row::<GroupRow>(&key)?;
        put(ctx, key, old.as_deref(), group)?;
    }
    if !moves.is_empty() {
        let mut row = ClusterRow::clone(&*ctx.rows.required::<ClusterRow>(&RowKey::Cluster)?);
        let before = std::mem::take(&mut row.moves);
        row.moves = moves.into_iter().rev().chain(before).take(limit::MOVES_KEPT).collect();
        ctx.rows.put(RowKey::Cluster, row);
    }
    Ok(Reply::Done)
}

/// Why a node's row is not taken; if it is, it has what is known of the node already.
fn refuses_node(ctx: &Context<'_>, node: &mut NodeRow) -> Result<Option<Code>, ViewError> {
    if node.node.get() == 0 {
        return Ok(Some(Code::Invalid));
    }
    if let Some(old) = ctx.rows.row::<NodeRow>(&RowKey::Node(node.node))? {
        match (old.store, node.store) {
            (Some(old), Some(new)) if old != new => return Ok(Some(Code::NotAllowed)),
            (old, None) => node.store = old,
            _ => {}
        }
        node.boot = node.boot.max(old.boot);
        if node.version == ClusterVersion::default() {
            node.version = old.version;
        }
    }
    let is_told = node.version > ClusterVersion::default() && node.state != NodeState::Left;
    if let Some(cluster) = ctx.rows.row::<ClusterRow>(&RowKey::Cluster)?.filter(|_| is_told)
        && fits(node.version, cluster.version).is_err()
    {
        return Ok(Some(Code::VersionMismatch));
    }
    Ok(None)
}

/// Why a group's row is not taken; `new`: nodes that come with it.
fn refuses_group(ctx: &Context<'_>, group: &mut GroupRow, new: &[NodeId]) -> Result<Option<Code>, ViewError> {
    group.replicas.sort();
    group.replicas.dedup();
    if group.replicas.is_empty() || group.preference.iter().any(|node| !group.replicas.contains(node)) {
        return Ok(Some(Code::Invalid));
    }
    for node in group.replicas.iter().filter(|node| !new.contains(node)) {
        if ctx.rows.row::<NodeRow>(&RowKey::Node(*node))?.is_none() {
            return Ok(Some(Code::NotFound));
        }
    }
    let old = ctx.rows.row::<GroupRow>(&RowKey::Group(group.group))?;
    let is_stale = |old: &GroupRow| *old != *group && (old.conf_epoch >= group.conf_epoch || old.region != group.region);
    Ok(old.is_some_and(|old| is_stale(&old)).then_some(Code::Conflict))
}

/// Gives a run of buckets to a group, where no higher or equal epoch holds them.
pub(crate) fn put_run(ctx: &mut Context<'_>, run: RunRow) -> Result<Reply, ViewError> {
    let Some(group) = ctx.rows.row::<GroupRow>(&RowKey::Group(run.group))? else {
        return Ok(Reply::Rejected(Code::NotFound));
    };
    if run.first > run.last || run.group == GroupId::META || group.region != run.region {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if !is_initialised(ctx)? {
        return Ok(Reply::Rejected(Code::NotFound));
    }
    let mut before = Vec::new();
    for (key, row) in ctx.rows.scan(&Scan::Runs, false, usize::MAX)? {
        let row = Held::<RunRow>::new(&key, row)?;
        if row.region == run.region {
            before.push(Run { first: row.first, last: row.last, epoch: row.epoch, owner: row.group });
        }
    }
    let new = Run { first: run.first, last: run.last, epoch: run.epoch, owner: run.group };
    let after = taken(&before, new);
    if after == before {
        return Ok(if stands(&before, new) { Reply::Done } else { Reply::Rejected(Code::Conflict) });
    }
    for run_before in before.iter().filter(|run| !after.contains(run)) {
        ctx.rows.delete(RowKey::Run(run.region, run_before.first));
    }
    for piece in after.iter().filter(|run| !before.contains(run)) {
        let row = RunRow { region: run.region, first: piece.first, last: piece.last, group: piece.owner, epoch: piece.epoch };
        ctx.rows.put(RowKey::Run(run.region, piece.first), row);
    }
    changed(ctx)
}

fn put<T: PartialEq + Into<Row>>(ctx: &mut Context<'_>, key: RowKey, old: Option<&T>, new: T) -> Result<Reply, ViewError> {
    if !is_initialised(ctx)? {
        return Ok(Reply::Rejected(Code::NotFound));
    }
    if old == Some(&new) {
        return Ok(Reply::Done);
    }
    ctx.rows.put(key, new);
    changed(ctx)
}

fn is_initialised(ctx: &Context<'_>) -> Result<bool, ViewError> {
    Ok(ctx.rows.row::<ClusterRow>(&RowKey::Cluster)?.is_some())
}

pub(super) fn changed(ctx: &mut Context<'_>) -> Result<Reply, ViewError> {
    let row = ctx.rows.required::<ClusterRow>(&RowKey::Cluster)?;
    let row = ClusterRow { epoch: epoch_of(ctx.meta.id), ..ClusterRow::clone(&row) };
    ctx.rows.put(RowKey::Cluster, row);
    ctx.map_changed = true;
    Ok(Reply::Done)
}
