//! What we show providers: read from files or the environment, parsed at once, read again when it changes.
//!
//! In: settings, files, variables. Out: keys that can sign, or an error that says which setting, file or field it is. Invariants: a credential that was good stays
//! in use until there is a better one; neither an error nor `Debug` shows anything of a key. Bounds: [`CREDENTIAL_BYTES_MAX`], [`KEYS_MAX`]. Not here: tokens
//! that are made with them (each provider).

mod account;
mod apns;
mod key;
mod vapid;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwapOption;
use kith_wire::id::hash;
use thiserror::Error;

pub(crate) use self::{
    account::Account,
    apns::ApnsKey,
    vapid::{VapidKey, VapidKeys},
};
use crate::{Provider, Settings};

/// Of a file or variable.
pub const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;
/// VAPID keys at once.
pub const KEYS_MAX: usize = 8;

/// Reads a variable of the environment.
pub type ReadEnv = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A credential cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the credential of {provider} in {from} cannot be used")]
pub struct CredentialError {
    /// Whose.
    pub provider: Provider,
    /// File, variable or setting.
    pub from: String,
    /// What is wrong with it.
    #[source]
    pub cause: CredentialCause,
}

/// What is wrong with a credential.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CredentialCause {
    /// Neither file nor variable, or both.
    #[error("it is to be in a file or in a variable: exactly one of the two settings is given")]
    Source,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(std::io::ErrorKind),
    /// The variable is not there.
    #[error("the variable is not set")]
    Variable,
    /// It is something else.
    #[error("it has more than {CREDENTIAL_BYTES_MAX} bytes, or is no text")]
    Text,
    /// No private key in it.
    #[error("there is no private key in it: PEM begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// A key for something else.
    #[error("its private key is not one of P-256")]
    NotP256,
    /// A key for something else.
    #[error("its private key is not one of RSA, of 2,048 bits and more")]
    NotRsa,
    /// Too many.
    #[error("it has more than {KEYS_MAX} keys")]
    Keys,
    /// The JSON is none.
    #[error("its JSON cannot be read (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Missing, or not of its form.
    #[error("{field} is missing, or is not {form}")]
    Field {
        /// Its name, in the file or the settings.
        field: &'static str,
        /// What it should be.
        form: &'static str,
    },
}

/// Something has changed about a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reloaded {
    /// Whose.
    pub provider: Provider,
    /// It is in use now, or it is not and what there was before is, if there was something.
    pub result: Result<(), CredentialError>,
}

/// What a provider can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The operator wants none of it.
    Off,
    /// It has what it needs.
    Ready,
    /// What there is now is bad; what there was before is used.
    Stale(CredentialError),
    /// It has no credential that can be used.
    Broken(CredentialError),
}

/// Where a credential is.
#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Variable(String),
    Unclear,
}

impl Source {
    fn of(file: Option<&Path>, variable: Option<&str>) -> Self {
        match (file, variable) {
            (Some(file), None) => Self::File(file.to_owned()),
            (None, Some(variable)) => Self::Variable(variable.to_owned()),
            _ => Self::Unclear,
        }
    }
    fn name(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Variable(name) => format!("${name}"),
            Self::Unclear => "the settings".to_owned(),
        }
    }
    async fn read(&self, env: &ReadEnv) -> Result<String, CredentialCause> {
        match self {
            Self::Unclear => Err(CredentialCause::Source),
            Self::Variable(name) => {
                let text = env(name).ok_or(CredentialCause::Variable)?;
                if text.len() as u64 > CREDENTIAL_BYTES_MAX { Err(CredentialCause::Text) } else { Ok(text) }
            }
            Self::File(file) => {
                let failed = |error: std::io::Error| CredentialCause::File(error.kind());
                if tokio::fs::metadata(file).await.map_err(failed)?.len() > CREDENTIAL_BYTES_MAX {
                    return Err(CredentialCause::Text);
                }
                String::from_utf8(tokio::fs::read(file).await.map_err(failed)?).map_err(|_| CredentialCause::Text)
            }
        }
    }
}

