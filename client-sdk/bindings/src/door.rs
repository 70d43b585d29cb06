//! Accounts of the cluster's own: how a device gets in by name and password, and what it keeps.

use std::sync::Arc;

use kith_client::{Entered, Trust, wire::id::UserId};

use crate::error::ChatError;

/// What a device keeps to go on without a password. Keep it as you keep a password.
#[derive(Clone, PartialEq, Eq, uniffi::Record)]
pub struct SavedLogin {
    /// The user.
    pub user: String,
    /// Their name, as it was last told.
    pub name: String,
    /// Of the device; a store that is used with this login gets it.
    pub nonce: Vec<u8>,
    /// For the next refresh, once.
    pub refresh: String,
}

impl From<&kith_client::SavedLogin> for SavedLogin {
    fn from(saved: &kith_client::SavedLogin) -> Self {
        let kith_client::SavedLogin { user, name, nonce, refresh } = saved;
        Self { user: user.to_string(), name: name.clone(), nonce: nonce.to_vec(), refresh: refresh.reveal().to_owned() }
    }
}

impl TryFrom<SavedLogin> for kith_client::SavedLogin {
    type Error = ChatError;

    fn try_from(saved: SavedLogin) -> Result<Self, ChatError> {
        let SavedLogin { user, name, nonce, refresh } = saved;
        let invalid = || ChatError::invalid("this is no saved login");
        let user = user.strip_prefix('u').and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(UserId::new);
        Ok(Self { user: user.ok_or_else(invalid)?, name, nonce: nonce.try_into().map_err(|_| invalid())?, refresh: refresh.into() })
    }
}

/// A new account, or a new log-in.
#[derive(Clone, uniffi::Record)]
pub struct NewLogin {
    /// What to keep, and to open a client with.
    pub login: SavedLogin,
    /// Of a new account: the code that resets a forgotten password. Shown once: the user is to write it down.
    pub recovery: Option<String>,
}

/// Is told what to keep instead, before it is used; an app's own. If it fails, the old one stays good, and it is asked again later.
#[uniffi::export(with_foreign)]
pub trait LoginKeeper: Send + Sync {
    /// Keeps it. Returns once it is stored.
    fn keep(&self, login: SavedLogin) -> Result<(), ChatError>;
}

/// Where a stranger asks to be let in.
#[derive(uniffi::Object)]
pub struct Door(kith_client::Door);

#[uniffi::export(async_runtime = "tokio")]
impl Door {
    /// At any nodes of the cluster, `https://host[:port]`, whose certificates this authority signed (PEM).
    #[uniffi::constructor]
    pub async fn open(urls: Vec<String>, ca_pem: String) -> Result<Arc<Self>, ChatError> {
        Ok(Arc::new(Self(kith_client::Door::new(&urls, Trust::ca_pem(ca_pem.as_bytes())?)?)))
    }
    /// Makes an account and lets this device in, which is to be called `title` in the list of devices.
    pub async fn sign_up(&self, name: String, password: String, title: String) -> Result<NewLogin, ChatError> {
        Ok(entered(self.0.sign_up(&name, password, &title).await?).await)
    }
    /// Lets this device in by name and password.
    pub async fn log_in(&self, name: String, password: String, title: String) -> Result<NewLogin, ChatError> {
        Ok(entered(self.0.log_in(&name, password, &title).await?).await)
    }
}

async fn entered(Entered { login, recovery }: Entered) -> NewLogin {
    NewLogin { login: (&login.saved().await).into(), recovery: recovery.map(|code| code.reveal().to_owned()) }
}
