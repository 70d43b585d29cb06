//! `push`: conversations of users that are to be looked at for pushes, in storage order: by bucket, then user, then conversation.

use kith_wire::id::{ChannelId, GroupId, UserId};

use super::{Cursor, Family, KeyError, after_prefix, prefix, whole};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, user: UserId, channel: &ChannelId) {
    put(out, user, channel);
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    Ok(RowKey::PushDue(UserId::new(cursor.u64()?), cursor.channel()?))
}

pub(super) fn range(group: GroupId, after: Option<&(UserId, ChannelId)>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |(user, channel)| {
        let mut last = prefix(group, user.bucket());
        put(&mut last, *user, channel);
        after_prefix(&last)
    });
    (Family::PushDue, from, to)
}

fn put(out: &mut Vec<u8>, user: UserId, channel: &ChannelId) {
    out.extend_from_slice(&user.get().to_be_bytes());
    out.extend_from_slice(channel.as_bytes());
}
