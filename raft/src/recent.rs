//! Bounded cache of channel tails, filled at apply, from which recent history is served without a disk read.
//!
//! In: appended records, in log order. Out: a dense range of a channel, all of it or nothing.
//! Invariants: a tail is dense and of one incarnation; it holds exactly what the store holds at those seqs. It may know records that a
//! reader's snapshot does not have yet: the asker names the last seq it may see, taken from the channel row of its own reader.
//! Bounds: [`RecentLimits`]; the channel longest not written to goes first. Not here: who may see what (kith-machine's read helpers).

use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kith_machine::effect::Effect;
use kith_wire::{
    id::{ChannelId, Seq},
    log::Record,
};

use crate::metrics::RaftMetrics;

/// How much one group's cache may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecentLimits {
    /// Records of one channel; the oldest goes first.
    pub channel_records_max: usize,
    /// Bytes of one channel, counted as [`weight`] does; the oldest goes first.
    pub channel_bytes_max: usize,
    /// Bytes of all channels of the group.
    pub group_bytes_max: usize,
}

impl Default for RecentLimits {
    fn default() -> Self {
        Self { channel_records_max: 256, channel_bytes_max: 256 * 1024, group_bytes_max: 16 * 1024 * 1024 }
    }
}

/// What a record is counted as: its text and a flat price for the rest.
pub fn weight(record: &Record) -> usize {
    const FLAT: usize = 160;
    FLAT + record.content.bytes()
}

#[derive(Debug, Default)]
struct Tail {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    /// Of the newest mark in `order`: older marks of this channel are void.
    touched: u64,
}

#[derive(Debug, Default)]
struct Tails {
    channels: HashMap<ChannelId, Tail>,
    bytes: usize,
    /// Channels by last append, oldest first; void marks are skipped when met.
    order: VecDeque<(ChannelId, u64)>,
    clock: u64,
}

/// The newest records of a group's busiest channels.
#[derive(Debug)]
pub struct Recent {
    tails: Mutex<Tails>,
    limits: RecentLimits,
    metrics: Arc<RaftMetrics>,
}

impl Recent {
    pub(crate) fn new(limits: RecentLimits, metrics: Arc<RaftMetrics>) -> Self {
        Self { tails: Mutex::default(), limits, metrics }
    }

    /// All records of a channel in the range, rising and dense; `None` unless every one of them is here. Counts a hit or a miss.
    ///
    /// The caller has taken the end of the range from its own view of the channel, so that it is never shown what that view lacks.
    pub fn range(&self, channel: &ChannelId, seqs: RangeInclusive<Seq>) -> Option<Vec<Arc<Record>>> {
        let found = self.lookup(channel, &seqs);
        if found.is_some() {
            self.metrics.recent_hits.inc()
        } else {
            self.metrics.recent_misses.inc()
        };
        found
    }

    /// The oldest seq held of a channel.
    pub fn oldest(&self, channel: &ChannelId) -> Option<Seq> {
        self.tails().channels.get(channel).and_then(|tail| tail.records.front()).map(|record| record.at.seq)
    }

    /// Bytes held, as [`weight`] counts them.
    pub fn bytes(&self) -> usize {
        self.tails().bytes
    }

