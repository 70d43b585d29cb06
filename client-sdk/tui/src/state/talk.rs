//! One conversation as it is held for the screen: records with what has gathered about them, own writes under way, what is being
//! written.
//!
//! In: pages, live records, receipts, own writes. Out: entries in order, for `view`. Invariants: a record is there once; an edit, a deletion or
//! a reaction counts once, however it came: with a page's marks or as a record after them; an own write is shown until its record is there.
//! Bound: `RECORDS_MAX` records; beyond it those farthest from where one reads are let go, and fetched again when one comes there.
//! Not here: how it looks (`view::talk`).

use std::{collections::BTreeMap, sync::Arc};

use kith_client::wire::{
    act::{Act, Gone},
    client::{GroupView, HistoryPage, Marks, MemberView, ReactionTotal},
    id::{ChannelId, Seq, Timestamp, UserId},
    log::{Content, MemberChange, Position, Record, Role},
};

use crate::{action::Progress, field::Field};

/// Records that are held of one conversation.
const RECORDS_MAX: usize = 3_000;

/// A record, and what has gathered about it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Item {
    pub(crate) record: Arc<Record>,
    pub(crate) is_edited: bool,
    pub(crate) reactions: Vec<ReactionTotal>,
    pub(crate) is_pinned: bool,
    pub(crate) replies: u32,
    /// The record up to which this is known: what comes later is still to be counted.
    as_of: Seq,
}

/// An own write that has no record here yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: u64,
    pub(crate) text: String,
    pub(crate) reply_to: Option<Seq>,
    pub(crate) at: Timestamp,
    pub(crate) client_seq: Option<u64>,
    pub(crate) state: Sending,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Sending {
    Queued,
    /// It stands there; its record is on the way.
    Sent(Seq),
    Failed(String),
}

/// Something that can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Chosen {
    Record(Seq),
    Pending(u64),
}

#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) channel: ChannelId,
    pub(crate) items: BTreeMap<Seq, Item>,
    /// Records that others answer, and that are not held otherwise.
    pub(crate) quoted: BTreeMap<Seq, Option<Arc<Record>>>,
    /// There are older ones.
    pub(crate) has_older: bool,
    /// There are newer ones than those that are held: after a jump. Live records are not taken in until they join.
    pub(crate) has_newer: bool,
    /// The last record that was not taken in for that.
    missed: Seq,
    pub(crate) is_loading: bool,
    /// The last page did not come: none is asked for until something changes.
    pub(crate) is_halted: bool,
    pub(crate) is_loaded: bool,
    /// From what this device holds, without marks: the server is to be asked when it is there.
    pub(crate) is_stale: bool,
    pub(crate) members: Vec<MemberView>,
    pub(crate) group: Option<GroupView>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) composer: Field,
    pub(crate) reply_to: Option<Seq>,
    pub(crate) editing: Option<Seq>,
    pub(crate) chosen: Option<Chosen>,
    /// Lines that one has scrolled up from the newest.
    pub(crate) up: usize,
    /// Read up to here when it was opened: what is new stands below a line.
    pub(crate) divider: Option<Seq>,
    /// The last own word that this user types.
    pub(crate) typed_at: Timestamp,
    /// The draft as it was saved last.
    pub(crate) saved_draft: String,
    /// Read position that was told last.
    pub(crate) told_read: Position,
    /// To be chosen when its page is there.
    pub(crate) going_to: Option<Seq>,
}

