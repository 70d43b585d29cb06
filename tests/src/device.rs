//! A device of a person: an SDK client, its store, and the scenario's book in which its acks are noted.
//!
//! In: sends, going offline and online. Out: what the device holds. Invariant: every text of a scenario is sent by one call, so that a
//! text that stands twice was doubled by the cluster.

use std::{sync::Arc, time::Duration};

use kith_client::{Backfill, Channel, Client, Error, MemoryStore, MessageRef, NewChannel, Outgoing, RetryPolicy, Trust};
use kith_wire::{
    id::{ChannelId, Seq, UserId},
    log::Record,
};
use tokio::time::timeout;

use crate::{
    book::{Book, Room},
    cluster::{Cluster, PATIENCE},
    talk::Talk,
};

/// A device of a person.
pub struct Device {
    name: String,
    user: UserId,
    token: String,
    trust: Trust,
    addresses: Vec<String>,
    store: MemoryStore,
    client: Client,
    book: Arc<Book>,
}

impl Device {
    pub(crate) async fn make(cluster: &Cluster, name: &str, user: UserId, addresses: Vec<String>) -> Self {
        let (token, trust, store) = (cluster.token(name, user), cluster.trust(), MemoryStore::new(usize::MAX));
        let client = build(&addresses, &token, &trust, &store, cluster.setup().quick_clients).await;
        cluster.keep(client.clone());
        Self { name: name.to_owned(), user, token, trust, addresses, store, client, book: cluster.book().clone() }
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whose it is.
    pub fn user(&self) -> UserId {
        self.user
    }
    /// The SDK's client.
    pub fn client(&self) -> &Client {
        &self.client
    }
    /// A conversation of the scenario, as this device sees it.
    pub fn channel(&self, room: &str) -> Channel {
        self.client.channel(self.book.room(room).channel)
    }

    /// Goes online.
    ///
    /// # Panics
    /// It cannot.
    pub async fn connect(&self) {
        let connected = timeout(PATIENCE, self.client.connect()).await;
        assert!(matches!(connected, Ok(Ok(()))), "{} cannot connect: {connected:?}", self.name);
    }

    /// The app is closed; what the device holds and owes stays.
    pub async fn go_offline(&self) {
        self.client.close().await;
    }

    /// The app is started again, with what the device held.
    pub async fn go_online(&mut self, cluster: &Cluster) {
        self.client = build(&self.addresses, &self.token, &self.trust, &self.store, cluster.setup().quick_clients).await;
        cluster.keep(self.client.clone());
        self.connect().await;
    }

    /// Makes a group chat of that name.
    pub async fn make_room(&self, room: &str, others: Vec<UserId>) -> ChannelId {
        let made = timeout(PATIENCE, self.client.create_channel(NewChannel::group(room).members(others))).await;
        let channel = match made {
            Ok(Ok(channel)) => channel.id(),
            failed => panic!("{} cannot make {room}: {:?}", self.name, failed.map(|made| made.err())),
        };
        self.book.open(Room { name: room.to_owned(), channel, reader: self.name.clone() });
        channel
    }

    /// The direct conversation with another person, by a name for the scenario.
    pub fn direct(&self, room: &str, other: UserId) -> ChannelId {
        let channel = ChannelId::direct(self.user, other);
        self.book.open(Room { name: room.to_owned(), channel, reader: self.name.clone() });
        channel
    }

    /// Hands a text to the client, which goes on until it is answered.
    ///
    /// # Panics
    /// The client refuses it.
    pub async fn post(&self, room: &str, text: &str) -> Outgoing {
        self.channel(room).send(text).await.unwrap_or_else(|error| panic!("{} cannot post to {room}: {error}", self.name))
    }

    /// Sends a text, waits for its ack and notes it.
    ///
    /// # Panics
    /// It is refused, or not acked within [`PATIENCE`].
    pub async fn send(&self, room: &str, text: &str) -> MessageRef {
        self.try_send(room, text).await.unwrap_or_else(|error| panic!("{} cannot send {text:?} to {room}: {error}", self.name))
    }

    /// As [`Device::send`], for a text that may be refused.
    ///
    /// # Errors
    /// What the client says.
    pub async fn try_send(&self, room: &str, text: &str) -> Result<MessageRef, Error> {
        let outgoing = self.channel(room).send(text).await?;
        let sent = timeout(PATIENCE, outgoing.sent()).await;
        let message = sent.unwrap_or_else(|_| panic!("{}: no answer to {:.40?} in {room} within {PATIENCE:?}", self.name, text))?;
        self.book.acked(message.channel, message.seq(), text);
        Ok(message)
    }

    /// Goes on sending until it is told to stop, many texts at a time.
    pub fn talk(&self, room: &str) -> Talk {
        Talk::start(&self.name, self.channel(room), self.book.clone(), u64::MAX, 0)
    }

    /// Sends so many texts, many at a time; [`Talk::wait`] waits for all acks.
    pub fn talk_for(&self, room: &str, count: u64) -> Talk {
        Talk::start(&self.name, self.channel(room), self.book.clone(), count, 0)
    }

    /// Sends so many texts, many at a time, and waits for all acks.
    pub async fn send_many(&self, room: &str, count: u64) {
        self.send_many_of(room, count, 0).await;
    }

    /// As [`Device::send_many`], with texts of at least so many bytes.
    pub async fn send_many_of(&self, room: &str, count: u64, bytes: usize) {
        Talk::start(&self.name, self.channel(room), self.book.clone(), count, bytes).wait().await;
    }

    /// Everything that the device holds of a conversation, by rising seq.
    pub async fn holds(&self, channel: ChannelId) -> Vec<Arc<Record>> {
        let all = self.client.channel(channel).records(Seq::new(1), Seq::new(u64::MAX), usize::MAX).await;
        all.unwrap_or_else(|error| panic!("the store of {}: {error}", self.name))
    }

    /// Whether the device holds a text.
    pub async fn has(&self, room: &str, text: &str) -> bool {
        self.holds(self.book.room(room).channel).await.iter().any(|record| text_of(record) == Some(text))
    }

    /// Whether the device holds everything that was acked in a conversation.
    pub async fn has_all(&self, room: &str) -> bool {
        let channel = self.book.room(room).channel;
        let held = self.holds(channel).await;
        let held: std::collections::BTreeMap<Seq, &str> = held.iter().filter_map(|record| Some((record.at.seq, text_of(record)?))).collect();
        self.book.of(channel).iter().all(|(seq, text)| held.get(seq) == Some(&text.as_str()))
    }
}

/// The text of a record that has one.
pub fn text_of(record: &Record) -> Option<&str> {
    match &record.content {
        kith_wire::log::Content::Text { text, .. } => Some(text),
        _ => None,
    }
}

async fn build(addresses: &[String], token: &str, trust: &Trust, store: &MemoryStore, is_quick: bool) -> Client {
    let retry = RetryPolicy { min: Duration::from_millis(50), max: Duration::from_millis(500) };
    let builder = Client::builder(&addresses[0]).seeds(&addresses[1..]).tokens(token.to_owned()).trust(trust.clone());
    let builder = builder.store(store.clone()).backfill(Backfill::All).retry(retry);
    let builder = builder.request_timeout(PATIENCE);
    let builder = if is_quick { builder.heartbeat(Duration::from_secs(1)).patience(Duration::from_millis(500)) } else { builder };
    builder.build().await.unwrap_or_else(|error| panic!("no client: {error}"))
}
