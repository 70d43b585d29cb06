//! The devices of a user: let in, noted at each session, ended. At most 32; one that was ended, or the longest idle, makes room.

use kith_wire::{
    code::Code,
    id::{DeviceId, Timestamp, UserId},
    limit,
    log::{DeviceRow, EnterDevice, UserRow, UserState},
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    user::push,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// Notes that a device signed in. `Revoked`: it was ended, or never let in by the log-in that its token names.
pub(crate) fn register(ctx: &mut Context<'_>, user: UserId, device: DeviceId, login: u64, issued: Timestamp) -> Result<Reply, ViewError> {
    let account = match ctx.rows.row::<UserRow>(&RowKey::User(user))? {
        None => return Ok(Reply::Rejected(Code::NoSuchUser)),
        Some(row) if row.state != UserState::Active => return Ok(Reply::Rejected(Code::Revoked)),
        Some(row) if row.is_banned() => return Ok(Reply::Rejected(Code::Banned)),
        Some(row) => row,
    };
    let key = RowKey::Device(user, device);
    let old = ctx.rows.row::<DeviceRow>(&key)?.map(|row| row.clone());
    if !may_register(&account, old.as_ref(), login, issued) {
        return Ok(Reply::Rejected(Code::Revoked));
    }
    let rev = account.rev;
    let old = match old {
        Some(row) => row,
        None => {
            make_room(ctx, user)?;
            DeviceRow { created: ctx.now, ..DeviceRow::default() }
        }
    };
    // By a token that is bound to no log-in it comes back, and with it none of the tokens of the log-in that was ended.
    let login = if old.ended.is_some() { 0 } else { old.login };
    ctx.rows.put(key, DeviceRow { seen: ctx.now, login, ended: None, ..old });
    if !account.here || ctx.now.get() >= account.seen.get().saturating_add(limit::SEEN_EVERY_MS) {
        let seen = account.seen.max(ctx.now);
        let account = UserRow { here: true, seen, ..account.clone() };
        ctx.rows.put(RowKey::User(user), account);
    }
    Ok(Reply::Rev(rev))
}

/// Whether a token still opens sessions for a device: one that is bound to a log-in while that is the device's, another one if it was made
/// after all that ended such tokens.
pub fn may_register(account: &UserRow, device: Option<&DeviceRow>, login: u64, issued: Timestamp) -> bool {
    if login == 0 {
        let since = account.closed.max(device.and_then(|row| row.ended).unwrap_or_default());
        since == Timestamp::default() || issued > since
    } else {
        device.is_some_and(|row| row.ended.is_none() && row.login == login)
    }
}

/// Lets a device in by a new log-in. The same secret again is the same log-in: its answer was lost.
pub(crate) fn enter(ctx: &mut Context<'_>, user: UserId, mut account: UserRow, enter: EnterDevice, created: bool) -> Result<Reply, ViewError> {
    if account.is_banned() {
        return Ok(Reply::Rejected(Code::Banned));
    }
    let key = RowKey::Device(user, enter.device);
    let old = ctx.rows.row::<DeviceRow>(&key)?;
    if let Some(row) = &old
        && row.refresh == Some(enter.refresh)
        && row.ended.is_none()
    {
        return Ok(Reply::Entered { name: account.name, login: row.login, admin: account.admin, created });
    }
    let first_seen = match old {
        Some(row) => row.created,
        None => {
            make_room(ctx, user)?;
            ctx.now
        }
    };
    account.logins += 1;
    let login = account.logins;
    ctx.rows.put(
        key,
        DeviceRow {
            created: first_seen,
            seen: ctx.now,
            title: enter.title,
            login,
            refresh: Some(enter.refresh),
            refreshed: ctx.now,
            spent: Vec::new(),
            ended: None,
        },
    );
    let reply = Reply::Entered { name: account.name.clone(), login, admin: account.admin, created };
    ctx.rows.put(RowKey::User(user), account);
    Ok(reply)
}

/// Ends devices, or all but these, and with all their tokens that are bound to none. The rows stay: they say so to old tokens.
pub(crate) fn end(ctx: &mut Context<'_>, user: UserId, devices: &[DeviceId], all_but: bool) -> Result<Reply, ViewError> {
    let Some(account) = ctx.rows.row::<UserRow>(&RowKey::User(user))?.map(|row| row.clone()) else {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    };
    let mut is_known = all_but;
    for (key, row) in ctx.rows.scan(&Scan::Devices(user), false, usize::MAX)? {
        let RowKey::Device(_, device) = key else { continue };
        if devices.contains(&device) == all_but {
            continue;
        }
        is_known = true;
        let row = Held::<DeviceRow>::new(&key, row)?;
        if row.ended.is_none() {
            let ended = DeviceRow { refresh: None, spent: Vec::new(), ended: Some(ctx.now), ..row.clone() };
            ctx.rows.put(key, ended);
        }
    }
    if !is_known {
        return Ok(Reply::Rejected(Code::NotFound));
    }
    push::forget(ctx, user, |device| devices.contains(&device) != all_but)?;
    if all_but {
        ctx.rows.put(RowKey::User(user), UserRow { closed: ctx.now, ..account });
    }
    ctx.effects.push(Effect::DevicesEnded { user, devices: devices.to_vec(), all_but });
    Ok(Reply::Done)
}

/// Forgets devices until one more fits: ended ones first, then the longest idle, whose sessions end. Idle is what was neither connected anew nor
/// refreshed.
fn make_room(ctx: &mut Context<'_>, user: UserId) -> Result<(), ViewError> {
    let mut devices = Vec::new();
    for (key, row) in ctx.rows.scan(&Scan::Devices(user), false, usize::MAX)? {
        let RowKey::Device(_, device) = key else { continue };
        let row = Held::<DeviceRow>::new(&key, row)?;
        devices.push((row.ended.is_none(), row.seen.max(row.refreshed), device));
    }
    devices.sort_unstable();
    let over = (devices.len() + 1).saturating_sub(limit::DEVICES_MAX);
    let gone: Vec<DeviceId> = devices.into_iter().take(over).map(|(_, _, device)| device).collect();
    for device in &gone {
        ctx.rows.delete(RowKey::Device(user, *device));
    }
    if !gone.is_empty() {
        push::forget(ctx, user, |device| gone.contains(&device))?;
        ctx.effects.push(Effect::DevicesEnded { user, devices: gone, all_but: false });
    }
    Ok(())
}
