//! Accounts of the cluster itself: sign-up and log-in by password, and tokens that refresh themselves.
//!
//! In: a name and a password, once. Out: a [`Login`], which is a [`TokenProvider`], and what to keep of it ([`SavedLogin`]). Invariants: the
//! password is not kept; a refresh token is used once, and the next one is given to the app to keep before it is used; a sign-up or a refresh whose
//! answer was lost is asked again with the same secret, so that it is one account, and one next token. Bounds: [`ASK_WITHIN`] for an answer, over all addresses.
//! Not here: sessions (`builder`, `driver`), devices and passwords of who is in (`account`).

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    code::{Code, Retry},
    id::{RequestId, UserId},
    people::{LoggedIn, PeopleAnswer, PeopleRequest},
    secret::Secret,
    trust::{TrustAnswer, TrustRequest},
};
use rand::RngExt;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use crate::{
    builder::address_of,
    client::unexpected,
    clock,
    driver::link,
    endpoint::{Endpoint, Trust},
    error::Error,
    token::{TokenProvider, TokenReason},
    transport::{Transport, Transports},
};

/// For an answer at the door, retries at all addresses included.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// For one address.
const TRY_WITHIN: Duration = Duration::from_secs(12);
/// Between two rounds of all addresses.
const ROUND_WAIT: Duration = Duration::from_millis(300);
/// An access token is used for so long of its 15 minutes.
const ACCESS_FRESH: Duration = Duration::from_secs(10 * 60);

/// What a device keeps to go on without a password. Keep it as you keep a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedLogin {
    /// The user.
    pub user: UserId,
    /// Their name, as it was last told.
    pub name: String,
    /// Of the device; a store that is used with this login gets it.
    pub nonce: [u8; 16],
    /// For the next refresh, once.
    pub refresh: Secret,
}

/// A new account, or a new log-in.
#[derive(Debug)]
pub struct Entered {
    /// Gives tokens.
    pub login: Login,
    /// Of a new account: the code that resets a forgotten password. Shown once: the user is to write it down.
    pub recovery: Option<Secret>,
}

/// Who is told what to keep, before it is used. If it fails, the token is not used, and asked for again later.
pub type Keeper = dyn Fn(&SavedLogin) -> Result<(), Error> + Send + Sync;

