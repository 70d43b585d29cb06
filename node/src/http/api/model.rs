//! What the API says: the JSON of channels, records, rows and people, and how it follows from the parsed types.
//!
//! In: answers of the service. Out: bodies with a schema. Ids are text, as the CLI prints them; seqs, counts and times in milliseconds are
//! numbers below 2^53. Invariant: nothing is decided here. What a newer version adds comes as new fields and new values of `kind`.

mod group;
mod message;

use std::borrow::Cow;

use kith_wire::{
    client::{ChannelView, Edge, MemberView, UserView},
    id::{ChannelId, ChannelKind, UserId},
    log::{IndexRow, Position as At, Role as LogRole, SavedDraft},
    presence::{PresenceState as Wire, PresenceView},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

pub(super) use self::{
    group::{Group, Link, Reaction, Rules, Scheduled, scheduled_text},
    message::{History, Message, messages},
};
use super::number;

/// A place in a channel.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The record: 1, 2, 3, …; 0 is before the first.
    #[serde(deserialize_with = "number::any")]
    #[schema(maximum = 9_007_199_254_740_991u64)]
    pub(super) seq: u64,
    /// Texts up to and with it.
    #[serde(deserialize_with = "number::any")]
    #[schema(maximum = 9_007_199_254_740_991u64)]
    pub(super) cnt: u64,
}

impl From<At> for Position {
    fn from(at: At) -> Self {
        Self { seq: at.seq.get(), cnt: at.cnt }
    }
}
impl From<Position> for At {
    fn from(at: Position) -> Self {
        Self { seq: kith_wire::id::Seq::new(at.seq), cnt: at.cnt }
    }
}

/// What a member may do.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Posts and reads.
    Member,
    /// Adds and removes members.
    Admin,
    /// Everything; a group always has one.
    Owner,
}

impl From<LogRole> for Role {
    fn from(role: LogRole) -> Self {
        match role {
            LogRole::Member => Self::Member,
            LogRole::Admin => Self::Admin,
            LogRole::Owner => Self::Owner,
        }
    }
}
impl From<Role> for LogRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

/// A user's id, as callers write it: for the document.
pub(super) struct UserIdText;

impl PartialSchema for UserIdText {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^u[0-9a-fA-F]{16}$"));
        text.examples(["u00f3a1b2c3d4e5f6"]).into()
    }
}

impl ToSchema for UserIdText {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("UserId")
    }
}

/// How a user is.
#[derive(Serialize, ToSchema)]
pub(super) struct Presence {
    /// Their id.
    #[schema(example = "u00f3a1b2c3d4e5f6")]
    pub(super) user: String,
    /// How they are.
    state: PresenceState,
    /// When they were last here, in milliseconds since 1970; only of who is offline and shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_ms: Option<u64>,
}

/// In one word.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PresenceState {
    /// Not known now: ask again in some seconds.
    Unknown,
    /// On no device, or does not show it to you.
    Offline,
    /// On a device that nobody sits before.
    Away,
    /// Here.
    Online,
}

impl From<&PresenceView> for Presence {
    fn from(view: &PresenceView) -> Self {
        let state = match view.state {
            Wire::Unknown => PresenceState::Unknown,
            Wire::Offline => PresenceState::Offline,
            Wire::Away => PresenceState::Away,
            Wire::Online => PresenceState::Online,
        };
        Self { user: view.user.to_string(), state, last_seen_ms: view.last_seen.map(|at| at.get()) }
    }
}

/// A user, as others see them.
#[derive(Serialize, ToSchema)]
pub(super) struct User {
    /// Their id.
    #[schema(example = "u00f3a1b2c3d4e5f6")]
    pub(super) user: String,
    /// Their name.
    #[schema(example = "ann")]
    pub(super) name: String,
}

impl From<UserView> for User {
    fn from(view: UserView) -> Self {
        Self { user: view.user.to_string(), name: view.name }
    }
}

/// A write that is on the disks of a quorum.
#[derive(Serialize, ToSchema)]
pub(super) struct Written {
    /// The channel.
    pub(super) channel: String,
    /// Its place there.
    pub(super) seq: u64,
    /// Texts up to and with it.
    pub(super) cnt: u64,
    /// When it was written, in milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// A conversation in its user's list.
#[derive(Serialize, ToSchema)]
pub(super) struct Channel {
    /// Its id.
    pub(super) channel: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Title of a group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) title: String,
    /// The other user of a direct channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<String>,
    /// Version of the user's index at which this row last changed.
    pub(super) rev: u64,
    /// The last record that the user may see.
    pub(super) head: Position,
    /// Its time, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Start of its text.
    pub(super) preview: String,
    /// Who wrote it.
    pub(super) sender: String,
    /// Read up to here.
    pub(super) read: Position,
    /// Texts that are not read.
    pub(super) unread: u64,
    /// Mentions that are not read.
    pub(super) mentions: usize,
    /// Set when the user has left: nothing after it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u64>,
    /// Since when it is on top of the list, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pinned_ms: Option<u64>,
    /// No push until then, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) muted_until_ms: Option<u64>,
    /// Its head when it was archived: with a later one, and not muted, it is in the list again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) archived: Option<u64>,
    /// Up to here it was cleared: earlier texts are not shown in this list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cleared: Option<Position>,
    /// What was written and not sent yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) draft: Option<Draft>,
}

