//! The own account of a client that is in: devices, password, name, end.
//!
//! In: calls. Out: requests, each of which may be repeated. Not here: how one gets in (`login`).

use kith_wire::{
    client::UserView,
    id::{DeviceId, UserId},
    people::{DeviceView, PeopleAnswer, PeopleRequest},
    secret::Secret,
};

use rand::RngExt;

use crate::{
    client::{Client, unexpected},
    error::Error,
    export::{Export, ExportCursor},
};

/// A bot, and the token by which a program is it.
#[derive(Clone, Debug)]
pub struct Bot {
    /// Its user.
    pub user: UserId,
    /// Its name, folded.
    pub name: String,
    /// Shown once.
    pub token: Secret,
}

/// The user's account. Cheap to clone; no IO by itself.
#[derive(Clone)]
pub struct Account {
    client: Client,
}

impl Account {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
    /// The user's devices, the last seen first.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn devices(&self) -> Result<Vec<DeviceView>, Error> {
        match self.client.people(PeopleRequest::Devices).await? {
            PeopleAnswer::Devices(devices) => Ok(devices),
            _ => Err(unexpected()),
        }
    }
    /// Ends a device: its session within a second, its tokens for ever.
    ///
    /// # Errors
    /// `NotFound`; or as [`Client::request`].
    pub async fn end_device(&self, device: DeviceId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::EndDevice { device }).await
    }
    /// Ends all devices but this one.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn end_others(&self) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::EndOthers).await
    }
    /// Ends this device; the client ends with it.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn log_out(&self) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::LogOut).await
    }
    /// Another password; ends all other devices.
    ///
    /// # Errors
    /// `BadLogin`: the old one is not right. `WeakPassword`; or as [`Client::request`].
    pub async fn change_password(&self, old: impl Into<Secret>, new: impl Into<Secret>) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::ChangePassword { old: old.into(), new: new.into() }).await
    }
    /// A new recovery code in the place of the old one.
    ///
    /// # Errors
    /// `BadLogin`: the password is not right; or as [`Client::request`].
    pub async fn new_recovery_code(&self, password: impl Into<Secret>) -> Result<Secret, Error> {
        match self.client.people(PeopleRequest::NewRecoveryCode { password: password.into() }).await? {
            PeopleAnswer::Code { code, .. } => Ok(code),
            _ => Err(unexpected()),
        }
    }
    /// Another name; the old one is nobody else's for 30 days. Once a day at most.
    ///
    /// # Errors
    /// `NameTaken`, `TooMany`, `Invalid` for what cannot be a name; or as [`Client::request`].
    pub async fn rename(&self, name: &str) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::Rename { name: name.to_owned() }).await
    }
    /// Ends the account for ever.
    ///
    /// # Errors
    /// `BadLogin`: the password is not right; or as [`Client::request`].
    pub async fn delete(&self, password: impl Into<Secret>) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::DeleteAccount { password: password.into() }).await
    }

    /// All that the service holds of the user; after a text that was given before, or from the beginning.
    pub fn export(&self, after: Option<ExportCursor>) -> Export {
        Export::new(self.client.clone(), after)
    }

    /// Makes a bot: a user of its own that this one looks after, and the token by which a program is it, over the HTTP API. The token lasts
    /// until it is ended, and is shown this once.
    ///
    /// # Errors
    /// `NameTaken`, `LimitReached`, `Invalid` for what cannot be a name; or as [`Client::request`].
    pub async fn make_bot(&self, name: &str) -> Result<Bot, Error> {
        let key = rand::rng().random();
        self.bot(PeopleRequest::MakeBot { name: name.to_owned(), key }).await
    }
    /// Another token for a bot. The one before is refused within ten seconds.
    ///
    /// # Errors
    /// `NotAllowed`: it is none of this user's; `NoSuchUser`; or as [`Client::request`].
    pub async fn bot_token(&self, bot: UserId) -> Result<Bot, Error> {
        self.bot(PeopleRequest::BotToken { bot }).await
    }
    /// Ends the token of a bot.
    ///
    /// # Errors
    /// As [`Account::bot_token`].
    pub async fn end_bot_token(&self, bot: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::EndBotToken { bot }).await
    }
    /// Ends a bot for ever.
    ///
    /// # Errors
    /// As [`Account::bot_token`].
    pub async fn delete_bot(&self, bot: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::DeleteBot { bot }).await
    }
    /// The user's bots, in the order in which they were made; an empty name: gone, or not known now.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn bots(&self) -> Result<Vec<UserView>, Error> {
        match self.client.people(PeopleRequest::Bots).await? {
            PeopleAnswer::Bots(bots) => Ok(bots),
            _ => Err(unexpected()),
        }
    }

    async fn bot(&self, asked: PeopleRequest) -> Result<Bot, Error> {
        match self.client.people(asked).await? {
            PeopleAnswer::Bot { user, name, token } => Ok(Bot { user, name, token }),
            _ => Err(unexpected()),
        }
    }
}
