//! Who is here: users that the app shows, live, and what others see of this one.
//!
//! In: users of each [`Live`] that is held; views of the edge. Out: maps, each with the newest views of its users. Invariants: an edge shows views in
//! their order, so the last is kept (their places are those of a user's home, and a user may get another one); a map ends with its last handle, and what nobody holds is not watched. Bounds:
//! `limit::WATCHES_MAX` users over all maps: of those beyond it nothing is known. Not here: when the edge is asked (`core`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kith_wire::{
    client::{Answer, Request},
    id::UserId,
    limit,
    presence::{PresenceRequest, PresenceState, PresenceView},
};
use tokio::sync::{Notify, watch};

use crate::{
    client::{Client, unexpected},
    error::Error,
    live::Live,
};

/// How users are, each as this user may see them.
pub type PresenceMap = BTreeMap<UserId, PresenceView>;

/// How the user is on this device. A user with several is as the highest of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Presence {
    /// Somebody sits before it: what a device is taken to be until it says otherwise.
    #[default]
    Online,
    /// Connected, and nobody sits before it.
    Away,
}

/// What the app shows, shared by its handles and the client's task.
#[derive(Debug, Default)]
pub(crate) struct Screens {
    inner: Mutex<Inner>,
    /// What is shown has changed.
    pub(crate) stirred: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    screens: BTreeMap<u64, Screen>,
    known: PresenceMap,
}

#[derive(Debug)]
struct Screen {
    users: BTreeSet<UserId>,
    map: watch::Sender<PresenceMap>,
}

/// Ends a screen when its last handle goes.
struct Held {
    screens: Arc<Screens>,
    id: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.screens.lock().screens.remove(&self.id);
        self.screens.stirred.notify_one();
    }
}

impl Screens {
    fn open(self: &Arc<Self>, users: &[UserId]) -> Live<PresenceMap> {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        let users: BTreeSet<UserId> = users.iter().copied().collect();
        let known = users.iter().map(|user| (*user, inner.known.get(user).copied().unwrap_or_else(|| PresenceView::unknown(*user)))).collect();
        let (map, live) = watch::channel(known);
        inner.screens.insert(id, Screen { users, map });
        drop(inner);
        self.stirred.notify_one();
        Live::held(live, Arc::new(Held { screens: Arc::clone(self), id }))
    }
    /// All users that are shown, the newest screens first, as many as may be watched.
    pub(crate) fn wanted(&self) -> BTreeSet<UserId> {
        let mut inner = self.lock();
        let mut wanted = BTreeSet::new();
        for user in inner.screens.values().rev().flat_map(|screen| &screen.users) {
            if wanted.len() == limit::WATCHES_MAX {
                break;
            }
            wanted.insert(*user);
        }
        inner.known.retain(|user, _| wanted.contains(user));
        wanted
    }
    /// Takes views of the edge.
    pub(crate) fn take(&self, views: Vec<PresenceView>) {
        let mut inner = self.lock();
        let Inner { screens, known, .. } = &mut *inner;
        known.extend(views.iter().map(|view| (view.user, *view)));
        for screen in screens.values() {
            let of: Vec<&PresenceView> = views.iter().filter(|view| screen.users.contains(&view.user)).collect();
            screen.map.send_if_modified(|map| {
                let before: Vec<_> = of.iter().map(|view| map.insert(view.user, **view)).collect();
                before.iter().zip(&of).any(|(before, now)| before.is_none_or(|before| shown(&before) != shown(now)))
            });
        }
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No user code runs under the lock, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(view: &PresenceView) -> (PresenceState, Option<kith_wire::id::Timestamp>) {
    (view.state, view.last_seen)
}

impl Client {
    /// How these users are, live, while a clone of it is held. Contacts alone are seen: all others are offline, as somebody is who hides.
    /// Until the edge has said it, and when nobody can, a user is unknown. No IO by itself.
    pub fn presence(&self, users: &[UserId]) -> Live<PresenceMap> {
        self.screens().open(users)
    }
    /// How these users are now, once; at most `limit::WATCHES_MAX`.
    ///
    /// # Errors
    /// `TooLarge`; or as [`Client::request`].
    pub async fn presence_now(&self, users: &[UserId]) -> Result<Vec<PresenceView>, Error> {
        match self.request(Request::Presence(PresenceRequest::Get { users: users.to_vec() })).await? {
            Answer::Presence(views) => Ok(views),
            _ => Err(unexpected()),
        }
    }
    /// Says whether somebody sits before this device, now and after each connection from now on. Costs one small frame.
    ///
    /// # Errors
    /// The client was closed.
    pub async fn set_presence(&self, presence: Presence) -> Result<(), Error> {
        self.activity(presence == Presence::Online).await
    }
    /// Whether all others see this user offline, whatever they do on whatever device. Kept until it is changed.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn set_private(&self, private: bool) -> Result<(), Error> {
        match self.request(Request::Presence(PresenceRequest::SetPrivate { private })).await? {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{id::Term, presence::PresenceAt};

    use super::*;

    fn view(user: u64, state: PresenceState, term: u64, version: u64) -> PresenceView {
        PresenceView { user: UserId::new(user), state, last_seen: None, at: PresenceAt { term: Term::new(term), version } }
    }

    #[test]
    fn a_map_has_the_last_view_of_each_user_and_ends_with_its_last_handle() {
        let screens = Arc::new(Screens::default());
        let users = [UserId::new(1), UserId::new(2)];
        let live = screens.open(&users);
        assert_eq!(live.get()[&users[0]].state, PresenceState::Unknown);
        screens.take(vec![view(1, PresenceState::Online, 2, 5), view(9, PresenceState::Online, 2, 6)]);
        screens.take(vec![view(1, PresenceState::Away, 1, 3)]);
        assert_eq!(live.get()[&users[0]].state, PresenceState::Away, "the user's bucket has moved: the new home counts anew");
        screens.take(vec![PresenceView::hidden(users[0])]);
        assert_eq!(live.get()[&users[0]].state, PresenceState::Offline);
        screens.take(vec![view(1, PresenceState::Online, 1, 3)]);
        assert_eq!(live.get()[&users[0]].state, PresenceState::Online, "a contact again");
        let second = live.clone();
        drop(live);
        assert_eq!(screens.wanted().len(), 2);
        drop(second);
        assert!(screens.wanted().is_empty());
    }

    #[test]
    fn so_many_are_watched_and_no_more_the_newest_first() {
        let screens = Arc::new(Screens::default());
        let many: Vec<UserId> = (1..=300).map(UserId::new).collect();
        let first = screens.open(&many);
        let second = screens.open(&[UserId::new(999)]);
        let wanted = screens.wanted();
        assert_eq!(wanted.len(), limit::WATCHES_MAX);
        assert!(wanted.contains(&UserId::new(999)));
        drop((first, second));
    }
}