/// A text that was not sent yet.
#[derive(Serialize, ToSchema)]
pub(super) struct Draft {
    /// So far.
    text: String,
    /// Seq of the record that it will answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    /// When it was written, in milliseconds since 1970.
    at_ms: u64,
}

impl From<&SavedDraft> for Draft {
    fn from(draft: &SavedDraft) -> Self {
        Self { text: draft.text.clone(), reply_to: draft.reply_to.map(|seq| seq.get()), at_ms: draft.at.get() }
    }
}

/// What a channel is.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Of two users, or one's notes.
    Direct,
    /// Of up to 100.
    Group,
}

impl Kind {
    pub(super) fn of(channel: ChannelId) -> Self {
        match channel.kind() {
            ChannelKind::Direct(..) => Self::Direct,
            ChannelKind::Group(_) => Self::Group,
        }
    }
}

impl Channel {
    pub(super) fn of(row: &IndexRow, user: UserId) -> Self {
        let (news, preferences) = (&row.news, &row.preferences);
        Self {
            channel: news.channel.to_string(),
            kind: Kind::of(news.channel),
            title: news.title.clone(),
            peer: news.channel.peer_of(user).map(|peer| peer.to_string()),
            rev: row.rev.get(),
            head: news.head.into(),
            at_ms: news.head_ts.get(),
            preview: news.preview.clone(),
            sender: news.head_sender.to_string(),
            read: row.read.into(),
            unread: row.unread(),
            mentions: row.unread_mentions(),
            left: news.left.map(|seq| seq.get()),
            pinned_ms: preferences.pinned.map(|since| since.get()),
            muted_until_ms: preferences.muted.map(|until| until.get().min(number::MAX)),
            archived: preferences.archived.map(|seq| seq.get()),
            cleared: Some(preferences.cleared).filter(|at| at.seq.get() > 0).map(Position::from),
            draft: preferences.draft.as_ref().map(Draft::from),
        }
    }
}

/// Conversations, the last changed first.
#[derive(Serialize, ToSchema)]
pub(super) struct Channels {
    /// The last changed first.
    pub(super) channels: Vec<Channel>,
    /// What follows, for `cursor`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// What changed in the user's conversations.
#[derive(Serialize, ToSchema)]
pub(super) struct Sync {
    /// The last changed first. None: nothing did while the request waited.
    pub(super) channels: Vec<Channel>,
    /// For the next request.
    pub(super) cursor: String,
    /// Whether there is more to be had at once.
    pub(super) more: bool,
}

/// A channel and who is in it.
#[derive(Serialize, ToSchema)]
pub(super) struct Room {
    /// Its id.
    pub(super) channel: String,
    /// What it is.
    pub(super) kind: Kind,
    /// Title of a group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) title: String,
    /// Its last record.
    pub(super) head: Position,
    /// By user.
    pub(super) members: Vec<Member>,
}

/// A member, as the others see them.
#[derive(Serialize, ToSchema)]
pub(super) struct Member {
    /// Who.
    pub(super) user: String,
    /// What they may do.
    pub(super) role: Role,
    /// Read up to here.
    pub(super) read: Position,
    /// Delivered up to here.
    pub(super) delivered: Position,
}

impl From<ChannelView> for Room {
    fn from(view: ChannelView) -> Self {
        Self {
            channel: view.channel.to_string(),
            kind: Kind::of(view.channel),
            title: view.title,
            head: view.head.into(),
            members: view.members.into_iter().map(Member::from).collect(),
        }
    }
}
impl From<MemberView> for Member {
    fn from(view: MemberView) -> Self {
        Self { user: view.user.to_string(), role: view.role.into(), read: view.read.into(), delivered: view.delivered.into() }
    }
}

/// A node that clients can go to.
#[derive(Serialize, ToSchema)]
pub(super) struct Node {
    /// Which.
    pub(super) node: u64,
    /// `host:port` of its QUIC endpoint.
    pub(super) address: String,
    /// Region that it stands in.
    pub(super) region: u8,
    /// Zone label.
    pub(super) zone: String,
}

impl From<Edge> for Node {
    fn from(edge: Edge) -> Self {
        Self { node: edge.node.get(), address: edge.address, region: edge.region.get(), zone: edge.zone }
    }
}

/// Ids as text.
pub(super) fn texts(users: &[UserId]) -> Vec<String> {
    users.iter().map(ToString::to_string).collect()
}
