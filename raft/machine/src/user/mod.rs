//! One user's state: account, devices, index and read positions. Atomic in the user's group.
//!
//! In: the user commands, and refs of all channels that the user is or was in. Out: rows of the user and
//! [`crate::effect::Effect::IndexMoved`]. Invariants: a changed index row moves to a new `rev`, an unchanged one stays; each rev names
//! one row. Bounds: 32 devices; one index row per channel. Not here: names ([`crate::name`]), sessions (the node's memory).

use kith_wire::{id::UserId, log::UserRow};

use crate::view::{RowKey, StateView, ViewError, row};

pub(crate) mod account;
pub(crate) mod device;
pub mod index;

/// The account of a user, in whatever state.
///
/// # Errors
/// The row cannot be read.
pub fn account(view: &dyn StateView, user: UserId) -> Result<Option<UserRow>, ViewError> {
    Ok(row::<UserRow>(view, &RowKey::User(user))?.map(|row| row.clone()))
}
