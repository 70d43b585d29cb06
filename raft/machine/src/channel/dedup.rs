//! The numbers of a device: a retry never makes a second record, and a device's records stand in the order in which it sent them.
//!
//! Only `last + 1` is decided; a number in the ring gets its stored answer; a gap is sent back; below the ring nothing is "new".
//! The ring is trimmed by `settled` alone. (A device that has more than the ring's length unsettled breaks the protocol: its oldest number
//! becomes `TooOld`, which is never "new" either.)

use kith_wire::{
    code::{Code, Retry},
    id::{ChannelId, ClientSeq, DeviceId, UserId},
    limit,
    log::{Author, DedupEntry, DedupRow, Outcome, Record},
};

use super::{
    append::sent,
    keyed::{self, Calls},
};
use crate::{
    Context,
    mutant::{self, Mutant},
    reply::Reply,
    view::{RowKey, StateView, ViewError},
};

/// How a device's number stands.
pub(crate) enum Number {
    /// It is the next one: decide it, then use it up.
    Next(Ring),
    /// It was decided before, or cannot be decided.
    Answered(Reply),
}

/// The numbers of a device, or the calls of a caller who has none, with the next one about to be used.
pub(crate) enum Ring {
    /// Of a device.
    Device(DedupRow),
    /// Of a caller.
    Keyed(Calls),
}

/// How the number of a write stands.
pub(crate) fn number(ctx: &Context<'_>, channel: ChannelId, author: &Author) -> Result<Number, ViewError> {
    match author.key {
        // A write has a number or a key.
        Some(_) if author.client_seq != ClientSeq::new(0) => Ok(Number::Answered(Reply::Rejected(Code::Invalid))),
        Some(key) => keyed::number(ctx, channel, author, key),
        None => locate(ctx, channel, author.user, author.device, author.client_seq, Some(author.digest)),
    }
}

impl Ring {
    /// Uses up the author's number or key.
    pub(crate) fn use_up(self, ctx: &mut Context<'_>, channel: ChannelId, author: &Author, outcome: Outcome) {
        let mut row = match (self, author.key) {
            (Self::Device(row), _) => row,
            (Self::Keyed(calls), Some(key)) => return calls.use_up(ctx, channel, author, key, outcome),
            (Self::Keyed(_), None) => unreachable!("`number` gives calls to authors with a key only"),
        };
        let settled = mutant::settled(ctx.rows.quirk(), author.settled);
        row.ring.retain(|entry| entry.client_seq >= settled);
        row.last = if ctx.is(Mutant::AckOutOfOrder) { row.last.max(author.client_seq) } else { author.client_seq };
        row.ring.push(DedupEntry { client_seq: author.client_seq, digest: author.digest, outcome });
        let over = row.ring.len().saturating_sub(limit::DEDUP_RING);
        row.ring.drain(..over);
        ctx.rows.put(RowKey::Dedup(channel, author.device), row);
    }

    /// Refuses the author's write: a final refusal is logged and uses up the number, a retryable one uses nothing.
    pub(crate) fn refuse(self, ctx: &mut Context<'_>, channel: ChannelId, author: &Author, code: Code) -> Reply {
        if code.retry() == Retry::Never && !ctx.is(Mutant::RefusalFreesNumber) {
            self.use_up(ctx, channel, author, Outcome::Refused(code));
        }
        Reply::Rejected(code)
    }
}

/// Gives up a number, or tells what became of it. Works without a channel too: a copy of the write that is still under way must not begin one.
pub(crate) fn void(
    ctx: &mut Context<'_>,
    channel: ChannelId,
    user: UserId,
    device: DeviceId,
    client_seq: ClientSeq,
    digest: Option<u64>,
) -> Result<Reply, ViewError> {
    match locate(ctx, channel, user, device, client_seq, digest)? {
        Number::Answered(reply) => Ok(reply),
        Number::Next(ring) => {
            // Voiding settles nothing: the numbers before it may still await their answers.
            let settled = ClientSeq::new(0);
            let author = Author { user, device, client_seq, settled, digest: digest.unwrap_or(0), key: None };
            ring.use_up(ctx, channel, &author, Outcome::Voided);
            Ok(Reply::Voided)
        }
    }
}

fn locate(
    ctx: &Context<'_>,
    channel: ChannelId,
    user: UserId,
    device: DeviceId,
    client_seq: ClientSeq,
    digest: Option<u64>,
) -> Result<Number, ViewError> {
    if client_seq == ClientSeq::new(0) {
        return Ok(Number::Answered(Reply::Rejected(Code::Invalid)));
    }
    let held = ctx.rows.row::<DedupRow>(&RowKey::Dedup(channel, device))?;
    let row = held.as_deref();
    let last = row.map_or(ClientSeq::new(0), |row| row.last);
    if row.is_some_and(|row| row.user != user) {
        // A device is of one user. Whoever asks must draw another one, as after any conflict.
        return Ok(Number::Answered(Reply::Rejected(Code::Conflict)));
    }
    if let Some(entry) = row.and_then(|row| row.ring.iter().find(|entry| entry.client_seq == client_seq)) {
        return Ok(Number::Answered(stored_answer(ctx, channel, entry, digest)?));
    }
    // A table that is empty takes any number for the first; one without order takes any that it has not seen.
    let takes_any = (row.is_none() && ctx.is(Mutant::DedupInMemory))
        || (ctx.is(Mutant::AckOutOfOrder) && client_seq.get() + limit::DEDUP_RING as u64 > last.get());
    if client_seq <= last && !takes_any {
        return Ok(Number::Answered(Reply::Rejected(Code::TooOld)));
    }
    let expected = last.next();
    if client_seq != expected && !takes_any {
        return Ok(Number::Answered(Reply::OutOfSequence { expected }));
    }
    Ok(Number::Next(Ring::Device(row.map_or_else(|| DedupRow { user, last, ring: Vec::new() }, DedupRow::clone))))
}

/// The answer to a retry.
pub(crate) fn stored_answer(ctx: &Context<'_>, channel: ChannelId, entry: &DedupEntry, digest: Option<u64>) -> Result<Reply, ViewError> {
    match entry.outcome {
        // Given up: any copy is answered so, whatever its bytes.
        Outcome::Voided => Ok(Reply::Voided),
        _ if digest.is_some_and(|digest| digest != entry.digest) => Ok(Reply::Rejected(Code::Conflict)),
        Outcome::Refused(code) => Ok(Reply::Rejected(code)),
        Outcome::Kept(id) => Ok(Reply::Kept { id }),
        Outcome::Record { seq, .. } => Ok(sent(&*ctx.rows.required::<Record>(&RowKey::Record(channel, seq))?, true)),
    }
}
