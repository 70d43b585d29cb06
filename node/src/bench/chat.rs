//! The load of chat: senders with one send in flight each, members who are all online, and whether all of them got everything.
//!
//! In: how many of each, how long, how fast. Out: [`Outcome`], the one object that other systems can be measured by too, and what is told
//! beside it. Invariants: only what began after the warm-up is counted; after the load every acked text is looked for in the log, and everyone
//! who was not shown it live pulls it: `missing` is what neither gave. Bounds: one send in flight a sender.
//! Not here: what is counted and how it is verified (`tally`), clients with outboxes and resume (the SDK).

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use kith_client::{Error, raw::Session};
use kith_wire::{
    client::{Answer, DeliveryBody, Event, Page, Request, Send, ToClient, ToEdge},
    id::{ChannelId, ClientSeq, RequestId},
    limit,
};
use serde::Serialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    BenchError,
    machine::Machine,
    people::People,
    rate::share,
    stage::Stage,
    strain::Strain,
    tally::{PAYLOAD_BYTES_MIN, Pen, Room, Tally, Window, history, verify},
};
use crate::{
    clock::jitter,
    spread::{Percentiles, Spread},
};

/// Load before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// After the load, for what is under way; what comes later is pulled.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two signs of life of a session that says nothing else.
const BEAT: Duration = Duration::from_secs(20);
/// Senders of what is said before the load, and the seconds of one round of it.
const FILLERS: usize = 16;
const FILL_S: u64 = 3;
/// Rounds after which it has taken too long.
const FILL_ROUNDS_MAX: usize = 40;
/// Cores that nodes at rest may use, all together: ticks and heartbeats.
const REST_CORES: f64 = 0.15;
/// Longest wait for it.
const REST_SECONDS_MAX: usize = 90;
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
    /// Texts a second of all senders together; as many as they can when `None`.
    pub rate: Option<f64>,
    /// Bytes of other people's long texts that every node's log takes before the load.
    pub log_bytes_before: usize,
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
    /// Texts shown to others than their senders, a second.
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
    /// What it took.
    pub strain: Strain,
    /// From send to ack, all of them.
    pub ack: Spread,
    /// From send to each receiver, all of them.
    pub deliver: Spread,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Load,
    Settle,
    Over,
}

/// Someone with a session in a room.
struct Seat {
    session: Session,
    channel: ChannelId,
    /// Writes its texts, when it sends.
    pen: Option<Pen>,
    tally: Tally,
    /// Between two sends, when the load is paced.
    pace: Option<Duration>,
}

impl Measured {
    /// For who wants figures of whole runs only.
    ///
    /// # Errors
    /// `Lost`.
    pub fn whole(self) -> Result<Self, BenchError> {
        if self.outcome.missing == 0 { Ok(self) } else { Err(BenchError::Lost(self.outcome.missing)) }
    }
}

/// Measures.
///
/// # Errors
/// The options make no sense, the cluster cannot be run, or a client fails; nothing was counted.
pub async fn run(options: &Options) -> Result<Measured, BenchError> {
    check(options)?;
    let stage = Stage::set(options.nodes, options.groups, options.data.clone()).await?;
    let measured = match fill(options, &stage).await {
        Ok(()) => measure(options, &stage, "load").await,
        Err(failed) => Err(failed),
    };
    stage.strike().await;
    measured
}

/// Lets others say long texts until every log has taken what was asked for, then waits until the nodes have nothing left to do.
async fn fill(options: &Options, stage: &Stage) -> Result<(), BenchError> {
    let long = Options { senders: FILLERS, members: 1, payload: limit::TEXT_CHARS_MAX, seconds: FILL_S, rate: None, ..options.clone() };
    let mut filled = 0;
    for round in 0..FILL_ROUNDS_MAX {
        if filled >= options.log_bytes_before {
            return if round == 0 { Ok(()) } else { come_to_rest(stage).await };
        }
        let outcome = measure(&long, stage, &format!("fill-{round}")).await?.whole()?.outcome;
        filled += (outcome.acked_per_s * FILL_S as f64) as usize * outcome.payload_bytes;
    }
    Err(BenchError::Untrue(format!("{filled} of {} bytes could be said before the load", options.log_bytes_before)))
}

