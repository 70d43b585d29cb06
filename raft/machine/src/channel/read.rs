//! Reading a conversation: what a user may see of it, and pages of it.
//!
//! Membership, ranges and records are read from one view, so that a lagging replica shows a removed member only what came before the
//! removal. What a user may not see is stated as a withheld range, never left out silently.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use kith_wire::{
    act::{Act, Gone, MarksRow, Reaction, RulesRow, ScheduledRow},
    client::{HistoryPage, HistoryQuery, Marks, Place, ReactionTotal},
    code::Code,
    id::{ChannelId, ChannelKind, NodeId, Seq, Timestamp, UserId},
    limit,
    log::{ChannelRow, Content, FormerRow, Position, PositionsRow, Record, Role, RosterRow, Stay},
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
    let ranges = ranges(&stays, &state);
    Ok((!ranges.is_empty()).then(|| Visibility { ranges, present, state: state.clone() }))
}

/// What the stays show: rising, apart, nothing that is over the channel's retention.
fn ranges(stays: &[Stay], state: &ChannelRow) -> Vec<(Seq, Seq)> {
    let mut all: Vec<_> = stays.iter().map(|stay| (stay.first().max(state.kept), stay.left.unwrap_or(state.head.seq))).collect();
    all.retain(|(first, last)| first <= last);
    // A stay that shows the channel from its start covers those before it.
    all.sort();
    let mut ranges: Vec<(Seq, Seq)> = Vec::with_capacity(all.len());
    for (first, last) in all {
        match ranges.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => ranges.push((first, last)),
        }
    }
    ranges
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
/// so many. It is never asked for a record above the view's head, nor for somebody who has left, so a cache that is newer than the view does
/// no harm: to a member it may show an edit a moment early.
///
/// # Errors
/// As [`history`].
pub fn history_from(
    view: &dyn StateView,
    user: UserId,
    query: &HistoryQuery,
    node: NodeId,
    mut fetch: impl FnMut(RangeInclusive<Seq>, bool, usize) -> Result<Vec<Arc<Row>>, ViewError>,
) -> Result<Result<HistoryPage, Code>, ViewError> {
    let Some(mut visible) = visibility(view, query.channel, user)? else { return Ok(Err(Code::NotMember)) };
    let is_present = visible.present;
    let fetch = |range: RangeInclusive<Seq>, reverse: bool, limit: usize| {
        if is_present {
            return fetch(range, reverse, limit);
        }
        let rows = view.scan(&Scan::Records(query.channel, range), reverse, limit)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    };
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
    let mut assembly = Assembly { channel: query.channel, budget: Budget::of(query.limit), reverse: query.newest_first, allows_holes, fetch };
    let incarnation = visible.state.incarnation;
    let mut page = HistoryPage { node, head, incarnation, records: Vec::new(), withheld: Vec::new(), covered: None, marks: Vec::new() };
    let last = query.last.min(head.seq);
    match query.place {
        None => assembly.fill(&mut page, &visible, first, last)?,
        Some(Place::At(ts)) => {
            let first = first_at(view, query.channel, &visible, ts)?;
            assembly.reverse = false;
            assembly.fill(&mut page, &visible, first, last)?;
        }
        Some(Place::Around(seq)) => assembly.fill_around(&mut page, &visible, seq.clamp(Seq::ZERO.next(), head.seq.max(Seq::ZERO.next())))?,
        Some(Place::Own) => own(view, query, &visible, user, (first, last), &mut page)?,
        Some(Place::Thread(root)) => thread(view, query, &visible, root, (first, last), &mut page)?,
    }
    as_seen(view, query.channel, user, &visible, &mut page)?;
    cut_marks(&mut page, query.newest_first && !matches!(query.place, Some(Place::At(_) | Place::Around(_))));
    Ok(Ok(page))
}

