//! How far a channel's news have spread: one replicated number per channel, and who is still to hear of a removal.

use kith_wire::{
    code::Code,
    id::{ChannelId, Seq},
    log::{ChannelRow, RosterRow},
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
