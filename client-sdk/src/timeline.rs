//! A conversation as a screen shows it: records and own texts on their way, in one list, around a place.
//!
//! In: records and writes from the client's task (by `board`), calls of the app to see more. Out: a live list. Invariants: records stand by rising seq,
//! each once, then what is on its way in the order of its sending; an own text keeps its id when it becomes a record; what is shown between
//! the first and the last record has no hole. Bounds: what the app loads; a page is `limit::PAGE_RECORDS_MAX` records.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eyeball_im::ObservableVector;
use kith_wire::{
    act::Act,
    client::{HistoryPage, Place},
    id::{ChannelId, ClientSeq, DeviceId, Seq, Timestamp},
    limit::PAGE_RECORDS_MAX,
    log::{Content, Record},
};

use crate::{
    amend::{Touches, amended, touches},
    channel::{Channel, History},
    error::Error,
    list::{DIFFS_MAX, LiveList},
    outgoing::Delivery,
    store::{Change, Span},
};

/// Where a timeline begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Anchor {
    /// The newest record.
    Latest,
    /// The first that this user has not read; without one, the newest.
    FirstUnread,
    /// This record.
    Seq(Seq),
    /// The first record at or after this time, by the server's clock. Needs a connection.
    At(Timestamp),
}

/// Whether there is more in that direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum More {
    /// There may be.
    Yes,
    /// There is not: the beginning, or what is new comes by itself from here on.
    No,
}

/// Names an item for as long as it is in any list of this device: an own text has the same before and after it became a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LocalId(Id);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Id {
    Own(ClientSeq),
    Record(Seq),
}

impl LocalId {
    /// Of an own write, by its number.
    pub const fn own(client_seq: ClientSeq) -> Self {
        Self(Id::Own(client_seq))
    }
    /// The number of an own write.
    pub(crate) const fn client_seq(self) -> Option<ClientSeq> {
        match self.0 {
            Id::Own(client_seq) => Some(client_seq),
            Id::Record(_) => None,
        }
    }
    fn of(record: &Record, device: DeviceId) -> Self {
        let is_own = record.device == device && record.client_seq != ClientSeq::default();
        Self(if is_own { Id::Own(record.client_seq) } else { Id::Record(record.at.seq) })
    }
}

/// As a key of a list: `own-<number>` or `<seq>`.
impl fmt::Display for LocalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Id::Own(client_seq) => write!(f, "own-{client_seq}"),
            Id::Record(seq) => write!(f, "{seq}"),
        }
    }
}

/// An own write that is not a record yet, or never will be.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Its id here.
    pub id: LocalId,
    /// Where to.
    pub channel: ChannelId,
    /// Its number.
    pub client_seq: ClientSeq,
    /// What it will say.
    pub content: Content,
    /// How far it got.
    pub state: Delivery,
}

/// One item of a timeline.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TimelineItem {
    /// A record, as it is now: with its last edit, or that it is gone.
    Record {
        /// Its id here.
        id: LocalId,
        /// The record.
        record: Arc<Record>,
        /// Whether an edit of it has been seen by this list.
        is_edited: bool,
    },
    /// An own text on its way, or refused.
    Echo(Arc<Echo>),
}

impl TimelineItem {
    /// Its id here.
    pub fn id(&self) -> LocalId {
        match self {
            Self::Record { id, .. } => *id,
            Self::Echo(echo) => echo.id,
        }
    }
    /// Its text, if it has one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Record { record, .. } => record.content.text(),
            Self::Echo(echo) => echo.content.text(),
        }
    }
    fn seq(&self) -> Seq {
        match self {
            Self::Record { record, .. } => record.at.seq,
            Self::Echo(_) => Seq::new(u64::MAX),
        }
    }
}

/// What a timeline shows. No IO.
pub(crate) struct Shown {
    device: DeviceId,
    items: ObservableVector<TimelineItem>,
    /// So many of the items are records: the first ones.
    records: usize,
    /// Everything in it that the user may see is shown; `None`: nothing yet.
    span: Option<Span>,
    /// New records follow by themselves.
    at_end: bool,
}

