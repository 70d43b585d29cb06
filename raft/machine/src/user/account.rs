//! An account: made, named, and ended; each in one command that is the only commit point.

use kith_wire::{
    code::Code,
    id::{Timestamp, UserId},
    limit,
    log::{ContactRow, CredentialRow, Debt, EnterDevice, UserRow, UserState},
    secret::Secret,
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    user::{debt, device, login, profile},
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// What a sign-up brings.
pub(crate) struct SignUp {
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
    pub(crate) password: Option<Secret>,
    pub(crate) recovery: Option<[u8; 32]>,
    pub(crate) enter: Option<EnterDevice>,
    /// Of a bot.
    pub(crate) owner: Option<UserId>,
}

/// Makes a user; the same key again finds it made.
pub(crate) fn create(ctx: &mut Context<'_>, user: UserId, name: String, key: [u8; 32]) -> Result<Reply, ViewError> {
    let refused = match ctx.rows.row::<UserRow>(&RowKey::User(user))? {
        Some(row) if row.state == UserState::Active && row.key == key => return Ok(Reply::Account { created: false }),
        Some(row) if row.state == UserState::Erased && row.key == key => Some(Code::Revoked),
        Some(_) => Some(Code::IdTaken),
        None if user == UserId::new(0) || name.is_empty() => Some(Code::Invalid),
        None if name.len() > limit::NAME_BYTES_MAX => Some(Code::TooLarge),
        None => None,
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    ctx.rows.put(RowKey::User(user), UserRow { name, key, created: ctx.now, ..UserRow::default() });
    Ok(Reply::Account { created: true })
}

/// Settles a stale reservation: a user that does not exist now never will. `Account` says that there is one, `Done` that there never will be.
pub(crate) fn forbid(ctx: &mut Context<'_>, user: UserId) -> Result<Reply, ViewError> {
    match ctx.rows.row::<UserRow>(&RowKey::User(user))?.map(|row| row.state) {
        Some(UserState::Active) => Ok(Reply::Account { created: false }),
        Some(UserState::Forbidden | UserState::Erased) => Ok(Reply::Done),
        None => {
            ctx.rows.put(RowKey::User(user), UserRow { state: UserState::Forbidden, created: ctx.now, ..UserRow::default() });
            Ok(Reply::Done)
        }
    }
}

/// Makes a user with all that it needs. The same key and name again are the same person, whose answer was lost: the device is let in, unless the
/// password was changed since, which is to throw out whoever knew the key too.
pub(crate) fn sign_up(ctx: &mut Context<'_>, user: UserId, new: SignUp) -> Result<Reply, ViewError> {
    let SignUp { name, key, password, recovery, enter, owner } = new;
    let created = match ctx.rows.row::<UserRow>(&RowKey::User(user))? {
        // Another name may have been taken since; that of a retry must not be held for this user.
        Some(row) if row.state == UserState::Active && row.name != name => return Ok(Reply::Rejected(Code::IdTaken)),
        Some(row) if row.state == UserState::Active && login::credential(ctx, user)?.password_rev > 0 => {
            return Ok(Reply::Rejected(Code::IdTaken));
        }
        Some(_) => false,
        None => true,
    };
    match create(ctx, user, name, key)? {
        Reply::Account { .. } => {}
        refused => return Ok(refused),
    }
    let Some(mut account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    if created {
        // Should whoever signs up be gone before the name is confirmed.
        let name = account.name.clone();
        debt::owe(ctx, user, &mut account, Debt::Name(name));
        profile::renamed(ctx, user, &mut account)?;
        ctx.rows.put(RowKey::User(user), account.clone());
        ctx.rows.put(RowKey::Credential(user), CredentialRow { password, recovery, owner, ..CredentialRow::default() });
    }
    match enter {
        Some(enter) => device::enter(ctx, user, account, enter, created),
        None => Ok(Reply::Account { created }),
    }
}

/// The commit point of a rename. `Busy`: another one came between.
pub(crate) fn rename(ctx: &mut Context<'_>, user: UserId, name: String, renames: u64) -> Result<Reply, ViewError> {
    let Some(mut account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    let refused = match () {
        () if account.name == name => return Ok(Reply::Done),
        () if name.is_empty() => Some(Code::Invalid),
        () if name.len() > limit::NAME_BYTES_MAX => Some(Code::TooLarge),
        () if account.renames != renames => Some(Code::Busy),
        () if account.renamed.get() > 0 && ctx.now.get() < account.renamed.get().saturating_add(limit::RENAME_EVERY_MS) => Some(Code::TooMany),
        () => None,
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    let old = std::mem::replace(&mut account.name, name.clone());
    account.renames += 1;
    account.renamed = ctx.now;
    debt::owe(ctx, user, &mut account, Debt::Name(old));
    debt::owe(ctx, user, &mut account, Debt::Name(name));
    profile::renamed(ctx, user, &mut account)?;
    ctx.rows.put(RowKey::User(user), account);
    Ok(Reply::Done)
}

/// Settles a stale reservation: `Account` says that the name is the user's, `Done` that nothing under way will make it so.
pub(crate) fn settle_name(ctx: &mut Context<'_>, user: UserId, name: &str) -> Result<Reply, ViewError> {
    match active(ctx, user)? {
        Some(account) if account.name == name => Ok(Reply::Account { created: false }),
        Some(account) => {
            let renames = account.renames + 1;
            ctx.rows.put(RowKey::User(user), UserRow { renames, ..account });
            Ok(Reply::Done)
        }
        None => forbid(ctx, user),
    }
}

/// Gives or takes an operator's rights. Who loses them is logged out, since sessions and tokens may still have them.
pub(crate) fn set_admin(ctx: &mut Context<'_>, user: UserId, admin: bool) -> Result<Reply, ViewError> {
    let Some(account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::NoSuchUser)) };
    if account.admin == admin {
        return Ok(Reply::Done);
    }
    ctx.rows.put(RowKey::User(user), UserRow { admin, ..account });
    if admin { Ok(Reply::Done) } else { device::end(ctx, user, &[], true) }
}

/// Shuts a user out, or lets them in again. Who is shut out is logged out.
pub(crate) fn set_banned(ctx: &mut Context<'_>, user: UserId, banned: bool) -> Result<Reply, ViewError> {
    let Some(account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::NoSuchUser)) };
    if account.is_banned() == banned {
        return Ok(Reply::Done);
    }
    let since = if banned { Timestamp::new(ctx.now.get().max(1)) } else { Timestamp::default() };
    ctx.rows.put(RowKey::User(user), UserRow { banned: since, ..account });
    if banned { device::end(ctx, user, &[], true) } else { Ok(Reply::Done) }
}

/// Whether all others are to see the user offline.
pub(crate) fn set_private(ctx: &mut Context<'_>, user: UserId, private: bool) -> Result<Reply, ViewError> {
    let Some(account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    if account.private != private {
        ctx.rows.put(RowKey::User(user), UserRow { private, ..account });
        ctx.effects.push(Effect::Hides { user, private });
    }
    Ok(Reply::Done)
}

/// The user was here then, and still is or has left. What was known later stands.
pub(crate) fn seen(ctx: &mut Context<'_>, user: UserId, here: bool, at: Timestamp) -> Result<Reply, ViewError> {
    let Some(account) = active(ctx, user)? else { return Ok(Reply::Done) };
    if at >= account.seen && (at, here) != (account.seen, account.here) {
        ctx.rows.put(RowKey::User(user), UserRow { here, seen: at, ..account });
    }
    Ok(Reply::Done)
}

/// Ends an account for ever. Its id, and for a while its name, stay nobody else's. `BadLogin`: the password that was checked is not in force any more.
pub(crate) fn erase(ctx: &mut Context<'_>, user: UserId, password_rev: u64) -> Result<Reply, ViewError> {
    let Some(mut account) = active(ctx, user)? else { return Ok(Reply::Done) };
    if login::credential(ctx, user)?.password_rev != password_rev {
        return Ok(Reply::Rejected(Code::BadLogin));
    }
    for (key, _) in ctx.rows.scan(&Scan::Devices(user), false, usize::MAX)? {
        ctx.rows.delete(key);
    }
    let bots = login::credential(ctx, user)?.bots;
    ctx.rows.delete(RowKey::Credential(user));
    ctx.rows.delete(RowKey::Pushes(user));
    account.pushes = 0;
    // With no row they want nobody: whoever they wanted is told so.
    for (key, row) in ctx.rows.scan(&Scan::Contacts(user, UserId::new(0)), false, usize::MAX)? {
        let RowKey::Contact(_, peer) = key else { continue };
        if Held::<ContactRow>::new(&key, row)?.mine {
            debt::owe(ctx, user, &mut account, Debt::Contact(peer));
        }
        ctx.rows.delete(key);
    }
    (account.contacts, account.blocks) = (0, 0);
    (account.private, account.here, account.seen) = (false, false, Timestamp::default());
    ctx.effects.push(Effect::DevicesEnded { user, devices: Vec::new(), all_but: true });
    (account.state, account.admin) = (UserState::Erased, false);
    let name = std::mem::take(&mut account.name);
    debt::owe(ctx, user, &mut account, Debt::Name(name));
    debt::owe(ctx, user, &mut account, Debt::Texts);
    bots.into_iter().for_each(|bot| debt::owe(ctx, user, &mut account, Debt::Bot(bot)));
    profile::renamed(ctx, user, &mut account)?;
    ctx.rows.put(RowKey::User(user), account);
    Ok(Reply::Done)
}

/// The account, if it may be used.
pub(crate) fn active(ctx: &Context<'_>, user: UserId) -> Result<Option<UserRow>, ViewError> {
    Ok(ctx.rows.row::<UserRow>(&RowKey::User(user))?.filter(|row| row.state == UserState::Active).map(|row| row.clone()))
}
