//! Webhooks: which there are, and how far each has been told of each channel.
//!
//! In: registrations (by a group's owner, or a copy of the desk's), every record that a channel takes, and what has been told. Out: rows, and
//! [`Effect::Hooked`], a wake-up. Invariants: a webhook hears of every record after the one at which it was known here, in their order: what it was
//! told is a number in the channel's group, which never goes back; `HookDue` stands while one of a channel's webhooks is behind. Bounds:
//! `limit::HOOKS_PER_CHANNEL_MAX`, `limit::HOOKS_OF_DESK_MAX`. Not here: posting, retrying, giving up (the node).

use kith_wire::{
    act::{Act, RulesRow},
    code::Code,
    desk::{AuditAct, AuditEntry, AuditState},
    hook::{Hook, HookAck, HookChange, HookCursorRow, HookScope, HooksRow},
    id::{ChannelId, ChannelKind, HookId, Seq, UserId},
    limit,
    log::{ChannelRow, Content, Record, Role, RosterRow},
};

use crate::{
    Context,
    channel::{append, read, scene::Scene},
    desk,
    effect::Effect,
    reply::Reply,
    view::{Held, Row, RowKey, Scan, StateView, ViewError, row},
};

/// Changes a channel's webhooks. `by` 0: the cluster itself, or an operator.
pub(crate) fn change(ctx: &mut Context<'_>, channel: ChannelId, by: UserId, change: HookChange) -> Result<Reply, ViewError> {
    let Some(scene) = Scene::read(ctx, channel)? else { return Ok(Reply::Rejected(Code::NotMember)) };
    if by != UserId::new(0) {
        match append::standing(&scene.state, &scene.roster, by) {
            Err(code) => return Ok(Reply::Rejected(code)),
            Ok(member) if member.role < Role::Owner || !matches!(channel.kind(), ChannelKind::Group(_)) => {
                return Ok(Reply::Rejected(Code::NotAllowed));
            }
            Ok(_) => {}
        }
    }
    let key = RowKey::ChannelHooks(channel);
    let mut row = ctx.rows.row::<HooksRow>(&key)?.map(|row| row.clone()).unwrap_or_default();
    let before = row.version;
    let reply = edit(ctx, &mut row, change.clone(), limit::HOOKS_PER_CHANNEL_MAX);
    if row.version == before {
        return Ok(reply);
    }
    if let HookChange::Put(hook) = change {
        // From now on.
        ctx.rows.put(RowKey::HookCursor(channel, hook.id), HookCursorRow { seq: scene.state.head.seq, ..HookCursorRow::default() });
    }
    ctx.rows.put(RowKey::Channel(channel), ChannelRow { hooked: !row.hooks.is_empty(), ..scene.state });
    ctx.rows.put(key, row);
    Ok(reply)
}

/// Changes the desk's webhooks. That one was given up on stands in the audit log from the same moment.
pub(crate) fn change_at_desk(ctx: &mut Context<'_>, change: HookChange) -> Result<Reply, ViewError> {
    let mut row = ctx.rows.row::<HooksRow>(&RowKey::DeskHooks)?.map(|row| row.clone()).unwrap_or_default();
    let before = row.version;
    let disabled = if let HookChange::Disable { id } = &change { row.get(*id).map(|hook| (hook.id, hook.scope)) } else { None };
    let reply = edit(ctx, &mut row, change, limit::HOOKS_OF_DESK_MAX);
    if row.version != before {
        if let Some((id, scope)) = disabled {
            let user = if let HookScope::User(user) = scope { Some(user) } else { None };
            let (by, act) = (UserId::new(0), AuditAct::DisableWebhook);
            desk::log(ctx, AuditEntry { by, token: None, act, user, channel: None, number: id.get(), note: String::new() }, AuditState::Done)?;
        }
        ctx.rows.put(RowKey::DeskHooks, row);
    }
    Ok(reply)
}

/// Takes a newer copy of the desk's webhooks.
pub(crate) fn copy(ctx: &mut Context<'_>, hooks: HooksRow) -> Result<Reply, ViewError> {
    if hooks.hooks.len() > limit::HOOKS_OF_DESK_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    let held = ctx.rows.row::<HooksRow>(&RowKey::GroupHooks)?.map_or(0, |row| row.version);
    if hooks.version > held {
        ctx.hooked = !hooks.hooks.is_empty();
        ctx.rows.put(RowKey::GroupHooks, hooks);
    }
    Ok(Reply::Done)
}