/// The first record at or after that time; one after the head when there is none. Server time never goes back in a channel.
fn first_at(view: &dyn StateView, channel: ChannelId, visible: &Visibility, ts: Timestamp) -> Result<Seq, ViewError> {
    let (mut low, mut high) = (Seq::ZERO.next(), visible.head().next());
    while low < high {
        let middle = Seq::new(low.get() + (high.get() - low.get()) / 2);
        if required::<Record>(view, &RowKey::Record(channel, middle))?.ts < ts { low = middle.next() } else { high = middle }
    }
    Ok(low)
}

/// A page of a thread: the text that it began with and those in it. `covered` is what was looked at.
fn thread(
    view: &dyn StateView,
    query: &HistoryQuery,
    visible: &Visibility,
    root: Seq,
    (first, last): (Seq, Seq),
    page: &mut HistoryPage,
) -> Result<(), ViewError> {
    if first > last {
        return Ok(());
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX).clamp(1, limit::PAGE_RECORDS_MAX);
    let rows = view.scan(&Scan::Replies(query.channel, root, first..=last), query.newest_first, limit.saturating_add(1))?;
    let is_cut = rows.len() > limit;
    let mut seqs: Vec<Seq> = rows.into_iter().filter_map(|(key, _)| if let RowKey::Reply(_, _, seq) = key { Some(seq) } else { None }).collect();
    if (first..=last).contains(&root) {
        // It stands before all that answer it.
        if !query.newest_first {
            seqs.insert(0, root);
        } else if !is_cut {
            seqs.push(root);
        }
    }
    let mut budget = Budget::of(query.limit);
    let mut reached = if query.newest_first { first } else { last };
    let (mut before, mut is_full) = (None, false);
    for seq in seqs {
        if visible.shows(seq) {
            let record = required::<Record>(view, &RowKey::Record(query.channel, seq))?;
            if !budget.take(&record, page.records.is_empty()) {
                reached = before.unwrap_or(seq);
                is_full = true;
                break;
            }
            page.records.push(record.clone());
        }
        before = Some(seq);
    }
    if is_cut
        && !is_full
        && let Some(seq) = before
    {
        // There are more that were not looked at, whoever may read those that were.
        reached = seq;
    }
    page.covered = Some(if query.newest_first { (reached, last) } else { (first, reached) });
    if query.newest_first {
        page.records.reverse();
    }
    Ok(())
}

/// A page of the asker's own texts. `covered` is what was looked at: a bounded number of records and bytes, whoever wrote them.
fn own(
    view: &dyn StateView,
    query: &HistoryQuery,
    visible: &Visibility,
    user: UserId,
    (first, last): (Seq, Seq),
    page: &mut HistoryPage,
) -> Result<(), ViewError> {
    const ROWS_PER_READ: usize = 16;
    let (mut from, mut to) = (first, last);
    let (mut budget, mut rows_left, mut bytes_left) = (Budget::of(query.limit), limit::PAGE_RECORDS_MAX, limit::OWN_BYTES_LOOKED_AT);
    'pages: while from <= to && rows_left > 0 && bytes_left > 0 {
        let rows = view.scan(&Scan::Records(query.channel, from..=to), query.newest_first, ROWS_PER_READ.min(rows_left))?;
        if rows.is_empty() {
            break;
        }
        for (key, row) in rows {
            let record = Held::<Record>::new(&key, row)?;
            let seq = record.at.seq;
            let is_own = record.sender == user && record.content.text().is_some() && visible.shows(seq);
            if is_own && !budget.take(&record, page.records.is_empty()) {
                break 'pages;
            }
            if is_own {
                page.records.push(record.clone());
            }
            rows_left -= 1;
            bytes_left = bytes_left.saturating_sub(Budget::RECORD_BYTES + record.content.bytes());
            if query.newest_first { to = seq.prev() } else { from = seq.next() }
        }
    }
    let looked_at = if query.newest_first { (to.next(), last) } else { (first, from.prev()) };
    page.covered = (looked_at.0 <= looked_at.1).then_some(looked_at);
    if query.newest_first {
        page.records.reverse();
    }
    Ok(())
}

