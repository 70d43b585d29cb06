//! An address that somebody else named: of a push service, of a webhook, of an issuer's keys.
//!
//! In: text. Out: host, port and path. Invariants: nothing of it but its origin is shown, since whoever knows the whole of it may post there; no user name or
//! password is in it. Bounds: [`URL_BYTES_MAX`]. Not here: whether its host may be connected to ([`crate::outbound`] asks that of the address itself).

use std::fmt;

use hyper::Uri;
use thiserror::Error;

/// Of a URL.
pub const URL_BYTES_MAX: usize = 2_048;

/// A URL that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
}

/// A text is no URL that can be asked, or that may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("a URL has the form https://host/path")]
    Malformed,
    /// Nothing is that long.
    #[error("a URL has at most {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Not encrypted.
    #[error("the URL begins with https://")]
    Plain,
    /// It names an address that is not public.
    #[error("the URL names no private address")]
    Private,
}

impl Url {
    /// Parses one.
    ///
    /// # Errors
    /// See there.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
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
        let port = authority.port_u16().unwrap_or_else(|| usual_port(is_tls));
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { host: host.to_ascii_lowercase(), port, path, is_tls })
    }
    /// Name or address, without brackets, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port, said or usual.
    pub const fn port(&self) -> u16 {
        self.port
    }
    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// Whether it is encrypted.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }
    /// Host and port, as HTTP names them: the port only where it is not the usual one.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }
    /// Scheme and authority (RFC 6454): what a token of VAPID is for.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
    /// Another path of the same origin.
    pub(crate) fn with_path(&self, path: String) -> Self {
        Self { path, ..self.clone() }
    }
}

const fn usual_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({}/..)", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_only_their_origin_is_shown() {
        let url = Url::parse("https://Push.example:8443/canary?x=canary").unwrap();
        assert_eq!((url.host(), url.port(), url.path(), url.is_tls()), ("push.example", 8443, "/canary?x=canary", true));
        assert_eq!(url.origin(), "https://push.example:8443");
        assert_eq!(format!("{url:?}"), "Url(https://push.example:8443/..)");
        let url = Url::parse("http://[::1]").unwrap();
        assert_eq!((url.host(), url.port(), url.path(), url.authority().as_str()), ("::1", 80, "/", "[::1]"));
    }

    #[test]
    fn what_is_no_url_or_has_a_password_is_refused() {
        for text in ["", "example.com", "ftp://example.com/", "https:///x", "https://ann:secret@example.com/", "/x"] {
            assert_eq!(Url::parse(text), Err(UrlError::Malformed), "{text}");
        }
        assert_eq!(Url::parse(&format!("https://a/{}", "b".repeat(URL_BYTES_MAX))), Err(UrlError::TooLong));
    }
}
