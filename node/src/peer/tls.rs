//! TLS of a node: one server configuration for clients and peers, one client configuration for dialling peers.
//!
//! In: the cluster's CA (two of them while one takes the place of another), the node's certificate and key, the one for browsers. Out: QUIC configurations; the identity that a peer's certificate proves.
//! Invariant: on ALPN `kith-peer/1` both sides show a certificate of the cluster's CA that names their node and cluster; on `kith/1`
//! only the server does. All three may be renewed while the node runs: connections that there are go on, new ones are shown and proven by the new ones.
//! Not here: who made the certificates (`cluster::authority`), how trust is changed ([`super::trusted`]), when files are read again ([`super::renew`]).

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use kith_wire::{
    id::{ClusterId, NodeId, Timestamp},
    trust::authority_digest,
};
use quinn::{
    IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use rustls::{
    SignatureScheme,
    client::{ResolvesClientCert, Resumption},
    crypto::{
        CryptoProvider,
        aws_lc_rs::{
            cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256},
            default_provider,
        },
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, VerifierBuilderError},
    sign::CertifiedKey,
};
use thiserror::Error;

use super::{
    browser::BrowserCertificate,
    trusted::{AUTHORITIES_MAX, Anchors, Trusted},
};
use crate::clock::SharedClock;

/// ALPN of clients.
pub const ALPN_CLIENT: &[u8] = b"kith/1";
/// ALPN of browsers: HTTP/3, for WebTransport.
pub const ALPN_WEB: &[u8] = b"h3";
/// ALPN between nodes.
pub const ALPN_PEER: &[u8] = b"kith-peer/1";
/// ALPN of nodes that join, and of those that dial them back.
pub const ALPN_JOIN: &[u8] = b"kith-join/1";

/// What a node shows and whom it trusts; from PEM files.
pub struct Identity {
    trusted: Trusted,
    shown: Shown,
    browsers: Arc<BrowserCertificate>,
}

/// The certificate that every new connection is shown, with its key.
#[derive(Clone, Debug)]
struct Shown(Arc<ArcSwap<CertifiedKey>>);

/// As a listener shows it. A node that joins knows the authority by its digest alone: it is shown that too. A browser knows neither: it is shown what a page
/// has told it of.
#[derive(Debug)]
struct Listened {
    shown: Shown,
    trusted: Trusted,
    browsers: Arc<BrowserCertificate>,
}

impl ResolvesServerCert for Listened {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offers = |wanted| hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == wanted));
        if offers(ALPN_WEB) {
            return self.browsers.shown();
        }
        let own = self.shown.0.load_full();
        if !offers(ALPN_JOIN) {
            return Some(own);
        }
        let chain = own.cert.iter().cloned().chain(self.trusted.all()).collect();
        Some(Arc::new(CertifiedKey::new(chain, own.key.clone())))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
    fn has_certs(&self) -> bool {
        true
    }
}

