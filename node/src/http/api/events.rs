//! Server-sent events: what has changed since a cursor, then what happens, until the token ends or the node does.
//!
//! In: a listener's news. Out: `message`, `channel`, `receipt`, `typing`, `presence`, `cursor`, `end`. Invariants: an event's id is a cursor that stands for all
//! that was told before it, so that a stream that breaks anywhere is taken up without a loss; a record may be told twice, and a push that was
//! dropped shows as a changed channel. Bounds: a listener's ([`super::live`]); one page of rows at a time.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::{Stream, stream};
use kith_wire::{
    client::{Delivery, DeliveryBody, Event},
    code::Code,
    id::{UserId, UserRev},
    limit,
    log::IndexRow,
};
use serde::Serialize;

use super::{
    Api,
    cursor::IndexCursor,
    extract::Who,
    live::{Live, News},
    metrics::Listens,
    model::{Channel, Message, Position, Presence},
    problem::Problem,
    sync,
};
use crate::clock::Instant;

/// A record, as it is written.
#[derive(Serialize)]
struct Told {
    channel: String,
    /// The seq before it that the user may see: a gap shows at once.
    prev_seq: u64,
    /// Absent when it is too long to be pushed: read it at `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    at: Position,
}

/// Where another member stands.
#[derive(Serialize)]
struct Receipt {
    channel: String,
    user: String,
    read: Position,
    delivered: Position,
}

/// Another member types.
#[derive(Serialize)]
struct Types {
    channel: String,
    user: String,
}

/// Why a stream ends.
#[derive(Serialize)]
struct End {
    code: u16,
    name: &'static str,
}

/// A stream that goes on at the cursor.
pub(super) async fn stream(
    api: Api,
    who: Who,
    cursor: IndexCursor,
    watch: Vec<UserId>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    let live = Live::open(&api, &who.claims).await?;
    live.watch(watch);
    let listens = api.metrics.listens();
    let left = Duration::from_secs(who.claims.expires_s).saturating_sub(Duration::from_millis(api.clock.now().get()));
    let until = api.clock.instant() + left.min(STREAM_MAX);
    let from = match cursor {
        IndexCursor::At(from) | IndexCursor::Within { from, .. } => from,
    };
    if live.user_rev < from {
        return Err(Problem::new(Code::Resync, "the cursor is ahead of all that is known: begin without one"));
    }
    let want = live.user_rev;
    let teller = Teller { api, who, live, held: from, want, told: VecDeque::new(), until, ended: false, _listens: listens };
    let events = stream::unfold(teller, |mut teller| async {
        let sent = teller.next().await?;
        Some((Ok(sent), teller))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One stream.
struct Teller {
    api: Api,
    who: Who,
    live: Live,
    /// All up to here was told.
    held: UserRev,
    /// All up to here is to be told.
    want: UserRev,
    told: VecDeque<Sent>,
    until: Instant,
    ended: bool,
    _listens: Listens,
}

impl Teller {
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.told.pop_front() {
                return Some(sent);
            }
            if self.ended {
                return None;
            }
            if self.held < self.want {
                self.catch_up().await;
                continue;
            }
            // Every branch is cancel safe.
            tokio::select! {
                biased;
                () = self.api.ending.cancelled() => self.end(Code::Draining),
                () = tokio::time::sleep_until(self.until) => self.end(Code::TokenExpired),
                news = self.live.next() => self.take(news),
            }
        }
    }

    /// Tells what has changed between the two, page by page: the cursor comes when all of it was told.
    async fn catch_up(&mut self) {
        let mut cursor = IndexCursor::At(self.held);
        loop {
            match sync::page(&self.api, &self.who.caller, cursor, limit::PAGE_ROWS_MAX as u32).await {
                Ok(round) => {
                    self.rows(&round.rows);
                    cursor = round.next;
                    if let IndexCursor::At(rev) = cursor {
                        self.stands(rev);
                        return;
                    }
                }
                Err(problem) => return self.end(problem.code),
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Event(Event::Delivery(delivery)) => self.tell("message", &told(&delivery)),
            News::Event(Event::IndexMoved { from, to, rows }) if from <= self.held && !rows.is_empty() => {
                self.rows(&rows);
                self.stands(to);
            }
            News::Event(Event::IndexMoved { to, .. } | Event::SyncNeeded { to }) | News::SyncNeeded(to) => self.want = self.want.max(to),
            News::Event(Event::Receipt { channel, user, read, delivered }) => {
                let receipt = Receipt { channel: channel.to_string(), user: user.to_string(), read: read.into(), delivered: delivered.into() };
                self.tell("receipt", &receipt);
            }
            News::Event(Event::Typing { channel, user }) => self.tell("typing", &Types { channel: channel.to_string(), user: user.to_string() }),
            News::Event(Event::Presence(views)) => views.iter().for_each(|view| self.tell("presence", &Presence::from(view))),
            News::Event(Event::GoAway { .. }) | News::GoAway => self.end(Code::Draining),
            News::Bye(why) => self.end(why.code),
        }
    }

    fn rows(&mut self, rows: &[IndexRow]) {
        let user: UserId = self.who.caller.user;
        rows.iter().for_each(|row| self.tell("channel", &Channel::of(row, user)));
    }
    /// Everything up to here was told: where to go on.
    fn stands(&mut self, rev: UserRev) {
        self.held = self.held.max(rev);
        self.want = self.want.max(rev);
        let cursor = IndexCursor::At(self.held).to_string();
        self.told.push_back(Sent::default().event("cursor").id(&cursor).data(cursor));
    }
    fn tell(&mut self, name: &'static str, value: &impl Serialize) {
        match Sent::default().event(name).json_data(value) {
            Ok(sent) => self.told.push_back(sent),
            Err(error) => tracing::error!(cause = %error, "http.events: an event cannot be written"),
        }
    }
    fn end(&mut self, code: Code) {
        self.tell("end", &End { code: code.number(), name: code.name() });
        self.ended = true;
    }
}

fn told(delivery: &Delivery) -> Told {
    let (at, message) = match &delivery.body {
        DeliveryBody::Whole(record) => (record.at, Some(Message::from(record))),
        DeliveryBody::Stub { at } => (*at, None),
    };
    Told { channel: delivery.channel.to_string(), prev_seq: delivery.prev.get(), message, at: at.into() }
}

/// A comment is sent when nothing else was for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream is taken up again at the latest then.
const STREAM_MAX: Duration = Duration::from_secs(24 * 3_600);