/// A record was added: whoever wants to hear of the channel is behind now.
pub(crate) fn note(ctx: &mut Context<'_>, channel: ChannelId, state: &ChannelRow, before: Seq) -> Result<(), ViewError> {
    let hooks = live(&ctx.rows, channel, state)?;
    if hooks.is_empty() {
        return Ok(());
    }
    for hook in &hooks {
        let key = RowKey::HookCursor(channel, hook.id);
        if ctx.rows.get(&key)?.is_none() {
            ctx.rows.put(key, HookCursorRow { seq: before, ..HookCursorRow::default() });
        }
    }
    ctx.rows.put(RowKey::HookDue(channel), Row::HookDue);
    ctx.effects.push(Effect::Hooked { channel });
    Ok(())
}

/// Webhooks were told up to here, or cannot be since then.
pub(crate) fn acked(ctx: &mut Context<'_>, channel: ChannelId, acks: &[HookAck]) -> Result<Reply, ViewError> {
    let Some(state) = ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? else { return Ok(Reply::Rejected(Code::NotFound)) };
    let hooks = live(&ctx.rows, channel, &state)?;
    let head = state.head.seq;
    for ack in acks {
        let key = RowKey::HookCursor(channel, ack.hook);
        let Some(old) = ctx.rows.row::<HookCursorRow>(&key)?.map(|row| *row) else { continue };
        let new = HookCursorRow { seq: old.seq.max(ack.seq.min(head)), failing: ack.failing };
        if new != old {
            ctx.rows.put(key, new);
        }
    }
    let mut is_behind = false;
    for (key, row) in ctx.rows.scan(&Scan::HookCursors(channel), false, usize::MAX)? {
        let RowKey::HookCursor(_, id) = key else { continue };
        if !hooks.iter().any(|hook| hook.id == id) {
            ctx.rows.delete(key);
        } else {
            is_behind |= Held::<HookCursorRow>::new(&key, row)?.seq < head;
        }
    }
    if !is_behind {
        ctx.rows.delete(RowKey::HookDue(channel));
    }
    Ok(Reply::Done)
}

/// Channels of the group with a webhook that is behind, after this one, in storage order; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn due(view: &dyn StateView, after: Option<ChannelId>, limit: usize) -> Result<Vec<ChannelId>, ViewError> {
    let rows = view.scan(&Scan::HooksDue(after), false, limit)?;
    Ok(rows.into_iter().filter_map(|(key, _)| if let RowKey::HookDue(channel) = key { Some(channel) } else { None }).collect())
}

/// Whether a webhook is behind in a channel.
///
/// # Errors
/// The row cannot be read.
pub fn is_due(view: &dyn StateView, channel: ChannelId) -> Result<bool, ViewError> {
    Ok(view.get(&RowKey::HookDue(channel))?.is_some())
}

/// The webhooks that are told of a channel, each with how far it was.
///
/// # Errors
/// A row cannot be read.
pub fn told(view: &dyn StateView, channel: ChannelId) -> Result<Vec<(Hook, HookCursorRow)>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok(Vec::new()) };
    let mut told = Vec::new();
    for hook in live(view, channel, &state)? {
        if let Some(cursor) = row::<HookCursorRow>(view, &RowKey::HookCursor(channel, hook.id))? {
            told.push((hook, *cursor));
        }
    }
    Ok(told)
}

/// A record by its seq; `None`: not the hook's to see.
pub type Found = (Seq, Option<Record>);

/// What a webhook is to be told next of a channel: records after the cursor, at most `limit`, each with `None` where it is not for them; and where
/// the log stands.
///
/// # Errors
/// A row cannot be read.
pub fn records(view: &dyn StateView, channel: ChannelId, hook: &Hook, after: Seq, limit: usize) -> Result<(Vec<Found>, Seq), ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok((Vec::new(), after)) };
    let rules = if state.ruled { row::<RulesRow>(view, &RowKey::Rules(channel))? } else { None };
    let visible = match hook.scope {
        HookScope::User(user) => Some(read::visibility(view, channel, user)?),
        HookScope::Channel(_) | HookScope::All => None,
    };
    let mut found = Vec::new();
    for (key, row) in view.scan(&Scan::Records(channel, after.next()..=state.head.seq), false, limit)? {
        let mut record = Held::<Record>::new(&key, row)?.clone();
        let seq = record.at.seq;
        let is_theirs = visible.as_ref().is_none_or(|visible| visible.as_ref().is_some_and(|visible| visible.shows(seq)));
        if rules.as_ref().is_some_and(|rules| rules.is_erasing(&record)) {
            read::withhold(&mut record);
        }
        // An edit of what is not theirs to read would tell it.
        if let (Content::Act(Act::Edit { target, text, .. }), Some(Some(visible))) = (&mut record.content, &visible)
            && !visible.shows(*target)
        {
            text.clear();
        }
        found.push((seq, is_theirs.then_some(record)));
    }
    Ok((found, state.head.seq))
}

