//! The handle of a client, as every language has it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use kith_client::{
    Backfill, Client, ClientBuilder, Done, Draft, Error, Events, LocalId, NewChannel, Outgoing, SqliteStore, TokenProvider, Trust,
    sqlite::{SqliteOptions, StoreKey},
    wire::{
        client::MemberView,
        code::Code,
        id::{ChannelId, ClientSeq, Seq, UserId},
    },
};
use tokio::sync::Mutex;

use crate::{
    door::{LoginKeeper, SavedLogin},
    error::ChatError,
    event::ChatEvent,
    value::{Conversation, Found, Member, Message, SendState, Status, TokenReason, TokenSource, Transport, Unsent, channel_of},
};

/// Texts whose handles are kept for `sent`; the oldest answered ones make room.
const HANDLES_MAX: usize = 1_024;

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
}

/// One account on one device. Shut it down when it is not needed any more.
#[derive(uniffi::Object)]
pub struct ChatClient {
    client: Client,
    events: Mutex<Events>,
    handles: Mutex<HashMap<(ChannelId, ClientSeq), Outgoing>>,
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
    /// Makes a client: opens the store and asks for a token if the user is not known yet. Works offline.
    #[uniffi::constructor]
    pub async fn open(options: Options, tokens: Arc<dyn TokenSource>) -> Result<Arc<Self>, ChatError> {
        let builder = Client::builder(&options.url).tokens(Tokens(tokens)).trust(Trust::ca_pem(options.ca_pem.as_bytes())?);
        Self::build(options, builder).await
    }
    /// As `open`, for an account of the cluster's own, by what a `Door` gave: the device refreshes its tokens itself.
    #[uniffi::constructor]
    pub async fn open_login(options: Options, login: SavedLogin, keeper: Arc<dyn LoginKeeper>) -> Result<Arc<Self>, ChatError> {
        let trust = Trust::ca_pem(options.ca_pem.as_bytes())?;
        let addresses: Vec<&String> = std::iter::once(&options.url).chain(&options.seeds).collect();
        let login = kith_client::Door::new(&addresses, trust.clone())?.resume(login.try_into()?);
        let login = login.keep(move |saved| keeper.keep(saved.into()).map_err(Error::from));
        let builder = Client::builder(&options.url).login(login).trust(trust);
        Self::build(options, builder).await
    }
    /// The user.
    pub fn me(&self) -> String {
        self.client.me().to_string()
    }
    /// Where the client stands.
    pub fn status(&self) -> Status {
        self.client.status().get().into()
    }
    /// By what it is connected.
    pub fn transport(&self) -> Transport {
        self.client.connection().get().transport.into()
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
    /// The conversations as this device knows them, newest first.
    pub async fn conversations(&self) -> Result<Vec<Conversation>, ChatError> {
        let me = self.client.me();
        Ok(self.client.channels().await?.into_iter().map(|summary| Conversation::new(me, summary)).collect())
    }
    /// Sends a text. Resolves once it is stored here, with its number: from then on it is sent until it is answered.
    #[uniffi::method(default(reply_to = None))]
    pub async fn send(&self, channel: String, text: String, reply_to: Option<u64>) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let mut draft = Draft::text(text);
        if let Some(seq) = reply_to {
            draft = draft.reply_to(Seq::new(seq));
        }
        let outgoing = self.client.channel(id).send(draft).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Waits until a write of this start is done; gives its place, 0 where it needs none.
    pub async fn sent(&self, channel: String, number: u64) -> Result<u64, ChatError> {
        Ok(match self.handle(&channel, number).await?.done().await? {
            Done::Record(message) => message.seq().get(),
            Done::Kept(_) => 0,
        })
    }
    /// Replaces an own text. As `send`.
    pub async fn edit(&self, channel: String, seq: u64, text: String) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).edit(Seq::new(seq), text).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Takes a text away for everyone: an own one, or any as an admin of a group. As `send`.
    pub async fn delete(&self, channel: String, seq: u64) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).delete(Seq::new(seq)).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Adds a reaction, or takes it back. As `send`.
    pub async fn react(&self, channel: String, seq: u64, emoji: String, on: bool) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).react(Seq::new(seq), emoji, on).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Pins a text, or unpins it. As `send`.
    pub async fn pin(&self, channel: String, seq: u64, on: bool) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).pin(Seq::new(seq), on).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Who is in a conversation, and how far they have read; from the server.
    pub async fn members(&self, channel: String) -> Result<Vec<Member>, ChatError> {
        let view = self.client.channel(channel_of(&channel)?).view().await?;
        let member = |one: MemberView| Member { user: one.user.to_string(), role: one.role.into(), read: one.read.seq.get() };
        Ok(view.members.into_iter().map(member).collect())
    }
    /// Adds somebody to a group, by exact name. As `send`.
    pub async fn add_member(&self, channel: String, name: String) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let user = self.client.find_user(&name).await?;
        let outgoing = self.client.channel(id).add(user).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Leaves a group. As `send`.
    pub async fn leave(&self, channel: String) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).leave().await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// How far a text of this start got.
    pub async fn state_of(&self, channel: String, number: u64) -> Result<SendState, ChatError> {
        Ok(self.handle(&channel, number).await?.state().get().into())
    }
    /// Sends a text again: now, if it waits; one that was refused under a new number. Gives its number.
    pub async fn retry(&self, channel: String, number: u64) -> Result<u64, ChatError> {
        let id = channel_of(&channel)?;
        let outgoing = self.client.channel(id).retry(LocalId::own(ClientSeq::new(number))).await?;
        Ok(self.keep(id, outgoing).await)
    }
    /// Gives a text up; one that is on its way may stand nevertheless.
    pub async fn discard(&self, channel: String, number: u64) -> Result<(), ChatError> {
        Ok(self.client.channel(channel_of(&channel)?).discard(LocalId::own(ClientSeq::new(number))).await?)
    }
    /// Own texts of a conversation that do not stand: those that were refused, then those on their way, also of before this start.
    pub async fn unsent(&self, channel: String) -> Result<Vec<Unsent>, ChatError> {
        let id = channel_of(&channel)?;
        let waiting = self.client.outbox();
        let all = self.client.failed().into_iter().chain(waiting.items().iter().cloned());
        Ok(all.filter(|echo| echo.channel == id).filter_map(Unsent::new).collect())
    }
    /// Records that this device holds, rising; at most `limit`, the oldest of them.
    pub async fn held(&self, channel: String, first: u64, last: u64, limit: u32) -> Result<Vec<Message>, ChatError> {
        let id = channel_of(&channel)?;
        let records = self.client.channel(id).records(Seq::new(first), Seq::new(last), limit as usize).await?;
        Ok(records.iter().map(|record| Message::new(id, record)).collect())
    }
    /// The newest records up to `last`, from the server, rising.
    pub async fn history(&self, channel: String, last: u64, limit: u32) -> Result<Vec<Message>, ChatError> {
        let id = channel_of(&channel)?;
        let page = self.client.channel(id).history(kith_client::History { last: Seq::new(last), limit, ..kith_client::History::default() }).await?;
        Ok(page.records.iter().map(|record| Message::new(id, record)).collect())
    }
    /// Moves the own read position to a record that this device holds.
    pub async fn mark_read(&self, channel: String, seq: u64) -> Result<(), ChatError> {
        Ok(self.client.channel(channel_of(&channel)?).mark_read(Seq::new(seq)).await?)
    }
    /// Tells the others that this user types.
    pub async fn typing(&self, channel: String) -> Result<(), ChatError> {
        Ok(self.client.channel(channel_of(&channel)?).typing().await?)
    }
    /// Messages that have these words, here and by the cluster.
    pub async fn find(&self, words: String) -> Result<Found, ChatError> {
        let found = self.client.find(words.as_str()).await?;
        Ok(Found { has_cluster_answered: found.unanswered.is_none(), hits: found.hits.into_iter().map(Into::into).collect() })
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
    async fn build(options: Options, builder: ClientBuilder) -> Result<Arc<Self>, ChatError> {
        let Options { store, store_key, seeds, backfill, .. } = options;
        let mut builder = builder.seeds(&seeds).backfill(if backfill == 0 { Backfill::Off } else { Backfill::Recent(backfill.into()) });
        if let Some(folder) = store {
            let mut kept = SqliteOptions::default();
            if let Some(key) = store_key {
                let key = key.try_into().map_err(|_| ChatError::invalid(format!("a store's key has {} bytes", StoreKey::BYTES)))?;
                kept = kept.key(StoreKey::new(key));
            }
            builder = builder.store(SqliteStore::open_with(folder, kept).await?);
        }
        let client = builder.build().await?;
        let events = Mutex::new(client.events());
        Ok(Arc::new(Self { client, events, handles: Mutex::default() }))
    }
    async fn keep(&self, channel: ChannelId, outgoing: Outgoing) -> u64 {
        let number = outgoing.client_seq();
        let mut handles = self.handles.lock().await;
        if handles.len() >= HANDLES_MAX {
            handles.retain(|_, outgoing| !outgoing.state().get().is_over());
        }
        handles.insert((channel, number), outgoing);
        number.get()
    }
    async fn handle(&self, channel: &str, number: u64) -> Result<Outgoing, ChatError> {
        let key = (channel_of(channel)?, ClientSeq::new(number));
        let handles = self.handles.lock().await;
        handles.get(&key).cloned().ok_or_else(|| Error::new(Code::NotFound, "no text of this start has this number").into())
    }
}
