//! `owed`: what users' homes owe to other groups, in storage order: by bucket, then user, then debt.

use kith_wire::{
    id::{GroupId, UserId},
    log::Debt,
};

use super::{Cursor, Family, KeyError, prefix, whole};
use crate::view::RowKey;

const NAME: u8 = 1;
const CONTACT: u8 = 2;
const SEARCH: u8 = 3;
const TEXTS: u8 = 4;
const BOT: u8 = 5;
const RESET: u8 = 6;

pub(super) fn encode(out: &mut Vec<u8>, user: UserId, debt: &Debt) {
    put(out, user, debt);
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    let user = UserId::new(cursor.u64()?);
    let debt = match cursor.u8()? {
        NAME => Debt::Name(std::str::from_utf8(cursor.rest()).map_err(|_| KeyError::Name)?.to_owned()),
        CONTACT => Debt::Contact(UserId::new(cursor.u64()?)),
        SEARCH => Debt::Search,
        TEXTS => Debt::Texts,
        BOT => Debt::Bot(UserId::new(cursor.u64()?)),
        RESET => Debt::Reset,
        unknown => return Err(KeyError::Debt(unknown)),
    };
    Ok(RowKey::Owed(user, debt))
}

pub(super) fn range(group: GroupId, after: Option<&(UserId, Debt)>) -> (Family, Vec<u8>, Vec<u8>) {
    let (from, to) = whole(group);
    let from = after.map_or(from, |(user, debt)| {
        let mut last = prefix(group, user.bucket());
        put(&mut last, *user, debt);
        // The next key there can be: a longer text follows this one.
        last.push(0);
        last
    });
    (Family::Owed, from, to)
}

fn put(out: &mut Vec<u8>, user: UserId, debt: &Debt) {
    out.extend_from_slice(&user.get().to_be_bytes());
    match debt {
        Debt::Name(name) => {
            out.push(NAME);
            out.extend_from_slice(name.as_bytes());
        }
        Debt::Contact(peer) => {
            out.push(CONTACT);
            out.extend_from_slice(&peer.get().to_be_bytes());
        }
        Debt::Search => out.push(SEARCH),
        Debt::Texts => out.push(TEXTS),
        Debt::Reset => out.push(RESET),
        Debt::Bot(bot) => {
            out.push(BOT);
            out.extend_from_slice(&bot.get().to_be_bytes());
        }
    }
}
