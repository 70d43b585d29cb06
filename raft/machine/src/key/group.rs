//! `group`: rows of a group itself, and in the meta group those of the map. They belong to no bucket.

use bytes::Bytes;
use kith_wire::id::{GroupId, NodeId, RegionId};

use super::{Cursor, Family, KeyError, Ordinal, after_prefix, decode_packed};
use crate::view::RowKey;

pub(super) fn encode(out: &mut Vec<u8>, key: &RowKey) {
    match key {
        RowKey::GroupState => out.push(Ordinal::GroupState as u8),
        RowKey::Cluster => out.push(Ordinal::Cluster as u8),
        RowKey::Trust => out.push(Ordinal::Trust as u8),
        RowKey::GroupHooks => out.push(Ordinal::GroupHooks as u8),
        RowKey::Owned(region, first) => run(out, Ordinal::Owned, *region, *first),
        RowKey::Run(region, first) => run(out, Ordinal::Run, *region, *first),
        RowKey::Leaving => out.push(Ordinal::Leaving as u8),
        RowKey::Staging(from) => {
            out.push(Ordinal::Staging as u8);
            out.extend_from_slice(&from.get().to_be_bytes());
        }
        RowKey::Changed(round, key) => {
            out.push(Ordinal::Changed as u8);
            out.extend_from_slice(&round.to_be_bytes());
            out.extend_from_slice(key);
        }
        RowKey::Node(node) => {
            out.push(Ordinal::Node as u8);
            out.extend_from_slice(&node.get().to_be_bytes());
        }
        RowKey::Group(group) => {
            out.push(Ordinal::Group as u8);
            out.extend_from_slice(&group.get().to_be_bytes());
        }
        other => unreachable!("{other:?} is not a row of this family: `key::encode` sends it elsewhere"),
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<RowKey, KeyError> {
    const GROUP_STATE: u8 = Ordinal::GroupState as u8;
    const OWNED: u8 = Ordinal::Owned as u8;
    const CLUSTER: u8 = Ordinal::Cluster as u8;
    const TRUST: u8 = Ordinal::Trust as u8;
    const GROUP_HOOKS: u8 = Ordinal::GroupHooks as u8;
    const NODE: u8 = Ordinal::Node as u8;
    const GROUP: u8 = Ordinal::Group as u8;
    const RUN: u8 = Ordinal::Run as u8;
    const LEAVING: u8 = Ordinal::Leaving as u8;
    const STAGING: u8 = Ordinal::Staging as u8;
    const CHANGED: u8 = Ordinal::Changed as u8;
    Ok(match cursor.u8()? {
        GROUP_STATE => RowKey::GroupState,
        CLUSTER => RowKey::Cluster,
        TRUST => RowKey::Trust,
        GROUP_HOOKS => RowKey::GroupHooks,
        OWNED => RowKey::Owned(RegionId::new(cursor.u8()?), cursor.u16()?),
        RUN => RowKey::Run(RegionId::new(cursor.u8()?), cursor.u16()?),
        NODE => RowKey::Node(NodeId::new(cursor.u64()?)),
        GROUP => RowKey::Group(GroupId::new(cursor.u32()?)),
        LEAVING => RowKey::Leaving,
        STAGING => RowKey::Staging(GroupId::new(cursor.u32()?)),
        CHANGED => {
            let (round, key) = (cursor.u64()?, cursor.rest());
            decode_packed(key)?;
            RowKey::Changed(round, Bytes::copy_from_slice(key))
        }
        unknown => return Err(KeyError::Ordinal(unknown)),
    })
}

pub(super) fn kind(group: GroupId, ordinal: Ordinal) -> (Family, Vec<u8>, Vec<u8>) {
    let mut from = group.get().to_be_bytes().to_vec();
    from.push(ordinal as u8);
    let to = after_prefix(&from);
    (Family::Group, from, to)
}

fn run(out: &mut Vec<u8>, ordinal: Ordinal, region: RegionId, first: u16) {
    out.push(ordinal as u8);
    out.push(region.get());
    out.extend_from_slice(&first.to_be_bytes());
}

/// Marks of a move after this one.
pub(super) fn changed(group: GroupId, after: Option<&(u64, Bytes)>) -> (Family, Vec<u8>, Vec<u8>) {
    let (family, from, to) = kind(group, Ordinal::Changed);
    let Some((round, key)) = after else { return (family, from, to) };
    (family, [&from[..], &round.to_be_bytes()[..], &key[..], &[0]].concat(), to)
}
