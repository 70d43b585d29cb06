//! The forwarding core: what becomes of each frame on each link, and when. Pure: time and frames come in, frames go out.
//!
//! In: frames with the time of their arrival, rules by direction. Out: frames by the time at which they are due. Invariants: the fate of a direction's n-th frame under a
//! rule follows from the rule's seed, the direction and n alone, so the same seed and frames give the same fates, whatever other links carry; without a rule a
//! frame goes on at once. Bounds: [`FRAMES_MAX`] frames and [`BYTES_MAX`] bytes wait; more is dropped, and counted. Not here: where frames come from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use serde::Serialize;

use super::frame;
use crate::seed::Chance;

/// Frames that wait, over all links; beyond it, dropped, as a full switch does.
const FRAMES_MAX: usize = 16_384;
/// Bytes of frames that wait.
const BYTES_MAX: usize = 16 << 20;

/// What a direction of a link does to frames. Shares are of a hundred.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Dropped.
    pub lost: u64,
    /// Delivered twice, the copy with a delay of its own.
    pub duplicated: u64,
    /// Delivered with a byte changed.
    pub corrupted: u64,
    /// Mean delay.
    pub delay: Duration,
    /// Around the mean, evenly; with it, frames overtake.
    pub jitter: Duration,
    /// Delivered a second time much later, up to `replay_within` after the first.
    pub replayed: u64,
    /// Longest time until the second delivery.
    pub replay_within: Duration,
}

/// What was done to frames so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counters {
    /// Frames handed on, copies among them.
    pub forwarded: u64,
    /// Dropped by a rule.
    pub lost: u64,
    /// Copied.
    pub duplicated: u64,
    /// Changed.
    pub corrupted: u64,
    /// Held for a while by a rule.
    pub delayed: u64,
    /// Handed on after one that had come later on the same way.
    pub reordered: u64,
    /// Recorded and sent again.
    pub replayed: u64,
    /// Dropped because too much waited.
    pub overflowed: u64,
}

impl Counters {
    /// What was done since.
    pub fn since(&self, before: &Counters) -> Counters {
        Counters {
            forwarded: self.forwarded - before.forwarded,
            lost: self.lost - before.lost,
            duplicated: self.duplicated - before.duplicated,
            corrupted: self.corrupted - before.corrupted,
            delayed: self.delayed - before.delayed,
            reordered: self.reordered - before.reordered,
            replayed: self.replayed - before.replayed,
            overflowed: self.overflowed - before.overflowed,
        }
    }

    /// Frames to which something was done.
    pub fn touched(&self) -> u64 {
        self.lost + self.duplicated + self.corrupted + self.delayed + self.reordered + self.replayed
    }
}

/// One way of a link.
#[derive(Clone, Debug)]
struct Way {
    rule: Option<(Rule, Chance)>,
    taken: u64,
    /// Highest number handed on.
    given: u64,
}

/// A frame that waits. The order is that of its due time, then of arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Waiting {
    due: Duration,
    number: u64,
    way: usize,
    /// Number on its way; none for copies, which overtake nobody.
    place: Option<u64>,
    frame: Vec<u8>,
}

/// All links of a switch, and what is under way on them.
#[derive(Debug)]
pub(super) struct Links {
    ports: usize,
    ways: Vec<Way>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    bytes: usize,
    number: u64,
    counters: Counters,
}

impl Links {
    pub(super) fn new(ports: usize) -> Self {
        let way = Way { rule: None, taken: 0, given: 0 };
        Self { ports, ways: vec![way; ports * ports], waiting: BinaryHeap::new(), bytes: 0, number: 0, counters: Counters::default() }
    }

    /// Sets the rule of one way, which begins anew with this seed.
    pub(super) fn rule(&mut self, from: usize, to: usize, rule: Rule, seed: u64) {
        let way = from * self.ports + to;
        self.ways[way].rule = Some((rule, Chance::new(Chance::new(seed).draw() ^ way as u64)));
    }

    /// Forgets all rules; what waits comes in its time.
    pub(super) fn clear(&mut self) {
        self.ways.iter_mut().for_each(|way| way.rule = None);
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a frame that came in at a port and goes to another.
    pub(super) fn take(&mut self, now: Duration, from: usize, to: usize, frame: &[u8]) {
        let way = from * self.ports + to;
        let place = self.ways[way].taken + 1;
        self.ways[way].taken = place;
        let Some((rule, chance)) = &mut self.ways[way].rule else {
            return self.queue(now, way, Some(place), frame.to_vec());
        };
        let rule = *rule;
        // The same number of draws for each frame, whatever becomes of it: the next one's fate is its own.
        let [lost, corrupted, byte, delay, duplicated, delay_of_copy, replayed, replay_after] = std::array::from_fn(|_| chance.draw());
        let is_hit = |draw: u64, share: u64| draw % 100 < share;
        let after = |draw: u64| {
            let (mean, jitter) = (rule.delay.as_micros() as u64, (rule.jitter.as_micros() as u64).min(rule.delay.as_micros() as u64));
            Duration::from_micros(mean - jitter + draw % (2 * jitter + 1))
        };
        if is_hit(replayed, rule.replayed) {
            self.counters.replayed += 1;
            let later = Duration::from_micros(replay_after % (rule.replay_within.as_micros() as u64).max(1));
            self.queue(now + rule.delay + later, way, None, frame.to_vec());
        }
        if is_hit(lost, rule.lost) {
            self.counters.lost += 1;
            return;
        }
        let mut frame = frame.to_vec();
        if is_hit(duplicated, rule.duplicated) {
            self.counters.duplicated += 1;
            self.queue(now + after(delay_of_copy), way, None, frame.clone());
        }
        if is_hit(corrupted, rule.corrupted) && frame::corrupt(&mut frame, byte) {
            self.counters.corrupted += 1;
        }
        let delay = after(delay);
        self.counters.delayed += u64::from(!delay.is_zero());
        self.queue(now + delay, way, Some(place), frame);
    }

    fn queue(&mut self, due: Duration, way: usize, place: Option<u64>, frame: Vec<u8>) {
        if self.waiting.len() >= FRAMES_MAX || self.bytes + frame.len() > BYTES_MAX {
            self.counters.overflowed += 1;
            return;
        }
        self.number += 1;
        self.bytes += frame.len();
        self.waiting.push(Reverse(Waiting { due, number: self.number, way, place, frame }));
    }

    /// When the next frame is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.peek().map(|next| next.0.due)
    }

