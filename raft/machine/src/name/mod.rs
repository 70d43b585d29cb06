//! Unique names: reserved for a user that is being made, confirmed when the user exists, released when the user will never be, held back
//! when the user has left it.
//!
//! In: names folded by the proposer. Out: one row per name that is held. Invariant: a confirmed name never changes hands here.
//! Bounds: `limit::NAME_BYTES_MAX`. Not here: who settles a reservation that is 60 s old (the node asks the home to confirm or forbid).

pub mod word;

use kith_wire::{
    code::Code,
    id::{Timestamp, UserId},
    limit,
    log::{NameRow, NameState},
};

use crate::{
    Context, group_state,
    reply::Reply,
    view::{RowKey, StateView, ViewError, row},
};

/// Whose a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The user that has it or is to have it.
    pub user: UserId,
    /// Whether it is theirs for good.
    pub confirmed: bool,
    /// How long it has been held, in milliseconds of the group's own clock.
    pub age_ms: u64,
    /// It was theirs, and is nobody else's for a while.
    pub held_back: bool,
}

/// Who holds a folded name.
///
/// # Errors
/// The row cannot be read.
pub fn find(view: &dyn StateView, name: &str) -> Result<Option<Holding>, ViewError> {
    let Some(row) = row::<NameRow>(view, &RowKey::Name(name.to_owned()))? else { return Ok(None) };
    let now = group_state(view)?.now;
    let held_back = row.state == NameState::HeldBack;
    if held_back && now >= row.until {
        return Ok(None);
    }
    let age_ms = now.get().saturating_sub(row.since.get());
    Ok(Some(Holding { user: row.user, confirmed: row.state == NameState::Confirmed, age_ms, held_back }))
}

/// Holds a name for a user. `Busy`: another sign-up holds it, for now.
pub(crate) fn reserve(ctx: &mut Context<'_>, name: String, user: UserId) -> Result<Reply, ViewError> {
    if name.is_empty() || user == UserId::new(0) {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if name.len() > limit::NAME_BYTES_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    let key = RowKey::Name(name);
    match ctx.rows.row::<NameRow>(&key)? {
        // Taken back; if it comes to nothing, it is held back as before.
        Some(row) if row.state == NameState::HeldBack && row.user == user => {
            ctx.rows.put(key, NameRow { state: NameState::Reserved, since: ctx.now, ..row.clone() });
            Ok(Reply::Done)
        }
        Some(row) if row.state == NameState::HeldBack && ctx.now >= row.until => {
            ctx.rows.put(key, NameRow { user, state: NameState::Reserved, since: ctx.now, until: Timestamp::default() });
            Ok(Reply::Done)
        }
        Some(row) if row.user == user => Ok(Reply::Done),
        Some(row) if row.state == NameState::Reserved => Ok(Reply::Rejected(Code::Busy)),
        Some(_) => Ok(Reply::Rejected(Code::NameTaken)),
        None => {
            ctx.rows.put(key, NameRow { user, state: NameState::Reserved, since: ctx.now, until: Timestamp::default() });
            Ok(Reply::Done)
        }
    }
}

/// The user exists: the name is theirs.
pub(crate) fn confirm(ctx: &mut Context<'_>, name: String, user: UserId) -> Result<Reply, ViewError> {
    let key = RowKey::Name(name);
    match ctx.rows.row::<NameRow>(&key)? {
        None => Ok(Reply::Rejected(Code::NotFound)),
        Some(row) if row.user != user => Ok(Reply::Rejected(Code::NameTaken)),
        Some(row) if row.state == NameState::Confirmed => Ok(Reply::Done),
        Some(_) => {
            ctx.rows.put(key, NameRow { user, state: NameState::Confirmed, since: ctx.now, until: Timestamp::default() });
            Ok(Reply::Done)
        }
    }
}

/// The user will never be: the name is free. A name that is another's, or nobody's, stays as it is.
pub(crate) fn release(ctx: &mut Context<'_>, name: String, user: UserId) -> Result<Reply, ViewError> {
    let key = RowKey::Name(name);
    match ctx.rows.row::<NameRow>(&key)? {
        Some(row) if row.user == user && row.state == NameState::Confirmed => Ok(Reply::Rejected(Code::NotAllowed)),
        Some(row) if row.user == user && row.until > ctx.now => {
            ctx.rows.put(key, NameRow { state: NameState::HeldBack, ..row.clone() });
            Ok(Reply::Done)
        }
        Some(row) if row.user == user => {
            ctx.rows.delete(key);
            Ok(Reply::Done)
        }
        _ => Ok(Reply::Done),
    }
}

/// The user has another name now, or none: nobody else may have this one until then. A name that is another's stays as it is.
pub(crate) fn hold(ctx: &mut Context<'_>, name: String, user: UserId, until: Timestamp) -> Result<Reply, ViewError> {
    let key = RowKey::Name(name);
    if let Some(row) = ctx.rows.row::<NameRow>(&key)?
        && row.user == user
        && row.state != NameState::HeldBack
    {
        ctx.rows.put(key, NameRow { user, state: NameState::HeldBack, since: ctx.now, until });
    }
    Ok(Reply::Done)
}
