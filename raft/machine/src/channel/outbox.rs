//! How far a channel's news have spread: one replicated number per channel, and who is still to hear of a removal.

use kith_wire::{
    code::Code,
    id::{ChannelId, ChannelKind, Seq, UserId},
    log::{ChannelRow, Role, RosterRow},
};

use crate::{
    Context,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// Every home has committed the refs up to `seq`.
pub(crate) fn fanned(ctx: &mut Context<'_>, channel: ChannelId, seq: Seq) -> Result<Reply, ViewError> {
    let Some(held) = ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? else {
        return Ok(Reply::Rejected(Code::NotFound));
    };
    let seq = seq.min(held.head.seq);
    if seq <= held.fanned {
        return Ok(Reply::Done);
    }
    let mut state = held.clone();
    state.fanned = seq;
    if state.fanned == state.head.seq {
        ctx.rows.delete(RowKey::Dirty(channel));
    }
    ctx.rows.put(RowKey::Channel(channel), state);
    let roster = ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?;
    if roster.departing.iter().any(|departing| departing.member_seq <= seq) {
        let mut roster = roster.clone();
        roster.departing.retain(|departing| departing.member_seq > seq);
        ctx.rows.put(RowKey::Roster(channel), roster);
    }
    Ok(Reply::Done)
}

/// This user is erased or never was: they are no member any more, and nobody is told. The longest standing of the highest role becomes
/// owner if there is none left; a group without members is dissolved.
pub(crate) fn gone(ctx: &mut Context<'_>, channel: ChannelId, user: UserId) -> Result<Reply, ViewError> {
    let Some(state) = ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? else {
        return Ok(Reply::Rejected(Code::NotFound));
    };
    let held = ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?;
    let mut roster = held.clone();
    roster.members.retain(|member| member.user != user);
    roster.departing.retain(|departing| departing.user != user);
    if roster == *held {
        return Ok(Reply::Done);
    }
    if roster.members.len() < held.members.len() {
        ctx.rows.delete(RowKey::Positions(channel, user));
    }
    if state.ruled {
        let mut rules = ctx.rows.required::<kith_wire::act::RulesRow>(&RowKey::Rules(channel))?.clone();
        rules.muted.retain(|muted| muted.user != user);
        rules.asked.retain(|asked| asked.user != user);
        rules.links.retain(|link| link.by != user);
        ctx.rows.put(RowKey::Rules(channel), rules);
    }
    if matches!(channel.kind(), ChannelKind::Group(_)) && !state.dissolved {
        if !roster.members.iter().any(|member| member.role == Role::Owner) {
            // `min_by_key` takes the first of equals, and the members are sorted.
            let heir = roster.members.iter_mut().min_by_key(|member| {
                let since = member.stays.last().map_or(Seq::ZERO, |stay| stay.join.seq);
                (std::cmp::Reverse(member.role), since)
            });
            if let Some(heir) = heir {
                heir.role = Role::Owner;
            }
        }
        if roster.members.is_empty() {
            let mut state = state.clone();
            state.dissolved = true;
            ctx.rows.put(RowKey::Channel(channel), state);
        }
    }
    ctx.rows.put(RowKey::Roster(channel), roster);
    Ok(Reply::Done)
}
