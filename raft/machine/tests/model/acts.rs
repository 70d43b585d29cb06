//! The naive chat's acts: what each does to lists of texts, members and rules.

use std::collections::{BTreeMap, BTreeSet};

use kith_machine::reply::Reply;
use kith_wire::{
    act::{Act, Rules, Timer},
    code::Code,
    id::{ChannelId, ChannelKind, Seq, Timestamp, UserId, hash},
    log::{Author, Role},
};

use super::{Chat, Model, Recipients};

/// What a record of the naive chat is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Text {
        sender: UserId,
        text: String,
        mentions: Vec<UserId>,
        thread: Option<u64>,
        gone: bool,
    },
    /// An edit of that record.
    Edit(u64),
    Other,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    secret: [u8; 16],
    until: u64,
    uses: u32,
    used: u32,
    pub(crate) by: UserId,
}

#[derive(Clone, Debug)]
pub(crate) struct Later {
    due: u64,
    text: String,
    mentions: Vec<UserId>,
    ttl: Option<u64>,
    refused: bool,
}

/// What stands beside the log of a naive chat.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) rules: Rules,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) pins: BTreeSet<u64>,
    pub(crate) muted: BTreeMap<UserId, u64>,
    pub(crate) links: Vec<Link>,
    pub(crate) asked: BTreeSet<UserId>,
    pub(crate) removed: BTreeSet<UserId>,
    pub(crate) reactions: BTreeMap<(u64, String), BTreeSet<UserId>>,
    pub(crate) later: BTreeMap<(UserId, u64), Later>,
    pub(crate) expiring: BTreeMap<u64, u64>,
    pub(crate) sweep: Option<u64>,
    pub(crate) kept: u64,
    /// Edits that were made of what these users may not see.
    pub(crate) hidden: BTreeMap<UserId, BTreeSet<u64>>,
    /// Every seq that mentions a user.
    pub(crate) mentioned: BTreeMap<UserId, Vec<u64>>,
}

enum Outcome {
    Refused(Code),
    Kept(u64),
    Recorded(Kind),
}

impl Beside {
    /// All of a user who is gone.
    pub(crate) fn forget(&mut self, user: UserId) {
        self.muted.remove(&user);
        self.asked.remove(&user);
        self.removed.remove(&user);
        self.hidden.remove(&user);
        self.mentioned.remove(&user);
        self.links.retain(|link| link.by != user);
        self.later.retain(|(of, _), _| *of != user);
    }
}

