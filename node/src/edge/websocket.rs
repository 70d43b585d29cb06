//! The way in over TCP: WebSockets, for browsers, and for clients whose network lets no UDP through.
//!
//! In: requests for one at [`PATH`], on the listeners of the HTTP API: its TLS, its port. Out: sessions of the edge, as any other. Invariants: which
//! pages get one is up to [`crate::pages`]; admission and places are those of QUIC, and who gets none is told why and
//! where to go. Bounds: a message of [`MESSAGE_BYTES_MAX`]; [`READ_BYTES`] to read into. Not here: what is in the messages (`session::link::socket`).

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::{IntoResponse, Response},
    routing::get,
};
// The heads of requests are no face of the node.
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use kith_raft::Lanes;

use super::{Edge, metrics::EdgeReject, webtransport};
use crate::session::MESSAGE_BYTES_MAX;

/// Where a WebSocket is asked for: as the ALPN of QUIC has it.
pub const PATH: &str = "/kith/1";
/// To read into, in bytes: an idle session pays for it.
const READ_BYTES: usize = 4 * 1024;
/// Of what is being written, in bytes: with more the session waits for the client.
const WRITE_BYTES: usize = 256 * 1024;

/// What opens WebSockets.
pub struct Sockets {
    edge: Arc<Edge>,
    lanes: Arc<Lanes>,
    number: AtomicU64,
    address: fn(&Extensions) -> Option<IpAddr>,
}

impl Sockets {
    /// For the pages that the edge lets in. `address` finds out where a request is from.
    pub fn new(edge: Arc<Edge>, lanes: Arc<Lanes>, address: fn(&Extensions) -> Option<IpAddr>) -> Self {
        Self { edge, lanes, number: AtomicU64::new(0), address }
    }
    /// The route, and the one at which a page asks for the better way.
    pub fn routes(self) -> Router {
        let about = webtransport::routes(self.edge.clone());
        Router::new().route(PATH, get(open)).with_state(Arc::new(self)).merge(about)
    }

    /// Runs a session, on a lane: those of all connections take turns.
    fn serve(&self, socket: WebSocket, from: IpAddr) {
        let lane = self.lanes.of_number(self.number.fetch_add(1, Ordering::Relaxed));
        self.edge.serve_socket(socket, from, self.lanes.handle(lane));
    }
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("edge", &self.edge).finish_non_exhaustive()
    }
}

async fn open(
    State(sockets): State<Arc<Sockets>>,
    extensions: Extensions,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(from) = (sockets.address)(&extensions) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if !sockets.edge.pages().may_connect(text(header::ORIGIN), text(header::HOST), from) {
        sockets.edge.metrics().reject(EdgeReject::Origin);
        return (StatusCode::FORBIDDEN, "pages of this origin may not connect here: see origins in [api] of the node's settings\n").into_response();
    }
    let Some(handshake) = sockets.edge.admit_socket(from) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections from here, or to here: try again later\n").into_response();
    };
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(0).max_write_buffer_size(WRITE_BYTES);
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |socket| async move {
        drop(handshake);
        sockets.serve(socket, from);
    })
}

const _: () = assert!(WRITE_BYTES > 128 * 1024, "what one flush is given fits: 64 KiB, and one message more");
