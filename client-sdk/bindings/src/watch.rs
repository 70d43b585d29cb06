//! Values that change, of which only the latest matters.
//!
//! In: live values of the SDK. Out: the value now, then each change. Invariants: a slow reader misses steps but never the end; a value ends with its handle.
//! Bound: one reader. Not here: what they say (`kith-client`).

use std::{sync::Arc, time::Instant};

use kith_client::{Delivery, Live, PresenceMap, wire::id::UserId};
use tokio::sync::Mutex;

use crate::{
    client::ChatClient,
    error::ChatError,
    message::SendState,
    presence::PresenceView,
    value::{Status, Transport, millis, texts_of, users_of},
};

macro_rules! watch {
    ($(#[$doc:meta])* $name:ident of $value:ident from $live:ty) => {
        watch!($(#[$doc])* $name, ($value), $live);
    };
    ($(#[$doc:meta])* $name:ident of all $item:ident from $live:ty) => {
        watch!($(#[$doc])* $name, (Vec<$item>), $live);
    };
    ($(#[$doc:meta])* $name:ident, ($($value:tt)+), $live:ty) => {
        $(#[$doc])*
        #[derive(uniffi::Object)]
        pub struct $name {
            now: Live<$live>,
            /// And whether it was told.
            next: Mutex<(Live<$live>, bool)>,
            of: fn($live) -> $($value)+,
        }
        impl $name {
            pub(crate) fn new(live: Live<$live>, of: fn($live) -> $($value)+) -> Arc<Self> {
                Arc::new(Self { now: live.clone(), next: Mutex::new((live, false)), of })
            }
        }
        #[uniffi::export(async_runtime = "tokio")]
        impl $name {
            /// The value now.
            pub fn value(&self) -> $($value)+ {
                (self.of)(self.now.get())
            }
            /// At first the value now, then the next other one; `None`: there will be none. One caller at a time.
            pub async fn next(&self) -> Option<$($value)+> {
                let mut next = self.next.lock().await;
                let value = match next.1 {
                    true => next.0.changed().await?,
                    false => next.0.wait_for(|_| true).await?,
                };
                next.1 = true;
                Some((self.of)(value))
            }
        }
    };
}

watch!(
    /// Where a client stands, live.
    StatusWatch of Status from kith_client::Status
);
watch!(
    /// Which edge a client is connected to, live.
    ConnectionWatch of Connection from kith_client::Connection
);
watch!(
    /// In how many conversations something is known to exist that is not held yet, live. 0 and online: all that was known to exist is here.
    BehindWatch of u64 from usize
);
watch!(
    /// What is unread over all conversations, live.
    UnreadWatch of UnreadTotals from kith_client::UnreadTotals
);
watch!(
    /// How users are, live: they are watched while this is held.
    PresenceWatch of all PresenceView from PresenceMap
);
watch!(
    /// Who types in a conversation, by id, live.
    TypingWatch of all String from Vec<UserId>
);
watch!(
    /// How far a write got, live.
    SendStateWatch of SendState from Delivery
);

/// The connection, for a screen that shows it.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Connection {
    /// `host:port` of the edge that is connected or being dialled, or was last.
    pub edge: String,
    /// In how long the next one is dialled, while there is none.
    pub next_try_ms: Option<u64>,
    /// By what it is connected, or was last.
    pub transport: Transport,
}

impl From<kith_client::Connection> for Connection {
    fn from(connection: kith_client::Connection) -> Self {
        let kith_client::Connection { edge, next_try, transport } = connection;
        #[expect(clippy::disallowed_methods, reason = "an instant crosses no boundary: it is told as what is left until it")]
        let left = |at: Instant| millis(at.saturating_duration_since(Instant::now()));
        Self { edge, next_try_ms: next_try.map(left), transport: transport.into() }
    }
}

/// What is unread, over all conversations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
pub struct UnreadTotals {
    /// Conversations with something unread.
    pub channels: u64,
    /// Texts.
    pub messages: u64,
    /// Of those, how many mention the user.
    pub mentions: u64,
}

impl From<kith_client::UnreadTotals> for UnreadTotals {
    fn from(totals: kith_client::UnreadTotals) -> Self {
        let kith_client::UnreadTotals { channels, messages, mentions } = totals;
        Self { channels: channels as u64, messages, mentions: mentions as u64 }
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Where the client stands, live.
    pub fn watch_status(&self) -> Arc<StatusWatch> {
        StatusWatch::new(self.client.status(), Into::into)
    }
    /// Which edge it is connected to, and when it tries again while there is none; live.
    pub fn watch_connection(&self) -> Arc<ConnectionWatch> {
        ConnectionWatch::new(self.client.connection(), Into::into)
    }
    /// Conversations with records that exist and are not held yet, live.
    pub fn watch_behind(&self) -> Arc<BehindWatch> {
        BehindWatch::new(self.client.behind(), |count| count as u64)
    }
    /// What is unread, live.
    pub async fn watch_unread(&self) -> Result<Arc<UnreadWatch>, ChatError> {
        Ok(UnreadWatch::new(self.client.unread().await?, Into::into))
    }
    /// How these users are, by id, live, while it is held. Contacts alone are seen: all others are offline, as somebody is who hides.
    pub fn watch_presence(&self, users: Vec<String>) -> Result<Arc<PresenceWatch>, ChatError> {
        let live = self.client.presence(&users_of(&users)?);
        Ok(PresenceWatch::new(live, |map| map.into_values().map(Into::into).collect()))
    }
    /// Who types in a conversation, live, while it is held. Empty while there is no connection.
    pub fn watch_typing(&self, channel: String) -> Result<Arc<TypingWatch>, ChatError> {
        Ok(TypingWatch::new(self.at(&channel)?.typists(), |users| texts_of(&users)))
    }
}