impl Shown {
    pub(crate) fn new(device: DeviceId) -> Self {
        Self { device, items: ObservableVector::with_capacity(DIFFS_MAX), records: 0, span: None, at_end: false }
    }
    /// New records, rising.
    pub(crate) fn handle_records(&mut self, records: &[Arc<Record>]) {
        for record in records {
            if touches(record) != Touches::Nothing {
                self.amend(record);
            }
            if self.at_end {
                self.put(record);
                self.cover(Span { first: record.at.seq, last: record.at.seq });
            }
        }
    }
    /// A part of the history, as it is now.
    fn handle_history(&mut self, records: &[Arc<Record>], span: Span) {
        records.iter().for_each(|record| self.put(record));
        self.cover(span);
    }
    /// A write was stored, or got further.
    pub(crate) fn handle_echo(&mut self, echo: &Echo) {
        let found = self.items.iter().rposition(|item| item.id() == echo.id);
        match found {
            // The record itself was faster.
            Some(at) if at < self.records => {}
            Some(at) => drop(self.items.set(at, TimelineItem::Echo(Arc::new(echo.clone())))),
            None => self.items.push_back(TimelineItem::Echo(Arc::new(echo.clone()))),
        }
    }
    /// An echo that is not to be shown any more.
    pub(crate) fn remove_echo(&mut self, id: LocalId) {
        if let Some(at) = self.items.iter().rposition(|item| item.id() == id).filter(|at| *at >= self.records) {
            self.items.remove(at);
        }
    }
    fn cover(&mut self, span: Span) {
        let whole = self.span.map_or(span, |known| Span { first: known.first.min(span.first), last: known.last.max(span.last) });
        self.span = Some(whole);
    }
    fn put(&mut self, record: &Arc<Record>) {
        // What they change is shown where it is changed.
        if let Content::Act(Act::Edit { target, .. }) = &record.content {
            return self.mark_edited(*target);
        }
        if matches!(record.content, Content::Act(Act::Delete { .. } | Act::React { .. })) {
            return;
        }
        let id = LocalId::of(record, self.device);
        let item = TimelineItem::Record { id, record: Arc::clone(record), is_edited: false };
        match self.find(record.at.seq) {
            Ok(at) => drop(self.items.set(at, item)),
            Err(at) => {
                let echo = self.items.iter().skip(self.records).position(|item| item.id() == id).map(|at| at + self.records);
                match echo {
                    // In its place: one step instead of two.
                    Some(echo) if echo == at => drop(self.items.set(at, item)),
                    echo => {
                        if let Some(echo) = echo {
                            self.items.remove(echo);
                        }
                        self.items.insert(at, item);
                    }
                }
                self.records += 1;
            }
        }
    }
    fn find(&self, seq: Seq) -> Result<usize, usize> {
        // Echoes are last, and sort so.
        self.items.binary_search_by_key(&seq, TimelineItem::seq).map_err(|at| at.min(self.records))
    }
    fn mark_edited(&mut self, target: Seq) {
        if let Ok(at) = self.find(target)
            && let TimelineItem::Record { id, record, is_edited: false } = &self.items[at]
        {
            let item = TimelineItem::Record { id: *id, record: Arc::clone(record), is_edited: true };
            self.items.set(at, item);
        }
    }
    fn amend(&mut self, by: &Record) {
        let is_edit = matches!(by.content, Content::Act(Act::Edit { .. }));
        for at in 0..self.records {
            if let TimelineItem::Record { id, record, is_edited } = &self.items[at]
                && let Some(left) = amended(record, by)
            {
                let item = TimelineItem::Record { id: *id, record: left, is_edited: *is_edited || is_edit };
                self.items.set(at, item);
            }
        }
    }
}

