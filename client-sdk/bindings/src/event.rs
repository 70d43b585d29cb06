//! What happens without being asked for.

use kith_client::{Event, wire::id::UserId};

use crate::{message::Message, value::Conversation};

/// Something that happened.
#[derive(Clone, Debug, uniffi::Enum)]
pub enum ChatEvent {
    /// A record of a conversation: each once, in order, own ones too.
    Received {
        /// The record.
        message: Message,
    },
    /// The list has changed here.
    Changed {
        /// The conversation as it is now.
        conversation: Conversation,
    },
    /// Another member has read up to here, or a device of theirs has got so far.
    Read {
        /// Where.
        channel: String,
        /// Who.
        user: String,
        /// Read up to here.
        seq: u64,
        /// Delivered up to here.
        delivered: u64,
    },
    /// Another member types.
    Typing {
        /// Where.
        channel: String,
        /// Who.
        user: String,
    },
    /// Records that exist and are not shown: gone, or not for this user.
    Gap {
        /// Where.
        channel: String,
        /// First of them.
        first: u64,
        /// Last of them.
        last: u64,
    },
    /// The list of conversations was walked anew.
    Resync,
    /// The store is a copy or an old one: use a new one.
    StoreReplaced,
}

impl ChatEvent {
    /// `None`: nothing that this version tells.
    pub(crate) fn of(me: UserId, event: Event) -> Option<Self> {
        Some(match event {
            Event::Record { channel, record } => Self::Received { message: Message::new(channel, &record) },
            Event::Channel(row) => Self::Changed { conversation: Conversation::new(me, (*row).into()) },
            Event::Receipt { channel, user, read, delivered } => {
                let (channel, user) = (channel.to_string(), user.to_string());
                Self::Read { channel, user, seq: read.seq.get(), delivered: delivered.seq.get() }
            }
            Event::Typing { channel, user } => Self::Typing { channel: channel.to_string(), user: user.to_string() },
            Event::Gap { channel, first, last } => Self::Gap { channel: channel.to_string(), first: first.get(), last: last.get() },
            Event::Resync => Self::Resync,
            Event::StoreReplaced => Self::StoreReplaced,
            _ => return None,
        })
    }
}
