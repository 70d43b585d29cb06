//! The envelope around every stored value.
//!
//! ```text
//! format version u8 (1) | crc32 u32 BE over version and body | body
//! ```
//!
//! In: bodies from kith-wire. Out: bytes for the database, and back a checked body or a typed error. Never a panic on any bytes.
//! Not here: what the body means (`row`), where it lies (`key`).

use kith_machine::mutant::{Mutant, Quirk};
use thiserror::Error;

/// Version of the envelope and of what is in it.
pub(crate) const FORMAT: u8 = 1;
/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 5;

/// A stored value is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EnvelopeError {
    /// Shorter than its header.
    #[error("value of {0} bytes is shorter than its header")]
    Short(usize),
    /// Written by a version that this one does not know, or damaged.
    #[error("value has format version {0}, which is not known here")]
    Version(u8),
    /// The bytes are damaged.
    #[error("value has checksum {found:08x}, its header says {stored:08x}")]
    Checksum { stored: u32, found: u32 },
}

/// Wraps a body.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    seal_into(body, &mut out);
    out
}

/// Wraps a body at the end of a buffer.
pub(crate) fn seal_into(body: &[u8], out: &mut Vec<u8>) {
    seal_with(out, |out| out.extend_from_slice(body));
}

/// Wraps what is written to the end of a buffer: it is made where it stays.
pub(crate) fn seal_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(FORMAT);
    let at = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES - 1]);
    write(out);
    let sum = checksum(FORMAT, &out[at + HEADER_BYTES - 1..]).to_be_bytes();
    out[at..at + HEADER_BYTES - 1].copy_from_slice(&sum);
}

/// Checks and unwraps a value.
///
/// # Errors
/// The value is short, of an unknown version, or damaged.
pub(crate) fn open(value: &[u8]) -> Result<&[u8], EnvelopeError> {
    let Some((&[version, a, b, c, d], body)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(EnvelopeError::Short(value.len()));
    };
    if version != FORMAT {
        return Err(EnvelopeError::Version(version));
    }
    let (stored, found) = (u32::from_be_bytes([a, b, c, d]), checksum(version, body));
    if stored == found { Ok(body) } else { Err(EnvelopeError::Checksum { stored, found }) }
}

/// As [`open`], for whoever may be a mutant.
pub(crate) fn open_as(quirk: Quirk, value: &[u8]) -> Result<&[u8], EnvelopeError> {
    match open(value) {
        Err(EnvelopeError::Checksum { .. }) if quirk.is(Mutant::ChecksumSkipped) => Ok(&value[HEADER_BYTES..]),
        other => other,
    }
}

fn checksum(version: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Envelopes are on disks for ever.
    #[test]
    fn the_layout_is_fixed() {
        // The checksum is the common CRC-32 of 01 61 62 63.
        assert_eq!(seal(b"abc"), [&[1][..], &crc32fast::hash(b"\x01abc").to_be_bytes(), b"abc"].concat());
    }

    proptest! {
        #[test]
        fn opens_what_was_sealed(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let value = seal(&body);
            prop_assert_eq!(open(&value).unwrap(), &body[..]);
        }

        #[test]
        fn any_flipped_bit_is_found(body in proptest::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut value = seal(&body);
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            prop_assert!(open(&value).is_err());
        }

        #[test]
        fn any_bytes_are_a_body_or_an_error(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = open(&value);
        }
    }
}
