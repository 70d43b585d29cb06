//! The load of chat: senders with one send in flight each, members who are all online, and whether all of them got everything.
//!
//! In: how many of each, how long. Out: [`Outcome`], the one object that other systems can be measured by too. A text begins with when it was
//! sent, so that whoever gets it knows how long it took. Invariants: only what began after the warm-up is counted; after the load every
//! acked text is looked for in the log, and everyone who was not shown it live pulls it: `missing` is what neither gave.
//! Bounds: one send in flight a sender. Not here: clients with outboxes and resume (the SDK).

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use kith_client::{Error, raw::Session};
use kith_wire::{
    client::{Answer, DeliveryBody, Event, HistoryQuery, Page, Pull, Request, Send, ToClient, ToEdge},
    id::{ChannelId, ClientSeq, RequestId, Seq},
    limit,
    log::{Content, Record},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    BenchError,
    machine::Machine,
    people::{People, ask},
    stage::Stage,
};
use crate::spread::{Percentiles, Spread};

/// Load before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// After the load, for what is under way.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Between two signs of life of a session that says nothing else.
const BEAT: Duration = Duration::from_secs(20);
/// Fewest bytes of a text: when it was sent, and by whom.
pub const PAYLOAD_BYTES_MIN: usize = 24;
/// First number of a session's requests that are sends; below are those of the set-up.
const FIRST_SEND: u64 = 1_000_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Raft groups that hold conversations.
    pub groups: u32,
    /// Senders, each with one send in flight.
    pub senders: usize,
    /// 1: each sender talks to a receiver of its own. More: members of each group chat, senders included.
    pub members: usize,
    /// Group chats, over which the senders are spread; without meaning for one member.
    pub channels: usize,
    /// Bytes of a text.
    pub payload: usize,
    /// Seconds that are counted.
    pub seconds: u64,
    /// Keeps the cluster's data here.
    pub data: Option<PathBuf>,
}

/// What was measured. The names are a contract.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Always `kith`.
    pub system: &'static str,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Senders.
    pub senders: usize,
    /// Members of a conversation besides the sender, or of a group chat.
    pub members: usize,
    /// Bytes of a text.
    pub payload_bytes: usize,
    /// Acked sends a second.
    pub acked_per_s: f64,
    /// From send to ack.
    pub ack_ms: Percentiles,
    /// From send to each receiver.
    pub deliver_ms: Percentiles,
    /// Texts shown to receivers a second.
    pub deliveries_per_s: f64,
    /// Acked and not in the log, or not to be had by someone who should.
    pub missing: u64,
    /// Processor seconds of all nodes for 100,000 acked sends.
    pub server_cpu_s_per_100k_acked: f64,
    /// The same for 100,000 deliveries.
    pub server_cpu_s_per_100k_delivered: f64,
    /// What the disk does, measured before the load.
    pub fdatasync_per_s: f64,
}

/// An outcome, and what is told beside it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The contract.
    pub outcome: Outcome,
    /// The machine before the load.
    pub machine: Machine,
    /// Deliveries that were not pushed and had to be pulled.
    pub pulled: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Load,
    Settle,
    Over,
}

/// A conversation and who sits in it.
struct Room {
    channel: ChannelId,
    seats: Vec<usize>,
}

/// Someone with a session in a room.
struct Seat {
    session: Session,
    channel: ChannelId,
    sender: Option<usize>,
}

/// What a seat has done and seen.
#[derive(Default)]
struct Tally {
    acks: Vec<(Seq, u64)>,
    ack: Spread,
    acked: u64,
    deliver: Spread,
    delivered: u64,
    /// By seq: shown live.
    seen: Vec<bool>,
}

/// When things are counted; all instants by one clock.
#[derive(Clone, Copy)]
struct Window {
    zero: Instant,
    from: Instant,
    to: Instant,
}

impl Window {
    fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_nanos()).unwrap_or(u64::MAX)
    }
    fn at(&self, stamp: u64) -> Instant {
        self.zero + Duration::from_nanos(stamp)
    }
    fn holds(&self, from: Instant, to: Instant) -> bool {
        from >= self.from && to <= self.to
    }
}

/// Measures.
///
/// # Errors
/// The options make no sense, the cluster cannot be run, or a client fails.
pub async fn run(options: &Options) -> Result<Measured, BenchError> {
    check(options)?;
    let stage = Stage::set(options.nodes, options.groups, options.data.clone()).await?;
    let measured = measure(options, &stage).await;
    stage.strike().await;
    measured
}

