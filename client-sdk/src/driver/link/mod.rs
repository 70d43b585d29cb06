//! One connection to an edge: the chat stream, and pulls beside it; over QUIC or a WebSocket.
//!
//! In: frames, pulls. Out: frames, pages. Which way is taken: the preferred one, and after [`HEAD_START`] the other one too; who answers first is
//! taken. Where UDP is known to be blocked, the WebSocket goes first. Invariants: an edge that was heard and refuses is not asked again another way;
//! what is learnt of a network is kept for all clients of the endpoint. Bounds: a frame's body at most `limit::FRAME_BYTES_MAX`, a page's at most
//! `limit::PAGE_FRAME_BYTES_MAX`; each step has a deadline.

mod quic;
mod socket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use kith_wire::{
    client::{Page, Pull, ToClient, ToEdge},
    code::Code,
    frame::{Decoder, Framing, Kind, encode},
    limit::FRAME_BYTES_MAX,
};
use rand::RngExt;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use self::{
    quic::Quic,
    socket::{Asking, Socket},
};
use crate::{
    clock,
    core::Network,
    endpoint::{Endpoint, Trust},
    error::Error,
    status::Traffic,
    transport::{Transport, Transports},
};

/// A connection with its chat stream.
pub(crate) struct Link {
    way: Way,
    decoder: Decoder,
    /// Encoded frames that the way has not taken yet.
    pending: BytesMut,
    network: Option<Network>,
}

enum Way {
    Quic(Quic),
    Socket(Box<Socket>),
}

/// What one way came to.
struct Failed {
    error: Error,
    /// The edge itself said no: another way leads to the same answer.
    was_heard: bool,
}

impl Failed {
    fn unheard(error: Error) -> Self {
        Self { error, was_heard: false }
    }
}

/// How long the preferred way is alone. A first packet that was lost is sent again within it.
const HEAD_START: Duration = Duration::from_millis(1_200);
/// Bytes of frames that wait for the way; beyond it no more are taken from the core.
const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Read from the way at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// A pull is given up after this time, and asked again.
const PULL_WITHIN: Duration = Duration::from_secs(30);

/// Connects to `host:port` by one of these; every address that the name has is tried in turn.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    trust: &Trust,
    name: &str,
    server_name: Option<&str>,
    transports: &Transports,
    within: Duration,
) -> Result<Link, Error> {
    let host = server_name.unwrap_or_else(|| host_of(name));
    let addresses: Vec<SocketAddr> = match name.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            tokio::net::lookup_host(name).await.map_err(|error| Error::caused(Code::Disconnected, "looking the edge's name up", error))?.collect()
        }
    };
    let mut last = Error::new(Code::Disconnected, "the edge's name has no address");
    for address in addresses {
        let place = Place { endpoint, trust, address, name, host };
        match timeout(within, place.race(transports)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => last = error,
            Err(_) => last = Error::new(Code::Timeout, "the edge did not answer the handshake"),
        }
    }
    Err(last)
}

/// An address of an edge.
#[derive(Clone, Copy)]
struct Place<'a> {
    endpoint: &'a Endpoint,
    trust: &'a Trust,
    address: SocketAddr,
    /// `host:port`, as it was given.
    name: &'a str,
    /// What its certificate must carry.
    host: &'a str,
}

