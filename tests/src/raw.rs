//! The client protocol by hand: frames on a QUIC connection, for what no SDK client would do.
//!
//! In: frames, or bytes that are none. Out: what the edge answers. Not here: retries, order, sync.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use kith_wire::{
    client::{Hello, Page, Pull, Refusal, Request, ToClient, ToEdge},
    frame::{self, Decoder, Framing, Kind},
    hello,
    id::{ClusterId, Conn, DeviceId, RequestId, UserId, UserRev},
    limit,
    peer::{FromPeer, PeerHello, ToPeer},
};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::time::timeout;

use crate::cluster::{Cluster, PATIENCE};

/// Bytes that the edge may send on the chat stream before they are read: a client that does not read stops it soon.
const WINDOW_BYTES: u32 = 32 * 1024;

/// A connection without a session.
pub struct Raw {
    /// The endpoint lives as long as its connection.
    _endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
}

/// A chat stream.
pub struct Chat {
    raw: Raw,
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
}

impl Raw {
    /// Shakes hands with a node.
    ///
    /// # Errors
    /// The node refuses, or is not believed.
    pub async fn connect(address: &str, ca_pem: &str, alpn: &[u8]) -> Result<Self, ConnectionError> {
        Self::connect_as(None, address, ca_pem, alpn).await
    }

    /// As [`Raw::connect`], with a certificate and its key, in PEM, to show.
    ///
    /// # Errors
    /// The node refuses, or is not believed.
    pub async fn connect_as(identity: Option<(&str, &str)>, address: &str, ca_pem: &str, alpn: &[u8]) -> Result<Self, ConnectionError> {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
        let address = address.parse().expect("an address");
        let connecting = endpoint.connect_with(config(identity, ca_pem, alpn), address, "127.0.0.1").expect("a sound configuration");
        let connection = connecting.await?;
        Ok(Self { _endpoint: endpoint, connection })
    }

    /// A connection of a client to a node of the cluster.
    pub async fn to(cluster: &Cluster, node: u64) -> Self {
        Self::connect(cluster.address(node), &cluster.files().ca_pem, b"kith/1").await.expect("a handshake")
    }

    /// Opens the chat stream.
    pub async fn chat(self) -> Chat {
        let (send, recv) = self.connection.open_bi().await.expect("a stream");
        Chat { raw: self, send, recv, decoder: Decoder::new(Framing::Plain, limit::PAGE_FRAME_BYTES_MAX) }
    }

    /// Waits until the node has closed the connection, and gives its code.
    pub async fn closed(&self) -> Option<u64> {
        match timeout(PATIENCE, self.connection.closed()).await.expect("the node closes the connection") {
            ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            _ => None,
        }
    }
}

impl Chat {
    /// Says hello as a node does; gives the refusal, or `None` where the other side takes it.
    ///
    /// # Panics
    /// Neither comes.
    pub async fn greet_as_node(&mut self, hello: PeerHello) -> Option<Refusal> {
        let mut out = BytesMut::new();
        frame::encode(Framing::Checked, Kind::ToPeer, &ToPeer::Hello(hello).encode(), &mut out);
        self.send_bytes(&out).await;
        let mut decoder = Decoder::new(Framing::Checked, limit::PEER_FRAME_BYTES_MAX);
        loop {
            if let Some(frame) = decoder.poll().expect("nodes send sound frames") {
                return match FromPeer::decode(&frame.body).expect("nodes send sound messages") {
                    FromPeer::Bye(refusal) => Some(refusal),
                    FromPeer::Hello(_) => None,
                    other => panic!("instead of an answer to hello: {other:?}"),
                };
            }
            let read = timeout(PATIENCE, self.recv.read_chunk(16 * 1024, true)).await.expect("the node says something");
            decoder.push(&read.expect("an open stream").expect("a reason before the end").bytes);
        }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &ToEdge) {
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut out);
        self.send_bytes(&out).await;
    }

    /// Sends bytes. A node that has closed already is as good.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.send.write_all(bytes).await;
    }

    /// Asks something.
    pub async fn ask(&mut self, id: u64, request: Request) {
        self.send(&ToEdge::Request { id: RequestId::new(id), request }).await;
    }

    /// The next frame; `None` once the node has closed the stream.
    ///
    /// # Panics
    /// Nothing comes within [`PATIENCE`], or what comes is no frame.
    pub async fn next(&mut self) -> Option<ToClient> {
        loop {
            if let Some(frame) = self.decoder.poll().expect("the edge sends sound frames") {
                return Some(ToClient::decode(&frame.body).expect("the edge sends sound messages"));
            }
            let read = timeout(PATIENCE, self.recv.read_chunk(16 * 1024, true)).await.expect("the edge says something");
            match read {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Pulls a page on a stream of its own.
    pub async fn pull(&self, pull: &Pull) -> Page {
        let (mut send, mut recv) = self.raw.connection.open_bi().await.expect("a stream");
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::Pull, &pull.encode(), &mut out);
        send.write_all(&out).await.expect("the pull is taken");
        send.finish().expect("an open stream");
        let bytes = recv.read_to_end(limit::PAGE_FRAME_BYTES_MAX + 64).await.expect("a page");
        let mut decoder = Decoder::new(Framing::Plain, limit::PAGE_FRAME_BYTES_MAX);
        decoder.push(&bytes);
        let frame = decoder.poll().expect("a sound frame").expect("a whole frame");
        Page::decode(&frame.body).expect("a sound page")
    }

    /// The connection under it.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }
}

/// A Hello as the SDK would send it.
pub fn hello(user: UserId, token: &str, cluster: Option<ClusterId>) -> Hello {
    Hello {
        version: hello::CURRENT,
        features: hello::Features::default(),
        cluster,
        token: token.to_owned(),
        device: DeviceId::from_nonce(user, &[7; 16]),
        conn: Conn::new(1),
        user_rev: UserRev::ZERO,
    }
}

fn config(identity: Option<(&str, &str)>, ca_pem: &str, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let tls = tls.with_root_certificates(roots);
    let mut tls = match identity {
        None => tls.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = CertificateDer::pem_slice_iter(cert.as_bytes()).map(|one| one.expect("PEM")).collect();
            tls.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key")).expect("a certificate and its key")
        }
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(WINDOW_BYTES));
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    config
}
