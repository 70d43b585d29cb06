//! The lists that the app has open, kept up to date by the client's task; and a mirror of the outbox.
//!
//! In: what the task stored, sent, was answered and was told. Out: changes of lists. Invariants: a list that is opened shows what is on its way; one that
//! nobody holds any more is forgotten. Bounds: the outbox's; the lists that the app holds. Not here: the lists (`timeline`, `summaries`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use eyeball_im::ObservableVector;
use kith_wire::{
    act::Act,
    client::Request,
    id::{ChannelId, ClientSeq, DeviceId},
    log::{Content, IndexRow, Record},
};

use crate::{
    error::Error,
    list::{DIFFS_MAX, LiveList},
    outgoing::Delivery,
    store::{Parked, StoredWrite},
    summaries::{self, Summaries},
    timeline::{Echo, LocalId, Shown, lock},
};

pub(crate) struct Boards {
    device: DeviceId,
    inner: Mutex<Inner>,
}

struct Inner {
    outbox: BTreeMap<(ChannelId, ClientSeq), Echo>,
    /// The same, in the order in which it was stored.
    list: ObservableVector<Echo>,
    /// Texts that were refused.
    failed: BTreeMap<(ChannelId, ClientSeq), Echo>,
    timelines: Vec<(ChannelId, Weak<Mutex<Shown>>)>,
    summaries: Vec<Weak<Mutex<Summaries>>>,
}

impl Boards {
    pub(crate) fn new(device: DeviceId, writes: &[StoredWrite], parked: &[Parked]) -> Self {
        let list = ObservableVector::with_capacity(DIFFS_MAX);
        let mut inner = Inner { outbox: BTreeMap::new(), list, failed: BTreeMap::new(), timelines: Vec::new(), summaries: Vec::new() };
        for Parked { write, code, why } in parked {
            let StoredWrite { channel, client_seq, request } = write;
            let state = Delivery::Failed(Error::new(*code, why.clone()));
            let echo =
                content_of(request).map(|content| Echo { id: LocalId::own(*client_seq), channel: *channel, client_seq: *client_seq, content, state });
            inner.failed.extend(echo.map(|echo| ((*channel, *client_seq), echo)));
        }
        let boards = Self { device, inner: Mutex::new(inner) };
        writes.iter().for_each(|write| boards.handle_stored(write));
        boards
    }
    /// A timeline of a channel, with what is on its way there.
    pub(crate) fn open(&self, channel: ChannelId) -> Arc<Mutex<Shown>> {
        let mut inner = self.lock();
        let mut shown = Shown::new(self.device);
        for echoes in [&inner.failed, &inner.outbox] {
            echoes.range((channel, ClientSeq::default())..).take_while(|((of, _), _)| *of == channel).for_each(|(_, echo)| {
                if is_text(&echo.content) {
                    shown.handle_echo(echo);
                }
            });
        }
        let shown = Arc::new(Mutex::new(shown));
        inner.timelines.retain(|(_, open)| open.strong_count() > 0);
        inner.timelines.push((channel, Arc::downgrade(&shown)));
        shown
    }
    pub(crate) fn outbox(&self) -> LiveList<Echo> {
        LiveList::new(&self.lock().list, None)
    }
    pub(crate) fn failed(&self) -> Vec<Echo> {
        self.lock().failed.values().cloned().collect()
    }
    /// A write is stored.
    pub(crate) fn handle_stored(&self, write: &StoredWrite) {
        let Some(content) = content_of(&write.request) else { return };
        let StoredWrite { channel, client_seq, .. } = *write;
        let echo = Echo { id: LocalId::own(client_seq), channel, client_seq, content, state: Delivery::Queued };
        let mut inner = self.lock();
        inner.list.push_back(echo.clone());
        inner.each(channel, |shown| {
            if is_text(&echo.content) {
                shown.handle_echo(&echo);
            }
        });
        inner.outbox.insert((channel, client_seq), echo);
    }
    /// A write got further. One that is done, or failed, is out of the outbox; a timeline shows it until its record is there.
    pub(crate) fn handle_state(&self, channel: ChannelId, client_seq: ClientSeq, state: &Delivery) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let (outbox, failed) = (&mut inner.outbox, &mut inner.failed);
        let Some(mut echo) = outbox.remove(&(channel, client_seq)).or_else(|| failed.remove(&(channel, client_seq))) else { return };
        echo.state = state.clone();
        let is_over = state.is_over();
        let at = inner.list.iter().position(|known| known.channel == channel && known.client_seq == client_seq);
        match at {
            Some(at) if is_over => drop(inner.list.remove(at)),
            Some(at) => drop(inner.list.set(at, echo.clone())),
            None => {}
        }
        let is_shown = is_text(&echo.content);
        let is_gone = matches!(state, Delivery::Kept(_) | Delivery::Discarded);
        inner.each(channel, |shown| match (is_shown, is_gone) {
            (true, false) => shown.handle_echo(&echo),
            (true, true) => shown.remove_echo(echo.id),
            (false, _) => {}
        });
        match state {
            Delivery::Failed(_) if is_shown => drop(inner.failed.insert((channel, client_seq), echo)),
            _ if is_over => {}
            _ => drop(inner.outbox.insert((channel, client_seq), echo)),
        }
    }
    /// Records that the app is told of.
    pub(crate) fn handle_records(&self, channel: ChannelId, records: &[Arc<Record>]) {
        self.lock().each(channel, |shown| shown.handle_records(records));
    }
    /// A list of conversations, empty so far.
    pub(crate) fn open_summaries(&self) -> Arc<Mutex<Summaries>> {
        let list = Arc::<Mutex<Summaries>>::default();
        let mut inner = self.lock();
        inner.summaries.retain(|open| open.strong_count() > 0);
        inner.summaries.push(Arc::downgrade(&list));
        list
    }
    /// A row that is stored.
    pub(crate) fn handle_row(&self, row: &IndexRow) {
        self.lock().summaries.retain(|open| match open.upgrade() {
            Some(list) => {
                summaries::lock(&list).handle_row(row.clone());
                true
            }
            None => false,
        });
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of an app runs under it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn each(&mut self, channel: ChannelId, mut change: impl FnMut(&mut Shown)) {
        self.timelines.retain(|(of, open)| match open.upgrade() {
            Some(shown) => {
                if *of == channel {
                    change(&mut lock(&shown));
                }
                true
            }
            None => false,
        });
    }
}

fn is_text(content: &Content) -> bool {
    matches!(content, Content::Text { .. })
}

/// What a write will say; `None`: it is no numbered write.
fn content_of(request: &Request) -> Option<Content> {
    Some(match request {
        Request::Send(send) => Content::Text { text: send.text.clone(), reply_to: send.reply_to, mentions: send.mentions.clone(), extra: None },
        Request::Act(write) => match &write.act {
            Act::Post(draft) => {
                Content::Text { text: draft.text.clone(), reply_to: draft.reply_to, mentions: draft.mentions.clone(), extra: draft.extra() }
            }
            act => Content::Act(act.clone()),
        },
        Request::ChangeMembers(change) => Content::Members(change.change),
        _ => return None,
    })
}