/// A conversation around a place, live. Ends when it and its lists are dropped.
pub struct Timeline {
    channel: Channel,
    shown: Arc<Mutex<Shown>>,
    /// One page at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Channel {
    /// The conversation around a place. What this device holds is shown at once, offline too; what it does not hold is asked from the server.
    ///
    /// # Errors
    /// The store failed. For a place that is not held: as [`crate::Client::request`].
    pub async fn timeline(&self, around: Anchor) -> Result<Timeline, Error> {
        let shown = self.client.boards().open(self.id);
        let timeline = Timeline { channel: self.clone(), shown, turn: tokio::sync::Mutex::new(()) };
        let at = match around {
            Anchor::Latest => None,
            Anchor::Seq(seq) => Some(seq),
            Anchor::FirstUnread => timeline.first_unread().await?,
            Anchor::At(time) => {
                let one = History { place: Some(Place::At(time)), limit: 1, newest_first: false, ..History::default() };
                timeline.pull(one).await?.map(|known| known.span.first)
            }
        };
        timeline.begin(at).await?;
        Ok(timeline)
    }
}

impl Timeline {
    /// The items now and from now on.
    pub fn items(&self) -> LiveList<TimelineItem> {
        LiveList::new(&self.lock().items, Some(Arc::clone(&self.shown) as _))
    }
    /// Shows about `n` more records before those that are shown: from the store, else from the server.
    ///
    /// # Errors
    /// The store failed; or as [`crate::Client::request`].
    pub async fn load_older(&self, n: u16) -> Result<More, Error> {
        let _turn = self.turn.lock().await;
        let Some(span) = self.lock().span else { return Ok(More::No) };
        let last = span.first.prev();
        if last == Seq::ZERO {
            return Ok(More::No);
        }
        let n = clamp(n);
        let known = match self.held(last).await? {
            Some(held) => Some(held),
            None => self.pull(History { last, limit: n as u32, ..History::default() }).await?,
        };
        // Nothing of it is this user's.
        let Some(known) = known.filter(|known| known.span.contains(last)) else { return Ok(More::No) };
        let first = known.span.first.max(Seq::new(last.get().saturating_sub(n - 1)));
        self.show(Span { first, last }, &known).await?;
        Ok(if first > Seq::new(1) { More::Yes } else { More::No })
    }
    /// Shows about `n` more records after those that are shown, until what is new comes by itself.
    ///
    /// # Errors
    /// As [`Timeline::load_older`].
    pub async fn load_newer(&self, n: u16) -> Result<More, Error> {
        let _turn = self.turn.lock().await;
        let (span, at_end) = {
            let shown = self.lock();
            (shown.span, shown.at_end)
        };
        let Some(span) = span.filter(|_| !at_end) else { return Ok(More::No) };
        let first = span.last.next();
        if self.join_end(first).await? {
            return Ok(More::No);
        }
        let n = clamp(n);
        let known = match self.held(first).await? {
            Some(held) => Some(held),
            None => self.pull(History { first, limit: n as u32, newest_first: false, ..History::default() }).await?,
        };
        let Some(known) = known.filter(|known| known.span.contains(first)) else { return Ok(More::No) };
        let last = known.span.last.min(Seq::new(first.get().saturating_add(n - 1)));
        self.show(Span { first, last }, &known).await?;
        Ok(if self.join_end(last.next()).await? { More::No } else { More::Yes })
    }

