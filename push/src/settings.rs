//! What an operator says about push.
//!
//! In: a part of the node's configuration. Out: typed settings. Invariant: no secret stands in them, only where it is: in a file or in a variable of the
//! environment. Not here: reading those ([`crate::credential`]).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[push]`. Without any of its parts, only webhooks of devices are posted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Devices of Apple.
    pub apns: Option<ApnsSettings>,
    /// Devices with Google's services.
    pub fcm: Option<FcmSettings>,
    /// Browsers.
    pub web_push: Option<WebPushSettings>,
    /// Push services and webhooks may be at private addresses, webhooks without encryption: for those in the own network. With it, whoever registers a device
    /// can reach what this node can.
    pub allow_private: bool,
    /// Certificates of authorities that servers are known by instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// `[push.apns]`. The key is one of `key_file` and `key_env`: Apple's `.p8`, or JSON with `key_id`, `team_id` and `private_key`, which is replaced as one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApnsSettings {
    /// File with the key.
    pub key_file: Option<PathBuf>,
    /// Variable with the key.
    pub key_env: Option<String>,
    /// The key's id at Apple, ten characters; not with JSON. By default that in a file's name `AuthKey_….p8`.
    pub key_id: Option<String>,
    /// The team's id at Apple, ten characters; not with JSON.
    pub team_id: Option<String>,
    /// The app's bundle id, for devices that gave none.
    pub topic: Option<String>,
    /// Instead of Apple's server, for apps of the store and for those of Xcode.
    pub url: Option<String>,
}

/// `[push.fcm]`. The account is one of `account_file` and `account_env`: the JSON of a service account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FcmSettings {
    /// File with the account.
    pub account_file: Option<PathBuf>,
    /// Variable with the account.
    pub account_env: Option<String>,
    /// Instead of Google's server.
    pub url: Option<String>,
}

/// `[push.web_push]`. The keys are in one of `key_file` and `key_env`: PEM, or 32 bytes in base64, one a line. The first is given to browsers; the others serve those
/// that subscribed with them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebPushSettings {
    /// File with the keys.
    pub key_file: Option<PathBuf>,
    /// Variable with the keys.
    pub key_env: Option<String>,
    /// Whom a push service may ask: `mailto:…` or `https://…`.
    pub subject: String,
}
