//! How far members have read and got: latest values, never a row per message.

use std::sync::Arc;

use kith_wire::{
    code::Code,
    id::{ChannelId, Seq, UserId},
    log::{ChannelRow, Position, PositionsRow, Record, RosterRow, Stay},
};

use super::append::member;
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// Moves a member's positions, largest wins. A position is that of a record which the member may see: a larger one is cut back to it, and
/// its count is the record's own.
pub(crate) fn receipt(
    ctx: &mut Context<'_>,
    channel: ChannelId,
    user: UserId,
    read: Option<Position>,
    delivered: Option<Position>,
) -> Result<Reply, ViewError> {
    let Some(state) = ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? else {
        return Ok(Reply::Rejected(Code::NotMember));
    };
    let roster = ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?;
    let Some(member) = member(&roster, user) else {
        return Ok(Reply::Rejected(Code::NotMember));
    };
    let key = RowKey::Positions(channel, user);
    let before = ctx.rows.row::<PositionsRow>(&key)?.map_or_else(PositionsRow::default, |row| row.clone());
    let mut after = before.clone();
    let seen = |position: Option<Position>| position.and_then(|position| last_visible(&member.stays, position.seq.min(state.head.seq)));
    if let Some(seq) = seen(read).filter(|seq| *seq > before.read.seq) {
        after.read = ctx.rows.required::<Record>(&RowKey::Record(channel, seq))?.at;
    }
    if let Some(seq) = seen(delivered).filter(|seq| *seq > before.delivered.seq) {
        after.delivered = ctx.rows.required::<Record>(&RowKey::Record(channel, seq))?.at;
    }
    // What was read was delivered.
    after.delivered = after.delivered.max(after.read);
    if after != before {
        let others: Arc<[UserId]> = roster.members.iter().map(|member| member.user).filter(|other| *other != user).collect();
        ctx.effects.push(Effect::Receipt { channel, user, read: after.read, delivered: after.delivered, others });
        ctx.rows.put(key, after);
    }
    Ok(Reply::Done)
}

/// The last record up to `seq` that lies in one of the stays.
fn last_visible(stays: &[Stay], seq: Seq) -> Option<Seq> {
    let stay = stays.iter().rev().find(|stay| stay.first() <= seq)?;
    Some(stay.left.map_or(seq, |left| left.min(seq)))
}
