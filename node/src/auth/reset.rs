//! A leader's duty: tells the app's backend of lost passwords, each with a one-time code that the app hands to its user.
//!
//! In: debts of the group's users (`Debt::Reset`), and the effect that there are new ones. Out: posts signed as webhooks are (Standard Webhooks), then
//! a command that the debt is paid. Invariants: at least once while the code is good, under one `webhook-id`, whichever node leads; the code follows
//! from the cluster's key, and is in no row and no log. Bounds: [`PAGE`] rows are read and [`AT_ONCE`] told at a time; one that fails waits 1 to 30 s,
//! until its code is of no use. On cancel all is dropped: the next leader walks the same rows. Not here: who may ask how often (kith-machine), what
//! the code opens (`service::people`).

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use kith_machine::{user, view::ViewError};
use kith_raft::GroupHandle;
use kith_wire::{
    id::{GroupId, Term, UserId, hash},
    log::{Debt, MailedReset, UserChange, UserRow, UserState},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use super::{
    gate::Gate,
    metrics::{AuthMetrics, Outcome},
};
use crate::{
    clock::Instant,
    debt::{
        Owed,
        pace::{Pace, is_open_at},
        read,
    },
    hook::{
        event::time_text,
        post::{Posted, Poster},
        sign,
    },
    leadership::{Duty, PerGroup},
    router::Router,
    supervise::Tasks,
};

/// Rows of one read.
const PAGE: usize = 256;
/// Posts of a group at once.
const AT_ONCE: usize = 8;

/// `[auth.reset]`: whom to tell of lost passwords.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetConfig {
    /// The app's backend: it is posted to here. Begins with `https://`, unless `hooks.allow_private`.
    pub url: String,
    /// File of the key that posts are signed with, `whsec_…` as in Standard Webhooks, of 24 to 64 bytes.
    pub key: PathBuf,
    /// Certificates of the authorities that the backend is known by, PEM; the system's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// The settings cannot be used.
#[derive(Debug, Error)]
pub enum ResetError {
    /// Codes are posted in the clear by nobody.
    #[error("auth.reset.url has the form https://host/path")]
    Url,
    /// There is no key.
    #[error("cannot read {path}")]
    Unread {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{0} holds no key: it has the form whsec_ and base64, of 24 to 64 bytes")]
    Key(PathBuf),
}

/// The app's backend.
#[derive(Clone)]
pub struct Backend {
    poster: Poster,
    url: Arc<str>,
    key: Arc<[u8]>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend(..)")
    }
}

impl Backend {
    /// As the settings say. The operator named it: it may be in the own network.
    ///
    /// # Errors
    /// See [`ResetError`].
    pub fn new(config: &ResetConfig, allow_plain: bool) -> Result<Self, ResetError> {
        let poster = Poster::anywhere(config.ca_file.as_deref());
        let is_fit = poster.check(&config.url).is_ok() && (allow_plain || config.url.to_ascii_lowercase().starts_with("https://"));
        if !is_fit {
            return Err(ResetError::Url);
        }
        let key = read_key(&config.key)?;
        Ok(Self { poster, url: config.url.as_str().into(), key: key.into() })
    }
}

fn read_key(path: &Path) -> Result<Vec<u8>, ResetError> {
    let text = std::fs::read_to_string(path).map_err(|source| ResetError::Unread { path: path.to_owned(), source })?;
    let key = sign::read_key(text.trim()).filter(|key| (24..=64).contains(&key.len()));
    key.ok_or_else(|| ResetError::Key(path.to_owned()))
}

/// The duty.
pub(crate) struct ResetDuty {
    teller: Teller,
    groups: PerGroup,
}

#[derive(Clone)]
struct Teller {
    router: Router,
    gate: Gate,
    backend: Option<Backend>,
    metrics: Arc<AuthMetrics>,
}

type Failed = Pace<UserId>;

/// What has become of a debt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// The backend has it, or there is nothing to tell any more.
    Paid,
    /// Not now.
    Failed,
}

impl ResetDuty {
    pub(crate) fn new(router: Router, gate: Gate, backend: Option<Backend>, tasks: Tasks, metrics: Arc<AuthMetrics>) -> Self {
        Self { teller: Teller { router, gate, backend, metrics }, groups: PerGroup::new(tasks) }
    }
}

impl Duty for ResetDuty {
    fn begin(&self, group: GroupId, _term: Term) {
        if group != GroupId::META {
            self.groups.begin(group, "auth.reset", self.teller.clone().tell_all(group));
        }
    }
    fn end(&self, group: GroupId, _term: Term) {
        self.groups.end(group);
    }
}

impl Teller {
    async fn tell_all(self, group: GroupId) {
        let Some(handle) = self.router.groups().get(group) else { return };
        // Before the first read: what is owed after it is heard.
        let mut feed = handle.feed();
        let mut failed = Failed::new();
        loop {
            if let Err(error) = self.tell_due(&handle, &mut failed).await {
                tracing::warn!(%group, cause = %error, "auth.reset: what is to be told cannot be read now");
            }
            if !is_open_at(&mut feed, failed.next(self.now())).await {
                return;
            }
        }
    }

