//! Apple's key for tokens: `.p8`, or JSON that has its ids too.

use std::fmt;

use aws_lc_rs::signature::EcdsaKeyPair;
use serde::Deserialize;

use super::{CredentialCause, key};
use crate::settings::ApnsSettings;

/// A key that signs tokens for Apple.
pub(crate) struct ApnsKey {
    pub(crate) key_id: String,
    pub(crate) team_id: String,
    pub(crate) pair: EcdsaKeyPair,
    pub(crate) version: u64,
}

#[derive(Deserialize)]
struct Bundle {
    key_id: Option<String>,
    team_id: Option<String>,
    private_key: Option<String>,
}

impl ApnsKey {
    /// Parses a file's text.
    pub(super) fn parse(text: &str, settings: &ApnsSettings, version: u64) -> Result<Self, CredentialCause> {
        let bundle = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| CredentialCause::Json { line: error.line(), column: error.column() })?
        } else {
            let named = settings.key_file.as_ref().and_then(|file| file.file_stem()?.to_str()?.strip_prefix("AuthKey_").map(str::to_owned));
            Bundle { key_id: settings.key_id.clone().or(named), team_id: settings.team_id.clone(), private_key: Some(text.to_owned()) }
        };
        let pem = bundle.private_key.ok_or(CredentialCause::Field { field: "private_key", form: "PEM" })?;
        let pair = key::parse_p256(&pem)?.into_iter().next().ok_or(CredentialCause::NoKey)?;
        Ok(Self { key_id: ten("key_id", bundle.key_id)?, team_id: ten("team_id", bundle.team_id)?, pair, version })
    }
}

/// An id as Apple gives them.
fn ten(field: &'static str, id: Option<String>) -> Result<String, CredentialCause> {
    let is_id = |id: &String| id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    id.filter(is_id).ok_or(CredentialCause::Field { field, form: "ten letters and digits" })
}

impl fmt::Debug for ApnsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApnsKey({})", self.key_id)
    }
}
