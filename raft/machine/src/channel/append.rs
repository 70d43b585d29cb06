//! Records: the one way in which a conversation grows.

use std::sync::Arc;

use kith_wire::{
    act::{RulesRow, refused_text},
    code::Code,
    id::{ChannelId, ChannelKind, ClientSeq, DeviceId, Seq, UserId},
    limit,
    log::{Author, ChannelRow, Content, Member, Outcome, PeerCheck, Position, PositionsRow, Record, Role, RosterRow, Stay},
};

use super::{
    dedup::{self, Number},
    scene, timer,
};
use crate::{
    Context,
    effect::Effect,
    hook,
    mutant::{self, Mutant},
    reply::Reply,
    view::{RowKey, StateView, ViewError},
};

/// A record before it has a place.
pub(crate) struct Draft {
    pub(crate) sender: UserId,
    pub(crate) device: DeviceId,
    pub(crate) client_seq: ClientSeq,
    pub(crate) content: Content,
    /// Its sender has seen the channel up to it: it moves their own positions. An act does not: who reacts to an old text has not read the
    /// new ones.
    pub(crate) is_read: bool,
}

/// Adds a record of content. The first one makes a direct channel.
pub(crate) fn append(ctx: &mut Context<'_>, channel: ChannelId, author: &Author, content: Content, peer: PeerCheck) -> Result<Reply, ViewError> {
    if ctx.is(Mutant::MemberBeforeDedup)
        && let Some(roster) = ctx.rows.row::<RosterRow>(&RowKey::Roster(channel))?
        && member(&roster, author.user).is_none()
    {
        return Ok(Reply::Rejected(Code::NotMember));
    }
    let ring = match dedup::number(ctx, channel, author)? {
        Number::Next(ring) => ring,
        Number::Answered(reply) => return Ok(reply),
    };
    let (mut state, roster) = match ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? {
        Some(state) => {
            let roster = ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?;
            let mut unfit = standing(&state, &roster, author.user).err();
            if ctx.is(Mutant::RemovedMaySend) && ctx.rows.get(&RowKey::Former(channel, author.user))?.is_some() {
                unfit = None;
            }
            if let Some(code) = unfit.or_else(|| refused_content(&content)) {
                return Ok(ring.refuse(ctx, channel, author, code));
            }
            if let Some(member) = member(&roster, author.user) {
                if state.ruled {
                    let rules = ctx.rows.required::<RulesRow>(&RowKey::Rules(channel))?;
                    match scene::refused_text(ctx, channel, &rules, member)? {
                        Some(Reply::Rejected(code)) => return Ok(ring.refuse(ctx, channel, author, code)),
                        Some(reply) => return Ok(reply),
                        None => {}
                    }
                }
                if let Some(code) = scene::refused_aims(ctx, channel, &state, member, &content)? {
                    return Ok(ring.refuse(ctx, channel, author, code));
                }
            }
            (state.clone(), roster)
        }
        None => {
            // No channel, no row: nothing to log a refusal in, and nothing is used up.
            if let Some(code) = refused_beginning(channel, author.user, peer).or_else(|| refused_first(&content)) {
                return Ok(Reply::Rejected(code));
            }
            ctx.rows.put(RowKey::Roster(channel), direct_roster(channel, author.user));
            (ChannelRow::default(), ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?)
        }
    };
    state.head.seq = mutant::head(ctx.rows.quirk(), state.head.seq, author.settled);
    let record =
        push(ctx, channel, &mut state, Draft { sender: author.user, device: author.device, client_seq: author.client_seq, content, is_read: true })?;
    follow_text(ctx, channel, &mut state, &roster, &record)?;
    let recipients = recipients(&roster.members, record.at.seq);
    ring.use_up(ctx, channel, author, Outcome::Record { seq: record.at.seq, ts: record.ts });
    let reply = sent(&record, false);
    ctx.effects.push(Effect::Appended { channel, record, recipients });
    Ok(reply)
}

/// The member that `user` is, if the channel still takes records from them.
pub(crate) fn standing<'r>(state: &ChannelRow, roster: &'r RosterRow, user: UserId) -> Result<&'r Member, Code> {
    match member(roster, user) {
        _ if state.dissolved => Err(Code::Dissolved),
        Some(member) => Ok(member),
        None => Err(Code::NotMember),
    }
}

/// The present member of a roster.
pub(crate) fn member(roster: &RosterRow, user: UserId) -> Option<&Member> {
    roster.members.binary_search_by_key(&user, |member| member.user).ok().and_then(|at| roster.members.get(at))
}

/// Puts a record at the end of a channel and moves its sender's own positions. `state` is written with it.
pub(crate) fn push(ctx: &mut Context<'_>, channel: ChannelId, state: &mut ChannelRow, draft: Draft) -> Result<Arc<Record>, ViewError> {
    let was_dirty = state.head.seq > state.fanned;
    let before = state.head.seq;
    let cnt = state.head.cnt + u64::from(draft.content.is_text());
    // The one line of Kith that assigns a seq: README's walk of a message names it.
    let seq = state.head.seq.next();
    state.head = Position { seq, cnt };
    state.last_ts = ctx.now.max(state.last_ts);
    let Draft { sender, device, client_seq, content, is_read } = draft;
    let record = Record { at: state.head, incarnation: state.incarnation, sender, device, client_seq, ts: state.last_ts, content };

    if is_read {
        let key = RowKey::Positions(channel, sender);
        let mut positions = ctx.rows.row::<PositionsRow>(&key)?.map_or_else(PositionsRow::default, |row| row.clone());
        (positions.own, positions.read, positions.delivered) = (record.at, record.at, record.at);
        ctx.rows.put(key, positions);
    }
    ctx.rows.put(RowKey::Channel(channel), state.clone());
    if !was_dirty {
        ctx.rows.put(RowKey::Dirty(channel), crate::view::Row::Dirty);
    }
    ctx.rows.put(RowKey::Record(channel, seq), record.clone());
    if state.hooked || ctx.hooked {
        hook::note(ctx, channel, state, before)?;
    }
    Ok(Arc::new(record))
}