fn check(options: &Options) -> Result<(), BenchError> {
    let invalid = |text: String| Err(BenchError::Invalid(text));
    let Options { senders, members, channels, payload, .. } = *options;
    if senders == 0 || members == 0 || channels == 0 {
        return invalid("at least one sender, one member and one channel".into());
    }
    if !(PAYLOAD_BYTES_MIN..=limit::TEXT_CHARS_MAX).contains(&payload) {
        return invalid(format!("a text has {PAYLOAD_BYTES_MIN} to {} bytes here", limit::TEXT_CHARS_MAX));
    }
    if members > limit::MEMBERS_MAX {
        return invalid(format!("a group has at most {} members", limit::MEMBERS_MAX));
    }
    if members > 1 && senders > members * channels {
        return invalid(format!("{senders} senders do not fit {channels} groups of {members}: give more channels"));
    }
    Ok(())
}

async fn measure(options: &Options, stage: &Stage) -> Result<Measured, BenchError> {
    let in_all = if options.members == 1 { 2 * options.senders } else { options.members * options.channels };
    let people = People::make(stage, in_all).await?;
    let mut sessions = people.sessions((0..in_all).map(|number| (number, home_of(options, number)))).await?;
    let (rooms, senders) = furnish(options, &people, &mut sessions).await?;
    let room_of: BTreeMap<usize, ChannelId> = rooms.iter().flat_map(|room| room.seats.iter().map(|seat| (*seat, room.channel))).collect();

    let zero = Instant::now();
    let window = Window { zero, from: zero + WARM_UP, to: zero + WARM_UP + Duration::from_secs(options.seconds) };
    let (phase, phase_seen) = watch::channel(Phase::Load);
    let filler: Arc<str> = filler(options.payload).into();
    let mut tasks = JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let Some(channel) = room_of.get(&number).copied() else { continue };
        let seat = Seat { session, channel, sender: senders.iter().position(|sender| *sender == number) };
        let (phase, filler) = (phase_seen.clone(), filler.clone());
        tasks.spawn(async move { (number, sit(seat, window, phase, &filler).await) });
    }
    sleep_until(window.from).await;
    let cpu_before = stage.cpu_seconds();
    sleep_until(window.to).await;
    let cpu = stage.cpu_seconds() - cpu_before;
    phase.send_replace(Phase::Settle);
    sleep_until(Instant::now() + SETTLE_MAX.min(Duration::from_secs(2))).await;
    phase.send_replace(Phase::Over);
    let mut seats = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (number, sat) = done.map_err(|error| BenchError::Io { what: "a client of the load broke off", source: std::io::Error::other(error) })?;
        seats.insert(number, sat?);
    }
    let (missing, pulled) = verify(&rooms, &mut seats).await?;
    people.leave().await;

    let mut all = Tally::default();
    for (_, tally) in seats.values() {
        all.ack.merge(&tally.ack);
        all.deliver.merge(&tally.deliver);
        all.acked += tally.acked;
        all.delivered += tally.delivered;
    }
    let seconds = options.seconds as f64;
    let per_100k = |count: u64| if count == 0 { 0.0 } else { cpu * 100_000.0 / count as f64 };
    let outcome = Outcome {
        system: "kith",
        nodes: options.nodes,
        senders: options.senders,
        members: options.members,
        payload_bytes: options.payload,
        acked_per_s: all.acked as f64 / seconds,
        ack_ms: all.ack.percentiles(),
        deliver_ms: all.deliver.percentiles(),
        deliveries_per_s: all.delivered as f64 / seconds,
        missing,
        server_cpu_s_per_100k_acked: per_100k(all.acked),
        server_cpu_s_per_100k_delivered: per_100k(all.delivered),
        fdatasync_per_s: stage.machine.fdatasync_per_s,
    };
    Ok(Measured { outcome, machine: stage.machine, pulled })
}

/// The node that a person is connected to: a receiver is never where its sender is.
fn home_of(options: &Options, number: usize) -> usize {
    if options.members == 1 && number >= options.senders { number - options.senders + 1 } else { number }
}

