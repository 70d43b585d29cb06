//! What a user's home keeps of pushes: where devices are reached, which conversations are due to be looked at, what was sent.
//!
//! In: changes of registrations, moves of the index, what the home's leader has sent or settled. Out: rows, and [`Effect::Pushable`], a wake-up. Invariants: a
//! conversation with news for a user who is pushed to has a `PushDue` row until the leader has settled it as far as it had grown, or it was read; one that was
//! read while a device shows a push of it has one until the leader has settled that; what was sent is never forgotten within the time in which it may not be sent again. Bounds: a row of devices a user, [`limit::DEVICES_MAX`] in it; two rows a
//! conversation at most. For who is pushed to nowhere nothing is read or written. Not here: when to push ([`crate::push`]), who does (the node).

use std::sync::Arc;

use kith_wire::{
    code::Code,
    id::{ChannelId, DeviceId, Timestamp, UserId, UserRev},
    limit,
    log::{DeviceRow, IndexRow, PushChange, PushDevice, PushDueRow, PushFailure, PushSent, PushSentRow, PushSettled, PushTarget, PushesRow, UserRow},
};

use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    user::account::active,
    view::{Held, RowKey, Scan, StateView, ViewError, row},
};

/// Applies a change of pushes.
pub(crate) fn change(ctx: &mut Context<'_>, user: UserId, change: PushChange) -> Result<Reply, ViewError> {
    let Some(account) = active(ctx, user)? else { return Ok(Reply::Rejected(Code::Revoked)) };
    match change {
        PushChange::Register { device, target } => return register(ctx, user, account, device, target),
        PushChange::Unregister { device, registered } => {
            let mut pushes = held(ctx, user)?;
            pushes.devices.retain(|known| known.device != device || registered.is_some_and(|registered| known.registered > registered));
            put(ctx, user, account, pushes);
        }
        PushChange::Quiet { quiet } if quiet.is_some_and(|quiet| !quiet.is_valid()) => return Ok(Reply::Rejected(Code::Invalid)),
        PushChange::Quiet { quiet } => {
            let pushes = PushesRow { quiet, ..held(ctx, user)? };
            put(ctx, user, account, pushes);
        }
        PushChange::Sent { channel, sent } => note_sent(ctx, user, channel, sent)?,
        PushChange::Settled { channels } => settle(ctx, user, &channels)?,
        PushChange::Failed { device, registered, reason } => {
            let (mut pushes, now) = (held(ctx, user)?, ctx.now);
            if let Some(known) = pushes.devices.iter_mut().find(|known| known.device == device && known.registered == registered) {
                let count = known.failure.as_ref().map_or(0, |failure| failure.count).saturating_add(1);
                let reason = reason.chars().take(limit::PUSH_REASON_CHARS_MAX).collect();
                known.failure = Some(PushFailure { at: now, reason, count });
                ctx.rows.put(RowKey::Pushes(user), pushes);
            }
        }
    }
    Ok(Reply::Done)
}

/// A device is reached here. `NotFound`: the user has no such device, or it was ended.
fn register(ctx: &mut Context<'_>, user: UserId, account: UserRow, device: DeviceId, target: PushTarget) -> Result<Reply, ViewError> {
    if account.is_banned() {
        return Ok(Reply::Rejected(Code::Banned));
    }
    if target.bytes() > limit::PUSH_TARGET_BYTES_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    if ctx.rows.row::<DeviceRow>(&RowKey::Device(user, device))?.is_none_or(|row| row.ended.is_some()) {
        return Ok(Reply::Rejected(Code::NotFound));
    }
    let mut pushes = held(ctx, user)?;
    // An app that was installed anew is another device with the same token: it is not pushed to twice.
    pushes.devices.retain(|known| known.device != device && known.target != target);
    let at = pushes.devices.partition_point(|known| known.device < device);
    pushes.devices.insert(at, PushDevice { device, target, registered: ctx.now, failure: None });
    put(ctx, user, account, pushes);
    Ok(Reply::Done)
}

/// These devices are gone.
pub(crate) fn forget(ctx: &mut Context<'_>, user: UserId, is_gone: impl Fn(DeviceId) -> bool) -> Result<(), ViewError> {
    let Some(row) = ctx.rows.row::<PushesRow>(&RowKey::Pushes(user))? else { return Ok(()) };
    let mut pushes = row.clone();
    pushes.devices.retain(|known| !is_gone(known.device));
    // The account counts them the next time that one comes or goes: until then a few rows too many are noted, and settled.
    if pushes.devices.len() < row.devices.len() {
        ctx.rows.put(RowKey::Pushes(user), pushes);
    }
    Ok(())
}

/// A conversation of the index is about to move: with news, some device may have to be pushed to.
pub(crate) fn note(ctx: &mut Context<'_>, account: &UserRow, user: UserId, old: Option<&IndexRow>, new: &IndexRow) -> Result<(), ViewError> {
    if account.pushes == 0 || !has_news(new) {
        return Ok(());
    }
    let is_new = old.is_none_or(|old| new.news.head.cnt > old.news.head.cnt || new.unread_mentions() > old.unread_mentions());
    let key = RowKey::PushDue(user, new.news.channel);
    if is_new && ctx.rows.get(&key)?.is_none() {
        make_due(ctx, user, new.news.channel);
    }
    Ok(())
}

