//! Who may run the cluster: admin tokens, each with a role, and the first one of a cluster, by which another is made, once.
//!
//! In: the meta group's `Command::Trust`. Out: the row that join tokens are in too. Invariants: a cluster has a first token once, whichever node asks
//! for it; of two who claim by it the first in the log has it. Bound: `limit::ADMIN_TOKENS_MAX`; what is over makes room after a while, or at once when
//! there is no other room. Not here: secrets, which request needs which role (the node).

use kith_wire::{
    admin::{AdminRole, AdminToken},
    code::Code,
    id::Timestamp,
    limit,
    trust::{TokenId, TrustRow},
};

use super::trust::read;
use crate::{
    Context,
    reply::Reply,
    view::{RowKey, StateView, ViewError, row},
};

/// All admin tokens that are kept, the oldest first.
///
/// # Errors
/// The row cannot be read.
pub fn admins(view: &dyn StateView) -> Result<Vec<AdminToken>, ViewError> {
    Ok(row::<TrustRow>(view, &RowKey::Trust)?.map(|row| row.admins.clone()).unwrap_or_default())
}

/// Whether the cluster has had its first token.
///
/// # Errors
/// The row cannot be read.
pub fn had_first(view: &dyn StateView) -> Result<bool, ViewError> {
    Ok(row::<TrustRow>(view, &RowKey::Trust)?.is_some_and(|row| row.first_made))
}

/// Whether a token that was found lets anybody in now.
///
/// # Errors
/// `Revoked`, `TokenExpired`; `TokenSpent` for a first one that was used.
pub fn stands(token: &AdminToken, now: Timestamp) -> Result<(), Code> {
    match (token.revoked, token.first) {
        (true, true) => Err(Code::TokenSpent),
        (true, false) => Err(Code::Revoked),
        (false, _) if token.until <= now => Err(Code::TokenExpired),
        (false, _) => Ok(()),
    }
}

/// Adds a token; the first of a cluster only if it had none.
pub(super) fn add(ctx: &mut Context<'_>, token: AdminToken) -> Result<Reply, ViewError> {
    let mut row = read(ctx)?;
    if row.admins.iter().any(|known| known.token == token.token) {
        return Ok(Reply::Done);
    }
    if token.first && row.first_made {
        return Ok(Reply::Rejected(Code::Conflict));
    }
    row.first_made |= token.first;
    put(ctx, row, token)
}

/// Ends a token.
pub(super) fn revoke(ctx: &mut Context<'_>, id: TokenId) -> Result<Reply, ViewError> {
    let mut row = read(ctx)?;
    let Some(token) = row.admins.iter_mut().find(|token| TokenId::of(&token.token) == id) else { return Ok(Reply::Rejected(Code::NotFound)) };
    if !std::mem::replace(&mut token.revoked, true) {
        ctx.rows.put(RowKey::Trust, row);
    }
    Ok(Reply::Done)
}

/// Uses the first token up for another one of the highest role.
pub(super) fn claim(ctx: &mut Context<'_>, first: &[u8; 32], token: AdminToken) -> Result<Reply, ViewError> {
    let mut row = read(ctx)?;
    let now = ctx.now;
    let Some(found) = row.admins.iter_mut().find(|known| known.first && known.token == *first) else { return Ok(Reply::Rejected(Code::BadToken)) };
    if let Err(code) = stands(found, now) {
        return Ok(Reply::Rejected(code));
    }
    found.revoked = true;
    let by_token = Some(TokenId::of(first));
    put(ctx, row, AdminToken { role: AdminRole::Admin, by_token, first: false, ..token })
}

fn put(ctx: &mut Context<'_>, mut row: TrustRow, token: AdminToken) -> Result<Reply, ViewError> {
    if token.name.chars().count() > limit::ADMIN_NAME_CHARS_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    let now = ctx.now;
    row.admins.retain(|known| known.until.get().saturating_add(limit::ADMIN_TOKEN_KEPT_MS) > now.get());
    if row.admins.len() >= limit::ADMIN_TOKENS_MAX {
        // Those that nobody can use go before their time.
        match row.admins.iter().position(|known| stands(known, now).is_err()) {
            Some(over) => drop(row.admins.remove(over)),
            None => return Ok(Reply::Rejected(Code::LimitReached)),
        }
    }
    row.admins.push(AdminToken { made: now, revoked: false, ..token });
    ctx.rows.put(RowKey::Trust, row);
    Ok(Reply::Done)
}
