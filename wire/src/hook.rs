//! Outgoing webhooks: what happens in a channel is posted to a URL, in the channel's order, at least once.
//!
//! A webhook of one channel is its owner's, and lies with the channel; one of all channels, or of those that a user is in, is an operator's: it lies
//! at the desk, and every group has a copy. How far each has been told of each channel is a cursor in the channel's group, so that whichever node
//! leads it goes on. In: fields of `kith.log.v1` and `kith.client.v1`. Out: parsed types. Invariant: the key of a webhook is in no log and no list.
//! Bounds: `limit::HOOKS_PER_CHANNEL_MAX` and those after it. Not here: posting (the node).

use std::fmt;

use bytes::Bytes;

use crate::{
    id::{ChannelId, HookId, Seq, Timestamp, UserId},
    limit,
};

/// What a webhook hears of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HookScope {
    /// One channel.
    Channel(ChannelId),
    /// Every channel that this user is in: a bot's.
    User(UserId),
    /// Every channel.
    All,
}

/// The key that a webhook's posts are signed with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HookKey(Bytes);

impl HookKey {
    /// Takes raw bytes.
    pub const fn new(raw: Bytes) -> Self {
        Self(raw)
    }
    /// The raw bytes: for signing, and for whoever registered it, once.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for HookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookKey(…)")
    }
}

/// Kinds of events, as bits. Stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HookEvents(pub u32);

impl HookEvents {
    /// A text was sent.
    pub const CREATED: Self = Self(1);
    /// A text was edited.
    pub const EDITED: Self = Self(2);
    /// A text was deleted, or its author erased.
    pub const DELETED: Self = Self(4);
    /// Somebody was added, removed, left, joined, or got another role.
    pub const MEMBERS: Self = Self(8);
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Whether one is among them.
    pub const fn holds(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A webhook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Names it.
    pub id: HookId,
    /// What it hears of.
    pub scope: HookScope,
    /// Where its posts go.
    pub url: String,
    /// What they are signed with.
    pub secret: HookKey,
    /// What it wants.
    pub events: HookEvents,
    /// Who registered it; 0: a token of nobody.
    pub by: UserId,
    /// When.
    pub made: Timestamp,
    /// Since when it is told nothing any more, as it failed for days; 0: it is told.
    pub disabled: Timestamp,
}

impl Hook {
    /// Whether it is told of what happens.
    pub const fn is_live(&self) -> bool {
        self.disabled.get() == 0
    }
    /// Why nobody can register it.
    pub fn refused(&self) -> Option<crate::code::Code> {
        let is_long = self.url.len() > limit::HOOK_URL_BYTES_MAX || self.secret.len() > limit::HOOK_KEY_BYTES_MAX;
        match () {
            () if is_long => Some(crate::code::Code::TooLarge),
            () if self.url.is_empty() || self.secret.len() < limit::HOOK_KEY_BYTES_MIN => Some(crate::code::Code::Invalid),
            () if self.events.0 == 0 || self.events.0 & !HookEvents::ALL.0 != 0 || self.id == HookId::new(0) => Some(crate::code::Code::Invalid),
            () => None,
        }
    }
}

/// A change of webhooks. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HookChange {
    /// Registers one; the same again changes nothing.
    Put(Hook),
    /// Removes one.
    Remove(HookId),
    /// It failed for days: it is told nothing any more.
    Disable { id: HookId },
}

/// How far a webhook has been told of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HookAck {
    /// Which.
    pub hook: HookId,
    /// Up to here.
    pub seq: Seq,
    /// Since when nothing gets through; 0: it does.
    pub failing: Timestamp,
}

/// Webhooks of a channel, of the desk, or a group's copy of the desk's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HooksRow {
    /// Raised with each change.
    pub version: u64,
    /// By rising id.
    pub hooks: Vec<Hook>,
}

impl HooksRow {
    /// One of them.
    pub fn get(&self, id: HookId) -> Option<&Hook> {
        self.hooks.binary_search_by_key(&id, |hook| hook.id).ok().and_then(|at| self.hooks.get(at))
    }
}

/// How far a webhook has been told of a channel, as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HookCursorRow {
    /// Up to here.
    pub seq: Seq,
    /// Since when nothing gets through; 0: it does.
    pub failing: Timestamp,
}

/// A request about webhooks.
#[derive(Clone, PartialEq, Debug)]
pub enum HookRequest {
    /// Registers one. `key` and `secret` are drawn by the asker: `key` names it together with its scope, so that a retry is the same one.
    Add { scope: HookScope, url: String, secret: HookKey, events: HookEvents, key: u64 },
    /// Those of this scope; of the desk's, all of them.
    List(HookScope),
    /// Removes one.
    Remove { scope: HookScope, id: HookId },
    /// Posts an event of no meaning now, once.
    Test { scope: HookScope, id: HookId },
}

impl HookRequest {
    /// What it is about.
    pub const fn scope(&self) -> HookScope {
        match self {
            Self::Add { scope, .. } | Self::List(scope) | Self::Remove { scope, .. } | Self::Test { scope, .. } => *scope,
        }
    }
}

/// An answer about webhooks.
#[derive(Clone, PartialEq, Debug)]
pub enum HookAnswer {
    /// Registered, or was before.
    Added { id: HookId },
    /// Without their keys.
    Hooks(Vec<HookView>),
    /// Done.
    Done,
    /// The HTTP status that the other side gave.
    Tested(u32),
}

/// A webhook, as whoever may change it sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookView {
    /// Names it.
    pub id: HookId,
    /// Where its posts go.
    pub url: String,
    /// What it wants.
    pub events: HookEvents,
    /// Who registered it.
    pub by: UserId,
    /// When.
    pub made: Timestamp,
    /// Since when it is told nothing any more; 0: it is told.
    pub disabled: Timestamp,
    /// Since when nothing gets through, where that is known; 0: it does.
    pub failing: Timestamp,
}
