//! The user's list of conversations, as a screen shows it, and what is unread in all of them.
//!
//! In: rows of the index, from the store and from the client's task. Out: a live list, live totals. Invariants: pinned ones first, then by the newest record;
//! of two rows of a channel the one of the higher version is shown. Bound: the channels of the user.

use std::{
    cmp::Reverse,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eyeball_im::ObservableVector;
use kith_wire::{
    id::{ChannelId, Timestamp},
    log::IndexRow,
};
use tokio::sync::watch;

use crate::{
    client::{ChannelSummary, Client},
    error::Error,
    list::{DIFFS_MAX, LiveList},
    live::Live,
};

/// What is unread, over all conversations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnreadTotals {
    /// Conversations with something unread.
    pub channels: usize,
    /// Texts.
    pub messages: u64,
    /// Of those, how many mention the user.
    pub mentions: usize,
}

pub(crate) struct Summaries {
    items: ObservableVector<ChannelSummary>,
    totals: watch::Sender<UnreadTotals>,
}

impl Default for Summaries {
    fn default() -> Self {
        Self { items: ObservableVector::with_capacity(DIFFS_MAX), totals: watch::Sender::default() }
    }
}

fn place(summary: &ChannelSummary) -> Reverse<(Option<Timestamp>, Timestamp, ChannelId)> {
    Reverse((summary.row.preferences.pinned, summary.row.news.head_ts, summary.channel))
}

impl Summaries {
    /// A row, newer or older than what is shown.
    pub(crate) fn handle_row(&mut self, row: IndexRow) {
        let summary = ChannelSummary::from(row);
        let before = self.items.iter().position(|known| known.channel == summary.channel);
        if before.is_some_and(|at| self.items[at].row.rev > summary.row.rev) {
            return;
        }
        let is_before = |known: &&ChannelSummary| known.channel != summary.channel && place(known) < place(&summary);
        let at = self.items.iter().filter(is_before).count();
        let old = before.map(|at| of(&self.items[at])).unwrap_or_default();
        let new = of(&summary);
        match before {
            Some(known) if known == at => drop(self.items.set(at, summary)),
            Some(known) => {
                self.items.remove(known);
                self.items.insert(at, summary);
            }
            None => self.items.insert(at, summary),
        }
        self.totals.send_if_modified(|totals| {
            let next = UnreadTotals {
                channels: totals.channels + new.channels - old.channels,
                messages: totals.messages + new.messages - old.messages,
                mentions: totals.mentions + new.mentions - old.mentions,
            };
            std::mem::replace(totals, next) != next
        });
    }
}

/// What one conversation adds.
fn of(summary: &ChannelSummary) -> UnreadTotals {
    UnreadTotals { channels: usize::from(summary.unread > 0), messages: summary.unread, mentions: summary.mentions }
}

impl Client {
    /// The user's conversations, live: pinned ones first, then the newest. Archived and left ones are among them: see [`ChannelSummary`]'s row.
    ///
    /// # Errors
    /// The store failed.
    pub async fn live_channels(&self) -> Result<LiveList<ChannelSummary>, Error> {
        let list = self.summaries().await?;
        let items = lock(&list);
        let live = LiveList::new(&items.items, Some(Arc::clone(&list) as _));
        drop(items);
        Ok(live)
    }
    /// What is unread, live.
    ///
    /// # Errors
    /// The store failed.
    pub async fn unread(&self) -> Result<Live<UnreadTotals>, Error> {
        let list = self.summaries().await?;
        let totals = lock(&list).totals.subscribe();
        Ok(Live::held(totals, list))
    }
    async fn summaries(&self) -> Result<Arc<Mutex<Summaries>>, Error> {
        // Told of what comes from now on; what came before is read then.
        let list = self.boards().open_summaries();
        let rows = self.store().rows().await.map_err(|error| Error::store("reading the local store", error))?;
        // Oldest first: each new one is put in front.
        rows.into_iter().rev().for_each(|row| lock(&list).handle_row(row));
        Ok(list)
    }
}

/// No code of an app runs under it.
pub(crate) fn lock(list: &Mutex<Summaries>) -> MutexGuard<'_, Summaries> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