    async fn tell_due(&self, handle: &GroupHandle, failed: &mut Failed) -> Result<(), ViewError> {
        let mut after = None;
        let mut owing = Vec::new();
        loop {
            let page = read(handle, after.take(), PAGE)?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|owed| (owed.user, owed.debt.clone()));
            let resets: Vec<Owed> = page.into_iter().filter(|owed| owed.debt == Debt::Reset).collect();
            owing.extend(resets.iter().map(|owed| owed.user));
            let now = self.now();
            let due: Vec<_> = resets.into_iter().filter(|owed| failed.is_due(&owed.user, now)).collect();
            let told = due.into_iter().map(|owed| async move {
                let told = self.tell(handle, &owed).await;
                (owed.user, told)
            });
            let told: Vec<_> = stream::iter(told.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
            for (user, told) in told {
                match told {
                    Told::Paid => failed.done(&user),
                    Told::Failed => failed.failed(user, self.now()),
                }
            }
            if is_last {
                failed.keep(|user| owing.contains(user));
                return Ok(());
            }
        }
    }

    async fn tell(&self, handle: &GroupHandle, owed: &Owed) -> Told {
        let rows = handle.reader().and_then(|view| Ok((user::account(&view, owed.user)?, user::credential(&view, owed.user)?.mailed)));
        let Ok((account, mailed)) = rows else { return Told::Failed };
        let now = self.router.clock().now();
        let account = account.filter(|account| account.state == UserState::Active && !account.is_banned());
        if let (Some(account), Some(mailed)) = (account, mailed.filter(|mailed| mailed.code.is_some())) {
            let outcome = if now >= mailed.until { Outcome::Expired } else { self.post(owed, &account, &mailed).await };
            self.metrics.posted(outcome);
            if outcome == Outcome::Failed {
                return Told::Failed;
            }
        }
        let paid = UserChange::Paid { debt: owed.debt.clone(), version: owed.version };
        // If this is lost, the same is posted once more, under the same id.
        match handle.propose(kith_machine::item(paid.of(owed.user))).await {
            Ok(_) => Told::Paid,
            Err(_) => Told::Failed,
        }
    }

    async fn post(&self, owed: &Owed, account: &UserRow, mailed: &MailedReset) -> Outcome {
        let Some(Backend { poster, url, key }) = &self.backend else { return Outcome::Failed };
        let now = self.router.clock().now();
        let code = self.gate.mailed_code(owed.user, &mailed.nonce).text;
        let data = json!({ "user": owed.user.to_string(), "name": account.name, "code": code.reveal(), "until_ms": mailed.until.get() });
        let body = json!({ "type": "password.reset_asked", "timestamp": time_text(mailed.asked), "data": data }).to_string();
        match poster.post(url, key, &message_id(owed, mailed), now, &body).await {
            Posted::Status(200..=299) => Outcome::Done,
            posted => {
                // Neither name nor code: only how it went.
                let status = if let Posted::Status(status) = posted { status } else { 0 };
                tracing::debug!(status, "auth.reset: the app's backend did not take it");
                Outcome::Failed
            }
        }
    }

    fn now(&self) -> Instant {
        self.router.clock().instant()
    }
}

/// Names a post: the same however often it is tried, another when the user asks again.
fn message_id(owed: &Owed, mailed: &MailedReset) -> String {
    let (user, version) = (owed.user.get().to_be_bytes(), owed.version.to_be_bytes());
    let part = |number: u8| hash(&[b"kith/reset-message/1", &[number], &user, &version, &mailed.nonce]);
    format!("msg_{:016x}{:016x}", part(1), part(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, url: &str, key: &str) -> ResetConfig {
        let path = folder.join("reset.key");
        std::fs::write(&path, key).unwrap();
        ResetConfig { url: url.to_owned(), key: path, ca_file: None }
    }

    #[test]
    fn codes_go_over_https_and_are_signed() {
        let folder = tempfile::tempdir().unwrap();
        let key = format!("{}\n", sign::key_text(&[7; 32]));
        let of = |url: &str, key: &str, allow_plain: bool| Backend::new(&config(folder.path(), url, key), allow_plain).map(|_| ());
        assert!(of("https://app.example/reset", &key, false).is_ok());
        assert!(of("http://127.0.0.1:8080/reset", &key, true).is_ok());
        assert!(matches!(of("http://app.example/reset", &key, false), Err(ResetError::Url)));
        assert!(matches!(of("app.example", &key, true), Err(ResetError::Url)));
        for odd in ["", "whsec_", "whsec_short", &sign::key_text(&[7; 65])] {
            assert!(matches!(of("https://app.example/reset", odd, false), Err(ResetError::Key(_))), "{odd}");
        }
        let none = ResetConfig { url: "https://app.example".into(), key: folder.path().join("none"), ca_file: None };
        assert!(matches!(Backend::new(&none, false), Err(ResetError::Unread { .. })));
    }
}