impl Place<'_> {
    /// The preferred way, and after a while the other one too. Cancel safe: whoever has not answered is given up.
    async fn race(self, transports: &Transports) -> Result<Link, Error> {
        let network = self.endpoint.network_to(self.address);
        let is_blocked = network.is_some_and(|network| self.endpoint.ways().is_blocked(network));
        let (first, second) = transports.order(is_blocked);
        let first = first.ok_or_else(|| Error::new(Code::Invalid, "no transport may be used"))?;
        let link = match second {
            None => self.open(first).await.map_err(|failed| failed.error),
            Some(second) => self.open_either(first, second).await,
        }?;
        if let Some(network) = network {
            let mut ways = self.endpoint.ways();
            match link.transport() {
                Transport::Quic => ways.handle_open(network),
                // Where QUIC goes first, it was tried, and has had its time.
                Transport::WebSocket if first == Transport::Quic => ways.handle_blocked(clock::now(), rand::rng().random(), network),
                Transport::WebSocket => {}
            }
        }
        Ok(Link { network, ..link })
    }
    async fn open_either(self, first: Transport, second: Transport) -> Result<Link, Error> {
        let mut early = Box::pin(self.open(first));
        let failed = tokio::select! {
            opened = &mut early => match opened {
                Ok(link) => return Ok(link),
                Err(failed) if failed.was_heard => return Err(failed.error),
                Err(failed) => Some(failed.error),
            },
            () = sleep(HEAD_START) => None,
        };
        let mut late = Box::pin(self.open(second));
        if let Some(error) = failed {
            return late.await.map_err(|failed| if failed.was_heard { failed.error } else { error });
        }
        tokio::select! {
            opened = &mut early => match opened {
                Ok(link) => Ok(link),
                Err(failed) if failed.was_heard => Err(failed.error),
                Err(failed) => late.await.map_err(|other| if other.was_heard { other.error } else { failed.error }),
            },
            opened = &mut late => match opened {
                Ok(link) => Ok(link),
                Err(failed) if failed.was_heard => Err(failed.error),
                Err(_) => early.await.map_err(|failed| failed.error),
            },
        }
    }
    async fn open(self, transport: Transport) -> Result<Link, Failed> {
        let way = match transport {
            Transport::Quic => Way::Quic(quic::open(self).await?),
            Transport::WebSocket => Way::Socket(Box::new(socket::open(self).await?)),
        };
        Ok(Link { way, decoder: Decoder::new(Framing::Plain, FRAME_BYTES_MAX), pending: BytesMut::new(), network: None })
    }
}

impl Link {
    pub(crate) fn transport(&self) -> Transport {
        match self.way {
            Way::Quic(_) => Transport::Quic,
            Way::Socket(_) => Transport::WebSocket,
        }
    }
    /// What went over it.
    pub(crate) fn traffic(&self) -> Traffic {
        match &self.way {
            Way::Quic(quic) => quic.traffic(),
            Way::Socket(socket) => socket.traffic(),
        }
    }
    /// Where this device is; `None`: it cannot tell.
    pub(crate) fn network(&self) -> Option<Network> {
        self.network
    }
    /// Whether more frames may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < PENDING_BYTES_MAX
    }
    pub(crate) fn add(&mut self, frame: &ToEdge) {
        encode(Framing::Plain, Kind::ToEdge, &frame.encode(), &mut self.pending);
    }
    /// Moves bytes both ways until something arrived, or all that was added is on its way. Cancel safe.
    pub(crate) async fn poll(&mut self) -> Result<(), Error> {
        let Self { way, pending, decoder, .. } = self;
        match way {
            Way::Quic(quic) => quic.poll(pending, decoder).await,
            Way::Socket(socket) => socket.poll(pending, decoder).await,
        }
    }
    /// The next frame of those that arrived.
    pub(crate) fn poll_frame(&mut self) -> Result<Option<ToClient>, Error> {
        let unreadable = |error: &dyn std::fmt::Display| Error::new(Code::BadFrame, format!("a frame of the edge could not be read: {error}"));
        while let Some(frame) = self.decoder.poll().map_err(|error| unreadable(&error))? {
            if frame.kind == Kind::ToClient {
                return ToClient::decode(&frame.body).map(Some).map_err(|error| unreadable(&error));
            }
            tracing::debug!(kind = frame.kind.number(), "skipped a frame of an unknown kind");
        }
        Ok(None)
    }
    /// A pull on a stream of its own; it takes its turn among all clients of the endpoint. Over a WebSocket it moves while the link is polled.
    pub(crate) fn pull(&self, pull: &Pull, turns: Arc<Semaphore>) -> impl Future<Output = Result<Page, Error>> + Send + use<> {
        let mut request = BytesMut::new();
        encode(Framing::Plain, Kind::Pull, &pull.encode(), &mut request);
        let way = match &self.way {
            Way::Quic(quic) => Puller::Quic(quic.connection()),
            Way::Socket(socket) => Puller::Socket(socket.asking()),
        };
        async move {
            let _turn = turns.acquire_owned().await.map_err(|_| Error::closed())?;
            let page = async {
                match way {
                    Puller::Quic(connection) => quic::fetch(connection, request).await,
                    Puller::Socket(asking) => asking.fetch(request.freeze()).await,
                }
            };
            timeout(PULL_WITHIN, page).await.unwrap_or_else(|_| Err(Error::new(Code::Timeout, "a page did not come in time")))
        }
    }
    /// Tells the edge that this session ends by our will.
    pub(crate) fn close(&mut self) {
        match &mut self.way {
            Way::Quic(quic) => quic.close(),
            Way::Socket(socket) => socket.close(),
        }
    }
}

enum Puller {
    Quic(quinn::Connection),
    Socket(Asking),
}

fn host_of(name: &str) -> &str {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