/// The texts of a node's TLS files.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Of the authorities.
    pub ca: String,
    /// Of the node.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pem(..)")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// The TLS files of a node cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// Not PEM.
    #[error("cannot read {what}")]
    Pem {
        /// Which file.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or an algorithm is unknown.
    #[error("cannot use the node's certificate and key")]
    Rustls(#[from] rustls::Error),
    /// The CA cannot verify clients.
    #[error("cannot verify peers with the cluster's ca")]
    Verifier(#[from] VerifierBuilderError),
    /// More than anybody needs.
    #[error("the cluster's ca is {count} certificates; at most {AUTHORITIES_MAX} are trusted at once")]
    Authorities {
        /// How many.
        count: usize,
    },
    /// No cipher suite for QUIC.
    #[error("no cipher suite for quic")]
    Suite(#[from] NoInitialCipherSuite),
    /// A renewed certificate that peers would not take for this node's.
    #[error("the cluster's ca does not prove this certificate for {name}")]
    Unproven {
        /// Whose it must be.
        name: String,
        /// Why not.
        source: rustls::Error,
    },
}

impl Identity {
    /// Parses the three PEM texts.
    ///
    /// # Errors
    /// One is not PEM, or the CA is not a certificate.
    pub fn from_pem(ca: &str, cert: &str, key: &str) -> Result<Self, TlsError> {
        let shown = Shown(Arc::new(ArcSwap::from_pointee(certified(cert, key)?)));
        Ok(Self { trusted: Trusted::new(Anchors::from_pem(ca)?), shown, browsers: Arc::default() })
    }

    /// Trusts these authorities and shows this certificate from now on.
    ///
    /// # Errors
    /// One is not PEM, the certificate does not fit its key, or none of the authorities proves that it is this node's at this time; then all stays as it was.
    pub fn renew(&self, (node, cluster): (NodeId, ClusterId), files: &Pem, now: Timestamp) -> Result<(), TlsError> {
        let (new, anchors) = (certified(&files.cert, &files.key)?, Anchors::from_pem(&files.ca)?);
        let name = node_name(node, cluster);
        let server = ServerName::try_from(name.as_str()).map_err(|_| rustls::Error::General("a node's name is no name".to_owned()))?;
        anchors.prove(&new.cert, &server, now).map_err(|source| TlsError::Unproven { name: name.clone(), source })?;
        // Whoever dials in between is shown the old certificate, which the others may no longer take: it dials again.
        self.trusted.set(anchors);
        self.shown.0.store(Arc::new(new));
        Ok(())
    }

    /// The digest of the authority that has signed what is shown; of the first that is trusted if none has.
    pub fn authority(&self, now: Timestamp) -> [u8; 32] {
        let (shown, anchors) = (self.shown.0.load(), self.trusted.now());
        let name = shown.cert.first().and_then(node_of).map(|(node, cluster)| format!("node-{node}.{cluster}.kith"));
        let signer = name.and_then(|name| anchors.signer(&shown.cert, &ServerName::try_from(name).ok()?, now));
        signer.unwrap_or_else(|| self.trusted.all().first().map_or_else(Default::default, |der| authority_digest(der)))
    }

    /// How many authorities are trusted: one, but while one takes the place of another.
    pub fn authorities(&self) -> usize {
        self.trusted.count()
    }

    /// What browsers are shown.
    pub fn browsers(&self) -> Arc<BrowserCertificate> {
        self.browsers.clone()
    }

    /// When the certificate ends, in seconds since 1970; 0 if it does not say.
    pub fn end_s(&self) -> i64 {
        let shown = self.shown.0.load();
        let first = shown.cert.first().and_then(|der| x509_parser::parse_x509_certificate(der).ok());
        first.map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp())
    }

    /// For the listener: all ALPNs; a client certificate is optional here and demanded by the peer side.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn server(&self) -> Result<quinn::ServerConfig, TlsError> {
        let provider = Arc::new(provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(self.trusted.clone()))
            .with_cert_resolver(Arc::new(Listened { shown: self.shown.clone(), trusted: self.trusted.clone(), browsers: self.browsers.clone() }));
        tls.session_storage = Arc::new(self.trusted.clone());
        tls.alpn_protocols = vec![ALPN_CLIENT.to_vec(), ALPN_PEER.to_vec(), ALPN_JOIN.to_vec(), ALPN_WEB.to_vec()];
        tls.max_early_data_size = 0;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(Arc::new(listener_transport()));
        config.max_incoming(INCOMING_MAX).incoming_buffer_size(INCOMING_BYTES).incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
        Ok(config)
    }

    /// For the HTTP API: the certificate that clients know; they show a token, not one of their own.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn https(&self) -> Result<rustls::ServerConfig, TlsError> {
        let provider = Arc::new(provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.shown.clone()));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }

    /// For dialling a peer.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn dialler(&self) -> Result<quinn::ClientConfig, TlsError> {
        let provider = Arc::new(provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.trusted.clone()))
            .with_client_cert_resolver(Arc::new(self.shown.clone()));
        // Few and long: each proves who it is.
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![ALPN_PEER.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(peer_transport()));
        Ok(config)
    }
}

/// The authority that has signed what a node shows: those that join it are told to look for that one.
#[derive(Clone)]
pub struct Signer {
    identity: Arc<Identity>,
    clock: SharedClock,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// Over what is shown, at a clock's time.
    pub fn new(identity: Arc<Identity>, clock: SharedClock) -> Self {
        Self { identity, clock }
    }
    /// Its digest, now.
    pub fn digest(&self) -> [u8; 32] {
        self.identity.authority(self.clock.now())
    }
}

/// The certificates of the cluster's authority, from its file.
///
/// # Errors
/// The text is not PEM.
pub(crate) fn certificates(ca: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(ca.as_bytes()).collect::<Result<Vec<_>, _>>();
    all.map_err(|source| TlsError::Pem { what: "the cluster's ca", source })
}

/// A certificate with its key, which fit each other.
pub(super) fn certified(cert: &str, key: &str) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what: "the node's certificate", source })?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| TlsError::Pem { what: "the node's key", source })?;
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

/// The name that a node's certificate carries: `node-<id>.<cluster, hex>.kith`.
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("node-{node}.{cluster}.kith")
}

/// The ALPN that a finished handshake chose.
pub fn alpn(connection: &quinn::Connection) -> Option<Vec<u8>> {
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    data.protocol
}

