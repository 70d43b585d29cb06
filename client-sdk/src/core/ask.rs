//! Requests and pulls of the app: each may be repeated safely, so each is repeated until it is answered or its time is over.
//!
//! In: requests, pulls, answers, lost connections, time. Out: the next one to send; results by tag.
//! Bound: the caller's (`ASKS_MAX` permits).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use kith_wire::{
    client::{Answer, Page, Pull, Request},
    code::{Code, Retry},
    id::ChannelId,
    log::Position,
};

use super::backoff;
use crate::error::Error;

/// Names a request of the app.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct Tag(pub(crate) u64);

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Request(Request),
    Pull(Pull),
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    Page(Page),
}

#[derive(Debug, Default)]
pub(crate) struct Asks {
    next: u64,
    asks: BTreeMap<Tag, Ask>,
    requests: VecDeque<Tag>,
    pulls: VecDeque<Tag>,
    /// Those that wait, by when they may be sent.
    delayed: BTreeSet<(Instant, Tag)>,
    /// By the end of its time.
    ends: BTreeSet<(Instant, Tag)>,
}

#[derive(Debug)]
struct Ask {
    what: What,
    end: Instant,
    attempts: u32,
    last: Option<Error>,
    in_flight: bool,
    delayed_to: Option<Instant>,
}

impl Asks {
    pub(crate) fn push(&mut self, now: Instant, what: What, within: Duration) -> Tag {
        let tag = Tag(self.next);
        self.next += 1;
        let end = now + within;
        self.ends.insert((end, tag));
        self.asks.insert(tag, Ask { what, end, attempts: 0, last: None, in_flight: false, delayed_to: None });
        self.queue(tag);
        tag
    }
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, tag)) = self.delayed.first().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, tag));
            self.queue(tag);
        }
    }
    pub(crate) fn poll_request(&mut self) -> Option<(Tag, Request)> {
        while let Some(tag) = self.requests.pop_front() {
            // One whose time is over is still queued, but not known any more.
            if let Some(ask) = self.asks.get_mut(&tag)
                && let What::Request(request) = &ask.what
            {
                ask.in_flight = true;
                return Some((tag, request.clone()));
            }
        }
        None
    }
    pub(crate) fn poll_pull(&mut self) -> Option<(Tag, Pull)> {
        while let Some(tag) = self.pulls.pop_front() {
            if let Some(ask) = self.asks.get_mut(&tag)
                && let What::Pull(pull) = &ask.what
            {
                ask.in_flight = true;
                return Some((tag, pull.clone()));
            }
        }
        None
    }
    /// When one that waits may be sent, or one ends.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.delayed.first(), self.ends.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }
    /// Takes an answer; returns the result if it is final.
    pub(crate) fn handle_answer(&mut self, now: Instant, spread: f64, tag: Tag, answer: Result<Reply, Error>) -> Option<Result<Reply, Error>> {
        let ask = self.asks.get_mut(&tag).filter(|ask| ask.in_flight)?;
        let error = match answer {
            Ok(result) => {
                self.remove(tag);
                return Some(Ok(result));
            }
            Err(error) => error,
        };
        // An internal fault is tried once more, then shown with its request id.
        let is_internal = error.code.number() / 1000 == 9 && ask.attempts == 0;
        // Who is told to come after the end of their time is told so at once.
        let is_too_late = error.retry_after.is_some_and(|wait| now + wait >= ask.end);
        if (matches!(error.retry(), Retry::Never) && !is_internal) || is_too_late {
            self.remove(tag);
            return Some(Err(error));
        }
        let delay = error.retry_after.unwrap_or_else(|| backoff(RETRY_MIN, RETRY_MAX, ask.attempts, spread));
        ask.attempts += 1;
        ask.in_flight = false;
        ask.last = Some(error);
        ask.delayed_to = Some(now + delay);
        self.delayed.insert((now + delay, tag));
        None
    }
    /// The channel whose history is asked for.
    pub(crate) fn channel(&self, tag: Tag) -> Option<ChannelId> {
        match &self.asks.get(&tag)?.what {
            What::Pull(Pull::History(query)) => Some(query.channel),
            _ => None,
        }
    }
    /// The read position that is moved.
    pub(crate) fn mark_read(&self, tag: Tag) -> Option<(ChannelId, Position)> {
        match &self.asks.get(&tag)?.what {
            What::Request(Request::MarkRead { channel, read }) => Some((*channel, *read)),
            _ => None,
        }
    }
    pub(crate) fn handle_disconnected(&mut self) {
        let tags: Vec<_> = self.asks.iter().filter(|(_, ask)| ask.in_flight).map(|(tag, _)| *tag).collect();
        for tag in tags {
            if let Some(ask) = self.asks.get_mut(&tag) {
                ask.in_flight = false;
            }
            self.queue(tag);
        }
    }
    /// The next one whose time is over, with the last reason known.
    pub(crate) fn poll_ended(&mut self, now: Instant) -> Option<(Tag, Error)> {
        let &(_, tag) = self.ends.first().filter(|(at, _)| *at <= now)?;
        let ask = self.remove(tag)?;
        Some((tag, ask.last.unwrap_or_else(|| Error::new(Code::Timeout, Code::Timeout.text()))))
    }
    fn queue(&mut self, tag: Tag) {
        let Some(ask) = self.asks.get_mut(&tag) else { return };
        ask.delayed_to = None;
        match ask.what {
            What::Request(_) => self.requests.push_back(tag),
            What::Pull(_) => self.pulls.push_back(tag),
        }
    }
    fn remove(&mut self, tag: Tag) -> Option<Ask> {
        let ask = self.asks.remove(&tag)?;
        self.ends.remove(&(ask.end, tag));
        if let Some(at) = ask.delayed_to {
            self.delayed.remove(&(at, tag));
        }
        Some(ask)
    }
}

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
