//! Records of a conversation, and what they say.

use bytes::Bytes;

use super::{MemberChange, Position};
use crate::{
    act::{Act, Extra, Gone},
    id::{ClientSeq, DeviceId, Incarnation, Seq, Timestamp, UserId},
    limit,
};

/// One record of a conversation.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Its place and the running number of texts.
    pub at: Position,
    /// The incarnation it was written in.
    pub incarnation: Incarnation,
    /// Who sent it.
    pub sender: UserId,
    /// From which device.
    pub device: DeviceId,
    /// The device's number for it; 0 for records that no device numbered.
    pub client_seq: ClientSeq,
    /// Server time, never before that of the record before it.
    pub ts: Timestamp,
    /// What it says.
    pub content: Content,
}

/// What a record says. Kinds are stored as numbers; one that this version does not know is kept and shown as such.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// 1: a text; the only kind that counts as a message. `extra`: what most do not have.
    Text { text: String, reply_to: Option<Seq>, mentions: Vec<UserId>, extra: Option<Box<Extra>> },
    /// 2: the group was made, with these members besides the creator.
    Created { title: String, members: Vec<UserId> },
    /// 3: a change of members, by the record's sender.
    Members(MemberChange),
    /// 4: something else that its sender did.
    Act(Act),
    /// 5: a text that is not there any more; `counted`: it counts as it did.
    Gone { why: Gone, counted: bool },
    /// 6: an account has ended, and with it membership and texts of its user: what they wrote before this record is gone.
    Erased { user: UserId },
    /// Anything newer.
    Unknown { kind: u32, bytes: Bytes },
}

impl Content {
    /// The stored number of the kind.
    pub const fn kind(&self) -> u32 {
        match self {
            Self::Text { .. } => 1,
            Self::Created { .. } => 2,
            Self::Members(_) => 3,
            Self::Act(_) => 4,
            Self::Gone { .. } => 5,
            Self::Erased { .. } => 6,
            Self::Unknown { kind, .. } => *kind,
        }
    }
    /// Whether it counts as a message.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text { .. } | Self::Gone { counted: true, .. })
    }
    /// Its text, if it has one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }
    /// What a text carries besides what most do.
    pub fn extra(&self) -> Option<&Extra> {
        match self {
            Self::Text { extra, .. } => extra.as_deref(),
            _ => None,
        }
    }
    /// What it weighs in a page or queue, in bytes: texts, titles, lists and unknown bodies, without their envelope.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text { text, mentions, .. } => text.len() + 8 * mentions.len(),
            Self::Created { title, members } => title.len() + 8 * members.len(),
            Self::Act(act) => act.bytes(),
            Self::Members(_) | Self::Gone { .. } | Self::Erased { .. } => 0,
            Self::Unknown { bytes, .. } => bytes.len(),
        }
    }
}

impl Record {
    /// Everyone that it names, its sender first.
    pub fn users(&self) -> Vec<UserId> {
        let mut users = vec![self.sender];
        match &self.content {
            Content::Created { members, .. } => users.extend(members),
            Content::Members(MemberChange::Add(user) | MemberChange::Remove(user) | MemberChange::SetRole(user, _)) => users.push(*user),
            Content::Act(Act::HandOver { to: user } | Act::Mute { user, .. } | Act::Ban { user, .. }) => users.push(*user),
            Content::Text { extra: Some(extra), .. } => users.extend(extra.origin.map(|origin| origin.sender)),
            _ => {}
        }
        users
    }
    /// Start of its text, at most `limit::PREVIEW_CHARS` scalar values; empty for what is no text.
    pub fn preview(&self) -> String {
        match &self.content {
            Content::Text { text, .. } => text.chars().take(limit::PREVIEW_CHARS).collect(),
            _ => String::new(),
        }
    }
}
