//! Where a device is reached: a token of APNs or FCM, a subscription of a browser, a URL of its own.
//!
//! In: what a device registered, from a boundary. Out: a [`Target`] that can be tried. Invariant: nothing in it that lets others push to the device is shown by
//! `Debug`. Bounds: the constants here. Not here: whether the provider still knows it (it says so), where it is stored (rows of the home).

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, UnparsedPublicKey};
use kith_wire::{base64, limit, secret::Secret};
use thiserror::Error;

use crate::{
    Provider,
    url::{Url, UrlError},
};

/// Device token of APNs, in bytes: Apple calls its length variable; today it is 32.
pub(crate) const APNS_TOKEN_BYTES_MAX: usize = 100;
/// Registration token of FCM, in bytes; today about 160.
pub(crate) const FCM_TOKEN_BYTES_MAX: usize = 1_024;
/// Topic of APNs (an app's bundle id), in bytes.
pub(crate) const TOPIC_BYTES_MAX: usize = 155;

/// Where a device is reached.
#[derive(Clone, Debug)]
pub enum Target {
    /// Apple.
    Apns(ApnsTarget),
    /// Google.
    Fcm(FcmTarget),
    /// A browser's push service.
    WebPush(WebPushTarget),
    /// A URL of the device's own.
    Webhook(WebhookTarget),
}

/// Which of Apple's two worlds a token is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ApnsWorld {
    /// Apps from the store.
    Production,
    /// Apps that run from Xcode.
    Sandbox,
}

/// A device that Apple reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApnsTarget {
    /// Hexadecimal, in lower case.
    pub(crate) token: Secret,
    /// The app's bundle id; `None`: the one in the settings.
    pub(crate) topic: Option<String>,
    pub(crate) world: ApnsWorld,
}

/// A device that Google reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FcmTarget {
    pub(crate) token: Secret,
}

/// A browser's subscription.
#[derive(Clone)]
pub struct WebPushTarget {
    pub(crate) endpoint: Url,
    /// Of the browser, uncompressed: a point of P-256.
    pub(crate) key: [u8; 65],
    pub(crate) auth: [u8; 16],
    /// The server key that it subscribed with; `None`: the current one.
    pub(crate) server: Option<ServerKeyId>,
}

/// A URL of the device's own, and the key that posts to it are signed with.
#[derive(Clone)]
pub struct WebhookTarget {
    pub(crate) url: Url,
    pub(crate) key: Vec<u8>,
}

/// Names one of our VAPID keys: the first eight bytes of its SHA-256. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServerKeyId(pub [u8; 8]);

/// What was registered reaches no device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TargetError {
    /// Not a token of APNs.
    #[error("a device token of apns is hexadecimal, of 32 to {APNS_TOKEN_BYTES_MAX} bytes")]
    ApnsToken,
    /// Not a topic.
    #[error("a topic of apns is the app's bundle id: letters, digits, dots and hyphens, at most {TOPIC_BYTES_MAX} of them")]
    Topic,
    /// Not a token of FCM.
    #[error("a registration token of fcm is printable ascii, of 16 to {FCM_TOKEN_BYTES_MAX} bytes")]
    FcmToken,
    /// Its address cannot be read.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Nobody would know what stands in it, but who it is for would be seen.
    #[error("a push endpoint begins with https://")]
    Plain,
    /// Not a key of a browser.
    #[error("p256dh of a subscription is a point of P-256, in base64")]
    BrowserKey,
    /// Not the shared secret of a browser.
    #[error("auth of a subscription is 16 bytes, in base64")]
    Auth,
    /// Too short to sign with, or too long.
    #[error("a webhook's key has {} to {} bytes", limit::HOOK_KEY_BYTES_MIN, limit::HOOK_KEY_BYTES_MAX)]
    HookKey,
}

impl ApnsTarget {
    /// Parses what an app got of `didRegisterForRemoteNotificationsWithDeviceToken`, in hexadecimal.
    ///
    /// # Errors
    /// See there.
    pub fn parse(token: &str, topic: Option<&str>, world: ApnsWorld) -> Result<Self, TargetError> {
        let is_hex = token.len().is_multiple_of(2) && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(64..=2 * APNS_TOKEN_BYTES_MAX).contains(&token.len()) {
            return Err(TargetError::ApnsToken);
        }
        let topic = topic.map(parse_topic).transpose()?;
        Ok(Self { token: Secret::new(token.to_ascii_lowercase()), topic, world })
    }
}

/// Parses an app's bundle id.
pub(crate) fn parse_topic(text: &str) -> Result<String, TargetError> {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_topic = (1..=TOPIC_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_one);
    is_topic.then(|| text.to_owned()).ok_or(TargetError::Topic)
}

impl FcmTarget {
    /// Parses a registration token.
    ///
    /// # Errors
    /// See there.
    pub fn parse(token: &str) -> Result<Self, TargetError> {
        let is_token = (16..=FCM_TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self { token: Secret::new(token) }).ok_or(TargetError::FcmToken)
    }
}

