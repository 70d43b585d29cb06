//! Which conversations the leader of a home looks at for pushes, and when. Sans-io; the rows know better.
//!
//! In: conversations that are due, what was decided and what came of it. Out: those to look at now. Invariants: each is looked at by one pass at a time; what was sent
//! and could not be noted is remembered, so that this leader does not send it again. Bounds: [`HELD_MAX`] conversations, the rest is found by the next walk. Not
//! here: what is decided (kith-machine's `push`), rows and providers ([`super`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use kith_wire::{
    id::{ChannelId, DeviceId, Seq, Timestamp, UserId},
    log::{PushSent, PushSentRow},
};

use crate::clock::Instant;

/// Conversations that are held in memory.
pub(super) const HELD_MAX: usize = 200_000;

/// A conversation of a user.
pub(super) type Key = (UserId, ChannelId);

/// What the leader of a group knows beside the rows.
#[derive(Debug, Default)]
pub(super) struct Plan {
    held: HashMap<Key, Held>,
    order: BTreeSet<(Instant, Key)>,
}

/// What it knows of one conversation.
#[derive(Debug)]
pub(super) struct Held {
    /// When it is looked at next; `None`: it is being looked at.
    at: Option<Instant>,
    /// It changed while it was being looked at.
    again: bool,
    /// Where it stood at the last look, and since when.
    head: Option<(Seq, Instant)>,
    /// Attempts that failed, by device.
    pub(super) tries: BTreeMap<DeviceId, Tried>,
    /// What was sent and is not noted.
    pub(super) unnoted: Vec<PushSent>,
}

/// Attempts at one device that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tried {
    /// How many.
    pub(super) attempts: u32,
    /// When the first one was.
    pub(super) begun: Timestamp,
    /// The next one is not before then.
    pub(super) not_before: Timestamp,
}

impl Plan {
    /// A conversation is due. Says whether there was room for it.
    pub(super) fn note(&mut self, key: Key, at: Instant) -> bool {
        if let Some(held) = self.held.get_mut(&key) {
            // Looked at soon enough; what comes while it is being looked at is looked at again.
            held.again |= held.at.is_none();
            return true;
        }
        if self.held.len() >= HELD_MAX {
            return false;
        }
        self.order.insert((at, key));
        self.held.insert(key, Held { at: Some(at), again: false, head: None, tries: BTreeMap::new(), unnoted: Vec::new() });
        true
    }
    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
    /// When the next one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }
    /// Those to look at now, at most so many; each ends with [`Plan::wait`] or [`Plan::done`].
    pub(super) fn take(&mut self, now: Instant, limit: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some((at, key)) = self.order.first().copied()
            && at <= now
        {
            self.order.remove(&(at, key));
            if let Some(held) = self.held.get_mut(&key) {
                held.at = None;
            }
            keys.push(key);
        }
        keys
    }
    /// It stands there; for how long it has.
    pub(super) fn steady(&mut self, key: &Key, head: Seq, now: Instant) -> Duration {
        let Some(held) = self.held.get_mut(key) else { return Duration::ZERO };
        match held.head {
            Some((known, since)) if known == head => now.saturating_duration_since(since),
            _ => {
                held.head = Some((head, now));
                Duration::ZERO
            }
        }
    }
    pub(super) fn get(&self, key: &Key) -> Option<&Held> {
        self.held.get(key)
    }
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Held> {
        self.held.get_mut(key)
    }
    /// It is looked at again then.
    pub(super) fn wait(&mut self, key: Key, at: Instant) {
        if let Some(held) = self.held.get_mut(&key) {
            if let Some(old) = held.at.replace(at) {
                self.order.remove(&(old, key));
            }
            held.again = false;
            self.order.insert((at, key));
        }
    }
    /// Nothing more is to be done about it, unless it changed meanwhile: then it is looked at again at once.
    pub(super) fn done(&mut self, key: Key, now: Instant) {
        if self.held.get(&key).is_some_and(|held| held.again) {
            return self.wait(key, now);
        }
        if let Some(Held { at: Some(at), .. }) = self.held.remove(&key) {
            self.order.remove(&(at, key));
        }
    }
    /// What was sent of it, with what could not be noted.
    pub(super) fn with_unnoted(&self, key: &Key, row: &mut PushSentRow) {
        for sent in self.held.get(key).into_iter().flat_map(|held| &held.unnoted) {
            match row.sent.iter_mut().find(|known| known.device == sent.device) {
                Some(known) if (known.seq, known.is_read) < (sent.seq, sent.is_read) => *known = *sent,
                Some(_) => {}
                None => row.sent.push(*sent),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: u64) -> Key {
        (UserId::new(user), ChannelId::direct(UserId::new(user), UserId::new(9)))
    }

    #[test]
    fn each_is_looked_at_by_one_pass_at_a_time_and_again_when_it_changed() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let later = now + Duration::from_secs(8);
        assert!(plan.note(key(1), later) && plan.note(key(2), now));
        assert!(plan.note(key(1), now), "it stays where it is");
        assert_eq!((plan.take(now, 9), plan.next()), (vec![key(2)], Some(later)));
        plan.note(key(2), later);
        plan.done(key(2), now);
        assert_eq!(plan.take(now, 9), [key(2)], "it changed meanwhile");
        plan.wait(key(2), later);
        assert_eq!(plan.take(later, 1).len(), 1);
        assert_eq!(plan.take(later, 9).len(), 1);
        [key(1), key(2)].into_iter().for_each(|key| plan.done(key, later));
        assert_eq!((plan.len(), plan.next()), (0, None));
    }

    #[test]
    fn what_was_sent_and_not_noted_is_remembered_and_a_conversation_that_stands_is_known_to() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.note(key(1), now);
        let sent = |seq| PushSent { device: DeviceId::new(3), seq: Seq::new(seq), at: Timestamp::new(seq), is_read: false };
        plan.get_mut(&key(1)).unwrap().unnoted = vec![sent(4)];
        let mut row = PushSentRow { sent: vec![sent(2)] };
        plan.with_unnoted(&key(1), &mut row);
        assert_eq!(row.sent, [sent(4)]);
        let wait = Duration::from_secs(5);
        assert_eq!(plan.steady(&key(1), Seq::new(4), now), Duration::ZERO);
        assert_eq!(plan.steady(&key(1), Seq::new(4), now + wait), wait);
        assert_eq!(plan.steady(&key(1), Seq::new(5), now + wait), Duration::ZERO);
    }
}
