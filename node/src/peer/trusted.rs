//! The authorities that a node trusts, which may become others while it runs.
//!
//! In: `ca.pem`, at the start and when it changes: one certificate, or several while one authority takes the place of another. Out: verifiers for TLS that ask
//! what is trusted at that moment. Invariants: a connection is proven by an authority that is trusted when it is made; nobody resumes a session of a time
//! when others were. Bound: [`AUTHORITIES_MAX`]. Not here: the node's own certificate ([`super::tls`]), when files are read again ([`super::renew`]), connections
//! that stand already: they go on.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kith_wire::{id::Timestamp, trust::authority_digest};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::tls::{TlsError, certificates, provider};

/// Authorities at once: one, the next, and what somebody forgot.
pub(crate) const AUTHORITIES_MAX: usize = 8;
/// Sessions that clients may resume, as rustls has it.
const SESSIONS_MAX: usize = 256;

/// What is trusted now; clones are one.
#[derive(Clone, Debug)]
pub(super) struct Trusted(Arc<ArcSwap<Anchors>>);

/// The authorities of one moment.
#[derive(Debug)]
pub(crate) struct Anchors {
    all: Vec<CertificateDer<'static>>,
    server: Arc<WebPkiServerVerifier>,
    client: Arc<dyn ClientCertVerifier>,
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Anchors {
    /// Parses `ca.pem`.
    ///
    /// # Errors
    /// It is not PEM, holds none or too many, or one is no authority's.
    pub(crate) fn from_pem(ca: &str) -> Result<Self, TlsError> {
        Self::of(certificates(ca)?)
    }

    fn of(all: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        if all.len() > AUTHORITIES_MAX {
            return Err(TlsError::Authorities { count: all.len() });
        }
        let mut roots = RootCertStore::empty();
        for der in &all {
            roots.add(der.clone())?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(provider()));
        let server = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let client = WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated().build()?;
        Ok(Self { all, server, client, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX) })
    }

    /// Whether a chain proves this name at this time.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn prove(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: Timestamp) -> Result<(), Error> {
        let (first, rest) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.get()));
        self.server.verify_server_cert(first, rest, name, &[], now).map(|_| ())
    }

    /// The digest of that one of the authorities which proves it.
    pub(crate) fn signer(&self, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: Timestamp) -> Option<[u8; 32]> {
        let proves = |der: &&CertificateDer<'static>| Self::of(vec![(*der).clone()]).is_ok_and(|alone| alone.prove(chain, name, now).is_ok());
        self.all.iter().find(proves).map(|der| authority_digest(der))
    }
}

impl Trusted {
    pub(super) fn new(anchors: Anchors) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(anchors)))
    }
    /// These, and no others, from now on.
    pub(super) fn set(&self, anchors: Anchors) {
        self.0.store(Arc::new(anchors));
    }
    pub(super) fn now(&self) -> Arc<Anchors> {
        self.0.load_full()
    }
    pub(super) fn all(&self) -> Vec<CertificateDer<'static>> {
        self.0.load().all.clone()
    }
    pub(super) fn count(&self) -> usize {
        self.0.load().all.len()
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.load().server.verify_server_cert(leaf, chain, name, ocsp, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().server.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().server.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().server.supported_verify_schemes()
    }
}

/// A client certificate is optional here, and demanded where a peer speaks.
impl ClientCertVerifier for Trusted {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    /// No hints: nodes have one certificate, and hints would be of one moment.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        self.0.load().client.verify_client_cert(leaf, chain, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().client.verify_tls12_signature(message, cert, dss)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().client.verify_tls13_signature(message, cert, dss)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().client.supported_verify_schemes()
    }
}

/// A session that is resumed proves nobody anew, so that it may be only one of the authorities of now.
impl StoresServerSessions for Trusted {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.load().sessions.put(key, value)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.load().sessions.get(key)
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.load().sessions.take(key)
    }
    fn can_cache(&self) -> bool {
        true
    }
}