impl WebPushTarget {
    /// Parses the three parts of a `PushSubscription`, as its `toJSON` gives them.
    ///
    /// # Errors
    /// See there.
    pub fn parse(endpoint: &str, p256dh: &str, auth: &str, server: Option<ServerKeyId>) -> Result<Self, TargetError> {
        let endpoint = Url::parse(endpoint)?;
        if !endpoint.is_tls() {
            return Err(TargetError::Plain);
        }
        let short = |text: &str| if text.len() > 128 { None } else { base64::read_url(text) };
        let key: [u8; 65] = short(p256dh).and_then(|key| key.try_into().ok()).ok_or(TargetError::BrowserKey)?;
        let is_point = key[0] == 4 && ParsedPublicKey::try_from(UnparsedPublicKey::new(&ECDH_P256, key)).is_ok();
        if !is_point {
            return Err(TargetError::BrowserKey);
        }
        let auth = short(auth).and_then(|auth| auth.try_into().ok()).ok_or(TargetError::Auth)?;
        Ok(Self { endpoint, key, auth, server })
    }
}

impl WebhookTarget {
    /// Parses a URL and takes the key that its posts are signed with.
    ///
    /// # Errors
    /// See there. Whether it is encrypted and public depends on the settings: [`crate::Push::send`] says so.
    pub fn parse(url: &str, key: &[u8]) -> Result<Self, TargetError> {
        if !(limit::HOOK_KEY_BYTES_MIN..=limit::HOOK_KEY_BYTES_MAX).contains(&key.len()) {
            return Err(TargetError::HookKey);
        }
        Ok(Self { url: Url::parse(url)?, key: key.to_vec() })
    }
}

impl Target {
    /// Who reaches it.
    pub const fn provider(&self) -> Provider {
        match self {
            Self::Apns(_) => Provider::Apns,
            Self::Fcm(_) => Provider::Fcm,
            Self::WebPush(_) => Provider::WebPush,
            Self::Webhook(_) => Provider::Webhook,
        }
    }
    /// The server that is asked, where devices choose it; empty: the provider has one.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Apns(_) | Self::Fcm(_) => "",
            Self::WebPush(target) => target.endpoint.host(),
            Self::Webhook(target) => target.url.host(),
        }
    }
}

impl fmt::Debug for WebPushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebPushTarget({}/..)", self.endpoint.origin())
    }
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookTarget({}/..)", self.url.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the example in RFC 8291, section 5.
    const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn what_reaches_no_device_is_refused() {
        let apns = |token: &str| ApnsTarget::parse(token, None, ApnsWorld::Production);
        assert!(apns(&"Ab".repeat(32)).is_ok());
        for token in ["", "ab", &"zz".repeat(32), &"ab".repeat(APNS_TOKEN_BYTES_MAX + 1), &"a".repeat(65)] {
            assert_eq!(apns(token), Err(TargetError::ApnsToken), "{token}");
        }
        assert_eq!(ApnsTarget::parse(&"ab".repeat(32), Some("a/b"), ApnsWorld::Sandbox), Err(TargetError::Topic));
        assert!(FcmTarget::parse("cAnaryToken:APA91b-canary_x").is_ok());
        assert_eq!(FcmTarget::parse("with a blank in it"), Err(TargetError::FcmToken));
        assert!(WebPushTarget::parse("https://push.example/x", KEY, AUTH, None).is_ok());
        let web = |endpoint: &str, key: &str, auth: &str| WebPushTarget::parse(endpoint, key, auth, None).map(|_| ());
        assert_eq!(web("http://push.example/x", KEY, AUTH), Err(TargetError::Plain));
        assert_eq!(web("https://push.example/x", &KEY.replace('w', "x"), AUTH), Err(TargetError::BrowserKey), "not on the curve");
        assert_eq!(web("https://push.example/x", AUTH, AUTH), Err(TargetError::BrowserKey));
        assert_eq!(web("https://push.example/x", KEY, "BTBZ"), Err(TargetError::Auth));
        assert_eq!(WebhookTarget::parse("https://a/x", &[0; 23]).map(|_| ()), Err(TargetError::HookKey));
    }

    #[test]
    fn nothing_that_lets_others_push_is_shown() {
        let all = [
            Target::Apns(ApnsTarget::parse(&"ca4a51".repeat(12), Some("app.kith"), ApnsWorld::Production).unwrap()),
            Target::Fcm(FcmTarget::parse("canary-canary-canary").unwrap()),
            Target::WebPush(WebPushTarget::parse("https://push.example/canary", KEY, AUTH, None).unwrap()),
            Target::Webhook(WebhookTarget::parse("https://hook.example/canary", b"canarycanarycanarycanary").unwrap()),
        ];
        let shown = format!("{all:?} {all:#?}");
        assert!(!shown.contains("canary") && !shown.contains("ca4a51") && !shown.contains("99, 97, 110"), "{shown}");
    }
}
