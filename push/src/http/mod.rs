//! Requests to servers of others, over HTTP/2 where they speak it.
//!
//! In: a URL, headers, a body. Out: status, headers and the beginning of the answer's body, or why there is none. Invariants: a server is believed by its
//! certificate alone; no redirect is followed; with [`Reach::Public`] nothing is sent to an address that is not public, however its name resolves the next time,
//! since that is asked of the very address that is connected to; what is secret in a request is marked so, and stands in no log. Bounds: one deadline for all of
//! it, [`ANSWER_BYTES_MAX`], [`POOL_MAX`] connections that are kept. A connection on which anything failed is not used again. Not here: what is asked
//! ([`crate::provider`]), how often ([`crate::gate`]).

mod connect;
mod pool;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request as HttpRequest, StatusCode, Uri, Version, body::Incoming, header};
use kith_wire::id::Timestamp;
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::connect::RootsError;
use self::{
    connect::{Connected, Connector},
    pool::{Http1, Http2, Key, Pool},
};
use crate::{Fault, url::Url};

/// Of an answer's body: what is longer is cut off. The longest that is read is an OAuth token's.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections that are kept, one a host.
const POOL_MAX: usize = 256;
/// A connection that was not used for so long is not used again: what stands between may have forgotten it.
const IDLE_MAX_MS: u64 = 10 * 60_000;

/// Where a request may go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reach {
    /// Wherever the operator's settings say.
    Anywhere,
    /// To public addresses, encrypted: somebody else chose the URL.
    Public,
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Speaks {
    /// HTTP/2 and nothing else.
    Http2,
    /// HTTP/2 or HTTP/1.1, as the server likes.
    Either,
}

/// A POST.
pub(crate) struct Post {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) reach: Reach,
    pub(crate) speaks: Speaks,
    /// Of the credential: a connection is not shared by two of them.
    pub(crate) credential: u64,
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Its beginning, as far as it came.
    pub(crate) body: Bytes,
}

