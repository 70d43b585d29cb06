//! What the user may see and this device does not hold yet: the index by `user_rev`, then each channel's hole.
//!
//! In: rows, heads, live records, pages, time. Out: the next pull; changes to store; records to show.
//! Invariants: `user_rev` moves only when each row up to it is stored with its hole noted (`Cursor.head`); a channel has one pull
//! in flight. Bounds: `PULLS_MAX` in flight; while the app lags behind (`pause`), live records are noted, not kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use kith_wire::{
    client::{Delivery, DeliveryBody, HistoryPage, HistoryQuery, IndexQuery, Page, Pull},
    code::Code,
    id::{ChannelId, Seq, UserRev},
    limit::{PAGE_RECORDS_MAX, PAGE_ROWS_MAX},
    log::{IndexRow, Record},
};

use super::{
    backoff,
    cursor::{Interval, Live},
};
use crate::{
    error::Error,
    span::Span,
    store::{Change, Cursor},
};

/// How much of a channel that this device has never seen is fetched by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Backfill {
    /// Everything that the user may see.
    All,
    /// The newest records of each channel; older ones when they are asked for.
    Recent(u32),
    /// Nothing, and no live records either: for a client that only writes and asks.
    Off,
}

#[derive(Debug)]
pub(crate) struct Sync {
    backfill: Backfill,
    user_rev: UserRev,
    /// The index is known to stand here.
    target: UserRev,
    /// The index pull under way: pinned end, and the last row of the page before.
    walk: Option<(UserRev, Option<UserRev>)>,
    walk_in_flight: bool,
    walk_not_before: Option<Instant>,
    walk_attempts: u32,
    /// Sorted: what is done for all of them is done in one order.
    channels: BTreeMap<ChannelId, Channel>,
    /// Channels whose hole is to be pulled, and those where that waits, by when.
    ready: VecDeque<ChannelId>,
    delayed: BTreeSet<(Instant, ChannelId)>,
    behind: usize,
    is_paused: bool,
}

#[derive(Debug, Default)]
struct Channel {
    rev: UserRev,
    interval: Interval,
    delayed_to: Option<Instant>,
    is_ready: bool,
    in_flight: bool,
    /// Up to where the pull in flight, or the last one, asked.
    asked: Seq,
    attempts: u32,
}

/// What a pull was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Index,
    Hole(ChannelId),
}

/// What the app is shown.
#[derive(Clone, Debug)]
pub(crate) enum Show {
    Records(ChannelId, Vec<Arc<Record>>),
    Row(Box<IndexRow>),
    /// Records that this user is not to see.
    Gap(ChannelId, Span),
    /// The index is walked anew.
    Resync,
}

/// Outputs of one input: what to store, then what to show.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) changes: Vec<Change>,
    pub(crate) shows: Vec<Show>,
}

