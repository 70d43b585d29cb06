//! What a push says to a device: a pointer to what is new, never what it says.
//!
//! In: what a home leader decided, or bytes that a provider delivered. Out: the bytes of [`PushPayload`], and their text for providers that carry JSON.
//! Invariant: no text, name or title of anybody is in it: providers and lock screens learn that something is new, the app asks the cluster what. Bounds:
//! [`limit::PUSH_PAYLOAD_BYTES_MAX`]. Not here: how it travels (kith-push), what is shown (the app).
//!
//! Layout, all numbers big-endian. What a later version adds stands after it: a reader takes what it knows and leaves the rest.
//!
//! ```text
//! version u8 = 1 | kind u8 | user u64 | badge u32 | of kind 1, 2, 3: channel [u8; 17] | seq u64
//!                                                 | of kind 4:       nonce u64
//! ```

use thiserror::Error;

use crate::{
    base64,
    id::{ChannelId, Seq, UserId},
    limit,
};

/// A push, as a device gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushPayload {
    /// Whom it is for: a device may hold several accounts.
    pub user: UserId,
    /// Sum of unread over all their conversations; 0 clears the badge.
    pub badge: u32,
    /// What it is about.
    pub about: PushAbout,
}

/// What a push is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushAbout {
    /// A conversation has grown.
    Grown {
        /// The conversation.
        channel: ChannelId,
        /// Its last record when this was decided: at least up to there is something to pull.
        seq: Seq,
        /// Something up to there mentions the user.
        is_mention: bool,
    },
    /// The user has read it on another device: what is shown of it is taken back.
    Read {
        /// The conversation.
        channel: ChannelId,
        /// Up to there.
        seq: Seq,
    },
    /// Somebody tries whether pushes arrive.
    Test {
        /// To tell one from another.
        nonce: u64,
    },
}

/// The bytes are no push of ours. An app that is woken by one syncs all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PushPayloadError {
    /// Longer than any.
    #[error("a push payload has at most {} bytes", limit::PUSH_PAYLOAD_BYTES_MAX)]
    TooLong,
    /// It ends in the middle.
    #[error("a push payload is cut off")]
    Short,
    /// Of a version, or about something, that is not known.
    #[error("a push payload has version {version} and kind {kind}, which are not known")]
    Unknown {
        /// Its first byte.
        version: u8,
        /// Its second.
        kind: u8,
    },
    /// Its conversation is none.
    #[error("a push payload names no conversation")]
    Channel,
    /// Not the text of one.
    #[error("a push payload's text is base64 of the alphabet for URLs")]
    Text,
}

const VERSION: u8 = 1;
const GROWN: u8 = 1;
const MENTION: u8 = 2;
const READ: u8 = 3;
const TEST: u8 = 4;
const CHANNEL_BYTES: usize = 17;
/// Version, kind, user, badge, channel, seq.
const LONGEST: usize = 1 + 1 + 8 + 4 + CHANNEL_BYTES + 8;

const _: () = assert!(LONGEST < limit::PUSH_PAYLOAD_BYTES_MAX, "there is room for what later versions add");

impl PushPayload {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST);
        let kind = match self.about {
            PushAbout::Grown { is_mention: false, .. } => GROWN,
            PushAbout::Grown { is_mention: true, .. } => MENTION,
            PushAbout::Read { .. } => READ,
            PushAbout::Test { .. } => TEST,
        };
        bytes.extend([VERSION, kind]);
        bytes.extend(self.user.get().to_be_bytes());
        bytes.extend(self.badge.to_be_bytes());
        match self.about {
            PushAbout::Grown { channel, seq, .. } | PushAbout::Read { channel, seq } => {
                bytes.extend(channel.as_bytes());
                bytes.extend(seq.get().to_be_bytes());
            }
            PushAbout::Test { nonce } => bytes.extend(nonce.to_be_bytes()),
        }
        bytes
    }
    /// Parses bytes that a provider delivered.
    ///
    /// # Errors
    /// They are no push that is known here.
    pub fn decode(bytes: &[u8]) -> Result<Self, PushPayloadError> {
        if bytes.len() > limit::PUSH_PAYLOAD_BYTES_MAX {
            return Err(PushPayloadError::TooLong);
        }
        let mut rest = bytes;
        let [version, kind] = take(&mut rest)?;
        let unknown = PushPayloadError::Unknown { version, kind };
        if version != VERSION {
            return Err(unknown);
        }
        let user = UserId::new(u64::from_be_bytes(take(&mut rest)?));
        let badge = u32::from_be_bytes(take(&mut rest)?);
        let about = match kind {
            GROWN | MENTION | READ => {
                let channel = ChannelId::from_bytes(&take::<CHANNEL_BYTES>(&mut rest)?).map_err(|_| PushPayloadError::Channel)?;
                let seq = Seq::new(u64::from_be_bytes(take(&mut rest)?));
                if kind == READ { PushAbout::Read { channel, seq } } else { PushAbout::Grown { channel, seq, is_mention: kind == MENTION } }
            }
            TEST => PushAbout::Test { nonce: u64::from_be_bytes(take(&mut rest)?) },
            _ => return Err(unknown),
        };
        Ok(Self { user, badge, about })
    }
    /// As it stands in the JSON of a provider, under [`PUSH_FIELD`].
    pub fn to_text(&self) -> String {
        base64::write_url(&self.encode())
    }
    /// Parses what [`Self::to_text`] gave.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_text(text: &str) -> Result<Self, PushPayloadError> {
        if text.len() > limit::PUSH_PAYLOAD_BYTES_MAX.div_ceil(3) * 4 {
            return Err(PushPayloadError::TooLong);
        }
        Self::decode(&base64::read_url(text).ok_or(PushPayloadError::Text)?)
    }
}

/// Where the payload's text stands in the JSON of APNs (beside `aps`), of FCM (in `data`) and of a webhook.
pub const PUSH_FIELD: &str = "kith";

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PushPayloadError> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(PushPayloadError::Short)?;
    *rest = left;
    Ok(*taken)
}
