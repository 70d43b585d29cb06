//! TLS of a node: one server configuration for clients and peers, one client configuration for dialling peers.
//!
//! In: the cluster's CA, the node's certificate and key. Out: QUIC configurations; the identity that a peer's certificate proves.
//! Invariant: on ALPN `kith-peer/1` both sides show a certificate of the cluster's CA that names their node and cluster; on `kith/1`
//! only the server does. Not here: who made the certificates (`cluster::authority`).

use std::{sync::Arc, time::Duration};

use kith_wire::id::{ClusterId, NodeId};
use quinn::{
    IdleTimeout, TransportConfig, VarInt,
    crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use thiserror::Error;

/// ALPN of clients.
pub const ALPN_CLIENT: &[u8] = b"kith/1";
/// ALPN between nodes.
pub const ALPN_PEER: &[u8] = b"kith-peer/1";

/// What a node shows and whom it trusts; from PEM files.
pub struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
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
    /// No cipher suite for QUIC.
    #[error("no cipher suite for quic")]
    Suite(#[from] NoInitialCipherSuite),
}

impl Identity {
    /// Parses the three PEM texts.
    ///
    /// # Errors
    /// One is not PEM, or the CA is not a certificate.
    pub fn from_pem(ca: &str, cert: &str, key: &str) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(der.map_err(|source| TlsError::Pem { what: "the cluster's ca", source })?)?;
        }
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| TlsError::Pem { what: "the node's certificate", source })?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|source| TlsError::Pem { what: "the node's key", source })?;
        Ok(Self { roots: Arc::new(roots), chain, key })
    }

    /// For the listener: both ALPNs; a client certificate is optional here and demanded by the peer side.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn server(&self) -> Result<quinn::ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone()).allow_unauthenticated().build()?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN_CLIENT.to_vec(), ALPN_PEER.to_vec()];
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
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }

    /// For dialling a peer.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    pub fn dialler(&self) -> Result<quinn::ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![ALPN_PEER.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(Arc::new(peer_transport()));
        Ok(config)
    }
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
    let (_, cert) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
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

/// What an accepted connection gets before it is known whether it is a client or a peer. Streams cost memory while idle (42 B each),
/// windows do not; the connection's window bounds a client, and a peer's is raised once it is proven to be one.
fn listener_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(PEER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CLIENT_WINDOW))
        .send_window(CLIENT_SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(CLIENT_IDLE_MS))));
    transport
}

/// Between nodes: a dead one is noticed in seconds, and windows fit a raft batch over a wide link.
fn peer_transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(PEER_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(PEER_WINDOW))
        .send_window(u64::from(PEER_WINDOW))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(PEER_KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(PEER_IDLE_MS))));
    transport
}

/// Raises an accepted connection's windows to those of a peer.
pub fn widen(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW));
    connection.set_send_window(u64::from(PEER_WINDOW));
}

/// Streams that the other side may have open; those of one direction are of no use.
const STREAMS_MAX: u32 = 8;
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
    use super::*;

    #[test]
    fn node_name_is_read_back() {
        let cluster = ClusterId::new([0xab; 16]);
        assert_eq!(parse_node_name(&node_name(NodeId::new(3), cluster)), Some((NodeId::new(3), cluster.to_string())));
        for wrong in ["localhost", "node-0.ab.kith", "node-x.ab.kith", "node-1.kith"] {
            assert_eq!(parse_node_name(wrong), None, "{wrong}");
        }
    }
}
