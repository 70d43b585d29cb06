//! A conversation as one of its writes finds it, and the one place that says who may do what in it.
//!
//! In: a channel, who wants to do something, what. Out: the rows, or why not. Invariant: every act asks [`Scene::refused`], every text
//! [`refused_text`] and [`refused_aims`]; a change of members asks `member`, by the same roles. Not here: what is done then (`act`, `link`, …).

use kith_wire::{
    act::{Act, RulesRow},
    code::Code,
    id::{ChannelId, ChannelKind, Seq, UserId},
    limit,
    log::{ChannelRow, Content, Member, PositionsRow, Record, Role, RosterRow},
};

use super::append::{member, standing};
use crate::{
    Context,
    reply::Reply,
    view::{Held, RowKey, ViewError},
};

/// What a write needs to know of its channel.
pub(crate) struct Scene {
    pub(crate) channel: ChannelId,
    pub(crate) state: ChannelRow,
    pub(crate) roster: RosterRow,
    pub(crate) rules: RulesRow,
}

impl Scene {
    /// `None`: there is no such channel.
    pub(crate) fn read(ctx: &Context<'_>, channel: ChannelId) -> Result<Option<Self>, ViewError> {
        let Some(state) = ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))? else { return Ok(None) };
        let state = state.clone();
        let roster = ctx.rows.required::<RosterRow>(&RowKey::Roster(channel))?.clone();
        let rules = rules(ctx, channel, &state)?;
        Ok(Some(Self { channel, state, roster, rules }))
    }

    /// Whether it is a group chat.
    pub(crate) fn is_group(&self) -> bool {
        matches!(self.channel.kind(), ChannelKind::Group(_))
    }

    /// Whether this member may read a record.
    pub(crate) fn shows(&self, member: &Member, seq: Seq) -> bool {
        shows(&self.state, member, seq)
    }

    /// A record that this member may read.
    pub(crate) fn record(&self, ctx: &Context<'_>, member: &Member, seq: Seq) -> Result<Option<Held<Record>>, ViewError> {
        if seq == Seq::ZERO || !self.shows(member, seq) {
            return Ok(None);
        }
        ctx.rows.required::<Record>(&RowKey::Record(self.channel, seq)).map(Some)
    }

    /// Writes the rules; the caller pushes a record with the state, or writes the state itself.
    pub(crate) fn put_rules(&mut self, ctx: &mut Context<'_>) {
        self.state.ruled = true;
        ctx.rows.put(RowKey::Rules(self.channel), self.rules.clone());
    }

    /// As [`Scene::put_rules`], with the state.
    pub(crate) fn put_rules_alone(&mut self, ctx: &mut Context<'_>) {
        self.put_rules(ctx);
        ctx.rows.put(RowKey::Channel(self.channel), self.state.clone());
    }

    /// Why `author` may not do this, whatever it is aimed at.
    pub(crate) fn refused(&self, ctx: &Context<'_>, author: UserId, act: &Act) -> Option<Code> {
        let member = match standing(&self.state, &self.roster, author) {
            Ok(member) => member,
            Err(code) => return Some(code),
        };
        let (role, rules, is_group) = (member.role, &self.rules.rules, self.is_group());
        let needs = |least: Role| (is_group && role < least).then_some(Code::NotAllowed);
        let in_group = |least: Role| (!is_group || role < least).then_some(Code::NotAllowed);
        let when_not_muted = || is_muted(&self.rules, author, ctx).then_some(Code::Muted);
        act.refused().or_else(|| match act {
            // These are texts when they come here: `append` and `fire` ask for them.
            Act::Post(_) | Act::Forward { .. } => Some(Code::Unsupported),
            Act::Edit { .. } | Act::React { .. } => when_not_muted(),
            // Whose text it is decides.
            Act::Delete { .. } | Act::Unschedule { .. } => None,
            // Texts that are sent by themselves would be a way around slow mode.
            Act::Schedule { .. } => when_not_muted().or_else(|| needs(if rules.slow_ms > 0 { Role::Admin.max(rules.post) } else { rules.post })),
            Act::Pin { .. } => when_not_muted().or_else(|| needs(rules.pin)),
            Act::Describe { .. } => when_not_muted().or_else(|| in_group(rules.describe)),
            Act::SetRules(new) if new.retention_ms != rules.retention_ms => in_group(Role::Owner),
            Act::SetRules(_) | Act::Mute { .. } | Act::Reject { .. } | Act::Ban { .. } => in_group(Role::Admin),
            Act::HandOver { .. } => in_group(Role::Owner),
            Act::Invite(_) => in_group(rules.invite),
            // Whose link it is decides.
            Act::Revoke { .. } => in_group(Role::Member),
        })
    }
}

