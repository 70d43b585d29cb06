//! Making an account: the one commit point of a sign-up, and its opposite.

use kith_wire::{
    code::Code,
    id::{UserId, UserRev},
    limit,
    log::{UserRow, UserState},
};

use crate::{
    Context,
    reply::Reply,
    view::{RowKey, ViewError},
};

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
    ctx.rows.put(RowKey::User(user), UserRow { name, key, state: UserState::Active, rev: UserRev::ZERO, created: ctx.now });
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
