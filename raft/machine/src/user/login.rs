//! Passwords, recovery and one-time codes, refresh tokens: what lets a device in, and what throws others out.
//!
//! In: digests and PHC strings; whoever proposes has checked the password itself. Out: rows of credentials and devices. Invariants: what was
//! checked against an older password is refused; a code works once; of one refresh token no two successors stay in use, and one whose successor
//! nobody has shown yet is not spent: a lost answer costs nobody their log-in.
//! Not here: hashing, drawing secrets and codes (the node).

use kith_wire::{
    code::Code,
    id::{DeviceId, Timestamp, UserId},
    limit,
    log::{CredentialRow, Debt, DeviceRow, EnterDevice, IssuedReset, MailedReset, UserRow},
    secret::Secret,
};

use crate::{
    Context,
    reply::Reply,
    user::{account, debt, device},
    view::{RowKey, ViewError},
};

/// Lets a device in. `BadLogin`: the password that was checked is not in force any more.
pub(crate) fn log_in(ctx: &mut Context<'_>, user: UserId, password_rev: Option<u64>, enter: EnterDevice) -> Result<Reply, ViewError> {
    let Some(account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::BadLogin)) };
    if let Some(rev) = password_rev
        && credential(ctx, user)?.password_rev != rev
    {
        return Ok(Reply::Rejected(Code::BadLogin));
    }
    device::enter(ctx, user, account, enter, false)
}

/// Takes a refresh token and gives the next one. Until that one is shown, the one before it may be shown again, since the answer may be lost: by
/// the same try it has the same successor, by another one (the app was killed meanwhile) another, and the first is of no use. Who shows what is
/// spent, or of no use, has a copy that somebody else goes on with: the device is ended, and so both are out.
pub(crate) fn refresh(ctx: &mut Context<'_>, user: UserId, device: DeviceId, shown: [u8; 32], next: [u8; 32]) -> Result<Reply, ViewError> {
    let Some(account) = account::active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    if account.is_banned() {
        return Ok(Reply::Rejected(Code::Banned));
    }
    let key = RowKey::Device(user, device);
    let Some(mut row) = ctx.rows.row::<DeviceRow>(&key)?.map(|row| row.clone()) else { return Ok(Reply::Rejected(Code::LoginNeeded)) };
    if row.ended.is_some() {
        return Ok(Reply::Rejected(Code::Revoked));
    }
    if ctx.now.get() > row.seen.max(row.refreshed).get().saturating_add(limit::REFRESH_IDLE_MAX_MS) {
        return Ok(Reply::Rejected(Code::LoginNeeded));
    }
    let was_last = row.spent.first() == Some(&shown);
    if row.refresh == Some(shown) {
        row.spent.insert(0, shown);
        row.spent.truncate(limit::REFRESH_SPENT_KEPT);
        (row.refresh, row.refreshed) = (Some(next), ctx.now);
    } else if was_last && row.refresh == Some(next) {
        // The same try again.
    } else if row.spent.contains(&shown) && row.spent.contains(&next) {
        // A try that is late: others have overtaken it.
        return Ok(Reply::Rejected(Code::LoginNeeded));
    } else if was_last {
        if let Some(useless) = row.refresh.replace(next) {
            row.spent.insert(1, useless);
            row.spent.truncate(limit::REFRESH_SPENT_KEPT);
        }
    } else if row.spent.contains(&shown) {
        device::end(ctx, user, &[device], false)?;
        return Ok(Reply::Rejected(Code::Revoked));
    } else {
        return Ok(Reply::Rejected(Code::LoginNeeded));
    }
    let login = row.login;
    ctx.rows.put(key, row);
    Ok(Reply::Entered { name: account.name, login, admin: account.admin, created: false })
}

/// Another password in the place of the one that was checked. All devices but one must log in again.
pub(crate) fn set_password(ctx: &mut Context<'_>, user: UserId, rev: u64, password: Secret, keep: DeviceId) -> Result<Reply, ViewError> {
    let old = credential(ctx, user)?;
    // The same proposal again: each hash has a salt of its own.
    if old.password.as_ref() == Some(&password) {
        return Ok(Reply::Done);
    }
    if account::active(ctx, user)?.is_none() || old.password_rev != rev {
        return Ok(Reply::Rejected(Code::BadLogin));
    }
    let mailed = old.mailed.map(spent);
    ctx.rows.put(RowKey::Credential(user), CredentialRow { password: Some(password), password_rev: rev + 1, reset: None, mailed, ..old });
    device::end(ctx, user, &[keep], true)
}

/// Another recovery code.
pub(crate) fn set_recovery(ctx: &mut Context<'_>, user: UserId, rev: u64, recovery: [u8; 32]) -> Result<Reply, ViewError> {
    let old = credential(ctx, user)?;
    if account::active(ctx, user)?.is_none() || old.password_rev != rev {
        return Ok(Reply::Rejected(Code::BadLogin));
    }
    ctx.rows.put(RowKey::Credential(user), CredentialRow { recovery: Some(recovery), ..old });
    Ok(Reply::Done)
}

