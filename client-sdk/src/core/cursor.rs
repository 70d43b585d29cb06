//! One channel's interval: what may be shown next, what waits, what must be pulled.
//!
//! In: live records with the seq before them, pages, heads. Out: records to show, rising, each once.
//! Invariants: `max` never goes back; a record is given out only if all that the user may see between `max` and it is known to be
//! nothing. Bound: `HELD_MAX` records wait; beyond it they are dropped and the hole is pulled.

use std::sync::Arc;

use kith_wire::{id::Seq, log::Record};

use crate::store::Cursor;

/// Records of one channel that wait for the ones before them. One more is dropped, and pulled later.
pub(crate) const HELD_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Interval {
    cursor: Cursor,
    /// By rising seq, each with the seq before it.
    held: Vec<(Seq, Arc<Record>)>,
}

/// What a live record led to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Live {
    /// Known already.
    Old,
    /// To be shown, rising: it, and those that had waited for it.
    Show(Vec<Arc<Record>>),
    /// There is a hole before it.
    Hole,
}

/// A page does not answer what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadPage;

impl Interval {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Self { cursor, held: Vec::new() }
    }
    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }
    /// Whether records are known to exist that are not held.
    pub(crate) fn has_hole(&self) -> bool {
        self.cursor.max < self.cursor.head
    }
    /// Begins the interval of a channel never seen before, so that it holds the newest `newest` of what is below `head`.
    pub(crate) fn begin(&mut self, head: Seq, newest: u64) {
        if self.cursor.from == Seq::ZERO {
            self.cursor.from = Seq::new(head.get().saturating_sub(newest) + 1);
            self.cursor.max = self.cursor.from.prev();
        }
    }
    /// A record exists at `head`. Returns whether that is news.
    pub(crate) fn note(&mut self, head: Seq) -> bool {
        let is_news = head > self.cursor.head;
        self.cursor.head = self.cursor.head.max(head);
        is_news
    }
    /// There is nothing above `max` for this user.
    pub(crate) fn close_hole(&mut self) {
        self.cursor.head = self.cursor.max;
        self.held = Vec::new();
    }
    /// A live record, with the seq before it that this user may see.
    pub(crate) fn handle_live(&mut self, prev: Seq, record: Arc<Record>) -> Live {
        let seq = record.at.seq;
        if seq <= self.cursor.max {
            return Live::Old;
        }
        self.note(seq);
        if prev > self.cursor.max {
            match self.held.binary_search_by_key(&seq, |(_, held)| held.at.seq) {
                Err(at) if self.held.len() < HELD_MAX => self.held.insert(at, (prev, record)),
                _ => {}
            }
            return Live::Hole;
        }
        self.cursor.max = seq;
        let mut show = vec![record];
        self.release(&mut show);
        Live::Show(show)
    }
    /// A page for `(max, …]`: records, the ranges that are not this user's to see, and what it covers, inclusive.
    pub(crate) fn handle_page(&mut self, records: Vec<Record>, withheld: &[(Seq, Seq)], covered: (Seq, Seq)) -> Result<Vec<Arc<Record>>, BadPage> {
        let (first, last) = covered;
        if first > self.cursor.max.next() || last < first || !is_complete(&records, withheld, covered) {
            return Err(BadPage);
        }
        let mut show: Vec<_> = records.into_iter().filter(|record| record.at.seq > self.cursor.max).map(Arc::new).collect();
        self.note(last);
        self.cursor.max = self.cursor.max.max(last);
        self.release(&mut show);
        Ok(show)
    }
    /// Nobody waits any longer: the hole is pulled, and with it what waited.
    pub(crate) fn drop_held(&mut self) {
        self.held = Vec::new();
    }
    fn release(&mut self, show: &mut Vec<Arc<Record>>) {
        let mut next = 0;
        while let Some((prev, record)) = self.held.get(next) {
            if record.at.seq > self.cursor.max {
                if *prev > self.cursor.max {
                    break;
                }
                self.cursor.max = record.at.seq;
                show.push(Arc::clone(record));
            }
            next += 1;
        }
        self.held.drain(..next);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }
}

/// Whether every seq of the range is a record or withheld, and records are rising: a page is never trusted with a silent hole.
fn is_complete(records: &[Record], withheld: &[(Seq, Seq)], (first, last): (Seq, Seq)) -> bool {
    let mut ranges: Vec<(u64, u64)> = withheld.iter().map(|(a, b)| (a.get(), b.get())).collect();
    ranges.extend(records.iter().map(|record| (record.at.seq.get(), record.at.seq.get())));
    ranges.sort_unstable();
    let mut next = first.get();
    for (from, to) in ranges {
        if from > next {
            break;
        }
        next = next.max(to.saturating_add(1));
    }
    next > last.get() && records.windows(2).all(|pair| pair[0].at.seq < pair[1].at.seq)
}

#[cfg(test)]
mod tests {
    use kith_wire::{
        id::{ClientSeq, DeviceId, Incarnation, Timestamp, UserId},
        log::{Content, Position},
    };

    use super::*;

