//! Calls that touch more than one group, or only their caller: begun and ended in the caller's home.
//!
//! Between the two the call is done by operations that are idempotent themselves; when the node that did it is gone, a retry after
//! `limit::CALL_RUNS_MS` does it again and ends it. What was answered once is answered again for a day, over any node.

use bytes::Bytes;
use kith_wire::{
    code::Code,
    id::{CallKey, Timestamp, UserId},
    limit,
    log::{CallRow, CallsRow, UserChange, UserRow, UserState},
};

use crate::{
    Context, call,
    reply::Reply,
    user::{self, account, login},
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
    // An operator's token of nobody calls too: what it has called lies with the user whom nobody is.
    let is_nobody = user == UserId::new(0);
    if !is_nobody && ctx.rows.row::<UserRow>(&RowKey::User(user))?.is_none_or(|row| row.state != UserState::Active) {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    }
    let mut calls = calls(ctx, user)?;
    trim(ctx, user, &mut calls)?;
    let live_max = if is_nobody { limit::NOBODYS_CALLS_MAX } else { limit::HOME_CALLS_MAX };
    if let Some(code) = call::refused(&calls, key, ctx.now, live_max) {
        ctx.rows.put(RowKey::HomeCalls(user), calls);
        return Ok(Reply::Rejected(code));
    }
    call::note(&mut calls, key);
    ctx.rows.put(RowKey::HomeCalls(user), calls);
    ctx.rows.put(at, CallRow { digest, begun: ctx.now, answer: None });
    Ok(Reply::Call { answer: None })
}

/// Does a change of one who comes without a token, and notes its key with it: what nobody has proven to be allowed leaves nothing behind. What was
/// done under the key is not done again; secrets in its answer follow from the key, so that a retry is told the same.
pub(crate) fn keyed(ctx: &mut Context<'_>, user: UserId, (key, digest): (CallKey, u64), change: UserChange) -> Result<Reply, ViewError> {
    let at = RowKey::HomeCall(user, key);
    if let Some(held) = ctx.rows.row::<CallRow>(&at)? {
        if held.digest != digest {
            return Ok(Reply::Rejected(Code::Conflict));
        }
        let account = account::active(ctx, user)?;
        return match (change, account) {
            (_, None) => Ok(Reply::Rejected(Code::Revoked)),
            // Another name may have been taken since; that of the sign-up must not be held for this user again.
            (UserChange::SignUp { name, .. }, Some(account)) if account.name != name => Ok(Reply::Rejected(Code::IdTaken)),
            (UserChange::LogIn { enter, .. } | UserChange::SignUp { enter: Some(enter), .. }, Some(account)) => {
                login::again(ctx, account, user, enter.device)
            }
            (UserChange::ResetPassword { .. }, _) => Ok(Reply::Done),
            (refresh @ UserChange::Refresh { .. }, _) => user::change(ctx, user, refresh),
            _ => Ok(Reply::Rejected(Code::Invalid)),
        };
    }
    if !matches!(change, UserChange::LogIn { .. } | UserChange::SignUp { .. } | UserChange::Refresh { .. } | UserChange::ResetPassword { .. }) {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let before = calls(ctx, user)?;
    let mut calls = before;
    trim(ctx, user, &mut calls)?;
    let reply = match call::refused(&calls, key, ctx.now, limit::HOME_CALLS_MAX) {
        Some(code) => Reply::Rejected(code),
        None => user::change(ctx, user, change)?,
    };
    if !matches!(reply, Reply::Rejected(_)) {
        call::note(&mut calls, key);
        ctx.rows.put(at, CallRow { digest, begun: ctx.now, answer: None });
    }
    if calls != before {
        ctx.rows.put(RowKey::HomeCalls(user), calls);
    }
    Ok(reply)
}

fn calls(ctx: &Context<'_>, user: UserId) -> Result<CallsRow, ViewError> {
    Ok(ctx.rows.row::<CallsRow>(&RowKey::HomeCalls(user))?.map_or_else(CallsRow::default, |row| *row))
}

/// Forgets some keys that are over. The count is the caller's to put.
fn trim(ctx: &mut Context<'_>, user: UserId, calls: &mut CallsRow) -> Result<(), ViewError> {
    for (row, _) in ctx.rows.scan(&Scan::HomeCalls(user), false, call::FORGET_AT_ONCE)? {
        if let RowKey::HomeCall(_, over) = row
            && call::is_over(over, ctx.now)
        {
            call::forget(calls, over);
            ctx.rows.delete(row);
        }
    }
    Ok(())
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
