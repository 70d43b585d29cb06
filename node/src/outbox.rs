//! Per-session outbound queue: what happened, on its way to one client.
//!
//! In: encoded event frames from `fanout::local`. Out: [`Item`]s for `session::driver`, in the order in which they came.
//! Invariants: a push never waits; one that need not wake the driver does so all the same unless the driver has promised to look; what was dropped is followed by a [`Item::SyncNeeded`] or by an index move that came after it; the
//! latest index version is never dropped. Bound: `limit::OUTBOX_FRAMES_MAX` frames and `limit::OUTBOX_BYTES_MAX` bytes, whichever first;
//! then live frames are dropped and index moves shrink to their number until the queue has run empty.
//! Not here: answers to the client's own requests (`session::machine`; bounded by their number), who is interested (`fanout`).

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use kith_wire::{client::Refusal, id::UserRev, limit};

use crate::{
    clock::Instant,
    session::metrics::{OutboxMetrics, OutboxReject},
};

/// The queue of one session; shared by those who push and the driver that drains.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    /// There may be something to drain.
    some: AtomicBool,
    driver: AtomicWaker,
    metrics: Arc<OutboxMetrics>,
}

/// What the driver sends next.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// A whole frame.
    Frame(Bytes),
    /// Something was dropped: the client must pull its index up to here.
    SyncNeeded(UserRev),
    /// The client should connect elsewhere after so many milliseconds.
    GoAway(u32),
    /// The last one: the session ends for this reason.
    Bye(Refusal),
}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It will be sent.
    Queued,
    /// The queue is full, or the session is ending.
    Dropped,
    /// An index move that was kept as a number only.
    Shrunk,
}

impl Outbox {
    /// An empty queue.
    pub fn new(metrics: Arc<OutboxMetrics>) -> Self {
        Self { state: Mutex::default(), some: AtomicBool::new(false), driver: AtomicWaker::new(), metrics }
    }
    /// Queues a frame that may be lost: a live record or a receipt.
    pub fn push(&self, frame: Bytes, now: Instant) -> Pushed {
        self.push_live(frame, now, false)
    }
    /// As [`Outbox::push`], for what the client can wait for: it wakes nobody if the driver will look anyway ([`Outbox::promise`]).
    pub fn push_patiently(&self, frame: Bytes, now: Instant) -> Pushed {
        self.push_live(frame, now, true)
    }
    /// The driver will drain soon, whatever comes: until then nothing patient wakes it.
    pub fn promise(&self) {
        self.lock().promised = true;
    }
    fn push_live(&self, frame: Bytes, now: Instant, patient: bool) -> Pushed {
        let mut state = self.lock();
        if state.last_word.is_some() {
            return Pushed::Dropped;
        }
        if !state.has_room(frame.len()) {
            state.lagging = true;
            self.metrics.reject(OutboxReject::Live);
            return Pushed::Dropped;
        }
        self.queue(&mut state, frame, now);
        let wakes = !(patient && state.promised);
        drop(state);
        if wakes {
            self.wake();
        }
        Pushed::Queued
    }
    /// Queues an index move up to `to`. Without room only the number is kept.
    pub fn push_move(&self, frame: Bytes, to: UserRev, now: Instant) -> Pushed {
        let mut state = self.lock();
        if state.last_word.is_some() {
            return Pushed::Dropped;
        }
        if state.has_room(frame.len()) {
            self.queue(&mut state, frame, now);
            drop(state);
            self.wake();
            return Pushed::Queued;
        }
        state.lagging = true;
        state.latest = state.latest.max(Some(to));
        self.metrics.reject(OutboxReject::Move);
        drop(state);
        self.wake();
        Pushed::Shrunk
    }
    /// Tells the client to pull its index up to here, once the queue has run empty. Never dropped.
    pub fn sync_needed(&self, to: UserRev) {
        let mut state = self.lock();
        state.latest = state.latest.max(Some(to));
        drop(state);
        self.wake();
    }
    /// Tells the client to move. Never dropped; the last one counts.
    pub fn go_away(&self, after_ms: u32) {
        self.lock().go_away = Some(after_ms);
        self.wake();
    }
    /// Ends the session; what is queued is dropped. The first reason counts.
    pub fn close(&self, why: Refusal) {
        let mut state = self.lock();
        self.clear(&mut state);
        state.last_word.get_or_insert(why);
        drop(state);
        self.wake();
    }
    /// Waits until there may be something to drain. Cancel safe.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            self.driver.register(cx.waker());
            if self.some.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    /// Moves items out until about `bytes_max` have been moved (one always fits). Says whether more is waiting.
    pub fn drain(&self, bytes_max: usize, out: &mut Vec<Item>, now: Instant) -> bool {
        let mut state = self.lock();
        state.promised = false;
        if let Some(after_ms) = state.go_away.take() {
            out.push(Item::GoAway(after_ms));
        }
        let mut moved = 0;
        if let Some(oldest) = state.queue.front() {
            self.metrics.wait.observe(now.saturating_duration_since(oldest.at).as_secs_f64());
        }
        while let Some(next) = state.queue.front() {
            if moved > 0 && moved + next.frame.len() > bytes_max {
                return true;
            }
            let Some(next) = state.queue.pop_front() else { break };
            moved += next.frame.len();
            state.bytes -= next.frame.len();
            self.metrics.depth.dec();
            out.push(Item::Frame(next.frame));
        }
        state.lagging = false;
        if let Some(to) = state.latest.take() {
            out.push(Item::SyncNeeded(to));
        }
        if let Some(why) = &state.last_word {
            out.push(Item::Bye(why.clone()));
        }
        false
    }

