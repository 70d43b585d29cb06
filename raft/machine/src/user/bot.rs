//! Bots: users without a password, whose one token their owner gives, replaces and ends.
//!
//! In: changes of a bot, applied in the bot's home, and of who owns it, in the owner's. Out: rows of credentials and devices. Invariants: a bot's
//! owner never changes; only they and an operator may do anything about it; of its tokens at most one is good. Bounds: `limit::BOTS_MAX` bots
//! of an owner. A bot whose owner is gone goes too, by a debt. Not here: drawing tokens, showing them (the node).

use kith_wire::{
    code::Code,
    id::UserId,
    limit,
    log::{CredentialRow, DeviceRow, EnterDevice},
};

use crate::{
    Context,
    reply::Reply,
    user::{account, device, login::credential},
    view::{RowKey, ViewError},
};

/// Makes a bot, or finds it made and gives it another token.
pub(crate) fn sign_up(
    ctx: &mut Context<'_>,
    bot: UserId,
    (name, key): (String, [u8; 32]),
    owner: UserId,
    enter: EnterDevice,
) -> Result<Reply, ViewError> {
    let new = account::SignUp { name, key, password: None, recovery: None, enter: Some(enter), owner: Some(owner) };
    account::sign_up(ctx, bot, new)
}

/// Another token in the place of the one before, or none any more. Sessions by the old one end.
pub(crate) fn token(ctx: &mut Context<'_>, bot: UserId, by: UserId, enter: Option<EnterDevice>) -> Result<Reply, ViewError> {
    if let Some(code) = refused(ctx, bot, by)? {
        return Ok(Reply::Rejected(code));
    }
    if let Some(enter) = &enter
        && ctx.rows.row::<DeviceRow>(&RowKey::Device(bot, enter.device))?.is_some_and(|row| row.refresh == Some(enter.refresh) && row.ended.is_none())
    {
        // The same proposal again.
        let Some(account) = account::active(ctx, bot)? else { return Ok(Reply::Rejected(Code::NoSuchUser)) };
        return device::enter(ctx, bot, account, enter.clone(), false);
    }
    let ended = device::end(ctx, bot, &[], true)?;
    match (enter, account::active(ctx, bot)?) {
        (Some(enter), Some(account)) => device::enter(ctx, bot, account, enter, false),
        _ => Ok(ended),
    }
}

/// Ends a bot for ever.
pub(crate) fn erase(ctx: &mut Context<'_>, bot: UserId, by: UserId) -> Result<Reply, ViewError> {
    match refused(ctx, bot, by)? {
        Some(code) => Ok(Reply::Rejected(code)),
        // Nobody ever set a password.
        None => account::erase(ctx, bot, 0),
    }
}

/// Notes whom a user owns, before the bot is made and after it is gone.
pub(crate) fn own(ctx: &mut Context<'_>, owner: UserId, bot: UserId, owned: bool) -> Result<Reply, ViewError> {
    if account::active(ctx, owner)?.is_none() {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    }
    let mut row = credential(ctx, owner)?;
    // Nobody is owned by somebody who is owned.
    if row.owner.is_some() {
        return Ok(Reply::Rejected(Code::NotAllowed));
    }
    match row.bots.iter().position(|held| *held == bot) {
        Some(at) if !owned => {
            row.bots.remove(at);
        }
        None if owned && row.bots.len() >= limit::BOTS_MAX => return Ok(Reply::Rejected(Code::LimitReached)),
        None if owned => row.bots.push(bot),
        _ => return Ok(Reply::Done),
    }
    ctx.rows.put(RowKey::Credential(owner), row);
    Ok(Reply::Done)
}

/// Why somebody may not do anything about a bot. Who is no bot, or somebody else's, is told the same.
fn refused(ctx: &Context<'_>, bot: UserId, by: UserId) -> Result<Option<Code>, ViewError> {
    if account::active(ctx, bot)?.is_none() {
        return Ok(Some(Code::NoSuchUser));
    }
    let CredentialRow { owner, .. } = credential(ctx, bot)?;
    let is_theirs = owner.is_some_and(|owner| by == UserId::new(0) || owner == by);
    Ok((!is_theirs).then_some(Code::NotAllowed))
}