/// Where a stranger asks to be let in: any nodes of the cluster.
#[derive(Clone)]
pub struct Door {
    addresses: Arc<[String]>,
    trust: Trust,
    endpoint: Endpoint,
    server_name: Option<Arc<str>>,
    transports: Transports,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Door {
    /// At these addresses, `https://host[:port]` or `host:port`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: no address. No socket can be bound.
    pub fn new<S: AsRef<str>>(urls: &[S], trust: Trust) -> Result<Self, Error> {
        Ok(Self::with_endpoint(urls, trust, Endpoint::bind()?))
    }
    /// As [`Door::new`], over a socket that is shared.
    pub fn with_endpoint<S: AsRef<str>>(urls: &[S], trust: Trust, endpoint: Endpoint) -> Self {
        Self {
            addresses: urls.iter().map(|url| address_of(url.as_ref())).collect(),
            trust,
            endpoint,
            server_name: None,
            transports: Transports::default(),
        }
    }
    /// The name that edges' certificates must carry; unless set, the host of the address.
    #[must_use]
    pub fn server_name(self, name: &str) -> Self {
        Self { server_name: Some(name.into()), ..self }
    }
    /// As [`crate::ClientBuilder::transports`].
    #[must_use]
    pub fn transports(self, order: &[Transport]) -> Self {
        Self { transports: Transports::new(order), ..self }
    }

    /// Makes an account and lets this device in, which is to be called `title` in the list of devices.
    ///
    /// # Errors
    /// `NameTaken`, `WeakPassword`, `Invalid` for what cannot be a name, `RateLimited`; or nobody answered in time.
    pub async fn sign_up(&self, name: &str, password: impl Into<Secret>, title: &str) -> Result<Entered, Error> {
        let (key, nonce) = (rand::rng().random(), rand::rng().random());
        let request = PeopleRequest::SignUp { name: name.to_owned(), password: password.into(), key, nonce, title: title.to_owned() };
        self.enter(request, nonce).await
    }
    /// Lets a device in by name and password.
    ///
    /// # Errors
    /// `BadLogin`, `RateLimited`; or nobody answered in time.
    pub async fn log_in(&self, name: &str, password: impl Into<Secret>, title: &str) -> Result<Entered, Error> {
        let nonce = rand::rng().random();
        self.enter(PeopleRequest::LogIn { name: name.to_owned(), password: password.into(), nonce, title: title.to_owned() }, nonce).await
    }
    /// Lets a device in by a token of the app's own backend (JWT). The account is made on first use.
    ///
    /// # Errors
    /// `BadToken`, `TokenExpired`; or nobody answered in time.
    pub async fn log_in_with(&self, token: impl Into<Secret>, title: &str) -> Result<Entered, Error> {
        let nonce = rand::rng().random();
        self.enter(PeopleRequest::LogInWith { token: token.into(), nonce, title: title.to_owned() }, nonce).await
    }
    /// Goes on with what was kept. Asks nobody yet.
    pub fn resume(&self, saved: SavedLogin) -> Login {
        Login::new(self.clone(), saved, None)
    }
    /// Another password by a recovery code, or by a code that an operator or the app gave. All devices must log in again. Gives the new
    /// recovery code.
    ///
    /// # Errors
    /// `BadLogin`: name or code is not right. `WeakPassword`, `RateLimited`; or nobody answered in time.
    pub async fn reset_password(&self, name: &str, code: impl Into<Secret>, password: impl Into<Secret>) -> Result<Secret, Error> {
        let request = PeopleRequest::ResetPassword { name: name.to_owned(), code: code.into(), password: password.into() };
        match self.ask(request).await? {
            PeopleAnswer::Code { code, .. } => Ok(code),
            _ => Err(unexpected()),
        }
    }

    /// Has the app's backend hand a one-time code to whoever has this name, by mail, say; it is good for half an hour, by
    /// [`Door::reset_password`]. Whether anybody has the name is not told.
    ///
    /// # Errors
    /// `Unsupported`: this cluster knows no such backend. `RateLimited`; or nobody answered in time.
    pub async fn ask_reset(&self, name: &str) -> Result<(), Error> {
        self.ask(PeopleRequest::AskReset { name: name.to_owned() }).await.map(|_| ())
    }

    async fn enter(&self, request: PeopleRequest, nonce: [u8; 16]) -> Result<Entered, Error> {
        let PeopleAnswer::LoggedIn(told) = self.ask(request).await? else { return Err(unexpected()) };
        let recovery = told.recovery.clone();
        let saved = SavedLogin { user: told.user, name: told.name, nonce, refresh: told.refresh };
        Ok(Entered { login: Login::new(self.clone(), saved, Some((told.access, clock::now()))), recovery })
    }
    async fn refresh(&self, token: Secret, nonce: [u8; 16]) -> Result<LoggedIn, Error> {
        match self.ask(PeopleRequest::Refresh { token, nonce }).await? {
            PeopleAnswer::LoggedIn(told) => Ok(told),
            _ => Err(unexpected()),
        }
    }

    /// By the first admin token of a cluster, which is used up: another, which is shown once. For those who run the cluster.
    ///
    /// # Errors
    /// `BadToken`, `TokenExpired`; `TokenSpent`: it was used, be it by a try whose answer was lost; or nobody answered in time.
    pub async fn claim_admin(&self, first: impl Into<Secret>, name: &str) -> Result<TrustAnswer, Error> {
        match self.ask_any(Request::Trust(TrustRequest::ClaimFirst { token: first.into(), name: name.to_owned() })).await? {
            Answer::Trust(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    async fn ask(&self, request: PeopleRequest) -> Result<PeopleAnswer, Error> {
        match self.ask_any(Request::People(request)).await? {
            Answer::People(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }
    /// Asks at one address after the other, until one answers or refuses for good.
    async fn ask_any(&self, request: Request) -> Result<Answer, Error> {
        let until = clock::now() + ASK_WITHIN;
        let mut last = Error::new(Code::Invalid, "no address was given");
        loop {
            for address in &*self.addresses {
                last = match timeout(TRY_WITHIN, self.ask_at(address, request.clone())).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => error,
                    Err(_) => Error::new(Code::Timeout, "the edge did not answer in time"),
                };
                // Who is told to wait is told so: a person is waiting.
                let is_final = matches!(last.retry(), Retry::Never | Retry::AfterAuth) || last.code == Code::RateLimited;
                if is_final && !matches!(last.code, Code::Internal) {
                    return Err(last);
                }
            }
            if clock::now() + ROUND_WAIT >= until || self.addresses.is_empty() {
                return Err(last);
            }
            sleep(ROUND_WAIT).await;
        }
    }
    async fn ask_at(&self, address: &str, request: Request) -> Result<Answer, Error> {
        let mut link = link::connect(&self.endpoint, &self.trust, address, self.server_name.as_deref(), &self.transports, TRY_WITHIN).await?;
        link.add(&ToEdge::Request { id: ID, request });
        let answer = loop {
            match link.poll_frame()? {
                Some(ToClient::Answer { id: ID, answer: Ok(answer) }) => break Ok(answer),
                Some(ToClient::Answer { id: ID, answer: Err(refusal) }) => break Err(Error::refused(refusal, Some(ID))),
                Some(ToClient::Bye(refusal)) => break Err(Error::refused(refusal, None)),
                Some(_) => {}
                None => link.poll().await?,
            }
        };
        link.close();
        answer
    }
}

/// The only request of its connection.
const ID: RequestId = RequestId::new(1);

/// Gives tokens of a device that logged in by itself. Cheap to clone; clones are the same device.
#[derive(Clone)]
pub struct Login {
    shared: Arc<Shared>,
}

struct Shared {
    door: Door,
    user: UserId,
    nonce: [u8; 16],
    keeper: std::sync::Mutex<Option<Arc<Keeper>>>,
    state: Mutex<State>,
}

struct State {
    saved: SavedLogin,
    access: Option<(Secret, Instant)>,
    /// Of the refresh that was not answered yet: the token is not changed before it is.
    asking: Option<[u8; 16]>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.shared.user).finish_non_exhaustive()
    }
}

impl Login {
    fn new(door: Door, saved: SavedLogin, access: Option<(Secret, Instant)>) -> Self {
        let (user, nonce) = (saved.user, saved.nonce);
        Self {
            shared: Arc::new(Shared {
                door,
                user,
                nonce,
                keeper: std::sync::Mutex::default(),
                state: Mutex::new(State { saved, access, asking: None }),
            }),
        }
    }
    /// Who is told what to keep from now on. Keep [`Login::saved`] too: it is what there is until then.
    #[must_use]
    pub fn keep(self, keeper: impl Fn(&SavedLogin) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        *self.shared.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Arc::new(keeper));
        self
    }
    /// The user.
    pub fn user(&self) -> UserId {
        self.shared.user
    }
    /// Of the device.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        self.shared.nonce
    }
    /// What to keep now.
    pub async fn saved(&self) -> SavedLogin {
        self.shared.state.lock().await.saved.clone()
    }
    /// An access token that is fresh; refreshes if it is not, or if `refused` says that the last one was not taken.
    ///
    /// # Errors
    /// `LoginNeeded`, `Revoked`: log in again. Else nobody answered in time, or what the keeper says.
    pub async fn access(&self, refused: bool) -> Result<Secret, Error> {
        // One refresh at a time: a token is used once.
        let mut state = self.shared.state.lock().await;
        if let Some((access, since)) = &state.access
            && !refused
            && clock::now() < *since + ACCESS_FRESH
        {
            return Ok(access.clone());
        }
        state.access = None;
        let nonce = *state.asking.get_or_insert_with(|| rand::rng().random());
        let told = self.shared.door.refresh(state.saved.refresh.clone(), nonce).await?;
        let saved = SavedLogin { name: told.name, refresh: told.refresh, ..state.saved.clone() };
        let keeper = self.shared.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(keeper) = keeper {
            keeper(&saved)?;
        }
        (state.saved, state.access, state.asking) = (saved, Some((told.access.clone(), clock::now())), None);
        Ok(told.access)
    }
}

impl TokenProvider for Login {
    fn token(&self, why: TokenReason) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async move { self.access(why == TokenReason::Refused).await.map(|access| access.reveal().to_owned()) })
    }
}