fn shows(state: &ChannelRow, member: &Member, seq: Seq) -> bool {
    seq >= state.kept && seq <= state.head.seq && member.stays.iter().any(|stay| stay.shows(seq))
}

/// The rules of a channel: those of a new one while nobody made any.
pub(crate) fn rules(ctx: &Context<'_>, channel: ChannelId, state: &ChannelRow) -> Result<RulesRow, ViewError> {
    Ok(if state.ruled { ctx.rows.required::<RulesRow>(&RowKey::Rules(channel))?.clone() } else { RulesRow::default() })
}

pub(crate) fn is_muted(rules: &RulesRow, user: UserId, ctx: &Context<'_>) -> bool {
    rules.muted.iter().any(|muted| muted.user == user && muted.until > ctx.now)
}

/// Why a member may not write a text in a channel that has rules, or may not yet.
pub(crate) fn refused_text(ctx: &Context<'_>, channel: ChannelId, rules: &RulesRow, member: &Member) -> Result<Option<Reply>, ViewError> {
    let is_group = matches!(channel.kind(), ChannelKind::Group(_));
    if is_muted(rules, member.user, ctx) {
        return Ok(Some(Reply::Rejected(Code::Muted)));
    }
    if is_group && member.role < rules.rules.post {
        return Ok(Some(Reply::Rejected(Code::NotAllowed)));
    }
    if rules.rules.slow_ms == 0 || member.role > Role::Member {
        return Ok(None);
    }
    let Some(positions) = ctx.rows.row::<PositionsRow>(&RowKey::Positions(channel, member.user))?.filter(|row| row.own.seq > Seq::ZERO) else {
        return Ok(None);
    };
    let last = ctx.rows.required::<Record>(&RowKey::Record(channel, positions.own.seq))?;
    let free = last.ts.get().saturating_add(rules.rules.slow_ms);
    let ms = free.saturating_sub(ctx.now.get());
    Ok((ms > 0).then_some(Reply::Slow { ms }))
}

/// Why a text cannot stand there: what it answers and the thread that it is in must be this member's to read.
pub(crate) fn refused_aims(
    ctx: &Context<'_>,
    channel: ChannelId,
    state: &ChannelRow,
    member: &Member,
    content: &Content,
) -> Result<Option<Code>, ViewError> {
    let Content::Text { reply_to, extra, .. } = content else { return Ok(None) };
    let shows = |seq: Seq| seq > Seq::ZERO && shows(state, member, seq);
    if reply_to.is_some_and(|seq| !shows(seq)) {
        return Ok(Some(Code::NotFound));
    }
    let Some(extra) = extra else { return Ok(None) };
    if extra.ttl_ms.is_some_and(|ttl| !(limit::TTL_MS_MIN..=limit::AHEAD_MS_MAX).contains(&ttl)) {
        return Ok(Some(Code::Invalid));
    }
    let Some(root) = extra.thread else { return Ok(None) };
    if !shows(root) {
        return Ok(Some(Code::NotFound));
    }
    let record = ctx.rows.required::<Record>(&RowKey::Record(channel, root))?;
    if state.ruled && rules(ctx, channel, state)?.is_erasing(&record) {
        return Ok(Some(Code::TextGone));
    }
    Ok(match &record.content {
        Content::Text { extra, .. } if extra.as_ref().is_some_and(|extra| extra.thread.is_some()) => Some(Code::Invalid),
        Content::Text { .. } => None,
        Content::Gone { counted: true, .. } => Some(Code::TextGone),
        _ => Some(Code::Invalid),
    })
}

/// The member of a scene that `user` is; the caller has asked [`Scene::refused`].
pub(crate) fn author(scene: &Scene, user: UserId) -> Option<Member> {
    member(&scene.roster, user).cloned()
}
