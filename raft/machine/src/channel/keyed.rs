//! Calls under a key: the numbers of those who send in parallel.
//!
//! One row per call, by channel, caller and key, with what became of it; one row per channel and caller with the floor and the count. A key
//! is looked up before anything else is checked, as a number is ([`super::dedup`]); each new one forgets a few that are over.

use kith_wire::{
    id::{CallKey, ChannelId, ClientSeq},
    limit,
    log::{Author, CallsRow, DedupEntry, Outcome},
};

use super::dedup::{Number, Ring, stored_answer};
use crate::{
    Context, call,
    reply::Reply,
    view::{RowKey, Scan, StateView, ViewError},
};

/// The calls of one caller in a channel, with a new one about to be remembered.
pub(crate) struct Calls {
    /// As it is without those that are over.
    row: CallsRow,
    over: Vec<CallKey>,
}

/// How the key of a write stands.
pub(crate) fn number(ctx: &Context<'_>, channel: ChannelId, author: &Author, key: CallKey) -> Result<Number, ViewError> {
    if let Some(entry) = ctx.rows.row::<DedupEntry>(&RowKey::Keyed(channel, author.user, key))? {
        return Ok(Number::Answered(stored_answer(ctx, channel, &entry, Some(author.digest))?));
    }
    let mut row = ctx.rows.row::<CallsRow>(&RowKey::Calls(channel, author.user))?.map_or_else(CallsRow::default, |row| *row);
    let mut over = Vec::new();
    for (oldest, _) in ctx.rows.scan(&Scan::Keyed(channel, author.user), false, call::FORGET_AT_ONCE)? {
        if let RowKey::Keyed(_, _, oldest) = oldest
            && call::is_over(oldest, ctx.now)
        {
            call::forget(&mut row, oldest);
            over.push(oldest);
        }
    }
    match call::refused(&row, key, ctx.now, limit::CALLS_MAX) {
        Some(code) => Ok(Number::Answered(Reply::Rejected(code))),
        None => Ok(Number::Next(Ring::Keyed(Calls { row, over }))),
    }
}

impl Calls {
    /// Remembers what became of the call.
    pub(crate) fn use_up(mut self, ctx: &mut Context<'_>, channel: ChannelId, author: &Author, key: CallKey, outcome: Outcome) {
        for over in self.over {
            ctx.rows.delete(RowKey::Keyed(channel, author.user, over));
        }
        call::note(&mut self.row, key);
        ctx.rows.put(RowKey::Calls(channel, author.user), self.row);
        ctx.rows.put(RowKey::Keyed(channel, author.user, key), DedupEntry { client_seq: ClientSeq::new(0), digest: author.digest, outcome });
    }
}
