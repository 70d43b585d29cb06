//! A client that is in: how it came to be, what it tells, and its writer.
//!
//! In: an [`Entry`]. Out: a session, whose events the shell reads. Invariants: the login is kept before it is used; writes are begun one after
//! the other, in the order in which they were made. Bound: `WRITES_MAX` writes wait for the SDK; the next is refused.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use kith_client::{
    Backfill, Client, Connection, Door, Entered, Error, Events, Live, PresenceMap, RetryPolicy, Status, Trust,
    wire::{
        code::Code,
        id::{ChannelId, UserId},
        secret::Secret,
    },
};
use tokio::sync::mpsc;

use crate::{
    action::{Entry, Event, Link, Progress, Server, Write},
    clock,
    home::{Home, Seat},
    work,
};

/// Writes that wait for the SDK.
const WRITES_MAX: usize = 256;
/// What the writer has to tell and nobody has read yet.
const TOLD_MAX: usize = 64;
/// A person waits: an edge that is silent is probed soon, and another one tried.
const HEARTBEAT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_millis(750);
const RETRY: RetryPolicy = RetryPolicy { min: Duration::from_millis(250), max: Duration::from_secs(10) };
/// Records of each conversation that are fetched by themselves.
const BACKFILL: Backfill = Backfill::Recent(30);

/// A write on its way to the SDK.
pub(crate) type Handed = (u64, ChannelId, Write);

/// A client that is in.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) recovery: Option<Secret>,
    pub(crate) events: Events,
    pub(crate) status: Live<Status>,
    pub(crate) connection: Live<Connection>,
    presence: Live<PresenceMap>,
    pub(crate) writes: mpsc::Sender<Handed>,
    pub(crate) told: mpsc::Receiver<Event>,
    pub(crate) seat: Arc<dyn Seat>,
}

/// What came of an entry.
pub(crate) enum Way {
    In(Box<Session>, Writer),
    /// The password was set; this is the next code.
    Reset(Secret),
}

/// To be run beside the session.
pub(crate) struct Writer {
    client: Client,
    writes: mpsc::Receiver<Handed>,
    told: mpsc::Sender<Event>,
}

/// Lets somebody in.
pub(crate) async fn enter(home: Arc<dyn Home>, entry: Entry, title: String) -> Result<Way, Error> {
    let (Entry::SignUp { server, .. } | Entry::LogIn { server, .. } | Entry::Resume { server, .. } | Entry::Reset { server, .. }) = &entry;
    let (addresses, trust) = reach(server).await?;
    let door = Door::new(&addresses, trust.clone())?;
    let (seat, entered) = match entry {
        Entry::SignUp { name, password, .. } => {
            let seat: Arc<dyn Seat> = home.take(&name)?.into();
            (seat, door.sign_up(&name, password, &title).await?)
        }
        Entry::LogIn { name, password, .. } => {
            let seat: Arc<dyn Seat> = home.take(&name)?.into();
            (seat, door.log_in(&name, password, &title).await?)
        }
        Entry::Resume { name, .. } => {
            let seat: Arc<dyn Seat> = home.take(&name)?.into();
            let login = door.resume(seat.saved()?);
            (seat, Entered { login, recovery: None })
        }
        Entry::Reset { name, code, password, .. } => return Ok(Way::Reset(door.reset_password(&name, code, password).await?)),
    };
    let saved = entered.login.saved().await;
    seat.keep(&saved)?;
    let keeper = Arc::clone(&seat);
    let login = entered.login.keep(move |saved| keeper.keep(saved));
    let (first, rest) = addresses.split_first().ok_or_else(no_address)?;
    let builder = Client::builder(first).seeds(rest).login(login).trust(trust);
    let builder = builder.heartbeat(HEARTBEAT).patience(PATIENCE).retry(RETRY).backfill(BACKFILL);
    let client = seat.store(&saved, builder)?.build().await?;
    let (writes, handed) = mpsc::channel(WRITES_MAX);
    let (told, telling) = mpsc::channel(TOLD_MAX);
    let session = Session {
        events: client.events(),
        status: client.status(),
        connection: client.connection(),
        presence: client.presence(&[]),
        name: saved.name,
        recovery: entered.recovery,
        writes,
        told: telling,
        seat,
        client: client.clone(),
    };
    Ok(Way::In(Box::new(session), Writer { client, writes: handed, told }))
}

fn no_address() -> Error {
    Error::new(Code::Invalid, "no address of a server is given")
}

async fn reach(server: &Server) -> Result<(Vec<String>, Trust), Error> {
    let addresses: Vec<String> = server.addresses.split([',', ' ']).map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
    if addresses.is_empty() {
        return Err(no_address());
    }
    let file = server.certificate.trim();
    if file.is_empty() {
        return Err(Error::new(Code::Invalid, "no certificate file is given: choose \"Server\""));
    }
    let pem =
        tokio::fs::read(file).await.map_err(|error| Error::new(Code::Invalid, format!("the certificate file {file} cannot be read: {error}")))?;
    Ok((addresses, Trust::ca_pem(&pem)?))
}

impl Session {
    /// How the connection stands.
    pub(crate) fn link(&self) -> Link {
        let connection = self.connection.get();
        match self.status.get() {
            Status::Online => Link::Online(connection.edge),
            Status::Syncing => Link::Syncing(connection.edge),
            Status::Connecting => Link::Connecting,
            _ => {
                let left = connection.next_try.map(|at| at.saturating_duration_since(clock::monotonic()).as_millis());
                Link::Offline(left.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)))
            }
        }
    }
    /// Looks at these users, and no others; gives what is known of them now.
    pub(crate) fn look(&mut self, users: &[UserId]) -> PresenceMap {
        self.presence = self.client.presence(users);
        self.presence.get()
    }
    /// The next thing that happened. Cancel safe: each branch is.
    pub(crate) async fn next(&mut self) -> Event {
        tokio::select! {
            Some(event) = self.told.recv() => event,
            event = self.events.next() => match event {
                Some(event) => Event::Sdk(event),
                None => Event::Left(self.end()),
            },
            Some(status) = self.status.changed() => match status {
                Status::Closed(error) => Event::Left(error),
                _ => Event::Link(self.link()),
            },
            Some(_) = self.connection.changed() => Event::Link(self.link()),
            Some(map) = self.presence.changed() => Event::Presence(map),
        }
    }
    /// Something that has happened already, if there is anything.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.told.try_recv().ok().or_else(|| self.events.try_next().map(Event::Sdk))
    }
    fn end(&self) -> Option<Error> {
        match self.status.get() {
            Status::Closed(error) => error,
            _ => None,
        }
    }
}

impl Writer {
    /// Runs until the session is gone.
    pub(crate) async fn run(mut self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let event = tokio::select! {
                handed = self.writes.recv() => {
                    let Some((ticket, channel, write)) = handed else { return };
                    match work::begin(&self.client, channel, write).await {
                        Ok(outgoing) => {
                            let client_seq = outgoing.client_seq().get();
                            under_way.push(async move { (ticket, work::end(&outgoing).await) });
                            Event::Wrote(ticket, Progress::Queued(client_seq))
                        }
                        Err(error) => Event::Wrote(ticket, Progress::Failed(error)),
                    }
                }
                Some((ticket, progress)) = under_way.next(), if !under_way.is_empty() => Event::Wrote(ticket, progress),
            };
            if self.told.send(event).await.is_err() {
                return;
            }
        }
    }
}