impl Chat {
    pub(crate) fn sees(&self, user: UserId, seq: u64) -> bool {
        seq >= self.beside.kept && self.visible.get(&user).is_some_and(|seen| seen.contains(&seq))
    }
    fn text_of(&self, user: UserId, seq: u64) -> Result<UserId, Code> {
        if !self.sees(user, seq) {
            return Err(Code::NotFound);
        }
        match &self.kinds[seq as usize - 1] {
            Kind::Text { gone: true, .. } => Err(Code::TextGone),
            Kind::Text { sender, .. } => Ok(*sender),
            _ => Err(Code::Invalid),
        }
    }
    /// Who may write a text now; `Err(None)`: not yet.
    pub(crate) fn may_write(&self, user: UserId, is_group: bool, now: u64, by_hand: bool) -> Result<(), Option<Code>> {
        let beside = &self.beside;
        let role = self.roles[&user];
        if beside.muted.get(&user).is_some_and(|until| *until > now) {
            return Err(Some(Code::Muted));
        }
        if is_group && role < beside.rules.post {
            return Err(Some(Code::NotAllowed));
        }
        let own = self.own.get(&user).copied().unwrap_or(0);
        if by_hand && beside.rules.slow_ms > 0 && role == Role::Member && own > 0 && self.times[own as usize - 1] + beside.rules.slow_ms > now {
            return Err(None);
        }
        Ok(())
    }
    pub(crate) fn gone_text(&mut self, seq: u64) {
        if let Kind::Text { gone, .. } = &mut self.kinds[seq as usize - 1] {
            *gone = true;
            self.beside.reactions.retain(|(of, _), _| *of != seq);
            self.beside.pins.remove(&seq);
        }
    }
    /// What follows from a text that now stands at the head.
    pub(crate) fn follow(&mut self, seq: u64, sender: UserId, mentions: &[UserId], ttl: Option<u64>) {
        let named: BTreeSet<_> = mentions.iter().copied().filter(|user| *user != sender && self.roles.contains_key(user)).collect();
        named.into_iter().for_each(|user| self.beside.mentioned.entry(user).or_default().push(seq));
        let ts = self.times[seq as usize - 1];
        if let Some(ttl) = ttl {
            self.beside.expiring.insert(seq, ts + ttl);
        }
        if self.beside.rules.retention_ms > 0 && self.beside.sweep.is_none() {
            self.beside.sweep = Some(ts + self.beside.rules.retention_ms);
        }
    }
    fn decide(&mut self, is_group: bool, now: u64, author: &Author, act: &Act) -> Outcome {
        use Outcome::{Kept, Recorded, Refused};
        let me = author.user;
        let role = self.roles[&me];
        let is_muted = self.beside.muted.get(&me).is_some_and(|until| *until > now);
        let rules = self.beside.rules;
        // What cannot be anywhere.
        let bad = match act {
            Act::React { emoji, .. } if emoji.is_empty() || emoji.contains(' ') => true,
            Act::Describe { title: None, about: None } => true,
            Act::Post(_) | Act::Forward { .. } => return Refused(Code::Unsupported),
            _ => false,
        };
        if bad {
            return Refused(Code::Invalid);
        }
        let speaks = matches!(act, Act::Edit { .. } | Act::React { .. } | Act::Schedule { .. } | Act::Pin { .. } | Act::Describe { .. });
        if speaks && is_muted {
            return Refused(Code::Muted);
        }
        let (least, group_only) = match act {
            Act::Schedule { .. } if rules.slow_ms > 0 => (rules.post.max(Role::Admin), false),
            Act::Schedule { .. } => (rules.post, false),
            Act::Pin { .. } => (rules.pin, false),
            Act::Describe { .. } => (rules.describe, true),
            Act::SetRules(new) => (if new.retention_ms == rules.retention_ms { Role::Admin } else { Role::Owner }, true),
            Act::Mute { .. } | Act::Reject { .. } => (Role::Admin, true),
            Act::HandOver { .. } => (Role::Owner, true),
            Act::Invite(_) => (rules.invite, true),
            Act::Revoke { .. } => (Role::Member, true),
            _ => (Role::Member, false),
        };
        if (group_only && !is_group) || (is_group && role < least) {
            return Refused(Code::NotAllowed);
        }
        match act {
            Act::Edit { target, text, mentions } => match self.text_of(me, target.get()) {
                Err(code) => Refused(code),
                Ok(sender) if sender != me => Refused(Code::NotAllowed),
                Ok(_) => {
                    let (target, seq) = (target.get(), self.head() + 1);
                    let readers: BTreeSet<_> = self.members().into_iter().filter(|user| self.visible[user].contains(&target)).collect();
                    let Kind::Text { text: said, mentions: before, .. } = &mut self.kinds[target as usize - 1] else { panic!("a text") };
                    text.clone_into(said);
                    let new: Vec<_> =
                        readers.iter().copied().filter(|user| mentions.contains(user) && !before.contains(user) && *user != me).collect();
                    before.clone_from(mentions);
                    new.into_iter().for_each(|user| self.beside.mentioned.entry(user).or_default().push(seq));
                    for user in self.members().difference(&readers) {
                        self.beside.hidden.entry(*user).or_default().insert(seq);
                    }
                    Recorded(Kind::Edit(target))
                }
            },
            Act::Delete { target } => match self.text_of(me, target.get()) {
                Err(code) => Refused(code),
                Ok(sender) if sender != me && !(is_group && role >= Role::Admin) => Refused(Code::NotAllowed),
                Ok(_) => {
                    self.gone_text(target.get());
                    Recorded(Kind::Other)
                }
            },
            Act::React { target, emoji, on } => match self.text_of(me, target.get()) {
                Err(code) => Refused(code),
                Ok(_) => {
                    let of = self.beside.reactions.entry((target.get(), emoji.clone())).or_default();
                    let changed = if *on { of.insert(me) } else { of.remove(&me) };
                    self.beside.reactions.retain(|_, users| !users.is_empty());
                    if changed { Recorded(Kind::Other) } else { Kept(0) }
                }
            },
            Act::Pin { target, on } if self.beside.pins.contains(&target.get()) == *on => Kept(0),
            Act::Pin { target, on: false } => {
                self.beside.pins.remove(&target.get());
                Recorded(Kind::Other)
            }
            Act::Pin { target, .. } => match self.text_of(me, target.get()) {
                Err(code) => Refused(code),
                Ok(_) if self.beside.pins.len() == 50 => Refused(Code::TooManyPins),
                Ok(_) => {
                    self.beside.pins.insert(target.get());
                    Recorded(Kind::Other)
                }
            },
            Act::Describe { title, about } => {
                let new = (title.clone().unwrap_or_else(|| self.beside.title.clone()), about.clone().unwrap_or_else(|| self.beside.about.clone()));
                if new == (self.beside.title.clone(), self.beside.about.clone()) {
                    return Kept(0);
                }
                (self.beside.title, self.beside.about) = new;
                Recorded(Kind::Other)
            }
            Act::SetRules(new) if *new == rules => Kept(0),
            Act::SetRules(new) => {
                if new.retention_ms != rules.retention_ms {
                    self.beside.sweep = (new.retention_ms > 0).then_some(now);
                }
                self.beside.rules = *new;
                Recorded(Kind::Other)
            }
            Act::HandOver { to } if !self.roles.contains_key(to) => Refused(Code::NotFound),
            Act::HandOver { to } if *to == me => Refused(Code::Invalid),
            Act::HandOver { to } => {
                self.roles.insert(*to, Role::Owner);
                self.roles.insert(me, Role::Admin);
                Recorded(Kind::Other)
            }
            Act::Mute { user, .. } if !self.roles.contains_key(user) => Refused(Code::NotFound),
            Act::Mute { user, .. } if self.roles[user] >= role => Refused(Code::NotAllowed),
            Act::Mute { user, until } => {
                let before = self.beside.muted.get(user).copied();
                // Who was muted until now is in the list until somebody looks.
                if until.get() > now {
                    if before == Some(until.get()) {
                        return Kept(0);
                    }
                    self.beside.muted.insert(*user, until.get());
                    return Recorded(Kind::Other);
                }
                if self.beside.muted.remove(user).is_some() { Recorded(Kind::Other) } else { Kept(0) }
            }
            Act::Invite(invite) => {
                let until = invite.until.get();
                if until > 0 && until <= now {
                    return Refused(Code::Invalid);
                }
                match self.beside.links.iter().find(|link| link.secret == invite.secret) {
                    Some(link) if (link.until, link.uses, link.by) == (until, invite.uses, me) => Kept(0),
                    Some(_) => Refused(Code::Conflict),
                    None => {
                        self.beside.links.push(Link { secret: invite.secret, until, uses: invite.uses, used: 0, by: me });
                        Kept(0)
                    }
                }
            }
            Act::Revoke { secret } => {
                let at = self.beside.links.iter().position(|link| link.secret == *secret);
                let is_chief = role >= Role::Admin;
                match at.filter(|at| is_chief || self.beside.links[*at].by == me) {
                    Some(at) => {
                        self.beside.links.remove(at);
                        Kept(0)
                    }
                    None => Refused(if is_chief { Code::NotFound } else { Code::NotAllowed }),
                }
            }
            Act::Ban { .. } => panic!("a script shuts nobody out: that is shown by example"),
            Act::Reject { user } => {
                if self.beside.asked.remove(user) {
                    Kept(0)
                } else {
                    Refused(Code::NotFound)
                }
            }
            Act::Schedule { due, draft } => {
                if due.get() <= now {
                    return Refused(Code::Invalid);
                }
                if self.beside.later.keys().filter(|(user, _)| *user == me).count() == 20 {
                    return Refused(Code::TooManyScheduled);
                }
                let id = hash(&[b"kith/scheduled/1", &author.device.get().to_be_bytes(), &author.client_seq.get().to_be_bytes()]);
                let later = Later { due: due.get(), text: draft.text.clone(), mentions: draft.mentions.clone(), ttl: draft.ttl_ms, refused: false };
                self.beside.later.insert((me, id), later);
                Kept(id)
            }
            Act::Unschedule { id } => {
                if self.beside.later.remove(&(me, *id)).is_some() {
                    Kept(*id)
                } else {
                    Refused(Code::NotFound)
                }
            }
            Act::Post(_) | Act::Forward { .. } => Refused(Code::Unsupported),
        }
    }
}

