//! Unique names: reserved for a user that is being made, confirmed when the user exists, released when the user will never be, held back
//! when the user has left it.
//!
//! In: names folded by the proposer. Out: one row per name that is held. Invariants: a confirmed name never changes hands here; each reservation
//! has a `since` of its own, and only it is released by that.
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
    /// Since when it is so, by the group's own clock.
    pub since: Timestamp,
    /// How long that is, in milliseconds.
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
    Ok(Some(Holding { user: row.user, confirmed: row.state == NameState::Confirmed, since: row.since, age_ms, held_back }))
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
    let old = ctx.rows.row::<NameRow>(&key)?;
    // A reservation that is made again is another one, also within a millisecond: the release of the first must not end it.
    let since = old.as_ref().map_or(ctx.now, |row| ctx.now.max(Timestamp::new(row.since.get().saturating_add(1))));
    let new = match old {
        Some(row) if row.state == NameState::Confirmed && row.user == user => return Ok(Reply::Reserved { since: row.since }),
        // The same one tries again, or takes back what is held back: if that comes to nothing, it is held back as before.
        Some(row) if row.user == user => NameRow { state: NameState::Reserved, since, ..row.clone() },
        Some(row) if row.state == NameState::Reserved => return Ok(Reply::Rejected(Code::Busy)),
        Some(row) if row.state == NameState::Confirmed || ctx.now < row.until => return Ok(Reply::Rejected(Code::NameTaken)),
        _ => NameRow { user, state: NameState::Reserved, since, until: Timestamp::default() },
    };
    ctx.rows.put(key, new);
    Ok(Reply::Reserved { since })
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

/// The reservation came to nothing: the name is free. One that is another's, was reserved anew since, or is nobody's stays as it is.
pub(crate) fn release(ctx: &mut Context<'_>, name: String, user: UserId, since: Timestamp) -> Result<Reply, ViewError> {
    let key = RowKey::Name(name);
    match ctx.rows.row::<NameRow>(&key)? {
        Some(row) if row.user == user && row.state == NameState::Confirmed => return Ok(Reply::Rejected(Code::NotAllowed)),
        Some(row) if row.user != user || row.since != since || row.state != NameState::Reserved => {}
        Some(row) if row.until > ctx.now => ctx.rows.put(key, NameRow { state: NameState::HeldBack, ..row.clone() }),
        Some(_) => ctx.rows.delete(key),
        None => {}
    }
    Ok(Reply::Done)
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