    pub(crate) fn note(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Appended { channel, record, .. } => self.push(*channel, Arc::clone(record)),
                Effect::Amended { channel, record } => self.amend(channel, record),
                // What comes back may have been amended where it was.
                Effect::OwnershipChanged => self.clear(),
                _ => {}
            }
        }
    }

    /// Forgets everything: the state was replaced by a snapshot.
    pub(crate) fn clear(&self) {
        *self.tails() = Tails::default();
    }

    fn lookup(&self, channel: &ChannelId, seqs: &RangeInclusive<Seq>) -> Option<Vec<Arc<Record>>> {
        if seqs.start() > seqs.end() {
            return Some(Vec::new());
        }
        let tails = self.tails();
        let records = &tails.channels.get(channel)?.records;
        let first = records.front()?.at.seq;
        let skip = usize::try_from(seqs.start().get().checked_sub(first.get())?).ok()?;
        let count = usize::try_from(seqs.end().get() - seqs.start().get()).ok()?.checked_add(1)?;
        (skip.checked_add(count)? <= records.len()).then(|| records.range(skip..skip + count).cloned().collect())
    }

    /// What an older record says now, if it is held.
    fn amend(&self, channel: &ChannelId, record: &Arc<Record>) {
        let mut guard = self.tails();
        let tails = &mut *guard;
        let Some(tail) = tails.channels.get_mut(channel) else { return };
        let Some(first) = tail.records.front().map(|first| first.at.seq) else { return };
        let at = record.at.seq.get().checked_sub(first.get()).and_then(|at| usize::try_from(at).ok());
        if let Some(held) = at.and_then(|at| tail.records.get_mut(at)) {
            let (old, new) = (weight(held), weight(record));
            *held = Arc::clone(record);
            tail.bytes = tail.bytes + new - old;
            tails.bytes = tails.bytes + new - old;
            self.shrink(tails);
        }
    }

    fn push(&self, channel: ChannelId, record: Arc<Record>) {
        let mut guard = self.tails();
        let tails = &mut *guard;
        tails.clock += 1;
        let tail = tails.channels.entry(channel).or_default();
        let before = tail.bytes;
        let follows = tail.records.back().is_none_or(|last| last.at.seq.next() == record.at.seq && last.incarnation == record.incarnation);
        if !follows {
            tail.records.clear();
            tail.bytes = 0;
        }
        tail.bytes += weight(&record);
        tail.records.push_back(record);
        while tail.records.len() > self.limits.channel_records_max || tail.bytes > self.limits.channel_bytes_max {
            let Some(oldest) = tail.records.pop_front() else { break };
            tail.bytes -= weight(&oldest);
        }
        tail.touched = tails.clock;
        tails.bytes = tails.bytes + tail.bytes - before;
        tails.order.push_back((channel, tails.clock));
        self.shrink(tails);
    }

    fn shrink(&self, tails: &mut Tails) {
        // Void marks are dropped at the latest when they outnumber the channels two to one, so that the order stays small.
        while tails.bytes > self.limits.group_bytes_max || tails.order.len() > 2 * tails.channels.len() + 64 {
            let Some((channel, mark)) = tails.order.pop_front() else { break };
            if tails.channels.get(&channel).is_none_or(|tail| tail.touched != mark) {
                continue;
            }
            if tails.bytes > self.limits.group_bytes_max {
                tails.bytes -= tails.channels.remove(&channel).map_or(0, |tail| tail.bytes);
            } else {
                tails.order.push_back((channel, mark));
            }
        }
        self.metrics.recent_bytes.observe_max(tails.bytes);
    }

    fn tails(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Timestamp, UserId},
        log::{Content, Position},
    };
    use proptest::prelude::*;

    use super::*;

    fn record(seq: u64, text: &str) -> Arc<Record> {
        Arc::new(Record {
            at: Position { seq: Seq::new(seq), cnt: seq },
            incarnation: Incarnation::default(),
            sender: UserId::new(1),
            device: DeviceId::new(1),
            client_seq: ClientSeq::new(seq),
            ts: Timestamp::new(seq),
            content: Content::Text { text: text.to_owned(), reply_to: None, mentions: Vec::new(), extra: None },
        })
    }
    fn channel(n: u64) -> ChannelId {
        ChannelId::direct(UserId::new(n), UserId::new(n + 1))
    }
    fn recent(limits: RecentLimits) -> Recent {
        Recent::new(limits, Arc::default())
    }
    fn seqs(found: Option<Vec<Arc<Record>>>) -> Option<Vec<u64>> {
        found.map(|records| records.iter().map(|r| r.at.seq.get()).collect())
    }
    fn range(from: u64, to: u64) -> RangeInclusive<Seq> {
        Seq::new(from)..=Seq::new(to)
    }

    #[test]
    fn a_range_is_given_whole_or_not_at_all() {
        let recent = recent(RecentLimits { channel_records_max: 4, ..RecentLimits::default() });
        (1..=6).for_each(|seq| recent.push(channel(1), record(seq, "hi")));
        assert_eq!(seqs(recent.range(&channel(1), range(3, 6))), Some(vec![3, 4, 5, 6]));
        assert_eq!(seqs(recent.range(&channel(1), range(4, 5))), Some(vec![4, 5]));
        assert_eq!(recent.range(&channel(1), range(2, 6)), None);
        assert_eq!(recent.range(&channel(1), range(6, 7)), None);
        assert_eq!(recent.range(&channel(2), range(1, 1)), None);
        assert_eq!((recent.metrics.recent_hits.get(), recent.metrics.recent_misses.get()), (2, 3));
    }

    #[test]
    fn a_record_that_reads_otherwise_now_is_given_as_it_reads_now() {
        let recent = recent(RecentLimits::default());
        (1..=3).for_each(|seq| recent.push(channel(1), record(seq, "hi")));
        let before = recent.bytes();
        recent.note(&[
            Effect::Amended { channel: channel(1), record: record(2, "hello") },
            Effect::Amended { channel: channel(1), record: record(9, "not held") },
            Effect::Amended { channel: channel(7), record: record(1, "not held") },
        ]);
        let found = recent.range(&channel(1), range(1, 3)).unwrap();
        assert_eq!(found.iter().map(|record| record.content.text().unwrap()).collect::<Vec<_>>(), ["hi", "hello", "hi"]);
        assert_eq!(recent.bytes(), before + 3);
    }

    #[test]
    fn a_gap_starts_the_tail_anew() {
        let recent = recent(RecentLimits::default());
        recent.push(channel(1), record(1, "a"));
        recent.push(channel(1), record(5, "b"));
        assert_eq!(recent.oldest(&channel(1)), Some(Seq::new(5)));
        assert_eq!(recent.range(&channel(1), range(1, 1)), None);
    }

    proptest! {
        #[test]
        fn bytes_are_bounded_and_counted_right(writes in prop::collection::vec((0u64..40, 0usize..300), 1..400)) {
            let limits = RecentLimits { channel_records_max: 8, channel_bytes_max: 1_500, group_bytes_max: 6_000 };
            let recent = recent(limits);
            let mut heads = HashMap::new();
            for (who, len) in writes {
                let head = heads.entry(who).or_insert(0u64);
                *head += 1;
                recent.push(channel(who), record(*head, &"x".repeat(len)));
                prop_assert!(recent.bytes() <= limits.group_bytes_max);
                let tails = recent.tails();
                let sum: usize = tails.channels.values().flat_map(|t| &t.records).map(|r| weight(r)).sum();
                prop_assert_eq!(sum, tails.bytes);
                prop_assert!(tails.order.len() <= 2 * tails.channels.len() + 65);
            }
        }
    }
}