/// Who the other side's certificate says it is; `None` when it showed none or one that names no node.
/// The chain itself was verified in the handshake.
pub fn proven_node(connection: &quinn::Connection) -> Option<(NodeId, String)> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    node_of(chain.first()?)
}

/// Who a certificate says it is of.
pub(super) fn node_of(der: &CertificateDer<'_>) -> Option<(NodeId, String)> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = cert.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => parse_node_name(name),
        _ => None,
    })
}

pub(crate) fn parse_node_name(name: &str) -> Option<(NodeId, String)> {
    let (id, cluster) = name.strip_prefix("node-")?.strip_suffix(".kith")?.split_once('.')?;
    let id = id.parse().ok().filter(|id| *id != 0)?;
    Some((NodeId::new(id), cluster.to_owned()))
}

/// SHA-256 first: processors have instructions for it and often none for SHA-384, and a handshake derives a dozen keys.
pub(super) fn provider() -> CryptoProvider {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384];
    CryptoProvider { cipher_suites, ..default_provider() }
}

/// What an accepted connection gets before it is known whether it is a client or a peer. Streams cost memory while idle (42 B each),
/// windows do not; the connection's window bounds a client, and a peer's is raised once it is proven to be one.
fn listener_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(WEB_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(PEER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CLIENT_WINDOW))
        .send_window(CLIENT_SEND_WINDOW)
        .datagram_receive_buffer_size(Some(WEB_DATAGRAM_BYTES))
        .mtu_discovery_config(Some(one_probe()))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(CLIENT_IDLE_MS))));
    transport
}

/// One datagram tells whether the path carries [`DATAGRAM_MAX`]; quinn's search to the byte takes four, which a short session never earns back.
fn one_probe() -> MtuDiscoveryConfig {
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(DATAGRAM_MAX).minimum_change((DATAGRAM_MAX - DATAGRAM_MIN) / 2 + 1);
    search
}

/// What every path carries, as quinn and RFC 9000 have it.
const DATAGRAM_MIN: u16 = 1_200;
/// What a path of 1,400 bytes carries with IPv6: the least of common tunnels and carriers.
const DATAGRAM_MAX: u16 = 1_352;

/// Nodes often have paths that carry more than the Internet does, and connections that live for weeks: a large entry takes a fifth of the datagrams there.
fn wide_search() -> MtuDiscoveryConfig {
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(PEER_DATAGRAM_MAX);
    search
}

/// Of a jumbo frame's 9,000 bytes what ten of fit into one system call, as quinn gives them to the kernel.
pub(super) const PEER_DATAGRAM_MAX: u16 = 6_500;

/// Between nodes: a dead one is noticed in seconds, and windows fit a raft batch over a wide link.
pub(super) fn peer_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(PEER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(PEER_WINDOW))
        .send_window(u64::from(PEER_WINDOW))
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(wide_search()))
        .keep_alive_interval(Some(PEER_KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(PEER_IDLE_MS))));
    transport
}

/// Raises an accepted connection's windows to those of a peer.
pub fn widen(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
    connection.set_send_window(u64::from(PEER_WINDOW));
}