/// The answer to the write that made a record.
pub(crate) fn sent(record: &Record, duplicate: bool) -> Reply {
    Reply::Sent { seq: record.at.seq, cnt: record.at.cnt, ts: record.ts, duplicate }
}

/// Who may see the record at `seq`, each with the seq before it that they may see; sorted like the members.
pub(crate) fn recipients<'m>(members: impl IntoIterator<Item = &'m Member>, seq: Seq) -> Arc<[(UserId, Seq)]> {
    members.into_iter().map(|member| (member.user, previous_visible(&member.stays, seq))).collect()
}

/// The last record before `seq` that lies in one of the stays; `seq` itself lies in the last one.
fn previous_visible(stays: &[Stay], seq: Seq) -> Seq {
    match stays {
        [.., last] if last.first() < seq => seq.prev(),
        [.., before, _] => before.left.unwrap_or(Seq::ZERO),
        _ => Seq::ZERO,
    }
}

/// Why a channel that is not there cannot begin with this write.
fn refused_beginning(channel: ChannelId, author: UserId, peer: PeerCheck) -> Option<Code> {
    match channel.kind() {
        ChannelKind::Direct(low, high) if author == low || author == high => {
            let needs_peer = low != high && peer == PeerCheck::NotAsked;
            needs_peer.then_some(Code::NoSuchUser)
        }
        ChannelKind::Direct(..) | ChannelKind::Group(_) => Some(Code::NotMember),
    }
}

fn direct_roster(channel: ChannelId, creator: UserId) -> RosterRow {
    let mut users = match channel.kind() {
        ChannelKind::Direct(low, high) => vec![low, high],
        ChannelKind::Group(_) => vec![creator],
    };
    users.dedup();
    let stay = Stay { join: Position { seq: Seq::ZERO.next(), cnt: 0 }, left: None, since: None };
    let members = users.into_iter().map(|user| Member { user, role: Role::Member, member_seq: Seq::ZERO, stays: vec![stay] }).collect();
    RosterRow { title: String::new(), creator, members, departing: Vec::new() }
}

/// Why the content cannot become a record.
fn refused_content(content: &Content) -> Option<Code> {
    match content {
        Content::Text { text, mentions, .. } => refused_text(text, mentions),
        // The machine writes these itself.
        Content::Created { .. } | Content::Members(_) | Content::Act(_) | Content::Gone { .. } | Content::Erased { .. } => Some(Code::Invalid),
        Content::Unknown { .. } => Some(Code::Unsupported),
    }
}

/// Why the content cannot become the first record of a channel: there is nothing yet that it could be aimed at.
fn refused_first(content: &Content) -> Option<Code> {
    let aims = match content {
        Content::Text { reply_to, extra, .. } => reply_to.is_some() || extra.as_ref().is_some_and(|extra| extra.thread.is_some()),
        _ => false,
    };
    refused_content(content).or_else(|| aims.then_some(Code::NotFound))
}

/// What follows from a text that has just been recorded: whom it mentions, its thread, its end.
pub(crate) fn follow_text(
    ctx: &mut Context<'_>,
    channel: ChannelId,
    state: &mut ChannelRow,
    roster: &RosterRow,
    record: &Record,
) -> Result<(), ViewError> {
    note_mentions(ctx, channel, roster, record)?;
    if record.content.extra().is_some() || state.ruled {
        timer::follow(ctx, channel, state, record)?;
    }
    Ok(())
}

/// Remembers the record with each other member that it mentions.
fn note_mentions(ctx: &mut Context<'_>, channel: ChannelId, roster: &RosterRow, record: &Record) -> Result<(), ViewError> {
    let Content::Text { mentions, .. } = &record.content else { return Ok(()) };
    let members: Vec<_> = mentions.iter().copied().filter(|user| *user != record.sender && member(roster, *user).is_some()).collect();
    note_mentioned(ctx, channel, &members, record.at.seq)
}

/// Remembers with each of these that the record at `seq` mentions them.
pub(crate) fn note_mentioned(ctx: &mut Context<'_>, channel: ChannelId, users: &[UserId], seq: Seq) -> Result<(), ViewError> {
    for user in users {
        let key = RowKey::Positions(channel, *user);
        let mut positions = ctx.rows.row::<PositionsRow>(&key)?.map_or_else(PositionsRow::default, |row| row.clone());
        if positions.mentions.last() == Some(&seq) {
            continue;
        }
        positions.mentions.push(seq);
        let over = positions.mentions.len().saturating_sub(limit::MENTIONS_KEPT);
        positions.mentions.drain(..over);
        ctx.rows.put(key, positions);
    }
    Ok(())
}
