//! The handle of a client, as every language has it: its making, its life, its list of conversations, what it is told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kith_client::{
    Backfill, Client, ClientBuilder, Error, Events, LogRecord, NewChannel, Outgoing, RetryPolicy, SqliteStore, TokenProvider, Trust,
    sqlite::{SqliteOptions, StoreKey},
    wire::id::{ChannelId, ClientSeq, Seq, Timestamp, UserId},
};
use tokio::sync::Mutex;

use crate::{
    door::{LoginKeeper, SavedLogin},
    error::ChatError,
    event::ChatEvent,
    log::LogSink,
    message::Message,
    value::{Conversation, Status, TokenReason, TokenSource, Transport, channel_of, order, user_of},
};

/// How a client is made.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Options {
    /// `https://host[:port]` of any node.
    pub url: String,
    /// The authority that its certificate is believed by, in PEM.
    pub ca_pem: String,
    /// A folder for what is to last: one for each account, never copied. `None`: nothing lasts.
    #[uniffi(default = None)]
    pub store: Option<String>,
    /// What the store keeps texts under: 32 random bytes that the app keeps where the system keeps secrets. The same for all of the store's life.
    #[uniffi(default = None)]
    pub store_key: Option<Vec<u8>>,
    /// More first addresses.
    #[uniffi(default = [])]
    pub seeds: Vec<String>,
    /// Newest records of a conversation never seen before that are fetched by themselves.
    #[uniffi(default = 200)]
    pub backfill: u32,
    /// What the history may take in the store, about, in bytes; over it the oldest of what takes most goes. `None`: 256 MiB. Texts on their way do not count, and stay.
    #[uniffi(default = None)]
    pub history_bytes_max: Option<u64>,
    /// The name that certificates must carry; `None`: the host of the address.
    #[uniffi(default = None)]
    pub server_name: Option<String>,
    /// By what edges may be reached, the preferred one first; `None`: QUIC, and a WebSocket where UDP does not get through.
    #[uniffi(default = None)]
    pub transports: Option<Vec<Transport>>,
    /// Bound of the first delay before a new connection is tried; `None`: a second. A hint of the server wins.
    #[uniffi(default = None)]
    pub retry_min_ms: Option<u64>,
    /// Bound of the longest; `None`: 30 seconds.
    #[uniffi(default = None)]
    pub retry_max_ms: Option<u64>,
    /// Time between two beats of an idle client; `None`: 30 seconds.
    #[uniffi(default = None)]
    pub heartbeat_ms: Option<u64>,
    /// For how long a question (a search, a page of history) is asked again; `None`: 30 seconds. Writes have no such limit.
    #[uniffi(default = None)]
    pub request_within_ms: Option<u64>,
}

/// What was damaged in a store when it was opened, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, uniffi::Record)]
pub struct Salvage {
    /// The history was damaged: it is fetched anew.
    pub is_history_lost: bool,
    /// What was on its way was damaged, and saved whole: nothing is lost.
    pub is_outbox_saved: bool,
    /// What was on its way was damaged, and not all of it can be read: the store is a new device now. A login of the cluster's own accounts is bound to the
    /// old one: log in again.
    pub is_new_device: bool,
    /// With `is_new_device`: so many writes can still be read of what was queued. Whether they were sent is not known.
    pub unsure: u32,
}

/// What went over the network since the client was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, uniffi::Record)]
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

/// One account on one device. Shut it down when it is not needed any more.
#[derive(uniffi::Object)]
pub struct ChatClient {
    pub(crate) client: Client,
    events: Mutex<Events>,
    pub(crate) handles: Mutex<HashMap<(ChannelId, ClientSeq), Outgoing>>,
    salvage: Option<Salvage>,
}

/// An app's source of tokens, as the SDK asks for them.
struct Tokens(Arc<dyn TokenSource>);

