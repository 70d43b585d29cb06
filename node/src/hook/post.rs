//! One post of a webhook: signed, sent, answered.
//!
//! In: a URL, a key, a body. Out: the status that the other side gave, or why there is none. Invariants: those of `outbound`; nothing of the answer
//! but its status is kept. Bound: [`WITHIN`] for all of it. Not here: retries and order (`hook`).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use bytes::Bytes;
use kith_wire::id::Timestamp;

use super::sign;
pub use crate::outbound::UrlError;
use crate::{
    config::HooksConfig,
    outbound::{Asked, Outbound, Unanswered},
};

/// For all of a post: a receiver that needs longer puts it into a queue of its own.
pub const WITHIN: Duration = Duration::from_secs(10);

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

/// Posts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Poster(Outbound);

impl Poster {
    /// By the operator's settings.
    pub fn new(config: &HooksConfig) -> Self {
        Self(Outbound::new(config.allow_private, config.ca_file.as_deref()))
    }
    /// To a server that the operator's settings name, wherever it is.
    pub const fn to(outbound: Outbound) -> Self {
        Self(outbound)
    }

    /// Why a URL is not registered: what can be said without looking anything up.
    ///
    /// # Errors
    /// See there.
    pub fn check(&self, url: &str) -> Result<(), UrlError> {
        self.0.check(url)
    }

    /// Posts a body once.
    pub async fn post(&self, url: &str, key: &[u8], id: &str, now: Timestamp, body: &str) -> Posted {
        let signed = sign::headers(key, id, now.get() / 1_000, body);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [("webhook-id", signed.id), ("webhook-timestamp", signed.timestamp), ("webhook-signature", signed.signature)] {
            let Ok(value) = HeaderValue::from_str(&value) else { return Posted::Forbidden };
            headers.insert(name, value);
        }
        let asked = Asked { method: Method::POST, headers, body: Bytes::copy_from_slice(body.as_bytes()), wanted: 0 };
        match self.0.ask(url, asked, WITHIN).await {
            Ok(answered) => Posted::Status(answered.status),
            Err(Unanswered::Forbidden) => Posted::Forbidden,
            Err(Unanswered::Failed(why)) => Posted::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_posted_to() {
        // Resolves to the loopback on any system.
        let poster = Poster::new(&HooksConfig { allow_private: false, ca_file: None });
        let posted = poster.post("https://localhost/x", b"key", "msg_1", Timestamp::new(1), "{}").await;
        assert_eq!(posted, Posted::Forbidden);
    }
}
