//! Rows in chunks, cut so that the same rows make the same chunks.
//!
//! ```text
//! per row: key length u16 BE | key | body length u32 BE | body
//! ```
//! In: rows in the order of their keys. Out: chunks, and their rows back. Invariants: where a chunk ends follows from the rows since the last end
//! alone, so that a row more or less changes the chunks around it and no other; a chunk holds rows of one family (the first byte of their keys);
//! any bytes are rows or a typed error. Bounds: [`BYTES_MAX`], but one row always fits.

use thiserror::Error;

/// A chunk is not ended below this, but at the end of a run or family: a small object costs as much as a large one.
pub const BYTES_MIN: usize = 128 * 1024;
/// A chunk is ended here at the latest.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// One key in so many ends a chunk.
const ENDS_ONE_IN: u32 = 1_024;

/// A row: a key that orders rows of all groups, and a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowBytes<K = Vec<u8>> {
    /// Its packed key: the first byte is its family.
    pub key: K,
    /// Its body.
    pub body: K,
}

/// Some rows, as they are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chunk {
    /// As above.
    pub bytes: Vec<u8>,
    /// How many.
    pub rows: u32,
}

/// The bytes are no chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ChunkError {
    /// It ends within a row.
    #[error("a chunk ends within a row")]
    Short,
    /// Rows do not rise by their keys.
    #[error("rows of a chunk are out of order")]
    Order,
    /// A row has no key.
    #[error("a row of a chunk has no key")]
    Key,
}

/// Cuts rows into chunks.
#[derive(Debug, Default)]
pub struct Cutter {
    open: Chunk,
    family: Option<u8>,
}

impl Cutter {
    /// Takes the next row; gives the chunks that are whole now: none, or one, or two.
    pub fn push(&mut self, key: &[u8], body: &[u8]) -> Vec<Chunk> {
        let mut whole = Vec::new();
        let family = key.first().copied();
        let bytes = 6 + key.len() + body.len();
        let is_full = self.open.bytes.len() + bytes > BYTES_MAX;
        if (self.family != family || is_full) && self.open.rows > 0 {
            whole.push(std::mem::take(&mut self.open));
        }
        self.family = family;
        // Keys are at most some hundred bytes, bodies some hundred thousand.
        self.open.bytes.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.open.bytes.extend_from_slice(key);
        self.open.bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.open.bytes.extend_from_slice(body);
        self.open.rows += 1;
        if self.open.bytes.len() >= BYTES_MIN && ends(key) {
            whole.push(std::mem::take(&mut self.open));
        }
        whole
    }
    /// The rows since the last chunk, if there are any: nothing comes after them.
    pub fn end(&mut self) -> Option<Chunk> {
        self.family = None;
        let open = std::mem::take(&mut self.open);
        (open.rows > 0).then_some(open)
    }
}

/// Whether a chunk that is large enough ends after this row. By its key alone: a body changes more often.
fn ends(key: &[u8]) -> bool {
    crc32fast::hash(key).is_multiple_of(ENDS_ONE_IN)
}

/// The rows of a chunk, borrowed, rising.
///
/// # Errors
/// The bytes are no chunk.
pub fn rows(chunk: &[u8]) -> Result<Vec<RowBytes<&[u8]>>, ChunkError> {
    let (mut rows, mut rest): (Vec<RowBytes<&[u8]>>, _) = (Vec::new(), chunk);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(ChunkError::Short)?;
        let (key, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(ChunkError::Short)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(ChunkError::Short)?;
        let (body, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or(ChunkError::Short)?;
        if key.is_empty() {
            return Err(ChunkError::Key);
        }
        if rows.last().is_some_and(|before| before.key >= key) {
            return Err(ChunkError::Order);
        }
        rows.push(RowBytes { key, body });
        rest = after;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn cut(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<Chunk> {
        let mut cutter = Cutter::default();
        let mut chunks: Vec<Chunk> = rows.iter().flat_map(|(key, body)| cutter.push(key, body)).collect();
        chunks.extend(cutter.end());
        chunks
    }

    fn back(chunks: &[Chunk]) -> Vec<(Vec<u8>, Vec<u8>)> {
        chunks.iter().flat_map(|chunk| rows(&chunk.bytes).unwrap()).map(|row| (row.key.to_vec(), row.body.to_vec())).collect()
    }

    fn many(count: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..count).map(|at| ([&[1][..], &at.to_be_bytes()].concat(), vec![at as u8; 300])).collect()
    }

    #[test]
    fn a_row_more_changes_the_chunks_around_it_and_no_other() {
        let before = many(40_000);
        let mut after = before.clone();
        after.insert(20_000, ([&[1][..], &19_999_u64.to_be_bytes(), &[7]].concat(), b"new".to_vec()));
        let (old, new) = (cut(&before), cut(&after));
        assert!(old.len() > 10, "{}", old.len());
        let known: HashSet<Vec<u8>> = old.into_iter().map(|chunk| chunk.bytes).collect();
        let fresh = new.iter().filter(|chunk| !known.contains(&chunk.bytes)).count();
        assert!((1..=2).contains(&fresh), "{fresh} chunks are new");
        assert_eq!(back(&new), after);
    }

    #[test]
    fn families_do_not_share_a_chunk() {
        let rows = [(vec![1, 1], vec![]), (vec![1, 2], vec![]), (vec![2, 1], vec![])];
        assert_eq!(cut(&rows).iter().map(|chunk| chunk.rows).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_chunk_that_is_none_is_an_error() {
        assert_eq!(rows(&[0]), Err(ChunkError::Short));
        assert_eq!(rows(&[0, 0, 0, 0, 0, 0]), Err(ChunkError::Key));
        assert_eq!(rows(&[0, 1, 5, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0]), Err(ChunkError::Order));
        assert_eq!(rows(&[0, 1, 5, 0xff, 0xff, 0xff, 0xff]), Err(ChunkError::Short));
    }

    proptest! {
        #[test]
        fn rows_come_back(rows in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 1..6), prop::collection::vec(any::<u8>(), 0..40), 0..60)) {
            let rows: Vec<_> = rows.into_iter().collect();
            prop_assert_eq!(back(&cut(&rows)), rows);
        }
        #[test]
        fn any_bytes_are_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = super::rows(&bytes);
        }
    }
}
