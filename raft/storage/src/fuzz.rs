//! What the fuzz targets need of parsers that nobody else may call. No API.
//!
//! In: any bytes. Out: values, or nothing; never a panic. Invariant: nothing here parses by itself. Not here: what must hold of a value (the targets).

use bytes::Bytes;
use kith_machine::mutant::Quirk;
use kith_wire::{
    id::{GroupId, LogIndex},
    log::{Applied, Entry},
    upgrade::ClusterVersion,
};

use crate::{
    Bounds, Identity, chunk, codec, db,
    key::{self, Family},
    log, mark, state, witness,
};

/// The same chunk, each row in its bucket and with its checksum as they should be, as far as its keys are keys: nobody guesses those.
pub fn mended(group: GroupId, chunk: &[u8]) -> Option<Bytes> {
    let (mut out, mut count, mut full) = (vec![0; chunk::HEADER_BYTES], 0, Vec::new());
    for raw in chunk::parse(chunk).ok()? {
        chunk::full_key(group, raw.key, &mut full);
        let Ok((_, row)) = key::decode(raw.family, &full) else { continue };
        full.clear();
        let family = key::encode(group, &row, &mut full);
        let body = raw.value.get(codec::HEADER_BYTES..).unwrap_or_default();
        chunk::put(&mut out, family, full.get(4..).unwrap_or_default(), &codec::seal(body));
        count += 1;
    }
    Some(chunk::finish(out, count))
}

/// A log entry's key and body as they are found on a disk, in an envelope that is whole.
pub fn entry(key: &[u8], body: &[u8]) -> Option<(GroupId, LogIndex, Entry)> {
    let (group, index) = log::parse_entry_key(key).ok()?;
    let entry = log::parse_entry(Quirk::default(), group, index, &codec::seal(body)).ok()?;
    Some((group, index, entry))
}

/// A value beside the log, as it is found on a disk, in an envelope that is whole.
pub fn meta(key: &[u8], body: &[u8]) -> Option<(GroupId, Bounds)> {
    let (group, field) = log::parse_meta_key(key).ok()?;
    let mut bounds = Bounds::default();
    log::parse_meta(group, field, &codec::seal(body), &mut bounds).ok()?;
    Some((group, bounds))
}

/// Where a group's state stands, as it is found on a disk.
pub fn applied(value: &[u8]) -> Option<Applied> {
    state::parse_applied(value).ok()
}

/// Whose store this is, as it is found on a disk.
pub fn identity(value: &[u8]) -> Option<Identity> {
    db::parse_identity(value).ok()
}

/// The version of a store's cluster, as it is found in its file.
pub fn mark(raw: &[u8]) -> Option<ClusterVersion> {
    mark::parse(std::str::from_utf8(raw).ok()?)
}

/// How far the log was synced, as it is found in its file.
pub fn witness(raw: &[u8; 16]) -> Option<u64> {
    witness::parse(raw)
}

/// The families, by number, that the bytes are a key of; each with what is encoded of what was read.
pub fn keys(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let read = Family::ALL.into_iter().filter_map(|family| key::decode(family, bytes).ok());
    read.map(|(group, row)| {
        let mut again = Vec::new();
        let family = key::encode(group, &row, &mut again);
        (family as u8, again)
    })
    .collect()
}
