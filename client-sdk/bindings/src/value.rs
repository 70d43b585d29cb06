//! What crosses the boundary: ids as text, places as numbers, times as milliseconds since 1970.

use kith_client::{
    ChannelSummary, Delivery, Echo, Error,
    wire::{
        act::Act,
        id::{ChannelId, UserId},
        log::{Content, Record, Role},
        search::SearchHit,
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

/// Gives tokens; an app's own. A failure is tried again with backoff.
#[uniffi::export(with_foreign)]
#[async_trait::async_trait]
pub trait TokenSource: Send + Sync {
    /// A token for this user, as the cluster signs them.
    async fn token(&self, reason: TokenReason) -> Result<String, ChatError>;
}

/// How far a text got.
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
    /// Refused for good; kept until it is sent anew or discarded.
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
            Delivery::Kept(_) => Self::Sent { seq: 0, ts_ms: 0 },
            Delivery::Failed(Error { code, text, .. }) => Self::Failed { code: code.number(), text },
            Delivery::Discarded => Self::Discarded,
            _ => Self::Queued,
        }
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
    pub(crate) fn new(echo: Echo) -> Option<Self> {
        let code = match &echo.state {
            Delivery::Failed(error) => Some(error.code.number()),
            _ => None,
        };
        Some(Self { number: echo.client_seq.get(), text: echo.content.text()?.to_owned(), code })
    }
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Enum)]
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
    /// Who is a member, title or rules were changed, or something of a newer version.
    Other,
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
    /// Its text, if it has one; what an edit has made of another's; a reaction.
    pub text: String,
    /// The record that it answers.
    pub reply_to: Option<u64>,
    /// The record that it is about.
    pub target: Option<u64>,
}

impl Message {
    pub(crate) fn new(channel: ChannelId, record: &Record) -> Self {
        let (mut text, mut reply_to) = (String::new(), None);
        let (kind, target) = match &record.content {
            Content::Text { text: said, reply_to: answered, .. } => {
                (text, reply_to) = (said.clone(), answered.map(|seq| seq.get()));
                (MessageKind::Text, None)
            }
            Content::Gone { .. } => (MessageKind::Gone, None),
            Content::Act(Act::Edit { target, text: new, .. }) => {
                text.clone_from(new);
                (MessageKind::Edit, Some(target))
            }
            Content::Act(Act::Delete { target }) => (MessageKind::Deletion, Some(target)),
            Content::Act(Act::React { target, emoji, on }) => {
                text.clone_from(emoji);
                (if *on { MessageKind::Reaction } else { MessageKind::ReactionGone }, Some(target))
            }
            Content::Act(Act::Pin { target, on }) => (if *on { MessageKind::Pin } else { MessageKind::Unpin }, Some(target)),
            _ => (MessageKind::Other, None),
        };
        let (seq, ts_ms, sender) = (record.at.seq.get(), record.ts.get(), record.sender.to_string());
        Self { channel: channel.to_string(), seq, ts_ms, sender, kind, text, reply_to, target: target.map(|seq| seq.get()) }
    }
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
    /// Of those, how many mention the user.
    pub mentions: u64,
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

/// Somebody in a conversation.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Member {
    /// Who.
    pub user: String,
    /// What they may do.
    pub role: MemberRole,
    /// They have read up to here.
    pub read: u64,
}

/// A message that was found.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Hit {
    /// Which conversation.
    pub channel: String,
    /// Its place.
    pub seq: u64,
    /// Server time.
    pub ts_ms: u64,
    /// Who wrote it.
    pub sender: String,
    /// Some of its text.
    pub excerpt: String,
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        let SearchHit { spot, sender, excerpt, .. } = hit;
        Self { channel: spot.channel.to_string(), seq: spot.seq.get(), ts_ms: spot.ts.get(), sender: sender.to_string(), excerpt }
    }
}

/// What was found here and by the cluster.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Found {
    /// Newest first, each once.
    pub hits: Vec<Hit>,
    /// Whether the cluster answered; if not, only what this device holds was searched.
    pub has_cluster_answered: bool,
}

/// A channel's id as it is printed.
pub(crate) fn channel_of(text: &str) -> Result<ChannelId, ChatError> {
    ChannelId::from_hex(text).map_err(|_| ChatError::invalid("this is no id of a conversation"))
}
