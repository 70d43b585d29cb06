//! What a move does in the group that takes buckets. Each step is refused unless the move is at it; what came late or twice changes nothing.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{GroupId, OwnerEpoch},
    limit,
    moving::{BucketRun, MovedRow, StagingRow},
};

use super::{Name, is_empty, is_under_way, staging, to_drop};
use crate::{
    Context, body, key, own,
    reply::Reply,
    view::{Row, RowKey, ViewError},
};

/// A piece of a round.
pub(super) struct Came {
    pub(super) round: u64,
    pub(super) after: Bytes,
    pub(super) upto: Bytes,
    pub(super) last: bool,
    pub(super) rows: Vec<MovedRow>,
}

/// Makes room: only where nothing of these buckets is, nor was at that epoch.
pub(super) fn stage(ctx: &mut Context<'_>, (from, at): Name, run: BucketRun, epoch: OwnerEpoch) -> Result<Reply, ViewError> {
    if run.first > run.last || ctx.meta.group == GroupId::META || from == ctx.meta.group {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if let Some(row) = staging(&ctx.rows, from)? {
        let is_same = (row.at, row.run, row.epoch, row.dropping) == (at, run, epoch, false);
        return Ok(if is_same { Reply::Done } else { Reply::Rejected(Code::Conflict) });
    }
    let is_known = ctx.owned.holds_any(run) || ctx.owned.newest(run).is_some_and(|known| known >= epoch);
    if is_known || is_under_way(&ctx.rows, run)? || !is_empty(&ctx.rows, run)? {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    ctx.rows.put(RowKey::Staging(from), StagingRow { at, run, epoch, ..StagingRow::default() });
    Ok(Reply::Done)
}

/// Takes a piece in, if it is the next one.
pub(super) fn import(ctx: &mut Context<'_>, name: Name, came: Came) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, name)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if row.dropping || row.round != came.round || row.after != came.after {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    // A piece that moves nothing on would be the next one for ever.
    let (moves_on, goes_on) = (came.last || came.upto > came.after, came.round.checked_add(1));
    let (Some(rows), Some(next), true) = (checked(row.run, &came), goes_on, moves_on) else { return Ok(Reply::Rejected(Code::Invalid)) };
    let count = row.rows.saturating_add(rows.len() as u64);
    for (key, row) in rows {
        match row {
            Some(row) => ctx.rows.put(key, row),
            None => ctx.rows.delete(key),
        }
    }
    let (round, after) = if came.last { (next, Bytes::new()) } else { (came.round, came.upto) };
    ctx.rows.put(RowKey::Staging(name.0), StagingRow { round, after, rows: count, ..row });
    Ok(Reply::Done)
}

/// All rows of a piece; `None` if one of them is none of these buckets, or the first copy lacks one.
fn checked(run: BucketRun, came: &Came) -> Option<Vec<(RowKey, Option<Row>)>> {
    if came.rows.len() > limit::MOVE_ROWS_MAX {
        return None;
    }
    let one = |moved: &MovedRow| {
        let key = key::decode_packed(&moved.key).ok().filter(|key| key.bucket().is_some_and(|bucket| run.holds(bucket)))?;
        match &moved.body {
            Some(bytes) => body::decode(&key, bytes).ok().map(|row| (key, Some(row))),
            None => (came.round > 0).then_some((key, None)),
        }
    };
    came.rows.iter().map(one).collect()
}

/// The buckets are this group's own, all of them.
pub(super) fn take(ctx: &mut Context<'_>, name: Name, round: u64) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, name)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    let is_whole = !row.dropping && round.checked_add(1) == Some(row.round);
    if !is_whole || ctx.owned.newest(row.run).is_some_and(|known| known >= row.epoch) {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    ctx.rows.delete(RowKey::Staging(name.0));
    own::put(ctx, row.run, row.epoch, None)
}

pub(super) fn unstage(ctx: &mut Context<'_>, name: Name) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, name)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    ctx.rows.put(RowKey::Staging(name.0), StagingRow { dropping: true, ..row });
    Ok(Reply::Done)
}

pub(super) fn drop_rows(ctx: &mut Context<'_>, name: Name, keys: &[Bytes]) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, name)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if !row.dropping {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    let Some(keys) = to_drop(row.run, keys) else { return Ok(Reply::Rejected(Code::Invalid)) };
    keys.into_iter().for_each(|key| ctx.rows.delete(key));
    Ok(Reply::Done)
}

pub(super) fn end(ctx: &mut Context<'_>, name: Name) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, name)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if !row.dropping || !is_empty(&ctx.rows, row.run)? {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    ctx.rows.delete(RowKey::Staging(name.0));
    Ok(Reply::Done)
}

fn named(ctx: &Context<'_>, (from, at): Name) -> Result<Option<StagingRow>, ViewError> {
    Ok(staging(&ctx.rows, from)?.filter(|row| row.at == at))
}