/// Makes of the records what this user may read of them now, and says what has gathered about them.
pub(super) fn as_seen(view: &dyn StateView, channel: ChannelId, user: UserId, visible: &Visibility, page: &mut HistoryPage) -> Result<(), ViewError> {
    // An edit of what the reader may not see would tell it.
    let hidden =
        |record: &Record| matches!(&record.content, Content::Act(Act::Edit { target, text, .. }) if !text.is_empty() && !visible.shows(*target));
    let withheld: Vec<_> = page.records.iter().filter(|record| hidden(record)).map(|record| (record.at.seq, record.at.seq)).collect();
    if !withheld.is_empty() {
        page.records.retain(|record| !hidden(record));
        page.withheld.extend(withheld);
        page.withheld.sort();
    }
    let (Some(first), Some(last)) = (page.records.first(), page.records.last()) else { return Ok(()) };
    let mut gathered = gathered(view, channel, (first.at.seq, last.at.seq), &page.records)?;
    if gathered.is_empty() && !visible.state.ruled {
        return Ok(());
    }
    let rules = row::<RulesRow>(view, &RowKey::Rules(channel))?;
    let rules = rules.as_deref();
    for record in &mut page.records {
        let seq = record.at.seq;
        let MarksRow { edited, mut reactions, replies, last_reply } = gathered.remove(&seq).unwrap_or_default();
        if rules.is_some_and(|rules| rules.is_erasing(record)) {
            withhold(record);
            reactions.clear();
        }
        if let Some(rules) = rules {
            forget_reactions(rules, seq, &mut reactions);
        }
        let is_theirs = edited == Seq::ZERO || visible.shows(edited);
        if !is_theirs && matches!(record.content, Content::Text { .. }) {
            record.content = Content::Gone { why: Gone::Changed, counted: true };
        }
        let mut marks = Marks { seq, edited: Seq::ZERO, reactions: Vec::new(), replies: 0, last_reply: Seq::ZERO, pinned: false };
        if is_theirs {
            marks.edited = edited;
        }
        // Whoever has left hears nothing of what came after.
        if visible.present {
            let total = |reaction: Reaction| ReactionTotal {
                count: u32::try_from(reaction.users.len()).unwrap_or(u32::MAX),
                mine: reaction.users.binary_search(&user).is_ok(),
                emoji: reaction.emoji,
            };
            (marks.reactions, marks.replies, marks.last_reply) = (reactions.into_iter().map(total).collect(), replies, last_reply);
            marks.pinned = rules.is_some_and(|rules| rules.pins.iter().any(|pin| pin.seq == seq)) && record.content.text().is_some();
        }
        let says_something = marks.edited > Seq::ZERO || !marks.reactions.is_empty() || marks.replies > 0 || marks.pinned;
        if says_something {
            page.marks.push(marks);
        }
    }
    Ok(())
}

/// Reactions of who was erased since are gone for readers before their row is.
fn forget_reactions(rules: &RulesRow, seq: Seq, reactions: &mut Vec<Reaction>) {
    if rules.erasing.is_empty() {
        return;
    }
    reactions.iter_mut().for_each(|reaction| reaction.users.retain(|user| !rules.forgets(*user, seq)));
    reactions.retain(|reaction| !reaction.users.is_empty());
}

/// What somebody wrote who was erased since: it is gone for readers before its row is emptied.
pub(crate) fn withhold(record: &mut Record) {
    match &mut record.content {
        content @ Content::Text { .. } => *content = Content::Gone { why: Gone::Erased, counted: true },
        Content::Act(Act::Edit { text, mentions, .. }) => {
            text.clear();
            mentions.clear();
        }
        Content::Act(Act::React { emoji, .. }) => emoji.clear(),
        _ => {}
    }
}

