//! Numbered writes: one lane per channel, first in, first out, resent until each has its final answer.
//!
//! In: writes, answers, lost connections, time. Out: the next write to send; what became of each.
//! Invariants: numbers of a lane are dense; n+32 is not sent before n is settled; after a retryable refusal or a gap one write at
//! a time is sent until one is accepted; a write fails only by a final refusal. Bound: the caller's (`limit::OUTBOX_WRITES_MAX`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use kith_wire::{
    act::Act,
    client::{Answer, Request},
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId},
    limit::DEDUP_RING,
    log::Position,
};

use super::backoff;
use crate::{
    error::Error,
    store::{Numbers, StoredWrite},
};

/// What became of a write.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// A record, at this place and time (ms since 1970).
    Sent { at: Position, ts: u64 },
    /// Done without a record, under this id.
    Kept { id: u64 },
    /// A final refusal.
    Failed(Error),
    /// Given up by the app before it stood.
    Discarded,
}

/// One number that is settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) channel: ChannelId,
    pub(crate) client_seq: ClientSeq,
    pub(crate) fate: Fate,
    /// The server knows this device's numbers otherwise than this store: a copy, or a lost tail.
    pub(crate) store_replaced: bool,
    /// What a refused text said.
    pub(crate) refused: Option<Request>,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<ChannelId, Lane>,
    /// Lanes that may have something to send, in turn.
    ready: VecDeque<ChannelId>,
    /// Lanes that wait.
    delayed: BTreeSet<(Instant, ChannelId)>,
    in_flight: usize,
}

#[derive(Debug, Default)]
struct Lane {
    numbers: Numbers,
    items: VecDeque<Item>,
    in_flight: usize,
    /// One at a time, until one is accepted.
    slow: bool,
    not_before: Option<Instant>,
    attempts: u32,
    is_ready: bool,
    /// A number whose Void was refused: what is behind it gets the same answer.
    stuck: Option<(ClientSeq, Error)>,
}

#[derive(Debug)]
struct Item {
    client_seq: ClientSeq,
    body: Body,
    state: State,
    /// The app has given it up: it is not sent any more, and its number is.
    is_discarded: bool,
    /// Lane's first unsettled and highest acked number when this was last sent: tells a stale gap from a real one.
    first_then: ClientSeq,
    acked_then: ClientSeq,
}

#[derive(Debug)]
enum Body {
    Write(Request),
    Void,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    InFlight,
    Settled,
}

