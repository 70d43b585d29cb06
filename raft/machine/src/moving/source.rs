//! What a move does in the group that gives buckets away. Each step is refused unless the move is at it, and done already is done.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{GroupId, LogIndex},
    moving::{BucketRun, LeavingPhase, LeavingRow},
};

use super::{decode_mark, is_coming, is_empty, leaving, to_drop};
use crate::{
    Context, own,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};

pub(super) fn begin(ctx: &mut Context<'_>, run: BucketRun, to: GroupId) -> Result<Reply, ViewError> {
    if run.first > run.last || to == GroupId::META || to == ctx.meta.group {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if let Some(row) = leaving(&ctx.rows)? {
        let is_same = row.run == run && row.to == to && row.phase <= LeavingPhase::Handed;
        return Ok(if is_same { Reply::Kept { id: row.at.get() } } else { Reply::Rejected(Code::Conflict) });
    }
    // What is not wholly owned here is not for this group to give; what comes is not owned.
    let Some(held) = ctx.owned.whole(run) else { return Ok(Reply::WrongGroup) };
    if is_coming(&ctx.rows, run)? {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    let at = ctx.meta.id.index;
    put(ctx, LeavingRow { at, run, to, epoch: held.next(), phase: LeavingPhase::Copying, round: 1 });
    Ok(Reply::Kept { id: at.get() })
}

pub(super) fn next_round(ctx: &mut Context<'_>, at: LogIndex, round: u64) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if row.phase != LeavingPhase::Copying || round.checked_add(1).is_none() {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    if row.round == round {
        put(ctx, LeavingRow { round: round + 1, ..row });
    } else if row.round != round + 1 {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    Ok(Reply::Done)
}

pub(super) fn hand_over(ctx: &mut Context<'_>, at: LogIndex, round: u64) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    match row.phase {
        LeavingPhase::Handed | LeavingPhase::Sweeping => return Ok(Reply::Done),
        LeavingPhase::Cancelled => return Ok(Reply::Rejected(Code::Conflict)),
        LeavingPhase::Copying => {}
    }
    // All of them or none: a part at a higher epoch by now would not go.
    if row.round != round || ctx.owned.whole(row.run).is_none_or(|held| held >= row.epoch) {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    own::put(ctx, row.run, row.epoch, Some(row.to))?;
    put(ctx, LeavingRow { phase: LeavingPhase::Handed, ..row });
    Ok(Reply::Done)
}

pub(super) fn cancel(ctx: &mut Context<'_>, at: LogIndex) -> Result<Reply, ViewError> {
    advance(ctx, at, LeavingPhase::Copying, LeavingPhase::Cancelled)
}

pub(super) fn taken(ctx: &mut Context<'_>, at: LogIndex) -> Result<Reply, ViewError> {
    advance(ctx, at, LeavingPhase::Handed, LeavingPhase::Sweeping)
}

/// Drops marks, and of buckets that are the target's rows as well: all that is named, or nothing.
pub(super) fn sweep(ctx: &mut Context<'_>, at: LogIndex, keys: &[Bytes]) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if row.phase < LeavingPhase::Sweeping {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    let (marks, rows): (Vec<Bytes>, Vec<Bytes>) = keys.iter().cloned().partition(|key| key.first() == Some(&0));
    let marks: Option<Vec<RowKey>> = marks.iter().map(decode_mark).collect();
    let may_drop = rows.is_empty() || row.phase == LeavingPhase::Sweeping;
    match (marks, to_drop(row.run, &rows)) {
        (Some(marks), Some(rows)) if may_drop && marks.len() <= kith_wire::limit::MOVE_ROWS_MAX => {
            marks.into_iter().chain(rows).for_each(|key| ctx.rows.delete(key));
            Ok(Reply::Done)
        }
        _ => Ok(Reply::Rejected(Code::Invalid)),
    }
}

pub(super) fn end(ctx: &mut Context<'_>, at: LogIndex) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    let is_swept = match row.phase {
        LeavingPhase::Copying | LeavingPhase::Handed => false,
        LeavingPhase::Sweeping => is_empty(&ctx.rows, row.run)?,
        LeavingPhase::Cancelled => true,
    };
    if !is_swept || !ctx.rows.scan(&Scan::Changed(None), false, 1)?.is_empty() {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    ctx.rows.delete(RowKey::Leaving);
    Ok(Reply::Done)
}

/// From one phase to another; there already is done.
fn advance(ctx: &mut Context<'_>, at: LogIndex, from: LeavingPhase, to: LeavingPhase) -> Result<Reply, ViewError> {
    let Some(row) = named(ctx, at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if row.phase == from {
        put(ctx, LeavingRow { phase: to, ..row });
    } else if row.phase != to {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    Ok(Reply::Done)
}

fn named(ctx: &Context<'_>, at: LogIndex) -> Result<Option<LeavingRow>, ViewError> {
    Ok(leaving(&ctx.rows)?.filter(|row| row.at == at))
}

fn put(ctx: &mut Context<'_>, row: LeavingRow) {
    ctx.rows.put(RowKey::Leaving, row);
}
