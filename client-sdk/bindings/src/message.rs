//! Records of conversations, own writes on their way, and how far those got.

use kith_client::{
    Delivery, Error,
    wire::{
        act::{Act, Gone},
        id::{ChannelId, Seq, Timestamp, UserId},
        log::{Content, MemberChange, Record},
    },
};

use crate::value::{MemberRole, texts_of};

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, uniffi::Enum)]
pub enum MessageKind {
    /// A text.
    Text,
    /// One that is not there any more.
    Gone,
    /// The text of `target` was replaced: by `text`.
    Edit,
    /// The text of `target` was taken away.
    Deletion,
    /// A reaction to `target`: `text`.
    Reaction,
    /// It was taken back.
    ReactionGone,
    /// `target` was pinned.
    Pin,
    /// It is not any more.
    Unpin,
    /// The group was made: `text` is its title, `users` are members besides who made it.
    Created,
    /// `users` were added.
    MemberAdded,
    /// `users` were removed.
    MemberRemoved,
    /// Who wrote it has left.
    MemberLeft,
    /// Who wrote it came in by a link.
    MemberJoined,
    /// `users` have `role` now.
    RoleChanged,
    /// Title or description were changed; `text` is the new title, if it is another.
    Described,
    /// What members may do was changed.
    RulesChanged,
    /// `users` are the owner now.
    HandedOver,
    /// `users` may not write until `until_ms`; 0: they may again.
    Muted,
    /// `users` are shut out.
    Banned,
    /// They are not any more.
    Unbanned,
    /// The account of `users` has ended, and their texts with it.
    Erased,
    /// Of an outbox: something that becomes no record, or a copy of a text that stands elsewhere. Of a log: something of a newer version.
    #[default]
    Other,
}

/// Why a text is not there any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum GoneReason {
    /// Deleted by its author or an admin.
    Deleted,
    /// It ended, as its author wanted.
    Expired,
    /// The conversation keeps nothing so old.
    Retention,
    /// Its author's account has ended.
    Erased,
    /// It was edited after this user had left.
    Changed,
}

/// Where a forwarded text is from.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Origin {
    /// The conversation.
    pub channel: String,
    /// Its place there.
    pub seq: u64,
    /// Who wrote it.
    pub sender: String,
    /// When.
    pub ts_ms: u64,
}

/// A record of a conversation.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Message {
    /// Which conversation.
    pub channel: String,
    /// Its place: 1, 2, 3, … without a gap.
    pub seq: u64,
    /// Server time.
    pub ts_ms: u64,
    /// Who wrote it.
    pub sender: String,
    /// What it is.
    pub kind: MessageKind,
    /// Its text, if it has one; what an edit has made of another's; a reaction; a title.
    pub text: String,
    /// The record that it answers.
    pub reply_to: Option<u64>,
    /// The record that it is about.
    pub target: Option<u64>,
    /// Whom it mentions.
    pub mentions: Vec<String>,
    /// The text that its thread began with.
    pub thread: Option<u64>,
    /// It ends so long after it was recorded.
    pub ttl_ms: Option<u64>,
    /// Where it was forwarded from.
    pub origin: Option<Origin>,
    /// Whom it is about, where it is about members.
    pub users: Vec<String>,
    /// Their role now, where that was changed.
    pub role: Option<MemberRole>,
    /// Until when, where it says so.
    pub until_ms: Option<u64>,
    /// Why it is gone.
    pub gone: Option<GoneReason>,
}

impl Message {
    pub(crate) fn new(channel: ChannelId, record: &Record) -> Self {
        let (seq, ts_ms, sender) = (record.at.seq.get(), record.ts.get(), record.sender.to_string());
        let Said { kind, text, reply_to, target, mentions, thread, ttl_ms, origin, users, role, until_ms, gone } = Said::of(&record.content);
        let channel = channel.to_string();
        Self { channel, seq, ts_ms, sender, kind, text, reply_to, target, mentions, thread, ttl_ms, origin, users, role, until_ms, gone }
    }
}

/// What a record says, or an own write will.
#[derive(Default)]
struct Said {
    kind: MessageKind,
    text: String,
    reply_to: Option<u64>,
    target: Option<u64>,
    mentions: Vec<String>,
    thread: Option<u64>,
    ttl_ms: Option<u64>,
    origin: Option<Origin>,
    users: Vec<String>,
    role: Option<MemberRole>,
    until_ms: Option<u64>,
    gone: Option<GoneReason>,
}

