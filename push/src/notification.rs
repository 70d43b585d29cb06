//! One push to one device: what it says, how soon and until when.
//!
//! In: what a home leader decided. Out: what the providers make their requests of. Invariants: by default it says nothing but "there is something" ([`Shows`]); its
//! id is the same for every attempt, and its collapse key tells nobody which conversation it is of. Not here: layout of the payload (kith-wire's `push`),
//! whether to push at all (the node).

use kith_wire::{
    base64,
    id::{ChannelId, Timestamp, UserId, digest},
    push::PushPayload,
};
use thiserror::Error;

use crate::Target;

/// Title or text of a push that shows some, in bytes: with all else it fits the 4,096 bytes of a provider.
pub const SHOWN_BYTES_MAX: usize = 1_024;
/// A provider is asked to keep a push no longer: four weeks, Google's bound and the shortest.
pub const KEPT_SECONDS_MAX: u64 = 28 * 24 * 3_600;

/// One push to one device.
#[derive(Clone, Debug)]
pub struct Notification {
    /// The device.
    pub target: Target,
    /// The same for each attempt at it.
    pub id: NotificationId,
    /// What the app gets.
    pub payload: PushPayload,
    /// What the system shows before the app says something.
    pub shows: Shows,
    /// A later push with the same key takes the place of this one.
    pub collapse: Option<CollapseKey>,
    /// How soon.
    pub urgency: Urgency,
    /// Of no use from then on: providers keep it no longer.
    pub expires: Timestamp,
}

/// What the system shows before the app says something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Shows {
    /// Nothing: the app is woken, or only the badge changes.
    Nothing,
    /// That there is something new, in the app's own words: APNs shows the text of its key `KITH_NEW`, which the app's extension replaces; others wake the app.
    #[default]
    Something,
    /// A text, for apps that chose so. The provider can read it.
    Text(Shown),
}

/// A text that is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    title: String,
    body: String,
}

/// A text is too long to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("title and text of a push have at most {SHOWN_BYTES_MAX} bytes each")]
pub struct ShownError;

impl Shown {
    /// Checks its length.
    ///
    /// # Errors
    /// One of them is too long.
    pub fn new(title: String, body: String) -> Result<Self, ShownError> {
        if title.len().max(body.len()) > SHOWN_BYTES_MAX { Err(ShownError) } else { Ok(Self { title, body }) }
    }
    /// The first line.
    pub fn title(&self) -> &str {
        &self.title
    }
    /// The text.
    pub fn body(&self) -> &str {
        &self.body
    }
}

// What people write is never logged.
impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(..)")
    }
}

/// How soon a device is to get a push. APNs: priority 1, 5, 5, 10; FCM: normal, normal, normal, high; Web Push: as RFC 8030, section 5.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Urgency {
    /// When the device charges and has Wi-Fi.
    VeryLow,
    /// When the device is on anyway.
    Low,
    /// Soon.
    Normal,
    /// Now: somebody is spoken to.
    #[default]
    High,
}

impl Urgency {
    /// As RFC 8030 writes it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// Names a push over all its attempts, for providers and receivers that drop what comes twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NotificationId([u8; 16]);

impl NotificationId {
    /// Of what was drawn or derived.
    pub const fn new(raw: [u8; 16]) -> Self {
        Self(raw)
    }
    /// As a UUID (of version 8, RFC 9562: its bits are ours), which is what APNs wants.
    pub fn to_uuid(self) -> String {
        let mut raw = self.0;
        raw[6] = raw[6] & 0x0f | 0x80;
        raw[8] = raw[8] & 0x3f | 0x80;
        let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
    }
}

/// Names what a push is about, for the provider: 32 characters of the alphabet of URLs, the longest that all of them take (Web Push).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CollapseKey([u8; 24]);

impl CollapseKey {
    /// Of a conversation as this user has it: no two members have the same, so that a provider does not learn who talks with whom.
    pub fn of(user: UserId, channel: &ChannelId) -> Self {
        let [key @ .., _, _, _, _, _, _, _, _] = digest(&[b"kith/push/collapse/1", &user.get().to_be_bytes(), channel.as_bytes()]);
        Self(key)
    }
    /// Its characters.
    pub fn to_text(self) -> String {
        base64::write_url(&self.0)
    }
}

impl Notification {
    /// Seconds that a provider may keep it, if any are left.
    pub(crate) fn kept_seconds(&self, now: Timestamp) -> Option<u64> {
        let left = self.expires.get().checked_sub(now.get())? / 1_000;
        (left > 0).then_some(left.min(KEPT_SECONDS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_members_of_a_conversation_have_keys_of_their_own() {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        let (ann, bob) = (CollapseKey::of(UserId::new(1), &channel), CollapseKey::of(UserId::new(2), &channel));
        assert_ne!(ann, bob);
        assert_eq!(ann, CollapseKey::of(UserId::new(1), &channel));
        assert_eq!(ann.to_text().len(), 32);
        assert!(ann.to_text().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    }

    #[test]
    fn ids_are_uuids_and_texts_are_bounded_and_not_shown() {
        assert_eq!(NotificationId::new([0xff; 16]).to_uuid(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(Shown::new(String::new(), "x".repeat(SHOWN_BYTES_MAX + 1)), Err(ShownError));
        let shown = Shown::new("canary".to_owned(), "canary".to_owned()).unwrap();
        assert_eq!(format!("{shown:?}"), "Shown(..)");
    }
}
