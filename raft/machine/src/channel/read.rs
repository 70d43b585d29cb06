//! Reading a conversation: what a user may see of it, and pages of it.
//!
//! Membership, ranges and records are read from one view, so that a lagging replica shows a removed member only what came before the
//! removal. What a user may not see is stated as a withheld range, never left out silently.

use std::{ops::RangeInclusive, sync::Arc};

use kith_wire::{
    client::{HistoryPage, HistoryQuery},
    code::Code,
    id::{ChannelId, NodeId, Seq, UserId},
    limit,
    log::{ChannelRow, FormerRow, Position, PositionsRow, Record, RosterRow, Stay},
};

use super::append::member;
use crate::mutant::Mutant;
use crate::view::{Held, Missing, Row, RowKey, Scan, StateView, ViewError, required, row};

/// What a user may see of a channel, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visibility {
    /// Ranges (first, last), both inclusive, rising, not overlapping, none empty; at least one.
    pub ranges: Vec<(Seq, Seq)>,
    /// Whether the user is a member now.
    pub present: bool,
    /// The channel's own row.
    pub state: ChannelRow,
}

impl Visibility {
    /// The last record that the user may see.
    pub fn head(&self) -> Seq {
        self.ranges.last().map_or(Seq::ZERO, |(_, last)| *last)
    }
    /// Whether the user may see this record.
    pub fn shows(&self, seq: Seq) -> bool {
        self.ranges.iter().any(|(first, last)| *first <= seq && seq <= *last)
    }
}

/// What `user` may see of a channel. `None`: not a member, now or before, or there is no such channel; the asker is told the same.
///
/// # Errors
/// A row cannot be read.
pub fn visibility(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Option<Visibility>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok(None) };
    let roster = required::<RosterRow>(view, &RowKey::Roster(channel))?;
    let (stays, present): (Vec<Stay>, bool) = match member(&roster, user) {
        Some(member) => (member.stays.clone(), true),
        None => match row::<FormerRow>(view, &RowKey::Former(channel, user))? {
            Some(former) => (former.stays.clone(), false),
            None => return Ok(None),
        },
    };
    let ranges: Vec<_> =
        stays.iter().map(|stay| (stay.join.seq, stay.left.unwrap_or(state.head.seq))).filter(|(first, last)| first <= last).collect();
    Ok((!ranges.is_empty()).then(|| Visibility { ranges, present, state: state.clone() }))
}

/// A page of a channel's history for a user, read from the view alone.
///
/// # Errors
/// A row cannot be read. The inner error is the answer to the asker: `NotMember`, or `Behind` when this view is older than `min_seq`.
/// A replica that lags may not know of a membership yet: its `NotMember` is not final, the leader's is. (It cannot say `Behind` instead:
/// that would tell strangers which channels there are.)
pub fn history(view: &dyn StateView, user: UserId, query: &HistoryQuery, node: NodeId) -> Result<Result<HistoryPage, Code>, ViewError> {
    history_from(view, user, query, node, |range, reverse, limit| {
        let rows = view.scan(&Scan::Records(query.channel, range), reverse, limit)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    })
}

/// As [`history`], with the records from `fetch`: rows of the range that it is given, in order (from the end when the flag is set), at most
/// so many. It is never asked for a record above the view's head, so a cache that is newer than the view does no harm.
///
/// # Errors
/// As [`history`].
pub fn history_from(
    view: &dyn StateView,
    user: UserId,
    query: &HistoryQuery,
    node: NodeId,
    fetch: impl FnMut(RangeInclusive<Seq>, bool, usize) -> Result<Vec<Arc<Row>>, ViewError>,
) -> Result<Result<HistoryPage, Code>, ViewError> {
    let Some(mut visible) = visibility(view, query.channel, user)? else { return Ok(Err(Code::NotMember)) };
    if visible.state.head.seq < query.min_seq {
        return Ok(Err(Code::Behind));
    }
    let head = match visible.head() {
        seq if seq == visible.state.head.seq => visible.state.head,
        seq => required::<Record>(view, &RowKey::Record(query.channel, seq))?.at,
    };
    let (quirk, goes_on) = (view.quirk(), query.first > Seq::ZERO.next() && !query.newest_first);
    let mut first = query.first.max(Seq::ZERO.next());
    if quirk.is(Mutant::ResumeSkipsOne) && goes_on {
        visible.ranges.iter_mut().for_each(|(start, _)| *start = (*start).max(first.next()));
    }
    if quirk.is(Mutant::ResumeRepeatsOne) && goes_on {
        first = first.prev();
    }
    let allows_holes = quirk.is(Mutant::SeqBeforeCommit);
    let assembly = Assembly { channel: query.channel, budget: Budget::of(query.limit), reverse: query.newest_first, allows_holes, fetch };
    let page = HistoryPage { node, head, incarnation: visible.state.incarnation, records: Vec::new(), withheld: Vec::new(), covered: None };
    assembly.fill(page, &visible, first, query.last.min(head.seq)).map(Ok)
}

/// The channel's row, roster and the positions of its members, for those who list members.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The channel's own row.
    pub state: ChannelRow,
    /// Who is in it.
    pub roster: RosterRow,
    /// Read and delivered positions of each present member, in the order of the roster.
    pub positions: Vec<(Position, Position)>,
}

