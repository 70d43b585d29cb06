//! What the people of a load have done and seen, and whether all of them got everything.
//!
//! In: acks and records as they come. Out: latencies, counts, and after the load what is missing. A text begins with when it was sent and by
//! whom, so that whoever gets it knows how long it took. Invariants: only what began and ended within the [`Window`] is counted; one's own
//! text, shown again, is no delivery; `missing` is what neither the live stream nor a pull gave. Not here: who says what (`chat`, `mixed`).

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use kith_client::{Error, raw::Session};
use kith_wire::{
    client::{HistoryQuery, Page, Pull, Request},
    id::{ChannelId, Seq},
    limit,
    log::{Content, Record},
};
use tokio::time::Instant;

use super::{BenchError, people::ask};
use crate::spread::Spread;

/// Fewest bytes of a text: when it was sent, and by whom.
pub const PAYLOAD_BYTES_MIN: usize = 24;
/// Hexadecimal digits of the stamp, and of the sender after it.
const STAMP_DIGITS: usize = 16;
const SENDER_DIGITS: usize = 6;

/// A conversation and who sits in it.
pub struct Room {
    /// Which.
    pub channel: ChannelId,
    /// Numbers of the people.
    pub seats: Vec<usize>,
}

/// When things are counted; all instants by one clock.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    zero: Instant,
    /// The first moment that counts.
    pub from: Instant,
    /// The last one.
    pub to: Instant,
}

impl Window {
    /// Begins after the warm-up.
    pub fn after(warm_up: Duration, counted: Duration) -> Self {
        let zero = Instant::now();
        Self { zero, from: zero + warm_up, to: zero + warm_up + counted }
    }
    fn stamp(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_nanos()).unwrap_or(u64::MAX)
    }
    fn at(&self, stamp: u64) -> Instant {
        self.zero + Duration::from_nanos(stamp)
    }
    /// Whether what happens now counts.
    pub fn is_open(&self) -> bool {
        let now = Instant::now();
        self.holds(now, now)
    }
    fn holds(&self, from: Instant, to: Instant) -> bool {
        from >= self.from && to <= self.to
    }
}

/// Makes the texts of one sender.
#[derive(Clone, Debug)]
pub struct Pen {
    sender: usize,
    filler: String,
}

impl Pen {
    /// For texts of so many bytes, at least [`PAYLOAD_BYTES_MIN`].
    pub fn new(sender: usize, bytes: usize) -> Self {
        Self { sender, filler: filler(bytes.saturating_sub(STAMP_DIGITS + SENDER_DIGITS)) }
    }
    /// A text that is sent now, and its stamp.
    pub fn write(&self, window: &Window, now: Instant) -> (String, u64) {
        let stamp = window.stamp(now);
        (format!("{stamp:0width$x}{:0digits$x}{}", self.sender, self.filler, width = STAMP_DIGITS, digits = SENDER_DIGITS), stamp)
    }
}

/// What someone has done and seen in one conversation.
#[derive(Default)]
pub struct Tally {
    /// All acked texts of theirs, counted or not: place and stamp.
    pub acks: Vec<(Seq, u64)>,
    /// From send to ack.
    pub ack: Spread,
    /// Acks that count.
    pub acked: u64,
    /// From send to here.
    pub deliver: Spread,
    /// Texts of others that were shown and count.
    pub delivered: u64,
    /// By seq: shown.
    seen: Vec<bool>,
    sender: Option<usize>,
}

impl Tally {
    /// Nothing so far; `sender` is the number that the own texts bear.
    pub fn of(sender: Option<usize>) -> Self {
        Self { sender, ..Self::default() }
    }
    /// An own text was acknowledged just now.
    pub fn acked(&mut self, seq: Seq, stamp: u64, sent: Instant, window: &Window) {
        let now = Instant::now();
        self.acks.push((seq, stamp));
        if window.holds(sent, now) {
            self.ack.record(now - sent);
            self.acked += 1;
        }
    }
    /// A record was shown just now.
    pub fn shown(&mut self, record: &Record, window: &Window) {
        let now = Instant::now();
        if !self.see(record.at.seq) {
            return;
        }
        if let Some((stamp, _)) = stamp_of(record).filter(|(_, sender)| Some(*sender) != self.sender) {
            let sent = window.at(stamp);
            if window.holds(sent, now) {
                self.deliver.record(now.saturating_duration_since(sent));
                self.delivered += 1;
            }
        }
    }
    /// Notes that a record was seen, live or not; whether it is new.
    pub fn see(&mut self, seq: Seq) -> bool {
        let at = usize::try_from(seq.get()).unwrap_or(usize::MAX);
        if self.seen.len() <= at {
            self.seen.resize(at + 1, false);
        }
        !std::mem::replace(&mut self.seen[at], true)
    }
    /// The last seq below which nothing is unseen.
    pub fn dense(&self) -> Seq {
        let end = self.seen.iter().skip(1).position(|seen| !seen).unwrap_or_else(|| self.seen.len().saturating_sub(1));
        Seq::new(end as u64)
    }
    /// Adds the counts and latencies of another.
    pub fn add(&mut self, other: &Self) {
        self.ack.merge(&other.ack);
        self.deliver.merge(&other.deliver);
        self.acked += other.acked;
        self.delivered += other.delivered;
    }
    fn has_seen(&self, seq: Seq) -> bool {
        usize::try_from(seq.get()).ok().and_then(|at| self.seen.get(at).copied()).unwrap_or(false)
    }
}

