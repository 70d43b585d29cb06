//! One user's state: account, devices, index and read positions. Atomic in the user's group.
//!
//! In: the user commands, and refs of all channels that the user is or was in. Out: rows of the user,
//! [`crate::effect::Effect::IndexMoved`] and [`crate::effect::Effect::DevicesEnded`]. Invariants: a changed index row moves to a new `rev`, an unchanged one stays; each rev names
//! one row. Bounds: 32 devices; one index row per channel. Not here: names ([`crate::name`]), sessions (the node's memory).

use kith_wire::{
    id::{DeviceId, UserId},
    limit,
    log::{ContactRow, CredentialRow, DeviceRow, ProfileRow, UserChange, UserRow},
};

pub use self::device::may_register;
use crate::{
    Context,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError, row},
};

pub(crate) mod account;
pub(crate) mod bot;
pub(crate) mod call;
pub(crate) mod contact;
pub(crate) mod debt;
pub(crate) mod device;
pub mod index;
pub(crate) mod login;
pub(crate) mod profile;
pub mod push;

/// Applies a change of an account.
pub(crate) fn change(ctx: &mut Context<'_>, user: UserId, change: UserChange) -> Result<Reply, ViewError> {
    match change {
        UserChange::SignUp { name, key, password, recovery, enter } => {
            account::sign_up(ctx, user, account::SignUp { name, key, password, recovery, enter, owner: None })
        }
        UserChange::LogIn { password_rev, enter } => login::log_in(ctx, user, password_rev, enter),
        UserChange::Refresh { device, shown, next } => login::refresh(ctx, user, device, shown, next),
        UserChange::EndDevices { devices, all_others } => device::end(ctx, user, &devices, all_others),
        UserChange::SetPassword { password_rev, password, keep } => login::set_password(ctx, user, password_rev, password, keep),
        UserChange::SetRecovery { password_rev, recovery } => login::set_recovery(ctx, user, password_rev, recovery),
        UserChange::IssueReset { code, until } => login::issue_reset(ctx, user, code, until),
        UserChange::ResetPassword { shown, password, recovery } => login::reset_password(ctx, user, shown, password, recovery),
        UserChange::Rename { name, renames } => account::rename(ctx, user, name, renames),
        UserChange::SettleName { name } => account::settle_name(ctx, user, &name),
        UserChange::SetAdmin { admin } => account::set_admin(ctx, user, admin),
        UserChange::Erase { password_rev } => account::erase(ctx, user, password_rev),
        UserChange::Paid { debt, version } => debt::paid(ctx, user, debt, version),
        UserChange::Prefer { channel, preference } => index::prefer(ctx, user, channel, preference),
        UserChange::SetProfile { display, about, avatar, searchable, fields } => {
            profile::set(ctx, user, profile::Change { display, about, avatar, searchable, fields })
        }
        UserChange::AskContact { peer, asked } => contact::ask(ctx, user, peer, asked),
        UserChange::MirrorContact { peer, asked, version } => contact::mirror(ctx, user, peer, asked, version),
        UserChange::Block { peer, blocked } => contact::block(ctx, user, peer, blocked),
        UserChange::Indexed { version, words } => profile::indexed(ctx, user, version, words),
        UserChange::SignUpBot { name, key, owner, enter } => bot::sign_up(ctx, user, (name, key), owner, enter),
        UserChange::BotToken { by, enter } => bot::token(ctx, user, by, enter),
        UserChange::EraseBot { by } => bot::erase(ctx, user, by),
        UserChange::OwnBot { bot, owned } => bot::own(ctx, user, bot, owned),
        UserChange::SetBanned { banned } => account::set_banned(ctx, user, banned),
        UserChange::SetPrivate { private } => account::set_private(ctx, user, private),
        UserChange::Seen { here, at } => account::seen(ctx, user, here, at),
        UserChange::Forget { channels } => index::forget(ctx, user, &channels),
        UserChange::AskReset { nonce, code, until } => login::ask_reset(ctx, user, nonce, code, until),
        UserChange::Push(change) => push::change(ctx, user, change),
        UserChange::Keyed { key, digest, change } => call::keyed(ctx, user, (key, digest), *change),
    }
}

/// The account of a user, in whatever state.
///
/// # Errors
/// The row cannot be read.
pub fn account(view: &dyn StateView, user: UserId) -> Result<Option<UserRow>, ViewError> {
    Ok(row::<UserRow>(view, &RowKey::User(user))?.map(|row| row.clone()))
}

/// How a user's account is proven; the default for one that never had a password.
///
/// # Errors
/// The row cannot be read.
pub fn credential(view: &dyn StateView, user: UserId) -> Result<CredentialRow, ViewError> {
    Ok(row::<CredentialRow>(view, &RowKey::Credential(user))?.map(|row| row.clone()).unwrap_or_default())
}

/// Whether a user may be in one more group, as far as their index knows.
///
/// # Errors
/// The row cannot be read.
pub fn has_room(view: &dyn StateView, user: UserId) -> Result<bool, ViewError> {
    Ok(account(view, user)?.is_none_or(|row| row.groups < limit::GROUPS_MAX))
}

/// A user's devices, ended ones too, by id.
///
/// # Errors
/// A row cannot be read.
pub fn devices(view: &dyn StateView, user: UserId) -> Result<Vec<(DeviceId, DeviceRow)>, ViewError> {
    let mut devices = Vec::new();
    for (key, row) in view.scan(&Scan::Devices(user), false, usize::MAX)? {
        if let RowKey::Device(_, device) = key {
            devices.push((device, Held::<DeviceRow>::new(&key, row)?.clone()));
        }
    }
    Ok(devices)
}

/// One device of a user.
///
/// # Errors
/// The row cannot be read.
pub fn device(view: &dyn StateView, user: UserId, device: DeviceId) -> Result<Option<DeviceRow>, ViewError> {
    Ok(row::<DeviceRow>(view, &RowKey::Device(user, device))?.map(|row| row.clone()))
}

/// What others see of a user; the default for one that never said anything.
///
/// # Errors
/// The row cannot be read.
pub fn profile(view: &dyn StateView, user: UserId) -> Result<ProfileRow, ViewError> {
    Ok(row::<ProfileRow>(view, &RowKey::Profile(user))?.map(|row| row.clone()).unwrap_or_default())
}

/// What stands between a user and another.
///
/// # Errors
/// The row cannot be read.
pub fn contact(view: &dyn StateView, user: UserId, peer: UserId) -> Result<Option<ContactRow>, ViewError> {
    Ok(row::<ContactRow>(view, &RowKey::Contact(user, peer))?.map(|row| *row))
}

/// What stands between a user and others, from this one on, by rising id; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn contacts(view: &dyn StateView, user: UserId, from: UserId, limit: usize) -> Result<Vec<(UserId, ContactRow)>, ViewError> {
    let mut contacts = Vec::new();
    for (key, row) in view.scan(&Scan::Contacts(user, from), false, limit)? {
        if let RowKey::Contact(_, peer) = key {
            contacts.push((peer, *Held::<ContactRow>::new(&key, row)?));
        }
    }
    Ok(contacts)
}
