//! The devices of a user: at most 32, the longest idle makes room.

use kith_wire::{
    code::Code,
    id::{DeviceId, UserId},
    limit,
    log::{DeviceRow, UserRow, UserState},
};

use crate::{
    Context,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// Notes that a device signed in.
pub(crate) fn register(ctx: &mut Context<'_>, user: UserId, device: DeviceId) -> Result<Reply, ViewError> {
    let rev = match ctx.rows.row::<UserRow>(&RowKey::User(user))? {
        None => return Ok(Reply::Rejected(Code::NoSuchUser)),
        Some(row) if row.state != UserState::Active => return Ok(Reply::Rejected(Code::Revoked)),
        Some(row) => row.rev,
    };
    let key = RowKey::Device(user, device);
    let created = match ctx.rows.row::<DeviceRow>(&key)? {
        Some(row) => row.created,
        None => {
            make_room(ctx, user)?;
            ctx.now
        }
    };
    ctx.rows.put(key, DeviceRow { created, seen: ctx.now });
    Ok(Reply::Rev(rev))
}

/// Forgets the longest idle devices until one more fits.
fn make_room(ctx: &mut Context<'_>, user: UserId) -> Result<(), ViewError> {
    let mut devices = Vec::new();
    for (key, row) in ctx.rows.scan(&Scan::Devices(user), false, usize::MAX)? {
        let seen = Held::<DeviceRow>::new(&key, row)?.seen;
        devices.push((seen, key));
    }
    devices.sort();
    let over = (devices.len() + 1).saturating_sub(limit::DEVICES_MAX);
    for (_, key) in devices.into_iter().take(over) {
        ctx.rows.delete(key);
    }
    Ok(())
}
