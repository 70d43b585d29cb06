//! How a conversation stands in the user's list: pin, mute, archive, draft, clear; the same on all devices of the user.
//!
//! In: calls. Out: requests; the change comes back with the index row, to this device too. Not here: the list itself (`client`).

use kith_wire::{
    client::{Answer, Request},
    id::{ChannelId, Seq, Timestamp},
    log::{Position, Preference, SavedDraft},
    people::{PeopleAnswer, PeopleRequest},
};

use crate::{
    client::{Client, unexpected},
    error::Error,
};

/// Preferences of one conversation. Cheap to clone; no IO by itself.
#[derive(Clone)]
pub struct Preferences {
    client: Client,
    channel: ChannelId,
}

impl Preferences {
    pub(crate) const fn new(client: Client, channel: ChannelId) -> Self {
        Self { client, channel }
    }
    /// On top of the list, or not.
    ///
    /// # Errors
    /// `NotFound`: the conversation is not in the list (yet). `LimitReached`; or as [`Client::request`].
    pub async fn pin(&self, on: bool) -> Result<(), Error> {
        self.set(Preference::Pin(on)).await
    }
    /// No push until then, by the server's clock; `None`: push again. [`Timestamp`]'s largest value is for ever.
    ///
    /// # Errors
    /// As [`Preferences::pin`].
    pub async fn mute(&self, until: Option<Timestamp>) -> Result<(), Error> {
        self.set(Preference::Mute { until }).await
    }
    /// Out of the list until something is said that this device has not seen, or for as long as it is muted.
    ///
    /// # Errors
    /// As [`Preferences::pin`].
    pub async fn archive(&self, on: bool) -> Result<(), Error> {
        // What is held here may be newer than what the list has heard of.
        let held = if on { self.client.channel(self.channel).held().await? } else { None };
        self.set(Preference::Archive { seen: on.then(|| held.map_or(Seq::new(0), |cursor| cursor.max)) }).await
    }
    /// What was written and not sent; empty: nothing. At most 2,000 characters.
    ///
    /// # Errors
    /// `TooLarge`, or as [`Preferences::pin`].
    pub async fn save_draft(&self, draft: SavedDraft) -> Result<(), Error> {
        self.set(Preference::Draft(draft)).await
    }
    /// What is here up to a record, given as it stands in the channel, is read and not to be shown any more.
    ///
    /// # Errors
    /// As [`Preferences::pin`].
    pub async fn clear(&self, up_to: Position) -> Result<(), Error> {
        self.set(Preference::Clear { seq: up_to.seq, cnt: up_to.cnt }).await
    }
    /// As [`Preferences::clear`], up to a record that this device holds.
    ///
    /// # Errors
    /// `NotFound`: this device does not hold it; else as [`Preferences::pin`].
    pub async fn clear_to(&self, up_to: Seq) -> Result<(), Error> {
        let at = self.client.channel(self.channel).place(up_to).await?;
        self.clear(at).await
    }

    async fn set(&self, preference: Preference) -> Result<(), Error> {
        match self.client.request(Request::People(PeopleRequest::Prefer { channel: self.channel, preference })).await? {
            Answer::People(PeopleAnswer::Done) => Ok(()),
            _ => Err(unexpected()),
        }
    }
}
