//! `dirty` and `hook`: channels that something is to be done for (below their head; with a webhook that is behind), in storage order: by bucket,
//! then by id. The row says no more than that.

use kith_wire::id::{ChannelId, GroupId};

use super::{Cursor, Family, KeyError, after_prefix, prefix, whole};

pub(super) fn encode(out: &mut Vec<u8>, channel: &ChannelId) {
    out.extend_from_slice(channel.as_bytes());
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<ChannelId, KeyError> {
    cursor.channel()
}

pub(super) fn range(family: Family, group: GroupId, after: Option<&ChannelId>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |channel| {
        let mut last = prefix(group, channel.bucket());
        encode(&mut last, channel);
        after_prefix(&last)
    });
    (family, from, to)
}
