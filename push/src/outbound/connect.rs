//! A connection to a host: resolved, checked, connected to the address that was checked, and believed by its certificate.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use kith_wire::address::is_public;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Reach, Speaks, Unanswered};
use crate::{Fault, url::Url};

/// Where systems keep the certificates of public authorities.
const ROOTS: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// For one of several addresses of a host: another may answer.
const ADDRESS_WITHIN: Duration = Duration::from_secs(3);

/// Nobody could be believed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("there are no certificates of authorities in {0}")]
pub struct RootsError(String);

/// What is read from and written to.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, by what is spoken on it.
pub(super) enum Connected {
    Http1(TokioIo<Box<dyn Stream>>),
    Http2(TokioIo<Box<dyn Stream>>),
}

pub(super) struct Connector {
    http1: TlsConnector,
    http2: TlsConnector,
    either: TlsConnector,
}

impl Connector {
    pub(super) fn new(roots: RootCertStore) -> Self {
        let roots = Arc::new(roots);
        let tls = |names: &[&[u8]]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let mut config = config.expect("the provider has the default versions").with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        Self { http1: tls(&[b"http/1.1"]), http2: tls(&[b"h2"]), either: tls(&[b"h2", b"http/1.1"]) }
    }
    pub(super) async fn connect(&self, url: &Url, reach: Reach, speaks: Speaks) -> Result<Connected, Unanswered> {
        let addresses = resolve(url, reach).await?;
        let stream = dial(&addresses).await.ok_or(Fault::Unreachable)?;
        // Small requests, each of which is waited for: a stream that does not know it is only slower.
        let _is_set = stream.set_nodelay(true);
        if !url.is_tls() {
            return Ok(Connected::Http1(TokioIo::new(Box::new(stream))));
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| Unanswered::Forbidden)?;
        let connector = match speaks {
            Speaks::Http1 => &self.http1,
            Speaks::Http2 => &self.http2,
            Speaks::Either => &self.either,
        };
        let stream = connector.connect(name, stream).await.map_err(|error| fault(&error))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match (is_http2, speaks) {
            (true, _) => Ok(Connected::Http2(TokioIo::new(Box::new(stream)))),
            (false, Speaks::Http1 | Speaks::Either) => Ok(Connected::Http1(TokioIo::new(Box::new(stream)))),
            (false, Speaks::Http2) => Err(Fault::Protocol.into()),
        }
    }
}

pub(super) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, RootsError> {
    let of_system = ROOTS.iter().map(Path::new);
    let files: Vec<&Path> = ca_file.map_or_else(|| of_system.collect(), |file| vec![file]);
    let mut roots = RootCertStore::empty();
    for file in &files {
        let Ok(found) = CertificateDer::pem_file_iter(file) else { continue };
        roots.add_parsable_certificates(found.flatten());
        if !roots.is_empty() {
            return Ok(roots);
        }
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if ca_file.is_none() {
        // A machine without them may never push: that must not keep its node from starting.
        tracing::info!(
            files = files.join(", "),
            "no authorities are known: no server of a provider is believed until there are some and the node is started again"
        );
        return Ok(roots);
    }
    Err(RootsError(files.join(", ")))
}

/// The addresses of a host that may be connected to.
async fn resolve(url: &Url, reach: Reach) -> Result<Vec<SocketAddr>, Unanswered> {
    let found: Vec<SocketAddr> = match url.host().parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, url.port())],
        Err(_) => tokio::net::lookup_host((url.host(), url.port())).await.map_err(|_| Fault::Unresolved)?.collect(),
    };
    if found.is_empty() {
        return Err(Fault::Unresolved.into());
    }
    let allowed: Vec<SocketAddr> = found.into_iter().filter(|address| reach == Reach::Anywhere || is_public(address.ip())).collect();
    if allowed.is_empty() { Err(Unanswered::Forbidden) } else { Ok(allowed) }
}

async fn dial(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        if let Ok(Ok(stream)) = timeout(ADDRESS_WITHIN, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

fn fault(error: &std::io::Error) -> Unanswered {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Certificate.into(),
        Some(_) => Fault::Protocol.into(),
        None => Fault::Reset.into(),
    }
}