/// A code that works once, until then; in the place of the one before it.
pub(crate) fn issue_reset(ctx: &mut Context<'_>, user: UserId, code: [u8; 32], until: Timestamp) -> Result<Reply, ViewError> {
    if account::active(ctx, user)?.is_none() {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    }
    let old = credential(ctx, user)?;
    ctx.rows.put(RowKey::Credential(user), CredentialRow { reset: Some(IssuedReset { code, until }), ..old });
    Ok(Reply::Done)
}

/// Notes that the app's backend is to hand a code to the user. Whoever asks is told `Done` and no more: neither whether there is such a user, nor
/// whether they were heard. A code that is good for long enough stays, so that nobody takes from the user by asking again what they were just sent.
pub(crate) fn ask_reset(ctx: &mut Context<'_>, user: UserId, nonce: [u8; 16], code: [u8; 32], until: Timestamp) -> Result<Reply, ViewError> {
    let Some(mut account) = account::active(ctx, user)? else { return Ok(Reply::Done) };
    let old = credential(ctx, user)?;
    // Who never had a password comes in by something else, and a bot by its owner.
    if old.password.is_none() || old.owner.is_some() || account.is_banned() {
        return Ok(Reply::Done);
    }
    let now = ctx.now;
    let (mut since, mut asks) = old.mailed.map_or((now, 0), |mailed| (mailed.since, mailed.asks));
    if now.get() >= since.get().saturating_add(DAY_MS) {
        (since, asks) = (now, 0);
    }
    let is_soon = old.mailed.is_some_and(|mailed| now.get() < mailed.asked.get().saturating_add(limit::RESET_ASK_EVERY_MS));
    if is_soon || asks >= limit::RESET_ASKS_MAX {
        return Ok(Reply::Done);
    }
    asks += 1;
    let is_good = |mailed: &MailedReset| mailed.code.is_some() && now.get().saturating_add(limit::RESET_MAILED_MS / 2) < mailed.until.get();
    let mailed = match old.mailed.filter(is_good) {
        Some(held) => MailedReset { asked: now, since, asks, ..held },
        None => {
            let until = until.min(Timestamp::new(now.get().saturating_add(limit::RESET_MAILED_MS)));
            MailedReset { nonce, code: Some(code), until, asked: now, since, asks }
        }
    };
    ctx.rows.put(RowKey::Credential(user), CredentialRow { mailed: Some(mailed), ..old });
    debt::owe(ctx, user, &mut account, Debt::Reset);
    ctx.rows.put(RowKey::User(user), account);
    Ok(Reply::Done)
}

/// A code is of no use any more; how often somebody asked stays.
const fn spent(mailed: MailedReset) -> MailedReset {
    MailedReset { code: None, ..mailed }
}

/// Whom a log-in under a key let in, when it is asked for again: the log-in that it is, whatever has come since.
pub(crate) fn again(ctx: &Context<'_>, account: UserRow, user: UserId, device: DeviceId) -> Result<Reply, ViewError> {
    if account.is_banned() {
        return Ok(Reply::Rejected(Code::Banned));
    }
    Ok(match ctx.rows.row::<DeviceRow>(&RowKey::Device(user, device))?.filter(|row| row.ended.is_none()) {
        Some(row) => Reply::Entered { name: account.name, login: row.login, admin: account.admin, created: false },
        None => Reply::Rejected(Code::Revoked),
    })
}

/// Takes a code, which is spent by that, and ends all devices.
pub(crate) fn reset_password(ctx: &mut Context<'_>, user: UserId, shown: [u8; 32], password: Secret, recovery: [u8; 32]) -> Result<Reply, ViewError> {
    let old = credential(ctx, user)?;
    if old.password.as_ref() == Some(&password) {
        return Ok(Reply::Done);
    }
    let is_recovery = old.recovery == Some(shown);
    let is_issued = old.reset.is_some_and(|reset| reset.code == shown && ctx.now < reset.until);
    let is_mailed = old.mailed.is_some_and(|mailed| mailed.code == Some(shown) && ctx.now < mailed.until);
    if account::active(ctx, user)?.is_none() || !(is_recovery || is_issued || is_mailed) {
        return Ok(Reply::Rejected(Code::BadLogin));
    }
    let mailed = old.mailed.map(spent);
    let row = CredentialRow { password: Some(password), password_rev: old.password_rev + 1, recovery: Some(recovery), reset: None, mailed, ..old };
    ctx.rows.put(RowKey::Credential(user), row);
    device::end(ctx, user, &[], true)
}

pub(crate) fn credential(ctx: &Context<'_>, user: UserId) -> Result<CredentialRow, ViewError> {
    Ok(ctx.rows.row::<CredentialRow>(&RowKey::Credential(user))?.map(|row| row.clone()).unwrap_or_default())
}

/// How often somebody asks is counted anew after so long, in milliseconds.
const DAY_MS: u64 = 24 * 3_600_000;
