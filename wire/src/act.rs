//! What is done to a conversation besides sending a plain text and changing its members: acts, the rules of a group, the marks of a record.
//!
//! An act is a numbered write: parsed from a client, logged as it is, and, when others are to know of it, recorded as it is. In: fields of
//! the `kith.log.v1` messages. Out: parsed types. Invariants: an act that is recorded names no secret; a blanked edit has an empty text.
//! Bounds: `limit.rs`, checked by [`Act::refused`] for clients, and again at apply. Not here: what an act does (kith-machine).

use std::{fmt, str::FromStr};

use crate::{
    code::Code,
    hex::{self, ParseIdError},
    id::{ChannelId, ClientSeq, DeviceId, Seq, Timestamp, UserId, hash},
    limit,
    log::{Record, Role},
};

/// A text that is more than a text: in a thread, or one that ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draft {
    /// 1 to 100,000 Unicode scalar values.
    pub text: String,
    /// A record that this answers.
    pub reply_to: Option<Seq>,
    /// Users that this mentions; at most 100.
    pub mentions: Vec<UserId>,
    /// The text that the thread began with; itself in no thread.
    pub thread: Option<Seq>,
    /// The text ends so many milliseconds after it was recorded.
    pub ttl_ms: Option<u64>,
}

/// What a text may carry besides what most carry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Extra {
    /// The text that the thread began with.
    pub thread: Option<Seq>,
    /// The text ends so many milliseconds after it was recorded.
    pub ttl_ms: Option<u64>,
    /// Where a forwarded text is from.
    pub origin: Option<Origin>,
}

/// Where a forwarded text is from: who forwarded it could read it there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The channel.
    pub channel: ChannelId,
    /// The record.
    pub seq: Seq,
    /// Who wrote it.
    pub sender: UserId,
    /// When.
    pub ts: Timestamp,
}

/// Something that a member does under a number of their device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Sends a text that is more than a text.
    Post(Draft),
    /// Sends a copy of a text that the sender may read where it stands.
    Forward { from: ChannelId, seq: Seq },
    /// Replaces the text of an own record. Recorded; blanked when a later one or a deletion replaces it.
    Edit { target: Seq, text: String, mentions: Vec<UserId> },
    /// Empties an own text for everyone; admins of a group any text. Recorded.
    Delete { target: Seq },
    /// Adds or takes back a reaction. Recorded, unless nothing changes.
    React { target: Seq, emoji: String, on: bool },
    /// Pins or unpins a text. Recorded, unless nothing changes.
    Pin { target: Seq, on: bool },
    /// Has a text sent later. Answered with its id.
    Schedule { due: Timestamp, draft: Draft },
    /// Takes back a text that is to be sent later.
    Unschedule { id: u64 },
    /// Changes title or description of a group; what is not there stays. Recorded.
    Describe { title: Option<String>, about: Option<String> },
    /// Replaces the rules of a group. Recorded.
    SetRules(Rules),
    /// Makes another member the owner, and oneself an admin. Recorded.
    HandOver { to: UserId },
    /// Keeps a member from writing until then; 0: no longer. Recorded.
    Mute { user: UserId, until: Timestamp },
    /// Makes a link to join by: who shows the secret joins. Answered with `Kept`.
    Invite(Invite),
    /// Ends a link.
    Revoke { secret: [u8; 16] },
    /// Refuses somebody who asked to join.
    Reject { user: UserId },
    /// Shuts somebody out of a group, member or not: neither a link nor a member brings them in. Or lets them in again. Recorded.
    Ban { user: UserId, on: bool },
}

/// What members may do in a group, and how long it keeps texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The least role that may write.
    pub post: Role,
    /// That may add members and make links.
    pub invite: Role,
    /// That may pin.
    pub pin: Role,
    /// That may change title and description.
    pub describe: Role,
    /// New members read from the start, not from when they joined.
    pub from_start: bool,
    /// Who joins by a link waits for an admin.
    pub approval: bool,
    /// Between two texts of a plain member, in milliseconds; 0: none.
    pub slow_ms: u64,
    /// A text is kept so long, in milliseconds; 0: for ever.
    pub retention_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            post: Role::Member,
            invite: Role::Admin,
            pin: Role::Member,
            describe: Role::Admin,
            from_start: false,
            approval: false,
            slow_ms: 0,
            retention_ms: 0,
        }
    }
}

/// A link to join by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// Drawn by who makes it.
    pub secret: [u8; 16],
    /// It ends then; 0: never.
    pub until: Timestamp,
    /// So many may still join by it; 0 in a new one: any number.
    pub uses: u32,
}

