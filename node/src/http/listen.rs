//! Connections of the API: TCP, TLS with the node's certificate, HTTP/1.1.
//!
//! In: a bound listener, the routes. Out: answers, until cancelled; then what is under way is answered, for as long as [`END_WITHIN`].
//! Invariant: without TLS only on a loopback address (the config sees to it). Bounds: so many connections at once, further ones wait in the
//! kernel's queue; a time for the handshake and one for each head. Not here: what is answered ([`super::api`]).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::api::{ApiMetrics, PeerAddress, metrics::HttpReject};
use crate::supervise::Tasks;

/// What a listener needs.
pub struct ListenParts {
    /// The node's certificate; none: in the clear.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What answers.
    pub routes: Router,
    /// Connections at once.
    pub connections_max: usize,
    /// Counters.
    pub metrics: Arc<ApiMetrics>,
    /// Where the connections run.
    pub tasks: Tasks,
}

/// Accepts connections until the tasks are cancelled.
pub async fn accept(listener: TcpListener, parts: ListenParts) {
    let ListenParts { tls, routes, connections_max, metrics, tasks } = parts;
    let places = Arc::new(Semaphore::new(connections_max));
    let tls = tls.map(TlsAcceptor::from);
    let ending = tasks.cancelled();
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // Both branches are cancel safe.
        let (stream, address) = tokio::select! {
            () = ending.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of files, or a connection that went away before it was taken.
                    tracing::warn!(cause = %error, "http.accept failed");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        let connection = Connection { address, routes: routes.clone(), metrics: metrics.clone(), ending: ending.clone(), _place: place };
        let tls = tls.clone();
        tasks.spawn_finishing("http.connection", async move { connection.begin(stream, tls).await });
    }
}

/// One connection.
struct Connection {
    address: SocketAddr,
    routes: Router,
    metrics: Arc<ApiMetrics>,
    ending: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn begin(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Answers are written whole; one that waited for more would only be late.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream).await };
        match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => self.refuse(&error),
            Err(_) => self.refuse(&io::Error::from(io::ErrorKind::TimedOut)),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { address, routes, metrics, ending, _place } = self;
        let _counted = Counted::new(&metrics);
        let from = PeerAddress(address.ip());
        let routes = routes.map_request(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(from);
            request.map(axum::body::Body::new)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
            // A WebSocket is no connection of the API any more once it is open.
            .with_upgrades();
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(END_WITHIN, connection.as_mut()).await {
                    Ok(served) => served,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(cause = %error, "http.connection ended");
            if error.is_parse() || error.is_timeout() {
                metrics.reject(HttpReject::Head);
            }
        }
    }

    fn refuse(&self, error: &io::Error) {
        tracing::debug!(cause = %error, "http.handshake failed");
        self.metrics.reject(HttpReject::Handshake);
    }
}

/// Counts a connection, however it ends.
struct Counted(Arc<ApiMetrics>);

impl Counted {
    fn new(metrics: &Arc<ApiMetrics>) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// For a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// For a request's head; also how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// A head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// For what is under way when the node ends.
const END_WITHIN: Duration = Duration::from_secs(3);
/// After an accept that failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