impl Talk {
    pub(crate) fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            items: BTreeMap::new(),
            quoted: BTreeMap::new(),
            has_older: false,
            has_newer: false,
            missed: Seq::ZERO,
            is_loading: false,
            is_halted: false,
            is_loaded: false,
            is_stale: false,
            members: Vec::new(),
            group: None,
            pending: Vec::new(),
            composer: Field::lines(),
            reply_to: None,
            editing: None,
            chosen: None,
            up: 0,
            divider: None,
            typed_at: Timestamp::default(),
            saved_draft: String::new(),
            told_read: Position::default(),
            going_to: None,
        }
    }

    pub(crate) fn oldest(&self) -> Option<Seq> {
        self.items.keys().next().copied()
    }
    pub(crate) fn newest(&self) -> Option<Seq> {
        self.items.keys().next_back().copied()
    }
    /// Position of the newest record.
    pub(crate) fn head(&self) -> Option<Position> {
        self.items.values().next_back().map(|item| item.record.at)
    }

    /// Takes a page in. `anew`: what is held does not join it.
    pub(crate) fn take_page(&mut self, page: HistoryPage, anew: bool) {
        let as_of = page.head.seq;
        let reaches_head = page.covered.is_none_or(|(_, last)| last >= as_of);
        if anew && reaches_head {
            // What came live since the page was read follows it.
            self.items.retain(|seq, _| *seq > as_of);
        } else if anew {
            self.items.clear();
        }
        let (oldest, newest) = (self.oldest(), self.newest());
        let mut marks: BTreeMap<Seq, Marks> = page.marks.into_iter().map(|marks| (marks.seq, marks)).collect();
        for record in page.records {
            let marks = marks.remove(&record.at.seq);
            let held = self.items.get(&record.at.seq).map_or(Seq::ZERO, |item| item.as_of);
            if held <= as_of {
                self.items.insert(record.at.seq, Item::of_page(Arc::new(record), marks, as_of));
            }
        }
        if let Some((first, last)) = page.covered {
            if anew || oldest.is_none_or(|oldest| first <= oldest) {
                self.has_older = first > Seq::new(1);
                // One reads here: what is far below goes.
                while !anew && self.items.len() > RECORDS_MAX {
                    self.items.pop_last();
                    self.has_newer = true;
                }
            }
            if anew || newest.is_none_or(|newest| last >= newest) {
                self.has_newer = last < as_of.max(self.missed);
                while !anew && self.items.len() > RECORDS_MAX {
                    self.items.pop_first();
                    self.has_older = true;
                }
            }
        } else if anew {
            (self.has_older, self.has_newer) = (false, false);
        }
        (self.is_loaded, self.is_stale) = (true, false);
        self.settle_pending();
    }

    /// What this device holds, in the place of a page: shown until the server can be asked.
    pub(crate) fn take_held(&mut self, records: Vec<Arc<Record>>, has_older: bool) {
        for record in records {
            self.take_live(UserId::default(), &record);
        }
        (self.has_older, self.is_loaded, self.is_stale) = (has_older, true, true);
    }

    /// A record as it came. Those below the newest are known already, or will be when their page is asked for.
    pub(crate) fn take_live(&mut self, me: UserId, record: &Arc<Record>) {
        let seq = record.at.seq;
        // Who writes has read what stands before it: the server takes it for that, and sends no receipt. One that was to be sent later has no number.
        if matches!(record.content, Content::Text { .. }) && record.client_seq.get() > 0 {
            self.take_receipt(record.sender, record.at, record.at);
        }
        if self.has_newer {
            self.missed = self.missed.max(seq);
            return;
        }
        if self.items.contains_key(&seq) || self.newest().is_some_and(|newest| seq < newest) {
            return;
        }
        self.amend(me, record);
        self.items.insert(seq, Item::of_live(Arc::clone(record)));
        self.settle_pending();
        self.members_changed(record);
        if self.up == 0 && self.chosen.is_none() {
            while self.items.len() > RECORDS_MAX {
                self.items.pop_first();
                self.has_older = true;
            }
        }
    }

    /// What a record changes about older ones.
    fn amend(&mut self, me: UserId, by: &Record) {
        let seq = by.at.seq;
        if let Some(root) = by.content.extra().and_then(|extra| extra.thread)
            && let Some(item) = self.fresh(root, seq)
        {
            item.replies += 1;
        }
        if let Content::Erased { user } = &by.content {
            self.erase(*user, seq);
        }
        let Content::Act(act) = &by.content else { return };
        match act {
            Act::Edit { target, text, mentions } if !text.is_empty() => {
                let (text, mentions) = (text.clone(), mentions.clone());
                if let Some(item) = self.fresh(*target, seq)
                    && let Content::Text { reply_to, extra, .. } = &item.record.content
                {
                    let content = Content::Text { text, reply_to: *reply_to, mentions, extra: extra.clone() };
                    item.record = Arc::new(Record { content, ..(*item.record).clone() });
                    item.is_edited = true;
                }
            }
            Act::Delete { target } => {
                if let Some(item) = self.fresh(*target, seq) {
                    let content = Content::Gone { why: Gone::Deleted, counted: true };
                    item.record = Arc::new(Record { content, ..(*item.record).clone() });
                    item.reactions.clear();
                }
                self.quoted.remove(target);
            }
            // Of one whose account has ended nothing is left.
            Act::React { target, emoji, on } if !emoji.is_empty() => {
                let is_mine = by.sender == me;
                if let Some(item) = self.fresh(*target, seq) {
                    item.react(emoji, *on, is_mine);
                }
            }
            Act::Pin { target, on } => {
                if let Some(item) = self.fresh(*target, seq) {
                    item.is_pinned = *on;
                }
            }
            _ => {}
        }
    }
    /// An account has ended: what its user wrote before is gone, and copies of it.
    fn erase(&mut self, user: UserId, before: Seq) {
        let is_theirs = |record: &Record| {
            record.sender == user || record.content.extra().and_then(|extra| extra.origin).is_some_and(|origin| origin.sender == user)
        };
        for (_, item) in self.items.range_mut(..before).filter(|(_, item)| is_theirs(&item.record) && item.record.content.text().is_some()) {
            let content = Content::Gone { why: Gone::Erased, counted: true };
            item.record = Arc::new(Record { content, ..(*item.record).clone() });
        }
        self.quoted.retain(|_, quoted| quoted.as_ref().is_none_or(|record| record.sender != user));
    }
    /// A held record that does not count this one yet.
    fn fresh(&mut self, target: Seq, by: Seq) -> Option<&mut Item> {
        let item = self.items.get_mut(&target).filter(|item| item.as_of < by)?;
        item.as_of = by;
        Some(item)
    }
    fn members_changed(&mut self, record: &Record) {
        let Content::Members(change) = &record.content else { return };
        let joined = |user, at| MemberView { user, role: Role::Member, read: at, delivered: at };
        match change {
            MemberChange::Add(user) => self.members.push(joined(*user, record.at)),
            MemberChange::Join => self.members.push(joined(record.sender, record.at)),
            MemberChange::Remove(user) => self.members.retain(|member| member.user != *user),
            MemberChange::Leave => self.members.retain(|member| member.user != record.sender),
            MemberChange::SetRole(user, role) => {
                self.members.iter_mut().filter(|member| member.user == *user).for_each(|member| member.role = *role);
            }
        }
        self.members.sort_by_key(|member| member.user);
        self.members.dedup_by_key(|member| member.user);
    }

    pub(crate) fn take_receipt(&mut self, user: UserId, read: Position, delivered: Position) {
        for member in self.members.iter_mut().filter(|member| member.user == user) {
            member.read = member.read.max(read);
            member.delivered = member.delivered.max(delivered);
        }
    }
    /// How many of the others have read a record, and how many there are.
    pub(crate) fn seen_by(&self, me: UserId, seq: Seq) -> (usize, usize) {
        let others = self.members.iter().filter(|member| member.user != me);
        others.fold((0, 0), |(seen, all), member| (seen + usize::from(member.read.seq >= seq), all + 1))
    }
    pub(crate) fn progress(&mut self, ticket: u64, progress: &Progress) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.ticket == ticket) else { return };
        match progress {
            Progress::Queued(client_seq) => pending.client_seq = Some(*client_seq),
            Progress::Recorded(seq, at) => (pending.state, pending.at) = (Sending::Sent(*seq), *at),
            Progress::Done => self.pending.retain(|pending| pending.ticket != ticket),
            Progress::Failed(error) => pending.state = Sending::Failed(crate::state::trouble::in_short(error)),
        }
        self.settle_pending();
    }
    /// Own writes whose record is here are shown as that.
    fn settle_pending(&mut self) {
        let Self { pending, items, .. } = self;
        pending.retain(|pending| match pending.state {
            Sending::Sent(seq) => !items.contains_key(&seq),
            // The record may be here before the answer: it has the number and the text.
            Sending::Queued => !items
                .values()
                .rev()
                .take(64)
                .any(|item| pending.client_seq == Some(item.record.client_seq.get()) && item.record.content.text() == Some(pending.text.as_str())),
            Sending::Failed(_) => true,
        });
    }
    /// Own writes that are not known to stand anywhere.
    pub(crate) fn unsent(&self) -> usize {
        self.pending.iter().filter(|pending| pending.state == Sending::Queued).count()
    }

    /// The record that a text answers, if it is known. `None` inside: it is not there for this user.
    pub(crate) fn find(&self, seq: Seq) -> Option<Option<&Arc<Record>>> {
        match self.items.get(&seq) {
            Some(item) => Some(Some(&item.record)),
            None => self.quoted.get(&seq).map(Option::as_ref),
        }
    }
    /// Records that others answer and that nobody asked for yet; they count as asked for then.
    pub(crate) fn poll_quoted(&mut self) -> Vec<Seq> {
        const AT_ONCE: usize = 8;
        let answered = self.items.values().rev().filter_map(|item| match &item.record.content {
            Content::Text { reply_to, .. } => *reply_to,
            _ => None,
        });
        let unknown: Vec<Seq> = answered.filter(|seq| !self.items.contains_key(seq) && !self.quoted.contains_key(seq)).take(AT_ONCE).collect();
        for seq in &unknown {
            self.quoted.insert(*seq, None);
        }
        unknown
    }

    /// What can be chosen, in order.
    pub(crate) fn choices(&self) -> impl DoubleEndedIterator<Item = Chosen> + '_ {
        let records = self.items.values().filter(|item| item.is_message()).map(|item| Chosen::Record(item.record.at.seq));
        records.chain(self.pending.iter().map(|pending| Chosen::Pending(pending.ticket)))
    }
    /// Moves the choice by so many, and gives whether there was anything to move to.
    pub(crate) fn choose(&mut self, by: isize) -> bool {
        let all: Vec<Chosen> = self.choices().collect();
        let Some(last) = all.len().checked_sub(1) else { return false };
        let at = self.chosen.and_then(|chosen| all.iter().position(|one| *one == chosen)).unwrap_or(last);
        let to = at.saturating_add_signed(by).min(last);
        self.chosen = all.get(to).copied();
        to != at
    }
    /// The last own text that can be edited.
    pub(crate) fn last_own(&self, me: UserId) -> Option<&Item> {
        self.items.values().rev().find(|item| item.record.sender == me && item.record.content.text().is_some())
    }
}

