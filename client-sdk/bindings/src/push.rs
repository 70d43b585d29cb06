//! Pushes: where this device is reached while it is not connected, and what it does with one.

use std::time::Duration;

use kith_client::wire::{
    log::{PushTarget as WireTarget, QuietHours as WireQuiet},
    push_device::{PushDeviceView, PushState as WireState, PushTested as WireTested, PushVia as WireVia},
};

use crate::{client::ChatClient, error::ChatError, message::Message};

/// Where a device is reached: what its system gave the app.
#[derive(Clone, PartialEq, Eq, uniffi::Enum)]
pub enum PushTarget {
    /// Apple.
    Apns {
        /// Of the device.
        token: String,
        /// The app's bundle id; empty: the operator's.
        topic: String,
        /// Of a build for development.
        sandbox: bool,
    },
    /// Google.
    Fcm {
        /// Of the device.
        token: String,
    },
    /// A browser: the three parts of its subscription.
    WebPush {
        /// Where.
        endpoint: String,
        /// Its key.
        p256dh: String,
        /// Its secret.
        auth: String,
    },
    /// The device's own URL, and the key that posts are signed with, in base64 of URLs.
    Webhook {
        /// Where.
        url: String,
        /// The key.
        key: String,
    },
}

impl From<PushTarget> for WireTarget {
    fn from(target: PushTarget) -> Self {
        match target {
            PushTarget::Apns { token, topic, sandbox } => Self::Apns { token: token.into(), topic, sandbox },
            PushTarget::Fcm { token } => Self::Fcm { token: token.into() },
            PushTarget::WebPush { endpoint, p256dh, auth } => {
                Self::WebPush { endpoint: endpoint.into(), p256dh: p256dh.into(), auth: auth.into(), server: None }
            }
            PushTarget::Webhook { url, key } => Self::Webhook { url: url.into(), key: key.into() },
        }
    }
}

/// Who brings a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum PushVia {
    /// Apple.
    Apns,
    /// Google.
    Fcm,
    /// The push service of a browser.
    WebPush,
    /// The device's own URL.
    Webhook,
}

impl From<WireVia> for PushVia {
    fn from(via: WireVia) -> Self {
        match via {
            WireVia::Apns => Self::Apns,
            WireVia::Fcm => Self::Fcm,
            WireVia::WebPush => Self::WebPush,
            WireVia::Webhook => Self::Webhook,
        }
    }
}

/// When a user wants no push but of mentions: minutes of the day, UTC, from the first to before the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
pub struct QuietHours {
    /// From then on.
    pub from_minute: u32,
    /// Until then; over midnight where the first is later.
    pub to_minute: u32,
}

/// Why a device was not reached.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PushFailure {
    /// When it last was not.
    pub at_ms: u64,
    /// In words.
    pub reason: String,
    /// How many times since the device was last reached.
    pub count: u32,
}

/// A device that is pushed to.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PushDevice {
    /// Its id.
    pub device: String,
    /// By whom.
    pub via: PushVia,
    /// Since when.
    pub registered_ms: u64,
    /// What last went wrong.
    pub failure: Option<PushFailure>,
}

impl From<PushDeviceView> for PushDevice {
    fn from(view: PushDeviceView) -> Self {
        let PushDeviceView { device, via, registered, failure } = view;
        let failure = failure.map(|failure| PushFailure { at_ms: failure.at.get(), reason: failure.reason, count: failure.count });
        Self { device: device.to_string(), via: via.into(), registered_ms: registered.get(), failure }
    }
}

/// What the cluster knows of the user's pushes.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PushState {
    /// Which devices are pushed to.
    pub devices: Vec<PushDevice>,
    /// When only mentions are pushed.
    pub quiet: Option<QuietHours>,
    /// What browsers subscribe with (`applicationServerKey`); empty: they cannot.
    pub server_key: String,
}

impl From<WireState> for PushState {
    fn from(state: WireState) -> Self {
        let WireState { devices, quiet, server_key } = state;
        let quiet = quiet.map(|WireQuiet { from, to }| QuietHours { from_minute: from, to_minute: to });
        Self { devices: devices.into_iter().map(Into::into).collect(), quiet, server_key }
    }
}

/// What came of a test.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PushTested {
    /// Which device.
    pub device: String,
    /// By whom.
    pub via: PushVia,
    /// The provider has it.
    pub is_delivered: bool,
    /// In words.
    pub outcome: String,
}

impl From<WireTested> for PushTested {
    fn from(tested: WireTested) -> Self {
        let WireTested { device, via, delivered, outcome } = tested;
        Self { device: device.to_string(), via: via.into(), is_delivered: delivered, outcome }
    }
}

/// A message that a push is about.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PushedMessage {
    /// The newest record there when the push was decided.
    pub message: Message,
    /// Something up to there mentions the user.
    pub is_mention: bool,
    /// Sum of unread over all conversations, for the app's badge.
    pub badge: u32,
}

/// What a push takes back: the user has read it on another device.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct TakenBack {
    /// The conversation.
    pub channel: String,
    /// Up to this record.
    pub seq: u64,
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Has this device pushed to while it is not connected, in the place of what was registered for it. To be called at each start of the app.
    pub async fn register_push(&self, target: PushTarget) -> Result<(), ChatError> {
        Ok(self.client.register_push(target.into()).await?)
    }
    /// Has this device pushed to no more. Who logs out is not pushed to anyway.
    pub async fn unregister_push(&self) -> Result<(), ChatError> {
        Ok(self.client.unregister_push().await?)
    }
    /// When the user wants to hear of mentions only, on all devices; `None`: at no time.
    pub async fn set_quiet_hours(&self, quiet: Option<QuietHours>) -> Result<(), ChatError> {
        let quiet = quiet.map(|QuietHours { from_minute, to_minute }| WireQuiet { from: from_minute, to: to_minute });
        Ok(self.client.set_quiet_hours(quiet).await?)
    }
    /// Which of the user's devices are pushed to, and what last went wrong with each.
    pub async fn pushes(&self) -> Result<PushState, ChatError> {
        Ok(self.client.pushes().await?.into())
    }
    /// Sends each of the user's devices a push that says nothing, and tells what came of it.
    pub async fn test_push(&self) -> Result<Vec<PushTested>, ChatError> {
        Ok(self.client.test_push().await?.into_iter().map(Into::into).collect())
    }
    /// The message that a push is about: connects if need be, and waits until this device holds it. `payload` is what stands under `kith` in what the
    /// provider delivered. `None`: there is nothing to show, since it was read elsewhere (see `taken_back`), is a test, or did not come in time.
    pub async fn open_push(&self, payload: Vec<u8>, within_ms: u64) -> Result<Option<PushedMessage>, ChatError> {
        let found = self.client.open_push(&payload, Duration::from_millis(within_ms)).await?;
        Ok(found.map(|kith_client::PushedMessage { channel, record, is_mention, badge }| {
            let message = Message::new(channel, &record);
            PushedMessage { message, is_mention, badge }
        }))
    }
    /// What a push takes back; `None`: it is one about something new, or a test. Asks nobody.
    pub fn taken_back(&self, payload: Vec<u8>) -> Result<Option<TakenBack>, ChatError> {
        let taken = self.client.taken_back(&payload)?;
        Ok(taken.map(|(channel, seq)| TakenBack { channel: channel.to_string(), seq: seq.get() }))
    }
}
