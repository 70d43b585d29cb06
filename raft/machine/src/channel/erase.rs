//! A user who has ended: no member any more, and nothing of what they wrote stays.
//!
//! In: their home's word that they were erased (or never were). Out: a record that says so to those who stay; their texts, edits, reactions and what
//! they had scheduled emptied, and copies of their texts that others have forwarded here, a bounded number of records a command. Invariants: from
//! that command on no read shows any of it, whether its row was reached yet or not
//! ([`RulesRow::is_erasing`](kith_wire::act::RulesRow::is_erasing)); seqs, counts and dedup stay; told again it does nothing. Who is told are the
//! channels that the user ever was in: a copy elsewhere is what its sender said, and stays.
//! Bounds: `limit::SWEEP_RECORDS` records a step, each step a timer row, so that a new leader goes on. Not here: the home's debt (`user::account`).

use kith_wire::{
    act::{Erasing, Gone, ScheduledRow, Timer},
    code::Code,
    id::{ChannelId, ChannelKind, ClientSeq, DeviceId, Seq, UserId},
    limit,
    log::{Content, FormerRow, Record, Role, RosterRow},
};

use super::{
    amend,
    append::{Draft, member, push, recipients},
    scene::Scene,
    timer,
};
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// This user is erased or never was: they are no member any more, and their texts go. The longest standing of the highest role becomes owner if
/// there is none left; a group without members is dissolved.
pub(crate) fn gone(ctx: &mut Context<'_>, channel: ChannelId, user: UserId) -> Result<Reply, ViewError> {
    let Some(mut scene) = Scene::read(ctx, channel)? else { return Ok(Reply::Rejected(Code::NotFound)) };
    if member(&scene.roster, user).is_none() && ctx.rows.row::<FormerRow>(&RowKey::Former(channel, user))?.is_none() {
        return Ok(Reply::Done);
    }
    scene.roster.members.retain(|member| member.user != user);
    scene.roster.departing.retain(|departing| departing.user != user);
    ctx.rows.delete(RowKey::Former(channel, user));
    ctx.rows.delete(RowKey::Positions(channel, user));
    for (key, row) in ctx.rows.scan(&Scan::Scheduled(channel, user), false, usize::MAX)? {
        let due = Held::<ScheduledRow>::new(&key, row)?.due;
        if let RowKey::Scheduled(_, _, id) = key {
            ctx.rows.delete(RowKey::Timer(due, channel, Timer::Send { user, id }));
        }
        ctx.rows.delete(key);
    }
    scene.rules.muted.retain(|muted| muted.user != user);
    scene.rules.banned.retain(|banned| *banned != user);
    scene.rules.asked.retain(|asked| asked.user != user);
    scene.rules.links.retain(|link| link.by != user);
    if matches!(channel.kind(), ChannelKind::Group(_)) && !scene.state.dissolved {
        inherit(&mut scene.roster);
        scene.state.dissolved = scene.roster.members.is_empty();
    }
    begin(ctx, &mut scene, user);
    ctx.rows.put(RowKey::Roster(channel), scene.roster.clone());
    scene.put_rules_alone(ctx);
    if scene.roster.members.is_empty() {
        return Ok(Reply::Done);
    }
    let Scene { mut state, roster, .. } = scene;
    let (device, client_seq) = (DeviceId::new(0), ClientSeq::new(0));
    let draft = Draft { sender: user, device, client_seq, content: Content::Erased { user }, is_read: false };
    let record = push(ctx, channel, &mut state, draft)?;
    let recipients = recipients(&roster.members, record.at.seq);
    ctx.effects.push(Effect::Appended { channel, record, recipients });
    Ok(Reply::Done)
}

/// Empties the next records of a user who was erased.
pub(crate) fn go_on(ctx: &mut Context<'_>, channel: ChannelId, user: UserId) -> Result<Reply, ViewError> {
    let Some(mut scene) = Scene::read(ctx, channel)? else { return Ok(Reply::Done) };
    let Ok(at) = scene.rules.erasing.binary_search_by_key(&user, |one| one.user) else { return Ok(Reply::Done) };
    let Erasing { mut next, upto, .. } = scene.rules.erasing[at];
    let first = next;
    let mut emptied = Vec::new();
    for (key, row) in ctx.rows.scan(&Scan::Records(channel, next..=upto), false, limit::SWEEP_RECORDS)? {
        let record = Held::<Record>::new(&key, row)?;
        next = record.at.seq.next();
        let is_copy = record.content.extra().and_then(|extra| extra.origin).is_some_and(|origin| origin.sender == user);
        if record.sender == user || is_copy {
            amend::empty(ctx, channel, record.at.seq, Gone::Erased, None)?;
            emptied.push(record.at.seq);
        }
    }
    if next > first {
        amend::unreact(ctx, channel, user, first..=next.prev())?;
    }
    scene.rules.pins.retain(|pin| emptied.binary_search(&pin.seq).is_err());
    if next > upto {
        scene.rules.erasing.remove(at);
    } else {
        scene.rules.erasing[at] = Erasing { user, next, upto, due: ctx.now };
        timer::set(ctx, channel, ctx.now, Timer::Erase(user));
    }
    scene.put_rules_alone(ctx);
    Ok(Reply::Done)
}

/// Notes what is to be emptied: all of the log is looked through, since copies stand anywhere.
fn begin(ctx: &mut Context<'_>, scene: &mut Scene, user: UserId) {
    let head = scene.state.head.seq;
    let next = scene.state.kept.max(Seq::ZERO.next());
    if next > head {
        return;
    }
    let new = Erasing { user, next, upto: head, due: ctx.now };
    let erasing = &mut scene.rules.erasing;
    match erasing.binary_search_by_key(&user, |one| one.user) {
        Ok(at) => {
            ctx.rows.delete(RowKey::Timer(erasing[at].due, scene.channel, Timer::Erase(user)));
            erasing[at] = new;
        }
        Err(at) => erasing.insert(at, new),
    }
    timer::set(ctx, scene.channel, ctx.now, Timer::Erase(user));
}

/// Makes an owner of the longest standing member of the highest role, if there is none.
fn inherit(roster: &mut RosterRow) {
    if roster.members.iter().any(|member| member.role == Role::Owner) {
        return;
    }
    // `min_by_key` takes the first of equals, and the members are sorted.
    let heir = roster.members.iter_mut().min_by_key(|member| {
        let since = member.stays.last().map_or(Seq::ZERO, |stay| stay.join.seq);
        (std::cmp::Reverse(member.role), since)
    });
    if let Some(heir) = heir {
        heir.role = Role::Owner;
    }
}