/// The index has moved: what was read is pushed no more, and what a device shows of it is to be taken back.
pub(crate) fn read(ctx: &mut Context<'_>, account: &UserRow, user: UserId, rows: &[Arc<IndexRow>]) -> Result<(), ViewError> {
    if account.pushes == 0 {
        return Ok(());
    }
    for row in rows.iter().filter(|row| !has_news(row)) {
        let channel = row.news.channel;
        let (due, key, now) = (RowKey::PushDue(user, channel), RowKey::PushSent(user, channel), ctx.now);
        let sent = ctx.rows.row::<PushSentRow>(&key)?.map(|row| row.clone());
        if let Some(sent) = &sent
            && is_shown(&held(ctx, user)?, sent)
        {
            make_due(ctx, user, channel);
            continue;
        }
        if ctx.rows.get(&due)?.is_some() {
            ctx.rows.delete(due);
        }
        if sent.is_some_and(|row| row.sent.iter().all(|sent| now.get() >= sent.at.get().saturating_add(limit::PUSH_EVERY_MS))) {
            ctx.rows.delete(key);
        }
    }
    Ok(())
}

/// Whether a device shows a push that can be taken back.
fn is_shown(pushes: &PushesRow, sent: &PushSentRow) -> bool {
    let takes_back = |device| pushes.devices.iter().any(|known| known.device == device && known.target.takes_back());
    sent.sent.iter().any(|sent| !sent.is_read && takes_back(sent.device))
}

fn make_due(ctx: &mut Context<'_>, user: UserId, channel: ChannelId) {
    ctx.rows.put(RowKey::PushDue(user, channel), PushDueRow { since: ctx.now });
    ctx.effects.push(Effect::Pushable { user, channel });
}

/// The index forgets a conversation.
pub(crate) fn drop_channel(ctx: &mut Context<'_>, user: UserId, channel: ChannelId) -> Result<(), ViewError> {
    for key in [RowKey::PushDue(user, channel), RowKey::PushSent(user, channel)] {
        if ctx.rows.get(&key)?.is_some() {
            ctx.rows.delete(key);
        }
    }
    Ok(())
}

/// Whether there is something in a conversation that a device may be pushed about.
pub(crate) fn has_news(row: &IndexRow) -> bool {
    row.news.left.is_none() && row.unread() > 0
}

fn note_sent(ctx: &mut Context<'_>, user: UserId, channel: ChannelId, new: Vec<PushSent>) -> Result<(), ViewError> {
    let key = RowKey::PushSent(user, channel);
    let mut pushes = held(ctx, user)?;
    let mut row = ctx.rows.row::<PushSentRow>(&key)?.map(|row| row.clone()).unwrap_or_default();
    let mut is_well = false;
    for PushSent { device, seq, at, is_read } in new.into_iter().take(limit::DEVICES_MAX) {
        let Some(known) = pushes.devices.iter_mut().find(|known| known.device == device) else { continue };
        is_well |= known.failure.take().is_some();
        let sent = PushSent { device, seq, at: at.min(ctx.now), is_read };
        match row.sent.binary_search_by_key(&device, |sent| sent.device) {
            Ok(held) => {
                let known = row.sent[held];
                let (seq, is_read) = (seq, is_read).max((known.seq, known.is_read));
                row.sent[held] = PushSent { device, seq, at: sent.at.max(known.at), is_read };
            }
            Err(at) => row.sent.insert(at, sent),
        }
    }
    row.sent.retain(|sent| pushes.devices.iter().any(|known| known.device == sent.device));
    // It was read while the push was under way.
    if is_shown(&pushes, &row) && !is_news(ctx, user, channel)? && ctx.rows.get(&RowKey::PushDue(user, channel))?.is_none() {
        make_due(ctx, user, channel);
    }
    if is_well {
        ctx.rows.put(RowKey::Pushes(user), pushes);
    }
    ctx.rows.put(key, row);
    Ok(())
}

fn is_news(ctx: &Context<'_>, user: UserId, channel: ChannelId) -> Result<bool, ViewError> {
    Ok(ctx.rows.row::<IndexRow>(&RowKey::Index(user, channel))?.is_some_and(|row| has_news(&row)))
}

