//! The client protocol over WebTransport by hand: what a browser sends, and what none would.
//!
//! In: requests for a session, frames of the chat stream, pulls, streams and bytes that are none of these. Out: what the edge answers. The heads are written and read by the
//! library that the node has too; that a browser sends the same is shown in a browser (`client-sdk/web/e2e`). Not here: QUIC without HTTP/3
//! ([`crate::raw`]), WebSockets ([`crate::socket`]), retries, order, sync.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use kith::edge::{websocket::PATH, webtransport::ABOUT_PATH};
use kith_wire::{
    client::{Page, Pull, Request, ToClient, ToEdge},
    frame::{self, Decoder, Framing, Kind},
    id::RequestId,
    limit,
};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, crypto::rustls::QuicClientConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Frame, Settings, VarInt, http};

use crate::{
    cluster::{Cluster, PATIENCE},
    http::{Answer, Caller},
};

/// A connection with ALPN `h3`, on which nothing was asked for yet.
pub struct Http3 {
    /// The endpoint lives as long as its connection.
    _endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
    /// Where a session is asked for, as the node says.
    pub url: String,
    settings: Option<(SendStream, RecvStream)>,
}

/// A session of a page.
pub struct Web {
    http3: Http3,
    session: VarInt,
    /// The stream that asked for it.
    pub asking: (SendStream, RecvStream),
    chat: Option<(SendStream, RecvStream)>,
    decoder: Decoder,
}

/// What a page of this origin is told before it connects.
pub async fn about(cluster: &Cluster, node: u64, origin: Option<&str>) -> Answer {
    let headers: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
    Caller::with_token("none").ask(cluster, node, "GET", ABOUT_PATH, &headers, None).await
}

