//! Our keys for push services of browsers (VAPID, RFC 8292).

use std::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{EcdsaKeyPair, KeyPair},
};

use super::{CredentialCause, KEYS_MAX, key};
use crate::{settings::WebPushSettings, target::ServerKeyId};

/// The keys, the current one first: never empty.
pub(crate) struct VapidKeys {
    pub(crate) keys: Vec<VapidKey>,
    pub(crate) subject: String,
}

/// One of them.
pub(crate) struct VapidKey {
    pub(crate) pair: EcdsaKeyPair,
    /// Uncompressed.
    pub(crate) public: [u8; 65],
    pub(crate) id: ServerKeyId,
}

impl VapidKeys {
    /// Parses a file's text.
    pub(super) fn parse(text: &str, settings: &WebPushSettings) -> Result<Self, CredentialCause> {
        let pairs = if key::is_pem(text) {
            key::parse_p256(text)?
        } else {
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(key::parse_p256_scalar).collect::<Result<_, _>>()?
        };
        if pairs.is_empty() {
            return Err(CredentialCause::NoKey);
        }
        if pairs.len() > KEYS_MAX {
            return Err(CredentialCause::Keys);
        }
        let subject = settings.subject.clone();
        if !["mailto:", "https://"].iter().any(|begin| subject.starts_with(begin) && subject.len() > begin.len()) {
            return Err(CredentialCause::Field { field: "subject", form: "mailto:… or https://…" });
        }
        Ok(Self { keys: pairs.into_iter().map(VapidKey::new).collect::<Result<_, _>>()?, subject })
    }
    /// The key that a browser subscribed with.
    pub(crate) fn of(&self, id: Option<ServerKeyId>) -> Option<&VapidKey> {
        match id {
            None => self.keys.first(),
            Some(id) => self.keys.iter().find(|key| key.id == id),
        }
    }
}

impl VapidKey {
    fn new(pair: EcdsaKeyPair) -> Result<Self, CredentialCause> {
        let public: [u8; 65] = pair.public_key().as_ref().try_into().map_err(|_| CredentialCause::NotP256)?;
        let mut id = [0; 8];
        id.copy_from_slice(&digest(&SHA256, &public).as_ref()[..8]);
        Ok(Self { pair, public, id: ServerKeyId(id) })
    }
}

impl fmt::Debug for VapidKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.id)).finish()
    }
}