/// Makes the rooms; gives them and the seats of the senders.
async fn furnish(options: &Options, people: &People, sessions: &mut [Session]) -> Result<(Vec<Room>, Vec<usize>), BenchError> {
    if options.members == 1 {
        let room = |sender: usize| {
            let receiver = sender + options.senders;
            Room { channel: ChannelId::direct(people.get(sender).user, people.get(receiver).user), seats: vec![sender, receiver] }
        };
        return Ok(((0..options.senders).map(room).collect(), (0..options.senders).collect()));
    }
    let mut rooms = Vec::new();
    for number in 0..options.channels {
        let seats: Vec<usize> = (0..options.members).map(|member| number * options.members + member).collect();
        let others = seats[1..].iter().map(|seat| people.get(*seat).user).collect();
        let channel = people.group(&mut sessions[seats[0]], number as u64 + 1, others).await?;
        rooms.push(Room { channel, seats });
    }
    let senders = (0..options.senders).map(|sender| sender % options.channels * options.members + sender / options.channels).collect();
    Ok((rooms, senders))
}

/// A seat from the first send until all is over.
async fn sit(mut seat: Seat, window: Window, mut phase: watch::Receiver<Phase>, filler: &str) -> Result<(Session, Tally), Error> {
    let mut tally = Tally::default();
    let mut under_way: Option<(u64, Instant, u64)> = None;
    let mut number = 0;
    let mut pulls = FuturesUnordered::new();
    let mut beat_at = Instant::now() + BEAT;
    loop {
        let now_phase = *phase.borrow_and_update();
        if let (Some(sender), None, Phase::Load) = (seat.sender, under_way, now_phase) {
            number += 1;
            let now = Instant::now();
            let stamp = window.stamp(now);
            let text = format!("{stamp:016x}{sender:06x}{}", &filler[..filler.len() - 22]);
            let (client_seq, settled) = (ClientSeq::new(number), ClientSeq::new(number));
            let send = Send { channel: seat.channel, client_seq, settled, text, reply_to: None, mentions: Vec::new() };
            seat.session.add(&ToEdge::Request { id: RequestId::new(FIRST_SEND + number), request: Request::Send(send) });
            under_way = Some((FIRST_SEND + number, now, stamp));
            beat_at = now + BEAT;
        }
        if now_phase == Phase::Over && under_way.is_none() && pulls.is_empty() {
            return Ok((seat.session, tally));
        }
        tokio::select! {
            polled = seat.session.poll() => polled?,
            Some(page) = pulls.next() => if let Page::History(page) = page? {
                page.records.iter().for_each(|record| tally.shown(record, window));
            },
            // The sender lives until all seats have left.
            _ = phase.changed() => {}
            () = sleep_until(beat_at) => {
                seat.session.add(&ToEdge::Beat);
                beat_at = Instant::now() + BEAT;
            }
        }
        while let Some(frame) = seat.session.poll_frame()? {
            match frame {
                ToClient::Answer { id, answer } => {
                    let Some((_, sent, stamp)) = under_way.take_if(|(of, ..)| *of == id.get()) else { continue };
                    match answer {
                        Ok(Answer::Sent { seq, .. }) => tally.acked(seq, stamp, sent, window),
                        Ok(_) => return Err(crate::operator::missing("the seq of a send")),
                        Err(refusal) => return Err(Error::new(refusal.code, refusal.text)),
                    }
                }
                ToClient::Event(Event::Delivery(delivery)) if delivery.channel == seat.channel => match delivery.body {
                    DeliveryBody::Whole(record) => tally.shown(&record, window),
                    DeliveryBody::Stub { at } => pulls.push(seat.session.pull(&history(seat.channel, at.seq, at.seq)).boxed()),
                },
                _ => {}
            }
        }
    }
}

impl Tally {
    fn acked(&mut self, seq: Seq, stamp: u64, sent: Instant, window: Window) {
        let now = Instant::now();
        self.acks.push((seq, stamp));
        if window.holds(sent, now) {
            self.ack.record(now - sent);
            self.acked += 1;
        }
    }
    fn shown(&mut self, record: &Record, window: Window) {
        let now = Instant::now();
        let at = usize::try_from(record.at.seq.get()).unwrap_or(usize::MAX);
        if self.seen.len() <= at {
            self.seen.resize(at + 1, false);
        }
        let is_new = !std::mem::replace(&mut self.seen[at], true);
        if let (true, Some(stamp)) = (is_new, stamp_of(record)) {
            let sent = window.at(stamp);
            if window.holds(sent, now) {
                self.deliver.record(now.saturating_duration_since(sent));
                self.delivered += 1;
            }
        }
    }
    fn has_seen(&self, seq: Seq) -> bool {
        usize::try_from(seq.get()).ok().and_then(|at| self.seen.get(at).copied()).unwrap_or(false)
    }
}