impl TokenProvider for Tokens {
    fn token(&self, why: kith_client::TokenReason) -> BoxFuture<'_, Result<String, Error>> {
        let reason = match why {
            kith_client::TokenReason::First => TokenReason::First,
            _ => TokenReason::Refused,
        };
        Box::pin(async move { self.0.token(reason).await.map_err(Error::from) })
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl ChatClient {
    /// Makes a client: opens the store and asks for a token if the user is not known yet. Works offline. `log` is given what the client has to say to a
    /// developer: nothing that users wrote.
    #[uniffi::constructor(default(log = None))]
    pub async fn open(options: Options, tokens: Arc<dyn TokenSource>, log: Option<Arc<dyn LogSink>>) -> Result<Arc<Self>, ChatError> {
        let builder = Client::builder(&options.url).tokens(Tokens(tokens)).trust(Trust::ca_pem(options.ca_pem.as_bytes())?);
        Self::build(options, builder, log).await
    }
    /// As `open`, for an account of the cluster's own, by what a `Door` gave: the device refreshes its tokens itself.
    #[uniffi::constructor(default(log = None))]
    pub async fn open_login(
        options: Options,
        login: SavedLogin,
        keeper: Arc<dyn LoginKeeper>,
        log: Option<Arc<dyn LogSink>>,
    ) -> Result<Arc<Self>, ChatError> {
        let trust = Trust::ca_pem(options.ca_pem.as_bytes())?;
        let addresses: Vec<&String> = std::iter::once(&options.url).chain(&options.seeds).collect();
        let mut door = kith_client::Door::new(&addresses, trust.clone())?;
        if let Some(name) = &options.server_name {
            door = door.server_name(name);
        }
        if let Some(transports) = &options.transports {
            door = door.transports(&order(transports.clone())?);
        }
        let login = door.resume(login.try_into()?);
        let login = login.keep(move |saved| keeper.keep(saved.into()).map_err(Error::from));
        let builder = Client::builder(&options.url).login(login).trust(trust);
        Self::build(options, builder, log).await
    }
    /// The user.
    pub fn me(&self) -> String {
        self.client.me().to_string()
    }
    /// What was damaged in the store when it was opened; `None`: nothing was.
    pub fn salvage(&self) -> Option<Salvage> {
        self.salvage.clone()
    }
    /// Where the client stands.
    pub fn status(&self) -> Status {
        self.client.status().get().into()
    }
    /// Why it was closed for good, if the app did not do it.
    pub fn why_closed(&self) -> Option<ChatError> {
        match self.client.status().get() {
            kith_client::Status::Closed(why) => why.map(Into::into),
            _ => None,
        }
    }
    /// By what it is connected.
    pub fn transport(&self) -> Transport {
        self.client.connection().get().transport.into()
    }
    /// What went over the network so far.
    pub async fn traffic(&self) -> Result<Traffic, ChatError> {
        let kith_client::Traffic { sent_bytes, sent_packets, received_bytes, received_packets, .. } = self.client.traffic().await?;
        Ok(Traffic { sent_bytes, sent_packets, received_bytes, received_packets })
    }
    /// Goes online, and stays so; resolves when it first is. Before it, reading and queueing work.
    pub async fn connect(&self) -> Result<(), ChatError> {
        Ok(self.client.connect().await?)
    }
    /// Ends the client; what is queued stays in the store. (`close` is what languages call the end of a handle.)
    pub async fn shut_down(&self) {
        self.client.close().await;
    }
    /// The direct conversation with a user, by exact name.
    pub async fn direct(&self, name: String) -> Result<String, ChatError> {
        Ok(self.client.direct(name).await?.id().to_string())
    }
    /// The direct conversation with a user, by id. Asks nobody.
    pub fn direct_with(&self, user: String) -> Result<String, ChatError> {
        Ok(ChannelId::direct(self.client.me(), user_of(&user)?).to_string())
    }
    /// The user of an exact name.
    pub async fn find_user(&self, name: String) -> Result<String, ChatError> {
        Ok(self.client.find_user(&name).await?.to_string())
    }
    /// Makes a group of these users, by exact names, besides this one.
    pub async fn create_group(&self, title: String, names: Vec<String>) -> Result<String, ChatError> {
        let mut members: Vec<UserId> = Vec::new();
        for name in names {
            members.push(self.client.find_user(&name).await?);
        }
        Ok(self.client.create_channel(NewChannel::group(title).members(members)).await?.id().to_string())
    }
    /// All conversations as this device knows them, newest first. `conversation_list` is live.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, ChatError> {
        Ok(self.rows(self.client.channels().await?))
    }
    /// The user's list as it is shown: pinned ones first, then the newest; those that are archived at this time, or all others.
    pub async fn listed(&self, archived: bool, now_ms: u64) -> Result<Vec<Conversation>, ChatError> {
        Ok(self.rows(self.client.conversations(archived, Timestamp::new(now_ms)).await?))
    }
    /// Records that this device holds, rising; at most `limit`, the oldest of them.
    pub async fn held(&self, channel: String, first: u64, last: u64, limit: u32) -> Result<Vec<Message>, ChatError> {
        let id = channel_of(&channel)?;
        let records = self.client.channel(id).records(Seq::new(first), Seq::new(last), limit as usize).await?;
        Ok(records.iter().map(|record| Message::new(id, record)).collect())
    }
    /// Moves the own read position to a record that this device holds.
    pub async fn mark_read(&self, channel: String, seq: u64) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.mark_read(Seq::new(seq)).await?)
    }
    /// Tells the others that this user types. Say it again while it is so, as often as is convenient: it is told once in three seconds, and ends by itself. It is
    /// a hint: without a session it is dropped.
    pub async fn typing(&self, channel: String) -> Result<(), ChatError> {
        Ok(self.at(&channel)?.typing().await?)
    }
    /// The next event since the client was made; `None`: it was closed. One caller at a time.
    pub async fn next_event(&self) -> Option<ChatEvent> {
        let mut events = self.events.lock().await;
        loop {
            let event = events.next().await?;
            if let Some(event) = ChatEvent::of(self.client.me(), event) {
                return Some(event);
            }
        }
    }
    /// The app goes to the background: resolves when no file is held any more.
    pub async fn enter_background(&self, within_ms: u64) -> Result<(), ChatError> {
        Ok(self.client.enter_background(Duration::from_millis(within_ms)).await?)
    }
    /// The app is in the foreground again.
    pub async fn enter_foreground(&self) {
        self.client.enter_foreground().await;
    }
    /// The network is another.
    pub async fn network_changed(&self) {
        self.client.network_changed().await;
    }
}