    fn wake(&self) {
        self.some.store(true, Ordering::Release);
        self.driver.wake();
    }
    fn queue(&self, state: &mut State, frame: Bytes, now: Instant) {
        state.bytes += frame.len();
        state.queue.push_back(Queued { frame, at: now });
        self.metrics.depth.inc();
    }
    fn clear(&self, state: &mut State) {
        self.metrics.depth.dec_by(i64::try_from(state.queue.len()).unwrap_or(i64::MAX));
        state.queue.clear();
        state.bytes = 0;
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot leave the queue in a bad shape: every change is one field after another, none can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.lock());
        self.clear(&mut state);
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    bytes: usize,
    /// Something was dropped since the queue was last empty: all that follows is dropped too, so that what is sent has no hole in it.
    lagging: bool,
    /// The driver will drain without being woken.
    promised: bool,
    /// The latest-value slot.
    latest: Option<UserRev>,
    go_away: Option<u32>,
    last_word: Option<Refusal>,
}
impl State {
    fn has_room(&self, bytes: usize) -> bool {
        !self.lagging && self.queue.len() < limit::OUTBOX_FRAMES_MAX && (self.queue.is_empty() || self.bytes + bytes <= limit::OUTBOX_BYTES_MAX)
    }
}

#[derive(Debug)]
struct Queued {
    frame: Bytes,
    at: Instant,
}

#[cfg(test)]
mod tests {
    use kith_wire::code::Code;
    use proptest::prelude::*;

    use super::*;
    use crate::router::refuse;