impl Said {
    fn of(content: &Content) -> Self {
        match content {
            Content::Text { text, reply_to, mentions, extra } => {
                let extra = extra.as_deref();
                Self {
                    kind: MessageKind::Text,
                    text: text.clone(),
                    reply_to: reply_to.map(Seq::get),
                    mentions: texts_of(mentions),
                    thread: extra.and_then(|extra| extra.thread).map(Seq::get),
                    ttl_ms: extra.and_then(|extra| extra.ttl_ms),
                    origin: extra.and_then(|extra| extra.origin).map(Into::into),
                    ..Self::default()
                }
            }
            Content::Gone { why, .. } => Self { kind: MessageKind::Gone, gone: Some((*why).into()), ..Self::default() },
            Content::Created { title, members } => {
                Self { kind: MessageKind::Created, text: title.clone(), users: texts_of(members), ..Self::default() }
            }
            Content::Members(change) => Self::of_members(*change),
            Content::Act(act) => Self::of_act(act),
            Content::Erased { user } => Self::about(MessageKind::Erased, *user),
            Content::Unknown { .. } => Self::default(),
        }
    }
    fn of_members(change: MemberChange) -> Self {
        match change {
            MemberChange::Add(user) => Self::about(MessageKind::MemberAdded, user),
            MemberChange::Remove(user) => Self::about(MessageKind::MemberRemoved, user),
            MemberChange::Leave => Self { kind: MessageKind::MemberLeft, ..Self::default() },
            MemberChange::Join => Self { kind: MessageKind::MemberJoined, ..Self::default() },
            MemberChange::SetRole(user, role) => Self { role: Some(role.into()), ..Self::about(MessageKind::RoleChanged, user) },
        }
    }
    fn of_act(act: &Act) -> Self {
        match act {
            Act::Edit { target, text, mentions } => Self { text: text.clone(), mentions: texts_of(mentions), ..Self::at(MessageKind::Edit, *target) },
            Act::Delete { target } => Self::at(MessageKind::Deletion, *target),
            Act::React { target, emoji, on } => {
                let kind = if *on { MessageKind::Reaction } else { MessageKind::ReactionGone };
                Self { text: emoji.clone(), ..Self::at(kind, *target) }
            }
            Act::Pin { target, on } => Self::at(if *on { MessageKind::Pin } else { MessageKind::Unpin }, *target),
            Act::Describe { title, .. } => Self { kind: MessageKind::Described, text: title.clone().unwrap_or_default(), ..Self::default() },
            Act::SetRules(_) => Self { kind: MessageKind::RulesChanged, ..Self::default() },
            Act::HandOver { to } => Self::about(MessageKind::HandedOver, *to),
            Act::Mute { user, until } => Self { until_ms: Some(until.get()), ..Self::about(MessageKind::Muted, *user) },
            Act::Ban { user, on } => Self::about(if *on { MessageKind::Banned } else { MessageKind::Unbanned }, *user),
            _ => Self::default(),
        }
    }
    fn at(kind: MessageKind, target: Seq) -> Self {
        Self { kind, target: Some(target.get()), ..Self::default() }
    }
    fn about(kind: MessageKind, user: UserId) -> Self {
        Self { kind, users: vec![user.to_string()], ..Self::default() }
    }
}

impl From<kith_client::wire::act::Origin> for Origin {
    fn from(origin: kith_client::wire::act::Origin) -> Self {
        let kith_client::wire::act::Origin { channel, seq, sender, ts } = origin;
        Self { channel: channel.to_string(), seq: seq.get(), sender: sender.to_string(), ts_ms: ts.get() }
    }
}

impl From<Gone> for GoneReason {
    fn from(why: Gone) -> Self {
        match why {
            Gone::Deleted => Self::Deleted,
            Gone::Expired => Self::Expired,
            Gone::Retention => Self::Retention,
            Gone::Erased => Self::Erased,
            Gone::Changed => Self::Changed,
        }
    }
}

/// How far a write got.
#[derive(Clone, PartialEq, Debug, uniffi::Enum)]
pub enum SendState {
    /// Stored here, to be sent.
    Queued,
    /// Sent at least once; its fate is not known yet.
    Sending,
    /// It stands at this place.
    Sent {
        /// Its place.
        seq: u64,
        /// Server time.
        ts_ms: u64,
    },
    /// Done, without a record of its own.
    Kept {
        /// Names what was made, a text for later, say; 0 where there is nothing to name.
        id: u64,
    },
    /// Refused for good; a text is kept until it is sent anew or discarded.
    Failed {
        /// Why: see docs/sdk/errors.md.
        code: u16,
        /// For a developer.
        text: String,
    },
    /// Given up.
    Discarded,
}

