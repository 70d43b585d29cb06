//! Everything at once, in the proportions of a large deployment: sends to 5.5 people each, index updates, deliveries to those who are online,
//! reconnects with sync, heartbeats.
//!
//! In: how fast and how long. Out: [`Outcome`]. Rooms have 6 or 7 members, about half of them online; one speaks, the others who are online do what
//! their room's acked sends say is due: 1,460 deliveries, 194 reconnects and 1,488 heartbeats for 517 sends. A device that comes back pulls its
//! index and what it has not seen. Invariants: those of `tally`. Bounds: one send in flight a room.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kith_client::{Error, raw::Session};
use kith_wire::{
    client::{Answer, DeliveryBody, Event, IndexQuery, Page, Pull, Request, Send, ToClient, ToEdge},
    id::{ChannelId, ClientSeq, Conn, RequestId, Seq, UserRev},
    limit,
};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    BenchError, broke_off,
    people::{Opening, People},
    rate::share,
    stage::Stage,
    strain::Strain,
    tally::{Pen, Room, Tally, Window, history, verify},
};
use crate::{
    clock::{Stopwatch, jitter},
    spread::{Percentiles, Spread},
};

/// Nodes, and Raft groups.
const NODES: usize = 3;
/// Bytes of a text.
const PAYLOAD: usize = 120;
/// Load before anything is counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// After the load, for what is under way; what comes later is pulled.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two looks of a listener at what is due.
const TICK: Duration = Duration::from_millis(100);
/// For 517 sends.
const RECONNECTS: f64 = 194.0 / 517.0;
const BEATS: f64 = 1488.0 / 517.0;
/// First number of a session's requests that are sends.
const FIRST_SEND: u64 = 1_000_000;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rooms, each with one who speaks.
    pub rooms: usize,
    /// Sends a second, all rooms together; as many as they can when `None`.
    pub rate: Option<f64>,
    /// Seconds that are counted.
    pub seconds: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Rooms.
    pub rooms: usize,
    /// Sends a second that were asked for.
    pub offered_per_s: Option<f64>,
    /// Sends a second that were acked.
    pub sent_per_s: f64,
    /// From send to ack.
    pub ack_ms: Percentiles,
    /// From send to each who is online.
    pub deliver_ms: Percentiles,
    /// Texts shown live to others, a second.
    pub deliveries_per_s: f64,
    /// News for user indexes that the sends made, a second: one for each member.
    pub index_refs_per_s: f64,
    /// Devices that came back and synced, a second.
    pub reconnects_per_s: f64,
    /// From the first packet of a device that comes back until it has everything.
    pub reconnect_ms: Percentiles,
    /// Heartbeats answered a second.
    pub beats_per_s: f64,
    /// To pull what was said while a device was away.
    pub recent_ms: Percentiles,
    /// Acked and not in the log, or not to be had by someone who should.
    pub missing: u64,
    /// Deliveries that neither a push nor a sync brought before the end.
    pub pulled: u64,
    /// Processor seconds of all nodes for 100,000 sends with all that goes with them.
    pub server_cpu_s_per_100k_sent: f64,
}

/// An outcome, and what is told beside it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The figures.
    pub outcome: Outcome,
    /// What it took.
    pub strain: Strain,
    /// All latencies from send to ack.
    pub ack: Spread,
    /// All latencies from send to delivery.
    pub deliver: Spread,
    /// The machine before the load.
    pub machine: super::machine::Machine,
}

/// What a room's listeners go by.
#[derive(Default)]
struct Said {
    acked: AtomicU64,
}

/// What someone did besides what a [`Tally`] counts.
#[derive(Default)]
struct Done {
    reconnects: u64,
    beats: u64,
    reconnect: Spread,
    recent: Spread,
}

/// Someone of a room who is online.
struct Seat {
    number: usize,
    channel: ChannelId,
    session: Session,
    tally: Tally,
    said: Arc<Said>,
    window: Window,
    over: watch::Receiver<bool>,
}

type Sat = (usize, Session, Tally, Done);

/// Measures.
///
/// # Errors
/// The options make no sense, the cluster cannot be run, or a client fails.
pub async fn run(options: &Options) -> Result<Measured, BenchError> {
    if options.rooms == 0 || options.rate.is_some_and(|rate| rate <= 0.0) {
        return Err(BenchError::Invalid("at least one room, and a rate above 0".into()));
    }
    let stage = Stage::set(NODES, NODES as u32, None).await?;
    let measured = measure(options, &stage).await;
    stage.strike().await;
    measured
}

/// Members of a room: 6.5 on average.
const fn members(room: usize) -> usize {
    6 + room % 2
}

/// Of them, who is online besides the speaker: 2.82 on average.
const fn listeners(room: usize) -> usize {
    if room % 17 < 14 { 3 } else { 2 }
}