impl Outbox {
    pub(crate) fn load(&mut self, numbers: HashMap<ChannelId, Numbers>, writes: Vec<StoredWrite>) {
        self.lanes = numbers.into_iter().map(|(channel, numbers)| (channel, Lane { numbers, ..Lane::default() })).collect();
        for write in writes {
            let lane = self.lanes.entry(write.channel).or_default();
            lane.numbers.last = lane.numbers.last.max(write.client_seq);
            lane.fill(write.client_seq);
            let is_discarded = matches!(write.request, Request::Void { .. });
            let body = if is_discarded { Body::Void } else { Body::Write(write.request) };
            lane.items.push_back(Item { body, is_discarded, ..Item::void(write.client_seq) });
            self.wake(write.channel);
        }
        for lane in self.lanes.values_mut() {
            lane.fill(lane.numbers.last.next());
        }
    }
    /// Takes a write in; `make` puts its number in. Nothing is sent until the caller has stored what is returned.
    pub(crate) fn push(&mut self, channel: ChannelId, make: impl FnOnce(ClientSeq) -> Request) -> StoredWrite {
        let lane = self.lanes.entry(channel).or_default();
        let client_seq = lane.numbers.last.next();
        lane.numbers.last = client_seq;
        let request = make(client_seq);
        lane.items.push_back(Item { body: Body::Write(request.clone()), ..Item::void(client_seq) });
        self.wake(channel);
        StoredWrite { channel, client_seq, request }
    }
    /// Gives a write up that is not answered: what is to be stored for it. If it is on its way, it may still stand. `None`: it is answered.
    pub(crate) fn discard(&mut self, channel: ChannelId, client_seq: ClientSeq, device: DeviceId) -> Option<StoredWrite> {
        let lane = self.lanes.get_mut(&channel)?;
        let index = lane.index_of(client_seq)?;
        let item = lane.items.get_mut(index).filter(|item| item.state != State::Settled && matches!(item.body, Body::Write(_)))?;
        item.is_discarded = true;
        if item.state == State::Waiting {
            item.body = Body::Void;
        }
        self.wake(channel);
        Some(StoredWrite { channel, client_seq, request: void_of(channel, client_seq, device) })
    }
    /// Sends a write again now, whatever its lane waits for. `false`: it is answered.
    pub(crate) fn hurry(&mut self, channel: ChannelId, client_seq: ClientSeq) -> bool {
        let Some(lane) = self.lanes.get_mut(&channel) else { return false };
        let is_there = lane.index_of(client_seq).is_some_and(|index| lane.items[index].state != State::Settled);
        if is_there {
            (lane.not_before, lane.attempts) = (None, 0);
            self.wake(channel);
        }
        is_there
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, channel)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, channel));
            self.wake(channel);
        }
    }
    /// The next write to send, if any may be sent now. Lanes take turns.
    pub(crate) fn poll(&mut self, now: Instant, device: DeviceId) -> Option<(ChannelId, ClientSeq, Request)> {
        while let Some(channel) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&channel) else { continue };
            lane.is_ready = false;
            if let Some(at) = lane.not_before.filter(|at| *at > now) {
                self.delayed.insert((at, channel));
                continue;
            }
            if let Some((client_seq, request)) = lane.poll(channel, device) {
                self.in_flight += 1;
                self.wake(channel);
                return Some((channel, client_seq, request));
            }
        }
        None
    }
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }
    /// When a lane that waits may go on.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }
    /// Whether every write is settled.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.items.is_empty())
    }
    /// All that was sent on the lost connection is sent again, in order.
    pub(crate) fn handle_disconnected(&mut self) {
        self.in_flight = 0;
        let channels: Vec<_> = self.lanes.iter().filter(|(_, lane)| !lane.items.is_empty()).map(|(id, _)| *id).collect();
        for channel in channels {
            if let Some(lane) = self.lanes.get_mut(&channel) {
                lane.in_flight = 0;
                lane.not_before = None;
                lane.items.iter_mut().filter(|item| item.state == State::InFlight).for_each(Item::wait);
            }
            self.wake(channel);
        }
    }
    /// Takes the answer to a write; `spread` is a random number below 1. Returns what is settled by it.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        spread: f64,
        channel: ChannelId,
        client_seq: ClientSeq,
        answer: Result<Answer, Error>,
    ) -> Vec<Settled> {
        let Some(lane) = self.lanes.get_mut(&channel) else { return Vec::new() };
        let Some(index) = lane.index_of(client_seq).filter(|index| lane.items[*index].state == State::InFlight) else { return Vec::new() };
        lane.in_flight -= 1;
        self.in_flight -= 1;
        let is_void = matches!(lane.items[index].body, Body::Void);
        lane.items[index].wait();
        let mut settled = Vec::new();
        match answer {
            Ok(Answer::Sent { seq, cnt, ts, .. }) => {
                lane.accept();
                lane.numbers.acked = lane.numbers.acked.max(client_seq);
                lane.settle(index, is_void, Fate::Sent { at: Position { seq, cnt }, ts: ts.get() }, channel, &mut settled);
            }
            Ok(Answer::Kept { id }) if !is_void => {
                lane.accept();
                lane.numbers.acked = lane.numbers.acked.max(client_seq);
                lane.settle(index, is_void, Fate::Kept { id }, channel, &mut settled);
            }
            Ok(Answer::Voided | Answer::Done | Answer::Kept { .. }) if is_void => {
                lane.accept();
                lane.settle(index, is_void, Fate::Discarded, channel, &mut settled);
            }
            Ok(_) => lane.settle(index, is_void, Fate::Failed(Error::new(Code::Internal, "an answer of another kind")), channel, &mut settled),
            Err(error) if error.code == Code::OutOfSequence => {
                if lane.slow {
                    // Alone on the way and still a gap: not the overtaking that the first one may be.
                    lane.delay(now, spread, None);
                }
                let before = lane.in_flight;
                lane.out_of_sequence(index, error, channel, &mut settled);
                self.in_flight -= before - lane.in_flight;
            }
            Err(error) if error.is_final() => {
                if is_void {
                    lane.stuck = Some((client_seq, error.clone()));
                }
                let replaced = !is_void && matches!(error.code, Code::Conflict | Code::TooOld | Code::Voided);
                lane.settle(index, is_void, Fate::Failed(error), channel, &mut settled);
                settled.iter_mut().for_each(|settled| settled.store_replaced = replaced);
            }
            Err(error) => {
                lane.slow = true;
                lane.delay(now, spread, error.retry_after);
            }
        }
        lane.trim();
        self.wake(channel);
        settled
    }
    fn wake(&mut self, channel: ChannelId) {
        if let Some(lane) = self.lanes.get_mut(&channel).filter(|lane| !lane.is_ready && !lane.items.is_empty()) {
            lane.is_ready = true;
            self.ready.push_back(channel);
        }
    }
}

