//! The SDK for Kotlin, Swift and Python: `kith-client`, by values that every language has.
//!
//! In: calls of apps. Out: answers, events, typed errors. Invariants: no logic of its own; a call that is given up drops what it waited for; every call is
//! async and none blocks a thread of the app. Bounds: those of `kith-client`. Not here: what anything does (`kith-client`).

mod account;
mod client;
mod door;
mod error;
mod event;
mod group;
mod hook;
mod log;
mod message;
mod people;
mod preferences;
mod presence;
mod push;
mod search;
mod steps;
#[cfg(feature = "testing")]
mod testing;
mod value;
mod watch;
mod write;

pub use self::{
    account::{Bot, BotName, ChatAccount, ChatExport, Device, ExportItem},
    client::{ChatClient, Options, Salvage, Traffic},
    door::{Door, LoginKeeper, NewLogin, SavedLogin},
    error::{ChatError, ErrorClass, RetryAdvice, StoreTrouble},
    event::ChatEvent,
    group::{EmojiCount, GroupDetails, GroupRules, InviteLink, Invited, JoinOutcome, JoinRequest, MutedMember, PinnedText, SeenBy},
    hook::{ChatWebhooks, HookEvent, NewWebhook, Webhook},
    log::{LogLevel, LogLine, LogSink},
    message::{Echo, GoneReason, Message, MessageKind, Origin, Outcome, Post, Scheduled, SendState, Unsent},
    people::{ChatContacts, Contact, ContactState, Profile, ProfileChange, ProfileField},
    presence::{Presence, PresenceKind, PresenceView},
    push::{PushDevice, PushFailure, PushState, PushTarget, PushTested, PushVia, PushedMessage, QuietHours, TakenBack},
    search::{Found, HistoryPage, HistoryRange, Hit, Mark, SearchQuery},
    steps::{Anchor, ChatTimeline, ConversationList, ConversationStep, Outbox, OutboxStep, TimelineItem, TimelineStep},
    value::{Conversation, ConversationDraft, Member, MemberRole, Status, TokenReason, TokenSource, Transport},
    watch::{BehindWatch, Connection, ConnectionWatch, PresenceWatch, SendStateWatch, StatusWatch, TypingWatch, UnreadTotals, UnreadWatch},
};

#[cfg(feature = "testing")]
pub use self::testing::FakeServer;

uniffi::setup_scaffolding!("kith");
