//! Group chats: making one, and who is in it. Each change is a record, seen by everyone it concerns, the removed among them.
//!
//! Owner: everything. Admin: adds, and removes plain members. Member: posts, reads, leaves; adds where the group's rules say so. A group
//! always has an owner, and the last one hands over before leaving; when the last member leaves it is dissolved, and its row stays, so that its id is never used again.

use kith_wire::{
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, Seq, UserId},
    limit,
    log::{Author, ChannelRow, Content, Departing, FormerRow, Member, MemberChange, Outcome, Position, Record, Role, RosterRow, Stay},
};

use super::{
    append::{Draft, member, push, recipients, sent, standing},
    dedup::{self, Number},
    scene::Scene,
};
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// A group to make.
pub(crate) struct Creation {
    pub(crate) channel: ChannelId,
    pub(crate) creator: UserId,
    pub(crate) device: DeviceId,
    pub(crate) op: u64,
    pub(crate) title: String,
    pub(crate) members: Vec<UserId>,
}

/// Makes a group chat, or tells that it was made: the id follows from who makes it and in which operation.
pub(crate) fn create(ctx: &mut Context<'_>, creation: Creation) -> Result<Reply, ViewError> {
    let Creation { channel, creator, device, op, title, mut members } = creation;
    if channel != ChannelId::group(channel.region(), creator, device, op) || creator == UserId::new(0) {
        return Ok(Reply::Rejected(Code::Invalid));
    }
    let first = Seq::ZERO.next();
    if ctx.rows.row::<ChannelRow>(&RowKey::Channel(channel))?.is_some() {
        return Ok(sent(&*ctx.rows.required::<Record>(&RowKey::Record(channel, first))?, true));
    }
    members.sort();
    members.dedup();
    members.retain(|user| *user != creator);
    let refused = match () {
        () if members.first() == Some(&UserId::new(0)) => Some(Code::Invalid),
        () if title.chars().count() > limit::TITLE_CHARS_MAX => Some(Code::TooLarge),
        () if members.len() >= limit::MEMBERS_MAX => Some(Code::GroupFull),
        () => None,
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    let stay = Stay { join: Position { seq: first, cnt: 0 }, left: None, since: None };
    let new = |user, role| Member { user, role, member_seq: first, stays: vec![stay] };
    let mut all: Vec<_> = members.iter().map(|user| new(*user, Role::Member)).collect();
    all.push(new(creator, Role::Owner));
    all.sort_by_key(|member| member.user);

    let content = Content::Created { title: title.clone(), members };
    let draft = Draft { sender: creator, device, client_seq: ClientSeq::new(0), content, is_read: true };
    // Before its first record: whose webhooks hear of it follows from who is in it.
    ctx.rows.put(RowKey::Roster(channel), RosterRow { title, creator, members: all.clone(), departing: Vec::new() });
    let record = push(ctx, channel, &mut ChannelRow::default(), draft)?;
    let reply = sent(&record, false);
    ctx.effects.push(Effect::Appended { channel, recipients: recipients(&all, first), record });
    Ok(reply)
}

/// Changes the members of a group; a numbered write like any other.
pub(crate) fn change(ctx: &mut Context<'_>, channel: ChannelId, author: &Author, change: MemberChange) -> Result<Reply, ViewError> {
    let ring = match dedup::number(ctx, channel, author)? {
        Number::Next(ring) => ring,
        Number::Answered(reply) => return Ok(reply),
    };
    let Some(mut scene) = Scene::read(ctx, channel)? else {
        return Ok(Reply::Rejected(Code::NotMember));
    };
    // To remove oneself is to leave.
    let step = match change {
        MemberChange::Remove(user) if user == author.user => MemberChange::Leave,
        other => other,
    };
    let mut earlier = Vec::new();
    if let MemberChange::Add(user) = step
        && let Some(former) = ctx.rows.row::<FormerRow>(&RowKey::Former(channel, user))?
    {
        earlier.clone_from(&former.stays);
    }
    if let Some(code) = refused(&scene, author.user, step, earlier.len()) {
        return Ok(ring.refuse(ctx, channel, author, code));
    }
    let was_muted = super::scene::is_muted(&scene.rules, author.user, ctx);
    note_beside(ctx, &mut scene, author.user, step);
    let since = first_visible(&scene);
    let Scene { mut state, mut roster, .. } = scene;
    state.dissolved = step == MemberChange::Leave && roster.members.len() == 1;
    let before = state.head;
    let draft = Draft { sender: author.user, device: author.device, client_seq: author.client_seq, content: Content::Members(step), is_read: true };
    let record = push(ctx, channel, &mut state, draft)?;
    let seq = record.at.seq;

    let recipients = match step {
        MemberChange::Add(user) => {
            let since = since.filter(|since| *since < seq);
            add(ctx, channel, &mut roster, user, Stay { join: Position { seq, cnt: before.cnt }, left: None, since }, earlier);
            recipients(&roster.members, seq)
        }
        MemberChange::Remove(user) => {
            let all = recipients(&roster.members, seq);
            remove(ctx, channel, &mut roster, user, seq, true);
            all
        }
        MemberChange::Leave | MemberChange::Join => {
            let all = recipients(&roster.members, seq);
            remove(ctx, channel, &mut roster, author.user, seq, was_muted);
            all
        }
        MemberChange::SetRole(user, role) => {
            if let Some(member) = roster.members.iter_mut().find(|member| member.user == user) {
                (member.role, member.member_seq) = (role, seq);
            }
            recipients(&roster.members, seq)
        }
    };
    ctx.rows.put(RowKey::Roster(channel), roster);
    ring.use_up(ctx, channel, author, Outcome::Record { seq, ts: record.ts });
    let reply = sent(&record, false);
    ctx.effects.push(Effect::Appended { channel, record, recipients });
    Ok(reply)
}

/// Why a change cannot be.
fn refused(scene: &Scene, author: UserId, change: MemberChange, stays: usize) -> Option<Code> {
    let roster = &scene.roster;
    let role = match standing(&scene.state, roster, author) {
        Ok(member) => member.role,
        Err(code) => return Some(code),
    };
    if !scene.is_group() {
        return Some(Code::NotAllowed);
    }
    let is_last_owner = |user: UserId| !roster.members.iter().any(|member| member.role == Role::Owner && member.user != user);
    let transit_full = roster.departing.len() >= limit::DEPARTING_MAX;
    match change {
        // Joining is asked for by a link, never so.
        MemberChange::Join => Some(Code::Invalid),
        MemberChange::Add(_) if role < scene.rules.rules.invite => Some(Code::NotAllowed),
        MemberChange::Add(user) if user == UserId::new(0) || member(roster, user).is_some() => Some(Code::Invalid),
        MemberChange::Add(user) if scene.rules.is_banned(user) => Some(Code::BannedHere),
        MemberChange::Add(_) if roster.members.len() >= limit::MEMBERS_MAX => Some(Code::GroupFull),
        MemberChange::Add(_) if stays >= limit::STAYS_MAX => Some(Code::TooLarge),
        MemberChange::Add(_) => None,
        MemberChange::Remove(_) if role < Role::Admin => Some(Code::NotAllowed),
        MemberChange::Remove(user) => match member(roster, user) {
            None => Some(Code::NotFound),
            Some(target) if role < Role::Owner && target.role > Role::Member => Some(Code::NotAllowed),
            Some(_) => transit_full.then_some(Code::Busy),
        },
        MemberChange::Leave if role == Role::Owner && is_last_owner(author) && roster.members.len() > 1 => Some(Code::LastOwner),
        MemberChange::Leave => transit_full.then_some(Code::Busy),
        MemberChange::SetRole(..) if role < Role::Owner => Some(Code::NotAllowed),
        MemberChange::SetRole(user, new) => match member(roster, user) {
            None => Some(Code::NotFound),
            Some(target) if target.role == new => Some(Code::Invalid),
            Some(target) if target.role == Role::Owner && is_last_owner(user) => Some(Code::LastOwner),
            Some(_) => None,
        },
    }
}

/// What stands beside the log and follows from a change of members: who is in need not wait, who is out is not muted, and who was put out
/// lets nobody in.
fn note_beside(ctx: &mut Context<'_>, scene: &mut Scene, author: UserId, change: MemberChange) {
    let before = scene.rules.clone();
    match change {
        MemberChange::Add(user) => scene.rules.asked.retain(|asked| asked.user != user),
        MemberChange::Remove(user) => {
            scene.rules.muted.retain(|muted| muted.user != user);
            scene.rules.links.retain(|link| link.by != user);
        }
        MemberChange::Leave => scene.rules.muted.retain(|muted| muted.user != author),
        MemberChange::SetRole(..) | MemberChange::Join => {}
    }
    if scene.rules != before {
        scene.put_rules(ctx);
    }
}

/// From where a new member reads, when that is not where they join.
pub(crate) fn first_visible(scene: &Scene) -> Option<Seq> {
    scene.rules.rules.from_start.then(|| Seq::ZERO.next())
}

pub(crate) fn add(ctx: &mut Context<'_>, channel: ChannelId, roster: &mut RosterRow, user: UserId, stay: Stay, earlier: Vec<Stay>) {
    if !earlier.is_empty() {
        ctx.rows.delete(RowKey::Former(channel, user));
    }
    let mut stays = earlier;
    stays.push(stay);
    let at = roster.members.partition_point(|member| member.user < user);
    roster.members.insert(at, Member { user, role: Role::Member, member_seq: stay.join.seq, stays });
    // Their refs go out with the members' again.
    roster.departing.retain(|departing| departing.user != user);
}

/// Takes a member out; nobody is taken out who is none.
pub(crate) fn remove(ctx: &mut Context<'_>, channel: ChannelId, roster: &mut RosterRow, user: UserId, seq: Seq, removed: bool) {
    let Ok(at) = roster.members.binary_search_by_key(&user, |member| member.user) else { return };
    let mut stays = roster.members.remove(at).stays;
    if let Some(last) = stays.last_mut() {
        last.left = Some(seq);
    }
    ctx.rows.put(RowKey::Former(channel, user), FormerRow { member_seq: seq, stays, removed });
    let at = roster.departing.partition_point(|departing| departing.user < user);
    roster.departing.insert(at, Departing { user, member_seq: seq });
}
