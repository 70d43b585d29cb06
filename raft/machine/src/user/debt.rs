//! What a user's home owes to other groups: rows that stay until it is done there, told by their latest version.
//!
//! In: changes whose other half lies elsewhere. Out: one row per (user, debt), and [`Effect::Owes`], a wake-up. Invariant: a debt that changed
//! again while it was being paid stays. Bounds: one for each name of the user that is held back or about to be, one
//! for each other who was ever wanted and has not heard of it yet, one for search. Not here: who pays (the node's duty).

use kith_wire::{
    id::UserId,
    log::{Debt, OwedRow, UserRow},
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// Notes that something is owed. The account is the caller's to put.
pub(crate) fn owe(ctx: &mut Context<'_>, user: UserId, account: &mut UserRow, debt: Debt) {
    account.debts += 1;
    ctx.rows.put(RowKey::Owed(user, debt), OwedRow { version: account.debts });
    if ctx.effects.last() != Some(&Effect::Owes) {
        ctx.effects.push(Effect::Owes);
    }
}

/// It was done elsewhere, as it stood at this version.
pub(crate) fn paid(ctx: &mut Context<'_>, user: UserId, debt: Debt, version: u64) -> Result<Reply, ViewError> {
    let key = RowKey::Owed(user, debt);
    if ctx.rows.row::<OwedRow>(&key)?.is_some_and(|row| row.version <= version) {
        ctx.rows.delete(key);
    }
    Ok(Reply::Done)
}
