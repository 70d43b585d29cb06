//! Calls that touch more than one group, or only their caller: begun and ended in the caller's home.
//!
//! Between the two the call is done by operations that are idempotent themselves; when the node that did it is gone, a retry after
//! `limit::CALL_RUNS_MS` does it again and ends it. What was answered once is answered again for a day, over any node.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{CallKey, Timestamp, UserId},
    limit,
    log::{CallRow, CallsRow, UserRow, UserState},
};

use crate::{
    Context, call,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};

/// Begins a call, or tells what was answered to it.
pub(crate) fn begin(ctx: &mut Context<'_>, user: UserId, key: CallKey, digest: u64) -> Result<Reply, ViewError> {
    let at = RowKey::HomeCall(user, key);
    if let Some(held) = ctx.rows.row::<CallRow>(&at)? {
        return Ok(match &held.answer {
            _ if held.digest != digest => Reply::Rejected(Code::Conflict),
            Some(answer) => Reply::Call { answer: Some(answer.clone()) },
            None if ctx.now.get() < held.begun.get().saturating_add(limit::CALL_RUNS_MS) => Reply::Rejected(Code::Busy),
            None => {
                let again = CallRow { begun: ctx.now, ..CallRow::clone(&held) };
                ctx.rows.put(at, again);
                Reply::Call { answer: None }
            }
        });
    }
    if ctx.rows.row::<UserRow>(&RowKey::User(user))?.is_none_or(|row| row.state != UserState::Active) {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    }
    let mut calls = ctx.rows.row::<CallsRow>(&RowKey::HomeCalls(user))?.map_or_else(CallsRow::default, |row| *row);
    for (row, _) in ctx.rows.scan(&Scan::HomeCalls(user), false, call::FORGET_AT_ONCE)? {
        if let RowKey::HomeCall(_, over) = row
            && call::is_over(over, ctx.now)
        {
            call::forget(&mut calls, over);
            ctx.rows.delete(row);
        }
    }
    if let Some(code) = call::refused(&calls, key, ctx.now, limit::HOME_CALLS_MAX) {
        ctx.rows.put(RowKey::HomeCalls(user), calls);
        return Ok(Reply::Rejected(code));
    }
    call::note(&mut calls, key);
    ctx.rows.put(RowKey::HomeCalls(user), calls);
    ctx.rows.put(at, CallRow { digest, begun: ctx.now, answer: None });
    Ok(Reply::Call { answer: None })
}

/// Keeps the answer of a call; the first one stays. An empty one says that nobody is at it any more: the next one to ask may do it.
pub(crate) fn end(ctx: &mut Context<'_>, user: UserId, key: CallKey, answer: Bytes) -> Result<Reply, ViewError> {
    let at = RowKey::HomeCall(user, key);
    let Some(held) = ctx.rows.row::<CallRow>(&at)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if answer.len() > limit::CALL_ANSWER_BYTES_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    if held.answer.is_none() {
        let ended = if answer.is_empty() {
            CallRow { begun: Timestamp::new(0), ..CallRow::clone(&held) }
        } else {
            CallRow { answer: Some(answer), ..CallRow::clone(&held) }
        };
        ctx.rows.put(at, ended);
    }
    Ok(Reply::Done)
}
