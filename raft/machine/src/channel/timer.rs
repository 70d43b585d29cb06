//! What happens at a time: scheduled texts, texts that end, old texts that a channel does not keep.
//!
//! Each is a `Timer` row, written with what it is about and deleted with what it does: so it happens once, whoever proposes it and how
//! often, and a new leader finds all that is to come by walking the rows. Time is the command's own. Bounds: `limit::SCHEDULED_MAX`
//! scheduled texts of a member in a channel; a sweep empties at most `limit::SWEEP_RECORDS` records, the next one follows at once.
//! Not here: when to propose (the leader's duty in the node).

use kith_wire::{
    act::{Draft as Text, Gone, MarksRow, RulesRow, ScheduledRow, Timer},
    code::Code,
    id::{ChannelId, ClientSeq, Seq, Timestamp, UserId, hash},
    limit,
    log::{Author, ChannelRow, Content, Member, Record},
};

use super::{
    act::Fate,
    amend,
    append::{Draft, follow_text, push, recipients, sent, standing},
    erase,
    scene::{self, Scene},
};
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// Has a text sent later. Its id follows from the number or the key that it was asked under.
pub(crate) fn schedule(
    ctx: &mut Context<'_>,
    scene: &Scene,
    member: &Member,
    author: &Author,
    due: Timestamp,
    draft: &Text,
) -> Result<Result<Fate, Code>, ViewError> {
    let ahead = due.get().saturating_sub(ctx.now.get());
    if !(1..=limit::AHEAD_MS_MAX).contains(&ahead) {
        return Ok(Err(Code::Invalid));
    }
    if let Some(code) = scene::refused_aims(ctx, scene.channel, &scene.state, member, &content(draft))? {
        return Ok(Err(code));
    }
    let held = ctx.rows.scan(&Scan::Scheduled(scene.channel, author.user), false, limit::SCHEDULED_MAX)?;
    if held.len() >= limit::SCHEDULED_MAX {
        return Ok(Err(Code::TooManyScheduled));
    }
    let id = match author.key {
        Some(key) => hash(&[b"kith/scheduled-call/1", &author.user.get().to_be_bytes(), key.as_bytes()]),
        None => hash(&[b"kith/scheduled/1", &author.device.get().to_be_bytes(), &author.client_seq.get().to_be_bytes()]),
    };
    let row = ScheduledRow { due, device: author.device, draft: draft.clone(), refused: None };
    ctx.rows.put(RowKey::Scheduled(scene.channel, author.user, id), row);
    set(ctx, scene.channel, due, Timer::Send { user: author.user, id });
    Ok(Ok(Fate::Kept(id)))
}

/// Takes back a text that is to be sent later, or was refused then.
pub(crate) fn unschedule(ctx: &mut Context<'_>, scene: &Scene, member: &Member, id: u64) -> Result<Result<Fate, Code>, ViewError> {
    let key = RowKey::Scheduled(scene.channel, member.user, id);
    let Some(due) = ctx.rows.row::<ScheduledRow>(&key)?.map(|row| row.due) else { return Ok(Err(Code::NotFound)) };
    ctx.rows.delete(key);
    ctx.rows.delete(RowKey::Timer(due, scene.channel, Timer::Send { user: member.user, id }));
    Ok(Ok(Fate::Kept(id)))
}

/// Writes a timer.
pub(crate) fn set(ctx: &mut Context<'_>, channel: ChannelId, due: Timestamp, timer: Timer) {
    ctx.rows.put(RowKey::Timer(due, channel, timer), crate::view::Row::Timer);
    ctx.effects.push(Effect::Timed { due, channel, timer });
}

/// Moves the sweep of a channel to that time, or calls it off; the caller writes the rules.
pub(crate) fn sweep_at(ctx: &mut Context<'_>, scene: &mut Scene, due: Option<Timestamp>) {
    if scene.rules.sweep > Timestamp::new(0) {
        ctx.rows.delete(RowKey::Timer(scene.rules.sweep, scene.channel, Timer::Sweep));
    }
    scene.rules.sweep = due.unwrap_or_default();
    if let Some(due) = due {
        set(ctx, scene.channel, due, Timer::Sweep);
    }
}

/// What was to happen then happens, if it has not; a text that the leader refuses is kept with its reason, as any other that is refused.
pub(crate) fn fire(ctx: &mut Context<'_>, channel: ChannelId, due: Timestamp, timer: Timer, refused: Option<Code>) -> Result<Reply, ViewError> {
    let key = RowKey::Timer(due, channel, timer);
    if ctx.rows.get(&key)?.is_none() {
        return Ok(Reply::Done);
    }
    if due > ctx.now {
        // The proposer's clock was ahead of its batch's.
        return Ok(Reply::Rejected(Code::Busy));
    }
    ctx.rows.delete(key);
    match timer {
        Timer::Send { user, id } => send(ctx, channel, user, id, refused),
        Timer::Expire(seq) => {
            amend::empty(ctx, channel, seq, Gone::Expired, None)?;
            amend::unpin(ctx, channel, seq)?;
            Ok(Reply::Done)
        }
        Timer::Sweep => sweep(ctx, channel),
        Timer::Erase(user) => erase::go_on(ctx, channel, user),
    }
}