impl Http3 {
    /// Connects to a node as a page does: knowing nothing but the digest of what it will be shown.
    pub async fn to(cluster: &Cluster, node: u64) -> Self {
        let Value::Object(told) = about(cluster, node, None).await.json else { panic!("a node tells pages where it is") };
        let text = |name: &str| told.get(name).and_then(Value::as_str).expect("it is told").to_owned();
        let (url, digest) = (text("url"), text("sha256"));
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
        // The name is the one that it was asked by.
        let port: Option<u16> = url.strip_suffix(PATH).and_then(|origin| origin.rsplit(':').next()?.parse().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("the port is told")));
        let connecting = endpoint.connect_with(config(digest), address, "127.0.0.1").expect("a sound configuration");
        let connection = timeout(PATIENCE, connecting).await.expect("the node answers").expect("a handshake");
        Self { _endpoint: endpoint, connection, url, settings: None }
    }
    /// Says what a client that knows WebTransport says, and hears the same.
    #[must_use]
    pub async fn settled(mut self) -> Self {
        let mut ours = self.connection.open_uni().await.expect("a stream");
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        settings.write(&mut ours).await.expect("written");
        let mut theirs = timeout(PATIENCE, self.connection.accept_uni()).await.expect("the node says its settings").expect("a stream");
        let heard = Settings::read(&mut theirs).await.expect("sound settings");
        assert!(heard.supports_webtransport() > 0, "the node says that it knows WebTransport");
        self.settings = Some((ours, theirs));
        self
    }
    /// A request for a session, which is not sent yet.
    pub fn request(&self, path: &str, headers: &[(&str, &str)]) -> ConnectRequest {
        let url: url::Url = self.url.parse().expect("the node tells a sound address");
        let mut request = ConnectRequest::new(url.join(path).expect("a path"));
        for (name, value) in headers {
            let (name, value) = (http::HeaderName::from_bytes(name.as_bytes()), http::HeaderValue::from_str(value));
            request = request.with_header(name.expect("a name"), value.expect("a value"));
        }
        request
    }
    /// Asks for a session.
    ///
    /// # Errors
    /// The status of the refusal.
    pub async fn ask(self, request: &ConnectRequest) -> Result<Web, u16> {
        let (mut send, mut recv) = self.connection.open_bi().await.expect("a stream");
        request.write(&mut send).await.expect("written");
        match timeout(PATIENCE, ConnectResponse::read(&mut recv)).await.expect("the node answers") {
            Ok(_) => {
                let session = VarInt::try_from(u64::from(send.id())).expect("a stream's number");
                let decoder = Decoder::new(Framing::Plain, limit::PAGE_FRAME_BYTES_MAX);
                Ok(Web { http3: self, session, asking: (send, recv), chat: None, decoder })
            }
            Err(ConnectError::WrongStatus(Some(status))) => Err(status.as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }
    /// Waits until the node has closed the connection, and gives its code.
    pub async fn closed(&self) -> Option<u64> {
        closed(&self.connection).await
    }
}

impl Web {
    /// A session at a node, of nobody's page: it says no origin.
    pub async fn to(cluster: &Cluster, node: u64) -> Self {
        let http3 = Http3::to(cluster, node).await.settled().await;
        let request = http3.request(PATH, &[]);
        http3.ask(&request).await.expect("a session")
    }
    /// As a page of `origin` asks for one.
    ///
    /// # Errors
    /// The status of the refusal.
    pub async fn of_page(cluster: &Cluster, node: u64, origin: &str) -> Result<Self, u16> {
        let http3 = Http3::to(cluster, node).await.settled().await;
        let request = http3.request(PATH, &[("origin", origin)]);
        http3.ask(&request).await
    }
    /// A further stream of the session.
    pub async fn open(&self) -> (SendStream, RecvStream) {
        self.open_as(Frame::WEBTRANSPORT.0, self.session).await
    }
    /// A further stream, which says that it is this.
    pub async fn open_as(&self, kind: VarInt, session: VarInt) -> (SendStream, RecvStream) {
        let (mut send, recv) = timeout(PATIENCE, self.connection().open_bi()).await.expect("room for a stream").expect("an open connection");
        let mut head = BytesMut::new();
        kind.encode(&mut head);
        session.encode(&mut head);
        send.write_all(&head).await.expect("written");
        (send, recv)
    }
    /// The connection under it.
    pub fn connection(&self) -> &Connection {
        &self.http3.connection
    }
    /// Waits until the node has closed the connection, and gives its code.
    pub async fn closed(&self) -> Option<u64> {
        closed(self.connection()).await
    }
    /// Sends a frame; the first one opens the chat stream.
    pub async fn send(&mut self, frame: &ToEdge) {
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut out);
        self.send_bytes(&out).await;
    }
    /// Sends bytes on the chat stream. A node that has closed already is as good.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        if self.chat.is_none() {
            self.chat = Some(self.open().await);
        }
        let (send, _) = self.chat.as_mut().expect("just opened");
        let _ = send.write_all(bytes).await;
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
        if self.chat.is_none() {
            self.chat = Some(self.open().await);
        }
        loop {
            if let Some(frame) = self.decoder.poll().expect("the edge sends sound frames") {
                return Some(ToClient::decode(&frame.body).expect("the edge sends sound messages"));
            }
            let (_, recv) = self.chat.as_mut().expect("just opened");
            match timeout(PATIENCE, recv.read_chunk(16 * 1024, true)).await.expect("the edge says something") {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }
    /// Pulls a page on a stream of its own.
    pub async fn pull(&self, pull: &Pull) -> Page {
        let (mut send, mut recv) = self.open().await;
        let mut out = BytesMut::new();
        frame::encode(Framing::Plain, Kind::Pull, &pull.encode(), &mut out);
        send.write_all(&out).await.expect("the pull is taken");
        send.finish().expect("an open stream");
        let bytes = timeout(PATIENCE, recv.read_to_end(limit::PAGE_FRAME_BYTES_MAX + 64)).await.expect("the node answers").expect("a page");
        let mut decoder = Decoder::new(Framing::Plain, limit::PAGE_FRAME_BYTES_MAX);
        decoder.push(&bytes);
        Page::decode(&decoder.poll().expect("a sound frame").expect("a whole frame").body).expect("a sound page")
    }
}

async fn closed(connection: &Connection) -> Option<u64> {
    match timeout(PATIENCE, connection.closed()).await.expect("the node closes the connection") {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

/// As a browser is told by a page: whoever shows what has this digest, in hex, is the node.
#[derive(Debug)]
struct Known {
    digest: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest: String = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect();
        if digest == self.digest { Ok(ServerCertVerified::assertion()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn config(digest: String) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Known { digest, provider: provider.clone() });
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
    let mut tls = tls.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    config
}
