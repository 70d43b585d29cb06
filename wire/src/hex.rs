//! Hexadecimal forms of ids.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::id::{ChannelId, ChannelIdError, ClusterId, StoreId, UserId};

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
