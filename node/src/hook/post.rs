//! One post of a webhook: signed, sent, answered.
//!
//! In: a URL, a key, a body. Out: the status that the other side gave, or why there is none. Invariants: those of kith-push's `outbound`; nothing of
//! the answer but its status is kept. Bound: [`WITHIN`] for all of it. Not here: retries and order (`hook`).

use std::{path::Path, sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderValue, header};
pub use kith_push::UrlError;
use kith_push::{
    Fault, Url,
    outbound::{Asked, Client, Reach, Speaks, Unanswered},
};
use kith_wire::id::Timestamp;

use super::sign;
use crate::config::HooksConfig;

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
    Failed(Fault),
}

/// Posts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Poster {
    client: Arc<Client>,
    reach: Reach,
}

impl Poster {
    /// By the operator's settings.
    pub fn new(config: &HooksConfig) -> Self {
        Self { client: Arc::new(Client::lenient(config.ca_file.as_deref(), WITHIN)), reach: Reach::private(config.allow_private) }
    }
    /// To a server that the operator's settings name, wherever it is.
    pub fn anywhere(ca_file: Option<&Path>) -> Self {
        Self { client: Arc::new(Client::lenient(ca_file, WITHIN)), reach: Reach::Anywhere }
    }

    /// Why a URL is not registered: what can be said without looking anything up.
    ///
    /// # Errors
    /// See there.
    pub fn check(&self, url: &str) -> Result<(), UrlError> {
        self.reach.check(&Url::parse(url)?)
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
        let Ok(url) = Url::parse(url) else { return Posted::Forbidden };
        let asked = Asked { reach: self.reach, speaks: Speaks::Http1, wanted: 0, ..Asked::post(url, headers, body.to_owned()) };
        match self.client.ask(&asked, now).await {
            Ok(answer) => Posted::Status(answer.status.as_u16()),
            Err(Unanswered::Forbidden) => Posted::Forbidden,
            Err(Unanswered::Fault(fault)) => Posted::Failed(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_encrypted_and_name_nothing_private() {
        let of = |allow_private| Poster::new(&HooksConfig { allow_private, ca_file: None });
        let strict = of(false);
        assert_eq!(strict.check("https://example.com/a?b=c"), Ok(()));
        assert_eq!(strict.check("http://example.com/"), Err(UrlError::Plain));
        assert_eq!(strict.check("https://127.0.0.1/"), Err(UrlError::Private));
        assert_eq!(strict.check("https://[::1]:8443/"), Err(UrlError::Private));
        for url in ["", "example.com", "ftp://example.com/", "https:///x", "https://ann:secret@example.com/", "/x"] {
            assert_eq!(strict.check(url), Err(UrlError::Malformed), "{url}");
        }
        assert_eq!(of(true).check("http://127.0.0.1:9/x"), Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_private_address_is_not_posted_to() {
        // Resolves to the loopback on any system.
        let poster = Poster::new(&HooksConfig { allow_private: false, ca_file: None });
        let posted = poster.post("https://localhost/x", b"key", "msg_1", Timestamp::new(1), "{}").await;
        assert_eq!(posted, Posted::Forbidden);
    }
}