async fn measure(options: &Options, stage: &Stage) -> Result<Measured, BenchError> {
    let in_all: usize = (0..options.rooms).map(members).sum();
    let people = Arc::new(People::make(stage, "load", in_all).await?);
    let (rooms, mut sessions) = furnish(options, &people).await?;
    let window = Window::after(WARM_UP, Duration::from_secs(options.seconds));
    let (over, over_seen) = watch::channel(false);
    let pace = options.rate.map(|rate| Duration::from_secs_f64(options.rooms as f64 / rate));
    let mut tasks: JoinSet<Result<Sat, BenchError>> = JoinSet::new();
    for room in &rooms {
        let said = Arc::new(Said::default());
        for (place, number) in room.seats.iter().copied().enumerate() {
            let Some(session) = sessions.remove(&number) else { continue };
            let tally = Tally::of((place == 0).then_some(number));
            let seat = Seat { number, channel: room.channel, session, tally, said: said.clone(), window, over: over_seen.clone() };
            if place == 0 {
                tasks.spawn(speak(seat, pace));
            } else {
                tasks.spawn(listen(seat, people.clone(), place - 1, room.seats.len() - 1));
            }
        }
    }
    sleep_until(window.from).await;
    let before = stage.sample().await;
    sleep_until(window.to).await;
    let strain = stage.sample().await.since(&before);
    over.send_replace(true);
    let (mut seats, mut all, mut done) = (BTreeMap::new(), Tally::default(), Done::default());
    while let Some(sat) = tasks.join_next().await {
        let (number, session, tally, own) = sat.map_err(broke_off)??;
        all.add(&tally);
        done.add(&own);
        seats.insert(number, (session, tally));
    }
    let (missing, pulled) = verify(&rooms, &mut seats).await?;
    drop(seats);
    if let Ok(people) = Arc::try_unwrap(people) {
        people.leave().await;
    }
    if all.acked == 0 || all.delivered == 0 {
        return Err(BenchError::Untrue(format!("{} acks and {} deliveries were counted", all.acked, all.delivered)));
    }
    let per_s = |count: u64| share(count as f64, options.seconds as f64);
    let refs: usize = (0..options.rooms).map(members).sum();
    let outcome = Outcome {
        rooms: options.rooms,
        offered_per_s: options.rate,
        sent_per_s: per_s(all.acked),
        ack_ms: all.ack.percentiles(),
        deliver_ms: all.deliver.percentiles(),
        deliveries_per_s: per_s(all.delivered),
        index_refs_per_s: per_s(all.acked) * refs as f64 / options.rooms as f64,
        reconnects_per_s: per_s(done.reconnects),
        reconnect_ms: done.reconnect.percentiles(),
        beats_per_s: per_s(done.beats),
        recent_ms: done.recent.percentiles(),
        missing,
        pulled,
        server_cpu_s_per_100k_sent: share(strain.node_cpu_s * 100_000.0, all.acked as f64),
    };
    Ok(Measured { outcome, strain, ack: all.ack, deliver: all.deliver, machine: stage.machine })
}

/// Makes the rooms, and gives the sessions of those who are online; these are the seats.
async fn furnish(options: &Options, people: &People) -> Result<(Vec<Room>, BTreeMap<usize, Session>), BenchError> {
    let (mut rooms, mut online, mut first) = (Vec::new(), Vec::new(), 0);
    for room in 0..options.rooms {
        online.extend(first..=first + listeners(room));
        first += members(room);
    }
    let opened = people.sessions(online.iter().map(|number| (*number, *number))).await?;
    let mut sessions: BTreeMap<usize, Session> = online.into_iter().zip(opened).collect();
    let mut first = 0;
    for room in 0..options.rooms {
        let others = (first + 1..first + members(room)).map(|number| people.get(number).user).collect();
        let maker = sessions.get_mut(&first).ok_or_else(|| crate::operator::missing("the session of a speaker"))?;
        let channel = people.group(maker, 1, others).await?;
        rooms.push(Room { channel, seats: (first..=first + listeners(room)).collect() });
        first += members(room);
    }
    Ok((rooms, sessions))
}

/// One text after the other.
async fn speak(seat: Seat, pace: Option<Duration>) -> Result<Sat, BenchError> {
    let Seat { number, channel, mut session, mut tally, said, window, over } = seat;
    let pen = Pen::new(number, PAYLOAD);
    let mut due = Instant::now() + pace.map_or(Duration::ZERO, |pace| jitter(Duration::ZERO, pace));
    let mut count = 0;
    while !*over.borrow() {
        while Instant::now() < due {
            tokio::select! {
                polled = session.poll() => polled?,
                () = sleep_until(due) => {}
            }
            while session.poll_frame()?.is_some() {}
        }
        count += 1;
        let now = Instant::now();
        let (text, stamp) = pen.write(&window, now);
        let (client_seq, settled) = (ClientSeq::new(count), ClientSeq::new(count));
        let id = RequestId::new(FIRST_SEND + count);
        let send = Send { channel, client_seq, settled, text, reply_to: None, mentions: Vec::new() };
        session.add(&ToEdge::Request { id, request: Request::Send(send) });
        let answer = loop {
            match session.next().await? {
                ToClient::Answer { id: of, answer } if of == id => break answer,
                _ => {}
            }
        };
        match answer {
            Ok(Answer::Sent { seq, .. }) => tally.acked(seq, stamp, now, &window),
            Ok(_) => return Err(crate::operator::missing("the seq of a send").into()),
            Err(refusal) => return Err(Error::new(refusal.code, refusal.text).into()),
        }
        said.acked.fetch_add(1, Relaxed);
        due = now.max(due) + pace.unwrap_or_default();
    }
    sleep(SETTLE).await;
    Ok((number, session, tally, Done::default()))
}