    #[derive(Clone, Debug)]
    enum Op {
        Live(usize),
        Move(usize),
        Sync,
        Drain(usize),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            6 => (1..4_096usize).prop_map(Op::Live),
            2 => (1..16_384usize).prop_map(Op::Move),
            1 => Just(Op::Sync),
            2 => (1..65_536usize).prop_map(Op::Drain),
        ];
        prop::collection::vec(op, 0..900)
    }

    fn frame(number: u64, len: usize) -> Bytes {
        let mut raw = vec![0; len.max(8)];
        raw[..8].copy_from_slice(&number.to_be_bytes());
        raw.into()
    }
    fn number(frame: &Bytes) -> u64 {
        u64::from_be_bytes(frame[..8].try_into().unwrap())
    }

    proptest! {
        #[test]
        fn is_bounded_keeps_order_and_the_latest_version(ops in ops()) {
            let outbox = Outbox::new(Arc::new(OutboxMetrics::default()));
            let now = Instant::now();
            let (mut count, mut rev) = (0u64, 0u64);
            let mut out = Vec::new();
            let mut noted = Vec::new();
            for op in ops {
                match op {
                    Op::Live(len) => { count += 1; outbox.push(frame(count, len), now); }
                    Op::Move(len) => {
                        count += 1;
                        rev += 1;
                        noted.push((count, rev));
                        outbox.push_move(frame(count, len), UserRev::new(rev), now);
                    }
                    Op::Sync => { rev += 1; outbox.sync_needed(UserRev::new(rev)); }
                    Op::Drain(bytes) => { outbox.drain(bytes, &mut out, now); }
                }
                let state = outbox.lock();
                prop_assert!(state.queue.len() <= limit::OUTBOX_FRAMES_MAX);
                prop_assert!(state.bytes <= limit::OUTBOX_BYTES_MAX);
                prop_assert_eq!(state.bytes, state.queue.iter().map(|q| q.frame.len()).sum::<usize>());
            }
            while outbox.drain(usize::MAX, &mut out, now) {}
            let noted: std::collections::HashMap<u64, u64> = noted.into_iter().collect();
            let (mut told, mut last) = (0, 0);
            for item in out {
                match item {
                    Item::Frame(frame) => {
                        prop_assert!(number(&frame) > last, "frame {} after {last}", number(&frame));
                        last = number(&frame);
                        told = noted.get(&last).copied().unwrap_or_default().max(told);
                    }
                    Item::SyncNeeded(to) => told = told.max(to.get()),
                    other => prop_assert!(false, "unexpected {other:?}"),
                }
            }
            prop_assert_eq!(told, rev, "the client must know the latest version");
        }
    }

    #[test]
    fn after_an_overflow_nothing_is_queued_until_it_ran_empty() {
        let outbox = Outbox::new(Arc::new(OutboxMetrics::default()));
        let now = Instant::now();
        let queued = (0..limit::OUTBOX_FRAMES_MAX + 10).filter(|n| outbox.push(frame(*n as u64, 10), now) == Pushed::Queued).count();
        assert_eq!(queued, limit::OUTBOX_FRAMES_MAX);
        let mut out = Vec::new();
        assert!(outbox.drain(100, &mut out, now));
        assert_eq!(outbox.push(frame(1, 10), now), Pushed::Dropped, "a hole in the middle of what is sent");
        assert_eq!(outbox.push_move(frame(2, 10), UserRev::new(9), now), Pushed::Shrunk);
        assert!(!outbox.drain(usize::MAX, &mut out, now));
        assert_eq!(out.last(), Some(&Item::SyncNeeded(UserRev::new(9))));
        assert_eq!(outbox.push(frame(3, 10), now), Pushed::Queued);
    }

    #[test]
    fn a_patient_push_wakes_the_driver_unless_it_has_promised_to_look() {
        let outbox = Outbox::new(Arc::new(OutboxMetrics::default()));
        let now = Instant::now();
        let is_awake = || outbox.some.swap(false, Ordering::AcqRel);
        outbox.push_patiently(frame(1, 10), now);
        assert!(is_awake(), "nobody would look");
        outbox.promise();
        outbox.push_patiently(frame(2, 10), now);
        assert!(!is_awake());
        outbox.push(frame(3, 10), now);
        assert!(is_awake());
        let mut out = Vec::new();
        outbox.drain(usize::MAX, &mut out, now);
        assert_eq!(out.iter().map(|item| if let Item::Frame(frame) = item { number(frame) } else { 0 }).collect::<Vec<_>>(), [1, 2, 3]);
        outbox.push_patiently(frame(4, 10), now);
        assert!(is_awake(), "the promise was kept");
    }

    #[test]
    fn a_close_drops_what_is_queued_and_keeps_its_reason() {
        let outbox = Outbox::new(Arc::new(OutboxMetrics::default()));
        let now = Instant::now();
        outbox.push(frame(1, 10), now);
        outbox.close(refuse(Code::Replaced));
        outbox.close(refuse(Code::Draining));
        assert_eq!(outbox.push(frame(2, 10), now), Pushed::Dropped);
        let mut out = Vec::new();
        outbox.drain(usize::MAX, &mut out, now);
        assert_eq!(out, [Item::Bye(refuse(Code::Replaced))]);
    }
}
