//! Pushes, as a device asks for them and is told of them.
//!
//! In: the fields of a [`crate::client::Request::Push`]. Out: those of its answers. Invariant: no answer says where a device is reached. Bounds:
//! `limit::DEVICES_MAX` devices. Not here: what a push says (`push`), what is kept (`log`).

use crate::{
    id::{DeviceId, Timestamp},
    log::{PushFailure, PushTarget, QuietHours},
};

/// A request about pushes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushRequest {
    /// The asking device is reached here from now on, in the place of what was registered for it.
    Register { target: PushTarget },
    /// The asking device is to be pushed to no more.
    Unregister,
    /// Which of the user's devices are pushed to.
    Get,
    /// When the user wants to hear of mentions only; `None`: at no time.
    SetQuiet { quiet: Option<QuietHours> },
    /// Sends each of the user's devices a push that says nothing, and tells what came of it.
    Test,
}

/// An answer about pushes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushAnswer {
    /// To `Get`.
    State(PushState),
    /// To `Test`.
    Tested(Vec<PushTested>),
}

/// What a user's home knows of their pushes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PushState {
    /// By device.
    pub devices: Vec<PushDeviceView>,
    /// When only mentions are pushed.
    pub quiet: Option<QuietHours>,
    /// What browsers subscribe with (`applicationServerKey`), in base64 of URLs; empty: they cannot.
    pub server_key: String,
}

/// A device that is pushed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushDeviceView {
    /// Which.
    pub device: DeviceId,
    /// By whom.
    pub via: PushVia,
    /// Since when.
    pub registered: Timestamp,
    /// What last went wrong.
    pub failure: Option<PushFailure>,
}

/// What came of a test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushTested {
    /// Which device.
    pub device: DeviceId,
    /// By whom.
    pub via: PushVia,
    /// The provider has it.
    pub delivered: bool,
    /// In words.
    pub outcome: String,
}

/// Who brings a push. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PushVia {
    /// 1: Apple.
    Apns,
    /// 2: Google.
    Fcm,
    /// 3: the push service of a browser.
    WebPush,
    /// 4: the device's own URL.
    Webhook,
}

impl PushVia {
    /// Who brings pushes to it.
    pub const fn of(target: &PushTarget) -> Self {
        match target {
            PushTarget::Apns { .. } => Self::Apns,
            PushTarget::Fcm { .. } => Self::Fcm,
            PushTarget::WebPush { .. } => Self::WebPush,
            PushTarget::Webhook { .. } => Self::Webhook,
        }
    }
    /// In one word, as `--json` and the HTTP API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::WebPush => "web_push",
            Self::Webhook => "webhook",
        }
    }
}
