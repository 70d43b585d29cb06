//! What browsers are shown over QUIC: a certificate that the node makes for itself, which a page knows by its digest.
//!
//! No public authority knows a cluster's own, so a browser would believe no node; but it takes a certificate whose digest the page gives
//! (`serverCertificateHashes` of WebTransport), which it trusts as it trusts where the page is from. Invariants, as browsers have them: ECDSA P-256, and
//! valid for less than two weeks. In: time. Out: the certificate, its digest. Bound: one; who asks for the digest when it is [`RENEW_AFTER`] old
//! gets a new one, which is shown from then on. Not here: who tells pages the digest (`edge::webtransport`).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_wire::id::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::tls::provider;

/// The certificate for browsers. None is made at first: a node that no browser asks needs none.
#[derive(Default)]
pub struct BrowserCertificate(Mutex<Option<Made>>);

struct Made {
    at: Timestamp,
    digest: [u8; 32],
    key: Arc<CertifiedKey>,
}

/// No certificate can be made.
#[derive(Debug, Error)]
pub enum BrowserCertificateError {
    /// The crypto library cannot make a certificate.
    #[error("cannot make a certificate for browsers")]
    Make(#[from] rcgen::Error),
    /// It made one that TLS cannot use.
    #[error("cannot use the certificate for browsers")]
    Use(#[from] rustls::Error),
}

impl BrowserCertificate {
    /// The SHA-256 of what is shown from now on.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn digest(&self, now: Timestamp) -> Result<[u8; 32], BrowserCertificateError> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Also when the clock was set back: a certificate of the future is none.
        if let Some(made) = made.as_ref().filter(|made| made.at <= now && now.get() - made.at.get() < millis(RENEW_AFTER)) {
            return Ok(made.digest);
        }
        let fresh = Made::at(now)?;
        let digest = fresh.digest;
        *made = Some(fresh);
        Ok(digest)
    }
    /// What is shown; none: no page was told of any.
    pub(super) fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|made| made.key.clone())
    }
}

impl Made {
    fn at(now: Timestamp) -> Result<Self, BrowserCertificateError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        // With a name, though nobody looks at it: Chromium 156 takes no certificate without extensions.
        let mut params = CertificateParams::new(vec!["kith".to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kith node, for browsers");
        let day = |at: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_millis(at);
        params.not_before = day(now.get().saturating_sub(millis(BEFORE)));
        params.not_after = day(now.get() + millis(AFTER));
        let der = params.self_signed(&key)?.der().clone();
        let digest = Sha256::digest(&der).into();
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![der], private, &provider())?;
        Ok(Self { at: now, digest, key: Arc::new(key) })
    }
}

impl fmt::Debug for BrowserCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserCertificate(..)")
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Valid since so long before it was made: clocks of browsers are wrong.
const BEFORE: Duration = DAY;
/// Valid for so long after.
const AFTER: Duration = Duration::from_secs(12 * 24 * 60 * 60);
/// Then another takes its place.
const RENEW_AFTER: Duration = Duration::from_secs(5 * 24 * 60 * 60);
/// Browsers take no certificate that is valid for longer.
const VALID_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const _: () = assert!(BEFORE.as_secs() + AFTER.as_secs() < VALID_MAX.as_secs() && RENEW_AFTER.as_secs() + DAY.as_secs() < AFTER.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_browsers_take_and_is_made_anew_long_before_its_end() {
        let start = 1_764_000_000_000;
        let certificate = BrowserCertificate::default();
        let digest = |at| certificate.digest(Timestamp::new(at)).unwrap();
        assert!(certificate.shown().is_none(), "nobody asked for it");
        let first = digest(start);
        let shown = certificate.shown().unwrap();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&shown.cert[0])), first);
        let (_, read) = x509_parser::parse_x509_certificate(&shown.cert[0]).unwrap();
        let validity = read.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        assert!(to - from <= 14 * 24 * 60 * 60, "valid for {} s", to - from);
        let now = i64::try_from(start / 1_000).unwrap();
        assert!(from < now && now < to);
        assert!(!read.extensions().is_empty(), "browsers want some");
        assert_eq!(read.public_key().algorithm.algorithm.to_id_string(), "1.2.840.10045.2.1", "an elliptic curve");

        assert_eq!(digest(start + millis(RENEW_AFTER) - 1), first);
        let second = digest(start + millis(RENEW_AFTER));
        assert_ne!(second, first);
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&certificate.shown().unwrap().cert[0])), second);
        assert_ne!(digest(start), second, "the clock was set back");
    }
}
