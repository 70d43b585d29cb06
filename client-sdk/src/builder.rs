//! How a client is made.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use kith_wire::{
    code::Code,
    id::{ClusterId, DeviceId, UserId},
};
use rand::RngExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::instrument::WithSubscriber;

use crate::{
    board::Boards,
    client::{Client, Shared},
    clock,
    core::{Backfill, Config, Core, Dial, RetryPolicy},
    driver::{COMMANDS_MAX, Driver, Parts},
    endpoint::{Endpoint, Trust},
    error::Error,
    feed::Feed,
    logger::{Lines, LogRecord, Logger},
    login::Login,
    memory::MemoryStore,
    presence::Screens,
    status::{Connection, Status},
    store::{Change, Identity, Store},
    token::{TokenProvider, TokenReason, subject},
    transport::{Transport, Transports},
    typist::Typists,
};

/// Port of an address that names none.
const PORT_DEFAULT: u16 = 7600;
/// Writes without answer, over all channels; the next `send` waits.
const OUTBOX_WRITES_MAX: usize = 1_024;
/// Requests and pulls of the app without answer; the next one waits.
const ASKS_MAX: usize = 64;

/// Makes a [`Client`]. Required: `tokens` and `trust`.
pub struct ClientBuilder {
    addresses: Vec<String>,
    tokens: Option<Arc<dyn TokenProvider>>,
    trust: Option<Trust>,
    server_name: Option<Arc<str>>,
    store: Option<Arc<dyn Store>>,
    endpoint: Option<Endpoint>,
    retry: RetryPolicy,
    transports: Transports,
    user: Option<UserId>,
    nonce: Option<[u8; 16]>,
    cluster: Option<ClusterId>,
    backfill: Backfill,
    heartbeat: Duration,
    patience: Duration,
    within: Duration,
    logger: Option<Logger>,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            addresses: vec![address_of(url)],
            tokens: None,
            trust: None,
            server_name: None,
            store: None,
            endpoint: None,
            retry: RetryPolicy::default(),
            transports: Transports::default(),
            user: None,
            nonce: None,
            cluster: None,
            backfill: Backfill::Recent(200),
            heartbeat: Duration::from_secs(30),
            patience: Duration::from_millis(1_500),
            within: Duration::from_secs(30),
            logger: None,
        }
    }
    /// Who gives tokens: a fixed `String`, a closure, or a provider of your own.
    #[must_use]
    pub fn tokens(self, tokens: impl TokenProvider + 'static) -> Self {
        Self { tokens: Some(Arc::new(tokens)), ..self }
    }
    /// An account of the cluster itself: its user, device and tokens.
    #[must_use]
    pub fn login(self, login: Login) -> Self {
        Self { user: Some(login.user()), nonce: Some(login.nonce()), tokens: Some(Arc::new(login)), ..self }
    }
    /// More first addresses, `https://host[:port]` or `host:port`. Found edges are remembered in the store.
    #[must_use]
    pub fn seeds<S: AsRef<str>>(mut self, urls: &[S]) -> Self {
        self.addresses.extend(urls.iter().map(|url| address_of(url.as_ref())));
        self
    }
    /// Whose certificates are believed.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        Self { trust: Some(trust), ..self }
    }
    /// The name that edges' certificates must carry; unless set, the host of the address.
    #[must_use]
    pub fn server_name(self, name: &str) -> Self {
        Self { server_name: Some(name.into()), ..self }
    }
    /// The device's memory; unless set, a new [`MemoryStore`]: a new device.
    #[must_use]
    pub fn store(self, store: impl Store) -> Self {
        Self { store: Some(Arc::new(store)), ..self }
    }
    /// A socket shared with other clients; unless set, the client has its own.
    #[must_use]
    pub fn endpoint(self, endpoint: Endpoint) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }
    /// When to reconnect. A hint of the server wins.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }
    /// By what edges may be reached, the preferred one first. Default: QUIC, and a WebSocket where UDP does not get through: it is tried too when QUIC is not
    /// there after 1.2 s, and first in a network where that was so; from time to time QUIC is tried again beside it, and goes on with the session.
    #[must_use]
    pub fn transports(self, order: &[Transport]) -> Self {
        Self { transports: Transports::new(order), ..self }
    }
    /// The user; unless set, the store's, else the one that the token names.
    #[must_use]
    pub fn user(self, user: UserId) -> Self {
        Self { user: Some(user), ..self }
    }
    /// The only cluster that it may talk to.
    #[must_use]
    pub fn cluster(self, cluster: ClusterId) -> Self {
        Self { cluster: Some(cluster), ..self }
    }
    /// How much of channels never seen before is fetched by itself. Default: the newest 200 records of each.
    #[must_use]
    pub fn backfill(self, backfill: Backfill) -> Self {
        Self { backfill, ..self }
    }
    /// Time between two beats of an idle client. Default 30 s. A dead edge is noticed after this time and twice the patience.
    #[must_use]
    pub fn heartbeat(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }
    /// How long an edge that owes an answer may be silent before it is probed, and again before it is given up. Default 1.5 s; it
    /// doubles, up to 15 s, while one edge after the other falls silent.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
    /// Time for a request or pull of the app, retries included. Default 30 s. Writes have no end: their fate must be known.
    #[must_use]
    pub fn request_timeout(self, within: Duration) -> Self {
        Self { within, ..self }
    }
    /// Who is told what the client has to say to a developer; unless set, it goes to `tracing`. Called by the client's task: it should not take long. Nothing of
    /// what users write is in it.
    #[must_use]
    pub fn logger(self, logger: impl Fn(&LogRecord) + Send + Sync + 'static) -> Self {
        Self { logger: Some(Arc::new(logger)), ..self }
    }
    /// Makes the client: opens the store and asks for a token if the user is not known yet. Works offline; see [`Client::connect`].
    ///
    /// # Errors
    /// `Invalid`: something required is missing, no transport may be used, or the store is another user's. Else what the store or the token provider says.
    pub async fn build(self) -> Result<Client, Error> {
        let tokens = self.tokens.ok_or_else(|| Error::new(Code::Invalid, "a client needs a token provider"))?;
        let trust = self.trust.ok_or_else(|| Error::new(Code::Invalid, "a client needs to know whose certificates to believe"))?;
        if self.transports.first().is_none() {
            return Err(Error::new(Code::Invalid, "no transport may be used"));
        }
        let store = self.store.unwrap_or_else(|| Arc::new(MemoryStore::default()));
        let failed = |error| Error::store("opening the local store", error);
        let mut snapshot = store.load().await.map_err(failed)?;
        let mut token = None;
        let user = match self.user.or_else(|| snapshot.identity.map(|identity| identity.user)) {
            Some(user) => user,
            None => {
                let text = tokens.token(TokenReason::First).await?;
                let user = subject(&text).ok_or_else(|| Error::new(Code::BadToken, "the token names no user"))?;
                token = Some(text);
                user
            }
        };
        let identity = match snapshot.identity {
            Some(identity) if identity.user == user && self.nonce.is_none_or(|nonce| nonce == identity.nonce) => identity,
            Some(identity) if identity.user == user => return Err(Error::new(Code::Invalid, "the store is another device's than the login")),
            Some(_) => return Err(Error::new(Code::Invalid, "the store is another user's")),
            None => {
                let identity = Identity { user, nonce: self.nonce.unwrap_or_else(|| rand::rng().random()) };
                store.commit(vec![Change::Identity(identity)]).await.map_err(failed)?;
                snapshot.identity = Some(identity);
                identity
            }
        };
        let owns_endpoint = self.endpoint.is_none();
        let endpoint = match self.endpoint {
            Some(endpoint) => endpoint,
            None => Endpoint::bind()?,
        };
        let mut dial = Dial::new(self.retry, self.addresses);
        dial.rank(snapshot.edges.iter().map(|edge| edge.address.clone()));
        let config = Config {
            identity,
            cluster: self.cluster,
            backfill: self.backfill,
            heartbeat: self.heartbeat,
            patience: self.patience,
            seed: rand::rng().random(),
        };
        let boards = Arc::new(Boards::new(DeviceId::from_nonce(identity.user, &identity.nonce), &snapshot.writes, &snapshot.parked));
        let core = Core::new(config, snapshot, clock::now());
        let feed = Arc::new(Feed::default());
        let screens = Arc::<Screens>::default();
        let typists = Arc::<Typists>::default();
        let (status, status_seen) = watch::channel(Status::Offline);
        let (connection, connection_seen) = watch::channel(Connection::default());
        let (behind, behind_seen) = watch::channel(core.behind());
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let weak = commands.downgrade();
        let parts = Parts {
            core,
            dial,
            store: Arc::clone(&store),
            tokens,
            endpoint,
            owns_endpoint,
            trust,
            server_name: self.server_name,
            transports: self.transports,
            token,
            commands: weak,
            feed: Arc::clone(&feed),
            boards: Arc::clone(&boards),
            screens: Arc::clone(&screens),
            typists: Arc::clone(&typists),
            status,
            connection,
            behind,
            seed: rand::rng().random(),
        };
        let run = Driver::new(parts).run(inbox);
        let run = match self.logger {
            Some(logger) => run.with_subscriber(Lines::new(logger)).boxed(),
            None => run.boxed(),
        };
        #[expect(clippy::disallowed_methods, reason = "the one task of a client; the client owns its handle and awaits it")]
        let task = AbortOnDropHandle::new(tokio::spawn(run));
        Ok(Client::new(Shared {
            me: user,
            commands,
            store,
            feed,
            boards,
            screens,
            typists,
            status: status_seen,
            connection: connection_seen,
            behind: behind_seen,
            outbox_room: Arc::new(Semaphore::new(OUTBOX_WRITES_MAX)),
            asks_room: Arc::new(Semaphore::new(ASKS_MAX)),
            within: self.within,
            task: Mutex::new(Some(task)),
        }))
    }
}

/// `host:port` of a URL or an address.
pub(crate) fn address_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    let has_port =
        host.rsplit_once(':').is_some_and(|(before, port)| port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']')));
    if has_port { host.to_owned() } else { format!("{host}:{PORT_DEFAULT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickstart_of_the_docs_is_the_example() {
        let page = include_str!("../../docs/sdk/quickstart.md");
        let code = page.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```\n")).map(|(code, _)| code);
        assert_eq!(code, Some(include_str!("../examples/quickstart.rs")));
    }

    #[test]
    fn urls_become_addresses() {
        for (url, address) in [
            ("https://chat.example", "chat.example:7600"),
            ("https://chat.example:1234/x", "chat.example:1234"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:7600"),
        ] {
            assert_eq!(address_of(url), address);
        }
    }
}
