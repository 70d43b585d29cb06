//! One push to one device of a user, or a test of all of them.
//!
//! In: a registered target, what it is to be told. Out: what came of it. Invariant: the same conversation at the same seq is the same push for a provider, whoever sends
//! it. Bounds: those of kith-push; a test of one user at most every few seconds ([`TESTS`]). Not here: whether to push ([`super`]), providers (kith-push).

use std::sync::Arc;

use kith_push::{
    ApnsTarget, ApnsWorld, CollapseKey, FcmTarget, Notification, NotificationId, Outcome, Permit, Push, ServerKeyId, Shows, Target, TargetError,
    Urgency, WebPushTarget, WebhookTarget,
};
use kith_wire::{
    base64,
    id::{ChannelId, DeviceId, Seq, Timestamp, UserId, digest},
    log::{PushTarget, PushesRow},
    push::{PushAbout, PushPayload},
    push_device::{PushTested, PushVia},
};

use crate::{
    clock::{Instant, SharedClock, draw},
    rate::{Rate, Rates},
};

/// Tests of one user.
const TESTS: Rate = Rate { burst: 3, per_second: 0.1 };
/// A test is of no use after that.
const TEST_KEPT_MS: u64 = 60_000;

/// Sends pushes of this node.
#[derive(Clone)]
pub struct Sender {
    push: Arc<Push>,
    clock: SharedClock,
    tests: Arc<Rates>,
}

/// What a device is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// Whose device.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
    /// Of which conversation.
    pub channel: ChannelId,
    /// What about it.
    pub about: About,
    /// Sum of unread.
    pub badge: u32,
    /// Of no use from then on.
    pub expires: Timestamp,
}

/// What a device is to be told of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// There is something up to there; something of it mentions the user.
    Grown(Seq, bool),
    /// All up to there is read: what is shown of it is taken back, silently.
    Read(Seq),
}

impl About {
    /// Up to which record.
    pub const fn seq(self) -> Seq {
        match self {
            Self::Grown(seq, _) | Self::Read(seq) => seq,
        }
    }
}

impl Sender {
    /// Over providers.
    pub fn new(push: Arc<Push>, clock: SharedClock) -> Self {
        Self { push, clock, tests: Arc::new(Rates::new(TESTS)) }
    }
    /// What browsers subscribe with; empty: they cannot.
    pub fn server_key(&self) -> String {
        self.push.server_key().map(|key| key.text).unwrap_or_default()
    }
    /// Asks for leave to push to a device.
    ///
    /// # Errors
    /// Not before so long.
    pub fn admit(&self, target: &Target) -> Result<Permit, std::time::Duration> {
        self.push.admit(target, self.clock.now())
    }
    /// Tries once.
    pub async fn send(&self, permit: Permit, target: Target, news: &News) -> Outcome {
        let News { user, device, channel, about, badge, expires } = *news;
        let (name, about, shows, urgency): (&[u8], _, _, _) = match about {
            About::Grown(seq, is_mention) => (b"kith/push/id/1", PushAbout::Grown { channel, seq, is_mention }, Shows::default(), Urgency::default()),
            About::Read(seq) => (b"kith/push/read/1", PushAbout::Read { channel, seq }, Shows::Nothing, Urgency::Normal),
        };
        let seq = news.about.seq();
        let parts: [&[u8]; 5] = [name, &user.get().to_be_bytes(), &device.get().to_be_bytes(), channel.as_bytes(), &seq.get().to_be_bytes()];
        let notification = Notification {
            target,
            id: id_of(&digest(&parts)),
            payload: PushPayload { user, badge, about },
            shows,
            collapse: Some(CollapseKey::of(user, &channel)),
            urgency,
            expires,
        };
        self.push.send(permit, &notification, self.clock.now()).await
    }
    /// Whether a user may try their devices now.
    ///
    /// # Errors
    /// Not before so long.
    pub fn may_test(&self, user: UserId, now: Instant) -> Result<(), std::time::Duration> {
        self.tests.take(u128::from(user.get()), now)
    }
    /// Sends each device of a user a push that says nothing.
    pub async fn test(&self, user: UserId, badge: u32, row: &PushesRow) -> Vec<PushTested> {
        let tests = row.devices.iter().map(|known| async move {
            let outcome = match target_of(&known.target) {
                Err(error) => Err(error.to_string()),
                Ok(target) => match self.admit(&target) {
                    Err(wait) => Err(format!("busy: again after {} s", wait.as_secs() + 1)),
                    Ok(permit) => {
                        let (nonce, now) = (draw(), self.clock.now());
                        let notification = Notification {
                            target,
                            id: id_of(&digest(&[b"kith/push/test/1", &known.device.get().to_be_bytes(), &nonce.to_be_bytes()])),
                            payload: PushPayload { user, badge, about: PushAbout::Test { nonce } },
                            shows: Shows::default(),
                            collapse: None,
                            urgency: Urgency::default(),
                            expires: Timestamp::new(now.get().saturating_add(TEST_KEPT_MS)),
                        };
                        Ok(self.push.send(permit, &notification, now).await)
                    }
                },
            };
            let delivered = outcome.as_ref().is_ok_and(|outcome| *outcome == Outcome::Delivered);
            let outcome = outcome.map_or_else(|text| text, |outcome| outcome.to_string());
            PushTested { device: known.device, via: PushVia::of(&known.target), delivered, outcome }
        });
        futures_util::future::join_all(tests).await
    }
}

/// A target, as the providers know it.
///
/// # Errors
/// It reaches nobody.
pub fn target_of(target: &PushTarget) -> Result<Target, TargetError> {
    Ok(match target {
        PushTarget::Apns { token, topic, sandbox } => {
            let (topic, world) = ((!topic.is_empty()).then_some(topic.as_str()), if *sandbox { ApnsWorld::Sandbox } else { ApnsWorld::Production });
            Target::Apns(ApnsTarget::parse(token.reveal(), topic, world)?)
        }
        PushTarget::Fcm { token } => Target::Fcm(FcmTarget::parse(token.reveal())?),
        PushTarget::WebPush { endpoint, p256dh, auth, server } => {
            Target::WebPush(WebPushTarget::parse(endpoint.reveal(), p256dh.reveal(), auth.reveal(), server.map(ServerKeyId))?)
        }
        PushTarget::Webhook { url, key } => {
            Target::Webhook(WebhookTarget::parse(url.reveal(), &base64::read_url(key.reveal()).ok_or(TargetError::HookKey)?)?)
        }
    })
}

fn id_of(digest: &[u8; 32]) -> NotificationId {
    let mut raw = [0; 16];
    raw.copy_from_slice(&digest[..16]);
    NotificationId::new(raw)
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}