/// Looks for every acked text in the log, and lets everyone pull what they were not shown. Gives how many are missing, and how many were pulled.
///
/// # Errors
/// A page is refused or does not come.
pub async fn verify(rooms: &[Room], seats: &mut BTreeMap<usize, (Session, Tally)>) -> Result<(u64, u64), BenchError> {
    let (mut missing, mut pulled) = (0, 0);
    for room in rooms {
        let acks: Vec<(Seq, u64)> = room.seats.iter().filter_map(|seat| seats.get(seat)).flat_map(|(_, tally)| tally.acks.iter().copied()).collect();
        let acked: BTreeMap<Seq, u64> = acks.iter().copied().collect();
        let Some((last, _)) = acked.last_key_value() else { continue };
        let Some((session, _)) = room.seats.iter().find(|seat| seats.contains_key(seat)).and_then(|seat| seats.get_mut(seat)) else { continue };
        let log = read(session, room.channel, Seq::new(1), *last).await?;
        missing += lost(&acks, &log);
        for seat in &room.seats {
            let Some((session, tally)) = seats.get_mut(seat) else { continue };
            let own: HashSet<Seq> = tally.acks.iter().map(|(seq, _)| *seq).collect();
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

/// Acks whose text does not stand at its seq. One seq holds one text: of two that were told the same seq, one at least is lost.
fn lost(acks: &[(Seq, u64)], log: &BTreeMap<Seq, u64>) -> u64 {
    let mut told = HashSet::new();
    acks.iter().filter(|(seq, stamp)| !told.insert(*seq) || log.get(seq) != Some(stamp)).count() as u64
}

/// The stamps of the log's texts, by seq.
async fn read(session: &mut Session, channel: ChannelId, first: Seq, last: Seq) -> Result<BTreeMap<Seq, u64>, BenchError> {
    // The session may have been told many things meanwhile, which its stream must be rid of.
    ask(session, 1, Request::Discover { measured: Vec::new(), region: None }).await?;
    let (mut found, mut from) = (BTreeMap::new(), first);
    while from <= last {
        let page = match session.pull(&history(channel, from, last)).await? {
            Page::History(page) => page,
            Page::Refused(refusal) => return Err(Error::new(refusal.code, refusal.text).into()),
            _ => return Err(crate::operator::missing("a page of history").into()),
        };
        let Some(end) = page.records.last().map(|record| record.at.seq) else { break };
        found.extend(page.records.iter().filter_map(|record| Some((record.at.seq, stamp_of(record)?.0))));
        from = end.next();
    }
    Ok(found)
}

/// A pull of all records in the range.
pub fn history(channel: ChannelId, first: Seq, last: Seq) -> Pull {
    let limit = u32::try_from(limit::PAGE_RECORDS_MAX).unwrap_or(u32::MAX);
    Pull::History(HistoryQuery { channel, first, last, newest_first: false, limit, min_seq: last, replica: None, linearizable: false, place: None })
}

/// When a record's text was sent, and by whom; `None` for what no [`Pen`] wrote.
fn stamp_of(record: &Record) -> Option<(u64, usize)> {
    let Content::Text { text, .. } = &record.content else { return None };
    let stamp = u64::from_str_radix(text.get(..STAMP_DIGITS)?, 16).ok()?;
    Some((stamp, usize::from_str_radix(text.get(STAMP_DIGITS..STAMP_DIGITS + SENDER_DIGITS)?, 16).ok()?))
}

/// Text that does not compress to nothing: what people write does not either.
pub fn filler(bytes: usize) -> String {
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
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Timestamp, UserId},
        log::Position,
    };

    use super::*;

    fn record(seq: u64, text: String) -> Record {
        Record {
            at: Position { seq: Seq::new(seq), cnt: seq },
            ts: Timestamp::new(1),
            sender: UserId::new(1),
            incarnation: Incarnation::new(1),
            device: DeviceId::new(1),
            client_seq: ClientSeq::new(seq),
            content: Content::Text { text, reply_to: None, mentions: Vec::new(), extra: None },
        }
    }

    #[tokio::test]
    async fn texts_have_the_bytes_that_were_asked_for_and_say_who_wrote_them() {
        let window = Window::after(Duration::ZERO, Duration::from_secs(60));
        for bytes in [PAYLOAD_BYTES_MIN, 200, 100_000] {
            let (text, stamp) = Pen::new(77, bytes).write(&window, Instant::now());
            assert_eq!(text.len(), bytes);
            assert_eq!(stamp_of(&record(1, text)), Some((stamp, 77)));
        }
        assert_eq!(stamp_of(&record(1, "hello".to_owned())), None);
    }

    #[test]
    fn of_two_acks_of_one_seq_one_is_lost() {
        let log = BTreeMap::from([(Seq::new(1), 10), (Seq::new(2), 20)]);
        let acks = |acks: &[(u64, u64)]| acks.iter().map(|(seq, stamp)| (Seq::new(*seq), *stamp)).collect::<Vec<_>>();
        assert_eq!(lost(&acks(&[(1, 10), (2, 20)]), &log), 0);
        assert_eq!(lost(&acks(&[(1, 10), (2, 20), (2, 20)]), &log), 1);
        assert_eq!(lost(&acks(&[(1, 11), (2, 20), (3, 30)]), &log), 2);
    }

    #[tokio::test]
    async fn own_texts_and_repeats_are_no_deliveries() {
        let window = Window::after(Duration::ZERO, Duration::from_secs(60));
        let text = |sender| Pen::new(sender, 60).write(&window, Instant::now()).0;
        let mut tally = Tally::of(Some(3));
        tally.shown(&record(1, text(3)), &window);
        tally.shown(&record(2, text(4)), &window);
        tally.shown(&record(2, text(4)), &window);
        assert_eq!((tally.delivered, tally.dense()), (1, Seq::new(2)));
        tally.shown(&record(5, text(4)), &window);
        assert_eq!((tally.delivered, tally.dense(), tally.has_seen(Seq::new(4))), (2, Seq::new(2), false));
    }
}
