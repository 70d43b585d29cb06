//! Records of a conversation as JSON: what each says, and what has gathered about it since.

use std::collections::BTreeMap;

use kith_wire::{
    act::{Act, Extra, Gone as Why, Origin as Source},
    client::{HistoryPage, Marks, ReactionTotal as Total},
    id::ChannelId,
    log::{Content, MemberChange, Record},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Position, Role, Rules, texts};

/// One record of a conversation.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Message {
    /// Its place: 1, 2, 3, … without a gap.
    pub(in super::super) seq: u64,
    /// Texts up to and with it.
    pub(in super::super) cnt: u64,
    /// When it was written, in milliseconds since 1970; never before that of the record before it.
    pub(in super::super) at_ms: u64,
    /// Who wrote it.
    pub(in super::super) sender: String,
    /// What it says now.
    #[serde(flatten)]
    pub(in super::super) content: Body,
    /// Seq of the record of its last edit or of its deletion. Of two views of a record the one with the higher is the newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<u64>,
    /// How often each emoji was given, sorted by emoji.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    reactions: Vec<ReactionTotal>,
    /// The thread that it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<Replies>,
    /// Whether it is pinned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pinned: bool,
}

/// How often a reaction was given.
#[derive(Serialize, ToSchema)]
struct ReactionTotal {
    /// Which.
    emoji: String,
    /// How often.
    count: u32,
    /// By the asker too.
    mine: bool,
}

/// Texts in a thread.
#[derive(Serialize, ToSchema)]
struct Replies {
    /// How many.
    count: u32,
    /// Seq of the last one.
    last: u64,
}

/// What a record says.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(in super::super) enum Body {
    /// A text.
    Text {
        /// The text.
        text: String,
        /// The record that this answers.
        #[serde(skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
        /// Users that this mentions.
        mentions: Vec<String>,
        /// Seq of the text that its thread began with.
        #[serde(skip_serializing_if = "Option::is_none")]
        thread: Option<u64>,
        /// It ends so many milliseconds after it was written.
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
        /// Where it was forwarded from.
        #[serde(skip_serializing_if = "Option::is_none")]
        origin: Option<Origin>,
    },
    /// A text that is not there any more.
    Gone {
        /// Why.
        why: Gone,
    },
    /// The group was made.
    Created {
        /// Its title.
        title: String,
        /// Its members besides the one who made it.
        members: Vec<String>,
    },
    /// A member was added.
    Added {
        /// Who.
        user: String,
    },
    /// A member was removed.
    Removed {
        /// Who.
        user: String,
    },
    /// The sender left.
    Left {},
    /// The sender joined by a link.
    Joined {},
    /// A member has another role.
    RoleChanged {
        /// Who.
        user: String,
        /// Which.
        role: Role,
    },
    /// The sender made another member the owner.
    HandedOver {
        /// Whom.
        user: String,
    },
    /// A member may not write for a while, or may again.
    Muted {
        /// Who.
        user: String,
        /// Until when, in milliseconds since 1970; 0: they may again.
        until_ms: u64,
    },
    /// A text was edited: what it says stands at its own place too.
    Edited {
        /// Which.
        target: u64,
        /// The text; empty when another edit came after this one.
        text: String,
        /// Users that it mentions.
        mentions: Vec<String>,
    },
    /// A text was deleted.
    Deleted {
        /// Which.
        target: u64,
    },
    /// A reaction was given or taken back.
    Reacted {
        /// To which record.
        target: u64,
        /// Which.
        emoji: String,
        /// Given, or taken back.
        on: bool,
    },
    /// A text was pinned or unpinned.
    Pinned {
        /// Which.
        target: u64,
        /// Pinned, or unpinned.
        on: bool,
    },
    /// The group has another title or description.
    Described {
        /// The title, if it is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The description, if it is another one.
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<String>,
    },
    /// The group has other rules.
    Ruled {
        /// Which.
        rules: Rules,
    },
    /// Somebody was shut out of the group, or let in again.
    Banned {
        /// Who.
        user: String,
        /// Shut out, or let in again.
        on: bool,
    },
    /// An account has ended, and with it its user's membership and texts before this record.
    UserErased {
        /// Whose.
        user: String,
    },
    /// Something that this version of the API has no words for.
    Other {
        /// The stored number of its kind.
        number: u32,
    },
}

/// Where a forwarded text is from.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Origin {
    /// The channel.
    channel: String,
    /// The record.
    seq: u64,
    /// Who wrote it.
    sender: String,
    /// When, in milliseconds since 1970.
    at_ms: u64,
}

/// Why a text is not there any more.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum Gone {
    /// Deleted by its author or an admin.
    Deleted,
    /// It ended, as its author wanted.
    Expired,
    /// The channel keeps nothing so old.
    Retention,
    /// Its author was erased.
    Erased,
    /// Edited after the asker had left: what it says now is not theirs to read, what it said is gone.
    Changed,
}

impl From<Why> for Gone {
    fn from(why: Why) -> Self {
        match why {
            Why::Deleted => Self::Deleted,
            Why::Expired => Self::Expired,
            Why::Retention => Self::Retention,
            Why::Erased => Self::Erased,
            Why::Changed => Self::Changed,
        }
    }
}

