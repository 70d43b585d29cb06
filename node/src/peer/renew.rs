//! A node's certificate and the authorities that it trusts, read again when their files change, or when somebody says so.
//!
//! In: the three files, the identity that is shown, a nudge. Out: the identity renewed, when its certificate ends and how many authorities it trusts as metrics.
//! Invariants: what peers would not take is never shown; what is said of it is said once. The files are replaced one after the other, so what does
//! not fit is looked at again before it is complained of. Bound: three small files every [`LOOK_EVERY`].

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use kith_wire::id::{ClusterId, NodeId};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use super::tls::{Identity, Pem};
use crate::clock::SharedClock;

/// Keeps what a node shows as new as its files.
pub struct Renewal {
    /// Whose they are.
    pub whose: (NodeId, ClusterId),
    /// Certificate and key.
    pub files: (PathBuf, PathBuf),
    /// The folder of the cluster's `ca.pem`.
    pub cluster: PathBuf,
    /// What is shown.
    pub identity: Arc<Identity>,
    /// Time.
    pub clock: SharedClock,
    /// When the certificate ends, in seconds since 1970.
    pub ends: Gauge,
    /// How many authorities are trusted.
    pub authorities: Gauge,
}

impl std::fmt::Debug for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renewal({:?})", self.whose)
    }
}

impl Renewal {
    /// Looks at the files every [`LOOK_EVERY`] and at each nudge, until it is dropped.
    pub async fn run(self, nudge: Arc<Notify>) {
        self.show();
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
            match self.identity.renew(self.whose, &found, self.clock.now()) {
                Ok(()) => {
                    self.show();
                    let (ends_s, authorities) = (self.identity.end_s(), self.identity.authorities());
                    tracing::info!(ends_s, authorities, "peer.renew: the files' certificate is shown and their authorities are trusted from now on");
                    (used, odd) = (Some(found), None);
                }
                Err(_) if odd.as_ref() != Some(&found) => odd = Some(found),
                Err(error) => {
                    let because = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(cause = %error, because, "peer.renew: the new certificates cannot be used; those before stay");
                    used = Some(found);
                }
            }
        }
    }

    fn show(&self) {
        self.ends.set(self.identity.end_s());
        self.authorities.set(i64::try_from(self.identity.authorities()).unwrap_or(i64::MAX));
    }

    async fn read(&self) -> io::Result<Pem> {
        let text = |path: PathBuf| tokio::fs::read_to_string(path);
        let (cert, key) = self.files.clone();
        Ok(Pem { ca: text(self.cluster.join("ca.pem")).await?, cert: text(cert).await?, key: text(key).await? })
    }
}

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(5);