/// A link as people hand it on. Whoever holds it may show it. Prints as `kith-join:<channel>:<secret>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinLink {
    /// Which group.
    pub channel: ChannelId,
    /// What lets in.
    pub secret: [u8; 16],
}

impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", Self::SCHEME, self.channel)?;
        hex::write(f, &self.secret)
    }
}

impl JoinLink {
    const SCHEME: &str = "kith-join";
}

impl FromStr for JoinLink {
    type Err = ParseIdError;
    /// Parses what `Display` prints.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let mut parts = text.trim().split(':');
        let (scheme, channel, secret) = (parts.next(), parts.next(), parts.next());
        let has_form = scheme == Some(Self::SCHEME) && parts.next().is_none();
        let channel = channel.filter(|_| has_form).and_then(|channel| ChannelId::from_hex(channel).ok());
        match (channel, secret.and_then(hex::read)) {
            (Some(channel), Some(secret)) => Ok(Self { channel, secret }),
            _ => Err(ParseIdError { what: "link: it has the form kith-join:<channel>:<secret>" }),
        }
    }
}

/// A link as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// What was asked for.
    pub invite: Invite,
    /// Who made it.
    pub by: UserId,
    /// How many have joined by it.
    pub used: u32,
}

/// A pinned text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin {
    /// Which.
    pub seq: Seq,
    /// Who pinned it.
    pub by: UserId,
}

/// A member who may not write for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Muted {
    /// Who.
    pub user: UserId,
    /// Until when.
    pub until: Timestamp,
}

/// Somebody who asked to join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Who.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
}

/// Somebody who was erased, and what of theirs is still to be emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erasing {
    /// Who.
    pub user: UserId,
    /// The first record that was not looked at.
    pub next: Seq,
    /// The last record that may be theirs.
    pub upto: Seq,
    /// When it goes on.
    pub due: Timestamp,
}

/// One emoji on a record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reaction {
    /// Which.
    pub emoji: String,
    /// By whom, sorted; never empty.
    pub users: Vec<UserId>,
}

/// What stands beside a conversation's log: description, rules, pins, links. Not there while all of it is as in a new one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RulesRow {
    /// Description.
    pub about: String,
    /// What members may do.
    pub rules: Rules,
    /// By rising seq; at most `limit::PINS_MAX`.
    pub pins: Vec<Pin>,
    /// Sorted by user; members only.
    pub muted: Vec<Muted>,
    /// In the order in which they were made; at most `limit::INVITES_MAX`.
    pub links: Vec<Link>,
    /// In the order in which they asked; at most `limit::JOIN_REQUESTS_MAX`.
    pub asked: Vec<Asked>,
    /// When the next sweep of old texts is due; 0: none is.
    pub sweep: Timestamp,
    /// Sorted by user: those whose texts are being emptied.
    pub erasing: Vec<Erasing>,
    /// Sorted: who is shut out; at most `limit::GROUP_BANS_MAX`.
    pub banned: Vec<UserId>,
}

impl RulesRow {
    /// Whether somebody is shut out.
    pub fn is_banned(&self, user: UserId) -> bool {
        self.banned.binary_search(&user).is_ok()
    }
    /// Whether a record is of somebody who was erased, or a copy of what they wrote, and will be emptied: until it is, it is withheld.
    pub fn is_erasing(&self, record: &Record) -> bool {
        let origin = record.content.extra().and_then(|extra| extra.origin);
        self.forgets(record.sender, record.at.seq) || origin.is_some_and(|origin| self.forgets(origin.sender, record.at.seq))
    }
    /// Whether what this user has left at a record goes, since they were erased.
    pub fn forgets(&self, user: UserId, seq: Seq) -> bool {
        self.erasing.binary_search_by_key(&user, |one| one.user).is_ok_and(|at| (self.erasing[at].next..=self.erasing[at].upto).contains(&seq))
    }
}

/// What has gathered about a record since it was made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MarksRow {
    /// The record of its last edit or of its deletion; 0: none.
    pub edited: Seq,
    /// Sorted by emoji; at most `limit::REACTIONS_MAX`.
    pub reactions: Vec<Reaction>,
    /// Texts in the thread that it began.
    pub replies: u32,
    /// The last of them.
    pub last_reply: Seq,
}

/// A text to be sent later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduledRow {
    /// When.
    pub due: Timestamp,
    /// From which device it was asked.
    pub device: DeviceId,
    /// What.
    pub draft: Draft,
    /// It was due and refused: shown to its author until they take it back.
    pub refused: Option<Code>,
}

/// What is to happen to a channel at a time. Ordered and stored by (kind, number).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// 1: a scheduled text of this user is due.
    Send { user: UserId, id: u64 },
    /// 2: a text ends.
    Expire(Seq),
    /// 3: texts are over the channel's retention.
    Sweep,
    /// 4: texts of this user, who was erased, are still to be emptied.
    Erase(UserId),
}

