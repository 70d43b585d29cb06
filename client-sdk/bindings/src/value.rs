//! What crosses the boundary: ids as text, places as numbers, times as milliseconds since 1970.

use std::time::Duration;

use kith_client::{
    ChannelSummary,
    wire::{
        id::{ChannelId, DeviceId, Seq, Timestamp, UserId},
        log::{Role, SavedDraft},
    },
};

use crate::error::ChatError;

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Status {
    /// No connection; it tries again by itself.
    Offline,
    /// A connection is being made.
    Connecting,
    /// Connected; the list of conversations is being brought up to date.
    Syncing,
    /// Connected, and all conversations with news are known.
    Online,
    /// In the background.
    Suspended,
    /// Closed for good.
    Closed,
}

impl From<kith_client::Status> for Status {
    fn from(status: kith_client::Status) -> Self {
        match status {
            kith_client::Status::Connecting => Self::Connecting,
            kith_client::Status::Syncing => Self::Syncing,
            kith_client::Status::Online => Self::Online,
            kith_client::Status::Suspended => Self::Suspended,
            kith_client::Status::Closed(_) => Self::Closed,
            _ => Self::Offline,
        }
    }
}

/// By what it is connected, or was last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum Transport {
    /// It was not yet.
    Unknown,
    /// QUIC.
    Quic,
    /// A WebSocket: no UDP gets through.
    WebSocket,
}

impl From<Option<kith_client::Transport>> for Transport {
    fn from(transport: Option<kith_client::Transport>) -> Self {
        match transport {
            Some(kith_client::Transport::Quic) => Self::Quic,
            Some(kith_client::Transport::WebSocket) => Self::WebSocket,
            _ => Self::Unknown,
        }
    }
}

/// Why a token is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum TokenReason {
    /// The client has none yet.
    First,
    /// The last one was refused or its time is over.
    Refused,
}

/// In which order edges are tried, the preferred one first.
pub(crate) fn order(transports: Vec<Transport>) -> Result<Vec<kith_client::Transport>, ChatError> {
    let known = |transport| match transport {
        Transport::Quic => Ok(kith_client::Transport::Quic),
        Transport::WebSocket => Ok(kith_client::Transport::WebSocket),
        Transport::Unknown => Err(ChatError::invalid("this is no way to an edge")),
    };
    transports.into_iter().map(known).collect()
}

/// Gives tokens; an app's own. A failure is tried again with backoff.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenSource: Send + Sync {
    /// A token for this user, as the cluster signs them.
    async fn token(&self, reason: TokenReason) -> Result<String, ChatError>;
}

/// A conversation in the list.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Conversation {
    /// Its id.
    pub channel: String,
    /// Title of a group; empty for a direct one.
    pub title: String,
    /// Of a direct one, the other user.
    pub peer: Option<String>,
    /// Start of its last text.
    pub preview: String,
    /// Server time of it.
    pub ts_ms: u64,
    /// Its last record.
    pub head: u64,
    /// Read up to here by this user.
    pub read: u64,
    /// Texts that were not read.
    pub unread: u64,
    /// Of those, how many mention the user; 100 shows as "99+".
    pub mentions: u64,
    /// Who wrote its last text.
    pub sender: String,
    /// Since when it is pinned on top.
    pub pinned_ms: Option<u64>,
    /// Until when there is no push of it.
    pub muted_until_ms: Option<u64>,
    /// Its last record when it was archived: it is out of the list until there is a later one, or for as long as it is muted.
    pub archived_at: Option<u64>,
    /// What was written and not sent.
    pub draft: Option<ConversationDraft>,
    /// Up to here it was cleared; 0: it was not.
    pub cleared: u64,
    /// The user has left it: nothing after this record is theirs.
    pub left: Option<u64>,
}

/// What was written and not sent, the same on all devices of the user.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct ConversationDraft {
    /// So far; at most 2,000 characters.
    pub text: String,
    /// The record that it will answer.
    #[uniffi(default = None)]
    pub reply_to: Option<u64>,
    /// When it was written, by the device's clock.
    #[uniffi(default = 0)]
    pub at_ms: u64,
}

impl From<SavedDraft> for ConversationDraft {
    fn from(draft: SavedDraft) -> Self {
        Self { text: draft.text, reply_to: draft.reply_to.map(Seq::get), at_ms: draft.at.get() }
    }
}

impl From<ConversationDraft> for SavedDraft {
    fn from(draft: ConversationDraft) -> Self {
        Self { text: draft.text, reply_to: draft.reply_to.map(Seq::new), at: Timestamp::new(draft.at_ms) }
    }
}

impl Conversation {
    pub(crate) fn new(me: UserId, summary: ChannelSummary) -> Self {
        let ChannelSummary { channel, unread, mentions, row } = summary;
        Self {
            channel: channel.to_string(),
            peer: channel.peer_of(me).map(|peer| peer.to_string()),
            title: row.news.title,
            preview: row.news.preview,
            ts_ms: row.news.head_ts.get(),
            head: row.news.head.seq.get(),
            read: row.read.seq.get(),
            unread,
            mentions: mentions as u64,
            sender: row.news.head_sender.to_string(),
            pinned_ms: row.preferences.pinned.map(Timestamp::get),
            muted_until_ms: row.preferences.muted.map(Timestamp::get),
            archived_at: row.preferences.archived.map(Seq::get),
            draft: row.preferences.draft.map(Into::into),
            cleared: row.preferences.cleared.seq.get(),
            left: row.news.left.map(Seq::get),
        }
    }
}

/// What a member of a group may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
pub enum MemberRole {
    /// Writes.
    Member,
    /// Runs the group.
    Admin,
    /// There is one.
    Owner,
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
            Role::Member => Self::Member,
        }
    }
}

impl From<MemberRole> for Role {
    fn from(role: MemberRole) -> Self {
        match role {
            MemberRole::Admin => Self::Admin,
            MemberRole::Owner => Self::Owner,
            MemberRole::Member => Self::Member,
        }
    }
}

/// Somebody in a conversation.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Member {
    /// Who.
    pub user: String,
    /// What they may do.
    pub role: MemberRole,
    /// They have read up to here.
    pub read: u64,
    /// A device of theirs has got up to here.
    pub delivered: u64,
}

/// A channel's id as it is printed.
pub(crate) fn channel_of(text: &str) -> Result<ChannelId, ChatError> {
    ChannelId::from_hex(text).map_err(|_| ChatError::invalid("this is no id of a conversation"))
}

/// A user's id as it is printed.
pub(crate) fn user_of(text: &str) -> Result<UserId, ChatError> {
    let digits = text.strip_prefix('u').filter(|digits| digits.len() == 16);
    let user = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).map(UserId::new);
    user.ok_or_else(|| ChatError::invalid("this is no id of a user"))
}

pub(crate) fn users_of(texts: &[String]) -> Result<Vec<UserId>, ChatError> {
    texts.iter().map(|text| user_of(text)).collect()
}

pub(crate) fn texts_of(users: &[UserId]) -> Vec<String> {
    users.iter().map(ToString::to_string).collect()
}

/// A device's id as it is printed.
pub(crate) fn device_of(text: &str) -> Result<DeviceId, ChatError> {
    text.parse().map(DeviceId::new).map_err(|_| ChatError::invalid("this is no id of a device"))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// 0 stands for "not", where the protocol has it so.
pub(crate) fn set(at: Timestamp) -> Option<u64> {
    Some(at.get()).filter(|at| *at > 0)
}