/// The marks of these records: by one scan where they lie close together, one by one where a thread has picked them out.
fn gathered(view: &dyn StateView, channel: ChannelId, (first, last): (Seq, Seq), records: &[Record]) -> Result<BTreeMap<Seq, MarksRow>, ViewError> {
    let mut gathered = BTreeMap::new();
    if last.get() - first.get() < 2 * records.len() as u64 {
        for (key, held) in view.scan(&Scan::Marks(channel, first..=last), false, usize::MAX)? {
            let marks = Held::<MarksRow>::new(&key, held)?;
            if let RowKey::Marks(_, seq) = key {
                gathered.insert(seq, marks.clone());
            }
        }
        return Ok(gathered);
    }
    for record in records {
        if let Some(marks) = row::<MarksRow>(view, &RowKey::Marks(channel, record.at.seq))? {
            gathered.insert(record.at.seq, marks.clone());
        }
    }
    Ok(gathered)
}

/// Holds the marks of a page to their bound: what is beyond comes with the next page, together with its records.
fn cut_marks(page: &mut HistoryPage, newest_first: bool) {
    let weight = |marks: &Marks| 48 + marks.reactions.iter().map(|one| 16 + one.emoji.len()).sum::<usize>();
    let mut left = limit::PAGE_MARKS_BYTES_MAX;
    let mut fits = |marks: &&Marks| {
        let weight = weight(marks);
        let fits = weight <= left;
        left = left.saturating_sub(weight);
        fits
    };
    let over = if newest_first { page.marks.iter().rev().find(|marks| !fits(marks)) } else { page.marks.iter().find(|marks| !fits(marks)) };
    let (Some(over), Some((first, last))) = (over.map(|marks| marks.seq), page.covered) else { return };
    let (first, last) = if newest_first { (over.next(), last) } else { (first, over.prev()) };
    let is_in = |seq: Seq| first <= seq && seq <= last;
    page.records.retain(|record| is_in(record.at.seq));
    page.marks.retain(|marks| is_in(marks.seq));
    page.withheld.retain(|(from, to)| is_in(*from) && is_in(*to));
    page.covered = (first <= last).then_some((first, last));
}

/// A record as this user may read it; `None` when it is not theirs to read.
///
/// # Errors
/// A row cannot be read.
pub fn record(view: &dyn StateView, channel: ChannelId, user: UserId, seq: Seq) -> Result<Option<Record>, ViewError> {
    let (min_seq, limit) = (Seq::ZERO, 1);
    let query = HistoryQuery { channel, first: seq, last: seq, newest_first: false, limit, min_seq, replica: None, linearizable: false, place: None };
    let page = history(view, user, &query, NodeId::new(0))?;
    Ok(page.ok().and_then(|page| page.records.into_iter().find(|record| record.at.seq == seq)))
}

/// Who reacted to a record, and how, for a present member who may read it; `None` for everyone else.
///
/// # Errors
/// A row cannot be read.
pub fn reactions(view: &dyn StateView, channel: ChannelId, user: UserId, seq: Seq) -> Result<Option<Vec<Reaction>>, ViewError> {
    let shown = visibility(view, channel, user)?.is_some_and(|visible| visible.present && visible.shows(seq));
    if !shown {
        return Ok(None);
    }
    let mut reactions = row::<MarksRow>(view, &RowKey::Marks(channel, seq))?.map_or_else(Vec::new, |marks| marks.reactions.clone());
    if let Some(rules) = row::<RulesRow>(view, &RowKey::Rules(channel))? {
        forget_reactions(&rules, seq, &mut reactions);
    }
    Ok(Some(reactions))
}

/// Who a record has come to, sorted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SeenBy {
    /// Who has read it.
    pub read: Vec<UserId>,
    /// To whom it was delivered; who has read it is among them.
    pub delivered: Vec<UserId>,
}

