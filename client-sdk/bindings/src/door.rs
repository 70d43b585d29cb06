//! Accounts of the cluster's own: how a device gets in by name and password, and what it keeps.

use std::sync::Arc;

use kith_client::{Entered, Trust};

use crate::{
    error::ChatError,
    value::{Transport, order, user_of},
};

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
        Ok(Self { user: user_of(&user).map_err(|_| invalid())?, name, nonce: nonce.try_into().map_err(|_| invalid())?, refresh: refresh.into() })
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
    /// `server_name`: what the certificates must carry instead of the host of the address; `transports`: by what nodes may be reached, the preferred one first.
    #[uniffi::constructor(default(server_name = None, transports = None))]
    pub async fn open(
        urls: Vec<String>,
        ca_pem: String,
        server_name: Option<String>,
        transports: Option<Vec<Transport>>,
    ) -> Result<Arc<Self>, ChatError> {
        let mut door = kith_client::Door::new(&urls, Trust::ca_pem(ca_pem.as_bytes())?)?;
        if let Some(name) = server_name {
            door = door.server_name(&name);
        }
        if let Some(transports) = transports {
            door = door.transports(&order(transports)?);
        }
        Ok(Arc::new(Self(door)))
    }
    /// Makes an account and lets this device in, which is to be called `title` in the list of devices.
    pub async fn sign_up(&self, name: String, password: String, title: String) -> Result<NewLogin, ChatError> {
        Ok(entered(self.0.sign_up(&name, password, &title).await?).await)
    }
    /// Lets this device in by name and password.
    pub async fn log_in(&self, name: String, password: String, title: String) -> Result<NewLogin, ChatError> {
        Ok(entered(self.0.log_in(&name, password, &title).await?).await)
    }
    /// Lets this device in by a token of the app's own backend; the account is made on first use.
    pub async fn log_in_with(&self, token: String, title: String) -> Result<NewLogin, ChatError> {
        Ok(entered(self.0.log_in_with(token, &title).await?).await)
    }
    /// Another password, by a recovery code or one that was handed out. All devices must log in again. Gives the new recovery code.
    pub async fn reset_password(&self, name: String, code: String, password: String) -> Result<String, ChatError> {
        Ok(self.0.reset_password(&name, code, password).await?.reveal().to_owned())
    }
    /// Has the app's backend hand a one-time code to whoever has this name. Whether anybody has it is not told.
    pub async fn ask_reset(&self, name: String) -> Result<(), ChatError> {
        Ok(self.0.ask_reset(&name).await?)
    }
}

async fn entered(Entered { login, recovery }: Entered) -> NewLogin {
    NewLogin { login: (&login.saved().await).into(), recovery: recovery.map(|code| code.reveal().to_owned()) }
}