/// Looks for every acked text in the log, and lets everyone pull what they were not shown. Gives how many are missing, and how many were pulled.
async fn verify(rooms: &[Room], seats: &mut BTreeMap<usize, (Session, Tally)>) -> Result<(u64, u64), BenchError> {
    let (mut missing, mut pulled) = (0, 0);
    for room in rooms {
        let acked: BTreeMap<Seq, u64> =
            room.seats.iter().filter_map(|seat| seats.get(seat)).flat_map(|(_, tally)| tally.acks.iter().copied()).collect();
        let Some((last, _)) = acked.last_key_value() else { continue };
        let Some((session, _)) = room.seats.first().and_then(|seat| seats.get_mut(seat)) else { continue };
        let log = read(session, room.channel, Seq::new(1), *last).await?;
        missing += acked.iter().filter(|(seq, stamp)| log.get(seq) != Some(stamp)).count() as u64;
        for seat in &room.seats {
            let Some((session, tally)) = seats.get_mut(seat) else { continue };
            let own: std::collections::HashSet<Seq> = tally.acks.iter().map(|(seq, _)| *seq).collect();
            let unseen: Vec<Seq> = acked.keys().copied().filter(|seq| !own.contains(seq) && !tally.has_seen(*seq)).collect();
            let (Some(from), Some(to)) = (unseen.first(), unseen.last()) else { continue };
            let page = read(session, room.channel, *from, *to).await?;
            let had = unseen.iter().filter(|seq| page.contains_key(seq)).count() as u64;
            pulled += had;
            missing += unseen.len() as u64 - had;
        }
    }
    Ok((missing, pulled))
}

/// The stamps of the log's texts, by seq.
async fn read(session: &mut Session, channel: ChannelId, first: Seq, last: Seq) -> Result<BTreeMap<Seq, u64>, BenchError> {
    // The session may have been told many things meanwhile, which its stream must be rid of.
    ask(session, 1, Request::Discover).await?;
    let (mut found, mut from) = (BTreeMap::new(), first);
    while from <= last {
        let page = match session.pull(&history(channel, from, last)).await? {
            Page::History(page) => page,
            Page::Refused(refusal) => return Err(Error::new(refusal.code, refusal.text).into()),
            _ => return Err(crate::operator::missing("a page of history").into()),
        };
        let Some(end) = page.records.last().map(|record| record.at.seq) else { break };
        found.extend(page.records.iter().filter_map(|record| Some((record.at.seq, stamp_of(record)?))));
        from = end.next();
    }
    Ok(found)
}

fn history(channel: ChannelId, first: Seq, last: Seq) -> Pull {
    let limit = u32::try_from(limit::PAGE_RECORDS_MAX).unwrap_or(u32::MAX);
    Pull::History(HistoryQuery { channel, first, last, newest_first: false, limit, min_seq: last, replica: None, linearizable: false })
}

fn stamp_of(record: &Record) -> Option<u64> {
    match &record.content {
        Content::Text { text, .. } => u64::from_str_radix(text.get(..16)?, 16).ok(),
        _ => None,
    }
}

/// Text that does not compress to nothing: what people write does not either.
fn filler(bytes: usize) -> String {
    const LETTERS: &[u8] = b"etaoin shrdlu cmfwyp vbgkjqxz ETAOIN,.?!";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 33) as usize % LETTERS.len()])
    };
    (0..bytes).map(|_| letter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { nodes: 3, groups: 3, senders: 4, members: 1, channels: 1, payload: 200, seconds: 1, data: None }
    }

    #[test]
    fn senders_that_do_not_fit_are_refused_before_anything_runs() {
        assert!(check(&options()).is_ok());
        assert!(check(&Options { members: 100, senders: 100, ..options() }).is_ok());
        for wrong in [
            Options { members: 3, senders: 4, ..options() },
            Options { members: 101, ..options() },
            Options { payload: 10, ..options() },
            Options { senders: 0, ..options() },
        ] {
            assert!(check(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn receiver_is_never_at_its_senders_node() {
        let options = options();
        for sender in 0..options.senders {
            assert_ne!(home_of(&options, sender) % 3, home_of(&options, sender + options.senders) % 3);
        }
    }

    #[test]
    fn filler_has_the_bytes_that_were_asked_for() {
        assert_eq!(filler(200).len(), 200);
        assert!(filler(PAYLOAD_BYTES_MIN).len() >= 22);
    }
}