/// A channel as a present member sees it; `None` for everyone else.
///
/// # Errors
/// A row cannot be read.
pub fn overview(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Option<Overview>, ViewError> {
    let Some(state) = row::<ChannelRow>(view, &RowKey::Channel(channel))? else { return Ok(None) };
    let roster = required::<RosterRow>(view, &RowKey::Roster(channel))?;
    if member(&roster, user).is_none() {
        return Ok(None);
    }
    let mut positions = Vec::with_capacity(roster.members.len());
    for member in &roster.members {
        let of_member = row::<PositionsRow>(view, &RowKey::Positions(channel, member.user))?;
        positions.push(of_member.map_or_else(Default::default, |row| (row.read, row.delivered)));
    }
    Ok(Some(Overview { state: state.clone(), roster: roster.clone(), positions }))
}

/// What a page may still take.
struct Budget {
    records: usize,
    bytes: usize,
}

impl Budget {
    /// Bytes that a record takes besides its text; a generous guess.
    const RECORD_BYTES: usize = 96;

    fn of(limit: u32) -> Self {
        let records = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, limit::PAGE_RECORDS_MAX);
        Self { records, bytes: limit::PAGE_BYTES_MAX }
    }
    /// Takes a record, unless it does not fit; the first one of a page always does.
    fn take(&mut self, record: &Record, is_first: bool) -> bool {
        let bytes = Self::RECORD_BYTES + record.content.bytes();
        if self.records == 0 || (bytes > self.bytes && !is_first) {
            return false;
        }
        self.records -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// A page being put together, from one end of the asked range towards the other.
struct Assembly<F> {
    channel: ChannelId,
    budget: Budget,
    reverse: bool,
    allows_holes: bool,
    fetch: F,
}

impl<F: FnMut(RangeInclusive<Seq>, bool, usize) -> Result<Vec<Arc<Row>>, ViewError>> Assembly<F> {
    fn fill(mut self, mut page: HistoryPage, visible: &Visibility, first: Seq, last: Seq) -> Result<HistoryPage, ViewError> {
        if first > last {
            return Ok(page);
        }
        let mut segments = segments(&visible.ranges, first, last);
        if self.reverse {
            segments.reverse();
        }
        let mut reached = None;
        for (from, to, is_visible) in segments {
            if !is_visible {
                page.withheld.push((from, to));
                reached = Some(if self.reverse { from } else { to });
                continue;
            }
            let (end, is_whole) = self.take_visible(&mut page.records, from, to)?;
            reached = end.or(reached);
            if !is_whole {
                break;
            }
        }
        if self.reverse {
            page.records.reverse();
            page.withheld.reverse();
        }
        page.covered = reached.map(|reached| if self.reverse { (reached, last) } else { (first, reached) });
        Ok(page)
    }

    /// Takes what fits of a visible range. Gives the last seq taken, and whether that was all.
    fn take_visible(&mut self, records: &mut Vec<Record>, from: Seq, to: Seq) -> Result<(Option<Seq>, bool), ViewError> {
        // Small reads, so that a run of the largest texts does not fill the memory before it is counted.
        const ROWS_PER_READ: usize = 16;
        let mut taken = None;
        loop {
            let (from, to, expected) = match (taken, self.reverse) {
                (None, false) => (from, to, from),
                (None, true) => (from, to, to),
                (Some(end), false) if end == to => return Ok((taken, true)),
                (Some(end), true) if end == from => return Ok((taken, true)),
                (Some(end), false) => (Seq::next(end), to, Seq::next(end)),
                (Some(end), true) => (from, Seq::prev(end), Seq::prev(end)),
            };
            let limit = ROWS_PER_READ.min(self.budget.records);
            if limit == 0 {
                return Ok((taken, false));
            }
            let mut expected = expected;
            let rows = (self.fetch)(from..=to, self.reverse, limit)?;
            if rows.is_empty() {
                return Err(ViewError::of(&RowKey::Record(self.channel, expected), Missing));
            }
            for row in rows {
                let key = RowKey::Record(self.channel, expected);
                let record = Held::<Record>::new(&key, row)?;
                if self.allows_holes {
                    expected = record.at.seq;
                }
                if record.at.seq != expected {
                    return Err(ViewError::of(&key, Missing));
                }
                if !self.budget.take(&record, records.is_empty()) {
                    return Ok((taken, false));
                }
                records.push(record.clone());
                taken = Some(expected);
                expected = if self.reverse { expected.prev() } else { expected.next() };
            }
        }
    }
}

/// The asked range as (first, last, visible), rising, dense.
fn segments(ranges: &[(Seq, Seq)], first: Seq, last: Seq) -> Vec<(Seq, Seq, bool)> {
    let mut out = Vec::new();
    let mut from = first;
    for (start, end) in ranges {
        let (start, end) = ((*start).max(from), (*end).min(last));
        if start > end {
            continue;
        }
        if from < start {
            out.push((from, start.prev(), false));
        }
        out.push((start, end, true));
        from = end.next();
    }
    if from <= last {
        out.push((from, last, false));
    }
    out
}
