//! Who types: told to the other members at once, never logged, never kept.
//!
//! In: what clients say of their users, and at the channel's leader who may hear it. Out: [`Hints`] to fan-out. A word of it lasts
//! `limit::TYPING_LASTS_MS` on the screens and is repeated while it is so; the edge passes on one in `limit::TYPING_EVERY_MS`.
//! Bounds: [`TYPISTS_MAX`] members and channels; beyond it a word is dropped.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use kith_machine::channel::read;
use kith_wire::{
    client::{Answer, Refusal},
    code::Code,
    id::{ChannelId, GroupId, UserId},
    limit,
    peer::InnerAnswer,
    presence::PresenceView,
};

use super::local::{broken, view};
use crate::{clock::Instant, router::refuse};

/// Where live hints go: fan-out.
pub trait Hints: Send + Sync + 'static {
    /// `user` types in a channel of a group that this node leads; `others` may hear it.
    fn typing(&self, group: GroupId, channel: ChannelId, user: UserId, others: Arc<[UserId]>);
    /// How users of a group that this node leads are now, as the asker may see it.
    fn look(&self, group: GroupId, asker: UserId, users: Vec<UserId>) -> BoxFuture<'static, Result<Vec<PresenceView>, Refusal>>;
}

/// Set once, by the composition root.
#[derive(Clone, Default)]
pub(super) struct Hinted(Arc<OnceLock<Arc<dyn Hints>>>);

impl fmt::Debug for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hinted")
    }
}

impl Hinted {
    pub(super) fn attach(&self, hints: Arc<dyn Hints>) {
        // A second call changes nothing.
        let _ = self.0.set(hints);
    }

    /// How users of a group that this node leads are now.
    pub(super) async fn look(&self, group: GroupId, asker: UserId, users: Vec<UserId>) -> Result<InnerAnswer, Refusal> {
        let hints = self.0.get().ok_or_else(|| refuse(Code::NotLeader))?;
        hints.look(group, asker, users).await.map(InnerAnswer::Presence)
    }

    /// Tells those members who may hear it, from this replica's rows: a moment's lag is of no harm here.
    pub(super) fn tell(&self, handle: &kith_raft::GroupHandle, channel: ChannelId, user: UserId) -> Result<Answer, Refusal> {
        let overview = read::overview(&view(handle)?, channel, user).map_err(|error| broken(&error))?.ok_or_else(|| refuse(Code::NotMember))?;
        let others: Arc<[UserId]> = overview.roster.members.iter().map(|member| member.user).filter(|other| *other != user).collect();
        if let Some(hints) = self.0.get() {
            hints.typing(handle.id(), channel, user, others);
        }
        Ok(Answer::Done)
    }
}

/// Who said so lately on this edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Typists(Arc<Mutex<HashMap<(ChannelId, UserId), Instant>>>);

impl Typists {
    /// Whether this word is to be passed on.
    pub(super) fn may_tell(&self, channel: ChannelId, user: UserId, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(&(channel, user)).is_some_and(|at| now < *at + EVERY) {
            return false;
        }
        if said.len() >= TYPISTS_MAX {
            said.retain(|_, at| now < *at + EVERY);
        }
        if said.len() >= TYPISTS_MAX {
            return false;
        }
        said.insert((channel, user), now);
        true
    }
}

const EVERY: Duration = Duration::from_millis(limit::TYPING_EVERY_MS);
/// Members and channels remembered for [`EVERY`].
const TYPISTS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_in_a_while_is_passed_on() {
        let (typists, now) = (Typists::default(), Instant::now());
        let (channel, user) = (ChannelId::direct(UserId::new(1), UserId::new(2)), UserId::new(1));
        assert!(typists.may_tell(channel, user, now));
        assert!(!typists.may_tell(channel, user, now + EVERY / 2));
        assert!(typists.may_tell(channel, UserId::new(2), now), "others are others");
        assert!(typists.may_tell(channel, user, now + EVERY));
    }
}