impl From<Delivery> for SendState {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Sending => Self::Sending,
            Delivery::Sent(message) => Self::Sent { seq: message.seq().get(), ts_ms: message.ts },
            Delivery::Kept(id) => Self::Kept { id },
            Delivery::Failed(Error { code, text, .. }) => Self::Failed { code: code.number(), text },
            Delivery::Discarded => Self::Discarded,
            _ => Self::Queued,
        }
    }
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Outcome {
    /// A record.
    Stands {
        /// Its place.
        seq: u64,
        /// Server time.
        ts_ms: u64,
    },
    /// No record, since others need not know or nothing changed.
    Kept {
        /// Names what was made, a text for later, say; 0 where there is nothing to name.
        id: u64,
    },
}

impl From<kith_client::Done> for Outcome {
    fn from(done: kith_client::Done) -> Self {
        match done {
            kith_client::Done::Record(message) => Self::Stands { seq: message.seq().get(), ts_ms: message.ts },
            kith_client::Done::Kept(id) => Self::Kept { id },
        }
    }
}

/// An own write that is not a record yet, or never will be.
#[derive(Clone, PartialEq, Debug, uniffi::Record)]
pub struct Echo {
    /// Its key in every list of this device, also once it stands.
    pub id: String,
    /// Where to.
    pub channel: String,
    /// Its number, for `retry` and `discard`.
    pub number: u64,
    /// What it will be.
    pub kind: MessageKind,
    /// What it will say.
    pub text: String,
    /// The record that it answers.
    pub reply_to: Option<u64>,
    /// The record that it is about.
    pub target: Option<u64>,
    /// Whom it mentions.
    pub mentions: Vec<String>,
    /// How far it got.
    pub state: SendState,
}

impl From<&kith_client::Echo> for Echo {
    fn from(echo: &kith_client::Echo) -> Self {
        let kith_client::Echo { id, channel, client_seq, content, state } = echo;
        let Said { kind, text, reply_to, target, mentions, .. } = Said::of(content);
        let (id, channel, number, state) = (id.to_string(), channel.to_string(), client_seq.get(), state.clone().into());
        Self { id, channel, number, kind, text, reply_to, target, mentions, state }
    }
}

/// An own text that does not stand.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Unsent {
    /// Its number, for `retry` and `discard`.
    pub number: u64,
    /// What it says.
    pub text: String,
    /// Why it was refused; `None`: it is on its way.
    pub code: Option<u16>,
}

impl Unsent {
    /// `None`: it is no text.
    pub(crate) fn new(echo: kith_client::Echo) -> Option<Self> {
        let code = match &echo.state {
            Delivery::Failed(error) => Some(error.code.number()),
            _ => None,
        };
        Some(Self { number: echo.client_seq.get(), text: echo.content.text()?.to_owned(), code })
    }
}

/// A text with all that it may carry.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Post {
    /// 1 to 100,000 characters.
    pub text: String,
    /// The record that it answers.
    #[uniffi(default = None)]
    pub reply_to: Option<u64>,
    /// Users that it mentions, by id; at most 100.
    #[uniffi(default = [])]
    pub mentions: Vec<String>,
    /// It is in the thread that this text began, or begins by it.
    #[uniffi(default = None)]
    pub thread: Option<u64>,
    /// It ends so long after it was recorded: then no log has its text any more.
    #[uniffi(default = None)]
    pub ttl_ms: Option<u64>,
}

impl From<kith_client::wire::act::Draft> for Post {
    fn from(draft: kith_client::wire::act::Draft) -> Self {
        let kith_client::wire::act::Draft { text, reply_to, mentions, thread, ttl_ms } = draft;
        Self { text, reply_to: reply_to.map(Seq::get), mentions: texts_of(&mentions), thread: thread.map(Seq::get), ttl_ms }
    }
}

/// An own text that is to be sent later, or was refused then.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Scheduled {
    /// Names it in `unschedule`.
    pub id: u64,
    /// When, by the server's clock.
    pub due_ms: u64,
    /// What.
    pub post: Post,
    /// It was due, and refused with this code.
    pub refused: Option<u16>,
}

impl From<kith_client::wire::client::ScheduledText> for Scheduled {
    fn from(text: kith_client::wire::client::ScheduledText) -> Self {
        let kith_client::wire::client::ScheduledText { id, due, draft, refused } = text;
        Self { id, due_ms: Timestamp::get(due), post: draft.into(), refused: refused.map(|code| code.number()) }
    }
}