/// Streams that the other side may have open.
const STREAMS_MAX: u32 = 8;
/// Those of one direction are of no use but to HTTP/3: its settings, and two of QPACK. A client must be given room for three (RFC 9114, section 6.2).
const WEB_STREAMS_MAX: u32 = 4;
/// Datagrams are of no use, but who speaks WebTransport must say that it takes them (RFC 9297, section 2.1.1): so many bytes of them lie there unread.
const WEB_DATAGRAM_BYTES: usize = 2 * 1024;
/// Unread bytes of one stream: a peer's raft traffic at 50 ms still moves 80 MB/s.
const PEER_STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Unread bytes of one peer connection: the multiplexed stream and a snapshot.
const PEER_WINDOW: u32 = 16 * 1024 * 1024;
/// Unread bytes of one client connection: a client that floods waits.
const CLIENT_WINDOW: u32 = 128 * 1024;
/// Bytes to a client that it has not acknowledged: then its writer waits, and its outbox decides.
const CLIENT_SEND_WINDOW: u64 = 128 * 1024;
/// Two missed beats of a client (30 s each, jittered) end its connection.
const CLIENT_IDLE_MS: u32 = 75_000;
/// A silent peer connection ends. Elections do not wait for it, and a peer that was started anew resets it at once; a busy machine must not.
const PEER_IDLE_MS: u32 = 5_000;
/// Well below the idle time.
const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Handshakes that wait; further ones are dropped.
const INCOMING_MAX: usize = 2_048;
/// Bytes buffered for one waiting handshake.
const INCOMING_BYTES: u64 = 64 * 1024;
/// Bytes buffered for all waiting handshakes.
const INCOMING_BYTES_TOTAL: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use rustls::server::StoresServerSessions as _;

    use super::*;
    use crate::{
        clock::{Clock as _, SystemClock},
        cluster::authority::Authority,
    };

    const NODE: NodeId = NodeId::new(1);

    fn cluster() -> ClusterId {
        ClusterId::new([1; 16])
    }
    fn signed(authority: &Authority, node: NodeId) -> (String, String) {
        authority.issue(node, cluster(), &[]).unwrap()
    }
    fn renew(identity: &Identity, ca: &str, (cert, key): (String, String)) -> Result<(), TlsError> {
        identity.renew((NODE, cluster()), &Pem { ca: ca.to_owned(), cert, key }, SystemClock.now())
    }

    #[test]
    fn only_a_certificate_of_this_node_by_this_authority_takes_the_place_of_the_one_before() {
        let (ours, others) = (Authority::create(cluster()).unwrap(), Authority::create(cluster()).unwrap());
        let (cert, key) = signed(&ours, NODE);
        let identity = Identity::from_pem(ours.cert_pem(), &cert, &key).unwrap();
        let shown = || identity.shown.0.load().cert[0].clone();
        let (first, now) = (shown(), SystemClock.now());

        let renew = |pair| renew(&identity, ours.cert_pem(), pair);
        assert!(matches!(renew(signed(&others, NODE)), Err(TlsError::Unproven { .. })), "of another authority");
        assert!(matches!(renew(signed(&ours, NodeId::new(2))), Err(TlsError::Unproven { .. })), "of another node");
        let (cert, _) = signed(&ours, NODE);
        assert!(matches!(renew((cert.clone(), key)), Err(TlsError::Rustls(_))), "with another key");
        assert!(renew((cert, String::new())).is_err());
        assert_eq!(shown(), first, "what was refused is not shown");
        assert!(identity.end_s() > i64::try_from(now.get() / 1_000).unwrap());

        renew(signed(&ours, NODE)).unwrap();
        assert_ne!(shown(), first);
    }

    #[test]
    fn an_authority_takes_the_place_of_another_by_a_time_when_both_are_trusted() {
        let (old, new) = (Authority::create(cluster()).unwrap(), Authority::create(cluster()).unwrap());
        let both = format!("{}{}", old.cert_pem(), new.cert_pem());
        let digest = |authority: &Authority| authority_digest(&certificates(authority.cert_pem()).unwrap()[0]);
        let first = signed(&old, NODE);
        let identity = Identity::from_pem(old.cert_pem(), &first.0, &first.1).unwrap();
        let proves = |authority: &Authority| {
            let (cert, key) = signed(authority, NodeId::new(2));
            let name = ServerName::try_from(node_name(NodeId::new(2), cluster())).unwrap();
            identity.trusted.now().prove(&certified(&cert, &key).unwrap().cert, &name, SystemClock.now()).is_ok()
        };
        let seen = || (proves(&old), proves(&new), identity.authority(SystemClock.now()), identity.authorities());
        assert_eq!(seen(), (true, false, digest(&old), 1));

        assert!(matches!(renew(&identity, new.cert_pem(), first.clone()), Err(TlsError::Unproven { .. })), "it would be taken by nobody");
        assert!(matches!(renew(&identity, "", first.clone()), Err(TlsError::Verifier(_))), "no authority at all");
        let many = old.cert_pem().repeat(AUTHORITIES_MAX + 1);
        assert!(matches!(renew(&identity, &many, first.clone()), Err(TlsError::Authorities { .. })));
        assert_eq!(seen(), (true, false, digest(&old), 1), "what was refused changes nothing");

        identity.trusted.put(vec![1], vec![2]);
        renew(&identity, &both, first).unwrap();
        assert_eq!(seen(), (true, true, digest(&old), 2));
        assert_eq!(identity.trusted.get(&[1]), None, "nobody resumes what others had proven");
        let second = signed(&new, NODE);
        renew(&identity, &both, second.clone()).unwrap();
        assert_eq!(seen(), (true, true, digest(&new), 2));
        renew(&identity, new.cert_pem(), second).unwrap();
        assert_eq!(seen(), (false, true, digest(&new), 1));
    }

    #[test]
    fn node_name_is_read_back() {
        let cluster = ClusterId::new([0xab; 16]);
        assert_eq!(parse_node_name(&node_name(NodeId::new(3), cluster)), Some((NodeId::new(3), cluster.to_string())));
        for wrong in ["localhost", "node-0.ab.kith", "node-x.ab.kith", "node-1.kith"] {
            assert_eq!(parse_node_name(wrong), None, "{wrong}");
        }
    }
}
