//! The handle of a client: asks its task, reads its store.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kith_wire::{
    client::{Answer, Page, Pull, Request},
    code::Code,
    id::{ChannelId, ClientSeq, Timestamp, UserId},
    log::IndexRow,
    people::{PeopleAnswer, PeopleRequest},
};
use rand::RngExt;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    account::Account,
    board::Boards,
    builder::ClientBuilder,
    channel::Channel,
    contact::Contacts,
    core::{Reply, What},
    driver::Command,
    error::Error,
    feed::{Events, Feed},
    list::LiveList,
    live::Live,
    outgoing::Outgoing,
    presence::Screens,
    status::{Connection, Status, Traffic},
    store::Store,
    timeline::Echo,
    typist::Typists,
};

/// One account on one device. Cheap to clone; the session ends with the last clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) me: UserId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) boards: Arc<Boards>,
    pub(crate) screens: Arc<Screens>,
    pub(crate) typists: Arc<Typists>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) connection: watch::Receiver<Connection>,
    pub(crate) behind: watch::Receiver<usize>,
    pub(crate) outbox_room: Arc<Semaphore>,
    pub(crate) asks_room: Arc<Semaphore>,
    pub(crate) within: Duration,
    pub(crate) task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// A user, by id or by exact name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserRef {
    /// By id: needs no look-up.
    Id(UserId),
    /// By name: looked up.
    Name(String),
}

impl From<UserId> for UserRef {
    fn from(user: UserId) -> Self {
        Self::Id(user)
    }
}
impl From<&str> for UserRef {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}
impl From<String> for UserRef {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

/// A group chat to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewChannel {
    title: String,
    members: Vec<UserId>,
}

impl NewChannel {
    /// A group with this title.
    pub fn group(title: impl Into<String>) -> Self {
        Self { title: title.into(), members: Vec::new() }
    }
    /// Members besides the maker.
    #[must_use]
    pub fn members(mut self, members: impl IntoIterator<Item = UserId>) -> Self {
        self.members.extend(members);
        self
    }
}

/// A channel in the list.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelSummary {
    /// Which.
    pub channel: ChannelId,
    /// Texts that this user has not read.
    pub unread: u64,
    /// Of those, how many mention the user; 100 shows as "99+".
    pub mentions: usize,
    /// Head, preview, title, read position, preferences and draft.
    pub row: IndexRow,
}

impl From<IndexRow> for ChannelSummary {
    fn from(row: IndexRow) -> Self {
        Self { channel: row.news.channel, unread: row.unread(), mentions: row.unread_mentions(), row }
    }
}

