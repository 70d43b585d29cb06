//! One request to somebody else's server: resolved, checked, connected to the address that was checked, answered.
//!
//! In: a URL, a request, how much of the answer is wanted. Out: status and body, or why there are none. Invariants: nothing is sent to an address
//! that is not public, unless the caller's settings allow it, however its name resolves the next time; no redirect is followed; certificates are
//! those of the system's authorities, or of the file that is given. Bounds: the caller's time for all of it; [`BUFFER_BYTES_MAX`] of an answer's
//! head, and what the caller says of its body; one connection a request. Not here: what is sent and why (`hook`, `auth::issuer`, `auth::reset`), which
//! addresses are public (kith-wire's `address`).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderMap, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
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

/// Where systems keep the certificates of public authorities.
const ROOTS: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
/// Of an answer's head.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// A URL is none that can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("a URL has the form https://host/path")]
    Malformed,
    /// Not encrypted.
    #[error("the URL begins with https://")]
    Plain,
    /// It names an address that is not public.
    #[error("the URL names no private address")]
    Private,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unanswered {
    /// It may not be asked.
    Forbidden,
    /// It could not be reached, or did not answer as it should.
    Failed(&'static str),
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The body, if it was wanted.
    pub body: Bytes,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// Besides those that every request has.
    pub headers: HeaderMap,
    /// With what.
    pub body: Bytes,
    /// So many bytes of the answer's body are wanted; a longer one is none.
    pub wanted: usize,
}

/// Asks other servers. Clones share everything.
#[derive(Clone)]
pub struct Outbound {
    allow_private: bool,
    tls: TlsConnector,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound(allow_private: {})", self.allow_private)
    }
}

/// A URL that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Target {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
}

impl Outbound {
    /// `allow_private`: addresses that are not public may be asked too. `ca_file`: of the authorities that servers are known by; the system's if
    /// there is none.
    pub fn new(allow_private: bool, ca_file: Option<&Path>) -> Self {
        let mut roots = RootCertStore::empty();
        for path in ca_file.into_iter().chain(ROOTS.iter().map(Path::new)) {
            let Ok(found) = CertificateDer::pem_file_iter(path) else { continue };
            roots.add_parsable_certificates(found.flatten());
            if !roots.is_empty() {
                break;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = config.expect("the provider has the default versions").with_root_certificates(roots).with_no_client_auth();
        Self { allow_private, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// Why a URL is not asked: what can be said without looking anything up.
    ///
    /// # Errors
    /// See there.
    pub fn check(&self, url: &str) -> Result<(), UrlError> {
        let target = read(url)?;
        if !target.is_tls && !self.allow_private {
            return Err(UrlError::Plain);
        }
        match target.host.parse::<IpAddr>() {
            Ok(address) if !self.allow_private && !is_public(address) => Err(UrlError::Private),
            _ => Ok(()),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// There is no answer within that time, or it is not one.
    pub async fn ask(&self, url: &str, asked: Asked, within: Duration) -> Result<Answered, Unanswered> {
        self.check(url).map_err(|_| Unanswered::Forbidden)?;
        let target = read(url).map_err(|_| Unanswered::Forbidden)?;
        timeout(within, self.exchange(&target, asked)).await.unwrap_or(Err(Unanswered::Failed("no answer in time")))
    }

    async fn exchange(&self, target: &Target, asked: Asked) -> Result<Answered, Unanswered> {
        let failed = Unanswered::Failed;
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(|_| failed("its name is not known"))?;
        let found: Vec<SocketAddr> = found.collect();
        let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| self.allow_private || is_public(address.ip())).collect();
        if allowed.is_empty() {
            return Err(if found.is_empty() { failed("its name has no address") } else { Unanswered::Forbidden });
        }
        let stream = connect(&allowed).await.map_err(|_| failed("it cannot be reached"))?;
        if !target.is_tls {
            return talk(stream, target, asked).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Unanswered::Forbidden)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| failed("its certificate is not good"))?;
        talk(stream, target, asked).await
    }
}

async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut failed = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
}

/// One request over one connection.
async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S, target: &Target, asked: Asked) -> Result<Answered, Unanswered> {
    let Asked { method, headers, body, wanted } = asked;
    let Ok((mut sender, connection)) = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await else {
        return Err(Unanswered::Failed("it does not speak HTTP"));
    };
    let request = Request::builder()
        .method(method)
        .uri(&target.path)
        .header(header::HOST, authority(target))
        .header(header::USER_AGENT, concat!("kith/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Full::new(body));
    let Ok(mut request) = request else { return Err(Unanswered::Forbidden) };
    request.headers_mut().extend(headers);
    // The connection is driven here: when the answer is there both are dropped.
    let answered = async {
        let answer = sender.send_request(request).await.map_err(|_| Unanswered::Failed("it gave no answer"))?;
        let status = answer.status().as_u16();
        if wanted == 0 {
            return Ok(Answered { status, body: Bytes::new() });
        }
        let body = Limited::new(answer.into_body(), wanted).collect().await.map_err(|_| Unanswered::Failed("its answer is cut or too long"))?;
        Ok(Answered { status, body: body.to_bytes() })
    };
    tokio::pin!(answered, connection);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answered = &mut answered => return answered,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

fn authority(target: &Target) -> String {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let usual = if target.is_tls { 443 } else { 80 };
    if target.port == usual { host } else { format!("{host}:{}", target.port) }
}

fn read(url: &str) -> Result<Target, UrlError> {
    let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
    let is_tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(UrlError::Malformed),
    };
    let authority = uri.authority().ok_or(UrlError::Malformed)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    // A name and password in a URL are somebody's secret: they do not belong there.
    if host.is_empty() || authority.as_str().contains('@') {
        return Err(UrlError::Malformed);
    }
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Target { host: host.to_owned(), port, path, is_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_encrypted_and_name_nothing_private() {
        let strict = Outbound::new(false, None);
        assert_eq!(strict.check("https://example.com/a?b=c"), Ok(()));
        assert_eq!(strict.check("http://example.com/"), Err(UrlError::Plain));
        assert_eq!(strict.check("https://127.0.0.1/"), Err(UrlError::Private));
        assert_eq!(strict.check("https://[::1]:8443/"), Err(UrlError::Private));
        for url in ["", "example.com", "ftp://example.com/", "https:///x", "https://ann:secret@example.com/", "/x"] {
            assert_eq!(strict.check(url), Err(UrlError::Malformed), "{url}");
        }
        assert_eq!(Outbound::new(true, None).check("http://127.0.0.1:9/x"), Ok(()));
    }
}
