//! Bounded feed of applied effects of one group: every subscriber sees each event in log order, or learns that it missed some.
//!
//! In: events from `apply`. Out: the same events to any number of subscribers. Bound: [`FEED_EVENTS_MAX`] events; a subscriber that
//! falls further behind gets [`FeedError::Lagged`] and is never waited for. An effect is only a wake-up: what must happen is a row.
//! Not here: executing effects (the node's fan-out).

use std::sync::Arc;

use kith_machine::effect::Effect;
use kith_wire::id::{LogIndex, Term};
use thiserror::Error;
use tokio::sync::broadcast;

/// Events a subscriber may be behind; one more and it has lagged.
pub const FEED_EVENTS_MAX: usize = 1024;

/// What one log entry did, for others to hear.
#[derive(Clone, PartialEq, Debug)]
pub struct AppliedEvent {
    /// The entry.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// In the order of the entry's items; never empty.
    pub effects: Vec<Effect>,
}

/// Why there is no next event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FeedError {
    /// That many events were missed; the next call goes on with the oldest one kept. 0: a snapshot took the place of the state, and of
    /// nobody knows how many events.
    #[error("missed {0} events")]
    Lagged(u64),
    /// The group was closed.
    #[error("the group is closed")]
    Closed,
}

/// A subscription: starts with the first event after it was made.
#[derive(Debug)]
pub struct Feed {
    events: broadcast::Receiver<Arc<AppliedEvent>>,
}

impl Feed {
    /// Waits for the next event. Cancel safe.
    ///
    /// # Errors
    /// See [`FeedError`]; after `Lagged` the feed goes on.
    pub async fn next(&mut self) -> Result<Arc<AppliedEvent>, FeedError> {
        match self.events.recv().await {
            Ok(event) => heard(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Err(FeedError::Lagged(missed)),
            Err(broadcast::error::RecvError::Closed) => Err(FeedError::Closed),
        }
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<AppliedEvent>>, FeedError> {
        match self.events.try_recv() {
            Ok(event) => heard(event).map(Some),
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Err(FeedError::Lagged(missed)),
            Err(broadcast::error::TryRecvError::Closed) => Err(FeedError::Closed),
        }
    }
}

/// An event without effects says that the state was replaced.
fn heard(event: Arc<AppliedEvent>) -> Result<Arc<AppliedEvent>, FeedError> {
    if event.effects.is_empty() { Err(FeedError::Lagged(0)) } else { Ok(event) }
}

/// The publishing side, held by `apply`.
#[derive(Clone, Debug)]
pub(crate) struct FeedSender {
    events: broadcast::Sender<Arc<AppliedEvent>>,
}

impl FeedSender {
    pub(crate) fn new(events_max: usize) -> Self {
        Self { events: broadcast::Sender::new(events_max) }
    }

    /// Nobody listening is as good as anybody.
    pub(crate) fn publish(&self, event: AppliedEvent) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(Arc::new(event));
        }
    }

    /// A snapshot took the place of the state: whoever listens has missed what led to it.
    pub(crate) fn publish_replaced(&self, index: LogIndex, term: Term) {
        self.publish(AppliedEvent { index, term, effects: Vec::new() });
    }

    pub(crate) fn source(&self) -> FeedSource {
        FeedSource { events: self.events.downgrade() }
    }
}

/// Where to subscribe. Does not keep the feed open: it ends with the group, not with the last handle.
#[derive(Clone, Debug)]
pub(crate) struct FeedSource {
    events: broadcast::WeakSender<Arc<AppliedEvent>>,
}

impl FeedSource {
    pub(crate) fn subscribe(&self) -> Feed {
        let events = self.events.upgrade().map_or_else(|| broadcast::channel(1).1, |events| events.subscribe());
        Feed { events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: u64) -> AppliedEvent {
        AppliedEvent { index: LogIndex::new(index), term: Term::new(1), effects: vec![Effect::OwnershipChanged] }
    }

    #[test]
    fn a_laggard_is_told_and_goes_on_with_the_oldest_kept() {
        let sender = FeedSender::new(4);
        let mut feed = sender.source().subscribe();
        (1..=6).for_each(|index| sender.publish(event(index)));
        assert_eq!(feed.try_next(), Err(FeedError::Lagged(2)));
        for index in 3..=6 {
            assert_eq!(feed.try_next().map(|e| e.map(|e| e.index.get())), Ok(Some(index)));
        }
        assert_eq!(feed.try_next(), Ok(None));
        sender.publish_replaced(LogIndex::new(9), Term::new(1));
        assert_eq!(feed.try_next(), Err(FeedError::Lagged(0)), "a snapshot took the place of what nobody heard of");
        drop(sender);
        assert_eq!(feed.try_next(), Err(FeedError::Closed));
    }
}
