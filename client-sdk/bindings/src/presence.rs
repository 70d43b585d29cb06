//! Who is here, and what others see of this user.

use kith_client::wire::{id::Timestamp, presence::PresenceState};

use crate::{client::ChatClient, error::ChatError, value::users_of};

/// How a user is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum PresenceKind {
    /// Not known now.
    Unknown,
    /// On no device, or does not show it to this user.
    Offline,
    /// On a device that nobody sits before.
    Away,
    /// Here.
    Online,
}

/// How a user is, as this user may see it.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct PresenceView {
    /// Who.
    pub user: String,
    /// How they are.
    pub state: PresenceKind,
    /// When they were last here; only of who is offline and shows it.
    pub last_seen_ms: Option<u64>,
}

impl From<kith_client::wire::presence::PresenceView> for PresenceView {
    fn from(view: kith_client::wire::presence::PresenceView) -> Self {
        let state = match view.state {
            PresenceState::Unknown => PresenceKind::Unknown,
            PresenceState::Offline => PresenceKind::Offline,
            PresenceState::Away => PresenceKind::Away,
            PresenceState::Online => PresenceKind::Online,
        };
        Self { user: view.user.to_string(), state, last_seen_ms: view.last_seen.map(Timestamp::get) }
    }
}

/// How the user is on this device. A user with several is as the highest of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Presence {
    /// Somebody sits before it: what a device is taken to be until it says otherwise.
    Online,
    /// Connected, and nobody sits before it.
    Away,
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// How these users are now, by id, once; at most 200. `watch_presence` is live.
    pub async fn presence(&self, users: Vec<String>) -> Result<Vec<PresenceView>, ChatError> {
        Ok(self.client.presence_now(&users_of(&users)?).await?.into_iter().map(Into::into).collect())
    }
    /// Says whether somebody sits before this device, now and after each connection from now on.
    pub async fn set_presence(&self, presence: Presence) -> Result<(), ChatError> {
        let presence = match presence {
            Presence::Online => kith_client::Presence::Online,
            Presence::Away => kith_client::Presence::Away,
        };
        Ok(self.client.set_presence(presence).await?)
    }
    /// Whether all others see this user offline, whatever they do on whatever device. Kept until it is changed.
    pub async fn set_private(&self, is_private: bool) -> Result<(), ChatError> {
        Ok(self.client.set_private(is_private).await?)
    }
}
