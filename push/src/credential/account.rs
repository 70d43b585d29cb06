//! Google's service account: the JSON that its console gives.

use std::fmt;

use aws_lc_rs::rsa;
use serde::Deserialize;

use super::{CredentialCause, key};
use crate::url::Url;

/// An account that asks Google for access tokens.
pub(crate) struct Account {
    pub(crate) project: String,
    pub(crate) email: String,
    pub(crate) key_id: String,
    pub(crate) pair: rsa::KeyPair,
    /// Where tokens are had.
    pub(crate) token_url: Url,
    /// As it stands in the file: whom an assertion is for.
    pub(crate) audience: String,
    pub(crate) version: u64,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    project_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    client_email: Option<String>,
    token_uri: Option<String>,
}

impl Account {
    /// Parses a file's text.
    pub(super) fn parse(text: &str, version: u64) -> Result<Self, CredentialCause> {
        let file: File = serde_json::from_str(text).map_err(|error| CredentialCause::Json { line: error.line(), column: error.column() })?;
        let field = |field, form| move || CredentialCause::Field { field, form };
        file.kind.filter(|kind| kind == "service_account").ok_or_else(field("type", "\"service_account\""))?;
        // It stands in a path.
        let is_project = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':'));
        let project = file.project_id.filter(is_project).ok_or_else(field("project_id", "a project's id"))?;
        let key_id = file.private_key_id.filter(|id| !id.is_empty()).ok_or_else(field("private_key_id", "a key's id"))?;
        let email = file.client_email.filter(|email| email.contains('@')).ok_or_else(field("client_email", "an address"))?;
        let audience = file.token_uri.ok_or_else(field("token_uri", "a URL"))?;
        let token_url = Url::parse(&audience).ok().filter(Url::is_tls).ok_or_else(field("token_uri", "a URL of https"))?;
        let pair = key::parse_rsa(&file.private_key.ok_or_else(field("private_key", "PEM"))?)?;
        Ok(Self { project, email, key_id, pair, token_url, audience, version })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({}, {})", self.project, self.key_id)
    }
}