/// Waits until the nodes use next to no processor time.
async fn come_to_rest(stage: &Stage) -> Result<(), BenchError> {
    for _ in 0..REST_SECONDS_MAX {
        let before = stage.cpu_seconds();
        sleep(Duration::from_secs(1)).await;
        if stage.cpu_seconds() - before < REST_CORES {
            return Ok(());
        }
    }
    Err(BenchError::Untrue(format!("the nodes were still at work {REST_SECONDS_MAX} s after what was said before the load")))
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

async fn measure(options: &Options, stage: &Stage, name: &str) -> Result<Measured, BenchError> {
    let in_all = if options.members == 1 { 2 * options.senders } else { options.members * options.channels };
    let people = People::make(stage, name, in_all).await?;
    let mut sessions = people.sessions((0..in_all).map(|number| (number, home_of(options, number)))).await?;
    let (rooms, senders) = furnish(options, &people, &mut sessions).await?;
    let room_of: BTreeMap<usize, ChannelId> = rooms.iter().flat_map(|room| room.seats.iter().map(|seat| (*seat, room.channel))).collect();

    let window = Window::after(WARM_UP, Duration::from_secs(options.seconds));
    let (phase, phase_seen) = watch::channel(Phase::Load);
    let pace = options.rate.map(|rate| Duration::from_secs_f64(options.senders as f64 / rate.max(0.001)));
    let mut tasks = JoinSet::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let Some(channel) = room_of.get(&number).copied() else { continue };
        let sender = senders.iter().position(|sender| *sender == number);
        let pen = sender.map(|sender| Pen::new(sender, options.payload));
        let seat = Seat { session, channel, pen, tally: Tally::of(sender), pace };
        let phase = phase_seen.clone();
        tasks.spawn(async move { (number, sit(seat, window, phase).await) });
    }
    sleep_until(window.from).await;
    let before = stage.sample().await;
    sleep_until(window.to).await;
    let strain = stage.sample().await.since(&before);
    phase.send_replace(Phase::Settle);
    sleep(SETTLE).await;
    phase.send_replace(Phase::Over);
    let mut seats = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (number, sat) = done.map_err(super::broke_off)?;
        seats.insert(number, sat?);
    }
    let (missing, pulled) = verify(&rooms, &mut seats).await?;
    people.leave().await;

    let mut all = Tally::default();
    seats.values().for_each(|(_, tally)| all.add(tally));
    let seconds = options.seconds as f64;
    if all.acked == 0 || all.delivered == 0 {
        return Err(BenchError::Untrue(format!("{} acks and {} deliveries were counted", all.acked, all.delivered)));
    }
    let per_100k = |count: u64| share(strain.node_cpu_s * 100_000.0, count as f64);
    let outcome = Outcome {
        system: "kith",
        nodes: options.nodes,
        senders: options.senders,
        members: options.members,
        payload_bytes: options.payload,
        acked_per_s: share(all.acked as f64, seconds),
        ack_ms: all.ack.percentiles(),
        deliver_ms: all.deliver.percentiles(),
        deliveries_per_s: share(all.delivered as f64, seconds),
        missing,
        server_cpu_s_per_100k_acked: per_100k(all.acked),
        server_cpu_s_per_100k_delivered: per_100k(all.delivered),
        fdatasync_per_s: stage.machine.fdatasync_per_s,
    };
    Ok(Measured { outcome, machine: stage.machine, pulled, strain, ack: all.ack, deliver: all.deliver })
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
async fn sit(seat: Seat, window: Window, mut phase: watch::Receiver<Phase>) -> Result<(Session, Tally), Error> {
    let Seat { mut session, channel, pen, mut tally, pace } = seat;
    // Those who are paced do not all begin at once.
    let mut due = Instant::now() + pace.map_or(Duration::ZERO, |pace| jitter(Duration::ZERO, pace));
    let mut under_way: Option<(u64, Instant, u64)> = None;
    let mut number = 0;
    let mut pulls = FuturesUnordered::new();
    let mut beat_at = Instant::now() + BEAT;
    loop {
        let now_phase = *phase.borrow_and_update();
        let now = Instant::now();
        if let (Some(pen), None, Phase::Load, true) = (&pen, under_way, now_phase, now >= due) {
            number += 1;
            let (text, stamp) = pen.write(&window, now);
            let (client_seq, settled) = (ClientSeq::new(number), ClientSeq::new(number));
            let send = Send { channel, client_seq, settled, text, reply_to: None, mentions: Vec::new() };
            session.add(&ToEdge::Request { id: RequestId::new(FIRST_SEND + number), request: Request::Send(send) });
            under_way = Some((FIRST_SEND + number, now, stamp));
            beat_at = now + BEAT;
            // One that is late has nothing to catch up with: its rate falls.
            due = now.max(due) + pace.unwrap_or_default();
        }
        if now_phase == Phase::Over && under_way.is_none() && pulls.is_empty() {
            return Ok((session, tally));
        }
        tokio::select! {
            polled = session.poll() => polled?,
            Some(page) = pulls.next() => if let Page::History(page) = page? {
                page.records.iter().for_each(|record| tally.shown(record, &window));
            },
            // The sender lives until all seats have left.
            _ = phase.changed() => {}
            () = sleep_until(due), if pace.is_some() && pen.is_some() && under_way.is_none() && now_phase == Phase::Load => {}
            () = sleep_until(beat_at) => {
                session.add(&ToEdge::Beat);
                beat_at = Instant::now() + BEAT;
            }
        }
        while let Some(frame) = session.poll_frame()? {
            match frame {
                ToClient::Answer { id, answer } => {
                    let Some((_, sent, stamp)) = under_way.take_if(|(of, ..)| *of == id.get()) else { continue };
                    match answer {
                        Ok(Answer::Sent { seq, .. }) => tally.acked(seq, stamp, sent, &window),
                        Ok(_) => return Err(crate::operator::missing("the seq of a send")),
                        Err(refusal) => return Err(Error::new(refusal.code, refusal.text)),
                    }
                }
                ToClient::Event(Event::Delivery(delivery)) if delivery.channel == channel => match delivery.body {
                    DeliveryBody::Whole(record) => tally.shown(&record, &window),
                    DeliveryBody::Stub { at } => pulls.push(session.pull(&history(channel, at.seq, at.seq)).boxed()),
                },
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { nodes: 3, groups: 3, senders: 4, members: 1, channels: 1, payload: 200, seconds: 1, rate: None, log_bytes_before: 0, data: None }
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
}
