//! `chan`: rows of a channel besides its records, by channel and kind.

use kith_machine::view::RowKey;
use kith_wire::id::{ChannelId, DeviceId, GroupId, UserId};

use super::{Cursor, Family, KeyError, Ordinal, after_prefix, prefix};

pub(super) fn encode(out: &mut Vec<u8>, key: &RowKey) -> Family {
    let (channel, ordinal, tail) = match key {
        RowKey::Channel(channel) => (channel, Ordinal::Channel, None),
        RowKey::Roster(channel) => (channel, Ordinal::Roster, None),
        RowKey::Former(channel, user) => (channel, Ordinal::Former, Some(user.get())),
        RowKey::Positions(channel, user) => (channel, Ordinal::Positions, Some(user.get())),
        RowKey::Dedup(channel, device) => (channel, Ordinal::Dedup, Some(device.get())),
        other => unreachable!("{other:?} is not a row of this family: `key::encode` sends it elsewhere"),
    };
    out.extend_from_slice(channel.as_bytes());
    out.push(ordinal as u8);
    if let Some(tail) = tail {
        out.extend_from_slice(&tail.to_be_bytes());
    }
    Family::Channel
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    const CHANNEL: u8 = Ordinal::Channel as u8;
    const ROSTER: u8 = Ordinal::Roster as u8;
    const FORMER: u8 = Ordinal::Former as u8;
    const POSITIONS: u8 = Ordinal::Positions as u8;
    const DEDUP: u8 = Ordinal::Dedup as u8;
    let channel = cursor.channel()?;
    Ok(match cursor.u8()? {
        CHANNEL => RowKey::Channel(channel),
        ROSTER => RowKey::Roster(channel),
        FORMER => RowKey::Former(channel, UserId::new(cursor.u64()?)),
        POSITIONS => RowKey::Positions(channel, UserId::new(cursor.u64()?)),
        DEDUP => RowKey::Dedup(channel, DeviceId::new(cursor.u64()?)),
        unknown => return Err(KeyError::Ordinal(unknown)),
    })
}

pub(super) fn positions(group: GroupId, channel: &ChannelId) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, channel.bucket());
    from.extend_from_slice(channel.as_bytes());
    from.push(Ordinal::Positions as u8);
    let to = after_prefix(&from);
    (Family::Channel, from, to)
}
