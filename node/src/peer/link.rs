//! The link that this node opens to another: one connection, one stream, reconnected for as long as the node is in the map.
//!
//! In: asks and tells, queued by class. Out: answers, each to its asker; append answers to [`Inbound`]. Bounds: the queue's, and
//! [`PENDING_MAX`] unanswered asks. Invariant: a link that goes down fails all its pending asks at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kith_raft::TransportError;
use kith_wire::{
    client::Refusal,
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    id::{NodeId, RequestId},
    limit,
    peer::{Ask, FromPeer, Tell, ToPeer, Told},
};
use tokio::sync::oneshot;

use super::{
    Fenced, Shared, beat,
    metrics::DialFailure,
    queue::{Class, FrameQueue, PushError},
    stream::{StreamError, drain, read_frame},
    tls,
};
use crate::clock::{Instant, jitter};

/// The link to one node.
#[derive(Debug)]
pub struct Link {
    to: NodeId,
    address: Mutex<String>,
    live: Mutex<Option<Live>>,
    pending: Mutex<HashMap<RequestId, oneshot::Sender<Result<Told, TransportError>>>>,
    next_id: AtomicU64,
    since: Instant,
}

#[derive(Clone, Debug)]
struct Live {
    connection: quinn::Connection,
    queue: Arc<FrameQueue>,
}

impl Link {
    /// A link that is not up yet.
    pub(super) fn new(to: NodeId, address: String, since: Instant) -> Self {
        let (live, pending) = (Mutex::new(None), Mutex::new(HashMap::new()));
        Self { to, address: Mutex::new(address), live, pending, next_id: AtomicU64::new(1), since }
    }

    /// Since when the other node is known: before that it could not be heard.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Where to dial from the next attempt on.
    pub(super) fn readdress(&self, address: &str) {
        address.clone_into(&mut lock(&self.address));
    }

    /// Whether the link is up.
    pub fn is_up(&self) -> bool {
        lock(&self.live).is_some()
    }

    /// The connection, when up.
    pub(super) fn connection(&self) -> Option<quinn::Connection> {
        lock(&self.live).as_ref().map(|live| live.connection.clone())
    }

    /// Queues news.
    pub(super) fn tell(&self, class: Class, tell: Tell) -> Result<(), TransportError> {
        self.push(class, &ToPeer::Tell(tell))
    }

