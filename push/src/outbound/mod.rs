//! Requests to servers of others, over HTTP/2 where they speak it: the one door out of a node, for pushes, webhooks, codes for lost passwords and keys of issuers.
//!
//! In: a URL, headers, a body. Out: status, headers and the beginning of the answer's body, or why there is none. Invariants: a server is believed by its
//! certificate alone; no redirect is followed; with [`Reach::Public`] nothing is sent to an address that is not public, however its name resolves the next time,
//! since that is asked of the very address that is connected to; what is secret in a request is marked so, and stands in no log. Bounds: one deadline for all of
//! it, as much of the answer as is wanted, [`POOL_MAX`] connections that are kept. A connection on which anything failed is not used again. Not here: what is asked
//! ([`crate::provider`]), how often ([`crate::gate`]).

mod connect;
mod pool;

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request as HttpRequest, StatusCode, Uri, Version, body::Incoming, header};
use kith_wire::{address::is_public, id::Timestamp};
use rustls::RootCertStore;
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::connect::RootsError;
use self::{
    connect::{Connected, Connector},
    pool::{Http1, Http2, Key, Pool},
};
use crate::{
    Fault,
    url::{Url, UrlError},
};

/// Of the body of a post's answer: what is longer is cut off. The longest that is read is an OAuth token's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections that are kept, one a host.
const POOL_MAX: usize = 256;
/// A connection that was not used for so long is not used again: what stands between may have forgotten it.
const IDLE_MAX_MS: u64 = 10 * 60_000;

/// Where a request may go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reach {
    /// Wherever the operator's settings say.
    Anywhere,
    /// To public addresses, encrypted: somebody else chose the URL.
    Public,
}

impl Reach {
    /// As settings say that allow private addresses, or do not.
    pub const fn private(is_allowed: bool) -> Self {
        if is_allowed { Self::Anywhere } else { Self::Public }
    }
    /// Why nothing is asked there: what can be said without looking anything up.
    ///
    /// # Errors
    /// `Plain`, `Private`.
    pub fn check(self, url: &Url) -> Result<(), UrlError> {
        match self {
            Self::Anywhere => Ok(()),
            Self::Public if !url.is_tls() => Err(UrlError::Plain),
            Self::Public => match url.host().parse::<IpAddr>() {
                Ok(address) if !is_public(address) => Err(UrlError::Private),
                _ => Ok(()),
            },
        }
    }
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Speaks {
    /// HTTP/1.1, a connection for each request: for who asks a server seldom. Nothing is kept, no task is begun.
    Http1,
    /// HTTP/2 and nothing else.
    Http2,
    /// HTTP/2 or HTTP/1.1, as the server likes.
    Either,
}

/// A request. What stands in it is nobody else's: it has no `Debug`.
#[derive(Clone)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// Whom and what.
    pub url: Url,
    /// Besides those that every request has.
    pub headers: HeaderMap,
    /// With what.
    pub body: Bytes,
    /// Where it may lead.
    pub reach: Reach,
    /// What is spoken.
    pub speaks: Speaks,
    /// Of the credential: a connection is not shared by two of them.
    pub credential: u64,
    /// So many bytes of the answer's body are wanted; what is longer is cut off.
    pub wanted: usize,
}

impl Asked {
    /// A POST to wherever the settings say.
    pub fn post(url: Url, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        let (reach, speaks) = (Reach::Anywhere, Speaks::Either);
        Self { method: Method::POST, url, headers, body: body.into(), reach, speaks, credential: 0, wanted: ANSWER_BYTES_MAX }
    }
}

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its beginning, as far as it came and was wanted.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Unanswered {
    /// Nothing may be sent there.
    #[error("nothing is sent there")]
    Forbidden,
    /// It could not be reached, or did not answer as it should.
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Asks. Connections that it keeps are tasks of its own.
pub struct Client {
    connector: Connector,
    pool: Pool,
    tasks: Tasks,
    within: Duration,
}

/// Drives connections, until it is closed.
#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }
}

