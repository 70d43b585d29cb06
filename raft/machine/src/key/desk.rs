//! `desk`: reports, by number and by what they are of; the audit log, by number.

use kith_wire::{
    desk,
    id::{GroupId, Seq},
};

use super::{Cursor, Family, KeyError, Ordinal, after_prefix, prefix};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, key: &RowKey) {
    match key {
        RowKey::Desk => out.push(Ordinal::Desk as u8),
        RowKey::DeskHooks => out.push(Ordinal::DeskHooks as u8),
        RowKey::Report(id) => numbered(out, Ordinal::Report, *id),
        RowKey::ReportId(channel, seq) => {
            out.push(Ordinal::ReportId as u8);
            out.extend_from_slice(channel.as_bytes());
            out.extend_from_slice(&seq.get().to_be_bytes());
        }
        RowKey::Audit(id) => numbered(out, Ordinal::Audit, *id),
        other => unreachable!("{other:?} is not a row of this family: `key::encode` sends it elsewhere"),
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    const DESK: u8 = Ordinal::Desk as u8;
    const REPORT: u8 = Ordinal::Report as u8;
    const REPORT_ID: u8 = Ordinal::ReportId as u8;
    const DESK_HOOKS: u8 = Ordinal::DeskHooks as u8;
    const AUDIT: u8 = Ordinal::Audit as u8;
    Ok(match cursor.u8()? {
        DESK => RowKey::Desk,
        DESK_HOOKS => RowKey::DeskHooks,
        REPORT => RowKey::Report(cursor.u64()?),
        REPORT_ID => RowKey::ReportId(cursor.channel()?, Seq::new(cursor.u64()?)),
        AUDIT => RowKey::Audit(cursor.u64()?),
        unknown => return Err(KeyError::Ordinal(unknown)),
    })
}

/// All of a kind from the first number to the last, both inclusive.
pub(super) fn range(group: GroupId, ordinal: Ordinal, first: u64, last: u64) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = prefix(group, desk::bucket());
    let mut to = from.clone();
    numbered(&mut from, ordinal, first);
    numbered(&mut to, ordinal, last);
    (Family::Desk, from, after_prefix(&to))
}

fn numbered(out: &mut Vec<u8>, ordinal: Ordinal, number: u64) {
    out.push(ordinal as u8);
    out.extend_from_slice(&number.to_be_bytes());
}
