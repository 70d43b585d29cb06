//! A client of the protocol without the SDK, so that the SDK does not hide what the server does: one connection, requests, answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use kith_client::wire::client::{Answer, Hello, Refusal, Request, ToClient, ToEdge};
use kith_client::wire::frame::{Decoder, Framing, Kind, encode};
use kith_client::wire::hello::{CURRENT, FEATURES};
use kith_client::wire::id::{Conn, DeviceId, RequestId, UserRev};
use kith_client::wire::limit::FRAME_BYTES_MAX;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// How long a handshake may take.
const CONNECT_WITHIN: Duration = Duration::from_millis(1_500);
/// Read from the stream at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A socket and whom it trusts.
#[derive(Debug)]
pub(super) struct Socket {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
}

impl Socket {
    pub(super) fn bind(ca_pem: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            roots.add(certificate.context("reading the CA")?).context("reading the CA")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"kith/1".to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let endpoint = quinn::Endpoint::client(SocketAddr::from(([0, 0, 0, 0], 0)))?;
        Ok(Self { endpoint, config })
    }

    /// Connects and opens a session.
    pub(super) async fn connect(&self, to: SocketAddr, token: &str, device: DeviceId, conn: Conn) -> anyhow::Result<Link> {
        let hello =
            Hello { version: CURRENT, features: FEATURES, cluster: None, token: token.to_owned(), device, conn, user_rev: UserRev::default() };
        tokio::time::timeout(CONNECT_WITHIN, async {
            let connection = self.endpoint.connect_with(self.config.clone(), to, &to.ip().to_string())?.await?;
            let (send, recv) = connection.open_bi().await?;
            let mut link = Link { connection, send, recv, decoder: Decoder::new(Framing::Plain, FRAME_BYTES_MAX) };
            link.write(&ToEdge::Hello(hello)).await?;
            loop {
                match link.read().await? {
                    ToClient::Welcome(_) => return Ok(link),
                    ToClient::Bye(refusal) => bail!("{}", refusal.code),
                    _ => {}
                }
            }
        })
        .await
        .context("no handshake in time")?
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Link {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    decoder: Decoder,
}

impl Link {
    /// Sends a request.
    pub(super) async fn request(&mut self, id: u64, request: Request) -> anyhow::Result<()> {
        self.write(&ToEdge::Request { id: RequestId::new(id), request }).await
    }

    /// The next answer. Cancel safe.
    pub(super) async fn answer(&mut self) -> anyhow::Result<(u64, Result<Answer, Refusal>)> {
        loop {
            match self.read().await? {
                ToClient::Answer { id, answer } => return Ok((id.get(), answer)),
                ToClient::Bye(refusal) => bail!("{}", refusal.code),
                _ => {}
            }
        }
    }

    /// Leaves without a word of goodbye to wait for.
    pub(super) fn drop_now(self) {
        self.connection.close(quinn::VarInt::from_u32(0), b"");
    }

    async fn write(&mut self, frame: &ToEdge) -> anyhow::Result<()> {
        let mut bytes = BytesMut::new();
        encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut bytes);
        Ok(self.send.write_all(&bytes).await?)
    }

    async fn read(&mut self) -> anyhow::Result<ToClient> {
        loop {
            if let Some(frame) = self.decoder.poll()? {
                if frame.kind == Kind::ToClient {
                    return Ok(ToClient::decode(&frame.body)?);
                }
                continue;
            }
            match self.recv.read_chunk(CHUNK_BYTES, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => bail!("the edge closed the stream"),
            }
        }
    }
}
