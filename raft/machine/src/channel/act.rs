//! Acts: numbered writes besides texts and changes of members. Each is a record, or is kept without one.
//!
//! In: an act under a device's number. Out: rows, the answer, [`Effect::Appended`] for what others are to know. Invariants: dedup comes
//! first; what is refused for good uses up the number; what changes nothing makes no record. Not here: who may (`scene`).

use std::sync::Arc;

use kith_wire::{
    act::Act,
    code::Code,
    id::{ChannelId, Seq, UserId},
    log::{Author, ChannelRow, Content, Member, Outcome, Record},
};

use super::{
    amend,
    append::{Draft, push, recipients, sent},
    dedup::{self, Number, Ring},
    link, member, rules,
    scene::{self, Scene},
    timer,
};
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// What becomes of an act that nobody refuses.
pub(crate) enum Fate {
    /// A record, seen by whom it concerns.
    Record,
    /// No record; an id where it has one.
    Kept(u64),
}

/// Does something under a number.
pub(crate) fn act(ctx: &mut Context<'_>, channel: ChannelId, author: &Author, act: Act) -> Result<Reply, ViewError> {
    let ring = match dedup::number(ctx, channel, author)? {
        Number::Next(ring) => ring,
        Number::Answered(reply) => return Ok(reply),
    };
    let Some(mut scene) = Scene::read(ctx, channel)? else { return Ok(Reply::Rejected(Code::NotMember)) };
    if let Some(code) = scene.refused(ctx, author.user, &act) {
        return Ok(ring.refuse(ctx, channel, author, code));
    }
    let Some(member) = scene::author(&scene, author.user) else { return Ok(ring.refuse(ctx, channel, author, Code::NotMember)) };
    match decide(ctx, &mut scene, &member, author, &act)? {
        Err(code) => Ok(ring.refuse(ctx, channel, author, code)),
        Ok(Fate::Kept(id)) => {
            ring.use_up(ctx, channel, author, Outcome::Kept(id));
            Ok(Reply::Kept { id })
        }
        Ok(Fate::Record) => record(ctx, scene, author, act, ring),
    }
}

/// Refuses a write for what the leader learnt elsewhere.
pub(crate) fn refuse(ctx: &mut Context<'_>, channel: ChannelId, author: &Author, code: Code) -> Result<Reply, ViewError> {
    let ring = match dedup::number(ctx, channel, author)? {
        Number::Next(ring) => ring,
        Number::Answered(reply) => return Ok(reply),
    };
    // No channel, no row: nothing to log a refusal in.
    if ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))?.is_none() {
        return Ok(Reply::Rejected(code));
    }
    Ok(ring.refuse(ctx, channel, author, code))
}

/// What is to become of an act, and what of it comes before its record.
fn decide(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, author: &Author, act: &Act) -> Result<Result<Fate, Code>, ViewError> {
    match act {
        Act::Edit { target, .. } => amend::may_edit(ctx, scene, by, *target),
        Act::Delete { target } => amend::may_delete(ctx, scene, by, *target),
        Act::React { target, emoji, on } => amend::react(ctx, scene, by, *target, emoji, *on),
        Act::Pin { target, on } => rules::pin(ctx, scene, by, *target, *on),
        Act::Describe { title, about } => Ok(rules::describe(ctx, scene, title.as_deref(), about.as_deref())),
        Act::SetRules(new) => Ok(rules::set(ctx, scene, *new)),
        Act::HandOver { to } => Ok(rules::may_hand_over(scene, by, *to)),
        Act::Mute { user, until } => Ok(rules::mute(ctx, scene, by, *user, *until)),
        Act::Invite(invite) => Ok(link::make(ctx, scene, by, invite)),
        Act::Revoke { secret } => Ok(link::revoke(ctx, scene, by, secret)),
        Act::Reject { user } => Ok(link::reject(ctx, scene, *user)),
        Act::Ban { user, on } => rules::ban(ctx, scene, by, *user, *on),
        Act::Schedule { due, draft } => timer::schedule(ctx, scene, by, author, *due, draft),
        Act::Unschedule { id } => timer::unschedule(ctx, scene, by, *id),
        Act::Post(_) | Act::Forward { .. } => Ok(Err(Code::Unsupported)),
    }
}

/// Makes the record of an act, and does what needs its seq.
fn record(ctx: &mut Context<'_>, scene: Scene, author: &Author, act: Act, ring: Ring) -> Result<Reply, ViewError> {
    let Scene { channel, mut state, mut roster, .. } = scene;
    let content = Content::Act(act.clone());
    let draft = Draft { sender: author.user, device: author.device, client_seq: author.client_seq, content, is_read: false };
    let record = push(ctx, channel, &mut state, draft)?;
    let seq = record.at.seq;
    // Of those who are in until now: who is shut out hears of it.
    let recipients = of_act(&act, &roster.members, &record);
    match &act {
        Act::Edit { target, text, mentions } => amend::edit(ctx, channel, &roster, *target, (text, mentions), &record)?,
        Act::Delete { target } => amend::delete(ctx, channel, *target, seq)?,
        Act::Describe { title: Some(title), .. } => {
            roster.title.clone_from(title);
            ctx.rows.put(RowKey::Roster(channel), roster.clone());
        }
        Act::HandOver { to } => {
            rules::hand_over(&mut roster, author.user, *to, seq);
            ctx.rows.put(RowKey::Roster(channel), roster.clone());
        }
        Act::Ban { user, on: true } => {
            member::remove(ctx, channel, &mut roster, *user, seq, true);
            ctx.rows.put(RowKey::Roster(channel), roster.clone());
        }
        _ => {}
    }
    ring.use_up(ctx, channel, author, Outcome::Record { seq, ts: record.ts });
    let reply = sent(&record, false);
    ctx.effects.push(Effect::Appended { channel, record, recipients });
    Ok(reply)
}

/// An edit is shown to those who may read what it edits: to the others it would tell a text from before they came.
fn of_act(act: &Act, members: &[Member], record: &Record) -> Arc<[(UserId, Seq)]> {
    match act {
        Act::Edit { target, .. } => recipients(members.iter().filter(|member| member.stays.iter().any(|stay| stay.shows(*target))), record.at.seq),
        _ => recipients(members, record.at.seq),
    }
}