    /// Asks; the question is queued before the first wait, and forgotten when the future is dropped.
    pub(super) async fn ask(&self, class: Class, ask: Ask, within: Duration) -> Result<Told, TransportError> {
        let id = RequestId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.len() >= PENDING_MAX {
                return Err(TransportError::Full(self.to));
            }
            pending.insert(id, tell);
        }
        let _forget = Forget { link: self, id };
        let deadline_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        self.push(class, &ToPeer::Ask { id, deadline_ms, ask })?;
        match tokio::time::timeout(within, told).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(TransportError::Lost(self.to)),
            Err(_) => Err(TransportError::Timeout(self.to)),
        }
    }

    fn push(&self, class: Class, frame: &ToPeer) -> Result<(), TransportError> {
        let live = lock(&self.live).clone().ok_or(TransportError::Unreachable(self.to))?;
        live.queue.push(class, Kind::ToPeer, frame.encode()).map_err(|error| match error {
            PushError::Full => TransportError::Full(self.to),
            PushError::Closed => TransportError::Unreachable(self.to),
        })
    }

    /// Keeps the link up until cancelled.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let mut attempt = 0_u32;
        loop {
            match self.dial(&shared).await {
                Ok((live, mut send, recv, decoder)) => {
                    attempt = 0;
                    tracing::info!(node = %shared.me.node, peer = %self.to, "peer.link up");
                    *lock(&self.live) = Some(live.clone());
                    shared.metrics.links_up.inc();
                    if let Some(inbound) = shared.inbound() {
                        inbound.link_up(self.to);
                    }
                    let ended = self.serve(&shared, &live, &mut send, recv, decoder).await;
                    self.down(&live, &shared);
                    tracing::info!(node = %shared.me.node, peer = %self.to, cause = %chain(&ended), "peer.link down");
                }
                Err(error) => {
                    shared.metrics.dial_failed(why(&error));
                    tracing::debug!(node = %shared.me.node, peer = %self.to, cause = %chain(&error), "peer.link cannot dial");
                }
            }
            attempt = attempt.saturating_add(1);
            let ceiling = RETRY_MAX.min(RETRY_MIN * 2_u32.saturating_pow(attempt.min(8)));
            tokio::time::sleep(jitter(RETRY_MIN, ceiling)).await;
        }
    }

    async fn dial(&self, shared: &Shared) -> Result<(Live, quinn::SendStream, quinn::RecvStream, Decoder), StreamError> {
        tokio::time::timeout(DIAL_MAX, self.dial_unbounded(shared)).await.map_err(|_| StreamError::Timeout)?
    }

    async fn dial_unbounded(&self, shared: &Shared) -> Result<(Live, quinn::SendStream, quinn::RecvStream, Decoder), StreamError> {
        let address = lock(&self.address).clone();
        let at = tokio::net::lookup_host(&address).await.ok().and_then(|mut all| all.next());
        let at = at.ok_or(StreamError::Content("the peer's address cannot be resolved"))?;
        let connecting = shared.endpoint.connect_with(shared.dialler.clone(), at, &tls::node_name(self.to, shared.me.cluster));
        let connection = connecting.map_err(|_| StreamError::Content("the peer cannot be dialled"))?.await?;
        let (mut send, mut recv) = connection.open_bi().await?;
        let mut hello = BytesMut::new();
        encode(Framing::Checked, Kind::ToPeer, &ToPeer::Hello(shared.hello()).encode(), &mut hello);
        send.write_chunk(hello.freeze()).await?;
        let mut decoder = Decoder::new(Framing::Checked, limit::PEER_FRAME_BYTES_MAX);
        let frame = read_frame(&mut recv, &mut decoder).await?.ok_or(StreamError::Ended)?;
        match decode(&frame.kind, &frame.body)? {
            FromPeer::Hello(hello) if hello.cluster == shared.me.cluster && hello.node == self.to => {
                if let Err(refusal) = shared.release.check(&hello).and_then(|()| shared.known.check(&hello)) {
                    connection.close(close_code(&refusal), refusal.text.as_bytes());
                    tracing::warn!(node = %shared.me.node, peer = %self.to, code = %refusal.code, "peer.hello: the peer is not the one known");
                    return Err(StreamError::Content("the peer is not the one known"));
                }
            }
            FromPeer::Bye(refusal) => {
                tracing::warn!(node = %shared.me.node, peer = %self.to, code = %refusal.code, text = %refusal.text, "peer.hello: refused");
                let says = format!("node {} says: {}", self.to, refusal.text);
                match refusal.code {
                    Code::Revoked => shared.release.fence(Fenced::Directory(says)),
                    Code::VersionMismatch => shared.release.fence(Fenced::Build(says)),
                    _ => {}
                }
                return Err(StreamError::Content("the peer refused this node"));
            }
            _ => return Err(StreamError::Content("the peer did not begin with its hello")),
        }
        Ok((Live { connection, queue: Arc::new(FrameQueue::new(shared.metrics.clone())) }, send, recv, decoder))
    }

    async fn serve(
        &self,
        shared: &Shared,
        live: &Live,
        send: &mut quinn::SendStream,
        mut recv: quinn::RecvStream,
        mut decoder: Decoder,
    ) -> StreamError {
        let reads = async {
            loop {
                match read_frame(&mut recv, &mut decoder).await {
                    Ok(Some(frame)) => match decode(&frame.kind, &frame.body) {
                        Ok(frame) => self.handle(shared, frame),
                        Err(error) => return error,
                    },
                    Ok(None) => return StreamError::Ended,
                    Err(error) => return error,
                }
            }
        };
        let writes = async { drain(send, &live.queue).await.err().unwrap_or(StreamError::Ended) };
        let beats = async {
            let mut ticks = tokio::time::interval(beat::BEAT_INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if shared.allowed(self.to)
                    && let Some(inbound) = shared.inbound()
                    && let Err(error) = self.tell(Class::Raft, Tell::Beat(inbound.beat()))
                {
                    tracing::debug!(peer = %self.to, cause = %error, "peer.beat not sent");
                }
            }
        };
        tokio::select! {
            error = reads => error,
            error = writes => error,
            () = beats => StreamError::Ended,
        }
    }

    fn handle(&self, shared: &Shared, frame: FromPeer) {
        if !shared.allowed(self.to) {
            return;
        }
        match frame {
            FromPeer::Told { id, told } => {
                let asker = lock(&self.pending).remove(&id);
                if let Some(asker) = asker {
                    // An asker that has given up is no fault.
                    let _ = asker.send(told.map_err(|refusal| TransportError::Refused(self.to, refusal)));
                }
            }
            FromPeer::Appended(answer) => {
                if let Some(inbound) = shared.inbound() {
                    inbound.appended(self.to, answer);
                }
            }
            FromPeer::Hello(_) | FromPeer::Bye(_) => {}
        }
    }

    fn down(&self, live: &Live, shared: &Shared) {
        if lock(&self.live).take().is_some() {
            shared.metrics.links_up.dec();
        }
        live.queue.close();
        live.connection.close(quinn::VarInt::from_u32(0), b"");
        lock(&self.pending).clear();
        if let Some(inbound) = shared.inbound() {
            inbound.link_down(self.to);
        }
    }
}

fn why(error: &StreamError) -> DialFailure {
    match error {
        StreamError::Content(_) => DialFailure::Refused,
        StreamError::Connection(quinn::ConnectionError::TransportError(_) | quinn::ConnectionError::ConnectionClosed(_)) => DialFailure::Untrusted,
        _ => DialFailure::Unreachable,
    }
}

struct Forget<'a> {
    link: &'a Link,
    id: RequestId,
}
impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.link.pending).remove(&self.id);
    }
}

fn decode(kind: &Kind, body: &Bytes) -> Result<FromPeer, StreamError> {
    match kind {
        Kind::FromPeer => Ok(FromPeer::decode(body)?),
        _ => Err(StreamError::Content("a frame of another kind")),
    }
}

/// The code of a refusal, as the reason of a closed connection.
pub(super) fn close_code(refusal: &Refusal) -> quinn::VarInt {
    quinn::VarInt::from_u32(u32::from(refusal.code.number()))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unanswered asks of one link; beyond it they are refused as `Full`.
const PENDING_MAX: usize = 16_384;
/// Shortest wait before dialling again.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// Longest wait.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Handshake and hello.
const DIAL_MAX: Duration = Duration::from_secs(5);