impl Item {
    fn of_page(record: Arc<Record>, marks: Option<Marks>, as_of: Seq) -> Self {
        let mut item = Self { as_of, ..Self::of_live(record) };
        if let Some(marks) = marks {
            item.is_edited = marks.edited > Seq::ZERO;
            item.reactions = marks.reactions;
            (item.is_pinned, item.replies) = (marks.pinned, marks.replies);
        }
        item
    }
    fn of_live(record: Arc<Record>) -> Self {
        let as_of = record.at.seq;
        Self { record, is_edited: false, reactions: Vec::new(), is_pinned: false, replies: 0, as_of }
    }
    fn react(&mut self, emoji: &str, on: bool, is_mine: bool) {
        let at = match self.reactions.iter().position(|total| total.emoji == emoji) {
            Some(at) => at,
            None if on => {
                self.reactions.push(ReactionTotal { emoji: emoji.to_owned(), count: 0, mine: false });
                self.reactions.len() - 1
            }
            None => return,
        };
        let total = &mut self.reactions[at];
        total.count = if on { total.count.saturating_add(1) } else { total.count.saturating_sub(1) };
        if is_mine {
            total.mine = on;
        }
        if total.count == 0 {
            self.reactions.remove(at);
        }
        self.reactions.sort_by(|a, b| a.emoji.cmp(&b.emoji));
    }
    /// Whether it is a text, or was one.
    pub(crate) fn is_message(&self) -> bool {
        matches!(self.record.content, Content::Text { .. } | Content::Gone { .. })
    }
}
