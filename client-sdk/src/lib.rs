//! The client of Kith: chat that works offline, sends exactly once, and shows each record once and in order.
//!
//! In: drafts, questions, tokens. Out: records, answers, events. `client` and `channel` are the handles; one task per client
//! (`driver`) owns the connection and the session's logic (`core`, without IO); what lasts is in a `store`.
//! Invariants: nothing is sent before it is stored; a write is resent until it is answered; per channel records come by rising seq,
//! none twice, none left out. Bounds: every queue has one, named where it is. Not here: the protocol's types (`kith-wire`).
//!
//! ```no_run
//! # async fn quickstart(token: String, ca_pem: &[u8]) -> Result<(), kith_client::Error> {
//! use kith_client::{Client, Event, Trust};
//! let client = Client::builder("https://chat.example").tokens(token).trust(Trust::ca_pem(ca_pem)?).build().await?;
//! let mut events = client.events();
//! client.connect().await?;
//! let room = client.direct("ann").await?;
//! let message = room.send("hello").await?.sent().await?;
//! println!("stands at {}", message.seq());
//! while let Some(event) = events.next().await {
//!     if let Event::Record { channel, record } = event {
//!         println!("{channel} {}: {:?}", record.at.seq, record.content);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests drive the core by the real clock and spawn"))]
#![deny(missing_docs)]

mod account;
mod act;
mod amend;
mod board;
mod builder;
mod channel;
mod client;
mod clock;
mod contact;
mod core;
mod desk;
mod driver;
mod endpoint;
mod error;
mod export;
mod feed;
mod hook;
mod list;
mod live;
mod logger;
mod login;
mod memory;
mod needle;
mod outgoing;
mod preferences;
mod presence;
mod probe;
mod push;
pub mod raw;
mod search;
mod span;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod status;
pub mod store;
mod summaries;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timeline;
mod token;
mod transport;
mod typist;

pub use kith_wire as wire;

pub use crate::{
    account::{Account, Bot},
    act::{Joined, Link, Post},
    builder::ClientBuilder,
    channel::{Channel, Draft, History},
    client::{ChannelSummary, Client, NewChannel, UserRef},
    contact::{Contacts, ProfileChange},
    core::{Backfill, RetryPolicy},
    desk::Desk,
    endpoint::{Endpoint, Trust},
    error::Error,
    export::{Export, ExportCursor, ExportItem},
    feed::{Event, Events},
    hook::Hooks,
    list::{LiveList, Vector, VectorDiff},
    live::Live,
    logger::{LogLevel, LogRecord},
    login::{Door, Entered, Keeper, Login, SavedLogin},
    memory::MemoryStore,
    outgoing::{Delivery, Done, MessageRef, Outgoing},
    preferences::Preferences,
    presence::{Presence, PresenceMap},
    push::PushedMessage,
    search::Found,
    status::{Connection, Status, Traffic},
    store::{Parked, StoreFailed, StoreTrouble},
    summaries::UnreadTotals,
    timeline::{Anchor, Echo, LocalId, More, Timeline, TimelineItem},
    token::{TokenProvider, TokenReason},
    transport::Transport,
};

#[cfg(feature = "sqlite")]
pub use crate::sqlite::SqliteStore;