impl Client {
    /// Begins a client of the cluster that this node is part of: `https://host[:port]` or `host:port`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
    /// Goes online, and stays so; resolves at the first `Online`. Before it, reading and queueing work. Cancel safe: the client goes on trying.
    ///
    /// # Errors
    /// The client was closed: by the app, or for a reason that no retry mends.
    pub async fn connect(&self) -> Result<(), Error> {
        self.command(Command::Connect).await?;
        let mut status = self.shared.status.clone();
        match status.wait_for(|status| status.is_online() || status.is_closed()).await.as_deref() {
            Ok(Status::Online) => Ok(()),
            Ok(Status::Closed(Some(error))) => Err(error.clone()),
            _ => Err(Error::closed()),
        }
    }
    /// Ends the session; the outbox stays in the store. Resolves when the task has ended.
    pub async fn close(&self) {
        // Already closed is as good.
        let _ = self.command(Command::Close).await;
        let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = match task {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::error!(%error, "the client's task failed");
        }
    }
    /// The user.
    pub fn me(&self) -> UserId {
        self.shared.me
    }
    /// Where the client stands.
    pub fn status(&self) -> Live<Status> {
        Live::new(self.shared.status.clone())
    }
    /// Which edge it is connected to, and when it tries again while there is none.
    pub fn connection(&self) -> Live<Connection> {
        Live::new(self.shared.connection.clone())
    }
    /// Channels with records that exist and are not held yet. 0 and `Online`: all that was known to exist is here.
    pub fn behind(&self) -> Live<usize> {
        Live::new(self.shared.behind.clone())
    }
    /// All that happens from now on, records of all channels among it. Make it before `connect` to miss nothing.
    pub fn events(&self) -> Events {
        self.shared.feed.reader(None)
    }
    /// What is stored and has no final answer yet, over all channels, in the order in which it was sent; live.
    pub fn outbox(&self) -> LiveList<Echo> {
        self.shared.boards.outbox()
    }
    /// Own texts that were refused, with the reason: until they are sent anew or discarded ([`Channel::retry`], [`Channel::discard`]).
    pub fn failed(&self) -> Vec<Echo> {
        self.shared.boards.failed()
    }
    /// A channel by id. No IO.
    pub fn channel(&self, id: ChannelId) -> Channel {
        Channel::new(self.clone(), id)
    }
    /// The direct channel with a user. By id: no IO. By name: looked up.
    ///
    /// # Errors
    /// `NoSuchUser`, or as [`Client::request`].
    pub async fn direct(&self, who: impl Into<UserRef>) -> Result<Channel, Error> {
        let user = match who.into() {
            UserRef::Id(user) => user,
            UserRef::Name(name) => self.find_user(&name).await?,
        };
        Ok(self.channel(ChannelId::direct(self.me(), user)))
    }
    /// A user by exact name.
    ///
    /// # Errors
    /// `NoSuchUser`, or as [`Client::request`].
    pub async fn find_user(&self, name: &str) -> Result<UserId, Error> {
        match self.request(Request::FindUser { name: name.to_owned() }).await? {
            Answer::Users(users) => {
                users.first().map(|view| view.user).ok_or_else(|| Error::new(Code::NoSuchUser, format!("no user is named {name:?}")))
            }
            _ => Err(unexpected()),
        }
    }
    /// Makes a group chat. Repeated by itself until it is answered; it is made once.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn create_channel(&self, new: NewChannel) -> Result<Channel, Error> {
        let op = rand::rng().random();
        match self.request(Request::CreateGroup { op, title: new.title, members: new.members }).await? {
            Answer::Created { channel, .. } => Ok(self.channel(channel)),
            _ => Err(unexpected()),
        }
    }
    /// The user's channels as this device knows them, newest first. Works offline.
    ///
    /// # Errors
    /// The store failed.
    pub async fn channels(&self) -> Result<Vec<ChannelSummary>, Error> {
        let rows = self.shared.store.rows().await.map_err(|error| Error::store("reading the local store", error))?;
        Ok(rows.into_iter().map(ChannelSummary::from).collect())
    }
    /// The own account: devices, password, name.
    pub fn account(&self) -> Account {
        Account::new(self.clone())
    }
    /// Contacts, blocks, profiles, search.
    pub fn contacts(&self) -> Contacts {
        Contacts::new(self.clone())
    }
    /// The user's list as it is shown: pinned ones first, then the newest; those that are archived by `now`, or all others.
    ///
    /// # Errors
    /// The store failed.
    pub async fn conversations(&self, archived: bool, now: Timestamp) -> Result<Vec<ChannelSummary>, Error> {
        let mut shown = self.channels().await?;
        shown.retain(|summary| summary.row.is_archived(now) == archived);
        shown.sort_by_key(|summary| std::cmp::Reverse((summary.row.preferences.pinned, summary.row.news.head_ts, summary.channel)));
        Ok(shown)
    }
    /// Any request of the protocol that takes no number. Repeated until it is answered: each of them may be.
    ///
    /// # Errors
    /// `Invalid` for a numbered one (use [`Channel`]); else the refusal, or the last failure when its time is over.
    pub async fn request(&self, request: Request) -> Result<Answer, Error> {
        if matches!(request, Request::Send(_) | Request::ChangeMembers(_) | Request::Act(_) | Request::Void { .. }) {
            return Err(Error::new(Code::Invalid, "numbered writes go through a channel"));
        }
        match self.ask(What::Request(request)).await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Page(_) => Err(unexpected()),
        }
    }
    /// Any pull of the protocol, on a stream of its own.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn pull(&self, pull: Pull) -> Result<Page, Error> {
        match self.ask(What::Pull(pull)).await? {
            Reply::Page(page) => Ok(page),
            Reply::Answer(_) => Err(unexpected()),
        }
    }
    /// The app goes to the background: stores what is under way, ends the session, and lets go of every file and lock; a phone's system ends apps that
    /// hold one while they sleep. Resolves when they are free. What is sent meanwhile is queued; each call takes the files only while it lasts.
    ///
    /// # Errors
    /// `Timeout`: they are not free yet; it is gone on with. Or the store failed, or the client is closed.
    pub async fn enter_background(&self, within: Duration) -> Result<(), Error> {
        let (done, parked) = oneshot::channel();
        self.command(Command::Background(done)).await?;
        match tokio::time::timeout(within, parked).await {
            Ok(result) => result.map_err(|_| Error::new(Code::Disconnected, "the client came back or was closed meanwhile")),
            Err(_) => Err(Error::new(Code::Timeout, "the store was not let go of in time")),
        }
    }
    /// The app is in the foreground again: takes the files, and connects if it was connected before.
    pub async fn enter_foreground(&self) {
        // Of no use to a closed client.
        let _ = self.command(Command::Foreground).await;
    }
    /// What went over the network so far.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        let (done, traffic) = oneshot::channel();
        self.command(Command::Traffic(done)).await?;
        traffic.await.map_err(|_| self.closed())
    }
    /// The network is another: moves to a new socket (unless it is shared) and, if offline, dials now.
    pub async fn network_changed(&self) {
        // Of no use to a closed client.
        let _ = self.command(Command::NetworkChanged).await;
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }
    pub(crate) fn reader(&self, channel: ChannelId) -> Events {
        self.shared.feed.reader(Some(channel))
    }
    pub(crate) async fn write(&self, channel: ChannelId, make: Box<dyn FnOnce(ClientSeq) -> Request + Send>) -> Result<Outgoing, Error> {
        let room = Arc::clone(&self.shared.outbox_room).acquire_owned().await.map_err(|_| Error::closed())?;
        let (done, outgoing) = oneshot::channel();
        self.command(Command::Write { channel, make, room, done }).await?;
        outgoing.await.map_err(|_| self.closed())
    }
    pub(crate) async fn retry(&self, channel: ChannelId, client_seq: ClientSeq) -> Result<Outgoing, Error> {
        let (done, outgoing) = oneshot::channel();
        self.command(Command::Retry { channel, client_seq, done }).await?;
        outgoing.await.map_err(|_| self.closed())?
    }
    pub(crate) async fn discard(&self, channel: ChannelId, client_seq: ClientSeq) -> Result<(), Error> {
        let (done, gone) = oneshot::channel();
        self.command(Command::Discard { channel, client_seq, done }).await?;
        gone.await.map_err(|_| self.closed())?
    }
    pub(crate) fn boards(&self) -> &Boards {
        &self.shared.boards
    }
    pub(crate) fn typists(&self) -> &Typists {
        &self.shared.typists
    }
    pub(crate) fn screens(&self) -> &Arc<Screens> {
        &self.shared.screens
    }
    pub(crate) async fn activity(&self, active: bool) -> Result<(), Error> {
        self.command(Command::Activity(active)).await
    }
    pub(crate) async fn confirm(&self, confirms: bool) -> Result<(), Error> {
        self.command(Command::Confirm(confirms)).await
    }
    /// A request about accounts and people.
    pub(crate) async fn people(&self, asked: PeopleRequest) -> Result<PeopleAnswer, Error> {
        match self.request(Request::People(asked)).await? {
            Answer::People(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }
    pub(crate) async fn people_done(&self, asked: PeopleRequest) -> Result<(), Error> {
        match self.people(asked).await? {
            PeopleAnswer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }
    async fn ask(&self, what: What) -> Result<Reply, Error> {
        let room = Arc::clone(&self.shared.asks_room).acquire_owned().await.map_err(|_| Error::closed())?;
        let (done, reply) = oneshot::channel();
        self.command(Command::Ask { what, within: self.shared.within, room, done }).await?;
        reply.await.map_err(|_| self.closed())?
    }
    async fn command(&self, command: Command) -> Result<(), Error> {
        self.shared.commands.send(command).await.map_err(|_| self.closed())
    }
    fn closed(&self) -> Error {
        match &*self.shared.status.borrow() {
            Status::Closed(Some(error)) => error.clone(),
            _ => Error::closed(),
        }
    }
}

pub(crate) fn unexpected() -> Error {
    Error::new(Code::Internal, "an answer of another kind")
}