impl Lane {
    /// Makes the items dense up to below `end`: what is not there any more was settled out of turn.
    fn fill(&mut self, end: ClientSeq) {
        while let Some(next) = self.items.back().map(|back| back.client_seq.next()).filter(|next| *next < end) {
            self.items.push_back(Item { state: State::Settled, ..Item::void(next) });
        }
    }
    fn index_of(&self, client_seq: ClientSeq) -> Option<usize> {
        let first = self.items.front()?.client_seq.get();
        usize::try_from(client_seq.get().checked_sub(first)?).ok().filter(|index| *index < self.items.len())
    }
    fn poll(&mut self, channel: ChannelId, device: DeviceId) -> Option<(ClientSeq, Request)> {
        if self.slow && self.in_flight > 0 {
            return None;
        }
        let first = self.items.front()?.client_seq;
        let acked = self.numbers.acked;
        let item = self.items.iter_mut().take(DEDUP_RING).find(|item| item.state == State::Waiting)?;
        item.state = State::InFlight;
        item.first_then = first;
        item.acked_then = acked;
        self.in_flight += 1;
        let client_seq = item.client_seq;
        let request = match &item.body {
            Body::Void => void_of(channel, client_seq, device),
            Body::Write(request) => with_settled(request.clone(), first),
        };
        Some((client_seq, request))
    }
    fn accept(&mut self) {
        self.slow = false;
        self.attempts = 0;
        self.not_before = None;
    }
    fn delay(&mut self, now: Instant, spread: f64, hint: Option<Duration>) {
        let delay = hint.map_or_else(|| backoff(RETRY_MIN, RETRY_MAX, self.attempts, spread), |after| after.mul_f64(1.0 + spread / 4.0));
        self.attempts += 1;
        self.not_before = Some(now + delay);
    }
    fn settle(&mut self, index: usize, is_void: bool, fate: Fate, channel: ChannelId, out: &mut Vec<Settled>) {
        let item = &mut self.items[index];
        item.state = State::Settled;
        let fate = match fate {
            Fate::Failed(_) if item.is_discarded => Fate::Discarded,
            fate => fate,
        };
        let refused = match std::mem::replace(&mut item.body, Body::Void) {
            Body::Write(request) if matches!(fate, Fate::Failed(_)) && is_text(&request) => Some(request),
            _ => None,
        };
        if !is_void || item.is_discarded {
            out.push(Settled { channel, client_seq: item.client_seq, fate, store_replaced: false, refused });
        }
    }
    fn out_of_sequence(&mut self, index: usize, error: Error, channel: ChannelId, out: &mut Vec<Settled>) {
        self.slow = true;
        let Some(expected) = error.expected else { return };
        let (first, first_then, acked_then) = (self.items[0].client_seq, self.items[index].first_then, self.items[index].acked_then);
        if expected >= first_then {
            // Ahead of a write that is still unsettled, or was when this was sent: the first of the lane goes next.
        } else if expected <= acked_then || first.get() - expected.get() > VOIDS_MAX {
            // What is expected was acked before this was sent: the server lost it, or this store is an old copy.
            for index in 0..self.items.len() {
                if self.items[index].state != State::Settled {
                    let is_void = matches!(self.items[index].body, Body::Void);
                    self.settle(index, is_void, Fate::Failed(error.clone()), channel, out);
                }
            }
            out.iter_mut().for_each(|settled| settled.store_replaced = true);
            self.in_flight = 0;
        } else if let Some((_, refusal)) = self.stuck.clone().filter(|(number, _)| *number == expected) {
            self.settle(index, matches!(self.items[index].body, Body::Void), Fate::Failed(refusal), channel, out);
        } else {
            // Refused before it reached the log (say, at the edge): its number is unused, so it is given up.
            let mut number = first;
            while number > expected {
                number = ClientSeq::new(number.get() - 1);
                self.items.push_front(Item::void(number));
            }
        }
    }
    fn trim(&mut self) {
        while self.items.front().is_some_and(|item| item.state == State::Settled) {
            self.items.pop_front();
        }
        if self.items.is_empty() {
            // So that a lane that is idle for long costs its numbers only.
            self.items.shrink_to_fit();
        }
    }
}

impl Item {
    fn void(client_seq: ClientSeq) -> Self {
        let acked_then = ClientSeq::default();
        Self { client_seq, body: Body::Void, state: State::Waiting, is_discarded: false, first_then: client_seq, acked_then }
    }
    /// It is not under way any more.
    fn wait(&mut self) {
        self.state = State::Waiting;
        if self.is_discarded {
            self.body = Body::Void;
        }
    }
}

fn void_of(channel: ChannelId, client_seq: ClientSeq, device: DeviceId) -> Request {
    Request::Void { channel, device, client_seq, digest: None }
}

/// Whether somebody wrote it, and would not want it to be gone.
fn is_text(request: &Request) -> bool {
    matches!(request, Request::Send(_)) || matches!(request, Request::Act(write) if matches!(write.act, Act::Post(_)))
}

/// The same text under another number.
pub(crate) fn renumbered(mut request: Request, number: ClientSeq) -> Request {
    match &mut request {
        Request::Send(send) => send.client_seq = number,
        Request::ChangeMembers(change) => change.client_seq = number,
        Request::Act(write) => write.client_seq = number,
        _ => {}
    }
    request
}

fn with_settled(mut request: Request, first: ClientSeq) -> Request {
    match &mut request {
        Request::Send(send) => send.settled = first,
        Request::ChangeMembers(change) => change.settled = first,
        Request::Act(write) => write.settled = first,
        _ => {}
    }
    request
}

/// First and longest delay before a write is sent again, when the server named none: a new leader takes about two seconds.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(1_000);
/// Unused numbers that one gap may ask to give up. Beyond it the store is held for an old copy.
const VOIDS_MAX: u64 = 4_096;
