//! What the app is told, in order, each reader at its own pace.
//!
//! In: events from the driver, after their records are stored. Out: the same events to each reader, from its own place on.
//! Invariants: records of a channel come by rising seq, none twice, none left out; an event is kept once whatever the number of
//! readers. Bound: at `FEED_EVENTS_MAX` the driver stops fetching records until the slowest reader has caught up; hints are dropped.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::{IndexRow, Position, Record},
};
use tokio::sync::Notify;

/// Something that the app did not ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A record of a conversation: by rising seq in each channel, own ones too, each once and without a hole.
    Record {
        /// Where.
        channel: ChannelId,
        /// The record.
        record: Arc<Record>,
    },
    /// News of a channel: counts, preview, read position. A hint: dropped when the app lags; `Client::channels` has the latest.
    Channel(Box<IndexRow>),
    /// Another member read or got records. A hint: dropped when the app lags.
    Receipt {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
        /// Read up to here.
        read: Position,
        /// Delivered up to here.
        delivered: Position,
    },
    /// Another member types: ends by itself after `limit::TYPING_LASTS_MS`, or with a record of theirs. A hint.
    Typing {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// Records that exist and are not shown: this user may not see them, or the channel keeps them no longer. A hint: dropped when the app lags.
    Gap {
        /// Where.
        channel: ChannelId,
        /// First of them.
        first: Seq,
        /// Last of them.
        last: Seq,
    },
    /// The cluster could not go on from what this device has: its list of channels is walked anew. Nothing is shown twice. A hint.
    Resync,
    /// The server knows this device's numbers otherwise than its store: the store is a copy or an old one. Use a new store.
    StoreReplaced,
}

/// Events that wait for the slowest reader before the client stops fetching records.
const FEED_EVENTS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Feed {
    inner: Mutex<Inner>,
    arrived: Notify,
    /// The slowest reader has caught up.
    pub(crate) drained: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<Event>,
    /// Number of the first event that is kept.
    first: u64,
    /// Where each reader stands.
    readers: HashMap<u64, u64>,
    next_reader: u64,
    is_full: bool,
    is_closed: bool,
}

impl Feed {
    /// Adds events; without readers they are not kept. Returns whether the app lags.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = Event>) -> bool {
        let mut inner = self.lock();
        if inner.readers.is_empty() {
            return false;
        }
        for event in events {
            if !inner.is_full || matches!(event, Event::Record { .. } | Event::StoreReplaced) {
                inner.events.push_back(event);
            }
        }
        inner.is_full |= inner.events.len() >= FEED_EVENTS_MAX;
        let is_full = inner.is_full;
        drop(inner);
        self.arrived.notify_waiters();
        is_full
    }
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full
    }
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_waiters();
    }
    pub(crate) fn reader(self: &Arc<Self>, channel: Option<ChannelId>) -> Events {
        let mut inner = self.lock();
        let id = inner.next_reader;
        inner.next_reader += 1;
        let end = inner.first + inner.events.len() as u64;
        inner.readers.insert(id, end);
        Events { feed: Arc::clone(self), id, channel }
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No user code runs under the lock, so a poisoned one is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops what every reader has seen. Returns whether the app has just caught up.
    fn trim(&mut self) -> bool {
        let end = self.first + self.events.len() as u64;
        let slowest = self.readers.values().copied().min().unwrap_or(end);
        self.events.drain(..(slowest - self.first) as usize);
        self.first = slowest;
        let caught_up = self.is_full && self.events.len() <= FEED_EVENTS_MAX / 2;
        self.is_full &= !caught_up;
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        caught_up
    }
}

/// A reader of events, from the moment it was made. While one is held and not read, the client stops fetching: drop it to end that.
#[derive(Debug)]
pub struct Events {
    feed: Arc<Feed>,
    id: u64,
    channel: Option<ChannelId>,
}

impl Events {
    /// The next event; `None` once the client is closed and all are read. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let feed = Arc::clone(&self.feed);
            let arrived = feed.arrived.notified();
            tokio::pin!(arrived);
            // Registered before looking, so that nothing arrives unseen in between.
            arrived.as_mut().enable();
            let (event, is_closed) = self.take();
            if event.is_some() || is_closed {
                return event;
            }
            arrived.await;
        }
    }
    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.take().0
    }
    fn take(&mut self) -> (Option<Event>, bool) {
        let mut inner = self.feed.lock();
        let first = inner.first;
        let mut at = inner.readers.get(&self.id).copied().unwrap_or(first);
        let from = at;
        let mut found = None;
        while let Some(event) = inner.events.get((at - first) as usize) {
            at += 1;
            if self.channel.is_none() || event.channel() == self.channel {
                found = Some(event.clone());
                break;
            }
        }
        let mut caught_up = false;
        if at != from {
            inner.readers.insert(self.id, at);
            caught_up = inner.trim();
        }
        let is_closed = inner.is_closed;
        drop(inner);
        if caught_up {
            self.feed.drained.notify_one();
        }
        (found, is_closed)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut inner = self.feed.lock();
        inner.readers.remove(&self.id);
        let caught_up = inner.trim();
        drop(inner);
        if caught_up {
            self.feed.drained.notify_one();
        }
    }
}

impl Event {
    /// The channel that it is about.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Self::Record { channel, .. } | Self::Receipt { channel, .. } | Self::Typing { channel, .. } | Self::Gap { channel, .. } => Some(*channel),
            Self::Channel(row) => Some(row.news.channel),
            Self::Resync | Self::StoreReplaced => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(user: u64) -> Event {
        let channel = ChannelId::direct(UserId::new(1), UserId::new(2));
        Event::Receipt { channel, user: UserId::new(user), read: Position::default(), delivered: Position::default() }
    }
    fn user(event: Option<Event>) -> Option<u64> {
        match event {
            Some(Event::Receipt { user, .. }) => Some(user.get()),
            _ => None,
        }
    }

    #[test]
    fn each_reader_sees_all_from_its_own_start() {
        let feed = Arc::new(Feed::default());
        feed.publish([receipt(1)]);
        let mut early = feed.reader(None);
        feed.publish([receipt(2)]);
        let mut late = feed.reader(None);
        feed.publish([receipt(3)]);
        assert_eq!([user(early.try_next()), user(early.try_next()), user(early.try_next())], [Some(2), Some(3), None]);
        assert_eq!([user(late.try_next()), user(late.try_next())], [Some(3), None]);
    }

    #[test]
    fn a_full_feed_drops_hints_and_tells_when_it_is_read() {
        let feed = Arc::new(Feed::default());
        let mut reader = feed.reader(None);
        assert!(feed.publish((0..FEED_EVENTS_MAX as u64).map(receipt)));
        feed.publish([receipt(9_999)]);
        assert!(feed.is_full());
        let read = std::iter::from_fn(|| user(reader.try_next())).collect::<Vec<_>>();
        assert_eq!(read, (0..FEED_EVENTS_MAX as u64).collect::<Vec<_>>());
        assert!(!feed.is_full());
    }

    #[test]
    fn a_dropped_reader_holds_nothing_up() {
        let feed = Arc::new(Feed::default());
        let reader = feed.reader(None);
        feed.publish((0..FEED_EVENTS_MAX as u64).map(receipt));
        drop(reader);
        assert!(!feed.is_full());
        assert!(feed.lock().events.is_empty());
    }
}