/// Hears what is said, shows that it lives, goes and comes back.
async fn listen(seat: Seat, people: Arc<People>, place: usize, listeners: usize) -> Result<Sat, BenchError> {
    let Seat { number, channel, session, tally, said, window, mut over } = seat;
    let rev = session.welcome().user_rev;
    let mut listener = Listener { number, channel, session, tally, window, rev, conn: 1, done: Done::default() };
    let (mut beaten, mut left) = (0, 0);
    // Those of a room do not all go at once.
    let share = |acked: u64, of: f64| (acked as f64 * of / listeners as f64 + place as f64 / listeners as f64) as u64;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            polled = listener.session.poll() => polled?,
            // Told, or nobody is left to tell.
            _ = over.changed() => break,
            _ = tick.tick() => {
                let acked = said.acked.load(Relaxed);
                if share(acked, RECONNECTS) > left {
                    left += 1;
                    listener.come_back(&people).await?;
                } else {
                    let due = share(acked, BEATS);
                    (beaten..due).for_each(|_| listener.session.add(&ToEdge::Beat));
                    beaten = due.max(beaten);
                }
            }
        }
        listener.hear()?;
    }
    let until = Instant::now() + SETTLE;
    while Instant::now() < until {
        tokio::select! {
            polled = listener.session.poll() => polled?,
            () = sleep_until(until) => {}
        }
        listener.hear()?;
    }
    Ok((number, listener.session, listener.tally, listener.done))
}

/// A device that hears.
struct Listener {
    number: usize,
    channel: ChannelId,
    session: Session,
    tally: Tally,
    window: Window,
    /// Held of its index.
    rev: UserRev,
    conn: u64,
    done: Done,
}

impl Listener {
    /// Takes all frames that are there.
    fn hear(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.session.poll_frame()? {
            match frame {
                ToClient::Event(Event::Delivery(delivery)) if delivery.channel == self.channel => {
                    if let DeliveryBody::Whole(record) = delivery.body {
                        self.tally.shown(&record, &self.window);
                    }
                }
                ToClient::Event(Event::IndexMoved { from, to, .. }) if from <= self.rev => self.rev = to.max(self.rev),
                ToClient::Beat if self.window.is_open() => self.done.beats += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the session, opens it again, and gets everything that was said meanwhile.
    async fn come_back(&mut self, people: &People) -> Result<(), BenchError> {
        let begun = Stopwatch::start();
        self.conn += 1;
        let opening = Opening { conn: Conn::new(self.conn), user_rev: self.rev, ..Opening::default() };
        let session = people.session_as(self.number, self.number, opening).await?;
        // The edge ends the older one as soon as it knows the newer.
        std::mem::replace(&mut self.session, session).close();
        let to = self.session.welcome().user_rev;
        if to > self.rev {
            let query = IndexQuery { from: self.rev, to, below: None, limit: limit::PAGE_ROWS_MAX as u32, linearizable: false };
            let Page::Index { rows, .. } = self.session.pull(&Pull::Index(query)).await? else {
                return Err(crate::operator::missing("a page of the index").into());
            };
            let channel = self.channel;
            for row in rows.iter().filter(|row| row.news.channel == channel) {
                self.pull_unseen(row.news.head.seq).await?;
            }
            self.rev = to;
        }
        if self.window.is_open() {
            self.done.reconnects += 1;
            self.done.reconnect.record(begun.elapsed());
        }
        Ok(())
    }

    async fn pull_unseen(&mut self, head: Seq) -> Result<(), BenchError> {
        let mut from = self.tally.dense().next();
        while from <= head {
            let asked = Stopwatch::start();
            let Page::History(page) = self.session.pull(&history(self.channel, from, head)).await? else {
                return Err(crate::operator::missing("a page of history").into());
            };
            if self.window.is_open() {
                self.done.recent.record(asked.elapsed());
            }
            let Some(last) = page.records.last().map(|record| record.at.seq) else { break };
            page.records.iter().for_each(|record| {
                self.tally.see(record.at.seq);
            });
            from = last.next();
        }
        Ok(())
    }
}

impl Done {
    fn add(&mut self, other: &Self) {
        self.reconnects += other.reconnects;
        self.beats += other.beats;
        self.reconnect.merge(&other.reconnect);
        self.recent.merge(&other.recent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_the_proportions_of_the_target() {
        let rooms = 34 * 5;
        let average = |of: fn(usize) -> usize| (0..rooms).map(of).sum::<usize>() as f64 / rooms as f64;
        assert!((average(members) - 6.5).abs() < 0.01);
        assert!((average(listeners) - 1460.0 / 517.0).abs() < 0.01);
        assert!((0..rooms).all(|room| listeners(room) < members(room)));
    }
}
