//! Where a client stands.

use std::time::Instant;

use crate::{error::Error, transport::Transport};

/// Where a client stands, one of six. Reading and queueing work in each of them but `Closed`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// No connection; the next try waits for its delay, or for `connect`.
    Offline,
    /// A connection is being made.
    Connecting,
    /// Connected; the list of channels is being brought up to date.
    Syncing,
    /// Connected, and every channel with news is known. Their records are on their way (`Client::behind`).
    Online,
    /// In the background: no connection, and none is tried until [`crate::Client::enter_foreground`]; no file is held open.
    Suspended,
    /// Closed for good: by the app (`None`), or for a reason that no retry mends.
    Closed(Option<Error>),
}

impl Status {
    /// Whether this is `Online`.
    pub const fn is_online(&self) -> bool {
        matches!(self, Self::Online)
    }
    /// Whether this is `Closed`.
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// What went over the network since the client was made: for a screen that shows what an app uses. Of QUIC, contents of datagrams; of a WebSocket, of its
/// messages; headers below them are not counted, nor is what other ways were tried with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// In so many datagrams or messages.
    pub sent_packets: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// In so many datagrams or messages.
    pub received_packets: u64,
}

impl std::ops::Add for Traffic {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            sent_packets: self.sent_packets + other.sent_packets,
            received_bytes: self.received_bytes + other.received_bytes,
            received_packets: self.received_packets + other.received_packets,
        }
    }
}

/// The connection, for a screen that shows it. What it says is of the moment: what may be done hangs on [`Status`] alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Connection {
    /// `host:port` of the edge that is connected or being dialled, or was last.
    pub edge: String,
    /// When the next one is dialled, while there is none.
    pub next_try: Option<Instant>,
    /// By what it is connected, or was last; `None`: it was not yet.
    pub transport: Option<Transport>,
}
