//! `chan`: rows of a channel besides its records, by channel and kind.

use std::ops::RangeInclusive;

use kith_wire::id::{ChannelId, DeviceId, GroupId, HookId, Seq, UserId};

use super::{Cursor, Family, KeyError, Ordinal, after_prefix, prefix};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, key: &RowKey) {
    let (channel, ordinal, tail): (_, _, &[u64]) = match key {
        RowKey::Channel(channel) => (channel, Ordinal::Channel, &[]),
        RowKey::Roster(channel) => (channel, Ordinal::Roster, &[]),
        RowKey::Former(channel, user) => (channel, Ordinal::Former, &[user.get()]),
        RowKey::Positions(channel, user) => (channel, Ordinal::Positions, &[user.get()]),
        RowKey::Dedup(channel, device) => (channel, Ordinal::Dedup, &[device.get()]),
        RowKey::Rules(channel) => (channel, Ordinal::Rules, &[]),
        RowKey::Marks(channel, seq) => (channel, Ordinal::Marks, &[seq.get()]),
        RowKey::Reply(channel, root, seq) => (channel, Ordinal::Reply, &[root.get(), seq.get()]),
        RowKey::ChannelHooks(channel) => (channel, Ordinal::ChannelHooks, &[]),
        RowKey::HookCursor(channel, hook) => (channel, Ordinal::HookCursor, &[hook.get()]),
        RowKey::Scheduled(channel, user, id) => (channel, Ordinal::Scheduled, &[user.get(), *id]),
        RowKey::Calls(channel, user) => (channel, Ordinal::Calls, &[user.get()]),
        RowKey::Keyed(channel, user, _) => (channel, Ordinal::Keyed, &[user.get()]),
        other => unreachable!("{other:?} is not a row of this family: `key::encode` sends it elsewhere"),
    };
    out.extend_from_slice(channel.as_bytes());
    out.push(ordinal as u8);
    tail.iter().for_each(|part| out.extend_from_slice(&part.to_be_bytes()));
    if let RowKey::Keyed(_, _, call) = key {
        out.extend_from_slice(call.as_bytes());
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    const CHANNEL: u8 = Ordinal::Channel as u8;
    const ROSTER: u8 = Ordinal::Roster as u8;
    const FORMER: u8 = Ordinal::Former as u8;
    const POSITIONS: u8 = Ordinal::Positions as u8;
    const DEDUP: u8 = Ordinal::Dedup as u8;
    const RULES: u8 = Ordinal::Rules as u8;
    const MARKS: u8 = Ordinal::Marks as u8;
    const REPLY: u8 = Ordinal::Reply as u8;
    const SCHEDULED: u8 = Ordinal::Scheduled as u8;
    const CHANNEL_HOOKS: u8 = Ordinal::ChannelHooks as u8;
    const HOOK_CURSOR: u8 = Ordinal::HookCursor as u8;
    const CALLS: u8 = Ordinal::Calls as u8;
    const KEYED: u8 = Ordinal::Keyed as u8;
    let channel = cursor.channel()?;
    Ok(match cursor.u8()? {
        CHANNEL => RowKey::Channel(channel),
        ROSTER => RowKey::Roster(channel),
        FORMER => RowKey::Former(channel, UserId::new(cursor.u64()?)),
        POSITIONS => RowKey::Positions(channel, UserId::new(cursor.u64()?)),
        DEDUP => RowKey::Dedup(channel, DeviceId::new(cursor.u64()?)),
        RULES => RowKey::Rules(channel),
        MARKS => RowKey::Marks(channel, Seq::new(cursor.u64()?)),
        REPLY => RowKey::Reply(channel, Seq::new(cursor.u64()?), Seq::new(cursor.u64()?)),
        SCHEDULED => RowKey::Scheduled(channel, UserId::new(cursor.u64()?), cursor.u64()?),
        CHANNEL_HOOKS => RowKey::ChannelHooks(channel),
        HOOK_CURSOR => RowKey::HookCursor(channel, HookId::new(cursor.u64()?)),
        CALLS => RowKey::Calls(channel, UserId::new(cursor.u64()?)),
        KEYED => RowKey::Keyed(channel, UserId::new(cursor.u64()?), cursor.call()?),
        unknown => return Err(KeyError::Ordinal(unknown)),
    })
}

pub(super) fn positions(group: GroupId, channel: &ChannelId) -> (Family, Vec<u8>, Vec<u8>) {
    under(group, channel, Ordinal::Positions, &[])
}

pub(super) fn hook_cursors(group: GroupId, channel: &ChannelId) -> (Family, Vec<u8>, Vec<u8>) {
    under(group, channel, Ordinal::HookCursor, &[])
}

pub(super) fn scheduled(group: GroupId, channel: &ChannelId, user: UserId) -> (Family, Vec<u8>, Vec<u8>) {
    under(group, channel, Ordinal::Scheduled, &[user.get()])
}

pub(super) fn marks(group: GroupId, channel: &ChannelId, seqs: &RangeInclusive<Seq>) -> (Family, Vec<u8>, Vec<u8>) {
    between(group, channel, Ordinal::Marks, &[], seqs)
}

pub(super) fn replies(group: GroupId, channel: &ChannelId, root: Seq, seqs: &RangeInclusive<Seq>) -> (Family, Vec<u8>, Vec<u8>) {
    between(group, channel, Ordinal::Reply, &[root.get()], seqs)
}

/// All keys of a kind that begin with these numbers.
fn under(group: GroupId, channel: &ChannelId, ordinal: Ordinal, numbers: &[u64]) -> (Family, Vec<u8>, Vec<u8>) {
    let from = start(group, channel, ordinal, numbers);
    let to = after_prefix(&from);
    (Family::Channel, from, to)
}

/// All keys of a kind that go on with a seq of the range after these numbers.
fn between(group: GroupId, channel: &ChannelId, ordinal: Ordinal, numbers: &[u64], seqs: &RangeInclusive<Seq>) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = start(group, channel, ordinal, numbers);
    let mut last = from.clone();
    from.extend_from_slice(&seqs.start().get().to_be_bytes());
    last.extend_from_slice(&seqs.end().get().to_be_bytes());
    (Family::Channel, from, after_prefix(&last))
}

fn start(group: GroupId, channel: &ChannelId, ordinal: Ordinal, numbers: &[u64]) -> Vec<u8> {
    let mut from = prefix(group, channel.bucket());
    from.extend_from_slice(channel.as_bytes());
    from.push(ordinal as u8);
    numbers.iter().for_each(|number| from.extend_from_slice(&number.to_be_bytes()));
    from
}

pub(super) fn keyed(group: GroupId, channel: &ChannelId, user: UserId) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, channel.bucket());
    from.extend_from_slice(channel.as_bytes());
    from.push(Ordinal::Keyed as u8);
    from.extend_from_slice(&user.get().to_be_bytes());
    let to = after_prefix(&from);
    (Family::Channel, from, to)
}
