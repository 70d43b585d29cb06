//! What stands beside a group's log as JSON: rules, pins, links, who asked to join; and texts that are to be sent later.

use kith_wire::{
    act::{Asked, Draft, JoinLink, Link as Held, Muted as MutedUntil, Pin, Reaction as Given, Rules as LogRules},
    client::{GroupView, ScheduledText},
    code::Code,
    id::{ChannelId, Seq},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{form, number},
    Role, texts,
};

/// What members may do in a group, and how long it keeps texts.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Rules {
    /// The least role that may write.
    post: Role,
    /// That may add members and make links.
    invite: Role,
    /// That may pin.
    pin: Role,
    /// That may change title and description.
    describe: Role,
    /// New members read from the start, not from when they joined.
    from_start: bool,
    /// Who joins by a link waits for an admin.
    approval: bool,
    /// Between two texts of a plain member, in milliseconds; 0: none.
    #[schema(maximum = 21_600_000u64)]
    slow_ms: u64,
    /// A text is kept so long, in milliseconds, at least a minute; 0: for ever.
    #[serde(deserialize_with = "number::any")]
    #[schema(schema_with = form::retention)]
    retention_ms: u64,
}

impl From<LogRules> for Rules {
    fn from(rules: LogRules) -> Self {
        let LogRules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms } = rules;
        Self { post: post.into(), invite: invite.into(), pin: pin.into(), describe: describe.into(), from_start, approval, slow_ms, retention_ms }
    }
}
impl From<Rules> for LogRules {
    fn from(rules: Rules) -> Self {
        let Rules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms } = rules;
        Self { post: post.into(), invite: invite.into(), pin: pin.into(), describe: describe.into(), from_start, approval, slow_ms, retention_ms }
    }
}

/// What stands beside a conversation's log.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Group {
    /// Its id.
    channel: String,
    /// Its title.
    title: String,
    /// Its description.
    about: String,
    /// The asker's role.
    role: Role,
    /// What members may do.
    rules: Rules,
    /// Pinned texts, by rising seq.
    pins: Vec<Pinned>,
    /// Members who may not write now.
    muted: Vec<Muted>,
    /// Links to join by, for those who may make them.
    links: Vec<Link>,
    /// Who asked to join, for admins: adding them lets them in.
    requests: Vec<JoinRequest>,
}

/// A pinned text.
#[derive(Serialize, ToSchema)]
struct Pinned {
    /// Which.
    seq: u64,
    /// Who pinned it.
    by: String,
}

/// A member who may not write for a while.
#[derive(Serialize, ToSchema)]
struct Muted {
    /// Who.
    user: String,
    /// Until when, in milliseconds since 1970.
    until_ms: u64,
}

/// Somebody who asked to join.
#[derive(Serialize, ToSchema)]
struct JoinRequest {
    /// Who.
    user: String,
    /// When, in milliseconds since 1970.
    at_ms: u64,
}

/// A link to join a group by. Whoever holds it may show it.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Link {
    /// What is shown.
    #[schema(example = "kith-join:0200f3a1b2c3d4e5f60718293a4b5c6d7e:000102030405060708090a0b0c0d0e0f")]
    pub(in super::super) link: String,
    /// It ends then, in milliseconds since 1970; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) until_ms: Option<u64>,
    /// So many may still join by it; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) uses: Option<u32>,
    /// Who made it.
    pub(in super::super) by: String,
    /// How many have joined by it.
    pub(in super::super) used: u32,
}

impl Link {
    fn of(channel: ChannelId, link: &Held) -> Self {
        Self {
            link: JoinLink { channel, secret: link.invite.secret }.to_string(),
            until_ms: Some(link.invite.until.get()).filter(|until| *until > 0),
            uses: Some(link.invite.uses).filter(|uses| *uses > 0).map(|uses| uses.saturating_sub(link.used)),
            by: link.by.to_string(),
            used: link.used,
        }
    }
}

impl From<GroupView> for Group {
    fn from(view: GroupView) -> Self {
        let channel = view.channel;
        let pinned = |pin: Pin| Pinned { seq: pin.seq.get(), by: pin.by.to_string() };
        let muted = |muted: MutedUntil| Muted { user: muted.user.to_string(), until_ms: muted.until.get() };
        let request = |asked: Asked| JoinRequest { user: asked.user.to_string(), at_ms: asked.at.get() };
        Self {
            channel: channel.to_string(),
            title: view.title,
            about: view.about,
            role: view.role.into(),
            rules: view.rules.into(),
            pins: view.pins.into_iter().map(pinned).collect(),
            muted: view.muted.into_iter().map(muted).collect(),
            links: view.links.iter().map(|link| Link::of(channel, link)).collect(),
            requests: view.asked.into_iter().map(request).collect(),
        }
    }
}

/// One emoji on a record.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Reaction {
    /// Which.
    emoji: String,
    /// By whom.
    users: Vec<String>,
}

impl From<Given> for Reaction {
    fn from(given: Given) -> Self {
        Self { emoji: given.emoji, users: texts(&given.users) }
    }
}

/// A text that is to be sent later.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Scheduled {
    /// Takes it back.
    id: String,
    /// When it is due, in milliseconds since 1970.
    due_ms: u64,
    /// The text.
    text: String,
    /// The record that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    /// Users that it mentions.
    mentions: Vec<String>,
    /// Seq of the text that its thread began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u64>,
    /// It ends so many milliseconds after it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// It was due and refused: with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u16>,
}

impl From<ScheduledText> for Scheduled {
    fn from(held: ScheduledText) -> Self {
        let Draft { text, reply_to, mentions, thread, ttl_ms } = held.draft;
        let (reply_to, thread) = (reply_to.map(Seq::get), thread.map(Seq::get));
        let refused = held.refused.map(Code::number);
        Self { id: scheduled_text(held.id), due_ms: held.due.get(), text, reply_to, mentions: texts(&mentions), thread, ttl_ms, refused }
    }
}

/// The id of a scheduled text, as callers hold it: it is larger than what JSON's numbers carry.
pub(in super::super) fn scheduled_text(id: u64) -> String {
    format!("{id:016x}")
}