/// One provider's credential: the one in use, and what is wrong with the one that should be.
struct Held<T> {
    used: ArcSwapOption<T>,
    /// Hash of the text that was looked at last, and what came of it. 0: none was.
    seen: Mutex<(u64, Option<CredentialError>)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { used: ArcSwapOption::empty(), seen: Mutex::default() }
    }
}

impl<T> Held<T> {
    /// Looks again; `None`: nothing has changed.
    async fn reload(
        &self,
        provider: Provider,
        source: &Source,
        env: &ReadEnv,
        parse: impl Fn(&str, u64) -> Result<T, CredentialCause>,
    ) -> Option<Reloaded> {
        let text = source.read(env).await;
        let version = text.as_ref().map_or(1, |text| hash(&[b"kith/push/credential/1", text.as_bytes()]));
        let parsed = text.and_then(|text| parse(&text, version));
        let result = parsed.map_err(|cause| CredentialError { provider, from: source.name(), cause });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 == version && seen.1.as_ref() == result.as_ref().err() {
            return None;
        }
        *seen = (version, result.as_ref().err().cloned());
        let result = result.map(|credential| self.used.store(Some(Arc::new(credential))));
        Some(Reloaded { provider, result })
    }
    fn standing(&self) -> Standing {
        let error = self.seen.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        match (error, self.used.load().is_some()) {
            (None, true) => Standing::Ready,
            (None, false) => Standing::Off,
            (Some(error), true) => Standing::Stale(error),
            (Some(error), false) => Standing::Broken(error),
        }
    }
}

/// The credentials of all providers.
pub(crate) struct Keyring {
    settings: Settings,
    env: ReadEnv,
    apns: Held<ApnsKey>,
    fcm: Held<Account>,
    vapid: Held<VapidKeys>,
}

impl Keyring {
    pub(crate) fn new(settings: Settings, env: ReadEnv) -> Self {
        Self { settings, env, apns: Held::default(), fcm: Held::default(), vapid: Held::default() }
    }
    /// Looks at all of them again, and tells what has changed.
    pub(crate) async fn reload(&self) -> Vec<Reloaded> {
        let mut changed = Vec::new();
        if let Some(settings) = &self.settings.apns {
            let source = Source::of(settings.key_file.as_deref(), settings.key_env.as_deref());
            changed.extend(self.apns.reload(Provider::Apns, &source, &self.env, |text, version| ApnsKey::parse(text, settings, version)).await);
        }
        if let Some(settings) = &self.settings.fcm {
            let source = Source::of(settings.account_file.as_deref(), settings.account_env.as_deref());
            changed.extend(self.fcm.reload(Provider::Fcm, &source, &self.env, Account::parse).await);
        }
        if let Some(settings) = &self.settings.web_push {
            let source = Source::of(settings.key_file.as_deref(), settings.key_env.as_deref());
            changed.extend(self.vapid.reload(Provider::WebPush, &source, &self.env, |text, _| VapidKeys::parse(text, settings)).await);
        }
        changed
    }
    pub(crate) fn standing(&self, provider: Provider) -> Standing {
        match provider {
            Provider::Apns => self.apns.standing(),
            Provider::Fcm => self.fcm.standing(),
            Provider::WebPush => self.vapid.standing(),
            // Its keys are the devices' own.
            Provider::Webhook => Standing::Ready,
        }
    }
    pub(crate) fn apns(&self) -> Option<Arc<ApnsKey>> {
        self.apns.used.load_full()
    }
    pub(crate) fn fcm(&self) -> Option<Arc<Account>> {
        self.fcm.used.load_full()
    }
    pub(crate) fn vapid(&self) -> Option<Arc<VapidKeys>> {
        self.vapid.used.load_full()
    }
}
