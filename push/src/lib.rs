//! kith-push: one push to one device, by whichever provider reaches it, and what came of it.
//!
//! In: a [`Notification`] (device, payload, urgency, expiry), credentials from files or the environment ([`Settings`]), the time. Out: an [`Outcome`] for each
//! attempt ([`Push::send`]); when the next one is ([`Schedule`], pure). Invariants: by default a push says nothing but where there is something new; tokens and
//! keys stand in no log and no `Debug`; nothing is sent to an address that is not public on a device's word. Bounds: a deadline for each request, so many at once and
//! a second for each provider and host ([`Limits`]). Not here: which pushes there are, their rows, who sends them (the node); what an app does with one (the
//! SDK); the payload's layout (kith-wire's `push`). [`outbound`] is also how a node asks other servers for anything else.

mod credential;
#[doc(hidden)]
pub mod fuzz;
mod gate;
mod jwt;
mod metrics;
mod notification;
pub mod outbound;
mod outcome;
mod provider;
mod push;
mod retry;
mod seal;
mod settings;
mod target;
mod url;

use std::fmt;

use prometheus_client::encoding::EncodeLabelValue;

pub use self::{
    credential::{CREDENTIAL_BYTES_MAX, CredentialCause, CredentialError, KEYS_MAX, ReadEnv, Reloaded, Standing},
    gate::{Gate, Limits, PAUSES_MAX},
    metrics::PushMetrics,
    notification::{CollapseKey, KEPT_SECONDS_MAX, Notification, NotificationId, SHOWN_BYTES_MAX, Shown, ShownError, Shows, Urgency},
    outbound::RootsError,
    outcome::{Fault, Outcome, Reason},
    push::{OpenError, Permit, Push, ServerKey, WITHIN},
    retry::{Attempted, GiveUp, Next, RETRY_AFTER_MAX, Schedule},
    settings::{ApnsSettings, FcmSettings, Settings, WebPushSettings},
    target::{ApnsTarget, ApnsWorld, FcmTarget, ServerKeyId, Target, TargetError, WebPushTarget, WebhookTarget},
    url::{URL_BYTES_MAX, Url, UrlError},
};

/// Who brings a push to a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, EncodeLabelValue)]
pub enum Provider {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// Push services of browsers.
    WebPush,
    /// The device's own URL.
    Webhook,
}

impl Provider {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Apns, Self::Fcm, Self::WebPush, Self::Webhook];
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::WebPush => "web push",
            Self::Webhook => "webhook",
        })
    }
}
