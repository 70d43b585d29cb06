//! Public keys of an issuer (JWKS, RFC 7517), read from a file or over https.
//!
//! In: where they are published. Out: the set, or why there is none. Invariants: over https alone, by a certificate of an authority that is known;
//! no redirect is followed. Bounds: [`BYTES_MAX`], [`WITHIN`]; how often they are read is the asker's to keep to ([`KeysAt::look_every`]). Not here:
//! what the keys are for ([`super::issuer`]).

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::{HeaderMap, HeaderValue, Method, header};
use bytes::Bytes;
use jsonwebtoken::jwk::JwkSet;
use kith_push::{
    Fault, Url,
    outbound::{Asked, Client, Reach, Speaks, Unanswered},
};
use kith_wire::id::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A set of keys is at most so long.
pub const BYTES_MAX: usize = 256 * 1024;
/// For a server to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// Where keys are published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeysAt {
    /// In a file.
    File(PathBuf),
    /// At a URL that begins with `https://`.
    Url(String),
}

/// Keys are read in the clear by nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("keys are read from a file or from a URL that begins with https://")]
pub struct PlainUrl;

impl TryFrom<String> for KeysAt {
    type Error = PlainUrl;
    fn try_from(text: String) -> Result<Self, PlainUrl> {
        match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => Ok(Self::Url(text)),
            Some(_) => Err(PlainUrl),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl From<KeysAt> for String {
    fn from(at: KeysAt) -> Self {
        at.to_string()
    }
}

impl fmt::Display for KeysAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl KeysAt {
    /// Keys that were read are believed for so long.
    pub const fn fresh(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(60),
            Self::Url(_) => Duration::from_secs(300),
        }
    }
    /// They are read so often at most, whoever names keys that are not there.
    pub const fn look_every(&self) -> Duration {
        match self {
            Self::File(_) => Duration::from_secs(1),
            Self::Url(_) => Duration::from_secs(10),
        }
    }
    /// A file's path as seen from a folder.
    #[must_use]
    pub fn seen_from(&self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            Self::Url(url) => Self::Url(url.clone()),
        }
    }
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub(super) enum Unread {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// They are longer than keys are.
    #[error("there are more than 256 KiB of them")]
    TooLong,
    /// They are none.
    #[error("these are no keys: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The server cannot be asked.
    #[error("the server cannot be asked: {0}")]
    Unanswered(Fault),
    /// Its URL is none.
    #[error("the URL cannot be read")]
    Url,
    /// The server gave none.
    #[error("the server answered {0}")]
    Status(u16),
}

/// What reads them.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url(String, Arc<Client>),
}

impl Source {
    /// As the settings say. The operator named the server: it may be in the own network.
    pub(super) fn new(at: &KeysAt, ca_file: Option<&Path>) -> Self {
        match at {
            KeysAt::File(path) => Self::File(path.clone()),
            KeysAt::Url(url) => Self::Url(url.clone(), Arc::new(Client::lenient(ca_file, WITHIN))),
        }
    }
    /// Reads them once.
    pub(super) async fn read(&self) -> Result<JwkSet, Unread> {
        let bytes = match self {
            Self::File(path) => Bytes::from(tokio::fs::read(path).await?),
            Self::Url(url, client) => fetch(url, client).await?,
        };
        if bytes.len() > BYTES_MAX {
            return Err(Unread::TooLong);
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}

async fn fetch(url: &str, client: &Client) -> Result<Bytes, Unread> {
    let url = Url::parse(url).map_err(|_| Unread::Url)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
    // One byte more than a set may have: what is longer is seen to be.
    let (method, body, wanted) = (Method::GET, Bytes::new(), BYTES_MAX + 1);
    let asked = Asked { method, url, headers, body, reach: Reach::Anywhere, speaks: Speaks::Http1, credential: 0, wanted };
    // Nothing is kept whose age the time would tell.
    match client.ask(&asked, Timestamp::default()).await {
        Ok(answer) if answer.status == 200 => Ok(answer.body),
        Ok(answer) => Err(Unread::Status(answer.status.as_u16())),
        Err(Unanswered::Forbidden) => Err(Unread::Url),
        Err(Unanswered::Fault(fault)) => Err(Unread::Unanswered(fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_a_file_or_behind_https() {
        assert_eq!(KeysAt::try_from("keys.json".to_owned()), Ok(KeysAt::File("keys.json".into())));
        let url = "https://app.example/keys".to_owned();
        assert_eq!(KeysAt::try_from(url.clone()), Ok(KeysAt::Url(url)));
        for plain in ["http://app.example/keys", "ftp://app.example/keys", "://"] {
            assert_eq!(KeysAt::try_from(plain.to_owned()), Err(PlainUrl), "{plain}");
        }
    }
}