/// Sends a text that is due; a refusal is kept for its author to see.
fn send(ctx: &mut Context<'_>, channel: ChannelId, user: UserId, id: u64, refused: Option<Code>) -> Result<Reply, ViewError> {
    let key = RowKey::Scheduled(channel, user, id);
    let (Some(row), Some(scene)) = (ctx.rows.row::<ScheduledRow>(&key)?, Scene::read(ctx, channel)?) else { return Ok(Reply::Done) };
    let row = row.clone();
    let content = content(&row.draft);
    let refused = match standing(&scene.state, &scene.roster, user) {
        // Nobody is left who could see why.
        Err(_) => {
            ctx.rows.delete(key);
            return Ok(Reply::Done);
        }
        Ok(_) if refused.is_some() => refused,
        Ok(member) => match scene::refused_text(ctx, channel, &scene.rules, member)? {
            Some(Reply::Rejected(code)) => Some(code),
            // Slow mode is for those who type.
            _ => scene::refused_aims(ctx, channel, &scene.state, member, &content)?,
        },
    };
    if let Some(code) = refused {
        ctx.rows.put(key, ScheduledRow { refused: Some(code), ..row });
        return Ok(Reply::Done);
    }
    ctx.rows.delete(key);
    let Scene { mut state, roster, .. } = scene;
    // Nobody has typed it now: what came meanwhile is unread, and so is this, until it is seen.
    let draft = Draft { sender: user, device: row.device, client_seq: ClientSeq::new(0), content, is_read: false };
    let record = push(ctx, channel, &mut state, draft)?;
    follow_text(ctx, channel, &mut state, &roster, &record)?;
    let recipients = recipients(&roster.members, record.at.seq);
    let reply = sent(&record, false);
    ctx.effects.push(Effect::Appended { channel, record, recipients });
    Ok(reply)
}

fn content(draft: &Text) -> Content {
    Content::Text { text: draft.text.clone(), reply_to: draft.reply_to, mentions: draft.mentions.clone(), extra: draft.extra() }
}

/// Empties what is over the channel's retention: from the oldest on, a bounded number of records.
fn sweep(ctx: &mut Context<'_>, channel: ChannelId) -> Result<Reply, ViewError> {
    let Some(mut scene) = Scene::read(ctx, channel)? else { return Ok(Reply::Done) };
    scene.rules.sweep = Timestamp::new(0);
    let retention = scene.rules.rules.retention_ms;
    let mut next = None;
    if retention > 0 {
        let from = scene.state.kept.max(Seq::ZERO.next());
        let rows = ctx.rows.scan(&Scan::Records(channel, from..=scene.state.head.seq), false, limit::SWEEP_RECORDS)?;
        for (key, row) in rows {
            let record = Held::<Record>::new(&key, row)?;
            let ends = Timestamp::new(record.ts.get().saturating_add(retention));
            if ends > ctx.now {
                next = Some(ends);
                break;
            }
            let (seq, is_last) = (record.at.seq, record.at.seq == scene.state.head.seq);
            amend::empty(ctx, channel, seq, Gone::Retention, None)?;
            // The last record of a channel is always there to be seen, empty or not.
            scene.state.kept = if is_last { seq } else { seq.next() };
            next = (!is_last).then_some(ctx.now);
        }
        let kept = scene.state.kept;
        scene.rules.pins.retain(|pin| pin.seq >= kept);
    }
    if let Some(due) = next {
        sweep_at(ctx, &mut scene, Some(due));
    }
    scene.put_rules_alone(ctx);
    Ok(Reply::Done)
}

/// What follows from a text that has just been recorded: its thread, its end, the next sweep.
pub(crate) fn follow(ctx: &mut Context<'_>, channel: ChannelId, state: &mut ChannelRow, record: &Record) -> Result<(), ViewError> {
    if let Some(extra) = record.content.extra() {
        if let Some(root) = extra.thread {
            let old = amend::marks(ctx, channel, root)?;
            let new = MarksRow { replies: old.replies.saturating_add(1), last_reply: record.at.seq, ..old };
            amend::put_marks(ctx, channel, root, new);
            ctx.rows.put(RowKey::Reply(channel, root, record.at.seq), crate::view::Row::Reply);
        }
        if let Some(ttl) = extra.ttl_ms {
            set(ctx, channel, Timestamp::new(record.ts.get().saturating_add(ttl)), Timer::Expire(record.at.seq));
        }
    }
    if state.ruled {
        let rules = ctx.rows.required::<RulesRow>(&RowKey::Rules(channel))?;
        let retention = rules.rules.retention_ms;
        if retention > 0 && rules.sweep == Timestamp::new(0) {
            let due = Timestamp::new(record.ts.get().saturating_add(retention));
            let rules = RulesRow { sweep: due, ..rules.clone() };
            ctx.rows.put(RowKey::Rules(channel), rules);
            set(ctx, channel, due, Timer::Sweep);
        }
    }
    Ok(())
}