fn is_group(channel: ChannelId) -> bool {
    matches!(channel.kind(), ChannelKind::Group(_))
}

impl Model {
    pub(crate) fn act(&mut self, channel: ChannelId, author: Author, act: &Act) -> (Reply, Recipients) {
        if let Err(reply) = self.number(channel, author.user, author.device, author.client_seq.get(), Some(author.digest)) {
            return (reply, Vec::new());
        }
        let now = self.now;
        let Some(chat) = self.chats.get_mut(&channel) else { return (Reply::Rejected(Code::NotMember), Vec::new()) };
        let outcome = match () {
            () if chat.dissolved => Outcome::Refused(Code::Dissolved),
            () if !chat.roles.contains_key(&author.user) => Outcome::Refused(Code::NotMember),
            () => chat.decide(is_group(channel), now, &author, act),
        };
        match outcome {
            Outcome::Refused(code) => self.refuse(channel, &author, code),
            Outcome::Kept(id) => {
                self.use_up(channel, &author, &Reply::Kept { id });
                (Reply::Kept { id }, Vec::new())
            }
            Outcome::Recorded(kind) => {
                let audience = chat.members();
                let (reply, mut recipients) = chat.push(now, author.user, (kind, false, true), &audience);
                let seq = chat.head();
                recipients.retain(|(user, _)| !chat.beside.hidden.get(user).is_some_and(|hidden| hidden.contains(&seq)));
                self.use_up(channel, &author, &reply);
                (reply, recipients)
            }
        }
    }

