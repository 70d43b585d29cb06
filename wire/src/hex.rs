//! Hexadecimal forms of ids.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::id::{CallKey, ChannelId, ChannelIdError, ClusterId, StoreId, UserId};

/// The text is not an id of this kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("malformed {what}")]
pub struct ParseIdError {
    /// Which kind was asked for.
    pub what: &'static str,
}

/// Prints two digits for each byte.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly two digits for each byte.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut raw = [0; N];
    for (byte, pair) in raw.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(raw)
}

impl FromStr for UserId {
    type Err = ParseIdError;
    /// Parses `u` and 16 digits, as `Display` prints them.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let raw = text.strip_prefix('u').and_then(read).ok_or(ParseIdError { what: "user id" })?;
        Ok(Self::new(u64::from_be_bytes(raw)))
    }
}

impl FromStr for CallKey {
    type Err = ParseIdError;
    /// Parses a UUID of version 7: 32 digits in groups of 8, 4, 4, 4 and 12.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = ParseIdError { what: "key: it is no UUID of version 7" };
        let has_form = text.len() == 36 && text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == matches!(at, 8 | 13 | 18 | 23));
        let raw: [u8; 16] = has_form.then(|| text.replace('-', "")).and_then(|digits| read(&digits)).ok_or(error)?;
        let is_v7 = raw[6] >> 4 == 7 && raw[8] >> 6 == 0b10;
        if is_v7 { Ok(Self::new(raw)) } else { Err(error) }
    }
}

impl FromStr for ClusterId {
    type Err = ParseIdError;
    /// Parses 32 digits, as `Display` prints them.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        read(text).map(Self::new).ok_or(ParseIdError { what: "cluster id" })
    }
}

impl FromStr for StoreId {
    type Err = ParseIdError;
    /// Parses 32 digits, as `Display` prints them.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        read(text).map(Self::new).ok_or(ParseIdError { what: "store id" })
    }
}

impl FromStr for ChannelId {
    type Err = ChannelIdError;
    /// As [`ChannelId::from_hex`].
    fn from_str(text: &str) -> Result<Self, ChannelIdError> {
        Self::from_hex(text)
    }
}
