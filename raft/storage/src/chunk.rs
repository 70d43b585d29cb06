//! A piece of a snapshot: some rows of a group, as they lie in the database.
//!
//! ```text
//! rows u32 BE | per row: family u8 | key length u16 BE | key without its group | value length u32 BE | value in its envelope
//! ```
//! Rows rise by (family, key) within a chunk and from chunk to chunk. Invariant: any bytes are rows or a typed error.

use bytes::Bytes;
use kith_machine::view::{Row, RowKey};
use kith_wire::{id::GroupId, limit::SNAPSHOT_CHUNK_BYTES, peer::SnapshotEnd};
use thiserror::Error;

use crate::{
    key::{self, Family},
    row,
};

/// A chunk is not what an export makes.
#[derive(Debug, Error)]
pub enum ChunkError {
    /// It ends within a row, or says more rows than it has.
    #[error("chunk ends too early")]
    Short,
    /// It says fewer rows than it has.
    #[error("chunk has {0} bytes after its last row")]
    Long(usize),
    /// A family that this version does not know.
    #[error("chunk names family {0}, which is not known here")]
    Family(u8),
    /// A row that cannot lie there.
    #[error("chunk holds a row that cannot be read")]
    Row(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Rows must rise.
    #[error("rows of the snapshot are out of order")]
    Order,
}

pub(crate) const HEADER_BYTES: usize = 4;

/// Appends a row.
pub(crate) fn put(out: &mut Vec<u8>, family: Family, key: &[u8], value: &[u8]) {
    out.push(family as u8);
    out.extend_from_slice(&(key.len() as u16).to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// How many rows a chunk says it has; 0 if it is too short to say.
pub fn rows(chunk: &[u8]) -> u32 {
    chunk.first_chunk::<HEADER_BYTES>().map_or(0, |raw| u32::from_be_bytes(*raw))
}

/// Counts chunks as they are sent or received; the [`SnapshotEnd`] of a snapshot is the tally of all of its chunks in order.
#[derive(Clone, Default)]
pub struct Tally {
    rows: u64,
    crc: crc32fast::Hasher,
}

impl Tally {
    /// Counts the next chunk.
    pub fn add(&mut self, chunk: &[u8]) {
        self.rows += u64::from(rows(chunk));
        self.crc.update(chunk);
    }

    /// What a snapshot of these chunks ends with.
    pub fn end(&self) -> SnapshotEnd {
        SnapshotEnd { rows: self.rows, crc: self.crc.clone().finalize() }
    }
}

/// The chunks of a snapshot of these rows, for a store that keeps them in another way.
pub fn of_rows<'a>(group: GroupId, rows: impl IntoIterator<Item = (&'a RowKey, &'a Row)>) -> Vec<Bytes> {
    let mut encoded: Vec<_> = rows
        .into_iter()
        .map(|(row_key, row)| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let family = key::encode(group, row_key, &mut key);
            row::encode(row, &mut value);
            (family, key, value)
        })
        .collect();
    encoded.sort_unstable();
    let (mut chunks, mut out, mut count) = (Vec::new(), vec![0; HEADER_BYTES], 0_u32);
    for (family, key, value) in encoded {
        if count > 0 && out.len() + key.len() + value.len() + 8 > SNAPSHOT_CHUNK_BYTES {
            chunks.push(finish(std::mem::replace(&mut out, vec![0; HEADER_BYTES]), std::mem::take(&mut count)));
        }
        put(&mut out, family, &key[4..], &value);
        count += 1;
    }
    if count > 0 {
        chunks.push(finish(out, count));
    }
    chunks
}

/// The rows of a chunk, as [`of_rows`] got them.
///
/// # Errors
/// The bytes are not a chunk.
pub fn rows_of(group: GroupId, chunk: &[u8]) -> Result<Vec<(RowKey, Row)>, ChunkError> {
    let mut key = Vec::new();
    parse(chunk)?.iter().map(|row| verify(group, row, &mut key)).collect()
}

/// A chunk once all of its rows are put.
pub(crate) fn finish(mut out: Vec<u8>, count: u32) -> Bytes {
    out[..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
    Bytes::from(out)
}

/// A row of a chunk, borrowed. The key has no group.
pub(crate) struct RawRow<'a> {
    pub(crate) family: Family,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The rows of a chunk.
///
/// # Errors
/// The bytes are not a chunk.
pub(crate) fn parse(chunk: &[u8]) -> Result<Vec<RawRow<'_>>, ChunkError> {
    let (count, mut rest) = take::<HEADER_BYTES>(chunk)?;
    let count = u32::from_be_bytes(count) as usize;
    // A row takes at least seven bytes: a lying count reserves nothing.
    let mut rows = Vec::with_capacity(count.min(rest.len() / 7));
    for _ in 0..count {
        let ([family], after) = take::<1>(rest)?;
        let family = Family::from_number(family).ok_or(ChunkError::Family(family))?;
        let (length, after) = take::<2>(after)?;
        let (key, after) = after.split_at_checked(usize::from(u16::from_be_bytes(length))).ok_or(ChunkError::Short)?;
        let (length, after) = take::<4>(after)?;
        let (value, after) = after.split_at_checked(u32::from_be_bytes(length) as usize).ok_or(ChunkError::Short)?;
        rows.push(RawRow { family, key, value });
        rest = after;
    }
    if rest.is_empty() { Ok(rows) } else { Err(ChunkError::Long(rest.len())) }
}

/// Checks a row as it would be read later: its key, its bucket, its envelope, its body.
///
/// # Errors
/// It could not be read.
pub(crate) fn verify(group: GroupId, row: &RawRow<'_>, key: &mut Vec<u8>) -> Result<(RowKey, Row), ChunkError> {
    fn refused(error: impl std::error::Error + Send + Sync + 'static) -> ChunkError {
        ChunkError::Row(Box::new(error))
    }
    full_key(group, row.key, key);
    let (_, row_key) = key::decode(row.family, key).map_err(refused)?;
    key::verify_bucket(key, &row_key).map_err(refused)?;
    let decoded = row::decode(&row_key, row.value).map_err(refused)?;
    Ok((row_key, decoded))
}

/// The key in the database of a key in a chunk.
pub(crate) fn full_key(group: GroupId, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&group.get().to_be_bytes());
    out.extend_from_slice(key);
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), ChunkError> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest)).ok_or(ChunkError::Short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0..9u32) {
            let mut chunk = count.to_be_bytes().to_vec();
            chunk.extend(bytes);
            if let Ok(rows) = parse(&chunk) {
                for row in &rows {
                    let _ = verify(GroupId::new(1), row, &mut Vec::new());
                }
            }
        }
    }
}