    pub(crate) fn refuse_alone(&mut self, channel: ChannelId, author: Author, code: Code) -> (Reply, Recipients) {
        if let Err(reply) = self.number(channel, author.user, author.device, author.client_seq.get(), Some(author.digest)) {
            return (reply, Vec::new());
        }
        if !self.chats.contains_key(&channel) {
            return (Reply::Rejected(code), Vec::new());
        }
        self.refuse(channel, &author, code)
    }

    pub(crate) fn join(&mut self, channel: ChannelId, user: UserId, secret: [u8; 16]) -> (Reply, Recipients) {
        let ended = (Reply::Rejected(Code::LinkEnded), Vec::new());
        let now = self.now;
        let Some(chat) = self.chats.get_mut(&channel) else { return ended };
        if chat.roles.contains_key(&user) {
            return (Reply::Joined { seq: Seq::new(chat.noted.get(&user).copied().unwrap_or(0)) }, Vec::new());
        }
        let is_live = |link: &&mut Link| link.secret == secret && (link.until == 0 || link.until > now) && (link.uses == 0 || link.used < link.uses);
        if chat.dissolved || !is_group(channel) {
            return ended;
        }
        let Some(link) = chat.beside.links.iter_mut().find(is_live) else { return ended };
        if chat.beside.removed.contains(&user) {
            return (Reply::Rejected(Code::NotAllowed), Vec::new());
        }
        if chat.beside.rules.approval {
            chat.beside.asked.insert(user);
            return (Reply::Pending, Vec::new());
        }
        link.used += 1;
        let seq = chat.enter(user);
        let audience = chat.members();
        let (_, recipients) = chat.push(now, user, (Kind::Other, true, false), &audience);
        (Reply::Joined { seq: Seq::new(seq) }, recipients)
    }