/// A channel's own webhooks.
///
/// # Errors
/// The row cannot be read.
pub fn of_channel(view: &dyn StateView, channel: ChannelId) -> Result<HooksRow, ViewError> {
    Ok(row::<HooksRow>(view, &RowKey::ChannelHooks(channel))?.map(|row| row.clone()).unwrap_or_default())
}

/// The desk's webhooks.
///
/// # Errors
/// The row cannot be read.
pub fn of_desk(view: &dyn StateView) -> Result<HooksRow, ViewError> {
    Ok(row::<HooksRow>(view, &RowKey::DeskHooks)?.map(|row| row.clone()).unwrap_or_default())
}

/// The version of the group's copy of the desk's webhooks.
///
/// # Errors
/// The row cannot be read.
pub fn copied(view: &dyn StateView) -> Result<u64, ViewError> {
    Ok(row::<HooksRow>(view, &RowKey::GroupHooks)?.map_or(0, |row| row.version))
}

/// How far a webhook was told of a channel.
///
/// # Errors
/// The row cannot be read.
pub fn cursor(view: &dyn StateView, channel: ChannelId, hook: HookId) -> Result<Option<HookCursorRow>, ViewError> {
    Ok(row::<HookCursorRow>(view, &RowKey::HookCursor(channel, hook))?.map(|row| *row))
}

/// Those that are to hear of a channel.
fn live(view: &dyn StateView, channel: ChannelId, state: &ChannelRow) -> Result<Vec<Hook>, ViewError> {
    let mut hooks: Vec<Hook> = Vec::new();
    if state.hooked {
        hooks.extend(of_channel(view, channel)?.hooks);
    }
    if let Some(copied) = row::<HooksRow>(view, &RowKey::GroupHooks)? {
        for hook in &copied.hooks {
            let wants = match hook.scope {
                HookScope::All => true,
                HookScope::Channel(of) => of == channel,
                HookScope::User(user) => {
                    row::<RosterRow>(view, &RowKey::Roster(channel))?.is_some_and(|roster| append::member(&roster, user).is_some())
                }
            };
            if wants {
                hooks.push(hook.clone());
            }
        }
    }
    hooks.retain(Hook::is_live);
    Ok(hooks)
}

/// Makes a change of a list. The version moves exactly when something changes.
fn edit(ctx: &Context<'_>, row: &mut HooksRow, change: HookChange, max: usize) -> Reply {
    match change {
        HookChange::Put(hook) => {
            if let Some(code) = hook.refused() {
                return Reply::Rejected(code);
            }
            let id = hook.id;
            match row.hooks.binary_search_by_key(&id, |held| held.id) {
                Ok(at) if row.hooks[at].url == hook.url && row.hooks[at].scope == hook.scope => return Reply::Kept { id: id.get() },
                Ok(_) => return Reply::Rejected(Code::Conflict),
                Err(_) if row.hooks.len() >= max => return Reply::Rejected(Code::LimitReached),
                Err(at) => row.hooks.insert(at, Hook { made: ctx.now, ..hook }),
            }
            row.version += 1;
            Reply::Kept { id: id.get() }
        }
        HookChange::Remove(id) => {
            let Ok(at) = row.hooks.binary_search_by_key(&id, |hook| hook.id) else { return Reply::Rejected(Code::NotFound) };
            row.hooks.remove(at);
            row.version += 1;
            Reply::Done
        }
        HookChange::Disable { id } => {
            let Ok(at) = row.hooks.binary_search_by_key(&id, |hook| hook.id) else { return Reply::Rejected(Code::NotFound) };
            if row.hooks[at].is_live() {
                row.hooks[at].disabled = kith_wire::id::Timestamp::new(ctx.now.get().max(1));
                row.version += 1;
            }
            Reply::Done
        }
    }
}
