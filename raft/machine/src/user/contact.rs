//! Contacts and blocks: what stands between a user and another, as this user's home has it.
//!
//! In: what the user wants, what the other's home says that they want. Out: one row per other, and the debt that their home is to hear of it.
//! Contacts are those who both want each other: crossing requests agree, in whatever order they come. Invariants: a row says something; who is
//! blocked is not wanted. Bounds: `limit::CONTACTS_MAX` rows, which others fill up to `limit::CONTACTS_OF_OTHERS_MAX` only; `limit::BLOCKS_MAX` blocks. Not here: telling the other home (the node).

use kith_wire::{
    code::Code,
    id::UserId,
    limit,
    log::{ContactRow, Debt, UserRow},
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    user::{account, debt},
    view::{RowKey, ViewError},
};

/// The user wants the other, or not (any more). `NotAllowed`: blocked.
pub(crate) fn ask(ctx: &mut Context<'_>, user: UserId, peer: UserId, asked: bool) -> Result<Reply, ViewError> {
    let Some(mut account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    let old = held(ctx, user, peer)?;
    let row = old.unwrap_or_default();
    let refused = match () {
        () if user == peer => Some(Code::Invalid),
        () if asked && row.blocked => Some(Code::NotAllowed),
        () if asked && old.is_none() && account.contacts >= limit::CONTACTS_MAX => Some(Code::LimitReached),
        () => None,
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    let declined = !asked && row.theirs;
    if row.mine == asked && row.declined == declined {
        return Ok(Reply::Done);
    }
    let new = ContactRow { mine: asked, declined, since: ctx.now, ..row };
    if row.mine != asked {
        debt::owe(ctx, user, &mut account, Debt::Contact(peer));
    }
    put(ctx, user, account, peer, old, new);
    Ok(Reply::Done)
}

/// The other wants this user, or not, as their home says; `version` is its count of all that it ever owed for them, so that a later word has a
/// higher one whatever rows came and went meanwhile. `Busy`: there is no room for one more now.
pub(crate) fn mirror(ctx: &mut Context<'_>, user: UserId, peer: UserId, asked: bool, version: u64) -> Result<Reply, ViewError> {
    let Some(account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::NoSuchUser)) };
    let old = held(ctx, user, peer)?;
    let row = old.unwrap_or_default();
    if user == peer || version <= row.theirs_version || (old.is_none() && !asked) {
        return Ok(Reply::Done);
    }
    if old.is_none() && account.contacts >= limit::CONTACTS_OF_OTHERS_MAX {
        return Ok(Reply::Rejected(Code::Busy));
    }
    // Told again what is known, as of a later count: a request that was declined does not come back by that.
    let new = if asked == row.theirs {
        ContactRow { theirs_version: version, ..row }
    } else {
        ContactRow { theirs: asked, theirs_version: version, declined: false, since: ctx.now, ..row }
    };
    put(ctx, user, account, peer, old, new);
    Ok(Reply::Done)
}

/// The user wants to hear nothing of the other, or does again.
pub(crate) fn block(ctx: &mut Context<'_>, user: UserId, peer: UserId, blocked: bool) -> Result<Reply, ViewError> {
    let Some(mut account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    let old = held(ctx, user, peer)?;
    let row = old.unwrap_or_default();
    if user == peer {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    if row.blocked == blocked {
        return Ok(Reply::Done);
    }
    if blocked && account.blocks >= limit::BLOCKS_MAX {
        return Ok(Reply::Rejected(Code::LimitReached));
    }
    let mut new = ContactRow { blocked, since: ctx.now, ..row };
    if blocked && row.mine {
        // The other sees a contact that has gone, as after any second thought.
        new.mine = false;
        debt::owe(ctx, user, &mut account, Debt::Contact(peer));
    }
    ctx.effects.push(Effect::Blocked { user, peer, blocked });
    put(ctx, user, account, peer, old, new);
    Ok(Reply::Done)
}

/// Puts the row, or deletes it when it says nothing, and the account with its counts.
fn put(ctx: &mut Context<'_>, user: UserId, mut account: UserRow, peer: UserId, old: Option<ContactRow>, new: ContactRow) {
    let may_look = |row: &ContactRow| row.is_mutual() && !row.blocked;
    let allowed = may_look(&new);
    if old.is_some_and(|row| may_look(&row)) != allowed {
        ctx.effects.push(Effect::MayLook { user, peer, allowed });
    }
    let says = new.mine || new.theirs || new.blocked;
    account.contacts = account.contacts + u32::from(says) - u32::from(old.is_some());
    account.blocks = account.blocks + u32::from(new.blocked) - u32::from(old.is_some_and(|row| row.blocked));
    let key = RowKey::Contact(user, peer);
    if says {
        ctx.rows.put(key, new);
    } else if old.is_some() {
        ctx.rows.delete(key);
    }
    ctx.rows.put(RowKey::User(user), account);
}

fn held(ctx: &Context<'_>, user: UserId, peer: UserId) -> Result<Option<ContactRow>, ViewError> {
    Ok(ctx.rows.row::<ContactRow>(&RowKey::Contact(user, peer))?.map(|row| *row))
}
