//! TLS of a node that joins: whom it trusts before it has a certificate, and who it is then.
//!
//! In: the digest of the cluster's authority, from a token; the public key that somebody says is theirs. Out: settings of QUIC for ALPN
//! `kith-join/1`. Invariants: the node that joins speaks to nobody whom that authority does not prove to be a node of that cluster; the node that dials
//! back has reached whoever holds the key, and nobody else. Not here: what is said (`edge::join`, `cluster::join`).

use std::sync::Arc;

use kith_wire::{id::ClusterId, trust::authority_digest};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::tls::{ALPN_JOIN, TlsError, certified, node_name, node_of, peer_transport, provider};

/// What is dialled has no name yet, or none that is known: what proves it is not the name.
pub(crate) const NAME: &str = "join.kith";

/// For a node that joins: dials nodes of this cluster, as the authority with this digest proves them.
///
/// # Errors
/// The crypto library fails.
pub(crate) fn dialler(cluster: ClusterId, authority: [u8; 32]) -> Result<quinn::ClientConfig, TlsError> {
    client(Arc::new(Pinned { cluster, authority, provider: Arc::new(provider()) }))
}

/// For a node of the cluster: dials whoever holds this public key, in DER.
///
/// # Errors
/// The crypto library fails.
pub(crate) fn back(key: Vec<u8>) -> Result<quinn::ClientConfig, TlsError> {
    client(Arc::new(Keyed { key, provider: Arc::new(provider()) }))
}

/// For a node that joins: what it shows to those who dial it back.
///
/// # Errors
/// Key and certificate do not fit.
pub(crate) fn listener(cert: &str, key: &str) -> Result<quinn::ServerConfig, TlsError> {
    let shown = certified(cert, key)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    tls.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    Ok(quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}

fn client(verifier: Arc<dyn ServerCertVerifier>) -> Result<quinn::ClientConfig, TlsError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN_JOIN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(peer_transport()));
    Ok(config)
}

/// Takes a node that an authority proves, which is known by its digest: it comes with the node's certificate.
#[derive(Debug)]
struct Pinned {
    cluster: ClusterId,
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = chain.iter().find(|der| authority_digest(der) == self.authority);
        let authority = authority.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let (node, cluster) = node_of(leaf).ok_or(Error::InvalidCertificate(CertificateError::NotValidForName))?;
        if cluster != self.cluster.to_string() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone()).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        let name = ServerName::try_from(node_name(node, self.cluster)).map_err(|_| Error::General("a node's name is no name".to_owned()))?;
        verifier.verify_server_cert(leaf, &[], &name, ocsp, now)
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only tls 1.3 is spoken".to_owned()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes whoever holds a key, whatever else their certificate says.
#[derive(Debug)]
struct Keyed {
    key: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Keyed {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = x509_parser::parse_x509_certificate(leaf).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?.1;
        if shown.public_key().raw == self.key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only tls 1.3 is spoken".to_owned()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kith_wire::id::NodeId;

    use super::*;
    use crate::{
        clock::{Clock as _, SystemClock},
        cluster::authority::{Authority, NodeKey},
        peer::tls::certificates,
    };

    fn first(pem: &str) -> CertificateDer<'static> {
        certificates(pem).unwrap().remove(0)
    }

    #[test]
    fn only_a_node_of_the_cluster_that_the_pinned_authority_proves_is_asked() {
        let cluster = ClusterId::new([1; 16]);
        let (ours, others) = (Authority::create(cluster).unwrap(), Authority::create(cluster).unwrap());
        let foreign = ClusterId::new([2; 16]);
        let now = UnixTime::since_unix_epoch(Duration::from_millis(SystemClock.now().get()));
        let ca = first(ours.cert_pem());
        let pinned = Pinned { cluster, authority: authority_digest(&ca), provider: Arc::new(provider()) };
        let shows = |leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]| {
            let name = ServerName::try_from(NAME).unwrap();
            pinned.verify_server_cert(leaf, chain, &name, &[], now).is_ok()
        };
        let node = |by: &Authority, of: ClusterId| first(&by.issue(NodeId::new(3), of, &[]).unwrap().0);
        assert!(shows(&node(&ours, cluster), std::slice::from_ref(&ca)));
        assert!(!shows(&node(&ours, cluster), &[]), "the authority is not shown");
        assert!(!shows(&node(&others, cluster), std::slice::from_ref(&ca)), "another authority has signed");
        assert!(!shows(&node(&others, cluster), &[first(others.cert_pem())]), "another authority is shown");
        assert!(!shows(&node(&ours, foreign), std::slice::from_ref(&ca)), "a node of another cluster");
        assert!(!shows(&ca.clone(), &[ca]), "no node at all");
    }

    #[test]
    fn who_is_dialled_back_must_hold_the_key() {
        let (key, other) = (NodeKey::draw().unwrap(), NodeKey::draw().unwrap());
        let keyed = Keyed { key: key.public(), provider: Arc::new(provider()) };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1));
        let shows = |by: &NodeKey| {
            let name = ServerName::try_from(NAME).unwrap();
            keyed.verify_server_cert(&first(&by.shown().unwrap()), &[], &name, &[], now).is_ok()
        };
        assert!(shows(&key));
        assert!(!shows(&other));
    }
}
