//! One user's state: account, devices, index and read positions. Atomic in the user's group.
//!
//! In: the user commands, and refs of all channels that the user is or was in. Out: rows of the user,
//! [`crate::effect::Effect::IndexMoved`] and [`crate::effect::Effect::DevicesEnded`]. Invariants: a changed index row moves to a new `rev`, an unchanged one stays; each rev names
//! one row. Bounds: 32 devices; one index row per channel. Not here: names ([`crate::name`]), sessions (the node's memory).

use kith_wire::{
    id::{DeviceId, UserId},
    log::{CredentialRow, DeviceRow, UserChange, UserRow},
};

pub use self::device::may_register;
use crate::{
    Context,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError, row},
};

pub(crate) mod account;
pub(crate) mod debt;
pub(crate) mod device;
pub mod index;
pub(crate) mod login;

/// Applies a change of an account.
pub(crate) fn change(ctx: &mut Context<'_>, user: UserId, change: UserChange) -> Result<Reply, ViewError> {
    match change {
        UserChange::SignUp { name, key, password, recovery, enter } => {
            account::sign_up(ctx, user, account::SignUp { name, key, password, recovery, enter })
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
        UserChange::Erase => account::erase(ctx, user),
        UserChange::Paid { debt, version } => debt::paid(ctx, user, debt, version),
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
