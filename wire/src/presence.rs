//! Who is here: what clients ask and are told, and what nodes tell each other for it.
//!
//! In: the fields of a [`crate::client::Request::Presence`] and of the messages between nodes. Out: those of answers and events. Invariants: of
//! two views of one user the one with the higher [`PresenceAt`] is the newer; a view for somebody who may not know says "offline" and
//! nothing else. Bounds: `limit::WATCHES_MAX` users of one session. Not here: who is here (kith-machine's `presence`), who asks (the node).

use crate::id::{Term, Timestamp, UserId};

/// A request about who is here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PresenceRequest {
    /// How these users are now.
    Get { users: Vec<UserId> },
    /// Whom this session shows from now on, in the place of those before. How they are comes as [`crate::client::Event::Presence`], at once and
    /// with each change, until the session ends or says otherwise.
    Watch { users: Vec<UserId> },
    /// Whether somebody sits before this device. A device is taken to be active until it says otherwise.
    SetActivity { active: bool },
    /// Whether all others see this user offline, on whatever device. Kept until it is changed.
    SetPrivate { private: bool },
}

/// How a user is, as somebody may see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PresenceView {
    /// Who.
    pub user: UserId,
    /// How they are.
    pub state: PresenceState,
    /// When they were last here; only of who is offline and shows it.
    pub last_seen: Option<Timestamp>,
    /// Which of two views of one home is newer. What a session is shown comes in order: its last is the newest.
    pub at: PresenceAt,
}

/// Where a view stands among those of its user that came from one home: by the term of its leader, then by its count. Those of two homes do not
/// compare. The default stands below all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PresenceAt {
    /// Of the leader of the user's home.
    pub term: Term,
    /// Of all changes in that term.
    pub version: u64,
}

/// How a user is. The number is on the wire. Rising: a user with several devices is as the highest of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum PresenceState {
    /// 1: not known now: their home is finding out.
    #[default]
    Unknown,
    /// 2: on no device, or does not show it to the asker.
    Offline,
    /// 3: on a device that nobody sits before.
    Away,
    /// 4: here.
    Online,
}

impl PresenceView {
    /// What somebody is told who may not know: of strangers, of who blocked them, of who is no contact any more, of nobody at all.
    pub const fn hidden(user: UserId) -> Self {
        Self { user, state: PresenceState::Offline, last_seen: None, at: PresenceAt { term: Term::new(0), version: 0 } }
    }
    /// What is shown while nothing is known.
    pub const fn unknown(user: UserId) -> Self {
        Self { state: PresenceState::Unknown, ..Self::hidden(user) }
    }
}

impl PresenceState {
    /// In one word, as `--json` and the HTTP API say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Offline => "offline",
            Self::Away => "away",
            Self::Online => "online",
        }
    }
}

// ---------------------------------------------------------------- between nodes

/// An edge's one subscription of a user, begun, renewed or ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PresenceWatch {
    /// Who is looked at.
    pub user: UserId,
    /// The view that the edge has.
    pub known: PresenceAt,
    /// The last that it heard of who may look.
    pub rights: PresenceAt,
    /// Those of the edge's users that look of whom it does not know whether they may.
    pub watchers: Vec<UserId>,
    /// Those are all that look: whatever was known of others is forgotten.
    pub all: bool,
    /// Nobody looks any more.
    pub ended: bool,
}

/// The answer to watches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PresenceTold {
    /// Users of whom the home knows nothing of this edge, or more of who may look: to be told with all watchers.
    pub again: Vec<UserId>,
    /// Views that differ from what the edge has.
    pub views: Vec<PresenceView>,
    /// Of the watchers that were asked about, who may not look: (user, watcher). All others may.
    pub denied: Vec<(UserId, UserId)>,
    /// All of it stands here.
    pub at: PresenceAt,
}

/// What a home leader has for one edge.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PresencePush {
    /// Users who changed, each once, whatever the number of watchers.
    pub views: Vec<PresenceView>,
    /// Watchers who may know now, or not any more.
    pub rights: Vec<PresenceRight>,
    /// All contacts of users who have a session there, where a cluster shows every contact every change: (user, their contacts).
    pub circles: Vec<(UserId, Vec<UserId>)>,
    /// Something may have been lost: all watches of this home are to be told anew.
    pub again: bool,
}

/// Whether a watcher may know how a user is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresenceRight {
    /// Who is looked at.
    pub user: UserId,
    /// Who looks.
    pub watcher: UserId,
    /// Whether they may.
    pub allowed: bool,
    /// Which of two is newer.
    pub at: PresenceAt,
}

impl PresencePush {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.views.is_empty() && self.rights.is_empty() && self.circles.is_empty() && !self.again
    }
}
