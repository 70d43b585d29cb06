//! Feeds the index with what one group's replica applies.
//!
//! In: the group's feed. Out: changes of the index, each with how far it brings the group. A follower that begins, or has missed something,
//! first reads what it missed (`missed`). Bounds: it takes [`EVENTS_AT_ONCE`] events at once, and waits while the index has no room; the feed
//! tells then that events were missed, and nobody waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kith_machine::{
    effect::Effect,
    mutant::{Mutant, Quirk},
    view::ViewError,
};
use kith_raft::{AppliedEvent, Feed, FeedError, GroupHandle};
use kith_search::{Change, Index, Stand};
use kith_wire::{
    id::{ChannelId, GroupId},
    log::{Content, Record},
};
use tokio::task::spawn_blocking;

use super::{
    Search,
    missed::{self, Trouble},
};

/// One group's.
pub(super) struct Follower {
    pub(super) search: Search,
    pub(super) index: Arc<Index>,
    pub(super) group: GroupHandle,
    ended: AtomicBool,
}

/// Why a follower begins anew.
enum Halt {
    Missed,
    /// Buckets came or went.
    Moved,
    Closed,
}

impl Follower {
    pub(super) fn new(search: Search, index: Arc<Index>, group: GroupHandle) -> Self {
        Self { search, index, group, ended: AtomicBool::new(false) }
    }

    /// Whether the group was closed: a new one needs a new follower.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) async fn run(self: Arc<Self>) {
        let mut anew = false;
        loop {
            // Before anything is read: what is applied after it is heard.
            let mut feed = self.group.feed();
            let halt = match missed::read(&self, &mut feed, anew).await {
                Ok(()) => {
                    self.search.current().insert(self.id());
                    self.listen(&mut feed).await
                }
                Err(Trouble::Missed) => Halt::Missed,
                Err(Trouble::Moved) => Halt::Moved,
                Err(Trouble::Closed) => Halt::Closed,
                Err(Trouble::Rows(error)) => {
                    self.complain(&error);
                    tokio::time::sleep(AGAIN).await;
                    if anew { Halt::Moved } else { Halt::Missed }
                }
            };
            anew = matches!(halt, Halt::Moved);
            // One that only lags is late, but has what it had.
            if matches!(halt, Halt::Closed) {
                self.search.current().remove(&self.id());
                self.ended.store(true, Ordering::Release);
                return;
            }
        }
    }

    /// A group that is being rebuilt serves no rows; that passes.
    fn complain(&self, error: &ViewError) {
        tracing::debug!(node = %self.search.0.node, group = %self.id(), cause = %error, "search.follow: rows cannot be read now");
    }

    async fn listen(&self, feed: &mut Feed) -> Halt {
        loop {
            let first = match feed.next().await {
                Ok(event) => event,
                Err(error) => return halt(error),
            };
            // Others come meanwhile: to be woken for each of them would cost more than to index them.
            tokio::time::sleep(GATHER).await;
            let mut events = vec![first];
            let halted = self.gather(feed, &mut events);
            self.take(&events).await;
            if events.iter().any(|event| event.effects.contains(&Effect::OwnershipChanged)) {
                return Halt::Moved;
            }
            if let Some(halted) = halted {
                return halted;
            }
        }
    }

    fn gather(&self, feed: &mut Feed, events: &mut Vec<Arc<AppliedEvent>>) -> Option<Halt> {
        while events.len() < EVENTS_AT_ONCE {
            match feed.try_next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return Some(halt(error)),
            }
        }
        None
    }

    /// Takes what has come while rows are read.
    ///
    /// # Errors
    /// Something was missed.
    pub(super) async fn take_waiting(&self, feed: &mut Feed) -> Result<(), Trouble> {
        let mut events = Vec::new();
        let halted = self.gather(feed, &mut events);
        self.take(&events).await;
        // A walk that is under way has met what came only where it was still to come.
        if events.iter().any(|event| event.effects.contains(&Effect::OwnershipChanged)) {
            return Err(Trouble::Moved);
        }
        match halted {
            None => Ok(()),
            Some(Halt::Missed | Halt::Moved) => Err(Trouble::Missed),
            Some(Halt::Closed) => Err(Trouble::Closed),
        }
    }

    async fn take(&self, events: &[Arc<AppliedEvent>]) {
        let Some(stand) = self.index.stand(self.id()) else { return };
        let new: Vec<_> = events.iter().filter(|event| event.index > stand.index).collect();
        let Some(last) = new.last() else { return };
        let changes: Vec<Change> = new.iter().flat_map(|event| changes(event, &stand, self.search.0.options.quirk)).collect();
        self.put(changes, Stand { index: last.index, ..stand }).await;
    }

    /// Puts changes into the index once it has room.
    pub(super) async fn put(&self, changes: Vec<Change>, stand: Stand) {
        loop {
            let committed = self.search.0.committed.notified();
            if changes.is_empty() || self.index.has_room() {
                break;
            }
            self.search.0.pressing.notify_one();
            committed.await;
        }
        self.index.put(self.id(), changes, stand);
        if self.index.is_pressing() {
            self.search.0.pressing.notify_one();
        }
    }

    pub(super) fn id(&self) -> GroupId {
        self.group.id()
    }

    /// Reads rows, or the log, off the threads of the runtime.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let follower = self.clone();
        match spawn_blocking(move || work(&follower)).await {
            Ok(done) => done.map_err(Trouble::Rows),
            Err(_) => Err(Trouble::Closed),
        }
    }
}

fn halt(error: FeedError) -> Halt {
    match error {
        FeedError::Lagged(_) => Halt::Missed,
        FeedError::Closed => Halt::Closed,
    }
}

/// What an entry changed, of what is in the index; what is not yet will be read as it is then.
fn changes(event: &AppliedEvent, stand: &Stand, quirk: Quirk) -> Vec<Change> {
    let of = |effect: &Effect| match effect {
        Effect::Appended { channel, record, .. } if stand.covers(*channel, record.at.seq) => put_text(*channel, record, event.index > stand.read),
        Effect::Amended { .. } if quirk.is(Mutant::EditNotIndexed) => None,
        Effect::Amended { channel, record } if stand.covers(*channel, record.at.seq) => now(*channel, record),
        _ => None,
    };
    event.effects.iter().filter_map(of).collect()
}

fn put_text(channel: ChannelId, record: &Arc<Record>, fresh: bool) -> Option<Change> {
    matches!(record.content, Content::Text { .. }).then(|| Change::Put { channel, record: record.clone(), fresh })
}

/// An older record as it reads now.
pub(super) fn now(channel: ChannelId, record: &Arc<Record>) -> Option<Change> {
    match record.content {
        Content::Text { .. } => put_text(channel, record, false),
        Content::Gone { .. } => Some(Change::Remove { channel, seq: record.at.seq }),
        _ => None,
    }
}

/// Events taken together.
const EVENTS_AT_ONCE: usize = 512;
/// How long others are waited for after the first one.
const GATHER: Duration = Duration::from_millis(50);
/// After rows could not be read.
const AGAIN: Duration = Duration::from_millis(500);