/// Why a text is not there any more. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// 1: deleted by its author or an admin.
    Deleted,
    /// 2: it ended, as its author wanted.
    Expired,
    /// 3: the channel keeps nothing so old.
    Retention,
    /// 4: its author was erased.
    Erased,
    /// 5: edited after the asker had left: what it says now is not theirs to read, what it said is gone.
    Changed,
}

/// An act as a client sends it.
#[derive(Clone, PartialEq, Debug)]
pub struct ActWrite {
    /// Where.
    pub channel: ChannelId,
    /// The device's number.
    pub client_seq: ClientSeq,
    /// Below it no answer is awaited.
    pub settled: ClientSeq,
    /// What is done.
    pub act: Act,
}

impl ActWrite {
    /// Digest of what the client sent, `settled` apart: what tells a retry from another write under the same number.
    pub fn digest(&self) -> u64 {
        hash(&[b"kith/act/1", self.channel.as_bytes(), &self.client_seq.get().to_be_bytes(), &self.act.encode()])
    }
}

impl Draft {
    /// What a text carries besides what most carry.
    pub fn extra(&self) -> Option<Box<Extra>> {
        let extra = Extra { thread: self.thread, ttl_ms: self.ttl_ms, origin: None };
        (extra != Extra::default()).then(|| Box::new(extra))
    }

    fn refused(&self) -> Option<Code> {
        match self.ttl_ms {
            Some(ttl) if !(limit::TTL_MS_MIN..=limit::AHEAD_MS_MAX).contains(&ttl) => Some(Code::Invalid),
            _ => refused_text(&self.text, &self.mentions),
        }
    }
}

impl Rules {
    /// Why nobody can rule so.
    pub fn refused(&self) -> Option<Code> {
        let fits = self.slow_ms <= limit::SLOW_MS_MAX && (self.retention_ms == 0 || self.retention_ms >= limit::RETENTION_MS_MIN);
        (!fits).then_some(Code::Invalid)
    }
}

impl Act {
    /// Why nobody can do this anywhere: what can be said of it without looking anything up. Both the edge and apply ask.
    pub fn refused(&self) -> Option<Code> {
        match self {
            Self::Post(draft) | Self::Schedule { draft, .. } => draft.refused(),
            Self::Edit { text, mentions, .. } => refused_text(text, mentions),
            Self::React { emoji, .. } => refused_emoji(emoji),
            Self::Describe { title: None, about: None } => Some(Code::Invalid),
            Self::Describe { title, about } => {
                let over = |text: &Option<String>, max: usize| text.as_ref().is_some_and(|text| text.chars().count() > max);
                (over(title, limit::TITLE_CHARS_MAX) || over(about, limit::ABOUT_CHARS_MAX)).then_some(Code::TooLarge)
            }
            Self::SetRules(rules) => rules.refused(),
            Self::Forward { .. }
            | Self::Delete { .. }
            | Self::Pin { .. }
            | Self::Unschedule { .. }
            | Self::HandOver { .. }
            | Self::Mute { .. }
            | Self::Invite(_)
            | Self::Revoke { .. }
            | Self::Reject { .. }
            | Self::Ban { .. } => None,
        }
    }
    /// What it weighs in a page or queue, in bytes, without its envelope.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Post(draft) | Self::Schedule { draft, .. } => draft.text.len() + 8 * draft.mentions.len(),
            Self::Edit { text, mentions, .. } => text.len() + 8 * mentions.len(),
            Self::React { emoji, .. } => emoji.len(),
            Self::Describe { title, about } => title.as_ref().map_or(0, String::len) + about.as_ref().map_or(0, String::len),
            _ => 0,
        }
    }
}

/// Why a text with these mentions cannot be written.
pub fn refused_text(text: &str, mentions: &[UserId]) -> Option<Code> {
    // No text has more characters than bytes, so that most need no count.
    let too_long = text.len() > limit::TEXT_CHARS_MAX && text.chars().count() > limit::TEXT_CHARS_MAX;
    match () {
        () if text.is_empty() => Some(Code::Invalid),
        () if too_long || mentions.len() > limit::MENTIONS_MAX => Some(Code::TooLarge),
        () => None,
    }
}

/// An emoji is some characters of any script: no space, nothing that controls how what follows is shown.
fn refused_emoji(emoji: &str) -> Option<Code> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match () {
        () if emoji.is_empty() || emoji.contains(is_bad) => Some(Code::Invalid),
        () if emoji.len() > limit::EMOJI_BYTES_MAX => Some(Code::TooLarge),
        () => None,
    }
}