impl From<Source> for Origin {
    fn from(from: Source) -> Self {
        Self { channel: from.channel.to_string(), seq: from.seq.get(), sender: from.sender.to_string(), at_ms: from.ts.get() }
    }
}

impl From<&Record> for Message {
    fn from(record: &Record) -> Self {
        Self {
            seq: record.at.seq.get(),
            cnt: record.at.cnt,
            at_ms: record.ts.get(),
            sender: record.sender.to_string(),
            content: Body::from(&record.content),
            edited: None,
            reactions: Vec::new(),
            replies: None,
            pinned: false,
        }
    }
}

impl Message {
    /// With what has gathered about it.
    fn with(self, marks: &Marks) -> Self {
        let total = |total: &Total| ReactionTotal { emoji: total.emoji.clone(), count: total.count, mine: total.mine };
        Self {
            edited: Some(marks.edited.get()).filter(|seq| *seq > 0),
            reactions: marks.reactions.iter().map(total).collect(),
            replies: (marks.replies > 0).then(|| Replies { count: marks.replies, last: marks.last_reply.get() }),
            pinned: marks.pinned,
            ..self
        }
    }
}

impl From<&Content> for Body {
    fn from(content: &Content) -> Self {
        match content {
            Content::Text { text, reply_to, mentions, extra } => {
                let Extra { thread, ttl_ms, origin } = extra.as_deref().cloned().unwrap_or_default();
                let (reply_to, thread) = (reply_to.map(|seq| seq.get()), thread.map(|seq| seq.get()));
                Self::Text { text: text.clone(), reply_to, mentions: texts(mentions), thread, ttl_ms, origin: origin.map(Origin::from) }
            }
            Content::Gone { why, .. } => Self::Gone { why: (*why).into() },
            Content::Created { title, members } => Self::Created { title: title.clone(), members: texts(members) },
            Content::Members(change) => match change {
                MemberChange::Add(user) => Self::Added { user: user.to_string() },
                MemberChange::Remove(user) => Self::Removed { user: user.to_string() },
                MemberChange::Leave => Self::Left {},
                MemberChange::Join => Self::Joined {},
                MemberChange::SetRole(user, role) => Self::RoleChanged { user: user.to_string(), role: (*role).into() },
            },
            Content::Act(act) => Self::of_act(act).unwrap_or_else(|| Self::Other { number: content.kind() }),
            Content::Erased { user } => Self::UserErased { user: user.to_string() },
            Content::Unknown { .. } => Self::Other { number: content.kind() },
        }
    }
}

impl Body {
    /// Of an act that is recorded; the others are in no log.
    fn of_act(act: &Act) -> Option<Self> {
        Some(match act {
            Act::Edit { target, text, mentions } => Self::Edited { target: target.get(), text: text.clone(), mentions: texts(mentions) },
            Act::Delete { target } => Self::Deleted { target: target.get() },
            Act::React { target, emoji, on } => Self::Reacted { target: target.get(), emoji: emoji.clone(), on: *on },
            Act::Pin { target, on } => Self::Pinned { target: target.get(), on: *on },
            Act::Describe { title, about } => Self::Described { title: title.clone(), about: about.clone() },
            Act::SetRules(rules) => Self::Ruled { rules: (*rules).into() },
            Act::HandOver { to } => Self::HandedOver { user: to.to_string() },
            Act::Mute { user, until } => Self::Muted { user: user.to_string(), until_ms: until.get() },
            Act::Ban { user, on } => Self::Banned { user: user.to_string(), on: *on },
            Act::Post(_)
            | Act::Forward { .. }
            | Act::Schedule { .. }
            | Act::Unschedule { .. }
            | Act::Invite(_)
            | Act::Revoke { .. }
            | Act::Reject { .. } => return None,
        })
    }
}

/// Records of a channel, by rising seq.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct History {
    /// The channel.
    channel: String,
    /// Its last record that the asker may see.
    head: Position,
    /// By rising seq.
    messages: Vec<Message>,
    /// What of the range the asker may not see: a stated fact, not a hole.
    withheld: Vec<Range>,
    /// What follows, for `cursor`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Seqs, both inclusive.
#[derive(Serialize, ToSchema)]
struct Range {
    /// First.
    first: u64,
    /// Last.
    last: u64,
}

impl History {
    /// Of a page, and where to go on.
    pub(in super::super) fn of(channel: ChannelId, page: &HistoryPage, next: Option<String>) -> Self {
        Self {
            channel: channel.to_string(),
            head: page.head.into(),
            messages: messages(page),
            withheld: page.withheld.iter().map(|(first, last)| Range { first: first.get(), last: last.get() }).collect(),
            next,
        }
    }
}

/// The records of a page, each with its marks.
pub(in super::super) fn messages(page: &HistoryPage) -> Vec<Message> {
    let marks: BTreeMap<u64, &Marks> = page.marks.iter().map(|marks| (marks.seq.get(), marks)).collect();
    let message = |record: &Record| {
        let message = Message::from(record);
        match marks.get(&message.seq) {
            Some(marks) => message.with(marks),
            None => message,
        }
    };
    page.records.iter().map(message).collect()
}
