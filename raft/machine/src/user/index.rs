//! The user index: one row per channel with its news and the own read position, ordered by when it last changed.
//!
//! Refs are coalesced, repeated and reordered on the way, so that merging is a maximum in each part: (incarnation, seq) of the head with
//! what follows from it, `member_seq` with the stay, the own last record, the mentions. Merging is idempotent and its order does not matter.

use std::sync::Arc;

use kith_wire::{
    client::IndexQuery,
    code::Code,
    id::{ChannelId, ChannelKind, Seq, UserId, UserRev},
    limit,
    log::{ContactRow, IndexRow, Position, Preference, PreferencesRow, Ref, UserRow, UserState},
};

use crate::{
    Context,
    effect::Effect,
    mutant::Mutant,
    reply::Reply,
    user::push,
    view::{Held, RowKey, Scan, StateView, ViewError, required, row},
};

/// Merges refs into a user's index. `NoSuchUser`: erased or never was; the channels are told to stop.
pub(crate) fn merge_refs(ctx: &mut Context<'_>, user: UserId, refs: Vec<Ref>) -> Result<Reply, ViewError> {
    let Some(mut moving) = Moving::begin(ctx, user)? else {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    };
    for mut news in refs {
        if is_silenced(ctx, &moving, &news)? {
            continue;
        }
        tidy(&mut news);
        let old = ctx.rows.row::<IndexRow>(&RowKey::Index(user, news.channel))?;
        let row = match old.as_deref() {
            None => {
                let own = news.own;
                IndexRow { rev: UserRev::ZERO, news, read: own, preferences: PreferencesRow::default() }
            }
            Some(old) => merged(old, news),
        };
        push::note(ctx, &moving.account, user, old.as_deref(), &row)?;
        moving.put(ctx, old.as_deref(), row);
    }
    moving.finish(ctx)
}

/// Whether these are news of somebody whom the user has blocked, in their direct channel: neither preview nor unread.
fn is_silenced(ctx: &Context<'_>, moving: &Moving, news: &Ref) -> Result<bool, ViewError> {
    if moving.account.blocks == 0 {
        return Ok(false);
    }
    let Some(peer) = news.channel.peer_of(moving.user).filter(|peer| *peer == news.head_sender && *peer != moving.user) else { return Ok(false) };
    Ok(ctx.rows.row::<ContactRow>(&RowKey::Contact(moving.user, peer))?.is_some_and(|row| row.blocked))
}

