//! What a device keeps: identity, numbered writes that await their answer, records, rows and cursors.
//!
//! In: lists of changes from the driver, each to be applied whole. Out: what the client needs to go on after a restart.
//! Invariants: a store is a device, so it is never used by two clients at once nor copied; a number of a write is stored with
//! its bytes before it is first sent; a cursor is stored with the records that it passes. Bound: the store's own.
//! Not here: the store in memory (`memory`), the one in files (`sqlite`), what a later record makes of an older one (`amend`).

use std::{collections::HashMap, fmt, sync::Arc};

use futures_util::future::{BoxFuture, ready};
use kith_wire::{
    client::{Edge, Request},
    code::Code,
    id::{ChannelId, ClientSeq, Conn, Seq, UserId, UserRev},
    log::{IndexRow, Position, Record},
};
use thiserror::Error;

pub use crate::span::Span;

/// What is wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreTrouble {
    /// There is no room on the disk. What was stored before stands; make room, then make a client over the same store.
    Full,
    /// What is in its files is not what was written. Opening the store anew heals it: the outbox is kept, the rest comes from the server.
    Corrupt,
    /// Another client uses it, perhaps in another process.
    InUse,
    /// A newer version of the SDK has written it.
    Newer,
    /// Somebody else used it while this client had let go of it in the background: make a new client.
    Changed,
    /// It was made with another key, or with none, or has one and none was given. Nothing was read or written.
    WrongKey,
    /// The system refused to read or write.
    Io,
}

impl fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk is full",
            Self::Corrupt => "its files are damaged",
            Self::InUse => "another client uses it",
            Self::Newer => "a newer version has written it",
            Self::Changed => "somebody else has used it meanwhile",
            Self::WrongKey => "this is not its key",
            Self::Io => "the system refused",
        })
    }
}

/// A store could not read or write. The client stops: nothing that is not stored may be sent.
#[derive(Clone, Debug, Error)]
#[error("the local store failed: {trouble}: {text}")]
pub struct StoreFailed {
    /// What to do about it hangs on this.
    pub trouble: StoreTrouble,
    /// For a developer; no user data.
    pub text: String,
}

impl StoreFailed {
    /// With what is to be said of it.
    pub fn new(trouble: StoreTrouble, text: impl Into<String>) -> Self {
        Self { trouble, text: text.into() }
    }
}

/// The two facts that make a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Whose store this is.
    pub user: UserId,
    /// Drawn when the store was made: the device id is a hash over both.
    pub nonce: [u8; 16],
}

/// What the device holds of a channel: every record it may see in `[from, max]`, and the hole `(max, head]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// First seq of the interval that is kept complete. Older history is asked for when it is wanted.
    pub from: Seq,
    /// End of the interval. Never goes back.
    pub max: Seq,
    /// Highest seq known to exist. Above `max`: a hole that will be pulled.
    pub head: Seq,
}

/// A numbered write that awaits its answer.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredWrite {
    /// Where to.
    pub channel: ChannelId,
    /// Its number; with the channel, its key.
    pub client_seq: ClientSeq,
    /// What is sent, byte for byte the same each time but for `settled`.
    pub request: Request,
}

/// An own text that was refused for good: it is kept with the reason until the app sends it anew or drops it.
#[derive(Clone, PartialEq, Debug)]
pub struct Parked {
    /// As it was sent. Its number is used up.
    pub write: StoredWrite,
    /// Why.
    pub code: Code,
    /// For a developer; no user data.
    pub why: String,
}

/// What is known of the numbers of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    /// The last number given.
    pub last: ClientSeq,
    /// The highest number that became a record.
    pub acked: ClientSeq,
}

