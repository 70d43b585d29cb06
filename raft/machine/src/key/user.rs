//! `user`: rows of a user, by user and kind.

use std::ops::RangeInclusive;

use kith_wire::id::{DeviceId, GroupId, UserId, UserRev};

use super::{Cursor, Family, KeyError, Ordinal, after_prefix, prefix};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, key: &RowKey) {
    match key {
        RowKey::User(user) => head(out, *user, Ordinal::User),
        RowKey::Credential(user) => head(out, *user, Ordinal::Credential),
        RowKey::Profile(user) => head(out, *user, Ordinal::Profile),
        RowKey::Contact(user, peer) => {
            head(out, *user, Ordinal::Contact);
            out.extend_from_slice(&peer.get().to_be_bytes());
        }
        RowKey::Device(user, device) => {
            head(out, *user, Ordinal::Device);
            out.extend_from_slice(&device.get().to_be_bytes());
        }
        RowKey::Index(user, channel) => {
            head(out, *user, Ordinal::Index);
            out.extend_from_slice(channel.as_bytes());
        }
        RowKey::IndexByRev(user, rev) => {
            head(out, *user, Ordinal::IndexByRev);
            out.extend_from_slice(&rev.get().to_be_bytes());
        }
        RowKey::Pushes(user) => head(out, *user, Ordinal::Pushes),
        RowKey::PushSent(user, channel) => {
            head(out, *user, Ordinal::PushSent);
            out.extend_from_slice(channel.as_bytes());
        }
        RowKey::HomeCalls(user) => head(out, *user, Ordinal::HomeCalls),
        RowKey::HomeCall(user, call) => {
            head(out, *user, Ordinal::HomeCall);
            out.extend_from_slice(call.as_bytes());
        }
        other => unreachable!("{other:?} is not a row of this family: `key::encode` sends it elsewhere"),
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    const USER: u8 = Ordinal::User as u8;
    const DEVICE: u8 = Ordinal::Device as u8;
    const INDEX: u8 = Ordinal::Index as u8;
    const INDEX_BY_REV: u8 = Ordinal::IndexByRev as u8;
    const CREDENTIAL: u8 = Ordinal::Credential as u8;
    const PROFILE: u8 = Ordinal::Profile as u8;
    const CONTACT: u8 = Ordinal::Contact as u8;
    const PUSHES: u8 = Ordinal::Pushes as u8;
    const PUSH_SENT: u8 = Ordinal::PushSent as u8;
    const HOME_CALLS: u8 = Ordinal::HomeCalls as u8;
    const HOME_CALL: u8 = Ordinal::HomeCall as u8;
    let user = UserId::new(cursor.u64()?);
    Ok(match cursor.u8()? {
        USER => RowKey::User(user),
        DEVICE => RowKey::Device(user, DeviceId::new(cursor.u64()?)),
        INDEX => RowKey::Index(user, cursor.channel()?),
        INDEX_BY_REV => RowKey::IndexByRev(user, UserRev::new(cursor.u64()?)),
        CREDENTIAL => RowKey::Credential(user),
        PROFILE => RowKey::Profile(user),
        CONTACT => RowKey::Contact(user, UserId::new(cursor.u64()?)),
        PUSHES => RowKey::Pushes(user),
        PUSH_SENT => RowKey::PushSent(user, cursor.channel()?),
        HOME_CALLS => RowKey::HomeCalls(user),
        HOME_CALL => RowKey::HomeCall(user, cursor.call()?),
        unknown => return Err(KeyError::Ordinal(unknown)),
    })
}

pub(super) fn devices(group: GroupId, user: UserId) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, user.bucket());
    head(&mut from, user, Ordinal::Device);
    let to = after_prefix(&from);
    (Family::User, from, to)
}

pub(super) fn contacts(group: GroupId, user: UserId, first: UserId) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, user.bucket());
    head(&mut from, user, Ordinal::Contact);
    let to = after_prefix(&from);
    from.extend_from_slice(&first.get().to_be_bytes());
    (Family::User, from, to)
}

pub(super) fn calls(group: GroupId, user: UserId) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, user.bucket());
    head(&mut from, user, Ordinal::HomeCall);
    let to = after_prefix(&from);
    (Family::User, from, to)
}

pub(super) fn index_by_rev(group: GroupId, user: UserId, revs: &RangeInclusive<UserRev>) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, user.bucket());
    head(&mut from, user, Ordinal::IndexByRev);
    let mut last = from.clone();
    from.extend_from_slice(&revs.start().get().to_be_bytes());
    last.extend_from_slice(&revs.end().get().to_be_bytes());
    (Family::User, from, after_prefix(&last))
}

fn head(out: &mut Vec<u8>, user: UserId, ordinal: Ordinal) {
    out.extend_from_slice(&user.get().to_be_bytes());
    out.push(ordinal as u8);
}
