//! An authority, credentials in files, devices, and a [`Push`] that believes the authority.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kith_push::*;
use kith_wire::{
    base64,
    id::{ChannelId, Seq, Timestamp, UserId},
    push::{PushAbout, PushPayload},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use tempfile::TempDir;

use crate::{open::Browser, server::Server};

/// 2026-11-22 12:00:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp::new(1_795_348_800_000);
pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DEVICE_TOKEN: &str = "ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51ca4a51";
pub(crate) const FCM_TOKEN: &str = "fcm-canary-token:APA91bH";
pub(crate) const HOOK_KEY: &[u8] = b"canary-key-of-a-webhook-of-a-device";

pub(crate) struct World {
    dir: TempDir,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) apns_key: KeyPair,
    pub(crate) vapid_key: KeyPair,
}

pub(crate) const H2: &[u8] = b"h2";
pub(crate) const H1: &[u8] = b"http/1.1";

/// Tried by its own server each.
pub(crate) fn authority() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

impl World {
    pub(crate) fn new() -> Self {
        let (issuer, pem) = authority();
        let world =
            Self { dir: tempfile::tempdir().unwrap(), issuer, apns_key: KeyPair::generate().unwrap(), vapid_key: KeyPair::generate().unwrap() };
        world.write("ca.pem", &pem);
        world.write("AuthKey_KEY1234567.p8", &world.apns_key.serialize_pem());
        world.write("vapid.pem", &world.vapid_key.serialize_pem());
        world
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
    /// A service account whose tokens are had there; its public key.
    pub(crate) fn write_account(&self, server: &Server, project: &str) -> Vec<u8> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let account = serde_json::json!({
            "type": "service_account",
            "project_id": project,
            "private_key_id": "key-of-google",
            "private_key": key.serialize_pem(),
            "client_email": "push@kith.example",
            "token_uri": format!("{}/token", server.url()),
        });
        self.write("account.json", &account.to_string());
        use rcgen::PublicKeyData;
        key.subject_public_key_info()
    }
    pub(crate) async fn server(&self) -> Server {
        Server::start(&self.issuer, &["127.0.0.1"], &[H2, H1]).await
    }
    /// All providers at one server.
    pub(crate) fn settings(&self, server: &Server) -> Settings {
        Settings {
            apns: Some(ApnsSettings {
                key_file: Some(self.path("AuthKey_KEY1234567.p8")),
                team_id: Some("TEAM123456".to_owned()),
                topic: Some("chat.kith.app".to_owned()),
                url: Some(server.url()),
                ..ApnsSettings::default()
            }),
            fcm: Some(FcmSettings { account_file: Some(self.path("account.json")), url: Some(server.url()), ..FcmSettings::default() }),
            web_push: Some(WebPushSettings {
                key_file: Some(self.path("vapid.pem")),
                subject: "mailto:ops@kith.example".to_owned(),
                ..WebPushSettings::default()
            }),
            allow_private: true,
            ca_file: Some(self.path("ca.pem")),
        }
    }
    pub(crate) async fn push(&self, server: &Server) -> Push {
        Push::open(self.settings(server), no_env(), Arc::default()).await.unwrap()
    }
    /// With a deadline that is soon over, and not before a busy machine has shaken hands.
    pub(crate) async fn hasty(&self, server: &Server) -> Push {
        Push::open_within(self.settings(server), no_env(), Arc::default(), Duration::from_secs(2)).await.unwrap()
    }
}

pub(crate) fn no_env() -> ReadEnv {
    Arc::new(|_| None)
}

pub(crate) fn apple() -> Target {
    Target::Apns(ApnsTarget::parse(DEVICE_TOKEN, None, ApnsWorld::Production).unwrap())
}
pub(crate) fn android() -> Target {
    Target::Fcm(FcmTarget::parse(FCM_TOKEN).unwrap())
}
pub(crate) fn browser(url: &str, browser: &Browser, server: Option<ServerKeyId>) -> Target {
    let (key, auth) = (base64::write_url(&browser.public), base64::write_url(&browser.auth));
    Target::WebPush(WebPushTarget::parse(&format!("{url}/endpoint-canary"), &key, &auth, server).unwrap())
}
pub(crate) fn hook(url: &str) -> Target {
    Target::Webhook(WebhookTarget::parse(&format!("{url}/hook-canary?x=1"), HOOK_KEY).unwrap())
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::direct(UserId::new(7), UserId::new(9))
}
pub(crate) fn payload() -> PushPayload {
    PushPayload { user: UserId::new(7), badge: 3, about: PushAbout::Grown { channel: channel(), seq: Seq::new(44), is_mention: false } }
}
pub(crate) fn to(target: Target) -> Notification {
    Notification {
        target,
        id: NotificationId::new([5; 16]),
        payload: payload(),
        shows: Shows::Something,
        collapse: Some(CollapseKey::of(UserId::new(7), &channel())),
        urgency: Urgency::High,
        expires: Timestamp::new(NOW.get() + 24 * HOUR_MS),
    }
}

/// Sends, at a time, as whoever keeps the rows would.
pub(crate) async fn send_at(push: &Push, notification: &Notification, now: Timestamp) -> Outcome {
    let permit = push.admit(&notification.target, now).unwrap_or_else(|wait| panic!("held for {wait:?}"));
    push.send(permit, notification, now).await
}
pub(crate) async fn send(push: &Push, notification: &Notification) -> Outcome {
    send_at(push, notification, NOW).await
}
pub(crate) fn later(ms: u64) -> Timestamp {
    Timestamp::new(NOW.get() + ms)
}