impl Client {
    /// `ca_file`: authorities to believe instead of the system's. `within`: for all of a request.
    ///
    /// # Errors
    /// There are none in that file.
    pub fn new(ca_file: Option<&Path>, within: Duration) -> Result<Self, RootsError> {
        Ok(Self::believing(connect::roots(ca_file)?, within))
    }
    /// As [`Self::new`]; where the file has no authorities nobody is believed, and that is logged: for who must not keep a node from starting.
    pub fn lenient(ca_file: Option<&Path>, within: Duration) -> Self {
        let roots = connect::roots(ca_file).unwrap_or_else(|error| {
            tracing::error!(%error, "no server is believed until there are some and the node is started again");
            RootCertStore::empty()
        });
        Self::believing(roots, within)
    }
    fn believing(roots: RootCertStore, within: Duration) -> Self {
        let tasks = Tasks { tracker: TaskTracker::new(), stop: CancellationToken::new() };
        Self { connector: Connector::new(roots), pool: Pool::new(POOL_MAX, IDLE_MAX_MS), tasks, within }
    }
    /// Ends all connections and waits for them.
    pub async fn close(&self) {
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
    /// Asks once. Dropped, the request is taken back as far as that is possible.
    ///
    /// # Errors
    /// There is no answer within the time, or it may not be asked.
    pub async fn ask(&self, asked: &Asked, now: Timestamp) -> Result<Answer, Unanswered> {
        asked.reach.check(&asked.url).map_err(|_| Unanswered::Forbidden)?;
        if asked.speaks == Speaks::Http1 {
            return timeout(self.within, self.alone(asked)).await.unwrap_or(Err(Fault::TimedOut.into()));
        }
        let key = Key::of(asked);
        let slot = self.pool.slot(&key, now);
        let answered = match timeout(self.within, self.exchange(asked, &slot, now)).await {
            Ok(answered) => answered,
            Err(_) => Err(Fault::TimedOut.into()),
        };
        if answered.is_err() {
            self.pool.forget(&key, &slot);
        }
        answered
    }
    async fn alone(&self, asked: &Asked) -> Result<Answer, Unanswered> {
        match self.connector.connect(&asked.url, asked.reach, asked.speaks).await? {
            Connected::Http1(stream) => over_http1(asked, stream).await,
            Connected::Http2(_) => Err(Fault::Protocol.into()),
        }
    }
    async fn exchange(&self, asked: &Asked, slot: &Arc<pool::Slot>, now: Timestamp) -> Result<Answer, Unanswered> {
        if slot.is_http1.load(Relaxed)
            && let Opened::Http1(http1) = self.connect(asked).await?
        {
            return over_http1(asked, http1).await;
        }
        // Whoever comes while a connection is being made waits for that one: there is one a host.
        let mut open = slot.open.lock().await;
        let known = open.as_ref().filter(|open| !open.is_closed()).cloned();
        let (mut http2, is_new) = match known {
            Some(http2) => (http2, false),
            None => match self.connect(asked).await? {
                Opened::Http1(http1) => {
                    slot.is_http1.store(true, Relaxed);
                    drop(open);
                    return over_http1(asked, http1).await;
                }
                Opened::Http2(http2) => {
                    *open = Some(http2.clone());
                    (http2, true)
                }
            },
        };
        drop(open);
        match over_http2(asked, &mut http2).await {
            // The server had closed the connection before the request was on its way: another connection, once.
            Err(Sent::Not) if !is_new => {
                self.pool.forget(&Key::of(asked), slot);
                match self.connect(asked).await? {
                    Opened::Http1(http1) => over_http1(asked, http1).await,
                    Opened::Http2(mut http2) => {
                        let fresh = self.pool.slot(&Key::of(asked), now);
                        *fresh.open.lock().await = Some(http2.clone());
                        over_http2(asked, &mut http2).await.map_err(|_| Fault::Reset.into())
                    }
                }
            }
            Err(_) => Err(Fault::Reset.into()),
            Ok(answer) => Ok(answer),
        }
    }
    async fn connect(&self, asked: &Asked) -> Result<Opened, Unanswered> {
        match self.connector.connect(&asked.url, asked.reach, asked.speaks).await? {
            Connected::Http1(stream) => Ok(Opened::Http1(stream)),
            Connected::Http2(stream) => {
                let (sender, connection) = pool::http2(self.tasks.clone()).handshake(stream).await.map_err(|_| Fault::Protocol)?;
                self.tasks.spawn(async {
                    // What ended it is told to the request.
                    let _ended = connection.await;
                });
                Ok(Opened::Http2(sender))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client(within: {:?})", self.within)
    }
}

enum Opened {
    Http1(Http1),
    Http2(Http2),
}

/// One request a connection, which is driven here: when the answer is there both are dropped.
async fn over_http1(asked: &Asked, stream: Http1) -> Result<Answer, Unanswered> {
    let (mut sender, connection) = pool::http1().handshake(stream).await.map_err(|_| Fault::Protocol)?;
    let target: Uri = asked.url.path().parse().map_err(|_| Unanswered::Forbidden)?;
    let mut request = request(asked, target, Version::HTTP_11);
    request.headers_mut().insert(header::HOST, asked.url.authority().parse().map_err(|_| Unanswered::Forbidden)?);
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let answered = async {
        let answer = sender.send_request(request).await.map_err(|_| Fault::Reset)?;
        Ok::<_, Unanswered>(read(answer, asked.wanted).await)
    };
    tokio::pin!(answered, connection);
    let mut is_open = true;
    loop {
        // Both are cancel safe: they go on where they were.
        tokio::select! {
            biased;
            answered = &mut answered => return answered,
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

/// Whether a request that failed may have arrived.
enum Sent {
    Not,
    Maybe,
}

async fn over_http2(asked: &Asked, http2: &mut Http2) -> Result<Answer, Sent> {
    http2.ready().await.map_err(|_| Sent::Not)?;
    let target = format!("{}{}", asked.url.origin(), asked.url.path());
    let target: Uri = target.parse().map_err(|_| Sent::Maybe)?;
    let answer = http2.try_send_request(request(asked, target, Version::HTTP_2)).await;
    match answer {
        Ok(answer) => Ok(read(answer, asked.wanted).await),
        Err(error) if error.message().is_some() => Err(Sent::Not),
        Err(_) => Err(Sent::Maybe),
    }
}

fn request(asked: &Asked, target: Uri, version: Version) -> HttpRequest<Full<Bytes>> {
    let mut request = HttpRequest::new(Full::new(asked.body.clone()));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = target;
    *request.version_mut() = version;
    *request.headers_mut() = asked.headers.clone();
    let agent = header::HeaderValue::from_static(concat!("kith/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    request
}

/// The body as far as it comes and is wanted: what an answer means stands in its status, the body only says more.
async fn read(answer: hyper::Response<Incoming>, wanted: usize) -> Answer {
    let (head, mut body) = answer.into_parts();
    let mut read = BytesMut::new();
    while wanted > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        let Ok(data) = frame.into_data() else { continue };
        let room = wanted - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    Answer { status: head.status, headers: head.headers, body: read.freeze() }
}
