//! Who types, live, in the conversations that the app shows; and how often it is told that this user does.
//!
//! In: hints and records from the client's task, time. Out: one list for each conversation that is shown. Invariants: somebody is in it until a record of
//! theirs comes, or for `limit::TYPING_LASTS_MS` after their last hint; a list ends with its last handle; of this user it is told once in
//! `limit::TYPING_EVERY_MS`, however often the app says it. Bound: a group's members for each conversation that the app shows. Not here: the telling (`act`).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use kith_wire::{
    id::{ChannelId, UserId},
    limit::{TYPING_EVERY_MS, TYPING_LASTS_MS},
};
use tokio::sync::watch;

use crate::{channel::Channel, live::Live};

/// How long a hint holds.
const LASTS: Duration = Duration::from_millis(TYPING_LASTS_MS);
/// How long one of this user's is good for.
const EVERY: Duration = Duration::from_millis(TYPING_EVERY_MS);

/// Those of all conversations that are shown.
#[derive(Debug, Default)]
pub(crate) struct Typists {
    shown: Mutex<BTreeMap<ChannelId, Shown>>,
    /// Where this user was told to type, and when.
    told: Mutex<BTreeMap<ChannelId, Instant>>,
}

#[derive(Debug)]
struct Shown {
    until: BTreeMap<UserId, Instant>,
    users: watch::Sender<Vec<UserId>>,
    held: Weak<Held>,
}

/// Goes with the last handle of a conversation.
#[derive(Debug)]
struct Held;

impl Typists {
    fn open(&self, channel: ChannelId) -> Live<Vec<UserId>> {
        let mut all = self.lock();
        all.retain(|_, shown| shown.held.strong_count() > 0);
        let shown = all.entry(channel).or_insert_with(|| Shown { until: BTreeMap::new(), users: watch::channel(Vec::new()).0, held: Weak::new() });
        let held = shown.held.upgrade().unwrap_or_else(|| Arc::new(Held));
        shown.held = Arc::downgrade(&held);
        Live::held(shown.users.subscribe(), held)
    }
    /// Somebody types.
    pub(crate) fn handle_typing(&self, now: Instant, channel: ChannelId, user: UserId) {
        if let Some(shown) = self.lock().get_mut(&channel) {
            shown.until.insert(user, now + LASTS);
            shown.tell();
        }
    }
    /// They have said it.
    pub(crate) fn handle_record(&self, channel: ChannelId, sender: UserId) {
        if let Some(shown) = self.lock().get_mut(&channel)
            && shown.until.remove(&sender).is_some()
        {
            shown.tell();
        }
    }
    pub(crate) fn handle_timeout(&self, now: Instant) {
        for shown in self.lock().values_mut() {
            shown.until.retain(|_, until| *until > now);
            shown.tell();
        }
    }
    /// Whether it is to be told that this user types: then it counts as told.
    pub(crate) fn is_due(&self, now: Instant, channel: ChannelId) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now < *at + EVERY);
        match told.entry(channel) {
            Entry::Vacant(entry) => {
                entry.insert(now);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
    /// This user has said it: what they type next is another text.
    pub(crate) fn handle_sent(&self, channel: ChannelId) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&channel);
    }
    /// When the first hint ends.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.lock().values().filter(|shown| shown.held.strong_count() > 0).flat_map(|shown| shown.until.values()).min().copied()
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Shown>> {
        // No code of an app runs under it.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    fn tell(&self) {
        let now: Vec<UserId> = self.until.keys().copied().collect();
        self.users.send_if_modified(|told| std::mem::replace(told, now.clone()) != now);
    }
}

impl Channel {
    /// Who types here, sorted, live, while a clone of it is held. Empty while there is no connection. No IO by itself.
    pub fn typists(&self) -> Live<Vec<UserId>> {
        self.client.typists().open(self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_in_a_while_that_this_user_types() {
        let (typists, now) = (Typists::default(), Instant::now());
        let (one, other) = (ChannelId::direct(UserId::new(1), UserId::new(2)), ChannelId::direct(UserId::new(1), UserId::new(3)));
        assert!(typists.is_due(now, one) && typists.is_due(now, other));
        assert!(!typists.is_due(now + EVERY / 2, one));
        assert!(typists.is_due(now + EVERY, one));
        typists.handle_sent(one);
        assert!(typists.is_due(now + EVERY, one), "another text");
        assert!(!typists.is_due(now + EVERY, one));
    }

    #[test]
    fn a_list_has_who_types_until_they_said_it_or_stopped_and_ends_with_its_last_handle() {
        let (typists, now) = (Typists::default(), Instant::now());
        let (ann, ben, room) = (UserId::new(1), UserId::new(2), ChannelId::direct(UserId::new(1), UserId::new(2)));
        typists.handle_typing(now, room, ann);
        let live = typists.open(room);
        assert!(live.get().is_empty(), "what was before it was shown is not known");
        typists.handle_typing(now, room, ben);
        typists.handle_typing(now + Duration::from_secs(1), room, ann);
        assert_eq!((live.get(), typists.poll_timeout()), (vec![ann, ben], Some(now + LASTS)));
        typists.handle_timeout(now + LASTS);
        assert_eq!(live.get(), [ann]);
        typists.handle_record(room, ann);
        assert!(live.get().is_empty());
        let second = live.clone();
        drop(live);
        typists.handle_typing(now, room, ben);
        assert_eq!(second.get(), [ben]);
        drop(second);
        assert_eq!(typists.poll_timeout(), None, "nobody waits for a list that is not shown");
        assert!(typists.open(room).get().is_empty());
    }
}
