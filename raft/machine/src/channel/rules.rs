//! What stands beside a channel's log: title, description, who may do what, pins, who is muted, who owns it.
//!
//! Each function decides one act and writes what does not need the seq of its record; who may is `scene`'s.

use kith_wire::{
    act::{Muted, Pin, Rules},
    code::Code,
    id::{Seq, Timestamp, UserId},
    limit,
    log::{FormerRow, Member, Role, RosterRow},
};

use super::{act::Fate, amend, append::member, scene::Scene, timer};
use crate::{
    Context,
    view::{RowKey, ViewError},
};

/// Pins or unpins a text.
pub(crate) fn pin(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, target: Seq, on: bool) -> Result<Result<Fate, Code>, ViewError> {
    let at = scene.rules.pins.binary_search_by_key(&target, |pin| pin.seq);
    match (at, on) {
        (Ok(_), true) | (Err(_), false) => return Ok(Ok(Fate::Kept(0))),
        (Ok(at), false) => drop(scene.rules.pins.remove(at)),
        (Err(at), true) => {
            if let Err(code) = amend::text(ctx, scene, by, target)? {
                return Ok(Err(code));
            }
            if scene.rules.pins.len() >= limit::PINS_MAX {
                return Ok(Err(Code::TooManyPins));
            }
            scene.rules.pins.insert(at, Pin { seq: target, by: by.user });
        }
    }
    scene.put_rules(ctx);
    Ok(Ok(Fate::Record))
}

/// Changes title or description; the title is the roster's, and is written with the record.
pub(crate) fn describe(ctx: &mut Context<'_>, scene: &mut Scene, title: Option<&str>, about: Option<&str>) -> Result<Fate, Code> {
    let is_new = |new: Option<&str>, old: &str| new.is_some_and(|new| new != old);
    if !is_new(title, &scene.roster.title) && !is_new(about, &scene.rules.about) {
        return Ok(Fate::Kept(0));
    }
    if let Some(about) = about.filter(|about| *about != scene.rules.about) {
        about.clone_into(&mut scene.rules.about);
        scene.put_rules(ctx);
    }
    Ok(Fate::Record)
}

/// Replaces the rules. A retention that is new or shorter is seen to at once.
pub(crate) fn set(ctx: &mut Context<'_>, scene: &mut Scene, rules: Rules) -> Result<Fate, Code> {
    let before = scene.rules.rules;
    if rules == before {
        return Ok(Fate::Kept(0));
    }
    scene.rules.rules = rules;
    if rules.retention_ms != before.retention_ms {
        timer::sweep_at(ctx, scene, (rules.retention_ms > 0).then_some(ctx.now));
    }
    scene.put_rules(ctx);
    Ok(Fate::Record)
}

/// Keeps a member from writing, or no longer.
pub(crate) fn mute(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, user: UserId, until: Timestamp) -> Result<Fate, Code> {
    let target = member(&scene.roster, user).ok_or(Code::NotFound)?;
    if target.role >= by.role {
        return Err(Code::NotAllowed);
    }
    let now = ctx.now;
    scene.rules.muted.retain(|muted| muted.until > now || muted.user == user);
    let at = scene.rules.muted.binary_search_by_key(&user, |muted| muted.user);
    match (at, until > now) {
        (Ok(at), true) if scene.rules.muted[at].until == until => return Ok(Fate::Kept(0)),
        (Ok(at), true) => scene.rules.muted[at].until = until,
        (Err(at), true) => scene.rules.muted.insert(at, Muted { user, until }),
        (Ok(at), false) => drop(scene.rules.muted.remove(at)),
        (Err(_), false) => return Ok(Fate::Kept(0)),
    }
    scene.put_rules(ctx);
    Ok(Fate::Record)
}

/// Shuts somebody out, member or not, or lets them in again; a member is taken out with the record.
pub(crate) fn ban(ctx: &mut Context<'_>, scene: &mut Scene, by: &Member, user: UserId, on: bool) -> Result<Result<Fate, Code>, ViewError> {
    let at = scene.rules.banned.binary_search(&user);
    match (at, on) {
        (Ok(_), true) => return Ok(Ok(Fate::Kept(0))),
        (Err(_), false) => return Ok(Err(Code::NotFound)),
        (Ok(at), false) => {
            scene.rules.banned.remove(at);
            // A link lets them in again, as somebody who had left.
            let key = RowKey::Former(scene.channel, user);
            if let Some(former) = ctx.rows.row::<FormerRow>(&key)?.filter(|former| former.removed) {
                let former = FormerRow { removed: false, ..former.clone() };
                ctx.rows.put(key, former);
            }
        }
        (Err(at), true) => {
            let refused = match member(&scene.roster, user) {
                _ if user == by.user || user == UserId::new(0) => Some(Code::Invalid),
                Some(target) if target.role >= by.role => Some(Code::NotAllowed),
                Some(_) if scene.roster.departing.len() >= limit::DEPARTING_MAX => Some(Code::Busy),
                _ if scene.rules.banned.len() >= limit::GROUP_BANS_MAX => Some(Code::LimitReached),
                _ => None,
            };
            if let Some(code) = refused {
                return Ok(Err(code));
            }
            scene.rules.banned.insert(at, user);
            scene.rules.asked.retain(|asked| asked.user != user);
            scene.rules.muted.retain(|muted| muted.user != user);
            scene.rules.links.retain(|link| link.by != user);
        }
    }
    scene.put_rules(ctx);
    Ok(Ok(Fate::Record))
}

/// Whether this owner may make that member the owner.
pub(crate) fn may_hand_over(scene: &Scene, by: &Member, to: UserId) -> Result<Fate, Code> {
    match member(&scene.roster, to) {
        None => Err(Code::NotFound),
        Some(_) if to == by.user => Err(Code::Invalid),
        Some(_) => Ok(Fate::Record),
    }
}

/// Makes one member the owner and the other an admin.
pub(crate) fn hand_over(roster: &mut RosterRow, from: UserId, to: UserId, seq: Seq) {
    for member in &mut roster.members {
        let role = match member.user {
            user if user == to => Role::Owner,
            user if user == from => Role::Admin,
            _ => continue,
        };
        (member.role, member.member_seq) = (role, seq);
    }
}
