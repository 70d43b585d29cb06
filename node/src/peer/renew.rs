//! A node's certificate, read again when its files change, or when somebody says so.
//!
//! In: the two files, the identity that is shown, a nudge. Out: the identity renewed, and when its certificate ends as a metric. Invariants: what peers
//! would not take is never shown; what is said of it is said once. A certificate and its key are replaced one after the other, so a pair that does
//! not fit is looked at again before it is complained of. Bound: two small files every [`LOOK_EVERY`].

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use kith_wire::id::{ClusterId, NodeId};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use super::tls::Identity;
use crate::clock::SharedClock;

/// Keeps what a node shows as new as its files.
pub struct Renewal {
    /// Whose they are.
    pub whose: (NodeId, ClusterId),
    /// Certificate and key.
    pub files: (PathBuf, PathBuf),
    /// What is shown.
    pub identity: Arc<Identity>,
    /// Time.
    pub clock: SharedClock,
    /// When the certificate ends, in seconds since 1970.
    pub ends: Gauge,
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renewal({:?})", self.whose)
    }
}

impl Renewal {
    /// Looks at the files every [`LOOK_EVERY`] and at each nudge, until it is dropped.
    pub async fn run(self, nudge: Arc<Notify>) {
        self.ends.set(self.identity.end_s());
        let mut used = self.read().await.ok();
        // What did not fit at the last look: said of it when it is still so at the next.
        let mut odd = None;
        loop {
            // Both branches are cancel safe.
            tokio::select! {
                () = nudge.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let Ok(found) = self.read().await else { continue };
            if used.as_ref() == Some(&found) {
                continue;
            }
            match self.identity.renew(self.whose, &found.0, &found.1, self.clock.now()) {
                Ok(()) => {
                    self.ends.set(self.identity.end_s());
                    tracing::info!(ends_s = self.identity.end_s(), "peer.renew: another certificate is shown from now on");
                    (used, odd) = (Some(found), None);
                }
                Err(_) if odd.as_ref() != Some(&found) => odd = Some(found),
                Err(error) => {
                    let because = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(cause = %error, because, "peer.renew: the new certificate cannot be used; the one before stays");
                    used = Some(found);
                }
            }
        }
    }

    async fn read(&self) -> io::Result<(String, String)> {
        Ok((tokio::fs::read_to_string(&self.files.0).await?, tokio::fs::read_to_string(&self.files.1).await?))
    }
}

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);
