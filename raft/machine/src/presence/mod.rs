//! Who is here: soft state of a home's leader ([`home`]) and of an edge ([`edge`]), as pure machines. Nothing of it is in a log but when a user was last
//! seen and whether they hide.
//!
//! In: sessions, watches, contacts, lost nodes, the time as an argument (from any beginning). Out: views for edges and sessions, what is to be
//! written down. The home says who is here and who may know; an edge subscribes to a user once, whatever the number of its sessions that
//! look, and is told once of a change. Invariants: a user is offline only after the grace, and never because a leader or an edge was lost; of two
//! views the one with the higher (term, version) holds; whoever may not know sees the same as of nobody at all.
//! Bounds: one subscription for each edge and user, which ends if it is not renewed; latest values only, no queue. Not here: links, who
//! leads, sessions' streams (the node).

pub mod edge;
pub mod home;

use std::time::Duration;

use kith_wire::{
    id::{Timestamp, UserId},
    limit,
    log::UserState,
    presence::PresenceState,
};

use crate::{
    user,
    view::{StateView, ViewError},
};

/// A user without a session is offline after it.
pub const GRACE: Duration = Duration::from_millis(limit::PRESENCE_GRACE_MS);
/// A new leader waits at most so long for the edges to tell it their sessions.
pub const WARMING_MAX: Duration = Duration::from_secs(10);
/// An edge renews each subscription so often.
pub const RENEW_EVERY: Duration = Duration::from_secs(60);
/// A subscription that was not renewed for so long has ended.
pub const RENEWED_WITHIN: Duration = Duration::from_secs(150);
/// For so long an edge shows what it knew last while no home confirms it: longer than any leader needs to find out.
pub const HOLD: Duration = Duration::from_secs(75);
/// Of one user at most one change in this time is told.
pub const CALM: Duration = Duration::from_secs(1);

/// What rows say of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Whether there is such a user.
    pub exists: bool,
    /// Whether all others are to see them offline.
    pub private: bool,
    /// Whether they were here at `seen`, and nobody said since that they left.
    pub here: bool,
    /// When they were last known to be here.
    pub seen: Timestamp,
}

/// The rows of a home, as presence asks for them.
pub trait Rows {
    /// Why they cannot be read.
    type Error;
    /// What is known of a user.
    ///
    /// # Errors
    /// A row cannot be read.
    fn facts(&self, user: UserId) -> Result<Facts, Self::Error>;
    /// Whether a watcher may know how a user is.
    ///
    /// # Errors
    /// A row cannot be read.
    fn may_watch(&self, user: UserId, watcher: UserId) -> Result<bool, Self::Error>;
}

impl Rows for &dyn StateView {
    type Error = ViewError;
    fn facts(&self, user: UserId) -> Result<Facts, ViewError> {
        let account = user::account(*self, user)?.filter(|account| account.state == UserState::Active);
        Ok(account.map_or_else(Facts::default, |account| Facts { exists: true, private: account.private, here: account.here, seen: account.seen }))
    }
    fn may_watch(&self, user: UserId, watcher: UserId) -> Result<bool, ViewError> {
        if !self.facts(user)?.exists {
            return Ok(false);
        }
        Ok(user == watcher || user::contact(*self, user, watcher)?.is_some_and(|row| row.is_mutual() && !row.blocked))
    }
}

/// How a user with these sessions is; each says whether nobody sits before it. `None`: on no device.
pub fn state_of(sessions: impl IntoIterator<Item = bool>) -> Option<PresenceState> {
    sessions.into_iter().map(|away| if away { PresenceState::Away } else { PresenceState::Online }).max()
}
