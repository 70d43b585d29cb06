//! An object as it lies at a place: packed, and named by what is in it.
//!
//! ```text
//! magic "KBO1" | how it is packed u8 (0 as it is, 1 deflate) | length of the content u32 BE | packed content
//! ```
//! In: content. Out: bytes to store and its digest; back, the content, if it is what its name says. Invariant: no damage goes unnoticed: the name is
//! the SHA-256 of the content. Bound: [`CONTENT_BYTES_MAX`]. Why deflate and not zstd: the zstd crate asks for another set of
//! features of the library that RocksDB is built with; the byte says how it is packed, so that this can change without a new format.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Longest content: a chunk with one row of the longest kind, with room.
pub const CONTENT_BYTES_MAX: usize = 64 * 1024 * 1024;
const MAGIC: &[u8; 4] = b"KBO1";
const HEADER_BYTES: usize = 9;
const AS_IT_IS: u8 = 0;
const DEFLATE: u8 = 1;

/// Names an object: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
    /// Wraps raw bytes from a boundary.
    pub const fn new(raw: [u8; 32]) -> Self {
        Self(raw)
    }
    /// The raw bytes, for a boundary.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Parses 64 hexadecimal digits, as `Display` prints them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut raw = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (at, pair) in digits.chunks_exact(2).enumerate() {
            let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
            raw[at] = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(raw))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// The bytes are not the object that its name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ObjectError {
    /// It is none, or was cut off.
    #[error("it is no object of a backup, or was cut off")]
    Header,
    /// Packed in a way that this version does not know.
    #[error("it is packed in way {0}, which this version does not know")]
    Packing(u8),
    /// It cannot be unpacked.
    #[error("it cannot be unpacked")]
    Packed,
    /// What is in it is not what its name says.
    #[error("its content is not what its name says")]
    Content,
}

/// Packs a content.
pub(crate) fn seal(content: &[u8]) -> Bytes {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(content.len() / 2 + HEADER_BYTES), Compression::new(3));
    let packed = encoder.write_all(content).and_then(|()| encoder.finish()).ok().filter(|packed| packed.len() < content.len());
    let (how, body) = match &packed {
        Some(packed) => (DEFLATE, packed.as_slice()),
        None => (AS_IT_IS, content),
    };
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(MAGIC);
    out.push(how);
    // Contents are cut far below this.
    out.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
    Bytes::from(out)
}

/// Unpacks an object, whatever its name is.
///
/// # Errors
/// It is none.
pub fn unpack(stored: &[u8]) -> Result<Vec<u8>, ObjectError> {
    let (header, body) = stored.split_first_chunk::<HEADER_BYTES>().ok_or(ObjectError::Header)?;
    let length = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) as usize;
    if &header[..4] != MAGIC || length > CONTENT_BYTES_MAX {
        return Err(ObjectError::Header);
    }
    let content = match header[4] {
        AS_IT_IS => body.to_vec(),
        DEFLATE => {
            // A lying length reserves nothing; one byte more than it says is enough to know.
            let mut content = Vec::new();
            DeflateDecoder::new(body).take(length as u64 + 1).read_to_end(&mut content).map_err(|_| ObjectError::Packed)?;
            content
        }
        other => return Err(ObjectError::Packing(other)),
    };
    if content.len() == length { Ok(content) } else { Err(ObjectError::Packed) }
}

/// Unpacks the object of this name.
///
/// # Errors
/// It is none, or another one.
pub(crate) fn open(name: &Digest, stored: &[u8]) -> Result<Vec<u8>, ObjectError> {
    let content = unpack(stored)?;
    if Digest::of(&content) == *name { Ok(content) } else { Err(ObjectError::Content) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn opens_what_was_sealed(content in prop::collection::vec(any::<u8>(), 0..400), again in 0..50_usize) {
            let content = content.repeat(again);
            let sealed = seal(&content);
            prop_assert!(sealed.len() <= content.len() + HEADER_BYTES);
            prop_assert_eq!(open(&Digest::of(&content), &sealed), Ok(content));
        }
        #[test]
        fn a_flipped_bit_is_found(content in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut sealed = seal(&content).to_vec();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            // A bit of deflate's padding may mean nothing: then the content is what it was.
            prop_assert!(open(&Digest::of(&content), &sealed).is_err() || unpack(&sealed).as_ref() == Ok(&content));
        }
        #[test]
        fn any_bytes_are_an_object_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&bytes);
        }
        #[test]
        fn digests_are_read_as_they_are_printed(raw in any::<[u8; 32]>()) {
            let digest = Digest::new(raw);
            prop_assert_eq!(Digest::from_hex(&digest.to_string()), Some(digest));
        }
    }
}
