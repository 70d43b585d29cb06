//! What the edge is to know of this session's presence: whom the app shows, and whether somebody sits before the device.
//!
//! In: both, as they are now; connections, answers, time. Out: the next request. Invariant: each is told anew after each connection, by
//! value, so that the last word counts. Bound: one request of each under way.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kith_wire::{client::Request, id::UserId, presence::PresenceRequest};

/// Before what was refused is asked again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Looking {
    wanted: BTreeSet<UserId>,
    is_active: bool,
    watch: Telling,
    activity: Telling,
    retry_at: Option<Instant>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    Watch,
    Activity,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Telling {
    is_due: bool,
    is_under_way: bool,
}

impl Default for Looking {
    fn default() -> Self {
        let (watch, activity) = Default::default();
        Self { wanted: BTreeSet::new(), is_active: true, watch, activity, retry_at: None }
    }
}

impl Looking {
    pub(super) fn handle_wanted(&mut self, wanted: BTreeSet<UserId>) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.watch.is_due = true;
        }
    }
    pub(super) fn handle_activity(&mut self, active: bool) {
        if self.is_active != active {
            self.is_active = active;
            self.activity.is_due = true;
        }
    }
    /// A new session knows nothing: it shows nobody, and is active.
    pub(super) fn handle_connected(&mut self) {
        self.watch = Telling { is_due: !self.wanted.is_empty(), is_under_way: false };
        self.activity = Telling { is_due: !self.is_active, is_under_way: false };
        self.retry_at = None;
    }
    pub(super) fn handle_answer(&mut self, about: About, is_taken: bool, now: Instant) {
        let telling = self.telling(about);
        telling.is_under_way = false;
        if !is_taken {
            telling.is_due = true;
            self.retry_at = Some(now + RETRY);
        }
    }
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.retry_at.take_if(|at| *at <= now);
    }
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }
    pub(super) fn poll(&mut self) -> Option<(About, Request)> {
        if self.retry_at.is_some() {
            return None;
        }
        let about = [About::Activity, About::Watch].into_iter().find(|about| {
            let telling = self.telling(*about);
            telling.is_due && !telling.is_under_way
        })?;
        *self.telling(about) = Telling { is_due: false, is_under_way: true };
        let asked = match about {
            About::Watch => PresenceRequest::Watch { users: self.wanted.iter().copied().collect() },
            About::Activity => PresenceRequest::SetActivity { active: self.is_active },
        };
        Some((about, Request::Presence(asked)))
    }
    fn telling(&mut self, about: About) -> &mut Telling {
        match about {
            About::Watch => &mut self.watch,
            About::Activity => &mut self.activity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(of: &[u64]) -> BTreeSet<UserId> {
        of.iter().copied().map(UserId::new).collect()
    }

    #[test]
    fn the_last_word_is_told_and_told_anew_after_each_connection() {
        let (mut looking, now) = (Looking::default(), crate::clock::now());
        looking.handle_connected();
        assert!(looking.poll().is_none(), "a new session shows nobody and is active anyway");
        looking.handle_wanted(users(&[1, 2]));
        assert!(matches!(looking.poll(), Some((About::Watch, _))));
        looking.handle_wanted(users(&[2]));
        looking.handle_wanted(users(&[3]));
        assert!(looking.poll().is_none(), "one is under way");
        looking.handle_answer(About::Watch, true, now);
        let told = PresenceRequest::Watch { users: vec![UserId::new(3)] };
        assert_eq!(looking.poll(), Some((About::Watch, Request::Presence(told.clone()))));
        looking.handle_answer(About::Watch, false, now);
        assert!(looking.poll().is_none());
        looking.handle_timeout(now + RETRY);
        assert!(looking.poll().is_some(), "what was refused is told again");
        looking.handle_activity(false);
        looking.handle_connected();
        assert_eq!(looking.poll(), Some((About::Activity, Request::Presence(PresenceRequest::SetActivity { active: false }))));
        assert_eq!(looking.poll(), Some((About::Watch, Request::Presence(told))));
        assert!(looking.poll().is_none());
    }
}