    /// The next frame that is due by now, and the port it goes to.
    pub(super) fn give(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(next) = self.waiting.pop()?;
        self.bytes -= next.frame.len();
        self.counters.forwarded += 1;
        let way = &mut self.ways[next.way];
        if let Some(place) = next.place {
            self.counters.reordered += u64::from(place < way.given);
            way.given = way.given.max(place);
        }
        Some((next.way % self.ports, next.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::datagram;
    use super::*;

    const ROUGH: Rule = Rule {
        lost: 20,
        duplicated: 10,
        corrupted: 10,
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        replayed: 5,
        replay_within: Duration::from_secs(2),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What comes out at port 1 of these frames from port 0, and when; with other traffic in between if asked.
    fn fates(seed: u64, is_busy: bool) -> (Vec<(Duration, Vec<u8>)>, Counters) {
        let mut links = Links::new(3);
        links.rule(0, 1, ROUGH, seed);
        links.rule(0, 2, ROUGH, seed);
        let mut out = Vec::new();
        for n in 0..6_000_u64 {
            let now = ms(n);
            if n < 1_000 {
                links.take(now, 0, 1, &datagram((1, 1), (2, 2), &n.to_be_bytes()));
                if is_busy {
                    links.take(now, 0, 2, &datagram((1, 1), (3, 2), b"other"));
                    links.take(now, 1, 0, &datagram((2, 1), (1, 2), b"other"));
                }
            }
            while let Some((port, frame)) = links.give(now) {
                if port == 1 {
                    out.push((now, frame));
                }
            }
        }
        (out, links.counters())
    }

    #[test]
    fn the_same_seed_and_frames_have_the_same_fates() {
        assert_eq!(fates(7, false), fates(7, false));
        assert_eq!(fates(7, false).0, fates(7, true).0, "whatever other links carry");
        assert_ne!(fates(7, false).0, fates(8, false).0);
    }

    #[test]
    fn shares_are_about_what_was_asked() {
        let (out, counters) = fates(3, false);
        assert!((150..250).contains(&counters.lost), "{counters:?}");
        assert!((50..110).contains(&counters.duplicated) && (50..110).contains(&counters.corrupted), "{counters:?}");
        assert!((25..80).contains(&counters.replayed) && counters.reordered > 100, "{counters:?}");
        assert_eq!(counters.forwarded, 1_000 - counters.lost + counters.duplicated + counters.replayed);
        assert_eq!((out.len() as u64, counters.overflowed), (counters.forwarded, 0));
        assert_eq!(counters.since(&counters), Counters::default());
    }

    #[test]
    fn without_a_rule_frames_go_on_at_once_and_in_order() {
        let mut links = Links::new(2);
        for n in 0..100_u64 {
            links.take(ms(5), 0, 1, &n.to_be_bytes());
        }
        let out: Vec<_> = std::iter::from_fn(|| links.give(ms(5))).map(|(_, frame)| frame[7]).collect();
        assert_eq!(out, (0..100).collect::<Vec<u8>>());
        assert_eq!(links.counters().touched(), 0);
    }

    #[test]
    fn a_rule_that_is_gone_still_delivers_what_it_holds() {
        let mut links = Links::new(2);
        links.rule(0, 1, Rule { delay: ms(500), ..Rule::default() }, 1);
        links.take(ms(0), 0, 1, b"late");
        links.clear();
        links.take(ms(10), 0, 1, b"early");
        assert_eq!(links.give(ms(10)), Some((1, b"early".to_vec())));
        assert_eq!((links.give(ms(499)), links.next_due()), (None, Some(ms(500))));
        assert_eq!(links.give(ms(500)), Some((1, b"late".to_vec())));
        assert_eq!(links.counters().reordered, 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut links = Links::new(2);
        links.rule(0, 1, Rule { delay: ms(60_000), ..Rule::default() }, 1);
        let frame = vec![0; frame::FRAME_BYTES_MAX];
        for _ in 0..FRAMES_MAX * 2 {
            links.take(ms(0), 0, 1, &frame);
        }
        assert!(links.bytes <= BYTES_MAX && links.waiting.len() <= FRAMES_MAX);
        assert!(links.counters().overflowed > 0);
    }
}