/// Moves a user's own read position, largest wins. `Behind`: the channel's first ref is still on its way.
pub(crate) fn mark_read(ctx: &mut Context<'_>, user: UserId, channel: ChannelId, read: Position) -> Result<Reply, ViewError> {
    // No record has a count above its seq.
    if read.cnt > read.seq.get() {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let Some(mut moving) = Moving::begin(ctx, user)? else {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    };
    let Some(old) = ctx.rows.row::<IndexRow>(&RowKey::Index(user, channel))? else {
        return Ok(Reply::Rejected(Code::Behind));
    };
    let row = IndexRow { read: later(old.read, read), ..old.clone() };
    moving.put(ctx, Some(&old), row);
    moving.finish(ctx)
}

/// Changes how a conversation stands in the user's list. `NotFound`: it is not in it (yet).
pub(crate) fn prefer(ctx: &mut Context<'_>, user: UserId, channel: ChannelId, preference: Preference) -> Result<Reply, ViewError> {
    let Some(mut moving) = Moving::begin(ctx, user)? else {
        return Ok(Reply::Rejected(Code::NoSuchUser));
    };
    let Some(old) = ctx.rows.row::<IndexRow>(&RowKey::Index(user, channel))? else {
        return Ok(Reply::Rejected(Code::NotFound));
    };
    let mut row = old.clone();
    let (held, head) = (&mut row.preferences, old.news.head);
    let refused = match preference {
        Preference::Pin(true) if held.pinned.is_some() => None,
        Preference::Pin(true) => {
            held.pinned = Some(ctx.now);
            count(&mut moving.account.pins, true, limit::PINNED_MAX)
        }
        Preference::Pin(false) => held.pinned.take().and_then(|_| count(&mut moving.account.pins, false, limit::PINNED_MAX)),
        Preference::Mute { until } => {
            held.muted = until;
            None
        }
        Preference::Archive { seen } => {
            held.archived = seen.map(|seen| seen.max(head.seq));
            None
        }
        Preference::Draft(draft) if draft.text.is_empty() => {
            held.draft.take().and_then(|_| count(&mut moving.account.drafts, false, limit::DRAFTS_MAX))
        }
        Preference::Draft(draft) if draft.text.chars().count() > limit::DRAFT_CHARS_MAX => Some(Code::TooLarge),
        Preference::Draft(draft) => {
            let was_there = held.draft.replace(draft).is_some();
            if was_there { None } else { count(&mut moving.account.drafts, true, limit::DRAFTS_MAX) }
        }
        Preference::Clear { seq, cnt } if seq > head.seq || cnt > head.cnt.min(seq.get()) => Some(Code::Invalid),
        Preference::Clear { seq, cnt } => {
            held.cleared = later(held.cleared, Position { seq, cnt });
            None
        }
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    moving.put(ctx, Some(&old), row);
    moving.finish(ctx)
}

/// Channels that have forgotten the user are forgotten here too, with preview and draft: only of one who was erased.
pub(crate) fn forget(ctx: &mut Context<'_>, user: UserId, channels: &[ChannelId]) -> Result<Reply, ViewError> {
    let erased = ctx.rows.row::<UserRow>(&RowKey::User(user))?.filter(|row| row.state == UserState::Erased).map(|row| row.clone());
    let Some(mut account) = erased else { return Ok(Reply::Rejected(Code::Invalid)) };
    for channel in channels.iter().take(limit::FORGET_MAX) {
        let key = RowKey::Index(user, *channel);
        let Some(old) = ctx.rows.row::<IndexRow>(&key)? else { continue };
        account.pins = account.pins.saturating_sub(u32::from(old.preferences.pinned.is_some()));
        account.drafts = account.drafts.saturating_sub(u32::from(old.preferences.draft.is_some()));
        account.groups = account.groups.saturating_sub(u32::from(is_in_group(&old)));
        ctx.rows.delete(RowKey::IndexByRev(user, old.rev));
        push::drop_channel(ctx, user, *channel)?;
        ctx.rows.delete(key);
    }
    ctx.rows.put(RowKey::User(user), account);
    Ok(Reply::Done)
}

/// Channels of a user's index above this rev, by rising rev; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn channels(view: &dyn StateView, user: UserId, after: UserRev, limit: usize) -> Result<Vec<(UserRev, ChannelId)>, ViewError> {
    let mut channels = Vec::new();
    for (key, by_rev) in view.scan(&Scan::IndexByRev(user, after.next()..=UserRev::new(u64::MAX)), false, limit)? {
        if let RowKey::IndexByRev(_, rev) = key {
            channels.push((rev, *Held::<ChannelId>::new(&key, by_rev)?));
        }
    }
    Ok(channels)
}

/// One more, or one less. Says why not.
const fn count(count: &mut u32, more: bool, max: u32) -> Option<Code> {
    if !more {
        *count = count.saturating_sub(1);
        return None;
    }
    if *count >= max {
        return Some(Code::LimitReached);
    }
    *count += 1;
    None
}

/// The page of a user's index that a query asks for: rows, newest first, whether more follow below them, and where the index stands.
///
/// # Errors
/// A row cannot be read.
pub fn page(view: &dyn StateView, user: UserId, query: &IndexQuery) -> Result<IndexPage, ViewError> {
    let rev = row::<UserRow>(view, &RowKey::User(user))?.map_or(UserRev::ZERO, |row| row.rev);
    let below = query.below.map_or(u64::MAX, |below| below.get().saturating_sub(1));
    let last = UserRev::new(query.to.get().min(below).min(rev.get()));
    if query.from >= last {
        return Ok(IndexPage { rows: Vec::new(), more: false, rev });
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX).clamp(1, limit::PAGE_ROWS_MAX);
    let mut order = view.scan(&Scan::IndexByRev(user, query.from.next()..=last), true, limit + 1)?;
    let more = order.len() > limit;
    order.truncate(limit);
    let mut rows = Vec::with_capacity(order.len());
    for (key, by_rev) in order {
        let channel = *Held::<ChannelId>::new(&key, by_rev)?;
        rows.push(required::<IndexRow>(view, &RowKey::Index(user, channel))?.clone());
    }
    Ok(IndexPage { rows, more, rev })
}

/// The conversations of a user, the last moved first, each with its title, at most so many; and how many more there are.
///
/// # Errors
/// A row cannot be read.
pub fn titles(view: &dyn StateView, user: UserId, limit: usize) -> Result<(Vec<(ChannelId, String)>, usize), ViewError> {
    let order = view.scan(&Scan::IndexByRev(user, UserRev::ZERO..=UserRev::new(u64::MAX)), true, usize::MAX)?;
    let more = order.len().saturating_sub(limit);
    let mut titles = Vec::with_capacity(order.len() - more);
    for (key, by_rev) in order.into_iter().take(limit) {
        let channel = *Held::<ChannelId>::new(&key, by_rev)?;
        let title = required::<IndexRow>(view, &RowKey::Index(user, channel))?.news.title.clone();
        titles.push((channel, title));
    }
    Ok((titles, more))
}

/// Rows of a user's index.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexPage {
    /// Newest first.
    pub rows: Vec<IndexRow>,
    /// Whether there are more below the last one.
    pub more: bool,
    /// The version at which the index stands in this view.
    pub rev: UserRev,
}

/// A user's index while one command changes it.
struct Moving {
    user: UserId,
    account: UserRow,
    from: UserRev,
    /// As they were put; of a channel the last counts.
    changed: Vec<Arc<IndexRow>>,
}

