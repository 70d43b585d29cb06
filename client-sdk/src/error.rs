//! The one error of the SDK: a stable code, what to do about it, and a text for a developer.

use std::{sync::Arc, time::Duration};

use kith_wire::{
    client::Refusal,
    code::{Code, Retry},
    id::{ClientSeq, RequestId},
};
use thiserror::Error;

use crate::store::{StoreFailed, StoreTrouble};

/// Why something did not work. Cheap to clone; numbers are the same on the wire, here and in the docs.
#[derive(Clone, Debug, Error)]
#[error("{code}: {text}")]
pub struct Error {
    /// Stable code. One that this version does not know acts by its class.
    pub code: Code,
    /// How long to wait before a retry, when the server said so.
    pub retry_after: Option<Duration>,
    /// The request that failed, as the server's log names it; `None` for failures on this side.
    pub request: Option<RequestId>,
    /// For a developer; no user data.
    pub text: String,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    pub(crate) expected: Option<ClientSeq>,
    /// Where to go instead.
    pub(crate) elsewhere: Vec<String>,
}

impl Error {
    /// For a [`crate::TokenProvider`] or another part of the app that must say why it failed.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, retry_after: None, request: None, text: text.into(), source: None, expected: None, elsewhere: Vec::new() }
    }
    pub(crate) fn caused(code: Code, text: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..Self::new(code, text) }
    }
    pub(crate) fn refused(refusal: Refusal, request: Option<RequestId>) -> Self {
        let text = if refusal.text.is_empty() { refusal.code.text().to_owned() } else { refusal.text };
        let retry_after = refusal.retry_after_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        Self { code: refusal.code, retry_after, request, text, source: None, expected: refusal.expected, elsewhere: refusal.alternates }
    }
    pub(crate) fn store(doing: &str, failed: StoreFailed) -> Self {
        let code = if failed.trouble == StoreTrouble::Full { Code::DiskFull } else { Code::Internal };
        let text = format!("{doing}: {}", failed.trouble);
        Self { source: Some(Arc::new(failed)), ..Self::new(code, text) }
    }
    pub(crate) fn closed() -> Self {
        Self::new(Code::Disconnected, "the client is closed")
    }
    /// What to do about it. The SDK already retried what can be retried.
    pub const fn retry(&self) -> Retry {
        self.code.retry()
    }
    /// The section about its code in `docs/sdk/errors.md`.
    pub fn section(&self) -> String {
        format!("docs/sdk/errors.md#{}-{}", self.code.number(), self.code.name().to_lowercase())
    }
    /// What is wrong with the local store, if that is why.
    pub fn store_trouble(&self) -> Option<StoreTrouble> {
        self.source.as_deref()?.downcast_ref::<StoreFailed>().map(|failed| failed.trouble)
    }
    /// Whether the same request can never succeed: class 3xxx (denied) or 4xxx (invalid).
    pub const fn is_final(&self) -> bool {
        matches!(self.code.number() / 1000, 3 | 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_section() {
        let page = include_str!("../../docs/sdk/errors.md");
        let missing: Vec<_> = Code::ALL.iter().filter(|code| !page.contains(&format!("### {} {}\n", code.number(), code.name()))).collect();
        assert!(missing.is_empty(), "add to docs/sdk/errors.md: {missing:?}");
    }
}