/// There is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum PostError {
    #[error("nothing is sent there")]
    Forbidden,
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for PostError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Posts. Its connections are tasks of its own.
pub(crate) struct Client {
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
    /// `ca_file`: authorities to believe instead of the system's.
    pub(crate) fn new(ca_file: Option<&std::path::Path>, within: Duration) -> Result<Self, RootsError> {
        let tasks = Tasks { tracker: TaskTracker::new(), stop: CancellationToken::new() };
        Ok(Self { connector: Connector::new(ca_file)?, pool: Pool::new(POOL_MAX, IDLE_MAX_MS), tasks, within })
    }
    /// Ends all connections and waits for them.
    pub(crate) async fn close(&self) {
        self.tasks.stop.cancel();
        self.tasks.tracker.close();
        self.tasks.tracker.wait().await;
    }
    /// Posts once. Dropped, the request is taken back as far as that is possible.
    pub(crate) async fn post(&self, post: &Post, now: Timestamp) -> Result<Answer, PostError> {
        if post.reach == Reach::Public && !post.url.is_tls() {
            return Err(PostError::Forbidden);
        }
        let key = Key::of(post);
        let slot = self.pool.slot(&key, now);
        let answered = match timeout(self.within, self.exchange(post, &slot, now)).await {
            Ok(answered) => answered,
            Err(_) => Err(Fault::TimedOut.into()),
        };
        if answered.is_err() {
            self.pool.forget(&key, &slot);
        }
        answered
    }
    async fn exchange(&self, post: &Post, slot: &Arc<pool::Slot>, now: Timestamp) -> Result<Answer, PostError> {
        if slot.is_http1.load(Relaxed)
            && let Opened::Http1(http1) = self.connect(post).await?
        {
            return self.over_http1(post, http1).await;
        }
        // Whoever comes while a connection is being made waits for that one: there is one a host.
        let mut open = slot.open.lock().await;
        let known = open.as_ref().filter(|open| !open.is_closed()).cloned();
        let (mut http2, is_new) = match known {
            Some(http2) => (http2, false),
            None => match self.connect(post).await? {
                Opened::Http1(http1) => {
                    slot.is_http1.store(true, Relaxed);
                    drop(open);
                    return self.over_http1(post, http1).await;
                }
                Opened::Http2(http2) => {
                    *open = Some(http2.clone());
                    (http2, true)
                }
            },
        };
        drop(open);
        match over_http2(post, &mut http2).await {
            // The server had closed the connection before the request was on its way: another connection, once.
            Err(Sent::Not) if !is_new => {
                self.pool.forget(&Key::of(post), slot);
                match self.connect(post).await? {
                    Opened::Http1(http1) => self.over_http1(post, http1).await,
                    Opened::Http2(mut http2) => {
                        let fresh = self.pool.slot(&Key::of(post), now);
                        *fresh.open.lock().await = Some(http2.clone());
                        over_http2(post, &mut http2).await.map_err(|_| Fault::Reset.into())
                    }
                }
            }
            Err(_) => Err(Fault::Reset.into()),
            Ok(answer) => Ok(answer),
        }
    }
    async fn connect(&self, post: &Post) -> Result<Opened, PostError> {
        match self.connector.connect(&post.url, post.reach, post.speaks).await? {
            Connected::Http1(stream) => {
                let (sender, connection) = pool::http1().handshake(stream).await.map_err(|_| Fault::Protocol)?;
                self.tasks.spawn(async {
                    // What ended it is told to the request.
                    let _ended = connection.await;
                });
                Ok(Opened::Http1(sender))
            }
            Connected::Http2(stream) => {
                let (sender, connection) = pool::http2(self.tasks.clone()).handshake(stream).await.map_err(|_| Fault::Protocol)?;
                self.tasks.spawn(async {
                    let _ended = connection.await;
                });
                Ok(Opened::Http2(sender))
            }
        }
    }
    /// One request a connection.
    async fn over_http1(&self, post: &Post, mut http1: Http1) -> Result<Answer, PostError> {
        let target: Uri = post.url.path().parse().map_err(|_| PostError::Forbidden)?;
        let mut request = request(post, target, Version::HTTP_11);
        request.headers_mut().insert(header::HOST, post.url.authority().parse().map_err(|_| PostError::Forbidden)?);
        request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        let answer = http1.send_request(request).await.map_err(|_| Fault::Reset)?;
        Ok(read(answer).await)
    }
}

enum Opened {
    Http1(Http1),
    Http2(Http2),
}

/// Whether a request that failed may have arrived.
enum Sent {
    Not,
    Maybe,
}

async fn over_http2(post: &Post, http2: &mut Http2) -> Result<Answer, Sent> {
    http2.ready().await.map_err(|_| Sent::Not)?;
    let target = format!("{}{}", post.url.origin(), post.url.path());
    let target: Uri = target.parse().map_err(|_| Sent::Maybe)?;
    let answer = http2.try_send_request(request(post, target, Version::HTTP_2)).await;
    match answer {
        Ok(answer) => Ok(read(answer).await),
        Err(error) if error.message().is_some() => Err(Sent::Not),
        Err(_) => Err(Sent::Maybe),
    }
}

fn request(post: &Post, target: Uri, version: Version) -> HttpRequest<Full<Bytes>> {
    let mut request = HttpRequest::new(Full::new(post.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target;
    *request.version_mut() = version;
    *request.headers_mut() = post.headers.clone();
    let agent = header::HeaderValue::from_static(concat!("kith/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    request
}

/// The body as far as it comes: what an answer means stands in its status, the body only says more.
async fn read(answer: hyper::Response<Incoming>) -> Answer {
    let (head, mut body) = answer.into_parts();
    let mut read = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = ANSWER_BYTES_MAX - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() >= room {
            break;
        }
    }
    Answer { status: head.status, headers: head.headers, body: read.freeze() }
}