/// What was settled as far as it has grown, or was read, is due no more; what has changed since is looked at anew.
fn settle(ctx: &mut Context<'_>, user: UserId, channels: &[PushSettled]) -> Result<(), ViewError> {
    for PushSettled { channel, seq, is_read } in channels.iter().take(limit::PUSH_SETTLED_MAX).copied() {
        let (due, key) = (RowKey::PushDue(user, channel), RowKey::PushSent(user, channel));
        if ctx.rows.get(&due)?.is_none() {
            continue;
        }
        let sent = ctx.rows.row::<PushSentRow>(&key)?.map(|row| row.clone()).unwrap_or_default();
        let has_changed = match ctx.rows.row::<IndexRow>(&RowKey::Index(user, channel))?.filter(|row| has_news(row)) {
            Some(row) => row.news.head.seq > seq,
            None => !is_read && is_shown(&held(ctx, user)?, &sent),
        };
        if has_changed {
            make_due(ctx, user, channel);
            continue;
        }
        ctx.rows.delete(due);
        if is_read && sent.sent.iter().any(|sent| !sent.is_read && sent.seq <= seq) {
            // Who was not sent one is here and knows, cannot be reached, or shows it for ever.
            let sent = sent.sent.into_iter().map(|sent| PushSent { is_read: sent.is_read || sent.seq <= seq, ..sent }).collect();
            ctx.rows.put(key, PushSentRow { sent });
        }
    }
    Ok(())
}

fn held(ctx: &Context<'_>, user: UserId) -> Result<PushesRow, ViewError> {
    Ok(ctx.rows.row::<PushesRow>(&RowKey::Pushes(user))?.map(|row| row.clone()).unwrap_or_default())
}

fn put(ctx: &mut Context<'_>, user: UserId, account: UserRow, pushes: PushesRow) {
    let count = u32::try_from(pushes.devices.len()).unwrap_or(u32::MAX);
    if account.pushes != count {
        ctx.rows.put(RowKey::User(user), UserRow { pushes: count, ..account });
    }
    if pushes == PushesRow::default() {
        ctx.rows.delete(RowKey::Pushes(user));
    } else {
        ctx.rows.put(RowKey::Pushes(user), pushes);
    }
}

// ---------------------------------------------------------------- reads

/// Where a user's devices are reached.
///
/// # Errors
/// The row cannot be read.
pub fn pushes(view: &dyn StateView, user: UserId) -> Result<PushesRow, ViewError> {
    Ok(row::<PushesRow>(view, &RowKey::Pushes(user))?.map(|row| row.clone()).unwrap_or_default())
}

/// Whether a device of a user is pushed to.
///
/// # Errors
/// The row cannot be read.
pub fn is_pushed_to(view: &dyn StateView, user: UserId, device: DeviceId) -> Result<bool, ViewError> {
    Ok(row::<PushesRow>(view, &RowKey::Pushes(user))?.is_some_and(|row| row.devices.iter().any(|known| known.device == device)))
}

/// Conversations of the group's users that are to be looked at, after this one, in storage order; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn due(view: &dyn StateView, after: Option<(UserId, ChannelId)>, limit: usize) -> Result<Vec<(UserId, ChannelId)>, ViewError> {
    let rows = view.scan(&Scan::PushesDue(after), false, limit)?;
    Ok(rows.into_iter().filter_map(|(key, _)| if let RowKey::PushDue(user, channel) = key { Some((user, channel)) } else { None }).collect())
}

/// What stands in the rows about one conversation that is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Since when it is due.
    pub since: Timestamp,
    /// Its row in the user's index.
    pub index: IndexRow,
    /// What was sent of it.
    pub sent: PushSentRow,
}

impl Due {
    /// Nothing of it is new: what is shown is to be taken back.
    pub fn is_read(&self) -> bool {
        !has_news(&self.index)
    }
}

/// What is known of a conversation that is due; `None`: it is not (any more).
///
/// # Errors
/// A row cannot be read.
pub fn read_due(view: &dyn StateView, user: UserId, channel: ChannelId) -> Result<Option<Due>, ViewError> {
    let Some(due) = row::<PushDueRow>(view, &RowKey::PushDue(user, channel))? else { return Ok(None) };
    let Some(index) = row::<IndexRow>(view, &RowKey::Index(user, channel))? else { return Ok(None) };
    let sent = row::<PushSentRow>(view, &RowKey::PushSent(user, channel))?.map(|row| row.clone()).unwrap_or_default();
    Ok(Some(Due { since: due.since, index: index.clone(), sent }))
}

/// The sum of what a user has not read, over the conversations that moved last: [`limit::PUSH_BADGE_ROWS_MAX`] of them. Of muted ones only mentions count.
///
/// # Errors
/// A row cannot be read.
pub fn badge(view: &dyn StateView, user: UserId, now: Timestamp) -> Result<u32, ViewError> {
    let order = view.scan(&Scan::IndexByRev(user, UserRev::ZERO..=UserRev::new(u64::MAX)), true, limit::PUSH_BADGE_ROWS_MAX)?;
    let mut sum = 0_u64;
    for (key, by_rev) in order {
        let channel = *Held::<ChannelId>::new(&key, by_rev)?;
        if let Some(row) = row::<IndexRow>(view, &RowKey::Index(user, channel))?.filter(|row| has_news(row)) {
            sum += if row.is_muted(now) { row.unread_mentions() as u64 } else { row.unread() };
        }
    }
    Ok(u32::try_from(sum).unwrap_or(u32::MAX))
}
