//! Joining a group by a link: making links and ending them, joining, asking to be let in.
//!
//! A link is a secret that whoever holds it shows. Who shows a wrong one, or asks for a group that is not there, is told the same: that
//! the link has ended. Bounds: `limit::INVITES_MAX` links, `limit::JOIN_REQUESTS_MAX` who wait. Invariants: a link lets in at most as many
//! as it says; somebody who was removed does not come back by one. Where links need an approval, they let in nobody: who shows one asks, an admin
//! adds them, and that uses up none of it.

use kith_wire::{
    act::{Asked, Invite, Link},
    code::Code,
    id::{ChannelId, ClientSeq, DeviceId, Timestamp, UserId},
    limit,
    log::{Content, FormerRow, Member, MemberChange, Position, Role, Stay},
};

use super::{
    act::Fate,
    append::{Draft, member, push, recipients},
    member::{add, first_visible},
    scene::Scene,
};
use crate::{
    Context,
    effect::Effect,
    reply::Reply,
    view::{RowKey, ViewError},
};

/// Makes a link.
pub(crate) fn make(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, invite: &Invite) -> Result<Fate, Code> {
    if invite.until > Timestamp::new(0) && invite.until <= ctx.now {
        return Err(Code::Invalid);
    }
    match scene.rules.links.iter().find(|link| link.invite.secret == invite.secret) {
        Some(link) if link.invite == *invite && link.by == by.user => return Ok(Fate::Kept(0)),
        Some(_) => return Err(Code::Conflict),
        None => {}
    }
    if scene.rules.links.len() >= limit::INVITES_MAX {
        let now = ctx.now;
        scene.rules.links.retain(|link| is_live(link, now));
    }
    if scene.rules.links.len() >= limit::INVITES_MAX {
        return Err(Code::TooManyLinks);
    }
    scene.rules.links.push(Link { invite: invite.clone(), by: by.user, used: 0 });
    scene.put_rules_alone(ctx);
    Ok(Fate::Kept(0))
}

/// Ends a link: an admin any, a member their own.
pub(crate) fn revoke(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, secret: &[u8; 16]) -> Result<Fate, Code> {
    let at = scene.rules.links.iter().position(|link| link.invite.secret == *secret);
    match at {
        Some(at) if by.role >= Role::Admin || scene.rules.links[at].by == by.user => {
            scene.rules.links.remove(at);
            scene.put_rules_alone(ctx);
            Ok(Fate::Kept(0))
        }
        // A member is not told which links there are.
        _ if by.role < Role::Admin => Err(Code::NotAllowed),
        _ => Err(Code::NotFound),
    }
}

/// Refuses somebody who asked to join.
pub(crate) fn reject(ctx: &mut Context<'_>, scene: &mut Scene, user: UserId) -> Result<Fate, Code> {
    let at = scene.rules.asked.iter().position(|asked| asked.user == user).ok_or(Code::NotFound)?;
    scene.rules.asked.remove(at);
    scene.put_rules_alone(ctx);
    Ok(Fate::Kept(0))
}

/// Joins by a link, or asks to be let in.
pub(crate) fn join(ctx: &mut Context<'_>, channel: ChannelId, user: UserId, secret: [u8; 16]) -> Result<Reply, ViewError> {
    let ended = Ok(Reply::Rejected(Code::LinkEnded));
    let Some(mut scene) = Scene::read(ctx, channel)? else { return ended };
    if let Some(member) = member(&scene.roster, user) {
        return Ok(Reply::Joined { seq: member.member_seq });
    }
    let now = ctx.now;
    let Some(at) = scene.rules.links.iter().position(|link| link.invite.secret == secret && is_live(link, now)) else { return ended };
    if scene.state.dissolved || !scene.is_group() || user == UserId::new(0) {
        return ended;
    }
    let former = ctx.rows.row::<FormerRow>(&RowKey::Former(channel, user))?;
    let refused = match former.as_deref() {
        _ if scene.rules.is_banned(user) => Some(Code::BannedHere),
        Some(former) if former.removed => Some(Code::NotAllowed),
        Some(former) if former.stays.len() >= limit::STAYS_MAX => Some(Code::TooLarge),
        _ if scene.roster.members.len() >= limit::MEMBERS_MAX => Some(Code::GroupFull),
        _ => None,
    };
    if let Some(code) = refused {
        return Ok(Reply::Rejected(code));
    }
    if scene.rules.rules.approval {
        if !scene.rules.asked.iter().any(|asked| asked.user == user) {
            if scene.rules.asked.len() >= limit::JOIN_REQUESTS_MAX {
                return Ok(Reply::Rejected(Code::TooManyAsk));
            }
            scene.rules.asked.push(Asked { user, at: now });
            scene.put_rules_alone(ctx);
        }
        return Ok(Reply::Pending);
    }
    scene.rules.links[at].used += 1;
    scene.rules.asked.retain(|asked| asked.user != user);
    scene.put_rules(ctx);

    let earlier = former.map_or_else(Vec::new, |former| former.stays.clone());
    let before = scene.state.head;
    let since = first_visible(&scene);
    let Scene { mut state, mut roster, .. } = scene;
    let content = Content::Members(MemberChange::Join);
    let draft = Draft { sender: user, device: DeviceId::new(0), client_seq: ClientSeq::new(0), content, is_read: true };
    let record = push(ctx, channel, &mut state, draft)?;
    let seq = record.at.seq;
    let since = since.filter(|since| *since < seq);
    add(ctx, channel, &mut roster, user, Stay { join: Position { seq, cnt: before.cnt }, left: None, since }, earlier);
    ctx.effects.push(Effect::Appended { channel, recipients: recipients(&roster.members, seq), record });
    ctx.rows.put(RowKey::Roster(channel), roster);
    Ok(Reply::Joined { seq })
}

/// Whether a link still lets somebody in.
fn is_live(link: &Link, now: Timestamp) -> bool {
    let Invite { until, uses, .. } = link.invite;
    (until == Timestamp::new(0) || until > now) && (uses == 0 || link.used < uses)
}
