//! `timer`: what is to happen, in storage order: by bucket, then by when it is due.

use kith_wire::{
    act::Timer,
    id::{ChannelId, GroupId, Seq, Timestamp, UserId},
};

use super::{Cursor, Family, KeyError, after_prefix, prefix, whole};
use crate::view::RowKey;

const SEND: u8 = 1;
const EXPIRE: u8 = 2;
const SWEEP: u8 = 3;
const ERASE: u8 = 4;

pub(super) fn encode(out: &mut Vec<u8>, due: Timestamp, channel: &ChannelId, timer: Timer) {
    out.extend_from_slice(&due.get().to_be_bytes());
    out.extend_from_slice(channel.as_bytes());
    match timer {
        Timer::Send { user, id } => {
            out.push(SEND);
            out.extend_from_slice(&user.get().to_be_bytes());
            out.extend_from_slice(&id.to_be_bytes());
        }
        Timer::Expire(seq) => {
            out.push(EXPIRE);
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        Timer::Sweep => out.push(SWEEP),
        Timer::Erase(user) => {
            out.push(ERASE);
            out.extend_from_slice(&user.get().to_be_bytes());
        }
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    let due = Timestamp::new(cursor.u64()?);
    let channel = cursor.channel()?;
    let timer = match cursor.u8()? {
        SEND => Timer::Send { user: UserId::new(cursor.u64()?), id: cursor.u64()? },
        EXPIRE => Timer::Expire(Seq::new(cursor.u64()?)),
        SWEEP => Timer::Sweep,
        ERASE => Timer::Erase(UserId::new(cursor.u64()?)),
        unknown => return Err(KeyError::Timer(unknown)),
    };
    Ok(RowKey::Timer(due, channel, timer))
}

pub(super) fn range(group: GroupId, after: Option<&(Timestamp, ChannelId, Timer)>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |(due, channel, timer)| {
        let mut last = prefix(group, channel.bucket());
        encode(&mut last, *due, channel, *timer);
        after_prefix(&last)
    });
    (Family::Timer, from, to)
}