impl Sync {
    pub(crate) fn new(backfill: Backfill, user_rev: UserRev, cursors: HashMap<ChannelId, Cursor>, rows: &HashMap<ChannelId, UserRev>) -> Self {
        let mut channels: BTreeMap<ChannelId, Channel> =
            cursors.into_iter().map(|(id, cursor)| (id, Channel { interval: Interval::new(cursor), ..Channel::default() })).collect();
        for (id, rev) in rows {
            channels.entry(*id).or_default().rev = *rev;
        }
        let behind = channels.values().filter(|channel| channel.interval.has_hole()).count();
        Self {
            backfill,
            user_rev,
            target: user_rev,
            walk: None,
            walk_in_flight: false,
            walk_not_before: None,
            walk_attempts: 0,
            channels,
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            behind,
            is_paused: false,
        }
    }
    pub(crate) fn user_rev(&self) -> UserRev {
        self.user_rev
    }
    /// Whether each row that is known to exist is held.
    pub(crate) fn is_reconciled(&self) -> bool {
        self.backfill == Backfill::Off || (self.walk.is_none() && self.user_rev >= self.target)
    }
    /// Channels with records that are known to exist and not held.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }
    /// The app does (not) keep up.
    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }
    pub(crate) fn highest(&self, channel: ChannelId) -> Seq {
        self.channels.get(&channel).map_or(Seq::ZERO, |channel| channel.interval.cursor().head)
    }
    pub(crate) fn handle_connected(&mut self, user_rev: UserRev) {
        self.handle_target(user_rev);
        let holes: Vec<_> = self.channels.iter().filter(|(_, channel)| channel.interval.has_hole()).map(|(id, _)| *id).collect();
        for id in holes {
            self.want(id, None);
        }
    }
    pub(crate) fn handle_disconnected(&mut self) {
        self.walk = None;
        self.walk_in_flight = false;
        self.walk_not_before = None;
        self.ready.clear();
        self.delayed.clear();
        for channel in self.channels.values_mut() {
            channel.delayed_to = None;
            channel.is_ready = false;
            channel.in_flight = false;
            channel.interval.drop_held();
        }
    }
    /// The index stands at `to`.
    pub(crate) fn handle_target(&mut self, to: UserRev) {
        if self.backfill != Backfill::Off {
            self.target = self.target.max(to);
        }
    }
    /// Rows that changed in `(from, to]`, or none: then they are pulled.
    pub(crate) fn handle_moved(&mut self, now: Instant, from: UserRev, to: UserRev, rows: Vec<IndexRow>) -> Step {
        let mut step = Step::default();
        if self.backfill == Backfill::Off || to <= self.user_rev {
            return step;
        }
        self.handle_target(to);
        if from > self.user_rev || rows.is_empty() || self.walk.is_some() {
            return step;
        }
        for row in rows {
            // The live record is likely on its way.
            self.row(row, Some(now + PUSH_WAIT), &mut step);
        }
        self.reconcile(to, &mut step);
        step
    }
    /// A record of this channel exists (an own ack).
    pub(crate) fn handle_head(&mut self, now: Instant, id: ChannelId, head: Seq) {
        if self.backfill != Backfill::Off {
            self.note(id, head, Some(now + PUSH_WAIT));
        }
    }
    pub(crate) fn handle_delivery(&mut self, now: Instant, delivery: Delivery) -> Step {
        let mut step = Step::default();
        let id = delivery.channel;
        let newest = match self.backfill {
            Backfill::Off => return step,
            Backfill::All => u64::MAX,
            Backfill::Recent(newest) => u64::from(newest).max(1),
        };
        match delivery.body {
            DeliveryBody::Stub { at } => self.note(id, at.seq, None),
            DeliveryBody::Whole(record) if self.is_paused => self.note(id, record.at.seq, None),
            DeliveryBody::Whole(record) => {
                let channel = self.channels.entry(id).or_default();
                let had_hole = channel.interval.has_hole();
                channel.interval.begin(record.at.seq, newest);
                let live = channel.interval.handle_live(delivery.prev, Arc::new(record));
                let has_hole = channel.interval.has_hole();
                self.count(had_hole, has_hole);
                match live {
                    Live::Old => {}
                    Live::Hole => self.want(id, Some(now + GAP_WAIT)),
                    Live::Show(records) => self.show(id, records, &mut step),
                }
            }
        }
        step
    }
    /// The next pull, if one is due; the caller sees to it that not too many are in flight.
    pub(crate) fn poll_pull(&mut self) -> Option<(Purpose, Pull)> {
        if self.walk.is_none() && self.user_rev < self.target {
            self.walk = Some((self.target, None));
        }
        if let Some((to, below)) = self.walk.filter(|_| !self.walk_in_flight && self.walk_not_before.is_none()) {
            self.walk_in_flight = true;
            return Some((
                Purpose::Index,
                Pull::Index(IndexQuery { from: self.user_rev, to, below, limit: PAGE_ROWS_MAX as u32, linearizable: false }),
            ));
        }
        if self.is_paused {
            return None;
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            channel.is_ready = false;
            let cursor = channel.interval.cursor();
            if channel.in_flight || !channel.interval.has_hole() {
                continue;
            }
            channel.in_flight = true;
            channel.asked = cursor.head;
            let query = HistoryQuery {
                channel: id,
                first: cursor.max.next(),
                last: cursor.head,
                newest_first: false,
                limit: PAGE_RECORDS_MAX as u32,
                min_seq: cursor.head,
                replica: None,
                linearizable: false,
                place: None,
            };
            return Some((Purpose::Hole(id), Pull::History(query)));
        }
        None
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.walk_not_before = self.walk_not_before.filter(|at| *at > now);
        while let Some(&(_, id)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.want(id, None);
        }
    }
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at).into_iter().chain(self.walk_not_before).min()
    }
    /// Takes the answer to a pull; `spread` is a random number below 1.
    pub(crate) fn handle_page(&mut self, now: Instant, spread: f64, purpose: Purpose, page: Result<Page, Error>) -> Step {
        let mut step = Step::default();
        match (purpose, page) {
            (Purpose::Index, Ok(Page::Index { rows, more, .. })) => self.index_page(rows, more, &mut step),
            (Purpose::Index, Err(error)) if error.code == Code::Resync => {
                // The held version means nothing to the server: walk from the start. Rows and cursors stay, so nothing is shown twice.
                self.walk = None;
                self.walk_in_flight = false;
                self.user_rev = UserRev::ZERO;
                self.channels.values_mut().for_each(|channel| channel.rev = UserRev::ZERO);
                step.changes.push(Change::UserRev(UserRev::ZERO));
                step.shows.push(Show::Resync);
            }
            (Purpose::Index, _) => {
                self.walk_in_flight = false;
                self.walk_not_before = Some(now + backoff(RETRY_MIN, RETRY_MAX, self.walk_attempts, spread));
                self.walk_attempts += 1;
            }
            (Purpose::Hole(id), Ok(Page::History(page))) => self.history_page(now, spread, id, page, &mut step),
            (Purpose::Hole(id), Ok(_)) => self.pull_again(now, spread, id, None),
            (Purpose::Hole(id), Err(error)) if error.is_final() => self.close_hole(now, spread, id, &mut step),
            (Purpose::Hole(id), Err(error)) => self.pull_again(now, spread, id, error.retry_after),
        }
        step
    }

    fn index_page(&mut self, rows: Vec<IndexRow>, more: bool, step: &mut Step) {
        self.walk_in_flight = false;
        self.walk_not_before = None;
        self.walk_attempts = 0;
        let Some((to, _)) = self.walk else { return };
        let last = rows.last().map(|row| row.rev);
        for row in rows {
            self.row(row, None, step);
        }
        if more && last.is_some() {
            self.walk = Some((to, last));
        } else {
            self.walk = None;
            self.reconcile(to, step);
        }
    }
    fn reconcile(&mut self, to: UserRev, step: &mut Step) {
        if to > self.user_rev {
            self.user_rev = to;
            step.changes.push(Change::UserRev(to));
        }
    }
    fn row(&mut self, row: IndexRow, pull_at: Option<Instant>, step: &mut Step) {
        let id = row.news.channel;
        let channel = self.channels.entry(id).or_default();
        if row.rev <= channel.rev {
            return;
        }
        channel.rev = row.rev;
        self.note(id, row.news.head.seq, pull_at);
        if let Some(channel) = self.channels.get(&id) {
            step.changes.push(Change::Cursor(id, channel.interval.cursor()));
        }
        step.changes.push(Change::Row(row.clone()));
        step.shows.push(Show::Row(Box::new(row)));
    }
    fn note(&mut self, id: ChannelId, head: Seq, pull_at: Option<Instant>) {
        let newest = match self.backfill {
            Backfill::Recent(newest) => u64::from(newest),
            _ => u64::MAX,
        };
        let channel = self.channels.entry(id).or_default();
        let had_hole = channel.interval.has_hole();
        channel.interval.begin(head, newest);
        channel.interval.note(head);
        let has_hole = channel.interval.has_hole();
        self.count(had_hole, has_hole);
        if has_hole {
            self.want(id, pull_at);
        }
    }
    /// Has the hole pulled: at that time, or as soon as it is its turn.
    fn want(&mut self, id: ChannelId, at: Option<Instant>) {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| !channel.in_flight && !channel.is_ready) else { return };
        if let Some(delayed_to) = channel.delayed_to {
            if at.is_some_and(|at| at >= delayed_to) {
                return;
            }
            self.delayed.remove(&(delayed_to, id));
        }
        channel.delayed_to = at;
        match at {
            Some(at) => {
                self.delayed.insert((at, id));
            }
            None => {
                channel.is_ready = true;
                self.ready.push_back(id);
            }
        }
    }
    fn show(&self, id: ChannelId, records: Vec<Arc<Record>>, step: &mut Step) {
        let Some(channel) = self.channels.get(&id) else { return };
        if !records.is_empty() {
            step.changes.push(Change::Records(id, records.clone()));
        }
        step.changes.push(Change::Cursor(id, channel.interval.cursor()));
        if !records.is_empty() {
            step.shows.push(Show::Records(id, records));
        }
    }
    fn history_page(&mut self, now: Instant, spread: f64, id: ChannelId, page: HistoryPage, step: &mut Step) {
        let Some(covered) = page.covered else {
            // Empty there. Either nothing of it is this user's, whatever we were told, or that replica is behind.
            let is_over = self.channels.get(&id).is_some_and(|channel| page.head.seq <= channel.interval.cursor().max);
            return if is_over { self.close_hole(now, spread, id, step) } else { self.pull_again(now, spread, id, None) };
        };
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let had_hole = channel.interval.has_hole();
        let max = channel.interval.cursor().max;
        let result = channel.interval.handle_page(page.records, &page.withheld, covered);
        let has_hole = channel.interval.has_hole();
        self.count(had_hole, has_hole);
        match result {
            Ok(records) => {
                self.show(id, records, step);
                // Those that are news; the rest was told with an earlier page.
                let gaps = page.withheld.iter().filter_map(|(first, last)| Span::new((*first).max(max.next()), *last));
                step.shows.extend(gaps.map(|span| Show::Gap(id, span)));
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.in_flight = false;
                    channel.attempts = 0;
                }
                if has_hole {
                    self.want(id, None);
                }
            }
            Err(_) => self.pull_again(now, spread, id, None),
        }
    }
    fn pull_again(&mut self, now: Instant, spread: f64, id: ChannelId, hint: Option<Duration>) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.in_flight = false;
        let delay = hint.unwrap_or_else(|| backoff(RETRY_MIN, RETRY_MAX, channel.attempts, spread));
        channel.attempts += 1;
        self.want(id, Some(now + delay));
    }
    /// There is nothing for this user in what was asked for.
    fn close_hole(&mut self, now: Instant, spread: f64, id: ChannelId, step: &mut Step) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if channel.interval.cursor().head > channel.asked {
            // Meanwhile more was heard of, of which this answer says nothing.
            return self.pull_again(now, spread, id, None);
        }
        channel.in_flight = false;
        channel.attempts = 0;
        let had_hole = channel.interval.has_hole();
        channel.interval.close_hole();
        step.changes.push(Change::Cursor(id, channel.interval.cursor()));
        self.count(had_hole, false);
    }
    fn count(&mut self, had_hole: bool, has_hole: bool) {
        self.behind = self.behind + usize::from(has_hole) - usize::from(had_hole);
    }
}

/// How long a hole may close by itself before it is pulled.
const GAP_WAIT: Duration = Duration::from_millis(200);
/// How long the push of a record that is known by other news may take. Longer: a loaded cluster must not be asked for all that it is about
/// to push.
const PUSH_WAIT: Duration = Duration::from_secs(1);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
