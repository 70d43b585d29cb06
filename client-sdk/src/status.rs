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
