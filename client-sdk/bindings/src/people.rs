//! People: contacts, blocks, profiles, and the search for users.

use std::sync::Arc;

use kith_client::wire::{
    log::ProfileField as WireField,
    people::{ContactState as WireState, ContactView, ProfileView},
};

use crate::{
    client::ChatClient,
    error::ChatError,
    value::{user_of, users_of},
};

/// A field of a profile that the app has made up.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct ProfileField {
    /// Its name.
    pub key: String,
    /// What it says; in a change, empty takes it away.
    pub value: String,
}

/// What is seen of a user.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Profile {
    /// Who.
    pub user: String,
    /// Their name: what tells them apart.
    pub name: String,
    /// What is shown in its place; empty: the name is.
    pub display: String,
    /// A few words.
    pub about: String,
    /// `https://` URL of a picture.
    pub avatar: String,
    /// Of the app.
    pub fields: Vec<ProfileField>,
}

impl From<ProfileView> for Profile {
    fn from(view: ProfileView) -> Self {
        let ProfileView { user, name, display, about, avatar, fields } = view;
        let fields = fields.into_iter().map(|WireField { key, value }| ProfileField { key, value }).collect();
        Self { user: user.to_string(), name, display, about, avatar, fields }
    }
}

/// What others are to see: each part that is given. An empty text takes it away.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct ProfileChange {
    /// Shown in the place of the name.
    #[uniffi(default = None)]
    pub display: Option<String>,
    /// A few words.
    #[uniffi(default = None)]
    pub about: Option<String>,
    /// `https://` URL of a picture.
    #[uniffi(default = None)]
    pub avatar: Option<String>,
    /// Whether search finds the user.
    #[uniffi(default = None)]
    pub searchable: Option<bool>,
    /// Of the app.
    #[uniffi(default = [])]
    pub fields: Vec<ProfileField>,
}

/// How two users stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum ContactState {
    /// Contacts: both have asked.
    Mutual,
    /// This user has asked.
    Asked,
    /// The other has asked.
    Asking,
    /// This user has blocked the other.
    Blocked,
}

/// What stands between the user and another.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Contact {
    /// Who.
    pub user: String,
    /// Their name; empty if it is not known now.
    pub name: String,
    /// What is shown in its place.
    pub display: String,
    /// How it stands.
    pub state: ContactState,
    /// Since when.
    pub since_ms: u64,
}

impl From<ContactView> for Contact {
    fn from(view: ContactView) -> Self {
        let ContactView { user, name, display, state, since } = view;
        let state = match state {
            WireState::Mutual => ContactState::Mutual,
            WireState::Asked => ContactState::Asked,
            WireState::Asking => ContactState::Asking,
            WireState::Blocked => ContactState::Blocked,
        };
        Self { user: user.to_string(), name, display, state, since_ms: since.get() }
    }
}

/// The user's contacts and whoever else there is.
#[derive(uniffi::Object)]
pub struct ChatContacts(kith_client::Contacts);

#[uniffi::export]
impl ChatClient {
    /// Contacts, blocks, profiles, search.
    pub fn contacts(&self) -> Arc<ChatContacts> {
        Arc::new(ChatContacts(self.client.contacts()))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatContacts {
    /// Contacts, who has asked, who was asked, and who is blocked; by rising id.
    pub async fn list(&self) -> Result<Vec<Contact>, ChatError> {
        Ok(self.0.list().await?.into_iter().map(Into::into).collect())
    }
    /// Asks somebody, by id, to be a contact, or accepts who has asked.
    pub async fn request(&self, user: String) -> Result<(), ChatError> {
        Ok(self.0.request(user_of(&user)?).await?)
    }
    /// Takes a request back, declines one, or ends the contact.
    pub async fn remove(&self, user: String) -> Result<(), ChatError> {
        Ok(self.0.remove(user_of(&user)?).await?)
    }
    /// Hears nothing of somebody from now on, who is not told.
    pub async fn block(&self, user: String) -> Result<(), ChatError> {
        Ok(self.0.block(user_of(&user)?).await?)
    }
    /// Hears of somebody again.
    pub async fn unblock(&self, user: String) -> Result<(), ChatError> {
        Ok(self.0.unblock(user_of(&user)?).await?)
    }
    /// Users by the beginning of their name or of a word of their display name; at most 20.
    pub async fn find(&self, prefix: String) -> Result<Vec<Profile>, ChatError> {
        Ok(self.0.find(&prefix).await?.into_iter().map(Into::into).collect())
    }
    /// What is seen of users, by id; of those that do not exist there is none.
    pub async fn profiles(&self, users: Vec<String>) -> Result<Vec<Profile>, ChatError> {
        Ok(self.0.profiles(users_of(&users)?).await?.into_iter().map(Into::into).collect())
    }
    /// Changes what others see of this user.
    pub async fn set_profile(&self, change: ProfileChange) -> Result<(), ChatError> {
        let ProfileChange { display, about, avatar, searchable, fields } = change;
        let fields = fields.into_iter().map(|ProfileField { key, value }| (key, value)).collect();
        Ok(self.0.set_profile(kith_client::ProfileChange { display, about, avatar, searchable, fields }).await?)
    }
}
