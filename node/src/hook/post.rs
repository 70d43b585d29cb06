//! One post to somebody else's server: resolved, checked, connected to the address that was checked, signed, answered.
//!
//! In: a URL, a key, a body. Out: the status that the other side gave, or why there is none. Invariants: nothing is posted to an address that is not
//! public, unless the operator's settings allow it, however its name resolves the next time; no redirect is followed; nothing of the answer but its
//! status is kept. Bounds: [`WITHIN`] for all of it; one connection a post. Not here: retries and order (`hook`).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::http::{Request, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kith_wire::id::Timestamp;
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

use super::sign;
use crate::config::HooksConfig;

/// For all of a post: a receiver that needs longer puts it into a queue of its own.
pub const WITHIN: Duration = Duration::from_secs(10);
/// Where systems keep the certificates of public authorities.
const ROOTS: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How a post went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Posted {
    /// The other side answered with this status.
    Status(u16),
    /// It may not be posted to.
    Forbidden,
    /// It could not be reached, or did not answer in time.
    Failed(&'static str),
}

/// A URL is none that can be posted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("a webhook's URL has the form https://host/path")]
    Malformed,
    /// Not encrypted.
    #[error("a webhook's URL begins with https://")]
    Plain,
    /// It names an address that is not public.
    #[error("a webhook's URL names no private address")]
    Private,
}

/// Posts. Clones share everything.
#[derive(Clone)]
pub struct Poster {
    allow_private: bool,
    tls: TlsConnector,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Poster(allow_private: {})", self.allow_private)
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

impl Poster {
    /// By the operator's settings.
    pub fn new(config: &HooksConfig) -> Self {
        let mut roots = RootCertStore::empty();
        let own = config.ca_file.as_deref().into_iter();
        for path in own.chain(ROOTS.iter().map(Path::new)) {
            let Ok(found) = CertificateDer::pem_file_iter(path) else { continue };
            roots.add_parsable_certificates(found.flatten());
            if !roots.is_empty() {
                break;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config_of = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = config_of.expect("the provider has the default versions").with_root_certificates(roots).with_no_client_auth();
        Self { allow_private: config.allow_private, tls: TlsConnector::from(Arc::new(tls)) }
    }

    /// Why a URL is not registered: what can be said without looking anything up.
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

    /// Posts a body once.
    pub async fn post(&self, url: &str, key: &[u8], id: &str, now: Timestamp, body: &str) -> Posted {
        if self.check(url).is_err() {
            return Posted::Forbidden;
        }
        let Ok(target) = read(url) else { return Posted::Forbidden };
        let signed = sign::headers(key, id, now.get() / 1_000, body);
        match timeout(WITHIN, self.exchange(&target, signed, body.to_owned())).await {
            Ok(posted) => posted,
            Err(_) => Posted::Failed("no answer in time"),
        }
    }

    async fn exchange(&self, target: &Target, signed: sign::Headers, body: String) -> Posted {
        let Ok(found) = tokio::net::lookup_host((target.host.as_str(), target.port)).await else { return Posted::Failed("its name is not known") };
        let found: Vec<SocketAddr> = found.collect();
        let allowed: Vec<SocketAddr> = found.iter().copied().filter(|address| self.allow_private || is_public(address.ip())).collect();
        if allowed.is_empty() {
            return if found.is_empty() { Posted::Failed("its name has no address") } else { Posted::Forbidden };
        }
        let Ok(stream) = connect(&allowed).await else { return Posted::Failed("it cannot be reached") };
        if !target.is_tls {
            return talk(stream, target, signed, body).await;
        }
        let Ok(name) = ServerName::try_from(target.host.clone()) else { return Posted::Forbidden };
        match self.tls.connect(name, stream).await {
            Ok(stream) => talk(stream, target, signed, body).await,
            Err(_) => Posted::Failed("its certificate is not good"),
        }
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
async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S, target: &Target, signed: sign::Headers, body: String) -> Posted {
    let Ok((mut sender, connection)) = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(TokioIo::new(stream)).await else {
        return Posted::Failed("it does not speak HTTP");
    };
    let request = Request::post(&target.path)
        .header(header::HOST, authority(target))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("kith/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .header("webhook-id", signed.id)
        .header("webhook-timestamp", signed.timestamp)
        .header("webhook-signature", signed.signature)
        .body(Full::new(Bytes::from(body)));
    let Ok(request) = request else { return Posted::Forbidden };
    // The connection is driven here: when the answer's head is there both are dropped.
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            answered = &mut answer => return answered.map_or(Posted::Failed("it gave no answer"), |answer| Posted::Status(answer.status().as_u16())),
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

/// Whether an address is one of the public internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        // NAT64 leads to the IPv4 address in it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4 as well.
        [0x2002, high, low, ..] => embedded(high, low),
        // Protocol assignments (Teredo among them), documentation.
        [0x2001, 0..0x200, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
        // Only this range is given out; all of `::ffff:0:0/96`, loopback, local and multicast is outside it.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Of the answer's head.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn poster(allow_private: bool) -> Poster {
        Poster::new(&HooksConfig { allow_private, ca_file: None })
    }

    #[test]
    fn only_public_addresses_are_public() {
        let public = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"];
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
        ];
        for address in public {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
        for address in private {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn urls_are_encrypted_and_name_nothing_private() {
        let strict = poster(false);
        assert_eq!(strict.check("https://example.com/a?b=c"), Ok(()));
        assert_eq!(strict.check("http://example.com/"), Err(UrlError::Plain));
        assert_eq!(strict.check("https://127.0.0.1/"), Err(UrlError::Private));
        assert_eq!(strict.check("https://[::1]:8443/"), Err(UrlError::Private));
        for url in ["", "example.com", "ftp://example.com/", "https:///x", "https://ann:secret@example.com/", "/x"] {
            assert_eq!(strict.check(url), Err(UrlError::Malformed), "{url}");
        }
        assert_eq!(poster(true).check("http://127.0.0.1:9/x"), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_posted_to() {
        // Resolves to the loopback on any system.
        let posted = poster(false).post("https://localhost/x", b"key", "msg_1", Timestamp::new(1), "{}").await;
        assert_eq!(posted, Posted::Forbidden);
    }
}