/// Who has read a record and to whom it was delivered, besides its sender, for a present member who may read it; `None` for everyone else.
/// Only members who may read it are named.
///
/// # Errors
/// A row cannot be read.
pub fn seen(view: &dyn StateView, channel: ChannelId, user: UserId, seq: Seq) -> Result<Option<SeenBy>, ViewError> {
    let shown = visibility(view, channel, user)?.is_some_and(|visible| visible.present && visible.shows(seq));
    let Some(overview) = overview(view, channel, user)?.filter(|_| shown) else { return Ok(None) };
    let sender = required::<Record>(view, &RowKey::Record(channel, seq))?.sender;
    let mut seen = SeenBy::default();
    for (member, (has_read, has_got)) in overview.roster.members.iter().zip(&overview.positions) {
        if member.user == sender || !member.stays.iter().any(|stay| stay.shows(seq)) {
            continue;
        }
        if has_read.seq >= seq {
            seen.read.push(member.user);
        }
        if has_got.seq >= seq {
            seen.delivered.push(member.user);
        }
    }
    Ok(Some(seen))
}

/// What stands beside a channel's log, as a present member may see it: all of it, the caller shows what their role allows.
///
/// # Errors
/// A row cannot be read.
pub fn beside(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Option<Beside>, ViewError> {
    let Some(visible) = visibility(view, channel, user)?.filter(|visible| visible.present) else { return Ok(None) };
    let roster = required::<RosterRow>(view, &RowKey::Roster(channel))?;
    let Some(role) = member(&roster, user).map(|member| member.role) else { return Ok(None) };
    let mut rules = row::<RulesRow>(view, &RowKey::Rules(channel))?.map_or_else(RulesRow::default, |rules| rules.clone());
    rules.pins.retain(|pin| visible.shows(pin.seq));
    let may_invite = matches!(channel.kind(), ChannelKind::Group(_)) && role >= rules.rules.invite;
    match role {
        Role::Admin | Role::Owner => {}
        Role::Member => {
            rules.asked.clear();
            rules.banned.clear();
            rules.links.retain(|link| may_invite && link.by == user);
        }
    }
    Ok(Some(Beside { title: roster.title.clone(), role, rules }))
}

/// What stands beside a channel's log.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Title of a group.
    pub title: String,
    /// The asker's role.
    pub role: Role,
    /// The rest, without what is not theirs to see.
    pub rules: RulesRow,
}

/// A user's scheduled texts in a channel, by when they are due, each with its id. Theirs, member or not.
///
/// # Errors
/// A row cannot be read.
pub fn scheduled(view: &dyn StateView, channel: ChannelId, user: UserId) -> Result<Vec<(u64, ScheduledRow)>, ViewError> {
    let mut found = Vec::new();
    for (key, held) in view.scan(&Scan::Scheduled(channel, user), false, limit::SCHEDULED_MAX)? {
        let row = Held::<ScheduledRow>::new(&key, held)?;
        if let RowKey::Scheduled(_, _, id) = key {
            found.push((id, row.clone()));
        }
    }
    found.sort_by_key(|(id, row)| (row.due, *id));
    Ok(found)
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
    /// A page with `middle` in its middle: half of what fits before it, the rest from it on.
    fn fill_around(&mut self, page: &mut HistoryPage, visible: &Visibility, middle: Seq) -> Result<(), ViewError> {
        let all = Budget { records: self.budget.records, bytes: self.budget.bytes };
        self.budget = Budget { records: all.records / 2, bytes: all.bytes / 2 };
        self.reverse = true;
        if self.budget.records > 0 {
            self.fill(page, visible, Seq::ZERO.next(), middle.prev())?;
        }
        let before = page.covered.take();
        let (records, withheld) = (std::mem::take(&mut page.records), std::mem::take(&mut page.withheld));
        self.budget = Budget { records: all.records - records.len().min(all.records - 1), bytes: all.bytes / 2 };
        self.reverse = false;
        self.fill(page, visible, middle, visible.head())?;
        page.records.splice(0..0, records);
        page.withheld.splice(0..0, withheld);
        page.covered = match (before, page.covered) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (before, after) => before.or(after),
        };
        Ok(())
    }

    fn fill(&mut self, page: &mut HistoryPage, visible: &Visibility, first: Seq, last: Seq) -> Result<(), ViewError> {
        if first > last {
            return Ok(());
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
        Ok(())
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
