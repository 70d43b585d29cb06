//! What a user's home keeps of pushes: where devices are reached, which conversations are due to be looked at, what was sent.
//!
//! In: bytes of `kith.log.v1`. Out: parsed types. Invariant: nothing by which somebody else could push to a device is shown by `Debug`. Bounds:
//! `limit::DEVICES_MAX` devices of a user, `limit::PUSH_TARGET_BYTES_MAX` each. Not here: when to push (kith-machine), how (kith-push).

use crate::{
    id::{ChannelId, DeviceId, Seq, Timestamp},
    limit,
    secret::Secret,
};

/// Where a device is reached, as it was registered. What stands in it is looked at by whoever sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushTarget {
    /// Apple. `topic`: the app's bundle id; empty: the operator's.
    Apns { token: Secret, topic: String, sandbox: bool },
    /// Google.
    Fcm { token: Secret },
    /// A browser: the three parts of its subscription, and the server key that it subscribed with (`None`: the current one).
    WebPush { endpoint: Secret, p256dh: Secret, auth: Secret, server: Option<[u8; 8]> },
    /// The device's own URL; the key that posts are signed with, in base64 of URLs.
    Webhook { url: Secret, key: Secret },
}

impl PushTarget {
    /// Whether what was shown can be taken back by a push that shows nothing: browsers end a subscription over which such come.
    pub const fn takes_back(&self) -> bool {
        match self {
            Self::Apns { .. } | Self::Fcm { .. } | Self::Webhook { .. } => true,
            Self::WebPush { .. } => false,
        }
    }
    /// About how much room it takes, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Apns { token, topic, .. } => token.len() + topic.len(),
            Self::Fcm { token } => token.len(),
            Self::WebPush { endpoint, p256dh, auth, .. } => endpoint.len() + p256dh.len() + auth.len(),
            Self::Webhook { url, key } => url.len() + key.len(),
        }
    }
}

/// When a user wants no push but of mentions: minutes of the day, UTC, from the first to before the last; over midnight where the first is later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuietHours {
    /// From then on.
    pub from: u32,
    /// Until then.
    pub to: u32,
}

impl QuietHours {
    /// Both are minutes of a day, and there is something between them.
    pub const fn is_valid(&self) -> bool {
        self.from < MINUTES_OF_A_DAY && self.to < MINUTES_OF_A_DAY && self.from != self.to
    }
    /// When it is over, if it is quiet now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        const MINUTE_MS: u64 = 60_000;
        const DAY_MS: u64 = MINUTES_OF_A_DAY as u64 * MINUTE_MS;
        let (day, at) = (now.get() / DAY_MS * DAY_MS, now.get() % DAY_MS);
        let (from, to) = (u64::from(self.from) * MINUTE_MS, u64::from(self.to) * MINUTE_MS);
        let until = match from < to {
            true if (from..to).contains(&at) => day + to,
            false if at < to => day + to,
            false if at >= from && from != to => day.saturating_add(DAY_MS).saturating_add(to),
            _ => return None,
        };
        Some(Timestamp::new(until))
    }
}

const MINUTES_OF_A_DAY: u32 = 24 * 60;

/// A change of what a user's home keeps of pushes. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushChange {
    /// A device is reached here from now on.
    Register { device: DeviceId, target: PushTarget },
    /// A device is not reached any more; `registered`: unless it was registered anew after that.
    Unregister { device: DeviceId, registered: Option<Timestamp> },
    /// When the user wants to hear of mentions only.
    Quiet { quiet: Option<QuietHours> },
    /// These devices were sent a push about a conversation.
    Sent { channel: ChannelId, sent: Vec<PushSent> },
    /// Nothing more is to be done about these conversations as they stood.
    Settled { channels: Vec<PushSettled> },
    /// A device could not be reached, as it was registered then.
    Failed { device: DeviceId, registered: Timestamp, reason: String },
}

/// A device was sent a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushSent {
    /// Which.
    pub device: DeviceId,
    /// It says that there is something up to this record.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// It says that everything is read up to there: what was shown is taken back.
    pub is_read: bool,
}

/// A conversation is settled up to a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushSettled {
    /// Which.
    pub channel: ChannelId,
    /// Up to there.
    pub seq: Seq,
    /// Everything was read: what was shown of it is taken back, or nobody has to.
    pub is_read: bool,
}

/// Where a user's devices are reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PushesRow {
    /// Rising by device.
    pub devices: Vec<PushDevice>,
    /// When only mentions are pushed.
    pub quiet: Option<QuietHours>,
}

/// A device that is pushed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushDevice {
    /// Which.
    pub device: DeviceId,
    /// Where it is reached.
    pub target: PushTarget,
    /// Since when.
    pub registered: Timestamp,
    /// What last went wrong; `None`: it was reached since.
    pub failure: Option<PushFailure>,
}

/// Why a device was not reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushFailure {
    /// When it last was not.
    pub at: Timestamp,
    /// A short reason, never of what was pushed.
    pub reason: String,
    /// How many times it was noted since the device was last reached.
    pub count: u32,
}

/// A conversation of a user is to be looked at: some device may have to be pushed to, of what is new or of what was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PushDueRow {
    /// Since when.
    pub since: Timestamp,
}

/// Which devices were sent a push about a conversation, until all of it is read and taken back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PushSentRow {
    /// The last one of each, rising by device.
    pub sent: Vec<PushSent>,
}

const _: () = assert!(limit::PUSH_TARGET_BYTES_MAX > limit::HOOK_URL_BYTES_MAX, "a webhook's url and key fit");