    pub(crate) fn fire(&mut self, channel: ChannelId, due: Timestamp, timer: Timer, refused: bool) -> (Reply, Recipients) {
        let done = (Reply::Done, Vec::new());
        let (now, due) = (self.now, due.get());
        let Some(chat) = self.chats.get_mut(&channel) else { return done };
        let stands = match timer {
            Timer::Send { user, id } => chat.beside.later.get(&(user, id)).is_some_and(|later| later.due == due && !later.refused),
            Timer::Expire(seq) => chat.beside.expiring.get(&seq.get()) == Some(&due),
            Timer::Sweep => chat.beside.sweep == Some(due),
            // What it empties is gone for readers already.
            Timer::Erase(_) => false,
        };
        if !stands {
            return done;
        }
        if due > now {
            return (Reply::Rejected(Code::Busy), Vec::new());
        }
        match timer {
            Timer::Erase(_) => done,
            Timer::Expire(seq) => {
                chat.beside.expiring.remove(&seq.get());
                chat.gone_text(seq.get());
                done
            }
            Timer::Sweep => {
                chat.beside.sweep = None;
                chat.sweep(now);
                done
            }
            Timer::Send { user, id } => {
                let later = chat.beside.later[&(user, id)].clone();
                if !chat.roles.contains_key(&user) || chat.dissolved {
                    chat.beside.later.remove(&(user, id));
                    return done;
                }
                if refused || chat.may_write(user, is_group(channel), now, false).is_err() {
                    chat.beside.later.insert((user, id), Later { refused: true, ..later });
                    return done;
                }
                chat.beside.later.remove(&(user, id));
                let audience = chat.members();
                let Later { text, mentions, ttl, .. } = later;
                let kind = Kind::Text { sender: user, text, mentions: mentions.clone(), thread: None, gone: false };
                let out = chat.push(now, user, (kind, false, false), &audience);
                chat.follow(chat.head(), user, &mentions, ttl);
                out
            }
        }
    }
}

impl Chat {
    /// Takes a user in, by a record that is about to be made at the seq that is given.
    pub(crate) fn enter(&mut self, user: UserId) -> u64 {
        let seq = self.head() + 1;
        self.roles.insert(user, Role::Member);
        self.joined.insert(user, seq);
        self.noted.insert(user, seq);
        self.beside.asked.remove(&user);
        self.beside.removed.remove(&user);
        if self.beside.rules.from_start {
            self.visible.entry(user).or_default().extend(1..seq);
            // What was edited before they came is there to be read now.
            self.beside.hidden.remove(&user);
        }
        seq
    }

    fn sweep(&mut self, now: u64) {
        let retention = self.beside.rules.retention_ms;
        if retention == 0 {
            return;
        }
        let first = self.beside.kept.max(1);
        for (count, seq) in (first..=self.head()).enumerate() {
            if count == 256 {
                self.beside.sweep = Some(now);
                return;
            }
            let ends = self.times[seq as usize - 1] + retention;
            if ends > now {
                self.beside.sweep = Some(ends);
                break;
            }
            self.gone_text(seq);
            self.beside.kept = if seq == self.head() { seq } else { seq + 1 };
        }
        let kept = self.beside.kept;
        self.beside.pins.retain(|pin| *pin >= kept);
    }
}