    fn record(seq: u64) -> Record {
        Record {
            at: Position { seq: Seq::new(seq), cnt: seq },
            incarnation: Incarnation::default(),
            sender: UserId::new(1),
            device: DeviceId::new(1),
            client_seq: ClientSeq::new(seq),
            ts: Timestamp::new(seq),
            content: Content::Text { text: seq.to_string(), reply_to: None, mentions: Vec::new(), extra: None },
        }
    }
    fn interval(max: u64) -> Interval {
        Interval::new(Cursor { from: Seq::new(1), max: Seq::new(max), head: Seq::new(max) })
    }
    fn live(interval: &mut Interval, prev: u64, seq: u64) -> Option<Vec<u64>> {
        match interval.handle_live(Seq::new(prev), Arc::new(record(seq))) {
            Live::Old => None,
            Live::Hole => Some(Vec::new()),
            Live::Show(records) => Some(seqs(&records)),
        }
    }
    fn seqs(records: &[Arc<Record>]) -> Vec<u64> {
        records.iter().map(|record| record.at.seq.get()).collect()
    }
    fn pairs(ranges: &[(u64, u64)]) -> Vec<(Seq, Seq)> {
        ranges.iter().map(|(a, b)| (Seq::new(*a), Seq::new(*b))).collect()
    }

    #[test]
    fn live_records_follow_the_rule_of_the_seq_before() {
        // held up to, seq before, seq → None: dropped; empty: a hole; else shown
        let table: &[(u64, u64, u64, Option<&[u64]>)] = &[
            (0, 0, 1, Some(&[1])),
            (5, 5, 6, Some(&[6])),
            (5, 4, 5, None),
            (5, 0, 3, None),
            (5, 6, 7, Some(&[])),
            // Between 5 and 9 there is nothing for this user.
            (5, 5, 9, Some(&[9])),
            (5, 3, 9, Some(&[9])),
        ];
        for (max, prev, seq, expected) in table {
            assert_eq!(live(&mut interval(*max), *prev, *seq).as_deref(), *expected, "max {max} prev {prev} seq {seq}");
        }
    }

    #[test]
    fn what_waited_is_shown_once_and_in_order() {
        let mut interval = interval(1);
        assert_eq!(live(&mut interval, 3, 4), Some(vec![]));
        assert_eq!(live(&mut interval, 2, 3), Some(vec![]));
        assert_eq!(live(&mut interval, 3, 4), Some(vec![]));
        assert_eq!(live(&mut interval, 1, 2), Some(vec![2, 3, 4]));
        assert_eq!(live(&mut interval, 3, 4), None);
        assert!(!interval.has_hole());
    }

    #[test]
    fn a_page_fills_the_hole_and_frees_what_waited() {
        let mut interval = interval(1);
        assert_eq!(live(&mut interval, 4, 5), Some(vec![]));
        let shown = interval.handle_page(vec![record(2), record(4)], &pairs(&[(3, 3)]), (Seq::new(2), Seq::new(4)));
        assert_eq!(shown.map(|records| seqs(&records)), Ok(vec![2, 4, 5]));
        assert_eq!(interval.cursor().max, Seq::new(5));
    }

    #[test]
    fn a_page_that_overlaps_shows_only_what_is_new() {
        let mut interval = interval(3);
        let shown = interval.handle_page((1..=5).map(record).collect(), &[], (Seq::new(1), Seq::new(5)));
        assert_eq!(shown.map(|records| seqs(&records)), Ok(vec![4, 5]));
    }

    #[test]
    fn withheld_ranges_are_passed() {
        let mut interval = interval(0);
        let shown = interval.handle_page(vec![], &pairs(&[(1, 9)]), (Seq::new(1), Seq::new(9)));
        assert_eq!(shown, Ok(vec![]));
        assert_eq!(interval.cursor().max, Seq::new(9));
    }

    #[test]
    fn a_page_with_a_silent_hole_is_refused() {
        for (records, covered) in [(vec![2, 4], (2, 4)), (vec![3], (3, 3)), (vec![2, 3], (2, 4)), (vec![3, 2], (2, 3))] {
            let mut interval = interval(1);
            let page = records.iter().map(|seq| record(*seq)).collect();
            assert_eq!(interval.handle_page(page, &[], (Seq::new(covered.0), Seq::new(covered.1))), Err(BadPage), "{records:?} {covered:?}");
            assert_eq!(interval.cursor().max, Seq::new(1));
        }
    }

    #[test]
    fn more_than_the_bound_do_not_wait() {
        let mut interval = interval(0);
        for seq in 2..200 {
            assert_eq!(live(&mut interval, seq - 1, seq), Some(vec![]));
        }
        let shown = live(&mut interval, 0, 1).expect("shown");
        assert_eq!(shown, (1..=1 + HELD_MAX as u64).collect::<Vec<_>>());
        assert!(interval.has_hole());
        assert_eq!(interval.cursor().head, Seq::new(199));
    }

    #[test]
    fn a_new_channel_begins_with_its_newest() {
        let mut interval = Interval::default();
        interval.begin(Seq::new(100), 30);
        assert_eq!(interval.cursor(), Cursor { from: Seq::new(71), max: Seq::new(70), head: Seq::ZERO });
        interval.begin(Seq::new(200), 30);
        assert_eq!(interval.cursor().from, Seq::new(71));
        let mut all = Interval::default();
        all.begin(Seq::new(100), u64::MAX);
        assert_eq!(all.cursor().from, Seq::new(1));
    }
}
