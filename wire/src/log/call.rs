//! Calls under a key, as they are remembered: how many of a caller, and those that touch more than one channel.

use bytes::Bytes;

use crate::id::{CallKey, Timestamp};

/// What one who comes without a token names a call by, and what tells a retry from another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnderKey {
    /// The caller's.
    pub key: CallKey,
    /// Of what was asked. Nothing that can be guessed is in it but as a slow hash.
    pub digest: u64,
}

/// The calls of one caller that are remembered: in one channel, or in their home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallsRow {
    /// Callers' keys that were forgotten are dated up to here: an unknown one is never "new" again.
    pub floor: Timestamp,
    /// Callers' keys that are remembered; those of nodes are not counted.
    pub live: u32,
}

/// A call that may touch several groups, in its caller's home.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallRow {
    /// Of the bytes.
    pub digest: u64,
    /// When it was begun last.
    pub begun: Timestamp,
    /// What was answered; `None` while nobody has said.
    pub answer: Option<Bytes>,
}
