//! `hook`: channels with a webhook that is behind, in storage order: by bucket, then by id.

use kith_machine::view::RowKey;
use kith_wire::id::{ChannelId, GroupId};

use super::{Cursor, Family, KeyError, after_prefix, prefix, whole};

pub(super) fn encode(out: &mut Vec<u8>, channel: &ChannelId) -> Family {
    out.extend_from_slice(channel.as_bytes());
    Family::HookDue
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    Ok(RowKey::HookDue(cursor.channel()?))
}

pub(super) fn range(group: GroupId, after: Option<&ChannelId>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |channel| {
        let mut last = prefix(group, channel.bucket());
        last.extend_from_slice(channel.as_bytes());
        after_prefix(&last)
    });
    (Family::HookDue, from, to)
}