/// One change. A list of them is applied whole or not at all.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The store's device, once.
    Identity(Identity),
    /// Raised before each Hello.
    Conn(Conn),
    /// Version of the index that is held: every row up to it is stored, with its hole noted.
    UserRev(UserRev),
    /// A numbered write, and that its number is given. One that is there already is replaced: by a `Void`, when it is given up.
    Write(StoredWrite),
    /// A write got its final answer. `acked`: it became a record, or was done without one.
    Settled {
        /// Where.
        channel: ChannelId,
        /// Which.
        client_seq: ClientSeq,
        /// Whether it was done.
        acked: bool,
    },
    /// A write was refused for good, and is kept with the reason: it waits for no answer any more.
    Parked {
        /// Where.
        channel: ChannelId,
        /// Which.
        client_seq: ClientSeq,
        /// Why.
        code: Code,
        /// For a developer.
        why: String,
    },
    /// A write that was refused is not kept any more.
    Dropped(ChannelId, ClientSeq),
    /// Records, rising, all above what is held.
    Records(ChannelId, Vec<Arc<Record>>),
    /// A part of the history of a channel, as it stood when the channel's head was at `head`: every record of it that the user may see. What
    /// is held already stays as it is.
    History {
        /// Where.
        channel: ChannelId,
        /// Rising, all within the span.
        records: Vec<Arc<Record>>,
        /// What is known by it.
        span: Span,
        /// Records above it are not in this view of the older ones.
        head: Seq,
    },
    /// How far a channel is held.
    Cursor(ChannelId, Cursor),
    /// A row of the user's index; replaces the one of the same channel.
    Row(IndexRow),
    /// This device moved the own read position, and the server acked it: rows show at least this from now on, also those that say less.
    Read(ChannelId, Position),
    /// Edges found; replaces the list.
    Edges(Vec<Edge>),
}

/// What a client needs to go on; everything but the records.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// `None`: a new store.
    pub identity: Option<Identity>,
    /// Connections so far.
    pub conn: Conn,
    /// Version of the index that is held.
    pub user_rev: UserRev,
    /// Writes without answer, by rising number in each channel.
    pub writes: Vec<StoredWrite>,
    /// Own texts that were refused, by rising number in each channel.
    pub parked: Vec<Parked>,
    /// Numbers given, by channel.
    pub numbers: HashMap<ChannelId, Numbers>,
    /// How far each channel is held.
    pub cursors: HashMap<ChannelId, Cursor>,
    /// Version of each row of the index.
    pub rows: HashMap<ChannelId, UserRev>,
    /// Edges found so far.
    pub edges: Vec<Edge>,
}

/// A device's memory. All calls come from one client; reads may come while a commit is under way.
pub trait Store: Send + Sync + 'static {
    /// Everything but the records.
    fn load(&self) -> BoxFuture<'_, Result<Snapshot, StoreFailed>>;
    /// Applies all of the changes or none. Durable when it resolves: what depends on it is sent only then.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreFailed>>;
    /// Held records of a channel from `first` to `last`, both inclusive, rising; at most `limit`, the oldest of them.
    fn records(&self, channel: ChannelId, first: Seq, last: Seq, limit: usize) -> BoxFuture<'_, Result<Vec<Arc<Record>>, StoreFailed>>;
    /// How far a channel is held; `None` if nothing is known of it.
    fn cursor(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Cursor>, StoreFailed>>;
    /// Every row of the user's index, newest first.
    fn rows(&self) -> BoxFuture<'_, Result<Vec<IndexRow>, StoreFailed>>;
    /// The parts of a channel's history of which every record is held that the user may see: rising, apart from each other; the last one is
    /// the one that grows.
    fn spans(&self, channel: ChannelId) -> BoxFuture<'_, Result<Vec<Span>, StoreFailed>>;
    /// Lets go of every file and lock until [`Store::resume`]; a call meanwhile takes them for as long as it needs. Resolves when they are free.
    fn park(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(ready(Ok(())))
    }
    /// The app is in the foreground again.
    fn resume(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(ready(Ok(())))
    }
    /// The client has ended: everything is let go of. Calls after it may fail.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreFailed>> {
        Box::pin(ready(Ok(())))
    }
}
