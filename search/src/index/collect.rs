//! What is gathered from the engine: the newest places, and the last seq of a channel.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use kith_wire::{
    id::{ChannelId, Seq, Timestamp},
    search::Spot,
};
use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader,
    collector::{Collector, SegmentCollector},
    columnar::{BytesColumn, ColumnValues},
};

use super::Filter;

/// What of a filter the engine's terms do not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    below: Option<Spot>,
    limit: usize,
}

impl From<&Filter<'_>> for Range {
    fn from(filter: &Filter<'_>) -> Self {
        Self { since: filter.since, until: filter.until, below: filter.below, limit: filter.limit }
    }
}

impl Range {
    fn takes(&self, spot: &Spot) -> bool {
        Filter { channels: &[], sender: None, since: self.since, until: self.until, below: self.below, limit: self.limit }.takes(spot)
    }
    /// Whether a record of that time and seq may be taken, whatever its channel.
    fn may_take(&self, ts: Timestamp, seq: Seq) -> bool {
        let in_time = self.since.is_none_or(|since| since <= ts) && self.until.is_none_or(|until| ts < until);
        in_time && self.below.is_none_or(|below| (ts, seq) <= (below.ts, below.seq))
    }
}

/// Gathers the newest places within a range.
pub(super) struct Newest {
    pub(super) filter: Range,
}

/// Of one segment.
pub(super) struct NewestHere {
    filter: Range,
    ts: Arc<dyn ColumnValues<u64>>,
    seq: Arc<dyn ColumnValues<u64>>,
    channels: Option<BytesColumn>,
    /// By their ordinal in the segment.
    known: HashMap<u64, Option<ChannelId>>,
    newest: BinaryHeap<Reverse<Spot>>,
}

impl Collector for Newest {
    type Fruit = Vec<Spot>;
    type Child = NewestHere;

    fn for_segment(&self, _number: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<NewestHere> {
        let columns = segment.fast_fields();
        Ok(NewestHere {
            filter: self.filter,
            ts: columns.u64("ts")?.first_or_default_col(0),
            seq: columns.u64("seq")?.first_or_default_col(0),
            channels: columns.bytes("channel")?,
            known: HashMap::new(),
            newest: BinaryHeap::with_capacity(self.filter.limit + 1),
        })
    }
    fn requires_scoring(&self) -> bool {
        false
    }
    fn merge_fruits(&self, parts: Vec<Vec<Spot>>) -> tantivy::Result<Vec<Spot>> {
        let mut all: Vec<Spot> = parts.into_iter().flatten().collect();
        all.sort_by_key(|spot| Reverse(*spot));
        all.truncate(self.filter.limit);
        Ok(all)
    }
}

impl NewestHere {
    fn channel(&mut self, document: DocId) -> Option<ChannelId> {
        let column = self.channels.as_ref()?;
        let number = column.term_ords(document).next()?;
        *self.known.entry(number).or_insert_with(|| {
            let mut bytes = Vec::new();
            column.ord_to_bytes(number, &mut bytes).ok().filter(|found| *found)?;
            ChannelId::from_bytes(&bytes).ok()
        })
    }
}

impl SegmentCollector for NewestHere {
    type Fruit = Vec<Spot>;

    fn collect(&mut self, document: DocId, _score: Score) {
        let (ts, seq) = (Timestamp::new(self.ts.get_val(document)), Seq::new(self.seq.get_val(document)));
        let is_full = self.newest.len() >= self.filter.limit;
        if !self.filter.may_take(ts, seq) || (is_full && self.newest.peek().is_some_and(|Reverse(oldest)| (ts, seq) < (oldest.ts, oldest.seq))) {
            return;
        }
        let Some(channel) = self.channel(document) else { return };
        let spot = Spot { ts, seq, channel };
        if self.filter.takes(&spot) {
            self.newest.push(Reverse(spot));
            if self.newest.len() > self.filter.limit {
                self.newest.pop();
            }
        }
    }
    fn harvest(self) -> Vec<Spot> {
        self.newest.into_iter().map(|Reverse(spot)| spot).collect()
    }
}

/// Gathers the largest seq.
pub(super) struct LastSeq;

/// Of one segment.
pub(super) struct LastSeqHere {
    seq: Arc<dyn ColumnValues<u64>>,
    last: Option<Seq>,
}

impl Collector for LastSeq {
    type Fruit = Option<Seq>;
    type Child = LastSeqHere;

    fn for_segment(&self, _number: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<LastSeqHere> {
        Ok(LastSeqHere { seq: segment.fast_fields().u64("seq")?.first_or_default_col(0), last: None })
    }
    fn requires_scoring(&self) -> bool {
        false
    }
    fn merge_fruits(&self, parts: Vec<Option<Seq>>) -> tantivy::Result<Option<Seq>> {
        Ok(parts.into_iter().max().flatten())
    }
}

impl SegmentCollector for LastSeqHere {
    type Fruit = Option<Seq>;

    fn collect(&mut self, document: DocId, _score: Score) {
        self.last = self.last.max(Some(Seq::new(self.seq.get_val(document))));
    }
    fn harvest(self) -> Option<Seq> {
        self.last
    }
}