    /// Shows the first records: around a place, or the newest.
    async fn begin(&self, at: Option<Seq>) -> Result<(), Error> {
        let half = FIRST / 2;
        if let Some(at) = at {
            let held = match self.held(at).await? {
                Some(held) => Some(held),
                None => self.pull(History { place: Some(Place::Around(at)), limit: FIRST as u32, ..History::default() }).await?,
            };
            if let Some(held) = held {
                let first = held.span.first.max(Seq::new(at.get().saturating_sub(half)));
                let last = held.span.last.min(Seq::new(at.get().saturating_add(half)));
                if let Some(span) = Span::new(first, last) {
                    self.show(span, &held).await?;
                    self.join_end(last.next()).await?;
                    return Ok(());
                }
            }
        }
        // What comes from now on is shown; what came before is read then.
        self.lock().at_end = true;
        if let Some(top) = self.spans().await?.last() {
            let first = top.first.max(Seq::new(top.last.get().saturating_sub(FIRST - 1)));
            self.show(Span { first, last: top.last }, &Known::held(*top)).await?;
        } else if let Some(known) = self.pull_if_online(History { limit: FIRST as u32, ..History::default() }).await? {
            self.show(known.span, &known).await?;
        }
        Ok(())
    }
    /// If what grows is held from here on, or nothing is newer: what is new comes by itself from now on.
    async fn join_end(&self, next: Seq) -> Result<bool, Error> {
        let cursor = self.channel.held().await?.unwrap_or_default();
        if next <= cursor.max || next < cursor.from || next <= cursor.head {
            return Ok(false);
        }
        self.lock().at_end = true;
        // What came between looking and joining.
        if let Some(top) = self.spans().await?.last().filter(|top| top.contains(next)) {
            self.show(Span { first: next, last: top.last }, &Known::held(*top)).await?;
        }
        Ok(true)
    }
    async fn first_unread(&self) -> Result<Option<Seq>, Error> {
        let rows = self.channel.client.channels().await?;
        let row = rows.into_iter().find(|summary| summary.channel == self.channel.id());
        Ok(row.filter(|summary| summary.row.read.seq < summary.row.news.head.seq).map(|summary| summary.row.read.seq.next()))
    }
    async fn spans(&self) -> Result<Vec<Span>, Error> {
        self.channel.client.store().spans(self.channel.id()).await.map_err(|error| Error::store("reading the local store", error))
    }
    async fn held(&self, seq: Seq) -> Result<Option<Known>, Error> {
        Ok(self.spans().await?.into_iter().find(|span| span.contains(seq)).map(Known::held))
    }
    /// Shows a part of what is known. What the store holds of it is newer than what a page said.
    async fn show(&self, span: Span, known: &Known) -> Result<(), Error> {
        let held = self.channel.records(span.first, span.last, usize::MAX).await?;
        let pulled: Vec<_> = known.pulled.iter().filter(|record| span.contains(record.at.seq)).cloned().collect();
        let mut shown = self.lock();
        shown.handle_history(&pulled, span);
        shown.handle_history(&held, span);
        Ok(())
    }
    /// Asks the server for a page, and stores it.
    async fn pull(&self, history: History) -> Result<Option<Known>, Error> {
        let page = self.channel.history(history).await?;
        let head = page.head.seq;
        let Some(known) = Known::pulled(page) else { return Ok(None) };
        let change = Change::History { channel: self.channel.id(), records: known.pulled.clone(), span: known.span, head };
        let commit = self.channel.client.store().commit(vec![change]);
        commit.await.map_err(|error| Error::store("writing to the local store", error))?;
        Ok(Some(known))
    }
    async fn pull_if_online(&self, history: History) -> Result<Option<Known>, Error> {
        if self.channel.client.status().get().is_online() { self.pull(history).await } else { Ok(None) }
    }
    fn lock(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shown)
    }
}

/// No code of an app runs under it, so a poisoned one is still whole.
pub(crate) fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part of the history that is known whole.
struct Known {
    span: Span,
    /// What a page said of it; a store that keeps little may have dropped it already.
    pulled: Vec<Arc<Record>>,
}

impl Known {
    fn held(span: Span) -> Self {
        Self { span, pulled: Vec::new() }
    }
    fn pulled(page: HistoryPage) -> Option<Self> {
        let (first, last) = page.covered?;
        let span = Span::new(first, last)?;
        let pulled = page.records.into_iter().filter(|record| span.contains(record.at.seq)).map(Arc::new).collect();
        Some(Self { span, pulled })
    }
}

fn clamp(n: u16) -> u64 {
    u64::from(n).clamp(1, PAGE_RECORDS_MAX as u64)
}

/// Records shown at first.
const FIRST: u64 = 50;
