//! What changes about a record after it was made: its text, its reactions. The fact stays in the log; what was deleted or replaced goes.
//!
//! A text has at most one record that repeats it: that of its last edit, named by its marks. Invariant: after an edit or a deletion no
//! row of the channel holds what the text said before. What is unread is not touched: a deleted text counts until it is read past.

use std::ops::RangeInclusive;

use kith_wire::{
    act::{Act, Gone, MarksRow, Reaction, RulesRow},
    code::Code,
    id::{ChannelId, Seq, UserId},
    limit,
    log::{Content, Member, Record, Role, RosterRow},
};

use super::{act::Fate, append::note_mentioned, scene::Scene};
use crate::{
    Context,
    effect::Effect,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// Whether this member may edit that text.
pub(crate) fn may_edit(ctx: &Context<'_>, scene: &Scene, member: &Member, target: Seq) -> Result<Result<Fate, Code>, ViewError> {
    Ok(match text(ctx, scene, member, target)? {
        Ok(record) if record.sender != member.user => Err(Code::NotAllowed),
        // A forwarded text says what it said where it is from.
        Ok(record) if record.content.extra().is_some_and(|extra| extra.origin.is_some()) => Err(Code::NotAllowed),
        other => other.map(|_| Fate::Record),
    })
}

/// Whether this member may delete that text.
pub(crate) fn may_delete(ctx: &Context<'_>, scene: &Scene, member: &Member, target: Seq) -> Result<Result<Fate, Code>, ViewError> {
    let is_admin = scene.is_group() && member.role >= Role::Admin;
    Ok(match text(ctx, scene, member, target)? {
        Ok(record) if record.sender != member.user && !is_admin => Err(Code::NotAllowed),
        other => other.map(|_| Fate::Record),
    })
}

/// A text that this member may read.
pub(crate) fn text(ctx: &Context<'_>, scene: &Scene, member: &Member, target: Seq) -> Result<Result<Held<Record>, Code>, ViewError> {
    Ok(match scene.record(ctx, member, target)? {
        None => Err(Code::NotFound),
        Some(record) => match record.content {
            Content::Text { .. } if scene.rules.is_erasing(&record) => Err(Code::TextGone),
            Content::Text { .. } => Ok(record),
            Content::Gone { counted: true, .. } => Err(Code::TextGone),
            _ => Err(Code::Invalid),
        },
    })
}

/// Adds or takes back a reaction.
pub(crate) fn react(
    ctx: &mut Context<'_>,
    scene: &Scene,
    member: &Member,
    target: Seq,
    emoji: &str,
    on: bool,
) -> Result<Result<Fate, Code>, ViewError> {
    if let Err(code) = text(ctx, scene, member, target)? {
        return Ok(Err(code));
    }
    let mut marks = marks(ctx, scene.channel, target)?;
    let at = marks.reactions.binary_search_by(|reaction| reaction.emoji.as_str().cmp(emoji));
    let by = at.ok().map(|at| marks.reactions[at].users.binary_search(&member.user));
    match (at, by, on) {
        (Ok(at), Some(Err(place)), true) => {
            if marks.reactions[at].users.len() >= limit::REACTION_USERS_MAX {
                return Ok(Err(Code::TooManyReactions));
            }
            marks.reactions[at].users.insert(place, member.user);
        }
        (Err(_), _, true) if marks.reactions.len() >= limit::REACTIONS_MAX => return Ok(Err(Code::TooManyReactions)),
        (Err(at), _, true) => marks.reactions.insert(at, Reaction { emoji: emoji.to_owned(), users: vec![member.user] }),
        (Ok(at), Some(Ok(place)), false) => {
            marks.reactions[at].users.remove(place);
            if marks.reactions[at].users.is_empty() {
                marks.reactions.remove(at);
            }
        }
        _ => return Ok(Ok(Fate::Kept(0))),
    }
    put_marks(ctx, scene.channel, target, marks);
    Ok(Ok(Fate::Record))
}

/// Replaces a text, by the record of the edit. Whom only the new text mentions is mentioned by it.
pub(crate) fn edit(
    ctx: &mut Context<'_>,
    channel: ChannelId,
    roster: &RosterRow,
    target: Seq,
    (text, mentions): (&str, &[UserId]),
    by: &Record,
) -> Result<(), ViewError> {
    let mut marks = marks(ctx, channel, target)?;
    blank_edit(ctx, channel, marks.edited)?;
    marks.edited = by.at.seq;
    put_marks(ctx, channel, target, marks);
    let record = ctx.rows.required::<Record>(&RowKey::Record(channel, target))?;
    let Content::Text { reply_to, mentions: before, extra, .. } = &record.content else { return Ok(()) };
    let content = Content::Text { text: text.to_owned(), reply_to: *reply_to, mentions: mentions.to_vec(), extra: extra.clone() };
    let readers = roster.members.iter().filter(|member| member.stays.iter().any(|stay| stay.shows(target)));
    let new: Vec<_> =
        readers.map(|member| member.user).filter(|user| mentions.contains(user) && !before.contains(user) && *user != by.sender).collect();
    let amended = Record { content, ..record.clone() };
    note_mentioned(ctx, channel, &new, by.at.seq)?;
    put_amended(ctx, channel, amended);
    Ok(())
}

/// Empties a text, by the record of the deletion.
pub(crate) fn delete(ctx: &mut Context<'_>, channel: ChannelId, target: Seq, by: Seq) -> Result<(), ViewError> {
    empty(ctx, channel, target, Gone::Deleted, Some(by))?;
    unpin(ctx, channel, target)
}

/// What is gone is pinned no more.
pub(crate) fn unpin(ctx: &mut Context<'_>, channel: ChannelId, seq: Seq) -> Result<(), ViewError> {
    let Some(rules) = ctx.rows.row::<RulesRow>(&RowKey::Rules(channel))?.filter(|rules| rules.pins.iter().any(|pin| pin.seq == seq)) else {
        return Ok(());
    };
    let mut rules = rules.clone();
    rules.pins.retain(|pin| pin.seq != seq);
    ctx.rows.put(RowKey::Rules(channel), rules);
    Ok(())
}

/// Takes what a record says from every row; what it was, and that it counts, stays.
pub(crate) fn empty(ctx: &mut Context<'_>, channel: ChannelId, seq: Seq, why: Gone, by: Option<Seq>) -> Result<(), ViewError> {
    let record = ctx.rows.required::<Record>(&RowKey::Record(channel, seq))?;
    let content = match &record.content {
        Content::Text { .. } => Content::Gone { why, counted: true },
        Content::Act(Act::Edit { target, .. }) => blank(*target),
        Content::Act(Act::React { target, on, .. }) if why == Gone::Erased => {
            Content::Act(Act::React { target: *target, emoji: String::new(), on: *on })
        }
        _ => return Ok(()),
    };
    let is_text = record.content.is_text();
    let amended = Record { content, ..record.clone() };
    if is_text {
        let old = marks(ctx, channel, seq)?;
        blank_edit(ctx, channel, old.edited)?;
        let new = MarksRow { edited: by.unwrap_or(old.edited), reactions: Vec::new(), ..old };
        if new != old {
            put_marks(ctx, channel, seq, new);
        }
    }
    put_amended(ctx, channel, amended);
    Ok(())
}

/// The marks of a record.
pub(crate) fn marks(ctx: &Context<'_>, channel: ChannelId, seq: Seq) -> Result<MarksRow, ViewError> {
    Ok(ctx.rows.row::<MarksRow>(&RowKey::Marks(channel, seq))?.map_or_else(MarksRow::default, |row| row.clone()))
}

/// Takes back the reactions of a user to these records.
pub(crate) fn unreact(ctx: &mut Context<'_>, channel: ChannelId, user: UserId, records: RangeInclusive<Seq>) -> Result<(), ViewError> {
    for (key, row) in ctx.rows.scan(&Scan::Marks(channel, records), false, usize::MAX)? {
        let held = Held::<MarksRow>::new(&key, row)?;
        let RowKey::Marks(_, seq) = key else { continue };
        if held.reactions.iter().any(|reaction| reaction.users.binary_search(&user).is_ok()) {
            let mut marks = held.clone();
            marks.reactions.iter_mut().for_each(|reaction| reaction.users.retain(|by| *by != user));
            marks.reactions.retain(|reaction| !reaction.users.is_empty());
            put_marks(ctx, channel, seq, marks);
        }
    }
    Ok(())
}

/// Writes the marks of a record, or nothing when it has none.
pub(crate) fn put_marks(ctx: &mut Context<'_>, channel: ChannelId, seq: Seq, marks: MarksRow) {
    let key = RowKey::Marks(channel, seq);
    if marks == MarksRow::default() {
        ctx.rows.delete(key);
    } else {
        ctx.rows.put(key, marks);
    }
}

/// Takes the text from the record of an edit, if there was one.
fn blank_edit(ctx: &mut Context<'_>, channel: ChannelId, edit: Seq) -> Result<(), ViewError> {
    if edit == Seq::ZERO {
        return Ok(());
    }
    let record = ctx.rows.required::<Record>(&RowKey::Record(channel, edit))?;
    if let Content::Act(Act::Edit { target, .. }) = &record.content {
        let amended = Record { content: blank(*target), ..record.clone() };
        put_amended(ctx, channel, amended);
    }
    Ok(())
}

fn blank(target: Seq) -> Content {
    Content::Act(Act::Edit { target, text: String::new(), mentions: Vec::new() })
}

fn put_amended(ctx: &mut Context<'_>, channel: ChannelId, record: Record) {
    ctx.rows.put(RowKey::Record(channel, record.at.seq), record.clone());
    ctx.effects.push(Effect::Amended { channel, record: record.into() });
}
