//! The SDK for Kotlin, Swift and Python: `kith-client`, by values that every language has.
//!
//! In: calls of apps. Out: answers, events, typed errors. Invariants: no logic of its own; a call that is given up drops what it waited for; every call is
//! async and none blocks a thread of the app. Bounds: those of `kith-client`. Not here: what anything does (`kith-client`).

mod client;
mod door;
mod error;
mod event;
#[cfg(feature = "testing")]
mod testing;
mod value;

pub use self::{
    client::{ChatClient, Options},
    door::{Door, LoginKeeper, NewLogin, SavedLogin},
    error::{ChatError, ErrorClass, StoreTrouble},
    event::ChatEvent,
    value::{Conversation, Found, Hit, Member, MemberRole, Message, MessageKind, SendState, Status, TokenReason, TokenSource, Transport, Unsent},
};

#[cfg(feature = "testing")]
pub use self::testing::FakeServer;

uniffi::setup_scaffolding!("kith");