impl Moving {
    /// `None` when there is no such user, or none any more.
    fn begin(ctx: &Context<'_>, user: UserId) -> Result<Option<Self>, ViewError> {
        let account = ctx.rows.row::<UserRow>(&RowKey::User(user))?.filter(|row| row.state == UserState::Active);
        Ok(account.map(|account| Self { user, account: account.clone(), from: account.rev, changed: Vec::new() }))
    }

    /// Puts a row at a new rev, unless nothing in it changed.
    fn put(&mut self, ctx: &mut Context<'_>, old: Option<&IndexRow>, row: IndexRow) {
        let was_in = u32::from(old.is_some_and(is_in_group));
        self.account.groups = (self.account.groups + u32::from(is_in_group(&row))).saturating_sub(was_in);
        if let Some(old) = old {
            if (&old.news, old.read, &old.preferences) == (&row.news, row.read, &row.preferences) {
                return;
            }
            ctx.rows.delete(RowKey::IndexByRev(self.user, old.rev));
        }
        let channel = row.news.channel;
        let rev = match old {
            Some(old) if ctx.is(Mutant::IndexRowKeepsRev) => {
                ctx.rows.put(RowKey::IndexByRev(self.user, old.rev), channel);
                old.rev
            }
            // Above every one that the user ever had: nobody has such a row, and once moved on, nobody ever will.
            _ => {
                self.account.rev = self.account.rev.next();
                ctx.rows.put_new(RowKey::IndexByRev(self.user, self.account.rev), channel);
                self.account.rev
            }
        };
        let row = Arc::new(IndexRow { rev, ..row });
        ctx.rows.put(RowKey::Index(self.user, channel), row.clone());
        self.changed.push(row);
    }

    fn finish(self, ctx: &mut Context<'_>) -> Result<Reply, ViewError> {
        let Self { user, account, from, changed } = self;
        let to = account.rev;
        if to != from {
            let mut rows = changed;
            // The last of each channel: a stable sort keeps it first.
            rows.reverse();
            rows.sort_by_key(|row| row.news.channel);
            rows.dedup_by_key(|row| row.news.channel);
            rows.sort_by_key(|row| row.rev);
            push::read(ctx, &account, user, &rows)?;
            ctx.rows.put(RowKey::User(user), account);
            ctx.effects.push(Effect::IndexMoved { user, from, to, rows });
        }
        Ok(Reply::Merged { from, to })
    }
}

/// Whether the row is of a group that the user is in now.
pub(crate) fn is_in_group(row: &IndexRow) -> bool {
    matches!(row.news.channel.kind(), ChannelKind::Group(_)) && row.news.left.is_none()
}

/// Holds a ref to its bounds, whoever made it.
fn tidy(news: &mut Ref) {
    tidy_mentions(&mut news.mentions);
    for (text, chars_max) in [(&mut news.preview, limit::PREVIEW_CHARS), (&mut news.title, limit::TITLE_CHARS_MAX)] {
        if let Some((end, _)) = text.char_indices().nth(chars_max) {
            text.truncate(end);
        }
    }
}

fn tidy_mentions(mentions: &mut Vec<Seq>) {
    mentions.sort();
    mentions.dedup();
    let over = mentions.len().saturating_sub(limit::MENTIONS_KEPT);
    mentions.drain(..over);
}

/// The larger of each part of a row and a tidy ref; own records were read.
fn merged(old: &IndexRow, new: Ref) -> IndexRow {
    let held = &old.news;
    if new.incarnation < held.incarnation {
        return old.clone();
    }
    if new.incarnation > held.incarnation {
        // Positions beyond the new head are of a tail that was lost.
        let clamped = |position: Position| if position.seq > new.head.seq { new.head } else { position };
        let mut preferences = old.preferences.clone();
        preferences.cleared = clamped(preferences.cleared);
        preferences.archived = preferences.archived.map(|head| head.min(new.head.seq));
        let read = later(clamped(old.read), new.own);
        return IndexRow { rev: old.rev, news: new, read, preferences };
    }
    let (member_seq, join, left) =
        if new.member_seq > held.member_seq { (new.member_seq, new.join, new.left) } else { (held.member_seq, held.join, held.left) };
    let own = later(held.own, new.own);
    let mut mentions = held.mentions.clone();
    mentions.extend(&new.mentions);
    tidy_mentions(&mut mentions);
    // Title and preview are those of the later head; they are nearly always the new one's, which need no copy.
    let newest = if new.head.seq > held.head.seq { new } else { held.clone() };
    let news = Ref { member_seq, join, left, own, mentions, ..newest };
    let read = later(old.read, news.own);
    IndexRow { rev: old.rev, news, read, preferences: old.preferences.clone() }
}

/// The position with the larger seq, the first of equals.
fn later(held: Position, new: Position) -> Position {
    if new.seq > held.seq { new } else { held }
}
