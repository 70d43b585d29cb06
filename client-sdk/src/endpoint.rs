//! The UDP endpoint and the trust: what many clients of one process can share.
//!
//! Bounds: `PULLS_OPEN_MAX` pulls over all clients of an endpoint, so that a fleet that resumes at once stays small.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kith_wire::code::Code;
use quinn::{VarInt, crypto::rustls::QuicClientConfig};
use rustls::{
    RootCertStore,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{
            cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256},
            default_provider,
        },
    },
    pki_types::{CertificateDer, pem::PemObject},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;

use crate::{
    core::{Network, Ways},
    error::Error,
    probe::Probes,
};

/// Socket buffers, in bytes. With the system's default 208 KiB, 512 connections lost datagrams by the ten thousand.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Pulls open at once over all clients of an endpoint; a page is at most about 1 MiB. More wait.
const PULLS_OPEN_MAX: usize = 64;
/// A connection that is silent for longer is gone; the edge's value.
const IDLE_MAX: Duration = Duration::from_secs(75);

/// What every path carries.
const DATAGRAM_MIN: u16 = 1_200;
/// What a path of 1,400 bytes carries with IPv6: the least of common tunnels and carriers. The edge's value.
const DATAGRAM_MAX: u16 = 1_352;
/// The last word to the edges takes no longer.
const FAREWELL_WITHIN: Duration = Duration::from_millis(500);

/// A UDP socket that any number of clients of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) quic: quinn::Endpoint,
    pub(crate) pulls: Arc<Semaphore>,
    probes: Arc<Probes>,
    /// What its clients have learnt of networks.
    ways: Arc<Mutex<Ways>>,
}

impl Endpoint {
    /// Binds a socket, for IPv6 and IPv4 where the system has both. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No socket can be bound.
    pub fn bind() -> Result<Self, Error> {
        Self::over(bind_to(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).or_else(|_| bind_to(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))))
    }
    /// As [`Endpoint::bind`], at one address of this machine.
    ///
    /// # Errors
    /// The address is none of this machine's.
    pub fn bind_at(address: IpAddr) -> Result<Self, Error> {
        Self::over(bind_to(SocketAddr::new(address, 0)))
    }
    fn over(socket: std::io::Result<std::net::UdpSocket>) -> Result<Self, Error> {
        let socket = socket.map_err(|error| Error::caused(Code::Disconnected, "binding a UDP socket", error))?;
        let quic = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))
            .map_err(|error| Error::caused(Code::Disconnected, "starting the QUIC endpoint", error))?;
        Ok(Self { quic, pulls: Arc::new(Semaphore::new(PULLS_OPEN_MAX)), probes: Arc::default(), ways: Arc::default() })
    }
    /// Ends all connections of all its clients, and waits until the edges were told, at most for a moment: for a process that ends now.
    pub async fn close(&self) {
        self.quic.close(VarInt::from_u32(0), b"closed by the app");
        let _ = tokio::time::timeout(FAREWELL_WITHIN, self.quic.wait_idle()).await;
    }
    /// How long a datagram takes to each `host:port` and back, from here; `None`: no answer. What was measured less than `newer_than` ago by any
    /// client of this endpoint is not measured again.
    pub async fn measure(&self, addresses: &[String], newer_than: Duration) -> Vec<Option<Duration>> {
        let from = self.quic.local_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |local| local.ip());
        self.probes.measure(from, addresses, newer_than).await
    }
    pub(crate) fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The one address of this machine that it is bound to, if it is.
    pub(crate) fn bound_to(&self) -> Option<IpAddr> {
        self.quic.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
    }
    /// The network that leads there; `None`: none does. Sends nothing.
    pub(crate) fn network_to(&self, address: SocketAddr) -> Option<Network> {
        let from = self.bound_to().filter(|from| from.is_ipv4() == address.is_ipv4());
        let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let socket = std::net::UdpSocket::bind((from.unwrap_or(any), 0)).ok()?;
        socket.connect(address).ok()?;
        socket.local_addr().ok().map(|local| Network::of(local.ip()))
    }
    /// Moves to a new socket, after a change of network: connections go on.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        let local = self.quic.local_addr()?;
        self.quic.rebind(bind_to(SocketAddr::new(local.ip(), 0))?)
    }
}

pub(crate) fn bind_to(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The system may grant less; that costs speed under load, nothing else.
    for result in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)] {
        if let Err(error) = result {
            tracing::debug!(%error, "the system refused the socket buffer size");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Whose certificates are believed. Cheap to clone: share one between the clients of a process.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(crate) quic: quinn::ClientConfig,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl Trust {
    /// Believes certificates signed by one of these authorities (PEM, one or more certificates).
    ///
    /// # Errors
    /// `Invalid`: not PEM, or no certificate in it.
    pub fn ca_pem(pem: &[u8]) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| Error::caused(Code::Invalid, "reading the authority's PEM", error))?;
            roots.add(certificate).map_err(|error| Error::caused(Code::Invalid, "reading the authority's certificate", error))?;
        }
        if roots.is_empty() {
            return Err(Error::new(Code::Invalid, "no certificate in the authority's PEM"));
        }
        Self::of(roots)
    }
    fn of(roots: RootCertStore) -> Result<Self, Error> {
        let provider = Arc::new(provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| Error::caused(Code::Internal, "setting TLS 1.3 up", error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut socket = tls.clone();
        socket.alpn_protocols = vec![b"http/1.1".to_vec()];
        tls.alpn_protocols = vec![b"kith/1".to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| Error::caused(Code::Internal, "setting QUIC up", error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        Ok(Self { quic: config, tls: Arc::new(socket) })
    }
}

/// SHA-256 first: processors have instructions for it and often none for SHA-384, and a handshake derives a dozen keys.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_256_GCM_SHA384];
    CryptoProvider { cipher_suites, ..default_provider() }
}

/// Small windows: the client's bulk must not fill a slow link's queue, and bound what an idle client may cost.
fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        .receive_window(VarInt::from_u32(1024 * 1024))
        .send_window(512 * 1024)
        .mtu_discovery_config(Some(one_probe()))
        .max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_MAX).ok())
        .datagram_receive_buffer_size(None);
    transport
}

/// One datagram tells whether the path carries [`DATAGRAM_MAX`]; quinn's search to the byte takes four, which a short session never earns back.
fn one_probe() -> quinn::MtuDiscoveryConfig {
    let mut search = quinn::MtuDiscoveryConfig::default();
    search.upper_bound(DATAGRAM_MAX).minimum_change((DATAGRAM_MAX - DATAGRAM_MIN) / 2 + 1);
    search
}
