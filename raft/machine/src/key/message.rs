//! `msg`: records of channels, by channel and seq.

use std::ops::RangeInclusive;

use kith_wire::id::{ChannelId, GroupId, Seq};

use super::{Cursor, Family, KeyError, after_prefix, prefix, whole};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, channel: &ChannelId, seq: Seq) {
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(&seq.get().to_be_bytes());
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    Ok(RowKey::Record(cursor.channel()?, Seq::new(cursor.u64()?)))
}

pub(super) fn range(group: GroupId, channel: &ChannelId, seqs: &RangeInclusive<Seq>) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, channel.bucket());
    from.extend_from_slice(channel.as_bytes());
    let mut last = from.clone();
    from.extend_from_slice(&seqs.start().get().to_be_bytes());
    last.extend_from_slice(&seqs.end().get().to_be_bytes());
    (Family::Message, from, after_prefix(&last))
}

pub(super) fn all(group: GroupId, after: Option<&(ChannelId, Seq)>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |(channel, seq)| {
        let mut last = prefix(group, channel.bucket());
        last.extend_from_slice(channel.as_bytes());
        last.extend_from_slice(&seq.get().to_be_bytes());
        after_prefix(&last)
    });
    (Family::Message, from, to)
}