impl ChatClient {
    async fn build(options: Options, builder: ClientBuilder, log: Option<Arc<dyn LogSink>>) -> Result<Arc<Self>, ChatError> {
        let Options { store, store_key, seeds, backfill, history_bytes_max, server_name, transports, .. } = options;
        let Options { retry_min_ms, retry_max_ms, heartbeat_ms, request_within_ms, .. } = options;
        let mut builder = builder.seeds(&seeds).backfill(if backfill == 0 { Backfill::Off } else { Backfill::Recent(backfill) });
        if let Some(name) = server_name {
            builder = builder.server_name(&name);
        }
        if let Some(transports) = transports {
            builder = builder.transports(&order(transports)?);
        }
        let retry = RetryPolicy::default();
        let (min, max) = (retry_min_ms.map_or(retry.min, Duration::from_millis), retry_max_ms.map_or(retry.max, Duration::from_millis));
        builder = builder.retry(RetryPolicy { min, max });
        if let Some(beat) = heartbeat_ms {
            builder = builder.heartbeat(Duration::from_millis(beat));
        }
        if let Some(within) = request_within_ms {
            builder = builder.request_timeout(Duration::from_millis(within));
        }
        if let Some(log) = log {
            // Nobody is there to be told that a line could not be.
            builder = builder.logger(move |line: &LogRecord| drop(log.log(line.into())));
        }
        let mut salvage = None;
        if let Some(folder) = store {
            let mut kept = SqliteOptions::default();
            if let Some(bytes) = history_bytes_max {
                kept = kept.history_bytes_max(bytes);
            }
            if let Some(key) = store_key {
                let key = key.try_into().map_err(|_| ChatError::invalid(format!("a store's key has {} bytes", StoreKey::BYTES)))?;
                kept = kept.key(StoreKey::new(key));
            }
            let store = SqliteStore::open_with(folder, kept).await?;
            salvage = store.salvage().map(Into::into);
            builder = builder.store(store);
        }
        let client = builder.build().await?;
        let events = Mutex::new(client.events());
        Ok(Arc::new(Self { client, events, handles: Mutex::default(), salvage }))
    }
    fn rows(&self, rows: Vec<kith_client::ChannelSummary>) -> Vec<Conversation> {
        let me = self.client.me();
        rows.into_iter().map(|summary| Conversation::new(me, summary)).collect()
    }
}

impl From<&kith_client::sqlite::Salvage> for Salvage {
    fn from(salvage: &kith_client::sqlite::Salvage) -> Self {
        Self {
            is_history_lost: salvage.history_lost,
            is_outbox_saved: salvage.outbox_saved,
            is_new_device: salvage.is_new_device,
            unsure: u32::try_from(salvage.unsure.len()).unwrap_or(u32::MAX),
        }
    }
}
