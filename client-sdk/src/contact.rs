//! People: contacts, blocks, profiles, and the search for users.
//!
//! In: calls. Out: requests, each of which may be repeated. Not here: the own account (`account`), conversations (`channel`).

use kith_wire::{
    id::UserId,
    log::ProfileField,
    people::{ContactView, PeopleAnswer, PeopleRequest, ProfileView},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
};

/// The user's contacts and whoever else there is. Cheap to clone; no IO by itself.
#[derive(Clone)]
pub struct Contacts {
    client: Client,
}

/// What others are to see: each part that is set. An empty text takes it away.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileChange {
    /// Shown in the place of the name.
    pub display: Option<String>,
    /// A few words.
    pub about: Option<String>,
    /// `https://` URL of a picture.
    pub avatar: Option<String>,
    /// Whether search finds the user.
    pub searchable: Option<bool>,
    /// Of the app.
    pub fields: Vec<(String, String)>,
}

impl Contacts {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }
    /// Contacts, who has asked, who was asked, and who is blocked; by rising id.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn list(&self) -> Result<Vec<ContactView>, Error> {
        let mut all: Vec<ContactView> = Vec::new();
        loop {
            let after = all.last().map_or(UserId::new(0), |contact| contact.user);
            let PeopleAnswer::Contacts { contacts, more } = self.client.people(PeopleRequest::Contacts { after }).await? else {
                return Err(unexpected());
            };
            let is_stuck = contacts.is_empty();
            all.extend(contacts);
            if !more || is_stuck {
                return Ok(all);
            }
        }
    }
    /// Asks somebody to be a contact, or accepts: contacts are those who both have asked.
    ///
    /// # Errors
    /// `NoSuchUser`, `LimitReached`, `NotAllowed` for who is blocked; or as [`Client::request`].
    pub async fn request(&self, peer: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::AskContact { peer, asked: true }).await
    }
    /// Takes a request back, declines one, or ends the contact.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn remove(&self, peer: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::AskContact { peer, asked: false }).await
    }
    /// Hears nothing of somebody from now on, who is not told.
    ///
    /// # Errors
    /// `LimitReached`; or as [`Client::request`].
    pub async fn block(&self, peer: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::Block { peer, blocked: true }).await
    }
    /// Hears of somebody again.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn unblock(&self, peer: UserId) -> Result<(), Error> {
        self.client.people_done(PeopleRequest::Block { peer, blocked: false }).await
    }
    /// Users by the beginning of their name or of a word of their display name; at most 20.
    ///
    /// # Errors
    /// `Invalid`: nothing to look for. `RateLimited`; or as [`Client::request`].
    pub async fn find(&self, prefix: &str) -> Result<Vec<ProfileView>, Error> {
        self.profiles_of(PeopleRequest::Search { prefix: prefix.to_owned() }).await
    }
    /// What is seen of users; of those that do not exist there is none.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn profiles(&self, users: Vec<UserId>) -> Result<Vec<ProfileView>, Error> {
        self.profiles_of(PeopleRequest::GetProfiles { users }).await
    }
    /// Changes what others see of this user.
    ///
    /// # Errors
    /// `Invalid` for characters that deceive, `TooLarge`, `LimitReached`; or as [`Client::request`].
    pub async fn set_profile(&self, change: ProfileChange) -> Result<(), Error> {
        let ProfileChange { display, about, avatar, searchable, fields } = change;
        let fields = fields.into_iter().map(|(key, value)| ProfileField { key, value }).collect();
        self.client.people_done(PeopleRequest::SetProfile { display, about, avatar, searchable, fields }).await
    }

    async fn profiles_of(&self, asked: PeopleRequest) -> Result<Vec<ProfileView>, Error> {
        match self.client.people(asked).await? {
            PeopleAnswer::Profiles(profiles) => Ok(profiles),
            _ => Err(unexpected()),
        }
    }
}
